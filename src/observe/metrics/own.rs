//! What scripts count themselves: series of the process, by the script's names.
//!
//! They outlive reloads by name and end with their plugin. How many there may be is bounded for each plugin: further ones
//! count as `other`, so that no label that a client writes fills memory. [`Local`] is a worker's view, which looks up without a lock
//! what it has seen before; the sums are atomics that all workers share.

use super::text::Text;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
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
/// Before every name, so that none is one of the gateway's own.
const PREFIX: &str = "gatewright_plugin_";
/// Prometheus' usual bounds, for seconds.
pub const DEFAULT_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DEFAULT_HELP: &str = "Counted by scripts.";

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

    /// How many a histogram has observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

#[derive(Debug, Default)]
pub struct Own(Mutex<Families>);

#[derive(Debug, Default)]
struct Families {
    all: BTreeMap<String, Family>,
    used: HashMap<Arc<str>, Used>,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    /// The last generation that asked for it: only a later one may change its kind.
    generation: u64,
    plugins: BTreeMap<Arc<str>, BTreeMap<Labels, Arc<Series>>>,
}

/// What a plugin has of what is bounded.
#[derive(Debug, Default)]
struct Used {
    lines: usize,
    full: HashSet<String>,
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, Families> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what belongs to other plugins than these.
    pub fn keep(&self, plugins: &HashSet<&str>) {
        let families = &mut *self.lock();
        families.used.retain(|plugin, _| plugins.contains(&**plugin));
        for family in families.all.values_mut() {
            family.plugins.retain(|plugin, _| plugins.contains(&**plugin));
        }
        families.all.retain(|_, family| !family.plugins.is_empty());
    }

    /// The series of a metric whose labels are these or more, added up: its value, and for a histogram how many it has observed.
    pub fn sum(&self, name: &str, labels: &[(String, String)]) -> Option<(f64, Option<u64>)> {
        let families = self.lock();
        let family = families.all.get(name)?;
        let wanted = |own: &Labels| labels.iter().all(|label| own.contains(label));
        let of_all = family.plugins.values().flatten().filter(|(own, _)| wanted(own));
        let found: Vec<&Arc<Series>> = of_all.map(|(_, series)| series).collect();
        let is_histogram = matches!(family.kind, Kind::Histogram(_));
        let count = is_histogram.then(|| found.iter().map(|series| series.count()).sum());
        (!found.is_empty()).then(|| (found.iter().map(|series| series.value()).sum(), count))
    }

    pub(super) fn write(&self, text: &mut Text) {
        for (name, family) in &self.lock().all {
            let name = format!("{PREFIX}{name}");
            match &family.kind {
                Kind::Counter => text.counter(&name, &family.help),
                Kind::Gauge => text.gauge(&name, &family.help),
                Kind::Histogram(_) => text.histogram(&name, &family.help),
            }
            for (plugin, all) in &family.plugins {
                for (own, series) in all {
                    let mut labels: Vec<(&str, &str)> = vec![("plugin", plugin)];
                    labels.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                    match &family.kind {
                        Kind::Counter | Kind::Gauge => text.sample(&labels, series.value()),
                        Kind::Histogram(bounds) => {
                            let bounds: Vec<String> = bounds.iter().map(|bound| format!("{bound:?}")).collect();
                            let counts: Vec<u64> = series.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
                            text.buckets(&labels, bounds.iter().map(String::as_str), &counts, series.value());
                        }
                    }
                }
            }
        }
    }
}

impl Families {
    fn family(&mut self, plugin: &Arc<str>, name: &str, kind: &Kind, generation: u64) -> Result<&mut Family, OwnError> {
        let is_new = !self.all.get(name).is_some_and(|family| family.plugins.contains_key(plugin));
        if is_new && self.all.values().filter(|family| family.plugins.contains_key(plugin)).count() >= MAX_NAMES {
            return Err(OwnError::Names(name.to_owned()));
        }
        let make = || Family { kind: kind.clone(), help: DEFAULT_HELP.into(), generation, plugins: BTreeMap::new() };
        let family = self.all.entry(name.to_owned()).or_insert_with(make);
        if family.kind != *kind {
            if family.generation >= generation {
                let (known, wanted) = (family.kind.name(), kind.name());
                return Err(match known == wanted {
                    true => OwnError::Buckets(name.to_owned()),
                    false => OwnError::Kind { name: name.to_owned(), known, wanted },
                });
            }
            // The script was changed: what was counted before is something else.
            for (plugin, all) in &family.plugins {
                if let Some(used) = self.used.get_mut(plugin) {
                    used.lines = used.lines.saturating_sub(all.len() * family.kind.lines());
                }
            }
            *family = make();
        }
        family.generation = family.generation.max(generation);
        family.plugins.entry(plugin.clone()).or_default();
        Ok(family)
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
        self.own.lock().family(plugin, name, &kind, self.generation)?.help = help.to_owned();
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
        let (series, labels) = self.register(plugin, name, kind, labels)?;
        self.remember(plugin, name, kind.clone());
        if let Some(labels) = labels
            && let Some(known) = self.known.borrow_mut().get_mut(plugin).and_then(|of_plugin| of_plugin.get_mut(name))
        {
            known.series.insert(labels, series.clone());
        }
        Ok(series)
    }

