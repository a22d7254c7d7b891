//! `headers`: reading gives the first value, assigning replaces, nil removes.
//!
//! Names are checked as RFC 9110 tokens and values refuse CR, LF and NUL, so a script can't split a message.

use crate::{
    http::identity,
    script::{
        Raise, Scope, Value,
        exchange::Side,
        list::{Function, Index, Kind, Param, Type},
        object::Object,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};

pub static KIND: Kind = Kind {
    name: "headers",
    doc: "The headers of a request or response. Names are case-insensitive. Reading gives the first value or nothing; assigning replaces all values; assigning nothing removes. In a request both also remove other spellings of the name, such as `x_user_id` for `x-user-id`.",
    properties: &[],
    methods: &[
        Function {
            name: "all",
            params: &[Param::required("name", Type::String, "the header's name")],
            variadic: false,
            returns: Type::List(&Type::String),
            doc: "All values of a header, in the order they came.",
            lua: r#"local tokens = req.headers:all("x-token")"#,
            rhai: r#"let tokens = req.headers.all("x-token");"#,
            run: |_, args| {
                let all = |headers: &HeaderMap| {
                    let name = name(args.str(1)?)?;
                    Ok(Value::List(headers.get_all(name).iter().map(text).collect()))
                };
                args.object().and_then(|object| read(object, args.str(1)?, all)).into()
            },
        },
        Function {
            name: "add",
            params: &[
                Param::required("name", Type::String, "the header's name"),
                Param::required("value", Type::Scalar, "one more value"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Adds a value beside those that are there.",
            lua: r#"res.headers:add("vary", "origin")"#,
            rhai: r#"res.headers.add("vary", "origin");"#,
            run: |scope, mut args| {
                let new = args.take(2);
                let add = |headers: &mut HeaderMap| {
                    let name = name(args.str(1)?)?;
                    permit(scope, &name)?;
                    headers.append(name, value(new)?);
                    Ok(())
                };
                args.object().and_then(|object| write(object, args.str(1)?, add)).map(|()| Value::Nil).into()
            },
        },
        Function {
            name: "set",
            params: &[
                Param::required("name", Type::String, "the header's name"),
                Param::optional("value", Type::Scalar, "its only value; nothing removes it"),
            ],
            variadic: false,
            returns: Type::Bool,
            doc: "As assigning, but whether it could be done is told: a value with a control character can't stand in a header, and then nothing is changed.",
            lua: r#"if not req.headers:set("x-user-id", claims.sub) then return reply.error(401, "no name") end"#,
            rhai: r#"if !req.headers.set("x-user-id", claims.sub) { return reply::error(401, "no name"); }"#,
            run: |scope, mut args| {
                let value = match args.take(2) {
                    Value::Nil => None,
                    new => match value(new) {
                        Ok(value) => Some(value),
                        Err(_) => return false.into(),
                    },
                };
                let set = args.object().and_then(|object| assign(scope, object, args.str(1)?, value));
                set.map(|()| true).into()
            },
        },
        NAMES,
        Function {
            name: "has",
            params: &[Param::required("name", Type::String, "the header's name")],
            variadic: false,
            returns: Type::Bool,
            doc: "Whether the header is there.",
            lua: r#"if req.headers:has("authorization") then return end"#,
            rhai: r#"if req.headers.has("authorization") { return; }"#,
            run: |_, args| {
                let has = |headers: &HeaderMap| Ok(Value::Bool(headers.contains_key(name(args.str(1)?)?)));
                args.object().and_then(|object| read(object, args.str(1)?, has)).into()
            },
        },
    ],
    index: Some(Index {
        ty: Type::Maybe(&Type::String),
        get: |object, key| {
            first(object, key, |value| match value {
                Some(value) => Ok(Value::Str(bytes::Bytes::copy_from_slice(value))),
                None => name(key).map(|_| Value::Nil),
            })
        },
        set: Some(|scope, object, key, new| {
            let new = if new.is_nil() { None } else { Some(value(new)?) };
            assign(scope, object, key, new)
        }),
        names: |object| {
            let mut names = Vec::new();
            if let Object::Headers(exchange, Side::Request) = object {
                exchange.stamp();
            }
            look(object, |headers| {
                names.extend(headers.keys().map(|name| name.as_str().to_owned()));
                Ok(Value::Nil)
            })?;
            Ok(names)
        },
    }),
};

/// `names()` of headers. Parameters and cookies have none: one of theirs may be called `names`; they can be gone through.
pub const NAMES: Function = Function {
    name: "names",
    params: &[],
    variadic: false,
    returns: Type::List(&Type::String),
    doc: "The names that are there, each once, in no particular order.",
    lua: r#"for _, name in req.headers:names() do log.info(name, { value = req.headers[name] }) end"#,
    rhai: r#"for name in req.headers.names() { log::info(name, #{ value: req.headers[name] }); }"#,
    run: |_, args| {
        let names = args.object().and_then(|object| match &object.kind().index {
            Some(index) => (index.names)(object),
            None => Err(Raise::error("has no names")),
        });
        names.map(|names| Value::List(names.into_iter().map(Value::from).collect())).into()
    },
};

/// Makes `value` the only one of a header, or removes it.
fn assign(scope: &Scope, object: &Object, key: &str, value: Option<HeaderValue>) -> Result<(), Raise> {
    let name = name(key)?;
    permit(scope, &name)?;
    write(object, key, |headers| {
        // SECURITY: what a script found out is told to the backend under one name, which a client can't spell otherwise.
        if let Object::Headers(_, Side::Request) = object {
            identity::strip_other_spellings(headers, &name);
        }
        match value {
            None => headers.remove(name),
            Some(value) => headers.insert(name, value),
        };
        Ok(())
    })
}

/// SECURITY: a plugin whose manifest names the headers that it writes keeps to them.
pub fn permit(scope: &Scope, name: &HeaderName) -> Result<(), Raise> {
    let Some(granted) = &scope.instance.permissions.headers else {
        return Ok(());
    };
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(stem) => name.as_str().starts_with(stem),
        None => name.as_str() == pattern,
    };
    if granted.iter().any(fits) {
        return Ok(());
    }
    let has = if granted.is_empty() { "is empty".to_owned() } else { format!("has `{}`", granted.join("`, `")) };
    Err(Raise::error(format!(
        "header `{name}` may not be written: `permissions.headers` in the manifest {has}; add it there"
    )))
}

/// A header's name, or an error that shows it.
pub fn name(text: &str) -> Result<HeaderName, Raise> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Raise::error(format!("`{}` is not a header name", text.escape_debug())))
}

