//! The machine's interrupt for steps on which there is nothing to do, which are most.

use crate::script::lua::vm::Shared;
use mlua::{
    Lua,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, rc::Rc};

pub type Interrupt = unsafe extern "C-unwind" fn(*mut lua_State, c_int);

/// Puts [`interrupt`] before mlua's own, which costs ten times as much as a step between two looks at the clock is worth.
pub fn quicken_interrupt(lua: &Lua, shared: &Rc<Shared>) {
    lua.exec_raw_lua(|raw| {
        // SAFETY: the state is alive. The main thread's data is `shared`, which outlives every script's call, and with it every
        // interrupt.
        unsafe {
            let callbacks = ffi::lua_callbacks(raw.state());
            shared.interrupt.set((*callbacks).interrupt);
            (*callbacks).interrupt = Some(interrupt);
        }
    });
}

/// # Safety
/// Luau calls it, in a machine that [`quicken_interrupt`] saw.
unsafe extern "C-unwind" fn interrupt(state: *mut lua_State, gc: c_int) {
    if gc >= 0 {
        return;
    }
    // SAFETY: the main thread's data is the machine's `Shared`. No borrow is held when mlua's interrupt is called.
    unsafe {
        let shared = &*ffi::lua_getthreaddata(ffi::lua_mainthread(state)).cast::<Shared>();
        let is_quick = shared.current.borrow().as_ref().is_some_and(|running| running.is_quick_step());
        if let (false, Some(whole)) = (is_quick, shared.interrupt.get()) {
            whole(state, gc);
        }
    }
}
