//! Hangs the one list into the machine: modules as frozen tables, kinds of objects behind one userdata type.
//!
//! Everything that waits or raises does it through the prelude, see there. Members are found by kind and name in maps made
//! once; a method is a function that exists once for each kind.

use super::{
    convert::{self, Context, LuaValue},
    fault,
    program::freeze,
    raw,
    running::{Answer, Pending, Running, stopped},
    vm::{Frozen, MAX_KEPT, Mark, Shared},
};
use crate::script::{
    Raise, Value,
    convert::{args, named},
    host,
    list::{Constant, ConstantValue, Kind, Outcome, Param, Property, Type},
    value::{Args, LONG},
};
use ahash::AHashMap;
use bytes::Bytes;
use mlua::{Function, LightUserData, Lua, LuaString, MultiValue, Table, Value as Lv, chunk::ChunkMode};
use std::{cell::RefCell, rc::Rc};

/// What the machine knows of the list: members by kind.
pub struct Bound {
    kinds: AHashMap<usize, AHashMap<&'static str, Member>>,
}

pub enum Member {
    Property(&'static Property),
    Method(Function),
}

/// So much of what is wanted is looked for, and in so much text at once.
const HEAD: usize = 1 << 10;
const WINDOW: usize = 256 << 10;

const PRELUDE: &str = include_str!("prelude.luau");

/// Runs the prelude and binds the list; gives what the prelude exports.
pub fn install(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    raw::stubs::install(lua, shared)?;
    let host = host_table(lua, shared)?;
    let prelude: Table = lua.load(PRELUDE).set_name("=gateway").set_mode(ChunkMode::Text).call((
        &host,
        Lv::from(Mark::Wait),
        Lv::from(Mark::Raised),
        Lv::from(Mark::Done),
    ))?;
    let (bind, answer): (Function, Function) = (prelude.get("bind")?, host.raw_get("answer")?);
    let globals = lua.globals();
    for module in host::MODULES {
        let table = lua.create_table()?;
        for function in module.functions {
            let name = format!("{}.{}", module.name, function.name);
            table.raw_set(
                function.name,
                bind.call::<Function>(host_function(lua, shared, name, function, None, &answer)?)?,
            )?;
        }
        for Constant { name, value, .. } in module.constants {
            table.raw_set(
                *name,
                match value {
                    ConstantValue::Null => Lv::NULL,
                    ConstantValue::Text(text) => Lv::String(lua.create_string(text)?),
                    ConstantValue::Int(i) => Lv::Number(*i as f64),
                },
            )?;
        }
        table.set_readonly(true);
        globals.raw_set(module.name, table)?;
    }
    for function in host::GLOBALS {
        let run = host_function(lua, shared, function.name.to_owned(), function, None, &answer)?;
        globals.raw_set(function.name, bind.call::<Function>(run)?)?;
    }
    let mut kinds = AHashMap::new();
    let all_methods = lua.create_table()?;
    for kind in host::KINDS {
        let mut members = AHashMap::new();
        members.extend(kind.properties.iter().map(|property| (property.name, Member::Property(property))));
        let methods = lua.create_table()?;
        for method in kind.methods {
            let name = format!("{}:{}", kind.name, method.name);
            let run = host_function(lua, shared, name, method, Some(kind), &answer)?;
            let function: Function = bind.call(run)?;
            methods.raw_set(method.name, &function)?;
            members.insert(method.name, Member::Method(function));
        }
        let kind_at = std::ptr::from_ref::<Kind>(kind).cast_mut().cast();
        all_methods.raw_set(LightUserData(kind_at), methods)?;
        kinds.insert(std::ptr::from_ref::<Kind>(kind).addr(), members);
    }
    let _ = shared.bound.set(Bound { kinds });
    super::objects::register(lua, shared, &host, &prelude, &all_methods)?;
    Ok(prelude)
}

impl Shared {
    pub fn member(&self, kind: &'static Kind, name: &str) -> Option<&Member> {
        self.bound.get()?.kinds.get(&std::ptr::from_ref(kind).addr())?.get(name)
    }

    /// Leaves what a host function raised for the prelude, or ends the hook.
    pub fn raise(&self, running: &Running, raise: Raise) -> mlua::Result<Lv> {
        match raise {
            Raise::Error(message) => {
                running.raised.replace(Some(message));
                Ok(Mark::Raised.into())
            }
            Raise::Reply(reply) => {
                running.end_with(*reply);
                Err(stopped())
            }
        }
    }

