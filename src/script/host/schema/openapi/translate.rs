//! The schemas of an OpenAPI document as one JSON Schema of 2020-12.
//!
//! What is used is collected from the places that use it: each `$ref` becomes one into `$defs`, wherever it led, and its target
//! is collected in turn. What 3.0 says otherwise (`nullable`, a boolean `exclusiveMinimum`, words beside a `$ref` that don't
//! count) is translated; what says nothing about a request's values (`example`, `xml`, …) is left behind, so that nobody has to
//! know it. Nothing is compiled here.

use super::Wrong;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;

/// What a document's `openapi` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Schemas are a dialect of an old draft of JSON Schema.
    V30,
    /// Schemas are JSON Schema 2020-12.
    V31,
}

/// Schemas that one document may use.
const MOST: usize = 20_000;
/// Of nesting within one schema.
const DEPTH: usize = 128;

/// Keywords whose value is a schema, a list of schemas, or schemas by name.
const ONE: [&str; 10] = [
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const LISTED: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const NAMED: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords that say something about a value and hold no schema.
const PLAIN: [&str; 22] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "default",
];

pub struct Schemas<'d> {
    document: &'d Json,
    version: Version,
    numbers: HashMap<String, usize>,
    /// Where each number's schema stands.
    pointers: Vec<String>,
}

/// All schemas: `{"$defs": {"0": …}}`, and where each stood in the document.
pub struct Translated {
    pub whole: Json,
    pub pointers: Vec<String>,
}

impl<'d> Schemas<'d> {
    pub fn new(document: &'d Json, version: Version) -> Schemas<'d> {
        Schemas { document, version, numbers: HashMap::new(), pointers: Vec::new() }
    }

    /// The number of the schema that stands at a place of the document.
    pub fn number(&mut self, pointer: &str) -> usize {
        if let Some(number) = self.numbers.get(pointer) {
            return *number;
        }
        let number = self.pointers.len();
        self.numbers.insert(pointer.to_owned(), number);
        self.pointers.push(pointer.to_owned());
        number
    }

    /// How many have a number by now.
    pub fn len(&self) -> usize {
        self.pointers.len()
    }

    /// Translates what was numbered, and all that it refers to.
    pub fn finish(mut self, wrong: &mut Vec<Wrong>) -> Translated {
        let mut all = Map::new();
        let mut next = 0;
        while next < self.pointers.len() {
            let pointer = self.pointers[next].clone();
            if next >= MOST {
                wrong.push(Wrong::at(&pointer, format!("there are more than {MOST} schemas")));
                break;
            }
            if let Some(schema) = self.document.pointer(&pointer) {
                let translated = self.schema(schema, &pointer, 0, wrong);
                all.insert(next.to_string(), translated);
            }
            next += 1;
        }
        Translated { whole: json!({ "$defs": all }), pointers: self.pointers }
    }

    fn schema(&mut self, schema: &Json, pointer: &str, depth: usize, wrong: &mut Vec<Wrong>) -> Json {
        let object = match schema {
            Json::Bool(_) => return schema.clone(),
            Json::Object(object) => object,
            _ => {
                wrong.push(Wrong::at(pointer, "a schema is a mapping or a boolean"));
                return Json::Bool(true);
            }
        };
        if depth > DEPTH {
            wrong.push(Wrong::at(pointer, "the schema nests too deep"));
            return Json::Bool(true);
        }
        let mut made = Map::new();
        if let Some(target) = object.get("$ref") {
            let number = self.target(target, &format!("{pointer}/$ref"), wrong);
            made.insert("$ref".to_owned(), json!(format!("#/$defs/{number}")));
            if self.version == Version::V30 {
                return Json::Object(made);
            }
        }
        for (keyword, value) in object {
            let below = format!("{pointer}/{}", escaped(keyword));
            let keyword = keyword.as_str();
            let translated = match value {
                _ if ONE.contains(&keyword) => self.schema(value, &below, depth + 1, wrong),
                Json::Array(items) if LISTED.contains(&keyword) => {
                    let one = |(index, item)| self.schema(item, &format!("{below}/{index}"), depth + 1, wrong);
                    items.iter().enumerate().map(one).collect()
                }
                Json::Object(entries) if NAMED.contains(&keyword) => {
                    let one = |(name, item): (&String, &Json)| {
                        (name.clone(), self.schema(item, &format!("{below}/{}", escaped(name)), depth + 1, wrong))
                    };
                    Json::Object(entries.iter().map(one).collect())
                }
                Json::Array(names) if keyword == "required" => self.required(object, names),
                _ if PLAIN.contains(&keyword) || LISTED.contains(&keyword) || NAMED.contains(&keyword) => value.clone(),
                _ if matches!(keyword, "$dynamicRef" | "$recursiveRef") => {
                    wrong.push(Wrong::at(&below, format!("`{keyword}` is not supported: use `$ref`")));
                    continue;
                }
                _ => continue,
            };
            made.insert(keyword.to_owned(), translated);
        }
        if self.version == Version::V30 {
            modernise(object, &mut made);
        }
        Json::Object(made)
    }

    /// What a request must have: OpenAPI 3.0.3 §4.7.24.2, `readOnly` properties are required of responses only.
    fn required(&self, schema: &Map<String, Json>, names: &[Json]) -> Json {
        let is_read_only = |name: &str| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            let property = property.map(|property| resolved(self.document, property));
            property.and_then(|property| property.get("readOnly")) == Some(&Json::Bool(true))
        };
        names.iter().filter(|name| !name.as_str().is_some_and(is_read_only)).cloned().collect()
    }

