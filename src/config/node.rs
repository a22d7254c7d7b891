//! A parsed document: values with their places.
//!
//! YAML (`gateway.yaml`) and TOML (`plugin.toml`) are both turned into this one tree, so that one set of decoders
//! and one way of pointing at mistakes serves both. Nothing here knows what the keys mean.

use indexmap::IndexMap;
use serde_json::Number;
use std::sync::Arc;

use super::scalar;
use super::source::{Source, Span};

/// A value and where it was written.
#[derive(Clone)]
pub struct Node {
    pub value: Value,
    pub span: Span,
    /// What a scalar with `${…}` expanded to, word for word: `007` where the value is the number 7.
    pub(super) expanded: Option<String>,
}

#[derive(Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    /// Boxed: most nodes are scalars, and a configuration has tens of thousands.
    Map(Box<Map>),
    /// Something that was already reported; decoders pass over it in silence.
    Broken,
}

/// A mapping in the order written.
pub type Map = IndexMap<String, Entry, ahash::RandomState>;

/// What stands behind a key.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Span,
    pub node: Node,
}

impl Node {
    pub fn new(value: Value, span: Span) -> Node {
        Node { value, span, expanded: None }
    }

    /// An empty mapping at `span`: the config of a plugin that was given none.
    pub fn empty(span: &Span) -> Node {
        Node::new(Value::Map(Box::default()), span.clone())
    }

    /// Puts it into `source`, where it stands `by` bytes further.
    pub(super) fn move_to(&mut self, source: &Arc<Source>, by: isize) {
        self.span.move_to(source, by);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_to(source, by)),
            Value::Map(map) => {
                for entry in map.values_mut() {
                    entry.key.move_to(source, by);
                    entry.node.move_to(source, by);
                }
            }
            _ => {}
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn is_broken(&self) -> bool {
        matches!(self.value, Value::Broken)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.read() {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<Number> {
        match self.read() {
            Value::Number(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().as_ref().and_then(Number::as_f64)
    }

    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().as_ref().and_then(Number::as_i64)
    }

    /// The scalar, where a quoted `"${VAR}"` reads as a plain one: between braces it has to be quoted.
    fn read(&self) -> Value {
        match (&self.value, &self.expanded) {
            (Value::String(_), Some(text)) => scalar::resolve(text),
            (Value::Bool(value), _) => Value::Bool(*value),
            (Value::Number(value), _) => Value::Number(value.clone()),
            _ => Value::Null,
        }
    }

    /// The string; also what a plain `${VAR}` expanded to, though it may read as a number: whether a secret
    /// happens to consist of digits must not decide whether the gateway starts.
    pub fn as_str(&self) -> Option<&str> {
        match (&self.value, &self.expanded) {
            (Value::String(value), _) => Some(value),
            (_, Some(text)) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value behind a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key).map(|entry| &entry.node)
    }

    /// The value at a JSON pointer (RFC 6901); the empty pointer is the node itself.
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |node, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match &node.value {
                Value::Map(map) => map.get(&token).map(|entry| &entry.node),
                Value::List(items) => items.get(token.parse::<usize>().ok()?),
                _ => None,
            }
        })
    }

    /// The place of what a JSON pointer names, or of the nearest thing around it that is there.
    pub fn span_of(&self, pointer: &str) -> &Span {
        let mut pointer = pointer;
        loop {
            if let Some(node) = self.pointer(pointer) {
                return &node.span;
            }
            pointer = pointer.rfind('/').map_or("", |at| &pointer[..at]);
        }
    }

    /// The plain value, expanded, for a plugin: keep it out of logs and messages.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Broken => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => serde_json::Value::Number(value.clone()),
            Value::String(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(map) => {
                serde_json::Value::Object(map.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect())
            }
        }
    }

    /// What is here, for the end of "expected …, found …".
    pub fn describe(&self) -> String {
        match &self.value {
            _ if self.span.is_expanded() => format!("what {} gave", self.span.quote("")),
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(value) => format!("the number {value}"),
            Value::String(_) if self.span.text().contains('\n') => "a string".to_owned(),
            // With its quotes, since they may be the mistake.
            Value::String(_) => format!("`{}`", self.span.text()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Broken => "something unreadable".to_owned(),
        }
    }
}

/// SECURITY: shows no values, since a debug line in a log must not leak a secret.
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Broken => "broken",
        };
        write!(f, "Node({kind} at {})", self.span)
    }
}
