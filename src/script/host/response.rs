//! `res`: the response on its way to the client.

use super::{body, exchange, part};
use crate::script::{
    Raise, Value,
    exchange::{Response, Side},
    list::{Kind, Property, Type},
    object::Object,
};
use http::StatusCode;

pub static KIND: Kind = Kind {
    name: "response",
    doc: "The response. What hooks change here is what the client gets.",
    properties: &[
        Property {
            name: "status",
            ty: Type::Int,
            doc: "The status code, 200 to 599; can be set.",
            get: |object| response(object, |response| i64::from(response.status.as_u16()).into()),
            set: Some(|_, object, value| {
                let status = status(value.int()?)?;
                if let Some(response) = exchange(object)?.response.borrow_mut().as_mut() {
                    response.status = status;
                }
                Ok(())
            }),
        },
        Property {
            name: "headers",
            ty: Type::Object("headers"),
            doc: "The response's headers.",
            get: |object| part(object, |exchange| Object::Headers(exchange, Side::Response)),
            set: None,
        },
        Property {
            name: "from",
            ty: Type::String,
            doc: "`upstream`, `reply` (a script made it) or `error` (the gateway made it).",
            get: |object| response(object, |response| response.from.name().into()),
            set: None,
        },
        Property {
            name: "latency_ms",
            ty: Type::Number,
            doc: "Milliseconds from the request's arrival to the response's head.",
            get: |object| response(object, |response| (response.latency.as_secs_f64() * 1000.0).into()),
            set: None,
        },
        Property {
            name: "body",
            ty: Type::String,
            doc: "The body, when it was read already; setting it is `set_body`.",
            get: body::get_body,
            set: Some(body::assign_body),
        },
    ],
    methods: &[body::JSON, body::TEXT, body::BYTES, body::SET_JSON, body::SET_BODY],
    index: None,
};

/// A final status code.
pub fn status(code: i64) -> Result<StatusCode, Raise> {
    u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| Raise::error(format!("{code} is not a status between 200 and 599")))
}

fn response(object: &Object, with: impl FnOnce(&Response) -> Value) -> Result<Value, Raise> {
    match exchange(object)?.response.borrow().as_ref() {
        Some(response) => Ok(with(response)),
        None => Err(Raise::error("there is no response yet")),
    }
}
