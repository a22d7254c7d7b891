//! What scripts can call, one file a topic.
//!
//! [`MODULES`], [`GLOBALS`] and [`KINDS`] are the whole list; the engines bind nothing else. A new function is one entry in its topic's
//! file; a new topic is one file and one line here.

pub mod base64;
pub mod body;
pub mod context;
pub mod crypto;
pub mod env;
pub mod every;
pub mod headers;
pub mod http;
pub mod ip;
pub mod json;
pub mod jwt;
pub mod kv;
pub mod limit;
pub mod log;
pub mod metrics;
mod password;
pub mod query;
pub mod redis;
pub mod regex;
pub mod reply;
pub mod request;
pub mod response;
pub mod schema;
pub mod test;
pub mod time;
pub mod url;
pub mod uuid;

use super::{
    Exchange, Raise,
    list::{Function, Kind, Module},
    object::Object,
    value::Value,
};
use std::rc::Rc;

pub static MODULES: &[&Module] = &[
    &http::MODULE,
    &reply::MODULE,
    &jwt::MODULE,
    &limit::MODULE,
    &kv::MODULE,
    &redis::MODULE,
    &json::MODULE,
    &base64::MODULE,
    &url::MODULE,
    &crypto::MODULE,
    &ip::MODULE,
    &schema::MODULE,
    &time::MODULE,
    &regex::MODULE,
    &log::MODULE,
    &metrics::MODULE,
    &env::MODULE,
    &uuid::MODULE,
    &test::MODULE,
];

/// Functions that are called by their bare name.
pub static GLOBALS: &[&Function] = &[&every::FUNCTION];

pub static KINDS: &[&Kind] = &[
    &request::KIND,
    &response::KIND,
    &headers::KIND,
    &query::KIND,
    &request::PARAMS,
    &request::COOKIES,
    &context::KIND,
    &context::CLIENT,
    &context::VARS,
    &context::ERROR,
    &http::RESULT,
    &http::RESULT_HEADERS,
    &reply::KIND,
    &jwt::VERIFIER,
    &ip::KIND,
    &schema::KIND,
    &schema::API,
    &test::GATEWAY,
    &OPAQUE,
];

pub static OPAQUE: Kind = Kind {
    name: "value",
    doc: "A value of the gateway that is only passed back to its functions.",
    properties: &[],
    methods: &[],
    index: None,
};

/// The exchange behind an object.
fn exchange(object: &Object) -> Result<&Rc<Exchange>, Raise> {
    object.exchange().ok_or_else(|| Raise::error("there is no exchange here"))
}

/// An entry of an options argument; nil when it was left out. Names and types were checked when the call was made.
fn option<'a>(options: &'a Value, name: &str) -> &'a Value {
    options.get(name).unwrap_or(&Value::Nil)
}

/// Another kind's handle to the exchange of the object at hand.
fn part(object: &Object, make: impl FnOnce(Rc<Exchange>) -> Object) -> Result<crate::script::Value, Raise> {
    exchange(object).map(|exchange| make(exchange.clone()).into())
}
