//! Results, pushed where the script is. By the rules of [`objects`](super::objects).

use super::{
    carried,
    handles::{push_answer, push_handle},
    read, replies, stubs,
};
use crate::script::{
    Value,
    json::{self, MAX_SAFE},
    list::Param,
    lua::{running::Running, vm::Shared},
    object::Object,
};
use mlua::{
    Lua, Table,
    ffi::{self, lua_State},
};
use std::ffi::c_int;

/// Whether [`push_result`] can push a part of a result.
fn is_plain(shared: &Shared, running: &Running, value: &Value) -> bool {
    match value {
        Value::Nil | Value::Bool(_) | Value::Float(_) | Value::Str(_) => true,
        Value::Int(i) => i.unsigned_abs() <= MAX_SAFE as u64,
        Value::Json(text) => shared.json.kept_place(text).is_some(),
        Value::Object(object) => running.handle(object).is_some() || object.answer().is_some(),
        _ => false,
    }
}

/// Pushes a result: a scalar, an object of the hook's, a document whose keys are known, or a table of what is [plain](is_plain); gives
/// back what is more.
///
/// # Safety
/// A function made by [`carried`] runs, and has slots to spare.
pub unsafe fn push_result(shared: &Shared, running: &Running, state: *mut lua_State, value: Value) -> Option<Value> {
    // SAFETY: a C function has slots for a table, a name and a value. Should memory run out, the items are freed with this frame.
    unsafe {
        match value {
            Value::List(items) if items.iter().all(|item| is_plain(shared, running, item)) => {
                ffi::lua_createtable(state, c_int::try_from(items.len()).unwrap_or(c_int::MAX), 0);
                for (place, item) in (1..).zip(items) {
                    push_part(shared, running, state, item);
                    ffi::lua_rawseti_(state, -2, place);
                }
                ffi::lua_pushvalue(state, carried::ARRAY);
                ffi::lua_setmetatable(state, -2);
                None
            }
            Value::Map(entries) if entries.iter().all(|(_, item)| is_plain(shared, running, item)) => {
                ffi::lua_createtable(state, 0, c_int::try_from(entries.len()).unwrap_or(c_int::MAX));
                for (name, item) in entries {
                    super::push_text(state, name.as_bytes());
                    push_part(shared, running, state, item);
                    ffi::lua_rawset(state, -3);
                }
                None
            }
            Value::Record(fields, values) if values.iter().all(|item| is_plain(shared, running, item)) => {
                push_record(shared, running, state, fields, values);
                None
            }
            Value::Json(text) => {
                if !push_document(shared, running, state, &text) {
                    return Some(Value::Json(text));
                }
                None
            }
            Value::Object(object) => push_object(shared, running, state, object).map(Value::Object),
            value => push(state, value),
        }
    }
}

/// Pushes a record.
///
/// # Safety
/// As [`push_result`]; the values are plain.
unsafe fn push_record(
    shared: &Shared,
    running: &Running,
    state: *mut lua_State,
    fields: &'static [Param],
    values: Vec<Value>,
) {
    // SAFETY: `RECORDS` is a table whose items are lists of names; six slots are used.
    unsafe {
        let (top, place) = (ffi::lua_gettop(state), shared.record_place(fields));
        if ffi::lua_rawgeti_(state, carried::RECORDS, place) != ffi::LUA_TTABLE {
            ffi::lua_settop(state, top);
            push_names(state, fields);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawseti_(state, carried::RECORDS, place);
        }
        push_template(state, top + 1, &values);
        ffi::lua_clonetable(state, top + 2);
        for (name, value) in (1..).zip(values).filter(|(_, value)| !value.is_nil()) {
            ffi::lua_rawgeti_(state, top + 1, name);
            push_part(shared, running, state, value);
            ffi::lua_rawset(state, top + 3);
        }
        ffi::lua_replace(state, top + 1);
        ffi::lua_settop(state, top + 1);
    }
}

/// A table that has the names of what a record holds. It is kept with the names, below them, at a place of its own for each choice:
/// copying it costs less than entering the names anew.
///
/// # Safety
/// As [`push_record`]; the names are at `names`.
unsafe fn push_template(state: *mut lua_State, names: c_int, values: &[Value]) {
    let held = || (1..).zip(values).filter(|(_, value)| !value.is_nil()).map(|(name, _)| name);
    let choice = -held().fold(0, |choice, name: c_int| choice | 1 << name);
    // SAFETY: the caller's.
    unsafe {
        if ffi::lua_rawgeti_(state, names, choice) == ffi::LUA_TTABLE {
            return;
        }
        ffi::lua_settop(state, names);
        ffi::lua_createtable(state, 0, held().count() as c_int);
        for name in held() {
            ffi::lua_rawgeti_(state, names, name);
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawset(state, names + 1);
        }
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawseti_(state, names, choice);
    }
}

/// # Safety
/// As [`push_record`].
unsafe fn push_names(state: *mut lua_State, fields: &'static [Param]) {
    debug_assert!(fields.len() <= 30, "a choice of them is one number");
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, c_int::try_from(fields.len()).unwrap_or(c_int::MAX), 0);
        for (name, field) in (1..).zip(fields) {
            super::push_text(state, field.name.as_bytes());
            ffi::lua_rawseti_(state, -2, name);
        }
    }
}

/// Pushes a handle of the hook's, or a reply; gives back what is neither.
///
/// # Safety
/// As [`push_result`].
unsafe fn push_object(shared: &Shared, running: &Running, state: *mut lua_State, object: Object) -> Option<Object> {
    // SAFETY: the tables of handles are where they are carried.
    unsafe {
        if let Some(place) = running.handle(&object) {
            push_handle(shared, running, state, carried::HANDLES, place);
        } else if object.answer().is_some() {
            push_answer(shared, running, state, carried::HELD, object);
        } else if let Object::Reply(reply) = object {
            shared.hold_outside(reply.body.len());
            replies::push(state, reply);
        } else {
            return Some(object);
        }
    }
    None
}

