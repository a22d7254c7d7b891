//! What a running hook can reach: its instance, its exchange, its worker's services.
//!
//! A [`Scope`] is made for each hook call and handed to every host function. It is the only way from a script to the
//! gateway, so permissions are checked against it.

use super::{
    Exchange, Hook,
    background::Background,
    cache::Caches,
    host::schema::openapi::Api,
    limits::{Limits, Usage},
    outbound::Outbound,
    trial::Trial,
    turns::Turns,
};
use crate::{
    observe::{
        metrics::own,
        traces::{Kind, SpanInProgress},
    },
    store::WorkerStore,
};
use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One place that uses a script: a plugin named by a route, a service or globally, or a route script.
pub struct Instance {
    /// The plugin's name, or the script's path as the configuration writes it.
    pub plugin: Arc<str>,
    /// Where it stands: `ctx.place`.
    pub place: Arc<str>,
    pub permissions: Permissions,
    pub limits: Limits,
    /// What `schema.openapi` finds.
    pub documents: Documents,
}

/// The OpenAPI documents that an instance's configuration names, by what is written there. Compiled once for all workers.
pub type Documents = Arc<BTreeMap<String, Arc<Api>>>;

/// What a plugin's manifest grants beyond its own exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Hosts that `http` may call, besides `svc://`, as the manifest writes them.
    pub hosts: Vec<String>,
    /// Names that `env` may read.
    pub env: Vec<String>,
    /// Prefixes of Redis keys; empty: any.
    pub redis: Vec<String>,
    /// Whether scripts may run in Redis although only some keys are granted.
    pub redis_scripts: bool,
    /// Headers that it may write, in lower case, with a `*` at the end for all that begin so. Absent: any.
    pub headers: Option<Vec<String>>,
}

/// What a worker offers to its scripts.
pub struct Services {
    pub store: WorkerStore,
    pub outbound: Rc<dyn Outbound>,
    /// `log` in `on_load` speaks on one worker only, though each runs it.
    pub first_worker: bool,
    pub caches: Caches,
    /// What scripts count themselves.
    pub metrics: own::Local,
    /// What `on_load` gives to `every`; none where nothing would run it.
    pub background: Option<Background>,
    pub turns: Turns,
    /// Set while `gatewright test` tries the scripts.
    pub trial: Option<Rc<dyn Trial>>,
}

impl Services {
    /// The time of day, as far as scripts are concerned.
    pub fn since_1970(&self) -> Duration {
        match &self.trial {
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Some(trial) => trial.now(),
        }
    }
}

pub struct Scope {
    pub hook: Hook,
    pub instance: Rc<Instance>,
    /// None in `on_load`.
    pub exchange: Option<Rc<Exchange>>,
    pub services: Rc<Services>,
    /// The hook's span; 0 when it is not recorded.
    pub span: u64,
    /// What the hook has taken so far.
    pub used: Cell<Usage>,
}

impl Scope {
    /// Begins the span of a call that the script makes, where its exchange is recorded.
    pub fn begin_span(&self, kind: Kind, name: impl FnOnce() -> String) -> Option<SpanInProgress> {
        let recording = self.exchange.as_ref()?.account.recording.get()?;
        Some(recording.begin(self.span, kind, name()))
    }
}
