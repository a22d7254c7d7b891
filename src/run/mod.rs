//! The process: starts workers with the first generation, then replaces generations until it is told to stop.
//!
//! All but building runs on the control thread, beside the workers: watching files, reloading, signals, administration. A reload is
//! whole or not at all: build, bind, prepare on every worker, then one store. Whatever fails, the running generation goes on.

mod beside;
pub mod handed;
mod pages;
mod reload;
pub mod watch;

pub use reload::Reloaded;

use crate::{
    admin::{self, Attempt, Cause, History, Phase},
    balance::{Registry, check::Checks},
    config::{
        AccessLog as Log, AccessLogTo, Config, Diagnostics, Dns, Document, Listener, ListenerKey, Secret, Style,
        Workers as Count,
    },
    gateway::generation::{self, Generation, Watch},
    observe::{
        access::{AccessLog, Field, Form},
        metrics::Metrics,
        traces::{Destination, Traces},
    },
    proxy::{Shared, Workers, listen, outside::Administration, shape},
    store::{Stores, SystemClock},
    upstream::Names,
};
use handed::Handed;
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch as cell};

/// How long the end waits for the last lines to be written and the last spans to be exported, both together.
const FLUSH: Duration = Duration::from_secs(5);

pub struct Options {
    pub config: PathBuf,
    /// Readable output, and clients see the errors of scripts.
    pub dev: bool,
    /// Reload when files change.
    pub watch: bool,
    /// Sockets that need not be bound.
    pub handed: Handed,
}

/// Why the gateway did not start or ended. Purposefully without a `source`: the reason is in the text, and whoever prints
/// the chain would print it twice.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the configuration has errors")]
    Config(Diagnostics),
    #[error("can't listen on {address}: {}", reason(.why))]
    Bind { address: SocketAddr, why: io::Error },
    #[error("can't write the access log {}: {why}", path.display())]
    AccessLog { path: PathBuf, why: io::Error },
    #[error("can't export traces: {0}")]
    Traces(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process".into(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        _ => error.to_string(),
    }
}

pub struct Gateway {
    options: Options,
    workers: Workers,
    current: Arc<Generation>,
    /// The listeners, and where their sockets are bound.
    listening: BTreeMap<ListenerKey, SocketAddr>,
    /// Counts up with every attempt.
    number: u64,
    watch: Watch,
    /// The configuration as it was read last, while it is not being read again.
    document: Option<Document>,
    status: cell::Sender<admin::Status>,
    history: cell::Sender<History>,
    metrics: Arc<Metrics>,
    access_log: Option<AccessLog>,
    traces: Option<Traces>,
    registry: Arc<Registry>,
    /// For whoever lists what runs.
    shown: cell::Sender<Arc<Generation>>,
    checks: Checks,
    names: Arc<Names>,
    /// Keeps the names fresh, and as the configuration wants it.
    looking: (Dns, tokio::task::JoinHandle<()>),
    /// Whoever asks for a reload.
    asked: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    /// Where administration listens, and the task that answers there.
    administration: Option<(SocketAddr, tokio::task::JoinHandle<()>)>,
}

