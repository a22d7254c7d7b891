//! `stubs`: what scripts can call, printed from the one list: definitions for editors, and the reference.

use crate::script::reference;
use std::process::ExitCode;

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Stubs {
    /// LuaCATS and Luau definitions
    Lua,
    /// A `.d.rhai` file
    Rhai,
    /// The reference of the script API, in Markdown
    Reference,
    /// The reference of the configuration, in Markdown
    Config,
}

pub fn stubs(kind: Stubs) -> anyhow::Result<ExitCode> {
    let text = match kind {
        Stubs::Lua => reference::stubs_lua(),
        Stubs::Rhai => reference::stubs_rhai(),
        Stubs::Reference => reference::reference(),
        Stubs::Config => crate::config::keys::reference(crate::config::keys::SECTIONS),
    };
    Ok(super::print(text.as_bytes()))
}
