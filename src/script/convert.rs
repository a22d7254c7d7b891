//! Checking what a script passes against what the list declares, for both engines.
//!
//! An engine shows its values through [`Native`]; the rules and the words of the messages stand here once, so that
//! both languages accept the same and complain alike. Values on their way back to a script are each engine's own business.

use super::{
    Raise, Value,
    background::Callback,
    json,
    list::{Param, Type, nearest},
    object::Object,
    value::duration,
};
use bytes::Bytes;
use std::{borrow::Cow, iter};

/// Items of a list and entries of a map or of options: converting one takes the time of a hundred steps of a script.
pub const MAX_ENTRIES: usize = 16 << 10;

/// A value of an engine, as far as the conversion looks at it.
pub trait Native: Sized {
    /// Whether nothing is known of it, so that it passes everywhere: no value of an engine is such.
    fn is_unknown(&self) -> bool {
        false
    }
    fn is_nil(&self) -> bool;
    /// A boolean, number or string.
    fn scalar(&self) -> Option<Value>;
    /// What is bytes beside strings, such as a blob.
    fn bytes(&self) -> Option<Bytes>;
    fn object(&self) -> Option<Object>;
    /// A function of the script, in the engine's own form.
    fn function(&self) -> Option<Callback> {
        None
    }
    /// The items of a sequence; an empty table is one. Of more than [`MAX_ENTRIES`] one more is enough, and so of entries.
    fn list(&self) -> Option<Vec<Self>>;
    /// The entries of a table or map, in any order; an error when a key is not a string.
    fn entries(&self) -> Result<Option<Vec<Entry<'_, Self>>>, Raise>;
    /// JSON text of any value.
    fn json(&self) -> Result<Bytes, Raise>;
    /// The word for its type in messages: "a number", "a table".
    fn type_name(&self) -> String;
    /// Bytes of a string, or of what is bytes beside strings; 0 of anything else.
    fn size(&self) -> usize;
    /// The most bytes of one value: [`Limits::value`](super::limits::Limits).
    fn most(&self) -> usize;
}

/// An entry of a table or map.
pub type Entry<'a, N> = (Cow<'a, str>, N);

/// Converts the arguments of one call and appends them to `out`. `given` holds what the script wrote, without the
/// object of a method; the messages do not name the function, see [`named`].
pub fn args<N: Native>(
    params: &[Param],
    variadic: bool,
    given: impl ExactSizeIterator<Item = N>,
    out: &mut Vec<Value>,
) -> Result<(), Raise> {
    let count = given.len();
    if count > params.len() && !variadic {
        return Err(Raise::error(format!("takes {}, got {count}", arguments(params.len()))));
    }
    let mut given = given;
    for (index, param) in params.iter().enumerate() {
        let place = || format!("argument {} ({})", index + 1, param.name);
        out.push(match given.next() {
            // Only JSON can say null, so a nil that was written counts there.
            Some(value) if value.is_nil() && matches!(param.ty, Type::Json) && !param.optional => {
                Value::Json(json::null())
            }
            Some(value) if !value.is_nil() => convert(&param.ty, &value).map_err(|raise| within(&place(), raise))?,
            _ if param.optional || matches!(param.ty, Type::Maybe(_)) => Value::Nil,
            _ => return Err(Raise::error(format!("{} is missing", place()))),
        });
    }
    for (extra, value) in given.enumerate() {
        let place = format!("argument {}", params.len() + extra + 1);
        out.push(convert(&Type::Scalar, &value).map_err(|raise| within(&place, raise))?);
    }
    Ok(())
}

/// Puts the name of the function, as its language writes it, before a message.
pub fn named(function: &str, raise: Raise) -> Raise {
    within(function, raise)
}

/// Converts one value that is not an argument: one that is assigned to a property or an index. Nil stays nil.
pub fn assigned<N: Native>(ty: &Type, value: &N) -> Result<Value, Raise> {
    if value.is_nil() { Ok(Value::Nil) } else { convert(ty, value) }
}

