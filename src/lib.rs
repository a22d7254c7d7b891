pub mod http;
pub mod upstream;
