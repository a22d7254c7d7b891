//! `schema.openapi`: what scripts see of an [`Api`].
//!
//! A document is compiled where the configuration is read, once for all workers, and found here by what the configuration says;
//! one that a script has as a value is compiled here. Both go through the worker's own stack, as all that walks documents.

use super::{
    MOST,
    compiled::Violation,
    openapi::{self, Api, Found, Matched, Placed, Refused, Request},
};
use crate::{
    http::cookies,
    script::{
        Exchange, Raise, Scope, Value,
        exchange::Side,
        list::{Function, Kind, Outcome, Param, Type},
        object::Object,
        value::Args,
    },
};
use std::{rc::Rc, sync::Arc};

/// The largest body that is looked at when nobody says, in bytes.
const MAX_BODY: i64 = 1 << 20;

static OPTIONS: &[Param] = &[
    Param::optional("most", Type::Int, "how many violations are listed; 20 when it is left out"),
    Param::optional("max_body", Type::Int, "the largest body that is looked at, in bytes; 1 MiB when it is left out"),
    Param::optional(
        "base_path",
        Type::String,
        "the path that the service is under, in place of those of the document's `servers`",
    ),
];

static PLACED: &[Param] = &[
    Param::required(
        "keyword",
        Type::String,
        "the schema's keyword that is not met; `required` for a parameter that is missing",
    ),
    Param::required("message", Type::String, "one line for people, without the value itself"),
    Param::required(
        "pointer",
        Type::String,
        "where it is: in the body a JSON pointer; of a parameter its name comes first",
    ),
    Param::required("place", Type::String, "`path`, `query`, `header`, `cookie` or `body`"),
];

static CHECKED: &[Param] = &[
    Param::required(
        "status",
        Type::Int,
        "200 when all is well; 404 and 405 for an unknown path and method, 400, 413 and 415 for a body that can't be looked at, 422 for violations",
    ),
    Param::required("detail", Type::String, "one line about it; empty when all is well"),
    Param::required("errors", Type::List(&Type::Options(PLACED)), "the violations"),
    Param::optional("allow", Type::String, "with 405, the methods that there are"),
];

pub const OPENAPI: Function = Function {
    name: "openapi",
    params: &[Param::required(
        "document",
        Type::Json,
        "what the configuration says in a field of the type `openapi`, or the document as a value",
    )],
    variadic: false,
    returns: Type::Object("api"),
    doc: "Makes an OpenAPI document (3.0 or 3.1) ready to validate requests: in `on_load`, and kept in the state. A file is read by the gateway when the configuration is loaded, with all that it refers to below its folder.",
    lua: r#"local api = schema.openapi({ openapi = "3.1.0", paths = { ["/users/{id}"] = { get = {} } } })"#,
    rhai: r#"let api = schema::openapi(#{ openapi: "3.1.0", paths: #{ "/users/{id}": #{ get: #{} } } });"#,
    run: open,
};

pub static API: Kind = Kind {
    name: "api",
    doc: "An OpenAPI document that requests are held against. Made by `schema.openapi`.",
    properties: &[],
    methods: &[Function {
        name: "validate",
        params: &[
            Param::required("request", Type::Object("request"), "the request"),
            Param::optional("options", Type::Options(OPTIONS), "bounds"),
        ],
        variadic: false,
        returns: Type::Options(CHECKED),
        doc: "Finds the request's operation and all that is wrong with its parameters and its body, which is read when the operation has one.",
        lua: "local found = ctx.state.api:validate(req, { most = 5 })",
        rhai: "let found = ctx.state.api.validate(req, #{ most: 5 });",
        run: |_, args| match Wanted::of(&args) {
            Ok(wanted) => Outcome::wait(wanted.run()),
            Err(raise) => Outcome::Done(Err(raise)),
        },
    }],
    index: None,
};

fn open(scope: &Scope, args: Args) -> Outcome {
    let text = match args.bytes(0) {
        Ok(text) => text,
        Err(raise) => return Outcome::Done(Err(raise)),
    };
    // A string that was given comes as itself, or as JSON's string.
    let name = match serde_json::from_slice::<String>(&text) {
        Ok(name) => Some(name),
        Err(_) if text.trim_ascii_start().starts_with(b"{") => None,
        Err(_) => Some(String::from_utf8_lossy(&text).into_owned()),
    };
    let Some(name) = name else {
        return Outcome::wait(async move {
            let api = openapi::parse(&text).map_err(Raise::error)?;
            Ok(Object::Api(Arc::new(api)).into())
        });
    };
    let found = scope.instance.documents.get(&name).map(|api| Object::Api(api.clone()));
    found
        .ok_or_else(|| {
            let help = "name it in a field of the type `openapi` of the plugin's configuration";
            Raise::error(format!("there is no document `{}`: {help}", name.escape_debug()))
        })
        .into()
}

