//! `uuid`: identifiers (RFC 9562).

use crate::script::{
    Value,
    list::{Function, Module, Type},
};
use uuid::Uuid;

pub static MODULE: Module = Module {
    name: "uuid",
    doc: "Makes identifiers (RFC 9562).",
    constants: &[],
    functions: &[
        Function {
            name: "v4",
            params: &[],
            variadic: false,
            returns: Type::String,
            doc: "A random one.",
            lua: "local id = uuid.v4()",
            rhai: "let id = uuid::v4();",
            run: |_, _| Value::from(Uuid::new_v4().to_string()).into(),
        },
        Function {
            name: "v7",
            params: &[],
            variadic: false,
            returns: Type::String,
            doc: "One that begins with the time, so that later ones sort after earlier ones.",
            lua: "local id = uuid.v7()",
            rhai: "let id = uuid::v7();",
            run: |_, _| Value::from(Uuid::now_v7().to_string()).into(),
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope},
    };

    #[test]
    fn they_say_their_version() {
        for (name, version) in [("v4", 4), ("v7", 7)] {
            let made = run(&scope(Hook::OnLoad, None), &MODULE, name, []);
            let text = made.as_ref().ok().and_then(Value::as_str).expect("a string");
            assert_eq!(Uuid::parse_str(text).map(|uuid| uuid.get_version_num()), Ok(version));
        }
    }
}
