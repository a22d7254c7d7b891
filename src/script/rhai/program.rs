//! A compiled script, and how its hooks are driven.
//!
//! [`Compiled::call`] runs a hook on a fiber: [`drive`] resumes it slice by slice, awaits what it waits for, and lets other exchanges run
//! in between. What comes out is a [`Decision`] or an error; everything that the script made has gone with the fiber.

use super::{
    compile,
    convert::Seen,
    entry::{Entries, Entry},
    fiber::{Answer, Fiber, Step, Wish},
    json::{self, Way},
    report::{self, Files},
    run::{Imports, Loaded, Run, Worker},
    wanted::Calls,
};
use crate::script::{
    Decision, Hook, Hooks, Language, NO_CHUNK, Program, Raise, Scope, ScriptError, State,
    background::{Callback, RUN_TIME},
    convert::Native,
    error::{Fault, Limit},
    limits::Budget,
    no_decision,
    object::Object,
    trial::{Case, PREFIX},
};
use ::rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, FnPtr, Map, ScriptFuncDef};
use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

/// The longest that `on_load` may take, waiting included: it may fetch keys.
const LOAD: Duration = Duration::from_secs(10);
/// Host calls keep the exchange's deadline themselves and say what was late; this catches one that does not.
const GRACE: Duration = Duration::from_millis(50);

pub struct Compiled {
    inner: Rc<Inner>,
}

/// What the fibers of a program share.
struct Inner {
    interpreter: Rc<Engine>,
    worker: Rc<Worker>,
    ast: AST,
    hooks: Hooks,
    files: Files,
    imports: Rc<Imports>,
    calls: Rc<Calls>,
    entries: Entries,
    /// The top level is evaluated before each hook when there is one: imports and constants cost less than a microsecond.
    has_top_level: bool,
}

impl Compiled {
    pub fn new(
        interpreter: Rc<Engine>,
        worker: Rc<Worker>,
        ast: AST,
        hooks: Hooks,
        files: Files,
        imports: Rc<Imports>,
    ) -> Compiled {
        let has_top_level = !ast.statements().is_empty();
        let entries = Entries::new(&interpreter, &ast, hooks, imports.is_empty());
        // What is called in a module is at a place of another file.
        let calls = Rc::new(if imports.is_empty() { Calls::of(&ast) } else { Calls::default() });
        let inner = Inner { interpreter, worker, ast, hooks, files, imports, calls, entries, has_top_level };
        Compiled { inner: Rc::new(inner) }
    }
}

impl Program for Compiled {
    fn hooks(&self) -> Hooks {
        self.inner.hooks
    }

    fn cases(&self) -> Vec<Case> {
        let functions = self.inner.ast.iter_fn_def();
        let functions = functions.filter(|function| function.params.is_empty() && function.name.starts_with(PREFIX));
        let line = |function: &ScriptFuncDef| compile::position(function).line().unwrap_or(0);
        let mut cases: Vec<Case> =
            functions.map(|function| Case { name: function.name.to_string(), line: line(function) }).collect();
        cases.sort_by_key(|case| case.line);
        cases
    }

    fn try_case<'a>(&'a self, name: &'a str, scope: Rc<Scope>) -> LocalBoxFuture<'a, Result<(), ScriptError>> {
        Box::pin(async move {
            let loaded = Rc::new(Loaded { config: Dynamic::UNIT, state: Dynamic::UNIT });
            let run = self.inner.run(scope, loaded, Instant::now() + LOAD);
            let name = name.to_owned();
            drive(&self.inner, run, Hook::OnLoad, move |inner, run| inner.invoke_named(run, &name, Vec::new()))
                .await
                .map(drop)
        })
    }

    fn load<'a>(&'a self, scope: Rc<Scope>, config: &'a str) -> LocalBoxFuture<'a, Result<State, ScriptError>> {
        Box::pin(async move {
            let inner = self.inner.clone();
            let config = json::decode(config.as_bytes(), Way { shapes: &inner.worker.shapes, stops: &|| false })
                .map_err(|raise| {
                    let message = format!("the configuration is {raise}");
                    report::plain(&inner.files, Fault::Runtime, message, Hook::OnLoad)
                })?;
            let loaded = Rc::new(Loaded { config: config.clone(), state: Dynamic::UNIT });
            let state = if inner.hooks.has(Hook::OnLoad) {
                let run = inner.run(scope, loaded, Instant::now() + LOAD);
                drive(&self.inner, run, Hook::OnLoad, move |inner, run| {
                    let state = inner.invoke(run, Hook::OnLoad, vec![run.loaded.config.clone()])?;
                    inner.freeze(state)
                })
                .await?
            } else {
                Dynamic::UNIT
            };
            Ok(Rc::new(Loaded { config, state }) as State)
        })
    }

