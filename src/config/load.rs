//! Finding and reading the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::expand::{Expander, io_reason};
use super::reread::{self, Document};
use super::seen::Seen;
use super::source::Source;
use super::{Config, file};

/// What came of a file.
#[derive(Debug)]
pub struct Loaded {
    /// As much as could be made of the file, also when there are errors, so that later stages can report theirs in the
    /// same run. It must not be served unless `diagnostics` is free of errors.
    pub config: Option<Config>,
    pub diagnostics: Diagnostics,
    /// Every file that was read or looked for.
    pub files: Seen,
    /// What was read, for the next time; nothing when there was nothing to read.
    pub document: Option<Document>,
}

/// Far beyond any real configuration; a larger file is not read.
const MAX_SIZE: u64 = 32 * 1024 * 1024;

/// Reads, expands, decodes and checks a configuration file. `env` gives environment variables, `before` is the file as it was read
/// last, if it was: only what has changed since is parsed.
pub fn load(path: &Path, before: Option<Document>, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let mut diagnostics = Diagnostics::new();
    match read(path, &mut diagnostics) {
        Some(source) => load_source(&source, before, env),
        None => Loaded { config: None, diagnostics, files: [path].into_iter().collect(), document: before },
    }
}

/// As [`load`], for a text that has been read already.
pub fn load_source(source: &Arc<Source>, before: Option<Document>, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let mut diagnostics = Diagnostics::new();
    let directory = source.path().parent().unwrap_or(Path::new(""));
    let mut expander = Expander { env, directory, files: Seen::default() };
    expander.files.note(source.path(), source.text().as_bytes());
    let document = reread::parse(source, before, &mut expander, &mut diagnostics);
    let config = match document.as_ref().map(|document| &document.root).filter(|root| !root.is_null()) {
        Some(root) => file::config(root, directory, &mut diagnostics),
        None if diagnostics.has_errors() => None,
        // An empty file is what a half-written one looks like: never "no routes".
        None => {
            diagnostics.error(&source.span(0..0), "the file is empty");
            None
        }
    };
    Loaded { config, diagnostics, files: expander.files, document }
}

fn read(path: &Path, diagnostics: &mut Diagnostics) -> Option<Arc<Source>> {
    let mut fail = |why: String| {
        let message = format!("cannot read the configuration: {why}");
        diagnostics.push(Diagnostic::in_file(Severity::Error, path, message));
        None
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return fail("it is a folder".to_owned()),
        Ok(metadata) if metadata.len() > MAX_SIZE => {
            return fail("it is larger than 32 MiB".to_owned());
        }
        _ => {}
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return fail(io_reason(&error)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(Source::new(path, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Source::new(path, text);
            let diagnostic = Diagnostic::error(&source.span(at..at + 3), "the file is not UTF-8 text");
            diagnostics.push(diagnostic.help("save it as UTF-8"));
            None
        }
    }
}

/// No configuration file where one is looked for.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0)]
pub struct NotFound(String);

const HERE: &str = "gateway.yaml";
const SYSTEM: &str = "/etc/gatewright/gateway.yaml";

/// The configuration file to use: `explicit` (`-c`), `$GATEWRIGHT_CONFIG`, `./gateway.yaml`,
/// `/etc/gatewright/gateway.yaml`, the first that is given or there. One that is given is never passed over.
pub fn find(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, NotFound> {
    if let Some(path) = explicit {
        return given(path, "given with -c");
    }
    if let Some(path) = env("GATEWRIGHT_CONFIG").filter(|path| !path.is_empty()) {
        return given(Path::new(&path), "named by $GATEWRIGHT_CONFIG");
    }
    let found = [HERE, SYSTEM].map(Path::new).into_iter().find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        NotFound(format!(
            "no configuration: -c is not given, $GATEWRIGHT_CONFIG is not set, and neither ./{HERE} nor {SYSTEM} exists"
        ))
    })
}

fn given(path: &Path, how: &str) -> Result<PathBuf, NotFound> {
    // try_exists: a file that may not be read is reported as such by `load`.
    match path.try_exists() {
        Ok(false) => Err(NotFound(format!("the configuration `{}`, {how}, does not exist", path.display()))),
        _ => Ok(path.to_owned()),
    }
}
