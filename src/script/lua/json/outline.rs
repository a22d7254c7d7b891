//! Where the objects and arrays of a document stand, found without building any of them.
//!
//! What a script never looks at need not become tables: an [`outline`] lists the document's parts, so that one can be built without those
//! around and inside it. It is made only of documents that are usual: all keys come in an order that was seen before, so no key comes
//! twice, and there are no integers that a double can't hold. Anything else is read as a whole. It knows nothing of the machine.

use super::{KeyTree, Number, Source, Text};
use crate::script::{json, lua::running::Running};
use std::ops::Range;

/// An object or array.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Part {
    /// From its first bracket to behind its last.
    pub start: u32,
    pub end: u32,
    /// The number of the part that comes after this one and all that are in it.
    pub after: u32,
    /// Items, or entries.
    pub count: u32,
    /// Of an object, the place of its first [`Fill`], from 1; 0 is none.
    pub filled: u32,
    /// The place of its shape.
    pub shape: u32,
    pub is_array: bool,
    /// How often a key was [found](Document::find) in it.
    pub looks: u8,
}

/// An entry of an object that scripts read, as those that came before show: what stands for the object has it from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Fill {
    /// Where the key stands, without its quote, and where the value begins.
    pub key: u32,
    pub at: u32,
    /// Of the key, in a tree of the document's age.
    pub node: u32,
    /// The number of the value, if it is a part.
    pub part: u32,
    /// The place of the object's next, from 1; 0 is none.
    pub next: u32,
}

/// The parts of a document in the order in which they begin, itself first, and of their entries those that scripts read.
#[derive(Default)]
pub struct Outline {
    pub parts: Vec<Part>,
    pub fills: Vec<Fill>,
    /// That of the tree, as long as all that is wanted is listed.
    pub age: u32,
}

const NO_AGE: u32 = u32::MAX;

/// Objects in a deeper place are not filled, nor more entries than so many: it is done in one step.
pub const MAX_FILLED_DEPTH: usize = 8;
const MAX_FILLS: usize = 1024;

/// Deeper documents are read as a whole.
pub const MAX_DEPTH: usize = 48;
/// Values between two looks at the clock.
const STRIDE: u32 = 1024;

/// Outlines a document; None when it is not a usual one, if it is JSON at all.
pub fn outline(tree: &KeyTree, running: Option<&Running>, text: &[u8], outline: &mut Outline) -> Option<()> {
    u32::try_from(text.len()).ok()?;
    outline.age = tree.age;
    let mut outliner = Outliner { text, tree, running, outline, count: 0 };
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
    outline: &'a mut Outline,
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
        let (number, is_array) = (self.outline.parts.len(), self.text.get(at) == Some(&b'['));
        self.outline.parts.push(Part { start: at as u32, is_array, ..Part::default() });
        let (end, count) = if is_array { self.items(at + 1, depth)? } else { self.entries(at + 1, number, depth)? };
        let after = self.outline.parts.len() as u32;
        let part = self.outline.parts.get_mut(number)?;
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

    /// The same for an object, which is the part of this number, and its entries.
    fn entries(&mut self, at: usize, number: usize, depth: usize) -> Option<(usize, u32)> {
        let mut at = skip_space(self.text, at);
        if self.text.get(at) == Some(&b'}') {
            return Some((at + 1, 0));
        }
        let (mut node, mut count) = (KeyTree::ROOT, 0);
        let mut last = 0;
        loop {
            if self.text.get(at) != Some(&b'"') {
                return None;
            }
            let key = at + 1;
            let step = self.tree.step(node, self.text.get(key..)?)?;
            node = step.node;
            at = skip_space(self.text, key + step.length);
            if self.text.get(at) != Some(&b':') {
                return None;
            }
            let start = skip_gap(self.text, at + 1);
            if step.is_wanted && depth <= MAX_FILLED_DEPTH {
                last = self.fill(number, (key, node), start, last);
            }
            let end = self.item(start, depth)?;
            at = skip_space(self.text, end);
            count += 1;
            match self.text.get(at)? {
                b',' => at = skip_gap(self.text, at + 1),
                b'}' => {
                    self.outline.parts.get_mut(number)?.shape = self.tree.shape(node)?;
                    return Some((at + 1, count));
                }
                _ => return None,
            }
        }
    }

    /// Lists a fill behind the last one of its object, if there is one; gives its place.
    fn fill(&mut self, number: usize, (key, node): (usize, u32), at: usize, last: u32) -> u32 {
        let Outline { parts, fills, age } = &mut *self.outline;
        if fills.len() >= MAX_FILLS {
            *age = NO_AGE;
            return last;
        }
        fills.push(Fill { key: key as u32, at: at as u32, node, part: parts.len() as u32, next: 0 });
        let place = fills.len() as u32;
        if let Some(last) = (last as usize).checked_sub(1).and_then(|last| fills.get_mut(last)) {
            last.next = place;
        }
        if let (0, Some(part)) = (last, parts.get_mut(number)) {
            part.filled = place;
        }
        place
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
    pub fills: &'a [Fill],
    pub text: &'a [u8],
    /// Of the tree that it was outlined with.
    pub age: u32,
}

/// An entry of an object.
#[derive(Debug, PartialEq)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    /// Where the key stands.
    pub key_at: u32,
    /// From where to where its value goes.
    pub value: Range<usize>,
    pub is_part: bool,
}

