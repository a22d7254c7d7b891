//! Opening a stub: it becomes the table of its part, whose own parts are stubs again. By the rules of [`objects`](super::super::objects).

use super::{DOCUMENT, HELD, Held, Located, NUMBER, ROOM, is_stub, locate, push_part, text_of};
use crate::script::lua::{
    json::{self, KeyTree, Part, Source, Tables, Undecoded},
    raw::{
        push_item,
        read::{Places, scalar},
    },
    running::Running,
};
use mlua::{
    Lua, Table, Value,
    ffi::{self, lua_State},
};
use std::{
    ffi::{c_int, c_void},
    ptr,
};

/// For so many pairs of an object slots are reserved at once.
const PAIRS: u32 = 8;
/// Opening a part with more items is a long step, after which the clock is looked at.
const MANY: u32 = 1024;

/// Makes a stub the table that it stands for; false when that is left to [`open_table`].
///
/// # Safety
/// There is a stub at `place`, counted from the bottom, and at the places are the tables of `tables`.
pub unsafe fn open(
    tables: &Tables,
    running: Option<&Running>,
    state: *mut lua_State,
    place: c_int,
    places: Places,
) -> bool {
    // SAFETY: slots are reserved before they are used; the stack is left as it was found.
    unsafe {
        if ffi::lua_checkstack(state, ROOM) == 0 {
            return false;
        }
        let top = ffi::lua_gettop(state);
        let is_open = located(tables, running, state, place, places).is_some();
        ffi::lua_settop(state, top);
        is_open
    }
}

/// # Safety
/// As [`open`]; what is pushed is left.
unsafe fn located(
    tables: &Tables,
    running: Option<&Running>,
    state: *mut lua_State,
    place: c_int,
    places: Places,
) -> Option<()> {
    // SAFETY: the stub's document stays on the stack.
    unsafe {
        let Located { number, document, .. } = locate(state, place)?;
        let held = ffi::lua_gettop(state);
        let part = document.part(number)?;
        if let (true, Some(running)) = (part.count > MANY, running) {
            running.look_soon();
        }
        let source = Source { at: part.start as usize + 1, ..Source::new(document.text, Vec::new()) };
        tables.with_keys(|tree| {
            let held = Held { document, at: held, is_current: document.age == tree.age };
            let mut opener = Opener { state, source, tree, places, held, inner: number + 1 };
            if part.is_array { opener.array(place, number, part.count) } else { opener.object(place, part) }
        })
    }
}

struct Opener<'a> {
    state: *mut lua_State,
    source: Source<'a>,
    tree: &'a KeyTree,
    places: Places,
    held: Held<'a>,
    /// The number of the next part.
    inner: u32,
}

