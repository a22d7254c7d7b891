//! Lua values to JSON text, with an error that says where in the value it is wrong.

use super::Tables;
use crate::script::{
    Raise, json,
    lua::{convert::object, number::big, running::Running},
    object::Object,
};
use bytes::Bytes;
use mlua::{LuaString, Table, Value};

/// What a value could not be written for. The path is gathered while the error climbs, innermost first.
enum Unwritten {
    Here(String, Vec<Step>),
    Lua(mlua::Error),
}

enum Step {
    Key(String),
    Index(usize),
}

impl From<mlua::Error> for Unwritten {
    fn from(error: mlua::Error) -> Unwritten {
        Unwritten::Lua(error)
    }
}

/// Writes a value; the outer error is the machine's own (no memory, or stopped), the inner one what the script is told.
pub fn encode(tables: &Tables, running: Option<&Running>, value: &Value) -> mlua::Result<Result<Bytes, Raise>> {
    let mut writer = Writer { tables, running, out: Vec::with_capacity(128), count: 0 };
    match writer.value(value, 0) {
        Ok(()) => Ok(Ok(writer.out.into())),
        Err(Unwritten::Here(message, path)) if path.is_empty() => Ok(Err(Raise::error(message))),
        Err(Unwritten::Here(message, path)) => Ok(Err(Raise::error(format!("{}: {message}", show(&path))))),
        Err(Unwritten::Lua(error)) => Err(error),
    }
}