    /// Makes the script's value of a result; what is raised carries the name of the `function`.
    pub fn give(
        &self,
        lua: &Lua,
        running: &Running,
        function: Option<&str>,
        result: Result<Value, Raise>,
    ) -> mlua::Result<Lv> {
        let given = match result {
            Ok(value) => convert::to_lua(lua, self, Some(running), value)?,
            Err(raise) => Err(raise),
        };
        match (given, function) {
            (Ok(value), _) => Ok(value),
            (Err(raise), Some(function)) => self.raise(running, named(function, raise)),
            (Err(raise), None) => self.raise(running, raise),
        }
    }
}

/// The Rust side of one function of the list. With a kind it is a method, and the object comes first.
fn host_function(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: String,
    function: &'static crate::script::list::Function,
    kind: Option<&'static Kind>,
    answer: &Function,
) -> mlua::Result<Function> {
    let name: Rc<str> = name.into();
    let listed = Rc::new(raw::functions::Listed { name: name.clone(), function, kind });
    let whole = whole_function(lua, shared, name, function, kind)?;
    let made = raw::functions::function(lua, shared, &listed, &whole, answer)?;
    shared.listed.borrow_mut().push(listed);
    Ok(made)
}

/// The same for any arguments and results.
fn whole_function(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: Rc<str>,
    function: &'static crate::script::list::Function,
    kind: Option<&'static Kind>,
) -> mlua::Result<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua, mut given: MultiValue| {
        let running = shared.running()?;
        let Some(scope) = &running.scope else {
            let why = "can't be called while a file is loaded: call it from on_load or another hook";
            return shared.raise(&running, named(&name, Raise::error(why)));
        };
        let mut converted = Vec::with_capacity(function.params.len() + 1);
        if let Some(kind) = kind {
            match given.pop_front().as_ref().and_then(|value| convert::own_or(&running, value)) {
                Some(object) if std::ptr::eq(object.kind(), kind) => converted.push(Value::Object(object)),
                _ => {
                    let why = format!("call it with a colon, on a {}", kind.name);
                    return shared.raise(&running, named(&name, Raise::error(why)));
                }
            }
        }
        let failed = RefCell::new(None);
        let context = Context { lua, shared: &shared, running: &running, failed: &failed };
        let frozen: Vec<_> = given.iter().enumerate().filter_map(frozen_table).collect();
        let given = given.into_iter().map(|value| LuaValue { value, context });
        if let Err(raise) = args(function.params, function.variadic, given, &mut converted) {
            return match failed.take() {
                Some(error) => Err(error),
                None => shared.raise(&running, named(&name, raise)),
            };
        }
        for (place, table) in frozen {
            shared.keep_frozen(function.params.get(place), converted.get(place + usize::from(kind.is_some())), table);
        }
        running.look_soon();
        match running.guard(|| (function.run)(scope, Args(converted)))? {
            Outcome::Done(result) => shared.give(lua, &running, Some(&name), result),
            Outcome::Wait(future) => {
                running.answer.replace(None);
                running.pending.replace(Some(Pending { future, function: name.clone() }));
                Ok(Mark::Wait.into())
            }
        }
    })
}

/// An argument that can't change: a table that is read only and has no metatable.
fn frozen_table((place, value): (usize, &Lv)) -> Option<(usize, Table)> {
    let table = value.as_table()?;
    (table.is_readonly() && table.metatable().is_none()).then(|| (place, table.clone()))
}

impl Shared {
    /// Keeps what a frozen table of options said, if that is all there is to say: tables in it may not be frozen.
    fn keep_frozen(&self, param: Option<&'static Param>, value: Option<&Value>, table: Table) {
        let (Some(Param { ty: Type::Options(params), .. }), Some(value @ Value::Map(entries))) = (param, value) else {
            return;
        };
        let params: &'static [Param] = params;
        let is_plain =
            |value: &Value| matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_));
        let mut known = self.frozen.borrow_mut();
        if known.len() < MAX_KEPT && entries.iter().all(|(_, value)| is_plain(value)) {
            known.insert(table.to_pointer().addr(), Frozen { params, value: value.clone(), _table: table });
        }
    }

    /// Keeps the claims of a token that will be seen again: a table that nobody can change, and the same as JSON.
    fn keep_claims(&self, lua: &Lua, text: &Bytes, verified: &Lv) -> mlua::Result<()> {
        let claims = verified.as_table().map(|table| table.raw_get::<Lv>("claims")).transpose()?;
        let Some(claims @ Lv::Table(_)) = claims else { return Ok(()) };
        freeze(lua, self, &claims)?;
        if let (Ok(json), Lv::Table(table)) = (super::json::encode(lua, &self.json, None, &claims)?, claims) {
            self.json.keep(text, table, json)?;
        }
        Ok(())
    }
}

