//! WebSockets to targets that speak HTTP/2: an extended CONNECT (RFC 8441), where the target has announced that it takes one.
//!
//! Seen from the exchange it is the same as with HTTP/1.1: a request with a key, and a 101 with the proof, which is made here. To a
//! target that takes none the request goes as it is, and its answer is a refusal.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};

use super::Timeouts;
use super::client::{Handshake, Switched, Transport, Upgrade};
use super::error::{BadResponse, Kind};
use super::http2::Streams;
use super::http2_body::Using;
use crate::http::Body;
use crate::http2::tunnel;

/// How long the target's SETTINGS are waited for on a new connection. They are the first that it sends (RFC 9113 §3.4).
const ANNOUNCEMENT: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(2);

/// Whether the target takes one, which it must say before it is asked (RFC 8441 §3).
pub(super) async fn is_taken(sender: &SendRequest<Bytes>, streams: &Streams, timeouts: &Timeouts) -> bool {
    let announced = async {
        loop {
            // The connection's own task reads them and tells nobody.
            let here = streams.answered.get();
            if sender.is_extended_connect_protocol_enabled() || here {
                return sender.is_extended_connect_protocol_enabled();
            }
            sleep(GLANCE).await;
        }
    };
    let now = Instant::now();
    let limit = timeouts.limit(now, ANNOUNCEMENT).unwrap_or(now + ANNOUNCEMENT);
    timeout_at(limit, announced).await.unwrap_or(false)
}

/// Makes the CONNECT of it (§5): key and proof belong to HTTP/1.1.
pub(super) fn apply(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(SEC_WEBSOCKET_KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
}

/// The stream behind a success, as a 101.
///
/// # Errors
/// That the success is none that opens anything.
pub(super) fn opened(
    response: Response<RecvStream>,
    sending: SendStream<Bytes>,
    handshake: &Handshake,
    upgrade: &mut Upgrade,
    using: Using,
) -> Result<Response<Body>, Kind> {
    // No other success says that it is open (RFC 8441 §5).
    if response.status() != StatusCode::OK {
        return Err(Kind::BadResponse(BadResponse::NotSwitched(response.status().as_u16())));
    }
    let (head, receiving) = response.into_parts();
    let io = Box::new(tunnel::Stream::new(sending, receiving, using));
    upgrade.switched = Some(Switched { io, first: Bytes::new() });
    let mut switched = Response::new(Body::Empty);
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = head.headers;
    switched.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    switched.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, handshake.accept.clone());
    Ok(switched)
}

impl Transport for tunnel::Stream<Using> {}
