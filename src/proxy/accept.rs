//! A request's head becomes an exchange: policed, with its id and its client, without what it may not say.
//!
//! It asks for no route and runs no script. What it refuses is an exchange too, so that [`super::life`] answers and logs it like any other.

use super::{
    failure::Failure,
    life::Connection,
    spans,
    worker::{Ready, Worker},
};
use crate::{
    http::{Body, NormalPath, h2, hop, police, trace::Trace},
    script::{
        Account, Exchange,
        exchange::{self, Slot},
        stamps::Stamps,
    },
};
use http::{HeaderValue, Version, header, request::Parts};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

/// The deadline of what has no service of its own.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// The request's head is policed, and what belongs to this hop or could be forged is taken off. The exchange is there in
/// any case, so that a refusal is logged and answered like everything else.
pub fn accept(
    worker: &Worker,
    ready: &Rc<Ready>,
    connection: &Connection,
    mut head: Box<Parts>,
    body: Body,
) -> (Rc<Exchange>, Option<Failure>) {
    let started = Instant::now();
    let config = &ready.prepared.generation.config;
    let policed = police::check(&head)
        .and_then(|()| police::check_size(&head, config.limits.max_header_bytes))
        .and_then(|()| police::check_count(&head, config.limits.max_header_count));
    let refused = policed.err().map(Failure::Head);
    let (target, bad_path) = match NormalPath::parse(&head.uri) {
        Ok(target) => (Some(target), None),
        Err(error) => (None, Some(Failure::Path(error))),
    };
    let trusted = &config.trusted_proxies;
    let ip = connection.client.client(&head.headers, trusted);
    let id = worker.ids.take_or_make(&mut head.headers, started);
    let host = host(&head);
    if head.version == Version::HTTP_2 {
        h2::as_http1(&mut head.headers, &host);
    }
    hop::strip_request(&mut head.headers);
    let body = match !body.is_empty() && head.headers.contains_key(header::TRAILER) {
        true => {
            let ready = ready.clone();
            body.with_trailers(move |fields| {
                ready.identity.strip(fields);
            })
        }
        false => body,
    };
    ready.identity.strip(&mut head.headers);
    connection.client.enter(&mut head.headers, &host, trusted);
    let sample = |trace| worker.traces.as_ref().is_some_and(|traces| traces.samples(trace));
    let trace = Trace::enter(&mut head.headers, || worker.ids.random(), sample);
    let announced = body.len().unwrap_or(0);
    let stranger = connection.client.is_stranger(trusted);
    let account = Account::default();
    let body = body.counted(|| account.passed.get_or_init(Rc::default).clone());
    // Made where it stays: it is large.
    let exchange = Rc::new(Exchange {
        id,
        started,
        deadline: Cell::new(started + DEFAULT_DEADLINE),
        client: exchange::Client {
            ip,
            port: connection.port,
            tls: connection.tls,
            subject: connection.subject.clone(),
        },
        route: RefCell::default(),
        request: RefCell::new(exchange::Request {
            method: head.method,
            scheme: if connection.tls { "https" } else { "http" },
            host,
            target: target.unwrap_or_else(NormalPath::root),
            path_set: None,
            query_set: None,
            headers: head.headers,
            params: Vec::new(),
            body: Slot::Stream(body),
        }),
        stamps: Cell::new(Some(Stamps { client: stranger.then(|| connection.client.clone()) })),
        response: RefCell::new(None),
        coming: Cell::default(),
        vars: RefCell::default(),
        identity: RefCell::default(),
        failed: RefCell::default(),
        upstream: RefCell::default(),
        max_body: config.limits.max_body_size,
        account,
    });
    exchange.account.announced.set(announced);
    exchange.account.trace.set(trace);
    spans::begin(worker, &exchange, trace);
    exchange.account.version.set(head.version);
    (exchange, refused.or(bad_path))
}

/// The authority that the client asked for: of the target in absolute form, which counts more (RFC 9112 §3.2.2), or of `Host`.
fn host(head: &Parts) -> HeaderValue {
    let of_target = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    of_target.or_else(|| police::host(&head.headers).cloned()).unwrap_or(HeaderValue::from_static(""))
}