fn convert<N: Native>(ty: &Type, value: &N) -> Result<Value, Raise> {
    if value.is_unknown() {
        return Ok(Value::Nil);
    }
    // Before it is copied.
    within_size(value.size(), value.most())?;
    let expected = |what: &str| Err(Raise::error(format!("expected {what}, got {}", value.type_name())));
    match ty {
        Type::Nil => Ok(Value::Nil),
        Type::Bool => match value.scalar() {
            Some(it @ Value::Bool(_)) => Ok(it),
            _ => expected("a boolean"),
        },
        Type::Int => match value.scalar() {
            Some(it @ Value::Int(_)) => Ok(it),
            Some(Value::Float(f)) if f.fract() == 0.0 && f.abs() <= json::MAX_SAFE as f64 => Ok(Value::Int(f as i64)),
            Some(Value::Float(f)) => Err(Raise::error(format!("expected an integer, got {f}"))),
            _ => expected("an integer"),
        },
        Type::Number => match value.scalar() {
            Some(it @ (Value::Int(_) | Value::Float(_))) => Ok(it),
            _ => expected("a number"),
        },
        Type::String => match value.scalar() {
            Some(it @ Value::Str(_)) => Ok(it),
            _ => expected("a string"),
        },
        Type::Bytes => match (value.scalar(), value.bytes()) {
            (Some(it @ Value::Str(_)), _) => Ok(it),
            (_, Some(bytes)) => Ok(Value::Str(bytes)),
            _ => expected("a string"),
        },
        Type::Duration => match value.scalar() {
            Some(it @ (Value::Int(_) | Value::Float(_) | Value::Str(_))) => duration(&it).map(|_| it),
            _ => expected("a duration such as `500ms` or a number of seconds"),
        },
        Type::Json => {
            let text = value.json()?;
            within_size(text.len(), value.most())?;
            Ok(Value::Json(text))
        }
        Type::Scalar => match value.scalar() {
            Some(it) => Ok(it),
            None if value.is_nil() => Ok(Value::Nil),
            None => match value.bytes() {
                Some(bytes) => Ok(Value::Str(bytes)),
                None => expected("a string, number or boolean"),
            },
        },
        // An empty table of Lua is a list of nothing.
        Type::Scalars if value.scalar().is_none() && value.list().is_some() => list(&Type::Scalar, value),
        Type::Scalars => convert(&Type::Scalar, value),
        Type::List(item) => list(item, value),
        Type::Map(item) => map(item, value),
        Type::Options(params) => options(params, value),
        Type::Object(kind) => match value.object() {
            Some(object) if object.kind().name == *kind => Ok(object.into()),
            _ => expected(kind),
        },
        Type::Function => match value.function() {
            Some(callback) => Ok(Object::Opaque("function", callback).into()),
            None => expected("a function"),
        },
        Type::Native | Type::Any => expected("a value of the gateway"),
        Type::Maybe(inner) => assigned(inner, value),
    }
}

/// SECURITY: whatever a function of the host does with a value, it does without giving way.
fn within_size(size: usize, most: usize) -> Result<(), Raise> {
    if size <= most {
        return Ok(());
    }
    Err(Raise::error(format!("{size} bytes are more than the host takes at once ({most}, `limits.max_body_size`)")))
}

fn within_count(count: usize) -> Result<(), Raise> {
    if count <= MAX_ENTRIES {
        return Ok(());
    }
    Err(Raise::error(format!("more than {MAX_ENTRIES} entries, the most that the host takes at once")))
}

fn list<N: Native>(ty: &Type, value: &N) -> Result<Value, Raise> {
    let Some(items) = value.list() else {
        return Err(Raise::error(format!("expected a list, got {}", value.type_name())));
    };
    within_count(items.len())?;
    let convert_item =
        |(index, item): (usize, &N)| convert(ty, item).map_err(|raise| within(&format!("item {}", index + 1), raise));
    items.iter().enumerate().map(convert_item).collect::<Result<_, _>>().map(Value::List)
}

fn sorted_entries<'n, N: Native>(what: &str, value: &'n N) -> Result<Vec<Entry<'n, N>>, Raise> {
    let Some(mut entries) = value.entries()? else {
        return Err(Raise::error(format!("expected {what}, got {}", value.type_name())));
    };
    within_count(entries.len())?;
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn map<N: Native>(ty: &Type, value: &N) -> Result<Value, Raise> {
    let entries = sorted_entries("named values", value)?.into_iter().map(|(name, item)| {
        let converted = convert(ty, &item).map_err(|raise| within(&format!("`{name}`"), raise))?;
        Ok((name.into_owned(), converted))
    });
    entries.collect::<Result<_, _>>().map(Value::Map)
}

fn options<N: Native>(params: &'static [Param], value: &N) -> Result<Value, Raise> {
    let entries = sorted_entries("options", value)?;
    let mut values: Vec<Value> = iter::repeat_with(Value::default).take(params.len()).collect();
    for (name, item) in &entries {
        let Some((param, value)) = params.iter().zip(&mut values).find(|(param, _)| param.name == *name) else {
            return Err(unknown_entry(params, name));
        };
        if !item.is_nil() {
            *value = convert(&param.ty, item).map_err(|raise| within(&format!("`{name}`"), raise))?;
        }
    }
    let is_there = |param: &Param| entries.iter().any(|(name, item)| param.name == *name && !item.is_nil());
    match params.iter().find(|param| !param.optional && !is_there(param)) {
        Some(missing) => Err(Raise::error(format!("`{}` is missing", missing.name))),
        None => Ok(Value::Record(params, values)),
    }
}

fn unknown_entry(params: &[Param], name: &str) -> Raise {
    let known = || params.iter().map(|param| param.name);
    Raise::error(match nearest(name, known()) {
        Some(near) => format!("unknown entry `{name}`, did you mean `{near}`?"),
        None => format!("unknown entry `{name}`, there are {}", known().collect::<Vec<_>>().join(", ")),
    })
}

