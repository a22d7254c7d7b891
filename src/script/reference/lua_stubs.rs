//! LuaCATS definitions, as lua-language-server and luau-lsp read them.
//!
//! Options and records become classes of their own, named after where they are first used, so that editors show each entry's
//! documentation.

use super::{constant_text, hook_doc, hook_param, identifier, line};
use crate::script::{
    Hook, host,
    list::{Constant, Function, Kind, Module, Param, Property, Type},
};

/// The definitions, one file.
pub fn stubs_lua() -> String {
    let mut stubs = Stubs::default();
    stubs.hooks();
    for function in host::GLOBALS {
        stubs.function(function.name, function);
    }
    for module in host::MODULES {
        stubs.module(module);
    }
    for kind in host::KINDS {
        stubs.kind(kind);
    }
    format!(
        "---@meta gatewright\n\n-- Printed from the gateway's own list; do not edit.\n{}{}",
        stubs.records, stubs.out
    )
}

#[derive(Default)]
struct Stubs {
    out: String,
    records: String,
    /// The fields of each record that was written, and its name.
    known: Vec<(String, String)>,
}

impl Stubs {
    fn hooks(&mut self) {
        let out = &mut self.out;
        out.push_str("\n---The table of hooks that a script returns: `---@type script` above `local M = {}`.\n---@class script\n");
        for hook in Hook::ALL {
            let params: Vec<String> = hook
                .params()
                .iter()
                .map(|name| format!("{name}: {}", hook_param(name).map_or("any".into(), identifier)))
                .collect();
            let returns = match hook {
                Hook::OnLoad => ": any",
                Hook::OnRequest | Hook::OnResponse | Hook::OnError => ": reply?",
                Hook::Handle => ": reply",
                Hook::OnRequestChunk | Hook::OnResponseChunk => ": string?",
                Hook::OnLog | Hook::Every => "",
            };
            let (when, gives) = hook_doc(hook);
            line(out, format_args!("---{when} Returns: {gives}"));
            line(out, format_args!("---@field {}? fun({}){returns}", hook.name(), params.join(", ")));
        }
    }

    fn module(&mut self, module: &Module) {
        line(&mut self.out, format_args!("\n---{}\n{} = {{}}", module.doc, module.name));
        for Constant { name, doc, value } in module.constants {
            let value = constant_text(value).unwrap_or("{}".into());
            line(&mut self.out, format_args!("\n---{doc}\n{}.{name} = {value}", module.name));
        }
        for function in module.functions {
            self.function(&format!("{}.{}", module.name, function.name), function);
        }
    }

    fn kind(&mut self, kind: &Kind) {
        let class = identifier(kind.name);
        line(&mut self.out, format_args!("\n---{}\n---@class {class}", kind.doc));
        for Property { name, ty, doc, .. } in kind.properties {
            let ty = self.type_of(&format!("{class}.{name}"), ty);
            line(&mut self.out, format_args!("---@field {name} {ty} {doc}"));
        }
        if let Some(index) = &kind.index {
            let ty = self.type_of(&class, &index.ty);
            line(&mut self.out, format_args!("---@field [string] {ty}"));
        }
        if !kind.methods.is_empty() {
            // A local, since `reply` is a module too.
            line(&mut self.out, format_args!("do\nlocal {class} = {{}}"));
            for method in kind.methods {
                self.function(&format!("{class}:{}", method.name), method);
            }
            self.out.push_str("end\n");
        }
    }

    fn function(&mut self, name: &str, function: &Function) {
        let path = name.replace(':', ".");
        line(&mut self.out, format_args!("\n---{}\n---```lua\n---{}\n---```", function.doc, function.lua));
        let mut params = Vec::new();
        for param in function.params {
            params.push(param.name);
            let ty = self.type_of(&format!("{path}.{}", param.name), &param.ty);
            let mark = if param.optional { "?" } else { "" };
            line(&mut self.out, format_args!("---@param {}{mark} {ty} {}", param.name, param.doc));
        }
        if function.variadic {
            params.push("...");
            line(&mut self.out, format_args!("---@param ... {SCALAR}"));
        }
        if !matches!(function.returns, Type::Nil) {
            let ty = self.type_of(&format!("{path}.result"), &function.returns);
            line(&mut self.out, format_args!("---@return {ty}"));
        }
        line(&mut self.out, format_args!("function {name}({}) end", params.join(", ")));
    }

    /// `path` names the record if the type is a new one.
    fn type_of(&mut self, path: &str, ty: &Type) -> String {
        match ty {
            Type::Nil => "nil".into(),
            Type::Bool => "boolean".into(),
            Type::Int => "integer".into(),
            Type::Number => "number".into(),
            Type::String | Type::Bytes => "string".into(),
            Type::Duration => "string|number".into(),
            Type::Function => "fun()".into(),
            Type::Json | Type::Native | Type::Any => "any".into(),
            Type::Scalar => SCALAR.into(),
            Type::Scalars => format!("{SCALAR}|({SCALAR})[]"),
            Type::List(item) => format!("{}[]", bracketed(self.type_of(path, item))),
            Type::Map(item) => format!("table<string, {}>", self.type_of(path, item)),
            Type::Options(params) => self.record(path, params),
            Type::Object(kind) => identifier(kind),
            Type::Maybe(inner) => format!("{}?", bracketed(self.type_of(path, inner))),
        }
    }

    /// Compared by what they say: whether two records share their memory is the compiler's choice.
    fn record(&mut self, path: &str, params: &[Param]) -> String {
        let mut fields = String::new();
        for param in params {
            let ty = self.type_of(&format!("{path}.{}", param.name), &param.ty);
            let mark = if param.optional { "?" } else { "" };
            line(&mut fields, format_args!("---@field {}{mark} {ty} {}", param.name, param.doc));
        }
        if let Some((_, name)) = self.known.iter().find(|(known, _)| *known == fields) {
            return name.clone();
        }
        line(&mut self.records, format_args!("\n---@class {path}\n{}", fields.trim_end()));
        self.known.push((fields, path.to_owned()));
        path.to_owned()
    }
}

const SCALAR: &str = "string|number|boolean|nil";

fn bracketed(ty: String) -> String {
    if ty.contains('|') { format!("({ty})") } else { ty }
}