    fn call<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<Decision, ScriptError>> {
        Box::pin(async move {
            if !self.inner.hooks.has(hook) {
                return Ok(Decision::Continue);
            }
            let refuse = |message: &str| report::plain(&self.inner.files, Fault::Runtime, message.to_owned(), hook);
            let Ok(loaded) = state.clone().downcast::<Loaded>() else {
                return Err(refuse("the state is not one of a Rhai script"));
            };
            let args = arguments(hook, &scope).ok_or_else(|| refuse("the hook was called outside of an exchange"))?;
            let run = self.inner.run_of_exchange(scope, loaded);
            drive(&self.inner, run, hook, move |inner, run| {
                let returned = inner.invoke(run, hook, args)?;
                inner.decision(hook, &returned)
            })
            .await
        })
    }

    fn background<'a>(
        &'a self,
        callback: &'a Callback,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<(), ScriptError>> {
        Box::pin(async move {
            let refuse =
                |message: &str| report::plain(&self.inner.files, Fault::Runtime, message.to_owned(), Hook::Every);
            let (Ok(loaded), Some(function)) = (state.clone().downcast::<Loaded>(), callback.downcast_ref::<FnPtr>())
            else {
                return Err(refuse("the function is not one of a Rhai script"));
            };
            let (function, run) = (function.clone(), self.inner.run(scope, loaded, Instant::now() + RUN_TIME));
            drive(&self.inner, run, Hook::Every, move |inner, run| {
                let result = match &inner.entries.callback {
                    Some(entry) => inner.enter(entry, Hook::Every, vec![Dynamic::from(function)]),
                    None => Ok(Dynamic::UNIT),
                };
                inner.returned(run, Some(Hook::Every), Hook::Every.name(), 0, result).map(drop)
            })
            .await
        })
    }

    fn chunk<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
        chunk: Option<Bytes>,
    ) -> LocalBoxFuture<'a, Result<Option<Bytes>, ScriptError>> {
        Box::pin(async move {
            let refuse = |message: &str| report::plain(&self.inner.files, Fault::Runtime, message.to_owned(), hook);
            let Ok(loaded) = state.clone().downcast::<Loaded>() else {
                return Err(refuse("the state is not one of a Rhai script"));
            };
            let chunk = chunk.map_or(Dynamic::UNIT, |chunk| match std::str::from_utf8(&chunk) {
                Ok(text) => Dynamic::from(text.to_owned()),
                Err(_) => Dynamic::from_blob(chunk.to_vec()),
            });
            let args = vec![chunk, Dynamic::from(Object::Context(scope.clone()))];
            let run = self.inner.run_of_exchange(scope, loaded);
            drive(&self.inner, run, hook, move |inner, run| {
                let returned = inner.invoke(run, hook, args)?;
                inner.replacement(hook, returned)
            })
            .await
        })
    }
}

/// What a hook is called with; none when the exchange does not have it.
fn arguments(hook: Hook, scope: &Rc<Scope>) -> Option<Vec<Dynamic>> {
    let exchange = || scope.exchange.clone();
    let first = match hook {
        Hook::OnLoad | Hook::OnLog | Hook::OnRequestChunk | Hook::OnResponseChunk | Hook::Every => None,
        Hook::OnRequest | Hook::Handle => Some(Object::Request(exchange()?)),
        Hook::OnResponse => Some(Object::Response(exchange()?)),
        Hook::OnError => Some(Object::Error(exchange()?.failed.borrow().clone()?)),
    };
    let context = Object::Context(scope.clone());
    Some(first.into_iter().chain([context]).map(Dynamic::from).collect())
}

/// Runs `body` on a fiber to its end. Dropping this future drops the fiber.
async fn drive<T: 'static>(
    inner: &Rc<Inner>,
    run: Rc<Run>,
    hook: Hook,
    body: impl FnOnce(&Rc<Inner>, &Rc<Run>) -> Result<T, ScriptError> + 'static,
) -> Result<T, ScriptError> {
    let (own, own_run) = (inner.clone(), run.clone());
    let fiber = Fiber::new(&inner.worker.fibers, move || body(&own, &own_run));
    let mut fiber = fiber.map_err(|e| {
        report::plain(&inner.files, Fault::Limit(Limit::Memory), format!("there is no memory for a stack: {e}"), hook)
    })?;
    let mut answer = Answer::Go;
    loop {
        let step = catch_unwind(AssertUnwindSafe(|| run.slice(|| fiber.resume(answer))));
        answer = match step {
            Ok(Step::Done(result)) => {
                if result.is_err() {
                    fiber.discard_stack();
                }
                return result;
            }
            Ok(Step::Suspended(Wish::GiveWay)) => {
                match &run.scope {
                    Some(scope) => scope.services.turns.next().await,
                    None => tokio::task::yield_now().await,
                }
                Answer::Go
            }
            Ok(Step::Suspended(Wish::Wait(future))) => Answer::Value(wait(&run, future).await),
            Err(panic) => {
                let why = panic_text(&*panic);
                let message = format!("a host function failed: {why}");
                return Err(report::plain(&inner.files, Fault::Runtime, message, hook));
            }
        };
    }
}

