//! Functions of Rhai's own library that a gateway can't have, replaced.
//!
//! They would block the thread, allocate without bound within one call, or run long without giving way.
//! `eval` can be disabled as a symbol; functions can't, since `Fn("sleep")` finds them by name.

use super::{run::Worker, whole};
use crate::script::Raise;
use ::rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Module, NativeCallContext,
    Position,
};
use std::{cmp::Ordering, rc::Rc, time::Instant};

pub type Done<T> = Result<T, Box<EvalAltResult>>;

pub fn replace(engine: &mut Engine, worker: &Rc<Worker>) {
    let mut module = Module::new();
    let add = |name: &str| FuncRegistration::new(name).in_global_namespace().with_volatility(true);

    add("sleep").set_into_module(&mut module, |_: i64| -> Done<()> { error("there is no sleep in a gateway") });
    add("sleep").set_into_module(&mut module, |_: f64| -> Done<()> { error("there is no sleep in a gateway") });

    let asked = worker.clone();
    add("timestamp").set_into_module(&mut module, move || asked.instant());
    let asked = worker.clone();
    add("elapsed").set_into_module(&mut module, move |since: Instant| elapsed(&asked, since));
    let asked = worker.clone();
    FuncRegistration::new_getter("elapsed")
        .in_global_namespace()
        .set_into_module(&mut module, move |since: &mut Instant| elapsed(&asked, *since));

    let asked = worker.clone();
    add("replace").set_into_module(
        &mut module,
        move |context: NativeCallContext, it: &mut ImmutableString, find: &str, with: &str| {
            replace_in(&asked, &context, it, find, with)
        },
    );
    let asked = worker.clone();
    add("replace").set_into_module(
        &mut module,
        move |context: NativeCallContext, it: &mut ImmutableString, find: char, with: &str| {
            replace_in(&asked, &context, it, find.encode_utf8(&mut [0; 4]), with)
        },
    );
    let asked = worker.clone();
    add("pad").set_into_module(
        &mut module,
        move |context: NativeCallContext, array: &mut Array, len: i64, item: Dynamic| {
            let len = usize::try_from(len).unwrap_or(0);
            if len.saturating_mul(weight(&item)) > context.engine().max_array_size() {
                return Err(too_large("Size of array/BLOB"));
            }
            while array.len() < len {
                step(&asked)?;
                array.push(item.clone());
            }
            Ok(())
        },
    );
    let asked = worker.clone();
    add("pad").set_into_module(
        &mut module,
        move |context: NativeCallContext, it: &mut ImmutableString, len: i64, with: &str| {
            pad(&asked, &context, it, len, with)
        },
    );
    let asked = worker.clone();
    add("pad").set_into_module(
        &mut module,
        move |context: NativeCallContext, it: &mut ImmutableString, len: i64, with: char| {
            pad(&asked, &context, it, len, with.encode_utf8(&mut [0; 4]))
        },
    );
    splits(&mut module, worker);

    let decoder = worker.clone();
    add("parse_json").set_into_module(&mut module, move |text: &str| -> Done<Dynamic> {
        decoder.decode(text.as_bytes()).map_err(|raise| super::bind::failed(raise, Position::NONE))
    });

    // Rhai's own would look for `to_string` and call it.
    add("+").set_into_module(&mut module, |text: &str, number: i64| format!("{text}{number}"));

    sorts(&mut module, worker);
    whole::replace(&mut module, worker);
    engine.register_global_module(module.into());
}

/// Seconds since a timestamp. A test may set its clock back, so that there is nothing of it yet.
fn elapsed(worker: &Worker, since: Instant) -> f64 {
    worker.instant().saturating_duration_since(since).as_secs_f64()
}

