//! Where the objects and arrays of a document stand, found without building any of them.
//!
//! What a script never looks at need not become tables: an [`outline`] lists the document's parts, so that one can be built without those
//! around and inside it. It is made only of documents that are usual: all keys come in an order that was seen before, so no key comes
//! twice, and there are no integers that a double can't hold. Anything else is read as a whole. It knows nothing of the machine.

use super::{KeyTree, Number, Source, Text};
use crate::script::{json, lua::running::Running};

/// An object or array.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Part {
    /// From its first bracket to behind its last.
    pub start: u32,
    pub end: u32,
    /// The number of the part that comes after this one and all that are in it.
    pub after: u32,
    /// Items, or entries.
    pub count: u32,
    pub is_array: bool,
    /// How often a key was [found](Document::find) in it.
    pub looks: u8,
}

/// Deeper documents are read as a whole.
pub const MAX_DEPTH: usize = 48;
/// Values between two looks at the clock.
const STRIDE: u32 = 1024;

/// Lists the parts of a document in the order in which they begin, itself first; None when it is not a usual one, if it is JSON at all.
pub fn outline(tree: &KeyTree, running: Option<&Running>, text: &[u8], parts: &mut Vec<Part>) -> Option<()> {
    u32::try_from(text.len()).ok()?;
    let mut outliner = Outliner { text, tree, running, parts, count: 0 };
    let at = skip_space(text, 0);
    if !matches!(text.get(at)?, b'{' | b'[') {
        return None;
    }
    let end = outliner.value(at, 0)?;
    (skip_space(text, end) == text.len()).then_some(())
}

/// Places are handed on and given back, and not kept here, so that they stay in registers.
struct Outliner<'a> {
    text: &'a [u8],
    tree: &'a KeyTree,
    running: Option<&'a Running>,
    parts: &'a mut Vec<Part>,
    count: u32,
}

impl Outliner<'_> {
    /// Where the value that begins at a place ends.
    fn value(&mut self, at: usize, depth: usize) -> Option<usize> {
        self.count += 1;
        if self.count.is_multiple_of(STRIDE) {
            self.running.map_or(Ok(()), Running::tick).ok()?;
        }
        match self.text.get(at)? {
            b'"' => self.string(at),
            b'{' | b'[' => self.part(at, depth + 1),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            _ => None,
        }
    }

    /// The same for what is in a part; most of it is strings.
    #[inline]
    fn item(&mut self, at: usize, depth: usize) -> Option<usize> {
        if self.text.get(at) == Some(&b'"') { self.string(at) } else { self.value(at, depth) }
    }

    fn word(&self, at: usize, word: &[u8]) -> Option<usize> {
        self.text.get(at..)?.starts_with(word).then_some(at + word.len())
    }

    /// Strings of ASCII without escapes need only be moved over. Nothing else in a document is more than ASCII, but for keys, which are
    /// known, so the text is UTF-8 when the others are.
    #[inline]
    fn string(&self, at: usize) -> Option<usize> {
        let end = at + 1 + json::plain_ascii(self.text.get(at + 1..)?);
        if self.text.get(end) == Some(&b'"') { Some(end + 1) } else { self.unusual_string(at) }
    }

    #[cold]
    fn unusual_string(&self, at: usize) -> Option<usize> {
        let end = self.unusual(at, |source| source.string().map(drop))?;
        std::str::from_utf8(self.text.get(at..end)?).ok().map(|_| end)
    }

    /// And so do numbers of which it is plain that a double holds them.
    #[inline]
    fn number(&self, at: usize) -> Option<usize> {
        let text = self.text;
        let first = at + usize::from(text.get(at) == Some(&b'-'));
        let mut end = skip_digits(text, first);
        let whole = end - first;
        let mut is_plain = (1..=15).contains(&whole) && (whole == 1 || text.get(first) != Some(&b'0'));
        if text.get(end) == Some(&b'.') {
            let start = end + 1;
            end = skip_digits(text, start);
            is_plain &= end > start;
        }
        if is_plain && !matches!(text.get(end), Some(b'e' | b'E')) {
            return Some(end);
        }
        self.unusual(at, |source| matches!(source.number()?, Number::Float(_)).then_some(()))
    }

    #[cold]
    fn unusual(&self, at: usize, read: impl FnOnce(&mut Source<'_>) -> Option<()>) -> Option<usize> {
        let mut source = Source { at, ..Source::new(self.text, Vec::new()) };
        read(&mut source).map(|()| source.at)
    }

    fn part(&mut self, at: usize, depth: usize) -> Option<usize> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (number, is_array) = (self.parts.len(), self.text.get(at) == Some(&b'['));
        self.parts.push(Part { start: at as u32, end: 0, after: 0, count: 0, is_array, looks: 0 });
        let (end, count) = if is_array { self.items(at + 1, depth)? } else { self.entries(at + 1, depth)? };
        let after = self.parts.len() as u32;
        let part = self.parts.get_mut(number)?;
        (part.end, part.after, part.count) = (end as u32, after, count);
        Some(end)
    }

    /// Where an array ends, and how many items it has.
    fn items(&mut self, at: usize, depth: usize) -> Option<(usize, u32)> {
        let mut at = skip_space(self.text, at);
        if self.text.get(at) == Some(&b']') {
            return Some((at + 1, 0));
        }
        let mut count = 0;
        loop {
            let end = self.item(at, depth)?;
            at = skip_space(self.text, end);
            count += 1;
            match self.text.get(at)? {
                b',' => at = skip_gap(self.text, at + 1),
                b']' => return Some((at + 1, count)),
                _ => return None,
            }
        }
    }

    /// The same for an object and its entries.
    fn entries(&mut self, at: usize, depth: usize) -> Option<(usize, u32)> {
        let mut at = skip_space(self.text, at);
        if self.text.get(at) == Some(&b'}') {
            return Some((at + 1, 0));
        }
        let (mut node, mut count) = (KeyTree::ROOT, 0);
        loop {
            if self.text.get(at) != Some(&b'"') {
                return None;
            }
            let (next, length) = self.tree.step(node, self.text.get(at + 1..)?)?;
            node = next;
            at = skip_space(self.text, at + length + 2);
            if self.text.get(at) != Some(&b':') {
                return None;
            }
            let end = self.item(skip_gap(self.text, at + 1), depth)?;
            at = skip_space(self.text, end);
            count += 1;
            match self.text.get(at)? {
                b',' => at = skip_gap(self.text, at + 1),
                b'}' => return self.tree.shape(node).map(|_| (at + 1, count)),
                _ => return None,
            }
        }
    }
}

