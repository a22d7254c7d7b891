//! `http`: calls to services and, where permitted, other hosts.
//!
//! A call never throws for the network's sake: its result says what happened. `all` runs calls side by side in the
//! exchange's own task under one deadline; when a required one fails the others are dropped and the hook ends.

use super::{headers, query::scalar_text, reply};
use crate::http::query::Query;
use crate::script::{
    Raise, Reply, Scope, Value,
    list::{Function, Index, Kind, Module, Outcome, Param, Property, Type},
    object::Object,
    outbound::{Answer, Call, Failure},
    value::{Args, duration},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

const URL: Param = Param::required("url", Type::String, "`svc://NAME/path/{id}`, or the URL of a permitted host");

/// What every call takes; `http.all` and `http.request` take the URL and method here too.
macro_rules! call_options {
    ($($more:expr),*) => {
        &[
            $($more,)*
            Param::optional("headers", Type::Map(&Type::Scalars), "request headers; a list for several of a name"),
            Param::optional("query", Type::Map(&Type::Scalar), "parameters added to the URL, percent-encoded"),
            Param::optional("params", Type::Map(&Type::Scalar), "values for `{name}` in the path, percent-encoded"),
            Param::optional("json", Type::Json, "a JSON body"),
            Param::optional("body", Type::Bytes, "a body"),
            Param::optional("timeout", Type::Duration, "at most this long; never past the exchange's deadline"),
        ]
    };
}

static OPTIONS: &[Param] = call_options!();
static REQUEST: &[Param] = call_options!(URL, Param::optional("method", Type::String, "`GET` when it is left out"));
static PART: &[Param] = call_options!(
    URL,
    Param::optional("method", Type::String, "`GET` when it is left out"),
    Param::optional("optional", Type::Bool, "whether the rest goes on without it")
);
static ALL: &[Param] = &[
    Param::optional("timeout", Type::Duration, "for all of them together"),
    Param::optional("fail", Type::Bool, "false: never end the hook, give all results"),
];

macro_rules! verb {
    ($name:literal, $method:expr, $doc:literal, $lua:literal, $rhai:literal) => {
        Function {
            name: $name,
            params: &[URL, Param::optional("options", Type::Options(OPTIONS), "of the call")],
            variadic: false,
            returns: Type::Object("result"),
            doc: $doc,
            lua: $lua,
            rhai: $rhai,
            run: |scope, args| single(scope, $method, args.get(0), args.get(1)),
        }
    };
}

pub static MODULE: Module = Module {
    name: "http",
    doc: "Calls to services (`svc://NAME/…`, through the gateway's own targets and pools) and to hosts that the manifest permits. Each waits for its result; a failing network never throws.",
    constants: &[],
    functions: &[
        verb!(
            "get",
            Method::GET,
            "Sends a GET and waits for the result.",
            r#"local got = http.get("svc://users/users/{id}", { params = { id = "7" } })"#,
            r#"let got = http::get("svc://users/users/{id}", #{ params: #{ id: "7" } });"#
        ),
        verb!(
            "post",
            Method::POST,
            "Sends a POST and waits for the result.",
            r#"local made = http.post("svc://orders/orders", { json = { total = 5 } })"#,
            r#"let made = http::post("svc://orders/orders", #{ json: #{ total: 5 } });"#
        ),
        verb!(
            "put",
            Method::PUT,
            "Sends a PUT and waits for the result.",
            r#"http.put("svc://users/users/7", { json = { name = "Ada" } })"#,
            r#"http::put("svc://users/users/7", #{ json: #{ name: "Ada" } });"#
        ),
        verb!(
            "patch",
            Method::PATCH,
            "Sends a PATCH and waits for the result.",
            r#"http.patch("svc://users/users/7", { json = { name = "Ada" } })"#,
            r#"http::patch("svc://users/users/7", #{ json: #{ name: "Ada" } });"#
        ),
        verb!(
            "delete",
            Method::DELETE,
            "Sends a DELETE and waits for the result.",
            r#"http.delete("svc://users/users/7")"#,
            r#"http::delete("svc://users/users/7");"#
        ),
        Function {
            name: "request",
            params: &[Param::required("request", Type::Options(REQUEST), "the whole call, its URL and method too")],
            variadic: false,
            returns: Type::Object("result"),
            doc: "Sends any request and waits for the result.",
            lua: r#"local got = http.request({ method = "HEAD", url = "svc://users/users" })"#,
            rhai: r#"let got = http::request(#{ method: "HEAD", url: "svc://users/users" });"#,
            run: |scope, args| match method(args.get(0)) {
                Ok(method) => single(scope, method, args.get(0).get("url").unwrap_or(&Value::Nil), args.get(0)),
                Err(raise) => Outcome::Done(Err(raise)),
            },
        },
        Function {
            name: "all",
            params: &[
                Param::required("calls", Type::Map(&Type::Options(PART)), "calls by name"),
                Param::optional("options", Type::Options(ALL), "for all of them"),
            ],
            variadic: false,
            returns: Type::Map(&Type::Object("result")),
            doc: "Runs calls side by side under one deadline and gives the results by name. When a required one has no answer below 400 the others are cancelled and the hook ends with a 502 (504 when it was the deadline), unless `fail = false`.",
            lua: r#"local got = http.all({ user = { url = "svc://users/users/7" }, orders = { url = "svc://orders/orders", optional = true } }, { timeout = "2s" })"#,
            rhai: r#"let got = http::all(#{ user: #{ url: "svc://users/users/7" }, orders: #{ url: "svc://orders/orders", optional: true } }, #{ timeout: "2s" });"#,
            run: all,
        },
    ],
};

pub static RESULT: Kind = Kind {
    name: "result",
    doc: "What came of a call.",
    properties: &[
        Property {
            name: "ok",
            ty: Type::Bool,
            doc: "Whether there was an answer below 400.",
            get: |object| Ok(answer(object)?.ok().into()),
            set: None,
        },
        Property {
            name: "status",
            ty: Type::Int,
            doc: "The answer's status; 0 when there was none.",
            get: |object| {
                Ok(match &**answer(object)? {
                    Answer::Response { status, .. } => i64::from(*status).into(),
                    Answer::Failed(_) => 0.into(),
                })
            },
            set: None,
        },
        Property {
            name: "headers",
            ty: Type::Object("result headers"),
            doc: "The answer's headers, read only.",
            get: |object| Ok(Object::ResultHeaders(answer(object)?.clone()).into()),
            set: None,
        },
        Property {
            name: "error",
            ty: Type::Maybe(&Type::String),
            doc: "Why there was no answer: `timeout`, `connect`, `protocol`, `too_large`, `no_service`, `forbidden` (the manifest does not name the host), `administration` (the gateway's own, which no permission opens), `bad_url`; nothing when there was one.",
            get: |object| {
                Ok(match &**answer(object)? {
                    Answer::Response { .. } => Value::Nil,
                    Answer::Failed(failure) => failure.name().into(),
                })
            },
            set: None,
        },
    ],
    methods: &[
        Function {
            name: "json",
            params: &[],
            variadic: false,
            returns: Type::Json,
            doc: "The answer's body as a JSON value; an error when it is not JSON.",
            lua: "local user = got:json()",
            rhai: "let user = got.json();",
            run: |_, args| answer_body(&args).map(Value::Json).into(),
        },
        Function {
            name: "text",
            params: &[],
            variadic: false,
            returns: Type::String,
            doc: "The answer's body as a string; empty when there was no answer.",
            lua: "local text = got:text()",
            rhai: "let text = got.text();",
            run: |_, args| answer_body(&args).into(),
        },
        Function {
            name: "bytes",
            params: &[],
            variadic: false,
            returns: Type::Bytes,
            doc: "The answer's body as bytes.",
            lua: "local size = #got:bytes()",
            rhai: "let size = got.bytes().len();",
            run: |_, args| answer_body(&args).into(),
        },
    ],
    index: None,
};

pub static RESULT_HEADERS: Kind = Kind {
    name: "result headers",
    doc: "The headers of a call's answer; read only.",
    properties: &[],
    methods: &[headers::NAMES],
    index: Some(Index {
        ty: Type::Maybe(&Type::String),
        get: |object, key| {
            Ok(match &**answer(object)? {
                Answer::Response { headers, .. } => {
                    headers.map().get(headers::name(key)?).map_or(Value::Nil, headers::text)
                }
                Answer::Failed(_) => Value::Nil,
            })
        },
        set: None,
        names: |object| {
            Ok(match &**answer(object)? {
                Answer::Response { headers, .. } => headers.map().keys().map(|name| name.as_str().to_owned()).collect(),
                Answer::Failed(_) => Vec::new(),
            })
        },
    }),
};

fn answer(object: &Object) -> Result<&Rc<Answer>, Raise> {
    object.answer().ok_or_else(|| Raise::error("expected the result of a call"))
}

fn answer_body(args: &Args) -> Result<Bytes, Raise> {
    Ok(match &**answer(args.object()?)? {
        Answer::Response { body, .. } => body.clone(),
        Answer::Failed(_) => Bytes::new(),
    })
}

fn single(scope: &Scope, method: Method, url: &Value, options: &Value) -> Outcome {
    match make_call(scope, method, url, options, None) {
        Ok(call) => {
            let running = start(scope, call);
            together(scope, async move { Ok(Object::Result(Rc::new(running.await)).into()) })
        }
        Err(raise) => Outcome::Done(Err(raise)),
    }
}

/// A call whose URL can't be is an answer too: which values its `{params}` have is often up to a client.
fn start(scope: &Scope, call: Result<Call, Failure>) -> LocalBoxFuture<'static, Answer> {
    match call {
        Ok(call) => scope.services.outbound.call(scope, call),
        Err(failure) => Box::pin(std::future::ready(Answer::Failed(failure))),
    }
}

