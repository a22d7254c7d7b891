//! Reading a mapping against the list of its keys.
//!
//! [`Table::open`] reports what does not belong there; the typed getters report wrong types and give `None`. A key
//! with nothing behind it (`plugins:`) counts as absent, as in Kong. Getters never stop at the first mistake.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys::{Section, Support};
use super::node::{Entry, Map, Node};
use super::source::{Span, Spanned};
use super::units;

/// A mapping whose keys have been checked.
#[derive(Clone, Copy)]
pub(super) struct Table<'n> {
    pub node: &'n Node,
    map: &'n Map,
    section: &'static Section,
    /// Whether it has keys that don't belong: one of those may be meant for one that is missing.
    strange: bool,
}

impl<'n> Table<'n> {
    /// Checks that `node` is a mapping with no keys but the section's.
    pub fn open(node: &'n Node, section: &'static Section, diagnostics: &mut Diagnostics) -> Option<Table<'n>> {
        let Some(map) = node.as_map() else {
            mismatch(node, &format!("a mapping ({})", section.name), diagnostics);
            return None;
        };
        let strange = map.keys().any(|name| section.key(name).is_none());
        let table = Table { node, map, section, strange };
        for (name, entry) in map {
            table.check_key(name, entry, diagnostics);
        }
        Some(table)
    }

    fn check_key(&self, name: &str, entry: &Entry, diagnostics: &mut Diagnostics) {
        let what = self.section.name;
        let Some(key) = self.section.key(name) else {
            let message = format!("unknown key `{name}` in {what}");
            let names = self.section.keys.iter().map(|key| key.name);
            diagnostics.push(Diagnostic::error(&entry.key, message).nearest(name, names));
            return;
        };
        // `consumers: []` asks for nothing; `circuit_breaker: {}` asks for the defaults.
        let empty = entry.node.is_null() || entry.node.as_list().is_some_and(|l| l.is_empty());
        match key.support {
            _ if empty => {}
            Support::Full | Support::Harmless => {}
            Support::Without(why) => {
                diagnostics.warning(&entry.key, format!("`{name}` has no effect: {why}"));
            }
            Support::Refused(why) => {
                diagnostics.error(&entry.key, format!("`{name}` is not supported: {why}"));
            }
        }
    }

    /// What is behind a key, unless it is null.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The place of a key that has something behind it.
    pub fn key_span(&self, key: &str) -> Option<&'n Span> {
        self.entry(key).map(|entry| &entry.key)
    }

    fn entry(&self, key: &str) -> Option<&'n Entry> {
        // A key that is read but not listed would be refused as unknown: a bug, caught by any test that decodes.
        debug_assert!(self.section.key(key).is_some(), "unlisted key {key}");
        // Most mappings have a few keys and are asked for many: then comparing costs less than hashing.
        let entry = match self.map.len() {
            0..=8 => self.map.iter().find(|(name, _)| *name == key).map(|(_, entry)| entry),
            _ => self.map.get(key),
        };
        entry.filter(|entry| !entry.node.is_null())
    }

    /// Reports that something is missing, unless a mistyped key, already reported, explains it.
    pub fn missing(&self, message: impl Into<String>, diagnostics: &mut Diagnostics) {
        self.lacks(Diagnostic::error(&self.node.span, message), diagnostics);
    }

    /// As [`Table::missing`], with a diagnostic of one's own.
    pub fn lacks(&self, diagnostic: Diagnostic, diagnostics: &mut Diagnostics) {
        if !self.strange {
            diagnostics.push(diagnostic);
        }
    }

    /// The place to point at for the mapping as a whole.
    pub fn span(&self) -> &'n Span {
        &self.node.span
    }

    pub fn string(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
        string(self.get(key)?, diagnostics)
    }

    /// A string that is not empty.
    pub fn name(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
        let name = self.string(key, diagnostics)?;
        if name.trim().is_empty() {
            diagnostics.error(&name.span, format!("`{key}` is empty"));
            return None;
        }
        Some(name)
    }

    pub fn boolean(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        boolean(self.get(key)?, diagnostics)
    }

    pub fn integer(&self, key: &str, range: RangeInclusive<i64>, diagnostics: &mut Diagnostics) -> Option<i64> {
        integer(self.get(key)?, range, diagnostics)
    }

    /// A duration above zero.
    pub fn duration(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Duration> {
        let node = self.get(key)?;
        let duration = duration(node, diagnostics)?;
        if duration.is_zero() {
            diagnostics.error(&node.span, format!("`{key}` must be more than zero"));
            return None;
        }
        Some(duration)
    }

    /// A duration above zero, or `off` or 0: none. Nothing when the key is absent.
    pub fn duration_or_off(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Option<Duration>> {
        let node = self.get(key)?;
        if node.as_str() == Some("off") || node.as_bool() == Some(false) {
            return Some(None);
        }
        duration(node, diagnostics).map(|duration| (!duration.is_zero()).then_some(duration))
    }

    pub fn size(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<u64> {
        size(self.get(key)?, diagnostics)
    }

    /// The items of a list; none when the key is absent or no list.
    pub fn list(&self, key: &str, diagnostics: &mut Diagnostics) -> &'n [Node] {
        self.get(key).and_then(|node| list(node, diagnostics)).unwrap_or_default()
    }

    /// A list of strings.
    pub fn strings(&self, key: &str, diagnostics: &mut Diagnostics) -> Vec<Spanned<String>> {
        self.list(key, diagnostics).iter().filter_map(|item| string(item, diagnostics)).collect()
    }

    /// The entries of a mapping with keys of the user's own.
    pub fn entries(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> impl Iterator<Item = (&'n String, &'n Entry)> + use<'n> {
        let map = self.get(key).and_then(|node| {
            let map = node.as_map();
            if map.is_none() {
                mismatch(node, "a mapping", diagnostics);
            }
            map
        });
        map.into_iter().flatten()
    }
}

/// Reports a value of the wrong type: expected …, found ….
pub(super) fn mismatch(node: &Node, expected: &str, diagnostics: &mut Diagnostics) {
    if !node.is_broken() {
        diagnostics.push(wrong_type(node, expected));
    }
}

fn wrong_type(node: &Node, expected: &str) -> Diagnostic {
    let message = format!("expected {expected}, found {}", node.describe());
    Diagnostic::error(&node.span, message)
}

pub(super) fn string(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    if let Some(text) = node.as_str() {
        return Some(Spanned::new(text.to_owned(), node.span.clone()));
    }
    if node.as_bool().is_some() || node.as_number().is_some() {
        let quoted = format!("\"{}\"", node.span.text());
        let help = format!("put it in quotes: `{quoted}`");
        diagnostics.push(wrong_type(node, "a string").help(help).fix(quoted));
    } else {
        mismatch(node, "a string", diagnostics);
    }
    None
}

pub(super) fn boolean(node: &Node, diagnostics: &mut Diagnostics) -> Option<bool> {
    if let Some(value) = node.as_bool() {
        return Some(value);
    }
    let meant = match node.as_str() {
        Some("yes" | "on" | "Yes" | "On") => Some("true"),
        Some("no" | "off" | "No" | "Off") => Some("false"),
        _ => None,
    };
    match meant {
        Some(meant) => diagnostics.push(
            wrong_type(node, "true or false").help(format!("write `{meant}`: what is written is a string")).fix(meant),
        ),
        None => mismatch(node, "true or false", diagnostics),
    }
    None
}

pub(super) fn integer(node: &Node, range: RangeInclusive<i64>, diagnostics: &mut Diagnostics) -> Option<i64> {
    let Some(value) = node.as_i64() else {
        mismatch(node, "a whole number", diagnostics);
        return None;
    };
    if !range.contains(&value) {
        let (low, high) = (range.start(), range.end());
        let bounds = match *high {
            i64::MAX => format!("at least {low}"),
            _ => format!("from {low} to {high}"),
        };
        mismatch(node, &format!("a whole number {bounds}"), diagnostics);
        return None;
    }
    Some(value)
}

pub(super) fn duration(node: &Node, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let parsed = match node.as_number() {
        Some(number) => units::parse_duration(&number.to_string()),
        None => node.as_str().and_then(units::parse_duration),
    };
    if parsed.is_none() {
        mismatch(node, "a duration such as `500ms`, `5s` or `1m` (a bare number is milliseconds)", diagnostics);
    }
    parsed
}

pub(super) fn size(node: &Node, diagnostics: &mut Diagnostics) -> Option<u64> {
    let parsed = match node.as_number() {
        Some(number) => units::parse_size(&number.to_string()),
        None => node.as_str().and_then(units::parse_size),
    };
    if parsed.is_none() {
        mismatch(node, "a size such as `64KB` or `8MiB` (a bare number is bytes)", diagnostics);
    }
    parsed
}

pub(super) fn list<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n [Node]> {
    let items = node.as_list();
    if items.is_none() && !node.is_broken() {
        let mut diagnostic = wrong_type(node, "a list");
        if node.as_map().is_none() {
            let fixed = format!("[{}]", node.span.text());
            diagnostic = diagnostic.help(format!("write `{fixed}`")).fix(fixed);
        }
        diagnostics.push(diagnostic);
    }
    items
}
