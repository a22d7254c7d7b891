//! A document from the tape that a reader made of it. By the rules of the module above.

use super::{LEVEL, push_item, push_text};
use crate::script::lua::{
    json::{Op, ShapeId, Tape},
    running::Running,
};
use mlua::{
    Lua, Table, Value,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, ptr};

/// Tables that [`build`] takes from.
pub struct Given<'a> {
    /// The metatable of arrays.
    pub array: &'a Table,
    pub templates: &'a Table,
    pub own: Option<&'a Table>,
    pub bigs: Option<&'a Table>,
}

// Their places on the stack.
const ARRAY: c_int = 1;
const TEMPLATES: c_int = 2;
const OWN: c_int = 3;
const BIGS: c_int = 4;

/// Makes the value that a tape says. The tape was read from `text` with these tables.
pub fn build(lua: &Lua, running: Option<&Running>, tape: &Tape, text: &[u8], given: Given<'_>) -> mlua::Result<Value> {
    let mut failed = None;
    let mut builder = Builder { tape, text, at: 0, running, failed: &mut failed };
    let levels = c_int::try_from(tape.depth).unwrap_or(c_int::MAX / 8) + 2;
    let given = (given.array, given.templates, given.own, given.bigs);
    // SAFETY: the closure keeps to the module's rules: it holds references only, and it leaves one value.
    let built = unsafe {
        lua.exec_raw::<Value>(given, |state| {
            let built = ffi::lua_checkstack(state, levels * LEVEL) != 0 && builder.value(state);
            if built {
                ffi::lua_replace(state, 1);
                ffi::lua_settop(state, 1);
            } else {
                ffi::lua_settop(state, 0);
                ffi::lua_pushnil(state);
            }
        })
    };
    match failed {
        Some(error) => Err(error),
        None => built,
    }
}

struct Builder<'a> {
    tape: &'a Tape,
    text: &'a [u8],
    at: usize,
    running: Option<&'a Running>,
    /// Why it was given up.
    failed: &'a mut Option<mlua::Error>,
}

/// Operations between two looks at the clock.
const STRIDE: usize = 2048;

impl Builder<'_> {
    fn next(&mut self) -> Option<Op> {
        let op = self.tape.ops.get(self.at).copied();
        self.at += 1;
        if let (true, Some(running)) = (self.at.is_multiple_of(STRIDE), self.running)
            && let Err(error) = running.tick()
        {
            *self.failed = Some(error);
            return None;
        }
        op
    }

    /// Pushes the next value; false when it was given up.
    ///
    /// # Safety
    /// As the module says; the first four slots hold what [`Given`] gave.
    unsafe fn value(&mut self, state: *mut lua_State) -> bool {
        let Some(op) = self.next() else { return false };
        // SAFETY: slots are reserved for every level that the tape has; the tables were made by `Tables` and are no script's.
        unsafe {
            match op {
                Op::Null => ffi::lua_pushlightuserdata(state, ptr::null_mut()),
                Op::Bool(b) => ffi::lua_pushboolean(state, c_int::from(b)),
                Op::Number(f) => ffi::lua_pushnumber(state, f),
                Op::Big(place) => {
                    push_item(state, BIGS, place);
                }
                Op::Text(span) => push_text(state, span.of(self.text)),
                Op::Unescaped(span) => push_text(state, span.of(&self.tape.unescaped)),
                Op::Array(count) => return self.array(state, count),
                Op::Object(ShapeId::Empty, _) => ffi::lua_createtable(state, 0, 0),
                Op::Object(shape, count) => return self.object(state, shape, count),
                Op::Repeating(shape, count) => return self.repeating(state, shape, count),
                // Only inside what `Repeating` opens.
                Op::Key(_) => return false,
            }
        }
        true
    }

    /// # Safety
    /// As [`Builder::value`].
    unsafe fn array(&mut self, state: *mut lua_State, count: u32) -> bool {
        let length = c_int::try_from(count).unwrap_or(c_int::MAX);
        // SAFETY: the table is made here and lies below the item that is set.
        unsafe {
            ffi::lua_createtable(state, length, 0);
            for index in 1..=length {
                if !self.value(state) {
                    return false;
                }
                ffi::lua_rawseti_(state, -2, index);
            }
            ffi::lua_pushvalue(state, ARRAY);
            ffi::lua_setmetatable(state, -2);
        }
        true
    }

    /// # Safety
    /// As [`Builder::value`].
    unsafe fn object(&mut self, state: *mut lua_State, shape: ShapeId, count: u32) -> bool {
        // SAFETY: the copy is not read only, whatever its original is; its metatable lists `count` keys.
        unsafe {
            copy_template(state, shape);
            for place in 1..=count {
                push_item(state, -1, place);
                if !self.value(state) {
                    return false;
                }
                // Below the pair lie the list of keys and the table.
                ffi::lua_rawset(state, -4);
            }
            ffi::lua_settop(state, -2);
        }
        true
    }

    /// # Safety
    /// As [`Builder::value`].
    unsafe fn repeating(&mut self, state: *mut lua_State, shape: ShapeId, count: u32) -> bool {
        // SAFETY: as `object`.
        unsafe {
            copy_template(state, shape);
            for _ in 0..count {
                let Some(Op::Key(place)) = self.next() else { return false };
                push_item(state, -1, place);
                if !self.value(state) {
                    return false;
                }
                ffi::lua_rawset(state, -4);
            }
            ffi::lua_settop(state, -2);
        }
        true
    }
}

/// Pushes a copy of a template, and its metatable.
///
/// # Safety
/// As [`Builder::value`]; the shape is one that `Tables` gave for this document.
unsafe fn copy_template(state: *mut lua_State, shape: ShapeId) {
    let (templates, place) = match shape {
        ShapeId::Kept(place) => (TEMPLATES, place),
        ShapeId::Own(place) => (OWN, place),
        ShapeId::Empty => (TEMPLATES, 0),
    };
    // SAFETY: the place holds a table with a metatable. If it did not, the copy would read what is no table: hence the check.
    unsafe {
        if push_item(state, templates, place) == ffi::LUA_TTABLE {
            ffi::lua_clonetable(state, -1);
        } else {
            ffi::lua_createtable(state, 0, 0);
        }
        ffi::lua_replace(state, -2);
        if ffi::lua_getmetatable(state, -1) == 0 {
            ffi::lua_createtable(state, 0, 0);
        }
    }
}
