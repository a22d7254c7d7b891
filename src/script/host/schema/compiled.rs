//! A compiled schema, and what it says about documents and parameters.
//!
//! What could take long is bounded: a schema by [`SIZE`], its patterns by their compiled size and an engine that needs linear time,
//! the list of violations by the caller and, for large documents, by [`LISTED`]. Documents nest to 128 levels at most.

use super::strict::Strict;
use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::{Map, Value as Json, error::Category};
use std::collections::HashMap;

/// The longest schema, in bytes of JSON.
pub(super) const SIZE: usize = 1 << 20;
/// Documents above this many bytes get their first violation only: a million wrong items must not become a million messages.
const LISTED: usize = 64 << 10;
/// The longest message, in characters: a name of the document may stand in it.
const MESSAGE: usize = 300;
/// The compiled size of a pattern and of its automaton, in bytes.
const PATTERN: usize = 1 << 20;
/// References from one property's schema to the next.
const REFERENCES: usize = 16;
/// Formats of OpenAPI (registry of formats, 3.1 §4.4) that JSON Schema doesn't have; they say how a value is kept, not what it is.
const HINTS: [&str; 7] = ["int32", "int64", "float", "double", "password", "byte", "binary"];

#[derive(Debug)]
pub struct Violation {
    pub pointer: String,
    pub keyword: String,
    pub message: String,
}

pub struct Schema {
    validator: Validator,
    /// How the texts of top-level properties are read.
    shapes: HashMap<String, Shape>,
}

/// What a parameter's text may stand for.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    list: bool,
    number: bool,
    boolean: bool,
    null: bool,
}

impl Schema {
    /// Of a schema's JSON text, or of a JSON string with that text in it.
    pub fn compile(text: &[u8]) -> Result<Schema, String> {
        let document = parse_schema(text)?;
        let validator = options().build(&document).map_err(|error| wrong(&error))?;
        Ok(Schema { validator, shapes: shapes(&document) })
    }

    /// What is wrong with a document, as text of the gateway's own.
    pub fn document(&self, text: &[u8], most: usize) -> Vec<Violation> {
        match serde_json::from_slice::<Json>(text) {
            Ok(document) => self.violations(&document, text.len(), most),
            Err(error) => vec![malformed(&error)],
        }
    }

    /// What is wrong with a text of someone else.
    pub fn text(&self, text: &[u8], most: usize) -> Vec<Violation> {
        match serde_json::from_slice::<Strict>(text) {
            Ok(Strict(document)) => self.violations(&document, text.len(), most),
            Err(error) => vec![malformed(&error)],
        }
    }

    /// What is wrong with parameters: an object of texts and lists of texts.
    pub fn texts(&self, text: &[u8], most: usize) -> Vec<Violation> {
        let values: Map<String, Json> = match serde_json::from_slice(text) {
            Ok(values) => values,
            Err(error) => return vec![malformed(&error)],
        };
        let read = values.into_iter().map(|(name, value)| {
            let shape = self.shapes.get(&name).copied().unwrap_or_default();
            (name, shape.read(value))
        });
        self.violations(&Json::Object(read.collect()), text.len(), most)
    }

    fn violations(&self, document: &Json, size: usize, most: usize) -> Vec<Violation> {
        violations(&self.validator, document, size, most)
    }
}

/// How every schema is compiled.
pub(super) fn options<'r>() -> ValidationOptions<'r> {
    let mut options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // SECURITY: a `$ref` to a file or an address is an error, whatever features the crate is built with.
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN).dfa_size_limit(PATTERN));
    for hint in HINTS {
        options = options.with_format(hint, |_: &str| true);
    }
    options
}

/// What is wrong with a document that was `size` bytes long.
pub(super) fn violations(validator: &Validator, document: &Json, size: usize, most: usize) -> Vec<Violation> {
    if validator.is_valid(document) {
        return Vec::new();
    }
    let most = if size > LISTED { 1 } else { most };
    let mut found: Vec<Violation> = if most == 1 {
        validator.validate(document).err().iter().map(violation).collect()
    } else {
        validator.iter_errors(document).take(most).map(|error| violation(&error)).collect()
    };
    if found.is_empty() {
        // SECURITY: what was found wrong stays wrong, even if nobody can say why.
        found.push(Violation {
            pointer: String::new(),
            keyword: "schema".into(),
            message: "it is not as it should be".into(),
        });
    }
    found
}

impl Shape {
    fn read(self, value: Json) -> Json {
        match value {
            Json::Array(mut items) if !self.list && items.len() == 1 => self.scalar(items.remove(0)),
            Json::Array(items) if self.list => Json::Array(items.into_iter().map(|item| self.scalar(item)).collect()),
            // Two values where one is expected stay two, and are no number or text.
            Json::Array(items) => Json::Array(items),
            one if self.list => Json::Array(vec![self.scalar(one)]),
            one => self.scalar(one),
        }
    }

