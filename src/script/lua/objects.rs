//! Objects in the machine: one userdata type whose members are looked up by kind and name.
//!
//! Going through an object comes here from the prelude, reading and setting from the metamethods of [`raw`] when they are more than
//! a scalar. What is raised stays with the hook for those to raise.

use super::{
    bind::Member,
    convert::{Context, LuaValue, describe},
    raw,
    vm::{OVER, Shared},
};
use crate::script::{
    Raise,
    convert::{assigned, named, read_only, unknown_member},
    list::{Kind, Property, Type},
    object::Object,
};
use mlua::{
    AnyUserData, Function, Lua, LuaString, MetaMethod, Table, UserDataFields, UserDataMethods, UserDataRegistry,
    Value as Lv,
};
use std::{cell::RefCell, rc::Rc};

/// `methods`: their functions, by their places; `answer` gives what the hook holds.
pub fn register(
    lua: &Lua,
    shared: &Rc<Shared>,
    host: &Table,
    prelude: &Table,
    (methods, answer): (&Table, &Function),
) -> mlua::Result<()> {
    let (get, set): (Function, Function) = (host.raw_get("get")?, host.raw_get("set")?);
    let (index, newindex) = raw::objects::metamethods(lua, shared, methods, (&get, &set))?;
    let iterate: Function = prelude.get("iterate")?;
    let namecall = raw::functions::namecall_function(lua, shared, methods, answer)?;
    raw::handles::own_metatable(lua, [&index, &newindex, &namecall, &iterate])?;
    lua.register_userdata_type(move |registry: &mut UserDataRegistry<Object>| {
        registry.add_meta_field(MetaMethod::Index, index);
        registry.add_meta_field(MetaMethod::NewIndex, newindex);
        registry.add_meta_field(MetaMethod::Iter, iterate);
        registry.add_meta_method(MetaMethod::ToString, |_, object, ()| Ok(object.kind().name));
    })
}

/// The host functions behind the metamethods.
pub fn install(lua: &Lua, shared: &Rc<Shared>, host: &Table) -> mlua::Result<()> {
    let set = |name: &str, function: mlua::Result<Function>| host.raw_set(name, function?);
    set("handles", raw::handles::handles_function(lua, shared))?;

    let at = shared.clone();
    set("get", lua.create_function(move |lua, (object, key): (AnyUserData, Lv)| get(lua, &at, &object, &key)))?;
    let at = shared.clone();
    set(
        "set",
        lua.create_function(move |lua, (object, key, value): (AnyUserData, Lv, Lv)| {
            set_member(lua, &at, &object, &key, value)
        }),
    )?;
    let at = shared.clone();
    set(
        "item",
        lua.create_function(move |lua, (object, key): (AnyUserData, LuaString)| {
            let running = at.running()?;
            let object = at.object(lua, &object);
            match &object.kind().index {
                Some(index) => {
                    let key = key.as_bytes();
                    let got = utf8(object.kind(), &key).and_then(|key| (index.get)(&object, key));
                    at.give(lua, &running, None, got)
                }
                None => Ok(Lv::Nil),
            }
        }),
    )?;
    let at = shared.clone();
    set(
        "names",
        lua.create_function(move |lua, object: AnyUserData| {
            let running = at.running()?;
            let is_object = raw::handles::is_handle(lua, &object)
                || raw::replies::of(lua, &object).is_some()
                || object.is::<Object>();
            let Some(object) = is_object.then(|| at.object(lua, &object)) else {
                return at.raise(&running, Raise::error("this value has no items to go through"));
            };
            let kind = object.kind();
            let Some(index) = &kind.index else {
                let why = format!("a {} has no items to go through", kind.name);
                return at.raise(&running, Raise::error(why));
            };
            match (index.names)(&object) {
                Ok(names) => Ok(Lv::Table(lua.create_sequence_from(names)?)),
                Err(raise) => at.raise(&running, raise),
            }
        }),
    )?;
    Ok(())
}

impl Shared {
    /// The object behind a handle. One that is no part of the exchange of the hook that runs is one of a request that is over.
    fn object(&self, lua: &Lua, handle: &AnyUserData) -> Object {
        let own = self.running().ok().and_then(|running| running.object(handle.to_pointer().addr()));
        let own = own.or_else(|| raw::replies::of(lua, handle));
        own.or_else(|| handle.borrow_scoped::<Object, _>(Object::clone).ok()).unwrap_or_else(|| self.over.clone())
    }
}