async fn wait(
    run: &Run,
    future: LocalBoxFuture<'static, Result<crate::script::Value, Raise>>,
) -> Result<crate::script::Value, Raise> {
    let future = AssertUnwindSafe(future).catch_unwind();
    match tokio::time::timeout_at((run.budget.deadline() + GRACE).into(), future).await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => Err(Raise::error(format!("a host function failed: {}", panic_text(&*panic)))),
        Err(_) => {
            run.budget.stop(Limit::Wall);
            Err(Raise::error("the exchange's time is over"))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

impl Inner {
    fn run(&self, scope: Rc<Scope>, loaded: Rc<Loaded>, deadline: Instant) -> Rc<Run> {
        let instance = scope.instance.clone();
        let budget = Budget::new(&instance.limits, deadline, &self.worker.clock);
        Run::new(&self.worker, Some(scope), budget, &instance.limits, self.imports.clone(), loaded, self.calls.clone())
    }

    fn run_of_exchange(&self, scope: Rc<Scope>, loaded: Rc<Loaded>) -> Rc<Run> {
        let deadline = scope.exchange.as_ref().map_or_else(|| Instant::now() + LOAD, |it| it.hook_deadline());
        self.run(scope, loaded, deadline)
    }

    /// Calls the hook's function; runs on the fiber.
    fn invoke(&self, run: &Run, hook: Hook, args: Vec<Dynamic>) -> Result<Returned, ScriptError> {
        let count = args.len();
        let result = match self.entries.of(hook) {
            Some(entry) => self.enter(entry, hook, args),
            None => self.call_named(hook.name(), args),
        };
        self.returned(run, Some(hook), hook.name(), count, result)
    }

    fn invoke_named(&self, run: &Run, name: &str, args: Vec<Dynamic>) -> Result<Returned, ScriptError> {
        let count = args.len();
        let result = self.call_named(name, args);
        self.returned(run, None, name, count, result)
    }

    fn call_named(&self, name: &str, args: Vec<Dynamic>) -> Called {
        let options = CallFnOptions::new().eval_ast(self.has_top_level).rewind_scope(true);
        self.interpreter.call_fn_with_options(options, &mut ::rhai::Scope::new(), &self.ast, name, args)
    }

    /// Does what `call_fn` does, with caches that other calls have filled: `call_fn` begins with empty ones, and so looks for each
    /// function anew, with every mix of argument types, in all modules.
    #[expect(deprecated, reason = "the one public way to run statements with caches of one's own")]
    fn enter(&self, entry: &Entry, hook: Hook, args: Vec<Dynamic>) -> Called {
        let mut global = self.interpreter.new_global_runtime_state();
        global.source = self.entries.source.clone();
        global.lib.push(self.ast.shared_lib().clone());
        let mut caches = self.entries.take();
        let mut scope = ::rhai::Scope::new();
        let mut run = |scope: &mut ::rhai::Scope, statements| {
            self.interpreter.eval_statements_raw(&mut global, &mut caches, scope, statements)
        };
        let before = if self.has_top_level { run(&mut scope, self.ast.statements()).map(drop) } else { Ok(()) };
        scope.rewind(0);
        let result = before.and_then(|()| {
            for (name, value) in entry.names.iter().zip(args) {
                scope.push_dynamic(name.clone(), value);
            }
            run(&mut scope, &entry.call)
        });
        self.entries.give_back(caches);
        result.map_err(|error| match *error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, _) if name == hook.name() || hook == Hook::Every => {
                inner
            }
            _ => error,
        })
    }

    fn returned(
        &self,
        run: &Run,
        hook: Option<Hook>,
        name: &str,
        count: usize,
        result: Called,
    ) -> Result<Returned, ScriptError> {
        let function = || self.ast.shared_lib().get_script_fn(name, count);
        // The first limit counts, whatever the script or Rhai made of it.
        if let Some(limit) = run.budget.hit() {
            return Err(report::limit(&self.files, (limit, run.memory()), hook, function()));
        }
        match result {
            Ok(value) => Ok(Returned::Value(value.flatten())),
            Err(error) => match thrown_reply(&error) {
                Some(reply) => Ok(Returned::Thrown(reply)),
                None => Err(report::runtime(&self.files, self.files.main(), *error, hook, function(), &self.names())),
            },
        }
    }

    /// The names of the script's own functions.
    fn names(&self) -> Vec<String> {
        self.ast.iter_fn_def().map(|function| function.name.to_string()).collect()
    }

    fn decision(&self, hook: Hook, returned: &Returned) -> Result<Decision, ScriptError> {
        let value = match returned {
            Returned::Thrown(reply) => reply,
            Returned::Value(value) => value,
        };
        if value.is_unit() {
            return Ok(Decision::Continue);
        }
        if let Some(Object::Reply(reply)) = Seen::new(&self.worker, value.clone()).object() {
            return Ok(Decision::Reply(Rc::unwrap_or_clone(reply)));
        }
        let help = no_decision(Language::Rhai);
        Err(self.misreturned(hook, &json::type_name(value), help))
    }

    /// What takes a chunk's place.
    fn replacement(&self, hook: Hook, returned: Returned) -> Result<Option<Bytes>, ScriptError> {
        let Returned::Value(value) = returned else {
            return Err(self.misreturned(hook, "a reply", NO_CHUNK));
        };
        if value.is_unit() {
            return Ok(None);
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return Ok(Some(Bytes::copy_from_slice(text.as_bytes())));
        }
        if let Ok(blob) = value.as_blob_ref() {
            return Ok(Some(Bytes::copy_from_slice(&blob)));
        }
        Err(self.misreturned(hook, &json::type_name(&value), NO_CHUNK))
    }

    fn misreturned(&self, hook: Hook, got: &str, help: &str) -> ScriptError {
        let message = format!("{} returned {got}", hook.name());
        let mut error = report::plain(&self.files, Fault::Returned, message, hook);
        report::locate(&mut error, &self.files, self.ast.shared_lib().get_script_fn(hook.name(), hook.params().len()));
        error.help = Some(help.into());
        error
    }

    /// What `on_load` returned, cut off from what it shares with closures, so that no exchange can change it for another.
    fn freeze(&self, returned: Returned) -> Result<Dynamic, ScriptError> {
        let refuse = |message: String| Err(report::plain(&self.files, Fault::Returned, message, Hook::OnLoad));
        match returned {
            Returned::Thrown(reply) => match Seen::new(&self.worker, reply).object() {
                Some(Object::Reply(reply)) => {
                    refuse(format!("on_load can't reply, it replied {}", reply.status.as_u16()))
                }
                _ => refuse("on_load can't reply".into()),
            },
            Returned::Value(mut value) => match detach(&mut value, 0) {
                Ok(()) => Ok(value),
                Err(why) => refuse(format!("on_load returned {why}")),
            },
        }
    }
}

