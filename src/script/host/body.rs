//! The methods that `req` and `res` share: reading and replacing a body.

use super::exchange;
use crate::{
    http::response_headers::OfBody,
    script::{
        Raise, Reply, Scope, Value,
        exchange::Side,
        json,
        list::{Function, Outcome, Param, Type},
        object::Object,
        value::Args,
    },
};
use bytes::Bytes;
use http::{StatusCode, header};

pub const JSON: Function = Function {
    name: "json",
    params: &[],
    variadic: false,
    returns: Type::Json,
    doc: "The body as a JSON value, nothing when it is empty; waits for it. Integers of 64 bits, empty arrays, null and the order of keys are kept. A request body that is not JSON ends the hook with 400; a response body that is not is an error.",
    lua: "local user = req:json()",
    rhai: "let user = req.json();",
    run: |_, args| read(&args, document),
};

pub const TEXT: Function = Function {
    name: "text",
    params: &[],
    variadic: false,
    returns: Type::String,
    doc: "The body as a string, its content encoding taken off; waits for it.",
    lua: "local text = res:text()",
    rhai: "let text = res.text();",
    run: |_, args| read(&args, |_, bytes| Ok(Value::Str(bytes))),
};

pub const BYTES: Function = Function {
    name: "bytes",
    params: &[],
    variadic: false,
    returns: Type::Bytes,
    doc: "The body's bytes, its content encoding taken off: a string in Lua, a blob in Rhai; waits for it.",
    lua: "local size = #req:bytes()",
    rhai: "let size = req.bytes().len();",
    run: |_, args| read(&args, |_, bytes| Ok(Value::Str(bytes))),
};

pub const SET_JSON: Function = Function {
    name: "set_json",
    params: &[Param::required("value", Type::Json, "what the body shall say")],
    variadic: false,
    returns: Type::Nil,
    doc: "Replaces the body by a JSON document and sets its content type; length, encoding, ETag and digests are mended.",
    lua: r#"res:set_json({ id = 7 })"#,
    rhai: r#"res.set_json(#{ id: 7 });"#,
    run: |_, args| {
        replace(&args, |headers| {
            if !headers.content_type().is_some_and(json::is_media_type) {
                headers.map().insert(header::CONTENT_TYPE, crate::script::reply::JSON);
            }
        })
        .into()
    },
};

pub const SET_BODY: Function = Function {
    name: "set_body",
    params: &[Param::required("bytes", Type::Bytes, "the new body")],
    variadic: false,
    returns: Type::Nil,
    doc: "Replaces the body; length, encoding, ETag and digests are mended, the content type stays.",
    lua: r#"res:set_body("hello")"#,
    rhai: r#"res.set_body("hello");"#,
    run: |_, args| replace(&args, |_| ()).into(),
};

/// `body = …` is `set_body(…)`.
pub fn assign_body(_: &Scope, object: &Object, value: Value) -> Result<(), Raise> {
    exchange(object)?.set_body(side(object)?, value.bytes()?)
}

pub fn side(object: &Object) -> Result<Side, Raise> {
    match object {
        Object::Request(_) => Ok(Side::Request),
        Object::Response(_) => Ok(Side::Response),
        other => Err(Raise::error(format!("expected a request or a response, got {}", other.kind().name))),
    }
}

fn read(args: &Args, finish: fn(Side, Bytes) -> Result<Value, Raise>) -> Outcome {
    let (exchange, side) = match args.object().and_then(|object| Ok((exchange(object)?, side(object)?))) {
        Ok((exchange, side)) => (exchange.clone(), side),
        Err(raise) => return Outcome::Done(Err(raise)),
    };
    match exchange.body_here(side) {
        Some(bytes) => Outcome::Done(finish(side, bytes)),
        None => Outcome::wait(async move { finish(side, exchange.read_body(side).await?) }),
    }
}

fn document(side: Side, text: Bytes) -> Result<Value, Raise> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Nil);
    }
    // A client's mistake is not the script's: it need not be caught to be answered rightly.
    if side == Side::Request && serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_err() {
        let reply = Reply::problem(StatusCode::BAD_REQUEST, "the request body is not JSON");
        return Err(Raise::Reply(Box::new(reply)));
    }
    Ok(Value::Json(text))
}

fn replace(args: &Args, with_headers: impl FnOnce(&mut dyn OfBody)) -> Result<Value, Raise> {
    let object = args.object()?;
    let (exchange, side) = (exchange(object)?, side(object)?);
    exchange.set_body(side, args.bytes(1)?)?;
    match side {
        Side::Request => with_headers(&mut exchange.request.borrow_mut().headers),
        Side::Response => {
            if let Some(response) = exchange.response.borrow_mut().as_mut() {
                with_headers(&mut response.headers);
            }
        }
    }
    Ok(Value::Nil)
}

/// `body`: what was read already; a property can't wait.
pub fn get_body(object: &Object) -> Result<Value, Raise> {
    exchange(object)?
        .body_ready(side(object)?)
        .map(Value::Str)
        .ok_or_else(|| Raise::error("the body was not read yet: `text()`, `bytes()` or `json()` wait for it"))
}
