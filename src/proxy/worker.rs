//! A worker: one thread with its own runtime, sockets, connections to targets, and script engines.
//!
//! Nothing on the request path is shared between workers but atomics and the stores. Generations arrive as commands: a worker
//! first prepares one beside the traffic; which one is current is a number that all workers read, so the switch is one
//! store. An exchange keeps the [`Ready`] it began with.

use super::{
    backend::Backends,
    background::{self, Tasks},
    ids::Ids,
    listen,
    outbound::Calls,
    outside::{Administration, Clients},
    repeats::Repeats,
    traffic::Dice,
};
use crate::{
    balance::Registry,
    config::{Diagnostics, ListenerKey},
    downstream::Spares,
    gateway::{
        generation::Generation,
        prepared::{self, Prepared, prepare},
    },
    http::identity::IdentityHeaders,
    observe::{
        access::AccessLog,
        metrics::{Meters, Metrics, RouteShape, Shape, own},
        traces::Traces,
    },
    script::{
        Services,
        cache::Caches,
        host::jwt::published::{self, Sets},
        outbound::Outbound,
    },
    store::{RedisOptions, Stores, WorkerStore},
    upstream::{Names, Pool},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    net::TcpListener,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// What a worker is told.
pub enum Command {
    /// Compile and load; nothing is switched yet.
    Prepare { generation: Arc<Generation>, meters: Arc<Meters>, reply: oneshot::Sender<Result<(), Diagnostics>> },
    /// Another generation is current: without traffic a worker would not look.
    Switch,
    /// Accept connections here from now on.
    Listen { socket: TcpListener, listener: ListenerKey },
    /// Close the listener with this address.
    Unlisten(std::net::SocketAddr),
}

/// What all workers share.
pub struct Shared {
    /// The number of the generation that new exchanges run in.
    pub current: AtomicU64,
    pub stores: Arc<Stores>,
    /// What is known of services and targets.
    pub registry: Arc<Registry>,
    /// The addresses of targets.
    pub names: Arc<Names>,
    pub access_log: Option<AccessLog>,
    pub traces: Option<Traces>,
    pub metrics: Arc<Metrics>,
    /// Whether clients see the errors of scripts (`gatewright dev`).
    pub open: bool,
    pub admission: Arc<listen::admission::Admission>,
    pub exhausted: listen::exhausted::Exhausted,
    /// True once the process drains.
    pub drain: watch::Receiver<bool>,
    /// What scripts never call.
    pub administration: Administration,
}

pub struct Worker {
    pub pool: Pool,
    pub dice: Dice,
    pub ids: Ids,
    pub access_log: Option<AccessLog>,
    pub traces: Option<Traces>,
    pub open: bool,
    pub shared: Arc<Shared>,
    first: bool,
    ready: RefCell<Rc<Ready>>,
    /// The same as `ready`'s number, read without a borrow.
    number: Cell<u64>,
    /// Prepared, and not yet current.
    waiting: RefCell<Vec<Rc<Ready>>>,
    /// What runs beside the traffic; ends with its generation.
    tasks: RefCell<Tasks>,
    store: RefCell<Option<WorkerStore>>,
    clients: Rc<Clients>,
    key_sets: Sets,
    pub connections: Cell<usize>,
    /// What its connections of HTTP/1.1 lend each other.
    pub spares: Rc<Spares>,
    /// Where listeners are bound, for what leads from one to another.
    pub ports: RefCell<HashMap<ListenerKey, u16>>,
}

/// A generation ready to serve on this worker.
pub struct Ready {
    pub prepared: Prepared,
    pub backends: Rc<Backends>,
    pub identity: IdentityHeaders,
    route_names: Vec<OnceCell<Arc<str>>>,
    pub meters: Arc<Meters>,
    pub repeats: Repeats,
}

impl Ready {
    /// A name that no other worker counts references to. Made when it is first asked for: thousands of routes may never be.
    pub fn route_name(&self, route: usize) -> Arc<str> {
        let name = || Arc::from(self.prepared.generation.router.routes()[route].name.value.as_str());
        self.route_names[route].get_or_init(name).clone()
    }
}

impl Worker {
    fn new(
        pool: Pool,
        shared: Arc<Shared>,
        first: bool,
        ready: Ready,
        store: WorkerStore,
        clients: Rc<Clients>,
        key_sets: Sets,
    ) -> Worker {
        Worker {
            pool,
            dice: Dice::default(),
            ids: Ids::new(),
            access_log: shared.access_log.clone(),
            traces: shared.traces.clone(),
            open: shared.open,
            first,
            number: Cell::new(ready.prepared.generation.number),
            ready: RefCell::new(Rc::new(ready)),
            waiting: RefCell::default(),
            tasks: RefCell::default(),
            store: RefCell::new(Some(store)),
            clients,
            key_sets,
            connections: Cell::new(0),
            spares: Rc::default(),
            ports: RefCell::default(),
            shared,
        }
    }

    /// A worker without a thread, sockets and commands: for the tests of scripts.
    pub async fn alone(
        generation: Arc<Generation>,
        shared: Arc<Shared>,
        furnish: impl FnOnce(Services) -> Services,
    ) -> Result<Worker, Diagnostics> {
        let pool = Pool::default();
        let clients = Rc::new(Clients::new(shared.administration.clone()));
        let key_sets = published::sets();
        let meters = shared.metrics.prepare(&shape(&generation));
        let (ready, store) = make_ready(
            generation,
            meters,
            &Around { pool: &pool, clients: &clients, key_sets: &key_sets, shared: &shared, first: true },
            None,
            furnish,
        )
        .await?;
        Ok(Worker::new(pool, shared, true, ready, store, clients, key_sets))
    }

    /// The generation for an exchange that begins now.
    pub fn ready(&self) -> Rc<Ready> {
        let current = self.shared.current.load(Ordering::Acquire);
        if current != self.number.get() {
            self.switch(current);
        }
        self.ready.borrow().clone()
    }

    /// Starts the background work of the current generation, and ends that of the one before.
    fn begin_tasks(&self) {
        let ready = self.ready.borrow().clone();
        self.tasks.replace(background::start(&ready, || self.ids.random()));
    }

    #[cold]
    fn switch(&self, current: u64) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|ready| ready.prepared.generation.number == current) {
            self.ready.replace(waiting.swap_remove(at));
            self.number.set(current);
            self.begin_tasks();
        }
        waiting.retain(|ready| ready.prepared.generation.number > current);
    }
}

