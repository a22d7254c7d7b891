//! What the gateway does as seen from outside: the real binary, real sockets, a real Redis.
//!
//! A test is about six lines: upstreams, a configuration, a request, what must come back. `support/` is the language in
//! which they are written; each file here is one subject. Everything listens on port 0 and nothing waits by sleeping.

mod support;

mod access;
mod access_log;
mod admin;
mod aggregate;
mod api;
mod architecture;
mod balancing;
mod bounds;
mod breaker;
mod browser;
mod capabilities;
mod cli;
mod compression;
mod connections;
mod dashboards;
mod descriptors;
mod dev_pages;
mod drain;
mod every;
mod examples;
mod failures;
mod footprint;
mod found_at_load;
mod grpc;
mod handed;
mod health;
mod hostile;
mod http1;
mod http2;
mod jwks;
mod jwt_auth;
mod leaving;
mod limits;
mod metrics;
mod mirror;
mod names;
mod openapi;
mod plugins;
mod quarantine;
mod quickstart;
mod rate_limit;
mod readme;
mod reload;
mod routing;
mod script_metrics;
mod slow_clients;
mod slow_openings;
mod smuggling;
mod spans;
mod streams;
mod test_command;
mod timeouts;
mod tls;
mod traces;
mod traffic;
mod transform;
mod twins;
mod unit_tests;
mod upstream_protocols;
mod validation;
mod websockets;
