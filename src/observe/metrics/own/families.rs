//! The series of all scripts: those that are shown, and beside them those of a generation that is being prepared.
//!
//! `on_load` runs on every worker before anybody knows whether its generation will serve, and a build that fails changes
//! nothing: what it registers waits in a set of its own, which [`Families::switch`] joins to the shown one. What is
//! refused is dropped when the next one registers. What a generation before registers, while its last exchanges
//! end, never fails and takes nothing from the one that serves.

use super::{super::text::Text, Kind, Labels, MAX_NAMES, MAX_SERIES, OTHER, OwnError, Series};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Before every name, so that none is one of the gateway's own.
const PREFIX: &str = "gatewright_plugin_";
const DEFAULT_HELP: &str = "Counted by scripts.";

/// A series, and its labels when they are its own, so that what counts as `other` is not remembered by them.
type Found = (Arc<Series>, Option<Labels>);

#[derive(Debug, Default)]
pub struct Families {
    /// The generation that serves; 0 until one registers.
    serving: u64,
    shown: Set,
    next: Option<(u64, Set)>,
}

/// How a generation stands to the one that serves, and what it may change.
enum Standing<'f> {
    Serving(&'f mut Set),
    Before(&'f mut Set),
    Next {
        next: &'f mut Set,
        shown: &'f Set,
    },
    /// Refused, though one of its workers has not heard of it.
    Dropped,
}

#[derive(Debug, Default)]
struct Set {
    all: BTreeMap<String, Family>,
    used: HashMap<Arc<str>, Used>,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: Option<String>,
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

impl Families {
    fn standing(&mut self, generation: u64) -> Standing<'_> {
        if self.serving == 0 {
            // Before the first one there is nothing that could be lost.
            self.serving = generation;
        }
        let Families { serving, shown, next } = self;
        match generation.cmp(serving) {
            Ordering::Equal => Standing::Serving(shown),
            Ordering::Less => Standing::Before(shown),
            Ordering::Greater => {
                let (number, next) = next.get_or_insert_with(|| (generation, Set::default()));
                if generation > *number {
                    (*number, *next) = (generation, Set::default());
                }
                if generation == *number { Standing::Next { next, shown } } else { Standing::Dropped }
            }
        }
    }

    /// # Errors
    /// As [`Local::describe`](super::Local::describe).
    pub fn describe(
        &mut self,
        generation: u64,
        plugin: &Arc<str>,
        name: &str,
        kind: &Kind,
        help: &str,
    ) -> Result<(), OwnError> {
        let family = match self.standing(generation) {
            Standing::Serving(shown) => shown.family(plugin, name, kind, generation, &Set::default())?,
            Standing::Next { next, shown } => next.family(plugin, name, kind, generation, shown)?,
            Standing::Before(_) | Standing::Dropped => return Ok(()),
        };
        family.help = Some(help.to_owned());
        Ok(())
    }

    /// # Errors
    /// As [`Local::describe`](super::Local::describe).
    pub fn series(
        &mut self,
        generation: u64,
        plugin: &Arc<str>,
        name: &str,
        kind: &Kind,
        labels: Labels,
    ) -> Result<Found, OwnError> {
        let none = Set::default();
        match self.standing(generation) {
            Standing::Serving(shown) => {
                shown.family(plugin, name, kind, generation, &none)?;
                Ok(shown.series(plugin, name, kind, labels, &none))
            }
            Standing::Next { next, shown } => {
                next.family(plugin, name, kind, generation, shown)?;
                // Its labels are not given: once it serves, another series may be theirs.
                Ok((next.series(plugin, name, kind, labels, shown).0, None))
            }
            Standing::Before(shown) if shown.is(plugin, name, kind) => {
                Ok(shown.series(plugin, name, kind, labels, &none))
            }
            Standing::Before(_) | Standing::Dropped => Ok((Arc::new(Series::new(kind)), None)),
        }
    }

    /// From now on this generation serves, with these plugins.
    pub fn switch(&mut self, generation: u64, plugins: &HashSet<&str>) {
        self.serving = generation;
        if let Some((_, next)) = self.next.take().filter(|(next, _)| *next == generation) {
            self.shown.adopt(next);
        }
        self.shown.keep(plugins);
    }

    pub fn sum(&self, name: &str, labels: &[(String, String)]) -> Option<(f64, Option<u64>)> {
        let family = self.shown.all.get(name)?;
        let wanted = |own: &Labels| labels.iter().all(|label| own.contains(label));
        let of_all = family.plugins.values().flatten().filter(|(own, _)| wanted(own));
        let found: Vec<&Arc<Series>> = of_all.map(|(_, series)| series).collect();
        let is_histogram = matches!(family.kind, Kind::Histogram(_));
        let count = is_histogram.then(|| found.iter().map(|series| series.count()).sum());
        (!found.is_empty()).then(|| (found.iter().map(|series| series.value()).sum(), count))
    }

    pub fn write(&self, text: &mut Text) {
        for (name, family) in &self.shown.all {
            family.write(&format!("{PREFIX}{name}"), text);
        }
    }
}

impl Set {
    /// The family of that name, for a plugin. `beside` is bounded with it.
    fn family(
        &mut self,
        plugin: &Arc<str>,
        name: &str,
        kind: &Kind,
        generation: u64,
        beside: &Set,
    ) -> Result<&mut Family, OwnError> {
        if !self.has(plugin, name) && !beside.has(plugin, name) {
            let more = beside.names(plugin).filter(|name| !self.has(plugin, name));
            if self.names(plugin).chain(more).count() >= MAX_NAMES {
                return Err(OwnError::Names(name.to_owned()));
            }
        }
        let make = || Family { kind: kind.clone(), help: None, generation, plugins: BTreeMap::new() };
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

    fn has(&self, plugin: &str, name: &str) -> bool {
        self.all.get(name).is_some_and(|family| family.plugins.contains_key(plugin))
    }

    fn is(&self, plugin: &str, name: &str, kind: &Kind) -> bool {
        self.has(plugin, name) && self.all.get(name).is_some_and(|family| family.kind == *kind)
    }

    fn names(&self, plugin: &str) -> impl Iterator<Item = &str> {
        let of_plugin = self.all.iter().filter(move |(_, family)| family.plugins.contains_key(plugin));
        of_plugin.map(|(name, _)| name.as_str())
    }

    fn lines(&self, plugin: &str) -> usize {
        self.used.get(plugin).map_or(0, |used| used.lines)
    }

    fn get(&self, plugin: &str, name: &str, labels: &Labels) -> Option<&Arc<Series>> {
        self.all.get(name)?.plugins.get(plugin)?.get(labels)
    }

    /// The series with these labels in a family that is there, or that of `other`.
    fn series(&mut self, plugin: &Arc<str>, name: &str, kind: &Kind, labels: Labels, beside: &Set) -> Found {
        if let Some(series) = self.get(plugin, name, &labels) {
            return (series.clone(), Some(labels));
        }
        let lines = self.lines(plugin) + beside.lines(plugin);
        let Some(all) = self.all.get_mut(name).and_then(|family| family.plugins.get_mut(plugin)) else {
            return (Arc::new(Series::new(kind)), None);
        };
        let used = self.used.entry(plugin.clone()).or_default();
        if lines + kind.lines() <= MAX_SERIES || beside.get(plugin, name, &labels).is_some() {
            used.lines += kind.lines();
            let series = all.entry(labels.clone()).or_insert_with(|| Arc::new(Series::new(kind)));
            return (series.clone(), Some(labels));
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
        (series.clone(), None)
    }

    /// Takes over what a generation that serves from now on has registered.
    fn adopt(&mut self, next: Set) {
        for (name, family) in next.all {
            match self.all.get_mut(&name) {
                Some(known) if known.kind == family.kind => known.join(family),
                _ => {
                    self.all.insert(name, family);
                }
            }
        }
    }

    /// Forgets what belongs to other plugins than these.
    fn keep(&mut self, plugins: &HashSet<&str>) {
        self.used.retain(|plugin, _| plugins.contains(&**plugin));
        self.used.values_mut().for_each(|used| used.lines = 0);
        for family in self.all.values_mut() {
            family.plugins.retain(|plugin, _| plugins.contains(&**plugin));
            for (plugin, all) in &family.plugins {
                self.used.entry(plugin.clone()).or_default().lines += all.len() * family.kind.lines();
            }
        }
        self.all.retain(|_, family| !family.plugins.is_empty());
    }
}

impl Family {
    fn join(&mut self, next: Family) {
        self.generation = next.generation;
        self.help = next.help.or(self.help.take());
        for (plugin, all) in next.plugins {
            let own = self.plugins.entry(plugin).or_default();
            for (labels, series) in all {
                match own.get(&labels) {
                    Some(known) => known.join(&series, &self.kind),
                    None => drop(own.insert(labels, series)),
                }
            }
        }
    }

    fn write(&self, name: &str, text: &mut Text) {
        let help = self.help.as_deref().unwrap_or(DEFAULT_HELP);
        match &self.kind {
            Kind::Counter => text.counter(name, help),
            Kind::Gauge => text.gauge(name, help),
            Kind::Histogram(_) => text.histogram(name, help),
        }
        for (plugin, all) in &self.plugins {
            for (own, series) in all {
                let mut labels: Vec<(&str, &str)> = vec![("plugin", plugin)];
                labels.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                match &self.kind {
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
