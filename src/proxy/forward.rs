//! Forwarding: an exchange's request to a target of its service, and the head of the response back.
//!
//! What a script asked for (another service, path, query or method) has been written into the exchange; here it becomes the
//! request that leaves. Which target it goes to, and whether it goes again, is decided in [`tries`].

use super::{
    backend::{Backend, Backends},
    failure::Failure,
    spans::Under,
    tries::{self, Answered, Outgoing},
    websocket,
    worker::Ready,
};
use crate::{
    config::Route,
    downstream::{Interim, Upgrading},
    http::{Body, NormalPath, hop, path, police, response_headers::ResponseHeaders},
    script::{
        Exchange,
        exchange::{self, From, NO_END, Response, Slot},
    },
    upstream::{Lines, Pool, Upgrade},
};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use std::{borrow::Cow, pin::pin, time::Duration};

/// What forwarding needs of the route.
pub struct Plan<'a> {
    pub backend: &'a Backend,
    /// How much of the matched path is left out.
    pub strip: usize,
    pub preserve_host: bool,
}

impl<'a> Plan<'a> {
    /// The route's service, or the one that a script chose.
    pub fn new(
        backends: &'a Backends,
        exchange: &Exchange,
        route: &Route,
        consumed: usize,
    ) -> Result<Plan<'a>, Failure> {
        let backend = match (exchange.upstream.borrow().as_deref(), route.service) {
            (Some(name), _) => backends.named(name).ok_or_else(|| Failure::NoService(name.to_owned()))?,
            (None, Some(index)) => backends.at(index),
            (None, None) => return Err(Failure::NoAnswer(route.name.value.as_str().into())),
        };
        let strip = if route.strip_path { consumed } else { 0 };
        Ok(Plan { backend, strip, preserve_host: route.preserve_host })
    }
}

/// A client's request to switch protocols, until the response is known.
pub struct Switching {
    /// The client's connection, once it has the 101.
    pub client: Upgrading,
    pub target: Upgrade,
    /// How long the tunnel may be silent: the service's read timeout.
    pub idle: Duration,
}

impl Switching {
    /// Of a request that may and can switch; its fields are taken off by `hop` afterwards.
    pub fn of(head: &http::request::Parts, client: Option<Upgrading>) -> Option<Switching> {
        let client = client?;
        let protocol = hop::upgrade(&head.headers)?;
        let websocket = websocket::handshake(head, &protocol);
        Some(Switching { client, target: Upgrade { protocol, websocket, switched: None }, idle: Duration::MAX })
    }

    /// Whether it came as an extended CONNECT of HTTP/2, and is answered as such.
    pub fn is_connect(&self) -> bool {
        self.target.websocket.as_ref().is_some_and(|handshake| handshake.own_key)
    }
}

/// What may reach the client before the answer, or in its place.
pub struct Ahead<'a> {
    pub interim: Option<&'a Interim>,
    pub switching: Option<&'a mut Switching>,
    /// Nothing but hooks of `on_response` looks at the headers of the answer, which may stay lines until then.
    pub passes: bool,
}

/// Whether nothing but scripts looks at the headers of a request or of its answer, or changes them: no rule, no choice by a header, no
/// span. Compression looks at those of answers besides.
pub fn is_plain(ready: &Ready, exchange: &Exchange, route: &Route) -> bool {
    route.traffic.is_none()
        && route.service.is_some_and(|service| ready.backends.at(service).may_be_direct)
        && exchange.account.recording.get().is_none()
        && exchange.account.version.get() != Version::HTTP_2
}

pub async fn forward(pool: &Pool, exchange: &Exchange, plan: &Plan<'_>, ahead: Ahead<'_>) -> Result<Response, Failure> {
    // Lent and not copied (1,000 instructions for six fields): while a target answers, no hook runs that could miss them.
    let headers = std::mem::take(&mut exchange.request.borrow_mut().headers);
    let answered = pin!(send(pool, exchange, plan, &headers, ahead)).await;
    exchange.request.borrow_mut().headers = headers;
    answered
}

