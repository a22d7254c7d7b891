//! What operators see: the access log and the program's own log. Metrics and traces will stand here.

pub mod access;
pub mod log;
