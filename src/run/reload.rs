//! Replacing generations: built, bound and prepared beside the one that serves, then made the current one in one step, or
//! refused with what is wrong.
//!
//! Nothing before [`Gateway::switch`] changes what runs, and nothing in it can fail.

use super::{Gateway, RunError, beside::beside, bind, pages, show, watch};
use crate::{
    admin::{Attempt, Cause},
    config::{Diagnostic, Diagnostics, Dns, Listener, ListenerKey, Style},
    gateway::generation::{self, Generation, Watch},
    observe::metrics::Meters,
    proxy::shape,
};
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a generation is read again because its files changed meanwhile.
const TURNS: usize = 5;

/// What came of a reload.
#[derive(Clone, Debug)]
pub enum Reloaded {
    Switched { generation: u64 },
    Kept { generation: u64, diagnostics: String },
}

/// A generation that is ready, and what it needs to be the current one.
struct Next {
    generation: Arc<Generation>,
    sockets: Vec<(Listener, Vec<TcpListener>)>,
    meters: Arc<Meters>,
    warnings: Diagnostics,
}

impl Gateway {
    pub(super) async fn reload_if_changed(&mut self) {
        if !self.watch.is_current() {
            self.reload(Cause::Files).await;
        }
    }

    /// Builds the next generation and switches to it, or says why not.
    pub async fn reload(&mut self, cause: Cause) -> Reloaded {
        let started = Instant::now();
        let (result, mut watch) = self.build().await;
        if result.is_err() {
            // What failed early knows only a part of its files.
            watch.files.follow(&self.watch.files);
        }
        let changed = watch.changed(&self.watch);
        self.watch = watch;
        self.metrics.reloaded(result.is_ok());
        let result = result.map(|next| self.switch(next));
        let (Ok(said) | Err(said)) = &result;
        let attempt = Attempt {
            generation: self.number,
            cause,
            took: started.elapsed(),
            changed,
            is_serving: result.is_ok(),
            diagnostics: said.render(Style::Plain),
        };
        self.history.send_modify(|history| history.add(attempt));
        match result {
            Ok(warnings) => {
                show(&warnings);
                let milliseconds = started.elapsed().as_millis() as u64;
                tracing::info!(generation = self.number, milliseconds, "reloaded");
                self.status.send_modify(|status| (status.generation, status.last_error) = (self.number, None));
                Reloaded::Switched { generation: self.number }
            }
            Err(diagnostics) => {
                let generation = self.current.number;
                let text = diagnostics.render(Style::Plain);
                if self.options.dev {
                    show(&diagnostics);
                    tracing::error!(generation, "not reloaded: the last good generation keeps serving");
                } else {
                    tracing::error!(
                        generation,
                        diagnostics = text,
                        "not reloaded: the last good generation keeps serving"
                    );
                }
                self.status.send_modify(|status| status.last_error = Some(text.clone()));
                Reloaded::Kept { generation, diagnostics: text }
            }
        }
    }

    /// The next generation, ready on all workers. What changed while it was read could make it one of two saves, so that
    /// it is read again.
    async fn build(&mut self) -> (Result<Next, Diagnostics>, Watch) {
        let mut turn = 1;
        loop {
            self.number += 1;
            let (path, number, had_plugins) = (self.options.config.clone(), self.number, self.had_plugins());
            let (metrics, before) = (self.metrics.clone(), self.document.take());
            let build = move || {
                let mut built = generation::build(&path, number, had_plugins, before);
                let generation = built.generation.take();
                let metered = generation.map(|generation| (metrics.prepare(&shape(&generation)), generation));
                (built, metered)
            };
            let (mut built, metered) = match beside("reload", build).await {
                Ok(made) => made,
                Err(error) => return (Err(crate::gateway::prepared::internal(error.to_string())), self.watch.clone()),
            };
            self.document = built.document.take();
            let watch = built.watch();
            let result = match metered {
                Some((meters, generation)) => {
                    let generation = if self.options.dev { generation.for_development() } else { generation };
                    self.prepare(Arc::new(generation), meters, built.diagnostics).await
                }
                None => Err(built.diagnostics),
            };
            let watch = watch();
            if watch.is_current() {
                return (result, watch);
            }
            if turn == TURNS {
                let why = format!("files kept changing while they were read, {TURNS} times in a row");
                return (Err(crate::gateway::prepared::internal(why)), watch);
            }
            turn += 1;
            tokio::time::sleep(watch::SETTLE).await;
        }
    }

    async fn prepare(
        &self,
        generation: Arc<Generation>,
        meters: Arc<Meters>,
        warnings: Diagnostics,
    ) -> Result<Next, Diagnostics> {
        let new = &generation.config.listeners;
        let sockets = bind(new, &self.listening, &self.options.handed, self.workers.count())
            .map_err(|error| refused(&error, new))?;
        self.workers.prepare(&generation, &meters).await?;
        Ok(Next { generation, sockets, meters, warnings })
    }

    /// A folder of plugins that is gone is an error, not "no plugins".
    fn had_plugins(&self) -> bool {
        self.current.files.seen().paths().any(|path| path.starts_with(&self.watch.plugins_dir))
    }

    /// From here on new exchanges run in it. Gives its warnings.
    fn switch(&mut self, next: Next) -> Diagnostics {
        let Next { generation, sockets, meters, warnings } = next;
        // First, so that what its scripts count from the very first exchange on is shown.
        let meters = self.metrics.switch(meters, generation.number);
        self.workers.switch(generation.number);
        self.listen(sockets);
        let new = &generation.config.listeners;
        let gone: Vec<ListenerKey> =
            self.listening.keys().filter(|key| !new.iter().any(|l| l.key() == **key)).copied().collect();
        for key in gone {
            if let Some(bound) = self.listening.remove(&key) {
                self.workers.unlisten(bound);
            }
        }
        self.checks.follow(&generation.config, &generation.upstream_tls, &self.registry);
        self.look_as(&generation.config.dns);
        self.shown.send_replace(generation.clone());
        retire(std::mem::replace(&mut self.current, generation), meters);
        warnings
    }

    /// Resolves names as this configuration wants it. The addresses so far stay in use until a look finds others.
    fn look_as(&mut self, dns: &Dns) {
        if self.looking.0 != *dns {
            self.looking.1.abort();
            self.names.ask(&dns.servers);
            self.looking = (dns.clone(), tokio::spawn(self.names.clone().keep_fresh(dns.refresh)));
        }
    }
}

/// Frees a generation and its meters beside the traffic once no worker has them: for thousands of routes that takes milliseconds.
fn retire(generation: Arc<Generation>, meters: Arc<Meters>) {
    tokio::spawn(async move {
        while Arc::strong_count(&generation) > 1 || Arc::strong_count(&meters) > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let retire = move || {
            drop((generation, meters));
            pages::give_back();
        };
        // Without a thread it is freed here.
        beside("retire", retire).await.ok();
    });
}

/// A listener that can't be bound, as a diagnostic of the new configuration.
fn refused(error: &RunError, listeners: &[Listener]) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let span = match error {
        RunError::Bind { address, .. } => listeners.iter().find(|l| l.address == *address).and_then(|l| l.span.clone()),
        _ => None,
    };
    match span {
        Some(span) => diagnostics.push(Diagnostic::error(&span, error.to_string())),
        None => return crate::gateway::prepared::internal(error.to_string()),
    }
    diagnostics
}
