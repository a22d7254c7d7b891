//! The scripting host: hooks, programs, limits, and what scripts can reach.
//!
//! A script is compiled for each worker into a [`Program`]; a place that uses it is an instance with a
//! configuration and a state. The gateway calls a [`Hook`] and gets a [`Decision`] back, or a
//! [`ScriptError`]. The two engines live in `lua/` and `rhai/` and are the only code that names them;
//! everything that scripts can call is described once, in [`list`], and implemented in `host/`.
//!
//! Deliberately absent: access to files, processes and sockets, and any state that outlives an exchange but
//! `kv`, `ctx.state` and what the stores keep.

pub mod account;
pub mod background;
pub mod cache;
pub mod check;
pub mod convert;
pub mod error;
pub mod exchange;
#[doc(hidden)]
pub mod fixture;
pub mod host;
pub mod json;
pub mod limits;
pub mod list;
pub mod lua;
pub mod object;
pub mod outbound;
pub mod reference;
pub mod reply;
pub mod rhai;
pub mod scope;
pub mod stamps;
pub mod trial;
pub mod turns;
pub mod value;

pub use account::Account;
pub use error::{Raise, ScriptError};
pub use exchange::Exchange;
pub use reply::Reply;
pub use scope::{Instance, Scope, Services};
pub use value::Value;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use std::{any::Any, path::PathBuf, rc::Rc, sync::Arc};

/// A function of a script that the gateway calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    OnLoad,
    OnRequest,
    Handle,
    OnRequestChunk,
    OnResponse,
    OnResponseChunk,
    OnError,
    OnLog,
    /// What `on_load` gave to `every`: no function of the script's own table, so not one of [`Hook::ALL`].
    Every,
}

impl Hook {
    /// Those that a script defines.
    pub const ALL: [Hook; 8] = [
        Hook::OnLoad,
        Hook::OnRequest,
        Hook::Handle,
        Hook::OnRequestChunk,
        Hook::OnResponse,
        Hook::OnResponseChunk,
        Hook::OnError,
        Hook::OnLog,
    ];

    /// The name of the function in the script.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::OnLoad => "on_load",
            Hook::OnRequest => "on_request",
            Hook::Handle => "handle",
            Hook::OnRequestChunk => "on_request_chunk",
            Hook::OnResponse => "on_response",
            Hook::OnResponseChunk => "on_response_chunk",
            Hook::OnError => "on_error",
            Hook::OnLog => "on_log",
            Hook::Every => "every",
        }
    }

    /// The names of the hook's parameters; Rhai chooses functions by their number.
    pub const fn params(self) -> &'static [&'static str] {
        match self {
            Hook::OnLoad => &["config"],
            Hook::OnRequest | Hook::Handle => &["req", "ctx"],
            Hook::OnResponse => &["res", "ctx"],
            Hook::OnRequestChunk | Hook::OnResponseChunk => &["chunk", "ctx"],
            Hook::OnError => &["err", "ctx"],
            Hook::OnLog => &["ctx"],
            Hook::Every => &[],
        }
    }

    pub fn named(name: &str) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| hook.name() == name)
    }
}

/// Which hooks a script has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    pub fn add(&mut self, hook: Hook) {
        self.0 |= 1 << hook as u8;
    }
    pub fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u8) != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How a hook on a piece of a body is put right; its head has left, so there is no replying any more.
pub(crate) const NO_CHUNK: &str = "return nothing, or the string that takes the chunk's place";

/// The same for the other hooks.
pub(crate) const fn no_decision(language: Language) -> &'static str {
    match language {
        Language::Lua => "return nothing, or a reply such as `reply.json(200, value)`",
        Language::Rhai => {
            "return nothing, or a reply such as `reply::json(200, value)`; a function returns its last expression, also before a `;`: end it with `return;`"
        }
    }
}

/// What a hook decided.
#[derive(Debug)]
pub enum Decision {
    Continue,
    Reply(Reply),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Lua,
    Rhai,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::Lua, Language::Rhai];

    /// The file name's ending, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Language::Lua => "lua",
            Language::Rhai => "rhai",
        }
    }

    pub fn of(path: &std::path::Path) -> Option<Language> {
        let extension = path.extension()?.to_str()?;
        Language::ALL.into_iter().find(|language| language.extension() == extension)
    }
}

/// A script's text, as it was read for this generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How messages name it.
    pub path: PathBuf,
    pub text: Arc<str>,
}

/// Finds what a script names in `require "lib.x"` or `import "lib/x"`. The name comes with slashes.
pub trait Modules {
    fn find(&self, language: Language, name: &str) -> Option<Source>;
}

/// What `on_load` returned, in the engine's own form.
pub type State = Rc<dyn Any>;

/// A script compiled for one worker and one generation.
pub trait Program {
    fn hooks(&self) -> Hooks;

    /// Runs `on_load` with the instance's configuration (JSON text), and keeps what `ctx.state` and `ctx.config` give.
    /// A script without `on_load` has an empty state.
    fn load<'a>(&'a self, scope: Rc<Scope>, config: &'a str) -> LocalBoxFuture<'a, Result<State, ScriptError>>;

    /// Its functions named `test_…`, in their order: the cases of a test file.
    fn cases(&self) -> Vec<trial::Case>;

    /// Runs a case of a test file to its end, as `on_load` would run.
    fn try_case<'a>(&'a self, name: &'a str, scope: Rc<Scope>) -> LocalBoxFuture<'a, Result<(), ScriptError>>;

    /// Runs one hook of an exchange to its end. Dropping the future cancels the script.
    fn call<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<Decision, ScriptError>>;

    /// Runs a function that `on_load` gave to `every` to its end. Dropping the future cancels it.
    fn background<'a>(
        &'a self,
        callback: &'a background::Callback,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<(), ScriptError>>;

    /// Runs a hook on a piece of a body, or at its end on none. Gives what takes its place; `None`: it stays.
    fn chunk<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
        chunk: Option<Bytes>,
    ) -> LocalBoxFuture<'a, Result<Option<Bytes>, ScriptError>>;
}

/// An engine made for one worker and one generation.
pub trait Engine {
    /// Compiles a script and finds its hooks. Everything that can be said about it without a request (syntax, misspelt
    /// hooks, modules that are missing) is an error here.
    fn compile(&self, source: &Source, modules: &Rc<dyn Modules>) -> Result<Rc<dyn Program>, ScriptError>;
}
