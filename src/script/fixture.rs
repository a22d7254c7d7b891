//! For the unit tests of the engines: an exchange, a scope, and services whose calls are answered by the test.

use super::{
    Exchange, Hook, Instance, Scope, Services,
    exchange::{Client, From, Request, Response, Side, Slot},
    limits::Limits,
    outbound::{Answer, Call, Outbound},
    scope::Permissions,
};
use crate::{
    http::{Body, NormalPath},
    store::WorkerStore,
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, Method, StatusCode};
use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::{Duration, Instant},
};

/// Answers every call after 20 ms with its own method and URL as JSON.
pub struct Echo;

impl Outbound for Echo {
    fn call(&self, _: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let body = serde_json::json!({ "method": call.method.as_str(), "url": call.url }).to_string();
            Answer::Response { status: 200, headers: HeaderMap::new(), body: Bytes::from(body) }
        })
    }
}

pub fn exchange(body: &str) -> Rc<Exchange> {
    let now = Instant::now();
    Rc::new(Exchange {
        id: "test-id".into(),
        started: now,
        deadline: Cell::new(now + Duration::from_secs(5)),
        client: Client { ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), port: 4711, tls: false },
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
        response: RefCell::new(None),
        vars: RefCell::default(),
        identity: RefCell::default(),
        failed: RefCell::default(),
        upstream: RefCell::default(),
        max_body: 1 << 20,
    })
}

/// Gives the exchange a response of 200 with this body.
pub fn respond(exchange: &Exchange, body: &str) {
    *exchange.response.borrow_mut() = Some(Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
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

pub fn scope_with(hook: Hook, exchange: Option<Rc<Exchange>>, limits: Limits) -> Rc<Scope> {
    Rc::new(Scope {
        hook,
        instance: Rc::new(Instance { plugin: "test".into(), permissions: Permissions::default(), limits }),
        exchange,
        services: Rc::new(Services { store: WorkerStore, outbound: Rc::new(Echo), first_worker: true }),
    })
}