/// The ways to split a string, which differ in little.
fn splits(module: &mut Module, worker: &Rc<Worker>) {
    let add = |name: &str| FuncRegistration::new(name).in_global_namespace();
    let most = |segments: i64| usize::try_from(segments).unwrap_or(0).max(1);
    macro_rules! split {
        ($name:literal, |$it:ident $(, $by:ident: $by_type:ty)*| $pieces:expr) => {
            let asked = worker.clone();
            add($name).set_into_module(module, move |$it: &mut ImmutableString $(, $by: $by_type)*| {
                collect(&asked, $pieces)
            });
        };
    }
    split!("split", |it, by: &str| it.split(by));
    split!("split", |it, by: char| it.split(by));
    split!("split", |it| it.split_whitespace());
    split!("split", |it, by: &str, segments: i64| it.splitn(most(segments), by));
    split!("split", |it, by: char, segments: i64| it.splitn(most(segments), by));
    split!("split_rev", |it, by: &str| it.rsplit(by));
    split!("split_rev", |it, by: char| it.rsplit(by));
    split!("split_rev", |it, by: &str, segments: i64| it.rsplitn(most(segments), by));
    split!("split_rev", |it, by: char, segments: i64| it.rsplitn(most(segments), by));
    let asked = worker.clone();
    add("to_chars").set_into_module(module, move |it: &mut ImmutableString| {
        let mut chars = Array::new();
        for c in it.chars() {
            step(&asked)?;
            chars.push(c.into());
        }
        Done::Ok(chars)
    });
}

/// Pieces take many times the memory of what they come from.
fn collect<'a>(worker: &Worker, pieces: impl Iterator<Item = &'a str>) -> Done<Array> {
    let mut array = Array::new();
    for piece in pieces {
        step(worker)?;
        array.push(piece.into());
    }
    Ok(array)
}

/// Replacing multiplies sizes, and Rhai would check them after the allocation.
fn replace_in(
    worker: &Worker,
    context: &NativeCallContext,
    text: &mut ImmutableString,
    find: &str,
    with: &str,
) -> Done<()> {
    let mut replaced = String::new();
    let mut last = 0;
    for (at, found) in text.match_indices(find) {
        step(worker)?;
        replaced.push_str(&text[last..at]);
        replaced.push_str(with);
        last = at + found.len();
        if replaced.len() > context.engine().max_string_size() {
            return Err(too_large("Length of string"));
        }
    }
    replaced.push_str(&text[last..]);
    *text = replaced.into();
    Ok(())
}

/// So many bytes are one step.
const PIECE: usize = 4096;

/// Pads a string to so many characters. Rhai's own does it in one step, and never ends when there is nothing to pad with.
fn pad(worker: &Worker, context: &NativeCallContext, text: &mut ImmutableString, len: i64, with: &str) -> Done<()> {
    let len = usize::try_from(len).unwrap_or(0);
    let most = context.engine().max_string_size();
    if len > most {
        return Err(too_large("Length of string"));
    }
    let (mut missing, unit) = (len.saturating_sub(text.chars().count()), with.chars().count());
    if missing == 0 || unit == 0 {
        return Ok(());
    }
    let copies = (PIECE / with.len()).clamp(1, missing.div_ceil(unit));
    let (piece, of_piece) = (with.repeat(copies), unit * copies);
    let mut padded = text.to_string();
    while missing > 0 {
        step(worker)?;
        if missing >= of_piece {
            padded.push_str(&piece);
            missing -= of_piece;
        } else {
            padded.extend(piece.chars().take(missing));
            missing = 0;
        }
        if padded.len() > most {
            return Err(too_large("Length of string"));
        }
    }
    *text = padded.into();
    Ok(())
}

/// One step of something long: gives way, or ends it.
pub fn step(worker: &Worker) -> Done<()> {
    if worker.progress() {
        Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE)))
    } else {
        Ok(())
    }
}

fn error<T>(message: &str) -> Done<T> {
    Err(super::bind::failed(Raise::error(message), Position::NONE))
}

pub fn too_large(what: &str) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE))
}

/// Items in a value, itself included.
fn weight(value: &Dynamic) -> usize {
    let within = |items: &mut dyn Iterator<Item = &Dynamic>| items.map(weight).fold(1, usize::saturating_add);
    if let Ok(items) = value.as_array_ref() {
        within(&mut items.iter())
    } else if let Some(items) = value.read_lock::<::rhai::Map>() {
        within(&mut items.values())
    } else {
        1
    }
}

