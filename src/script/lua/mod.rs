//! The Lua engine: Luau, one virtual machine for each worker and generation.
//!
//! [`vm`] makes the machine and stops scripts that take too much, [`bind`] hangs the one list of host functions into it and [`objects`] the handles,
//! [`convert`] and [`json`] carry values across (by the unsafe code of [`raw`], the only one), [`modules`] loads files, [`extended`] gives those that add to `string` a copy of it, [`drive`] runs a hook slice by slice and waits for it, [`fault`] tells what went wrong, [`absent`] what is not there, [`uses`] what would go wrong.
//! A few lines of trusted Lua (`prelude.luau`) stand between scripts and the host functions.
//!
//! This is the only folder that names mlua. Deliberately absent: `debug`, `io`, bytecode, `getfenv`, `collectgarbage`, native
//! modules.
//!
//! What scripts share: the locals of a file live as long as the machine and are seen by all its requests, globals can't be
//! assigned after loading, and `ctx.config`, the plain tables in `ctx.state`, and what files return or declare are read only from the
//! first request on. Objects in them that have a metatable of their own are left alone. To share on purpose there is `kv`.

pub mod absent;
mod bind;
mod convert;
mod drive;
mod extended;
mod fault;
mod json;
mod modules;
mod number;
mod objects;
mod program;
mod raw;
mod running;
#[cfg(test)]
mod tests;
mod uses;
mod vm;
mod words;

use super::{Engine, Modules, Program, ScriptError, Source};
use std::rc::Rc;

/// Luau for one worker and one generation.
pub struct LuaEngine {
    vm: Rc<vm::Vm>,
}

impl LuaEngine {
    /// `memory`: bytes that the whole machine may hold, 64 MiB by default (§4 of the contract); one hook may grow it by
    /// half of that.
    pub fn new(memory: usize) -> Result<LuaEngine, ScriptError> {
        Ok(LuaEngine { vm: vm::Vm::new(memory).map_err(fault::at_start)? })
    }
}

impl Engine for LuaEngine {
    fn compile(&self, source: &Source, modules: &Rc<dyn Modules>) -> Result<Rc<dyn Program>, ScriptError> {
        Ok(Rc::new(program::LuaProgram::compile(&self.vm, source, modules)?))
    }
}