impl Gateway {
    /// Builds the first generation, starts the workers and listens.
    ///
    /// # Errors
    /// The configuration or one of its scripts has errors, an address can't be bound, that of administration too, or the access log or the exporter of traces can't be
    /// opened.
    pub async fn start(mut options: Options, drain: cell::Receiver<bool>) -> Result<Gateway, RunError> {
        let begun = Instant::now();
        let built = generation::build(&options.config, 1, false, None);
        let watch = built.watch();
        show(&built.diagnostics);
        let Some(generation) = built.generation else {
            return Err(RunError::Config(built.diagnostics));
        };
        let generation = Arc::new(if options.dev { generation.for_development() } else { generation });
        let registry = Arc::new(Registry::new());
        let names = Arc::new(Names::default());
        names.ask(&generation.config.dns.servers);
        let metrics = Arc::new(Metrics::new());
        let meters = metrics.prepare(&shape(&generation));
        let access_log = access_log(&generation.config.access_log, options.dev, metrics.lost_lines.clone())?;
        let traces = traces(&generation.config, &metrics)?;
        let (ask, asked) = mpsc::channel(16);
        let (status, _) = cell::channel(admin::Status { generation: 1, phase: Phase::Starting, last_error: None });
        let history = cell::Sender::new(History::default());
        let shown = cell::Sender::new(generation.clone());
        let inventory = admin::Inventory {
            registry: registry.clone(),
            names: names.clone(),
            current: shown.subscribe(),
            history: history.subscribe(),
        };
        // Before the scripts are loaded, which may take long: whoever looks is told that it starts.
        let administration = match &generation.config.admin {
            Some(admin) => Some(
                admin::listen(admin, status.subscribe(), ask, inventory, metrics.clone())
                    .await
                    .map_err(|why| RunError::Bind { address: admin.address, why })?,
            ),
            None => None,
        };
        let own = Administration::default();
        if let Some((address, _)) = &administration {
            let _ = own.set(*address);
        }
        let shared = Arc::new(Shared {
            current: AtomicU64::new(0),
            stores: Arc::new(Stores::new(Arc::new(SystemClock::new()))),
            registry: registry.clone(),
            names: names.clone(),
            access_log: access_log.clone(),
            traces: traces.clone(),
            metrics: metrics.clone(),
            open: options.dev,
            admission: Arc::default(),
            exhausted: listen::exhausted::Exhausted::default(),
            drain,
            administration: own,
        });
        let count = match generation.config.workers {
            Count::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Count::Exactly(count) => count.get(),
        };
        options.handed.keep_for(&generation.config.listeners);
        let sockets = bind(&generation.config.listeners, &BTreeMap::new(), &options.handed, count)?;
        let workers =
            Workers::start(count, shared, generation.clone(), meters.clone()).await.map_err(|diagnostics| {
                show(&diagnostics);
                RunError::Config(diagnostics)
            })?;
        drop(metrics.switch(meters, generation.number));
        let watch = watch();
        let first = Attempt {
            generation: 1,
            cause: Cause::Start,
            took: begun.elapsed(),
            changed: Vec::new(),
            is_serving: true,
            diagnostics: built.diagnostics.render(Style::Plain),
        };
        history.send_modify(|history| history.add(first));
        let dns = generation.config.dns.clone();
        let looking = tokio::spawn(names.clone().keep_fresh(dns.refresh));
        let mut gateway = Gateway {
            options,
            workers,
            current: generation,
            listening: BTreeMap::new(),
            number: 1,
            watch,
            document: built.document,
            status,
            history,
            metrics,
            access_log,
            traces,
            registry,
            shown,
            checks: Checks::new(names.clone()),
            names,
            looking: (dns, looking),
            asked,
            administration,
        };
        gateway.checks.follow(&gateway.current.config, &gateway.current.upstream_tls, &gateway.registry);
        gateway.listen(sockets);
        Ok(gateway)
    }

    pub fn generation(&self) -> &Generation {
        &self.current
    }

    /// Where clients connect, with the names of the listeners.
    pub fn addresses(&self) -> Vec<(SocketAddr, Option<String>)> {
        let listeners = self.current.config.listeners.iter();
        listeners
            .map(|l| {
                (
                    self.listening.get(&l.key()).copied().unwrap_or(l.address),
                    l.name.as_ref().map(|name| name.value.clone()),
                )
            })
            .collect()
    }

    fn listen(&mut self, sockets: Vec<(Listener, Vec<TcpListener>)>) {
        for (listener, sockets) in sockets {
            let bound = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(listener.address);
            self.listening.insert(listener.key(), bound);
            self.workers.listen(sockets, listener.key());
        }
    }

