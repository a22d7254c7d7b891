//! gRPC, as far as a gateway must know it: where the outcome of a call stands.
//!
//! Calls pass as any HTTP does. Purposefully nothing of messages or of protobuf.

use crate::{http::BodyError, script::Reply};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// What `grpc-message` may not hold as it is (the specification's percent-encoding).
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Whether these are the headers of a call, or of its response.
pub fn is_call(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
    })
}

/// HTTP/1.1 sends only trailers that its head announces, and gRPC announces none.
pub fn announce_trailers(headers: &mut HeaderMap) {
    if is_call(headers) && !headers.contains_key(header::TRAILER) {
        let names = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
        headers.insert(header::TRAILER, names);
    }
}

/// The gateway's own answer to a call that failed: clients look for `grpc-status` only, in a response without a body
/// ("trailers-only").
pub fn reply(status: StatusCode, message: &str) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    let encoded = utf8_percent_encode(message, ENCODED).to_string();
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    reply.headers.insert(STATUS, HeaderValue::from_static(code(status)));
    if let Ok(message) = HeaderValue::from_str(&encoded) {
        reply.headers.insert(MESSAGE, message);
    }
    reply
}

/// The trailers of an answer that broke off.
pub fn broken(error: &BodyError) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static(code(error.status())));
    trailers.insert(MESSAGE, HeaderValue::from_static("the answer broke off"));
    trailers
}

/// The code that says the same as an HTTP status: gRPC's own mapping but for timeouts.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 | 502 | 503 => "14",
        // The mapping is for clients, who can't know whose timeout it was: here it is the call's own.
        504 => "4",
        _ => "2",
    }
}
