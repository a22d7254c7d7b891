//! One request with its response, as hooks see and change it.
//!
//! The proxy makes an [`Exchange`] for each request and moves the heads and bodies in and out of it; the
//! objects that scripts hold are handles to it. It never leaves its worker, so cells suffice. Bodies are read only
//! when a script asks: until then they are streams that pass through untouched.

use super::{Account, Raise, Reply, Value, object::Failed, stamps::Stamps};
use crate::http::{
    Body, BodyError, NormalPath,
    encoding::{self, DecodeError},
    response_headers::{OfBody, ResponseHeaders},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// How far away the deadline is of what may take as long as it likes: further than any exchange lasts, and near enough for timers.
pub const NO_END: Duration = Duration::from_secs(366 * 86_400);

/// How long a hook may wait where nothing else ends it.
const LONGEST_HOOK: Duration = Duration::from_secs(60);

/// What is seldom there is boxed, so that the allocator has a place for the whole at hand: see the test.
pub struct Exchange {
    pub id: RequestId,
    pub started: Instant,
    /// [`NO_END`] from the start when there is none.
    pub deadline: Cell<Instant>,
    pub client: Client,
    /// The route's name; empty until it matched.
    pub route: RefCell<Arc<str>>,
    pub request: RefCell<Request>,
    /// Of the request. None once they are among its headers.
    pub stamps: Cell<Option<Stamps>>,
    pub response: RefCell<Option<Response>>,
    /// `ctx.response_headers`: what the response will have, whoever answers.
    pub coming: Cell<Option<Box<HeaderMap>>>,
    /// `ctx.vars`.
    pub vars: RefCell<Vec<(String, Value)>>,
    /// What an auth plugin found: JSON text, or nothing.
    pub identity: RefCell<Option<Bytes>>,
    /// What the gateway failed with: `err` of `on_error`.
    pub failed: RefCell<Option<Rc<Failed>>>,
    /// Another service's name, set by a script.
    pub upstream: RefCell<Option<Box<str>>>,
    /// The most bytes of a body that a script may have read.
    pub max_body: usize,
    pub account: Account,
}

/// What names a request in logs and in `x-request-id`, ready to be sent.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn new(header: HeaderValue) -> RequestId {
        RequestId(header)
    }

    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Writes it as the line of a head.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"x-request-id: ");
        out.extend_from_slice(self.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl std::convert::From<&'static str> for RequestId {
    fn from(text: &'static str) -> RequestId {
        RequestId(HeaderValue::from_static(text))
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    pub ip: IpAddr,
    pub port: u16,
    pub tls: bool,
    /// Of the client's certificate (RFC 4514), when it showed one that is valid.
    pub subject: Option<Rc<str>>,
}

pub struct Request {
    pub method: Method,
    pub scheme: &'static str,
    /// The authority as the client sent it; empty when it sent none.
    pub host: HeaderValue,
    /// As it was matched.
    pub target: NormalPath,
    /// What a script wrote over the target's path.
    pub path_set: Option<Box<NormalPath>>,
    /// What a script wrote over the target's query.
    pub query_set: Option<Box<str>>,
    pub headers: HeaderMap,
    /// Path parameters and named regex groups of the route.
    pub params: Vec<(Arc<str>, String)>,
    pub body: Slot,
}

impl Request {
    /// Normalised and percent-encoded.
    pub fn path(&self) -> &str {
        self.path_set.as_deref().unwrap_or(&self.target).path()
    }

    /// Without the question mark; empty when there is none.
    pub fn query(&self) -> &str {
        match &self.query_set {
            Some(query) => query,
            None => self.target.query().unwrap_or_default(),
        }
    }

    pub fn host(&self) -> &str {
        self.host.to_str().unwrap_or_default()
    }
}

pub struct Response {
    pub status: StatusCode,
    pub headers: ResponseHeaders,
    pub body: Slot,
    pub from: From,
    pub latency: Duration,
}

/// Where a response comes from: `res.from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Upstream,
    Reply,
    Error,
}

impl From {
    pub const fn name(self) -> &'static str {
        match self {
            From::Upstream => "upstream",
            From::Reply => "reply",
            From::Error => "error",
        }
    }
}

/// A body that passes through, or that a script has read or replaced.
pub enum Slot {
    Stream(Body),
    /// Read whole, as it came: still encoded when `content-encoding` says so.
    Read {
        raw: Bytes,
        decoded: Box<Bytes>,
    },
    /// Written by a script.
    Replaced(Bytes),
    /// Being read, or handed on.
    Taken,
}

/// Which body of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Request,
    Response,
}

impl Slot {
    /// Moves the body on, to the backend or to the client.
    pub fn take(&mut self) -> Body {
        match std::mem::replace(self, Slot::Taken) {
            Slot::Stream(body) => body,
            Slot::Read { raw: bytes, .. } | Slot::Replaced(bytes) => Body::full(bytes),
            Slot::Taken => Body::Empty,
        }
    }

    /// What a script sees, when it was read already.
    pub fn ready(&self) -> Option<&Bytes> {
        match self {
            Slot::Read { decoded, .. } => Some(decoded),
            Slot::Replaced(bytes) => Some(bytes),
            Slot::Stream(_) | Slot::Taken => None,
        }
    }
}

impl Exchange {
    /// A body and the headers beside it.
    fn with_slot<T>(&self, side: Side, with: impl FnOnce(&mut Slot, &mut dyn OfBody) -> T) -> Option<T> {
        match side {
            Side::Request => {
                let request = &mut *self.request.borrow_mut();
                Some(with(&mut request.body, &mut request.headers))
            }
            Side::Response => {
                self.response.borrow_mut().as_mut().map(|response| with(&mut response.body, &mut response.headers))
            }
        }
    }

