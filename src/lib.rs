pub mod admin;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod gateway;
pub mod http;
pub mod memory;
pub mod observe;
pub mod proxy;
pub mod run;
pub mod script;
pub mod store;
pub mod upstream;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
