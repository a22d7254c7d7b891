//! The threads that hooks run in: begun and resumed, and what they leave. By the rules of the module above, but for one: a script that is
//! resumed, and not called, raises nothing here: what it raised is the status that it leaves.

use crate::script::lua::{convert::describe, vm::Mark};
use mlua::{
    Error, Function, Lua, Thread, Value,
    ffi::{self, lua_State},
    state::RawLua,
};
use std::ffi::c_int;

/// What a hook is called with: a value, if there is one, and the places of handles, which the prelude makes.
#[derive(Default)]
pub struct Arguments {
    pub first: Option<Value>,
    pub places: &'static [usize],
}

/// Puts a function and its arguments on a thread that is new or has ended, for `entry` of the prelude.
///
/// # Errors
/// There is no room for them.
pub fn begin(
    lua: &Lua,
    thread: &Thread,
    entry: &Function,
    function: &Function,
    arguments: Arguments,
) -> mlua::Result<()> {
    let Arguments { first, places } = arguments;
    let count = 2 + c_int::from(first.is_some()) + places.len() as c_int;
    // SAFETY: slots are reserved on both stacks before they are used, and all that is pushed on the machine's is moved.
    lua.exec_raw_lua(|raw| unsafe {
        let (state, own) = (raw.state(), thread.state());
        ffi::lua_settop(own, 0);
        if ffi::lua_checkstack(state, count) == 0 || ffi::lua_checkstack(own, count) == 0 {
            return Err(Error::StackError);
        }
        let top = ffi::lua_gettop(state);
        let pushed = raw.push(entry).and_then(|()| raw.push(function));
        let pushed = pushed.and_then(|()| first.map_or(Ok(()), |first| raw.push(first)));
        if pushed.is_err() {
            ffi::lua_settop(state, top);
            return pushed;
        }
        for place in places {
            ffi::lua_pushnumber(state, *place as f64);
        }
        ffi::lua_xmove(state, own, count);
        Ok(())
    })
}

/// What a thread gave when it returned or gave way.
pub enum Left {
    /// It returned, as most hooks do: well, and nothing.
    Nothing,
    /// [`Mark::Wait`].
    Wait,
    Values(Value, Value, Value),
}

/// Resumes a thread that was begun, or gave way.
///
/// # Errors
/// What it raised past the prelude.
pub fn resume(lua: &Lua, thread: &Thread) -> mlua::Result<Left> {
    // SAFETY: the thread lies on no other's stack, so nothing but its script runs in it. What it leaves is taken off its stack.
    lua.exec_raw_lua(|raw| unsafe {
        let own = thread.state();
        let given = ffi::lua_gettop(own);
        let arguments = if ffi::lua_status(own) == ffi::LUA_YIELD { given } else { given - 1 };
        match ffi::lua_resume(own, raw.state(), arguments, &mut 0) {
            ffi::LUA_OK | ffi::LUA_YIELD => {
                let left = left(raw, own);
                ffi::lua_settop(own, 0);
                left
            }
            status => Err(raised(raw, own, status)),
        }
    })
}

/// # Safety
/// `own` returned or gave way.
unsafe fn left(raw: &RawLua, own: *mut lua_State) -> mlua::Result<Left> {
    // SAFETY: values are looked at where they are; to be moved they have slots reserved.
    unsafe {
        let mark = |mark: Mark| ffi::lua_tolightuserdata(own, 1).addr() == mark as usize;
        match ffi::lua_gettop(own) {
            1 if mark(Mark::Wait) => return Ok(Left::Wait),
            // A function that returns nothing gives no nil.
            2 | 3 if mark(Mark::Done) && ffi::lua_toboolean(own, 2) != 0 && ffi::lua_type(own, 3) <= ffi::LUA_TNIL => {
                return Ok(Left::Nothing);
            }
            _ => {}
        }
        let state = raw.state();
        ffi::lua_settop(own, 3);
        if ffi::lua_checkstack(state, 3) == 0 {
            return Err(Error::StackError);
        }
        ffi::lua_xmove(own, state, 3);
        let (third, second, first) = (raw.pop_value(), raw.pop_value(), raw.pop_value());
        Ok(Left::Values(first, second, third))
    }
}

/// The error that a thread ended with.
///
/// # Safety
/// `own` ended with the error that lies on its stack.
unsafe fn raised(raw: &RawLua, own: *mut lua_State, status: c_int) -> Error {
    // SAFETY: the caller's; a slot is reserved.
    let value = unsafe {
        if ffi::lua_checkstack(raw.state(), 1) == 0 {
            return Error::StackError;
        }
        ffi::lua_xmove(own, raw.state(), 1);
        raw.pop_value()
    };
    match value {
        Value::Error(error) => *error,
        Value::String(text) if status == ffi::LUA_ERRMEM => Error::MemoryError(text.to_string_lossy()),
        Value::String(text) => Error::RuntimeError(text.to_string_lossy()),
        other => Error::RuntimeError(format!("raised {}", describe(&other))),
    }
}
