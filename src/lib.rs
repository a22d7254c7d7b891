pub mod config;
pub mod http;
pub mod script;
pub mod store;
