//! What operators see: metrics, the access log and the program's own log.

pub mod access;
pub mod log;
pub mod metrics;
