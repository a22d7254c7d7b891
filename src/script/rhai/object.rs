//! Members of the gateway's objects: what a name on `req`, `headers` or `ctx` means.
//!
//! Rhai writes values back: after `req.headers["x"] = 1` it sets `headers` of `req`, after a method that may have
//! changed a value it sets that value where it came from. Such echoes are recognised and change nothing.

use super::{
    convert::{Seen, same, to_script},
    json::Key,
    run::Worker,
};
use crate::script::{
    Raise, Scope, convert,
    list::{Kind, Property, Type},
    object::Object,
};
use ::rhai::{Dynamic, ImmutableString};
use std::rc::Rc;

/// A property's value; an object that can be indexed by any name is asked for names that are no properties of its kind.
pub fn get(
    worker: &Worker,
    object: &Object,
    name: &str,
    property: Option<&'static Property>,
) -> Result<Dynamic, Raise> {
    match property {
        Some(property) => {
            let value = read(worker, object, property)?;
            remember(worker, object, name, &value);
            Ok(value)
        }
        None => get_index(worker, object, name),
    }
}

fn read(worker: &Worker, object: &Object, property: &Property) -> Result<Dynamic, Raise> {
    if let Type::Native = property.ty {
        return Ok(native(worker, property.name));
    }
    to_script(&property.ty, (property.get)(object)?, worker)
}

/// A copy, so that no exchange changes another's: 0.1 µs for each entry of a map, nothing to speak of for strings and functions.
fn native(worker: &Worker, name: &str) -> Dynamic {
    let Some(run) = worker.run() else { return Dynamic::UNIT };
    if name == "config" { run.loaded.config.clone() } else { run.loaded.state.clone() }
}

pub fn set(worker: &Worker, object: &Object, name: &str, value: Dynamic) -> Result<Dynamic, Raise> {
    let kind = object.kind();
    let Some(property) = kind.property(name) else {
        return set_index(worker, object, name, value);
    };
    if is_echo(worker, object, name, &value) {
        return Ok(Dynamic::UNIT);
    }
    let Some(set) = property.set else {
        return unchanged(kind, name, &value, || read(worker, object, property));
    };
    let seen = Seen::new(worker, value);
    let place = |raise| convert::named(&format!("{}.{name}", kind.name), raise);
    let value = convert::assigned(&property.ty, &seen).map_err(place)?;
    assign(worker, |scope| set(scope, object, value)).map_err(place)
}

pub fn get_index(worker: &Worker, object: &Object, name: &str) -> Result<Dynamic, Raise> {
    let kind = object.kind();
    let Some(index) = &kind.index else {
        return match kind.property(name) {
            Some(property) => read(worker, object, property),
            None => Err(convert::unknown_member(kind, name)),
        };
    };
    let got = (index.get)(object, name).and_then(|value| to_script(&index.ty, value, worker));
    let value = got.map_err(|raise| convert::named(&item(kind, name), raise))?;
    remember(worker, object, name, &value);
    Ok(value)
}

pub fn set_index(worker: &Worker, object: &Object, name: &str, value: Dynamic) -> Result<Dynamic, Raise> {
    let kind = object.kind();
    if is_echo(worker, object, name, &value) {
        return Ok(Dynamic::UNIT);
    }
    match &kind.index {
        Some(index) => match index.set {
            Some(set) => {
                let seen = Seen::new(worker, value);
                let place = |raise| convert::named(&item(kind, name), raise);
                // What is read as text may be written as a number or a boolean too.
                let ty = if matches!(index.ty, Type::Maybe(Type::String)) { &Type::Scalar } else { &index.ty };
                let value = convert::assigned(ty, &seen).map_err(place)?;
                assign(worker, |scope| set(scope, object, name, value)).map_err(place)
            }
            None => unchanged(kind, name, &value, || get_index(worker, object, name)),
        },
        None if kind.property(name).is_some() => set(worker, object, name, value),
        None => Err(convert::unknown_member(kind, name)),
    }
}

/// All names, for iteration.
pub fn names(object: Object) -> Result<Vec<String>, Raise> {
    match &object.kind().index {
        Some(index) => (index.names)(&object),
        None => Err(Raise::error(format!("a {} has no items to go through", object.kind().name))),
    }
}

/// `name in object`.
pub fn contains(object: &Object, name: &str) -> Result<bool, Raise> {
    match &object.kind().index {
        Some(index) => (index.get)(object, name).map(|value| !value.is_nil()),
        None => Err(Raise::error(format!("a {} has no items to look among", object.kind().name))),
    }
}

fn assign(worker: &Worker, set: impl FnOnce(&Scope) -> Result<(), Raise>) -> Result<Dynamic, Raise> {
    let run = worker.run();
    match run.as_ref().and_then(|run| run.scope.as_deref()) {
        Some(scope) => set(scope).map(|()| Dynamic::UNIT),
        None => Err(Raise::error("can only be set in a hook")),
    }
}

/// How messages name what an index leads to.
fn item(kind: &Kind, name: &str) -> String {
    format!("{}[{name:?}]", kind.name)
}

/// Setting what can only be read is an error, unless it is what is there: then it is an echo.
fn unchanged(
    kind: &Kind,
    name: &str,
    value: &Dynamic,
    read: impl FnOnce() -> Result<Dynamic, Raise>,
) -> Result<Dynamic, Raise> {
    if same(value, &read()?) { Ok(Dynamic::UNIT) } else { Err(convert::read_only(kind, name)) }
}

/// A string that was read from an object, and where.
pub struct LastRead {
    object: Object,
    name: Key,
    text: ImmutableString,
}

fn remember(worker: &Worker, object: &Object, name: &str, value: &Dynamic) {
    if let (Ok(text), Some(run)) = (value.as_immutable_string_ref(), worker.run()) {
        let last = LastRead { object: object.clone(), name: name.into(), text: text.clone() };
        *run.last_read.borrow_mut() = Some(last);
    }
}

/// Whether this is the very string that was read here last, come back from a method such as `split`. Without this
/// `req.headers["accept"].split(",")` would leave the first of several values.
fn is_echo(worker: &Worker, object: &Object, name: &str, value: &Dynamic) -> bool {
    let Some(run) = worker.run() else { return false };
    let last = run.last_read.borrow();
    match (value.as_immutable_string_ref(), &*last) {
        (Ok(text), Some(last)) => {
            ImmutableString::ptr_eq(&text, &last.text) && *last.name == *name && same_handle(object, &last.object)
        }
        _ => false,
    }
}

/// Whether two handles lead to the same thing.
pub fn same_handle(a: &Object, b: &Object) -> bool {
    if let (Object::Headers(_, a), Object::Headers(_, b)) = (a, b)
        && a != b
    {
        return false;
    }
    let same_exchange = match (a.exchange(), b.exchange()) {
        (Some(a), Some(b)) => Rc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let same_answer = match (a.answer(), b.answer()) {
        (Some(a), Some(b)) => Rc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    std::mem::discriminant(a) == std::mem::discriminant(b) && same_exchange && same_answer
}
