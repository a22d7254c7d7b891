//! Tables that stand for parts of a document until a script looks at them.
//!
//! A stub is a table of its own identity whose only entry says which part of which document it stands for. Whatever touches it *opens*
//! it first: it gets the items of its part, of which objects and arrays are stubs again, and is a plain table from then on. Its
//! metatable sees indexing, assignment, `#` and generalized loops; functions of the library that look at a table past its
//! metatable are put behind [`opening`]; functions that the compiler would build in are kept from it ([`RAW_BUILTINS`], [`RAW_ITERATION`]);
//! and what walks over tables in Rust asks [`Tables::is_stub`]. A stub is read only, so that `table.insert` and `rawset` leave it to be
//! opened. The first few keys that are read are looked up in the text.
//!
//! What scripts were seen to read is wanted of the documents to come: an object that has such entries is *filled*, its stub holds them
//! from the first, and reading them is reading a table. A script may also write over those, so a filled stub is not read only, and what
//! it holds counts and not the text. (`table.insert`, which is built in, may put items into one; they stay.)
//!
//! The document is a userdata beside its outline, so the machine's own collector counts and frees it. By the rules of
//! [`objects`](super::objects).

use super::{
    carried::{self, CFunction, Own},
    push_item, push_text,
    read::{Places, scalar},
    text,
};
use crate::script::lua::{
    json::{self, Document, Fill, KeyTree, MAX_FILLED_DEPTH, Outline, Part, Source, Tables, Undecoded, outline},
    running::Running,
    vm::Shared,
};
use mlua::{
    Function, Lua, Table, Value,
    ffi::{self, lua_State},
};
use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
    rc::Rc,
};

/// Functions that the compiler replaces by instructions which look past a stub.
pub const RAW_BUILTINS: [&str; 6] = ["rawget", "rawset", "rawlen", "unpack", "table.unpack", "setmetatable"];
/// As an iterator the compiler takes it for a loop over the bare table.
pub const RAW_ITERATION: [&str; 1] = ["next"];

/// The tag of documents' userdata, and of the keys of stubs' only entries.
const DOCUMENT: c_int = 78;
/// Shorter documents are built at once, and longer ones read the general way.
const SHORTEST: usize = 512;
const LONGEST: usize = 1 << 20;
/// So many keys of an object are looked up before it is opened.
const MAX_LOOKS: u8 = 4;
/// Slots that opening takes besides those of the pairs of an object, which are reserved by so many; of stubs that hold stubs each takes
/// three.
const ROOM: c_int = 24 + 3 * MAX_FILLED_DEPTH as c_int;
const PAIRS: u32 = 8;
/// Opening a part with more items is a long step, after which the clock is looked at.
const MANY: u32 = 1024;

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

/// A document as [`push_document`] makes it.
#[cfg(test)]
pub fn document_of(lua: &Lua, tables: &Tables, text: &[u8]) -> mlua::Result<Option<Value>> {
    let mut is_pushed = false;
    let Tables { array, templates, names, object_stubs, array_stubs, filled_stubs, fillings, .. } = tables;
    let given = (array, templates, names, object_stubs, array_stubs, filled_stubs, fillings);
    // SAFETY: as `open_table`, but for the value that it leaves.
    let value = unsafe {
        lua.exec_raw::<Value>(given, |state| {
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
    // SAFETY: as `opened`.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        opened(state, 1);
        ffi::lua_pushvalue(state, carried::ANSWER);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnil(state);
    }
    3
}

/// # Safety
/// As [`opening`]; it carries [`next_item`].
unsafe extern "C-unwind" fn ipairs(state: *mut lua_State) -> c_int {
    // SAFETY: as `opened`.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        opened(state, 1);
        ffi::lua_pushvalue(state, carried::ANSWER);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnumber(state, 0.0);
    }
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
