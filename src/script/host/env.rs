//! `env`: the environment variables that a plugin's manifest grants, and no others.

use crate::script::{
    Raise, Scope, Value,
    list::{Function, Module, Param, Type},
    value::Args,
};
use std::os::unix::ffi::OsStringExt;

pub static MODULE: Module = Module {
    name: "env",
    doc: "Environment variables of the gateway that the plugin's manifest names under `permissions.env`.",
    constants: &[],
    functions: &[Function {
        name: "get",
        params: &[Param::required("name", Type::String, "the variable's name")],
        variadic: false,
        returns: Type::Maybe(&Type::String),
        doc: "The variable's value, or nothing when it is not set. A name that is not permitted is an error.",
        lua: r#"local region = env.get("REGION")"#,
        rhai: r#"let region = env::get("REGION");"#,
        run: |scope, args| get(scope, &args).into(),
    }],
};

fn get(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let name = args.str(0)?;
    // SECURITY: the list is exact. A pattern would one day match the variable that holds the database's password.
    if !scope.instance.permissions.env.iter().any(|granted| granted == name) {
        let name = name.escape_debug();
        return Err(Raise::error(format!("`{name}` is not granted: name it under `permissions.env` in the manifest")));
    }
    Ok(Value::maybe(std::env::var_os(name).map(|value| bytes::Bytes::from(value.into_vec()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{granting, run, show},
        scope::Permissions,
    };

    #[test]
    fn only_granted_names_are_read() {
        let granted = Permissions { env: vec!["PATH".into(), "GATEWRIGHT_NOT_SET".into()], ..Permissions::default() };
        let scope = granting(Hook::OnLoad, granted);
        let get = |name: &str| run(&scope, &MODULE, "get", [name.into()]);
        assert!(matches!(get("PATH"), Ok(Value::Str(path)) if !path.is_empty()));
        assert_eq!(show(get("GATEWRIGHT_NOT_SET")), "nil");
        let refused = "error: `HOME` is not granted: name it under `permissions.env` in the manifest";
        assert_eq!(show(get("HOME")), refused);
    }
}
