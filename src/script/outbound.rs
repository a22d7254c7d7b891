//! Calls that scripts make: `http.get`, `http.all`.
//!
//! The boundary only: the proxy implements it over its own targets and pools. An [`Answer`] is what a script gets; a failing
//! network is an answer too, never an error that is thrown.

use super::Scope;
use crate::http::passed::Passed;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, Method};
use std::{cell::OnceCell, rc::Rc, time::Instant};

#[derive(Debug)]
pub struct Call {
    pub method: Method,
    /// `svc://NAME/path?query` or `http(s)://…`, with `{params}` filled in already.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub deadline: Instant,
}

#[derive(Debug)]
pub enum Answer {
    Response { status: u16, headers: Headers, body: Bytes },
    Failed(Failure),
}

/// The headers of an answer. Most scripts read none of them, so those that came as lines become a map when one is asked for.
#[derive(Debug)]
pub enum Headers {
    Map(HeaderMap),
    Lines(Box<Passed>, OnceCell<HeaderMap>),
}

impl Headers {
    pub fn map(&self) -> &HeaderMap {
        match self {
            Headers::Map(map) => map,
            Headers::Lines(lines, map) => map.get_or_init(|| lines.all_headers()),
        }
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Headers {
        Headers::Map(map)
    }
}

/// Why there was no answer; `error` of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Timeout,
    Connect,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    TooLarge,
    /// The service is not defined.
    NoService,
    /// The plugin's manifest does not permit this host.
    Forbidden,
    /// The gateway's own administration, which no permission opens.
    Administration,
    /// Not a URL that can be called.
    BadUrl,
}

impl Failure {
    pub const fn name(self) -> &'static str {
        match self {
            Failure::Timeout => "timeout",
            Failure::Connect => "connect",
            Failure::Protocol => "protocol",
            Failure::TooLarge => "too_large",
            Failure::NoService => "no_service",
            Failure::Forbidden => "forbidden",
            Failure::Administration => "administration",
            Failure::BadUrl => "bad_url",
        }
    }
}

impl Answer {
    /// An answer below 400.
    pub fn ok(&self) -> bool {
        matches!(self, Answer::Response { status, .. } if *status < 400)
    }
}

pub trait Outbound {
    /// Runs the call to its end. Dropping the future cancels it.
    fn call(&self, scope: &Scope, call: Call) -> LocalBoxFuture<'static, Answer>;
}

pub type SharedAnswer = Rc<Answer>;
