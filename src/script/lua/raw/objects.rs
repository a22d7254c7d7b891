//! Reading and setting members of `req`, `ctx` and the like without mlua's conversions, which cost more than most getters.
//!
//! The metamethods of objects are C functions. They know the running hook's own handles by their addresses, read and write
//! scalars straight from and to Luau's stack, and leave everything else (tables, JSON, other objects, whatever is refused) to the
//! functions of `objects`, which do the same again from the start: a getter changes nothing, and a setter that refuses has changed
//! nothing. Besides the rules of the module above:
//!
//! - These run in a script's call, so what Luau raises goes to the script's own protected call. Values that own memory are
//!   unwound with their frames; nothing is held over [`ffi::lua_error`].
//! - Getters and setters run in [`Running::guard`], which keeps their panics.

use super::{
    carried::{self, Own},
    given::Given,
    handles::place_of,
    replies,
    results::{push_document, push_result},
};
use crate::script::{
    Value,
    convert::assigned,
    list::{Property, Type},
    lua::{
        bind::Member,
        running::Running,
        vm::{Mark, Shared},
    },
    object::Object,
};
use mlua::{
    Function, Lua, Table,
    ffi::{self, lua_State},
};
use std::{
    ffi::{c_char, c_int},
    rc::Rc,
};

/// `__index` and `__newindex` of objects.
pub fn metamethods(
    lua: &Lua,
    shared: &Rc<Shared>,
    methods: &Table,
    (get, set): (&Function, &Function),
) -> mlua::Result<(Function, Function)> {
    let own = |whole| Own { whole: Some(whole), methods: Some(methods), ..Own::default() };
    let index = carried::function(lua, shared, c"__index", index, &own(get))?;
    let newindex = carried::function(lua, shared, c"__newindex", newindex, &own(set))?;
    Ok((index, newindex))
}

/// # Safety
/// Luau calls it, with what [`metamethods`] made it carry, an object and a key.
unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    // SAFETY: `shared` outlives every script's call; nothing that owns memory is left when `whole` is called.
    unsafe {
        let shared = carried::shared(state);
        if read(shared, state).is_none() {
            whole(shared, state, 2);
        }
    }
    1
}

/// # Safety
/// As [`index`], with a value besides.
unsafe extern "C-unwind" fn newindex(state: *mut lua_State) -> c_int {
    // SAFETY: as `index`.
    unsafe {
        let shared = carried::shared(state);
        if write(shared, state).is_none() {
            whole(shared, state, 3);
        }
    }
    0
}

/// Pushes a member; None when that is left to others, and nothing was pushed.
///
/// # Safety
/// As [`index`].
unsafe fn read(shared: &Shared, state: *mut lua_State) -> Option<()> {
    let running = shared.running().ok()?;
    // SAFETY: the key is looked at as the string that it is, and stays on the stack.
    let (object, name) = unsafe { (own(shared, &running, state)?, name(state)?) };
    let kind = object.kind();
    let got = match shared.numbered(kind, name.number) {
        // SAFETY: `METHODS` is a table.
        Some(Member::Method { place, .. }) => unsafe {
            ffi::lua_rawgeti_(state, carried::METHODS, *place);
            return Some(());
        },
        Some(Member::Property(Property { name, ty: Type::Native, .. })) => {
            let (config, own_state) = running.natives.places;
            // SAFETY: `NATIVES` is a table.
            unsafe { ffi::lua_rawgeti_(state, carried::NATIVES, if *name == "config" { config } else { own_state }) };
            return Some(());
        }
        Some(Member::Property(property)) if is_simple(&property.ty) || matches!(property.ty, Type::Json) => {
            running.guard(|| (property.get)(&object))
        }
        Some(Member::Property(_)) => return None,
        None => {
            let index = kind.index.as_ref().filter(|index| is_simple(&index.ty) || matches!(index.ty, Type::Json))?;
            let name = name.text()?;
            running.guard(|| (index.get)(&object, name))
        }
    };
    let got = got.ok()?.ok()?;
    if got.is_long() {
        running.look_soon();
    }
    // SAFETY: a C function has slots to spare.
    unsafe {
        match got {
            Value::Json(text) => push_document(shared, &running, state, &text).then_some(()),
            value => push_result(shared, &running, state, value).is_none().then_some(()),
        }
    }
}

/// Sets a member; None when that is left to others, and nothing was changed.
///
/// # Safety
/// As [`newindex`].
unsafe fn write(shared: &Shared, state: *mut lua_State) -> Option<()> {
    let running = shared.running().ok()?;
    let scope = running.scope.as_ref()?;
    // SAFETY: as `read`.
    let (object, name) = unsafe { (own(shared, &running, state)?, name(state)?) };
    let kind = object.kind();
    let member = shared.numbered(kind, name.number);
    let ty = match (member, &kind.index) {
        (Some(Member::Property(property)), _) => &property.ty,
        // As in the general way, what is read as text may be written as a number or a boolean too.
        (None, Some(index)) if matches!(index.ty, Type::Maybe(Type::String)) => &Type::Scalar,
        (None, Some(index)) => &index.ty,
        _ => return None,
    };
    if !is_scalar(ty) && !matches!(ty, Type::Json) {
        return None;
    }
    let value = assigned(ty, &Given { state, place: 3, shared, running: &running }).ok()?;
    if value.is_long() {
        running.look_soon();
    }
    let set = || match (member, &kind.index) {
        (Some(Member::Property(property)), _) => property.set?(scope, &object, value).ok(),
        (None, Some(index)) => index.set?(scope, &object, name.text()?, value).ok(),
        _ => None,
    };
    running.guard(set).ok()?
}

