//! Noticing that files changed: folders are watched, since editors replace files and Kubernetes swaps symlinks.
//!
//! Only says "something that matters moved, and it has been quiet for a while"; whether contents changed is asked
//! of the [`Watch`].

use crate::gateway::generation::Watch;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, MetadataKind, ModifyKind},
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Quiet for this long means that a save is complete.
pub const SETTLE: Duration = Duration::from_millis(100);
/// A folder that is never quiet is looked at all the same.
const AT_MOST: Duration = Duration::from_secs(1);

pub struct Changes {
    watcher: Option<RecommendedWatcher>,
    events: mpsc::UnboundedReceiver<()>,
    watched: BTreeSet<PathBuf>,
    matters: Arc<Mutex<Matters>>,
}

/// Which paths an event must be about.
#[derive(Default)]
struct Matters {
    files: BTreeSet<PathBuf>,
    plugins_dir: PathBuf,
}

impl Changes {
    /// `on`: false never sees anything.
    pub fn new(on: bool) -> Changes {
        let (sender, events) = mpsc::unbounded_channel();
        let matters = Arc::new(Mutex::new(Matters::default()));
        let seen = matters.clone();
        let made = on.then(|| {
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let matters = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if event.map_or(true, |event| matters.is_about(&event)) {
                    let _ = sender.send(());
                }
            })
        });
        let watcher = made.and_then(|made| {
            made.inspect_err(|error| tracing::warn!(%error, "files can't be watched: reload with SIGHUP")).ok()
        });
        Changes { watcher, events, watched: BTreeSet::new(), matters }
    }

    /// Watches what a generation depends on.
    pub fn follow(&mut self, watch: &Watch) {
        let Some(watcher) = &mut self.watcher else { return };
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        {
            let mut matters = self.matters.lock().unwrap_or_else(PoisonError::into_inner);
            matters.files = watch.files.paths().map(absolute).collect();
            matters.files.extend(watch.files.paths().filter_map(|file| std::fs::canonicalize(file).ok()));
            matters.plugins_dir = absolute(&watch.plugins_dir);
        }
        let folders: BTreeSet<PathBuf> = watch.folders().iter().map(absolute).collect();
        for folder in self.watched.difference(&folders) {
            let _ = watcher.unwatch(folder);
        }
        // A folder that was deleted and made again has the same name and another identity, so all are watched anew.
        for folder in &folders {
            let mode = match *folder == absolute(&watch.plugins_dir) {
                true => RecursiveMode::Recursive,
                false => RecursiveMode::NonRecursive,
            };
            if let Err(error) = watcher.watch(folder, mode) {
                tracing::warn!(folder = %folder.display(), %error, "can't watch a folder");
            }
        }
        self.watched = folders;
    }

    /// Ends when something changed and it has been quiet since.
    pub async fn settled(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let end = Instant::now() + AT_MOST;
        while Instant::now() < end {
            match tokio::time::timeout(SETTLE, self.events.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => break,
            }
        }
        while self.events.try_recv().is_ok() {}
    }
}

impl Matters {
    /// A log file that grows in the same folder must not keep the folder from settling; anything that appears, disappears
    /// or is renamed may be a link on the way to a file that matters.
    fn is_about(&self, event: &notify::Event) -> bool {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                event.paths.iter().any(|path| self.files.contains(path) || path.starts_with(&self.plugins_dir))
            }
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => false,
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
                true
            }
        }
    }
}
