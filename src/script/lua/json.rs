//! JSON text to Lua tables and back, in one pass each way.
//!
//! A decoded object remembers the order of its keys: objects of the same keys share one metatable that lists them, kept in a
//! bounded cache. A decoded array carries the metatable that tells `[]` from `{}`. Both are locked, and `pairs`, `#` and
//! indexing never see them. Integers beyond 2^53 become [`Big`]; null is mlua's null.

mod encode;

pub use encode::encode;

use super::{number::Big, running::Running};
use crate::script::{Raise, json};
use ahash::AHashMap;
use mlua::{Lua, LuaString, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

/// What `getmetatable` gives for a decoded object, and a mark to know one by.
const OBJECT: &str = "json object";
const ARRAY: &str = "json array";
/// Distinct key orders that are kept; beyond it the cache starts anew.
const MAX_SHAPES: usize = 512;
/// An object with more bytes of keys gets a metatable of its own, which is not kept.
const MAX_SHAPE_BYTES: usize = 4096;

/// The metatables of decoded values, for one machine.
pub struct Tables {
    array: Table,
    shapes: RefCell<Shapes>,
}

#[derive(Default)]
struct Shapes {
    /// By the keys, joined with a byte that is not in UTF-8.
    by_keys: AHashMap<Box<[u8]>, Rc<Shape>>,
    by_metatable: AHashMap<usize, Rc<Shape>>,
}

/// The keys of a kind of object, in the order they came.
struct Shape {
    metatable: Table,
    keys: Vec<LuaString>,
}

impl Tables {
    pub fn new(lua: &Lua) -> mlua::Result<Tables> {
        let array = lua.create_table()?;
        array.raw_set("__metatable", ARRAY)?;
        array.set_readonly(true);
        Ok(Tables { array, shapes: RefCell::default() })
    }

    /// Marks a table as an array, even when it is empty.
    pub fn mark_array(&self, table: &Table) -> mlua::Result<()> {
        table.set_metatable(Some(self.array.clone()))
    }

    /// A shallow copy that remembers what its original did: the library's own `clone` refuses locked metatables.
    pub fn copy(&self, lua: &Lua, table: &Table) -> mlua::Result<Table> {
        let copy = lua.create_table()?;
        table.for_each(|key: Value, value: Value| copy.raw_set(key, value))?;
        copy.set_metatable(table.metatable())?;
        Ok(copy)
    }

    /// Whether freezing a table with this metatable is ours to do.
    pub fn is_ours(&self, metatable: &Table) -> bool {
        metatable == &self.array || self.keys(metatable).is_some()
    }

    fn shape(&self, lua: &Lua, joined: &[u8], keys: Vec<LuaString>) -> mlua::Result<Rc<Shape>> {
        if let Some(shape) = self.shapes.borrow().by_keys.get(joined) {
            return Ok(shape.clone());
        }
        let mut distinct: Vec<LuaString> = Vec::with_capacity(keys.len());
        let mut seen = ahash::AHashSet::with_capacity(keys.len());
        for key in keys {
            // Strings are interned, so the address is the string.
            if seen.insert(key.to_pointer() as usize) {
                distinct.push(key);
            }
        }
        let metatable = lua.create_table_with_capacity(distinct.len(), 1)?;
        for (index, key) in distinct.iter().enumerate() {
            metatable.raw_seti(index + 1, key)?;
        }
        metatable.raw_set("__metatable", OBJECT)?;
        metatable.set_readonly(true);
        let shape = Rc::new(Shape { metatable, keys: distinct });
        if joined.len() <= MAX_SHAPE_BYTES {
            let mut shapes = self.shapes.borrow_mut();
            if shapes.by_keys.len() >= MAX_SHAPES {
                *shapes = Shapes::default();
            }
            shapes.by_metatable.insert(shape.metatable.to_pointer() as usize, shape.clone());
            shapes.by_keys.insert(joined.into(), shape.clone());
        }
        Ok(shape)
    }

    /// The order of keys that a metatable of a decoded object tells.
    fn keys(&self, metatable: &Table) -> Option<Rc<Shape>> {
        if let Some(shape) = self.shapes.borrow().by_metatable.get(&(metatable.to_pointer() as usize)) {
            return Some(shape.clone());
        }
        // The cache started anew since, or never kept it.
        let mark: Value = metatable.raw_get("__metatable").ok()?;
        if mark.as_string().is_none_or(|mark| *mark != OBJECT) {
            return None;
        }
        let keys = (1..=metatable.raw_len()).map(|index| metatable.raw_get(index)).collect::<Result<_, _>>().ok()?;
        Some(Rc::new(Shape { metatable: metatable.clone(), keys }))
    }
}

/// Why a document did not become tables.
pub enum Undecoded {
    /// It is not JSON: what the script is told.
    Refused(Raise),
    /// The machine's own trouble: no memory, or stopped.
    Lua(mlua::Error),
}

/// Reads a document; [`json::refused`] says what scripts are told when it is not JSON.
pub fn decode(lua: &Lua, tables: &Tables, running: Option<&Running>, text: &[u8]) -> Result<Value, Undecoded> {
    let reader =
        Reader { lua, tables, running, failed: RefCell::default(), count: Cell::new(0), joined: RefCell::default() };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let decoded = Seed(&reader).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    decoded.map_err(|why| match reader.failed.take() {
        Some(error) => Undecoded::Lua(error),
        None => Undecoded::Refused(json::refused(text, &why)),
    })
}

struct Reader<'a> {
    lua: &'a Lua,
    tables: &'a Tables,
    running: Option<&'a Running>,
    /// serde's errors can't carry one of Lua's.
    failed: RefCell<Option<mlua::Error>>,
    count: Cell<u32>,
    /// The keys of objects that are being read, joined; a stack in one buffer.
    joined: RefCell<Vec<u8>>,
}