    fn target(&mut self, target: &Json, pointer: &str, wrong: &mut Vec<Wrong>) -> usize {
        match find(self.document, target) {
            Ok(found) => self.number(&found),
            Err(message) => {
                wrong.push(Wrong::at(pointer, message));
                // The document is refused anyway.
                self.number("")
            }
        }
    }
}

impl Translated {
    /// Where in the document a place of the whole stood, such as `/$defs/3/properties/a`.
    pub fn place(&self, pointer: &str) -> String {
        let below = pointer.strip_prefix("/$defs/").unwrap_or_default();
        let (number, rest) = below.split_once('/').unwrap_or((below, ""));
        let stood = number.parse().ok().and_then(|number: usize| self.pointers.get(number));
        let stood = stood.map_or("", String::as_str);
        if rest.is_empty() { stood.to_owned() } else { format!("{stood}/{rest}") }
    }
}

/// What 3.0 means, in the words of 2020-12.
fn modernise(schema: &Map<String, Json>, made: &mut Map<String, Json>) {
    if schema.get("nullable") == Some(&Json::Bool(true))
        && let Some(Json::String(name)) = made.get("type").cloned()
    {
        made.insert("type".to_owned(), json!([name, "null"]));
    }
    for (exclusive, inclusive) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match made.get(exclusive) {
            Some(Json::Bool(true)) => {
                made.remove(exclusive);
                if let Some(bound) = made.remove(inclusive) {
                    made.insert(exclusive.to_owned(), bound);
                }
            }
            Some(Json::Bool(false)) => {
                made.remove(exclusive);
            }
            _ => {}
        }
    }
}

/// The JSON pointer that a `$ref` within the document leads to.
pub fn find(document: &Json, target: &Json) -> Result<String, String> {
    let Some(text) = target.as_str() else {
        return Err("a `$ref` is a string".to_owned());
    };
    let Some(fragment) = text.strip_prefix('#') else {
        return Err(format!("`{}` is not in the document", shown(text)));
    };
    // RFC 6901 §6: a pointer in a fragment is percent-encoded.
    let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy().into_owned();
    match document.pointer(&pointer) {
        Some(_) => Ok(pointer),
        None => Err(format!("`{}` leads nowhere", shown(text))),
    }
}

/// What a chain of references leads to; the last one that does, when it breaks off.
pub fn resolved<'d>(document: &'d Json, mut value: &'d Json) -> &'d Json {
    for _ in 0..16 {
        let next = value.get("$ref").and_then(|target| find(document, target).ok());
        match next.and_then(|pointer| document.pointer(&pointer)) {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

/// A name as a token of a JSON pointer (RFC 6901 §3).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(version: Version, schema: Json) -> Json {
        let document = json!({ "s": schema, "other": { "type": "string", "readOnly": true } });
        let mut schemas = Schemas::new(&document, version);
        schemas.number("/s");
        let mut wrong = Vec::new();
        let whole = schemas.finish(&mut wrong).whole;
        assert!(wrong.is_empty(), "{wrong:?}");
        whole["$defs"]["0"].clone()
    }

    #[test]
    fn the_old_dialect_becomes_the_new_one() {
        for (old, new) in [
            (json!({ "type": "string", "nullable": true }), json!({ "type": ["string", "null"] })),
            (json!({ "nullable": true }), json!({})),
            (json!({ "minimum": 3, "exclusiveMinimum": true }), json!({ "exclusiveMinimum": 3 })),
            (json!({ "maximum": 3, "exclusiveMaximum": false }), json!({ "maximum": 3 })),
            (
                json!({ "properties": { "nullable": { "type": "string", "example": 7 } }, "example": { "$ref": "x" } }),
                json!({ "properties": { "nullable": { "type": "string" } } }),
            ),
            (json!({ "$ref": "#/other", "type": "integer" }), json!({ "$ref": "#/$defs/1" })),
        ] {
            assert_eq!(translated(Version::V30, old.clone()), new, "{old}");
        }
        let both = json!({ "$ref": "#/other", "minLength": 2, "nullable": true, "$id": "http://x/" });
        assert_eq!(translated(Version::V31, both), json!({ "$ref": "#/$defs/1", "minLength": 2 }));
    }

    #[test]
    fn what_only_responses_have_is_not_required() {
        let schema = json!({ "required": ["id", "name"], "properties": { "id": { "$ref": "#/other" }, "name": {} } });
        assert_eq!(translated(Version::V30, schema)["required"], json!(["name"]));
    }

    #[test]
    fn references_that_lead_nowhere_are_named() {
        let document = json!({ "s": { "allOf": [{ "$ref": "#/no" }, { "$ref": "http://127.0.0.1:1/x" }, { "$dynamicRef": "#a" }] } });
        let mut schemas = Schemas::new(&document, Version::V31);
        schemas.number("/s");
        let mut wrong = Vec::new();
        schemas.finish(&mut wrong);
        let told: Vec<String> = wrong.iter().map(|wrong| format!("{} {}", wrong.pointer, wrong.message)).collect();
        assert_eq!(
            told,
            [
                "/s/allOf/0/$ref `#/no` leads nowhere",
                "/s/allOf/1/$ref `http://127.0.0.1:1/x` is not in the document",
                "/s/allOf/2/$dynamicRef `$dynamicRef` is not supported: use `$ref`",
            ]
        );
    }
}
