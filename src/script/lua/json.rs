//! JSON text to Lua tables and back, in one pass each way, or part by part as a script looks at it.
//!
//! A decoded object remembers the order of its keys: objects of the same keys share one metatable that lists them, kept in a
//! bounded cache. A decoded array carries the metatable that tells `[]` from `{}`. Both are locked, and `pairs`, `#` and
//! indexing never see them. Integers beyond 2^53 become [`Big`]; null is mlua's null.
//!
//! A document whose objects had been seen before goes straight onto the machine's stack ([`raw::read`](super::raw)), by the [`KeyTree`]; of a
//! long one only the [`outline`] is made, and [`raw::stubs`](super::raw) stand for its parts. Any other is read to a [`Tape`] first, from which
//! [`raw`](super::raw) builds the tables. It also walks them to write, and the order of the keys of a script's own tables is kept for those
//! that come again.

mod keys;
mod orders;
mod outline;
mod path;
mod source;
mod tape;
#[cfg(test)]
mod tests;

pub use keys::KeyTree;
pub use orders::{MAX_KEYS, Row, Sought};
pub use outline::{Document, Entry, Fill, MAX_DEPTH, MAX_FILLED_DEPTH, Outline, Part, TooDeep, copy, outline};
pub use path::{Step, Unwritten, here, not_a_key, not_a_sequence, within};
pub use source::{Number, Source, Text};
pub use tape::{Op, ShapeId, Tape};

use super::{number::Big, raw, running::Running};
use crate::script::{Raise, json};
use ahash::{AHashMap, RandomState};
use bytes::Bytes;
use mlua::{Lua, Table, Value};
use orders::Orders;
use std::{
    cell::{Cell, RefCell},
    hash::{BuildHasher, Hasher},
};

/// What `getmetatable` gives for a decoded object, and a mark to know one by.
pub const OBJECT: &str = "json object";
pub const ARRAY: &str = "json array";
/// Distinct key orders that are kept; beyond it the cache starts anew.
const MAX_SHAPES: usize = 512;
/// A longer list of parts is given back to the system.
const MAX_KEPT_PARTS: usize = 1 << 12;
/// An object with more bytes of keys gets a metatable of its own, which is not kept.
const MAX_SHAPE_BYTES: usize = 4096;

/// The metatables of decoded values, for one machine.
pub struct Tables {
    pub array: Table,
    array_at: usize,
    /// The metatables of tables that stand for parts that no script looked at, see [`raw::stubs`](super::raw).
    pub object_stubs: Table,
    pub array_stubs: Table,
    /// The same of those that have what scripts read.
    pub filled_stubs: Table,
    /// Tables to be copied for those, by the places of their shapes, with what is wanted of them now.
    pub fillings: Table,
    stubs_at: [usize; 3],
    outline: Cell<Outline>,
    /// Templates by the places of their shapes, and the strings of the tree's nodes.
    pub templates: Table,
    pub names: Table,
    shapes: RefCell<Shapes>,
    /// Templates of the objects of the document that is being read, whose shapes are not kept.
    own: RefCell<Option<Table>>,
    /// Tables that stand for texts that come again, see [`Tables::keep`].
    pub kept: Table,
    known: RefCell<Known>,
    /// Orders in which tables of scripts are written, and the strings of their keys, [`MAX_KEYS`] for each order.
    pub orders: RefCell<Orders>,
    pub ordered: Table,
    tape: Cell<Option<Tape>>,
    hasher: RandomState,
    /// Bytes that the machine may hold.
    pub memory: Cell<usize>,
}

/// Texts that are kept, and bytes of each.
const MAX_KEPT_TEXTS: usize = 512;
const MAX_KEPT_BYTES: usize = 4096;

#[derive(Default)]
struct Known {
    by_text: AHashMap<usize, (Bytes, i32)>,
    by_table: AHashMap<usize, Bytes>,
}

/// Objects by the keys they were decoded with. A template is an object with all of its keys and the metatable that lists them: a
/// copy of it needs no growing and no hashing.
#[derive(Default)]
struct Shapes {
    /// By their places in `templates`, from 1.
    keys: Vec<Keys>,
    tree: KeyTree,
    by_hash: AHashMap<u64, u32>,
    by_metatable: AHashMap<usize, u32>,
}

