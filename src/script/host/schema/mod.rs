//! `schema`: JSON Schema 2020-12 for bodies and parameters, and OpenAPI documents for whole services.
//!
//! Compiled once, in `on_load`, so that a wrong schema is found when the configuration is loaded. A `$ref` never leaves the schema:
//! there is nothing here that could read a file or ask a server. What is looked for and how it is bounded is [`compiled`]'s.
//!
//! Both functions that walk a document do so as something that is waited for, though they never wait: that is how they come
//! to run on the worker's own stack. A script's stack in Rhai is too small for a deep document.

mod compiled;
pub mod openapi;
mod strict;
mod whole;

use crate::script::{
    Raise, Value,
    list::{Function, Kind, Module, Outcome, Param, Type},
    object::Object,
    value::Args,
};
use bytes::Bytes;
pub use compiled::Schema;
use compiled::Violation;
use std::rc::Rc;
pub use whole::API;

/// How many violations are listed when nobody says.
const MOST: i64 = 20;

const LIMIT: Param = Param::optional("most", Type::Int, "how many are listed; 20 when it is left out");

static VIOLATION: &[Param] = &[
    Param::required(
        "keyword",
        Type::String,
        "the schema's keyword that is not met; `json` for what is not JSON, `duplicate` for a key that stands twice",
    ),
    Param::required("message", Type::String, "one line for people, without the value itself"),
    Param::required("pointer", Type::String, "where it is, as a JSON pointer (RFC 6901); empty for the whole document"),
];

pub static MODULE: Module = Module {
    name: "schema",
    doc: "JSON Schema 2020-12: whether documents and parameters are as they should be. Formats are held to; `$ref` stays inside of the schema.",
    constants: &[],
    functions: &[
        whole::OPENAPI,
        Function {
            name: "compile",
            params: &[Param::required("schema", Type::Json, "the schema, or its JSON text")],
            variadic: false,
            returns: Type::Object("schema"),
            doc: "Prepares a schema once: make it in `on_load` and keep it in the state. A wrong schema is an error, as is one that refers to a file or an address.",
            lua: r#"local person = schema.compile({ type = "object", required = { "name" } })"#,
            rhai: r#"let person = schema::compile(#{ type: "object", required: ["name"] });"#,
            run: |_, args| {
                let text = args.bytes(0);
                Outcome::wait(async move {
                    let schema = Schema::compile(&text?).map_err(Raise::error)?;
                    Ok(Object::Schema(Rc::new(schema)).into())
                })
            },
        },
    ],
};

pub static KIND: Kind = Kind {
    name: "schema",
    doc: "A schema that is ready to be held against documents. Made by `schema.compile`.",
    properties: &[],
    methods: &[
        Function {
            name: "validate",
            params: &[Param::required("value", Type::Json, "the document"), LIMIT],
            variadic: false,
            returns: Type::List(&Type::Options(VIOLATION)),
            doc: "What is wrong with a value, in no more than so many violations; an empty list when nothing is. Of a document above 64 KiB only the first is told.",
            lua: r#"local violations = ctx.state.person:validate({ name = "Ada" })"#,
            rhai: r#"let violations = ctx.state.person.validate(#{ name: "Ada" });"#,
            run: |_, args| check(&args, 2, Schema::document),
        },
        Function {
            name: "validate_json",
            params: &[Param::required("text", Type::Bytes, "JSON text, such as a body's bytes"), LIMIT],
            variadic: false,
            returns: Type::List(&Type::Options(VIOLATION)),
            doc: "The same for a JSON text as it is. What is not JSON is a violation, and so is a key that stands twice, since the backend might read the other one.",
            lua: r#"local violations = ctx.state.person:validate_json(req:bytes())"#,
            rhai: r#"let violations = ctx.state.person.validate_json(req.bytes());"#,
            run: |_, args| check(&args, 2, Schema::text),
        },
        Function {
            name: "validate_texts",
            params: &[
                Param::required(
                    "values",
                    Type::Json,
                    "by name, a text or a list of texts; as query and headers have them",
                ),
                LIMIT,
            ],
            variadic: false,
            returns: Type::List(&Type::Options(VIOLATION)),
            doc: "The same for parameters, which are texts: those whose property is a number, a boolean or null in the schema count as that if they read so, those whose property is an array become one.",
            lua: r#"local violations = ctx.state.page:validate_texts({ page = req.query:all("page") })"#,
            rhai: r#"let violations = ctx.state.page.validate_texts(#{ page: req.query.all("page") });"#,
            run: |_, args| check(&args, 2, Schema::texts),
        },
    ],
    index: None,
};

fn check(args: &Args, limit: usize, by: fn(&Schema, &[u8], usize) -> Vec<Violation>) -> Outcome {
    let prepared = || {
        let Object::Schema(schema) = args.object()? else {
            return Err(Raise::error("expected a schema"));
        };
        let most = usize::try_from(args.int_or(limit, MOST)?).unwrap_or_default().clamp(1, 1000);
        Ok::<_, Raise>((schema.clone(), text_of(args)?, most))
    };
    match prepared() {
        Err(raise) => Outcome::Done(Err(raise)),
        Ok((schema, text, most)) => {
            Outcome::wait(
                async move { Ok(Value::List(by(&schema, &text, most).into_iter().map(Value::from).collect())) },
            )
        }
    }
}

fn text_of(args: &Args) -> Result<Bytes, Raise> {
    match args.get(1) {
        // A value that is no table or map comes as itself.
        Value::Nil => Ok(Bytes::from_static(b"null")),
        Value::Bool(b) => Ok(Bytes::from(b.to_string())),
        Value::Int(i) => Ok(Bytes::from(i.to_string())),
        Value::Float(f) => Ok(Bytes::from(crate::script::json::number(*f))),
        _ => args.bytes(1),
    }
}

impl From<Violation> for Value {
    fn from(violation: Violation) -> Value {
        let entries = [("keyword", violation.keyword), ("message", violation.message), ("pointer", violation.pointer)];
        Value::Map(entries.map(|(name, text)| (name.to_owned(), Value::text(text))).into())
    }
}
