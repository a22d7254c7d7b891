//! `every`: background work of a generation, given in `on_load`.
//!
//! Here it is only checked and kept; when it runs is `proxy::background`'s affair.

use crate::script::{
    Hook, Raise, Scope, Value,
    background::{Given, MAX_TASKS, MIN_INTERVAL},
    list::{Function, Param, Type},
    object::Object,
    value::Args,
};

pub static FUNCTION: Function = Function {
    name: "every",
    params: &[
        Param::required("interval", Type::Duration, "`100ms` at least"),
        Param::required("run", Type::Function, "called without arguments"),
    ],
    variadic: false,
    returns: Type::Nil,
    doc: "Runs a function again and again in the background, from `on_load` only; at most 16 for each use of a plugin. It runs on one worker of the process, within the limits of a hook and a minute at most, first after a part of the interval and at most 10 s. It never overlaps with itself: what would be late is left out. A reload ends it, also while it waits, and begins the new one's. All modules work in it; hand over what it finds by `kv`, since variables belong to one worker.",
    lua: r#"every("30s", function() kv.set("rates", http.get("svc://rates/latest"):json()) end)"#,
    rhai: r#"every("30s", || kv::set("rates", http::get("svc://rates/latest").json()));"#,
    run: |scope, args| every(scope, &args).into(),
};

fn every(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let Some(background) = scope.services.background.as_ref().filter(|_| scope.hook == Hook::OnLoad) else {
        return Err(Raise::error("can be called in on_load only: it would begin anew with each request"));
    };
    let interval = args.duration(0)?.unwrap_or_default();
    if interval < MIN_INTERVAL {
        return Err(Raise::error(format!("{interval:?} is too often: {MIN_INTERVAL:?} at least")));
    }
    let Value::Object(Object::Opaque(_, callback)) = args.get(1) else {
        return Err(Raise::argument(1, "a function", args.get(1)));
    };
    match background.add(Given { interval, callback: callback.clone() }) {
        true => Ok(Value::Nil),
        false => Err(Raise::error(format!("there are {MAX_TASKS} already, as many as there may be"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{fixture, list::Outcome};
    use std::rc::Rc;

    fn said(scope: &Scope, interval: &str) -> String {
        let callback = Object::Opaque("function", Rc::new(()));
        match (FUNCTION.run)(scope, Args(vec![interval.into(), callback.into()])) {
            Outcome::Done(Ok(_)) => "fine".into(),
            Outcome::Done(Err(raise)) => raise.to_string(),
            Outcome::Wait(_) => "it waits".into(),
        }
    }

    #[test]
    fn it_is_for_on_load_not_too_often_and_not_too_many() {
        let only = "can be called in on_load only: it would begin anew with each request";
        assert_eq!(said(&fixture::scope(Hook::OnRequest, Some(fixture::exchange(""))), "1s"), only);
        assert_eq!(said(&fixture::scope(Hook::Every, None), "1s"), only);
        let scope = fixture::scope(Hook::OnLoad, None);
        assert_eq!(said(&scope, "99ms"), "99ms is too often: 100ms at least");
        for _ in 0..MAX_TASKS {
            assert_eq!(said(&scope, "100ms"), "fine");
        }
        assert_eq!(said(&scope, "100ms"), "there are 16 already, as many as there may be");
    }
}
