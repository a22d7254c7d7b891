//! HTTP/1.1 on the wire: pure machines over bytes, for the server towards clients and the client towards targets.
//!
//! On this line requests get smuggled, so that everything which two parties could read differently is refused and nothing is
//! repaired (RFC 9112 §2.2, §6.3, §11.2). Where the input is split makes no difference. Nothing here reads or writes sockets.

pub mod body;
pub mod chunked;
pub mod request;
pub mod response;
