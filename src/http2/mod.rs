//! Streams of HTTP/2 as both sides use them: bodies in both directions, and tunnels.
//!
//! Frames, flow control and the table of headers are the crate h2's. The server towards clients is in [`crate::downstream`], the client
//! towards targets in [`crate::upstream`].

pub mod body;
pub mod tunnel;

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE},
};

const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes off what belongs to a connection of HTTP/1.1 (RFC 9113 §8.2.2). Most is gone already, and what a script wrote is left;
/// `TE: trailers` stays.
pub fn strip(headers: &mut HeaderMap) {
    for name in OF_CONNECTION {
        if name != TE || headers.get(TE).is_some_and(|value| value != "trailers") {
            headers.remove(name);
        }
    }
}
