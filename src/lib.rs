pub mod crypto;
pub mod http;
pub mod script;
pub mod store;
