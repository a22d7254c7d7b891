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

use super::text;
use crate::script::{
    Raise, Value,
    convert::{Native, args, assigned},
    json::MAX_SAFE,
    list::{Kind, Outcome, Property, Type},
    lua::{
        bind::Member,
        running::{Answer, HANDLES, Pending, Running},
        vm::{Mark, Shared},
    },
    object::Object,
    value::Args,
};
use bytes::Bytes;
use mlua::{
    AnyUserData, Function, LightUserData, Lua, Table,
    ffi::{self, lua_State},
};
use std::{ffi::c_int, rc::Rc};

// What the functions carry with them.
const SHARED: c_int = ffi::lua_upvalueindex(1);
/// The function of `objects` that does all.
const WHOLE: c_int = ffi::lua_upvalueindex(2);
/// Tables of methods, by the kinds' addresses.
const METHODS: c_int = ffi::lua_upvalueindex(3);
const HANDLES_AT: c_int = ffi::lua_upvalueindex(4);
const NATIVES: c_int = ffi::lua_upvalueindex(5);
const CARRIED: c_int = 5;

/// `__index` and `__newindex` of objects. `shared` must live as long as scripts run, which its machine sees to.
pub fn metamethods(
    lua: &Lua,
    shared: &Rc<Shared>,
    methods: &Table,
    (get, set): (&Function, &Function),
) -> mlua::Result<(Function, Function)> {
    let at = LightUserData(Rc::as_ptr(shared).cast_mut().cast());
    let carried = |whole| (at, whole, methods, &shared.handles, &shared.natives);
    // SAFETY: the five values become what the function carries, and it is left alone on the stack.
    unsafe {
        let index = lua.exec_raw::<Function>(carried(get), |state| {
            ffi::lua_pushcclosurek(state, index, c"__index".as_ptr(), CARRIED, None);
        })?;
        let newindex = lua.exec_raw::<Function>(carried(set), |state| {
            ffi::lua_pushcclosurek(state, newindex, c"__newindex".as_ptr(), CARRIED, None);
        })?;
        Ok((index, newindex))
    }
}

/// A function of the list, as a C function that carries it.
pub struct Listed {
    pub name: Rc<str>,
    pub function: &'static crate::script::list::Function,
    /// Whose method it is.
    pub kind: Option<&'static Kind>,
}

// What functions of the list carry, besides `SHARED` and `WHOLE`.
const LISTED: c_int = ffi::lua_upvalueindex(3);
/// The function that gives the answer that the hook holds.
const ANSWER: c_int = ffi::lua_upvalueindex(4);
/// The metatable of arrays.
const ARRAY: c_int = ffi::lua_upvalueindex(5);
/// Tables that stand for JSON texts.
const KEPT: c_int = ffi::lua_upvalueindex(6);

/// The tag of handles' userdata; mlua uses none that a user may.
const HANDLE: c_int = 77;

pub type Interrupt = unsafe extern "C-unwind" fn(*mut lua_State, c_int);

