//! Rhai's values to the gateway's and back, guided by the declared types.
//!
//! The rules for what a script passes stand in `script::convert`, for both languages; here is only how Rhai's values
//! look to them, and the way back.

use super::{
    json::{self, Big},
    object::same_handle,
    program::detach,
    run::Worker,
};
use crate::script::{
    Raise, Value,
    background::Callback,
    convert::{Entry, Native},
    list::Type,
    object::Object,
};
use ::rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};
use bytes::Bytes;
use std::rc::Rc;

/// A value of a script, as the shared conversion looks at it. Never a shared one: those are flattened before.
pub struct Seen<'a> {
    pub value: Dynamic,
    pub worker: &'a Worker,
}

impl<'a> Seen<'a> {
    pub fn new(worker: &'a Worker, value: Dynamic) -> Seen<'a> {
        Seen { value: value.flatten(), worker }
    }

    fn item(&self, value: &Dynamic) -> Seen<'a> {
        Seen { value: value.flatten_clone(), worker: self.worker }
    }
}

impl Native for Seen<'_> {
    fn is_nil(&self) -> bool {
        self.value.is_unit()
    }

    fn scalar(&self) -> Option<Value> {
        let value = &self.value;
        if let Ok(text) = value.as_immutable_string_ref() {
            return Some(text.as_str().into());
        }
        let bool = value.as_bool().ok().map(Value::Bool);
        let number = || value.as_int().map(Value::Int).or_else(|_| value.as_float().map(Value::Float)).ok();
        let char = || value.as_char().ok().map(|c| Value::text(c.to_string()));
        let big = || value.read_lock::<Big>().map(|big| Value::Float(big.0 as f64));
        bool.or_else(number).or_else(char).or_else(big)
    }

    fn bytes(&self) -> Option<Bytes> {
        self.value.read_lock::<Blob>().map(|blob| Bytes::copy_from_slice(&blob))
    }

    fn object(&self) -> Option<Object> {
        self.value.read_lock::<Object>().map(|object| object.clone())
    }

    fn function(&self) -> Option<Callback> {
        let mut function = self.value.clone();
        // What it caught is the callback's own: a run must not change it for the next, which may be under way.
        detach(&mut function, 0).ok()?;
        function.try_cast::<FnPtr>().map(|function| Rc::new(function) as Callback)
    }

    fn list(&self) -> Option<Vec<Self>> {
        self.value.read_lock::<Array>().map(|items| items.iter().map(|item| self.item(item)).collect())
    }

    fn entries(&self) -> Result<Option<Vec<Entry<'_, Self>>>, Raise> {
        let map = self.value.read_lock::<Map>();
        Ok(map.map(|map| map.iter().map(|(name, item)| (name.to_string().into(), self.item(item))).collect()))
    }

    fn json(&self) -> Result<Bytes, Raise> {
        self.worker.encode(&self.value).map(Bytes::from)
    }

    fn type_name(&self) -> String {
        json::type_name(&self.value)
    }

    fn size(&self) -> usize {
        match self.value.as_immutable_string_ref() {
            Ok(text) => text.len(),
            Err(_) => self.value.read_lock::<Blob>().map_or(0, |blob| blob.len()),
        }
    }

    fn most(&self) -> usize {
        self.worker.largest_value()
    }
}

/// Gives a script what a host function returned.
pub fn to_script(ty: &Type, value: Value, worker: &Worker) -> Result<Dynamic, Raise> {
    let inner = match ty {
        Type::Maybe(inner) => inner,
        other => other,
    };
    Ok(match value {
        Value::Nil => Dynamic::UNIT,
        Value::Bool(b) => b.into(),
        Value::Int(i) => i.into(),
        Value::Float(f) => f.into(),
        Value::Str(bytes) if matches!(inner, Type::Bytes) => Dynamic::from_blob(bytes.to_vec()),
        // Rhai's strings are UTF-8; `Bytes` is the type for everything else.
        Value::Str(bytes) => ImmutableString::from(&*String::from_utf8_lossy(&bytes)).into(),
        Value::Json(text) => worker.decode(&text)?,
        Value::List(items) => {
            let item = match inner {
                Type::List(item) => item,
                _ => &Type::Any,
            };
            let items: Result<Array, Raise> = items.into_iter().map(|value| to_script(item, value, worker)).collect();
            Dynamic::from_array(items?)
        }
        Value::Map(entries) => {
            let item = |name: &str| match inner {
                Type::Map(item) => item,
                Type::Options(params) => params.iter().find(|param| param.name == name).map_or(&Type::Any, |it| &it.ty),
                _ => &Type::Any,
            };
            let entries: Result<Map, Raise> = entries
                .into_iter()
                .map(|(name, value)| Ok((name.as_str().into(), to_script(item(&name), value, worker)?)))
                .collect();
            Dynamic::from_map(entries?)
        }
        Value::Record(fields, values) => {
            let entries = fields.iter().zip(values);
            let entries = entries.map(|(field, value)| Ok((field.name.into(), to_script(&field.ty, value, worker)?)));
            Dynamic::from_map(entries.collect::<Result<Map, Raise>>()?)
        }
        Value::Object(object) => Dynamic::from(object),
    })
}

/// Whether two values are the same to a script; functions always are, they can't be compared.
pub fn same(a: &Dynamic, b: &Dynamic) -> bool {
    if a.is_shared() || b.is_shared() {
        return same(&a.flatten_clone(), &b.flatten_clone());
    }
    if a.type_id() != b.type_id() {
        return false;
    }
    if let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) {
        return a.len() == b.len() && a.iter().zip(b.iter()).all(|((name, a), (other, b))| name == other && same(a, b));
    }
    if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
        return a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b));
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return *a == *b;
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Blob>(), b.read_lock::<Blob>()) {
        return *a == *b;
    }
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return a == b;
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        return a == b;
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return a == b;
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return a == b;
    }
    match (a.read_lock::<Object>(), b.read_lock::<Object>()) {
        (Some(a), Some(b)) => same_handle(&a, &b),
        _ => true,
    }
}
