//! Functions of Rhai's own library that go through a whole value, replaced: its text, and comparing it with another.
//!
//! Rhai's own call themselves for each item, without ever being asked whether the script must stop, and take 10 µs for each: a value
//! of a hundred thousand items takes seconds. What they say is the same.

use super::{
    library::{Done, step, too_large},
    run::Worker,
};
use ::rhai::{Array, Dynamic, EvalAltResult, FuncRegistration, Map, Module, NativeCallContext};
use std::{fmt::Write as _, rc::Rc};

pub fn replace(module: &mut Module, worker: &Rc<Worker>) {
    let add = |name: &str| FuncRegistration::new(name).in_global_namespace().with_purity(true).with_volatility(true);
    for name in ["print", "to_string", "debug", "to_debug"] {
        let walk = Walk(worker.clone());
        add(name).set_into_module(module, move |context: NativeCallContext, array: &mut Array| {
            walk.whole(|text| walk.array_text(&context, array, text))
        });
        let walk = Walk(worker.clone());
        add(name).set_into_module(module, move |context: NativeCallContext, map: &mut Map| {
            walk.whole(|text| walk.map_text(&context, map, text))
        });
    }
    for (name, is_equal) in [("==", true), ("!=", false)] {
        let walk = Walk(worker.clone());
        add(name).set_into_module(module, move |context: NativeCallContext, a: &mut Array, b: Array| {
            Ok::<_, Box<EvalAltResult>>(walk.same_arrays(&context, a, &b)? == is_equal)
        });
        let walk = Walk(worker.clone());
        add(name).set_into_module(module, move |context: NativeCallContext, a: &mut Map, b: Map| {
            Ok::<_, Box<EvalAltResult>>(walk.same_maps(&context, a, &b)? == is_equal)
        });
    }
    let walk = Walk(worker.clone());
    add("contains").set_into_module(module, move |context: NativeCallContext, array: &mut Array, value: Dynamic| {
        Done::Ok(walk.find(&context, array, 0, &value)?.is_some())
    });
    let index = |found: Option<usize>| found.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1);
    let walk = Walk(worker.clone());
    add("index_of").set_into_module(module, move |context: NativeCallContext, array: &mut Array, value: Dynamic| {
        Done::Ok(index(walk.find(&context, array, 0, &value)?))
    });
    let walk = Walk(worker.clone());
    add("index_of").set_into_module(
        module,
        move |context: NativeCallContext, array: &mut Array, value: Dynamic, start: i64| {
            let magnitude = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
            let start = if start < 0 { array.len().saturating_sub(magnitude) } else { magnitude };
            Done::Ok(index(walk.find(&context, array, start, &value)?))
        },
    );
}

/// Goes through values, and gives way or stops on its way.
struct Walk(Rc<Worker>);

impl Walk {
    /// The text that is written, or what there is of it when the script was stopped meanwhile: for an error Rhai would begin again with
    /// all of it, unstoppably. Nothing comes of the part: a stopped script ends at its next step, and until then the host refuses it.
    fn whole(&self, write: impl FnOnce(&mut String) -> Done<()>) -> Done<String> {
        let mut text = String::new();
        match write(&mut text) {
            Err(error) if !self.0.is_stopped() => Err(error),
            Ok(()) | Err(_) => Ok(text),
        }
    }

    fn text(&self, context: &NativeCallContext, value: &Dynamic, text: &mut String) -> Done<()> {
        step(&self.0)?;
        if let Some(array) = value.read_lock::<Array>() {
            return self.array_text(context, &array, text);
        }
        if let Some(map) = value.read_lock::<Map>() {
            return self.map_text(context, &map, text);
        }
        if let Ok(c) = value.as_char() {
            text.push(c);
        } else if value.is_string() || value.is_int() || value.is_float() || value.is_bool() || value.is_unit() {
            // Never fails: it is a string's.
            let _ = write!(text, "{value:?}");
        } else {
            let said = context.call_native_fn_raw("to_debug", true, &mut [&mut value.clone()])?;
            text.push_str(&said.into_immutable_string().unwrap_or_default());
        }
        if text.len() > context.engine().max_string_size() {
            return Err(too_large("Length of string"));
        }
        Ok(())
    }

