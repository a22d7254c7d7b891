//! The life of an exchange, from the request's head to the response's last byte.
//!
//! [`serve`] is the whole of it, top to bottom; each step is a function below or in a neighbouring file. Every failure ends
//! in one place, [`Failure::reply`]. An exchange runs in one generation, on one worker, in its connection's task:
//! when the client goes away the future is dropped, and with it the upstream call and the script.

use super::{
    accept::{DEFAULT_DEADLINE, accept},
    chunks,
    compression::compress,
    develop,
    failure::Failure,
    forward::{Ahead, Plan, Switching, forward, is_plain},
    grpc, hooks,
    listen::Place,
    mirror,
    record::{Record, Sent},
    report, spans, traffic,
    tunnel::{self, Content},
    websocket,
    worker::{Ready, Worker},
};
use crate::{
    config::{ListenerKey, Scheme},
    downstream::Request,
    gateway::{
        prepared::Chain,
        router::{Match, Subject},
    },
    http::{Body, content, deadline, forwarded, hop, police::Refusal},
    script::{
        Decision, Exchange, Hook, Reply,
        exchange::{From, Response, Slot},
        stamps::X_REQUEST_ID,
    },
};
use http::{HeaderValue, Method, StatusCode, Version, header};
use std::{borrow::Cow, pin::pin, rc::Rc, time::Instant};