/// Puts [`interrupt`] before mlua's own, which costs ten times as much as a step between two looks at the clock is worth.
pub fn quicken_interrupt(lua: &Lua, shared: &Rc<Shared>) {
    lua.exec_raw_lua(|raw| {
        // SAFETY: the state is alive. `shared` outlives every script's call, and with it every interrupt: its machine holds it.
        // Only this module uses the data of the main thread.
        unsafe {
            let callbacks = ffi::lua_callbacks(raw.state());
            shared.interrupt.set((*callbacks).interrupt);
            (*callbacks).interrupt = Some(interrupt);
            ffi::lua_setthreaddata(ffi::lua_mainthread(raw.state()), Rc::as_ptr(shared).cast_mut().cast());
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

/// The metatable of handles.
pub fn own_metatable(lua: &Lua, index: &Function, newindex: &Function, iterate: &Function) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", index)?;
    metatable.raw_set("__newindex", newindex)?;
    metatable.raw_set("__iter", iterate)?;
    metatable.raw_set("__metatable", false)?;
    // SAFETY: the function carries nothing; it is called with a handle or anything else, see there.
    let named = unsafe {
        lua.exec_raw::<Function>((), |state| {
            ffi::lua_pushcclosurek(state, tostring, c"__tostring".as_ptr(), 0, None);
        })
    }?;
    metatable.raw_set("__tostring", named)?;
    metatable.set_readonly(true);
    // SAFETY: the table on the stack becomes the metatable of a tag that had none.
    unsafe { lua.exec_raw::<()>(metatable, |state| ffi::lua_setuserdatametatable(state, HANDLE)) }
}

/// # Safety
/// Luau calls it.
unsafe extern "C-unwind" fn tostring(state: *mut lua_State) -> c_int {
    // SAFETY: only a userdata with the tag is read, and it holds a place.
    unsafe {
        let at = ffi::lua_touserdatatagged(state, 1, HANDLE).cast::<usize>();
        let name = if at.is_null() { "userdata" } else { Running::kind_name(at.read()) };
        super::push_text(state, name.as_bytes());
    }
    1
}

/// Whether a userdata is a handle to a part of an exchange, also of one that is over.
pub fn is_handle(lua: &Lua, userdata: &AnyUserData) -> bool {
    // SAFETY: the userdata is pushed, and popped again.
    lua.exec_raw_lua(|raw| unsafe {
        if raw.push(userdata).is_err() {
            return false;
        }
        let tag = ffi::lua_userdatatag(raw.state(), -1);
        ffi::lua_settop(raw.state(), -2);
        tag == HANDLE
    })
}

/// The handle at a place of the running hook.
pub fn handle(lua: &Lua, shared: &Shared, running: &Running, place: usize) -> mlua::Result<AnyUserData> {
    // SAFETY: the table of handles is the first value; the handle takes its place.
    unsafe {
        lua.exec_raw(&shared.handles, |state| {
            push_handle(shared, running, state, 1, place);
            ffi::lua_replace(state, 1);
        })
    }
}

/// The function that the prelude makes arguments with: a place gives its handle, all else itself.
pub fn handle_function(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Function> {
    let at = LightUserData(Rc::as_ptr(shared).cast_mut().cast());
    // SAFETY: the two values become what the function carries, and it is left alone on the stack.
    unsafe {
        lua.exec_raw((at, &shared.handles), |state| {
            ffi::lua_pushcclosurek(state, argument, c"handle".as_ptr(), 2, None);
        })
    }
}

/// # Safety
/// Luau calls it, with what [`handle_function`] made it carry.
unsafe extern "C-unwind" fn argument(state: *mut lua_State) -> c_int {
    // SAFETY: as `index`; a value is on the stack, if only nil.
    unsafe {
        ffi::lua_settop(state, 1);
        if ffi::lua_type(state, 1) == ffi::LUA_TNUMBER {
            let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
            if let Ok(running) = shared.running() {
                push_handle(shared, &running, state, ffi::lua_upvalueindex(2), ffi::lua_tonumber(state, 1) as usize);
            }
        }
    }
    1
}

/// Pushes the handle at a place of the running hook, made when it is first asked for: a userdata that only its address
/// makes one, so that it costs no destructor and needs no emptying.
///
/// # Safety
/// The table of handles is at `handles`, and three slots are free.
unsafe fn push_handle(shared: &Shared, running: &Running, state: *mut lua_State, handles: c_int, place: usize) {
    // SAFETY: the userdata holds the number that is written to it. The table keeps it alive until the hook has ended, as its row is
    // given back only then, so its address stays its own.
    unsafe {
        if running.has_handle(place) {
            ffi::lua_rawgeti_(state, handles, running.slot(place));
            return;
        }
        if running.row.get() == 0 {
            running.row.set(take_row(shared, state, handles));
        }
        let at = ffi::lua_newuserdatataggedwithmetatable(state, size_of::<usize>(), HANDLE);
        at.cast::<usize>().write(place);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawseti_(state, handles, running.slot(place));
        running.keep_handle(place, at.addr());
    }
}

/// A row for a hook's handles.
///
/// # Safety
/// As [`push_handle`].
unsafe fn take_row(shared: &Shared, state: *mut lua_State, handles: c_int) -> i32 {
    if let Some(row) = shared.free_rows.borrow_mut().pop() {
        return row;
    }
    let row = shared.rows.get();
    for slot in 1..=HANDLES as c_int {
        // SAFETY: the caller's. In order, so that the table keeps them as an array.
        unsafe {
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawseti_(state, handles, row * HANDLES as c_int + slot);
        }
    }
    shared.rows.set(row + 1);
    row + 1
}

/// The function of the list, in front of `whole`, which does all that is more than scalars. Like it, what this gives is for the
/// prelude. `listed` must live as long as scripts run.
pub fn function(
    lua: &Lua,
    shared: &Rc<Shared>,
    listed: &Rc<Listed>,
    whole: &Function,
    answer: &Function,
) -> mlua::Result<Function> {
    let at = LightUserData(Rc::as_ptr(shared).cast_mut().cast());
    let listed = LightUserData(Rc::as_ptr(listed).cast_mut().cast());
    // SAFETY: the six values become what the function carries, and it is left alone on the stack.
    unsafe {
        lua.exec_raw((at, whole, listed, answer, &shared.json.array, &shared.json.kept), |state| {
            ffi::lua_pushcclosurek(state, call, c"host".as_ptr(), 6, None);
        })
    }
}

/// # Safety
/// Luau calls it, with what [`function`] made it carry.
unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: as `index`; `listed` is held by `shared`.
    unsafe {
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
        let listed = &*ffi::lua_touserdata(state, LISTED).cast::<Listed>();
        match run(shared, listed, state) {
            Called::Pushed => {}
            Called::Answered => {
                ffi::lua_pushvalue(state, ANSWER);
                ffi::lua_call(state, 0, 1);
            }
            Called::NotHere => {
                let arguments = ffi::lua_gettop(state);
                ffi::lua_pushvalue(state, WHOLE);
                ffi::lua_insert(state, 1);
                ffi::lua_call(state, arguments, 1);
            }
        }
    }
    1
}

enum Called {
    /// The result is on the stack.
    Pushed,
    /// The hook holds the result.
    Answered,
    /// Nothing happened yet.
    NotHere,
}

/// Longer strings are left to others, who ask first whether they are too long.
const MAX_TEXT: usize = 64 << 10;
/// More arguments than any function of the list declares are left to others.
const MAX_ARGUMENTS: c_int = 6;

/// # Safety
/// As [`call`].
unsafe fn run(shared: &Shared, listed: &Listed, state: *mut lua_State) -> Called {
    let Ok(running) = shared.running() else { return Called::NotHere };
    // SAFETY: the arguments are read as what they are, and slots are free.
    let arguments = unsafe { arguments(shared, listed, &running, state) };
    let (Some(scope), Some(arguments)) = (&running.scope, arguments) else { return Called::NotHere };
    // A panic leaves the hook halted and no answer, which is all that the prelude needs.
    let result = match running.guard(|| (listed.function.run)(scope, arguments)) {
        Ok(Outcome::Wait(future)) => {
            running.answer.replace(None);
            running.pending.replace(Some(Pending { future, function: listed.name.clone() }));
            // SAFETY: as above.
            unsafe { ffi::lua_pushlightuserdata(state, std::ptr::without_provenance_mut(Mark::Wait as usize)) };
            return Called::Pushed;
        }
        // SAFETY: as above.
        Ok(Outcome::Done(Ok(value))) => match unsafe { push_result(shared, state, value) } {
            None => return Called::Pushed,
            Some(value) => Ok(value),
        },
        Ok(Outcome::Done(Err(raise))) => Err(raise),
        Err(_) => return Called::Answered,
    };
    running.answer.replace(Some(Answer { result, function: listed.name.clone() }));
    Called::Answered
}

/// The arguments, when they are scalars and the hook's own object, and as they are declared.
///
/// # Safety
/// As [`call`].
unsafe fn arguments(shared: &Shared, listed: &Listed, running: &Running, state: *mut lua_State) -> Option<Args> {
    // SAFETY: each is read as the type it has.
    unsafe {
        let (count, first) = (ffi::lua_gettop(state), 1 + c_int::from(listed.kind.is_some()));
        if count > MAX_ARGUMENTS {
            return None;
        }
        let mut converted = Vec::with_capacity(listed.function.params.len() + 1);
        if let Some(kind) = listed.kind {
            let object = own(shared, running, state).filter(|object| std::ptr::eq(object.kind(), kind))?;
            converted.push(Value::Object(object));
        }
        if (first..=count).any(|place| ffi::lua_type(state, place) == ffi::LUA_TTABLE) {
            return with_frozen(shared, listed, state, first..=count, converted);
        }
        let declared = listed.function.params.iter();
        if !declared.take(usize::try_from(count + 1 - first).unwrap_or(0)).all(|param| takes_scalar(&param.ty)) {
            return None;
        }
        let mut given: [Scalar; MAX_ARGUMENTS as usize] = Default::default();
        let mut length = 0;
        for place in first..=count {
            *given.get_mut(length)? = Scalar(scalar(state, place)?);
            length += 1;
        }
        let given = given.into_iter().take(length);
        args(listed.function.params, listed.function.variadic, given, &mut converted).ok()?;
        Some(Args(converted))
    }
}

/// The same when tables are among them: those that are frozen and were converted before.
///
/// # Safety
/// As [`call`].
unsafe fn with_frozen(
    shared: &Shared,
    listed: &Listed,
    state: *mut lua_State,
    places: std::ops::RangeInclusive<c_int>,
    mut converted: Vec<Value>,
) -> Option<Args> {
    let mut places = places;
    for param in listed.function.params {
        let one = std::slice::from_ref(param);
        let Some(place) = places.next() else {
            args(one, false, std::iter::empty::<Scalar>(), &mut converted).ok()?;
            continue;
        };
        // SAFETY: each is read as the type it has.
        unsafe {
            if ffi::lua_type(state, place) == ffi::LUA_TTABLE {
                let (Type::Options(params), true) = (&param.ty, ffi::lua_getreadonly(state, place) != 0) else {
                    return None;
                };
                let known = shared.frozen.borrow();
                let frozen = known.get(&ffi::lua_topointer(state, place).addr())?;
                converted.push(std::ptr::eq(frozen.params, *params).then(|| frozen.value.clone())?);
            } else {
                let given = takes_scalar(&param.ty).then(|| scalar(state, place))??;
                args(one, false, std::iter::once(Scalar(given)), &mut converted).ok()?;
            }
        }
    }
    places.next().is_none().then_some(Args(converted))
}

/// Whether [`push_result`] can push a part of a result.
fn is_plain(shared: &Shared, value: &Value) -> bool {
    match value {
        Value::Nil | Value::Bool(_) | Value::Float(_) | Value::Str(_) => true,
        Value::Int(i) => i.unsigned_abs() <= MAX_SAFE as u64,
        Value::Json(text) => shared.json.kept_place(text).is_some(),
        _ => false,
    }
}

/// Pushes a scalar, or a table of scalars and of what is kept; gives back what is more.
///
/// # Safety
/// As [`call`].
unsafe fn push_result(shared: &Shared, state: *mut lua_State, value: Value) -> Option<Value> {
    // SAFETY: a C function has slots for a table, a name and a value. Should memory run out, the items are freed with this frame.
    unsafe {
        match value {
            Value::List(items) if items.iter().all(|item| is_plain(shared, item)) => {
                ffi::lua_createtable(state, c_int::try_from(items.len()).unwrap_or(c_int::MAX), 0);
                for (place, item) in (1..).zip(items) {
                    push_part(shared, state, item);
                    ffi::lua_rawseti_(state, -2, place);
                }
                ffi::lua_pushvalue(state, ARRAY);
                ffi::lua_setmetatable(state, -2);
                None
            }
            Value::Map(entries) if entries.iter().all(|(_, item)| is_plain(shared, item)) => {
                ffi::lua_createtable(state, 0, c_int::try_from(entries.len()).unwrap_or(c_int::MAX));
                for (name, item) in entries {
                    super::push_text(state, name.as_bytes());
                    push_part(shared, state, item);
                    ffi::lua_rawset(state, -3);
                }
                None
            }
            value => push(state, value),
        }
    }
}

/// # Safety
/// As [`push_result`]; the value is plain.
unsafe fn push_part(shared: &Shared, state: *mut lua_State, value: Value) {
    // SAFETY: `KEPT` is a table.
    unsafe {
        match value {
            Value::Json(text) => {
                let place = shared.json.kept_place(&text).unwrap_or_default();
                ffi::lua_rawgeti_(state, KEPT, place);
            }
            value => {
                if push(state, value).is_some() {
                    ffi::lua_pushnil(state);
                }
            }
        }
    }
}

/// Pushes a scalar; gives back what is more.
///
/// # Safety
/// A slot is free.
unsafe fn push(state: *mut lua_State, value: Value) -> Option<Value> {
    // SAFETY: the bytes are copied.
    unsafe {
        match value {
            Value::Nil => ffi::lua_pushnil(state),
            Value::Bool(b) => ffi::lua_pushboolean(state, c_int::from(b)),
            Value::Int(i) if i.unsigned_abs() <= MAX_SAFE as u64 => ffi::lua_pushnumber(state, i as f64),
            Value::Float(f) => ffi::lua_pushnumber(state, f),
            Value::Str(bytes) => super::push_text(state, &bytes),
            more => return Some(more),
        }
    }
    None
}

/// Whether a parameter can be checked from a scalar alone.
fn takes_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bytes | Type::Duration => true,
        other => is_scalar(other),
    }
}

/// # Safety
/// Luau calls it, with what [`metamethods`] made it carry, an object and a key.
unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    // SAFETY: `shared` outlives every script's call; nothing that owns memory is left when `whole` is called.
    unsafe {
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
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
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
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
    let got = match shared.member(kind, name) {
        // SAFETY: `METHODS` is a table of tables; what is not there gives nil.
        Some(Member::Method(_)) => unsafe {
            if ffi::lua_rawgetptagged(state, METHODS, std::ptr::from_ref(kind).cast(), 0) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, 2);
                return None;
            }
            ffi::lua_pushvalue(state, 2);
            ffi::lua_rawget(state, -2);
            return Some(());
        },
        Some(Member::Property(Property { name, ty: Type::Native, .. })) => {
            let (config, own_state) = running.natives;
            // SAFETY: `NATIVES` is a table.
            unsafe { ffi::lua_rawgeti_(state, NATIVES, if *name == "config" { config } else { own_state }) };
            return Some(());
        }
        Some(Member::Property(property)) if is_simple(&property.ty) => {
            running.guard(|| (property.get)(&Args(vec![object.into()])))
        }
        Some(Member::Property(_)) => return None,
        None => {
            let index = kind.index.as_ref().filter(|index| is_simple(&index.ty))?;
            let key = Value::Str(Bytes::copy_from_slice(name.as_bytes()));
            running.guard(|| (index.get)(&Args(vec![object.into(), key])))
        }
    };
    // SAFETY: a C function has slots to spare; `HANDLES_AT` is the table of handles.
    unsafe {
        match push(state, got.ok()?.ok()?) {
            None => {}
            Some(Value::Object(object)) => {
                let place = running.handle(&object)?;
                push_handle(shared, &running, state, HANDLES_AT, place);
            }
            Some(_) => return None,
        }
    }
    Some(())
}

