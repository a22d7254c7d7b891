//! JSON text straight onto Luau's stack, when all its objects have keys in an order that was seen before.
//!
//! Whatever is unusual (new keys, one that comes twice, large integers, what is no JSON at all) is given up as a whole: the reader that makes a tape
//! begins again, and says why when it can't either. The keys of an object are recognised one after the other by the
//! [`KeyTree`], keys and values wait on the stack, and at its end go into a copy of the template that has room for them.
//!
//! By the rules of the module above, but for one: it also runs in a script's own call, as `objects` does.

use super::{push_item, push_text};
use crate::script::lua::{
    json::{KeyTree, MAX_DEPTH, Number, Source, Tables, Text},
    running::Running,
};
use mlua::{
    Lua, Value,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, ptr};

/// Where the tables lie on the stack that reading needs.
#[derive(Clone, Copy)]
pub struct Places {
    pub array: c_int,
    pub templates: c_int,
    pub names: c_int,
    /// The metatables of stubs.
    pub objects: c_int,
    pub arrays: c_int,
    pub filled: c_int,
    /// What filled ones are copies of.
    pub fillings: c_int,
}

/// Slots are reserved for so many pairs, or items, at a time, and what one level needs besides.
const PAIRS: usize = 8;
const ITEMS: usize = 16;
const ROOM: c_int = 24;
/// Items that wait on the stack at most.
const MAX_HELD: usize = 256;
/// Values between two looks at the clock.
const STRIDE: u32 = 1024;

/// Reads a document from outside the machine; None when that is left to others.
pub fn document(lua: &Lua, tables: &Tables, running: Option<&Running>, text: &[u8]) -> mlua::Result<Option<Value>> {
    let places = Places { array: 1, templates: 2, names: 3, objects: 0, arrays: 0, filled: 0, fillings: 0 };
    let mut is_read = false;
    // SAFETY: the closure keeps to the module's rules: it holds references only, and it leaves one value.
    let value = unsafe {
        lua.exec_raw::<Value>((&tables.array, &tables.templates, &tables.names), |state| {
            is_read = value(tables, running, state, text, places);
            if is_read {
                ffi::lua_replace(state, 1);
                ffi::lua_settop(state, 1);
            } else {
                ffi::lua_settop(state, 0);
                ffi::lua_pushnil(state);
            }
        })
    }?;
    Ok(is_read.then_some(value))
}

/// Pushes the value that a text says; false when it was given up, and the stack is as it was.
///
/// # Safety
/// As the module says; at the places are the tables of `tables`.
pub unsafe fn value(
    tables: &Tables,
    running: Option<&Running>,
    state: *mut lua_State,
    text: &[u8],
    places: Places,
) -> bool {
    if u32::try_from(text.len()).is_err() || std::str::from_utf8(text).is_err() {
        return false;
    }
    // SAFETY: slots are reserved before they are used, see `Direct`.
    unsafe {
        let top = ffi::lua_gettop(state);
        let is_read = tables.with_keys(|tree| {
            let source = Source::new(text, Vec::new());
            let mut direct = Direct { state, source, tree, running, places, count: 0 };
            ffi::lua_checkstack(state, ROOM) != 0 && direct.value(0).is_some() && direct.source.is_over()
        });
        if !is_read {
            ffi::lua_settop(state, top);
        }
        is_read
    }
}

struct Direct<'a> {
    state: *mut lua_State,
    source: Source<'a>,
    tree: &'a KeyTree,
    running: Option<&'a Running>,
    places: Places,
    count: u32,
}

