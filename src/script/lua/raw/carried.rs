//! What the C functions of this folder carry with them: one row of values for all, so that any of them may call any helper.

use crate::script::lua::vm::Shared;
use mlua::{
    Function, LightUserData, Lua, MultiValue, Table, Value,
    ffi::{self, lua_State},
};
use std::{
    ffi::{CStr, c_int, c_void},
    rc::Rc,
};

/// The machine's [`Shared`].
pub const SHARED: c_int = ffi::lua_upvalueindex(1);
/// The function made by mlua that does all.
pub const WHOLE: c_int = ffi::lua_upvalueindex(2);
/// What the one function is about, if anything.
pub const ABOUT: c_int = ffi::lua_upvalueindex(3);
/// The function that gives the answer that the hook holds.
pub const ANSWER: c_int = ffi::lua_upvalueindex(4);
/// The methods of all kinds, by their places.
pub const METHODS: c_int = ffi::lua_upvalueindex(5);
pub const HANDLES: c_int = ffi::lua_upvalueindex(6);
pub const HELD: c_int = ffi::lua_upvalueindex(7);
pub const NATIVES: c_int = ffi::lua_upvalueindex(8);
/// The metatable of arrays, templates and names of keys, and the tables that stand for JSON texts.
pub const ARRAY: c_int = ffi::lua_upvalueindex(9);
pub const TEMPLATES: c_int = ffi::lua_upvalueindex(10);
pub const NAMES: c_int = ffi::lua_upvalueindex(11);
pub const KEPT: c_int = ffi::lua_upvalueindex(12);
/// Lists of the names of records.
pub const RECORDS: c_int = ffi::lua_upvalueindex(13);
/// The metatables of stubs.
pub const OBJECT_STUBS: c_int = ffi::lua_upvalueindex(14);
pub const ARRAY_STUBS: c_int = ffi::lua_upvalueindex(15);
/// Strings of the keys whose order is known.
pub const ORDERED: c_int = ffi::lua_upvalueindex(16);
pub const FILLED_STUBS: c_int = ffi::lua_upvalueindex(17);
pub const FILLINGS: c_int = ffi::lua_upvalueindex(18);
const COUNT: c_int = 18;

pub type CFunction = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;
pub type Continuation = unsafe extern "C-unwind" fn(*mut lua_State, c_int) -> c_int;

/// What one function carries that others do not.
#[derive(Default)]
pub struct Own<'a> {
    pub whole: Option<&'a Function>,
    pub about: Option<*const c_void>,
    pub answer: Option<&'a Function>,
    pub methods: Option<&'a Table>,
}

/// A function that carries the row. `shared`, and what it is about, must live as long as scripts run, which the machine sees to.
pub fn function(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: &'static CStr,
    run: CFunction,
    own: &Own<'_>,
) -> mlua::Result<Function> {
    continued(lua, shared, name, (run, None), own)
}

/// The same, and what Luau calls when the function has waited.
pub fn continued(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: &'static CStr,
    (run, after): (CFunction, Option<Continuation>),
    own: &Own<'_>,
) -> mlua::Result<Function> {
    let pointer = |at: *const c_void| Value::LightUserData(LightUserData(at.cast_mut()));
    let function = |of: Option<&Function>| of.map_or(Value::Nil, |function| Value::Function(function.clone()));
    let json = &shared.json;
    let tables = [
        own.methods,
        Some(&shared.handles),
        Some(&shared.held),
        Some(&shared.natives),
        Some(&json.array),
        Some(&json.templates),
        Some(&json.names),
        Some(&json.kept),
        Some(&shared.records),
        Some(&json.object_stubs),
        Some(&json.array_stubs),
        Some(&json.ordered),
        Some(&json.filled_stubs),
        Some(&json.fillings),
    ];
    let first = [
        pointer(Rc::as_ptr(shared).cast()),
        function(own.whole),
        own.about.map_or(Value::Nil, pointer),
        function(own.answer),
    ];
    let tables = tables.map(|of| of.map_or(Value::Nil, |table| Value::Table(table.clone())));
    let row = MultiValue::from_iter(first.into_iter().chain(tables));
    // SAFETY: the values become what the function carries, and it is left alone on the stack.
    unsafe { lua.exec_raw(row, |state| ffi::lua_pushcclosurek(state, run, name.as_ptr(), COUNT, after)) }
}

/// The machine's [`Shared`], of a function that was made by [`function`].
///
/// # Safety
/// Such a function runs in `state`.
pub unsafe fn shared<'a>(state: *mut lua_State) -> &'a Shared {
    // SAFETY: it outlives every script's call.
    unsafe { &*ffi::lua_touserdata(state, SHARED).cast::<Shared>() }
}