fn get(lua: &Lua, shared: &Shared, object: &AnyUserData, key: &Lv) -> mlua::Result<Lv> {
    let object = shared.object(lua, object);
    let running = shared.running()?;
    let kind = object.kind();
    let name = match key {
        Lv::String(name) => name,
        other => {
            let why = format!("a {} is read by a name, not {}", kind.name, describe(other));
            return shared.raise(&running, Raise::error(why));
        }
    };
    let bytes = name.as_bytes();
    let name = match utf8(kind, &bytes) {
        Ok(name) => name,
        Err(raise) => return shared.raise(&running, raise),
    };
    match shared.member(kind, name) {
        Some(Member::Method { function, .. }) => return Ok(Lv::Function(function.clone())),
        Some(Member::Property(Property { name: "config", ty: Type::Native, .. })) => {
            return Ok(running.natives.config.clone());
        }
        Some(Member::Property(Property { ty: Type::Native, .. })) => return Ok(running.natives.state.clone()),
        Some(Member::Property(property)) => {
            let got = running.guard(|| (property.get)(&object))?;
            return shared.give(lua, &running, None, got);
        }
        None => {}
    }
    match &kind.index {
        Some(index) => {
            let got = running.guard(|| (index.get)(&object, name))?;
            shared.give(lua, &running, None, got)
        }
        None if is_over(&object) => shared.raise(&running, Raise::error(REQUEST_IS_OVER)),
        None => shared.raise(&running, unknown_member(kind, name)),
    }
}

fn utf8<'a>(kind: &Kind, bytes: &'a [u8]) -> Result<&'a str, Raise> {
    std::str::from_utf8(bytes).map_err(|_| Raise::error(format!("a name of {} is UTF-8", kind.name)))
}

pub const REQUEST_IS_OVER: &str = "the request of this object is over: keep what was read from it, not the object";

fn is_over(object: &Object) -> bool {
    matches!(object, Object::Opaque(name, _) if *name == OVER)
}

/// Nil when it was set, or the mark that something was raised.
fn set_member(lua: &Lua, shared: &Shared, object: &AnyUserData, key: &Lv, value: Lv) -> mlua::Result<Lv> {
    let object = shared.object(lua, object);
    let running = shared.running()?;
    let kind = object.kind();
    let bytes = match key {
        Lv::String(name) => name.as_bytes(),
        other => {
            let why = format!("a {} is set by a name, not {}", kind.name, describe(other));
            return shared.raise(&running, Raise::error(why));
        }
    };
    let name = match utf8(kind, &bytes) {
        Ok(name) => name,
        Err(raise) => return shared.raise(&running, raise),
    };
    let Some(scope) = &running.scope else {
        return shared.raise(&running, Raise::error("nothing can be set while a file is loaded"));
    };
    let failed = RefCell::new(None);
    let context = Context { lua, shared, running: &running, failed: &failed };
    let value = LuaValue { value, context };
    let set = || match (shared.member(kind, name), &kind.index) {
        (Some(Member::Property(property)), _) => match property.set {
            Some(set) => assigned(&property.ty, &value)
                .and_then(|value| set(scope, &object, value))
                .map_err(|raise| named(&format!("{}.{}", kind.name, property.name), raise)),
            None => Err(read_only(kind, name)),
        },
        (Some(Member::Method { .. }), _) => Err(read_only(kind, name)),
        (None, Some(index)) => match index.set {
            Some(set) => {
                // What is read as text may be written as a number or a boolean too.
                let ty = if matches!(index.ty, Type::Maybe(Type::String)) { &Type::Scalar } else { &index.ty };
                assigned(ty, &value)
                    .and_then(|value| set(scope, &object, name, value))
                    .map_err(|raise| named(&format!("{}[\"{name}\"]", kind.name), raise))
            }
            None => Err(read_only(kind, name)),
        },
        (None, None) if is_over(&object) => Err(Raise::error(REQUEST_IS_OVER)),
        (None, None) => Err(unknown_member(kind, name)),
    };
    match (running.guard(set)?, failed.take()) {
        (Ok(()), _) => Ok(Lv::Nil),
        (Err(_), Some(error)) => Err(error),
        (Err(raise), None) => shared.raise(&running, raise),
    }
}
