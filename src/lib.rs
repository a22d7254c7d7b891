pub mod http;
pub mod memory;
pub mod script;
pub mod store;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