impl Opener<'_> {
    /// Pushes the next value.
    ///
    /// # Safety
    /// Slots are free.
    unsafe fn value(&mut self) -> Option<()> {
        // SAFETY: the caller's.
        unsafe {
            match self.source.next()? {
                b'{' | b'[' => {
                    let part = self.held.document.part(self.inner)?;
                    push_part(self.state, self.held, self.inner, self.places);
                    (self.source.at, self.inner) = (part.end as usize, part.after);
                    Some(())
                }
                _ => scalar(self.state, &mut self.source),
            }
        }
    }

    /// # Safety
    /// As [`open`].
    unsafe fn array(&mut self, place: c_int, number: u32, count: u32) -> Option<()> {
        let (state, count) = (self.state, c_int::try_from(count).ok()?);
        // SAFETY: the caller's; the table has room for its items. Until all are there it stays a stub, to be opened again.
        unsafe {
            ffi::lua_setreadonly(state, place, 0);
            for index in 1..=count {
                self.value()?;
                ffi::lua_rawseti_(state, place, index);
                self.source.goes_on(b']')?;
            }
            ffi::lua_pushnil(state);
            ffi::lua_rawsetptagged(state, place, ptr::without_provenance::<c_void>(number as usize), DOCUMENT);
            ffi::lua_pushvalue(state, self.places.array);
            ffi::lua_setmetatable(state, place);
        }
        Some(())
    }

    /// # Safety
    /// As [`open`].
    unsafe fn object(&mut self, place: c_int, part: &Part) -> Option<()> {
        let state = self.state;
        let mut fills = self.held.document.fills_of(part).peekable();
        // SAFETY: of pairs that wait there are never more than slots were reserved for. All are there before the table is changed, which has
        // room for them.
        unsafe {
            let (first, mut at, mut count) = (ffi::lua_gettop(state) + 1, KeyTree::ROOT, 0);
            loop {
                self.source.next()?;
                let key = self.source.at as u32 + 1;
                at = self.source.key(self.tree, at)?;
                push_item(state, self.places.names, at);
                self.value()?;
                // What the table has of it, if anything: a script may have changed it.
                if fills.next_if(|fill| fill.key == key).is_some() {
                    ffi::lua_pushvalue(state, -2);
                    ffi::lua_rawget(state, place);
                    ffi::lua_replace(state, -2);
                }
                count += 1;
                if !self.source.goes_on(b'}')? {
                    break;
                }
                if count % PAIRS == 0 && ffi::lua_checkstack(state, ROOM) == 0 {
                    return None;
                }
            }
            let template = push_item(state, self.places.templates, self.tree.shape(at)?);
            if template != ffi::LUA_TTABLE || ffi::lua_getmetatable(state, -1) == 0 {
                return None;
            }
            ffi::lua_setreadonly(state, place, 0);
            if ffi::lua_objlen(state, place) == 0 {
                ffi::lua_cleartable(state, place);
            } else {
                // Only a filled one has items.
                for mark in [HELD, NUMBER] {
                    ffi::lua_pushnil(state);
                    ffi::lua_rawsetptagged(state, place, mark, DOCUMENT);
                }
            }
            ffi::lua_setmetatable(state, place);
            // In the order of the keys, as the template was made, so that loops go over both in the same order.
            for pair in (0..count as c_int).map(|pair| first + 2 * pair) {
                if ffi::lua_type(state, pair + 1) != ffi::LUA_TNIL {
                    ffi::lua_pushvalue(state, pair);
                    ffi::lua_pushvalue(state, pair + 1);
                    ffi::lua_rawset(state, place);
                }
            }
        }
        Some(())
    }
}

/// Opens a table if it is a stub.
pub fn open_table(lua: &Lua, tables: &Tables, running: Option<&Running>, table: &Table) -> mlua::Result<()> {
    let mut text = None;
    let mut filled = Vec::new();
    // SAFETY: the closure keeps to the module's rules: it holds references only, and leaves nothing.
    unsafe {
        let Tables { array, templates, names, object_stubs, array_stubs, filled_stubs, fillings, .. } = tables;
        let given = (table, array, templates, names, object_stubs, array_stubs, filled_stubs, fillings);
        lua.exec_raw::<()>(given, |state| {
            let places = Places { array: 2, templates: 3, names: 4, objects: 5, arrays: 6, filled: 7, fillings: 8 };
            if is_stub(tables, state, 1) && !open(tables, running, state, 1, places) {
                text = text_of(state, 1).map(<[u8]>::to_vec);
                filled = filled_keys(state, 1);
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    // The keys that it has are not known any more, or there was no time: then it is this that says so.
    let Some(text) = text else { return Ok(()) };
    let whole = match json::decode(lua, tables, running, &text) {
        Ok(Value::Table(whole)) => whole,
        Err(Undecoded::Lua(error)) => return Err(error),
        Ok(_) | Err(Undecoded::Refused(_)) => return Ok(()),
    };
    table.set_readonly(false);
    for key in filled {
        whole.raw_set(lua.create_string(key)?, Value::Nil)?;
    }
    table.for_each(|key: Value, value: Value| match key {
        Value::LightUserData(_) => Ok(()),
        key => whole.raw_set(key, value),
    })?;
    table.clear()?;
    whole.for_each(|key: Value, value: Value| table.raw_set(key, value))?;
    table.set_metatable(whole.metatable())
}

/// The keys that a stub was filled with.
///
/// # Safety
/// As [`text_of`].
unsafe fn filled_keys(state: *mut lua_State, place: c_int) -> Vec<Vec<u8>> {
    // SAFETY: as there.
    unsafe {
        let top = ffi::lua_gettop(state);
        let located = locate(state, place);
        ffi::lua_settop(state, top);
        let Some(Located { number, document, .. }) = located else { return Vec::new() };
        let Some(part) = document.part(number) else { return Vec::new() };
        let entries = document.entries(number).filter(|entry| document.is_filled(part, entry));
        entries.map(|entry| entry.key.to_vec()).collect()
    }
}
