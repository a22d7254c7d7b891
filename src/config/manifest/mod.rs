//! Plugin manifests: `plugin.toml`, or the header comment of a plugin that is one file.
//!
//! A manifest says what a plugin is, what it may reach, and which keys its `config` has; [`Manifest::check`] holds a
//! use of the plugin in `gateway.yaml` against that. Files are found and read by others.

mod check;
mod field;
mod header;
mod host;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use indexmap::IndexMap;

pub use field::{Field, FieldType};
pub use host::Host;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::node::Node;
use super::source::{Source, Spanned};
use super::table::{Table, mismatch};

/// What a plugin says of itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// That of its folder or file.
    pub name: String,
    pub version: Option<String>,
    pub kind: Kind,
    pub description: Option<String>,
    pub permissions: Permissions,
    /// The keys of its `config`, in the order written.
    pub config: IndexMap<String, Field>,
    /// Whether keys that are not listed are passed on; otherwise they are mistakes.
    pub additional_keys: bool,
}

/// What a plugin is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Decides who a caller is and what it may do: an error in it always refuses the request.
    Auth,
    /// Limits, caches, steers.
    Traffic,
    /// Changes requests or responses.
    Transform,
    /// Refuses what is not well formed.
    Validate,
    /// Answers itself.
    Respond,
    /// Ids, logs, metrics.
    Observe,
    #[default]
    Other,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Auth, Kind::Traffic, Kind::Transform, Kind::Validate, Kind::Respond, Kind::Observe, Kind::Other];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Auth => "auth",
            Kind::Traffic => "traffic",
            Kind::Transform => "transform",
            Kind::Validate => "validate",
            Kind::Respond => "respond",
            Kind::Observe => "observe",
            Kind::Other => "other",
        }
    }
}

/// What a plugin may reach beyond the gateway's own services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    pub hosts: Vec<Host>,
    /// Names of environment variables.
    pub env: Vec<String>,
    /// Prefixes of keys.
    pub redis: Vec<String>,
    /// Whether it may run scripts in Redis although only some keys are granted, which then hold for what it calls keys alone.
    pub redis_scripts: bool,
    /// Headers that it may write, in lower case, with a `*` at the end for all that begin so. Absent: any.
    pub headers: Option<Vec<String>>,
}

impl Manifest {
    /// The manifest of a plugin that has none: it may reach nothing, and its config is not checked.
    pub fn bare(name: &str) -> Manifest {
        Manifest {
            name: name.to_owned(),
            version: None,
            kind: Kind::Other,
            description: None,
            permissions: Permissions::default(),
            config: IndexMap::new(),
            additional_keys: true,
        }
    }

    /// The hosts that a use of it names, and with that permits: those of fields of the type `url`.
    pub fn hosts_of<'a>(&'a self, config: &'a Node) -> impl Iterator<Item = Host> + 'a {
        let urls = self.config.iter().filter(|(_, field)| field.kind == FieldType::Url);
        urls.filter_map(|(key, _)| Host::of_url(config.get(key)?.as_str()?))
    }

    /// Reads `plugin.toml` of the plugin `name` (its folder's); as much as could be made of it.
    pub fn parse(source: &Arc<Source>, name: &str, diagnostics: &mut Diagnostics) -> Manifest {
        let root = super::toml::parse(source, 0..source.text().len(), diagnostics);
        decode(&root, name, diagnostics)
    }

    /// Reads the header comment of a script that is a plugin by itself, `--[[ plugin.toml … ]]` or
    /// `/* plugin.toml … */`; [`Manifest::bare`] when it has none.
    pub fn of_script(source: &Arc<Source>, name: &str, diagnostics: &mut Diagnostics) -> Manifest {
        match header::range(source.text()) {
            None => Manifest::bare(name),
            Some(range) => {
                let root = super::toml::parse(source, range, diagnostics);
                decode(&root, name, diagnostics)
            }
        }
    }
}