fn within(place: &str, raise: Raise) -> Raise {
    match raise {
        Raise::Error(message) => Raise::Error(format!("{place}: {message}")),
        Raise::Reply(reply) => Raise::Reply(reply),
    }
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".into(),
        1 => "at most 1 argument".into(),
        _ => format!("at most {count} arguments"),
    }
}

/// What to say when a script names a member that a kind doesn't have.
pub fn unknown_member(kind: &super::list::Kind, name: &str) -> Raise {
    Raise::error(match kind.nearest(name) {
        Some(same) if same == name && kind.method(name).is_some() => {
            format!("`{name}` of {} is a method: call it with `()`", kind.name)
        }
        Some(same) if same == name => format!("`{name}` of {} is no method: read it without `()`", kind.name),
        Some(near) => format!("{} has no `{name}`, did you mean `{near}`?", kind.name),
        None => format!("{} has no `{name}`", kind.name),
    })
}

/// What to say when a script sets what can only be read.
pub fn read_only(kind: &super::list::Kind, name: &str) -> Raise {
    Raise::error(format!("`{name}` of {} can't be set", kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JSON stands in for an engine's values.
    impl Native for serde_json::Value {
        fn is_nil(&self) -> bool {
            self.is_null()
        }
        fn scalar(&self) -> Option<Value> {
            match self {
                serde_json::Value::Bool(b) => Some((*b).into()),
                serde_json::Value::Number(n) => n.as_i64().map(Value::Int).or(n.as_f64().map(Value::Float)),
                serde_json::Value::String(s) => Some(s.as_str().into()),
                _ => None,
            }
        }
        fn bytes(&self) -> Option<Bytes> {
            None
        }
        fn object(&self) -> Option<Object> {
            None
        }
        fn list(&self) -> Option<Vec<Self>> {
            self.as_array().cloned()
        }
        fn entries(&self) -> Result<Option<Vec<Entry<'_, Self>>>, Raise> {
            Ok(self.as_object().map(|map| map.iter().map(|(k, v)| (k.into(), v.clone())).collect()))
        }
        fn json(&self) -> Result<Bytes, Raise> {
            Ok(self.to_string().into())
        }
        fn type_name(&self) -> String {
            "something else".into()
        }
        fn size(&self) -> usize {
            self.as_str().map_or(0, str::len)
        }
        fn most(&self) -> usize {
            64
        }
    }

    fn call(function: &str, given: serde_json::Value) -> String {
        let (module, name) = function.split_once('.').expect("a dot");
        let module = crate::script::host::MODULES.iter().find(|m| m.name == module).expect("a module");
        let declared = module.functions.iter().find(|f| f.name == name).expect("a function");
        let given = given.as_array().expect("an array").clone();
        let mut out = Vec::new();
        match args(declared.params, declared.variadic, given.into_iter(), &mut out) {
            Ok(()) => format!("{out:?}"),
            Err(raise) => named(function, raise).to_string(),
        }
    }

    #[test]
    fn arguments_are_checked_against_the_list() {
        use serde_json::json;
        let said = |given| call("http.get", given);
        assert_eq!(said(json!(["svc://a/b"])), r#"[Str(b"svc://a/b"), Nil]"#);
        assert_eq!(
            said(json!(["svc://a/b", { "timout": 1 }])),
            "http.get: argument 2 (options): unknown entry `timout`, did you mean `timeout`?"
        );
        assert_eq!(said(json!([])), "http.get: argument 1 (url) is missing");
        assert_eq!(said(json!([7])), "http.get: argument 1 (url): expected a string, got something else");
        assert_eq!(said(json!(["a", {}, 3])), "http.get: takes at most 2 arguments, got 3");
        assert_eq!(
            said(json!(["a", { "query": { "q": [1] } }])),
            "http.get: argument 2 (options): `query`: `q`: expected a string, number or boolean, got something else"
        );
        assert_eq!(
            said(json!(["a", { "timeout": "soon" }])),
            "http.get: argument 2 (options): `timeout`: `soon` is not a duration: write `500ms`, `5s`, `1m` or a number of seconds"
        );
        assert_eq!(
            call("http.request", json!([{ "method": "GET" }])),
            "http.request: argument 1 (request): `url` is missing"
        );
        assert_eq!(
            call("reply.json", json!([200.5, 1])),
            "reply.json: argument 1 (status): expected an integer, got 200.5"
        );
        assert_eq!(call("reply.json", json!([200, null])), r#"[Int(200), Json(b"null"), Nil]"#);
        assert_eq!(
            call("reply.text", json!([200, "x".repeat(65)])),
            "reply.text: argument 2 (text): 65 bytes are more than the host takes at once (64, `limits.max_body_size`)"
        );
        assert_eq!(
            call("reply.json", json!([200, ["x".repeat(40), "y".repeat(40)]])),
            "reply.json: argument 2 (value): 87 bytes are more than the host takes at once (64, `limits.max_body_size`)"
        );
    }
}
