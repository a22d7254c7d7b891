//! `req.query`: the parameters of the query string, decoded; order and repeated names are kept.

use super::exchange;
use crate::{
    http::query::{self, Query},
    script::{
        Raise, Value,
        list::{Function, Index, Kind, Param, Property, Type},
        object::Object,
        value::Args,
    },
};

pub static KIND: Kind = Kind {
    name: "query",
    doc: "The query string's parameters. Reading gives the first value or nothing; assigning replaces all values; assigning nothing removes.",
    properties: &[Property {
        name: "raw",
        ty: Type::String,
        doc: "The query string as it is, without the question mark.",
        get: |object| Ok(exchange(object)?.request.borrow().query().into()),
        set: None,
    }],
    methods: &[
        Function {
            name: "all",
            params: &[Param::required("name", Type::String, "the parameter's name")],
            variadic: false,
            returns: Type::List(&Type::String),
            doc: "All values of a parameter, in their order.",
            lua: r#"local tags = req.query:all("tag")"#,
            rhai: r#"let tags = req.query.all("tag");"#,
            run: |_, args| all(&args).into(),
        },
        Function {
            name: "add",
            params: &[
                Param::required("name", Type::String, "the parameter's name"),
                Param::required("value", Type::Scalar, "one more value"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Adds a value beside those that are there.",
            lua: r#"req.query:add("tag", "new")"#,
            rhai: r#"req.query.add("tag", "new");"#,
            run: |_, args| {
                let added = args.object().and_then(|object| change(object, args.str(1)?, args.get(2), Query::add));
                added.map(|()| Value::Nil).into()
            },
        },
        Function {
            name: "has",
            params: &[Param::required("name", Type::String, "the parameter's name")],
            variadic: false,
            returns: Type::Bool,
            doc: "Whether the parameter is there.",
            lua: r#"local debug_wanted = req.query:has("debug")"#,
            rhai: r#"let debug_wanted = req.query.has("debug");"#,
            run: |_, args| {
                let first = args.object().and_then(|object| first(object, args.str(1)?));
                first.map(|value| !value.is_nil()).into()
            },
        },
    ],
    index: Some(Index {
        ty: Type::Maybe(&Type::String),
        get: first,
        set: Some(|_, object, key, value| change(object, key, &value, Query::set)),
        names: |object| {
            let mut names: Vec<String> = Vec::new();
            for (name, _) in query::pairs(exchange(object)?.request.borrow().query()) {
                if !names.iter().any(|known| *known == name) {
                    names.push(name.into_owned());
                }
            }
            Ok(names)
        },
    }),
};

fn first(object: &Object, key: &str) -> Result<Value, Raise> {
    let request = exchange(object)?.request.borrow();
    let found = query::pairs(request.query()).find(|(name, _)| name == key);
    Ok(Value::maybe(found.map(|(_, value)| value.into_owned())))
}

fn all(args: &Args) -> Result<Value, Raise> {
    let key = args.str(1)?;
    let request = exchange(args.object()?)?.request.borrow();
    let pairs = query::pairs(request.query()).filter(|(name, _)| name == key);
    Ok(Value::List(pairs.map(|(_, value)| value.into_owned().into()).collect()))
}

fn change(object: &Object, key: &str, value: &Value, change: fn(&mut Query, &str, &str)) -> Result<(), Raise> {
    let mut request = exchange(object)?.request.borrow_mut();
    let mut query = Query::parse(request.query());
    match scalar_text(value)? {
        Some(value) => change(&mut query, key, &value),
        None => query.remove(key),
    }
    request.query_set = Some(query.encode().into());
    Ok(())
}

/// How a scalar is written in a URL; nothing for nil.
pub fn scalar_text(value: &Value) -> Result<Option<String>, Raise> {
    Ok(match value {
        Value::Nil => None,
        Value::Bool(b) => Some(b.to_string()),
        Value::Int(i) => Some(i.to_string()),
        Value::Float(f) => Some(crate::script::json::number(*f)),
        Value::Str(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => return Err(Raise::error(format!("expected a string, number or boolean, got {}", other.type_name()))),
    })
}
