//! Definitions in Rhai's own form (`.d.rhai`), as its language server reads them.
//!
//! The form has no optional parameters, so a function stands there once for each number of arguments. What it can't say
//! (entries of maps, one of several types) is in the comments.

use super::{constant_text, hook_doc, hook_param, identifier, line, words, write_params};
use crate::script::{
    Hook, host,
    list::{Constant, Function, Kind, Module, Property, Type},
};

/// The definitions, one file.
pub fn stubs_rhai() -> String {
    let mut out = String::from("module static;\n\n// Printed from the gateway's own list; do not edit.\n");
    out.push_str("\n// Hooks that a script may define:\n");
    for hook in Hook::ALL {
        let params: Vec<String> = hook
            .params()
            .iter()
            .map(|name| format!("{name}: {}", hook_param(name).map_or("?".into(), identifier)))
            .collect();
        let (when, gives) = hook_doc(hook);
        line(&mut out, format_args!("//   fn {}({}): {when} Returns: {gives}", hook.name(), params.join(", ")));
    }
    for kind in host::KINDS {
        write_kind(&mut out, kind);
    }
    for function in host::GLOBALS {
        write_function(&mut out, function, None);
    }
    for module in host::MODULES {
        write_module(&mut out, module);
    }
    out
}

fn write_module(out: &mut String, module: &Module) {
    line(out, format_args!("\n/// {}\nmodule {} {{", module.doc, module.name));
    for Constant { name, doc, value } in module.constants {
        match constant_text(value) {
            Some(_) => line(out, format_args!("\n/// {doc}\nconst {name}: ?;")),
            None => line(out, format_args!("\n// `{name}` is a reserved word: write `()`.")),
        }
    }
    for function in module.functions {
        write_function(out, function, None);
    }
    out.push_str("}\n");
}

fn write_kind(out: &mut String, kind: &Kind) {
    let class = identifier(kind.name);
    line(out, format_args!("\n// {class}: {}", kind.doc));
    for Property { name, ty, doc, set, .. } in kind.properties {
        line(out, format_args!("\n/// {doc}\nfn get {name}(this: {class}) -> {};", type_of(ty)));
        if set.is_some() {
            line(out, format_args!("fn set {name}(this: {class}, value: {}) -> ();", accepted(ty)));
        }
    }
    if let Some(index) = &kind.index {
        line(out, format_args!("// {class}[name] is {}.", words(&index.ty)));
    }
    for method in kind.methods {
        write_function(out, method, Some(&class));
    }
}

fn write_function(out: &mut String, function: &Function, this: Option<&str>) {
    let mut doc = format!("{}\n\n", function.doc);
    write_params(&mut doc, function.params, 0);
    if function.variadic {
        doc.push_str("- further strings, numbers or booleans may follow\n");
    }
    if !matches!(function.returns, Type::Nil) {
        line(&mut doc, format_args!("- gives {}", words(&function.returns)));
        write_params(&mut doc, super::entries(&function.returns), 1);
    }
    line(&mut doc, format_args!("\n```rhai\n{}\n```", function.rhai));
    let required = function.params.iter().take_while(|param| !param.optional).count();
    for count in required..=function.params.len() {
        out.push('\n');
        for text in doc.lines() {
            line(out, format_args!("{}", format!("/// {text}").trim_end()));
        }
        let mut params: Vec<String> = this.iter().map(|class| format!("this: {class}")).collect();
        params.extend(function.params[..count].iter().map(|param| format!("{}: {}", param.name, accepted(&param.ty))));
        line(out, format_args!("fn {}({}) -> {};", function.name, params.join(", "), type_of(&function.returns)));
    }
}

/// What a parameter takes: where a string or whole number does as well, any type.
fn accepted(ty: &Type) -> String {
    match ty {
        Type::Bytes | Type::Number => "?".into(),
        other => type_of(other),
    }
}

fn type_of(ty: &Type) -> String {
    match ty {
        Type::Nil => "()".into(),
        Type::Bool => "bool".into(),
        Type::Int => "int".into(),
        Type::Number => "float".into(),
        Type::String => "String".into(),
        Type::Bytes => "Blob".into(),
        Type::List(_) => "Array".into(),
        Type::Map(_) | Type::Options(_) => "Map".into(),
        Type::Object(kind) => identifier(kind),
        Type::Function => "FnPtr".into(),
        Type::Duration | Type::Json | Type::Scalar | Type::Scalars | Type::Native | Type::Any | Type::Maybe(_) => {
            "?".into()
        }
    }
}
