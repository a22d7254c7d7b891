//! Values as JSON, walked where they lie. By the rules of the module above.

mod entries;

use super::{
    LEVEL, carried, push_text,
    stubs::{Located, is_stub, locate, text_of},
    text,
};
use crate::script::{
    json,
    lua::{
        convert::{describe, object, own_or},
        json::{Step, Tables, TooDeep, Unwritten, copy, here, not_a_sequence, within},
        number::big,
        running::Running,
    },
    object::Object,
};
use bytes::Bytes;
use mlua::{
    Lua, Value,
    ffi::{self, lua_State},
};
use std::ffi::c_int;

/// Writes a value as JSON. The outer error is the machine's.
pub fn write(
    lua: &Lua,
    tables: &Tables,
    running: Option<&Running>,
    value: &Value,
    out: &mut Vec<u8>,
) -> mlua::Result<Result<(), Unwritten>> {
    let mut written = Ok(());
    let mut writer = Writer { lua: Some(lua), tables, running, out, count: 0, ordered: 2 };
    // SAFETY: the closure keeps to the module's rules: it holds references only, and leaves nothing.
    unsafe {
        lua.exec_raw::<()>((value, &tables.ordered), |state| {
            written = reserve(state, 0).and_then(|()| writer.value(state, 1, 0));
            ffi::lua_settop(state, 0);
        })
    }?;
    Ok(written)
}

/// Writes the value at `place` as JSON, where it is; None when that takes mlua, or fails: [`write`] does it again, and says why.
///
/// # Safety
/// A function made by [`carried`] runs; there is a value at `place`, counted from the bottom.
pub unsafe fn write_here(tables: &Tables, running: &Running, state: *mut lua_State, place: c_int) -> Option<Bytes> {
    let mut out = Vec::with_capacity(256);
    let (running, ordered) = (Some(running), carried::ORDERED);
    let mut writer = Writer { lua: None, tables, running, out: &mut out, count: 0, ordered };
    // SAFETY: slots are reserved; the stack is left as it was found. Should memory run out, `out` is freed with this frame.
    unsafe {
        let top = ffi::lua_gettop(state);
        reserve(state, 0).ok()?;
        let written = writer.value(state, place, 0);
        ffi::lua_settop(state, top);
        written.ok()?;
    }
    Some(out.into())
}

/// Reserves slots for a level, and for what waits there.
///
/// # Safety
/// Luau's stack may be grown.
unsafe fn reserve(state: *mut lua_State, waiting: c_int) -> Result<(), Unwritten> {
    // SAFETY: the caller's.
    match unsafe { ffi::lua_checkstack(state, waiting + 2 * LEVEL) } {
        0 => Err(Unwritten::Lua(mlua::Error::StackError)),
        _ => Ok(()),
    }
}

struct Writer<'a> {
    /// None where mlua knows nothing of the state: what needs it is given up.
    lua: Option<&'a Lua>,
    tables: &'a Tables,
    running: Option<&'a Running>,
    out: &'a mut Vec<u8>,
    count: u32,
    /// Where the table of the keys whose order is known is on the stack.
    ordered: c_int,
}

