//! `kv`: small values that a plugin keeps between exchanges, for all workers, across reloads.
//!
//! A value is kept as its JSON text, a whole number as a number, so that `incr` goes on from what `set` left. The plugin's name is the
//! namespace. It is bounded and not durable: an entry may be gone at any time.

use super::option;
use crate::{
    script::{
        Raise, Scope, Value,
        list::{Function, Module, Param, Type},
        value::{Args, duration},
    },
    store::{KvError, KvValue},
};
use std::time::Duration;

const KEY: Param = Param::required("key", Type::String, "within the plugin's own namespace");
static OPTIONS: &[Param] =
    &[Param::optional("ttl", Type::Duration, "how long it is kept; until it is pushed out when it is left out")];

pub static MODULE: Module = Module {
    name: "kv",
    doc: "Values that live as long as the gateway: shared by all workers, a namespace for each plugin, bounded (what was not used for longest goes first), kept across reloads, gone with the process.",
    constants: &[],
    functions: &[
        Function {
            name: "get",
            params: &[KEY],
            variadic: false,
            returns: Type::Json,
            doc: "What was set: a copy; nothing when there is none.",
            lua: r#"local session = kv.get("session:7")"#,
            rhai: r#"let session = kv::get("session:7");"#,
            run: |scope, args| get(scope, &args).into(),
        },
        Function {
            name: "set",
            params: &[
                KEY,
                Param::required("value", Type::Json, "anything JSON can say; nothing deletes"),
                Param::optional("options", Type::Options(OPTIONS), "of the entry"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Keeps a value, in place of an older one and its time to live. Strings are UTF-8: encode bytes with `base64`.",
            lua: r#"kv.set("session:7", { user = 7 }, { ttl = "10m" })"#,
            rhai: r#"kv::set("session:7", #{ user: 7 }, #{ ttl: "10m" });"#,
            run: |scope, args| set(scope, &args).into(),
        },
        Function {
            name: "incr",
            params: &[
                KEY,
                Param::optional("by", Type::Int, "1 when it is left out; may be negative"),
                Param::optional("options", Type::Options(OPTIONS), "of a new entry: a later call does not prolong it"),
            ],
            variadic: false,
            returns: Type::Int,
            doc: "Adds to a whole number and gives the sum, in one step; a new one counts from 0.",
            lua: r#"local failures = kv.incr("failures:" .. ctx.client.ip, 1, { ttl = "1m" })"#,
            rhai: r#"let failures = kv::incr("failures:" + ctx.client.ip, 1, #{ ttl: "1m" });"#,
            run: |scope, args| incr(scope, &args).into(),
        },
        Function {
            name: "delete",
            params: &[KEY],
            variadic: false,
            returns: Type::Bool,
            doc: "Forgets a value; whether there was one.",
            lua: r#"kv.delete("session:7")"#,
            rhai: r#"kv::delete("session:7");"#,
            run: |scope, args| delete(scope, &args).into(),
        },
    ],
};

fn get(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    Ok(match scope.services.store.kv().get(&scope.instance.plugin, &args.bytes(0)?) {
        None => Value::Nil,
        Some(KvValue::Int(int)) => Value::Int(int),
        Some(KvValue::Bytes(text)) => Value::Json(text),
    })
}

fn set(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let text = match args.get(1) {
        Value::Nil => return delete(scope, args).map(|_| Value::Nil),
        _ => args.bytes(1)?,
    };
    if &*text == b"null" {
        return delete(scope, args).map(|_| Value::Nil);
    }
    let whole = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    let value = whole.map_or(KvValue::Bytes(text), KvValue::Int);
    let kv = scope.services.store.kv();
    kv.set(&scope.instance.plugin, &args.bytes(0)?, value, ttl(args)?).map_err(refused)?;
    Ok(Value::Nil)
}

fn incr(scope: &Scope, args: &Args) -> Result<i64, Raise> {
    let kv = scope.services.store.kv();
    kv.incr(&scope.instance.plugin, &args.bytes(0)?, args.int_or(1, 1)?, ttl(args)?).map_err(refused)
}

fn delete(scope: &Scope, args: &Args) -> Result<bool, Raise> {
    Ok(scope.services.store.kv().delete(&scope.instance.plugin, &args.bytes(0)?))
}

fn ttl(args: &Args) -> Result<Option<Duration>, Raise> {
    duration(option(args.get(2), "ttl"))
}

/// The engines put the function's name in front.
fn refused(error: KvError) -> Raise {
    let text = error.to_string();
    Raise::error(text.trim_start_matches("kv: "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };
    use bytes::Bytes;

    fn json(text: &'static str) -> Value {
        Value::Json(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn get_gives_back_what_was_set() {
        let scope = scope(Hook::OnLoad, None);
        let call = |name: &str, args: &[Value]| show(run(&scope, &MODULE, name, args));
        for text in [r#"{"b":1,"a":[]}"#, r#""text""#, "true", "1.5", "9223372036854775808"] {
            assert_eq!(call("set", &["k".into(), json(text)]), "nil");
            assert_eq!(call("get", &["k".into()]), format!("json {text}"));
        }
        assert_eq!(call("set", &["k".into(), json("null")]), "nil");
        assert_eq!(call("get", &["k".into()]), "nil");
        assert_eq!(call("delete", &["k".into()]), "false");
    }

    #[test]
    fn whole_numbers_can_be_counted_on() {
        let scope = scope(Hook::OnLoad, None);
        let call = |name: &str, args: &[Value]| show(run(&scope, &MODULE, name, args));
        assert_eq!(call("set", &["n".into(), json("41")]), "nil");
        assert_eq!(call("incr", &["n".into()]), "42");
        assert_eq!(call("get", &["n".into()]), "42");
        assert_eq!(call("incr", &["n".into(), (-2).into()]), "40");
        assert_eq!(call("set", &["t".into(), json(r#""x""#)]), "nil");
        assert_eq!(call("incr", &["t".into()]), "error: `t` holds bytes, not an integer");
    }

    #[test]
    fn an_entry_lives_no_longer_than_its_ttl() {
        let scope = scope(Hook::OnLoad, None);
        let ttl = Value::Map(vec![("ttl".into(), 0.into())]);
        assert_eq!(show(run(&scope, &MODULE, "set", ["k".into(), json("1"), ttl])), "nil");
        assert_eq!(show(run(&scope, &MODULE, "get", ["k".into()])), "nil");
    }
}