    /// Gives the labels back when the series is theirs, so that what counts as `other` is not remembered by its own.
    fn register(
        &self,
        plugin: &Arc<str>,
        name: &str,
        kind: &Kind,
        labels: Labels,
    ) -> Result<(Arc<Series>, Option<Labels>), OwnError> {
        let mut families = self.own.lock();
        let family = families.family(plugin, name, kind, self.generation)?;
        let all = family.plugins.entry(plugin.clone()).or_default();
        if let Some(series) = all.get(&labels) {
            return Ok((series.clone(), Some(labels)));
        }
        let families = &mut *families;
        let used = families.used.entry(plugin.clone()).or_default();
        let Some(all) = families.all.get_mut(name).and_then(|family| family.plugins.get_mut(plugin)) else {
            return Ok((Arc::new(Series::new(kind)), None));
        };
        if used.lines + kind.lines() <= MAX_SERIES {
            used.lines += kind.lines();
            let series = all.entry(labels.clone()).or_insert_with(|| Arc::new(Series::new(kind)));
            return Ok((series.clone(), Some(labels)));
        }
        if used.full.insert(name.to_owned()) {
            tracing::warn!(
                plugin = &**plugin,
                metric = name,
                most = MAX_SERIES,
                "a script's metric has too many label values: new ones count as `other`"
            );
        }
        let other: Labels = labels.into_iter().map(|(name, _)| (name, OTHER.to_owned())).collect();
        let series = all.entry(other).or_insert_with(|| Arc::new(Series::new(kind)));
        Ok((series.clone(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::text::Format, *};

    fn page(own: &Own) -> String {
        let mut text = Text::new(Format::Prometheus);
        own.write(&mut text);
        text.finish()
    }

    fn label(value: &str) -> Labels {
        vec![("from".to_owned(), value.to_owned())]
    }

    #[test]
    fn all_kinds_are_written() {
        let own = Arc::new(Own::default());
        let local = Local::new(own.clone(), 1);
        let shop: Arc<str> = "shop".into();
        local.describe(&shop, "orders", Kind::Counter, "Orders.").expect("a new name");
        local.series(&shop, "orders", &Kind::Counter, label("de")).expect("the same").add(2.0);
        local.series(&shop, "queue", &Kind::Gauge, Vec::new()).expect("a new name").set(0.5);
        let histogram = Kind::Histogram(Arc::from([1.0, 10.0]));
        local.series(&shop, "items", &histogram, Vec::new()).expect("a new name").observe(10.0);
        let expected = "# HELP gatewright_plugin_items Counted by scripts.\n# TYPE gatewright_plugin_items histogram\n\
            gatewright_plugin_items_bucket{plugin=\"shop\",le=\"1.0\"} 0\ngatewright_plugin_items_bucket{plugin=\"shop\",le=\"10.0\"} 1\n\
            gatewright_plugin_items_bucket{plugin=\"shop\",le=\"+Inf\"} 1\ngatewright_plugin_items_count{plugin=\"shop\"} 1\n\
            gatewright_plugin_items_sum{plugin=\"shop\"} 10\n\
            # HELP gatewright_plugin_orders_total Orders.\n# TYPE gatewright_plugin_orders_total counter\n\
            gatewright_plugin_orders_total{plugin=\"shop\",from=\"de\"} 2\n\
            # HELP gatewright_plugin_queue Counted by scripts.\n# TYPE gatewright_plugin_queue gauge\n\
            gatewright_plugin_queue{plugin=\"shop\"} 0.5\n";
        assert_eq!(page(&own), expected);
    }

    #[test]
    fn a_kind_changes_only_with_the_generation() {
        let own = Arc::new(Own::default());
        let (old, new) = (Local::new(own.clone(), 1), Local::new(own.clone(), 2));
        let shop: Arc<str> = "shop".into();
        old.series(&shop, "x", &Kind::Counter, Vec::new()).expect("a new name").add(1.0);
        let same = old.series(&shop, "x", &Kind::Gauge, Vec::new()).map(drop).map_err(|error| error.to_string());
        assert_eq!(same, Err("`x` is a counter and can't be a gauge as well".to_owned()));
        new.series(&shop, "x", &Kind::Gauge, Vec::new()).expect("the script was changed").set(7.0);
        assert_eq!(own.sum("x", &[]), Some((7.0, None)));
        assert_eq!(
            Local::new(own, 1).series(&shop, "x", &Kind::Counter, Vec::new()).map(drop).map_err(|e| e.to_string()),
            Err("`x` is a gauge and can't be a counter as well".to_owned())
        );
    }

    #[test]
    fn too_many_series_count_as_other_and_leave_with_their_plugin() {
        let own = Arc::new(Own::default());
        let local = Local::new(own.clone(), 1);
        let (shop, rest): (Arc<str>, Arc<str>) = ("shop".into(), "rest".into());
        for number in 0..MAX_SERIES + 5 {
            local.series(&shop, "x", &Kind::Counter, label(&number.to_string())).expect("counted somewhere").add(1.0);
        }
        local.series(&rest, "x", &Kind::Counter, label("a")).expect("another plugin has its own").add(1.0);
        assert_eq!(own.sum("x", &label(OTHER)), Some((5.0, None)));
        assert_eq!(page(&own).lines().count(), 2 + MAX_SERIES + 1 + 1);
        own.keep(&HashSet::from(["rest"]));
        assert_eq!(own.sum("x", &[]), Some((1.0, None)));
        own.keep(&HashSet::new());
        assert_eq!(page(&own), "");
    }

    #[test]
    fn names_are_bounded() {
        let local = Local::new(Arc::default(), 1);
        let shop: Arc<str> = "shop".into();
        for number in 0..MAX_NAMES {
            local.describe(&shop, &format!("n{number}"), Kind::Gauge, "N.").expect("within the bound");
        }
        let error = local.describe(&shop, "more", Kind::Gauge, "N.").map_err(|error| error.to_string());
        assert_eq!(error, Err("`more` is one metric too many: a plugin may have 100".to_owned()));
    }
}
