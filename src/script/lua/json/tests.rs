//! The reader against serde_json: they accept the same and read the same.

use super::*;
use proptest::prelude::*;

/// What serde_json reads, as this machine's encoder would write it: keys that repeat keep their first place and last value.
fn by_serde(text: &[u8]) -> Result<String, String> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|why| json::refused(text, Some(&why)).to_string())?;
    let mut out = Vec::new();
    write(&mut out, &value);
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn write(out: &mut Vec<u8>, value: &serde_json::Value) {
    use serde_json::Value as Json;
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(b) => out.extend_from_slice(b.to_string().as_bytes()),
        Json::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(whole), _) => out.extend_from_slice(whole.to_string().as_bytes()),
            (None, f) => json::write_f64(out, f.expect("a number")),
        },
        Json::String(text) => json::write_str(out, text.as_bytes()),
        Json::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Json::Object(entries) => {
            out.push(b'{');
            for (index, (name, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json::write_str(out, name.as_bytes());
                out.push(b':');
                write(out, value);
            }
            out.push(b'}');
        }
    }
}

struct Machine {
    lua: Lua,
    tables: Tables,
}

impl Machine {
    fn new() -> Machine {
        let lua = Lua::new();
        Machine { tables: Tables::new(&lua).expect("tables"), lua }
    }

    /// Twice: the second time all keys are known, and it is the other reader's turn.
    fn through(&self, text: &[u8]) -> Result<String, String> {
        let first = self.once(text);
        assert_eq!(self.once(text), first, "read again: {:?}", String::from_utf8_lossy(text));
        // And as one of which nothing is looked at, for which it must be long.
        let long = [text, &[b' '; 512]].concat();
        if let Some(stub) = raw::stubs::document_of(&self.lua, &self.tables, &long).expect("memory") {
            assert_eq!(self.written(&stub), first, "untouched: {:?}", String::from_utf8_lossy(text));
        }
        first
    }

    fn once(&self, text: &[u8]) -> Result<String, String> {
        let decoded = match decode(&self.lua, &self.tables, None, text) {
            Ok(value) => value,
            Err(Undecoded::Refused(raise)) => return Err(raise.to_string()),
            Err(Undecoded::Lua(error)) => panic!("{error}"),
        };
        self.written(&decoded)
    }

    fn written(&self, value: &Value) -> Result<String, String> {
        let written = encode(&self.lua, &self.tables, None, value).expect("memory");
        let written = written.map_err(|raise| raise.to_string())?;
        Ok(String::from_utf8(written.to_vec()).expect("UTF-8"))
    }
}

#[test]
fn no_text_is_taken_for_another_that_is_kept() {
    let machine = Machine::new();
    let text = Bytes::from_static(b"[1][2][3]");
    let keep = |text: &Bytes, value: i32| {
        let table = machine.lua.create_sequence_from([value]).expect("memory");
        machine.tables.keep(text, table, Bytes::new()).expect("memory");
    };
    let kept = |text: &Bytes| {
        let place = machine.tables.kept_place(text)?;
        machine.tables.kept.raw_get::<Table>(place).ok()?.raw_get::<i32>(1).ok()
    };
    // The same place in memory, twice.
    let (first, longer, other) = (text.slice(..3), text.slice(..6), text.slice(6..));
    keep(&first, 1);
    keep(&longer, 2);
    keep(&other, 3);
    assert_eq!([kept(&first), kept(&longer), kept(&other)], [None, Some(2), Some(3)]);
}

#[test]
fn what_serde_json_refuses_is_refused_in_its_words() {
    let machine = Machine::new();
    for text in [
        "",
        " ",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "nul",
        "nulll",
        "tru",
        "True",
        "'a'",
        "\"a",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "01",
        "-",
        "-a",
        "+1",
        "1.",
        ".5",
        "1.e5",
        "1e",
        "1e+",
        "1e400",
        "-1e400",
        "00",
        "-01",
        "0x1",
        "1 2",
        "[1] x",
        "NaN",
        "Infinity",
        "\u{feff}1",
        "[1}",
        "{\"a\":1]",
    ] {
        assert_eq!(machine.through(text.as_bytes()), by_serde(text.as_bytes()), "{text}");
        assert!(by_serde(text.as_bytes()).is_err(), "{text}");
    }
    for bytes in [&b"\"\xff\""[..], b"\xff", b"\"\xed\xa0\x80\"", b"[\"a\xc3\"]", b"{\"\xe9\":1}"] {
        assert_eq!(machine.through(bytes), by_serde(bytes));
    }
    for depth in [126, 127, 128, 200] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(machine.through(text.as_bytes()), by_serde(text.as_bytes()), "{depth}");
        }
    }
}

#[test]
fn numbers_and_strings_are_read_exactly() {
    let machine = Machine::new();
    for text in [
        "0",
        "-0",
        "-0.0",
        "1e2",
        "1E-2",
        "0.1",
        "9007199254740992",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "5e-324",
        r#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00""#,
        "\"\u{7f}é😀\"",
        r#"{"\u0061":1,"a":2}"#,
        r#"{"":{"":[]}}"#,
    ] {
        assert_eq!(machine.through(text.as_bytes()), by_serde(text.as_bytes()), "{text}");
    }
}