impl Writer<'_> {
    /// Writes the value at a place, and leaves the stack as it was.
    ///
    /// # Safety
    /// As the module says; there is a value at `place`, counted from the bottom, and slots for one level are free.
    unsafe fn value(&mut self, state: *mut lua_State, place: c_int, depth: usize) -> Result<(), Unwritten> {
        // SAFETY: each value is read as the type it has; a string is not moved nor freed while it is on the stack.
        unsafe {
            match ffi::lua_type(state, place) {
                ffi::LUA_TNIL => self.out.extend_from_slice(b"null"),
                ffi::LUA_TBOOLEAN if ffi::lua_toboolean(state, place) != 0 => self.out.extend_from_slice(b"true"),
                ffi::LUA_TBOOLEAN => self.out.extend_from_slice(b"false"),
                ffi::LUA_TNUMBER => json::write_f64(self.out, ffi::lua_tonumber(state, place)),
                ffi::LUA_TSTRING => json::write_str(self.out, text(state, place)),
                ffi::LUA_TTABLE if ffi::lua_getreadonly(state, place) != 0 => {
                    if is_stub(self.tables, state, place) {
                        return self.stub(state, place, depth + 1);
                    }
                    match self.tables.kept_text(ffi::lua_topointer(state, place).addr()) {
                        Some(text) => self.out.extend_from_slice(&text),
                        None => return self.table(state, place, depth + 1),
                    }
                }
                ffi::LUA_TTABLE => return self.table(state, place, depth + 1),
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(state, place).is_null() => {
                    self.out.extend_from_slice(b"null");
                }
                _ => return self.other(state, place),
            }
        }
        Ok(())
    }

    fn host_object(&self, lua: &Lua, value: &Value) -> Option<Object> {
        self.running.map_or_else(|| object(lua, value), |running| own_or(lua, running, value))
    }

    /// What takes mlua to know: a large integer, an object that is a list of texts, or what can't be JSON.
    ///
    /// # Safety
    /// As [`Writer::value`].
    unsafe fn other(&mut self, state: *mut lua_State, place: c_int) -> Result<(), Unwritten> {
        let Some(lua) = self.lua else { return Err(here(String::new())) };
        // SAFETY: as `value`.
        let value = unsafe { self.copy(state, place) };
        match big(&value) {
            Some(exact) => self.out.extend_from_slice(exact.0.to_string().as_bytes()),
            None => match self.host_object(lua, &value).and_then(|object| object.texts()) {
                Some(texts) => json::write_texts(self.out, &texts),
                None => return Err(here(format!("{} can't be JSON", describe(&value)))),
            },
        }
        Ok(())
    }

    /// A handle to a value on the stack.
    ///
    /// # Safety
    /// There is a value at `place`, and a slot is free.
    unsafe fn copy(&self, state: *mut lua_State, place: c_int) -> Value {
        let Some(lua) = self.lua else { return Value::Nil };
        // SAFETY: mlua pops from the state that it gave to `exec_raw`, which is this one.
        unsafe {
            ffi::lua_pushvalue(state, place);
            lua.exec_raw_lua(|raw| raw.pop_value())
        }
    }

    /// A part of a document that no script looked at: as it is written there, but for spaces and ways to write the same.
    ///
    /// # Safety
    /// As [`Writer::value`]; the value is a stub.
    unsafe fn stub(&mut self, state: *mut lua_State, place: c_int, depth: usize) -> Result<(), Unwritten> {
        // SAFETY: the caller's.
        let text = unsafe { text_of(state, place) }.unwrap_or(b"null");
        copy(text, self.out, depth).map_err(|TooDeep| too_deep())
    }

    /// An object that holds what scripts read of it, and perhaps what they wrote there; the rest is as it came.
    ///
    /// # Safety
    /// As [`Writer::array`]; the table is a filled stub.
    unsafe fn filled(&mut self, table: Walked, length: usize, depth: usize) -> Result<(), Unwritten> {
        let state = table.state;
        // SAFETY: the document lies above the table as long as it is used, and above it a key, whose slot is the value's then.
        unsafe {
            let Some(Located { number, document, .. }) = locate(state, table.at) else {
                return Err(here(String::new()));
            };
            let (held, part) = (ffi::lua_gettop(state), document.part(number));
            self.out.push(b'{');
            let first = self.out.len();
            for entry in document.entries(number) {
                push_text(state, entry.key);
                if length > 0 {
                    return Err(here(not_a_sequence(&self.copy(state, held + 1), length)));
                }
                if ffi::lua_rawget(state, table.at) != ffi::LUA_TNIL {
                    self.entry(state, entry.key, held + 1, first, depth)?;
                } else if !part.is_some_and(|part| document.is_filled(part, &entry)) {
                    self.name(entry.key, first);
                    let value = document.text.get(entry.value).unwrap_or_default();
                    copy(value, self.out, depth + 1).map_err(|TooDeep| too_deep())?;
                }
                ffi::lua_settop(state, held);
            }
            table.pop();
        }
        self.out.push(b'}');
        Ok(())
    }

    /// # Safety
    /// As [`Writer::value`]; the value is a table.
    unsafe fn table(&mut self, state: *mut lua_State, place: c_int, depth: usize) -> Result<(), Unwritten> {
        if depth > json::MAX_DEPTH {
            return Err(too_deep());
        }
        self.count += 1;
        if let (true, Some(running)) = (self.count.is_multiple_of(512), self.running) {
            running.tick()?;
        }
        // SAFETY: there is a table at the place. Slots are reserved for the values in it.
        unsafe {
            let table = Walked { state, at: place, top: ffi::lua_gettop(state) };
            let metatable = ffi::lua_getmetatablepointer(state, place).addr();
            let length = ffi::lua_objlen(state, place);
            if metatable == 0 && length == 0 {
                return self.own(table, depth);
            }
            reserve(state, 0)?;
            if metatable != 0 && self.tables.is_filled(metatable) {
                return self.filled(table, length, depth);
            }
            if length > 0 || self.tables.is_array(metatable) {
                self.array(table, length, depth)
            } else {
                self.object(table, metatable, depth)
            }
        }
    }

    /// # Safety
    /// As [`Writer::value`]; there is a table at its place.
    unsafe fn array(&mut self, table: Walked, length: usize, depth: usize) -> Result<(), Unwritten> {
        self.out.push(b'[');
        let (state, mut at, mut written) = (table.state, 0, 0);
        // SAFETY: `lua_rawiter` pushes a key and its value, which are popped again; nothing changes the table meanwhile.
        unsafe {
            loop {
                at = ffi::lua_rawiter(state, table.at, at);
                if at < 0 {
                    break;
                }
                let key = table.top + 1;
                if ffi::lua_type(state, key) != ffi::LUA_TNUMBER
                    || ffi::lua_tonumber(state, key) != (written + 1) as f64
                {
                    let wrong = not_a_sequence(&self.copy(state, key), length);
                    table.pop();
                    return self.unordered(table, (written, length), wrong, depth);
                }
                self.item(state, key + 1, written + 1, depth)?;
                written += 1;
                table.pop();
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// The item at a place.
    ///
    /// # Safety
    /// As [`Writer::value`].
    unsafe fn item(
        &mut self,
        state: *mut lua_State,
        place: c_int,
        index: usize,
        depth: usize,
    ) -> Result<(), Unwritten> {
        if index > 1 {
            self.out.push(b',');
        }
        // SAFETY: the caller's.
        unsafe { self.value(state, place, depth) }.map_err(|unwritten| within(unwritten, || Step::Index(index)))
    }

    /// The rest of an array whose items do not lie in their order, as when they were set from the last to the first.
    ///
    /// # Safety
    /// As [`Writer::array`].
    unsafe fn unordered(
        &mut self,
        table: Walked,
        (written, length): (usize, usize),
        wrong: String,
        depth: usize,
    ) -> Result<(), Unwritten> {
        // SAFETY: as `array`; a place without an item gives nil.
        unsafe {
            if table.count() != length {
                return Err(here(wrong));
            }
            for index in written + 1..=length {
                let place = c_int::try_from(index).unwrap_or(0);
                if ffi::lua_rawgeti_(table.state, table.at, place) == ffi::LUA_TNIL {
                    return Err(here(wrong));
                }
                self.item(table.state, table.top + 1, index, depth)?;
                table.pop();
            }
        }
        self.out.push(b']');
        Ok(())
    }
}

fn too_deep() -> Unwritten {
    here(format!("nested deeper than {} levels: does it contain itself?", json::MAX_DEPTH))
}

/// A table at a place, and the top of the stack when the walk over it began.
#[derive(Clone, Copy)]
struct Walked {
    state: *mut lua_State,
    at: c_int,
    top: c_int,
}

impl Walked {
    /// Drops what the walk pushed.
    ///
    /// # Safety
    /// Nothing was popped that it did not push.
    unsafe fn pop(self) {
        // SAFETY: the caller's.
        unsafe { ffi::lua_settop(self.state, self.top) }
    }

    /// The number of entries.
    ///
    /// # Safety
    /// Two slots are free.
    unsafe fn count(self) -> usize {
        let (mut at, mut entries) = (0, 0);
        // SAFETY: what each step pushes is popped.
        unsafe {
            loop {
                at = ffi::lua_rawiter(self.state, self.at, at);
                if at < 0 {
                    return entries;
                }
                entries += 1;
                self.pop();
            }
        }
    }
}
