//! Values between Luau and the gateway.
//!
//! [`LuaValue`] shows a script's value to the shared check of arguments; [`to_lua`] makes a script's value of a result.

use super::{
    json::{self, Undecoded},
    number::{Big, big},
    raw,
    running::Running,
    vm::{MAX_KEPT, Shared},
};
use crate::script::{
    Hook, Raise, Value,
    background::Callback,
    convert::{Entry, MAX_ENTRIES, Native},
    json::MAX_SAFE,
    object::Object,
};
use bytes::Bytes;
use mlua::{AnyUserData, Lua, Table};
use std::{cell::RefCell, rc::Rc};

/// A script's value, with what converting it takes.
pub struct LuaValue<'a> {
    pub value: mlua::Value,
    pub context: Context<'a>,
}

#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub lua: &'a Lua,
    pub shared: &'a Shared,
    pub running: &'a Running,
    /// The machine's own error (no memory, or stopped), which a [`Raise`] can't carry.
    pub failed: &'a RefCell<Option<mlua::Error>>,
}

impl Context<'_> {
    fn keep<T>(&self, result: mlua::Result<T>) -> Result<T, Raise> {
        result.map_err(|error| {
            let message = error.to_string();
            self.failed.replace(Some(error));
            Raise::Error(message)
        })
    }
}

impl LuaValue<'_> {
    /// The table that it is, to be walked over.
    fn table(&self) -> Result<Option<&Table>, Raise> {
        let Context { lua, shared, running, .. } = self.context;
        let mlua::Value::Table(table) = &self.value else {
            return Ok(None);
        };
        self.context.keep(raw::stubs::open_table(lua, &shared.json, Some(running), table))?;
        Ok(Some(table))
    }
}

impl Native for LuaValue<'_> {
    fn is_nil(&self) -> bool {
        self.value.is_nil()
    }

    fn scalar(&self) -> Option<Value> {
        Some(match &self.value {
            mlua::Value::Boolean(b) => Value::Bool(*b),
            mlua::Value::Integer(i) => number(*i as f64),
            mlua::Value::Number(f) => number(*f),
            mlua::Value::String(text) => Value::Str(Bytes::copy_from_slice(&text.as_bytes())),
            other => Value::Int(i64::try_from(big(other)?.0).ok()?),
        })
    }

    fn bytes(&self) -> Option<Bytes> {
        match &self.value {
            mlua::Value::Buffer(buffer) => Some(buffer.to_vec().into()),
            _ => None,
        }
    }

    fn function(&self) -> Option<Callback> {
        match &self.value {
            mlua::Value::Function(function) => Some(Rc::new(function.clone())),
            _ => None,
        }
    }

    fn object(&self) -> Option<Object> {
        own_or(self.context.lua, self.context.running, &self.value)
    }

    fn list(&self) -> Option<Vec<Self>> {
        let table = self.table().ok()??;
        let items = table.sequence_values::<mlua::Value>().take(MAX_ENTRIES + 1);
        items.map(|value| Some(LuaValue { value: value.ok()?, context: self.context })).collect()
    }

    fn entries(&self) -> Result<Option<Vec<Entry<'_, Self>>>, Raise> {
        let Some(table) = self.table()? else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        let mut wrong = None;
        let each = table.for_each(|key: mlua::Value, value: mlua::Value| {
            match &key {
                mlua::Value::String(_) if entries.len() > MAX_ENTRIES => {}
                mlua::Value::String(name) => {
                    entries.push((name.to_string_lossy().into(), LuaValue { value, context: self.context }));
                }
                other => wrong = Some(describe(other)),
            }
            Ok(())
        });
        self.context.keep(each)?;
        match wrong {
            Some(wrong) => Err(Raise::error(format!("expected names as keys, got {wrong}"))),
            None => Ok(Some(entries)),
        }
    }

    fn json(&self) -> Result<Bytes, Raise> {
        let Context { lua, shared, running, .. } = self.context;
        self.context.keep(json::encode(lua, &shared.json, Some(running), &self.value))?
    }

    fn type_name(&self) -> String {
        describe(&self.value)
    }

    fn size(&self) -> usize {
        match &self.value {
            mlua::Value::String(text) => text.as_bytes().len(),
            mlua::Value::Buffer(buffer) => buffer.len(),
            _ => 0,
        }
    }

    fn most(&self) -> usize {
        self.context.running.largest_value()
    }
}

/// Whole numbers cross as integers, so that headers and URLs show `5` and not `5.0`.
pub fn number(f: f64) -> Value {
    if f.fract() == 0.0 && f.abs() <= MAX_SAFE as f64 { Value::Int(f as i64) } else { Value::Float(f) }
}

/// The object behind a value, also when it is a part of the exchange of the hook that runs.
pub fn own_or(lua: &Lua, running: &Running, value: &mlua::Value) -> Option<Object> {
    match value {
        mlua::Value::UserData(it) => running.object(it.to_pointer().addr()).or_else(|| object(lua, value)),
        _ => None,
    }
}

