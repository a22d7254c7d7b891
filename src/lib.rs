pub mod config;
pub mod crypto;
pub mod http;
pub mod script;
pub mod store;
pub mod upstream;
