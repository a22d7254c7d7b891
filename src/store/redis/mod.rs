//! Redis as a store: a connection a worker, commands for scripts, and the limiter that counts there.
//!
//! `link` owns the connection and the breaker in front of it, `pipe` is the connection, `wire` its protocol; `client` says what may be sent over it,
//! `limiter` counts for rate limits, and `refusals` keeps what it was told.
//! Waiting for Redis is bounded by one response timeout; connecting never happens on the path of a request.

mod client;
mod limiter;
mod link;
mod pipe;
mod refusals;
mod value;
mod wire;

pub use client::{RedisClient, RedisScript};
pub use limiter::RedisLimiter;
pub use link::RedisOptions;
pub use value::RedisValue;

#[cfg(test)]
mod tests;
