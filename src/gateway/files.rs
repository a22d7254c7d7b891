//! The files of a generation: scripts, manifests, libraries, each read once.
//!
//! While a generation is built every file goes through [`Files`], which keeps what it gave: all workers compile the same
//! text, and the watcher knows which files, also missing ones, the generation depends on.

use crate::config::{Seen, Source};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A script or manifest larger than this is refused.
const MAX_FILE: u64 = 4 << 20;

#[derive(Default)]
struct Read {
    texts: BTreeMap<PathBuf, Result<Arc<Source>, Missing>>,
    seen: Seen,
}

#[derive(Default)]
pub struct Files {
    read: Mutex<Read>,
}

/// Why a file could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Missing {
    pub why: String,
    pub not_found: bool,
}

impl Files {
    /// The file's text as it was when this generation first asked for it.
    pub fn read(&self, path: &Path) -> Result<Arc<Source>, Missing> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.texts.get(path) {
            return known.clone();
        }
        let result = read_file(path).map(|text| Source::new(path, text));
        match &result {
            Ok(source) => read.seen.note(path, source.text().as_bytes()),
            Err(_) => read.seen.note_unread(path),
        }
        read.texts.insert(path.to_owned(), result.clone());
        result
    }

    /// All files that were asked for, and what they held.
    pub fn seen(&self) -> Seen {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }
}

fn read_file(path: &Path) -> Result<String, Missing> {
    let failed = |error: io::Error| Missing {
        not_found: error.kind() == io::ErrorKind::NotFound,
        why: match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => error.to_string(),
        },
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Missing { why: "it is not a file".to_owned(), not_found: false });
    }
    if metadata.len() > MAX_FILE {
        return Err(Missing { why: format!("it is larger than {} MiB", MAX_FILE >> 20), not_found: false });
    }
    std::fs::read_to_string(path).map_err(failed)
}