struct Writer<'a> {
    tables: &'a Tables,
    running: Option<&'a Running>,
    out: Vec<u8>,
    count: u32,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Unwritten> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(b) => self.out.extend_from_slice(if *b { b"true" } else { b"false" }),
            Value::Integer(i) if i.unsigned_abs() <= json::MAX_SAFE as u64 => json::write_i64(&mut self.out, *i),
            Value::Integer(i) => json::write_f64(&mut self.out, *i as f64),
            Value::Number(f) => json::write_f64(&mut self.out, *f),
            Value::String(text) => json::write_str(&mut self.out, &text.as_bytes()),
            Value::Table(table) => self.table(table, depth + 1)?,
            null if null.is_null() => self.out.extend_from_slice(b"null"),
            other => match big(other) {
                Some(exact) => self.out.extend_from_slice(exact.0.to_string().as_bytes()),
                None if object(other).is_some_and(|object| self.texts(&object)) => {}
                None => {
                    return Err(here(format!("{} can't be JSON", crate::script::lua::convert::describe(other))));
                }
            },
        }
        Ok(())
    }

    /// Whether it was one that JSON can say.
    fn texts(&mut self, object: &Object) -> bool {
        let texts = object.texts();
        texts.is_some_and(|texts| {
            json::write_texts(&mut self.out, &texts);
            true
        })
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Unwritten> {
        if depth > json::MAX_DEPTH {
            return Err(here(format!("nested deeper than {} levels: does it contain itself?", json::MAX_DEPTH)));
        }
        self.count += 1;
        if let (true, Some(running)) = (self.count.is_multiple_of(512), self.running) {
            running.tick()?;
        }
        let metatable = table.metatable();
        let length = table.raw_len();
        let is_array = length > 0 || metatable.as_ref() == Some(&self.tables.array);
        if is_array { self.array(table, length, depth) } else { self.object(table, metatable, depth) }
    }

    fn array(&mut self, table: &Table, length: usize, depth: usize) -> Result<(), Unwritten> {
        self.out.push(b'[');
        let mut expected = 0;
        let mut failed = None;
        let each = table.for_each(|key: Value, item: Value| {
            expected += 1;
            if failed.is_some() || index(&key) != Some(expected) {
                failed.get_or_insert_with(|| here(not_a_sequence(&key, length)));
                return Err(mlua::Error::runtime("stopped"));
            }
            if expected > 1 {
                self.out.push(b',');
            }
            self.value(&item, depth).map_err(|unwritten| {
                failed = Some(at(unwritten, || Step::Index(expected)));
                mlua::Error::runtime("stopped")
            })
        });
        match (failed, each) {
            (Some(failed), _) => return Err(failed),
            (None, Err(error)) => return Err(error.into()),
            (None, Ok(())) => self.out.push(b']'),
        }
        Ok(())
    }

    fn object(&mut self, table: &Table, metatable: Option<Table>, depth: usize) -> Result<(), Unwritten> {
        let mut entries: Vec<(LuaString, Value)> = Vec::new();
        let mut failed = None;
        let each = table.for_each(|key: Value, value: Value| match key {
            Value::String(key) => {
                entries.push((key, value));
                Ok(())
            }
            other => {
                failed = Some(here(not_a_key(&other)));
                Err(mlua::Error::runtime("stopped"))
            }
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        each?;
        let order = metatable.and_then(|metatable| self.tables.keys(&metatable));
        let known = order.as_ref().map_or(0, |shape| sort_known(&mut entries, &shape.keys));
        entries[known..].sort_unstable_by_key(|(name, _)| name.as_bytes());
        self.out.push(b'{');
        for (written, (key, value)) in entries.iter().enumerate() {
            if written > 0 {
                self.out.push(b',');
            }
            json::write_str(&mut self.out, &key.as_bytes());
            self.out.push(b':');
            self.value(value, depth).map_err(|unwritten| at(unwritten, || Step::Key(key.to_string_lossy())))?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Moves the entries whose keys were decoded to the front, in the order they came; gives their number.
fn sort_known(entries: &mut [(LuaString, Value)], keys: &[LuaString]) -> usize {
    // Strings are interned, so their addresses tell them apart; few keys are found faster by looking at each.
    let mut known = 0;
    if keys.len() <= 16 {
        for key in keys {
            if let Some(found) = entries[known..].iter().position(|(name, _)| name.to_pointer() == key.to_pointer()) {
                entries.swap(known, known + found);
                known += 1;
            }
        }
        return known;
    }
    let ranks: ahash::AHashMap<usize, usize> =
        keys.iter().enumerate().map(|(rank, key)| (key.to_pointer() as usize, rank)).collect();
    let rank = |name: &LuaString| ranks.get(&(name.to_pointer() as usize)).copied().unwrap_or(usize::MAX);
    entries.sort_by_key(|(name, _)| rank(name));
    entries.iter().take_while(|(name, _)| rank(name) != usize::MAX).count()
}

fn index(key: &Value) -> Option<usize> {
    match key {
        Value::Integer(i) => usize::try_from(*i).ok(),
        Value::Number(f) if f.fract() == 0.0 && *f >= 1.0 && *f <= json::MAX_SAFE as f64 => Some(*f as usize),
        _ => None,
    }
}

fn here(message: String) -> Unwritten {
    Unwritten::Here(message, Vec::new())
}

fn at(unwritten: Unwritten, step: impl FnOnce() -> Step) -> Unwritten {
    match unwritten {
        Unwritten::Here(message, mut path) => {
            path.push(step());
            Unwritten::Here(message, path)
        }
        other => other,
    }
}

fn not_a_sequence(key: &Value, length: usize) -> String {
    match key {
        Value::String(key) => {
            format!(
                "a table with items 1 to {length} and the key `{}` is neither an array nor an object",
                key.to_string_lossy()
            )
        }
        _ => format!("an array with holes can't be JSON: {} is no item of 1 to {length}", show_key(key)),
    }
}

fn not_a_key(key: &Value) -> String {
    match key {
        Value::Integer(_) | Value::Number(_) => {
            let key = show_key(key);
            format!(
                "the key {key} is a number, and the table is no sequence from 1: use tostring({key}), or fill the holes with json.null"
            )
        }
        other => format!("{} can't be the key of a JSON object", crate::script::lua::convert::describe(other)),
    }
}

fn show_key(key: &Value) -> String {
    match key {
        Value::Integer(i) => i.to_string(),
        Value::Number(f) => json::number(*f),
        other => crate::script::lua::convert::describe(other),
    }
}

/// `orders[3].x`, from the outermost step; the middle of a long path is left out.
fn show(path: &[Step]) -> String {
    const SHOWN: usize = 8;
    let mut shown = String::new();
    for (depth, step) in path.iter().rev().enumerate() {
        if depth == SHOWN {
            shown.push('…');
            break;
        }
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => {
                shown.push('.');
                shown.push_str(key);
            }
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    shown
}