/// The keys of a shape, joined, with where each ends.
struct Keys {
    joined: Box<[u8]>,
    ends: Box<[u32]>,
}

impl Keys {
    fn new<'a>(names: impl Iterator<Item = &'a [u8]>) -> Keys {
        let (mut joined, mut ends) = (Vec::new(), Vec::new());
        for name in names {
            joined.extend_from_slice(name);
            ends.push(joined.len() as u32);
        }
        Keys { joined: joined.into(), ends: ends.into() }
    }

    fn is<'a>(&self, mut names: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut start = 0;
        for end in &self.ends {
            let end = *end as usize;
            if names.next() != self.joined.get(start..end) {
                return false;
            }
            start = end;
        }
        names.next().is_none()
    }
}

impl Tables {
    pub fn new(lua: &Lua) -> mlua::Result<Tables> {
        let array = lua.create_table()?;
        array.raw_set("__metatable", ARRAY)?;
        array.set_readonly(true);
        let (object_stubs, array_stubs, filled_stubs) = (lua.create_table()?, lua.create_table()?, lua.create_table()?);
        Ok(Tables {
            stubs_at: [&object_stubs, &array_stubs, &filled_stubs].map(|table| table.to_pointer() as usize),
            object_stubs,
            array_stubs,
            filled_stubs,
            fillings: lua.create_table()?,
            outline: Cell::default(),
            array_at: array.to_pointer() as usize,
            array,
            templates: lua.create_table()?,
            names: lua.create_table()?,
            shapes: RefCell::default(),
            own: RefCell::default(),
            kept: lua.create_table()?,
            known: RefCell::default(),
            orders: RefCell::default(),
            ordered: lua.create_sequence_from((0..orders::MAX_ORDERS * MAX_KEYS).map(|_| false))?,
            tape: Cell::default(),
            hasher: RandomState::new(),
            memory: Cell::new(usize::MAX),
        })
    }

    /// Keeps a frozen table as what `text` says, and `json` as what the table is in JSON. The text is known by its place in memory,
    /// which is held, so only the very same bytes are taken for it.
    pub fn keep(&self, text: &Bytes, table: Table, json: Bytes) -> mlua::Result<()> {
        if text.len() > MAX_KEPT_BYTES {
            return Ok(());
        }
        let mut known = self.known.borrow_mut();
        if known.by_table.len() >= MAX_KEPT_TEXTS {
            *known = Known::default();
            self.kept.clear()?;
        }
        // Not by the texts: one that comes again with another table takes no place of its own among them.
        let place = known.by_table.len() as i32 + 1;
        let address = table.to_pointer().addr();
        self.kept.raw_seti(place as usize, table)?;
        known.by_table.insert(address, json);
        known.by_text.insert(text.as_ptr().addr(), (text.clone(), place));
        Ok(())
    }

    /// Where `kept` holds the table of a text.
    pub fn kept_place(&self, text: &Bytes) -> Option<i32> {
        let known = self.known.borrow();
        known.by_text.get(&text.as_ptr().addr()).filter(|(held, _)| held.len() == text.len()).map(|(_, place)| *place)
    }

    /// The JSON of a table that is kept, by its address.
    pub fn kept_text(&self, table: usize) -> Option<Bytes> {
        self.known.borrow().by_table.get(&table).cloned()
    }

    /// Marks a table as an array, even when it is empty.
    pub fn mark_array(&self, table: &Table) -> mlua::Result<()> {
        table.set_metatable(Some(self.array.clone()))
    }

    /// Whether a metatable is that of a table that stands for a part of a document.
    pub fn is_stub(&self, metatable: usize) -> bool {
        self.stubs_at.contains(&metatable)
    }

    pub fn is_filled(&self, metatable: usize) -> bool {
        self.stubs_at.last() == Some(&metatable)
    }

    /// An empty outline, to be given back.
    pub fn take_outline(&self) -> Outline {
        self.outline.take()
    }

    pub fn keep_outline(&self, mut outline: Outline) {
        if outline.parts.capacity() <= MAX_KEPT_PARTS {
            outline.parts.clear();
            outline.fills.clear();
            self.outline.set(outline);
        }
    }

