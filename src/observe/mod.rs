//! What operators see: metrics, traces, the access log and the program's own log.

pub mod access;
pub mod log;
pub mod metrics;
pub mod traces;
