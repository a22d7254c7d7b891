//! JSON objects without duplicate names, at any depth.
//!
//! RFC 7519 §4 and RFC 7515 §4 let a reader either refuse duplicates or keep the last. Two readers that choose
//! differently see two tokens in one, so they are refused here. serde_json alone keeps the last silently.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::JwtError;

pub(super) fn object(text: &str) -> Result<Map<String, Value>, JwtError> {
    let duplicate = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Unique(&duplicate).deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JwtError::Malformed("a part is not a JSON object")),
        Err(_) => Err(match duplicate.into_inner() {
            Some(name) => JwtError::Duplicate(name),
            None => JwtError::Malformed("a part is not JSON"),
        }),
    }
}

/// Reads any value; the first name that occurs twice in one object is left in the cell, as serde's errors hold text only.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(bool.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                // The name is the client's: cut, and quoted where it is shown.
                *self.0.borrow_mut() = Some(name.chars().take(32).collect());
                return Err(A::Error::custom("a name occurs twice"));
            }
            object.insert(name, members.next_value_seed(self)?);
        }
        Ok(object.into())
    }
}
