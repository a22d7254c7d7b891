//! What files held when they were read, to tell later whether they still do.
//!
//! Contents are compared and not file times: those are as coarse as the kernel's tick, and a link that is swapped brings a file
//! that was written long ago.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Larger than anything that is read; what such a file holds is not looked at.
const MAX_SIZE: u64 = 32 << 20;

/// Files and what they held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Missing, a folder, or a pipe, which can't be read twice.
    NoFile,
    Holds(u64),
    /// Read twice, and not the same: like no file that will ever be.
    Torn,
}

impl Seen {
    /// `path` was read, and held these bytes.
    pub fn note(&mut self, path: &Path, bytes: &[u8]) {
        self.put(path, if path.is_file() { holds(bytes) } else { State::NoFile });
    }

    /// `path` was asked for and could not be used.
    pub fn note_unread(&mut self, path: &Path) {
        self.put(path, on_disk(path));
    }

    fn put(&mut self, path: &Path, state: State) {
        match self.0.entry(path.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(state);
            }
            Entry::Occupied(mut entry) if *entry.get() != state => {
                entry.insert(State::Torn);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Files that only `other` knows, as they are now.
    pub fn follow(&mut self, other: &Seen) {
        for path in other.paths() {
            self.0.entry(path.clone()).or_insert_with(|| on_disk(path));
        }
    }

    /// All that `other` has seen.
    pub fn join(&mut self, other: &Seen) {
        for (path, state) in &other.0 {
            self.put(path, *state);
        }
    }

    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Files that hold something else in `other`, or that only one of them knows.
    pub fn differing(&self, other: &Seen) -> Vec<PathBuf> {
        let differs = |path: &&PathBuf| self.0.get(*path) != other.0.get(*path);
        let only_there = other.paths().filter(|path| !self.0.contains_key(*path));
        self.paths().chain(only_there).filter(differs).cloned().collect()
    }

    /// Whether every file still holds what it held.
    pub fn is_current(&self) -> bool {
        self.0.iter().all(|(path, state)| on_disk(path) == *state)
    }
}

impl<P: AsRef<Path>> FromIterator<P> for Seen {
    /// These files, as they are now.
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Seen {
        Seen(paths.into_iter().map(|path| (path.as_ref().to_owned(), on_disk(path.as_ref()))).collect())
    }
}

fn holds(bytes: &[u8]) -> State {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    State::Holds(hasher.finish())
}

fn on_disk(path: &Path) -> State {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_SIZE => {
            std::fs::read(path).map_or(State::NoFile, |bytes| holds(&bytes))
        }
        _ => State::NoFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_current_until_it_holds_something_else() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (file, missing) = (folder.path().join("file"), folder.path().join("missing"));
        std::fs::write(&file, "one").expect("a file");
        let mut seen = Seen::default();
        seen.note(&file, b"one");
        seen.note_unread(&missing);
        assert!(seen.is_current());
        std::fs::write(&file, "two").expect("a file");
        assert!(!seen.is_current());
        std::fs::write(&file, "one").expect("a file");
        assert!(seen.is_current(), "as it was");
        std::fs::write(&missing, "").expect("a file");
        assert!(!seen.is_current(), "it is there now");
        let now: Seen = [&file, &missing].into_iter().collect();
        assert_eq!(seen.differing(&now), [missing.clone()]);
        assert_eq!(Seen::default().differing(&now), [file, missing]);
    }

    #[test]
    fn what_was_read_twice_and_differed_is_never_current() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("file");
        std::fs::write(&file, "two").expect("a file");
        let mut seen = Seen::default();
        seen.note(&file, b"one");
        seen.note(&file, b"two");
        assert!(!seen.is_current());
    }
}