/// Calls leave and scripts go on together with those of other exchanges.
fn together(scope: &Scope, calls: impl Future<Output = Result<Value, Raise>> + 'static) -> Outcome {
    let services = scope.services.clone();
    Outcome::wait(async move {
        services.turns.together().await;
        let results = calls.await;
        services.turns.together().await;
        results
    })
}

struct Part {
    name: String,
    required: bool,
    running: LocalBoxFuture<'static, Answer>,
}

fn all(scope: &Scope, mut args: Args) -> Outcome {
    match start_all(scope, &mut args) {
        Ok((parts, fail)) => together(scope, finish_all(parts, fail)),
        Err(raise) => Outcome::Done(Err(raise)),
    }
}

/// An answer is made of a handful; each call takes a connection, of which the process has so many.
const MAX_CALLS: usize = 100;

fn start_all(scope: &Scope, args: &mut Args) -> Result<(Vec<Part>, bool), Raise> {
    let fail = !matches!(args.get(1).get("fail"), Some(Value::Bool(false)));
    let timeout = duration(args.get(1).get("timeout").unwrap_or(&Value::Nil))?;
    let Value::Map(calls) = args.take(0) else {
        return Err(Raise::error("http.all needs calls by name"));
    };
    if calls.len() > MAX_CALLS {
        return Err(Raise::error(format!("{} calls are more than {MAX_CALLS} at once", calls.len())));
    }
    let mut parts = Vec::with_capacity(calls.len());
    for (name, options) in calls {
        let method = method(&options)?;
        let required = !matches!(options.get("optional"), Some(Value::Bool(true)));
        let call = make_call(scope, method, options.get("url").unwrap_or(&Value::Nil), &options, timeout)?;
        parts.push(Part { name, required, running: start(scope, call) });
    }
    Ok((parts, fail))
}

