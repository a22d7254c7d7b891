//! A parameter of an operation: where it stands, how its text is read (3.1.0 §4.8.12), and the schema of its value.
//!
//! All styles are read, each for lists and objects. Lists of `label` that are not exploded are written with commas (RFC 6570 §3.2.5,
//! OpenAPI 3.0.4 and 3.1.1). Of an object whose properties are parameters of their own only those are looked at that its schema names.

use super::{
    Wrong,
    translate::{Schemas, escaped, resolved},
};
use jsonschema::Validator;
use serde_json::{Map, Number, Value as Json};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    /// As documents and problems write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Cookie => "cookie",
        }
    }
}

/// How several values stand in one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Each by itself: the name again, or an object's own keys.
    Exploded,
    /// An object's keys and values in turns.
    Separated(char),
    /// `key=value`, of an object, with commas in between.
    Pairs,
    /// Behind a dot; `.a.b` when it is exploded, which objects are as `.key=value`.
    Label { explode: bool },
    /// Behind `;name=`; `;name=a;name=b` when it is exploded, which objects are as `;key=value`.
    Matrix { explode: bool },
    /// `name[key]=value`.
    Deep,
    /// JSON, by `content`.
    Json,
}

/// What is said of a text that is none of its parameter's style.
const OTHER_STYLE: &str = "the parameter is not written in its style";

/// As written, before its schema is compiled.
pub struct Parameter {
    pub name: String,
    pub place: Place,
    pub required: bool,
    pub may_be_empty: bool,
    pub style: Style,
    /// The number of its schema.
    pub schema: Option<usize>,
}

/// Ready to read values.
pub struct Reader {
    pub parameter: Parameter,
    /// To its value, as violations say it.
    pub pointer: String,
    pub kinds: Kinds,
    /// Of a list's items.
    pub items: Kinds,
    /// Of an object's properties: the name, what it may be, and what its items may be.
    pub properties: Vec<(String, Kinds, Kinds)>,
    pub validator: Option<Arc<Validator>>,
}

/// What a value may be, as far as its schema says; none: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    pub string: bool,
    pub number: bool,
    pub boolean: bool,
    pub null: bool,
    pub list: bool,
    pub object: bool,
}

impl Parameter {
    /// The parameter at a place of the document, which is not a reference.
    pub fn parse(
        written: &Json,
        pointer: &str,
        schemas: &mut Schemas<'_>,
        wrong: &mut Vec<Wrong>,
    ) -> Option<Parameter> {
        let text = |key: &str| written.get(key).and_then(Json::as_str);
        let flag = |key: &str| written.get(key).and_then(Json::as_bool);
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            wrong.push(Wrong::at(pointer, "a parameter needs a `name`"));
            return None;
        };
        let place = match text("in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            _ => {
                wrong.push(Wrong::at(
                    pointer,
                    format!("the parameter `{name}` is `in` none of path, query, header and cookie"),
                ));
                return None;
            }
        };
        // §4.8.12.2: these are said elsewhere.
        let is_said = ["accept", "content-type", "authorization"].iter().any(|own| name.eq_ignore_ascii_case(own));
        if place == Place::Header && is_said {
            return None;
        }
        let json = written.get("content").and_then(Json::as_object).and_then(|content| content.iter().next());
        let (style, below) = match json {
            Some((kind, media)) => {
                let is_json = super::media::is_json(&super::media::essence(kind));
                let below = format!("/content/{}/schema", escaped(kind));
                (Style::Json, media.get("schema").filter(|_| is_json).map(|_| below))
            }
            None => {
                let default = if matches!(place, Place::Query | Place::Cookie) { "form" } else { "simple" };
                let written_style = text("style").unwrap_or(default);
                let explode = flag("explode").unwrap_or(written_style == "form");
                let style = match written_style {
                    "form" if explode => Style::Exploded,
                    "simple" if explode => Style::Pairs,
                    "form" | "simple" => Style::Separated(','),
                    "label" => Style::Label { explode },
                    "matrix" => Style::Matrix { explode },
                    "spaceDelimited" => Style::Separated(' '),
                    "pipeDelimited" => Style::Separated('|'),
                    "deepObject" => Style::Deep,
                    other => {
                        let message = format!("the style `{}` is not supported", other.escape_debug());
                        wrong.push(Wrong::at(&format!("{pointer}/style"), message));
                        return None;
                    }
                };
                (style, written.get("schema").map(|_| "/schema".to_owned()))
            }
        };
        Some(Parameter {
            name: if place == Place::Header { name.to_ascii_lowercase() } else { name.to_owned() },
            place,
            required: place == Place::Path || flag("required").unwrap_or(false),
            may_be_empty: flag("allowEmptyValue").unwrap_or(false),
            style,
            schema: below.map(|below| schemas.number(&format!("{pointer}{below}"))),
        })
    }
}

impl Parameter {
    /// The body as the one parameter that it is.
    pub fn of_body(schema: Option<usize>) -> Parameter {
        let (place, style) = (Place::Query, Style::Exploded);
        Parameter { name: String::new(), place, required: false, may_be_empty: false, style, schema }
    }
}