/// A client's connection.
pub struct Connection {
    pub client: Rc<forwarded::Connection>,
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

/// Serves one request.
pub async fn serve(worker: Rc<Worker>, connection: Rc<Connection>, request: Request) -> Box<http::Response<Sent>> {
    let ready = worker.ready();
    let Request { mut head, body, interim, upgrade } = request;
    let http1 = head.version < Version::HTTP_2;
    websocket::as_get(&mut head, || worker.ids.random());
    let mut switching = Switching::of(&head, upgrade);
    let (exchange, refused) = accept(&worker, &ready, &connection, head, body);
    // SECURITY: whoever is in front may have read such a head differently, and what comes behind it.
    let closes = matches!(&refused, Some(Failure::Head(refusal)) if refusal.status != StatusCode::METHOD_NOT_ALLOWED);
    if let (None, Some(listener)) = (&refused, connection.redirect) {
        let record = Record::new(&worker, &ready, &exchange);
        let reply = to_https(&worker, &exchange, listener);
        exchange.response.replace(Some(reply_response(&exchange, reply, From::Reply)));
        return send(&exchange, &ready.prepared.unrouted, &ready, record);
    }
    if ready.prepared.generation.router.reads_headers {
        exchange.stamp();
    }
    let found = match refused {
        None => route(&worker, &ready, &connection, &exchange),
        Some(failure) => Err(failure),
    };
    let mut record = Record::new(&worker, &ready, &exchange);
    let _under_way = ready.prepared.services.turns.enter();
    let chain = match &found {
        Ok(found) => ready.prepared.chains[found.route].clone(),
        Err(_) => ready.prepared.unrouted.clone(),
    };
    let routes = ready.prepared.generation.router.routes();
    let plain =
        switching.is_none() && found.as_ref().is_ok_and(|found| is_plain(&ready, &exchange, &routes[found.route]));
    let passes = plain && !chain.follows_answers() && ready.prepared.generation.config.compression.is_none();
    // Hooks on the request's body run while its headers are lent.
    if !plain || !chain.on_request_chunk.is_empty() {
        exchange.stamp();
    }
    let answered = match found {
        Ok(found) => {
            let ahead = Ahead { interim: interim.as_ref(), switching: switching.as_mut(), passes };
            pin!(answer(&worker, &ready, &exchange, &chain, &found, ahead)).await
        }
        Err(failure) => Err(failure),
    };
    let response = match answered {
        Ok(response) => response,
        Err(failure) => recover(&worker, &ready, &exchange, &chain, failure, &mut record).await,
    };
    *exchange.response.borrow_mut() = Some(response);
    let mut sent = pin!(finish(&worker, &ready, &exchange, &chain, switching.as_ref(), record)).await;
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
pub async fn refuse(worker: Rc<Worker>, connection: Rc<Connection>, refusal: Refusal) -> Box<http::Response<Sent>> {
    let ready = worker.ready();
    let mut head = Box::new(http::Request::new(()).into_parts().0);
    // What access logs write for a request line that they can't read.
    head.method = Method::from_bytes(b"-").unwrap_or_default();
    let (exchange, _) = accept(&worker, &ready, &connection, head, Body::Empty);
    let mut record = Record::new(&worker, &ready, &exchange);
    let chain = ready.prepared.unrouted.clone();
    let response = recover(&worker, &ready, &exchange, &chain, Failure::Head(refusal), &mut record).await;
    *exchange.response.borrow_mut() = Some(response);
    finish(&worker, &ready, &exchange, &chain, None, record).await
}

/// `on_response` of each plugin, then the head goes.
async fn finish(
    worker: &Worker,
    ready: &Rc<Ready>,
    exchange: &Rc<Exchange>,
    chain: &Rc<Chain>,
    switching: Option<&Switching>,
    mut record: Record,
) -> Box<http::Response<Sent>> {
    if let Err(failure) = pin!(respond(ready, exchange, chain)).await {
        let reply = report::failed(worker, ready, exchange, &failure, &mut record);
        exchange.response.replace(Some(reply_response(exchange, reply, From::Error)));
    }
    let is_reply = matches!(&*exchange.response.borrow(), Some(Response { from: From::Reply, .. }));
    // Before it is written, if a script had to do with it.
    if is_reply && chain.sees_requests() || !chain.on_response.is_empty() {
        ready.prepared.services.turns.together().await;
    }
    if let (Some(switching), Some(response)) = (switching, &mut *exchange.response.borrow_mut()) {
        websocket::as_connect(switching, response);
    }
    send(exchange, chain, ready, record)
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
    exchange.route.replace(ready.route_name(found.route));
    exchange.account.route.set(Some(found.route));
    if let Some(service) = route.service {
        exchange.deadline.set(exchange.started + ready.backends.at(service).timeout);
    }
    if let Some(patience) = deadline::of(&mut request.headers, exchange.account.version.get() == Version::HTTP_2) {
        exchange.hurry(patience);
    }
    Ok(found)
}

/// Nearly always it is so already.
fn lower_case(host: &str) -> Cow<'_, str> {
    // All of them, so that the processor looks at many at once.
    let upper = host.bytes().fold(0, |found, byte| found | u8::from(byte.is_ascii_uppercase()));
    if upper != 0 { host.to_ascii_lowercase().into() } else { host.into() }
}

pub fn without_port(host: &str) -> &str {
    match host.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':') {
        Some(name) => name,
        None => host,
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
    let turns = &ready.prepared.services.turns;
    if chain.sees_requests() {
        turns.together().await;
    }
    for plugin in &chain.on_request {
        if let Decision::Reply(reply) = hooks::run(ready, Hook::OnRequest, plugin, exchange).await? {
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
        match hooks::run(ready, Hook::Handle, plugin, exchange).await? {
            Decision::Reply(reply) => return Ok(reply_response(exchange, reply, From::Reply)),
            Decision::Continue if route.service.is_none() && exchange.upstream.borrow().is_none() => {
                return Err(Failure::NoAnswer(plugin.instance.plugin.clone()));
            }
            Decision::Continue => {}
        }
    }
    stream_request(ready, exchange, chain);
    let plan = Plan::new(&ready.backends, exchange, route, found.consumed)?;
    if !plan.backend.may_be_direct {
        exchange.stamp();
    }
    if let Some(rule) = route.traffic.as_ref().and_then(|rules| rules.mirror.as_ref())
        && ahead.switching.is_none()
    {
        mirror::copy(worker, ready, exchange, rule, &plan);
    }
    if chain.sees_requests() {
        turns.together().await;
    }
    let mut response = pin!(forward(&worker.pool, exchange, &plan, ahead)).await?;
    if let Some(rules) = &route.traffic {
        traffic::change(&rules.response_headers, response.headers.map());
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
        match hooks::run(ready, Hook::OnError, plugin, exchange).await {
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
    exchange.add_coming_headers();
    if !chain.on_response.is_empty() {
        ready.prepared.services.turns.together().await;
    }
    for plugin in &chain.on_response {
        if let Decision::Reply(reply) = hooks::run(ready, Hook::OnResponse, plugin, exchange).await? {
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

fn reply_response(exchange: &Exchange, reply: Reply, from: From) -> Response {
    let body = reply.body_for(exchange.id.as_str());
    Response {
        status: reply.status,
        headers: reply.headers.into(),
        body: Slot::Stream(Body::full(body)),
        from,
        latency: exchange.started.elapsed(),
    }
}

/// The head goes to the client now, the body as it comes; the record is closed after the last byte.
fn send(
    exchange: &Rc<Exchange>,
    chain: &Rc<Chain>,
    ready: &Rc<Ready>,
    mut record: Record,
) -> Box<http::Response<Sent>> {
    let Some(response) = exchange.response.borrow_mut().take() else {
        // Purposefully not a panic: the exchange always has a response here.
        return Box::new(http::Response::new(Sent::bare(Body::Empty)));
    };
    let Response { status, headers, mut body, .. } = response;
    let (mut headers, mut passed) = headers.into_parts();
    let mut body = body.take();
    // SECURITY: framing is the body's own, whatever a script wrote; only for HEAD does the field speak of another message, and that
    // is not one which never has a body (RFC 9110 §8.6).
    hop::strip_response(&mut headers);
    if !headers.is_empty() && (exchange.request.borrow().method != Method::HEAD || status == StatusCode::NO_CONTENT) {
        headers.remove(header::CONTENT_LENGTH);
    }
    match &mut passed {
        Some(passed) => passed.request_id = Some(exchange.id.header().clone()),
        None => {
            headers.insert(X_REQUEST_ID, exchange.id.header().clone());
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
    let mut sent = Box::new(http::Response::new(record.follow(body, chain, is_call, passed)));
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
        if let Err(Failure::Script(error)) = hooks::run(&ready, Hook::OnLog, plugin, &exchange).await {
            report::script(&ready, &exchange, &error, "a script failed in on_log");
        }
    }
    spans::hand_over(&worker, &exchange);
}
