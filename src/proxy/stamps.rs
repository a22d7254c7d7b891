//! What a target learns of a request beside the request: for whom it is, its id, and its trace.
//!
//! Most requests are looked at by nobody between the client and the target. For those the fields are written behind the others when
//! the head leaves, and never enter its map: 300 instructions a field less.

use super::{backend::Backends, ids::X_REQUEST_ID, worker::Ready};
use crate::{
    config::Route,
    http::forwarded,
    script::{Exchange, exchange::Request},
};

pub struct Stamps<'c> {
    /// None when a trusted proxy has told, and the fields are there already.
    pub client: Option<&'c forwarded::Connection>,
}

impl Stamps<'_> {
    /// Sets them as headers.
    pub fn set(&self, exchange: &Exchange) {
        let Request { headers, host, .. } = &mut *exchange.request.borrow_mut();
        if let Some(client) = self.client {
            client.set(headers, host);
        }
        headers.insert(X_REQUEST_ID, exchange.id.header().clone());
        exchange.account.trace.get().set(headers);
    }

    /// Writes them as lines.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        if let Some(client) = self.client {
            client.write(&exchange.request.borrow().host, out);
        }
        out.extend_from_slice(b"x-request-id: ");
        out.extend_from_slice(exchange.id.as_bytes());
        out.extend_from_slice(b"\r\n");
        exchange.account.trace.get().write(out);
    }
}

/// Whether nothing but scripts looks at the headers of a request or of its answer, or changes them: no rule, no choice by a header, no
/// span. Compression looks at those of answers besides.
pub fn is_plain(ready: &Ready, exchange: &Exchange, route: &Route) -> bool {
    let backends: &Backends = &ready.backends;
    route.traffic.is_none()
        && route.service.is_some_and(|service| backends.at(service).may_be_direct)
        && exchange.account.recording.get().is_none()
        && exchange.account.protocol.get() != "HTTP/2"
}
