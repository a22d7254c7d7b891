//! The words of JSON text: strings, numbers and what stands between them.
//!
//! Both readers go over it, the one onto the stack and the one that makes a tape. It accepts exactly what serde_json accepts and says only yes or
//! no. The text is UTF-8 as a whole; that was looked at before.

use super::{KeyTree, keys::Step};
use crate::script::json;

pub struct Source<'a> {
    pub text: &'a [u8],
    pub at: usize,
    /// What strings with escapes say, one after the other.
    pub unescaped: Vec<u8>,
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

/// Where a string stands.
#[derive(Clone, Copy)]
pub enum Text {
    /// In the text as it is.
    Plain(Span),
    /// Among what was unescaped.
    Unescaped(Span),
}

pub enum Number {
    Float(f64),
    /// An integer that a double can't hold.
    Big(i128),
}

/// Of a fraction with fewer digits than a double has, dividing by these gives the nearest double (Clinger 1990, §2).
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl<'a> Source<'a> {
    /// Of a text whose length 32 bits can say.
    pub fn new(text: &'a [u8], unescaped: Vec<u8>) -> Source<'a> {
        Source { text, at: 0, unescaped }
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// What was not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// Moves to the next byte that is no space, and gives it.
    #[inline]
    pub fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.skip_space();
        self.peek()
    }

    /// Moves over a byte and the space before it, when it is the next one.
    #[inline]
    pub fn take_next(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Moves to the next item, if there is one; None when what comes is neither that nor the end of the part.
    #[inline]
    pub fn goes_on(&mut self, end: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += 1;
        (byte == b',' || byte == end).then_some(byte == b',')
    }

    /// Moves over a key that is known after those that led to `at`, and its colon; gives its node.
    #[inline]
    pub fn key(&mut self, tree: &KeyTree, at: u32) -> Option<u32> {
        if !self.take_next(b'"') {
            return None;
        }
        let Step { node, length, .. } = tree.step(at, self.rest())?;
        self.at += length;
        self.take_next(b':').then_some(node)
    }

    /// The same for the next key of an object, if it follows at once as most programs write it.
    #[inline]
    pub fn next_key(&mut self, tree: &KeyTree, at: u32) -> Option<u32> {
        if self.peek()? != b',' {
            return None;
        }
        let Step { node, length, .. } = tree.follow(at, self.rest())?;
        self.at += length;
        Some(node)
    }

    /// Moves over a byte, when it is the next one.
    pub fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Moves over `true` and the like.
    pub fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_next = self.rest().starts_with(word);
        self.at += word.len();
        is_next.then_some(())
    }

    /// Whether nothing but space is left.
    pub fn is_over(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// The bytes of a string that was read.
    #[inline]
    pub fn bytes(&self, text: Text) -> &[u8] {
        match text {
            Text::Plain(span) => span.of(self.text),
            Text::Unescaped(span) => span.of(&self.unescaped),
        }
    }

    /// A string, from its opening quote.
    #[inline]
    pub fn string(&mut self) -> Option<Text> {
        self.at += 1;
        let start = self.at;
        self.at += json::plain(self.rest());
        match self.peek() {
            Some(b'"') => {
                let span = Span { start: start as u32, length: (self.at - start) as u32 };
                self.at += 1;
                Some(Text::Plain(span))
            }
            Some(b'\\') => self.escaped(start),
            _ => None,
        }
    }

    /// A string whose first escape is here.
    fn escaped(&mut self, mut start: usize) -> Option<Text> {
        let begin = self.unescaped.len();
        loop {
            self.unescaped.extend_from_slice(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return None,
            }
            start = self.at;
            self.at += json::plain(self.rest());
        }
        self.at += 1;
        let length = self.unescaped.len() - begin;
        u32::try_from(begin + length).ok()?;
        Some(Text::Unescaped(Span { start: begin as u32, length: length as u32 }))
    }

    fn escape(&mut self) -> Option<()> {
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
                self.unescaped.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        self.at += 2;
        self.unescaped.push(byte);
        Some(())
    }

    /// `\u0041`, or a pair of surrogates (RFC 8259 §7); half a pair is refused.
    fn code_point(&mut self) -> Option<char> {
        let unit = self.hex()?;
        let point = match unit {
            0xd800..=0xdbff if self.rest().starts_with(b"\\u") => match self.hex()? {
                low @ 0xdc00..=0xdfff => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                _ => return None,
            },
            unit => unit,
        };
        char::from_u32(point)
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at + 2..self.at + 6)?;
        self.at += 6;
        let digit = |value: u32, digit: &u8| char::from(*digit).to_digit(16).map(|digit| value << 4 | digit);
        digits.iter().try_fold(0, digit)
    }

    /// Moves over digits, at least one. The number that they say goes on from `value`; it wraps, so what is more than 18 digits long
    /// says nothing.
    fn digits(&mut self, value: &mut u64) -> Option<usize> {
        let mut count = 0;
        for byte in self.rest() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            count += 1;
        }
        self.at += count;
        (count > 0).then_some(count)
    }

    #[inline]
    pub fn number(&mut self) -> Option<Number> {
        let start = self.at;
        let negative = self.take(b'-');
        let first = self.at;
        let mut value = 0;
        let whole_digits = self.digits(&mut value)?;
        if whole_digits > 1 && self.text.get(first) == Some(&b'0') {
            return None;
        }
        let whole_end = self.at;
        let fraction = if self.take(b'.') { self.digits(&mut value)? } else { 0 };
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits(&mut 0)?;
        }
        let signed = |float: f64| Some(Number::Float(if negative { -float } else { float }));
        let is_whole = fraction == 0 && !has_exponent;
        match POWERS.get(fraction).filter(|_| whole_digits + fraction <= 15 && !has_exponent) {
            Some(power) => signed(value as f64 / power),
            None if is_whole => self.large(first..whole_end, negative).or_else(|| self.float(start)),
            None => self.float(start),
        }
    }

    /// An integer of more digits than a double surely holds, if it is one of 64 bits.
    fn large(&self, digits: std::ops::Range<usize>, negative: bool) -> Option<Number> {
        let whole: u64 = std::str::from_utf8(self.text.get(digits)?).ok()?.parse().ok()?;
        if whole <= json::MAX_SAFE as u64 {
            return Some(Number::Float(if negative { -(whole as f64) } else { whole as f64 }));
        }
        let fits = !negative || whole <= i64::MIN.unsigned_abs();
        let whole = i128::from(whole);
        fits.then_some(Number::Big(if negative { -whole } else { whole }))
    }

    fn float(&self, start: usize) -> Option<Number> {
        let digits = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(Number::Float)
    }
}
