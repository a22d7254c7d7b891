//! JSON text to Rhai's maps and arrays, and back.
//!
//! Rhai's maps are sorted, documents are not: a decoded map carries the number of its shape, the order its keys
//! came in, as its tag, which is copied with it. Written back, keys that are still there come in that order, others after them by name. Maps that
//! a script made have no shape and are written by name, as Lua's tables are.

mod quick;
mod shapes;

pub use shapes::Shapes;

use super::wanted::Wanted;
use crate::script::{
    Raise,
    json::{self, MAX_DEPTH},
    object::Object,
};
use ::rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use shapes::Shape;
use std::{cell::RefCell, fmt};

pub trait KeyOf {
    type Key;
}
impl<K, V> KeyOf for std::collections::BTreeMap<K, V> {
    type Key = K;
}
/// The type of a Rhai map's keys, which has no public name.
pub type Key = <Map as KeyOf>::Key;

type Entry = (Key, Dynamic);

/// An integer above the greatest that Rhai has: it is only carried through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Big(pub u64);

/// What is needed on the way: the shapes, and at each value the question whether to stop. A large document takes milliseconds, so
/// a script that is asked there may give way; no cell is borrowed meanwhile.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    pub shapes: &'a RefCell<Shapes>,
    pub stops: &'a dyn Fn() -> bool,
}

const STOPPED: &str = "stopped";

impl Way<'_> {
    fn go_on<E: serde::de::Error>(self) -> Result<(), E> {
        if (self.stops)() { Err(E::custom(STOPPED)) } else { Ok(()) }
    }
}

/// Reads a document.
pub fn decode(text: &[u8], way: Way) -> Result<Dynamic, Raise> {
    decode_wanted(text, &Wanted::All, way)
}

/// Reads a document of which no more than this will be looked at.
pub fn decode_wanted(text: &[u8], wanted: &Wanted, way: Way) -> Result<Dynamic, Raise> {
    let usual = std::str::from_utf8(text).ok().and_then(|text| quick::decode(text, wanted, way));
    usual.map_or_else(|| decode_slowly(text, wanted, way), Ok)
}

/// Reads any document, and says what is wrong with one.
fn decode_slowly(text: &[u8], wanted: &Wanted, way: Way) -> Result<Dynamic, Raise> {
    let document = Document { way, wanted };
    // Checked as a whole at once, strings need not be one by one.
    let read = match std::str::from_utf8(text) {
        Ok(text) => whole(serde_json::Deserializer::from_str(text), document),
        Err(_) => whole(serde_json::Deserializer::from_slice(text), document),
    };
    read.map_err(|why| json::refused(text, Some(&why)))
}

fn whole<'de, R: serde_json::de::Read<'de>>(
    mut reader: serde_json::Deserializer<R>,
    document: Document,
) -> Result<Dynamic, serde_json::Error> {
    let document = document.deserialize(&mut reader)?;
    reader.end()?;
    Ok(document)
}

/// Keys go straight into the form that maps have them in.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Key;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(text.into())
    }
}

/// Which of these members a name is.
struct Chosen<'a>(&'a [(Key, Wanted)]);

impl<'de, 'a> DeserializeSeed<'de> for Chosen<'a> {
    type Value = Option<&'a (Key, Wanted)>;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Chosen<'a> {
    type Value = Option<&'a (Key, Wanted)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(name, _)| name == text))
    }
}

/// A value that nobody looks at: it is read as any other, so that what is wrong with it is found, and who reads gives way.
#[derive(Clone, Copy)]
struct Unwanted<'a>(Way<'a>);

