//! `json`: documents as text, and what JSON has that a script's own values lack.
//!
//! The engines convert between JSON text and their values on the way in and out, so these functions
//! only pass the text on: whatever [`json`](crate::script::json) promises of a body holds here too.

use crate::script::{
    Raise, Value, json,
    list::{Constant, ConstantValue, Function, Module, Param, Type},
    value::Args,
};
use bytes::Bytes;

pub static MODULE: Module = Module {
    name: "json",
    doc: "Reads and writes JSON.",
    constants: &[Constant {
        name: "null",
        doc: "JSON's null. In Lua a value of its own, since nil can't stand in a table; in Rhai `()` is null and the name is a reserved word.",
        value: ConstantValue::Null,
    }],
    functions: &[
        Function {
            name: "encode",
            params: &[Param::required("value", Type::Json, "anything JSON can say")],
            variadic: false,
            returns: Type::String,
            doc: "A value as JSON text. Keys of tables and maps that a script made come in alphabetical order.",
            lua: r#"local text = json.encode({ id = 7 })"#,
            rhai: r#"let text = json::encode(#{ id: 7 });"#,
            run: |_, args| text_of(&args).map(Value::Str).into(),
        },
        Function {
            name: "decode",
            params: &[Param::required("text", Type::Bytes, "a JSON document")],
            variadic: false,
            returns: Type::Json,
            doc: "The value that JSON text says. Integers of 64 bits, empty arrays, null and the order of keys are kept. An error when it is not JSON.",
            lua: r#"local value = json.decode('{"id": 7}')"#,
            rhai: r#"let value = json::decode("[1, 2]");"#,
            run: |_, args| args.bytes(0).map(Value::Json).into(),
        },
        Function {
            name: "array",
            params: &[Param::optional("list", Type::Json, "a list; empty when it is left out")],
            variadic: false,
            returns: Type::Json,
            doc: "A list that is an array in JSON even when it is empty: in Lua an empty table is an object otherwise.",
            lua: r#"local body = { items = json.array() }"#,
            rhai: r#"let items = json::array([1, 2]);"#,
            run: |_, args| array(&args).into(),
        },
    ],
};

fn text_of(args: &Args) -> Result<Bytes, Raise> {
    if args.get(0).is_nil() { Ok(json::null()) } else { args.bytes(0) }
}

fn array(args: &Args) -> Result<Value, Raise> {
    let list = text_of(args)?;
    match list.trim_ascii() {
        b"null" | b"{}" => Ok(Value::Json(Bytes::from_static(b"[]"))),
        [b'[', ..] => Ok(Value::Json(list)),
        _ => Err(Raise::error("json.array needs a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    #[test]
    fn text_passes_unchanged() {
        let call = |name: &str, arg: Value| show(run(&scope(Hook::OnLoad, None), &MODULE, name, [arg]));
        let json = |text: &'static str| Value::Json(Bytes::from_static(text.as_bytes()));
        assert_eq!(call("encode", json(r#"{"b":1,"a":[]}"#)), r#""{\"b\":1,\"a\":[]}""#);
        assert_eq!(call("encode", Value::Nil), r#""null""#);
        assert_eq!(call("decode", "[9007199254740993]".into()), "json [9007199254740993]");
    }

    #[test]
    fn an_empty_array_is_an_array() {
        let array = |arg: Value| show(run(&scope(Hook::OnLoad, None), &MODULE, "array", [arg]));
        let json = |text: &'static str| Value::Json(Bytes::from_static(text.as_bytes()));
        assert_eq!(array(Value::Nil), "json []");
        assert_eq!(array(json("{}")), "json []");
        assert_eq!(array(json("[1]")), "json [1]");
        assert_eq!(array(json(r#"{"a":1}"#)), "error: json.array needs a list");
    }
}
