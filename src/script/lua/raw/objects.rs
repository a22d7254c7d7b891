//! Reading and setting members of `req`, `ctx` and the like without mlua's conversions, which cost more than most getters.
//!
//! The metamethods of objects are C functions. They know the running hook's own handles by their addresses, read and write
//! scalars straight from and to Luau's stack, and leave everything else (tables, JSON, other objects, whatever is refused) to the
//! functions of `objects`, which do the same again from the start: a getter changes nothing, and a setter that refuses has changed
//! nothing. Besides the rules of the module above:
//!
//! - These run in a script's call, so what Luau raises goes to the script's own protected call. Values that own memory are
//!   unwound with their frames; nothing is held over [`ffi::lua_error`].
//! - Getters and setters run in [`Running::guard`], which keeps their panics.

use super::{
    carried::{self, Own},
    given::Given,
    results::{push_document, push_result},
    text,
};
use crate::script::{
    Value,
    convert::assigned,
    list::{Property, Type},
    lua::{
        bind::Member,
        running::Running,
        vm::{Mark, Shared},
    },
    object::Object,
    value::Args,
};
use bytes::Bytes;
use mlua::{
    Function, Lua, Table,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, rc::Rc};

/// `__index` and `__newindex` of objects.
pub fn metamethods(
    lua: &Lua,
    shared: &Rc<Shared>,
    methods: &Table,
    (get, set): (&Function, &Function),
) -> mlua::Result<(Function, Function)> {
    let own = |whole| Own { whole: Some(whole), methods: Some(methods), ..Own::default() };
    let index = carried::function(lua, shared, c"__index", index, &own(get))?;
    let newindex = carried::function(lua, shared, c"__newindex", newindex, &own(set))?;
    Ok((index, newindex))
}

/// # Safety
/// Luau calls it, with what [`metamethods`] made it carry, an object and a key.
unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    // SAFETY: `shared` outlives every script's call; nothing that owns memory is left when `whole` is called.
    unsafe {
        let shared = carried::shared(state);
        if read(shared, state).is_none() {
            whole(shared, state, 2);
        }
    }
    1
}

/// # Safety
/// As [`index`], with a value besides.
unsafe extern "C-unwind" fn newindex(state: *mut lua_State) -> c_int {
    // SAFETY: as `index`.
    unsafe {
        let shared = carried::shared(state);
        if write(shared, state).is_none() {
            whole(shared, state, 3);
        }
    }
    0
}

/// Pushes a member; None when that is left to others, and nothing was pushed.
///
/// # Safety
/// As [`index`].
unsafe fn read(shared: &Shared, state: *mut lua_State) -> Option<()> {
    let running = shared.running().ok()?;
    // SAFETY: the key is looked at as the string that it is, and stays on the stack.
    let (object, name) = unsafe { (own(shared, &running, state)?, name(state)?) };
    let kind = object.kind();
    let got = match shared.member(kind, name) {
        // SAFETY: `METHODS` is a table of tables; what is not there gives nil.
        Some(Member::Method(_)) => unsafe {
            if ffi::lua_rawgetptagged(state, carried::METHODS, std::ptr::from_ref(kind).cast(), 0) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, 2);
                return None;
            }
            ffi::lua_pushvalue(state, 2);
            ffi::lua_rawget(state, -2);
            return Some(());
        },
        Some(Member::Property(Property { name, ty: Type::Native, .. })) => {
            let (config, own_state) = running.natives;
            // SAFETY: `NATIVES` is a table.
            unsafe { ffi::lua_rawgeti_(state, carried::NATIVES, if *name == "config" { config } else { own_state }) };
            return Some(());
        }
        Some(Member::Property(property)) if is_simple(&property.ty) || matches!(property.ty, Type::Json) => {
            running.guard(|| (property.get)(&Args(vec![object.into()])))
        }
        Some(Member::Property(_)) => return None,
        None => {
            let index = kind.index.as_ref().filter(|index| is_simple(&index.ty) || matches!(index.ty, Type::Json))?;
            let key = Value::Str(Bytes::copy_from_slice(name.as_bytes()));
            running.guard(|| (index.get)(&Args(vec![object.into(), key])))
        }
    };
    let got = got.ok()?.ok()?;
    if got.is_long() {
        running.look_soon();
    }
    // SAFETY: a C function has slots to spare.
    unsafe {
        match got {
            Value::Json(text) => push_document(shared, &running, state, &text).then_some(()),
            value => push_result(shared, &running, state, value).is_none().then_some(()),
        }
    }
}