    /// The body if it is in memory already.
    pub fn body_ready(&self, side: Side) -> Option<Bytes> {
        self.with_slot(side, |slot, _| slot.ready().cloned()).flatten()
    }

    /// The same, and also when it came whole and needs no decoding: then it is as good as read.
    pub fn body_here(&self, side: Side) -> Option<Bytes> {
        let here = self.with_slot(side, |slot, headers| match slot {
            Slot::Stream(Body::Full(bytes)) if bytes.len() <= self.max_body && !headers.is_encoded() => {
                let raw = std::mem::take(bytes);
                *slot = Slot::Read { decoded: Box::new(raw.clone()), raw: raw.clone() };
                Some(raw)
            }
            slot => slot.ready().cloned(),
        });
        here.flatten()
    }

    /// Reads a body whole and decodes its content encoding; it goes on unchanged all the same. Over the limit the hook
    /// ends with 413 for a request and 502 for a response.
    pub async fn read_body(self: Rc<Self>, side: Side) -> Result<Bytes, Raise> {
        if let Some(bytes) = self.body_here(side) {
            return Ok(bytes);
        }
        let taken = self.with_slot(side, |slot, headers| {
            let encoded = headers.is_encoded().then(|| headers.map().clone());
            (std::mem::replace(slot, Slot::Taken), encoded)
        });
        let Some((Slot::Stream(body), encoded)) = taken else {
            return Err(Raise::error("the body is gone: it was sent on already, or another call is reading it"));
        };
        let read = async {
            let raw = body.collect(self.max_body).await.map_err(|e| refuse(e.status(), &e))?;
            let decoded = match encoded {
                None => raw.clone(),
                Some(headers) => {
                    encoding::decode(&headers, raw.clone(), self.max_body).await.map_err(|e| undecodable(side, &e))?
                }
            };
            Ok::<_, Raise>((raw, decoded))
        };
        let late = || Raise::Reply(Box::new(Reply::problem(late(side), "the body did not arrive in time")));
        let (raw, decoded) = tokio::time::timeout_at(self.deadline.get().into(), read).await.map_err(|_| late())??;
        self.with_slot(side, |slot, _| *slot = Slot::Read { raw, decoded: Box::new(decoded.clone()) });
        Ok(decoded)
    }

    /// Replaces a body and mends the headers that spoke of the old one.
    pub fn set_body(&self, side: Side, body: Bytes) -> Result<(), Raise> {
        self.with_slot(side, |slot, headers| {
            headers.replaced(body.len());
            *slot = Slot::Replaced(body);
        })
        .ok_or_else(|| Raise::error("there is no response yet"))
    }

    /// Looks at what the response will have, or changes it.
    pub fn with_coming_headers<T>(&self, with: impl FnOnce(&mut Option<Box<HeaderMap>>) -> T) -> T {
        let mut coming = self.coming.take();
        let result = with(&mut coming);
        self.coming.set(coming);
        result
    }

    /// The response is here, and has what was set before it was.
    pub fn add_coming_headers(&self) {
        let (coming, mut response) = (self.coming.take(), self.response.borrow_mut());
        let (Some(coming), Some(response)) = (coming, response.as_mut()) else { return };
        response.headers.replace(*coming);
    }

    /// Time left until the exchange's deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.get().saturating_duration_since(Instant::now())
    }

    /// The client waits that long, from the start. SECURITY: that may bring the deadline nearer and never move it away.
    pub fn hurry(&self, patience: Duration) {
        let end = self.started + patience.min(NO_END);
        self.account.hurried.set(true);
        if end < self.deadline.get() {
            self.deadline.set(end);
            self.account.shortened.set(true);
        }
    }

    /// Whether nothing but its own end ends it.
    pub fn is_endless(&self) -> bool {
        self.deadline.get() >= self.started + NO_END
    }

    /// When a hook that begins now must have ended.
    pub fn hook_deadline(&self) -> Instant {
        if self.is_endless() { Instant::now() + LONGEST_HOOK } else { self.deadline.get() }
    }
}

fn refuse(status: StatusCode, error: &BodyError) -> Raise {
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the request body is larger than this route reads",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "the upstream's body could not be read",
        _ => "the request body could not be read",
    };
    tracing::debug!(%error, "a body could not be read for a script");
    Raise::Reply(Box::new(Reply::problem(status, detail)))
}

fn undecodable(side: Side, error: &DecodeError) -> Raise {
    let (status, detail) = match (side, error) {
        (Side::Request, DecodeError::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the request body is larger than this route reads")
        }
        (Side::Request, DecodeError::Unknown(_) | DecodeError::TooMany(_)) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body's content encoding is not supported")
        }
        (Side::Request, DecodeError::Corrupt { .. }) => (StatusCode::BAD_REQUEST, "the request body can't be decoded"),
        (Side::Response, _) => (StatusCode::BAD_GATEWAY, "the upstream's body can't be decoded"),
    };
    tracing::debug!(%error, "a body could not be decoded for a script");
    Raise::Reply(Box::new(Reply::problem(status, detail)))
}

const fn late(side: Side) -> StatusCode {
    match side {
        Side::Request => StatusCode::REQUEST_TIMEOUT,
        Side::Response => StatusCode::GATEWAY_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mimalloc has a list of free blocks at hand for each size up to 1,024 bytes (`MI_SMALL_SIZE_MAX`); above it searches.
    #[test]
    fn an_exchange_is_small_enough_to_be_allocated_quickly() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Exchange>() + counts <= 1024, "{} bytes", size_of::<Exchange>());
    }
}