impl Reader {
    /// `whole`: the translated schemas.
    pub fn new(parameter: Parameter, whole: &Json, validator: Option<Arc<Validator>>) -> Reader {
        let schema = parameter.schema.and_then(|number| whole.pointer(&format!("/$defs/{number}")));
        let schema = schema.unwrap_or(&Json::Null);
        let schema = resolved(whole, schema);
        let items_of = |schema: &Json| {
            let items = resolved(whole, schema).get("items");
            items.map(|items| Kinds::of(whole, items, 0)).unwrap_or_default()
        };
        let properties = schema.get("properties").and_then(Json::as_object);
        let properties = properties.into_iter().flatten();
        Reader {
            kinds: Kinds::of(whole, schema, 0),
            items: items_of(schema),
            properties: properties
                .map(|(name, schema)| (name.clone(), Kinds::of(whole, schema, 0), items_of(schema)))
                .collect(),
            pointer: format!("/{}", escaped(&parameter.name)),
            parameter,
            validator,
        }
    }

    /// The value that these texts stand for; nothing when it can't be read, or why they are none.
    pub fn read(&self, texts: &[&str]) -> Result<Option<Json>, &'static str> {
        if self.parameter.style == Style::Json {
            return match texts {
                [one] => serde_json::from_str(one).map(Some).map_err(|_| "the parameter is not JSON"),
                _ => Err("the parameter is given more than once"),
            };
        }
        if self.kinds.list {
            return self.list(texts).map(Some);
        }
        if self.kinds.object && self.parameter.style == Style::Exploded {
            return Ok(None);
        }
        // RFC 9110 §5.3: several lines are one.
        let joined;
        let text = match texts {
            [one] => *one,
            several if self.parameter.place == Place::Header && self.kinds.object => {
                joined = several.join(",");
                &joined
            }
            _ => return Err("the parameter is given more than once"),
        };
        if self.kinds.object {
            return self.object(text).map(Some);
        }
        Ok(Some(self.kinds.read(match self.parameter.style {
            Style::Label { .. } => text.strip_prefix('.').ok_or(OTHER_STYLE)?,
            Style::Matrix { .. } => self.named(text).ok_or(OTHER_STYLE)?,
            _ => text,
        })))
    }

    fn list(&self, texts: &[&str]) -> Result<Json, &'static str> {
        let is_header = self.parameter.place == Place::Header;
        let read = |item: &str| self.items.read(if is_header { item.trim() } else { item });
        let one = |text: &str, by: char| text.split(by).map(read).collect();
        let items = match (self.parameter.style, texts) {
            (Style::Label { explode }, [text]) => {
                let text = text.strip_prefix('.').ok_or(OTHER_STYLE)?;
                one(text, if explode { '.' } else { ',' })
            }
            (Style::Matrix { explode: false }, [text]) => one(self.named(text).ok_or(OTHER_STYLE)?, ','),
            (Style::Matrix { explode: true }, [text]) => {
                let text = text.strip_prefix(';').ok_or(OTHER_STYLE)?;
                let values = text.split(';').map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    if name == self.parameter.name { Ok(read(value)) } else { Err(OTHER_STYLE) }
                });
                values.collect::<Result<_, _>>()?
            }
            (Style::Separated(by), [text]) => one(text, by),
            (Style::Pairs, [text]) => one(text, ','),
            // RFC 9110 §5.3: several lines are one list.
            (Style::Separated(by), lines) if is_header => {
                lines.iter().flat_map(|line| line.split(by)).map(read).collect()
            }
            (Style::Pairs, lines) if is_header => lines.iter().flat_map(|line| line.split(',')).map(read).collect(),
            (Style::Exploded | Style::Deep | Style::Json, _) => texts.iter().map(|item| read(item)).collect(),
            _ => return Err("the parameter is given more than once"),
        };
        Ok(Json::Array(items))
    }

    /// An object in one text: keys and values in turns, or each with its key.
    fn object(&self, text: &str) -> Result<Json, &'static str> {
        let label = || text.strip_prefix('.').ok_or(OTHER_STYLE);
        let (text, by, with_keys) = match self.parameter.style {
            Style::Separated(by) => (text, by, false),
            Style::Pairs => (text, ',', true),
            Style::Label { explode: false } => (label()?, ',', false),
            Style::Label { explode: true } => (label()?, '.', true),
            Style::Matrix { explode: false } => (self.named(text).ok_or(OTHER_STYLE)?, ',', false),
            Style::Matrix { explode: true } => (text.strip_prefix(';').ok_or(OTHER_STYLE)?, ';', true),
            Style::Exploded | Style::Deep | Style::Json => return Err(OTHER_STYLE),
        };
        let pieces: Vec<&str> = text.split(by).map(|piece| self.trimmed(piece)).collect();
        let pairs: Option<Vec<(&str, &str)>> = if with_keys {
            pieces.iter().map(|piece| piece.split_once('=')).collect()
        } else if pieces.len().is_multiple_of(2) {
            Some(pieces.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        } else {
            None
        };
        pairs.map(|pairs| Json::Object(self.properties_of(pairs.into_iter()))).ok_or(OTHER_STYLE)
    }

    fn trimmed<'t>(&self, piece: &'t str) -> &'t str {
        if self.parameter.place == Place::Header { piece.trim() } else { piece }
    }

    /// What stands behind `;name=`; nothing behind `;name`.
    fn named<'t>(&self, text: &'t str) -> Option<&'t str> {
        let rest = text.strip_prefix(';')?.strip_prefix(self.parameter.name.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('=') }
    }

    /// The object whose properties are parameters of their own; nothing when there are none of those that the schema names.
    pub fn read_spread<'q>(&self, pairs: impl Iterator<Item = (&'q str, &'q str)>) -> Option<Json> {
        let own = pairs.filter(|(key, _)| self.properties.iter().any(|(name, ..)| name == key));
        let object = self.properties_of(own);
        (!object.is_empty()).then_some(Json::Object(object))
    }

    /// The object that `name[key]=value` pairs stand for; nothing when there are none.
    pub fn read_deep<'q>(&self, pairs: impl Iterator<Item = (&'q str, &'q str)>) -> Option<Json> {
        let name = self.parameter.name.as_str();
        let inner = pairs.filter_map(|(key, value)| Some((key.strip_prefix(name)?.strip_prefix('[')?, value)));
        let inner = inner.filter_map(|(key, value)| Some((key.strip_suffix(']')?, value)));
        let object = self.properties_of(inner);
        (!object.is_empty()).then_some(Json::Object(object))
    }

    fn properties_of<'q>(&self, pairs: impl Iterator<Item = (&'q str, &'q str)>) -> Map<String, Json> {
        let mut object = Map::new();
        for (key, value) in pairs {
            let property = self.properties.iter().find(|(name, ..)| name == key);
            let (kinds, items) = property.map(|(_, kinds, items)| (*kinds, *items)).unwrap_or_default();
            let value = if kinds.list { items } else { kinds }.read(value);
            match object.get_mut(key) {
                None => {
                    object.insert(key.to_owned(), if kinds.list { Json::Array(vec![value]) } else { value });
                }
                // Twice the same is a list, which is then of the wrong type unless it may be one.
                Some(Json::Array(items)) => items.push(value),
                Some(first) => *first = Json::Array(vec![first.take(), value]),
            }
        }
        object
    }
}