impl<'de> DeserializeSeed<'de> for Unwanted<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unwanted<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {
            self.0.go_on()?;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(Chosen(&[]))?.is_some() {
            self.0.go_on()?;
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Document<'a> {
    way: Way<'a>,
    wanted: &'a Wanted,
}

impl<'a> Document<'a> {
    fn of(self, wanted: &'a Wanted) -> Document<'a> {
        Document { wanted, ..self }
    }

    fn members<'de, A: MapAccess<'de>>(
        self,
        members: &'a [(Key, Wanted)],
        mut entries: A,
    ) -> Result<Dynamic, A::Error> {
        let mut read: Vec<Entry> = Vec::with_capacity(members.len());
        while let Some(chosen) = entries.next_key_seed(Chosen(members))? {
            self.way.go_on()?;
            match chosen {
                Some((name, wanted)) => read.push((name.clone(), entries.next_value_seed(self.of(wanted))?)),
                None => entries.next_value_seed(Unwanted(self.way))?,
            }
        }
        // Without a shape: it is never written as a whole.
        Ok(Dynamic::from_map(read.into_iter().collect()))
    }
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Dynamic;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Dynamic, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Dynamic, E> {
        Ok(b.into())
    }
    fn visit_i64<E>(self, i: i64) -> Result<Dynamic, E> {
        Ok(i.into())
    }
    fn visit_u64<E>(self, u: u64) -> Result<Dynamic, E> {
        Ok(i64::try_from(u).map_or_else(|_| Dynamic::from(Big(u)), Into::into))
    }
    fn visit_f64<E>(self, f: f64) -> Result<Dynamic, E> {
        Ok(f.into())
    }
    fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
        Ok(text.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        let of_item = self.wanted.of_item();
        while let Some(item) = items.next_element_seed(self.of(of_item))? {
            self.way.go_on()?;
            array.push(item);
        }
        Ok(Dynamic::from_array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        if let Wanted::Members(members) = self.wanted {
            return self.members(members, entries);
        }
        let mut read: Vec<Entry> = Vec::with_capacity(8);
        while let Some(key) = entries.next_key_seed(Name)? {
            self.way.go_on()?;
            read.push((key, entries.next_value_seed(self.of(&Wanted::All))?));
        }
        Ok(map_of(read, self.way))
    }
}

/// A map of what an object was read as.
fn map_of(mut read: Vec<Entry>, way: Way) -> Dynamic {
    let sorted = read.is_sorted_by(|(a, _), (b, _)| a < b);
    let shape = if sorted { 0 } else { way.shapes.borrow_mut().number(&mut read) };
    // All at once: the tree is built from below, where each insertion would search it.
    let mut map = Dynamic::from_map(read.into_iter().collect());
    map.set_tag(shape);
    map
}

/// Why a value is not JSON, and where it is, innermost first.
struct Unfit {
    why: String,
    path: Vec<String>,
}

impl Unfit {
    fn new(why: impl Into<String>) -> Unfit {
        Unfit { why: why.into(), path: Vec::new() }
    }
    fn at(mut self, place: String) -> Unfit {
        self.path.push(place);
        self
    }
}

/// Writes a value as JSON; an error names the place of what JSON can't say: `orders[3].x`.
pub fn encode(value: &Dynamic, way: Way) -> Result<Vec<u8>, Raise> {
    let mut out = Vec::with_capacity(128);
    match write(&mut out, value, way, 0) {
        Ok(()) => Ok(out),
        Err(Unfit { why, path }) if path.is_empty() => Err(Raise::error(why)),
        Err(Unfit { why, path }) => {
            let path: String = path.into_iter().rev().collect();
            Err(Raise::error(format!("{}: {why}", path.trim_start_matches('.'))))
        }
    }
}

fn write(out: &mut Vec<u8>, value: &Dynamic, way: Way, depth: usize) -> Result<(), Unfit> {
    if (way.stops)() {
        return Err(Unfit::new(STOPPED));
    }
    if depth > MAX_DEPTH {
        return Err(Unfit::new(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    if value.is_shared() {
        return match value.read_lock::<Dynamic>() {
            Some(inner) => write(out, &inner, way, depth),
            None => Err(Unfit::new("a value that is being changed can't be JSON")),
        };
    }
    if value.is_unit() {
        out.extend_from_slice(b"null");
    } else if let Ok(b) = value.as_bool() {
        out.extend_from_slice(if b { b"true" } else { b"false" });
    } else if let Ok(i) = value.as_int() {
        json::write_i64(out, i);
    } else if let Ok(f) = value.as_float() {
        json::write_f64(out, f);
    } else if let Ok(text) = value.as_immutable_string_ref() {
        json::write_str(out, text.as_bytes());
    } else if let Ok(map) = value.as_map_ref() {
        let shape = way.shapes.borrow().shape(value.tag());
        write_map(out, &map, shape.as_deref(), way, depth)?;
    } else if let Ok(array) = value.as_array_ref() {
        out.push(b'[');
        for (index, item) in array.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, item, way, depth + 1).map_err(|unfit| unfit.at(format!("[{index}]")))?;
        }
        out.push(b']');
    } else if let Ok(c) = value.as_char() {
        json::write_str(out, c.encode_utf8(&mut [0; 4]).as_bytes());
    } else if let Some(big) = value.read_lock::<Big>() {
        out.extend_from_slice(big.0.to_string().as_bytes());
    } else if let Some(texts) = value.read_lock::<Object>().and_then(|object| object.texts()) {
        json::write_texts(out, &texts);
    } else {
        return Err(Unfit::new(format!("{} can't be JSON", type_name(value))));
    }
    Ok(())
}

fn write_map(out: &mut Vec<u8>, map: &Map, shape: Option<&Shape>, way: Way, depth: usize) -> Result<(), Unfit> {
    out.push(b'{');
    let mut first = true;
    let mut entry = |key: &Key, value: &Dynamic| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        json::write_str(out, key.as_bytes());
        out.push(b':');
        write(out, value, way, depth + 1).map_err(|unfit| unfit.at(format!(".{key}")))
    };
    let Some(shape) = shape else {
        for (key, value) in map {
            entry(key, value)?;
        }
        out.push(b'}');
        return Ok(());
    };
    let mut written = 0;
    for key in &shape.order {
        if let Some(value) = map.get(key) {
            entry(key, value)?;
            written += 1;
        }
    }
    if written < map.len() {
        for (key, value) in map.iter().filter(|(key, _)| shape.sorted.binary_search(key).is_err()) {
            entry(key, value)?;
        }
    }
    out.push(b'}');
    Ok(())
}

/// The word for a value's type in messages.
pub fn type_name(value: &Dynamic) -> String {
    let known = [
        (value.is::<()>(), "nothing"),
        (value.is::<bool>(), "a boolean"),
        (value.is::<i64>() || value.is::<f64>() || value.is::<Big>(), "a number"),
        (value.is::<ImmutableString>() || value.is::<char>(), "a string"),
        (value.is::<Array>(), "an array"),
        (value.is::<Map>(), "a map"),
        (value.is::<Blob>(), "a blob"),
        (value.is::<FnPtr>(), "a function"),
    ];
    if let Some((_, name)) = known.iter().find(|(it_is, _)| *it_is) {
        return (*name).to_owned();
    }
    match value.read_lock::<Object>() {
        Some(object) => format!("a {}", object.kind().name),
        None => value.type_name().rsplit("::").next().unwrap_or("a value").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(shapes: &RefCell<Shapes>) -> Way<'_> {
        Way { shapes, stops: &|| false }
    }

    fn round(text: &str) -> String {
        let shapes = RefCell::default();
        let read = decode(text.as_bytes(), way(&shapes)).and_then(|document| encode(&document, way(&shapes)));
        match read {
            Ok(out) => String::from_utf8(out).expect("UTF-8"),
            Err(raise) => raise.to_string(),
        }
    }

    #[test]
    fn documents_pass_unchanged() {
        for text in [
            r#"{"b":1,"a":{"z":[],"y":{},"x":null},"c":[1,[2,[3]]]}"#,
            "[9223372036854775807,-9223372036854775808,18446744073709551615,9007199254740993]",
            r#"["grüße","\u0000\n\"",true,false,1.5,1e+300]"#,
            "\"text\"",
            "null",
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round("[20.0, 1e2]"), "[20,100]");
        assert_eq!(round(r#"{"b":1,"a":2,"b":3}"#), r#"{"b":3,"a":2}"#);
    }

    #[test]
    fn what_nobody_looks_at_is_checked_as_the_rest_is() {
        let shapes = RefCell::default();
        let wanted = Wanted::Members(vec![("a".into(), Wanted::All)]);
        let part = |text: &str| decode_wanted(text.as_bytes(), &wanted, way(&shapes));
        for b in
            ["[1,}", "1e999", "\"\\ud800\"", "\"\n\"", "{\"c\" 1}", "tru", &"[".repeat(200), &"{\"b\":".repeat(200)]
        {
            let text = format!("{{\"a\":1,\"b\":{b}}}");
            let whole = decode(text.as_bytes(), way(&shapes)).expect_err(b).to_string();
            assert_eq!(part(&text).expect_err(b).to_string(), whole);
        }
        let read = |text: &str| part(text).and_then(|read| encode(&read, way(&shapes))).expect("JSON");
        assert_eq!(read(r#"{"b":{"a":1},"a":{"z":1,"b":[2]},"c":null}"#), br#"{"a":{"z":1,"b":[2]}}"#);
        assert_eq!(read(r#"{"a":1,"b":2,"a":3}"#), br#"{"a":3}"#);
        assert_eq!(read(r#"[{"b":1}]"#), br#"[{"b":1}]"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        assert_eq!(round("{"), "not JSON: EOF while parsing an object at line 1 column 1");
        assert_eq!(round(" "), "not JSON: it is empty");
        assert_eq!(round("1 2"), "not JSON: trailing characters at line 1 column 3");
        let deep = ["[", "]"].map(|bracket| bracket.repeat(200)).concat();
        assert_eq!(round(&deep), "not JSON: recursion limit exceeded at line 1 column 128");
    }

    #[test]
    fn changed_documents_keep_the_order_of_what_is_left() {
        let shapes = RefCell::default();
        let mut document = decode(br#"{"c":1,"b":2,"a":3}"#, way(&shapes)).expect("JSON");
        {
            let mut map = document.as_map_mut().expect("a map");
            map.remove("b");
            map.insert("0".into(), 0.into());
            map.insert("d".into(), 4.into());
        }
        let copy = document.clone();
        let text = encode(&copy, way(&shapes)).expect("JSON");
        assert_eq!(String::from_utf8_lossy(&text), r#"{"c":1,"a":3,"0":0,"d":4}"#);
    }

    #[test]
    fn what_json_can_not_say_is_named_with_its_place() {
        let shapes = RefCell::default();
        let said = |value: Dynamic| match encode(&value, way(&shapes)) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(raise) => raise.to_string(),
        };
        let bad: Map = [("x".into(), Dynamic::from_blob(vec![1]))].into_iter().collect();
        let orders: Array = vec![1.into(), Dynamic::from_map(bad)];
        let document: Map = [("orders".into(), Dynamic::from_array(orders))].into_iter().collect();
        assert_eq!(said(Dynamic::from_map(document)), "orders[1].x: a blob can't be JSON");
        let mut deep = Dynamic::UNIT;
        for _ in 0..200 {
            deep = Dynamic::from_array(vec![deep]);
        }
        assert!(said(deep).ends_with("]: nested deeper than 128 levels"));
    }
}