    fn scalar(self, value: Json) -> Json {
        let Json::String(text) = &value else { return value };
        let read = match text.as_str() {
            "true" | "false" if self.boolean => Some(Json::Bool(text == "true")),
            "null" | "" if self.null => Some(Json::Null),
            // JSON's own numbers only: `+1`, `01` and ` 1` are read differently by different backends.
            digits if self.number && digits.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                serde_json::from_str::<serde_json::Number>(digits).ok().filter(|_| is_tight(digits)).map(Json::Number)
            }
            _ => None,
        };
        read.unwrap_or(value)
    }
}

fn is_tight(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_whitespace())
}

fn parse_schema(text: &[u8]) -> Result<Json, String> {
    let parse = |text: &[u8]| {
        if text.len() > SIZE {
            return Err(format!("the schema is longer than {SIZE} bytes"));
        }
        serde_json::from_slice::<Strict>(text).map(|Strict(json)| json).map_err(|e| format!("the schema: {e}"))
    };
    // A string that was given comes as itself, or as JSON's string.
    match parse(text)? {
        Json::String(inner) => parse(inner.as_bytes()),
        document @ (Json::Object(_) | Json::Bool(_)) => Ok(document),
        other => Err(format!("a schema is an object or a boolean, not `{}`", cut(&other.to_string()))),
    }
}

fn wrong(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => format!("the schema: {}", cut(&error.to_string())),
        pointer => format!("the schema at `{pointer}`: {}", cut(&error.to_string())),
    }
}

pub(super) fn violation(error: &ValidationError<'_>) -> Violation {
    Violation {
        pointer: error.instance_path().as_str().to_owned(),
        keyword: error.kind().keyword().to_owned(),
        // The value itself is left out: it may be a password, and messages go into logs.
        message: cut(&error.masked_with("the value").to_string()),
    }
}

pub(super) fn malformed(error: &serde_json::Error) -> Violation {
    let keyword = if error.classify() == Category::Data { "duplicate" } else { "json" };
    Violation { pointer: String::new(), keyword: keyword.into(), message: error.to_string() }
}

pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shapes(document: &Json) -> HashMap<String, Shape> {
    let properties = document.get("properties").and_then(Json::as_object);
    properties.into_iter().flatten().map(|(name, schema)| (name.clone(), shape(document, schema))).collect()
}

fn shape(document: &Json, schema: &Json) -> Shape {
    let schema = followed(document, schema);
    let list = has_type(schema, "array");
    let item = match schema.get("items") {
        Some(items) if list => followed(document, items),
        _ => schema,
    };
    // A text that may stay one stays one.
    let is_text = has_type(item, "string");
    Shape {
        list,
        number: !is_text && (has_type(item, "integer") || has_type(item, "number")),
        boolean: !is_text && has_type(item, "boolean"),
        null: !is_text && has_type(item, "null"),
    }
}

