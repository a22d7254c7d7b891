//! The schema of a plugin's config: one field for each key.

use indexmap::IndexMap;

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::keys;
use super::super::node::{Map, Node, Value};
use super::super::source::Spanned;
use super::super::table::{Table, mismatch};
use super::super::units;
use super::{check, text_list};

/// What may stand behind a key.
#[derive(Clone, Debug)]
pub struct Field {
    pub kind: FieldType,
    /// Of a list's items, or of a map's values that `fields` doesn't name. Absent for anything.
    pub items: Option<Box<Field>>,
    /// Of a map: the keys that it has. Absent when any will do.
    pub fields: Option<IndexMap<String, Field>>,
    /// As the script gets it: a duration in seconds.
    pub default: Option<serde_json::Value>,
    pub required: bool,
    /// Of a number, a duration in seconds, a size in bytes; of the length of a string (characters), list or map.
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub one_of: Vec<serde_json::Value>,
    /// What a string has somewhere in it, as in JSON Schema.
    pub pattern: Option<regex::Regex>,
    /// Not to be shown anywhere.
    pub secret: bool,
    pub description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    String,
    Integer,
    Number,
    Boolean,
    /// Written `5s` or in milliseconds; the script gets seconds.
    Duration,
    /// Written `8MiB` or in bytes; the script gets bytes.
    Size,
    List,
    Map,
    Any,
    /// An OpenAPI document: a file's path, relative to the configuration, or the document itself.
    OpenApi,
    /// Of a server that the plugin may call because it is written here: `https://…`, `http://…`, or `svc://…`.
    Url,
}

impl FieldType {
    pub const ALL: [FieldType; 11] = [
        FieldType::String,
        FieldType::Integer,
        FieldType::Number,
        FieldType::Boolean,
        FieldType::Duration,
        FieldType::Size,
        FieldType::List,
        FieldType::Map,
        FieldType::Any,
        FieldType::OpenApi,
        FieldType::Url,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Integer => "integer",
            FieldType::Number => "number",
            FieldType::Boolean => "boolean",
            FieldType::Duration => "duration",
            FieldType::Size => "size",
            FieldType::List => "list",
            FieldType::Map => "map",
            FieldType::Any => "any",
            FieldType::OpenApi => "openapi",
            FieldType::Url => "url",
        }
    }
}

impl Field {
    fn of(kind: FieldType) -> Field {
        Field {
            kind,
            items: None,
            fields: None,
            default: None,
            required: false,
            min: None,
            max: None,
            one_of: Vec::new(),
            pattern: None,
            secret: false,
            description: None,
        }
    }
}

/// The fields behind a key of a manifest.
pub(super) fn fields(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> IndexMap<String, Field> {
    let map = table.get(key).map(|node| (node, node.as_map()));
    match map {
        None => IndexMap::new(),
        Some((_, Some(map))) => decode_all(map, diagnostics),
        Some((node, None)) => {
            mismatch(node, "a table of fields", diagnostics);
            IndexMap::new()
        }
    }
}

fn decode_all(map: &Map, diagnostics: &mut Diagnostics) -> IndexMap<String, Field> {
    map.iter().filter_map(|(name, entry)| Some((name.clone(), decode(&entry.node, diagnostics)?))).collect()
}

fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Field> {
    let table = Table::open(node, &keys::FIELD, diagnostics)?;
    if table.get("type").is_none() {
        table.missing("a field needs a `type`", diagnostics);
    }
    let written = table.string("type", diagnostics)?;
    let mut field = Field::of(field_type(&written, diagnostics)?);
    field.required = table.boolean("required", diagnostics).unwrap_or(false);
    field.secret = table.boolean("secret", diagnostics).unwrap_or(false);
    field.description = table.string("description", diagnostics).map(|text| text.value);
    field.items = table.get("items").and_then(|node| items(node, diagnostics)).map(Box::new);
    field.fields = table.get("fields").is_some().then(|| fields(&table, "fields", diagnostics));
    fits(&table, "items", field.kind, &[FieldType::List, FieldType::Map], diagnostics);
    fits(&table, "fields", field.kind, &[FieldType::Map], diagnostics);
    field.min = bound(&table, "min", field.kind, diagnostics);
    field.max = bound(&table, "max", field.kind, diagnostics);
    if let Some(node) = table.get("one_of") {
        let values = text_list(node, diagnostics);
        field.one_of = values.into_iter().map(|value| value.value).collect();
    }
    fits(&table, "pattern", field.kind, &[FieldType::String], diagnostics);
    field.pattern = pattern(&table, diagnostics);
    default(&table, &mut field, diagnostics);
    Some(field)
}

fn pattern(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<regex::Regex> {
    let written = table.string("pattern", diagnostics)?;
    match regex::Regex::new(&written) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            diagnostics.error(&written.span, format!("{} is not a regular expression: {why}", written.quoted()));
            None
        }
    }
}

fn field_type(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<FieldType> {
    let known = FieldType::ALL.into_iter().find(|kind| kind.as_str() == text.value);
    if known.is_none() {
        let names = FieldType::ALL.map(FieldType::as_str);
        let message = format!("unknown type {}", text.quoted());
        let help = format!("one of {}", names.map(|name| format!("`{name}`")).join(", "));
        let diagnostic = Diagnostic::error(&text.span, message).help(help);
        diagnostics.push(diagnostic.nearest(text, names));
    }
    known
}

/// A type alone, or a whole field.
fn items(node: &Node, diagnostics: &mut Diagnostics) -> Option<Field> {
    match &node.value {
        Value::String(text) => {
            let text = Spanned::new(text.clone(), node.span.clone());
            field_type(&text, diagnostics).map(Field::of)
        }
        _ => decode(node, diagnostics),
    }
}

fn fits(table: &Table<'_>, key: &str, kind: FieldType, of: &[FieldType], diagnostics: &mut Diagnostics) {
    if let Some(span) = table.key_span(key)
        && !of.contains(&kind)
    {
        let message = format!("`{key}` says nothing of the type `{}`", kind.as_str());
        diagnostics.error(span, message);
    }
}

/// A bound in the unit that the script gets: `min = "1s"` is 1.
fn bound(table: &Table<'_>, key: &str, kind: FieldType, diagnostics: &mut Diagnostics) -> Option<f64> {
    let node = table.get(key)?;
    let number = node.as_number().and_then(|number| number.as_f64());
    let text = node.as_str();
    let bound = match kind {
        FieldType::Boolean | FieldType::Any | FieldType::OpenApi | FieldType::Url => {
            let message = format!("`{key}` says nothing of the type `{}`", kind.as_str());
            diagnostics.error(&node.span, message);
            return None;
        }
        FieldType::Duration => match number {
            Some(millis) => Some(millis / 1000.0),
            None => text.and_then(units::parse_duration).map(|d| d.as_secs_f64()),
        },
        FieldType::Size => match number {
            Some(bytes) => Some(bytes),
            // A size is at most 2^53: exact.
            None => text.and_then(units::parse_size).map(|size| size as f64),
        },
        _ => number,
    };
    if bound.is_none() {
        mismatch(node, "a number", diagnostics);
    }
    bound
}

/// A default is held to what the field asks of any value.
fn default(table: &Table<'_>, field: &mut Field, diagnostics: &mut Diagnostics) {
    let Some(node) = table.get("default") else {
        return;
    };
    if field.required
        && let Some(span) = table.key_span("default")
    {
        let message = "a field that is required has no use for a `default`";
        diagnostics.error(span, message);
    }
    field.default = Some(check::value(field, "default", node, diagnostics));
}