    fn array_text(&self, context: &NativeCallContext, array: &[Dynamic], text: &mut String) -> Done<()> {
        text.push('[');
        for (index, item) in array.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            self.text(context, item, text)?;
        }
        text.push(']');
        Ok(())
    }

    fn map_text(&self, context: &NativeCallContext, map: &Map, text: &mut String) -> Done<()> {
        text.push_str("#{");
        for (index, (key, value)) in map.iter().enumerate() {
            let _ = write!(text, "{}{key:?}: ", if index == 0 { "" } else { ", " });
            self.text(context, value, text)?;
        }
        text.push('}');
        Ok(())
    }

    fn same(&self, context: &NativeCallContext, a: &Dynamic, b: &Dynamic) -> Done<bool> {
        step(&self.0)?;
        if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
            return self.same_arrays(context, &a, &b);
        }
        if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
            return self.same_maps(context, &a, &b);
        }
        if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
            return Ok(a == b);
        }
        if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
            return Ok(*a == *b);
        }
        match context.call_native_fn_raw("==", true, &mut [&mut a.clone(), &mut b.clone()]) {
            Ok(said) => Ok(said.as_bool().unwrap_or(false)),
            // Values of different types that no one compares are different.
            Err(error) if is_unknown(&error) && a.type_id() != b.type_id() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn same_arrays(&self, context: &NativeCallContext, a: &[Dynamic], b: &[Dynamic]) -> Done<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in a.iter().zip(b) {
            if !self.same(context, a, b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn same_maps(&self, context: &NativeCallContext, a: &Map, b: &Map) -> Done<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        for (key, a) in a {
            match b.get(key) {
                Some(b) if self.same(context, a, b)? => (),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Where a value is first, from this index on.
    fn find(
        &self,
        context: &NativeCallContext,
        array: &[Dynamic],
        from: usize,
        value: &Dynamic,
    ) -> Done<Option<usize>> {
        for (index, item) in array.iter().enumerate().skip(from) {
            if self.same(context, item, value)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

fn is_unknown(error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(..))
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    /// Beside Rhai's own: text of values, and which are the same.
    #[tokio::test(flavor = "current_thread")]
    async fn all_is_said_as_rhai_says_it() {
        let values = [
            "[]",
            "#{}",
            "[1, 2.5, 3.0, true, (), 'x', \"a \\\"b\\n\"]",
            "[[1, [2]], [], #{}, #{ a: [1], b: #{ c: () } }]",
            "#{ a: 1, b: \"two\", \"the third\": 'c' }",
            "[Fn(\"shout\"), Fn(\"shout\").curry(1)]",
            "[blob(2, 1)]",
            "[1, 2, 1.0, \"1\", '1', [1], #{ a: 1 }]",
            "[1.0, 2, 1, \"1\", '1', [1], #{ a: 1 }]",
            "[(), [()], 0..5, 0..=5]",
        ];
        let own = ::rhai::Engine::new();
        for a in values {
            let mut asked =
                ["`${x}`", "x.to_string()", "x.to_debug()", "\"\" + x", "x + \"!\""].map(str::to_owned).to_vec();
            asked.extend(values.iter().flat_map(|b| [format!("`${{x == {b}}}`"), format!("`${{x != {b}}}`")]));
            if a.starts_with('[') {
                for item in ["1", "1.0", "\"1\"", "[1]", "#{ a: 1 }", "()", "'x'", "[()]"] {
                    asked.push(format!("`${{x.contains({item})}} ${{{item} in x}} ${{x.index_of({item})}}`"));
                    asked.push(format!(
                        "`${{x.index_of({item}, 1)}} ${{x.index_of({item}, -2)}} ${{x.index_of({item}, 99)}}`"
                    ));
                }
            }
            for ask in asked {
                let expected = own.eval::<String>(&format!("let x = {a}; {ask}"));
                let got = run(&format!("let x = {a}; reply::text(200, {ask})")).await;
                match expected {
                    Ok(expected) => assert_eq!(got, format!("200 {expected}"), "{ask} of {a}"),
                    Err(_) => assert!(!got.starts_with("200"), "{ask} of {a}: {got}"),
                }
            }
        }
    }
}