/// The schema that a chain of references within the document leads to.
fn followed<'d>(document: &'d Json, mut schema: &'d Json) -> &'d Json {
    for _ in 0..REFERENCES {
        let pointer = schema.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
        match pointer.and_then(|pointer| document.pointer(pointer)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(schema: &str) -> Schema {
        Schema::compile(schema.as_bytes()).unwrap_or_else(|error| panic!("{schema}: {error}"))
    }

    fn told(violations: Vec<Violation>) -> Vec<String> {
        violations.into_iter().map(|v| format!("{} {}: {}", v.pointer, v.keyword, v.message)).collect()
    }

    fn refused(schema: &str) -> String {
        Schema::compile(schema.as_bytes()).map(|_| ()).expect_err(schema)
    }

    #[test]
    fn every_violation_has_its_place() {
        let schema = compiled(
            r#"{"type":"object","required":["name"],"properties":{"name":{"type":"string","minLength":2},"tags":{"type":"array","items":{"type":"string","format":"email"}},"a/b":{"maximum":3}},"additionalProperties":false}"#,
        );
        assert_eq!(told(schema.text(br#"{"name":"Ada","tags":["a@example.com"]}"#, 9)), [""; 0]);
        let wrong = told(schema.text(br#"{"name":"A","tags":["x",7],"a/b":4}"#, 9));
        assert_eq!(
            wrong,
            [
                "/name minLength: the value is shorter than 2 characters",
                "/tags/0 format: the value is not a \"email\"",
                "/tags/1 type: the value is not of type \"string\"",
                "/a~1b maximum: the value is greater than the maximum of 3",
            ]
        );
        assert_eq!(told(schema.text(br#"{"name":"A","tags":["x",7],"a/b":4}"#, 2)).len(), 2);
        assert_eq!(told(schema.text(b"{}", 9)), [" required: \"name\" is a required property"]);
    }

    #[test]
    fn text_that_can_be_read_in_two_ways_is_refused() {
        let schema = compiled("true");
        let keyword = |text: &str| schema.text(text.as_bytes(), 9).into_iter().map(|v| v.keyword).collect::<Vec<_>>();
        assert_eq!(keyword(r#"{"a":1,"b":{"a":2}}"#), [""; 0]);
        assert_eq!(keyword(r#"{"a":1,"a":2}"#), ["duplicate"]);
        assert_eq!(keyword(r#"{"a":1,"\u0061":2}"#), ["duplicate"]);
        for text in ["", "{", "{}x", "nul", "\u{feff}{}", "01", &"[".repeat(200), &"[".repeat(1 << 20)] {
            assert_eq!(keyword(text), ["json"], "{}", cut(text));
        }
    }

    #[test]
    fn references_stay_inside() {
        let schema = compiled(r##"{"$ref":"#/$defs/list","$defs":{"list":{"type":"array","items":{"$ref":"#"}}}}"##);
        assert_eq!(told(schema.text(b"[[],[[]]]", 9)), [""; 0]);
        assert_eq!(told(schema.text(b"[[7]]", 9)).len(), 1);
        for target in ["http://127.0.0.1:1/x", "https://example.com/x", "file:///etc/hostname", "other.json", "#/no"] {
            let message = refused(&format!(r#"{{"$ref":"{target}"}}"#));
            assert!(message.starts_with("the schema"), "{target}: {message}");
        }
    }

    #[test]
    fn a_reference_to_itself_ends() {
        let schemas = [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}"##,
        ];
        for schema in schemas {
            if let Ok(compiled) = Schema::compile(schema.as_bytes()) {
                compiled.text(b"{}", 9);
            }
        }
    }

    #[test]
    fn wrong_schemas_are_named() {
        assert!(refused(r#"{"properties":{"a":{"type":"strin"}}}"#).starts_with("the schema at `/properties/a/type`"));
        assert!(refused(r#"{"format":"emial"}"#).contains("emial"));
        assert!(refused(r#"{"pattern":"(a"}"#).starts_with("the schema at `/pattern`"));
        assert!(refused(r#"{"pattern":"(?=a)"}"#).starts_with("the schema at `/pattern`"), "no look-around");
        assert_eq!(refused("[]"), "a schema is an object or a boolean, not `[]`");
        assert_eq!(refused(&" ".repeat(SIZE + 1)), "the schema is longer than 1048576 bytes");
        assert!(refused(&format!("{}{}", r#"{"not":"#.repeat(500), "1")).contains("recursion limit"));
        assert!(Schema::compile(br#""{\"type\":\"object\"}""#).is_ok(), "a text");
    }

    #[test]
    fn patterns_need_linear_time() {
        let schema = compiled(r#"{"pattern":"^(a+)+$"}"#);
        let started = std::time::Instant::now();
        let text = format!("\"{}b\"", "a".repeat(50_000));
        assert_eq!(schema.text(text.as_bytes(), 9).len(), 1);
        assert!(started.elapsed().as_millis() < 2000);
        assert!(refused(r#"{"pattern":"((a{1000}){1000}){1000}"}"#).starts_with("the schema at `/pattern`"));
    }

    #[test]
    fn parameters_are_read_as_their_schema_says() {
        let schema = compiled(
            r##"{"properties":{"page":{"type":"integer"},"price":{"$ref":"#/$defs/n"},"on":{"type":"boolean"},"ids":{"type":"array","items":{"type":"integer"}},"q":{"type":"string"}},"$defs":{"n":{"type":["number","null"]}}}"##,
        );
        for good in [
            r#"{"page":"7","price":"1.5","on":"true","ids":["1","2"],"q":"7","other":["x"]}"#,
            r#"{"page":["-7"],"price":[""],"ids":"1","q":["a"]}"#,
        ] {
            assert_eq!(told(schema.texts(good.as_bytes(), 9)), [""; 0], "{good}");
        }
        for bad in [
            r#"{"page":"x"}"#,
            r#"{"page":"+1"}"#,
            r#"{"page":"01"}"#,
            r#"{"page":" 1"}"#,
            r#"{"page":"1 "}"#,
            r#"{"page":""}"#,
            r#"{"page":["1","2"]}"#,
            r#"{"q":["a","b"]}"#,
            r#"{"on":"yes"}"#,
            r#"{"ids":["1","x"]}"#,
        ] {
            assert_eq!(schema.texts(bad.as_bytes(), 9).len(), 1, "{bad}");
        }
    }

    #[test]
    fn of_a_large_document_the_first_violation_is_told() {
        let schema = compiled(r#"{"items":{"type":"string"}}"#);
        let text = format!("[{}0]", "0,".repeat(LISTED));
        assert_eq!(told(schema.text(text.as_bytes(), 50)), ["/0 type: the value is not of type \"string\""]);
    }
}