#[test]
fn keys_that_come_twice_keep_their_first_place() {
    let machine = Machine::new();
    let text = r#"{"a":{"x":1,"x":[1,{"y":2,"z":3,"y":[4]}]},"b":2,"a":{"x":5},"c":[{"a":1,"a":{}}]}"#;
    let written = r#"{"a":{"x":5},"b":2,"c":[{"a":{}}]}"#;
    assert_eq!(machine.through(text.as_bytes()), Ok(written.into()));
    let inner = r#"[{"x":1,"x":[1,{"y":2,"z":3,"y":[4]}]}]"#;
    assert_eq!(machine.through(inner.as_bytes()), Ok(r#"[{"x":[1,{"y":[4],"z":3}]}]"#.into()));
}

#[test]
fn more_shapes_than_are_kept_change_nothing() {
    let machine = Machine::new();
    let entries = |from: usize| (from..from + 700).map(|n| format!(r#"{{"z{n}":1,"a{n}":{{}}}}"#)).collect::<Vec<_>>();
    let held = decode(&machine.lua, &machine.tables, None, br#"{"z":1,"a":2}"#);
    let Ok(held) = held else { panic!("it is JSON") };
    for from in [0, 300, 5000] {
        let text = format!("[{}]", entries(from).join(","));
        assert_eq!(machine.through(text.as_bytes()), Ok(text));
    }
    assert!(machine.tables.shapes.borrow().keys.len() <= MAX_SHAPES);
    let written = encode(&machine.lua, &machine.tables, None, &held).expect("memory").expect("JSON");
    assert_eq!(written, br#"{"z":1,"a":2}"#[..]);
    let wide: Vec<String> = (0..900).rev().map(|n| format!(r#""key{n}":{n}"#)).collect();
    let wide = format!("[{{{}}},{{}}]", wide.join(","));
    assert_eq!(machine.through(wide.as_bytes()), Ok(wide));
}

#[test]
fn documents_whose_keys_are_known_go_straight_onto_the_stack() {
    let machine = Machine::new();
    let is_straight = |text: &str| {
        let read = raw::read::document(&machine.lua, &machine.tables, None, text.as_bytes());
        read.expect("memory").is_some()
    };
    let long = format!("[{}]", (0..1000).map(|n| format!(r#"{{"n":{n},"of":[{n}]}}"#)).collect::<Vec<_>>().join(","));
    for text in [
        r#"{"z":1,"a":{"y":[],"x":{},"b":null},"list":[1,"two",3.25,true,[]]}"#,
        r#" { "a" : "\u00e9\n" , "b" : [ -0.0 , 1e3 ] } "#,
        &long,
    ] {
        assert!(!is_straight(text), "{text}");
        let first = machine.through(text.as_bytes());
        assert!(is_straight(text), "{text}");
        assert_eq!(machine.through(text.as_bytes()), first);
    }
    for unusual in [
        r#"{"z":1,"z":2}"#,
        r#"{"z":1,"a":{}}"#,
        r#"{"z":9007199254740993}"#,
        r#"{"\u007a":1}"#,
        r#"{"z":1"#,
        r#"{"z":1}}"#,
        "[1,]",
    ] {
        assert!(!is_straight(unusual), "{unusual}");
    }
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e15..1e15).prop_map(|f: f64| f.trunc().into()),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec(("[a-d]{0,2}|.{1,3}", inner), 0..6)
                .prop_map(|entries| { serde_json::Value::Object(entries.into_iter().collect()) }),
        ]
    })
}

proptest! {
    #[test]
    fn documents_come_through_as_serde_json_reads_them(document in document(), pretty: bool) {
        let machine = Machine::new();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let text = text.expect("JSON");
        prop_assert_eq!(machine.through(text.as_bytes()), by_serde(text.as_bytes()));
    }

    #[test]
    fn broken_documents_are_refused_alike(document in document(), at: prop::sample::Index, byte: u8, cut: bool) {
        let machine = Machine::new();
        let mut text = document.to_string().into_bytes();
        machine.through(&text).expect("JSON");
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let (ours, theirs) = (machine.through(&text), by_serde(&text));
        // serde_json rounds some long fractions and exponents to a neighbour.
        if ours != theirs {
            prop_assert!(text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')), "{:?} {:?}", ours, theirs);
        }
    }

    #[test]
    fn doubles_are_read_as_rust_reads_them(f: f64) {
        prop_assume!(f.is_finite());
        let machine = Machine::new();
        let text = format!("{f:e}");
        let mut out = Vec::new();
        json::write_f64(&mut out, f);
        prop_assert_eq!(machine.through(text.as_bytes()), Ok(String::from_utf8(out).expect("UTF-8")));
    }
}
