//! The objects that scripts hold: handles to an exchange and its parts, results, replies.
//!
//! An [`Object`] is a cheap handle; what it can do is described by its [`Kind`] in the list. Handles to an exchange keep
//! it alive, so a script that keeps one past its end sees an old exchange, never another one's.

use super::{
    Exchange, Reply, Scope,
    exchange::Side,
    host,
    list::{Kind, Type},
    outbound::{Answer, SharedAnswer},
    trial::Tried,
    value::Value,
};
use bytes::Bytes;
use std::{any::Any, fmt, rc::Rc, sync::Arc};

#[derive(Clone)]
pub enum Object {
    Request(Rc<Exchange>),
    Response(Rc<Exchange>),
    Context(Rc<Scope>),
    Client(Rc<Exchange>),
    Headers(Rc<Exchange>, Side),
    /// Those that the response will have.
    ComingHeaders(Rc<Exchange>),
    Query(Rc<Exchange>),
    Params(Rc<Exchange>),
    Cookies(Rc<Exchange>),
    Vars(Rc<Exchange>),
    /// What `http` calls give.
    Result(SharedAnswer),
    ResultHeaders(SharedAnswer),
    Reply(Rc<Reply>),
    /// `err` of `on_error`.
    Error(Rc<Failed>),
    Verifier(Rc<host::jwt::rules::Rules>),
    IpList(Rc<host::ip::IpList>),
    Schema(Rc<host::schema::Schema>),
    Api(Arc<host::schema::openapi::Api>),
    /// What `test.plugin` gives.
    Gateway(Rc<dyn Tried>),
    /// A host value without members, such as a key: only host functions look inside.
    Opaque(&'static str, Rc<dyn Any>),
}

/// What the gateway failed with, as `on_error` sees it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// A word: `no_target`, `timeout`, `connect`, `script`, …
    pub kind: &'static str,
    pub status: u16,
    pub message: String,
}

impl Object {
    /// The entries of a collection of texts, such as `params` or `headers`, which is an object in JSON. A name that is there
    /// several times has its first value, as when it is read.
    pub fn texts(&self) -> Option<Vec<(String, Bytes)>> {
        let index = self.kind().index.as_ref()?;
        if !matches!(index.ty, Type::Maybe(Type::String)) {
            return None;
        }
        let names = (index.names)(self).ok()?;
        let value = |name: &str| match (index.get)(self, name) {
            Ok(Value::Str(text)) => Some(text),
            _ => None,
        };
        let entries = names.into_iter().filter_map(|name| {
            let text = value(&name)?;
            Some((name, text))
        });
        Some(entries.collect())
    }

    pub fn kind(&self) -> &'static Kind {
        match self {
            Object::Request(_) => &host::request::KIND,
            Object::Response(_) => &host::response::KIND,
            Object::Context(_) => &host::context::KIND,
            Object::Client(_) => &host::context::CLIENT,
            Object::Headers(..) | Object::ComingHeaders(_) => &host::headers::KIND,
            Object::Query(_) => &host::query::KIND,
            Object::Params(_) => &host::request::PARAMS,
            Object::Cookies(_) => &host::request::COOKIES,
            Object::Vars(_) => &host::context::VARS,
            Object::Result(_) => &host::http::RESULT,
            Object::ResultHeaders(_) => &host::http::RESULT_HEADERS,
            Object::Reply(_) => &host::reply::KIND,
            Object::Error(_) => &host::context::ERROR,
            Object::Verifier(_) => &host::jwt::VERIFIER,
            Object::IpList(_) => &host::ip::KIND,
            Object::Schema(_) => &host::schema::KIND,
            Object::Api(_) => &host::schema::API,
            Object::Gateway(_) => &host::test::GATEWAY,
            Object::Opaque(..) => &host::OPAQUE,
        }
    }

    pub fn exchange(&self) -> Option<&Rc<Exchange>> {
        match self {
            Object::Request(e)
            | Object::Response(e)
            | Object::Client(e)
            | Object::Headers(e, _)
            | Object::ComingHeaders(e)
            | Object::Query(e)
            | Object::Params(e)
            | Object::Cookies(e)
            | Object::Vars(e) => Some(e),
            Object::Context(scope) => scope.exchange.as_ref(),
            Object::Result(_)
            | Object::ResultHeaders(_)
            | Object::Reply(_)
            | Object::Error(_)
            | Object::Verifier(_)
            | Object::IpList(_)
            | Object::Schema(_)
            | Object::Api(_)
            | Object::Gateway(_)
            | Object::Opaque(..) => None,
        }
    }

    pub fn answer(&self) -> Option<&Rc<Answer>> {
        match self {
            Object::Result(answer) | Object::ResultHeaders(answer) => Some(answer),
            _ => None,
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind().name)
    }
}
