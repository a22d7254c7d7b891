//! Reads documents that are usual: strings without escapes, numbers that are plainly integers or floats, not nested deeply.
//!
//! Anything else, and all that is wrong, is left to serde_json, which reads the whole again and says what it is. What nobody looks at
//! is only moved over, by the same rules.

use super::{Entry, Key, Wanted, Way, map_of};
use crate::script::json;
use ::rhai::{Array, Dynamic};

/// Deeper documents are left to serde_json.
const MAX_DEPTH: usize = 64;
/// Integers of so many digits are not above the greatest.
const SURE_DIGITS: usize = 18;

/// The document, if it is a usual one and its reader was not stopped.
pub fn decode(text: &str, wanted: &Wanted, way: Way) -> Option<Dynamic> {
    let reader = Reader { text, way };
    let (document, end) = reader.value(reader.skip_space(0), wanted, 0)?;
    (reader.skip_space(end) == text.len()).then_some(document)
}

/// Functions take the place where something begins, and give the one behind it.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    way: Way<'a>,
}

impl<'a> Reader<'a> {
    fn byte(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    #[inline]
    fn skip_space(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte(at) {
            at += 1;
        }
        at
    }

    fn go_on(self) -> Option<()> {
        (!(self.way.stops)()).then_some(())
    }

    fn value(self, at: usize, wanted: &Wanted, depth: usize) -> Option<(Dynamic, usize)> {
        match self.byte(at)? {
            b'"' => self.string(at).map(|(text, end)| (text.into(), end)),
            b'{' => self.object(at, wanted, depth + 1),
            b'[' => self.array(at, wanted, depth + 1),
            b't' => self.word(at, "true").map(|end| (true.into(), end)),
            b'f' => self.word(at, "false").map(|end| (false.into(), end)),
            b'n' => self.word(at, "null").map(|end| (Dynamic::UNIT, end)),
            _ => self.number(at),
        }
    }

    /// The same for a value that nobody looks at.
    fn skip(self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string(at).map(|(_, end)| end),
            b'{' => self.entries(at, depth + 1, |_, at| self.skip(at, depth + 1)),
            b'[' => self.items(at, depth + 1, |at| self.skip(at, depth + 1)),
            b't' => self.word(at, "true"),
            b'f' => self.word(at, "false"),
            b'n' => self.word(at, "null"),
            _ => self.digits(at).map(|(_, end)| end),
        }
    }

    fn word(self, at: usize, word: &str) -> Option<usize> {
        self.text.as_bytes().get(at..)?.starts_with(word.as_bytes()).then_some(at + word.len())
    }

    #[inline]
    fn string(self, at: usize) -> Option<(&'a str, usize)> {
        let end = at + 1 + json::plain(self.text.as_bytes().get(at + 1..)?);
        (self.byte(at) == Some(b'"') && self.byte(end) == Some(b'"')).then_some(())?;
        Some((self.text.get(at + 1..end)?, end + 1))
    }

