//! A generation: one complete, checked set of configuration, routes, plugins and their scripts' text.
//!
//! [`build`] reads and checks everything that can be checked without running a script and reports all problems at
//! once. The result is shared by all workers; each then compiles it for itself ([`super::prepared`]). An exchange runs from
//! its first hook to its last in the generation it began in.

use super::{
    documents::Library,
    files::Files,
    plugins::{Catalog, Plugin},
    quarantine::Quarantines,
    router::Router,
    upstream_tls::upstream_tls,
};
use crate::{
    config::{
        self, Config, Diagnostic, Diagnostics, Document, OnError, PluginKind, PluginUse, Seen, Severity, Source, Span,
        manifest::{Kind, Manifest},
    },
    script::{
        Language, Modules,
        scope::{Documents, Permissions},
    },
    upstream::Tls,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct Generation {
    pub number: u64,
    pub config: Config,
    /// How each listener speaks TLS, in their order; none for plain text.
    pub tls: Vec<Option<Arc<rustls::ServerConfig>>>,
    pub router: Router,
    /// Every place that uses a script.
    pub places: Vec<Place>,
    /// For each route, the places of its plugins in the order of `on_request`.
    pub chains: Vec<Vec<usize>>,
    /// The global plugins, for requests that match no route.
    pub unrouted: Vec<usize>,
    /// Which hooks are left out on which routes.
    pub quarantines: Quarantines,
    pub plugins_dir: Arc<Path>,
    /// For each service, what its targets with TLS use.
    pub upstream_tls: Vec<Option<Tls>>,
    pub files: Arc<Files>,
}

impl Generation {
    /// Every failure is shown, and no script left out for them.
    pub fn for_development(self) -> Generation {
        let all = self.chains.iter().chain([&self.unrouted]);
        let quarantines = Quarantines::new(None, all, self.places.len());
        Generation { quarantines, ..self }
    }

    /// Headers that no client may send: those of the configuration, and all that auth plugins tell services by
    /// (`headers`, claim to header), on whatever route they stand.
    pub fn identity_headers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.config.identity_headers.iter().map(|name| name.as_str().to_owned()).collect();
        for place in self.places.iter().filter(|place| place.plugin.manifest.kind == Kind::Auth) {
            let config: serde_json::Value = serde_json::from_str(&place.config).unwrap_or_default();
            let headers = config.get("headers").and_then(|headers| headers.as_object());
            names.extend(headers.into_iter().flatten().filter_map(|(_, name)| name.as_str().map(str::to_owned)));
        }
        names
    }
}

/// One use of a plugin or script.
pub struct Place {
    pub name: Arc<str>,
    /// Where it stands: `global/NAME`, `service:users/NAME`, `route:users/NAME`.
    pub label: Arc<str>,
    pub plugin: Plugin,
    /// Checked against the manifest, defaults filled in: JSON text.
    pub config: String,
    pub permissions: Permissions,
    /// The OpenAPI documents that its configuration names.
    pub documents: Documents,
    pub on_error: OnError,
    /// Where the configuration names it.
    pub span: Span,
}

/// What came of building: a generation when there was no error.
pub struct Built {
    pub generation: Option<Generation>,
    pub diagnostics: Diagnostics,
    /// The configuration as it was read, for the next build.
    pub document: Option<Document>,
    watch: Watch,
    files: Arc<Files>,
}

impl Built {
    /// What the build has read or looked for so far; preparing it reads the libraries of its scripts too.
    pub fn watch(&self) -> impl Fn() -> Watch + use<> {
        let (watch, files) = (self.watch.clone(), self.files.clone());
        move || {
            let mut watch = watch.clone();
            watch.files.join(&files.seen());
            watch
        }
    }
}

/// What a generation depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    pub files: Seen,
    pub plugins_dir: PathBuf,
    /// All that lay in the plugin folder.
    pub plugins: Vec<PathBuf>,
}