/// What a call asks for.
struct Wanted {
    api: Arc<Api>,
    exchange: Rc<Exchange>,
    most: usize,
    max_body: u64,
    base: Option<String>,
}

impl Wanted {
    fn of(args: &Args) -> Result<Wanted, Raise> {
        let Object::Api(api) = args.object()? else {
            return Err(Raise::error("expected an api"));
        };
        let exchange = match args.get(1) {
            Value::Object(Object::Request(exchange)) => exchange.clone(),
            other => return Err(Raise::argument(1, "a request", other)),
        };
        let number = |name: &str, default: i64| {
            let value = super::super::option(args.get(2), name);
            Args(vec![value.clone()]).int_or(0, default)
        };
        Ok(Wanted {
            api: api.clone(),
            exchange,
            most: usize::try_from(number("most", MOST)?).unwrap_or_default().clamp(1, 1000),
            max_body: u64::try_from(number("max_body", MAX_BODY)?).unwrap_or_default(),
            base: super::super::option(args.get(2), "base_path").as_str().map(str::to_owned),
        })
    }

    async fn run(self) -> Result<Value, Raise> {
        let request = head(&self.exchange);
        let matched = match self.api.find(&request, self.base.as_deref()) {
            Found::NoPath => return Ok(ended(404, "the API has no such path", Vec::new())),
            Found::NoMethod(allow) => {
                let Value::Map(mut entries) = ended(405, "the API has no such method here", Vec::new()) else {
                    return Ok(Value::Nil);
                };
                entries.insert(0, ("allow".to_owned(), allow.into()));
                return Ok(Value::Map(entries));
            }
            Found::Operation(matched) => matched,
        };
        let mut errors = matched.parameters(&request, self.most);
        if matched.has_body() {
            match self.body(&matched, &request).await? {
                Ok(more) => errors.extend(more),
                Err((status, detail)) => return Ok(ended(status, &detail, Vec::new())),
            }
        }
        errors.truncate(self.most);
        Ok(match errors.is_empty() {
            true => ended(200, "", errors),
            false => ended(422, "the request is not as it should be", errors),
        })
    }

    /// Violations; or the status and word that end the look.
    async fn body(
        &self,
        matched: &Matched<'_>,
        request: &Request,
    ) -> Result<Result<Vec<Placed>, (i64, String)>, Raise> {
        let too_large = || (413, format!("the request body is larger than {} bytes", self.max_body));
        let all = |wanted: &str| -> Vec<&str> {
            let own = request.headers.iter().filter(|(name, _)| name == wanted);
            own.map(|(_, value)| value.as_str()).collect()
        };
        let announced = all("content-length").first().and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.max_body) {
            return Ok(Err(too_large()));
        }
        let bytes = self.exchange.clone().read_body(Side::Request).await?;
        if bytes.len() as u64 > self.max_body {
            return Ok(Err(too_large()));
        }
        let found = match matched.body(&all("content-type"), &bytes, self.most) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(word(refused))),
        };
        // Not readable, or readable in two ways: nothing else could be said of it.
        Ok(match found.first() {
            Some((_, first)) if first.keyword == "json" => {
                Err((400, format!("the request body is not JSON: {}", first.message)))
            }
            Some((_, first)) if first.keyword == "duplicate" => {
                Err((400, format!("the request body: {}", first.message)))
            }
            _ => Ok(found),
        })
    }
}

fn word(refused: Refused) -> (i64, String) {
    let (status, detail) = match refused {
        Refused::Missing => (400, "a request body is required"),
        Refused::Type => (415, "the request body is not of a content type that is expected here"),
        Refused::Unreadable => (400, "the request body can't be read"),
    };
    (status, detail.to_owned())
}

fn head(exchange: &Exchange) -> Request {
    exchange.stamp();
    let request = exchange.request.borrow();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.as_str().to_owned(), text(value.as_bytes()));
    let cookies = cookies::cookies(&request.headers);
    Request {
        method: request.method.as_str().to_owned(),
        path: request.path().to_owned(),
        query: request.query().to_owned(),
        headers: request.headers.iter().map(header).collect(),
        cookies: cookies.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// What a call gives, its entries in the order of their names.
fn ended(status: i64, detail: &str, errors: Vec<Placed>) -> Value {
    let errors = Value::List(errors.into_iter().map(placed).collect());
    let entries = [("detail", detail.into()), ("errors", errors), ("status", status.into())];
    Value::Map(entries.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into())
}

fn placed((place, violation): Placed) -> Value {
    let Violation { pointer, keyword, message } = violation;
    let entries = [("keyword", keyword), ("message", message), ("place", place.to_owned()), ("pointer", pointer)];
    Value::Map(entries.map(|(name, text)| (name.to_owned(), Value::text(text))).into())
}
