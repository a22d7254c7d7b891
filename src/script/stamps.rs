//! What a target learns of a request beside the request: for whom it is, its id, and its trace.
//!
//! Most requests are looked at by nobody between the client and the target, and most scripts ask for other fields. So these are written
//! behind the others when the head leaves, and enter the map only once somebody wants one of them or all there are: 300 instructions a
//! field less.

use super::exchange::{Exchange, Request};
use crate::http::{
    forwarded::{self, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO},
    identity::folds_to,
    trace::TRACEPARENT,
};
use http::HeaderName;
use std::rc::Rc;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields that an exchange's request does not have yet.
pub struct Stamps {
    /// None when a trusted proxy has told, and the fields are there already.
    pub client: Option<Rc<forwarded::Connection>>,
}

impl Exchange {
    pub fn is_stamped(&self) -> bool {
        let stamps = self.stamps.take();
        let is_stamped = stamps.is_none();
        self.stamps.set(stamps);
        is_stamped
    }

    /// Writes them as lines, unless they are set.
    pub fn write_stamps(&self, out: &mut Vec<u8>) {
        let Some(stamps) = self.stamps.take() else { return };
        if let Some(client) = &stamps.client {
            client.write(&self.request.borrow().host, out);
        }
        self.id.write(out);
        self.account.trace.get().write(out);
        self.stamps.set(Some(stamps));
    }

    /// Sets them as headers, unless they are.
    pub fn stamp(&self) {
        let Some(stamps) = self.stamps.take() else { return };
        let Request { headers, host, .. } = &mut *self.request.borrow_mut();
        if let Some(client) = &stamps.client {
            client.set(headers, host);
        }
        headers.insert(X_REQUEST_ID, self.id.header().clone());
        self.account.trace.get().set(headers);
    }

    /// The same, if `name` is one of theirs. In any spelling: to write one takes the others off.
    pub fn stamp_for(&self, name: &str) {
        let all = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_PORT, X_FORWARDED_HOST, X_REQUEST_ID, TRACEPARENT];
        if !self.is_stamped() && all.iter().any(|stamp| folds_to(name.as_bytes(), stamp.as_str().as_bytes())) {
            self.stamp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::fixture::exchange;

    #[test]
    fn they_are_set_when_one_of_them_is_asked_for() {
        for (name, expected) in [
            ("authorization", false),
            ("x-request-ids", false),
            ("x-request-id", true),
            ("X_Request_ID", true),
            ("Traceparent", true),
            ("x-forwarded-port", true),
        ] {
            let exchange = exchange("");
            exchange.stamps.replace(Some(Stamps { client: None }));
            exchange.stamp_for(name);
            let headers = &exchange.request.borrow().headers;
            assert_eq!(
                (headers.contains_key(X_REQUEST_ID), headers.contains_key(TRACEPARENT)),
                (expected, expected),
                "{name}"
            );
        }
    }

    #[test]
    fn what_was_set_once_is_not_set_again() {
        let exchange = exchange("");
        exchange.stamps.replace(Some(Stamps { client: None }));
        exchange.stamp();
        exchange.request.borrow_mut().headers.remove(X_REQUEST_ID);
        exchange.stamp();
        assert!(!exchange.request.borrow().headers.contains_key(X_REQUEST_ID));
    }
}
