//! OpenAPI documents that plugins' configurations name: read, made one with the files that they refer to, compiled once.
//!
//! Files go through [`Files`], so that a change to any of them is a reason to reload. A `$ref` reaches the document's own folder and
//! those below it; nothing else, by no `..`, no symbolic link and no address. Scripts get what was compiled, never a file.

use super::files::Files;
use crate::{
    config::{
        Diagnostic, Diagnostics, Node, foreign,
        manifest::{FieldType, Manifest},
    },
    script::{
        host::schema::openapi::{Api, FILES, Wrong},
        scope::Documents,
    },
};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Files of one document.
const MOST_FILES: usize = 200;
/// Mistakes that are told of one document.
const MOST_TOLD: usize = 20;

/// The documents of a generation, each compiled once however many places name it.
pub struct Library {
    files: Arc<Files>,
    known: HashMap<PathBuf, Option<Arc<Api>>>,
}

impl Library {
    pub fn new(files: Arc<Files>) -> Library {
        Library { files, known: HashMap::new() }
    }

    /// What one use of a plugin names. What is wrong with them is reported.
    pub fn documents(&mut self, manifest: &Manifest, config: &Node, diagnostics: &mut Diagnostics) -> Documents {
        let mut all = BTreeMap::new();
        for (key, field) in &manifest.config {
            let Some(node) = config.get(key).filter(|_| field.kind == FieldType::OpenApi) else { continue };
            match node.as_str() {
                Some(written) => {
                    let folder = node.span.path().parent().unwrap_or(Path::new(""));
                    let api = self.document(&plain(&folder.join(written)), node, diagnostics);
                    all.extend(api.map(|api| (written.to_owned(), api)));
                }
                // Compiled by the script, from its configuration.
                None if node.as_map().is_some() => {
                    for wrong in Api::compile(&node.to_json()).err().into_iter().flatten().take(MOST_TOLD) {
                        diagnostics.push(Diagnostic::error(node.span_of(&wrong.pointer), wrong.message));
                    }
                }
                None => {}
            }
        }
        Arc::new(all)
    }

    fn document(&mut self, path: &Path, node: &Node, diagnostics: &mut Diagnostics) -> Option<Arc<Api>> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let mut own = Diagnostics::new();
        let api = self.read(path, node, &mut own);
        diagnostics.extend(own);
        self.known.insert(path.to_owned(), api.clone());
        api
    }

    fn read(&self, path: &Path, node: &Node, diagnostics: &mut Diagnostics) -> Option<Arc<Api>> {
        let source = match self.files.read(path) {
            Ok(source) => source,
            Err(missing) => {
                let message = format!("the document {} can't be read: {missing}", path.display());
                diagnostics.push(Diagnostic::error(&node.span, message));
                return None;
            }
        };
        let root = foreign(&source, diagnostics)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut bundle = Bundle {
            files: &self.files,
            canonical: std::fs::canonicalize(if folder == Path::new("") { Path::new(".") } else { &folder }).ok()?,
            folder,
            numbers: [(path.to_owned(), 0)].into(),
            parts: vec![(path.to_owned(), root)],
            diagnostics,
        };
        let whole = bundle.whole();
        let parts = std::mem::take(&mut bundle.parts);
        if diagnostics.has_errors() {
            return None;
        }
        match Api::compile(&whole) {
            Ok(api) => Some(Arc::new(api)),
            Err(wrong) => {
                for wrong in wrong.into_iter().take(MOST_TOLD) {
                    diagnostics.push(placed(&parts, wrong).related(&node.span, "used here"));
                }
                None
            }
        }
    }
}

/// A mistake at its place in whichever file that is.
fn placed(parts: &[(PathBuf, Node)], wrong: Wrong) -> Diagnostic {
    let elsewhere = wrong.pointer.strip_prefix(&format!("/{FILES}/")).and_then(|rest| {
        let (number, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (_, node) = parts.get(number.parse::<usize>().ok()? + 1)?;
        Some(node.span_of(below))
    });
    let span = elsewhere.or_else(|| parts.first().map(|(_, node)| node.span_of(&wrong.pointer)));
    // Nobody wrote where the files stand in the whole.
    let mut message = wrong.message;
    for (index, (path, _)) in parts.iter().skip(1).enumerate() {
        message = message.replace(&format!("#/{FILES}/{index}/"), &format!("{}#/", path.display()));
    }
    match span {
        Some(span) => Diagnostic::error(span, message),
        None => Diagnostic::in_file(crate::config::Severity::Error, Path::new(""), message),
    }
}

/// A document and the files that it refers to, the first being its own.
struct Bundle<'l> {
    files: &'l Files,
    folder: PathBuf,
    canonical: PathBuf,
    numbers: HashMap<PathBuf, usize>,
    parts: Vec<(PathBuf, Node)>,
    diagnostics: &'l mut Diagnostics,
}

