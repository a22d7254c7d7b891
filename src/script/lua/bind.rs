//! Hangs the one list into the machine: modules as frozen tables, kinds of objects behind one userdata type.
//!
//! What waits or raises does it in [`raw::functions`]. Members are found by kind and by the number of their name in maps made once; a
//! method is a function that exists once for each kind.

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
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value as Lv, chunk::ChunkMode};
use std::{cell::RefCell, rc::Rc};

/// What the machine knows of the list: members by kind. Luau remembers the number of a name with the string, so a member is found
/// without looking at its name again.
pub struct Bound {
    /// By the kinds' addresses; there by the names' numbers.
    kinds: AHashMap<usize, Box<[Option<Member>]>>,
}

/// The number of each name that a member has. There before the machine's first string, which is asked for its number only once.
pub fn names() -> AHashMap<&'static str, i16> {
    let mut names = AHashMap::new();
    for kind in host::KINDS {
        let of_kind = kind.properties.iter().map(|property| property.name);
        for name in of_kind.chain(kind.methods.iter().map(|method| method.name)) {
            let next = names.len() as i16;
            names.entry(name).or_insert(next);
        }
    }
    names
}

pub enum Member {
    Property(&'static Property),
    /// `place`: in the table of methods; behind it is the one that does all that there is.
    Method {
        function: Function,
        listed: Rc<raw::functions::Listed>,
        place: i32,
    },
}

/// So much of what is wanted is looked for, and in so much text at once.
const HEAD: usize = 1 << 10;
const WINDOW: usize = 256 << 10;

const PRELUDE: &str = include_str!("prelude.luau");

/// Runs the prelude and binds the list; gives what the prelude exports.
pub fn install(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    raw::stubs::install(lua, shared)?;
    let table = host_table(lua, shared)?;
    let prelude: Table = lua.load(PRELUDE).set_name("=gateway").set_mode(ChunkMode::Text).call((
        &table,
        Lv::from(Mark::Wait),
        Lv::from(Mark::Raised),
        Lv::from(Mark::Done),
    ))?;
    let answer: Function = table.raw_get("answer")?;
    let globals = lua.globals();
    for module in host::MODULES {
        let functions = lua.create_table()?;
        for function in module.functions {
            let name = format!("{}.{}", module.name, function.name);
            functions.raw_set(function.name, host(lua, shared, name, function, None, &answer)?.function)?;
        }
        for Constant { name, value, .. } in module.constants {
            functions.raw_set(
                *name,
                match value {
                    ConstantValue::Null => Lv::NULL,
                    ConstantValue::Text(text) => Lv::String(lua.create_string(text)?),
                    ConstantValue::Int(i) => Lv::Number(*i as f64),
                },
            )?;
        }
        functions.set_readonly(true);
        globals.raw_set(module.name, functions)?;
    }
    for function in host::GLOBALS {
        let host = host(lua, shared, function.name.to_owned(), function, None, &answer)?;
        globals.raw_set(function.name, host.function)?;
    }
    let (bound, methods) = members(lua, shared, &answer)?;
    let _ = shared.bound.set(bound);
    super::objects::register(lua, shared, &table, &prelude, (&methods, &answer))?;
    Ok(prelude)
}

/// The members of all kinds, and the table of the methods among them.
fn members(lua: &Lua, shared: &Rc<Shared>, answer: &Function) -> mlua::Result<(Bound, Table)> {
    let names = &shared.members;
    let (mut kinds, methods) = (AHashMap::new(), lua.create_table()?);
    for kind in host::KINDS {
        let mut members: Box<[Option<Member>]> = names.iter().map(|_| None).collect();
        for property in kind.properties {
            members[names[property.name] as usize] = Some(Member::Property(property));
        }
        for method in kind.methods {
            let name = format!("{}:{}", kind.name, method.name);
            let Host { function, listed, whole } = host(lua, shared, name, method, Some(kind), answer)?;
            methods.raw_push(&function)?;
            let place = methods.raw_len() as i32;
            methods.raw_push(whole)?;
            members[names[method.name] as usize] = Some(Member::Method { function, listed, place });
        }
        kinds.insert(std::ptr::from_ref::<Kind>(kind).addr(), members);
    }
    Ok((Bound { kinds }, methods))
}

impl Shared {
    pub fn member(&self, kind: &'static Kind, name: &str) -> Option<&Member> {
        self.numbered(kind, self.number(name.as_bytes())?)
    }

