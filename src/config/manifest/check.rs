//! A plugin's `config` in `gateway.yaml`, held against the plugin's manifest.
//!
//! What comes out is what `on_load` gets: defaults filled in, durations as seconds (an integer when whole, else a
//! fraction), sizes as bytes, everything else as written. Mistakes are reported where they stand in `gateway.yaml`.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map as Object, Value as Json};

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::node::{Map, Node, Value};
use super::super::source::Span;
use super::super::table::{boolean, duration, mismatch, size, string};
use super::{Field, FieldType, Host, Manifest, alternatives};

impl Manifest {
    /// Checks a use of the plugin and gives the config that its script sees.
    pub fn check(&self, config: &Node, diagnostics: &mut Diagnostics) -> Json {
        let Some(map) = config.as_map() else {
            mismatch(config, "a mapping", diagnostics);
            return Json::Object(Object::new());
        };
        let shape = Shape {
            whose: format!("the config of `{}`", self.name),
            fields: &self.config,
            others: self.additional_keys.then_some(None),
        };
        Json::Object(shape.object(map, &config.span, diagnostics))
    }
}

/// What a mapping may hold.
struct Shape<'m> {
    whose: String,
    fields: &'m IndexMap<String, Field>,
    /// Absent when other keys are mistakes; otherwise what stands behind them, anything when absent.
    others: Option<Option<&'m Field>>,
}

impl Shape<'_> {
    fn object(&self, map: &Map, span: &Span, diagnostics: &mut Diagnostics) -> Object<String, Json> {
        let mut object = Object::new();
        for (name, entry) in map {
            let node = &entry.node;
            match (self.fields.get(name), self.others) {
                // Nothing behind a key is as if it were not written: the default holds.
                (Some(_), _) if node.is_null() => {}
                (Some(field), _) | (None, Some(Some(field))) => {
                    object.insert(name.clone(), value(field, name, node, diagnostics));
                }
                (None, Some(None)) => {
                    object.insert(name.clone(), node.to_json());
                }
                (None, None) => {
                    let message = format!("unknown key `{name}` in {}", self.whose);
                    let names = self.fields.keys().map(String::as_str);
                    let diagnostic = Diagnostic::error(&entry.key, message).nearest(name, names);
                    diagnostics.push(diagnostic);
                }
            }
        }
        self.fill(&mut object, map, span, diagnostics);
        object
    }

    /// Defaults for what is not written, and a word for what had to be.
    fn fill(&self, object: &mut Object<String, Json>, map: &Map, span: &Span, diagnostics: &mut Diagnostics) {
        // A mistyped key, already reported, may be the one that is missing.
        let strange = self.others.is_none() && map.keys().any(|key| !self.fields.contains_key(key));
        for (name, field) in self.fields {
            if object.contains_key(name) {
                continue;
            }
            if let Some(default) = &field.default {
                object.insert(name.clone(), default.clone());
            } else if field.required && !strange {
                let message = format!("`{name}` is missing in {}", self.whose);
                let diagnostic = Diagnostic::error(span, message);
                diagnostics.push(match &field.description {
                    Some(description) => diagnostic.help(format!("`{name}`: {description}")),
                    None => diagnostic,
                });
            }
        }
    }
}