/// Sets a member; None when that is left to others, and nothing was changed.
///
/// # Safety
/// As [`newindex`].
unsafe fn write(shared: &Shared, state: *mut lua_State) -> Option<()> {
    let running = shared.running().ok()?;
    let scope = running.scope.as_ref()?;
    // SAFETY: as `read`; the value is read as the type it has.
    let (object, name, value) = unsafe { (own(shared, &running, state)?, name(state)?, Scalar(scalar(state, 3)?)) };
    let kind = object.kind();
    let set = || match (shared.member(kind, name), &kind.index) {
        (Some(Member::Property(property)), _) if is_scalar(&property.ty) => {
            let value = assigned(&property.ty, &value).ok()?;
            property.set?(scope, Args(vec![object.into(), value])).ok()
        }
        (None, Some(index)) if matches!(index.ty, Type::Maybe(Type::String)) => {
            let value = assigned(&Type::Scalar, &value).ok()?;
            let key = Value::Str(Bytes::copy_from_slice(name.as_bytes()));
            index.set?(scope, Args(vec![object.into(), key, value])).ok()
        }
        _ => None,
    };
    running.guard(set).ok()?
}

/// The object that is the first argument: the hook's own, or one that `on_load` made.
///
/// # Safety
/// As [`index`].
unsafe fn own(shared: &Shared, running: &Running, state: *mut lua_State) -> Option<Object> {
    // SAFETY: the address is only compared.
    let address = unsafe { ffi::lua_touserdata(state, 1) }.addr();
    running.object(address).or_else(|| shared.made.borrow().get(&address).map(|(object, _)| object.clone()))
}

