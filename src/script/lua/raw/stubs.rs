//! Tables that stand for parts of a document until a script looks at them.
//!
//! A stub is a table of its own identity whose only entry says which part of which document it stands for. Whatever touches it *opens*
//! it first: it gets the items of its part, of which objects and arrays are stubs again, and is a plain table from then on. Its
//! metatable sees indexing, assignment, `#` and generalized loops; functions of the library that look at a table past its
//! metatable are put behind one that opens it; functions that the compiler would build in are kept from it ([`RAW_BUILTINS`], [`RAW_ITERATION`]);
//! and what walks over tables in Rust asks [`Tables::is_stub`]. A stub is read only, so that `table.insert` and `rawset` leave it to be
//! opened. The first few keys that are read are looked up in the text.
//!
//! What scripts were seen to read is wanted of the documents to come: an object that has such entries is *filled*, its stub holds them
//! from the first, and reading them is reading a table. A script may also write over those, so a filled stub is not read only, and what
//! it holds counts and not the text. (`table.insert`, which is built in, may put items into one; they stay.)
//!
//! The document is a userdata beside its outline, so the machine's own collector counts and frees it. By the rules of
//! [`objects`](super::objects).

mod open;
mod touch;

pub use open::{open, open_table};
pub use touch::{RAW_BUILTINS, RAW_ITERATION, install};

use super::{
    carried, push_item, push_text,
    read::{Places, scalar},
};
use crate::script::lua::{
    json::{Document, Fill, MAX_FILLED_DEPTH, Outline, Part, Source, Tables, outline},
    running::Running,
};
use mlua::ffi::{self, lua_State};
use std::{
    ffi::{c_int, c_void},
    ptr,
};

/// The tag of documents' userdata, and of the keys of stubs' only entries.
const DOCUMENT: c_int = 78;
/// Slots that a stub takes besides the pairs of an object; of those that hold stubs each takes three.
const ROOM: c_int = 24 + 3 * MAX_FILLED_DEPTH as c_int;
/// Shorter documents are built at once, and longer ones read the general way.
const SHORTEST: usize = 512;
const LONGEST: usize = 1 << 20;

/// Where the tables lie for functions that were made by [`carried`].
pub const CARRIED: Places = Places {
    array: carried::ARRAY,
    templates: carried::TEMPLATES,
    names: carried::NAMES,
    objects: carried::OBJECT_STUBS,
    arrays: carried::ARRAY_STUBS,
    filled: carried::FILLED_STUBS,
    fillings: carried::FILLINGS,
};

/// What a filled stub has its document and the number of its part under: it is a copy of a table with these keys.
const HELD: *const c_void = ptr::without_provenance(u32::MAX as usize);
const NUMBER: *const c_void = ptr::without_provenance(u32::MAX as usize - 1);

/// What a document's userdata begins with; the parts, the fills and the text follow.
#[repr(C)]
struct Head {
    parts: u32,
    fills: u32,
    text: u32,
    age: u32,
}

/// Pushes a stub for a whole document; false when it is not one to be opened bit by bit, and the stack is as it was.
///
/// # Safety
/// As [`read::value`](super::read::value).
pub unsafe fn push_document(
    tables: &Tables,
    running: Option<&Running>,
    state: *mut lua_State,
    text: &[u8],
    places: Places,
) -> bool {
    if !(SHORTEST..=LONGEST).contains(&text.len()) {
        return false;
    }
    let mut outlined = tables.take_outline();
    let age = tables.with_keys(|tree| outline(tree, running, text, &mut outlined).map(|()| tree.age));
    // SAFETY: slots are reserved.
    let is_pushed = age.is_some() && unsafe { ffi::lua_checkstack(state, ROOM) != 0 };
    if is_pushed {
        // SAFETY: as above; the document's place is the stub's then.
        unsafe {
            let document = hold(state, &outlined, text);
            let held = Held { document, at: ffi::lua_gettop(state), is_current: age == Some(document.age) };
            push_part(state, held, 0, places);
            ffi::lua_replace(state, -2);
        }
    }
    tables.keep_outline(outlined);
    is_pushed
}

