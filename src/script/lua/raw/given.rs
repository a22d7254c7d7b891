//! What a script gives, shown to the shared check of arguments where it lies on the stack. By the rules of [`objects`](super::objects).
//!
//! What takes mlua is shown as something that nothing accepts: then the general way converts all of it again, and says what is wrong.

use super::{objects::object, stubs, text, write::write_here};
use crate::script::{
    Raise, Value,
    convert::{Entry, Native},
    lua::{convert::number, running::Running, vm::Shared},
    object::Object,
};
use bytes::Bytes;
use mlua::ffi::{self, lua_State};
use std::ffi::c_int;

/// A value on the stack, at a place from the bottom. Lists and tables leave their parts above it.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub state: *mut lua_State,
    pub place: c_int,
    pub shared: &'a Shared,
    pub running: &'a Running,
}

/// Longer lists and tables are left to others, as each part takes a slot.
const MAX_PARTS: usize = 128;
/// Slots are reserved for so many at a time, and what one takes besides.
const FEW: usize = 8;
const ROOM: c_int = 16;
/// Longer strings are left to others, who ask first whether they are too long.
const MAX_TEXT: usize = 64 << 10;

impl Given<'_> {
    fn at(&self, place: c_int) -> Self {
        Given { place, ..*self }
    }

    /// Whether it is a table, which is then one that can be walked over.
    fn is_table(&self) -> bool {
        let (json, running) = (&self.shared.json, Some(self.running));
        // SAFETY: only the type is looked at, and the metatable of a table. A function made by `carried` runs.
        unsafe {
            ffi::lua_type(self.state, self.place) == ffi::LUA_TTABLE
                && (!stubs::is_stub(json, self.state, self.place)
                    || stubs::open(json, running, self.state, self.place, stubs::CARRIED))
        }
    }
}

fn left_to_others() -> Raise {
    Raise::error("")
}

impl Native for Given<'_> {
    fn is_nil(&self) -> bool {
        // SAFETY: only the type is looked at.
        unsafe { ffi::lua_type(self.state, self.place) <= ffi::LUA_TNIL }
    }

    fn scalar(&self) -> Option<Value> {
        // SAFETY: there is a value at the place.
        unsafe { scalar(self.state, self.place) }
    }

    fn bytes(&self) -> Option<Bytes> {
        None
    }

    fn object(&self) -> Option<Object> {
        // SAFETY: there is a value at the place.
        unsafe { object(self.shared, self.running, self.state, self.place) }
    }

    fn list(&self) -> Option<Vec<Self>> {
        if !self.is_table() {
            return None;
        }
        let mut items = Vec::new();
        // SAFETY: slots are reserved for each item, which stays where it is as long as the arguments are converted.
        unsafe {
            for index in 1.. {
                let is_full = items.len().is_multiple_of(FEW) && ffi::lua_checkstack(self.state, ROOM) == 0;
                if items.len() > MAX_PARTS || is_full {
                    return None;
                }
                if ffi::lua_rawgeti_(self.state, self.place, index) == ffi::LUA_TNIL {
                    ffi::lua_settop(self.state, -2);
                    break;
                }
                items.push(self.at(ffi::lua_gettop(self.state)));
            }
        }
        Some(items)
    }

    fn entries(&self) -> Result<Option<Vec<Entry<'_, Self>>>, Raise> {
        if !self.is_table() {
            return Ok(None);
        }
        let (mut entries, mut at) = (Vec::new(), 0);
        // SAFETY: as `list`. A key is read as the string that it is, and its slot is the value's then: it lives as long as it is the
        // table's, which nothing changes meanwhile.
        unsafe {
            loop {
                let is_full = entries.len().is_multiple_of(FEW) && ffi::lua_checkstack(self.state, ROOM) == 0;
                if entries.len() > MAX_PARTS || is_full {
                    return Err(left_to_others());
                }
                at = ffi::lua_rawiter(self.state, self.place, at);
                if at < 0 {
                    return Ok(Some(entries));
                }
                if ffi::lua_type(self.state, -2) != ffi::LUA_TSTRING {
                    return Err(left_to_others());
                }
                let name = String::from_utf8_lossy(text(self.state, -2));
                ffi::lua_replace(self.state, -2);
                entries.push((name, self.at(ffi::lua_gettop(self.state))));
            }
        }
    }

    fn json(&self) -> Result<Bytes, Raise> {
        // SAFETY: there is a value at the place.
        let written = unsafe { write_here(&self.shared.json, self.running, self.state, self.place) };
        written.ok_or_else(left_to_others)
    }

    fn type_name(&self) -> String {
        String::new()
    }

    fn size(&self) -> usize {
        // SAFETY: it is read as the string that it is.
        unsafe {
            match ffi::lua_type(self.state, self.place) {
                ffi::LUA_TSTRING => text(self.state, self.place).len(),
                _ => 0,
            }
        }
    }

    fn most(&self) -> usize {
        self.running.largest_value()
    }
}

/// A value that is no table or the like.
///
/// # Safety
/// There is a value at `place`.
unsafe fn scalar(state: *mut lua_State, place: c_int) -> Option<Value> {
    // SAFETY: it is read as the type it has; the bytes are copied.
    unsafe {
        Some(match ffi::lua_type(state, place) {
            ffi::LUA_TNIL => Value::Nil,
            ffi::LUA_TBOOLEAN => Value::Bool(ffi::lua_toboolean(state, place) != 0),
            ffi::LUA_TNUMBER => number(ffi::lua_tonumber(state, place)),
            ffi::LUA_TSTRING => {
                let text = text(state, place);
                (text.len() <= MAX_TEXT).then(|| Value::Str(Bytes::copy_from_slice(text)))?
            }
            _ => return None,
        })
    }
}
