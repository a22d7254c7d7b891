//! Documents built and walked by Luau's own functions: with [`objects`] the one place of this engine with unsafe code.
//!
//! mlua's safe handles cost a reference in a side table and a protected call for each value, which is most of what a document
//! costs. Here a whole document is one protected call. What makes that sound, everywhere below:
//!
//! - **Errors.** Every function here that takes a state runs inside [`Lua::exec_raw`], which catches what Luau raises (only for
//!   lack of memory: all access is raw, so no code of a script runs). Luau is built with C++ exceptions and mlua declares its functions
//!   `C-unwind`, so frames are unwound; results are kept in the caller's frame and nothing half-made is looked at.
//! - **Panics** must not cross Luau's frames, so nothing here indexes or unwraps.
//! - **The stack** is reserved once, for the deepest nesting there can be; each function leaves it as it found it, but for
//!   what it says it pushes, or the whole walk is given up.
//! - **Types** are looked at before a value is read as one.

mod build;
mod carried;
pub mod functions;
mod given;
pub mod handles;
pub mod interrupt;
pub mod objects;
pub mod read;
pub mod replies;
pub mod results;
pub mod stubs;
pub mod threads;
mod write;

pub use build::{Given, build};
pub use write::write;

use mlua::ffi::{self, lua_State};
use std::ffi::c_int;

/// Slots for one level: a table, the table that lists its keys, a key, a value.
const LEVEL: c_int = 4;

/// Pushes an item, and gives its type.
///
/// # Safety
/// The value at `table` is a table, and a slot is free.
unsafe fn push_item(state: *mut lua_State, table: c_int, place: u32) -> c_int {
    // SAFETY: the caller's.
    unsafe { ffi::lua_rawgeti_(state, table, c_int::try_from(place).unwrap_or(0)) }
}

/// # Safety
/// A slot is free.
unsafe fn push_text(state: *mut lua_State, text: &[u8]) {
    // SAFETY: the bytes are copied before the call returns.
    unsafe { ffi::lua_pushlstring_(state, text.as_ptr().cast(), text.len()) }
}

/// The bytes of a string.
///
/// # Safety
/// There is a string at `place`, and it stays reachable by the machine as long as the bytes are used.
unsafe fn text<'a>(state: *mut lua_State, place: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: of a string Luau gives the bytes themselves, which never move; they are never null.
    unsafe {
        let bytes = ffi::lua_tolstring(state, place, &mut length);
        if bytes.is_null() { &[] } else { std::slice::from_raw_parts(bytes.cast(), length) }
    }
}