/// Pushes the userdata of a document.
///
/// # Safety
/// A slot is free; what is pushed stays reachable as long as the document is used.
unsafe fn hold<'a>(state: *mut lua_State, Outline { parts, fills, age }: &Outline, text: &[u8]) -> Document<'a> {
    let head = Head { parts: parts.len() as u32, fills: fills.len() as u32, text: text.len() as u32, age: *age };
    // SAFETY: the userdata is as large as what is written, one after the other, and aligned for all that Luau has.
    unsafe {
        let size = size_of::<Head>() + size_of_val(&parts[..]) + size_of_val(&fills[..]) + text.len();
        let held = ffi::lua_newuserdatatagged(state, size, DOCUMENT);
        held.cast::<Head>().write(head);
        let at = held.cast::<u8>().add(size_of::<Head>());
        ptr::copy_nonoverlapping(parts.as_ptr().cast(), at, size_of_val(&parts[..]));
        let at = at.add(size_of_val(&parts[..]));
        ptr::copy_nonoverlapping(fills.as_ptr().cast(), at, size_of_val(&fills[..]));
        ptr::copy_nonoverlapping(text.as_ptr(), at.add(size_of_val(&fills[..])), text.len());
        document(held).0
    }
}

/// The document whose userdata this is, and where its parts begin.
///
/// # Safety
/// `hold` made it, and it stays reachable by the machine as long as it is used.
unsafe fn document<'a>(at: *mut c_void) -> (Document<'a>, *mut Part) {
    // SAFETY: the caller's.
    unsafe {
        let at = at.cast::<u8>();
        let head = at.cast::<Head>().read();
        let (parts, fills, length) = (head.parts as usize, head.fills as usize, head.text as usize);
        let first = at.add(size_of::<Head>()).cast::<Part>();
        let first_fill = first.add(parts).cast::<Fill>();
        let text = std::slice::from_raw_parts(first_fill.add(fills).cast::<u8>(), length);
        let (parts, fills) = (std::slice::from_raw_parts(first, parts), std::slice::from_raw_parts(first_fill, fills));
        (Document { parts, fills, text, age: head.age }, first)
    }
}

/// A document and the place of its userdata.
#[derive(Clone, Copy)]
struct Held<'a> {
    document: Document<'a>,
    at: c_int,
    /// Whether all is filled that is wanted now, and the keys are still known.
    is_current: bool,
}

/// Pushes what stands for a part of a document: a stub, or the empty table that it is.
///
/// # Safety
/// Slots are free, three for each object that is filled and in it, and at the places are the tables of `Tables`.
unsafe fn push_part(state: *mut lua_State, held: Held<'_>, number: u32, places: Places) {
    let part = held.document.part(number).copied().unwrap_or_default();
    let count = c_int::try_from(part.count).unwrap_or(c_int::MAX);
    // SAFETY: the caller's; the table is made here. It has room for what it will hold, so opening it takes no memory for that.
    unsafe {
        match (count, part.is_array) {
            (0, false) => ffi::lua_createtable(state, 0, 0),
            (0, true) => {
                ffi::lua_createtable(state, 0, 0);
                ffi::lua_pushvalue(state, places.array);
                ffi::lua_setmetatable(state, -2);
            }
            (_, false) if part.filled != 0 => push_filled(state, held, number, &part, places),
            (_, is_array) => {
                let (items, entries) = if is_array { (count, 1) } else { (0, count) };
                ffi::lua_createtable(state, items, entries);
                ffi::lua_pushvalue(state, held.at);
                ffi::lua_rawsetptagged(state, -2, ptr::without_provenance(number as usize), DOCUMENT);
                ffi::lua_pushvalue(state, if is_array { places.arrays } else { places.objects });
                ffi::lua_setmetatable(state, -2);
                ffi::lua_setreadonly(state, -1, 1);
            }
        }
    }
}

/// Pushes a stub with the entries that are wanted.
///
/// # Safety
/// As [`push_part`].
unsafe fn push_filled(state: *mut lua_State, held: Held<'_>, number: u32, part: &Part, places: Places) {
    let text = held.document.text;
    // SAFETY: the caller's. The table is new and has all the keys already. Scalars were looked at when the document was outlined: one can be
    // pushed.
    unsafe {
        push_filling(state, held, part, places);
        ffi::lua_clonetable(state, -1);
        ffi::lua_replace(state, -2);
        ffi::lua_pushvalue(state, held.at);
        ffi::lua_rawsetptagged(state, -2, HELD, DOCUMENT);
        ffi::lua_pushnumber(state, f64::from(number));
        ffi::lua_rawsetptagged(state, -2, NUMBER, DOCUMENT);
        for fill in held.document.fills_of(part) {
            if held.is_current {
                push_item(state, places.names, fill.node);
            } else {
                push_text(state, held.document.key_of(fill));
            }
            let mut source = Source { at: fill.at as usize, ..Source::new(text, Vec::new()) };
            if matches!(source.peek(), Some(b'{' | b'[')) {
                push_part(state, held, fill.part, places);
            } else if scalar(state, &mut source).is_none() {
                ffi::lua_pushnil(state);
            }
            ffi::lua_rawset(state, -3);
        }
    }
}