/// There is mostly none.
#[inline]
fn skip_space(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(0..=b' ') => skip_spaces(text, at),
        _ => at,
    }
}

/// There is mostly none, or one: behind a comma or a colon.
#[inline]
fn skip_gap(text: &[u8], at: usize) -> usize {
    skip_space(text, at + usize::from(text.get(at) == Some(&b' ')))
}

fn skip_spaces(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

#[inline]
fn skip_digits(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// A document with its outline.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    pub parts: &'a [Part],
    pub text: &'a [u8],
}

/// What an object has under a key.
#[derive(Debug, PartialEq)]
pub enum Found {
    Nothing,
    /// A value that is no part, and where it begins.
    Scalar(usize),
    Part,
}

impl<'a> Document<'a> {
    pub fn part(self, number: u32) -> Option<&'a Part> {
        self.parts.get(number as usize)
    }

    pub fn text_of(self, part: &Part) -> Option<&'a [u8]> {
        self.text.get(part.start as usize..part.end as usize)
    }

    /// Looks for a key in an object. The keys of such a document stand in it as they are, each once.
    pub fn find(self, number: u32, key: &[u8]) -> Option<Found> {
        let part = self.part(number)?;
        let (mut at, mut inner) = (part.start as usize + 1, number + 1);
        loop {
            at = skip_space(self.text, at);
            if self.text.get(at)? == &b'}' {
                return Some(Found::Nothing);
            }
            let rest = self.text.get(at + 1..)?;
            let is_it = rest.get(key.len()) == Some(&b'"') && rest.starts_with(key);
            let length = if is_it { key.len() } else { json::plain(rest) };
            at = skip_space(self.text, at + length + 2);
            at = skip_space(self.text, at + 1);
            let is_part = matches!(self.text.get(at)?, b'{' | b'[');
            if is_it {
                return Some(if is_part { Found::Part } else { Found::Scalar(at) });
            }
            if is_part {
                let skipped = self.part(inner)?;
                (at, inner) = (skipped.end as usize, skipped.after);
            } else {
                at = self.skip_scalar(at)?;
            }
            at = skip_space(self.text, at);
            if self.text.get(at)? == &b',' {
                at += 1;
            }
        }
    }

    fn skip_scalar(self, mut at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        if rest.first()? != &b'"' {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r');
            return rest.iter().position(is_end).map(|length| at + length);
        }
        at += 1;
        loop {
            at += json::plain(self.text.get(at..)?);
            match self.text.get(at)? {
                b'"' => return Some(at + 1),
                _ => at += 2,
            }
        }
    }
}