async fn send(
    pool: &Pool,
    exchange: &Exchange,
    plan: &Plan<'_>,
    headers: &HeaderMap,
    ahead: Ahead<'_>,
) -> Result<Response, Failure> {
    let host = host(exchange, plan, headers);
    let (method, matched, mut body) = {
        let request = &mut *exchange.request.borrow_mut();
        (request.method.clone(), request.target.clone(), request.body.take())
    };
    if plan.backend.keeps(&method, &body) {
        // Boxed, since it is rare and would make every exchange larger.
        Box::pin(plan.backend.keep(&mut body, exchange.deadline.get())).await?;
    }
    let upgrade = ahead.switching.map(|switching| {
        switching.idle = plan.backend.read_timeout();
        &mut switching.target
    });
    let interim = |status: StatusCode, mut headers: HeaderMap| {
        if let Some(client) = ahead.interim {
            hop::strip_response(&mut headers);
            client.send(status, &headers);
        }
    };
    let lines = |out: &mut Vec<u8>| exchange.write_stamps(out);
    let outgoing = Outgoing {
        method: &method,
        headers,
        host: host.as_ref(),
        started: exchange.started,
        deadline: exchange.deadline.get(),
        hurried: exchange.account.hurried.get(),
        shortened: exchange.account.shortened.get(),
        account: Some(&exchange.account),
        key: plan.backend.key(exchange, headers),
        interim: Some(&interim),
        direct: (ahead.passes || !exchange.is_stamped()).then_some(&lines as Lines<'_>),
        passes: ahead.passes,
        under: Under::root(exchange),
    };
    let target = |base: &str| target(exchange, &matched, plan.strip, base);
    let answered = pin!(tries::send(pool, plan.backend, &outgoing, &mut body, upgrade, target)).await?;
    if matches!(answered.response.body(), Body::Streamed(_))
        && plan.backend.outlasts(answered.response.headers(), outgoing.shortened)
    {
        exchange.deadline.set(exchange.started + NO_END);
    }
    Ok(received(exchange, answered))
}

/// What `Host` says; the target's own when absent. What a script wrote over the client's goes as it is.
pub fn host(exchange: &Exchange, plan: &Plan<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let own = police::host(headers);
    own.filter(|host| plan.preserve_host || **host != exchange.request.borrow().host).cloned()
}

/// The path and query to ask for: the target's own path, then what is left of the request's, joined as Kong does.
/// Nearly always that is the matched target as it stands.
fn target<'m>(exchange: &Exchange, matched: &'m NormalPath, strip: usize, base: &str) -> Cow<'m, str> {
    let request = exchange.request.borrow();
    if strip == 0 && base.is_empty() && request.path_set.is_none() && request.query_set.is_none() {
        return matched.as_str().into();
    }
    joined(base, rest(&request, strip), request.query()).into()
}

/// The path to ask for, without the target's own.
pub fn rest(request: &exchange::Request, strip: usize) -> &str {
    let whole = request.path();
    match &request.path_set {
        Some(_) => whole,
        None => whole.get(strip..).unwrap_or_default(),
    }
}

pub fn joined(base: &str, rest: &str, query: &str) -> String {
    let mut target = match (base, rest) {
        ("", rest) if rest.starts_with('/') || rest == "*" => rest.to_owned(),
        (base, rest) => path::join(base, rest),
    };
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    target
}

fn received(exchange: &Exchange, answered: Answered) -> Response {
    let (mut head, body) = answered.response.into_parts();
    hop::strip_response(&mut head.headers);
    Response {
        status: head.status,
        headers: ResponseHeaders::new(head.headers, answered.passed),
        body: Slot::Stream(body),
        from: From::Upstream,
        latency: answered.at.saturating_duration_since(exchange.started),
    }
}