    /// Notes that scripts read an entry of an object, for documents to come. From then on no filling is right.
    pub fn want(&self, document: Document<'_>, object: u32, entry: &Entry<'_>) {
        let up_to_it = document.entries(object).take_while(|other| other.key_at <= entry.key_at);
        self.shapes.borrow_mut().tree.want(up_to_it.map(|entry| entry.key));
    }

    /// A shallow copy that remembers what its original did: the library's own `clone` refuses locked metatables.
    pub fn copy(&self, lua: &Lua, table: &Table) -> mlua::Result<Table> {
        raw::stubs::open_table(lua, self, None, table)?;
        let copy = lua.create_table()?;
        table.for_each(|key: Value, value: Value| copy.raw_set(key, value))?;
        copy.set_metatable(table.metatable())?;
        Ok(copy)
    }

    /// Whether freezing a table with this metatable is ours to do.
    pub fn is_ours(&self, metatable: &Table) -> bool {
        let mark = || metatable.raw_get::<Value>("__metatable").ok();
        metatable == &self.array
            || self.lists_keys(metatable.to_pointer() as usize)
            || mark().is_some_and(|mark| mark.as_string().is_some_and(|mark| *mark == OBJECT))
    }

    pub fn is_array(&self, metatable: usize) -> bool {
        metatable == self.array_at
    }

    /// Whether a metatable is that of a shape that is kept: its items are the keys, each once.
    pub fn lists_keys(&self, metatable: usize) -> bool {
        self.shapes.borrow().by_metatable.contains_key(&metatable)
    }

    /// The shape of an object with these keys, in this order. None when it can't be kept.
    fn shape<'a>(&self, lua: &Lua, names: impl Iterator<Item = &'a [u8]> + Clone) -> mlua::Result<Option<ShapeId>> {
        let mut hash = self.hasher.build_hasher();
        let (mut bytes, mut count) = (0, 0);
        for name in names.clone() {
            hash.write(name);
            bytes += name.len();
            count += 1;
        }
        if count == 0 {
            return Ok(Some(ShapeId::Empty));
        }
        let hash = hash.finish();
        let mut shapes = self.shapes.borrow_mut();
        if let Some(place) = shapes.by_hash.get(&hash).copied() {
            let is_it = shapes.keys.get(place as usize - 1).is_some_and(|keys| keys.is(names));
            return Ok(is_it.then_some(ShapeId::Kept(place)));
        }
        if bytes > MAX_SHAPE_BYTES || shapes.keys.len() >= MAX_SHAPES {
            return Ok(None);
        }
        let mut seen = ahash::AHashSet::with_capacity(count);
        if !names.clone().all(|name| seen.insert(name)) {
            return Ok(None);
        }
        let (template, metatable) = template(lua, names.clone())?;
        let place = shapes.keys.len() as u32 + 1;
        self.templates.raw_seti(place as usize, template)?;
        shapes.keys.push(Keys::new(names.clone()));
        shapes.by_hash.insert(hash, place);
        shapes.by_metatable.insert(metatable.to_pointer() as usize, place);
        self.learn(lua, &mut shapes.tree, names, place)?;
        Ok(Some(ShapeId::Kept(place)))
    }

    /// Adds a shape to the tree. SECURITY: a key that is written with escapes must not be in it, where it would match a text that is no JSON.
    fn learn<'a>(
        &self,
        lua: &Lua,
        tree: &mut KeyTree,
        names: impl Iterator<Item = &'a [u8]> + Clone,
        place: u32,
    ) -> mlua::Result<()> {
        if !names.clone().all(|name| json::plain(name) == name.len()) {
            return Ok(());
        }
        let added = tree.add(names, place);
        let named = added.iter().try_for_each(|(node, name)| {
            let name = lua.create_string(name)?;
            self.names.raw_seti(*node as usize, name)
        });
        // A node without its string must not be found.
        named.or_else(|error| {
            tree.clear();
            self.fillings.clear()?;
            Err(error)
        })
    }

    /// Reads with what is known of keys.
    pub fn with_keys<T>(&self, read: impl FnOnce(&KeyTree) -> T) -> T {
        read(&self.shapes.borrow().tree)
    }

    /// A shape for one object of the document that is being read. The names are distinct.
    fn own_shape<'a>(&self, lua: &Lua, names: impl Iterator<Item = &'a [u8]> + Clone) -> mlua::Result<ShapeId> {
        let mut own = self.own.borrow_mut();
        let own = match &mut *own {
            Some(own) => own,
            none => none.insert(lua.create_table()?),
        };
        own.raw_push(template(lua, names)?.0)?;
        Ok(ShapeId::Own(own.raw_len() as u32))
    }

    /// Shapes that a document brought fill the cache once: the next document starts anew.
    fn start_anew_if_full(&self) -> mlua::Result<()> {
        let mut shapes = self.shapes.borrow_mut();
        if shapes.keys.len() >= MAX_SHAPES {
            let mut tree = std::mem::take(&mut shapes.tree);
            tree.clear();
            *shapes = Shapes { tree, ..Shapes::default() };
            self.templates.clear()?;
            self.names.clear()?;
            self.fillings.clear()?;
        }
        Ok(())
    }
}