/// Pushes what a JSON text says, if that can be done here.
///
/// # Safety
/// As [`push_result`].
pub unsafe fn push_document(shared: &Shared, running: &Running, state: *mut lua_State, text: &[u8]) -> bool {
    // SAFETY: the three tables lie below the value, which takes the place of the first.
    unsafe {
        if let Some(text) = plain_text(text) {
            super::push_text(state, text);
            return true;
        }
        if stubs::push_document(&shared.json, Some(running), state, text, stubs::CARRIED) {
            return true;
        }
        let top = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, carried::ARRAY);
        ffi::lua_pushvalue(state, carried::TEMPLATES);
        ffi::lua_pushvalue(state, carried::NAMES);
        let places = read::Places { array: top + 1, templates: top + 2, names: top + 3, ..stubs::CARRIED };
        let is_read = read::value(&shared.json, Some(running), state, text, places);
        if is_read {
            ffi::lua_replace(state, top + 1);
        }
        ffi::lua_settop(state, top + c_int::from(is_read));
        is_read
    }
}

/// What a JSON string without escapes says.
fn plain_text(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (json::plain(inner) == inner.len() && std::str::from_utf8(inner).is_ok()).then_some(inner)
}

/// # Safety
/// As [`push_result`]; the value is plain.
unsafe fn push_part(shared: &Shared, running: &Running, state: *mut lua_State, value: Value) {
    // SAFETY: `KEPT` is a table.
    unsafe {
        match value {
            Value::Json(text) => {
                let place = shared.json.kept_place(&text).unwrap_or_default();
                ffi::lua_rawgeti_(state, carried::KEPT, place);
            }
            Value::Object(object) => {
                if push_object(shared, running, state, object).is_some() {
                    ffi::lua_pushnil(state);
                }
            }
            value => {
                if push(state, value).is_some() {
                    ffi::lua_pushnil(state);
                }
            }
        }
    }
}

/// Pushes a scalar; gives back what is more.
///
/// # Safety
/// A slot is free.
pub unsafe fn push(state: *mut lua_State, value: Value) -> Option<Value> {
    // SAFETY: the bytes are copied.
    unsafe {
        match value {
            Value::Nil => ffi::lua_pushnil(state),
            Value::Bool(b) => ffi::lua_pushboolean(state, c_int::from(b)),
            Value::Int(i) if i.unsigned_abs() <= MAX_SAFE as u64 => ffi::lua_pushnumber(state, i as f64),
            Value::Float(f) => ffi::lua_pushnumber(state, f),
            Value::Str(bytes) => super::push_text(state, &bytes),
            more => return Some(more),
        }
    }
    None
}

/// A part of a result: what can be pushed as it is, or a value that was made.
pub enum Item {
    Scalar(Value),
    Made(mlua::Value),
}

impl Item {
    pub fn of<E>(
        value: Value,
        make: impl FnOnce(Value) -> mlua::Result<Result<mlua::Value, E>>,
    ) -> mlua::Result<Result<Item, E>> {
        Ok(match value {
            Value::Int(i) if i.unsigned_abs() > MAX_SAFE as u64 => make(value)?.map(Item::Made),
            Value::Json(_) | Value::List(_) | Value::Map(_) | Value::Record(..) | Value::Object(_) => {
                make(value)?.map(Item::Made)
            }
            scalar => Ok(Item::Scalar(scalar)),
        })
    }

    /// # Safety
    /// Two slots are free, and the state is the one that mlua is in.
    unsafe fn push(&self, lua: &Lua, state: *mut lua_State) {
        // SAFETY: the bytes are copied; a made value is a reference, which mlua pushes without a call.
        unsafe {
            match self {
                Item::Scalar(Value::Bool(b)) => ffi::lua_pushboolean(state, c_int::from(*b)),
                Item::Scalar(Value::Int(i)) => ffi::lua_pushnumber(state, *i as f64),
                Item::Scalar(Value::Float(f)) => ffi::lua_pushnumber(state, *f),
                Item::Scalar(Value::Str(bytes)) => super::push_text(state, bytes),
                Item::Scalar(_) => ffi::lua_pushnil(state),
                Item::Made(made) => {
                    if lua.exec_raw_lua(|raw| raw.push_value(made)).is_err() {
                        ffi::lua_pushnil(state);
                    }
                }
            }
        }
    }
}

/// A table of items from 1.
pub fn list(lua: &Lua, items: &[Item]) -> mlua::Result<Table> {
    let length = c_int::try_from(items.len()).unwrap_or(c_int::MAX);
    // SAFETY: the closure holds references only and leaves the table; `exec_raw` has slots for it, a name and a value.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_checkstack(state, 6);
            ffi::lua_createtable(state, length, 0);
            for (place, item) in (1..).zip(items) {
                item.push(lua, state);
                ffi::lua_rawseti_(state, -2, place);
            }
        })
    }
}

/// A table of named values.
pub fn record(lua: &Lua, entries: &[(String, Item)]) -> mlua::Result<Table> {
    let length = c_int::try_from(entries.len()).unwrap_or(c_int::MAX);
    // SAFETY: as `list`.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_checkstack(state, 6);
            ffi::lua_createtable(state, 0, length);
            for (name, value) in entries {
                super::push_text(state, name.as_bytes());
                value.push(lua, state);
                ffi::lua_rawset(state, -3);
            }
        })
    }
}
