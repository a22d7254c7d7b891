//! Files and their globals: what a script and the modules it requires run in.
//!
//! Each file has an environment of its own above the frozen libraries. It may declare globals while it is loaded; then it is sealed.
//! `require` loads a file once for each machine; the prelude keeps what it returned, which is frozen before the first request: see
//! [`Shared::close`].

use super::{
    convert, extended, fault,
    vm::{File, Shared},
};
use crate::script::{Language, Source};
use mlua::{Function, Lua, Table, Value, chunk::ChunkMode};
use std::rc::Rc;

/// Compiles a file in an environment of its own. `parent`: the file that requires it.
pub fn load_file(lua: &Lua, shared: &Shared, source: &Source, parent: Option<&str>) -> mlua::Result<Function> {
    let name = source.path.display().to_string();
    let env = lua.create_table()?;
    let fallback = lua.create_table()?;
    fallback.raw_set("__index", &shared.globals)?;
    env.set_metatable(Some(fallback))?;
    let above = parent.and_then(|parent| shared.files.borrow().get(parent).map(|file| file.extended.clone()));
    let extended = extended::libraries(lua, shared, &source.text, &above.unwrap_or_default())?;
    for (library, table) in &extended {
        env.raw_set(*library, table)?;
    }
    // The globals behind it are frozen, so the compiler may bind them early; not so what the file adds to.
    env.set_safeenv(extended.is_empty());
    let file = File { path: source.path.clone(), text: source.text.clone(), env: env.clone(), extended };
    shared.files.borrow_mut().insert(name.clone(), file);
    lua.load(source.text.as_ref())
        .set_name(format!("@{name}"))
        .set_mode(ChunkMode::Text)
        .set_environment(env)
        .into_function()
}

/// From now on the file's globals can only be read: hooks of different requests would see each other's.
pub fn seal(lua: &Lua, shared: &Shared, name: &str, new_global: &Function) -> mlua::Result<()> {
    let Some(env) = shared.files.borrow().get(name).map(|file| file.env.clone()) else {
        return Ok(());
    };
    let declared = lua.create_table()?;
    env.for_each(|key: Value, value: Value| {
        shared.opened(value.clone());
        declared.raw_set(key, value)
    })?;
    env.clear()?;
    let behind = lua.create_table()?;
    behind.raw_set("__index", &shared.globals)?;
    declared.set_metatable(Some(behind))?;
    declared.set_readonly(true);
    // With the declared globals behind it the environment is empty, so that assigning any name is noticed.
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", declared)?;
    metatable.raw_set("__newindex", new_global)?;
    env.set_metatable(Some(metatable))
}

/// Levels for Lua's `error`: with the position of the caller in front, or without.
const HERE: u8 = 2;
const AS_IT_IS: u8 = 0;

/// The host functions behind `require`.
pub fn install(lua: &Lua, shared: &Rc<Shared>, host: &Table) -> mlua::Result<()> {
    let at = shared.clone();
    let find = lua.create_function(move |lua, name: Value| {
        let running = at.running()?;
        let Value::String(name) = &name else {
            let message = format!("require: expected the name of a module, got {}", convert::describe(&name));
            return Ok(fault::mark_raised(&running, message));
        };
        let name = name.to_string_lossy();
        let slashed = name.replace('.', "/");
        let modules = at.modules.borrow().clone();
        let look = |name: String| Some((modules.as_ref()?.find(Language::Lua, &name)?, name));
        // A library may lie in a folder that it knows nothing of, with its parts below the same one.
        let beside = || {
            let around = at.names.borrow().get(running.loading.borrow().last()?)?.clone();
            let folders = around.rmatch_indices('/').map(|(end, _)| format!("{}/{slashed}", &around[..end]));
            folders.into_iter().find_map(look)
        };
        match look(slashed.clone()).or_else(beside) {
            Some((source, name)) => {
                let path = source.path.display().to_string();
                at.names.borrow_mut().entry(path.clone()).or_insert(name);
                if !at.files.borrow().contains_key(&path) {
                    at.found.borrow_mut().insert(path.clone(), source);
                }
                lua.create_string(path).map(Value::String)
            }
            None => Ok(fault::mark_raised(&running, format!("require: there is no module `{name}`"))),
        }
    })?;
    host.raw_set("find", find)?;

    let at = shared.clone();
    let begin = lua.create_function(move |lua, path: String| {
        let running = at.running()?;
        let mut loading = running.loading.borrow_mut();
        if let Some(first) = loading.iter().position(|other| *other == path) {
            let cycle = [&loading[first..], std::slice::from_ref(&path)].concat().join(" → ");
            let message = format!("require: a module requires itself: {cycle}");
            return Ok((fault::mark_raised(&running, message), HERE));
        }
        let source = at.found.borrow_mut().remove(&path);
        let source = source.or_else(|| {
            let files = at.files.borrow();
            files.get(&path).map(|file| Source { path: file.path.clone(), text: file.text.clone() })
        });
        let Some(source) = source else {
            return Ok((fault::mark_raised(&running, format!("require: `{path}` is gone")), HERE));
        };
        match load_file(lua, &at, &source, loading.last().map(String::as_str)) {
            Ok(chunk) => {
                loading.push(path);
                Ok((Value::Function(chunk), HERE))
            }
            Err(mlua::Error::SyntaxError { message, .. }) => {
                at.broken.set(true);
                Ok((fault::mark_raised(&running, message), AS_IT_IS))
            }
            Err(error) => Err(error),
        }
    })?;
    host.raw_set("begin", begin)?;

    let at = shared.clone();
    let finish = lua.create_function(move |lua, (path, new_global, module): (String, Function, Value)| {
        let running = at.running()?;
        running.loading.borrow_mut().pop();
        seal(lua, &at, &path, &new_global)?;
        at.opened(module);
        let in_request = running.scope.as_ref().is_some_and(|scope| scope.exchange.is_some());
        if in_request && running.loading.borrow().is_empty() { at.close(lua) } else { Ok(()) }
    })?;
    host.raw_set("finish", finish)
}