impl Direct<'_> {
    /// Pushes the next value. When it gives none, what it pushed is left for the whole to be dropped.
    ///
    /// # Safety
    /// As [`value`]; a slot is free.
    unsafe fn value(&mut self, depth: usize) -> Option<()> {
        self.count += 1;
        if self.count.is_multiple_of(STRIDE) {
            self.running.map_or(Ok(()), Running::tick).ok()?;
        }
        // SAFETY: the caller's; containers reserve what they need.
        unsafe {
            match self.source.next()? {
                b'{' => self.object(depth + 1),
                b'[' => self.array(depth + 1),
                _ => scalar(self.state, &mut self.source),
            }
        }
    }

    /// Reserves slots, and one for what is made at last. Its place.
    ///
    /// # Safety
    /// A slot is free.
    unsafe fn open(&mut self, depth: usize) -> Option<c_int> {
        self.source.at += 1;
        // SAFETY: the caller's.
        unsafe {
            if depth > MAX_DEPTH || ffi::lua_checkstack(self.state, ROOM) == 0 {
                return None;
            }
            ffi::lua_pushnil(self.state);
            Some(ffi::lua_gettop(self.state))
        }
    }

    /// # Safety
    /// As [`Direct::value`].
    unsafe fn object(&mut self, depth: usize) -> Option<()> {
        let (state, Places { templates, names, .. }) = (self.state, self.places);
        // SAFETY: of pairs that wait there are never more than slots were reserved for. A template is a table, as nobody but `Tables` fills
        // their table, and a copy of one has all the keys that led to it, so that setting them takes no memory.
        unsafe {
            let table = self.open(depth)?;
            let (mut at, mut count) = (KeyTree::ROOT, 0);
            if self.source.take_next(b'}') {
                ffi::lua_createtable(state, 0, 0);
                ffi::lua_replace(state, table);
                return Some(());
            }
            at = self.source.key(self.tree, at)?;
            loop {
                push_item(state, names, at);
                self.value(depth)?;
                count += 1;
                at = match self.source.next_key(self.tree, at) {
                    Some(next) => next,
                    None if self.source.goes_on(b'}')? => self.source.key(self.tree, at)?,
                    None => break,
                };
                if count % PAIRS == 0 && ffi::lua_checkstack(state, ROOM) == 0 {
                    return None;
                }
            }
            if push_item(state, templates, self.tree.shape(at)?) != ffi::LUA_TTABLE {
                return None;
            }
            ffi::lua_clonetable(state, -1);
            ffi::lua_replace(state, table);
            ffi::lua_settop(state, -2);
            for _ in 0..count {
                ffi::lua_rawset(state, table);
            }
        }
        Some(())
    }

    /// # Safety
    /// As [`Direct::value`].
    unsafe fn array(&mut self, depth: usize) -> Option<()> {
        let state = self.state;
        // SAFETY: as `object`.
        unsafe {
            let table = self.open(depth)?;
            let (mut stored, mut held) = (0, 0);
            if !self.source.take_next(b']') {
                loop {
                    self.value(depth)?;
                    held += 1;
                    if !self.source.goes_on(b']')? {
                        break;
                    }
                    if held == MAX_HELD {
                        store(state, table, stored, held);
                        stored += held;
                        held = 0;
                    }
                    if held % ITEMS == 0 && ffi::lua_checkstack(state, ROOM) == 0 {
                        return None;
                    }
                }
            }
            store(state, table, stored, held);
            ffi::lua_pushvalue(state, self.places.array);
            ffi::lua_setmetatable(state, table);
        }
        Some(())
    }
}

/// Pushes what is neither array nor object, if it is usual. It begins here.
///
/// # Safety
/// A slot is free.
pub unsafe fn scalar(state: *mut lua_State, source: &mut Source<'_>) -> Option<()> {
    // SAFETY: the caller's.
    unsafe {
        match source.peek()? {
            b'"' => {
                let text = source.string()?;
                push_text(state, source.bytes(text));
                if matches!(text, Text::Unescaped(_)) {
                    source.unescaped.clear();
                }
            }
            b't' => {
                source.word(b"true")?;
                ffi::lua_pushboolean(state, 1);
            }
            b'f' => {
                source.word(b"false")?;
                ffi::lua_pushboolean(state, 0);
            }
            b'n' => {
                source.word(b"null")?;
                ffi::lua_pushlightuserdata(state, ptr::null_mut());
            }
            _ => match source.number()? {
                Number::Float(float) => ffi::lua_pushnumber(state, float),
                Number::Big(_) => return None,
            },
        }
    }
    Some(())
}

/// Puts the items that wait above `table` into it, after those that were stored; the first time it is made.
///
/// # Safety
/// So many items lie above `table`, and a slot is free.
unsafe fn store(state: *mut lua_State, table: c_int, stored: usize, held: usize) {
    let number = |count: usize| c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: the caller's.
    unsafe {
        if stored == 0 {
            ffi::lua_createtable(state, number(held), 0);
            ffi::lua_replace(state, table);
            for index in (1..=number(held)).rev() {
                ffi::lua_rawseti_(state, table, index);
            }
            return;
        }
        for index in 1..=number(held) {
            ffi::lua_pushvalue(state, table + index);
            ffi::lua_rawseti_(state, table, number(stored) + index);
        }
        ffi::lua_settop(state, table);
    }
}
