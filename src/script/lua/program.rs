//! A compiled script: its file is run once for each machine, its hooks are called for each exchange.

use super::{
    convert, drive,
    fault::{self, Failure},
    json::{self, Undecoded},
    modules::{load_file, seal},
    raw,
    raw::threads::Arguments,
    running::{CONTEXT, Natives, REQUEST, RESPONSE, Running},
    uses,
    vm::{Shared, Vm},
};
use crate::script::{
    Decision, Hook, Hooks, Language, Modules, NO_CHUNK, Program, Scope, ScriptError, Source, State,
    background::{Callback, RUN_TIME},
    check,
    error::Fault,
    limits::{Budget, Limits},
    list::nearest,
    no_decision,
    object::Object,
    trial::{Case, PREFIX},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use mlua::{Function, Lua, Table, Value};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// For `on_load`, which has no exchange with a deadline.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// The body of a file only makes functions and tables, once for each generation.
const FILE_CPU: Duration = Duration::from_millis(500);

pub struct LuaProgram {
    vm: Rc<Vm>,
    file: String,
    hooks: Hooks,
    functions: [Option<Function>; Hook::ALL.len()],
    /// In the order of the file.
    cases: Vec<(Case, Function)>,
}

/// What `on_load` left for one place.
struct LuaState(Rc<Natives>);

impl LuaProgram {
    pub fn compile(vm: &Rc<Vm>, source: &Source, modules: &Rc<dyn Modules>) -> Result<LuaProgram, ScriptError> {
        vm.shared.modules.replace(Some(modules.clone()));
        let file = source.path.display().to_string();
        let chunk = load_file(&vm.lua, &vm.shared, source, None)
            .map_err(|error| fault::loading(&vm.shared, &error, Some((&file, 1))))?;
        let limits = Limits { cpu: FILE_CPU, ..Limits::default() };
        let running = running(vm, None, Rc::default(), &limits);
        let returned = drive::run_now(vm, &running, &chunk).map_err(|failure| {
            let (error, _) = failed(vm, &running, None, failure);
            let is_syntax = vm.shared.broken.take() && error.fault == Fault::Runtime;
            if is_syntax { ScriptError { fault: Fault::Syntax, ..error } } else { error }
        });
        let (hooks, functions) = (Hooks::default(), Default::default());
        let mut program = LuaProgram { vm: vm.clone(), file, hooks, functions, cases: Vec::new() };
        let returned = returned?;
        vm.shared.opened(returned.clone());
        program.find_hooks(returned)?;
        program.judge(source)?;
        seal(&vm.lua, &vm.shared, &program.file, &vm.new_global)
            .map_err(|error| fault::loading(&vm.shared, &error, Some((&program.file, 1))))?;
        vm.settle();
        Ok(program)
    }

    fn find_hooks(&mut self, returned: Value) -> Result<(), ScriptError> {
        let Value::Table(table) = returned else {
            let got = convert::describe(&returned);
            let mut error = self.error(format!("a script returns a table of hooks, this one returned {got}"));
            error.help = Some("end it with `return { on_request = on_request }`, or `return M`".into());
            return Err(error);
        };
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| fault::loading(&self.vm.shared, &error, None))?;
            let Value::String(name) = key else { continue };
            let name = name.to_string_lossy();
            match (Hook::named(&name), value) {
                (Some(hook), Value::Function(function)) => {
                    self.hooks.add(hook);
                    self.functions[hook as usize] = Some(function);
                }
                (Some(_), other) => {
                    return Err(self.error(format!("`{name}` must be a function, it is {}", convert::describe(&other))));
                }
                (None, Value::Function(function)) if name.starts_with(PREFIX) => {
                    let line = function.info().line_defined.unwrap_or(0);
                    self.cases.push((Case { name: name.clone(), line }, function));
                }
                (None, Value::Function(function)) => {
                    if let Some(near) = nearest(&name, Hook::ALL.into_iter().map(Hook::name)) {
                        let mut error = self.error(format!("there is no hook `{name}`, did you mean `{near}`?"));
                        if let Some(line) = function.info().line_defined {
                            error = self.at_line(error, line);
                        }
                        return Err(error);
                    }
                }
                (None, _) => {}
            }
        }
        self.cases.sort_by_key(|(case, _)| case.line);
        Ok(())
    }

    /// What would fail for certain when it is run is refused now.
    fn judge(&self, source: &Source) -> Result<(), ScriptError> {
        let shared = &self.vm.shared;
        let line = |hook: Hook| self.functions[hook as usize].as_ref()?.info().line_defined;
        let hooks: Vec<(Hook, usize)> = Hook::ALL.into_iter().filter_map(|hook| Some((hook, line(hook)?))).collect();
        let own = shared.files.borrow().get(&self.file).map(|file| file.env.clone());
        let has = |table: &Table, name: &str| table.raw_get::<Value>(name).is_ok_and(|value| !value.is_nil());
        let is_global = |name: &str| has(&shared.globals, name) || own.as_ref().is_some_and(|own| has(own, name));
        let findings = uses::judge(&source.text, &uses::Around { hooks: &hooks, is_global: &is_global });
        match check::told(findings, |finding| fault::found(shared, &self.file, finding)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn error(&self, message: String) -> ScriptError {
        let files = self.vm.shared.files.borrow();
        let last = files.get(&self.file).map_or(1, |file| file.text.trim_end().lines().count().max(1));
        drop(files);
        fault::at(&self.vm.shared, Fault::Returned, &message, Some((&self.file, last)))
    }

    fn at_line(&self, error: ScriptError, line: usize) -> ScriptError {
        fault::at(&self.vm.shared, error.fault, &error.message, Some((&self.file, line)))
    }

    async fn run(
        &self,
        hook: Hook,
        running: &Rc<Running>,
        arguments: Arguments,
    ) -> Result<Result<Value, crate::script::Reply>, ScriptError> {
        match &self.functions[hook as usize] {
            Some(function) => {
                let entry = if hook == Hook::OnLoad { &self.vm.entry } else { &self.vm.enter };
                self.run_function(Some(hook), entry, function, running, arguments).await
            }
            None => Ok(Ok(Value::Nil)),
        }
    }

    async fn run_function(
        &self,
        hook: Option<Hook>,
        entry: &Function,
        function: &Function,
        running: &Rc<Running>,
        arguments: Arguments,
    ) -> Result<Result<Value, crate::script::Reply>, ScriptError> {
        let _release = Release { running, shared: &self.vm.shared };
        let result = drive::run(&self.vm, running, entry, function, arguments).await;
        if let Some(reply) = running.ended.take().filter(|_| running.budget.hit().is_none()) {
            return Ok(Err(*reply));
        }
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(Failure::Raised(value))
                if running.budget.hit().is_none() && fault::reply(&self.vm.lua, &value).is_some() =>
            {
                Ok(fault::reply(&self.vm.lua, &value).map_or(Ok(Value::Nil), Err))
            }
            Err(failure) => {
                let (error, left) = failed(&self.vm, running, hook, failure);
                if left.is_some() {
                    // It may have kept the others waiting for as long as it may, and this takes milliseconds again.
                    tokio::task::yield_now().await;
                }
                drop(left);
                if !error.file.as_os_str().is_empty() {
                    return Err(error);
                }
                // Found when the slice was over: where in it is not known any more.
                let (hook, line) = (error.hook, function.info().line_defined.unwrap_or(1));
                Err(ScriptError { hook, ..self.at_line(error, line) })
            }
        }
    }

    async fn load(&self, scope: Rc<Scope>, config: &str) -> Result<State, ScriptError> {
        let vm = &self.vm;
        let decoded = json::decode(&vm.lua, &vm.shared.json, None, config.as_bytes());
        let config = decoded.map_err(|undecoded| match undecoded {
            Undecoded::Refused(raise) => self.error(format!("the configuration is {raise}")),
            Undecoded::Lua(error) => fault::loading(&vm.shared, &error, Some((&self.file, 1))),
        })?;
        freeze(&vm.lua, &vm.shared, &config).map_err(|error| fault::loading(&vm.shared, &error, None))?;
        let limits = scope.instance.limits.clone();
        let natives = Natives { config: config.clone(), ..Natives::default() };
        let running = running(vm, Some(scope), Rc::new(natives), &limits);
        let state =
            match self.run(Hook::OnLoad, &running, Arguments { first: Some(config.clone()), places: &[] }).await? {
                Ok(state) => state,
                Err(reply) => {
                    let mut error = self.error(format!("on_load can't reply, it replied {}", reply.status.as_u16()));
                    error.hook = Some(Hook::OnLoad);
                    return Err(error);
                }
            };
        freeze(&vm.lua, &vm.shared, &state).map_err(|error| fault::loading(&vm.shared, &error, None))?;
        let natives = vm.shared.keep_natives(config, state);
        let natives = natives.map_err(|error| fault::loading(&vm.shared, &error, None))?;
        vm.settle();
        Ok(Rc::new(LuaState(Rc::new(natives))))
    }

    /// Calls a hook with what it is given before the exchange's objects.
    async fn called(
        &self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &State,
        first: Option<Value>,
    ) -> Result<Result<Value, crate::script::Reply>, ScriptError> {
        let vm = &self.vm;
        if vm.shared.is_open.get() {
            vm.shared.close(&vm.lua).map_err(|error| fault::loading(&vm.shared, &error, None))?;
        }
        let natives = state.downcast_ref::<LuaState>().map(|state| state.0.clone()).unwrap_or_default();
        let limits = scope.instance.limits.clone();
        let (object, places) = given(hook, &scope);
        let running = running(vm, Some(scope), natives, &limits);
        let handle = |object| {
            let handle = convert::handle(&vm.lua, &vm.shared, Some(&running), object);
            handle.map(Value::UserData).map_err(|error| failed(vm, &running, Some(hook), Failure::Lua(error)).0)
        };
        let first = object.map(handle).transpose()?.or(first);
        self.run(hook, &running, Arguments { first, places }).await
    }

    async fn call(&self, hook: Hook, scope: Rc<Scope>, state: &State) -> Result<Decision, ScriptError> {
        if !self.hooks.has(hook) {
            return Ok(Decision::Continue);
        }
        let value = match self.called(hook, scope, state, None).await? {
            Err(reply) => return Ok(Decision::Reply(reply)),
            Ok(value) => value,
        };
        match (&value, fault::reply(&self.vm.lua, &value)) {
            (Value::Nil, _) => Ok(Decision::Continue),
            (_, Some(reply)) => Ok(Decision::Reply(reply)),
            (other, None) => Err(self.misreturned(hook, &convert::describe(other), no_decision(Language::Lua))),
        }
    }

    async fn chunk(
        &self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &State,
        chunk: Option<Bytes>,
    ) -> Result<Option<Bytes>, ScriptError> {
        let text = chunk.map_or(Ok(Value::Nil), |chunk| self.vm.lua.create_string(chunk).map(Value::String));
        let text = text.map_err(|error| fault::loading(&self.vm.shared, &error, None))?;
        match self.called(hook, scope, state, Some(text)).await? {
            Ok(Value::Nil) => Ok(None),
            Ok(Value::String(text)) => Ok(Some(Bytes::copy_from_slice(&text.as_bytes()))),
            Ok(other) => Err(self.misreturned(hook, &convert::describe(&other), NO_CHUNK)),
            Err(_) => Err(self.misreturned(hook, "a reply", NO_CHUNK)),
        }
    }

    async fn background(&self, callback: &Callback, scope: Rc<Scope>, state: &State) -> Result<(), ScriptError> {
        let Some(function) = callback.downcast_ref::<Function>() else {
            return Err(self.error("the function is not one of a Lua script".into()));
        };
        let natives = state.downcast_ref::<LuaState>().map(|state| state.0.clone()).unwrap_or_default();
        let limits = scope.instance.limits.clone();
        let running = running(&self.vm, Some(scope), natives, &limits);
        let arguments = Arguments::default();
        self.run_function(Some(Hook::Every), &self.vm.entry, function, &running, arguments).await.map(drop)
    }

    fn misreturned(&self, hook: Hook, got: &str, help: &str) -> ScriptError {
        let mut error = self.error(format!("{} returned {got}", hook.name()));
        if let Some(line) = self.functions[hook as usize].as_ref().and_then(|f| f.info().line_defined) {
            error = self.at_line(error, line);
        }
        error.hook = Some(hook);
        error.help = Some(help.into());
        error
    }
}