/// The name that is the second argument.
///
/// # Safety
/// As [`index`]; the name is used no longer than the call lasts.
unsafe fn name<'a>(state: *mut lua_State) -> Option<&'a str> {
    // SAFETY: it is read as a string only if it is one; it stays on the stack.
    unsafe {
        let is_text = ffi::lua_type(state, 2) == ffi::LUA_TSTRING;
        is_text.then(|| std::str::from_utf8(text(state, 2)).ok())?
    }
}

/// An argument that is no table or the like.
///
/// # Safety
/// There is a value at `place`.
unsafe fn scalar(state: *mut lua_State, place: c_int) -> Option<Value> {
    // SAFETY: it is read as the type it has; the bytes are copied.
    unsafe {
        Some(match ffi::lua_type(state, place) {
            ffi::LUA_TNIL => Value::Nil,
            ffi::LUA_TBOOLEAN => Value::Bool(ffi::lua_toboolean(state, place) != 0),
            ffi::LUA_TNUMBER => crate::script::lua::convert::number(ffi::lua_tonumber(state, place)),
            ffi::LUA_TSTRING => {
                let text = text(state, place);
                (text.len() <= MAX_TEXT).then(|| Value::Str(Bytes::copy_from_slice(text)))?
            }
            _ => return None,
        })
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
        ffi::lua_pushvalue(state, WHOLE);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, arguments, 1);
        let is_mark = ffi::lua_type(state, -1) == ffi::LUA_TLIGHTUSERDATA;
        if is_mark && ffi::lua_touserdata(state, -1).addr() == Mark::Raised as usize {
            ffi::luaL_where(state, 1);
            push_raised(shared, state);
            ffi::lua_concat(state, 2);
            ffi::lua_error(state);
        }
    }
}