/// Pushes what a filled stub is a copy of.
///
/// # Safety
/// As [`push_part`].
unsafe fn push_filling(state: *mut lua_State, held: Held<'_>, part: &Part, places: Places) {
    // SAFETY: the caller's.
    unsafe {
        if held.is_current {
            if push_item(state, places.fillings, part.shape) == ffi::LUA_TTABLE {
                return;
            }
            ffi::lua_settop(state, -2);
        }
        let fills = held.document.fills_of(part);
        let room = (fills.clone().count() + 2).max(part.count as usize);
        ffi::lua_createtable(state, 0, c_int::try_from(room).unwrap_or(c_int::MAX));
        for mark in [HELD, NUMBER] {
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawsetptagged(state, -2, mark, DOCUMENT);
        }
        for fill in fills {
            push_text(state, held.document.key_of(fill));
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawset(state, -3);
        }
        ffi::lua_pushvalue(state, places.filled);
        ffi::lua_setmetatable(state, -2);
        if held.is_current {
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawseti_(state, places.fillings, c_int::try_from(part.shape).unwrap_or(0));
        }
    }
}

/// # Safety
/// There is a table at `place`.
pub unsafe fn is_stub(tables: &Tables, state: *mut lua_State, place: c_int) -> bool {
    // SAFETY: the address is only compared.
    tables.is_stub(unsafe { ffi::lua_getmetatablepointer(state, place) }.addr())
}

/// A part that a stub stands for.
pub struct Located<'a> {
    pub number: u32,
    pub document: Document<'a>,
    /// Where the document's parts begin.
    first: *mut Part,
}

/// Pushes the entry of a stub that holds its document.
///
/// # Safety
/// There is a table at `place`, three slots are free, and what is pushed stays there as long as the document is used.
pub unsafe fn locate<'a>(state: *mut lua_State, place: c_int) -> Option<Located<'a>> {
    let mut at = 0;
    // SAFETY: what is pushed and not it is popped again: a stub that could not be opened may have items. No script has documents, so what
    // holds one is that entry.
    unsafe {
        loop {
            at = ffi::lua_rawiter(state, place, at);
            if at < 0 {
                return None;
            }
            let held = ffi::lua_touserdatatagged(state, -1, DOCUMENT);
            if !held.is_null() {
                let (document, first) = document(held);
                let key = ffi::lua_touserdata(state, -2);
                let mut number = key.addr();
                if key.cast_const() == HELD {
                    ffi::lua_rawgetptagged(state, place, NUMBER, DOCUMENT);
                    number = ffi::lua_tonumber(state, -1) as usize;
                    ffi::lua_settop(state, -2);
                }
                return Some(Located { number: u32::try_from(number).ok()?, document, first });
            }
            ffi::lua_settop(state, -3);
        }
    }
}

/// The text that a stub stands for.
///
/// # Safety
/// There is a stub at `place`, which is not opened while the text is used; two slots are free.
pub unsafe fn text_of<'a>(state: *mut lua_State, place: c_int) -> Option<&'a [u8]> {
    // SAFETY: the stub holds the document.
    unsafe {
        let top = ffi::lua_gettop(state);
        let located = locate(state, place);
        ffi::lua_settop(state, top);
        let Located { number, document, .. } = located?;
        document.text_of(document.part(number)?)
    }
}

/// A document as [`push_document`] makes it.
#[cfg(test)]
pub fn document_of(lua: &mlua::Lua, tables: &Tables, text: &[u8]) -> mlua::Result<Option<mlua::Value>> {
    let mut is_pushed = false;
    let Tables { array, templates, names, object_stubs, array_stubs, filled_stubs, fillings, .. } = tables;
    let given = (array, templates, names, object_stubs, array_stubs, filled_stubs, fillings);
    // SAFETY: as `open_table`, but for the value that it leaves.
    let value = unsafe {
        lua.exec_raw::<mlua::Value>(given, |state| {
            let places = Places { array: 1, templates: 2, names: 3, objects: 4, arrays: 5, filled: 6, fillings: 7 };
            is_pushed = push_document(tables, None, state, text, places);
            if is_pushed {
                ffi::lua_replace(state, 1);
            }
            ffi::lua_settop(state, c_int::from(is_pushed));
        })
    }?;
    Ok(is_pushed.then_some(value))
}