/// Runs a worker on the calling thread until its commands end and its connections are done.
pub fn run(
    index: usize,
    shared: Arc<Shared>,
    generation: Arc<Generation>,
    meters: Arc<Meters>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    started: oneshot::Sender<Result<(), Diagnostics>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(prepared::internal(format!("a worker can't start: {error}"))));
            return;
        }
    };
    runtime.block_on(async move {
        let pool = Pool::default();
        let clients = Rc::new(Clients::new(shared.administration.clone()));
        let key_sets = published::sets();
        let first = index == 0;
        let around = Around { pool: &pool, clients: &clients, key_sets: &key_sets, shared: &shared, first };
        let made = make_ready(generation, meters, &around, None, |it| it).await;
        let (ready, store) = match made {
            Ok(made) => made,
            Err(diagnostics) => {
                let _ = started.send(Err(diagnostics));
                return;
            }
        };
        // The first requests are counted where all others will be: until there is a connection they would be counted here.
        if let Some(redis) = store.redis() {
            redis.first_attempt().await;
        }
        let worker = Rc::new(Worker::new(pool, shared, first, ready, store, clients, key_sets));
        if started.send(Ok(())).is_err() {
            return;
        }
        worker.begin_tasks();
        tokio::task::spawn_local(sweep(Rc::downgrade(&worker)));
        let mut listeners = listen::Listeners::default();
        while let Some(command) = commands.recv().await {
            obey(&worker, command, &mut listeners).await;
        }
        worker.tasks.take();
        listeners.close_all().await;
        listen::drained(&worker).await;
    });
}

