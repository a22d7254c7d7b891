//! The entries of tables that are written as objects, in the order that is theirs.

use super::{Walked, Writer, reserve};
use crate::script::{
    json,
    lua::{
        json::{MAX_KEYS, OBJECT, Row, Sought, Step, Unwritten, here, not_a_key, within},
        raw::{push_text, text},
    },
};
use ahash::AHashSet;
use mlua::ffi::{self, lua_State};
use std::ffi::c_int;

/// Entries of an object that wait on the stack while they are put in order.
const FEW: usize = MAX_KEYS;

impl Writer<'_> {
    /// # Safety
    /// As [`Writer::array`].
    pub(super) unsafe fn object(&mut self, table: Walked, metatable: usize, depth: usize) -> Result<(), Unwritten> {
        self.out.push(b'{');
        let first = self.out.len();
        // SAFETY: as `array`.
        unsafe {
            let mut listed = AHashSet::new();
            let is_kept = self.tables.lists_keys(metatable);
            let written = self.listed(table, first, is_kept, &mut listed, depth)?;
            table.pop();
            if is_kept && written == table.count() {
                self.out.push(b'}');
                return Ok(());
            }
            if is_kept {
                table.note_listed(&mut listed);
            }
            self.unlisted(table, first, Some(&listed), depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The entries whose keys the metatable lists, in its order; gives their number. A metatable that is not kept may be one that a
    /// script made up: its items need not be strings and may come twice.
    ///
    /// # Safety
    /// As [`Writer::array`]; the table has a metatable.
    unsafe fn listed(
        &mut self,
        table: Walked,
        first: usize,
        is_kept: bool,
        listed: &mut AHashSet<usize>,
        depth: usize,
    ) -> Result<usize, Unwritten> {
        let (state, mut written) = (table.state, 0);
        // SAFETY: the metatable lies above all else, above it a key and its value.
        unsafe {
            if ffi::lua_getmetatable(state, table.at) == 0 || !(is_kept || is_marked(state)) {
                return Ok(0);
            }
            let list = table.top + 1;
            let (key, value) = (list + 1, list + 2);
            let keys = c_int::try_from(ffi::lua_objlen(state, list)).unwrap_or(0);
            for place in 1..=keys {
                let is_text = ffi::lua_rawgeti_(state, list, place) == ffi::LUA_TSTRING;
                let is_listed = is_kept || is_text && listed.insert(text(state, key).as_ptr().addr());
                if !is_listed {
                    ffi::lua_settop(state, list);
                    continue;
                }
                ffi::lua_pushvalue(state, key);
                if ffi::lua_rawget(state, table.at) != ffi::LUA_TNIL {
                    self.entry(state, text(state, key), value, first, depth)?;
                    written += 1;
                }
                ffi::lua_settop(state, list);
            }
        }
        Ok(written)
    }

    /// A table without a metatable and items, which a script made itself: its entries in the order of their keys.
    ///
    /// # Safety
    /// As [`Writer::array`], but that slots are reserved here.
    pub(super) unsafe fn own(&mut self, table: Walked, depth: usize) -> Result<(), Unwritten> {
        self.out.push(b'{');
        let first = self.out.len();
        // SAFETY: the caller's.
        unsafe { self.own_entries(table, first, depth)? };
        self.out.push(b'}');
        Ok(())
    }

    /// # Safety
    /// As [`Writer::own`].
    unsafe fn own_entries(&mut self, table: Walked, first: usize, depth: usize) -> Result<(), Unwritten> {
        let mut row: Row = [0; MAX_KEYS];
        let (state, mut at, mut count) = (table.state, 0, 0);
        // SAFETY: as `unlisted`. Of what is known by its address a string is held, so no other key has that address.
        unsafe {
            reserve(state, 2 * FEW as c_int)?;
            loop {
                at = ffi::lua_rawiter(state, table.at, at);
                if at < 0 {
                    break;
                }
                let Some(key) = row.get_mut(count) else {
                    table.pop();
                    return self.unlisted(table, first, None, depth);
                };
                *key = ffi::lua_topointer(state, -2).addr();
                count += 1;
            }
            let row = row.get(..count).unwrap_or_default();
            let sought = self.tables.orders.borrow_mut().seek(row);
            if let Sought::Known(order) = sought {
                for (place, key) in order.keys() {
                    self.out.extend_from_slice(key);
                    let place = table.top + 2 * place as c_int + 1;
                    self.value(state, place + 1, depth).map_err(|unwritten| {
                        within(unwritten, || Step::Key(String::from_utf8_lossy(text(state, place)).into_owned()))
                    })?;
                }
                table.pop();
                return Ok(());
            }
            if let Sought::Again(slot) = sought {
                self.keep_order(table, slot, row);
            }
            table.pop();
        }
        // SAFETY: the caller's.
        unsafe { self.unlisted(table, first, None, depth) }
    }

    /// Keeps the order of the keys that lie above a table, each with its value, if all are strings.
    ///
    /// # Safety
    /// As [`Writer::array`]; they do, and a slot is free.
    unsafe fn keep_order(&self, table: Walked, slot: usize, row: &[usize]) {
        let state = table.state;
        let mut names: [&[u8]; MAX_KEYS] = [&[]; MAX_KEYS];
        // SAFETY: a key is read as the string that it is. `ordered` is a table with room for the keys of each slot, and so raises nothing.
        unsafe {
            for (index, name) in names.iter_mut().take(row.len()).enumerate() {
                let key = table.top + 2 * index as c_int + 1;
                if ffi::lua_type(state, key) != ffi::LUA_TSTRING {
                    return;
                }
                *name = text(state, key);
            }
            let names = names.get(..row.len()).unwrap_or_default();
            if !self.tables.orders.borrow_mut().keep(slot, row, names) {
                return;
            }
            for index in 0..row.len() {
                ffi::lua_pushvalue(state, table.top + 2 * index as c_int + 1);
                ffi::lua_rawseti_(state, self.ordered, (slot * MAX_KEYS + index) as c_int + 1);
            }
        }
    }

    /// The other entries, in the order of their keys.
    ///
    /// # Safety
    /// As [`Writer::array`].
    unsafe fn unlisted(
        &mut self,
        table: Walked,
        first: usize,
        listed: Option<&AHashSet<usize>>,
        depth: usize,
    ) -> Result<(), Unwritten> {
        let mut few: [Waiting<'_>; FEW] = [Waiting::default(); FEW];
        let mut many: Vec<&[u8]> = Vec::new();
        let (state, mut at, mut count, mut key) = (table.state, 0, 0, table.top + 1);
        // SAFETY: as `array`. The names are the table's keys, which nothing changes, so they live as long as this walk. The first values
        // wait on the stack with their keys, for which slots are reserved; those below this level are reserved again.
        unsafe {
            reserve(state, 2 * FEW as c_int)?;
            loop {
                at = ffi::lua_rawiter(state, table.at, at);
                if at < 0 {
                    break;
                }
                if ffi::lua_type(state, key) != ffi::LUA_TSTRING {
                    return Err(here(not_a_key(&self.copy(state, key))));
                }
                let name = text(state, key);
                if listed.is_some_and(|listed| listed.contains(&name.as_ptr().addr())) {
                    ffi::lua_settop(state, key - 1);
                    continue;
                }
                match few.get_mut(count) {
                    Some(kept) => {
                        *kept = Waiting { head: head(name), name, place: key + 1 };
                        key += 2;
                    }
                    None => {
                        many.push(name);
                        ffi::lua_settop(state, key - 1);
                    }
                }
                count += 1;
            }
            if many.is_empty() {
                let few = few.get_mut(..count).unwrap_or_default();
                few.sort_unstable();
                for Waiting { name, place, .. } in few {
                    self.entry(state, name, *place, first, depth)?;
                }
                table.pop();
                return Ok(());
            }
            table.pop();
            many.extend(few.map(|waiting| waiting.name));
            many.sort_unstable();
            for name in many {
                push_text(state, name);
                ffi::lua_rawget(state, table.at);
                self.entry(state, name, table.top + 1, first, depth)?;
                table.pop();
            }
        }
        Ok(())
    }

    /// The name of an entry. `first` is where the object's entries begin.
    pub(super) fn name(&mut self, name: &[u8], first: usize) {
        if self.out.len() > first {
            self.out.push(b',');
        }
        json::write_str(self.out, name);
        self.out.push(b':');
    }

    /// A name, and the value at a place.
    ///
    /// # Safety
    /// As [`Writer::value`].
    pub(super) unsafe fn entry(
        &mut self,
        state: *mut lua_State,
        name: &[u8],
        place: c_int,
        first: usize,
        depth: usize,
    ) -> Result<(), Unwritten> {
        self.name(name, first);
        // SAFETY: the caller's.
        let written = unsafe { self.value(state, place, depth) };
        written.map_err(|unwritten| within(unwritten, || Step::Key(String::from_utf8_lossy(name).into_owned())))
    }
}

/// An entry that waits on the stack to be put in order: by the beginning of its name, which decides it mostly, and the name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting<'a> {
    head: u64,
    name: &'a [u8],
    place: c_int,
}

/// The first bytes of a name, so that numbers compare as names do; zeros stand for those that it lacks.
fn head(name: &[u8]) -> u64 {
    match name.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let first = name.iter().fold(0, |head, byte| head << 8 | u64::from(*byte));
            u64::checked_shl(first, 8 * (8 - name.len() as u32)).unwrap_or_default()
        }
    }
}