/// Dropping what still runs cancels it.
async fn finish_all(parts: Vec<Part>, fail: bool) -> Result<Value, Raise> {
    let mut results = Vec::with_capacity(parts.len());
    let mut calls = FuturesUnordered::new();
    for (index, Part { name, required, running }) in parts.into_iter().enumerate() {
        results.push((name, Value::Nil));
        calls.push(async move { (index, required, running.await) });
    }
    while let Some((index, required, answer)) = calls.next().await {
        let (name, result) = &mut results[index];
        if fail && required && !answer.ok() {
            return Err(Raise::Reply(Box::new(part_failed(name, &answer))));
        }
        *result = Object::Result(Rc::new(answer)).into();
    }
    Ok(Value::Map(results))
}

fn part_failed(name: &str, answer: &Answer) -> Reply {
    let status = match answer {
        Answer::Failed(Failure::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        Answer::Failed(_) | Answer::Response { .. } => StatusCode::BAD_GATEWAY,
    };
    Reply::problem(status, format!("the part `{name}` of this answer is not available"))
}

fn method(options: &Value) -> Result<Method, Raise> {
    let Some(name) = options.get("method").filter(|name| !name.is_nil()) else {
        return Ok(Method::GET);
    };
    let method = name.as_bytes().and_then(|name| Method::from_bytes(name).ok());
    method.filter(|method| *method != Method::CONNECT).ok_or_else(|| Raise::error("not a method that can be called"))
}

/// Values that fill `{name}` keep to their segment: everything but unreserved characters (RFC 3986 §2.3) is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

fn make_call(
    scope: &Scope,
    method: Method,
    url: &Value,
    options: &Value,
    within: Option<Duration>,
) -> Result<Result<Call, Failure>, Raise> {
    let nil = Value::Nil;
    let option = |name| options.get(name).unwrap_or(&nil);
    let template = url.as_str().ok_or_else(|| Raise::argument(0, "a URL", url))?;
    let Some(mut url) = fill(template, option("params"))? else {
        return Ok(Err(Failure::BadUrl));
    };
    if let Value::Map(pairs) = option("query") {
        let mut query = Query::default();
        for (name, value) in pairs {
            if let Some(value) = scalar_text(value)? {
                query.add(name, &value);
            }
        }
        if !query.is_empty() {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&query.encode());
        }
    }
    let mut headers = HeaderMap::new();
    let body = match (option("json"), option("body")) {
        (Value::Nil, Value::Nil) => Bytes::new(),
        (Value::Nil, body) => body.as_bytes().cloned().ok_or_else(|| Raise::error("`body` must be a string"))?,
        (Value::Json(text), Value::Nil) => {
            headers.insert(header::CONTENT_TYPE, crate::script::reply::JSON);
            text.clone()
        }
        _ => return Err(Raise::error("give `json` or `body`, not both")),
    };
    reply::apply(&mut headers, option("headers"))?;
    let timeout = [duration(option("timeout"))?, within].into_iter().flatten().min().unwrap_or(DEFAULT_TIMEOUT);
    let mut deadline = Instant::now() + timeout.min(Duration::from_secs(3600));
    if let Some(exchange) = &scope.exchange {
        deadline = deadline.min(exchange.deadline.get());
    }
    Ok(Ok(Call { method, url, headers, body, deadline }))
}

