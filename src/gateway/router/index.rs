//! The router's index: numbers of entries by host and path.
//!
//! Finds the entries that can fit a request by what its host and path begin or end with, in as many looks as these have parts,
//! however many routes there are. It knows neither ranks nor other conditions.

use crate::config::{HostPattern, PathPattern, Segment};
use ahash::AHasher;
use std::{collections::HashMap, hash::BuildHasherDefault};

/// Without a seed of its own, which would make a host's entries half as large again. Only the configuration puts keys in, so
/// no client can make them collide.
type Map<V> = HashMap<Box<str>, V, BuildHasherDefault<AHasher>>;

#[derive(Default)]
struct Node {
    literals: Map<Node>,
    parameter: Option<Box<Node>>,
    entries: Vec<u32>,
}

/// The entries of one host, by path.
#[derive(Default)]
pub(super) struct Paths {
    exact: Index,
    /// Without the slash at the end, unless it was written.
    prefixes: Index,
    /// The [bits](prefix_bit) of the prefixes: most searches are spared.
    prefix_bits: u64,
    /// Apart, since most hosts have none.
    templates: Option<Box<Node>>,
    /// Of regexes and of routes without paths.
    always: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Hosts {
    exact: Map<Paths>,
    /// `.example.com`
    suffixes: Map<Paths>,
    /// `api.`
    prefixes: Map<Paths>,
    any: Paths,
}

/// The entries of one place: nearly always a single one, which is then here and not behind a pointer.
struct Numbers {
    first: u32,
    others: Vec<u32>,
}

/// Numbers by path. Most hosts have a single one, for which a table is one more place in memory to wait for.
#[derive(Default)]
enum Index {
    #[default]
    Empty,
    One(Box<str>, Numbers),
    Many(Map<Numbers>),
}

impl Index {
    fn add(&mut self, key: &str, number: u32) {
        *self = match std::mem::take(self) {
            Index::Empty => Index::One(key.into(), Numbers::new(number)),
            Index::One(known, mut numbers) if *known == *key => {
                numbers.others.push(number);
                Index::One(known, numbers)
            }
            Index::One(known, numbers) => {
                Index::Many([(known, numbers), (key.into(), Numbers::new(number))].into_iter().collect())
            }
            Index::Many(mut all) => {
                match all.get_mut(key) {
                    Some(numbers) => numbers.others.push(number),
                    None => drop(all.insert(key.into(), Numbers::new(number))),
                }
                Index::Many(all)
            }
        }
    }

    fn get(&self, key: &str) -> Option<&Numbers> {
        match self {
            Index::Empty => None,
            Index::One(known, numbers) => (**known == *key).then_some(numbers),
            Index::Many(all) => all.get(key),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Index::Empty)
    }
}

impl Numbers {
    fn new(first: u32) -> Numbers {
        Numbers { first, others: Vec::new() }
    }

    fn each(&self, see: &mut impl FnMut(u32)) {
        see(self.first);
        self.others.iter().for_each(|number| see(*number));
    }
}

impl Hosts {
    pub fn of(&mut self, host: Option<&HostPattern>) -> &mut Paths {
        match host {
            None => &mut self.any,
            Some(HostPattern::Exact(host)) => self.exact.entry(host.as_str().into()).or_default(),
            Some(HostPattern::Suffix(end)) => self.suffixes.entry(end.as_str().into()).or_default(),
            Some(HostPattern::Prefix(start)) => self.prefixes.entry(start.as_str().into()).or_default(),
        }
    }

    pub fn candidates(&self, host: &str, mut see: impl FnMut(&Paths)) {
        if let Some(paths) = self.exact.get(host) {
            see(paths);
        }
        if !(self.suffixes.is_empty() && self.prefixes.is_empty()) {
            for (at, _) in host.match_indices('.').filter(|(at, _)| *at > 0) {
                self.suffixes.get(&host[at..]).into_iter().for_each(&mut see);
                self.prefixes.get(&host[..=at]).into_iter().for_each(&mut see);
            }
        }
        see(&self.any);
    }
}

impl Paths {
    pub fn add(&mut self, pattern: Option<&PathPattern>, number: u32) {
        match pattern {
            None | Some(PathPattern::Regex { .. }) => self.always.push(number),
            Some(PathPattern::Exact(path)) => self.exact.add(path, number),
            Some(PathPattern::Prefix(prefix)) => {
                self.prefix_bits |= prefix_bit(prefix);
                self.prefixes.add(prefix, number);
            }
            Some(PathPattern::Template(segments)) => self.templates.get_or_insert_default().add(segments, number),
        }
    }

    pub fn candidates(&self, path: &str, see: &mut impl FnMut(u32)) {
        if let Some(numbers) = self.exact.get(path) {
            numbers.each(see);
        }
        let mut below = |prefix: &str| {
            if self.prefix_bits & prefix_bit(prefix) != 0
                && let Some(numbers) = self.prefixes.get(prefix)
            {
                numbers.each(see);
            }
        };
        if !self.prefixes.is_empty() {
            // `/a/b` is below `/a/b`, `/a/`, `/a` and `/`.
            below(path);
            for (at, _) in path.bytes().enumerate().filter(|(_, byte)| *byte == b'/') {
                if at + 1 < path.len() {
                    below(&path[..=at]);
                }
                if at > 0 {
                    below(&path[..at]);
                }
            }
        }
        if let Some(templates) = &self.templates {
            templates.candidates(path.get(1..), see);
        }
        self.always.iter().for_each(|number| see(*number));
    }
}

/// One bit for a prefix, by its length and its last byte.
fn prefix_bit(prefix: &str) -> u64 {
    let last = prefix.bytes().last().map_or(0, usize::from);
    1 << (((31 * prefix.len()) ^ last) % 64)
}

impl Node {
    fn add(&mut self, segments: &[Segment], number: u32) {
        match segments.split_first() {
            None => self.entries.push(number),
            Some((Segment::Literal(text), rest)) => {
                self.literals.entry(text.as_str().into()).or_default().add(rest, number)
            }
            Some((Segment::Parameter(_), rest)) => self.parameter.get_or_insert_default().add(rest, number),
        }
    }

    /// `rest`: the path that is left, without its slash; nothing when it has ended.
    fn candidates(&self, rest: Option<&str>, see: &mut impl FnMut(u32)) {
        let Some(rest) = rest else {
            self.entries.iter().for_each(|number| see(*number));
            return;
        };
        if self.literals.is_empty() && self.parameter.is_none() {
            return;
        }
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(node) = self.literals.get(segment) {
            node.candidates(rest, see);
        }
        if let Some(node) = self.parameter.as_deref().filter(|_| !segment.is_empty()) {
            node.candidates(rest, see);
        }
    }
}
