//! `test`: what a test file says. It works in `*_test.lua` and `*_test.rhai` under `gatewright test`, and nowhere else.
//!
//! Checks compare by JSON, so that both languages mean the same by equal; one that fails is an error at its line. The gateway under
//! test, its clock and its upstreams are the harness', behind [`Trial`] and [`Tried`].

use crate::script::{
    Raise, Scope, Value,
    list::{Function, Kind, Module, Outcome, Param, Property, Type},
    object::Object,
    trial::{Trial, Tried},
    value::Args,
};
use serde_json::Value as Json;
use std::{rc::Rc, time::Duration};

const ACTUAL: Param = Param::required("actual", Type::Json, "what came");
const EXPECTED: Param = Param::required("expected", Type::Json, "what must have come");
const NOTE: Param = Param::optional("note", Type::String, "said when it fails");

static OPTIONS: &[Param] = &[
    Param::optional("config", Type::Json, "the configuration of the script or plugin"),
    Param::optional("on_error", Type::String, "`continue` passes over a script that fails"),
    Param::optional("before", Type::List(&Type::Json), "plugins that run first, written as in `gateway.yaml`"),
    Param::optional("route", Type::Json, "more entries of the route, such as `paths`"),
    Param::optional("service", Type::Json, "more entries of the service `backend`, such as `timeout`"),
    Param::optional("gateway", Type::Json, "more entries of the whole configuration, such as `limits`"),
];

static REQUEST: &[Param] = &[
    Param::optional("method", Type::String, "GET when it is left out"),
    Param::optional("path", Type::String, "with its query; `/` when it is left out"),
    Param::optional("headers", Type::Map(&Type::Scalar), "request headers"),
    Param::optional("body", Type::Bytes, "the body"),
    Param::optional("json", Type::Json, "the body as a value; sets Content-Type"),
    Param::optional("client", Type::String, "the address of the client; 127.0.0.1 when it is left out"),
];

static ANSWER: &[Param] = &[
    Param::optional("status", Type::Int, "200 when it is left out"),
    Param::optional("headers", Type::Map(&Type::Scalar), "response headers"),
    Param::optional("body", Type::Bytes, "the body"),
    Param::optional("json", Type::Json, "the body as a value; sets Content-Type"),
    Param::optional("delay", Type::Duration, "the real time that passes before"),
    Param::optional("fail", Type::Bool, "true closes the connection instead of an answer"),
];

pub static MODULE: Module = Module {
    name: "test",
    doc: "Tests of scripts: in files `*_test.lua` and `*_test.rhai`, which `gatewright test` runs. Functions named `test_…` are the cases; in Lua the file returns a table of them. A case runs with a clock of its own that stands still, and is stopped after 2 seconds of processor time, or 10 of any.",
    constants: &[],
    functions: &[
        Function {
            name: "plugin",
            params: &[
                Param::required("name", Type::String, "a file beside the test file, or a plugin by its name"),
                Param::optional("options", Type::Options(OPTIONS), "how it is used"),
            ],
            variadic: false,
            returns: Type::Object("gateway"),
            doc: "A gateway with this script or plugin on its one route, before the service `backend`.",
            lua: r#"local gw = test.plugin("rate-limit.lua", { config = { limit = 1 } })"#,
            rhai: r#"let gw = test::plugin("rate-limit.rhai", #{ config: #{ limit: 1 } });"#,
            run: |scope, args| {
                let made =
                    trial(scope).and_then(|trial| Ok(Object::Gateway(trial.gateway(args.str(0)?, args.get(1))?)));
                Outcome::Done(made.map(Value::from))
            },
        },
        Function {
            name: "equal",
            params: &[ACTUAL, EXPECTED, NOTE],
            variadic: false,
            returns: Type::Nil,
            doc: "Fails unless both are the same as JSON; numbers by value, entries of maps in any order.",
            lua: "test.equal(res.status, 401)",
            rhai: "test::equal(res.status, 401);",
            run: |_, args| check(&args, same, "expected").into(),
        },
        Function {
            name: "differs",
            params: &[ACTUAL, EXPECTED, NOTE],
            variadic: false,
            returns: Type::Nil,
            doc: "Fails when both are the same.",
            lua: "test.differs(first.body, second.body)",
            rhai: "test::differs(first.body, second.body);",
            run: |_, args| {
                check(&args, |actual, expected| !same(actual, expected), "expected something else than").into()
            },
        },
        Function {
            name: "contains",
            params: &[ACTUAL, EXPECTED, NOTE],
            variadic: false,
            returns: Type::Nil,
            doc: "Fails unless a text contains the other, or a list the item.",
            lua: r#"test.contains(res.body, "too many")"#,
            rhai: r#"test::contains(res.body, "too many");"#,
            run: |_, args| check(&args, holds, "expected something with").into(),
        },
        Function {
            name: "ok",
            params: &[ACTUAL, NOTE],
            variadic: false,
            returns: Type::Nil,
            doc: "Fails when the value is false or nothing.",
            lua: "test.ok(seen.remaining < 10)",
            rhai: "test::ok(seen.remaining < 10);",
            run: |_, args| {
                let done = json(&args, 0).and_then(|actual| match actual {
                    Json::Null | Json::Bool(false) => {
                        Err(failed(&args, 1, format!("expected true\n     got {actual}")))
                    }
                    _ => Ok(Value::Nil),
                });
                Outcome::Done(done)
            },
        },
        Function {
            name: "fail",
            params: &[Param::required("why", Type::String, "what went wrong")],
            variadic: false,
            returns: Type::Nil,
            doc: "Fails in any case.",
            lua: r#"test.fail("this must not be reached")"#,
            rhai: r#"test::fail("this must not be reached");"#,
            run: |_, args| Outcome::Done(args.str(0).and_then(|why| Err(Raise::error(why)))),
        },
        Function {
            name: "now",
            params: &[Param::required("milliseconds", Type::Int, "since 1970")],
            variadic: false,
            returns: Type::Nil,
            doc: "Sets the time of day that `time` and `jwt` see; it is 2026-01-01T00:00:00Z before.",
            lua: "test.now(1767225600000)",
            rhai: "test::now(1767225600000);",
            run: |scope, args| {
                let set = trial(scope).and_then(|trial| {
                    let now = u64::try_from(args.int(0)?).map_err(|_| Raise::error("that is before 1970"))?;
                    trial.set(Duration::from_millis(now));
                    Ok(Value::Nil)
                });
                Outcome::Done(set)
            },
        },
        Function {
            name: "advance",
            params: &[Param::required("duration", Type::Duration, "how far")],
            variadic: false,
            returns: Type::Nil,
            doc: "Moves the clock on: the time of day, windows of `limit`, and times to live of `kv`. What scripts gave to `every` runs on the way, the first time after one interval.",
            lua: r#"test.advance("61s")"#,
            rhai: r#"test::advance("61s");"#,
            run: |scope, args| match trial(scope)
                .and_then(|trial| Ok(trial.pass(args.duration(0)?.unwrap_or_default())))
            {
                Ok(passes) => Outcome::Wait(passes),
                Err(raise) => Outcome::Done(Err(raise)),
            },
        },
    ],
};

