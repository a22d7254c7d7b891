//! A generation made ready to run on one worker: engines, programs, states, chains.
//!
//! Preparing runs on the worker itself, script by script, giving way between them, so that the traffic goes on. It ends with
//! everything compiled and every `on_load` done, or with all the reasons why not; nothing is switched here.

use super::generation::{Generation, Libraries, Place, diagnostic, script_source};
use crate::{
    config::{Diagnostic, Diagnostics, OnError, Severity},
    script::{
        Engine, Hook, Instance, Language, Modules, Program, Scope, ScriptError, Services, State,
        background::{Background, Callback, Given},
        limits::Limits,
        lua, rhai,
    },
};
use ahash::AHashMap;
use std::{path::PathBuf, rc::Rc, sync::Arc, time::Duration};

/// Well below a millisecond of a worker's time.
const ROUTES_AT_ONCE: usize = 1000;

pub struct Prepared {
    pub generation: Arc<Generation>,
    /// For each route.
    pub chains: Vec<Rc<Chain>>,
    /// For requests that match no route.
    pub unrouted: Rc<Chain>,
    pub services: Rc<Services>,
    /// Background work; on the first worker only.
    pub tasks: Vec<Task>,
}

/// What a place's `on_load` gave to `every`.
pub struct Task {
    pub plugin: Rc<Plugin>,
    pub interval: Duration,
    pub callback: Callback,
}

/// A place, ready to run.
pub struct Plugin {
    pub instance: Rc<Instance>,
    /// Its position among the generation's places.
    pub place: usize,
    pub program: Rc<dyn Program>,
    pub state: State,
    pub on_error: OnError,
}

/// A route's plugins by hook, in the order in which they run.
#[derive(Default)]
pub struct Chain {
    pub on_request: Vec<Rc<Plugin>>,
    pub handle: Option<Rc<Plugin>>,
    pub on_request_chunk: Rc<[Rc<Plugin>]>,
    pub on_response: Vec<Rc<Plugin>>,
    pub on_response_chunk: Rc<[Rc<Plugin>]>,
    pub on_error: Vec<Rc<Plugin>>,
    pub on_log: Vec<Rc<Plugin>>,
}

impl Chain {
    fn new(plugins: &[Rc<Plugin>]) -> Chain {
        let with = |hook| plugins.iter().filter(move |plugin| plugin.program.hooks().has(hook)).cloned();
        Chain {
            on_request: with(Hook::OnRequest).collect(),
            handle: with(Hook::Handle).next(),
            on_response: with(Hook::OnResponse).rev().collect(),
            on_request_chunk: with(Hook::OnRequestChunk).collect(),
            on_response_chunk: with(Hook::OnResponseChunk).rev().collect(),
            on_error: with(Hook::OnError).collect(),
            on_log: with(Hook::OnLog).collect(),
        }
    }

    /// Whether a hook runs before a request is forwarded, or instead.
    pub fn sees_requests(&self) -> bool {
        !self.on_request.is_empty() || self.handle.is_some()
    }

    /// Whether a hook has to do with an answer while it goes to the client, or behind it.
    pub fn follows_answers(&self) -> bool {
        !self.on_response_chunk.is_empty() || !self.on_log.is_empty()
    }
}

/// Compiles and loads every place of a generation.
pub async fn prepare(generation: Arc<Generation>, services: Rc<Services>) -> Result<Prepared, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut engines = Engines::new(generation.config.limits.script_memory);
    let mut plugins: Vec<Option<Rc<Plugin>>> = Vec::with_capacity(generation.places.len());
    let mut tasks = Vec::new();
    for (index, place) in generation.places.iter().enumerate() {
        let plugin = prepare_place(index, place, &generation, &services, &mut engines, &mut diagnostics).await;
        let given = services.background.as_ref().map(Background::take).unwrap_or_default();
        if let Some(plugin) = plugin.as_ref().filter(|_| services.first_worker) {
            let task =
                |given: Given| Task { plugin: plugin.clone(), interval: given.interval, callback: given.callback };
            tasks.extend(given.into_iter().map(task));
        }
        plugins.push(plugin);
        tokio::task::yield_now().await;
    }
    // Most routes of a large configuration have the same plugins, often none.
    let mut made: AHashMap<&[usize], Rc<Chain>> = AHashMap::new();
    let none = Rc::new(Chain::default());
    let mut chains = Vec::with_capacity(generation.chains.len());
    for (index, places) in generation.chains.iter().chain([&generation.unrouted]).enumerate() {
        let chain = match &places[..] {
            // Not looked up: comparing with an empty list, which has no memory, is what memcmp is slowest at (0.1 µs).
            [] => &none,
            places => made.entry(places).or_insert_with(|| {
                let plugins: Vec<Rc<Plugin>> = places.iter().filter_map(|place| plugins[*place].clone()).collect();
                Rc::new(Chain::new(&plugins))
            }),
        };
        chains.push(chain.clone());
        if index % ROUTES_AT_ONCE == ROUTES_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    drop(made);
    let unrouted = chains.pop().unwrap_or_default();
    if !diagnostics.has_errors() {
        check_answered(&generation, &chains, &mut diagnostics);
    }
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(Prepared { generation, chains, unrouted, services, tasks })
}

