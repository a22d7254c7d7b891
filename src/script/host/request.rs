//! `req`: the request on its way to the backend, and its parts.

use super::{body, exchange, part};
use crate::{
    http::{NormalPath, cookies},
    script::{
        Raise, Value,
        exchange::Side,
        list::{Index, Kind, Property, Type},
        object::Object,
    },
};
use http::Method;

pub static KIND: Kind = Kind {
    name: "request",
    doc: "The request. What hooks change here is what the backend gets.",
    properties: &[
        Property {
            name: "method",
            ty: Type::String,
            doc: "`GET`, `POST`, …; can be set.",
            get: |object| Ok(exchange(object)?.request.borrow().method.as_str().into()),
            set: Some(|_, object, value| {
                let method = Method::from_bytes(&value.bytes()?)
                    .ok()
                    .filter(|method| *method != Method::CONNECT)
                    .ok_or_else(|| Raise::error("not a method that can be forwarded"))?;
                exchange(object)?.request.borrow_mut().method = method;
                Ok(())
            }),
        },
        Property {
            name: "path",
            ty: Type::String,
            doc: "The path, normalised and percent-encoded; what is set here is what is forwarded.",
            get: |object| Ok(exchange(object)?.request.borrow().path().into()),
            set: Some(|_, object, value| {
                let new = value.str()?;
                if new.contains('?') {
                    return Err(Raise::error("req.path has no `?`: set `req.query`"));
                }
                let new = NormalPath::parse_str(new).map_err(|e| Raise::error(format!("req.path: {e}")))?;
                exchange(object)?.request.borrow_mut().path_set = Some(Box::new(new));
                Ok(())
            }),
        },
        Property {
            name: "query",
            ty: Type::Object("query"),
            doc: "The query string's parameters.",
            get: |object| part(object, Object::Query),
            set: None,
        },
        Property {
            name: "params",
            ty: Type::Object("params"),
            doc: "Path parameters: `{id}` of `/users/{id}`, or the named groups of a regex path.",
            get: |object| part(object, Object::Params),
            set: None,
        },
        Property {
            name: "host",
            ty: Type::String,
            doc: "The host that the client asked for, with its port if it named one.",
            get: |object| Ok(exchange(object)?.request.borrow().host().into()),
            set: None,
        },
        Property {
            name: "scheme",
            ty: Type::String,
            doc: "`http` or `https`, as the client sees it.",
            get: |object| Ok(exchange(object)?.request.borrow().scheme.into()),
            set: None,
        },
        Property {
            name: "headers",
            ty: Type::Object("headers"),
            doc: "The request's headers.",
            get: |object| part(object, |exchange| Object::Headers(exchange, Side::Request)),
            set: None,
        },
        Property {
            name: "cookies",
            ty: Type::Object("cookies"),
            doc: "The request's cookies, read only.",
            get: |object| part(object, Object::Cookies),
            set: None,
        },
        Property {
            name: "body",
            ty: Type::String,
            doc: "The body, when it was read already; setting it is `set_body`.",
            get: body::get_body,
            set: Some(body::assign_body),
        },
        Property {
            name: "upstream",
            ty: Type::Maybe(&Type::String),
            doc: "Set it to another service's name to send the request there.",
            get: |object| Ok(Value::maybe(exchange(object)?.upstream.borrow().as_deref())),
            set: Some(|_, object, value| {
                let name = if value.is_nil() { None } else { Some(value.str()?.into()) };
                *exchange(object)?.upstream.borrow_mut() = name;
                Ok(())
            }),
        },
    ],
    methods: &[body::JSON, body::TEXT, body::BYTES, body::SET_JSON, body::SET_BODY],
    index: None,
};

pub static PARAMS: Kind = Kind {
    name: "params",
    doc: "Path parameters by name, percent-decoded; read only.",
    properties: &[],
    methods: &[],
    index: Some(Index {
        ty: Type::Maybe(&Type::String),
        get: |object, key| {
            let request = exchange(object)?.request.borrow();
            Ok(Value::maybe(request.params.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.as_str())))
        },
        set: None,
        names: |object| {
            Ok(exchange(object)?.request.borrow().params.iter().map(|(name, _)| name.to_string()).collect())
        },
    }),
};

pub static COOKIES: Kind = Kind {
    name: "cookies",
    doc: "The request's cookies by name; read only.",
    properties: &[],
    methods: &[],
    index: Some(Index {
        ty: Type::Maybe(&Type::String),
        get: |object, key| {
            let request = exchange(object)?.request.borrow();
            Ok(Value::maybe(cookies::cookie(&request.headers, key)))
        },
        set: None,
        names: |object| {
            let request = exchange(object)?.request.borrow();
            Ok(cookies::cookies(&request.headers).map(|(name, _)| name.to_owned()).collect())
        },
    }),
};