impl Kinds {
    /// What a schema lets a value be, through references and combinations.
    pub fn of(whole: &Json, schema: &Json, depth: usize) -> Kinds {
        let schema = resolved(whole, schema);
        let mut kinds = Kinds::default();
        let mut named = |name: &str| match name {
            "string" => kinds.string = true,
            "integer" | "number" => kinds.number = true,
            "boolean" => kinds.boolean = true,
            "null" => kinds.null = true,
            "array" => kinds.list = true,
            "object" => kinds.object = true,
            _ => {}
        };
        match schema.get("type") {
            Some(Json::String(one)) => named(one),
            Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).for_each(named),
            _ => {
                let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
                for value in listed.chain(schema.get("const")) {
                    named(match value {
                        Json::Null => "null",
                        Json::Bool(_) => "boolean",
                        Json::Number(_) => "number",
                        Json::String(_) => "string",
                        Json::Array(_) => "array",
                        Json::Object(_) => "object",
                    });
                }
                let combined = ["allOf", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array());
                for below in combined.flatten().filter(|_| depth < 8) {
                    kinds = kinds.or(Kinds::of(whole, below, depth + 1));
                }
            }
        }
        kinds
    }

    /// The same without texts, when something else is left.
    pub fn without_string(self) -> Option<Kinds> {
        let others = Kinds { string: false, ..self };
        (self.string && (self.number || self.boolean || self.null)).then_some(others)
    }

    fn or(self, other: Kinds) -> Kinds {
        Kinds {
            string: self.string || other.string,
            number: self.number || other.number,
            boolean: self.boolean || other.boolean,
            null: self.null || other.null,
            list: self.list || other.list,
            object: self.object || other.object,
        }
    }

    /// What a text stands for; one that may stay a text stays one. JSON's own numbers only: `+1`, `01` and ` 1` are read
    /// differently by different backends.
    pub fn read(self, text: &str) -> Json {
        if self.string {
            return Json::String(text.to_owned());
        }
        let begins = |c: char| c == '-' || c.is_ascii_digit();
        if self.number
            && text.starts_with(begins)
            && !text.contains(|c: char| c.is_ascii_whitespace())
            && let Ok(number) = serde_json::from_str::<Number>(text)
        {
            return Json::Number(number);
        }
        match text {
            "true" | "false" if self.boolean => Json::Bool(text == "true"),
            "" | "null" if self.null => Json::Null,
            _ => Json::String(text.to_owned()),
        }
    }
}
