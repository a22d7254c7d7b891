//! What touches a stub opens it first: the metamethods of stubs, and functions of the library behind which they are opened. By the rules
//! of [`objects`](super::super::objects).

use super::{CARRIED, Located, is_stub, locate, open, open_table};
use crate::script::lua::{
    json::{self, Part, Source, Tables},
    raw::{
        carried::{self, CFunction, Own},
        read::scalar,
        text,
    },
    vm::Shared,
};
use mlua::{
    Function, Lua, Table,
    ffi::{self, lua_State},
};
use std::{
    ffi::{CStr, c_int, c_void},
    rc::Rc,
};

/// Functions that the compiler replaces by instructions which look past a stub.
pub const RAW_BUILTINS: [&str; 6] = ["rawget", "rawset", "rawlen", "unpack", "table.unpack", "setmetatable"];
/// As an iterator the compiler takes it for a loop over the bare table.
pub const RAW_ITERATION: [&str; 1] = ["next"];

/// So many keys of an object are looked up before it is opened.
const MAX_LOOKS: u8 = 4;

/// Makes stubs open when they are touched. Before the prelude, which takes functions of the library for its own.
pub fn install(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<()> {
    let at = shared.clone();
    let whole = lua.create_function(move |lua, table: Table| {
        let running = at.running().ok();
        open_table(lua, &at.json, running.as_deref(), &table)
    })?;
    let globals = lua.globals();
    let own = || Own { whole: Some(&whole), ..Own::default() };
    let behind = |library: &Table, name: &'static CStr| {
        let name_of = name.to_str().unwrap_or_default();
        let function: Option<Function> = library.raw_get(name_of)?;
        let Some(run) = function.and_then(|function| c_function(lua, &function).transpose()).transpose()? else {
            return Ok(());
        };
        library.raw_set(name_of, carried::function(lua, shared, name, opening, &Own { about: Some(run), ..own() })?)
    };
    for name in [c"next", c"rawget", c"rawset", c"rawlen", c"setmetatable"] {
        behind(&globals, name)?;
    }
    let table: Table = globals.raw_get("table")?;
    for name in [
        c"clear",
        c"clone",
        c"concat",
        c"find",
        c"foreach",
        c"foreachi",
        c"freeze",
        c"getn",
        c"insert",
        c"isfrozen",
        c"maxn",
        c"move",
        c"remove",
        c"sort",
        c"unpack",
    ] {
        behind(&table, name)?;
    }
    globals.raw_set("unpack", table.raw_get::<Function>("unpack")?)?;
    behind(&globals.raw_get("os")?, c"time")?;
    let next: Function = globals.raw_get("next")?;
    let with_next = || Own { answer: Some(&next), ..own() };
    globals.raw_set("pairs", carried::function(lua, shared, c"pairs", pairs, &with_next())?)?;
    let item = carried::function(lua, shared, c"inext", next_item, &own())?;
    let with_item = Own { answer: Some(&item), ..own() };
    globals.raw_set("ipairs", carried::function(lua, shared, c"ipairs", ipairs, &with_item)?)?;

    let Tables { object_stubs, array_stubs, filled_stubs, .. } = &shared.json;
    for (metatable, mark) in [(object_stubs, json::OBJECT), (array_stubs, json::ARRAY), (filled_stubs, json::OBJECT)] {
        metatable.raw_set("__index", carried::function(lua, shared, c"__index", index, &own())?)?;
        metatable.raw_set("__newindex", carried::function(lua, shared, c"__newindex", newindex, &own())?)?;
        metatable.raw_set("__len", carried::function(lua, shared, c"__len", length, &own())?)?;
        metatable.raw_set("__iter", carried::function(lua, shared, c"__iter", pairs, &with_next())?)?;
        metatable.raw_set("__metatable", mark)?;
        metatable.set_readonly(true);
    }
    Ok(())
}

/// Where a function of the library is, if it is one in C.
fn c_function(lua: &Lua, function: &Function) -> mlua::Result<Option<*const c_void>> {
    let mut run = None;
    // SAFETY: the function is looked at, and popped.
    unsafe {
        lua.exec_raw::<()>(function, |state| {
            run = ffi::lua_tocfunction(state, 1).map(|run| run as *const c_void);
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(run)
}

/// Opens the value at a place if it is a stub.
///
/// # Safety
/// A function made by [`carried`] with an `open_table` as its whole runs.
unsafe fn opened(state: *mut lua_State, place: c_int) {
    // SAFETY: the caller's; nothing that owns memory is left when `whole` is called.
    unsafe {
        if ffi::lua_type(state, place) != ffi::LUA_TTABLE {
            return;
        }
        let shared = carried::shared(state);
        if !is_stub(&shared.json, state, place) {
            return;
        }
        let is_open = {
            let running = shared.running().ok();
            open(&shared.json, running.as_deref(), state, place, CARRIED)
        };
        if !is_open {
            ffi::lua_pushvalue(state, carried::WHOLE);
            ffi::lua_pushvalue(state, place);
            ffi::lua_call(state, 1, 0);
        }
    }
}

/// Pushes what the table that is the first argument has under the second.
///
/// # Safety
/// There are two arguments, and a slot is free.
unsafe fn push_raw(state: *mut lua_State) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_pushvalue(state, 2);
        ffi::lua_rawget(state, 1);
    }
}

/// # Safety
/// Luau calls it, as the other functions below, with what [`install`] made it carry: with a stub and a key.
unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    // SAFETY: as `opened`.
    unsafe {
        if !looked_up(state) {
            ffi::lua_settop(state, 2);
            opened(state, 1);
            push_raw(state);
        }
    }
    1
}

