//! `stubs`: what scripts can call, printed from the one list: definitions for editors, and the reference.

use crate::{config::keys, script::reference};
use std::process::ExitCode;

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Stubs {
    /// LuaCATS and Luau definitions
    Lua,
    /// A `.d.rhai` file
    Rhai,
    /// The reference of the script API, in Markdown
    Reference,
    /// The reference of `gateway.yaml` and `plugin.toml`, in Markdown
    Config,
}

pub fn stubs(kind: Stubs) -> anyhow::Result<ExitCode> {
    let text = match kind {
        Stubs::Lua => reference::stubs_lua(),
        Stubs::Rhai => reference::stubs_rhai(),
        Stubs::Reference => reference::reference(),
        Stubs::Config => keys::reference(&[keys::SECTIONS, keys::MANIFEST_SECTIONS].concat()),
    };
    Ok(super::print(text.as_bytes()))
}
