//! What the gateway counts, and its page at `/metrics`.
//!
//! [`Meters`] are the cells of one generation, found by position: nothing is looked up, locked or allocated when an
//! exchange counts. A reload takes the cells of what stays on; what was removed leaves with its generation. The cells are
//! shared by the workers: an exchange makes about six additions.

mod cells;
mod mirrors;
pub mod own;
mod page;
mod process;
mod targets;
mod text;

pub use cells::{Counter, Gauge, Histogram, Statuses};
pub use mirrors::{MIRRORED, Mirrors};
pub use targets::{BREAKER, ServiceStanding, TargetStanding};
pub use text::{Format, Text};

/// A hook of a plugin on a route that has failed since the last reload.
pub struct ScriptStanding<'a> {
    pub plugin: &'a str,
    pub hook: &'static str,
    /// Empty for requests that match no route.
    pub route: &'a str,
    pub quarantined: bool,
}

use super::traces::Counts;
use ahash::AHashMap;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Hooks that have their own series, by position.
pub const HOOKS: [&str; 8] =
    ["on_load", "on_request", "handle", "on_request_chunk", "on_response", "on_response_chunk", "on_error", "on_log"];
/// Why a try at a target failed, as the log calls it.
pub const ERRORS: [&str; 6] = ["timeout", "connect", "reset", "bad_response", "client", "bad_request"];

/// Why the gateway itself failed an exchange, as the log calls it; what is not listed counts as the last.
pub const FAILURES: [&str; 18] = [
    "refused",
    "no_route",
    "no_service",
    "no_answer",
    "no_target",
    "breaker",
    "overloaded",
    "timeout",
    "connect",
    "reset",
    "bad_response",
    "client",
    "bad_request",
    "script",
    "script_limit",
    "quarantined",
    "body",
    "other",
];

/// Of the process.
pub struct Metrics {
    meters: Mutex<Arc<Meters>>,
    pub connections: Gauge,
    pub connections_accepted: Counter,
    /// Over a limit.
    pub connections_refused: Counter,
    pub generation: Gauge,
    reloads: [Counter; 2],
    last_reload: Gauge,
    /// Seconds since 1970.
    last_reload_at: Gauge,
    /// Lines of the access log that were not written.
    pub lost_lines: Arc<AtomicU64>,
    pub spans: Arc<Counts>,
    /// What scripts count.
    pub own: Arc<own::Own>,
    started: f64,
}

/// Of a generation.
pub struct Meters {
    /// In the order of the router, and last the one of requests that match no route.
    pub routes: Vec<Route>,
    pub services: Vec<Arc<ServiceMeter>>,
    /// For each place of a script.
    pub background: Vec<Arc<BackgroundMeter>>,
    /// For each place of a script; those of one plugin share theirs.
    plugins: Vec<Arc<PluginMeter>>,
}

/// All hooks of a plugin, wherever it is used.
#[derive(Default)]
struct PluginMeter {
    plugin: String,
    duration: Histogram,
}

/// What a place's `every` does.
#[derive(Default)]
pub struct BackgroundMeter {
    plugin: String,
    place: String,
    /// By [`Ended`].
    runs: [Counter; 3],
    nanoseconds: Counter,
    cpu_nanoseconds: Counter,
    /// Runs that were left out, since the one before took too long.
    pub skipped: Counter,
}

pub struct Route {
    pub meter: Arc<RouteMeter>,
    scripts: Vec<(usize, Arc<ScriptMeter>)>,
}

#[derive(Default)]
pub struct RouteMeter {
    name: String,
    service: String,
    pub statuses: Statuses,
    failures: [Counter; FAILURES.len()],
    pub duration: Histogram,
    pub request_bytes: Counter,
    pub response_bytes: Counter,
    pub in_flight: Gauge,
    pub mirrors: Mirrors,
}

#[derive(Default)]
pub struct ServiceMeter {
    name: String,
    pub duration: Histogram,
    pub tries: Counter,
    /// Tries after the first of a request.
    pub retries: Counter,
    errors: [Counter; ERRORS.len()],
    /// By `host:port`, while a worker has it.
    targets: Mutex<BTreeMap<String, Weak<Histogram>>>,
}

