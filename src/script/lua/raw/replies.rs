//! Replies in the machine: tagged userdata, each of which holds its own, since a script may keep one from one hook to the next.
//!
//! By the rules of [`objects`](super::objects).

use crate::script::{Reply, object::Object};
use mlua::{
    AnyUserData, Lua, Table,
    ffi::{self, lua_State},
};
use std::{
    ffi::{c_int, c_void},
    rc::Rc,
};

/// The tag of replies' userdata.
const REPLY: c_int = 79;

/// The metatable of replies, and what frees them.
pub fn own_metatable(lua: &Lua, metatable: &Table) -> mlua::Result<()> {
    // SAFETY: the table on the stack becomes the metatable of a tag that had none. Only `push` makes userdata of it.
    unsafe {
        lua.exec_raw::<()>(metatable, |state| {
            ffi::lua_setuserdatametatable(state, REPLY);
            ffi::lua_setuserdatadtor(state, REPLY, Some(free));
        })
    }
}

/// # Safety
/// Luau calls it with a reply that nothing refers to any more.
unsafe extern "C" fn free(_: *mut lua_State, at: *mut c_void) {
    // SAFETY: `push` wrote it, and it is freed once.
    unsafe { at.cast::<Rc<Reply>>().drop_in_place() }
}

/// # Safety
/// A slot is free.
pub unsafe fn push(state: *mut lua_State, reply: Rc<Reply>) {
    // SAFETY: there is room for what is written, and nothing comes between that Luau could free it in.
    unsafe {
        let at = ffi::lua_newuserdatataggedwithmetatable(state, size_of::<Rc<Reply>>(), REPLY);
        at.cast::<Rc<Reply>>().write(reply);
    }
}

/// The reply at a place of the stack.
///
/// # Safety
/// There is a value.
pub unsafe fn at(state: *mut lua_State, place: c_int) -> Option<Object> {
    // SAFETY: a userdata with the tag holds a reply.
    unsafe {
        let at = ffi::lua_touserdatatagged(state, place, REPLY).cast::<Rc<Reply>>();
        at.as_ref().map(|reply| Object::Reply(reply.clone()))
    }
}

/// The reply that a userdata is.
pub fn of(lua: &Lua, userdata: &AnyUserData) -> Option<Object> {
    // SAFETY: the userdata is pushed, and popped again.
    lua.exec_raw_lua(|raw| unsafe {
        raw.push(userdata).ok()?;
        let reply = at(raw.state(), -1);
        ffi::lua_settop(raw.state(), -2);
        reply
    })
}

/// The userdata of a reply.
pub fn make(lua: &Lua, reply: &Rc<Reply>) -> mlua::Result<AnyUserData> {
    // SAFETY: `exec_raw` has a slot for what is left on the stack.
    unsafe { lua.exec_raw((), |state| push(state, reply.clone())) }
}