impl Program for LuaProgram {
    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn cases(&self) -> Vec<Case> {
        self.cases.iter().map(|(case, _)| case.clone()).collect()
    }

    fn try_case<'a>(&'a self, name: &'a str, scope: Rc<Scope>) -> LocalBoxFuture<'a, Result<(), ScriptError>> {
        Box::pin(async move {
            let Some((_, function)) = self.cases.iter().find(|(case, _)| case.name == name) else {
                return Err(self.error(format!("there is no case `{name}`")));
            };
            let limits = scope.instance.limits.clone();
            let running = running(&self.vm, Some(scope), Rc::default(), &limits);
            self.run_function(None, &self.vm.entry, function, &running, Arguments::default()).await.map(drop)
        })
    }

    fn load<'a>(&'a self, scope: Rc<Scope>, config: &'a str) -> LocalBoxFuture<'a, Result<State, ScriptError>> {
        Box::pin(self.load(scope, config))
    }

    fn call<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<Decision, ScriptError>> {
        Box::pin(self.call(hook, scope, state))
    }

    fn background<'a>(
        &'a self,
        callback: &'a Callback,
        scope: Rc<Scope>,
        state: &'a State,
    ) -> LocalBoxFuture<'a, Result<(), ScriptError>> {
        Box::pin(self.background(callback, scope, state))
    }

    fn chunk<'a>(
        &'a self,
        hook: Hook,
        scope: Rc<Scope>,
        state: &'a State,
        chunk: Option<Bytes>,
    ) -> LocalBoxFuture<'a, Result<Option<Bytes>, ScriptError>> {
        Box::pin(self.chunk(hook, scope, state, chunk))
    }
}

