//! Every key of `gateway.yaml`, once: what is not listed here is refused, and the reference is generated from here.
//!
//! Kong's keys that have no meaning here are listed with what becomes of them, so that a `kong.yml` runs as it stands.

mod gateway;
mod kong;
mod manifest;

use std::fmt::Write;

pub use gateway::SECTIONS;
pub(super) use gateway::*;
pub use manifest::MANIFEST_SECTIONS;
pub(super) use manifest::*;

/// One kind of mapping in the file.
#[derive(Debug)]
pub struct Section {
    /// As named in messages: "a service".
    pub name: &'static str,
    /// Where it stands: `services[]`.
    pub at: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// Kong's keys that are accepted or refused by name.
    pub kong: &'static [Key],
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// What is written behind it, for people: "duration".
    pub kind: &'static str,
    /// As it would be written; empty when there is none.
    pub default: &'static str,
    pub doc: &'static str,
    pub support: Support,
}

/// What the gateway does about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Full,
    /// Kong's, and without influence on what clients see.
    Harmless,
    /// Accepted with a warning: this is what differs.
    Without(&'static str),
    /// An error: leaving it out in silence would serve what should not be served.
    Refused(&'static str),
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().chain(self.kong).find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc, support: Support::Full }
}

const fn harmless(name: &'static str) -> Key {
    Key { support: Support::Harmless, ..key(name, "", "", "") }
}

const fn without(name: &'static str, why: &'static str) -> Key {
    Key { support: Support::Without(why), ..key(name, "", "", "") }
}

const fn refused(name: &'static str, why: &'static str) -> Key {
    Key { support: Support::Refused(why), ..key(name, "", "", "") }
}

/// The reference of the keys of some sections, in Markdown.
pub fn reference(sections: &[&Section]) -> String {
    let mut out = String::new();
    for section in sections {
        // Writing to a String can't fail.
        let _ = writeln!(out, "## {}\n\n`{}`. {}\n", section.name, section.at, section.doc);
        let _ = writeln!(out, "| key | value | default | |\n|---|---|---|---|");
        for key in section.keys.iter().filter(|key| key.support == Support::Full) {
            let default = match key.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            let _ = writeln!(out, "| `{}` | {} | {default} | {} |", key.name, key.kind, key.doc);
        }
        let names = |wanted: fn(Support) -> bool| {
            let all = section.keys.iter().chain(section.kong);
            let names: Vec<_> = all.filter(|key| wanted(key.support)).map(|key| format!("`{}`", key.name)).collect();
            names.join(", ")
        };
        let harmless = names(|support| support == Support::Harmless);
        if !harmless.is_empty() {
            let _ = writeln!(out, "\nAccepted from Kong's files, without effect: {harmless}.");
        }
        let without = names(|support| matches!(support, Support::Without(_)));
        if !without.is_empty() {
            let _ = writeln!(out, "\nAccepted with a warning, without effect: {without}.");
        }
        let refused = names(|support| matches!(support, Support::Refused(_)));
        if !refused.is_empty() {
            let _ = writeln!(out, "\nRefused: {refused}.");
        }
        out.push('\n');
    }
    out
}