impl Watch {
    /// Whether a generation that is built now would be made of the same.
    pub fn is_current(&self) -> bool {
        list(&self.plugins_dir, 0) == self.plugins && self.files.is_current()
    }

    /// Files that hold something else than `before`, came or went.
    pub fn changed(&self, before: &Watch) -> Vec<PathBuf> {
        let mut changed = before.files.differing(&self.files);
        let only_in = |these: &[PathBuf], those: &[PathBuf]| {
            these.iter().filter(|path| !those.contains(path)).cloned().collect::<Vec<_>>()
        };
        changed.extend(only_in(&self.plugins, &before.plugins));
        changed.extend(only_in(&before.plugins, &self.plugins));
        changed.sort();
        changed.dedup();
        changed
    }

    /// The folders to watch: those of all files, and the plugin folder.
    pub fn folders(&self) -> Vec<PathBuf> {
        let parent =
            |file: &PathBuf| file.parent().map(|p| if p == Path::new("") { PathBuf::from(".") } else { p.to_owned() });
        let mut folders: Vec<PathBuf> = self.files.paths().filter_map(parent).collect();
        folders.push(self.plugins_dir.clone());
        folders.extend(self.plugins_dir.parent().map(Path::to_owned));
        // A symlinked file changes in the folder it points to, or by a swap of a folder on the way (Kubernetes).
        folders.extend(
            self.files.paths().filter_map(|file| std::fs::canonicalize(file).ok()).filter_map(|file| parent(&file)),
        );
        folders.retain(|folder| folder.is_dir());
        folders.sort();
        folders.dedup();
        folders
    }
}

/// Files below a folder, at most 4096 entries of each folder and eight levels.
fn list(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // First, so that it is always the same ones that are left out.
    paths.sort();
    paths.truncate(4096);
    for path in paths {
        if path.is_dir() && depth < 8 {
            files.extend(list(&path, depth + 1));
        } else {
            files.push(path);
        }
    }
    files
}

/// Reads and checks the configuration and all plugins it names. `had_plugins_dir`: the generation before had a
/// plugin folder, so one that is missing now is an error and not "no plugins".
/// `before` is the configuration as it was read last.
pub fn build(path: &Path, number: u64, had_plugins_dir: bool, before: Option<Document>) -> Built {
    build_loaded(path, config::load(path, before, &|name| std::env::var(name).ok()), number, had_plugins_dir)
}

/// As [`build`], from a text that stands in no file.
pub fn build_source(source: &Arc<Source>) -> Built {
    build_loaded(source.path(), config::load_source(source, None, &|name| std::env::var(name).ok()), 1, false)
}