impl Reader<'_> {
    fn ok<T, E: serde::de::Error>(&self, result: mlua::Result<T>) -> Result<T, E> {
        result.map_err(|error| {
            self.failed.replace(Some(error));
            E::custom("stopped")
        })
    }

    /// A large document must not outrun the hook's time.
    fn tick(&self) -> mlua::Result<()> {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        match self.running {
            Some(running) if count.is_multiple_of(1024) => running.tick(),
            _ => Ok(()),
        }
    }
}

struct Seed<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Boolean(b))
    }
    fn visit_i64<E: serde::de::Error>(self, i: i64) -> Result<Value, E> {
        self.0.ok(integer(self.0.lua, i.into()))
    }
    fn visit_u64<E: serde::de::Error>(self, u: u64) -> Result<Value, E> {
        self.0.ok(integer(self.0.lua, u.into()))
    }
    fn visit_f64<E>(self, f: f64) -> Result<Value, E> {
        Ok(Value::Number(f))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.ok(self.0.lua.create_string(text).map(Value::String))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.ok(reader.tick())?;
        let table = reader.ok(reader.lua.create_table())?;
        let mut length = 0;
        while let Some(item) = items.next_element_seed(Seed(reader))? {
            length += 1;
            reader.ok(table.raw_seti(length, item))?;
        }
        reader.ok(reader.tables.mark_array(&table))?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.ok(reader.tick())?;
        let table = reader.ok(reader.lua.create_table())?;
        let start = reader.joined.borrow().len();
        let mut keys = Vec::new();
        while let Some(key) = entries.next_key_seed(Key(reader))? {
            let value = entries.next_value_seed(Seed(reader))?;
            reader.ok(table.raw_set(&key, value))?;
            let mut joined = reader.joined.borrow_mut();
            joined.extend_from_slice(&key.as_bytes());
            joined.push(0xff);
            keys.push(key);
        }
        if !keys.is_empty() {
            let shape = reader.tables.shape(reader.lua, &reader.joined.borrow()[start..], keys);
            let shape = reader.ok(shape)?;
            reader.ok(table.set_metatable(Some(shape.metatable.clone())))?;
        }
        reader.joined.borrow_mut().truncate(start);
        Ok(Value::Table(table))
    }
}

/// A key, straight into the machine.
struct Key<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = LuaString;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<LuaString, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = LuaString;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<LuaString, E> {
        self.0.ok(self.0.lua.create_string(text))
    }
}

/// An integer as a number where a double holds it, or as a [`Big`].
pub fn integer(lua: &Lua, value: i128) -> mlua::Result<Value> {
    if value.unsigned_abs() <= json::MAX_SAFE as u128 {
        return Ok(Value::Number(value as f64));
    }
    lua.create_userdata(Big(value)).map(Value::UserData)
}
