//! What went wrong in a script, with its place: from Luau's messages and call stack to a [`ScriptError`].
//!
//! Luau tells a line and no column: it is found where the message names a word of the line, or is the first word's. Messages carry their position as
//! `file:line:` in front, which is taken off again where it is the gateway's to show.

use super::{
    convert::{self, describe},
    json,
    running::Running,
    vm::{Mark, Shared, Vm},
};
use crate::script::{
    Hook, ScriptError,
    check::{self, Complaint, Finding},
    error::{Fault, Limit},
};
use mlua::{Lua, Table, Value};
use std::{any::Any, path::PathBuf, rc::Rc};

/// One call of a script.
#[derive(Clone, Debug)]
pub struct Frame {
    /// As Luau names the file.
    pub file: String,
    pub line: usize,
    pub function: Option<String>,
}

/// How a hook failed.
pub enum Failure {
    /// The script raised this.
    Raised(Value),
    Lua(mlua::Error),
    /// Stopped by a limit, a reply or a panic: see its `Running`.
    Halted,
}

const NO_MEMORY: &str = "not enough memory";
const MAX_FRAMES: usize = 10;
/// Frames looked at, those of the prelude and of C functions among them.
const MAX_LEVELS: usize = 200;

/// The calls that lead here, innermost first, without those of the prelude and of the libraries.
pub fn frames(lua: &Lua) -> Vec<Frame> {
    let mut frames = Vec::new();
    for level in 0..MAX_LEVELS {
        let frame = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let file = source.source.as_deref()?.strip_prefix('@')?.to_owned();
            let function = debug.names().name.map(|name| name.into_owned());
            Some(Frame { file, line: debug.current_line()?, function })
        });
        match frame {
            None => break,
            Some(None) => {}
            Some(Some(frame)) => frames.push(frame),
        }
        if frames.len() == MAX_FRAMES {
            break;
        }
    }
    frames
}

/// The host functions about errors.
pub fn install(lua: &Lua, shared: &Rc<Shared>, host: &Table) -> mlua::Result<()> {
    let at = shared.clone();
    let raised = lua.create_function(move |lua, ()| {
        let message = at.running()?.raised.take().unwrap_or_default();
        lua.create_string(message)
    })?;
    host.raw_set("raised", raised)?;

    let at = shared.clone();
    let caught = lua.create_function(move |lua, value: Value| {
        let running = at.running()?;
        if !running.halted() && is_memory(&value) {
            running.frames.replace(frames(lua));
            running.halt(Limit::Memory);
        }
        if running.halted() {
            return Ok(Mark::Stopped.into());
        }
        match value {
            Value::Error(error) => lua.create_string(root(&error)).map(Value::String),
            value => Ok(value),
        }
    })?;
    host.raw_set("caught", caught)?;

    let at = shared.clone();
    let trace = lua.create_function(move |lua, value: Value| {
        let running = at.running()?;
        if !running.halted() || running.frames.borrow().is_empty() {
            running.frames.replace(frames(lua));
        }
        Ok(value)
    })?;
    host.raw_set("trace", trace)
}

fn is_memory(value: &Value) -> bool {
    match value {
        Value::String(text) => *text == NO_MEMORY,
        Value::Error(error) => is_memory_error(error),
        _ => false,
    }
}

fn is_memory_error(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. }
        | mlua::Error::BadArgument { cause, .. }
        | mlua::Error::WithContext { cause, .. } => is_memory_error(cause),
        _ => false,
    }
}

/// The message of an error of mlua's, without the traceback that it adds.
fn root(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => root(cause),
        mlua::Error::RuntimeError(message) | mlua::Error::SyntaxError { message, .. } => {
            message.split("\nstack traceback:").next().unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    }
}

impl Failure {
    /// Whether the machine may hold what nobody needs any more.
    pub fn is_limit(&self, running: &Running) -> bool {
        running.budget.hit().is_some()
            || match self {
                Failure::Raised(value) => is_memory(value),
                Failure::Lua(error) => is_memory_error(error),
                Failure::Halted => false,
            }
    }

    /// The error that the log shows.
    pub fn into_error(self, vm: &Vm, running: &Running, hook: Option<Hook>) -> ScriptError {
        let hit = running.budget.hit();
        let memory = self.is_limit(running) && hit.is_none();
        let panicked = running.panicked.take();
        let (fault, message) = match (hit.or(memory.then_some(Limit::Memory)), self) {
            (_, _) if panicked.is_some() => {
                (Fault::Runtime, format!("a host function failed: {}", panicked.unwrap_or_default()))
            }
            (Some(limit), _) => (Fault::Limit(limit), limit_message(limit, running)),
            (None, Failure::Raised(value)) => (Fault::Runtime, thrown(vm, &value)),
            (None, Failure::Lua(error)) => (Fault::Runtime, root(&error)),
            (None, Failure::Halted) => (Fault::Runtime, "the script was stopped".into()),
        };
        let frames = running.frames.take();
        let mut error = at(&vm.shared, fault, &message, frames.first().map(|frame| (frame.file.as_str(), frame.line)));
        error.stack = frames.iter().map(|frame| show_frame(&vm.shared, frame)).collect();
        error.hook = hook;
        error
    }
}

