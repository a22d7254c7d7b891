//! For the unit tests and benchmarks of the engines: an exchange, a scope, and services whose calls are answered by the test.
//!
//! Compiled always, since a benchmark is a crate of its own that sees only what is public; the linker drops it from the program.

use super::{
    Exchange, Hook, Instance, Scope, Services, Value,
    cache::Caches,
    exchange::{Client, From, Request, Response, Side, Slot},
    limits::Limits,
    list::{Module, Outcome},
    outbound::{Answer, Call, Outbound},
    scope::Permissions,
    value::Args,
};
use crate::{
    http::{Body, NormalPath, response_headers::ResponseHeaders},
    observe::metrics::own,
    store::{Stores, SystemClock, WorkerStore},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, Method, StatusCode};
use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers every call after 20 ms with its own method and URL as JSON.
pub struct Echo;

impl Outbound for Echo {
    fn call(&self, _: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let body = serde_json::json!({ "method": call.method.as_str(), "url": call.url }).to_string();
            Answer::Response { status: 200, headers: HeaderMap::new().into(), body: Bytes::from(body) }
        })
    }
}

pub fn exchange(body: &str) -> Rc<Exchange> {
    let now = Instant::now();
    Rc::new(Exchange {
        id: "test-id".into(),
        started: now,
        deadline: Cell::new(now + Duration::from_secs(5)),
        client: Client { ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), port: 4711, tls: false, subject: None },
        route: RefCell::new("users".into()),
        request: RefCell::new(Request {
            method: Method::GET,
            scheme: "http",
            host: http::HeaderValue::from_static("example.com"),
            target: NormalPath::parse_str("/users/42?limit=5").expect("a path"),
            path_set: None,
            query_set: None,
            headers: [(http::header::ACCEPT, http::HeaderValue::from_static("*/*"))].into_iter().collect(),
            params: vec![("id".into(), "42".into())],
            body: Slot::Stream(Body::full(Bytes::copy_from_slice(body.as_bytes()))),
        }),
        stamps: Cell::new(None),
        response: RefCell::new(None),
        coming: Cell::default(),
        vars: RefCell::default(),
        identity: RefCell::default(),
        failed: RefCell::default(),
        upstream: RefCell::default(),
        max_body: 1 << 20,
        account: Default::default(),
    })
}

/// Gives the exchange a response of 200 with this body.
pub fn respond(exchange: &Exchange, body: &str) {
    *exchange.response.borrow_mut() = Some(Response {
        status: StatusCode::OK,
        headers: ResponseHeaders::default(),
        body: Slot::Stream(Body::full(Bytes::copy_from_slice(body.as_bytes()))),
        from: From::Upstream,
        latency: Duration::from_millis(3),
    });
}

/// What a script left as the body of one side.
pub async fn body(exchange: &Rc<Exchange>, side: Side) -> String {
    let bytes = exchange.clone().read_body(side).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub fn scope(hook: Hook, exchange: Option<Rc<Exchange>>) -> Rc<Scope> {
    scope_with(hook, exchange, Limits::default())
}

/// Outside of an exchange, with these permissions.
pub fn granting(hook: Hook, permissions: Permissions) -> Rc<Scope> {
    make(hook, None, Limits::default(), permissions)
}

pub fn scope_with(hook: Hook, exchange: Option<Rc<Exchange>>, limits: Limits) -> Rc<Scope> {
    make(hook, exchange, limits, Permissions::default())
}

fn make(hook: Hook, exchange: Option<Rc<Exchange>>, limits: Limits, permissions: Permissions) -> Rc<Scope> {
    Rc::new(Scope {
        hook,
        instance: Rc::new(Instance {
            plugin: "test".into(),
            place: "route:users/test".into(),
            permissions,
            limits,
            documents: Default::default(),
        }),
        exchange,
        services: Rc::new(services(Rc::new(Echo))),
        span: 0,
        used: Default::default(),
    })
}

/// A worker's services, with the embedded store alone.
pub fn services(outbound: Rc<dyn Outbound>) -> Services {
    Services {
        store: store(),
        outbound,
        first_worker: true,
        caches: Caches::for_worker(),
        metrics: own::Local::new(Arc::default(), 1),
        background: Some(Default::default()),
        turns: Default::default(),
        trial: None,
    }
}

fn store() -> WorkerStore {
    let shared = Stores::new(Arc::new(SystemClock::default()));
    WorkerStore::connect(None, Arc::new(shared)).expect("nothing to connect to")
}

/// Calls a function of a module as the engines do; what it raises is given as text.
pub fn run(scope: &Scope, module: &Module, name: &str, args: impl Into<Vec<Value>>) -> Result<Value, String> {
    let function = module.functions.iter().find(|function| function.name == name).expect("a function of this name");
    match (function.run)(scope, Args(args.into())) {
        Outcome::Done(result) => result.map_err(|raise| raise.to_string()),
        Outcome::Wait(_) => Err("it waits".into()),
    }
}

/// A value as tests compare it.
pub fn show(result: Result<Value, String>) -> String {
    match result {
        Err(message) => format!("error: {message}"),
        Ok(Value::Json(text)) => format!("json {}", String::from_utf8_lossy(&text)),
        Ok(value) => shown(&value),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format!("{f:?}"),
        Value::Str(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Value::Json(text) => String::from_utf8_lossy(text).into_owned(),
        Value::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Record(fields, values) => {
            let entries = fields.iter().zip(values).map(|(field, value)| format!("{}: {}", field.name, shown(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Object(object) => object.kind().name.into(),
    }
}
