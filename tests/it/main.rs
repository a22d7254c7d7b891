//! What the gateway does as seen from outside: the real binary, real sockets, a real Redis.
//!
//! A test is about six lines: upstreams, a configuration, a request, what must come back. `support/` is the language in
//! which they are written; each file here is one subject. Everything listens on port 0 and nothing waits by sleeping.

mod support;

mod architecture;
mod cli;
mod dashboards;
mod jwt_auth;
mod limits;
mod plugins;
mod quickstart;
mod rate_limit;
mod readme;
mod reload;
mod routing;
mod transform;
mod twins;
mod unit_tests;
