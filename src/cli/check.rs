//! `check`: everything that a start or reload would find, all at once; nothing is served and nothing is called.

use super::{ConfigFile, capabilities};
use crate::{
    config::{Diagnostics, Severity, Style},
    gateway::{
        generation::{self, Generation},
        prepared,
    },
    proxy::outbound::Offline,
    script::Services,
    store::{Stores, SystemClock, WorkerStore},
};
use std::{path::Path, process::ExitCode, rc::Rc, sync::Arc};

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Format {
    Human,
    Json,
}

pub fn check(config: &ConfigFile, format: Format) -> anyhow::Result<ExitCode> {
    let path = match (config.find(), format) {
        (Ok(path), _) => path,
        (Err(error), Format::Human) => return Err(error),
        (Err(error), Format::Json) => {
            let diagnostics = [serde_json::json!({ "severity": "error", "message": error.to_string() })];
            println!("{}", serde_json::json!({ "diagnostics": diagnostics, "plugins": [] }));
            return Ok(ExitCode::FAILURE);
        }
    };
    let (generation, diagnostics) = load(&path)?;
    match format {
        Format::Json => {
            let plugins: Vec<_> = generation.iter().flat_map(|generation| capabilities::used(generation)).collect();
            let plugins: Vec<_> = plugins.iter().map(capabilities::Used::to_json).collect();
            println!("{}", serde_json::json!({ "diagnostics": diagnostics.to_json(), "plugins": plugins }));
        }
        Format::Human => {
            if !diagnostics.is_empty() {
                println!("{}", diagnostics.render(Style::Plain));
            }
            match &generation {
                Some(generation) => {
                    println!(
                        "{}: fine: {}, {}, {} in use",
                        path.display(),
                        counted(generation.router.routes().len(), "route"),
                        counted(generation.config.services.len(), "service"),
                        counted(generation.places.len(), "script")
                    );
                    for plugin in capabilities::used(generation) {
                        println!("{plugin}");
                    }
                }
                None => println!("{}: {}", path.display(), counted(diagnostics.count(Severity::Error), "error")),
            }
        }
    }
    Ok(ExitCode::from(u8::from(generation.is_none())))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Builds a generation and runs its scripts' `on_load`; none when there are errors.
pub fn load(path: &Path) -> anyhow::Result<(Option<Arc<Generation>>, Diagnostics)> {
    let built = generation::build(path, 1, false, None);
    let mut diagnostics = built.diagnostics;
    let Some(generation) = built.generation.map(Arc::new) else {
        return Ok((None, diagnostics));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    let prepared = runtime.block_on(async {
        let stores = Arc::new(Stores::new(Arc::new(SystemClock::new())));
        let store = WorkerStore::connect(None, stores)?;
        let outbound = Rc::new(Offline);
        let services = Rc::new(Services {
            store,
            outbound,
            first_worker: false,
            caches: crate::script::cache::Caches::for_worker(),
            metrics: crate::observe::metrics::own::Local::new(Arc::default(), 1),
            background: Some(Default::default()),
            turns: Default::default(),
            trial: None,
        });
        anyhow::Ok(prepared::prepare(generation.clone(), services).await.map(drop))
    })?;
    Ok(match prepared {
        Ok(()) => (Some(generation), diagnostics),
        Err(found) => {
            diagnostics.extend(found);
            (None, diagnostics)
        }
    })
}
