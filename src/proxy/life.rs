//! The life of an exchange, from the request's head to the response's last byte.
//!
//! [`serve`] is the whole of it, top to bottom; each step is a function below or in a neighbouring file. Every failure ends
//! in one place, [`Failure::reply`]. An exchange runs in one generation, on one worker, in its connection's task:
//! when the client goes away the future is dropped, and with it the upstream call and the script.

use super::{
    chunks,
    compression::compress,
    develop,
    failure::Failure,
    forward::{Ahead, Plan, Switching, forward},
    grpc,
    listen::Place,
    mirror, quarantine,
    record::{self, Record, Sent},
    report, spans,
    stamps::{Stamps, is_direct},
    traffic,
    tunnel::{self, Content},
    websocket,
    worker::{Ready, Worker},
};
use crate::{
    config::{ListenerKey, OnError, Scheme},
    downstream::Request,
    gateway::{
        prepared::{Chain, Plugin},
        router::{Match, Subject},
    },
    http::{
        Body, NormalPath, content, deadline, forwarded, h2, hop,
        police::{self, Refusal},
        trace::Trace,
    },
    observe::traces::SpanInProgress,
    script::{
        Account, Decision, Exchange, Hook, Reply, Scope,
        exchange::{self, From, Response, Slot},
    },
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header, request::Parts};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

/// A client's connection.
pub struct Connection {
    pub client: forwarded::Connection,
    pub port: u16,
    pub tls: bool,
    /// Of the client's certificate, when it showed one (RFC 4514).
    pub subject: Option<Rc<str>>,
    /// The listener that every request is sent to, by `https_redirect`.
    pub redirect: Option<ListenerKey>,
    /// The name of the listener that accepted it; empty when it has none.
    pub listener: Rc<str>,
    /// None where nobody counts.
    pub place: Option<Rc<Place>>,
}

/// The deadline of what has no service of its own.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// Serves one request.
pub async fn serve(worker: Rc<Worker>, connection: Rc<Connection>, request: Request) -> http::Response<Sent> {
    let ready = worker.ready();
    let Request { mut head, body, interim, upgrade } = request;
    let http1 = head.version < Version::HTTP_2;
    websocket::as_get(&mut head, || worker.ids.random());
    let mut switching = Switching::of(&head, upgrade);
    let (exchange, refused) = accept(&worker, &ready, &connection, head, body);
    // SECURITY: whoever is in front may have read such a head differently, and what comes behind it.
    let closes = matches!(&refused, Some(Failure::Head(refusal)) if refusal.status != StatusCode::METHOD_NOT_ALLOWED);
    let stamps = stamps(&ready, &connection);
    if let (None, Some(listener)) = (&refused, connection.redirect) {
        stamps.set(&exchange);
        let record = Record::new(&worker, &ready, &exchange);
        let reply = to_https(&worker, &exchange, listener);
        exchange.response.replace(Some(reply_response(&exchange, reply, From::Reply)));
        return send(&exchange, &ready.prepared.unrouted, &ready, record);
    }
    let stamped = ready.prepared.generation.router.reads_headers;
    if stamped {
        stamps.set(&exchange);
    }
    let found = match refused {
        None => route(&worker, &ready, &connection, &exchange),
        Some(failure) => Err(failure),
    };
    let mut record = Record::new(&worker, &ready, &exchange);
    let chain = match &found {
        Ok(found) => ready.prepared.chains[found.route].clone(),
        Err(_) => ready.prepared.unrouted.clone(),
    };
    let routes = ready.prepared.generation.router.routes();
    let direct = !stamped
        && switching.is_none()
        && found.as_ref().is_ok_and(|found| is_direct(&ready, &exchange, &chain, &routes[found.route]));
    if !stamped && !direct {
        stamps.set(&exchange);
    }
    let answered = match found {
        Ok(found) => {
            let stamps = direct.then_some(&stamps);
            let ahead = Ahead { interim: interim.as_ref(), switching: switching.as_mut(), stamps };
            answer(&worker, &ready, &exchange, &chain, &found, ahead).await
        }
        Err(failure) => Err(failure),
    };
    let response = match answered {
        Ok(response) => response,
        Err(failure) => recover(&worker, &ready, &exchange, &chain, failure, &mut record).await,
    };
    *exchange.response.borrow_mut() = Some(response);
    let mut sent = finish(&worker, &ready, &exchange, &chain, switching.as_ref(), record).await;
    if http1 {
        grpc::announce_trailers(sent.headers_mut());
    }
    if http1 && closes {
        sent.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(switching) = switching {
        switch(&worker, &connection, switching, &mut sent);
    }
    if chain.on_log.is_empty() {
        // Nobody looks at them any more.
        worker.pool.recycle(std::mem::take(&mut exchange.request.borrow_mut().headers));
    }
    sent
}

/// Answers what could not be read as a request, as far as it is known: like any request that is refused for its head.
pub async fn refuse(worker: Rc<Worker>, connection: Rc<Connection>, refusal: Refusal) -> http::Response<Sent> {
    let ready = worker.ready();
    let mut head = Box::new(http::Request::new(()).into_parts().0);
    // What access logs write for a request line that they can't read.
    head.method = Method::from_bytes(b"-").unwrap_or_default();
    let (exchange, _) = accept(&worker, &ready, &connection, head, Body::Empty);
    stamps(&ready, &connection).set(&exchange);
    let mut record = Record::new(&worker, &ready, &exchange);
    let chain = ready.prepared.unrouted.clone();
    let response = recover(&worker, &ready, &exchange, &chain, Failure::Head(refusal), &mut record).await;
    *exchange.response.borrow_mut() = Some(response);
    finish(&worker, &ready, &exchange, &chain, None, record).await
}

fn stamps<'c>(ready: &Ready, connection: &'c Connection) -> Stamps<'c> {
    let trusted = &ready.prepared.generation.config.trusted_proxies;
    Stamps { client: Some(&connection.client).filter(|client| client.is_stranger(trusted)) }
}

