//! JSON text, read once into a flat row of operations that build it.
//!
//! Reading and building are apart so that everything that can be refused is refused in plain Rust: what `raw` then does with
//! the machine is a loop over operations whose sizes are known. The reader accepts exactly what serde_json accepts and says
//! only yes or no; why it was no is asked of serde_json again, whose words scripts see. No number but those of serde_json's own
//! inexact digits differs: here they are exact.

use super::{
    Tables, Undecoded,
    source::{Number, Source, Span, Text},
};
use crate::script::{json, lua::running::Running};
use mlua::Lua;

/// One step of building a document, in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Null,
    Bool(bool),
    Number(f64),
    /// An integer that a double can't hold: its place among [`Tape::bigs`].
    Big(u32),
    /// A string that stands in the text as it is.
    Text(Span),
    /// A string with escapes, from [`Tape::unescaped`].
    Unescaped(Span),
    /// So many items follow.
    Array(u32),
    /// The values of the keys of this shape follow, so many, in the shape's order.
    Object(ShapeId, u32),
    /// So many pairs follow, since keys come twice: each value with [`Op::Key`] before it.
    Repeating(ShapeId, u32),
    /// Which key of the shape, from 1.
    Key(u32),
}

/// A shape by its place, from 1, among those that are kept or among those of one document alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ShapeId {
    /// Of an object without keys.
    Empty,
    Kept(u32),
    Own(u32),
}

/// A document taken apart.
#[derive(Default)]
pub struct Tape {
    pub ops: Vec<Op>,
    pub bigs: Vec<i128>,
    pub unescaped: Vec<u8>,
    /// The deepest nesting.
    pub depth: usize,
    /// The keys of objects that are being read; a stack.
    keys: Vec<Text>,
}

/// Larger buffers are given back to the system.
const KEPT_OPS: usize = 1 << 14;
/// Operations between two looks at the clock.
const STRIDE: usize = 4096;

impl Tape {
    pub fn clear(&mut self) {
        self.ops.clear();
        self.bigs.clear();
        self.unescaped.clear();
        self.keys.clear();
        self.depth = 0;
    }

    pub fn is_small(&self) -> bool {
        self.ops.capacity() <= KEPT_OPS && self.unescaped.capacity() <= KEPT_OPS && self.keys.capacity() <= KEPT_OPS
    }
}

/// Reads a document into an empty tape. `memory`: the bytes that its operations may take; the values take at least as many.
pub fn read(
    lua: &Lua,
    tables: &Tables,
    running: Option<&Running>,
    text: &[u8],
    tape: &mut Tape,
    memory: usize,
) -> Result<(), Undecoded> {
    let refused = || {
        let why = serde_json::from_slice::<serde_json::Value>(text);
        Undecoded::Refused(json::refused(text, why.err().as_ref()))
    };
    if u32::try_from(text.len()).is_err() {
        return Err(no_memory());
    }
    if std::str::from_utf8(text).is_err() {
        return Err(refused());
    }
    let max_ops = memory / size_of::<Op>();
    let source = Source::new(text, std::mem::take(&mut tape.unescaped));
    let mut reader = Reader { lua, tables, running, source, tape, max_ops, tick_at: STRIDE };
    let read = reader.value(0).and_then(|()| if reader.source.is_over() { Ok(()) } else { Err(Unread::NotJson) });
    let unescaped = std::mem::take(&mut reader.source.unescaped);
    tape.unescaped = unescaped;
    read.map_err(|unread| match unread {
        Unread::NotJson => refused(),
        Unread::Lua(error) => Undecoded::Lua(error),
    })
}

fn no_memory() -> Undecoded {
    Undecoded::Lua(mlua::Error::MemoryError("not enough memory".into()))
}

enum Unread {
    NotJson,
    Lua(mlua::Error),
}