/// Fills `{name}` from `params`; nothing when a value can't stand there.
fn fill(template: &str, params: &Value) -> Result<Option<String>, Raise> {
    let mut url = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|at| open + at) else {
            return Err(Raise::error(format!("`{template}`: a brace is not closed")));
        };
        let name = &rest[open + 1..close];
        let value = params.get(name).map(scalar_text).transpose()?.flatten();
        let value = value.ok_or_else(|| Raise::error(format!("`{template}`: `params` has no `{name}`")))?;
        // SECURITY: an empty, `.` or `..` segment would move the call to another path.
        if matches!(value.as_str(), "" | "." | "..") {
            return Ok(None);
        }
        url.push_str(&rest[..open]);
        url.extend(utf8_percent_encode(&value, SEGMENT));
        rest = &rest[close + 1..];
    }
    url.push_str(rest);
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_leave_its_segment() {
        let fill = |id: &str| {
            let params = Value::Map(vec![("id".into(), id.into())]);
            match fill("svc://users/users/{id}/recent", &params) {
                Ok(Some(url)) => url,
                Ok(None) => "nothing".into(),
                Err(raise) => raise.to_string(),
            }
        };
        assert_eq!(fill("42"), "svc://users/users/42/recent");
        assert_eq!(fill("a/b?c#d"), "svc://users/users/a%2Fb%3Fc%23d/recent");
        assert_eq!(["..", ".", ""].map(fill), ["nothing"; 3]);
    }
}