/// # Safety
/// A slot is free.
unsafe fn push_raised(shared: &Shared, state: *mut lua_State) {
    let message = shared.running().ok().and_then(|running| running.raised.take()).unwrap_or_default();
    // SAFETY: the bytes are copied.
    unsafe { super::push_text(state, message.as_bytes()) }
}

/// A part of a result: what can be pushed as it is, or a value that was made.
pub enum Item {
    Scalar(Value),
    Made(mlua::Value),
}

impl Item {
    pub fn of<E>(
        value: Value,
        make: impl FnOnce(Value) -> mlua::Result<Result<mlua::Value, E>>,
    ) -> mlua::Result<Result<Item, E>> {
        Ok(match value {
            Value::Int(i) if i.unsigned_abs() > MAX_SAFE as u64 => make(value)?.map(Item::Made),
            Value::Json(_) | Value::List(_) | Value::Map(_) | Value::Object(_) => make(value)?.map(Item::Made),
            scalar => Ok(Item::Scalar(scalar)),
        })
    }

    /// # Safety
    /// Two slots are free, and the state is the one that mlua is in.
    unsafe fn push(&self, lua: &Lua, state: *mut lua_State) {
        // SAFETY: the bytes are copied; a made value is a reference, which mlua pushes without a call.
        unsafe {
            match self {
                Item::Scalar(Value::Bool(b)) => ffi::lua_pushboolean(state, c_int::from(*b)),
                Item::Scalar(Value::Int(i)) => ffi::lua_pushnumber(state, *i as f64),
                Item::Scalar(Value::Float(f)) => ffi::lua_pushnumber(state, *f),
                Item::Scalar(Value::Str(bytes)) => super::push_text(state, bytes),
                Item::Scalar(_) => ffi::lua_pushnil(state),
                Item::Made(made) => {
                    if lua.exec_raw_lua(|raw| raw.push_value(made)).is_err() {
                        ffi::lua_pushnil(state);
                    }
                }
            }
        }
    }
}