    /// A number without an exponent, and whether it is an integer. Minus zero, which only a float is, and what may be too large are
    /// left to serde_json.
    fn digits(self, at: usize) -> Option<(bool, usize)> {
        let run = |mut at: usize| {
            while self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
                at += 1;
            }
            at
        };
        let is_negative = self.byte(at) == Some(b'-');
        let first = at + usize::from(is_negative);
        let end = run(first);
        let (whole, starts_with_zero) = (end - first, self.byte(first) == Some(b'0'));
        if whole == 0 || whole > SURE_DIGITS || (starts_with_zero && whole > 1) {
            return None;
        }
        match self.byte(end) {
            Some(b'.') => {
                let last = run(end + 1);
                (last > end + 1 && !matches!(self.byte(last), Some(b'e' | b'E'))).then_some((false, last))
            }
            Some(b'e' | b'E') => None,
            _ => (!(starts_with_zero && is_negative)).then_some((true, end)),
        }
    }

    fn number(self, at: usize) -> Option<(Dynamic, usize)> {
        let (is_integer, end) = self.digits(at)?;
        let text = self.text.get(at..end)?;
        let number = if is_integer { text.parse::<i64>().ok()?.into() } else { text.parse::<f64>().ok()?.into() };
        Some((number, end))
    }

    fn array(self, at: usize, wanted: &Wanted, depth: usize) -> Option<(Dynamic, usize)> {
        let of_item = wanted.of_item();
        let mut array = Array::new();
        let end = self.items(at, depth, |at| {
            let (item, end) = self.value(at, of_item, depth)?;
            array.push(item);
            Some(end)
        })?;
        Some((Dynamic::from_array(array), end))
    }

    fn object(self, at: usize, wanted: &Wanted, depth: usize) -> Option<(Dynamic, usize)> {
        if let Wanted::Members(members) = wanted {
            let mut read: Vec<Entry> = Vec::with_capacity(members.len());
            let end = self.entries(at, depth, |key, at| match members.iter().find(|(name, _)| name == key) {
                Some((name, wanted)) => {
                    let (value, end) = self.value(at, wanted, depth)?;
                    read.push((name.clone(), value));
                    Some(end)
                }
                None => self.skip(at, depth),
            })?;
            // Without a shape: it is never written as a whole.
            return Some((Dynamic::from_map(read.into_iter().collect()), end));
        }
        let mut read: Vec<Entry> = Vec::with_capacity(8);
        let end = self.entries(at, depth, |key, at| {
            let (value, end) = self.value(at, &Wanted::All, depth)?;
            read.push((Key::from(key), value));
            Some(end)
        })?;
        Some((map_of(read, self.way), end))
    }

    /// What stands between brackets, each read by `item`.
    #[inline]
    fn items(self, at: usize, depth: usize, mut item: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
        (depth <= MAX_DEPTH).then_some(())?;
        let mut at = self.skip_space(at + 1);
        if self.byte(at)? == b']' {
            return Some(at + 1);
        }
        loop {
            self.go_on()?;
            at = self.skip_space(item(at)?);
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// What stands between braces, each value read by `entry`, which is told the key.
    #[inline]
    fn entries(self, at: usize, depth: usize, mut entry: impl FnMut(&'a str, usize) -> Option<usize>) -> Option<usize> {
        (depth <= MAX_DEPTH).then_some(())?;
        let mut at = self.skip_space(at + 1);
        if self.byte(at)? == b'}' {
            return Some(at + 1);
        }
        loop {
            self.go_on()?;
            let (key, end) = self.string(at)?;
            at = self.skip_space(end);
            (self.byte(at)? == b':').then_some(())?;
            at = self.skip_space(entry(key, self.skip_space(at + 1))?);
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{super::wanted::Wanted, Way, decode_slowly};
    use proptest::prelude::*;
    use std::cell::RefCell;

    /// Both ways read the same, whatever it is.
    fn check(text: &str) {
        let shapes = RefCell::default();
        let way = Way { shapes: &shapes, stops: &|| false };
        let some = Wanted::Members(vec![
            ("a".into(), Wanted::All),
            ("é".into(), Wanted::Items(Box::new(Wanted::Members(vec![("b".into(), Wanted::All)])))),
        ]);
        for wanted in [Wanted::All, some, Wanted::Items(Box::new(Wanted::All))] {
            let slow = decode_slowly(text.as_bytes(), &wanted, way);
            if let Some(quick) = super::decode(text, &wanted, way) {
                assert_eq!(format!("{quick:?}"), format!("{:?}", slow.expect(text)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_usual_is_read_as_serde_json_reads_it() {
        for text in [
            r#"{"a":[1,-2,3.50,0,0.1,-0.5,123456789012345678,true,false,null,"x"],"b":{"a":{}},"é":[{"b":"grüße"},{"c":[]},1]}"#,
            " [ ] ",
            "\t{ \"a\" : 1 , \"a\" : 2 }\n",
            "{\"z\":1,\"y\":2,\"a\":3}",
            "\"x\"",
            "0",
        ] {
            check(text);
            let way = Way { shapes: &RefCell::default(), stops: &|| false };
            assert!(super::decode(text, &Wanted::All, way).is_some(), "{text} is usual");
        }
        let odd = "-0|01|1.|.5|1e3|1.5E2|+1|--1|1 2|[1,]|[,1]|{\"a\"}|{\"a\":}|{a:1}|{\"a\":1,}|nul|truex|\"\\n\"|\"\n\"|\"|[|{|1234567890123456789|";
        let deep = ["[".repeat(65), "]".repeat(65)].concat();
        for text in odd.split('|').chain([deep.as_str()]) {
            check(text);
            let way = Way { shapes: &RefCell::default(), stops: &|| false };
            assert!(super::decode(text, &Wanted::All, way).is_none(), "{text} is not usual");
        }
        let way = Way { shapes: &RefCell::default(), stops: &|| true };
        assert!(super::decode("[1]", &Wanted::All, way).is_none(), "a script that was stopped reads no further");
    }

    proptest! {
        #[test]
        fn nothing_is_read_differently(text in r#"([\[\]{},:" 0-9.eE+\-a\\éntrufls]|"a"|"b":|[1-9][0-9]{0,20}|-?[0-9]\.[0-9]{1,20}|true|null|\[\]){0,12}"#) {
            check(&text);
        }

        #[test]
        fn documents_are_read_the_same(numbers in prop::collection::vec(any::<f64>(), 0..5), integers in prop::collection::vec(any::<i64>(), 0..5), keys in prop::collection::vec("[a-cé]{0,3}", 0..5)) {
            let value: Vec<serde_json::Value> = numbers.iter().map(|n| serde_json::json!(n)).chain(integers.iter().map(|n| serde_json::json!(n))).collect();
            let map: serde_json::Map<String, serde_json::Value> = keys.iter().map(|key| (key.clone(), serde_json::json!(value))).collect();
            check(&serde_json::to_string(&map).expect("JSON"));
            check(&serde_json::to_string_pretty(&map).expect("JSON"));
        }
    }
}
