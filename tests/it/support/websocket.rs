//! Frames of WebSockets (RFC 6455 §5.2), short ones, and a target that opens them.

use super::{
    Upstream,
    wire::{self, Input, Received},
};
use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
};

/// The key and the proof of RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
/// 1001, "going away".
pub const GOING_AWAY: [u8; 2] = [0x03, 0xe9];

/// A frame as a server sends it.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    assert!(payload.len() < 126, "a short frame");
    [&[first, payload.len() as u8], payload].concat()
}

/// The same, masked as a client must.
pub fn masked(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mask = [1, 2, 3, 4];
    assert!(payload.len() < 126, "a short frame");
    let head = [first, 0x80 | payload.len() as u8];
    [&head[..], &mask, &payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>()]
        .concat()
}

/// The first byte, whether it was masked, and the payload; none at the end.
pub fn read_frame(input: &mut impl Read) -> Option<(u8, bool, Vec<u8>)> {
    let mut head = [0; 2];
    input.read_exact(&mut head).ok()?;
    let is_masked = head[1] & 0x80 != 0;
    let mut mask = [0; 4];
    if is_masked {
        input.read_exact(&mut mask).ok()?;
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    input.read_exact(&mut payload).ok()?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((head[0], is_masked, payload))
}

/// What proves that a target has understood this key (RFC 6455 §4.2.2).
pub fn accept(key: &str) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat()))
}

/// A target that accepts each WebSocket and is then given the connection.
pub fn target(serve: impl Fn(Received, &mut Input<TcpStream>) + Send + Sync + 'static) -> Upstream {
    Upstream::raw(move |stream| {
        let mut input = BufReader::new(stream);
        let Ok(Some((request, _))) = wire::read_request_head(&mut input) else { return };
        let Some(key) = request.header("sec-websocket-key") else { return };
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept(key)
        );
        input.get_mut().write_all(head.as_bytes()).expect("a write");
        serve(request, &mut input);
    })
}
