//! The plugins that routes can name: stock ones, inside the binary, and those of the drop-in folder.
//!
//! A [`Catalog`] is made anew for each generation. A plugin of the folder takes the place of a stock one of the same
//! name, with a notice. Nothing is compiled here; a plugin that no route names is never run.

use super::files::{Files, Missing};
use crate::{
    config::{Diagnostic, Diagnostics, Severity, Source, manifest::Manifest},
    script::Language,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A plugin's script with what its manifest says.
#[derive(Clone)]
pub struct Plugin {
    pub name: String,
    pub language: Language,
    pub source: Arc<Source>,
    /// Of a script without one: any configuration is accepted.
    pub manifest: Arc<Manifest>,
    /// Where its `require` and `import` look first.
    pub folder: Option<PathBuf>,
    pub stock: bool,
}

macro_rules! stock {
    ($($name:literal),* $(,)?) => {
        &[$(
            ($name, [
                include_str!(concat!("../../scripts/", $name, ".lua")),
                include_str!(concat!("../../scripts/", $name, ".rhai")),
            ], [
                include_str!(concat!("../../scripts/", $name, "_test.lua")),
                include_str!(concat!("../../scripts/", $name, "_test.rhai")),
            ]),
        )*]
    };
}

/// The scripts of `scripts/` and their tests, each in both languages.
pub const STOCK: &[(&str, [&str; 2], [&str; 2])] = stock![
    "aggregate",
    "basic-auth",
    "cors",
    "ip-restriction",
    "jwt-auth",
    "key-auth",
    "rate-limit",
    "request-id",
    "request-size-limit",
    "request-validation",
    "response-headers",
    "transform",
];

/// A stock plugin in one language.
pub struct Stock {
    pub source: &'static str,
    /// The text of its test file.
    pub test: &'static str,
}

pub fn stock(name: &str, language: Language) -> Option<Stock> {
    let (_, sources, tests) = STOCK.iter().find(|(stock, ..)| *stock == name)?;
    let index = match language {
        Language::Lua => 0,
        Language::Rhai => 1,
    };
    Some(Stock { source: sources[index], test: tests[index] })
}

pub struct Catalog {
    plugins: BTreeMap<String, Plugin>,
}

impl Catalog {
    /// Stock plugins and those of `folder`. Problems with the folder are reported; `required`: it must be there.
    pub fn read(folder: &Path, required: bool, files: &Files, diagnostics: &mut Diagnostics) -> Catalog {
        let mut catalog = Catalog { plugins: BTreeMap::new() };
        for (name, ..) in STOCK {
            catalog.add_stock(name, diagnostics);
        }
        match std::fs::read_dir(folder) {
            Ok(entries) => {
                let mut paths: Vec<PathBuf> =
                    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
                paths.sort();
                for path in paths {
                    catalog.add_path(&path, files, diagnostics);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {}
            Err(error) => {
                let message = format!("the plugin folder can't be read: {error}");
                diagnostics.push(Diagnostic::in_file(Severity::Error, folder, message));
            }
        }
        catalog
    }

    pub fn get(&self, name: &str) -> Option<&Plugin> {
        self.plugins.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.keys().map(String::as_str)
    }

    fn add_stock(&mut self, name: &str, diagnostics: &mut Diagnostics) {
        let language = Language::Lua;
        let Some(Stock { source: text, .. }) = stock(name, language) else { return };
        let source = Source::new(format!("stock:{name}.{}", language.extension()), text);
        let manifest = Arc::new(Manifest::of_script(&source, name, diagnostics));
        let plugin = Plugin { name: name.to_owned(), language, source, manifest, folder: None, stock: true };
        self.plugins.insert(name.to_owned(), plugin);
    }

    fn add_path(&mut self, path: &Path, files: &Files, diagnostics: &mut Diagnostics) {
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else { return };
        if file_name.starts_with('.') {
            return;
        }
        let found = if path.is_dir() {
            read_folder(path, file_name, files, diagnostics)
        } else {
            read_single(path, files, diagnostics)
        };
        match found {
            Ok(Some(plugin)) => self.insert(plugin, diagnostics),
            Ok(None) => {}
            Err((path, missing)) => {
                let message = format!("this plugin can't be read: {missing}");
                diagnostics.push(Diagnostic::in_file(Severity::Error, &path, message));
            }
        }
    }

    fn insert(&mut self, plugin: Plugin, diagnostics: &mut Diagnostics) {
        match self.plugins.get(&plugin.name) {
            Some(other) if other.stock => {
                tracing::info!(plugin = plugin.name, file = %plugin.source.path().display(), "takes the place of the stock plugin");
            }
            Some(other) => {
                let message =
                    format!("the plugin `{}` is there twice: also {}", plugin.name, other.source.path().display());
                diagnostics.push(Diagnostic::in_file(Severity::Error, plugin.source.path(), message));
                return;
            }
            None => {}
        }
        self.plugins.insert(plugin.name.clone(), plugin);
    }
}

type Found = Result<Option<Plugin>, (PathBuf, Missing)>;

/// `plugins/add-header.lua`.
fn read_single(path: &Path, files: &Files, diagnostics: &mut Diagnostics) -> Found {
    let Some(language) = Language::of(path) else { return Ok(None) };
    let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { return Ok(None) };
    if name.ends_with("_test") {
        return Ok(None);
    }
    let source = files.read(path).map_err(|missing| (path.to_owned(), missing))?;
    let manifest = Arc::new(Manifest::of_script(&source, name, diagnostics));
    Ok(Some(Plugin { name: name.to_owned(), language, source, manifest, folder: None, stock: false }))
}

/// `plugins/api-key/` with `plugin.toml` and `main.lua` or `main.rhai`; a folder without a manifest holds libraries.
fn read_folder(path: &Path, name: &str, files: &Files, diagnostics: &mut Diagnostics) -> Found {
    let toml = path.join("plugin.toml");
    let manifest = match files.read(&toml) {
        Ok(source) => Arc::new(Manifest::parse(&source, name, diagnostics)),
        Err(missing) if missing.not_found => return Ok(None),
        Err(missing) => return Err((toml, missing)),
    };
    for language in Language::ALL {
        let main = path.join("main").with_extension(language.extension());
        match files.read(&main) {
            Ok(source) => {
                let folder = Some(path.to_owned());
                return Ok(Some(Plugin { name: name.to_owned(), language, source, manifest, folder, stock: false }));
            }
            Err(missing) if missing.not_found => {}
            Err(missing) => return Err((main, missing)),
        }
    }
    Err((path.to_owned(), Missing { why: "it has neither main.lua nor main.rhai".to_owned(), not_found: true }))
}
