//! Kong's upstreams: named sets of targets, which a service's `host` refers to.

use indexmap::IndexMap;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::health::{self, Kong};
use super::keys;
use super::node::Node;
use super::plugin_use::reference;
use super::source::Spanned;
use super::table::{Table, list};
use super::target::{self, Scheme, Target};

/// Kong's, for a target without one.
const DEFAULT_PORT: u16 = 8000;
const DEFAULT_WEIGHT: u32 = 100;

#[derive(Debug)]
pub(super) struct Upstream {
    pub name: Spanned<String>,
    pub targets: Vec<Target>,
    pub policy: Kong,
}

/// By name, in lower case: hosts are compared so.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    by_name: IndexMap<String, Upstream>,
}

impl Upstreams {
    pub fn get(&self, host: &str) -> Option<&Upstream> {
        self.by_name.get(&host.to_ascii_lowercase())
    }
}

/// Decodes `upstreams`, and `targets` at the top that name theirs.
pub(super) fn upstreams(file: &Table<'_>, diagnostics: &mut Diagnostics) -> Upstreams {
    let mut all = Upstreams::default();
    for node in file.list("upstreams", diagnostics) {
        let Some(upstream) = upstream(node, diagnostics) else {
            continue;
        };
        let key = upstream.name.to_ascii_lowercase();
        if let Some(first) = all.by_name.get(&key) {
            let message = format!("two upstreams are named {}", upstream.name.quoted());
            let diagnostic = Diagnostic::error(&upstream.name.span, message);
            diagnostics.push(diagnostic.related(&first.name.span, "first here"));
        } else {
            all.by_name.insert(key, upstream);
        }
    }
    for node in file.list("targets", diagnostics) {
        let Some((target, owner)) = owned_target(node, diagnostics) else {
            continue;
        };
        match all.by_name.get_mut(&owner.to_ascii_lowercase()) {
            Some(upstream) => upstream.targets.push(target),
            None => {
                let names = all.by_name.values().map(|upstream| &upstream.name);
                diagnostics.push(Diagnostic::undefined("upstream", &owner, names));
            }
        }
    }
    all
}

fn upstream(node: &Node, diagnostics: &mut Diagnostics) -> Option<Upstream> {
    let table = Table::open(node, &keys::UPSTREAM, diagnostics)?;
    let policy = health::kong(&table, diagnostics);
    let mut targets = Vec::new();
    if let Some(items) = table.get("targets").and_then(|node| list(node, diagnostics)) {
        for item in items {
            if let Some(table) = Table::open(item, &keys::UPSTREAM_TARGET, diagnostics) {
                targets.extend(host_target(&table, diagnostics));
            }
        }
    }
    let name = table.name("name", diagnostics);
    if name.is_none() && table.get("name").is_none() {
        table.missing("an upstream needs a `name`", diagnostics);
    }
    Some(Upstream { name: name?, targets, policy })
}

fn owned_target(node: &Node, diagnostics: &mut Diagnostics) -> Option<(Target, Spanned<String>)> {
    let table = Table::open(node, &keys::UPSTREAM_TARGET, diagnostics)?;
    let target = host_target(&table, diagnostics);
    let Some(owner) = table.get("upstream") else {
        table.missing("a target here needs an `upstream`", diagnostics);
        return None;
    };
    let owner = reference(owner, diagnostics)?;
    Some((target?, owner))
}

fn host_target(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Target> {
    let weight = target::weight(table, DEFAULT_WEIGHT, diagnostics);
    let Some(text) = table.name("target", diagnostics) else {
        if table.get("target").is_none() {
            table.missing("a target of an upstream needs a `target`", diagnostics);
        }
        return None;
    };
    match target::host_and_port(&text, DEFAULT_PORT) {
        Ok((host, port)) => Some(Target {
            scheme: Scheme::Http,
            host,
            port,
            path: String::new(),
            weight,
            backup: false,
            span: text.span,
        }),
        Err(why) => {
            let message = format!("{} is not `host:port`: {why}", text.quoted());
            diagnostics.error(&text.span, message);
            None
        }
    }
}