impl Walked {
    /// Notes the strings that the metatable lists.
    ///
    /// # Safety
    /// Two slots are free.
    unsafe fn note_listed(self, listed: &mut AHashSet<usize>) {
        // SAFETY: what is pushed is popped.
        unsafe {
            if ffi::lua_getmetatable(self.state, self.at) != 0 {
                let list = self.top + 1;
                let keys = c_int::try_from(ffi::lua_objlen(self.state, list)).unwrap_or(0);
                for place in 1..=keys {
                    if ffi::lua_rawgeti_(self.state, list, place) == ffi::LUA_TSTRING {
                        listed.insert(text(self.state, -1).as_ptr().addr());
                    }
                    ffi::lua_settop(self.state, list);
                }
            }
            self.pop();
        }
    }
}

/// Whether the metatable on top says that it lists keys.
///
/// # Safety
/// There is a table on top, and a slot is free.
unsafe fn is_marked(state: *mut lua_State) -> bool {
    // SAFETY: what is pushed is popped.
    unsafe {
        let is_text = ffi::lua_rawgetfield(state, -1, c"__metatable".as_ptr()) == ffi::LUA_TSTRING;
        let is_marked = is_text && text(state, -1) == OBJECT.as_bytes();
        ffi::lua_settop(state, -2);
        is_marked
    }
}