/// A route without a service needs a script with `handle`.
fn check_answered(generation: &Generation, chains: &[Rc<Chain>], diagnostics: &mut Diagnostics) {
    for (route, chain) in generation.router.routes().iter().zip(chains) {
        if route.service.is_none() && !route.answers_itself() && chain.handle.is_none() {
            let message =
                format!("route `{}`: none of its scripts has `handle`, so nothing answers it", route.name.value);
            let help = "put it below a service, or give a script of it a `handle(req, ctx)`";
            diagnostics.push(Diagnostic::error(&route.span, message).help(help));
        }
    }
}

async fn prepare_place(
    index: usize,
    place: &Place,
    generation: &Generation,
    services: &Rc<Services>,
    engines: &mut Engines,
    diagnostics: &mut Diagnostics,
) -> Option<Rc<Plugin>> {
    let program = match engines.compile(place, generation) {
        Ok(program) => program,
        // The script is used elsewhere too, and was reported there.
        Err(None) => return None,
        Err(Some(error)) => {
            report(&error, place, generation, diagnostics);
            return None;
        }
    };
    if program.hooks().is_empty() {
        let message = format!("`{}` has no hook: nothing of it would ever run", place.name);
        let names = Hook::ALL.map(Hook::name).join("`, `");
        diagnostics.push(Diagnostic::error(&place.span, message).help(format!("define one of `{names}`")));
        return None;
    }
    let limits = Limits {
        cpu: generation.config.limits.script_cpu,
        memory: generation.config.limits.script_memory,
        value: generation.config.limits.max_body_size,
        ..Limits::default()
    };
    let instance = Rc::new(Instance {
        plugin: place.name.clone(),
        place: place.label.clone(),
        permissions: place.permissions.clone(),
        limits,
        documents: place.documents.clone(),
    });
    let scope = Rc::new(Scope {
        hook: Hook::OnLoad,
        instance: instance.clone(),
        exchange: None,
        services: services.clone(),
        span: 0,
        used: Default::default(),
    });
    match program.load(scope, &place.config).await {
        Ok(state) => Some(Rc::new(Plugin { instance, place: index, program, state, on_error: place.on_error })),
        Err(error) => {
            report(&error, place, generation, diagnostics);
            None
        }
    }
}

fn report(error: &ScriptError, place: &Place, generation: &Generation, diagnostics: &mut Diagnostics) {
    let text = match place.plugin.source.path() == error.file {
        true => place.plugin.source.text().to_owned(),
        false => generation.files.read(&error.file).map(|source| source.text().to_owned()).unwrap_or_default(),
    };
    for error in std::iter::once(error).chain(&error.also) {
        diagnostics.push(diagnostic(error, &text).related(&place.span, "used here"));
    }
}

/// The engines of one worker and generation, each made when a script first needs it.
struct Engines {
    memory: usize,
    lua: Option<lua::LuaEngine>,
    rhai: Option<rhai::RhaiEngine>,
    /// Each file is compiled once; None: it did not compile.
    programs: AHashMap<PathBuf, Option<Rc<dyn Program>>>,
}

impl Engines {
    fn new(memory: usize) -> Engines {
        Engines { memory, lua: None, rhai: None, programs: AHashMap::new() }
    }

    fn compile(&mut self, place: &Place, generation: &Generation) -> Result<Rc<dyn Program>, Option<Box<ScriptError>>> {
        let path = place.plugin.source.path();
        if let Some(known) = self.programs.get(path) {
            return known.clone().ok_or(None);
        }
        let folders = place.plugin.folder.iter().cloned().chain([generation.plugins_dir.to_path_buf()]).collect();
        let modules: Rc<dyn Modules> = Rc::new(Libraries { folders, files: generation.files.clone() });
        let source = script_source(&place.plugin.source);
        let compiled = self.engine(place.plugin.language).and_then(|engine| engine.compile(&source, &modules));
        self.programs.insert(path.to_owned(), compiled.as_ref().ok().cloned());
        compiled.map_err(|error| Some(Box::new(error)))
    }

    fn engine(&mut self, language: Language) -> Result<&dyn Engine, ScriptError> {
        Ok(match language {
            Language::Lua => match &mut self.lua {
                Some(engine) => engine,
                none => none.insert(lua::LuaEngine::new(self.memory)?),
            },
            Language::Rhai => match &mut self.rhai {
                Some(engine) => engine,
                none => none.insert(rhai::RhaiEngine::new(self.memory)?),
            },
        })
    }
}

/// For errors that belong to no file.
pub fn internal(message: impl Into<String>) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(Diagnostic::in_file(Severity::Error, std::path::Path::new("gatewright"), message));
    diagnostics
}