/// The object behind a value, but for parts of an exchange.
pub fn object(lua: &Lua, value: &mlua::Value) -> Option<Object> {
    match value {
        mlua::Value::UserData(it) => raw::replies::of(lua, it).or_else(|| made(value)),
        _ => None,
    }
}

/// The same for those whose userdata mlua made.
fn made(value: &mlua::Value) -> Option<Object> {
    value.as_userdata()?.borrow_scoped::<Object, _>(Object::clone).ok()
}

/// The word for a value's type in messages.
pub fn describe(value: &mlua::Value) -> String {
    match value {
        mlua::Value::Nil => "nothing".into(),
        mlua::Value::Integer(_) | mlua::Value::Number(_) => "a number".into(),
        mlua::Value::Thread(_) => "a coroutine".into(),
        mlua::Value::UserData(it) if it.is::<Big>() => "a number".into(),
        null if null.is_null() => "null".into(),
        other => match made(other) {
            Some(object) => format!("a {}", object.kind().name),
            // A part of an exchange and a reply have a name, and other userdata has none.
            None if other.is_userdata() => format!("a {}", other.to_string().unwrap_or_default()),
            None => format!("a {}", other.type_name()),
        },
    }
}

/// Makes a script's value. The inner error is for the script: text that was said to be JSON and isn't.
pub fn to_lua(
    lua: &Lua,
    shared: &Shared,
    running: Option<&Running>,
    value: Value,
) -> mlua::Result<Result<mlua::Value, Raise>> {
    Ok(Ok(match value {
        Value::Nil => mlua::Value::Nil,
        Value::Bool(b) => mlua::Value::Boolean(b),
        Value::Int(i) => json::integer(lua, i.into())?,
        Value::Float(f) => mlua::Value::Number(f),
        Value::Str(bytes) => mlua::Value::String(lua.create_string(&bytes)?),
        Value::Json(text) => {
            return match json::decode(lua, &shared.json, running, &text) {
                Ok(value) => Ok(Ok(value)),
                Err(Undecoded::Refused(raise)) => Ok(Err(raise)),
                Err(Undecoded::Lua(error)) => Err(error),
            };
        }
        Value::List(items) => {
            let mut made = Vec::with_capacity(items.len());
            for item in items {
                match raw::results::Item::of(item, |item| to_lua(lua, shared, running, item))? {
                    Ok(item) => made.push(item),
                    Err(raise) => return Ok(Err(raise)),
                }
            }
            let table = raw::results::list(lua, &made)?;
            shared.json.mark_array(&table)?;
            mlua::Value::Table(table)
        }
        Value::Map(entries) => {
            let mut made = Vec::with_capacity(entries.len());
            for (name, value) in entries {
                match raw::results::Item::of(value, |value| to_lua(lua, shared, running, value))? {
                    Ok(value) => made.push((name, value)),
                    Err(raise) => return Ok(Err(raise)),
                }
            }
            mlua::Value::Table(raw::results::record(lua, &made)?)
        }
        Value::Record(fields, values) => {
            let entries = fields.iter().zip(values).map(|(field, value)| (field.name.to_owned(), value));
            return to_lua(lua, shared, running, Value::Map(entries.collect()));
        }
        Value::Object(object) => mlua::Value::UserData(handle(lua, shared, running, object)?),
    }))
}

/// The userdata of an object; those of the hook's own exchange are made once. They and the answers of calls are worth nothing
/// when the hook is over; replies and keys may be kept by the script.
pub fn handle(lua: &Lua, shared: &Shared, running: Option<&Running>, object: Object) -> mlua::Result<AnyUserData> {
    let place = running.and_then(|running| Some((running, running.handle(&object)?)));
    let Some((running, place)) = place else {
        if let Object::Reply(reply) = &object {
            shared.hold_outside(reply.body.len());
            return raw::replies::make(lua, reply);
        }
        if let (true, Some(running)) = (object.answer().is_some(), running) {
            return raw::handles::answer(lua, shared, running, object);
        }
        let is_lasting = matches!(object, Object::Verifier(_) | Object::IpList(_) | Object::Schema(_) | Object::Api(_));
        let lasting = is_lasting.then(|| object.clone());
        let made = lua.create_any_userdata(object)?;
        if let Some((lasting, running)) = lasting.zip(running) {
            let mut known = shared.made.borrow_mut();
            let is_loading = running.scope.as_ref().is_some_and(|scope| scope.hook == Hook::OnLoad);
            if is_loading && known.len() < MAX_KEPT {
                known.insert(made.to_pointer().addr(), (lasting, made.clone()));
            }
        }
        return Ok(made);
    };
    raw::handles::handle(lua, shared, running, place)
}
