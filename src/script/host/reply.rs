//! `reply`: how a script answers.
//!
//! `return reply.…` from `on_request`, `handle`, `on_response` and `on_error`; thrown from any depth it does the same.

use super::{headers, response::status};
use crate::script::{
    Raise, Reply, Scope, Value,
    list::{Function, Kind, Module, Param, Property, Type},
    object::Object,
    reply,
    value::Args,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::rc::Rc;

const STATUS: Param = Param::required("status", Type::Int, "200 to 599");
const HEADERS: Param = Param::optional(
    "headers",
    Type::Map(&Type::Scalars),
    "more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name",
);

pub static MODULE: Module = Module {
    name: "reply",
    doc: "Makes responses. Return one from a hook, or throw it from any depth.",
    constants: &[],
    functions: &[
        Function {
            name: "json",
            params: &[STATUS, Param::required("value", Type::Json, "the document"), HEADERS],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A reply with a JSON document. Keys of tables and maps that a script made come in alphabetical order.",
            lua: r#"return reply.json(200, { ok = true })"#,
            rhai: r#"return reply::json(200, #{ ok: true });"#,
            run: |scope, args| body(scope, &args, reply::JSON).into(),
        },
        Function {
            name: "text",
            params: &[STATUS, Param::required("text", Type::String, "the body"), HEADERS],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A reply with plain text.",
            lua: r#"return reply.text(200, "hello")"#,
            rhai: r#"return reply::text(200, "hello");"#,
            run: |scope, args| body(scope, &args, reply::TEXT).into(),
        },
        Function {
            name: "bytes",
            params: &[STATUS, Param::required("bytes", Type::Bytes, "the body"), HEADERS],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A reply with bytes; give their content type among the headers.",
            lua: r#"return reply.bytes(200, png, { ["content-type"] = "image/png" })"#,
            rhai: r#"return reply::bytes(200, png, #{ "content-type": "image/png" });"#,
            run: |scope, args| body(scope, &args, reply::BYTES).into(),
        },
        Function {
            name: "empty",
            params: &[STATUS, HEADERS],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A reply without a body.",
            lua: r#"return reply.empty(204)"#,
            rhai: r#"return reply::empty(204);"#,
            run: |scope, args| empty(scope, &args).into(),
        },
        Function {
            name: "redirect",
            params: &[
                Param::required("url", Type::String, "where to go"),
                Param::optional("status", Type::Int, "301, 302 (the default), 303, 307 or 308"),
            ],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A redirect.",
            lua: r#"return reply.redirect("https://example.com/", 308)"#,
            rhai: r#"return reply::redirect("https://example.com/", 308);"#,
            run: |_, args| redirect(&args).into(),
        },
        Function {
            name: "error",
            params: &[
                STATUS,
                Param::required("detail", Type::String, "one line for the client"),
                HEADERS,
                Param::optional(
                    "members",
                    Type::Json,
                    "more members of the problem, such as `errors`; none of the gateway's own is replaced",
                ),
            ],
            variadic: false,
            returns: Type::Object("reply"),
            doc: "A problem (RFC 9457, `application/problem+json`) with the request id.",
            lua: r#"return reply.error(403, "not yours")"#,
            rhai: r#"return reply::error(403, "not yours");"#,
            run: |scope, args| error(scope, &args).into(),
        },
    ],
};

pub static KIND: Kind = Kind {
    name: "reply",
    doc: "A response made by a script.",
    properties: &[Property {
        name: "status",
        ty: Type::Int,
        doc: "Its status.",
        get: |object| match object {
            Object::Reply(reply) => Ok(i64::from(reply.status.as_u16()).into()),
            other => Err(Raise::error(format!("expected a reply, got {}", other.kind().name))),
        },
        set: None,
    }],
    methods: &[],
    index: None,
};

fn body(scope: &Scope, args: &Args, content_type: HeaderValue) -> Result<Value, Raise> {
    finish(scope, Reply::with_body(status(args.int(0)?)?, content_type, args.bytes(1)?), args.get(2))
}

fn empty(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    finish(scope, Reply::empty(status(args.int(0)?)?), args.get(1))
}

fn error(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let mut problem = Reply::problem(status(args.int(0)?)?, args.str(1)?);
    if let Value::Json(text) = args.get(3) {
        let members = serde_json::from_slice(text).map_err(|_| Raise::error("a problem's members are an object"))?;
        problem.members = Some(Box::new(members));
    }
    finish(scope, problem, args.get(2))
}

fn redirect(args: &Args) -> Result<Value, Raise> {
    let code = args.int_or(1, 302)?;
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        return Err(Raise::error(format!("{code} is not a redirect: use 301, 302, 303, 307 or 308")));
    }
    let reply = Reply::empty(StatusCode::from_u16(code as u16).unwrap_or(StatusCode::FOUND));
    Ok(made(reply.header(header::LOCATION, headers::value(args.get(0).clone())?)))
}

fn finish(scope: &Scope, mut reply: Reply, extra: &Value) -> Result<Value, Raise> {
    if let (Value::Map(entries), Some(_)) = (extra, &scope.instance.permissions.headers) {
        for (name, _) in entries {
            headers::permit(scope, &headers::name(name)?)?;
        }
    }
    apply(&mut reply.headers, extra)?;
    Ok(made(reply))
}

fn made(reply: Reply) -> Value {
    Object::Reply(Rc::new(reply)).into()
}

/// Sets headers from a map that a script gave.
pub fn apply(to: &mut HeaderMap, extra: &Value) -> Result<(), Raise> {
    if let Value::Map(entries) = extra {
        for (name, value) in entries {
            let name = headers::name(name)?;
            match value {
                Value::List(values) => {
                    to.remove(&name);
                    for value in values {
                        to.append(&name, headers::value(value.clone())?);
                    }
                }
                value => {
                    to.insert(name, headers::value(value.clone())?);
                }
            }
        }
    }
    Ok(())
}