    /// Runs until `shutdown` ends, then drains: readiness fails, after `drain.delay` listeners close, then connections end.
    ///
    /// # Errors
    /// Signals can't be heard, at the very beginning; or a worker can't be waited for.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, drain: cell::Sender<bool>) -> Result<(), RunError> {
        let mut changes = watch::Changes::new(self.options.watch);
        changes.follow(&self.watch);
        if self.options.watch {
            // What was saved between the build and the watch would never be seen.
            self.reload_if_changed().await;
            changes.follow(&self.watch);
        }
        // As nginx does: HUP reloads, USR1 reopens the log. Before anybody is told that it is ready: unhandled, they end the process.
        let mut hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let mut reopened = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())?;
        self.status.send_modify(|status| status.phase = Phase::Ready);
        if !self.options.dev {
            if let Some((address, _)) = &self.administration {
                tracing::info!(%address, name = "admin", "listening");
            }
            tracing::info!("ready");
        }
        tokio::spawn(beside::beside("pages", pages::give_back));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = changes.settled() => { self.reload_if_changed().await; }
                _ = reopened.recv() => self.reopen(),
                _ = hangups.recv() => { self.reload(Cause::Signal).await; }
                Some(reply) = self.asked.recv() => { let _ = reply.send(self.reload(Cause::Api).await); }
            }
            changes.follow(&self.watch);
        }
        self.status.send_modify(|status| status.phase = Phase::Draining);
        // From here on nothing is reloaded, and who asks for it is told at once.
        self.asked = mpsc::channel(1).1;
        let delay = self.current.config.drain.delay;
        if !delay.is_zero() {
            tracing::info!(delay_ms = delay.as_millis() as u64, "not ready any more; still accepting connections");
            let mut over = std::pin::pin!(tokio::time::sleep(delay));
            loop {
                tokio::select! {
                    () = &mut over => break,
                    _ = reopened.recv() => self.reopen(),
                }
            }
        }
        // With the last handle of a socket its queue is closed.
        drop(self.options.handed);
        let _ = drain.send(true);
        tracing::info!("draining");
        // Joining blocks, and administration answers meanwhile.
        let (workers, access_log, traces) = (self.workers, self.access_log, self.traces);
        let stop = move || {
            workers.stop();
            let end = Instant::now() + FLUSH;
            if let Some(log) = access_log {
                log.flush(end);
            }
            if let Some(traces) = traces {
                traces.flush(end);
            }
        };
        let stopped = tokio::task::spawn_blocking(stop).await;
        if let Some((_, administration)) = self.administration {
            administration.abort();
        }
        stopped.map_err(|error| RunError::Io(io::Error::other(error)))
    }

    /// Not on this thread: it waits while the log takes nothing.
    fn reopen(&self) {
        if let Some(log) = self.access_log.clone() {
            tokio::task::spawn_blocking(move || log.reopen());
        }
    }
}

/// Sockets for the listeners that are not bound yet.
fn bind(
    listeners: &[Listener],
    bound: &BTreeMap<ListenerKey, SocketAddr>,
    handed: &Handed,
    count: usize,
) -> Result<Vec<(Listener, Vec<TcpListener>)>, RunError> {
    let new = listeners.iter().filter(|listener| !bound.contains_key(&listener.key()));
    let open = |address| handed.share(address, count).unwrap_or_else(|| listen::bind(address, count));
    new.map(|listener| match open(listener.address) {
        Ok(sockets) => Ok((listener.clone(), sockets)),
        Err(why) => Err(RunError::Bind { address: listener.address, why }),
    })
    .collect()
}

fn access_log(log: &Log, dev: bool, lost: Arc<AtomicU64>) -> Result<Option<AccessLog>, RunError> {
    let fields = log.fields.iter().filter_map(|name| Field::named(name)).collect();
    let to_file = matches!(log.to, AccessLogTo::File(_));
    let form = Form { fields, sample: log.sample, readable: dev && !to_file };
    Ok(match &log.to {
        AccessLogTo::Off => None,
        AccessLogTo::Stdout => Some(AccessLog::to_stdout(form, lost)?),
        AccessLogTo::File(path) => {
            let opened = AccessLog::to_file(path, form, lost);
            Some(opened.map_err(|why| RunError::AccessLog { path: path.clone(), why })?)
        }
    })
}

fn traces(config: &Config, metrics: &Metrics) -> Result<Option<Traces>, RunError> {
    let Some(traces) = &config.traces else { return Ok(None) };
    let header = |(name, value): &(http::HeaderName, Secret)| (name.as_str().to_owned(), value.0.clone());
    let to = Destination {
        endpoint: traces.endpoint.clone(),
        sample: traces.sample,
        service_name: traces.service_name.clone(),
        headers: traces.headers.iter().map(header).collect(),
    };
    Traces::start(to, metrics.spans.clone()).map(Some).map_err(RunError::Traces)
}

/// Prints problems to standard error, with colours on a terminal.
pub fn show(diagnostics: &Diagnostics) {
    use std::io::IsTerminal;
    if !diagnostics.is_empty() {
        let style = if std::io::stderr().is_terminal() { Style::Coloured } else { Style::Plain };
        eprintln!("{}", diagnostics.render(style));
    }
}