/// Sets a member; None when that is left to others, and nothing was changed.
///
/// # Safety
/// As [`newindex`].
unsafe fn write(shared: &Shared, state: *mut lua_State) -> Option<()> {
    let running = shared.running().ok()?;
    let scope = running.scope.as_ref()?;
    // SAFETY: as `read`.
    let (object, name) = unsafe { (own(shared, &running, state)?, name(state)?) };
    let kind = object.kind();
    let member = shared.member(kind, name);
    let ty = match (member, &kind.index) {
        (Some(Member::Property(property)), _) => &property.ty,
        // As in the general way, what is read as text may be written as a number or a boolean too.
        (None, Some(index)) if matches!(index.ty, Type::Maybe(Type::String)) => &Type::Scalar,
        (None, Some(index)) => &index.ty,
        _ => return None,
    };
    if !is_scalar(ty) && !matches!(ty, Type::Json) {
        return None;
    }
    let value = assigned(ty, &Given { state, place: 3, shared, running: &running }).ok()?;
    if value.is_long() {
        running.look_soon();
    }
    let set = || match (member, &kind.index) {
        (Some(Member::Property(property)), _) => property.set?(scope, Args(vec![object.into(), value])).ok(),
        (None, Some(index)) => {
            let key = Value::Str(Bytes::copy_from_slice(name.as_bytes()));
            index.set?(scope, Args(vec![object.into(), key, value])).ok()
        }
        _ => None,
    };
    running.guard(set).ok()?
}

/// The object that is the first argument: the hook's own, or one that `on_load` made.
///
/// # Safety
/// As [`index`].
pub unsafe fn own(shared: &Shared, running: &Running, state: *mut lua_State) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe { object(shared, running, state, 1) }
}

/// The same at any place.
///
/// # Safety
/// There is a value at `place`.
pub unsafe fn object(shared: &Shared, running: &Running, state: *mut lua_State, place: c_int) -> Option<Object> {
    // SAFETY: the address is only compared.
    let address = unsafe { ffi::lua_touserdata(state, place) }.addr();
    running.object(address).or_else(|| shared.made.borrow().get(&address).map(|(object, _)| object.clone()))
}

/// The name that is the second argument.
///
/// # Safety
/// As [`index`]; the name is used no longer than the call lasts.
unsafe fn name<'a>(state: *mut lua_State) -> Option<&'a str> {
    // SAFETY: it is read as a string only if it is one; it stays on the stack.
    unsafe {
        let is_text = ffi::lua_type(state, 2) == ffi::LUA_TSTRING;
        is_text.then(|| std::str::from_utf8(text(state, 2)).ok())?
    }
}

/// Has the whole function do it, and raises what it left to be raised, where the script is.
///
/// # Safety
/// As [`index`]; the stack holds the arguments alone.
unsafe fn whole(shared: &Shared, state: *mut lua_State, arguments: c_int) {
    // SAFETY: the message is copied to the stack and freed before it is raised.
    unsafe {
        ffi::lua_settop(state, arguments);
        ffi::lua_pushvalue(state, carried::WHOLE);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, arguments, 1);
        let is_mark = ffi::lua_type(state, -1) == ffi::LUA_TLIGHTUSERDATA;
        if is_mark && ffi::lua_touserdata(state, -1).addr() == Mark::Raised as usize {
            ffi::luaL_where(state, 1);
            push_raised(shared, state);
            ffi::lua_concat(state, 2);
            ffi::lua_error(state);
        }
    }
}

/// # Safety
/// A slot is free.
unsafe fn push_raised(shared: &Shared, state: *mut lua_State) {
    let message = shared.running().ok().and_then(|running| running.raised.take()).unwrap_or_default();
    // SAFETY: the bytes are copied.
    unsafe { super::push_text(state, message.as_bytes()) }
}

/// Whether a getter of this type gives what can be pushed here.
fn is_simple(ty: &Type) -> bool {
    is_scalar(ty) || matches!(ty, Type::Object(_))
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Int | Type::Number | Type::String | Type::Scalar => true,
        Type::Maybe(inner) => is_scalar(inner),
        _ => false,
    }
}
