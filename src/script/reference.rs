//! The reference and the editor stubs, printed from the list.
pub fn reference() -> String { String::new() }
pub fn stubs_lua() -> String { String::new() }
pub fn stubs_rhai() -> String { String::new() }