/// One value, checked; null when it is wrong, which is then reported.
pub(super) fn value(field: &Field, name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Json {
    let Some(json) = typed(field, name, node, diagnostics) else {
        return Json::Null;
    };
    if !field.one_of.is_empty() && !field.one_of.contains(&json) {
        let expected = alternatives(&field.one_of);
        let message = format!("`{name}`: expected {expected}, found {}", node.describe());
        let mut diagnostic = Diagnostic::error(&node.span, message);
        if let (Some(found), false) = (node.as_str(), node.span.is_expanded()) {
            diagnostic = diagnostic.nearest(found, field.one_of.iter().filter_map(Json::as_str));
        }
        diagnostics.push(diagnostic);
    }
    if let (Some(pattern), Some(text)) = (&field.pattern, json.as_str())
        && !pattern.is_match(text)
    {
        let found = if field.secret { "a secret".to_owned() } else { node.describe() };
        diagnostics.error(&node.span, format!("`{name}` must match `{pattern}`, found {found}"));
    }
    check_bounds(field, name, node, &json, diagnostics);
    json
}

fn typed(field: &Field, name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Json> {
    match field.kind {
        FieldType::String => string(node, diagnostics).map(|text| text.value.into()),
        FieldType::Boolean => boolean(node, diagnostics).map(Json::Bool),
        FieldType::Integer => {
            let number = node.as_number().filter(|n| n.is_i64() || n.is_u64());
            expect(number.map(Json::Number), node, "a whole number", diagnostics)
        }
        FieldType::Number => {
            let number = node.as_number();
            expect(number.map(Json::Number), node, "a number", diagnostics)
        }
        FieldType::Duration => duration(node, diagnostics).map(seconds),
        FieldType::Size => size(node, diagnostics).map(Json::from),
        FieldType::List => list(field, name, node, diagnostics),
        FieldType::Map => map(field, name, node, diagnostics),
        FieldType::Any => Some(node.to_json()),
        FieldType::Url => {
            let fits = |text: &&str| text.starts_with("svc://") || Host::of_url(text).is_some();
            let url = node.as_str().filter(fits).map(Json::from);
            expect(url, node, "a URL that begins with `https://`, `http://` or `svc://`", diagnostics)
        }
        // What it says is looked at by those who read files.
        FieldType::OpenApi if node.as_str().is_some() || node.as_map().is_some() => Some(node.to_json()),
        FieldType::OpenApi => expect(None, node, "an OpenAPI document, or the path of its file", diagnostics),
    }
}

fn expect(found: Option<Json>, node: &Node, expected: &str, diagnostics: &mut Diagnostics) -> Option<Json> {
    if found.is_none() {
        mismatch(node, expected, diagnostics);
    }
    found
}

fn seconds(duration: Duration) -> Json {
    match duration.subsec_nanos() {
        0 => duration.as_secs().into(),
        _ => duration.as_secs_f64().into(),
    }
}

fn list(field: &Field, name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Json> {
    let items = super::super::table::list(node, diagnostics)?;
    let item = |node: &Node| match &field.items {
        Some(item) => value(item, name, node, diagnostics),
        None => node.to_json(),
    };
    Some(items.iter().map(item).collect())
}

fn map(field: &Field, name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Json> {
    let Some(map) = node.as_map() else {
        mismatch(node, "a mapping", diagnostics);
        return None;
    };
    let none = IndexMap::new();
    let shape = Shape {
        whose: format!("`{name}`"),
        fields: field.fields.as_ref().unwrap_or(&none),
        others: match (&field.items, &field.fields) {
            (Some(items), _) => Some(Some(items)),
            (None, Some(_)) => None,
            (None, None) => Some(None),
        },
    };
    Some(Json::Object(shape.object(map, &node.span, diagnostics)))
}

fn check_bounds(field: &Field, name: &str, node: &Node, json: &Json, diagnostics: &mut Diagnostics) {
    let (measured, what) = match json {
        Json::Number(number) => (number.as_f64(), ""),
        Json::String(text) => (Some(text.chars().count() as f64), " characters"),
        Json::Array(items) => (Some(items.len() as f64), " items"),
        Json::Object(object) => (Some(object.len() as f64), " keys"),
        Json::Null | Json::Bool(_) => (None, ""),
    };
    let Some(measured) = measured else { return };
    let show = |bound: f64| match field.kind {
        FieldType::Duration => super::super::units::show_duration(Duration::from_secs_f64(bound.max(0.0))),
        _ => format!("{bound}{what}"),
    };
    let wrong = match (field.min, field.max) {
        (Some(min), _) if measured < min => format!("at least {}", show(min)),
        (_, Some(max)) if measured > max => format!("at most {}", show(max)),
        _ => return,
    };
    // A list's or a long string's own text is no help.
    let found = match &node.value {
        Value::List(_) | Value::Map(_) => format!("{measured}"),
        _ => node.describe(),
    };
    let message = format!("`{name}` must be {wrong}, found {found}");
    diagnostics.error(&node.span, message);
}