/// Sorting and comparing neighbours. Rhai's own swallow what a callback throws and go on to the end, which for a script that
/// was stopped takes seconds; and they catch what unwinds when a script is dropped.
fn sorts(module: &mut Module, worker: &Rc<Worker>) {
    let add = |name: &str| FuncRegistration::new(name).in_global_namespace().with_volatility(true);
    for descending in [false, true] {
        let asked = worker.clone();
        add(if descending { "sort_desc" } else { "sort" }).set_into_module(module, move |array: &mut Array| {
            *array = sorted(&asked, array, descending)?;
            Done::Ok(())
        });
        let asked = worker.clone();
        add(if descending { "order_desc" } else { "order" })
            .set_into_module(module, move |array: &mut Array| sorted(&asked, array, descending));
    }
    for name in ["sort", "sort_by"] {
        add(name).set_into_module(module, |context: NativeCallContext, array: &mut Array, by: FnPtr| {
            *array = sorted_by(&context, array, &by)?;
            Done::Ok(())
        });
    }
    for name in ["order", "order_by"] {
        add(name).set_into_module(module, |context: NativeCallContext, array: &mut Array, by: FnPtr| {
            sorted_by(&context, array, &by)
        });
    }
    add("dedup").set_into_module(module, |context: NativeCallContext, array: &mut Array, same: FnPtr| {
        dedup(array, |a, b| same.call_raw(&context, None, [a.clone(), b.clone()]))
    });
    add("dedup").set_into_module(module, |context: NativeCallContext, array: &mut Array| {
        dedup(array, |a, b| context.call_native_fn_raw("==", true, &mut [&mut a.clone(), &mut b.clone()]))
    });
}

/// Values of one type in their order, as Rhai sorts them; it gives way meanwhile.
fn sorted(worker: &Worker, array: &Array, descending: bool) -> Done<Array> {
    merge_sort(array, |a, b| {
        step(worker)?;
        let order = compare(a, b).ok_or_else(|| {
            let message = "only numbers, strings, characters or booleans of one type can be sorted without a function";
            super::bind::failed(Raise::error(message), Position::NONE)
        })?;
        Ok(if descending { order.reverse() } else { order })
    })
}

/// In the order of a script's function, which gives a number below, at or above zero, or whether the first comes first.
fn sorted_by(context: &NativeCallContext, array: &Array, by: &FnPtr) -> Done<Array> {
    merge_sort(array, |a, b| {
        let said = by.call_raw(context, None, [a.clone(), b.clone()])?;
        match (said.as_int(), said.as_bool()) {
            (Ok(number), _) => Ok(number.cmp(&0)),
            (_, Ok(first)) => Ok(if first { Ordering::Less } else { Ordering::Greater }),
            _ => error("a function to sort by must return a number or a boolean"),
        }
    })
}

/// Sorts bottom up, stable. The standard library's sorts can't stop at an error, and may panic over an order that is none.
fn merge_sort(array: &Array, mut order: impl FnMut(&Dynamic, &Dynamic) -> Done<Ordering>) -> Done<Array> {
    let mut from: Vec<usize> = (0..array.len()).collect();
    let mut width = 1;
    while width < from.len() {
        let mut to = Vec::with_capacity(from.len());
        for pair in from.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                let side = if order(&array[*a], &array[*b])?.is_gt() { &mut right } else { &mut left };
                to.extend(side.split_off_first());
            }
            to.extend_from_slice(left);
            to.extend_from_slice(right);
        }
        from = to;
        width *= 2;
    }
    Ok(from.into_iter().map(|index| array[index].clone()).collect())
}

/// Removes items that are the same as the one before.
fn dedup(array: &mut Array, same: impl Fn(&Dynamic, &Dynamic) -> Done<Dynamic>) -> Done<()> {
    let mut kept: Vec<usize> = Vec::new();
    for (index, item) in array.iter().enumerate() {
        let repeated = match kept.last() {
            Some(last) => same(&array[*last], item)?.as_bool().unwrap_or(false),
            None => false,
        };
        if !repeated {
            kept.push(index);
        }
    }
    *array = kept.into_iter().map(|index| std::mem::take(&mut array[index])).collect();
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
