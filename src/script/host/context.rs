//! `ctx`: what is known about the exchange beside its messages, and what hooks share.

use super::exchange;
use crate::http::forwarded;
use crate::script::{
    Raise, Scope, Value, json,
    list::{Index, Kind, Property, Type},
    object::{Failed, Object},
};
use std::rc::Rc;

pub static KIND: Kind = Kind {
    name: "context",
    doc: "The exchange: its id, route and client, and what its hooks share.",
    properties: &[
        Property {
            name: "id",
            ty: Type::String,
            doc: "The request id, as in `x-request-id` and the logs.",
            get: |object| Ok(exchange(object)?.id.as_str().into()),
            set: None,
        },
        Property {
            name: "trace_id",
            ty: Type::String,
            doc: "The trace that the exchange belongs to, as in `traceparent` and the logs: 32 hexadecimal digits.",
            get: |object| Ok(String::from_utf8_lossy(&exchange(object)?.account.trace.get().id()).into_owned().into()),
            set: None,
        },
        Property {
            name: "route",
            ty: Type::String,
            doc: "The route's name.",
            get: |object| Ok(exchange(object)?.route.borrow().to_string().into()),
            set: None,
        },
        Property {
            name: "plugin",
            ty: Type::String,
            doc: "The name of the plugin that runs, or the script's path.",
            get: |object| Ok(scope(object)?.instance.plugin.to_string().into()),
            set: None,
        },
        Property {
            name: "place",
            ty: Type::String,
            doc: "Where the plugin is used: `global/NAME`, `service:users/NAME` or `route:users/NAME`; the same on every gateway with this configuration.",
            get: |object| Ok(scope(object)?.instance.place.to_string().into()),
            set: None,
        },
        Property {
            name: "config",
            ty: Type::Native,
            doc: "The configuration of this place, defaults filled in.",
            get: native,
            set: None,
        },
        Property {
            name: "state",
            ty: Type::Native,
            doc: "What `on_load` returned for this place.",
            get: native,
            set: None,
        },
        Property {
            name: "identity",
            ty: Type::Json,
            doc: "Who the request is from, as an auth plugin found it: `id`, and what else it knows. Set by auth plugins.",
            get: |object| Ok(exchange(object)?.identity.borrow().clone().map_or(Value::Nil, Value::Json)),
            set: Some(|_, object, value| {
                let identity = if value.is_nil() { None } else { Some(value.bytes()?) };
                *exchange(object)?.identity.borrow_mut() = identity;
                Ok(())
            }),
        },
        Property {
            name: "vars",
            ty: Type::Object("vars"),
            doc: "Values shared by all hooks of this exchange, in both languages.",
            get: |object| super::part(object, Object::Vars),
            set: None,
        },
        Property {
            name: "response_headers",
            ty: Type::Object("headers"),
            doc: "Headers that the response will have, whoever answers: set before it is here, they replace what it says itself. Hooks of `on_response` see them in it.",
            get: |object| super::part(object, Object::ComingHeaders),
            set: None,
        },
        Property {
            name: "client",
            ty: Type::Object("client"),
            doc: "Who sent the request: `ip`, `port`, `tls`, `subject`.",
            get: |object| super::part(object, Object::Client),
            set: None,
        },
        Property {
            name: "deadline_ms",
            ty: Type::Maybe(&Type::Number),
            doc: "Milliseconds left until the exchange's deadline: the service's `timeout`, or less when the client said so by `X-Request-Timeout` or `grpc-timeout`. Nothing where the service has `timeout: off`.",
            get: |object| {
                let exchange = exchange(object)?;
                let left = || (exchange.remaining().as_secs_f64() * 1000.0).floor().into();
                Ok(if exchange.is_endless() { Value::Nil } else { left() })
            },
            set: None,
        },
    ],
    methods: &[],
    index: None,
};

pub static CLIENT: Kind = Kind {
    name: "client",
    doc: "Who sent the request.",
    properties: &[
        Property {
            name: "ip",
            ty: Type::String,
            doc: "The client's address, found behind trusted proxies.",
            get: |object| Ok(forwarded::address_text(exchange(object)?.client.ip).into()),
            set: None,
        },
        Property {
            name: "port",
            ty: Type::Int,
            doc: "The port of the connection.",
            get: |object| Ok(i64::from(exchange(object)?.client.port).into()),
            set: None,
        },
        Property {
            name: "tls",
            ty: Type::Bool,
            doc: "Whether the connection is encrypted.",
            get: |object| Ok(exchange(object)?.client.tls.into()),
            set: None,
        },
        Property {
            name: "subject",
            ty: Type::Maybe(&Type::String),
            doc: "The subject of the client's certificate (RFC 4514), such as `CN=till-1,O=Shop`; nothing without one.",
            get: |object| {
                let subject = &exchange(object)?.client.subject;
                Ok(subject.as_ref().map_or(Value::Nil, |subject| subject.to_string().into()))
            },
            set: None,
        },
    ],
    methods: &[],
    index: None,
};

pub static VARS: Kind = Kind {
    name: "vars",
    doc: "Values that the hooks of one exchange share: anything that JSON can say. A value that is read is a copy.",
    properties: &[],
    methods: &[],
    index: Some(Index {
        ty: Type::Json,
        get: |object, key| {
            let vars = exchange(object)?.vars.borrow();
            Ok(vars.iter().find(|(name, _)| name == key).map_or(Value::Nil, |(_, value)| value.clone()))
        },
        set: Some(|_, object, key, value| {
            let mut vars = exchange(object)?.vars.borrow_mut();
            vars.retain(|(name, _)| name != key);
            if !value.is_nil() {
                vars.push((key.to_owned(), value));
            }
            Ok(())
        }),
        names: |object| Ok(exchange(object)?.vars.borrow().iter().map(|(name, _)| name.clone()).collect()),
    }),
};

pub static ERROR: Kind = Kind {
    name: "failure",
    doc: "What the gateway failed with.",
    properties: &[
        Property {
            name: "kind",
            ty: Type::String,
            doc: "A word: `no_target`, `connect`, `timeout`, `reset`, `bad_response`, `breaker`, `script`, …",
            get: |object| Ok(failed(object)?.kind.into()),
            set: None,
        },
        Property {
            name: "status",
            ty: Type::Int,
            doc: "The status that the client gets if no hook replies.",
            get: |object| Ok(i64::from(failed(object)?.status).into()),
            set: None,
        },
        Property {
            name: "message",
            ty: Type::String,
            doc: "One line for people.",
            get: |object| Ok(failed(object)?.message.as_str().into()),
            set: None,
        },
    ],
    methods: &[],
    index: None,
};

fn scope(object: &Object) -> Result<&Rc<Scope>, Raise> {
    match object {
        Object::Context(scope) => Ok(scope),
        other => Err(Raise::error(format!("expected ctx, got {}", other.kind().name))),
    }
}

fn failed(object: &Object) -> Result<&Rc<Failed>, Raise> {
    match object {
        Object::Error(failed) => Ok(failed),
        other => Err(Raise::error(format!("expected err, got {}", other.kind().name))),
    }
}

/// The engines keep these themselves and never come here.
fn native(_: &Object) -> Result<Value, Raise> {
    Ok(Value::Json(json::null()))
}