pub static GATEWAY: Kind = Kind {
    name: "gateway",
    doc: "A gateway under test, made by `test.plugin`. It is whole: what it does between request and response is what one that serves does.",
    properties: &[
        Property {
            name: "received",
            ty: Type::Json,
            doc: "What upstreams received, first to last: `method`, `url` (`svc://backend/x?y`), `path`, `headers`, `body`, and `json` when it is.",
            get: |object| Ok(gateway(object)?.received()),
            set: None,
        },
        Property {
            name: "logs",
            ty: Type::Json,
            doc: "The lines of the log, first to last: `level`, `message`, `fields`, `error` of a script that failed.",
            get: |object| Ok(gateway(object)?.logs()),
            set: None,
        },
    ],
    methods: &[
        Function {
            name: "request",
            params: &[Param::optional("request", Type::Options(REQUEST), "`GET /` when it is left out")],
            variadic: false,
            returns: Type::Json,
            doc: "Sends a request and waits until its `on_log` is over. Gives `status`, `headers`, `body`, and `json` when it is.",
            lua: r#"local res = gw:request({ path = "/users", headers = { ["x-api-key"] = "abc" } })"#,
            rhai: r#"let res = gw.request(#{ path: "/users", headers: #{ "x-api-key": "abc" } });"#,
            run: |_, args| match args.object().and_then(gateway).cloned() {
                Ok(gateway) => Outcome::Wait(gateway.request(args.get(1).clone())),
                Err(raise) => Outcome::Done(Err(raise)),
            },
        },
        Function {
            name: "answer",
            params: &[
                Param::required("method", Type::String, "or `*`"),
                Param::required(
                    "url",
                    Type::String,
                    "`svc://NAME/path` or `https://…`; `*` at its end stands for any rest",
                ),
                Param::required("answer", Type::Options(ANSWER), "what comes back"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Says what an upstream answers; what was said last counts. The service `backend` answers 200 with `{}` when nothing is said.",
            lua: r#"gw:answer("GET", "svc://users/users/7", { json = { name = "Ada" } })"#,
            rhai: r#"gw.answer("GET", "svc://users/users/7", #{ json: #{ name: "Ada" } });"#,
            run: |_, args| {
                let said = args.object().and_then(gateway).and_then(|gateway| {
                    gateway.answer(args.str(1)?, args.str(2)?, args.get(3))?;
                    Ok(Value::Nil)
                });
                Outcome::Done(said)
            },
        },
        Function {
            name: "redis",
            params: &[
                Param::required("command", Type::String, "its first words: `GET greeting`; `SCRIPT` for scripts"),
                Param::required("reply", Type::Json, "what it gives"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Says what a command of Redis gives; what was said last counts, and a command of which nothing was said is an error.",
            lua: r#"gw:redis("GET greeting", "hello")"#,
            rhai: r#"gw.redis("GET greeting", "hello");"#,
            run: |_, args| {
                let said = args.object().and_then(gateway).and_then(|gateway| {
                    gateway.redis(args.str(1)?, args.get(2))?;
                    Ok(Value::Nil)
                });
                Outcome::Done(said)
            },
        },
        Function {
            name: "metric",
            params: &[
                Param::required("name", Type::String, "as the script wrote it"),
                Param::optional("labels", Type::Map(&Type::Scalar), "only series with these labels"),
            ],
            variadic: false,
            returns: Type::Maybe(&Type::Json),
            doc: "What scripts counted with `metrics` in this case, all series with these labels together: a number, or `count` and `sum` of a histogram; nothing when there is none.",
            lua: r#"test.equal(gw:metric("orders", { country = "de" }), 2)"#,
            rhai: r#"test::equal(gw.metric("orders", #{ country: "de" }), 2);"#,
            run: |_, args| {
                let found =
                    args.object().and_then(gateway).and_then(|gateway| gateway.metric(args.str(1)?, args.get(2)));
                Outcome::Done(found)
            },
        },
        Function {
            name: "problems",
            params: &[],
            variadic: false,
            returns: Type::String,
            doc: "What a check finds wrong with the configuration or in `on_load`, as text; empty when nothing is.",
            lua: r#"test.contains(gw:problems(), "exclude each other")"#,
            rhai: r#"test::contains(gw.problems(), "exclude each other");"#,
            run: |_, args| match args.object().and_then(gateway).cloned() {
                Ok(gateway) => Outcome::Wait(gateway.problems()),
                Err(raise) => Outcome::Done(Err(raise)),
            },
        },
    ],
    index: None,
};

fn trial(scope: &Scope) -> Result<&Rc<dyn Trial>, Raise> {
    let missing = || Raise::error("there are no tests here: name the file `…_test` and run `gatewright test`");
    scope.services.trial.as_ref().ok_or_else(missing)
}

fn gateway(object: &Object) -> Result<&Rc<dyn Tried>, Raise> {
    match object {
        Object::Gateway(gateway) => Ok(gateway),
        other => Err(Raise::error(format!("expected a gateway, got {}", other.kind().name))),
    }
}

fn json(args: &Args, index: usize) -> Result<Json, Raise> {
    match args.get(index) {
        Value::Json(text) => serde_json::from_slice(text).map_err(|error| Raise::error(error.to_string())),
        _ => Ok(Json::Null),
    }
}

fn check(args: &Args, holds: fn(&Json, &Json) -> bool, wanted: &str) -> Result<Value, Raise> {
    let (actual, expected) = (json(args, 0)?, json(args, 1)?);
    match holds(&actual, &expected) {
        true => Ok(Value::Nil),
        false => Err(failed(args, 2, format!("{wanted} {expected}\n     got {actual}"))),
    }
}

fn failed(args: &Args, note: usize, why: String) -> Raise {
    Raise::error(match args.get(note).as_str() {
        Some(note) => format!("{note}: {why}"),
        None => why,
    })
}

/// An empty table of Lua is a list and a map alike.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(x), Json::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Json::Array(x), Json::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Json::Object(x), Json::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        (Json::Array(list), Json::Object(map)) | (Json::Object(map), Json::Array(list)) => {
            list.is_empty() && map.is_empty()
        }
        _ => a == b,
    }
}

fn holds(actual: &Json, part: &Json) -> bool {
    match (actual, part) {
        (Json::String(text), Json::String(part)) => text.contains(part.as_str()),
        (Json::Array(items), _) => items.iter().any(|item| same(item, part)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    fn said(name: &str, args: &[&'static str]) -> String {
        let args: Vec<Value> =
            args.iter().map(|text| Value::Json(bytes::Bytes::from_static(text.as_bytes()))).collect();
        show(run(&scope(Hook::OnLoad, None), &MODULE, name, args))
    }

    #[test]
    fn equal_compares_values_and_not_how_they_are_written() {
        assert_eq!(said("equal", &["1", "1.0"]), "nil");
        assert_eq!(said("equal", &[r#"{"a":1,"b":[]}"#, r#"{"b":{},"a":1}"#]), "nil");
        assert_eq!(said("equal", &["200", "401"]), "error: expected 401\n     got 200");
        assert_eq!(said("differs", &["1", "1"]), "error: expected something else than 1\n     got 1");
    }

    #[test]
    fn contains_looks_into_texts_and_lists() {
        assert_eq!(said("contains", &[r#""too many""#, r#""many""#]), "nil");
        assert_eq!(said("contains", &["[1,2]", "2"]), "nil");
        assert_eq!(said("contains", &["[1,2]", "3"]), "error: expected something with 3\n     got [1,2]");
        assert_eq!(said("ok", &["false"]), "error: expected true\n     got false");
    }

    #[test]
    fn there_are_no_tests_where_requests_are_served() {
        let scope = scope(Hook::OnRequest, None);
        let refused = "error: there are no tests here: name the file `…_test` and run `gatewright test`";
        assert_eq!(show(run(&scope, &MODULE, "advance", [Value::from("1s")])), refused);
    }
}
