//! Functions of the list, called with scalars, tables and the hook's own objects; what is more, or wrong, is left to the general way, which
//! begins anew. By the rules of [`objects`](super::objects).

use super::{
    carried::{self, Own},
    given::Given,
    objects::{is_mark, own, raise},
    results::push_result,
};
use crate::script::{
    Value,
    convert::{args, unknown_member},
    list::{Kind, NOBODY, Outcome, Type},
    lua::{
        bind::Member,
        objects::REQUEST_IS_OVER,
        running::{Answer, Pending, Running},
        vm::{Mark, Shared},
    },
    value::Args,
};
use mlua::{
    Function, Lua, Table,
    ffi::{self, lua_State},
};
use std::{
    ffi::{CStr, c_int},
    rc::Rc,
    task::{Context, Poll},
};

/// A function of the list, as a C function that carries it.
pub struct Listed {
    pub name: Rc<str>,
    pub function: &'static crate::script::list::Function,
    /// Whose method it is.
    pub kind: Option<&'static Kind>,
}

/// The function of the list, as scripts call it, in front of `whole`, which does all that there is. `listed` must live as long as
/// scripts run.
pub fn function(
    lua: &Lua,
    shared: &Rc<Shared>,
    listed: &Rc<Listed>,
    whole: &Function,
    answer: &Function,
) -> mlua::Result<Function> {
    let about = Some(Rc::as_ptr(listed).cast());
    let own = Own { whole: Some(whole), about, answer: Some(answer), ..Own::default() };
    carried::continued(lua, shared, c"host", (call, Some(resumed)), &own)
}

/// # Safety
/// Luau calls it, with what [`function`] made it carry.
unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: as `index`; `listed` is held by `shared`.
    unsafe {
        let shared = carried::shared(state);
        let listed = &*ffi::lua_touserdata(state, carried::ABOUT).cast::<Listed>();
        enter(shared, listed, state, || ffi::lua_pushvalue(state, carried::WHOLE))
    }
}

/// The function that `object:method()` calls, for the hook's own objects: the method is not read first.
pub fn namecall_function(lua: &Lua, shared: &Rc<Shared>, methods: &Table, answer: &Function) -> mlua::Result<Function> {
    let own = Own { answer: Some(answer), methods: Some(methods), ..Own::default() };
    carried::continued(lua, shared, c"__namecall", (namecall, Some(resumed)), &own)
}

/// # Safety
/// Luau calls it, with what [`namecall_function`] made it carry, an object and the arguments.
unsafe extern "C-unwind" fn namecall(state: *mut lua_State) -> c_int {
    // SAFETY: as `call`; the table of methods has the whole function behind the one that is called. The name is a string that the
    // script holds.
    unsafe {
        let shared = carried::shared(state);
        let mut number = 0;
        let name = ffi::lua_namecallatom(state, &mut number);
        let object = shared.running().ok().and_then(|running| own(shared, &running, state));
        let kind = object.map(|object| object.kind());
        match kind.and_then(|kind| shared.numbered(kind, number as i16)) {
            Some(Member::Method { listed, place, .. }) => enter(shared, listed, state, || {
                ffi::lua_rawgeti_(state, carried::METHODS, place + 1);
            }),
            _ => {
                if let Ok(running) = shared.running() {
                    let name = CStr::from_ptr(name).to_string_lossy();
                    let why = kind.map_or(REQUEST_IS_OVER.to_owned(), |kind| no_method(kind, &name));
                    running.raised.replace(Some(why));
                }
                raise(shared, state)
            }
        }
    }
}

fn no_method(kind: &'static Kind, name: &str) -> String {
    match kind.property(name) {
        Some(_) => format!("`{name}` of {} is no function: read it without calling it", kind.name),
        None => unknown_member(kind, name).to_string(),
    }
}

/// Calls a function of the list with what is on the stack; `push_whole` pushes the one that does all that there is.
///
/// # Safety
/// As [`call`].
unsafe fn enter(shared: &Shared, listed: &Listed, state: *mut lua_State, push_whole: impl FnOnce()) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        match run(shared, listed, state) {
            Called::Pushed => 1,
            Called::Waits => wait(shared, state),
            Called::Answered => finish(shared, state),
            Called::NotHere => {
                let arguments = ffi::lua_gettop(state);
                push_whole();
                ffi::lua_insert(state, 1);
                ffi::lua_call(state, arguments, 1);
                match () {
                    () if is_mark(state, Mark::Wait) => wait(shared, state),
                    () if is_mark(state, Mark::Raised) => raise(shared, state),
                    () => 1,
                }
            }
        }
    }
}

/// Leaves the script until the driver has the answer.
///
/// # Safety
/// As [`call`].
unsafe fn wait(shared: &Shared, state: *mut lua_State) -> c_int {
    // SAFETY: as `call`; Luau goes on with [`resumed`].
    unsafe {
        if ffi::lua_isyieldable(state) != 0 {
            ffi::lua_settop(state, 0);
            ffi::lua_pushlightuserdata(state, std::ptr::without_provenance_mut(Mark::Wait as usize));
            return ffi::lua_yield(state, 1);
        }
        if let Ok(running) = shared.running() {
            running.give_up_waiting();
        }
        finish(shared, state)
    }
}

/// # Safety
/// As [`call`], when what it waited for is there.
unsafe extern "C-unwind" fn resumed(state: *mut lua_State, _: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe { finish(carried::shared(state), state) }
}