#[derive(Default)]
pub struct ScriptMeter {
    plugin: String,
    hooks: [HookMeter; HOOKS.len()],
}

#[derive(Default)]
struct HookMeter {
    calls: Counter,
    nanoseconds: Counter,
    errors: Counter,
    limit_hits: Counter,
    /// Runs that were left out, in quarantine.
    held: Counter,
    cpu_nanoseconds: Counter,
}

/// How a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    Failed,
    /// Stopped at a limit.
    Limit,
}

/// What a generation has to count: names only.
pub struct Shape<'a> {
    pub routes: Vec<RouteShape<'a>>,
    pub services: Vec<&'a str>,
    /// The places of scripts: their plugins and where they stand.
    pub places: Vec<(&'a str, &'a str)>,
}

pub struct RouteShape<'a> {
    /// Empty for requests that match no route.
    pub name: &'a str,
    /// Empty when a script answers.
    pub service: &'a str,
    /// The places of its scripts, and their plugins.
    pub scripts: Vec<(usize, &'a str)>,
}

impl Metrics {
    pub fn new() -> Metrics {
        let started = now().as_secs_f64();
        Metrics {
            meters: Mutex::new(Arc::new(Meters {
                routes: Vec::new(),
                services: Vec::new(),
                background: Vec::new(),
                plugins: Vec::new(),
            })),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            generation: Gauge::default(),
            reloads: Default::default(),
            last_reload: Gauge::default(),
            last_reload_at: Gauge::default(),
            lost_lines: Arc::default(),
            spans: Arc::default(),
            own: Arc::default(),
            started,
        }
    }

    /// Cells for the next generation; those of the current one that stay go on.
    pub fn prepare(&self, shape: &Shape<'_>) -> Arc<Meters> {
        Arc::new(Meters::following(&self.current(), shape))
    }

    /// From now on these are shown. Gives those that were.
    pub fn switch(&self, meters: Arc<Meters>, generation: u64) -> Arc<Meters> {
        // Every place has one, also those of services without routes.
        self.own.switch(generation, &meters.background.iter().map(|own| &*own.plugin).collect());
        let before = std::mem::replace(&mut *self.meters.lock().unwrap_or_else(PoisonError::into_inner), meters);
        self.generation.set(generation as i64);
        self.last_reload.set(1);
        self.last_reload_at.set(now().as_secs() as i64);
        before
    }

    /// Counts a reload; the first generation is none.
    pub fn reloaded(&self, success: bool) {
        self.reloads[usize::from(success)].increment();
        self.last_reload.set(i64::from(success));
        self.last_reload_at.set(now().as_secs() as i64);
    }

