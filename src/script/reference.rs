//! The reference and the editor stubs, printed from the one list of what scripts can call.
//!
//! [`reference`] is Markdown for people, [`stubs_lua`] LuaCATS definitions, [`stubs_rhai`] a `.d.rhai` file. All three depend on the
//! list and the hooks alone, in their order there, so the same list prints the same text. Nothing here is known to a running script.

mod lua_stubs;
mod rhai_stubs;

pub use lua_stubs::stubs_lua;
pub use rhai_stubs::stubs_rhai;

use super::{
    Hook, host,
    list::{Constant, ConstantValue, Function, Kind, Module, Param, Property, Type},
};
use std::fmt::Write;

/// When a hook is called, and what it returns.
fn hook_doc(hook: Hook) -> (&'static str, &'static str) {
    match hook {
        Hook::OnLoad => (
            "Once, when a configuration is loaded, for each place that uses the script. An error here refuses the configuration.",
            "Any value; seen later as `ctx.state`.",
        ),
        Hook::OnRequest => ("Before the backend.", "Nothing to go on, or a reply that is answered instead."),
        Hook::Handle => ("Instead of a backend.", "The reply."),
        Hook::OnResponse => (
            "When the head of the response is here: from a backend, a reply or an error.",
            "Nothing, or a reply that replaces it.",
        ),
        Hook::OnRequestChunk => (
            "For each piece of the request's body on its way to the backend, and once more with nothing at its end. The body is not held: text comes as it arrives, never cut within a character.",
            "Nothing to leave it, or the string that takes its place; an empty one drops it.",
        ),
        Hook::OnResponseChunk => (
            "The same for the response's body on its way to the client: events, lines, tokens.",
            "Nothing to leave it, or the string that takes its place; an empty one drops it.",
        ),
        Hook::OnError => ("When the gateway itself failed.", "Nothing, or a reply."),
        Hook::OnLog => ("After the last byte.", "Nothing."),
        Hook::Every => ("What `on_load` gave to `every`.", "Nothing."),
    }
}

/// The kind of object that a hook's parameter is; `None`: the configuration.
fn hook_param(name: &str) -> Option<&'static str> {
    match name {
        "req" => Some(host::request::KIND.name),
        "res" => Some(host::response::KIND.name),
        "ctx" => Some(host::context::KIND.name),
        "err" => Some(host::context::ERROR.name),
        _ => None,
    }
}

const FOUND: &str = "
## What is found when a script is loaded

Misspelt hooks, and what a hook would fail with for certain: members that `req`, `res`, `ctx` or a result does not have, functions that a module does not have, arguments of a wrong type, unknown \
options, values that can't be assigned or returned, and in Lua names that are nowhere defined. `gatewright check` shows all of them with their places, and a reload that brings one changes nothing. What stands in \
`pcall` or `try` is left alone, and so is a file with the comment `--!nocheck` (Lua) or `// nocheck` (Rhai).
";

const LIBRARIES: &str = "
## Libraries

Lua files beside the script or in the plugin folder are loaded by `require \"lib.x\"` (`lib/x.lua`, or `lib/x/init.lua`), Rhai files by `import \"lib/x\" as x;` \
(`lib/x.rhai`); the name must be a literal in Rhai. Each is loaded once and followed for reloading. A library may lie in a folder of its own choice: what it requires is looked for below the folders around it too. A Lua file gets the name it was required by as `...`; `require \"string\"` and \
the other standard libraries give those. Pure Lua libraries written for Lua 5.1 or Luau work. Their syntax is Luau's: without `goto`, attributes of locals and operators on bits. \
A file that adds functions to `string`, `table` or `math` (a line that begins with `function string.trim(` or `string.trim =`) has a copy of that library, which the files that it requires \
see too and no other script does; methods of strings, as in `text:trim()`, are those of the original. Template engines that interpret their templates work, Mustache's for one; what makes code \
out of strings (engines that compile to Lua) does not: compiling can't be stopped, and 64 KiB of hostile text take it more than a hundred milliseconds.

What is shared: requests share a file and not what they do. Globals can be declared while a file is loaded, and are the file's own; after that they can't be assigned. What a file returns, \
and tables that it declares as globals, can be changed while files are loaded and in `on_load`, and are read only from the first request on, with the plain tables in them; objects with a \
metatable of their own are left alone. A file's locals stay as long as the configuration, on each worker: a cache may live there, nothing about one request. In Rhai functions see constants \
and imports only.

Of Lua's `os` there are `time`, `date`, `clock` and `difftime`, which date libraries call; in `gatewright test` the time of day is the test's, for them as for `time` and for Rhai's `timestamp`. Not there, by name:

";

fn identifier(kind: &str) -> String {
    kind.replace(' ', "_")
}