/// The objects that a hook is given: one that is no part of an exchange, and the places of those that are.
fn given(hook: Hook, scope: &Rc<Scope>) -> (Option<Object>, &'static [usize]) {
    let Some(exchange) = &scope.exchange else {
        return (Some(Object::Context(scope.clone())), &[]);
    };
    match hook {
        Hook::OnRequest | Hook::Handle => (None, &[REQUEST, CONTEXT]),
        Hook::OnResponse => (None, &[RESPONSE, CONTEXT]),
        Hook::OnError => (exchange.failed.borrow().clone().map(Object::Error), &[CONTEXT]),
        Hook::OnRequestChunk | Hook::OnResponseChunk | Hook::OnLog | Hook::OnLoad => (None, &[CONTEXT]),
        Hook::Every => (None, &[]),
    }
}

fn running(vm: &Vm, scope: Option<Rc<Scope>>, natives: Rc<Natives>, limits: &Limits) -> Rc<Running> {
    let deadline = match scope.as_deref() {
        Some(Scope { exchange: Some(exchange), .. }) => exchange.hook_deadline(),
        Some(Scope { hook: Hook::Every, .. }) => Instant::now() + RUN_TIME,
        _ => Instant::now() + LOAD_TIME,
    };
    let budget = Budget::new(limits, deadline, &vm.clock);
    vm.running(scope, natives, budget, limits.memory)
}