/// Pushes what an object has under a key, if that is found out without opening it.
///
/// # Safety
/// As [`index`].
unsafe fn looked_up(state: *mut lua_State) -> bool {
    // SAFETY: the key is read as the string that it is; the stub holds the document, and both stay on the stack. Nothing else refers to
    // the parts while one is changed.
    unsafe {
        if ffi::lua_type(state, 2) != ffi::LUA_TSTRING {
            return false;
        }
        let Some(Located { number, document, first }) = locate(state, 1) else { return false };
        let Some(part) = document.part(number).copied() else { return false };
        if part.is_array || part.looks >= MAX_LOOKS {
            return false;
        }
        match document.find(number, text(state, 2)) {
            None => ffi::lua_pushnil(state),
            // It was there, and a script has removed it.
            Some(entry) if document.is_filled(&part, &entry) => ffi::lua_pushnil(state),
            Some(entry) => {
                carried::shared(state).json.want(document, number, &entry);
                ffi::lua_cleartable(state, carried::FILLINGS);
                let mut source = Source { at: entry.value.start, ..Source::new(document.text, Vec::new()) };
                if entry.is_part || scalar(state, &mut source).is_none() {
                    return false;
                }
            }
        }
        first.add(number as usize).write(Part { looks: part.looks + 1, ..part });
    }
    true
}

/// # Safety
/// As [`index`], with a value besides.
unsafe extern "C-unwind" fn newindex(state: *mut lua_State) -> c_int {
    // SAFETY: as `opened`. The table is not read only any more; a key that can't be one is refused where the script is.
    unsafe {
        opened(state, 1);
        let wrong = match ffi::lua_type(state, 2) {
            ffi::LUA_TNIL => Some(c"table index is nil"),
            ffi::LUA_TNUMBER if ffi::lua_tonumber(state, 2).is_nan() => Some(c"table index is NaN"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            ffi::luaL_error(state, wrong.as_ptr());
        }
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
    }
    0
}

/// # Safety
/// As [`index`], without a key.
unsafe extern "C-unwind" fn length(state: *mut lua_State) -> c_int {
    // SAFETY: as `looked_up`.
    unsafe {
        let located = if is_stub(&carried::shared(state).json, state, 1) { locate(state, 1) } else { None };
        let part = located.and_then(|Located { number, document, .. }| document.part(number));
        let length = match part {
            Some(Part { is_array: true, count, .. }) => *count as usize,
            Some(_) | None => ffi::lua_objlen(state, 1) as usize,
        };
        ffi::lua_pushnumber(state, length as f64);
    }
    1
}

/// A function of the library, behind which stubs among its arguments are opened.
///
/// # Safety
/// As [`index`], with any arguments; it carries the library's function.
unsafe extern "C-unwind" fn opening(state: *mut lua_State) -> c_int {
    // SAFETY: as `opened`. Functions of the library that are put behind this one carry nothing themselves, so they may run in its place.
    unsafe {
        for place in 1..=ffi::lua_gettop(state) {
            opened(state, place);
        }
        let run = std::mem::transmute::<*mut c_void, CFunction>(ffi::lua_touserdata(state, carried::ABOUT));
        run(state)
    }
}

/// # Safety
/// As [`opening`]; it carries `next`.
unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe { iterate(state, || ffi::lua_pushnil(state)) }
}

/// # Safety
/// As [`opening`]; it carries [`next_item`].
unsafe extern "C-unwind" fn ipairs(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe { iterate(state, || ffi::lua_pushnumber(state, 0.0)) }
}

/// Gives what a loop goes by: the iterator that is carried, the table, and what is pushed to begin with.
///
/// # Safety
/// As [`opening`]; it carries the iterator.
unsafe fn iterate(state: *mut lua_State, push_first: impl FnOnce()) -> c_int {
    // SAFETY: as `opened`.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        opened(state, 1);
        ffi::lua_pushvalue(state, carried::ANSWER);
        ffi::lua_pushvalue(state, 1);
    }
    push_first();
    3
}

/// The iterator of `ipairs`, where it is not built in.
///
/// # Safety
/// As [`opening`].
unsafe extern "C-unwind" fn next_item(state: *mut lua_State) -> c_int {
    // SAFETY: as `opened`.
    unsafe {
        let index = ffi::luaL_checkinteger(state, 2).wrapping_add(1);
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        opened(state, 1);
        ffi::lua_pushnumber(state, index as f64);
        let is_over = ffi::lua_rawgeti_(state, 1, c_int::try_from(index).unwrap_or(0)) == ffi::LUA_TNIL;
        if is_over { 0 } else { 2 }
    }
}
