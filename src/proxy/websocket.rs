//! WebSockets, as far as a gateway must know them: the handshake of HTTP/2 made one of HTTP/1.1 and back (RFC 8441).
//!
//! A client of HTTP/2 opens one by an extended CONNECT, without the key and the proof of RFC 6455 §4. Here that becomes the GET that
//! routes, scripts and targets of HTTP/1.1 know, with a key of the gateway's own; its 101 becomes a 200. Frames pass as they
//! are; only the process' drain looks at them, in [`super::frames`].

use super::forward::Switching;
use crate::{script::exchange::Response, upstream::Handshake};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

pub const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;
const WEBSOCKET: &str = "websocket";

/// RFC 6455 §1.3: what a key is joined with, so that only who knows the protocol can prove it.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Makes an extended CONNECT for a WebSocket the GET that it stands for (RFC 8441 §5). Anything else stays what it is:
/// another protocol, and a plain CONNECT, are refused with the other heads.
pub fn as_get(head: &mut Parts, random: impl Fn() -> u64) {
    if head.method != Method::CONNECT || !is_extended(head) {
        return;
    }
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random().to_le_bytes());
    nonce[8..].copy_from_slice(&random().to_le_bytes());
    // Base64 is a valid value.
    let Ok(key) = HeaderValue::try_from(BASE64_STANDARD.encode(nonce)) else { return };
    head.method = Method::GET;
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    // Over the client's, if it sent one: it has no meaning here.
    head.headers.insert(KEY, key);
}

fn is_extended(head: &Parts) -> bool {
    head.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == WEBSOCKET)
}

/// The handshake of a request that switches to `protocol`; none when that is no WebSocket.
pub fn handshake(head: &Parts, protocol: &HeaderValue) -> Option<Handshake> {
    if !protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) {
        return None;
    }
    Some(Handshake { accept: accept(&head.headers)?, own_key: is_extended(head) })
}

/// What proves that the target has understood (RFC 6455 §4.2.2).
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(KEY)?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes().trim_ascii(), GUID].concat());
    HeaderValue::try_from(BASE64_STANDARD.encode(hash)).ok()
}

/// Makes the answer to such a GET the one to the CONNECT that it was: 200 for the target's 101. Any other success, such
/// as a script's, would open a stream that leads nowhere (RFC 8441 §4), and is none.
pub fn as_connect(switching: &Switching, response: &mut Response) {
    if !switching.is_connect() {
        return;
    }
    if response.status == StatusCode::SWITCHING_PROTOCOLS && switching.target.switched.is_some() {
        response.status = StatusCode::OK;
        response.headers.map().remove(ACCEPT);
    } else if response.status.is_success() || response.status.is_informational() {
        response.status = StatusCode::BAD_GATEWAY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_key_is_proved() {
        let mut headers = HeaderMap::new();
        assert_eq!(accept(&headers), None);
        headers.insert(KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_an_extended_connect_to_a_websocket_becomes_a_get() {
        for (method, protocol, expected) in [
            ("CONNECT", Some("websocket"), "GET"),
            ("CONNECT", Some("connect-udp"), "CONNECT"),
            ("CONNECT", None, "CONNECT"),
            ("POST", None, "POST"),
        ] {
            let request = http::Request::builder().method(method).uri("http://a/").header("sec-websocket-key", "mine");
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            if let Some(protocol) = protocol {
                head.extensions.insert(Protocol::from(protocol));
            }
            as_get(&mut head, || 0);
            assert_eq!(head.method, expected);
            let key = if expected == "GET" { "AAAAAAAAAAAAAAAAAAAAAA==" } else { "mine" };
            assert_eq!(head.headers["sec-websocket-key"], key);
        }
    }
}
