//! Integers that Luau's only number, a double, can't hold.
//!
//! A document's integer beyond 2^53 becomes a [`Big`]: it prints and writes back exactly, compares with its like, and
//! becomes a double where a script calculates with it. Luau compares a number with anything else only by `==`, so `big > 5` needs `big + 0 > 5`.

use mlua::{FromLua, Lua, MetaMethod, UserData, UserDataMethods, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Big(pub i128);

/// Either side of a calculation.
struct Operand(f64);

impl FromLua for Operand {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Operand> {
        match &value {
            Value::UserData(it) if it.is::<Big>() => Ok(Operand(it.borrow::<Big>()?.0 as f64)),
            _ => f64::from_lua(value, lua).map(Operand),
        }
    }
}

impl UserData for Big {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.to_string()));
        methods.add_meta_function(MetaMethod::Concat, |_, (a, b): (Value, Value)| {
            let mut joined = text(&a)?;
            joined.extend(text(&b)?);
            Ok(mlua::BString::from(joined))
        });
        methods.add_meta_function(MetaMethod::Eq, |_, (a, b): (Value, Value)| Ok(big(&a) == big(&b)));
        methods.add_meta_function(MetaMethod::Lt, |_, (a, b): (Value, Value)| Ok(big(&a) < big(&b)));
        methods.add_meta_function(MetaMethod::Le, |_, (a, b): (Value, Value)| Ok(big(&a) <= big(&b)));
        methods.add_meta_method(MetaMethod::Unm, |_, this, ()| Ok(-(this.0 as f64)));
        type Calculation = fn(f64, f64) -> f64;
        let calculations: [(MetaMethod, Calculation); 7] = [
            (MetaMethod::Add, |a, b| a + b),
            (MetaMethod::Sub, |a, b| a - b),
            (MetaMethod::Mul, |a, b| a * b),
            (MetaMethod::Div, |a, b| a / b),
            (MetaMethod::IDiv, |a, b| (a / b).floor()),
            // Lua's remainder has the sign of the divisor.
            (MetaMethod::Mod, |a, b| a - (a / b).floor() * b),
            (MetaMethod::Pow, f64::powf),
        ];
        for (method, calculate) in calculations {
            methods.add_meta_function(method, move |_, (a, b): (Operand, Operand)| Ok(calculate(a.0, b.0)));
        }
    }
}

pub fn big(value: &Value) -> Option<Big> {
    match value {
        Value::UserData(it) => it.borrow_scoped::<Big, _>(|big| *big).ok(),
        _ => None,
    }
}

fn text(value: &Value) -> mlua::Result<Vec<u8>> {
    match (big(value), value) {
        (Some(big), _) => Ok(big.0.to_string().into_bytes()),
        (None, Value::String(text)) => Ok(text.as_bytes().to_vec()),
        (None, Value::Integer(_) | Value::Number(_)) => value.to_string().map(String::into_bytes),
        (None, other) => {
            Err(mlua::Error::runtime(format!("attempt to concatenate a number with {}", other.type_name())))
        }
    }
}