fn build_loaded(path: &Path, loaded: config::Loaded, number: u64, had_plugins_dir: bool) -> Built {
    let mut diagnostics = loaded.diagnostics;
    let files = Arc::new(Files::default());
    let plugins_dir = path.with_file_name("plugins");
    let mut watch = Watch { files: loaded.files, plugins: list(&plugins_dir, 0), plugins_dir };
    let document = loaded.document;
    let Some(mut config) = loaded.config else {
        return Built { generation: None, diagnostics, document, watch, files };
    };
    watch.plugins_dir = config.plugins_dir.path.clone();
    watch.plugins = list(&watch.plugins_dir, 0);
    let tls = super::tls::configurations(&config.listeners, &files, &mut diagnostics);
    // Of one that the configuration names, its check has said so.
    let required = config.plugins_dir.written.is_none() && had_plugins_dir;
    let catalog = Catalog::read(&config.plugins_dir.path, required, &files, &mut diagnostics);
    let library = Library::new(files.clone());
    let mut places = Places { catalog, files: files.clone(), library, all: Vec::new() };
    let global = places.add(format_args!("global"), &config.plugins, &mut diagnostics);
    let of_services: Vec<_> = config
        .services
        .iter()
        .map(|service| places.add(format_args!("service:{}", service.name.value), &service.plugins, &mut diagnostics))
        .collect();
    let mut chains = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let own = places.add(format_args!("route:{}", route.name.value), &route.plugins, &mut diagnostics);
        let service = route.service.map_or(&[][..], |service| &of_services[service]);
        let chain = narrow(&narrow(&global, service), &own);
        if route.service.is_none() && !route.answers_itself() && !chain.iter().any(|used| used.place.is_some()) {
            let message = format!("route `{}`: nothing answers it", route.name.value);
            let help = "put it below a service, or give it a script with `handle`";
            diagnostics.push(Diagnostic::error(&route.span, message).help(help));
        }
        chains.push(chain.iter().filter_map(|used| used.place).collect());
    }
    let upstream_tls = upstream_tls(&config.services, &files, &mut diagnostics);
    let unrouted: Vec<usize> = global.iter().filter_map(|used| used.place).collect();
    if diagnostics.has_errors() {
        return Built { generation: None, diagnostics, document, watch, files };
    }
    let router = Router::new(std::mem::take(&mut config.routes));
    let plugins_dir = Arc::from(config.plugins_dir.path.as_path());
    let places = places.all;
    let quarantines =
        Quarantines::new(config.limits.quarantine.clone(), chains.iter().chain([&unrouted]), places.len());
    let files_read = files.clone();
    let generation = Generation {
        number,
        config,
        tls,
        router,
        places,
        chains,
        unrouted,
        quarantines,
        plugins_dir,
        upstream_tls,
        files: files_read,
    };
    Built { generation: Some(generation), diagnostics, document, watch, files }
}

/// A plugin in a scope's list: the key by which a narrower scope replaces it, and its place unless it is taken out.
#[derive(Clone)]
struct Used {
    key: String,
    place: Option<usize>,
}

/// The same key at a narrower scope replaces the wider one in its place; new ones follow.
fn narrow(wide: &[Used], own: &[Used]) -> Vec<Used> {
    let mut all = wide.to_vec();
    for used in own {
        match all.iter_mut().find(|other| other.key == used.key) {
            Some(other) => *other = used.clone(),
            None => all.push(used.clone()),
        }
    }
    all
}

struct Places {
    catalog: Catalog,
    files: Arc<Files>,
    library: Library,
    all: Vec<Place>,
}

impl Places {
    fn add(&mut self, scope: std::fmt::Arguments<'_>, list: &[PluginUse], diagnostics: &mut Diagnostics) -> Vec<Used> {
        list.iter().map(|plugin_use| self.add_one(scope, plugin_use, diagnostics)).collect()
    }

    fn add_one(
        &mut self,
        scope: std::fmt::Arguments<'_>,
        plugin_use: &PluginUse,
        diagnostics: &mut Diagnostics,
    ) -> Used {
        let key = plugin_use.key();
        let mut place = None;
        if plugin_use.enabled {
            place = self.resolve(plugin_use, diagnostics).map(|plugin| {
                let label = Arc::from(format!("{scope}/{key}"));
                let documents = self.library.documents(&plugin.manifest, &plugin_use.config, diagnostics);
                self.all.push(new_place(plugin_use, plugin, label, documents, diagnostics));
                self.all.len() - 1
            });
        }
        Used { key, place }
    }

    fn resolve(&self, plugin_use: &PluginUse, diagnostics: &mut Diagnostics) -> Option<Plugin> {
        match &plugin_use.kind {
            PluginKind::Named(name) => {
                let found = self.catalog.get(name);
                if found.is_none() {
                    let message = format!("the plugin {} is not there", plugin_use.span.quote(name));
                    let diagnostic = Diagnostic::error(&plugin_use.span, message).nearest(name, self.catalog.names());
                    let known: Vec<&str> = self.catalog.names().collect();
                    diagnostics.push(match diagnostic.help {
                        Some(_) => diagnostic,
                        None => diagnostic.help(format!("there are {}", known.join(", "))),
                    });
                }
                found.cloned()
            }
            PluginKind::Script(path) => self.script(path, plugin_use, diagnostics),
        }
    }

