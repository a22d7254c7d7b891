//! The entries of a `plugins` list: which plugin or script, with which configuration.
//!
//! Whether the plugin exists, and whether its configuration fits, is for those who know plugins; the configuration
//! keeps its places for them.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::node::Node;
use super::source::{Span, Spanned};
use super::table::{Table, list, mismatch};

/// A plugin where it is used.
#[derive(Clone, Debug)]
pub struct PluginUse {
    pub kind: PluginKind,
    pub id: Option<Spanned<String>>,
    /// False takes out the same plugin of a wider scope.
    pub enabled: bool,
    /// A mapping, expanded; empty when none is written.
    pub config: Node,
    pub on_error: OnError,
    /// The name or the script path as written.
    pub span: Span,
}

impl PluginUse {
    /// What a narrower scope replaces it by, and its name in its scope.
    pub fn key(&self) -> String {
        // Kong writes a UUID behind every plugin: such an id says nothing about which are the same.
        let id = self.id.as_ref().filter(|id| uuid::Uuid::parse_str(&id.value).is_err());
        match (id, &self.kind) {
            (Some(id), _) => id.value.clone(),
            (None, PluginKind::Named(name)) => name.clone(),
            (None, PluginKind::Script(path)) => path.display().to_string(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginKind {
    /// A stock plugin, or one of the plugin folder.
    Named(String),
    /// A script file: relative paths are already joined to the folder of the configuration.
    Script(PathBuf),
}

/// What an error in the script means for the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    #[default]
    Refuse,
    Continue,
}

/// Which routes an entry of the list at the top is for.
#[derive(Debug)]
pub(super) enum Scope {
    Everywhere,
    Service(Spanned<String>),
    Route(Spanned<String>),
    /// For a consumer: there are none, so for no request.
    Nowhere,
}

/// The entries of a list below a service or a route.
pub(super) fn plugins(node: Option<&Node>, directory: &Path, diagnostics: &mut Diagnostics) -> Vec<PluginUse> {
    let mut all = Vec::new();
    for (plugin, scope) in scoped(node, directory, diagnostics) {
        match scope {
            Scope::Everywhere => all.push(plugin),
            Scope::Service(name) | Scope::Route(name) => {
                let message = "a plugin below a service or a route is for that one alone";
                let help = "leave `service` and `route` out, or move it to the list at the top";
                diagnostics.push(Diagnostic::error(&name.span, message).help(help));
            }
            Scope::Nowhere => {}
        }
    }
    check_distinct(&all, diagnostics);
    all
}

/// The entries of the list at the top, each with the scope that it names.
pub(super) fn scoped(node: Option<&Node>, directory: &Path, diagnostics: &mut Diagnostics) -> Vec<(PluginUse, Scope)> {
    let items = node.and_then(|node| list(node, diagnostics));
    items.unwrap_or_default().iter().filter_map(|item| plugin(item, directory, diagnostics)).collect()
}

fn plugin(node: &Node, directory: &Path, diagnostics: &mut Diagnostics) -> Option<(PluginUse, Scope)> {
    if let Some(name) = node.as_str() {
        let fix = format!("{{name: {name}}}");
        let message = format!("expected a plugin entry, found {}", node.describe());
        let diagnostic = Diagnostic::error(&node.span, message);
        diagnostics.push(match node.span.is_expanded() {
            true => diagnostic,
            false => diagnostic.help(format!("write `{fix}`")).fix(fix),
        });
        return None;
    }
    let table = Table::open(node, &keys::PLUGIN, diagnostics)?;
    let (kind, span) = kind(&table, directory, diagnostics)?;
    let enabled = table.boolean("enabled", diagnostics).unwrap_or(true);
    let plugin = PluginUse {
        kind,
        id: table.name("id", diagnostics),
        enabled,
        config: config(&table, &span, diagnostics),
        on_error: on_error(&table, diagnostics),
        span,
    };
    Some((plugin, scope(&table, diagnostics)))
}

fn kind(table: &Table<'_>, directory: &Path, diagnostics: &mut Diagnostics) -> Option<(PluginKind, Span)> {
    let both = table.get("name").is_some() && table.get("script").is_some();
    let neither = table.get("name").is_none() && table.get("script").is_none();
    if both {
        let span = table.key_span("script")?;
        diagnostics.error(span, "a plugin entry has a `name` or a `script`, not both");
    } else if neither {
        table.missing("a plugin entry needs a `name` or a `script`", diagnostics);
    }
    let name = table.name("name", diagnostics);
    let script = table.name("script", diagnostics);
    match (name, script) {
        (Some(name), _) => Some((PluginKind::Named(name.value), name.span)),
        (None, Some(script)) => {
            let path = directory.join(&script.value);
            Some((PluginKind::Script(path), script.span))
        }
        (None, None) => None,
    }
}

fn config(table: &Table<'_>, span: &Span, diagnostics: &mut Diagnostics) -> Node {
    match table.get("config") {
        Some(node) if node.as_map().is_some() => node.clone(),
        Some(node) => {
            mismatch(node, "a mapping", diagnostics);
            Node::empty(span)
        }
        None => Node::empty(span),
    }
}

fn on_error(table: &Table<'_>, diagnostics: &mut Diagnostics) -> OnError {
    let Some(node) = table.get("on_error") else {
        return OnError::default();
    };
    match node.as_str() {
        Some("refuse") => OnError::Refuse,
        Some("continue") => OnError::Continue,
        _ => {
            mismatch(node, "`refuse` or `continue`", diagnostics);
            OnError::default()
        }
    }
}

fn scope(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Scope {
    if let Some(span) = table.key_span("consumer").or(table.key_span("consumer_group")) {
        let message = "this plugin is for a consumer: there are none, so it never runs";
        diagnostics.warning(span, message);
        return Scope::Nowhere;
    }
    let service = table.get("service");
    let route = table.get("route");
    // With both, the route is the narrower one, and belongs to the service.
    match (route, service) {
        (Some(node), _) => reference(node, diagnostics).map_or(Scope::Nowhere, Scope::Route),
        (None, Some(node)) => reference(node, diagnostics).map_or(Scope::Nowhere, Scope::Service),
        (None, None) => Scope::Everywhere,
    }
}

/// A name, or Kong's `{name: x}` or `{id: x}`.
pub(super) fn reference(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let named = node.get("name").or(node.get("id")).unwrap_or(node);
    let text = named.as_str();
    if text.is_none() {
        mismatch(named, "a name", diagnostics);
    }
    Some(Spanned::new(text?.to_owned(), named.span.clone()))
}

/// One plugin may stand twice in a list only when an `id` tells the two apart.
pub(super) fn check_distinct(plugins: &[PluginUse], diagnostics: &mut Diagnostics) {
    for (index, plugin) in plugins.iter().enumerate() {
        let id = |of: &PluginUse| of.id.as_ref().map(|id| id.value.clone());
        let twin = plugins[..index].iter().find(|other| other.kind == plugin.kind && id(other) == id(plugin));
        if let Some(twin) = twin {
            let name = plugin.span.quote(plugin.span.text());
            let message = format!("the plugin {name} is listed twice");
            let diagnostic = Diagnostic::error(&plugin.span, message)
                .related(&twin.span, "first here")
                .help("give one of them an `id`, if both are meant");
            diagnostics.push(diagnostic);
        }
    }
}
