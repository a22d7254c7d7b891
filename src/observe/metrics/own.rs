//! What scripts count themselves: series of the process, by the script's names.
//!
//! They outlive reloads by name and end with their plugin. How many there may be is bounded for each plugin: further ones
//! count as `other`, so that no label that a client writes fills memory. [`Local`] is a worker's view, which looks up without a lock
//! what it has seen before; the sums are atomics that all workers share. What a generation counts before it serves waits
//! beside that of the one that does ([`families`]).

mod families;

use super::text::Text;
use families::Families;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Lines on the page that one plugin may have: Prometheus' own advice is to stay below some hundreds for each metric.
pub const MAX_SERIES: usize = 1000;
/// Metrics that one plugin may have, with whatever labels.
pub const MAX_NAMES: usize = 100;
/// The label values of what is counted together, once there are too many.
pub const OTHER: &str = "other";
/// Prometheus' usual bounds, for seconds.
pub const DEFAULT_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets, ascending.
    Histogram(Arc<[f64]>),
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }

    /// Lines that one set of label values takes.
    fn lines(&self) -> usize {
        match self {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(bounds) => bounds.len() + 3,
        }
    }
}

/// Names and values, in the order of the names.
pub type Labels = Vec<(String, String)>;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OwnError {
    #[error("`{name}` is a {known} and can't be a {wanted} as well")]
    Kind { name: String, known: &'static str, wanted: &'static str },
    #[error("`{0}` is a histogram with other buckets")]
    Buckets(String),
    #[error("`{0}` is one metric too many: a plugin may have {MAX_NAMES}")]
    Names(String),
}

/// One line, or the lines of one histogram.
#[derive(Debug)]
pub struct Series {
    /// The bits of a float.
    value: AtomicU64,
    buckets: Box<[AtomicU64]>,
    bounds: Arc<[f64]>,
}

impl Series {
    fn new(kind: &Kind) -> Series {
        let (bounds, buckets) = match kind {
            Kind::Counter | Kind::Gauge => (Arc::from([]), 0),
            Kind::Histogram(bounds) => (bounds.clone(), bounds.len() + 1),
        };
        Series { value: AtomicU64::new(0), buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(), bounds }
    }

    pub fn add(&self, by: f64) {
        let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // It can't fail: the closure never gives up.
        let _ = self.value.fetch_update(Relaxed, Relaxed, add);
    }

    pub fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Relaxed);
    }

    pub fn observe(&self, value: f64) {
        if let Some(bucket) = self.buckets.get(self.bounds.partition_point(|bound| *bound < value)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.add(value);
    }

    /// The value; of a histogram the sum of what was observed.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }

    /// Takes over what another one of the same kind holds.
    fn join(&self, other: &Series, kind: &Kind) {
        match kind {
            Kind::Gauge => self.set(other.value()),
            Kind::Counter | Kind::Histogram(_) => self.add(other.value()),
        }
        for (own, more) in self.buckets.iter().zip(&other.buckets) {
            own.fetch_add(more.load(Relaxed), Relaxed);
        }
    }

    /// How many a histogram has observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

#[derive(Debug, Default)]
pub struct Own(Mutex<Families>);

impl Own {
    fn lock(&self) -> MutexGuard<'_, Families> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this generation serves: what it has registered so far is shown, and what belongs to other plugins than
    /// these is forgotten.
    pub fn switch(&self, generation: u64, plugins: &HashSet<&str>) {
        self.lock().switch(generation, plugins);
    }

    /// The series of a metric whose labels are these or more, added up: its value, and for a histogram how many it has observed.
    pub fn sum(&self, name: &str, labels: &[(String, String)]) -> Option<(f64, Option<u64>)> {
        self.lock().sum(name, labels)
    }

    pub(super) fn write(&self, text: &mut Text) {
        self.lock().write(text);
    }
}

/// How a worker's scripts of one generation count.
#[derive(Debug)]
pub struct Local {
    own: Arc<Own>,
    generation: u64,
    known: RefCell<HashMap<Arc<str>, HashMap<String, Known>>>,
}

/// Of one plugin and name. Few sets of labels are alive at a time, and comparing beats building a key.
#[derive(Debug)]
struct Known {
    kind: Kind,
    series: HashMap<Labels, Arc<Series>>,
}

impl Local {
    pub fn new(own: Arc<Own>, generation: u64) -> Local {
        Local { own, generation, known: RefCell::default() }
    }

    /// The kind that this plugin has used the name as.
    pub fn kind(&self, plugin: &str, name: &str) -> Option<Kind> {
        self.known.borrow().get(plugin)?.get(name).map(|known| known.kind.clone())
    }

    /// Says what a metric is, before it has a value.
    ///
    /// # Errors
    /// The name is of another kind already, or there are too many.
    pub fn describe(&self, plugin: &Arc<str>, name: &str, kind: Kind, help: &str) -> Result<(), OwnError> {
        self.own.lock().describe(self.generation, plugin, name, &kind, help)?;
        self.remember(plugin, name, kind);
        Ok(())
    }

    fn remember(&self, plugin: &Arc<str>, name: &str, kind: Kind) {
        let mut known = self.known.borrow_mut();
        let of_plugin = known.entry(plugin.clone()).or_default();
        of_plugin.entry(name.to_owned()).or_insert_with(|| Known { kind, series: HashMap::new() });
    }

    /// Where a value with these labels counts.
    ///
    /// # Errors
    /// As [`Local::describe`].
    pub fn series(&self, plugin: &Arc<str>, name: &str, kind: &Kind, labels: Labels) -> Result<Arc<Series>, OwnError> {
        if let Some(known) = self.known.borrow().get(plugin).and_then(|of_plugin| of_plugin.get(name))
            && known.kind == *kind
            && let Some(series) = known.series.get(&labels)
        {
            return Ok(series.clone());
        }
        let (series, labels) = self.own.lock().series(self.generation, plugin, name, kind, labels)?;
        self.remember(plugin, name, kind.clone());
        if let Some(labels) = labels
            && let Some(known) = self.known.borrow_mut().get_mut(plugin).and_then(|of_plugin| of_plugin.get_mut(name))
        {
            known.series.insert(labels, series.clone());
        }
        Ok(series)
    }
}

#[cfg(test)]
mod tests;
