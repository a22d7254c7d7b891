//! JSON text, read once into a flat row of operations that build it.
//!
//! Reading and building are apart so that everything that can be refused is refused in plain Rust: what `raw` then does with
//! the machine is a loop over operations whose sizes are known. The reader accepts exactly what serde_json accepts and says
//! only yes or no; why it was no is asked of serde_json again, whose words scripts see. No number but those of serde_json's own
//! inexact digits differs: here they are exact.

use super::{Tables, Undecoded};
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

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    start: u32,
    length: u32,
}

impl Span {
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.length as usize).unwrap_or_default()
    }
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
    keys: Vec<Key>,
}

#[derive(Clone, Copy)]
enum Key {
    Text(Span),
    Unescaped(Span),
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
    let mut reader = Reader { lua, tables, running, text, at: 0, tape, max_ops, tick_at: STRIDE };
    let read = reader.value(0).and_then(|()| {
        reader.skip_space();
        if reader.at == text.len() { Ok(()) } else { Err(Unread::NotJson) }
    });
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
    text: &'a [u8],
    at: usize,
    tape: &'a mut Tape,
    max_ops: usize,
    tick_at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// Moves over a byte, when it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

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
        self.skip_space();
        match self.peek() {
            Some(b'"') => {
                let op = match self.string()? {
                    Key::Text(span) => Op::Text(span),
                    Key::Unescaped(span) => Op::Unescaped(span),
                };
                self.push(op)
            }
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Op::Bool(true)),
            Some(b'f') => self.word(b"false", Op::Bool(false)),
            Some(b'n') => self.word(b"null", Op::Null),
            _ => Err(Unread::NotJson),
        }
    }

    fn word(&mut self, word: &[u8], op: Op) -> Result<(), Unread> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Unread::NotJson);
        }
        self.at += word.len();
        self.push(op)
    }

    /// serde_json refuses the 128th level.
    fn enter(&mut self, depth: usize) -> Result<(), Unread> {
        if depth >= json::MAX_DEPTH {
            return Err(Unread::NotJson);
        }
        self.tape.depth = self.tape.depth.max(depth);
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Unread> {
        self.enter(depth)?;
        let begin = self.tape.ops.len();
        self.push(Op::Array(0))?;
        self.skip_space();
        if self.take(b']') {
            return Ok(());
        }
        let mut count = 0;
        loop {
            self.value(depth)?;
            count += 1;
            self.skip_space();
            if self.take(b']') {
                break;
            }
            if !self.take(b',') {
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
        self.skip_space();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(Unread::NotJson);
                }
                let key = self.string()?;
                self.tape.keys.push(key);
                self.skip_space();
                if !self.take(b':') {
                    return Err(Unread::NotJson);
                }
                self.value(depth)?;
                self.skip_space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(Unread::NotJson);
                }
            }
        }
        self.finish_object(begin, first_key)
    }

    /// Finds the object's shape, now that its keys are known.
    fn finish_object(&mut self, begin: usize, first_key: usize) -> Result<(), Unread> {
        let Tape { unescaped, keys, .. } = &*self.tape;
        let text = self.text;
        let names = keys[first_key..].iter().map(|key| match key {
            Key::Text(span) => span.of(text),
            Key::Unescaped(span) => span.of(unescaped),
        });
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

    /// A string, from its opening quote. The text is UTF-8 as a whole.
    fn string(&mut self) -> Result<Key, Unread> {
        self.at += 1;
        let start = self.at;
        self.at += json::plain(&self.text[start..]);
        match self.peek() {
            Some(b'"') => {
                let span = Span { start: start as u32, length: (self.at - start) as u32 };
                self.at += 1;
                Ok(Key::Text(span))
            }
            Some(b'\\') => self.escaped(start),
            _ => Err(Unread::NotJson),
        }
    }

    /// A string whose first escape is here.
    fn escaped(&mut self, mut start: usize) -> Result<Key, Unread> {
        let begin = self.tape.unescaped.len();
        loop {
            self.tape.unescaped.extend_from_slice(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(Unread::NotJson),
            }
            start = self.at;
            self.at += json::plain(&self.text[start..]);
        }
        self.at += 1;
        let length = self.tape.unescaped.len() - begin;
        let fits = u32::try_from(begin + length).is_ok();
        if fits {
            Ok(Key::Unescaped(Span { start: begin as u32, length: length as u32 }))
        } else {
            Err(Unread::NotJson)
        }
    }

    fn escape(&mut self) -> Result<(), Unread> {
        let byte = match self.text.get(self.at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let char = self.code_point()?;
                let mut utf8 = [0; 4];
                self.tape.unescaped.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
                return Ok(());
            }
            _ => return Err(Unread::NotJson),
        };
        self.at += 2;
        self.tape.unescaped.push(byte);
        Ok(())
    }

    /// `\u0041`, or a pair of surrogates (RFC 8259 §7); half a pair is refused.
    fn code_point(&mut self) -> Result<char, Unread> {
        let unit = self.hex()?;
        let point = match unit {
            0xd800..=0xdbff if self.text[self.at..].starts_with(b"\\u") => match self.hex()? {
                low @ 0xdc00..=0xdfff => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(Unread::NotJson),
            },
            unit => unit,
        };
        char::from_u32(point).ok_or(Unread::NotJson)
    }

    fn hex(&mut self) -> Result<u32, Unread> {
        let digits = self.text.get(self.at + 2..self.at + 6).ok_or(Unread::NotJson)?;
        self.at += 6;
        let digit = |value: u32, digit: &u8| char::from(*digit).to_digit(16).map(|digit| value << 4 | digit);
        digits.iter().try_fold(0, digit).ok_or(Unread::NotJson)
    }

    fn number(&mut self) -> Result<(), Unread> {
        let start = self.at;
        let negative = self.take(b'-');
        let first = self.at;
        let mut whole: Option<u64> = Some(0);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            whole = whole.and_then(|whole| whole.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.at += 1;
        }
        let digits = self.at - first;
        if digits == 0 || (digits > 1 && self.text[first] == b'0') {
            return Err(Unread::NotJson);
        }
        let mut is_whole = true;
        if self.take(b'.') {
            is_whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let op = match whole.filter(|_| is_whole) {
            Some(0) if negative => Op::Number(-0.0),
            Some(whole) if whole <= json::MAX_SAFE as u64 => {
                Op::Number(if negative { -(whole as f64) } else { whole as f64 })
            }
            Some(whole) if !negative || whole <= i64::MIN.unsigned_abs() => {
                let whole = i128::from(whole);
                self.tape.bigs.push(if negative { -whole } else { whole });
                Op::Big(self.tape.bigs.len() as u32)
            }
            _ => Op::Number(self.float(start)?),
        };
        self.push(op)
    }

    fn digits(&mut self) -> Result<(), Unread> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(Unread::NotJson) } else { Ok(()) }
    }

    fn float(&self, start: usize) -> Result<f64, Unread> {
        let digits = std::str::from_utf8(&self.text[start..self.at]).map_err(|_| Unread::NotJson)?;
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(Unread::NotJson),
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
