//! What targets may speak: TLS, upgraded connections, HTTP/2, trailers.
//!
//! One file a subject; the TLS here is rustls on a blocking socket, with certificates made for the test.

mod broken_streams;
mod http2;
mod refused_streams;
mod tls;
mod trailers;
mod upgrades;