/// `on_response` of each plugin, then the head goes.
async fn finish(
    worker: &Worker,
    ready: &Rc<Ready>,
    exchange: &Rc<Exchange>,
    chain: &Rc<Chain>,
    switching: Option<&Switching>,
    mut record: Record,
) -> http::Response<Sent> {
    if let Err(failure) = respond(ready, exchange, chain).await {
        let reply = report::failed(worker, ready, exchange, &failure, &mut record);
        exchange.response.replace(Some(reply_response(exchange, reply, From::Error)));
    }
    if let (Some(switching), Some(response)) = (switching, &mut *exchange.response.borrow_mut()) {
        websocket::as_connect(switching, response);
    }
    send(exchange, chain, ready, record)
}

/// The request's head is policed, and what belongs to this hop or could be forged is taken off. The exchange is there in
/// any case, so that a refusal is logged and answered like everything else.
fn accept(
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
        response: RefCell::new(None),
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
    exchange.account.protocol.set(protocol(head.version));
    (exchange, refused.or(bad_path))
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// The authority that the client asked for: of the target in absolute form, which counts more (RFC 9112 §3.2.2), or of `Host`.
fn host(head: &Parts) -> HeaderValue {
    let of_target = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    of_target.or_else(|| police::host(&head.headers).cloned()).unwrap_or(HeaderValue::from_static(""))
}

/// 308 keeps the method (RFC 9110 §15.4.9). Without a host there is nowhere to go.
fn to_https(worker: &Worker, exchange: &Exchange, listener: ListenerKey) -> Reply {
    let request = exchange.request.borrow();
    let host = without_port(request.host());
    if host.is_empty() {
        return Reply::problem(StatusCode::BAD_REQUEST, "no host header");
    }
    let port = match worker.ports.borrow().get(&listener) {
        Some(443) | None => String::new(),
        Some(port) => format!(":{port}"),
    };
    match HeaderValue::try_from(format!("https://{host}{port}{}", request.target.as_str())) {
        Ok(location) => Reply::empty(StatusCode::PERMANENT_REDIRECT).header(header::LOCATION, location),
        Err(_) => Reply::problem(StatusCode::BAD_REQUEST, "the request can't be sent to https"),
    }
}

fn route(worker: &Worker, ready: &Ready, connection: &Connection, exchange: &Exchange) -> Result<Match, Failure> {
    let generation = &ready.prepared.generation;
    let request = &mut *exchange.request.borrow_mut();
    let lower = lower_case(request.host());
    let subject = Subject {
        listener: &connection.listener,
        scheme: if connection.tls { Scheme::Https } else { Scheme::Http },
        host: without_port(&lower),
        path: request.path(),
        query: request.query(),
        method: &request.method,
        headers: &request.headers,
    };
    let Some(mut found) = generation.router.find(&subject) else {
        let lost = if worker.open { develop::lost(&generation.router, &subject) } else { Vec::new() };
        return Err(Failure::NoRoute { method: request.method.to_string(), path: request.path().to_owned(), lost });
    };
    let route = &generation.router.routes()[found.route];
    request.params = std::mem::take(&mut found.params);
    exchange.route.replace(ready.route_names[found.route].clone());
    exchange.account.route.set(Some(found.route));
    if let Some(service) = route.service {
        exchange.deadline.set(exchange.started + ready.backends.at(service).timeout);
    }
    if let Some(patience) = deadline::of(&mut request.headers, exchange.account.protocol.get() == "HTTP/2") {
        exchange.hurry(patience);
    }
    Ok(found)
}

/// Nearly always it is so already.
fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}

pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// `on_request` of each plugin, then the script or the backend that answers.
async fn answer(
    worker: &Rc<Worker>,
    ready: &Rc<Ready>,
    exchange: &Rc<Exchange>,
    chain: &Chain,
    found: &Match,
    ahead: Ahead<'_>,
) -> Result<Response, Failure> {
    for plugin in &chain.on_request {
        if let Decision::Reply(reply) = run(ready, Hook::OnRequest, plugin, exchange).await? {
            exchange.account.answered_by.replace(Some(plugin.instance.plugin.clone()));
            return Ok(reply_response(exchange, reply, From::Reply));
        }
    }
    let route = &ready.prepared.generation.router.routes()[found.route];
    if let Some(rules) = &route.traffic {
        let name = |index: usize| ready.backends.at(index).name.to_string();
        if let Some(reply) = traffic::direct(&worker.dice, exchange, rules, found.consumed, name).await? {
            return Ok(reply_response(exchange, reply, From::Reply));
        }
    }
    if let Some(plugin) = &chain.handle {
        match run(ready, Hook::Handle, plugin, exchange).await? {
            Decision::Reply(reply) => return Ok(reply_response(exchange, reply, From::Reply)),
            Decision::Continue if route.service.is_none() && exchange.upstream.borrow().is_none() => {
                return Err(Failure::NoAnswer(plugin.instance.plugin.clone()));
            }
            Decision::Continue => {}
        }
    }
    stream_request(ready, exchange, chain);
    let plan = Plan::new(&ready.backends, exchange, route, found.consumed)?;
    if let Some(rule) = route.traffic.as_ref().and_then(|rules| rules.mirror.as_ref())
        && ahead.switching.is_none()
    {
        mirror::copy(worker, ready, exchange, rule, &plan);
    }
    // Pinned before it is awaited: by value it would be moved, with all that it waits for in it, and that is the most of a request.
    let forwarding = pin!(forward(&worker.pool, exchange, &plan, ahead));
    let mut response = forwarding.await?;
    if let Some(rules) = &route.traffic {
        traffic::change(&rules.response_headers, &mut response.headers);
    }
    Ok(response)
}