/// A header's value from a string, number or boolean.
pub fn value(value: Value) -> Result<HeaderValue, Raise> {
    let made = match value {
        Value::Str(bytes) => HeaderValue::from_maybe_shared(bytes),
        Value::Int(i) => return Ok(HeaderValue::from(i)),
        Value::Float(f) => HeaderValue::from_maybe_shared(bytes::Bytes::from(crate::script::json::number(f))),
        Value::Bool(b) => return Ok(HeaderValue::from_static(if b { "true" } else { "false" })),
        other => return Err(Raise::argument(2, "a string, number or boolean", &other)),
    };
    // SECURITY: the type refuses CR, LF and NUL; a looser one would let a script split the message.
    made.map_err(|_| Raise::error("a header value has a control character in it"))
}

pub fn text(value: &HeaderValue) -> Value {
    Value::Str(bytes::Bytes::copy_from_slice(value.as_bytes()))
}

const NO_RESPONSE: &str = "there is no response yet";

/// Looks at what is there of one name.
pub fn read<T>(object: &Object, name: &str, with: impl FnOnce(&HeaderMap) -> Result<T, Raise>) -> Result<T, Raise> {
    stamp_for(object, name);
    look(object, with)
}

/// Looks at the first value of a name, for which those of a response need not become a map.
fn first<T>(object: &Object, name: &str, with: impl FnOnce(Option<&[u8]>) -> Result<T, Raise>) -> Result<T, Raise> {
    if let Object::Headers(exchange, Side::Response) = object
        && let Some(response) = exchange.response.borrow_mut().as_mut()
    {
        return with(response.headers.first(name));
    }
    read(object, name, |headers| with(headers.get(name).map(HeaderValue::as_bytes)))
}

/// The gateway's own fields are among a request's headers only when somebody wants them.
fn stamp_for(object: &Object, name: &str) {
    if let Object::Headers(exchange, Side::Request) = object {
        exchange.stamp_for(name);
    }
}

fn look<T>(object: &Object, with: impl FnOnce(&HeaderMap) -> Result<T, Raise>) -> Result<T, Raise> {
    match object {
        Object::Headers(exchange, Side::Request) => with(&exchange.request.borrow().headers),
        Object::Headers(exchange, Side::Response) => match exchange.response.borrow_mut().as_mut() {
            Some(response) => with(response.headers.map()),
            None => Err(Raise::error(NO_RESPONSE)),
        },
        Object::ComingHeaders(exchange) => exchange.with_coming_headers(|coming| match coming {
            Some(coming) => with(coming),
            None => with(&HeaderMap::new()),
        }),
        other => Err(expected(other)),
    }
}

fn write(object: &Object, name: &str, with: impl FnOnce(&mut HeaderMap) -> Result<(), Raise>) -> Result<(), Raise> {
    stamp_for(object, name);
    match object {
        Object::Headers(exchange, Side::Request) => with(&mut exchange.request.borrow_mut().headers),
        Object::Headers(exchange, Side::Response) => match exchange.response.borrow_mut().as_mut() {
            Some(response) => with(response.headers.map()),
            None => Err(Raise::error(NO_RESPONSE)),
        },
        Object::ComingHeaders(exchange) => exchange.with_coming_headers(|coming| with(coming.get_or_insert_default())),
        other => Err(expected(other)),
    }
}

fn expected(got: &Object) -> Raise {
    Raise::error(format!("expected headers, got {}", got.kind().name))
}