/// The object that is the first argument: the hook's own, a reply, or one that `on_load` made.
///
/// # Safety
/// As [`index`].
pub unsafe fn own(shared: &Shared, running: &Running, state: *mut lua_State) -> Option<Object> {
    // SAFETY: the caller's.
    unsafe { object(shared, running, state, 1) }
}

/// The same at any place.
///
/// # Safety
/// There is a value at `place`.
pub unsafe fn object(shared: &Shared, running: &Running, state: *mut lua_State, place: c_int) -> Option<Object> {
    // SAFETY: a userdata with the tag holds a place.
    if let Some(named) = unsafe { place_of(state, place) } {
        return running.object_named(named.0, named.1);
    }
    // SAFETY: the caller's.
    if let Some(reply) = unsafe { replies::at(state, place) } {
        return Some(reply);
    }
    // SAFETY: the address is only compared.
    let address = unsafe { ffi::lua_touserdata(state, place) }.addr();
    shared.made.borrow().get(&address).map(|(object, _)| object.clone())
}

/// A name, and its number among those of members; below zero when no member has it.
struct Name<'a> {
    bytes: &'a [u8],
    number: i16,
}

impl<'a> Name<'a> {
    fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

/// The name that is the second argument.
///
/// # Safety
/// As [`index`]; the name is used no longer than the call lasts.
unsafe fn name<'a>(state: *mut lua_State) -> Option<Name<'a>> {
    // SAFETY: it is read as a string only if it is one; it stays on the stack.
    unsafe {
        if ffi::lua_type(state, 2) != ffi::LUA_TSTRING {
            return None;
        }
        let (mut length, mut number) = (0, 0);
        let bytes = ffi::lua_tolstringatom(state, 2, &mut length, &mut number);
        Some(Name { bytes: std::slice::from_raw_parts(bytes.cast(), length), number: number as i16 })
    }
}

/// Numbers the names that members have: Luau asks once for each string, and remembers.
pub fn number_names(lua: &Lua, shared: &Rc<Shared>) {
    lua.exec_raw_lua(|raw| {
        // SAFETY: the state is alive. `shared` outlives every string of the machine, which holds it.
        unsafe {
            ffi::lua_setthreaddata(ffi::lua_mainthread(raw.state()), Rc::as_ptr(shared).cast_mut().cast());
            (*ffi::lua_callbacks(raw.state())).useratom = Some(number);
        }
    });
}

/// # Safety
/// Luau calls it with a string, in a machine that [`number_names`] saw.
unsafe extern "C-unwind" fn number(state: *mut lua_State, text: *const c_char, length: usize) -> i16 {
    // SAFETY: the main thread's data is the machine's `Shared`, which outlives every script's call.
    unsafe {
        let shared = &*ffi::lua_getthreaddata(ffi::lua_mainthread(state)).cast::<Shared>();
        shared.number(std::slice::from_raw_parts(text.cast(), length)).unwrap_or(-1)
    }
}

/// Has the whole function do it, and raises what it left to be raised, where the script is.
///
/// # Safety
/// As [`index`]; the stack holds the arguments alone.
unsafe fn whole(shared: &Shared, state: *mut lua_State, arguments: c_int) {
    // SAFETY: the message is copied to the stack and freed before it is raised.
    unsafe {
        ffi::lua_settop(state, arguments);
        ffi::lua_pushvalue(state, carried::WHOLE);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, arguments, 1);
        if is_mark(state, Mark::Raised) {
            raise(shared, state);
        }
    }
}

/// Whether a mark is on top of the stack.
///
/// # Safety
/// There is a value.
pub unsafe fn is_mark(state: *mut lua_State, mark: Mark) -> bool {
    // SAFETY: the address is only compared.
    unsafe {
        ffi::lua_type(state, -1) == ffi::LUA_TLIGHTUSERDATA && ffi::lua_touserdata(state, -1).addr() == mark as usize
    }
}

/// Raises what the hook was left to raise, where the script called.
///
/// # Safety
/// A C function that a script called runs, and nothing that owns memory is left in its frames.
pub unsafe fn raise(shared: &Shared, state: *mut lua_State) -> ! {
    // SAFETY: the message is copied to the stack and freed before it is raised.
    unsafe {
        ffi::luaL_where(state, 1);
        push_raised(shared, state);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// # Safety
/// A slot is free.
unsafe fn push_raised(shared: &Shared, state: *mut lua_State) {
    let message = shared.running().ok().and_then(|running| running.raised.take()).unwrap_or_default();
    // SAFETY: the bytes are copied.
    unsafe { super::push_text(state, message.as_bytes()) }
}

/// Whether a getter of this type gives what can be pushed here.
fn is_simple(ty: &Type) -> bool {
    is_scalar(ty) || matches!(ty, Type::Object(_))
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Int | Type::Number | Type::String | Type::Scalar => true,
        Type::Maybe(inner) => is_scalar(inner),
        _ => false,
    }
}