fn show_frame(shared: &Shared, frame: &Frame) -> String {
    let files = shared.files.borrow();
    let file = files.get(&frame.file).map_or(frame.file.clone(), |file| file.path.display().to_string());
    match &frame.function {
        Some(function) => format!("{file}:{} in {function}", frame.line),
        None => format!("{file}:{}", frame.line),
    }
}

fn limit_message(limit: Limit, running: &Running) -> String {
    match limit {
        Limit::Cpu => "stopped: it ran too long without giving way, or used up its CPU time".into(),
        Limit::Wall => "stopped: the deadline passed".into(),
        Limit::Memory => format!("stopped: it held more than its share of memory ({} MiB)", running.share() >> 20),
        Limit::Depth => "stopped: calls nested too deep".into(),
    }
}

/// What an uncaught value says.
fn thrown(vm: &Vm, value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Error(error) => root(error),
        Value::Table(_) => match json::encode(&vm.lua, &vm.shared.json, None, value) {
            Ok(Ok(text)) => format!("raised {}", String::from_utf8_lossy(&text)),
            _ => "raised a table".into(),
        },
        other => format!("raised {}", describe(other)),
    }
}

/// An error with the position that stands in front of its message, or else the one given.
pub fn at(shared: &Shared, fault: Fault, message: &str, else_at: Option<(&str, usize)>) -> ScriptError {
    let files = shared.files.borrow();
    let prefixed = files.keys().find_map(|name| {
        let rest = message.strip_prefix(name.as_str())?.strip_prefix(':')?;
        let (line, rest) = rest.split_once(':')?;
        Some((name.as_str(), line.parse().ok()?, rest.trim_start()))
    });
    let (file, line, message) = match (prefixed, else_at) {
        (Some(found), _) => found,
        (None, Some((file, line))) => (file, line, message),
        (None, None) => ("", 0, message),
    };
    let known = files.get(file);
    let source_line = known.and_then(|file| file.text.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
    let help = help(message).or_else(|| super::absent::help(&fault, message, source_line)).map(str::to_owned);
    ScriptError {
        fault,
        message: message.to_owned(),
        file: known.map_or_else(|| PathBuf::from(file), |file| file.path.clone()),
        line,
        column: if line == 0 { 0 } else { column(message, source_line) },
        source_line: source_line.to_owned(),
        hook: None,
        stack: Vec::new(),
        help,
        also: Vec::new(),
    }
}

/// From 1: where the line has the word that the message ends with in quotes (`… got 'ctx'`), or the function or the name that it
/// speaks of, if it has it once; otherwise its first word.
fn column(message: &str, line: &str) -> usize {
    let quoted = message.rsplit('\'').skip(1).step_by(2);
    let called = message.split_once(": ").map(|(called, _)| called.rsplit(':').next().unwrap_or(called));
    let named = message.split('`').skip(1).step_by(2);
    let place = quoted.take(1).chain(named.take(1)).chain(called).find_map(|word| check::only_place(word, line));
    let bytes = place.unwrap_or(line.len() - line.trim_start().len());
    1 + line[..bytes].chars().count()
}

fn help(message: &str) -> Option<&'static str> {
    if message.contains("attempt to modify a readonly table") {
        Some(
            "libraries, what files return or declare, ctx.config and ctx.state are read only: requests share them; change a copy made with table.clone",
        )
    } else if message.contains("can't be assigned here") {
        Some("put `local` before it")
    } else if message.contains("attempt to yield across metamethod/C-call boundary") {
        Some("a function that sort or gsub calls, and metamethods, can't wait")
    } else {
        None
    }
}

/// What was found without running the file.
pub fn found(shared: &Shared, file: &str, finding: Finding) -> ScriptError {
    let Complaint { fault, message, help } = finding.complaint;
    let error = at(shared, fault, &message, Some((file, finding.place.line)));
    let column = check::pointed(&finding.place, &message, &error.source_line);
    ScriptError { column, help: help.or(error.help.clone()), ..error }
}

/// An error of loading, from mlua.
pub fn loading(shared: &Shared, error: &mlua::Error, else_at: Option<(&str, usize)>) -> ScriptError {
    let fault = match error {
        mlua::Error::SyntaxError { .. } => Fault::Syntax,
        _ => Fault::Runtime,
    };
    at(shared, fault, &root(error), else_at)
}

/// The machine itself could not be made.
pub fn at_start(error: mlua::Error) -> ScriptError {
    ScriptError {
        fault: Fault::Runtime,
        message: format!("the Lua machine could not be made: {}", root(&error)),
        file: PathBuf::new(),
        line: 0,
        column: 0,
        source_line: String::new(),
        hook: None,
        stack: Vec::new(),
        help: None,
        also: Vec::new(),
    }
}

pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// Whether a value is a reply, thrown or returned.
pub fn reply(lua: &Lua, value: &Value) -> Option<crate::script::Reply> {
    match convert::object(lua, value) {
        Some(crate::script::object::Object::Reply(reply)) => Some((*reply).clone()),
        _ => None,
    }
}

/// For host functions that give several values: the first is the mark.
pub fn mark_raised(running: &Running, message: String) -> Value {
    running.raised.replace(Some(message));
    Mark::Raised.into()
}