/// The text of the claims of a verified token. The verifier gives the same bytes each time.
fn claims(function: &str, result: &Result<Value, Raise>) -> Option<Bytes> {
    match result.as_ref().ok()?.get("claims")? {
        Value::Json(text) if function == "verifier:verify" => Some(text.clone()),
        _ => None,
    }
}

/// What the prelude calls.
fn host_table(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    super::objects::install(lua, shared, &host)?;
    waiting(lua, shared, &host)?;
    fault::install(lua, shared, &host)?;
    super::modules::install(lua, shared, &host)?;

    let at = shared.clone();
    host.raw_set(
        "print",
        lua.create_function(move |_, text: LuaString| {
            let plugin = at.running()?.scope.as_ref().map(|scope| scope.instance.plugin.clone());
            tracing::info!(plugin = plugin.as_deref().unwrap_or_default(), "{}", text.to_string_lossy());
            Ok(())
        })?,
    )?;
    let at = shared.clone();
    let now = move |_: &Lua, ()| {
        let running = at.current.borrow();
        let trial = running.as_ref().and_then(|running| running.scope.as_ref()?.services.trial.as_ref());
        Ok(trial.map(|trial| trial.now().as_secs() as f64))
    };
    host.raw_set("now", lua.create_function(now)?)?;
    let at = shared.clone();
    host.raw_set("clone", lua.create_function(move |lua, table: Table| at.json.copy(lua, &table))?)?;
    let at = shared.clone();
    host.raw_set(
        "search",
        lua.create_function(move |_, (text, wanted, init): (LuaString, LuaString, i64)| {
            let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
            let running = at.running()?;
            if text.len() > LONG {
                running.look_soon();
            }
            // As string.find: from 1, negative from the end.
            let from = if init < 0 { (text.len() as i64 + init).max(0) } else { (init - 1).max(0) } as usize;
            let found = search(&text, &wanted, from, || running.tick())?;
            Ok(found.map_or((None, None), |at| (Some(at + 1), Some(at + wanted.len()))))
        })?,
    )?;
    Ok(host)
}

/// Where `wanted` begins in `text`. Long texts are searched window by window and for the beginning of what is wanted alone, so that
/// `tick` is asked often enough to end it.
fn search(text: &[u8], wanted: &[u8], from: usize, tick: impl Fn() -> mlua::Result<()>) -> mlua::Result<Option<usize>> {
    let (head, rest) = wanted.split_at(wanted.len().min(HEAD));
    let finder = memchr::memmem::Finder::new(head);
    let mut at = from;
    while at + wanted.len() <= text.len() {
        let end = text.len().min(at + head.len() + WINDOW);
        let found = finder.find(&text[at..end]).map(|found| at + found);
        match found {
            Some(place) if text[place + head.len()..].starts_with(rest) => return Ok(Some(place)),
            Some(place) => at = place + 1,
            None => at = end + 1 - head.len(),
        }
        tick()?;
    }
    Ok(None)
}

/// What passes between a call that waits, the prelude and the driver.
fn waiting(lua: &Lua, shared: &Rc<Shared>, host: &Table) -> mlua::Result<()> {
    let at = shared.clone();
    let answer = lua.create_function(move |lua, ()| {
        let running = at.running()?;
        match running.answer.take() {
            Some(Answer { result, function }) => {
                let claims = claims(&function, &result);
                let given = at.give(lua, &running, Some(&function), result)?;
                if let Some(text) = claims {
                    at.keep_claims(lua, &text, &given)?;
                }
                Ok(given)
            }
            None => at.raise(&running, Raise::error("the call was given up")),
        }
    })?;
    host.raw_set("answer", raw::functions::answer_function(lua, shared, &answer)?)?;
    let at = shared.clone();
    let forget = lua.create_function(move |_, ()| {
        let running = at.running()?;
        if let Some(pending) = running.pending.take() {
            let why = "can't wait here: inside a metamethod, or a function that sort or gsub calls";
            running.answer.replace(Some(Answer { result: Err(Raise::error(why)), function: pending.function }));
        }
        Ok(())
    })?;
    host.raw_set("forget", forget)?;
    let at = shared.clone();
    let is_own = lua.create_function(move |lua, ()| Ok(at.running().is_ok_and(|running| running.is_own(lua))))?;
    host.raw_set("is_own", is_own)
}
