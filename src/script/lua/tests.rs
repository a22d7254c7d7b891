//! The engine as the gateway uses it: scripts in, decisions and errors out, compared as text.

mod errors;
mod hooks;
mod hostile;
mod json;
mod libraries;
mod stubs;
mod waiting;

use super::LuaEngine;
use crate::script::{
    Decision, Engine, Exchange, Hook, Language, Modules, Program, ScriptError, Source, State, fixture, limits::Limits,
};
use std::{collections::HashMap, path::PathBuf, rc::Rc};

/// The files that `require` finds.
#[derive(Default)]
pub struct Files(HashMap<&'static str, &'static str>);

impl Modules for Files {
    fn find(&self, _: Language, name: &str) -> Option<Source> {
        let text = self.0.get(name)?;
        Some(Source { path: format!("{name}.lua").into(), text: (*text).into() })
    }
}

pub struct Rig {
    engine: LuaEngine,
    modules: Rc<dyn Modules>,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with([])
    }

    pub fn with<const N: usize>(files: [(&'static str, &'static str); N]) -> Rig {
        let engine = LuaEngine::new(64 << 20).expect("a machine");
        Rig { engine, modules: Rc::new(Files(files.into_iter().collect())) }
    }

    pub fn compile(&self, text: &str) -> Result<Rc<dyn Program>, ScriptError> {
        self.engine.compile(&Source { path: PathBuf::from("test.lua"), text: text.into() }, &self.modules)
    }

    pub fn refused(&self, text: &str) -> String {
        match self.compile(text) {
            Ok(_) => "it compiled".into(),
            Err(error) => tell(&error),
        }
    }

    /// A script whose `on_request` is this body, run whatever could be said of it without.
    pub async fn request(&self, body: &str) -> String {
        self.request_with(body, Limits::default()).await
    }

    pub async fn request_with(&self, body: &str, limits: Limits) -> String {
        let program = match self.compile(&format!("return {{ on_request = function(req, ctx) {body} end }} --!nocheck"))
        {
            Ok(program) => program,
            Err(error) => return tell_line(&error),
        };
        let exchange = fixture::exchange(r#"{"id":7}"#);
        call(&*program, Hook::OnRequest, exchange, &loaded(&*program, "{}").await, limits).await
    }
}

pub async fn loaded(program: &dyn Program, config: &str) -> State {
    match program.load(fixture::scope(Hook::OnLoad, None), config).await {
        Ok(state) => state,
        Err(error) => panic!("{}", tell(&error)),
    }
}

pub async fn call(program: &dyn Program, hook: Hook, exchange: Rc<Exchange>, state: &State, limits: Limits) -> String {
    match program.call(hook, fixture::scope_with(hook, Some(exchange), limits), state).await {
        Ok(decision) => show(&decision),
        Err(error) => tell_line(&error),
    }
}

pub fn show(decision: &Decision) -> String {
    match decision {
        Decision::Continue => "continue".into(),
        Decision::Reply(reply) => match &reply.problem {
            Some(detail) => format!("{} problem: {detail}", reply.status.as_u16()),
            None => format!("{} {}", reply.status.as_u16(), String::from_utf8_lossy(&reply.body)),
        },
    }
}

pub fn tell(error: &ScriptError) -> String {
    format!("{:?} {error}", error.fault)
}

/// Without the column.
pub fn tell_line(error: &ScriptError) -> String {
    format!("{:?} {}:{}: {}", error.fault, error.file.display(), error.line, error.message)
}

/// A runtime as each worker has it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .expect("a runtime")
        .block_on(future)
}