    fn script(&self, path: &Path, plugin_use: &PluginUse, diagnostics: &mut Diagnostics) -> Option<Plugin> {
        let Some(language) = Language::of(path) else {
            let message = "a script's name ends in `.lua` or `.rhai`";
            diagnostics.push(Diagnostic::error(&plugin_use.span, message));
            return None;
        };
        match self.files.read(path) {
            Ok(source) => {
                let name = plugin_use.span.text().trim_matches(['"', '\'']).to_owned();
                // A plugin's file may be used as a script: what it calls itself is the file's name, not the path.
                let own = path.file_stem().map_or(name.clone().into(), |stem| stem.to_string_lossy());
                let manifest = Arc::new(Manifest::of_script(&source, &own, diagnostics));
                let folder = path.parent().map(Path::to_owned);
                Some(Plugin { name, language, source, manifest, folder, stock: false })
            }
            Err(missing) => {
                let message = format!("the script {} can't be read: {missing}", path.display());
                diagnostics.push(Diagnostic::error(&plugin_use.span, message));
                None
            }
        }
    }
}

fn new_place(
    plugin_use: &PluginUse,
    plugin: Plugin,
    label: Arc<str>,
    documents: Documents,
    diagnostics: &mut Diagnostics,
) -> Place {
    let manifest = plugin.manifest.clone();
    let config = manifest.check(&plugin_use.config, diagnostics);
    if plugin_use.on_error == OnError::Continue && manifest.kind == Kind::Auth {
        let message = format!("`{}` is an auth plugin: it can't go on after an error", plugin.name);
        let help = "leave `on_error` out: a request that can't be checked is refused";
        diagnostics.push(Diagnostic::error(&plugin_use.span, message).help(help));
    }
    let granted = &manifest.permissions;
    let permissions = Permissions {
        hosts: granted
            .hosts
            .iter()
            .cloned()
            .chain(manifest.hosts_of(&plugin_use.config))
            .map(|host| host.to_string())
            .collect(),
        env: granted.env.clone(),
        redis: granted.redis.clone(),
        redis_scripts: granted.redis_scripts,
        headers: granted.headers.clone(),
    };
    Place {
        name: Arc::from(plugin.name.as_str()),
        label,
        plugin,
        config: config.to_string(),
        permissions,
        documents,
        on_error: plugin_use.on_error,
        span: plugin_use.span.clone(),
    }
}

/// Where a script's `require` and `import` look: its own folder, then the plugin folder.
pub struct Libraries {
    pub folders: Vec<PathBuf>,
    pub files: Arc<Files>,
}

impl Modules for Libraries {
    fn find(&self, language: Language, name: &str) -> Option<crate::script::Source> {
        // SECURITY: names come from scripts; none may lead out of the folders.
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', ':']);
        if !name.split('/').all(plain) {
            return None;
        }
        self.folders.iter().find_map(|folder| {
            let mut file = folder.join(format!("{name}.{}", language.extension()));
            let mut found = self.files.read(&file);
            // A library of several files is a folder, as Lua's `package.path` has it.
            if found.is_err() && language == Language::Lua {
                file = folder.join(name).join("init.lua");
                found = self.files.read(&file);
            }
            found.ok().map(|source| script_source(&source))
        })
    }
}

pub fn script_source(source: &Source) -> crate::script::Source {
    crate::script::Source { path: source.path().to_owned(), text: Arc::from(source.text()) }
}

/// A script's error as a diagnostic: it points into the script.
pub fn diagnostic(error: &crate::script::ScriptError, text: &str) -> Diagnostic {
    let source = Source::new(&error.file, text);
    let made = match (error.line, error.column) {
        (0, _) => Diagnostic::in_file(Severity::Error, &error.file, &error.message),
        (line, 0) => Diagnostic::error(&source.line_span(line), &error.message),
        (line, column) => Diagnostic::error(&source.span_at(line, column, 1), &error.message),
    };
    match &error.help {
        Some(help) => made.help(help.clone()),
        None => made,
    }
}