type Called = Result<Dynamic, Box<EvalAltResult>>;

enum Returned {
    Value(Dynamic),
    Thrown(Dynamic),
}

/// `throw reply::…`, or a host function that ended the hook, at any depth.
fn thrown_reply(error: &EvalAltResult) -> Option<Dynamic> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(thrown, _) | EvalAltResult::ErrorTerminated(thrown, _) => {
            let is_reply = thrown.read_lock::<Object>().is_some_and(|object| matches!(&*object, Object::Reply(_)));
            is_reply.then(|| thrown.clone())
        }
        _ => None,
    }
}

/// Replaces shared values by copies, in arrays, maps and what closures caught. Cells that stay shared could be changed by one
/// exchange, or be locked by one that waits, while another reads them.
pub fn detach(value: &mut Dynamic, depth: usize) -> Result<(), &'static str> {
    if depth > crate::script::json::MAX_DEPTH {
        return Err("a value that is nested too deeply");
    }
    if value.is_shared() {
        *value = value.flatten_clone();
    }
    if let Ok(mut items) = value.as_array_mut() {
        return items.iter_mut().try_for_each(|item| detach(item, depth + 1));
    }
    if let Some(mut map) = value.write_lock::<Map>() {
        return map.values_mut().try_for_each(|item| detach(item, depth + 1));
    }
    if let Some(mut function) = value.write_lock::<FnPtr>() {
        return function.iter_curry_mut().try_for_each(|caught| detach(caught, depth + 1));
    }
    Ok(())
}
