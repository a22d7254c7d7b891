//! Finding test files: `…_test.lua` and `…_test.rhai` below folders.
//!
//! Links to folders are not followed, so that none leads in a circle, and hidden folders and `target` are passed over.

use crate::script::{Language, trial::PREFIX};
use std::{
    io,
    path::{Path, PathBuf},
};

/// All test files below these paths, sorted, each once. A path may be a file, whatever its name.
///
/// # Errors
/// A path that can't be read, with its name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| (path.clone(), error))?;
        if metadata.is_dir() {
            collect(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let entries = std::fs::read_dir(folder).map_err(|error| (folder.to_owned(), error))?;
    for entry in entries.filter_map(Result::ok) {
        let path = match folder == Path::new(".") {
            true => PathBuf::from(entry.file_name()),
            false => entry.path(),
        };
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') || name == "target";
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !hidden => collect(&path, found)?,
            Ok(kind) if !kind.is_dir() && is_test(&path) => found.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let marked = stem.ends_with(&format!("_{}", PREFIX.trim_end_matches('_')));
    Language::of(path).is_some() && marked
}