impl Bundle<'_> {
    /// One document: references to files lead into [`FILES`].
    fn whole(&mut self) -> Json {
        let mut all = Vec::new();
        while all.len() < self.parts.len() && all.len() <= MOST_FILES {
            let number = all.len();
            let (path, node) = self.parts[number].clone();
            let mut json = node.to_json();
            let at = At { number, folder: path.parent().unwrap_or(Path::new("")).to_owned(), node };
            self.rewrite(&at, &mut json, &mut String::new(), Keys::Words);
            all.push(json);
        }
        let others = all.split_off(1);
        let mut whole = all.pop().unwrap_or_default();
        if let (Json::Object(object), false) = (&mut whole, others.is_empty()) {
            object.insert(FILES.to_owned(), Json::Array(others));
        }
        whole
    }

    fn rewrite(&mut self, at: &At, json: &mut Json, pointer: &mut String, keys: Keys) {
        let length = pointer.len();
        match json {
            Json::Object(object) => {
                for (key, value) in object.iter_mut() {
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    match (keys, key.as_str(), &mut *value) {
                        (Keys::Words, "$ref", Json::String(target)) => {
                            if let Some(rewritten) = self.reference(at, target, pointer) {
                                *value = json!(rewritten);
                            }
                        }
                        // Values, in which `$ref` means nothing.
                        (Keys::Words, "example" | "examples" | "default" | "enum" | "const", _) => {}
                        (Keys::Words, word, below) => self.rewrite(at, below, pointer, Keys::behind(word)),
                        (Keys::Names, _, below) => self.rewrite(at, below, pointer, Keys::Words),
                    }
                    pointer.truncate(length);
                }
            }
            Json::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    self.rewrite(at, item, pointer, Keys::Words);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Where a reference leads in the whole; nothing when it stays as it is or is wrong, which is then reported.
    fn reference(&mut self, at: &At, target: &str, pointer: &str) -> Option<String> {
        let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
        let number = if file.is_empty() {
            at.number
        } else {
            match self.file(at, file) {
                Ok(number) => number,
                Err(message) => {
                    self.diagnostics.push(Diagnostic::error(at.node.span_of(pointer), message));
                    return None;
                }
            }
        };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let message = format!("`{}` is no JSON pointer: names of anchors are not supported", target.escape_debug());
            self.diagnostics.push(Diagnostic::error(at.node.span_of(pointer), message));
            return None;
        }
        Some(match number {
            0 => format!("#{fragment}"),
            other => format!("#/{FILES}/{}{fragment}", other - 1),
        })
    }

    /// The number of the file that a reference names, read now if it is the first to.
    fn file(&mut self, at: &At, written: &str) -> Result<usize, String> {
        let shown = written.escape_debug();
        let decoded = percent_encoding::percent_decode_str(written).decode_utf8_lossy();
        // SECURITY: nothing is ever asked for over the network.
        if decoded.contains("://") || decoded.starts_with("//") || decoded.starts_with("file:") {
            return Err(format!("`{shown}` is an address: a `$ref` leads to files in the document's folder only"));
        }
        let path = plain(&at.folder.join(decoded.as_ref()));
        let outside = || format!("`{shown}` leads out of the document's folder, {}", self.folder.display());
        if !path.starts_with(&self.folder) || path.components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        if let Some(number) = self.numbers.get(&path) {
            return Ok(*number);
        }
        // SECURITY: a symbolic link in the folder may point anywhere.
        if std::fs::canonicalize(&path).is_ok_and(|real| !real.starts_with(&self.canonical)) {
            return Err(outside());
        }
        if self.parts.len() > MOST_FILES {
            return Err(format!("the document refers to more than {MOST_FILES} files"));
        }
        let source = self.files.read(&path).map_err(|missing| format!("`{shown}` can't be read: {missing}"))?;
        let node = foreign(&source, self.diagnostics).ok_or_else(|| format!("`{shown}` can't be read"))?;
        let number = self.parts.len();
        self.numbers.insert(path.clone(), number);
        self.parts.push((path, node));
        Ok(number)
    }
}

/// The file that is being gone through.
struct At {
    number: usize,
    folder: PathBuf,
    node: Node,
}

/// What a mapping's keys are.
#[derive(Clone, Copy)]
enum Keys {
    /// Of OpenAPI and JSON Schema.
    Words,
    /// The author's own.
    Names,
}

impl Keys {
    fn behind(word: &str) -> Keys {
        match word {
            "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" | "schemas" | "paths"
            | "parameters" | "requestBodies" | "responses" | "headers" | "pathItems" | "content" | "callbacks" => {
                Keys::Names
            }
            _ => Keys::Words,
        }
    }
}

/// A path without `.` and, as far as it can be said without looking, without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut made = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(made.components().next_back(), Some(Component::Normal(_))) => {
                made.pop();
            }
            part => made.push(part),
        }
    }
    made
}