impl From<mlua::Error> for Unread {
    fn from(error: mlua::Error) -> Unread {
        Unread::Lua(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    tables: &'a Tables,
    running: Option<&'a Running>,
    source: Source<'a>,
    tape: &'a mut Tape,
    max_ops: usize,
    tick_at: usize,
}

impl Reader<'_> {
    fn push(&mut self, op: Op) -> Result<(), Unread> {
        if self.tape.ops.len() >= self.tick_at {
            self.tick_at += STRIDE;
            if self.tape.ops.len() >= self.max_ops {
                return Err(mlua::Error::MemoryError("not enough memory".into()).into());
            }
            if let Some(running) = self.running {
                running.tick()?;
            }
        }
        self.tape.ops.push(op);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Unread> {
        self.source.skip_space();
        let op = match self.source.peek() {
            Some(b'"') => match self.source.string().ok_or(Unread::NotJson)? {
                Text::Plain(span) => Op::Text(span),
                Text::Unescaped(span) => Op::Unescaped(span),
            },
            Some(b'{') => return self.object(depth + 1),
            Some(b'[') => return self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => match self.source.number().ok_or(Unread::NotJson)? {
                Number::Float(float) => Op::Number(float),
                Number::Big(big) => {
                    self.tape.bigs.push(big);
                    Op::Big(self.tape.bigs.len() as u32)
                }
            },
            Some(b't') => self.word(b"true", Op::Bool(true))?,
            Some(b'f') => self.word(b"false", Op::Bool(false))?,
            Some(b'n') => self.word(b"null", Op::Null)?,
            _ => return Err(Unread::NotJson),
        };
        self.push(op)
    }

    fn word(&mut self, word: &[u8], op: Op) -> Result<Op, Unread> {
        self.source.word(word).map(|()| op).ok_or(Unread::NotJson)
    }

    /// serde_json refuses the 128th level.
    fn enter(&mut self, depth: usize) -> Result<(), Unread> {
        if depth >= json::MAX_DEPTH {
            return Err(Unread::NotJson);
        }
        self.tape.depth = self.tape.depth.max(depth);
        self.source.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Unread> {
        self.enter(depth)?;
        let begin = self.tape.ops.len();
        self.push(Op::Array(0))?;
        self.source.skip_space();
        if self.source.take(b']') {
            return Ok(());
        }
        let mut count = 0;
        loop {
            self.value(depth)?;
            count += 1;
            self.source.skip_space();
            if self.source.take(b']') {
                break;
            }
            if !self.source.take(b',') {
                return Err(Unread::NotJson);
            }
        }
        self.tape.ops[begin] = Op::Array(count);
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Unread> {
        self.enter(depth)?;
        let (begin, first_key) = (self.tape.ops.len(), self.tape.keys.len());
        self.push(Op::Null)?;
        self.source.skip_space();
        if !self.source.take(b'}') {
            loop {
                self.source.skip_space();
                if self.source.peek() != Some(b'"') {
                    return Err(Unread::NotJson);
                }
                let key = self.source.string().ok_or(Unread::NotJson)?;
                self.tape.keys.push(key);
                self.source.skip_space();
                if !self.source.take(b':') {
                    return Err(Unread::NotJson);
                }
                self.value(depth)?;
                self.source.skip_space();
                if self.source.take(b'}') {
                    break;
                }
                if !self.source.take(b',') {
                    return Err(Unread::NotJson);
                }
            }
        }
        self.finish_object(begin, first_key)
    }

    /// Finds the object's shape, now that its keys are known.
    fn finish_object(&mut self, begin: usize, first_key: usize) -> Result<(), Unread> {
        let (source, keys) = (&self.source, &self.tape.keys);
        let names = keys[first_key..].iter().map(|key| source.bytes(*key));
        let count = (keys.len() - first_key) as u32;
        match self.tables.shape(self.lua, names.clone())? {
            Some(shape) => self.tape.ops[begin] = Op::Object(shape, count),
            None => {
                let distinct: indexmap::IndexSet<&[u8], ahash::RandomState> = names.clone().collect();
                let shape = self.tables.own_shape(self.lua, distinct.iter().copied())?;
                let places: Vec<u32> =
                    names.map(|name| distinct.get_index_of(name).unwrap_or_default() as u32 + 1).collect();
                if distinct.len() == places.len() {
                    self.tape.ops[begin] = Op::Object(shape, count);
                } else {
                    self.tape.ops[begin] = Op::Repeating(shape, count);
                    self.name_values(begin + 1, &places);
                }
            }
        }
        self.tape.keys.truncate(first_key);
        Ok(())
    }

    /// Puts a [`Op::Key`] before each value of an object that has been read.
    fn name_values(&mut self, begin: usize, places: &[u32]) {
        let values = self.tape.ops.split_off(begin);
        let mut rest = &values[..];
        for place in places {
            let (value, after) = rest.split_at(length(rest));
            self.tape.ops.push(Op::Key(*place));
            self.tape.ops.extend_from_slice(value);
            rest = after;
        }
    }
}

/// How many operations the first value takes.
fn length(ops: &[Op]) -> usize {
    let (mut open, mut at) = (1usize, 0);
    while open > 0 && at < ops.len() {
        open -= 1;
        open += match ops[at] {
            Op::Array(count) | Op::Object(_, count) | Op::Repeating(_, count) => count as usize,
            Op::Key(_) => 1,
            _ => 0,
        };
        at += 1;
    }
    at
}
