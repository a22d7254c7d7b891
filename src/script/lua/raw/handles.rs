//! Handles to what lives as long as a hook: parts of its exchange, and the answers of its calls.
//!
//! A handle is a tagged userdata that only its address makes one, made by raw code, with nothing to free. By the rules of
//! [`objects`](super::objects).

use super::{
    carried::{self, Own},
    replies,
};
use crate::script::{
    lua::{
        running::{PLACES, RESULT, RESULT_HEADERS, Running},
        vm::Shared,
    },
    object::Object,
};
use mlua::{
    AnyUserData, Function, Lua,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, rc::Rc};

/// The tag of handles' userdata; mlua uses none that a user may.
const HANDLE: c_int = 77;

/// The metatable of handles, and of replies.
pub fn own_metatable(lua: &Lua, functions: [&Function; 4]) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    for (name, function) in ["__index", "__newindex", "__namecall", "__iter"].into_iter().zip(functions) {
        metatable.raw_set(name, function)?;
    }
    metatable.raw_set("__metatable", false)?;
    // SAFETY: the function carries nothing; it is called with a handle or anything else, see there.
    let named = unsafe {
        lua.exec_raw::<Function>((), |state| {
            ffi::lua_pushcclosurek(state, tostring, c"__tostring".as_ptr(), 0, None);
        })
    }?;
    metatable.raw_set("__tostring", named)?;
    metatable.set_readonly(true);
    // SAFETY: the table on the stack becomes the metatable of a tag that had none.
    unsafe { lua.exec_raw::<()>(&metatable, |state| ffi::lua_setuserdatametatable(state, HANDLE)) }?;
    replies::own_metatable(lua, &metatable)
}

/// # Safety
/// Luau calls it.
unsafe extern "C-unwind" fn tostring(state: *mut lua_State) -> c_int {
    // SAFETY: only a userdata with the tag is read, and it holds a place.
    unsafe {
        let at = ffi::lua_touserdatatagged(state, 1, HANDLE).cast::<usize>();
        let name = match replies::at(state, 1) {
            Some(reply) => reply.kind().name,
            None if at.is_null() => "userdata",
            None => Running::kind_name(at.read()),
        };
        super::push_text(state, name.as_bytes());
    }
    1
}

/// Whether a userdata is a handle to a part of an exchange, also of one that is over.
pub fn is_handle(lua: &Lua, userdata: &AnyUserData) -> bool {
    // SAFETY: the userdata is pushed, and popped again.
    lua.exec_raw_lua(|raw| unsafe {
        if raw.push(userdata).is_err() {
            return false;
        }
        let named = place_of(raw.state(), -1);
        ffi::lua_settop(raw.state(), -2);
        named.is_some()
    })
}

/// The address of the handle at a place of the stack, and the place that it names.
///
/// # Safety
/// There is a value.
pub unsafe fn place_of(state: *mut lua_State, at: c_int) -> Option<(usize, usize)> {
    // SAFETY: a userdata with the tag holds a number, which was written when it was made.
    unsafe {
        let place = ffi::lua_touserdatatagged(state, at, HANDLE).cast::<usize>();
        (!place.is_null()).then(|| (place.addr(), place.read()))
    }
}

/// The handle at a place of the running hook.
pub fn handle(lua: &Lua, shared: &Shared, running: &Running, place: usize) -> mlua::Result<AnyUserData> {
    // SAFETY: the table of handles is the first value; the handle takes its place.
    unsafe {
        lua.exec_raw(&shared.handles, |state| {
            push_handle(shared, running, state, 1, place);
            ffi::lua_replace(state, 1);
        })
    }
}

/// The function that the prelude makes arguments with: each place gives its handle, all else itself.
pub fn handles_function(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Function> {
    carried::function(lua, shared, c"handles", arguments, &Own::default())
}

/// # Safety
/// Luau calls it, with what [`handles_function`] made it carry.
unsafe extern "C-unwind" fn arguments(state: *mut lua_State) -> c_int {
    // SAFETY: only values that are there are looked at and replaced; the prelude gives two at most, and slots are free for more.
    unsafe {
        let count = ffi::lua_gettop(state);
        let shared = carried::shared(state);
        let Ok(running) = shared.running() else { return count };
        for at in 1..=count {
            if ffi::lua_type(state, at) == ffi::LUA_TNUMBER {
                push_handle(shared, &running, state, carried::HANDLES, ffi::lua_tonumber(state, at) as usize);
                ffi::lua_replace(state, at);
            }
        }
        count
    }
}

/// The handle to a part of the answer of a call.
pub fn answer(lua: &Lua, shared: &Shared, running: &Running, object: Object) -> mlua::Result<AnyUserData> {
    // SAFETY: the table of such handles is the first value; the handle takes its place.
    unsafe {
        lua.exec_raw(&shared.held, |state| {
            push_answer(shared, running, state, 1, object);
            ffi::lua_replace(state, 1);
        })
    }
}

/// Pushes a handle to the answer of a call, or to a part of one: like those to parts of the exchange, it is known by its address, and
/// worth nothing when the hook is over.
///
/// # Safety
/// The table of such handles is at `held`, and three slots are free.
pub unsafe fn push_answer(shared: &Shared, running: &Running, state: *mut lua_State, held: c_int, object: Object) {
    // SAFETY: as `push_handle`: the place in the table is given back when the hook has ended.
    unsafe {
        if let Some(place) = running.answer_place(&object) {
            ffi::lua_rawgeti_(state, held, place);
            return;
        }
        let at = ffi::lua_newuserdatataggedwithmetatable(state, size_of::<usize>(), HANDLE);
        at.cast::<usize>().write(if matches!(object, Object::Result(_)) { RESULT } else { RESULT_HEADERS });
        let place = shared.take_held();
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawseti_(state, held, place);
        running.handles.answers.borrow_mut().push((at.addr(), place, object));
    }
}

/// Pushes the handle at a place of the running hook, made when it is first asked for: a userdata that only its address
/// makes one, so that it costs no destructor and needs no emptying.
///
/// # Safety
/// The table of handles is at `handles`, and three slots are free.
pub unsafe fn push_handle(shared: &Shared, running: &Running, state: *mut lua_State, handles: c_int, place: usize) {
    // SAFETY: the userdata holds the number that is written to it. The table keeps it alive until the hook has ended, as its row is
    // given back only then, so its address stays its own.
    unsafe {
        if running.has_handle(place) {
            ffi::lua_rawgeti_(state, handles, running.slot(place));
            return;
        }
        if running.handles.row.get() == 0 {
            running.handles.row.set(take_row(shared, state, handles));
        }
        let at = ffi::lua_newuserdatataggedwithmetatable(state, size_of::<usize>(), HANDLE);
        at.cast::<usize>().write(place);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawseti_(state, handles, running.slot(place));
        running.keep_handle(place, at.addr());
    }
}

/// A row for a hook's handles.
///
/// # Safety
/// As [`push_handle`].
unsafe fn take_row(shared: &Shared, state: *mut lua_State, handles: c_int) -> i32 {
    if let Some(row) = shared.free_rows.borrow_mut().pop() {
        return row;
    }
    let row = shared.rows.get();
    for slot in 1..=PLACES as c_int {
        // SAFETY: the caller's. In order, so that the table keeps them as an array.
        unsafe {
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawseti_(state, handles, row * PLACES as c_int + slot);
        }
    }
    shared.rows.set(row + 1);
    row + 1
}