/// `on_error` of each plugin; the first reply is the answer, else the failure's own.
async fn recover(
    worker: &Worker,
    ready: &Ready,
    exchange: &Rc<Exchange>,
    chain: &Chain,
    failure: Failure,
    record: &mut Record,
) -> Response {
    let own = report::failed(worker, ready, exchange, &failure, record);
    exchange.failed.replace(Some(Rc::new(failure.failed())));
    for plugin in &chain.on_error {
        match run(ready, Hook::OnError, plugin, exchange).await {
            Ok(Decision::Reply(reply)) => return reply_response(exchange, reply, From::Error),
            Ok(Decision::Continue) => {}
            Err(failure) => {
                report::failed(worker, ready, exchange, &failure, record);
            }
        }
    }
    reply_response(exchange, own, From::Error)
}

/// `on_response` of each plugin, in reverse order.
async fn respond(ready: &Ready, exchange: &Rc<Exchange>, chain: &Chain) -> Result<(), Failure> {
    for plugin in &chain.on_response {
        if let Decision::Reply(reply) = run(ready, Hook::OnResponse, plugin, exchange).await? {
            exchange.response.replace(Some(reply_response(exchange, reply, From::Reply)));
        }
    }
    Ok(())
}

/// Puts the plugins that change streams into the bodies' way.
fn stream_request(ready: &Rc<Ready>, exchange: &Rc<Exchange>, chain: &Chain) {
    let request = &mut *exchange.request.borrow_mut();
    if !chain.on_request_chunk.is_empty() {
        let body = request.body.take();
        if !body.is_empty() {
            content::changing(&mut request.headers);
        }
        let changed = chunks::through(Hook::OnRequestChunk, &chain.on_request_chunk, ready, exchange, body);
        request.body = Slot::Stream(changed);
    }
    if !chain.on_response_chunk.is_empty() {
        // Scripts are to see text.
        request.headers.remove(header::ACCEPT_ENCODING);
    }
}

/// One hook on a piece of a body. With `on_error: continue` the piece is left as it is.
pub async fn run_on_chunk(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Rc<Exchange>,
    chunk: Option<Bytes>,
) -> Result<Option<Bytes>, Failure> {
    let Some(pass) = quarantine::enter(ready, hook, plugin, exchange)? else { return Ok(None) };
    let span = spans::hook(exchange, hook, plugin);
    let scope = scope(ready, hook, plugin, exchange, span.as_ref());
    let begun = Instant::now();
    let ended = plugin.program.chunk(hook, scope.clone(), &plugin.state, chunk).await;
    record::ran(ready, hook, plugin, exchange, begun.elapsed(), scope.cpu.get(), &ended);
    quarantine::leave(pass, plugin, exchange, &ended);
    spans::ran(span, &ended);
    match ended {
        Ok(changed) => Ok(changed),
        Err(error) => {
            report::script(ready, exchange, &error, "a script failed on a body that streams");
            match plugin.on_error {
                OnError::Continue => Ok(None),
                OnError::Refuse => Err(Failure::Script(Box::new(error))),
            }
        }
    }
}

fn scope(
    ready: &Ready,
    hook: Hook,
    plugin: &Plugin,
    exchange: &Rc<Exchange>,
    span: Option<&SpanInProgress>,
) -> Rc<Scope> {
    Rc::new(Scope {
        hook,
        instance: plugin.instance.clone(),
        exchange: Some(exchange.clone()),
        services: ready.prepared.services.clone(),
        span: span.map_or(0, SpanInProgress::id),
        cpu: Cell::default(),
    })
}

/// One hook. With `on_error: continue` a script that fails is passed over, and logged.
async fn run(ready: &Ready, hook: Hook, plugin: &Plugin, exchange: &Rc<Exchange>) -> Result<Decision, Failure> {
    let Some(pass) = quarantine::enter(ready, hook, plugin, exchange)? else { return Ok(Decision::Continue) };
    let span = spans::hook(exchange, hook, plugin);
    let scope = scope(ready, hook, plugin, exchange, span.as_ref());
    let begun = Instant::now();
    let ended = plugin.program.call(hook, scope.clone(), &plugin.state).await;
    record::ran(ready, hook, plugin, exchange, begun.elapsed(), scope.cpu.get(), &ended);
    quarantine::leave(pass, plugin, exchange, &ended);
    spans::ran(span, &ended);
    match ended {
        Ok(decision) => Ok(decision),
        Err(error) if plugin.on_error == OnError::Continue => {
            report::script(ready, exchange, &error, "a script failed and was passed over");
            Ok(Decision::Continue)
        }
        Err(error) => Err(Failure::Script(Box::new(error))),
    }
}

