//! The cases of one test file, and running them one after the other.
//!
//! The file is compiled by the engine that compiles scripts, and its cases run within a sandbox as scripts do, with more CPU time: a case
//! sends many requests. What it makes is judged by the limits of a gateway that serves.

use super::{case::Case, logs::Logs};
use crate::{
    config::Style,
    gateway::{
        files::Files,
        generation::{Libraries, diagnostic, script_source},
    },
    observe::metrics::own,
    proxy::outbound::Offline,
    script::{
        Engine, Hook, Instance, Language, Modules, Program, Scope, ScriptError, Services, cache::Caches,
        limits::Limits, lua::LuaEngine, rhai::RhaiEngine, scope::Permissions, trial,
    },
    store::WorkerStore,
};
use serde_json::Value as Json;
use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes that the engine of a test file may hold, as by default for scripts.
const MEMORY: usize = 64 << 20;
/// CPU time of a case's own code.
const CPU: Duration = Duration::from_secs(2);

/// A test file, compiled.
pub struct Suite {
    pub path: PathBuf,
    pub cases: Vec<trial::Case>,
    text: String,
    program: Rc<dyn Program>,
    logs: Logs,
}

/// How a case ended.
pub struct Outcome {
    pub took: Duration,
    pub failure: Option<Failure>,
}

pub struct Failure {
    /// One line or a few, without its place.
    pub message: String,
    /// With the place, the source line and a caret.
    pub report: String,
    /// Lines of the log that say what went wrong in the gateway.
    pub log: Vec<String>,
}

impl Suite {
    /// # Errors
    /// What is wrong with the file, ready to be shown.
    pub fn open(path: &Path) -> Result<Suite, String> {
        let show = |error: &ScriptError, text: &str| report(error, path, text);
        let language = Language::of(path);
        let language = language.ok_or_else(|| format!("{}: a test file ends in `.lua` or `.rhai`", path.display()))?;
        let files = Arc::new(Files::default());
        let source = files.read(path).map_err(|missing| format!("{}: {missing}", path.display()))?;
        let text = source.text().to_owned();
        let engine: Result<Box<dyn Engine>, ScriptError> = match language {
            Language::Lua => LuaEngine::new(MEMORY).map(|engine| Box::new(engine) as Box<dyn Engine>),
            Language::Rhai => RhaiEngine::new(MEMORY).map(|engine| Box::new(engine) as Box<dyn Engine>),
        };
        let engine = engine.map_err(|error| show(&error, &text))?;
        let folders = vec![folder(path)];
        let modules: Rc<dyn Modules> = Rc::new(Libraries { folders, files });
        let compiled = engine.compile(&script_source(&source), &modules);
        let program = compiled.map_err(|error| show(&error, &text))?;
        let cases = program.cases();
        Ok(Suite { path: path.to_owned(), cases, text, program, logs: Logs::default() })
    }

    /// Runs one case. Must be called within a local runtime.
    pub async fn run(&self, case: &trial::Case) -> Outcome {
        let started = Instant::now();
        let _logging = tracing::subscriber::set_default(self.logs.clone());
        let failure = match self.scope() {
            Err(why) => Some(Failure { message: why.clone(), report: why, log: Vec::new() }),
            Ok(scope) => self.program.try_case(&case.name, scope).await.err().map(|error| Failure {
                message: error.message.clone(),
                report: report(&error, &self.path, &self.text),
                log: self.logs.all().iter().filter_map(told).collect(),
            }),
        };
        Outcome { took: started.elapsed(), failure }
    }

    fn scope(&self) -> Result<Rc<Scope>, String> {
        let case = Case::new(folder(&self.path), self.logs.clone());
        let store = WorkerStore::connect(None, case.stores.clone()).map_err(|error| error.to_string())?;
        let outbound = Rc::new(Offline);
        let services = Services {
            store,
            outbound,
            first_worker: true,
            caches: Caches::for_worker(),
            metrics: own::Local::new(case.metrics.clone(), 1),
            background: None,
            turns: Default::default(),
            trial: Some(case),
        };
        let limits = Limits { cpu: CPU, memory: MEMORY, ..Limits::default() };
        let name: Arc<str> = Arc::from(self.path.display().to_string());
        let (permissions, documents) = (Permissions::default(), Default::default());
        let instance = Instance { plugin: name.clone(), place: name, permissions, limits, documents };
        Ok(Rc::new(Scope {
            hook: Hook::OnLoad,
            instance: Rc::new(instance),
            exchange: None,
            services: Rc::new(services),
            span: 0,
            used: Default::default(),
        }))
    }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn report(error: &ScriptError, path: &Path, text: &str) -> String {
    // It may have happened in a file that the test file requires.
    let other = (error.file != path).then(|| std::fs::read_to_string(&error.file).unwrap_or_default());
    let mut shown = diagnostic(error, other.as_deref().unwrap_or(text)).render(Style::Plain).trim_end().to_owned();
    for call in &error.stack {
        shown.push_str(&format!("\n  at {call}"));
    }
    for also in &error.also {
        shown.push_str(&format!("\n\n{}", report(also, path, text)));
    }
    shown
}

/// Warnings and errors help to see why; what a script says in passing does not.
fn told(line: &Json) -> Option<String> {
    let text = |name: &str| line.get(name).and_then(Json::as_str);
    let level = text("level").filter(|level| matches!(*level, "warn" | "error"))?;
    let mut told = format!("{level}: {}", text("message").unwrap_or_default());
    for name in ["failure", "error"] {
        if let Some(more) = text(name) {
            told.push_str(&format!(": {more}"));
        }
    }
    Some(told)
}