/// Empties the handles that a hook was given, also when it is cancelled: bodies are not to wait for the collector, which sees
/// of each only the few bytes of its handle.
struct Release<'a> {
    running: &'a Running,
    shared: &'a Shared,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.shared.give_row(self.running.handles.row.replace(0));
        self.running.forget_handles();
        for (_, place, _) in self.running.handles.answers.take() {
            self.shared.give_held(place);
        }
    }
}

/// The error of a hook, and what is left of one that was stopped.
fn failed<'a>(vm: &'a Vm, running: &Running, hook: Option<Hook>, failure: Failure) -> (ScriptError, Option<Left<'a>>) {
    let left = failure.is_limit(running).then_some(Left(vm));
    (failure.into_error(vm, running, hook), left)
}

/// What a hook that was stopped left behind: dropping it collects it, so that it is not others who pay.
struct Left<'a>(&'a Vm);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.collect();
    }
}

/// Makes a table and the plain tables in it read only. Those with a metatable of the script's own are its own affair.
pub fn freeze(lua: &Lua, shared: &Shared, value: &Value) -> mlua::Result<()> {
    let mut left = vec![value.clone()];
    while let Some(value) = left.pop() {
        let Value::Table(table) = value else { continue };
        raw::stubs::open_table(lua, &shared.json, None, &table)?;
        let foreign = table.metatable().is_some_and(|metatable| !shared.json.is_ours(&metatable));
        if foreign || table.is_readonly() {
            continue;
        }
        table.set_readonly(true);
        table.for_each(|_: Value, item: Value| {
            left.push(item);
            Ok(())
        })?;
    }
    Ok(())
}

/// The same for what a file gave, itself in any case: that a module can be called needs a metatable.
pub fn freeze_module(lua: &Lua, shared: &Shared, value: &Value) -> mlua::Result<()> {
    let Value::Table(table) = value else { return Ok(()) };
    if table.is_readonly() {
        return Ok(());
    }
    table.set_readonly(true);
    let mut items = Vec::new();
    table.for_each(|_: Value, item: Value| {
        items.push(item);
        Ok(())
    })?;
    items.iter().try_for_each(|item| freeze(lua, shared, item))
}
