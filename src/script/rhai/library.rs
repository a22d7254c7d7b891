//! Functions of Rhai's own library that a gateway can't have, replaced.
//!
//! They would block the thread, allocate without bound within one call, or run long without giving way.
//! `eval` can be disabled as a symbol; functions can't, since `Fn("sleep")` finds them by name.

use super::{json, run::Worker};
use crate::script::Raise;
use ::rhai::{Array, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Module, Position};
use std::{cmp::Ordering, rc::Rc};

type Done<T> = Result<T, Box<EvalAltResult>>;

pub fn replace(engine: &mut Engine, worker: &Rc<Worker>) {
    let mut module = Module::new();
    let add = |name: &str| FuncRegistration::new(name).in_global_namespace().with_volatility(true);

    add("sleep").set_into_module(&mut module, |_: i64| -> Done<()> { error("there is no sleep in a gateway") });
    add("sleep").set_into_module(&mut module, |_: f64| -> Done<()> { error("there is no sleep in a gateway") });

    // Replacing multiplies sizes; Rhai's check would come after the allocation.
    let text = |text: &mut ImmutableString, find: &str, with: &str, most: usize| -> Done<()> {
        let times = if find.is_empty() { text.chars().count() + 1 } else { text.matches(find).count() };
        let grown = times.saturating_mul(with.len().saturating_sub(find.len()));
        if text.len().saturating_add(grown) > most {
            return Err(too_large("Length of string"));
        }
        if times > 0 {
            *text = text.replace(find, with).into();
        }
        Ok(())
    };
    add("replace").set_into_module(
        &mut module,
        move |context: ::rhai::NativeCallContext, it: &mut ImmutableString, find: &str, with: &str| {
            text(it, find, with, context.engine().max_string_size())
        },
    );
    add("replace").set_into_module(
        &mut module,
        move |context: ::rhai::NativeCallContext, it: &mut ImmutableString, find: char, with: &str| {
            text(it, find.encode_utf8(&mut [0; 4]), with, context.engine().max_string_size())
        },
    );

    // The pieces are sixteen times as large as what they come from.
    add("split").set_into_module(
        &mut module,
        |context: ::rhai::NativeCallContext, it: &mut ImmutableString, by: &str| -> Done<Array> {
            let most = context.engine().max_array_size();
            let pieces: Array = it.split(by).take(most + 1).map(Into::into).collect();
            if pieces.len() > most { Err(too_large("Size of array/BLOB")) } else { Ok(pieces) }
        },
    );

    let decoder = worker.clone();
    add("parse_json").set_into_module(&mut module, move |text: &str| -> Done<Dynamic> {
        json::decode(text.as_bytes(), &decoder.shapes).map_err(|raise| super::bind::failed(raise, Position::NONE))
    });

    for (name, descending) in [("sort", false), ("sort_desc", true)] {
        let worker = worker.clone();
        add(name).set_into_module(&mut module, move |array: &mut Array| sort(&worker, array, descending));
    }
    engine.register_global_module(module.into());
}

fn error<T>(message: &str) -> Done<T> {
    Err(super::bind::failed(Raise::error(message), Position::NONE))
}

fn too_large(what: &str) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE))
}

/// Sorts values of one type, as Rhai does, but gives way meanwhile: a large array takes tens of milliseconds.
fn sort(worker: &Worker, array: &mut Array, descending: bool) -> Done<()> {
    let Some(first) = array.first() else { return Ok(()) };
    let kind = first.type_id();
    if array.iter().any(|item| item.type_id() != kind) {
        return error("values of different types can't be sorted");
    }
    if array.iter().any(|item| compare(item, item).is_none()) {
        return error("values of this type can't be sorted: give a function to compare them");
    }
    let stopped = std::cell::Cell::new(false);
    // The order stays total after the script was stopped: what comes of it is never seen.
    array.sort_by(|a, b| {
        if !stopped.get() && worker.progress() {
            stopped.set(true);
        }
        let order = compare(a, b).unwrap_or(Ordering::Equal);
        if descending { order.reverse() } else { order }
    });
    if stopped.get() {
        return Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE)));
    }
    Ok(())
}

fn compare(a: &Dynamic, b: &Dynamic) -> Option<Ordering> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Some(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        return Some(a.total_cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return Some(a.as_str().cmp(b.as_str()));
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return Some(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Some(a.cmp(&b));
    }
    (a.is_unit() && b.is_unit()).then_some(Ordering::Equal)
}