impl<'a> Document<'a> {
    pub fn part(self, number: u32) -> Option<&'a Part> {
        self.parts.get(number as usize)
    }

    pub fn text_of(self, part: &Part) -> Option<&'a [u8]> {
        self.text.get(part.start as usize..part.end as usize)
    }

    /// The fills of an object, in the order of its entries.
    pub fn fills_of(self, part: &Part) -> impl Iterator<Item = &'a Fill> + Clone {
        let fill = move |place: u32| (place as usize).checked_sub(1).and_then(|place| self.fills.get(place));
        std::iter::successors(fill(part.filled), move |last| fill(last.next))
    }

    pub fn key_of(self, fill: &Fill) -> &'a [u8] {
        let key = self.text.get(fill.key as usize..).unwrap_or_default();
        key.get(..json::plain(key)).unwrap_or_default()
    }

    pub fn is_filled(self, part: &Part, entry: &Entry<'_>) -> bool {
        self.fills_of(part).any(|fill| fill.key == entry.key_at)
    }

    /// Looks for a key in an object. The keys of such a document stand in it as they are, each once.
    pub fn find(self, number: u32, key: &[u8]) -> Option<Entry<'a>> {
        self.entries(number).find(|entry| entry.key == key)
    }

    /// The entries of an object.
    pub fn entries(self, number: u32) -> Entries<'a> {
        let at = self.part(number).map_or(self.text.len(), |part| part.start as usize + 1);
        Entries { document: self, at, inner: number + 1 }
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

pub struct Entries<'a> {
    document: Document<'a>,
    at: usize,
    /// The number of the next part.
    inner: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (document, text) = (self.document, self.document.text);
        let at = skip_space(text, self.at);
        if text.get(at)? == &b'}' {
            return None;
        }
        let rest = text.get(at + 1..)?;
        let key = rest.get(..json::plain(rest))?;
        let colon = skip_space(text, at + key.len() + 2);
        let start = skip_space(text, colon + 1);
        let is_part = matches!(text.get(start)?, b'{' | b'[');
        let end = if is_part {
            let part = document.part(self.inner)?;
            self.inner = part.after;
            part.end as usize
        } else {
            document.skip_scalar(start)?
        };
        let next = skip_space(text, end);
        self.at = next + usize::from(text.get(next) == Some(&b','));
        Some(Entry { key, key_at: at as u32 + 1, value: start..end, is_part })
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
        filled(text, shapes, &[]).map(|outline| (outline.parts, text.as_bytes()))
    }

    /// The same, and the entries that are wanted: those behind the last of these rows of keys.
    fn filled(text: &str, shapes: &[&'static [&'static str]], wanted: &[&'static [&'static str]]) -> Option<Outline> {
        let mut tree = KeyTree::default();
        for (place, keys) in shapes.iter().enumerate() {
            tree.add(keys.iter().map(|key| key.as_bytes()), place as u32 + 1);
        }
        wanted.iter().for_each(|keys| tree.want(keys.iter().map(|key| key.as_bytes())));
        let mut outlined = Outline::default();
        outline(&tree, None, text.as_bytes(), &mut outlined)?;
        Some(outlined)
    }

    #[test]
    fn parts_are_listed_with_what_is_in_them() {
        let text = r#" {"a" : [ {"b":1}, [], {"b":{}} ], "b":"}"} "#;
        let (parts, text) = outlined(text, &[&["a", "b"], &["b"]]).expect("a usual document");
        let document = Document { parts: &parts, fills: &[], text, age: 0 };
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
            assert_eq!(outline(&KeyTree::default(), None, broken, &mut Outline::default()), None, "{broken:?}");
        }
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let text = r#"{ "one":"\\\"}", "two": -1.5e3 ,"three":{"one":0},"four":[1,{"one":2}], "five" : null}"#;
        let (parts, text) = outlined(text, &[&["one", "two", "three", "four", "five"], &["one"]]).expect("a document");
        let document = Document { parts: &parts, fills: &[], text, age: 0 };
        let found = |key: &str| match document.find(0, key.as_bytes()) {
            Some(Entry { value, is_part: false, .. }) => String::from_utf8_lossy(&text[value]).into(),
            Some(_) => "Part".to_owned(),
            None => "Nothing".to_owned(),
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
    fn entries_that_are_wanted_are_listed_by_their_objects() {
        let text = r#"{"a": {"b":1}, "b":{"b": [2]},"c": 3}"#;
        let shapes: &[&[&str]] = &[&["a", "b", "c"], &["b"]];
        let wanted: &[&[&str]] = &[&["b"], &["a"], &["a", "b", "c"], &["c"]];
        let Outline { parts, fills, .. } = filled(text, shapes, wanted).expect("a usual document");
        let document = Document { parts: &parts, fills: &fills, text: text.as_bytes(), age: 0 };
        let shown = |number: u32| {
            let fills = document.fills_of(&parts[number as usize]);
            fills.map(|fill| (&text[fill.key as usize..][..1], &text[fill.at as usize..][..1], fill.part)).collect()
        };
        let shown: Vec<Vec<_>> = (0..4).map(shown).collect();
        assert_eq!(shown, [vec![("a", "{", 1), ("c", "3", 4)], vec![("b", "1", 2)], vec![("b", "[", 3)], vec![]]);
        let is_filled = |key: &str| document.find(0, key.as_bytes()).map(|entry| document.is_filled(&parts[0], &entry));
        assert_eq!(["a", "b", "c", "d"].map(is_filled), [Some(true), Some(false), Some(true), None]);
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