fn decode(root: &Node, name: &str, diagnostics: &mut Diagnostics) -> Manifest {
    let mut manifest = Manifest { additional_keys: false, ..Manifest::bare(name) };
    let Some(table) = Table::open(root, &keys::MANIFEST, diagnostics) else {
        return manifest;
    };
    if let Some(written) = table.name("name", diagnostics)
        && written.value != name
    {
        let message = format!("the manifest of `{name}` says {}", written.quoted());
        let help = format!("write `name = \"{name}\"`, or rename the folder or file");
        diagnostics.push(Diagnostic::error(&written.span, message).help(help));
    }
    let text = |key: &str, diagnostics: &mut Diagnostics| table.string(key, diagnostics).map(|text| text.value);
    manifest.version = text("version", diagnostics);
    manifest.description = text("description", diagnostics);
    manifest.kind = kind(&table, diagnostics);
    manifest.permissions = permissions(&table, diagnostics);
    manifest.config = field::fields(&table, "config", diagnostics);
    manifest.additional_keys = table.boolean("additional_keys", diagnostics).unwrap_or(false);
    manifest
}

fn kind(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Kind {
    let Some(text) = table.string("kind", diagnostics) else {
        return Kind::default();
    };
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == text.value);
    known.unwrap_or_else(|| {
        let names = Kind::ALL.map(Kind::as_str);
        let message = format!("unknown kind {}", text.quoted());
        let help = format!("one of {}", names.map(|name| format!("`{name}`")).join(", "));
        let diagnostic = Diagnostic::error(&text.span, message).help(help);
        diagnostics.push(diagnostic.nearest(&text, names));
        Kind::default()
    })
}

fn permissions(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Permissions {
    let Some(node) = table.get("permissions") else {
        return Permissions::default();
    };
    let Some(table) = Table::open(node, &keys::PERMISSIONS, diagnostics) else {
        return Permissions::default();
    };
    let mut checked = |key: &str, wrong: fn(&str) -> Option<&'static str>| {
        let written = table.strings(key, diagnostics);
        let mut right = Vec::with_capacity(written.len());
        for text in written {
            match wrong(&text) {
                None => right.push(text.value),
                Some(why) => diagnostics.error(&text.span, format!("{} {why}", text.quoted())),
            }
        }
        right
    };
    let hosts = checked("hosts", |host| {
        Host::parse(host)
            .is_none()
            .then_some("is not a host such as `api.example.com`, `https://*.example.com:8443` or `10.0.0.0/8`")
    });
    let headers = checked("headers", |name| {
        let stem = name.strip_suffix('*').unwrap_or(name);
        let is_name = stem.is_empty() && name == "*" || http::HeaderName::from_bytes(stem.as_bytes()).is_ok();
        (!is_name).then_some("is not the name of a header, or the begin of one such as `x-user-*`")
    });
    let lower: Vec<_> = headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    Permissions {
        hosts: hosts.iter().filter_map(|host| Host::parse(host)).collect(),
        headers: table.get("headers").map(|_| lower),
        env: checked("env", |name| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            (name.is_empty() || !name.bytes().all(letters)).then_some("is not the name of an environment variable")
        }),
        redis: checked("redis", |prefix| prefix.is_empty().then_some("would allow every key; name a prefix")),
        redis_scripts: table.boolean("redis_scripts", diagnostics).unwrap_or(false),
    }
}

/// A list of names for people: `a`, `b` or `c`.
fn alternatives(values: &[serde_json::Value]) -> String {
    let shown: Vec<_> = values.iter().map(|value| format!("`{}`", plain(value))).collect();
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text_list(node: &Node, diagnostics: &mut Diagnostics) -> Vec<Spanned<serde_json::Value>> {
    let Some(items) = node.as_list() else {
        mismatch(node, "a list", diagnostics);
        return Vec::new();
    };
    items.iter().map(|item| Spanned::new(item.to_json(), item.span.clone())).collect()
}
