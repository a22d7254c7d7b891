//! The values that cross between scripts and the gateway.
//!
//! A [`Value`] is what a host function receives and returns; each engine converts its own values to
//! and from it, guided by the [`Type`](super::list::Type) that the function declares. JSON crosses as its text
//! ([`Value::Json`]), so that a document is converted once, by the engine, straight from or to its
//! native tables. Engine-native values (functions, states) never become a `Value`.

use super::{Raise, list::Param, object::Object};
use bytes::Bytes;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A string of a script: bytes, usually UTF-8.
    Str(Bytes),
    /// JSON text: what a script's tables, maps and arrays are on this side.
    Json(Bytes),
    List(Vec<Value>),
    /// Named values in the order of their names.
    Map(Vec<(String, Value)>),
    /// [`Options`](super::list::Type), given or returned: the values of the fields that are declared, in their order.
    Record(&'static [Param], Vec<Value>),
    Object(Object),
}

/// A text of more bytes takes as long as many steps of a script: the clock is looked at after it.
pub const LONG: usize = 16 << 10;

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Str(Bytes::from(text.into()))
    }

    /// `None` becomes nil or `()`.
    pub fn maybe(value: Option<impl Into<Value>>) -> Value {
        value.map_or(Value::Nil, Into::into)
    }

    pub fn is_long(&self) -> bool {
        matches!(self, Value::Str(text) | Value::Json(text) if text.len() > LONG)
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// The word for this value's type in messages to script authors.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::Json(_) => "a JSON value",
            Value::List(_) => "a list",
            Value::Map(_) | Value::Record(..) => "a map",
            Value::Object(object) => object.kind().name,
        }
    }

    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Str(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// What was assigned as text or JSON; its kind was checked when it was.
    pub fn bytes(&self) -> Result<Bytes, Raise> {
        match self {
            Value::Str(bytes) | Value::Json(bytes) => Ok(bytes.clone()),
            other => Err(Raise::error(format!("expected a string, got {}", other.type_name()))),
        }
    }

    pub fn str(&self) -> Result<&str, Raise> {
        self.as_str().ok_or_else(|| Raise::error(format!("expected a string of UTF-8, got {}", self.type_name())))
    }

    pub fn int(&self) -> Result<i64, Raise> {
        match self {
            Value::Int(i) => Ok(*i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Ok(*f as i64),
            other => Err(Raise::error(format!("expected an integer, got {}", other.type_name()))),
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// A map's entry; none of options that were left out.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Value::Record(fields, values) => {
                let value = values.get(fields.iter().position(|field| field.name == name)?);
                value.filter(|value| !value.is_nil())
            }
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Str(Bytes::copy_from_slice(value.as_bytes()))
    }
}
impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::text(value)
    }
}
impl From<Bytes> for Value {
    fn from(value: Bytes) -> Value {
        Value::Str(value)
    }
}
impl From<Object> for Value {
    fn from(value: Object) -> Value {
        Value::Object(value)
    }
}

/// The arguments of one call, already converted and checked against the declared parameters; those
/// that were left out are nil. A method's first argument is the object itself.
pub struct Args(pub Vec<Value>);

impl Args {
    pub fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Nil)
    }

    pub fn take(&mut self, index: usize) -> Value {
        self.0.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    pub fn object(&self) -> Result<&Object, Raise> {
        match self.get(0) {
            Value::Object(object) => Ok(object),
            other => Err(Raise::error(format!("expected an object, got {}", other.type_name()))),
        }
    }

    pub fn bytes(&self, index: usize) -> Result<Bytes, Raise> {
        self.get(index).bytes().map_err(|_| Raise::argument(index, "a string", self.get(index)))
    }

    pub fn str(&self, index: usize) -> Result<&str, Raise> {
        self.get(index).as_str().ok_or_else(|| Raise::argument(index, "a string of UTF-8", self.get(index)))
    }

    pub fn int(&self, index: usize) -> Result<i64, Raise> {
        self.get(index).int().map_err(|_| Raise::argument(index, "an integer", self.get(index)))
    }

    pub fn int_or(&self, index: usize, default: i64) -> Result<i64, Raise> {
        if self.get(index).is_nil() { Ok(default) } else { self.int(index) }
    }

    pub fn f64(&self, index: usize) -> Result<f64, Raise> {
        self.get(index).as_f64().ok_or_else(|| Raise::argument(index, "a number", self.get(index)))
    }

    pub fn duration(&self, index: usize) -> Result<Option<Duration>, Raise> {
        duration(self.get(index))
    }
}

/// A time span as scripts write it: a number of seconds, or text such as `500ms`, `5s`, `1m`, `1h`.
pub fn duration(value: &Value) -> Result<Option<Duration>, Raise> {
    let bad =
        || Raise::error(format!("{} is not a duration: write `500ms`, `5s`, `1m` or a number of seconds", show(value)));
    match value {
        Value::Nil => Ok(None),
        Value::Int(_) | Value::Float(_) => {
            let seconds = value.as_f64().unwrap_or_default();
            Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| bad())
        }
        Value::Str(_) => parse_duration(value.as_str().ok_or_else(bad)?).map(Some).ok_or_else(bad),
        _ => Err(bad()),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..split].trim().parse().ok()?;
    let unit = match &text[split..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}

fn show(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("`{}`", text.escape_debug()),
        None => match value.as_f64() {
            Some(number) => format!("`{number}`"),
            None => value.type_name().to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_scripts_write_them() {
        let read = |v: Value| match duration(&v) {
            Ok(d) => format!("{d:?}"),
            Err(e) => e.to_string(),
        };
        assert_eq!(read("500ms".into()), "Some(500ms)");
        assert_eq!(read("1.5s".into()), "Some(1.5s)");
        assert_eq!(read(2.into()), "Some(2s)");
        assert_eq!(read(Value::Nil), "None");
        assert_eq!(
            read("5 parsecs".into()),
            "`5 parsecs` is not a duration: write `500ms`, `5s`, `1m` or a number of seconds"
        );
        assert_eq!(read((-1).into()), "`-1` is not a duration: write `500ms`, `5s`, `1m` or a number of seconds");
    }
}