async fn obey(worker: &Rc<Worker>, command: Command, listeners: &mut listen::Listeners) {
    match command {
        Command::Prepare { generation, meters, reply } => {
            let store = worker.store.borrow_mut().take();
            let Worker { pool, clients, key_sets, shared, first, .. } = &**worker;
            let around = Around { pool, clients, key_sets, shared, first: *first };
            let made = make_ready(generation, meters, &around, store.as_ref(), |it| it).await;
            let result = made.map(|(ready, next)| {
                worker.store.replace(Some(next));
                worker.waiting.borrow_mut().push(Rc::new(ready));
            });
            if result.is_err() {
                worker.store.replace(store);
            }
            let _ = reply.send(result);
        }
        Command::Switch => drop(worker.ready()),
        Command::Listen { socket, listener } => listeners.open(worker, socket, listener),
        Command::Unlisten(address) => listeners.close(address).await,
    }
}

/// What of a worker stays when its generation is replaced.
struct Around<'w> {
    pool: &'w Pool,
    clients: &'w Rc<Clients>,
    key_sets: &'w Sets,
    shared: &'w Shared,
    first: bool,
}

async fn make_ready(
    generation: Arc<Generation>,
    meters: Arc<Meters>,
    &Around { pool, clients, key_sets, shared, first }: &Around<'_>,
    store: Option<&WorkerStore>,
    furnish: impl FnOnce(Services) -> Services,
) -> Result<(Ready, WorkerStore), Diagnostics> {
    let url = generation.config.redis.as_ref().map(|url| url.value.0.as_str());
    let connect = || match store {
        Some(store) => store.next(url, RedisOptions::default()),
        None => WorkerStore::connect(url, shared.stores.clone()),
    };
    let fail = |error: crate::store::StoreError| prepared::internal(error.to_string());
    // Two views of one connection: the scripts' and the one that the next generation starts from.
    let own = connect().map_err(fail)?;
    let scripts = own.next(url, RedisOptions::default()).map_err(fail)?;
    let backends = Rc::new(Backends::new(&generation, &shared.registry, &shared.names, &meters));
    let outbound: Rc<dyn Outbound> = Rc::new(Calls {
        pool: pool.clone(),
        backends: backends.clone(),
        max_body: generation.config.limits.max_body_size,
        clients: clients.clone(),
    });
    let services = furnish(Services {
        store: scripts,
        outbound,
        first_worker: first,
        caches: Caches { key_sets: key_sets.clone(), ..Caches::for_worker() },
        metrics: own::Local::new(shared.metrics.own.clone(), generation.number),
        background: Some(Default::default()),
        turns: Default::default(),
        trial: None,
    });
    let services = Rc::new(services);
    let prepared = prepare(generation, services).await?;
    let generation = &prepared.generation;
    let identity = IdentityHeaders::new(generation.identity_headers());
    let route_names = vec![OnceCell::new(); generation.router.routes().len()];
    Ok((Ready { backends, identity, route_names, meters, prepared, repeats: Repeats::default() }, own))
}

/// Closes connections to targets that have been idle for too long or have to give way, and has others forget what is old. Each
/// second: without a timer that is due soon, tokio wakes itself with a system call for most requests.
async fn sweep(worker: Weak<Worker>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut seen = 0;
    loop {
        ticks.tick().await;
        let Some(worker) = worker.upgrade() else { return };
        let attempts = worker.shared.exhausted.attempts();
        worker.pool.sweep(attempts != std::mem::replace(&mut seen, attempts));
        let ready = worker.ready();
        ready.backends.follow();
        ready.repeats.sweep(Instant::now());
    }
}

/// What of a generation has metrics of its own.
pub fn shape(generation: &Generation) -> Shape<'_> {
    let scripts = |places: &[usize]| places.iter().map(|at| (*at, &*generation.places[*at].name)).collect();
    let routes = generation.router.routes().iter().zip(&generation.chains).map(|(route, places)| RouteShape {
        name: &route.name.value,
        service: generation.config.service_of(route).map_or("", |service| &service.name.value),
        scripts: scripts(places),
    });
    let unrouted = RouteShape { name: "", service: "", scripts: scripts(&generation.unrouted) };
    Shape {
        routes: routes.chain([unrouted]).collect(),
        services: generation.config.services.iter().map(|service| &*service.name.value).collect(),
        places: generation.places.iter().map(|place| (&*place.name, &*place.label)).collect(),
    }
}
