//! WebSockets: over HTTP/2 (RFC 8441), and closed in an orderly way when the process drains.
//!
//! Clients of HTTP/2 are the h2 crate's; frames are written by hand. What tunnels do otherwise is in `upstream_protocols::upgrades`.

mod draining;
mod extended_connect;
mod http2_targets;