/// The reference as Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# What scripts can call\n\nPrinted from the gateway's own list by `gatewright`; do not edit. Lua writes `http.get(…)` and `req:json()`, \
         Rhai `http::get(…)` and `req.json()`. A parameter with a question mark may be left out. *Nothing* is `nil` in Lua and `()` in Rhai.\n\n\
         ## Hooks\n\nA Lua script returns a table of them, a Rhai script defines functions.\n\n| hook | when | returns |\n|---|---|---|\n",
    );
    for hook in Hook::ALL {
        let (when, returns) = hook_doc(hook);
        line(&mut out, format_args!("| `{}({})` | {when} | {returns} |", hook.name(), hook.params().join(", ")));
    }
    out.push_str(FOUND);
    out.push_str(LIBRARIES);
    for (name, why) in super::lua::absent::NAMES {
        line(&mut out, format_args!("- `{name}`: {why}"));
    }
    out.push_str("\n## Functions\n");
    for function in host::GLOBALS {
        write_function(&mut out, function.name, function);
    }
    out.push_str("\n## Modules\n");
    for module in host::MODULES {
        write_module(&mut out, module);
    }
    out.push_str("\n## Objects\n");
    for kind in host::KINDS {
        write_kind(&mut out, kind);
    }
    out
}

/// Writing to a string can't fail.
fn line(out: &mut String, text: std::fmt::Arguments) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn write_module(out: &mut String, module: &Module) {
    line(out, format_args!("\n### {}\n\n{}", module.name, module.doc));
    for Constant { name, doc, .. } in module.constants {
        line(out, format_args!("\n- `{}.{name}`: {doc}", module.name));
    }
    for function in module.functions {
        write_function(out, &format!("{}.{}", module.name, function.name), function);
    }
}

fn write_kind(out: &mut String, kind: &Kind) {
    line(out, format_args!("\n### object {}\n\n{}", identifier(kind.name), kind.doc));
    if kind.properties.len() + usize::from(kind.index.is_some()) > 0 {
        out.push_str("\n| property | type | |\n|---|---|---|\n");
    }
    for Property { name, ty, doc, set, .. } in kind.properties {
        let access = if set.is_some() { "Can be assigned." } else { "" };
        line(out, format_args!("| `{name}` | {} | {} |", words(ty), cell(&format!("{doc} {access}"))));
    }
    if let Some(index) = &kind.index {
        let access = if index.set.is_some() { "Read or assigned by name." } else { "Read by name." };
        line(out, format_args!("| `[name]` | {} | {access} |", words(&index.ty)));
    }
    for method in kind.methods {
        write_function(out, &format!("{}:{}", identifier(kind.name), method.name), method);
    }
}

fn write_function(out: &mut String, name: &str, function: &Function) {
    let mut params: Vec<String> = function.params.iter().map(shown_name).collect();
    if function.variadic {
        params.push("…".into());
    }
    line(out, format_args!("\n#### `{name}({})`\n\n{}\n", params.join(", "), function.doc));
    write_params(out, function.params, 0);
    if !matches!(function.returns, Type::Nil) {
        line(out, format_args!("- gives {}", words(&function.returns)));
        write_params(out, entries(&function.returns), 1);
    }
    line(out, format_args!("\n```lua\n{}\n```\n```rhai\n{}\n```", function.lua, function.rhai));
}

fn write_params(out: &mut String, params: &[Param], depth: usize) {
    for param in params {
        let indent = "  ".repeat(depth);
        line(out, format_args!("{indent}- `{}` ({}): {}", shown_name(param), words(&param.ty), param.doc));
        write_params(out, entries(&param.ty), depth + 1);
    }
}

fn shown_name(param: &Param) -> String {
    format!("{}{}", param.name, if param.optional { "?" } else { "" })
}

/// The entries of a record, wherever it stands in a type.
fn entries(ty: &Type) -> &'static [Param] {
    match ty {
        Type::Options(params) => params,
        Type::List(inner) | Type::Map(inner) | Type::Maybe(inner) => entries(inner),
        _ => &[],
    }
}

fn words(ty: &Type) -> String {
    match ty {
        Type::Nil => "nothing".into(),
        Type::Bool => "boolean".into(),
        Type::Int => "integer".into(),
        Type::Number => "number".into(),
        Type::String => "string".into(),
        Type::Bytes => "bytes".into(),
        Type::Duration => "duration".into(),
        Type::Json => "JSON value".into(),
        Type::Scalar => "string, number or boolean".into(),
        Type::Scalars => "string, number or boolean, or a list of them".into(),
        Type::List(item) => format!("list: {}", words(item)),
        Type::Map(item) => format!("map: {}", words(item)),
        Type::Options(_) => "map of these".into(),
        Type::Object(kind) => format!("[{0}](#object-{0})", identifier(kind)),
        Type::Function => "function".into(),
        Type::Native | Type::Any => "any value".into(),
        Type::Maybe(inner) => format!("{} or nothing", words(inner)),
    }
}

/// A bar would end the table's cell.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

fn constant_text(value: &ConstantValue) -> Option<String> {
    match value {
        ConstantValue::Null => None,
        ConstantValue::Text(text) => Some(format!("{text:?}")),
        ConstantValue::Int(int) => Some(int.to_string()),
    }
}

#[cfg(test)]
mod tests;