/// Gives the answer that the hook holds, or raises it.
///
/// # Safety
/// As [`call`].
unsafe fn finish(shared: &Shared, state: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe {
        if !push_answered(shared, state) {
            ffi::lua_settop(state, 0);
            ffi::lua_pushvalue(state, carried::ANSWER);
            ffi::lua_call(state, 0, 1);
            if is_mark(state, Mark::Raised) {
                raise(shared, state);
            }
        }
    }
    1
}

enum Called {
    /// The result is on the stack.
    Pushed,
    /// The hook holds what is to be waited for.
    Waits,
    /// The hook holds the result.
    Answered,
    /// Nothing happened yet.
    NotHere,
}

/// # Safety
/// As [`call`].
unsafe fn run(shared: &Shared, listed: &Listed, state: *mut lua_State) -> Called {
    let Ok(running) = shared.running() else { return Called::NotHere };
    // SAFETY: the arguments are read as what they are, and slots are free.
    let arguments = unsafe { arguments(shared, listed, &running, state) };
    let (Some(scope), Some(arguments)) = (&running.scope, arguments) else { return Called::NotHere };
    // A panic leaves the hook halted and no answer, which is all that `finish` needs.
    let result = match running.guard(|| (listed.function.run)(scope, arguments)) {
        Ok(Outcome::Done(result)) => result,
        // Often there is nothing to wait for, as when a body is here already: leaving and coming back costs as much as a small hook.
        Ok(Outcome::Wait(mut future)) => match running.guard(|| future.as_mut().poll(&mut Context::from_waker(NOBODY)))
        {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                running.answer.replace(None);
                running.pending.replace(Some(Pending { future, function: listed.name.clone() }));
                return Called::Waits;
            }
            Err(_) => return Called::Answered,
        },
        Err(_) => return Called::Answered,
    };
    let result = match result {
        // SAFETY: as above.
        Ok(value) => match unsafe { push_result(shared, &running, state, value) } {
            None => return Called::Pushed,
            Some(value) => Ok(value),
        },
        Err(raise) => Err(raise),
    };
    running.answer.replace(Some(Answer { result, function: listed.name.clone() }));
    Called::Answered
}

/// Pushes the answer that the running hook holds; when it is left to others, the hook still holds it.
///
/// # Safety
/// As [`call`].
unsafe fn push_answered(shared: &Shared, state: *mut lua_State) -> bool {
    let Ok(running) = shared.running() else { return false };
    let Some(Answer { result, function }) = running.answer.take() else { return false };
    let result = match result {
        // SAFETY: the caller's.
        Ok(value) => match unsafe { push_result(shared, &running, state, value) } {
            None => return true,
            Some(value) => Ok(value),
        },
        Err(raise) => Err(raise),
    };
    running.answer.replace(Some(Answer { result, function }));
    false
}

/// The arguments, when they are as they are declared.
///
/// # Safety
/// As [`call`].
unsafe fn arguments(shared: &Shared, listed: &Listed, running: &Running, state: *mut lua_State) -> Option<Args> {
    // SAFETY: each is read as the type it has.
    unsafe {
        let (count, first) = (ffi::lua_gettop(state), 1 + c_int::from(listed.kind.is_some()));
        let mut converted = Vec::with_capacity(listed.function.params.len() + 1);
        if let Some(kind) = listed.kind {
            let object = own(shared, running, state).filter(|object| std::ptr::eq(object.kind(), kind))?;
            converted.push(Value::Object(object));
        }
        let has_table = (first..=count).any(|place| ffi::lua_type(state, place) == ffi::LUA_TTABLE);
        if has_table {
            let arguments = with_tables(shared, listed, running, state, first..=count, converted);
            // The parts of tables lie above.
            ffi::lua_settop(state, count);
            return arguments;
        }
        let given = (first..count + 1).map(|place| Given { state, place, shared, running });
        args(listed.function.params, listed.function.variadic, given, &mut converted).ok()?;
        Some(Args(converted))
    }
}

/// The same when tables are among them. One that is frozen is kept as it was converted once.
///
/// # Safety
/// As [`call`].
unsafe fn with_tables(
    shared: &Shared,
    listed: &Listed,
    running: &Running,
    state: *mut lua_State,
    places: std::ops::RangeInclusive<c_int>,
    mut converted: Vec<Value>,
) -> Option<Args> {
    let mut places = places;
    for param in listed.function.params {
        let one = std::slice::from_ref(param);
        let given = places.next().map(|place| Given { state, place, shared, running });
        // SAFETY: the value is looked at as the type it has.
        let frozen = given.as_ref().is_some_and(|given| unsafe {
            ffi::lua_type(state, given.place) == ffi::LUA_TTABLE && ffi::lua_getreadonly(state, given.place) != 0
        });
        match (given, &param.ty) {
            (Some(given), Type::Options(params)) if frozen => {
                let known = shared.frozen.borrow();
                // SAFETY: only the address is looked at.
                let frozen = known.get(&unsafe { ffi::lua_topointer(state, given.place) }.addr())?;
                converted.push(std::ptr::eq(frozen.params, *params).then(|| frozen.value.clone())?);
            }
            (given, _) => args(one, false, given.into_iter(), &mut converted).ok()?,
        }
    }
    places.next().is_none().then_some(Args(converted))
}