    fn current(&self) -> Arc<Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Meters {
    fn following(old: &Meters, shape: &Shape<'_>) -> Meters {
        let routes: AHashMap<_, _> =
            old.routes.iter().map(|route| ((&*route.meter.name, &*route.meter.service), route)).collect();
        let services: AHashMap<_, _> = old.services.iter().map(|service| (&*service.name, service)).collect();
        let places: AHashMap<_, _> = old.background.iter().map(|own| ((&*own.plugin, &*own.place), own)).collect();
        let background = |(plugin, place): &(&str, &str)| match places.get(&(*plugin, *place)) {
            Some(known) => (*known).clone(),
            None => Arc::new(BackgroundMeter {
                plugin: (*plugin).to_owned(),
                place: (*place).to_owned(),
                ..BackgroundMeter::default()
            }),
        };
        let service = |name: &&str| match services.get(name) {
            Some(known) => (*known).clone(),
            None => Arc::new(ServiceMeter { name: (*name).to_owned(), ..ServiceMeter::default() }),
        };
        Meters {
            routes: shape.routes.iter().map(|new| new.meter(routes.get(&(new.name, new.service)).copied())).collect(),
            services: shape.services.iter().map(service).collect(),
            background: shape.places.iter().map(background).collect(),
            plugins: PluginMeter::all(&old.plugins, shape),
        }
    }

    fn hook(&self, route: usize, place: usize, hook: usize) -> Option<&HookMeter> {
        // A chain is a handful of scripts.
        let script = self.routes[route].scripts.iter().find(|(at, _)| *at == place);
        script.and_then(|(_, script)| script.hooks.get(hook))
    }

    /// A hook was not run, since it is in quarantine.
    pub fn held(&self, route: usize, place: usize, hook: usize) {
        if let Some(meter) = self.hook(route, place, hook) {
            meter.held.increment();
        }
    }

    /// A hook of the script at `place` ended on this route.
    pub fn ran(&self, route: usize, place: usize, hook: usize, took: Duration, cpu: Duration, ended: Ended) {
        let Some(meter) = self.hook(route, place, hook) else { return };
        self.plugins[place].duration.observe(took);
        meter.calls.increment();
        meter.nanoseconds.add(took.as_nanos() as u64);
        meter.cpu_nanoseconds.add(cpu.as_nanos() as u64);
        if ended != Ended::Well {
            meter.errors.increment();
        }
        if ended == Ended::Limit {
            meter.limit_hits.increment();
        }
    }
}

impl PluginMeter {
    fn all(old: &[Arc<PluginMeter>], shape: &Shape<'_>) -> Vec<Arc<PluginMeter>> {
        let mut all: Vec<Arc<PluginMeter>> = Vec::with_capacity(shape.places.len());
        let mut known: HashMap<&str, Arc<PluginMeter>> = old.iter().map(|own| (&*own.plugin, own.clone())).collect();
        for (plugin, _) in &shape.places {
            let new = || Arc::new(PluginMeter { plugin: (*plugin).to_owned(), duration: Histogram::default() });
            all.push(known.entry(plugin).or_insert_with(new).clone());
        }
        all
    }
}

impl RouteShape<'_> {
    fn meter(&self, known: Option<&Route>) -> Route {
        let meter = match known {
            Some(known) => known.meter.clone(),
            None => Arc::new(RouteMeter {
                name: self.name.to_owned(),
                service: self.service.to_owned(),
                ..RouteMeter::default()
            }),
        };
        let mut scripts: Vec<(usize, Arc<ScriptMeter>)> = Vec::with_capacity(self.scripts.len());
        for (place, plugin) in &self.scripts {
            // Two uses of one plugin on a route are one series.
            let known = scripts.iter().chain(known.into_iter().flat_map(|known| &known.scripts));
            let meter = known.map(|(_, meter)| meter).find(|meter| meter.plugin == *plugin).cloned();
            let new = || Arc::new(ScriptMeter { plugin: (*plugin).to_owned(), ..ScriptMeter::default() });
            scripts.push((*place, meter.unwrap_or_else(new)));
        }
        Route { meter, scripts }
    }
}

impl BackgroundMeter {
    /// A run ended.
    pub fn ran(&self, took: Duration, cpu: Duration, ended: Ended) {
        self.runs[ended as usize].increment();
        self.nanoseconds.add(took.as_nanos() as u64);
        self.cpu_nanoseconds.add(cpu.as_nanos() as u64);
    }
}

impl RouteMeter {
    /// The gateway failed an exchange, for a reason of [`FAILURES`].
    pub fn failed(&self, kind: &str) {
        let known = FAILURES.iter().position(|known| *known == kind);
        self.failures[known.unwrap_or(FAILURES.len() - 1)].increment();
    }
}

impl ServiceMeter {
    /// How long the tries at a target take; made when there is none.
    pub fn target(&self, address: &str) -> Arc<Histogram> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = targets.get(address).and_then(Weak::upgrade) {
            return known;
        }
        targets.retain(|_, known| known.strong_count() > 0);
        let made = Arc::new(Histogram::default());
        targets.insert(address.to_owned(), Arc::downgrade(&made));
        made
    }

    /// A try at a target failed, for a reason of [`ERRORS`].
    pub fn failed(&self, kind: &str) {
        if let Some(at) = ERRORS.iter().position(|known| *known == kind) {
            self.errors[at].increment();
        }
    }
}