/// Writes a part of a document as it would be written had it been built, but for that it is nested deeper than allowed, which is
/// given. `depth`: how deep its outermost bracket is.
pub fn copy(text: &[u8], out: &mut Vec<u8>, mut depth: usize) -> Result<(), TooDeep> {
    let mut source = Source::new(text, Vec::new());
    out.reserve(text.len());
    while let Some(byte) = source.next() {
        match byte {
            b'"' => match source.string() {
                Some(Text::Plain(span)) => {
                    out.push(b'"');
                    out.extend_from_slice(span.of(text));
                    out.push(b'"');
                }
                Some(unescaped) => {
                    json::write_str(out, source.bytes(unescaped));
                    source.unescaped.clear();
                }
                None => return Ok(()),
            },
            b'-' | b'0'..=b'9' => match source.number() {
                Some(Number::Float(float)) => json::write_f64(out, float),
                _ => return Ok(()),
            },
            _ => {
                match byte {
                    b'{' | b'[' if depth > json::MAX_DEPTH => return Err(TooDeep),
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                out.push(byte);
                source.at += 1;
            }
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
pub struct TooDeep;

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a document whose keys are among these.
    fn outlined<'a>(text: &'a str, shapes: &[&'static [&'static str]]) -> Option<(Vec<Part>, &'a [u8])> {
        let mut tree = KeyTree::default();
        for (place, keys) in shapes.iter().enumerate() {
            tree.add(keys.iter().map(|key| key.as_bytes()), place as u32 + 1);
        }
        let mut parts = Vec::new();
        outline(&tree, None, text.as_bytes(), &mut parts)?;
        Some((parts, text.as_bytes()))
    }

    #[test]
    fn parts_are_listed_with_what_is_in_them() {
        let text = r#" {"a" : [ {"b":1}, [], {"b":{}} ], "b":"}"} "#;
        let (parts, text) = outlined(text, &[&["a", "b"], &["b"]]).expect("a usual document");
        let document = Document { parts: &parts, text };
        let shown: Vec<_> = parts
            .iter()
            .map(|part| {
                let text = std::str::from_utf8(document.text_of(part).unwrap_or_default());
                (text.unwrap_or_default(), part.count, part.is_array, part.after)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (r#"{"a" : [ {"b":1}, [], {"b":{}} ], "b":"}"}"#, 2, false, 6),
                (r#"[ {"b":1}, [], {"b":{}} ]"#, 3, true, 6),
                (r#"{"b":1}"#, 1, false, 3),
                ("[]", 0, true, 4),
                (r#"{"b":{}}"#, 1, false, 6),
                ("{}", 0, false, 6),
            ]
        );
    }

    #[test]
    fn what_is_unusual_has_no_outline() {
        let shapes: &[&[&str]] = &[&["a", "b"], &["a"]];
        for text in [
            "1",
            r#""a""#,
            r#"{"b":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":1}}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":01}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            "[1 2]",
            "[\"\n\"]",
            &"[".repeat(MAX_DEPTH),
            &format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)),
        ] {
            assert_eq!(outlined(text, shapes), None, "{text}");
        }
        assert!(outlined(r#"{"a":1,"b":[{"a":"\u0061"}]}"#, shapes).is_some());
        assert!(outlined(r#"{"a":"é 😀 \n"}"#, shapes).is_some());
        for broken in [&b"[\"\xff\"]"[..], b"[\"12345678\xc3\"]", b"[\"\\n\xed\xa0\x80\"]", b"[1\xa0]", b"[1]\xc2\xa0"]
        {
            let mut parts = Vec::new();
            assert_eq!(outline(&KeyTree::default(), None, broken, &mut parts), None, "{broken:?}");
        }
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let text = r#"{ "one":"\\\"}", "two": -1.5e3 ,"three":{"one":0},"four":[1,{"one":2}], "five" : null}"#;
        let (parts, text) = outlined(text, &[&["one", "two", "three", "four", "five"], &["one"]]).expect("a document");
        let document = Document { parts: &parts, text };
        let found = |key: &str| match document.find(0, key.as_bytes()).expect("an object") {
            Found::Scalar(at) => String::from_utf8_lossy(&text[at..document.skip_scalar(at).expect("a scalar")]).into(),
            other => format!("{other:?}"),
        };
        assert_eq!(found("one"), r#""\\\"}""#);
        assert_eq!(found("two"), "-1.5e3");
        assert_eq!(found("five"), "null");
        for part in ["three", "four"] {
            assert_eq!(found(part), "Part");
        }
        for nothing in ["", "on", "ones", "zero"] {
            assert_eq!(found(nothing), "Nothing");
        }
    }

    #[test]
    fn a_part_is_copied_as_it_would_be_written() {
        let copied = |text: &str, depth: usize| {
            let mut out = Vec::new();
            copy(text.as_bytes(), &mut out, depth).map(|()| String::from_utf8(out).expect("UTF-8"))
        };
        let text = "{ \"a\" : [1.50, -0, 1e2,true ,null],\n\"b\":\"\\u00e9\\/\\n x\" , \"c\" : {} }";
        assert_eq!(copied(text, 1), Ok("{\"a\":[1.5,0,100,true,null],\"b\":\"é/\\n x\",\"c\":{}}".into()));
        assert_eq!(copied("[[]]", json::MAX_DEPTH), Err(TooDeep));
        assert_eq!(copied("[[],[]]", json::MAX_DEPTH - 1), Ok("[[],[]]".into()));
    }
}