fn reply_response(exchange: &Exchange, reply: Reply, from: From) -> Response {
    let body = reply.body_for(exchange.id.as_str());
    Response {
        status: reply.status,
        headers: reply.headers,
        passed: None,
        body: Slot::Stream(Body::full(body)),
        from,
        latency: exchange.started.elapsed(),
    }
}

/// The head goes to the client now, the body as it comes; the record is closed after the last byte.
fn send(exchange: &Rc<Exchange>, chain: &Rc<Chain>, ready: &Rc<Ready>, mut record: Record) -> http::Response<Sent> {
    let Some(response) = exchange.response.borrow_mut().take() else {
        // Purposefully not a panic: the exchange always has a response here.
        return http::Response::new(Sent::bare(Body::Empty));
    };
    let Response { status, mut headers, mut passed, mut body, .. } = response;
    let mut body = body.take();
    // SECURITY: framing is the body's own, whatever a script wrote; only for HEAD does the field speak of another message.
    hop::strip_response(&mut headers);
    if !headers.is_empty() && exchange.request.borrow().method != Method::HEAD {
        headers.remove(header::CONTENT_LENGTH);
    }
    match &mut passed {
        Some(passed) => passed.request_id = Some(exchange.id.header().clone()),
        None => {
            headers.insert(super::ids::X_REQUEST_ID, exchange.id.header().clone());
        }
    }
    if !chain.on_response_chunk.is_empty() && !body.is_empty() {
        content::changing(&mut headers);
        body = chunks::through(Hook::OnResponseChunk, &chain.on_response_chunk, ready, exchange, body);
    }
    if let Some(policy) = &ready.prepared.generation.config.compression {
        let request = exchange.request.borrow();
        body = compress(policy, &request.method, &request.headers, status, &mut headers, body);
    }
    record.responded(status);
    let is_call = matches!(body, Body::Streamed(_)) && grpc::is_call(&headers);
    let mut sent = http::Response::new(record.follow(body, chain, is_call, passed));
    *sent.status_mut() = status;
    *sent.headers_mut() = headers;
    sent
}

/// Opens the tunnel behind a 101 of the target; any other answer, a script's included, leaves the connection as it is.
fn switch(worker: &Rc<Worker>, connection: &Connection, switching: Switching, sent: &mut http::Response<Sent>) {
    let is_connect = switching.is_connect();
    let Switching { client, target, idle } = switching;
    let switches = if is_connect { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
    if sent.status() == switches
        && let Some(switched) = target.switched
    {
        if !is_connect {
            let headers = sent.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, target.protocol);
        }
        let content = if target.websocket.is_some() { Content::WebSocket } else { Content::Unknown };
        let place = connection.place.clone();
        tokio::task::spawn_local(tunnel::run(worker.clone(), place, client, switched, content, idle));
    }
}

/// After the last byte: `on_log` of each plugin. Nothing that happens here reaches the client.
pub async fn log(worker: Rc<Worker>, ready: Rc<Ready>, exchange: Rc<Exchange>, chain: Rc<Chain>) {
    exchange.deadline.set(Instant::now() + DEFAULT_DEADLINE);
    for plugin in &chain.on_log {
        if let Err(Failure::Script(error)) = run(&ready, Hook::OnLog, plugin, &exchange).await {
            report::script(&ready, &exchange, &error, "a script failed in on_log");
        }
    }
    spans::hand_over(&worker, &exchange);
}