/// A table of items from 1.
pub fn list(lua: &Lua, items: &[Item]) -> mlua::Result<Table> {
    let length = c_int::try_from(items.len()).unwrap_or(c_int::MAX);
    // SAFETY: the closure holds references only and leaves the table; `exec_raw` has slots for it, a name and a value.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_checkstack(state, 6);
            ffi::lua_createtable(state, length, 0);
            for (place, item) in (1..).zip(items) {
                item.push(lua, state);
                ffi::lua_rawseti_(state, -2, place);
            }
        })
    }
}

/// A table of named values.
pub fn record(lua: &Lua, entries: &[(String, Item)]) -> mlua::Result<Table> {
    let length = c_int::try_from(entries.len()).unwrap_or(c_int::MAX);
    // SAFETY: as `list`.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_checkstack(state, 6);
            ffi::lua_createtable(state, 0, length);
            for (name, value) in entries {
                super::push_text(state, name.as_bytes());
                value.push(lua, state);
                ffi::lua_rawset(state, -3);
            }
        })
    }
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

/// A value that is no table, for the shared check of what is assigned.
#[derive(Default)]
struct Scalar(Value);

impl Native for Scalar {
    fn is_nil(&self) -> bool {
        self.0.is_nil()
    }
    fn scalar(&self) -> Option<Value> {
        Some(self.0.clone())
    }
    fn bytes(&self) -> Option<Bytes> {
        None
    }
    fn object(&self) -> Option<Object> {
        None
    }
    fn list(&self) -> Option<Vec<Self>> {
        None
    }
    fn entries(&self) -> Result<Option<Vec<(String, Self)>>, Raise> {
        Ok(None)
    }
    fn json(&self) -> Result<Bytes, Raise> {
        Err(Raise::error("not here"))
    }
    fn type_name(&self) -> String {
        self.0.type_name().into()
    }
    fn size(&self) -> usize {
        0
    }
    fn most(&self) -> usize {
        usize::MAX
    }
}