    /// The number of a name that some kind has a member of.
    pub fn number(&self, name: &[u8]) -> Option<i16> {
        self.members.get(std::str::from_utf8(name).ok()?).copied()
    }

    /// The member whose name has this number.
    pub fn numbered(&self, kind: &'static Kind, number: i16) -> Option<&Member> {
        let members = self.bound.get()?.kinds.get(&std::ptr::from_ref(kind).addr())?;
        members.get(usize::try_from(number).ok()?)?.as_ref()
    }

    /// Leaves what a host function raised with the hook, or ends it.
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

/// One function of the list in the machine.
struct Host {
    function: Function,
    listed: Rc<raw::functions::Listed>,
    /// See [`whole_function`].
    whole: Function,
}

/// The Rust side of one function of the list. With a kind it is a method, and the object comes first.
fn host(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: String,
    function: &'static crate::script::list::Function,
    kind: Option<&'static Kind>,
    answer: &Function,
) -> mlua::Result<Host> {
    let name: Rc<str> = name.into();
    let listed = Rc::new(raw::functions::Listed { name: name.clone(), function, kind });
    let whole = whole_function(lua, shared, name, function, kind)?;
    let made = raw::functions::function(lua, shared, &listed, &whole, answer)?;
    shared.listed.borrow_mut().push(listed.clone());
    Ok(Host { function: made, listed, whole })
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
            match given.pop_front().as_ref().and_then(|value| convert::own_or(lua, &running, value)) {
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
        let (Some(Param { ty: Type::Options(params), .. }), Some(value @ Value::Record(_, values))) = (param, value)
        else {
            return;
        };
        let params: &'static [Param] = params;
        let is_plain = |value: &Value| {
            matches!(value, Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))
        };
        let mut known = self.frozen.borrow_mut();
        if known.len() < MAX_KEPT && values.iter().all(is_plain) {
            known.insert(table.to_pointer().addr(), Frozen { params, value: value.clone(), _table: table });
        }
    }

    /// Keeps a document of a token that will be seen again: a table that nobody can change, and the same as JSON.
    fn keep_document(&self, lua: &Lua, (name, text): (&str, Bytes), verified: &Lv) -> mlua::Result<()> {
        let document = verified.as_table().map(|table| table.raw_get::<Lv>(name)).transpose()?;
        let Some(document @ Lv::Table(_)) = document else { return Ok(()) };
        freeze(lua, self, &document)?;
        if let (Ok(json), Lv::Table(table)) = (super::json::encode(lua, &self.json, None, &document)?, document) {
            self.json.keep(&text, table, json)?;
        }
        Ok(())
    }
}

/// The texts of what a verified token says, by their names in the result. The verifier gives the same bytes each time.
fn documents(function: &str, result: &Result<Value, Raise>) -> Vec<(&'static str, Bytes)> {
    let Ok(Value::Record(fields, values)) = result else { return Vec::new() };
    if !function.starts_with("verifier:") {
        return Vec::new();
    }
    let texts = fields.iter().zip(values).filter_map(|(field, value)| match value {
        Value::Json(text) => Some((field.name, text.clone())),
        _ => None,
    });
    texts.collect()
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
    let look_soon = move |_: &Lua, ()| at.running().map(|running| running.look_soon());
    host.raw_set("look_soon", lua.create_function(look_soon)?)?;
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
                let documents = documents(&function, &result);
                let given = at.give(lua, &running, Some(&function), result)?;
                for document in documents {
                    at.keep_document(lua, document, &given)?;
                }
                Ok(given)
            }
            None => at.raise(&running, Raise::error("the call was given up")),
        }
    })?;
    host.raw_set("answer", answer)?;
    let at = shared.clone();
    let forget = lua.create_function(move |_, ()| {
        at.running()?.give_up_waiting();
        Ok(())
    })?;
    host.raw_set("forget", forget)?;
    let at = shared.clone();
    let is_own = lua.create_function(move |lua, ()| Ok(at.running().is_ok_and(|running| running.is_own(lua))))?;
    host.raw_set("is_own", is_own)
}