/// An object with these keys, and its metatable.
fn template<'a>(lua: &Lua, names: impl Iterator<Item = &'a [u8]> + Clone) -> mlua::Result<(Table, Table)> {
    let count = names.clone().count();
    let (template, metatable) = (lua.create_table_with_capacity(0, count)?, lua.create_table_with_capacity(count, 1)?);
    for (index, name) in names.enumerate() {
        let name = lua.create_string(name)?;
        metatable.raw_seti(index + 1, &name)?;
        template.raw_set(name, false)?;
    }
    metatable.raw_set("__metatable", OBJECT)?;
    metatable.set_readonly(true);
    template.set_metatable(Some(metatable.clone()))?;
    Ok((template, metatable))
}

/// Why a document did not become tables.
pub enum Undecoded {
    /// It is not JSON: what the script is told.
    Refused(Raise),
    /// The machine's own trouble: no memory, or stopped.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Undecoded {
    fn from(error: mlua::Error) -> Undecoded {
        Undecoded::Lua(error)
    }
}

/// Reads a document; [`json::refused`] says what scripts are told when it is not JSON.
pub fn decode(lua: &Lua, tables: &Tables, running: Option<&Running>, text: &[u8]) -> Result<Value, Undecoded> {
    if let Some(value) = raw::read::document(lua, tables, running, text)? {
        return Ok(value);
    }
    tables.start_anew_if_full()?;
    let mut tape = tables.tape.take().unwrap_or_default();
    tape.clear();
    let read = tape::read(lua, tables, running, text, &mut tape, tables.memory.get());
    let own = tables.own.take();
    let built = read.and_then(|()| {
        let bigs = match tape.bigs.is_empty() {
            true => None,
            false => Some(lua.create_sequence_from(tape.bigs.iter().map(|big| Big(*big)))?),
        };
        let (array, templates) = (&tables.array, &tables.templates);
        let given = raw::Given { array, templates, own: own.as_ref(), bigs: bigs.as_ref() };
        Ok(raw::build(lua, running, &tape, text, given)?)
    });
    if tape.is_small() {
        tables.tape.set(Some(tape));
    }
    built
}

/// Writes a value; the outer error is the machine's own (no memory, or stopped), the inner one what the script is told.
pub fn encode(
    lua: &Lua,
    tables: &Tables,
    running: Option<&Running>,
    value: &Value,
) -> mlua::Result<Result<Bytes, Raise>> {
    let mut out = Vec::with_capacity(256);
    match raw::write(lua, tables, running, value, &mut out)? {
        Ok(()) => Ok(Ok(out.into())),
        Err(Unwritten::Here(message, path)) if path.is_empty() => Ok(Err(Raise::error(message))),
        Err(Unwritten::Here(message, path)) => Ok(Err(Raise::error(format!("{}: {message}", path::show(&path))))),
        Err(Unwritten::Lua(error)) => Err(error),
    }
}

/// An integer as a number where a double holds it, or as a [`Big`].
pub fn integer(lua: &Lua, value: i128) -> mlua::Result<Value> {
    if value.unsigned_abs() <= json::MAX_SAFE as u128 {
        return Ok(Value::Number(value as f64));
    }
    lua.create_userdata(Big(value)).map(Value::UserData)
}
