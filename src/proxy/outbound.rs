//! Calls by scripts: `svc://` through the generation's own services and this worker's pool, other hosts by [`outside`].
//!
//! A call to a service is what forwarding is, without hooks: balanced, pooled, retried by the service's own rules.

use super::{
    backend::{Backend, Backends},
    failure,
    outside::{self, Clients},
    spans::{self, Under},
    tries::{self, Outgoing},
};
use crate::{
    http::{
        Body, BodyError,
        deadline::{self, X_REQUEST_TIMEOUT},
        path,
        trace::TRACEPARENT,
    },
    script::{
        Exchange, Scope,
        outbound::{Answer, Call, Failure, Outbound},
    },
    upstream::{Kind, Pool},
};
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, header};
use std::{pin::pin, rc::Rc, time::Instant};

/// Of a URL that names a service.
const SCHEME: &str = "svc://";

pub struct Calls {
    pub pool: Pool,
    pub backends: Rc<Backends>,
    /// The most bytes of an answer.
    pub max_body: usize,
    pub clients: Rc<Clients>,
}

impl Outbound for Calls {
    fn call(&self, scope: &Scope, mut call: Call) -> LocalBoxFuture<'static, Answer> {
        let deadline = call.deadline;
        let max_body = self.max_body;
        let mut span = spans::call(scope, &call);
        // A script that names another parent has its way: tries are recorded only where they continue this trace.
        let own = call.headers.contains_key(TRACEPARENT);
        if let Some(parent) = spans::parent(scope, span.as_ref()).filter(|_| !own) {
            call.headers.insert(TRACEPARENT, parent);
        }
        let running: LocalBoxFuture<'static, Result<Answer, Failure>> = match call.url.strip_prefix(SCHEME) {
            Some(rest) => {
                let (name, target) = service_of(rest);
                if let Some(exchange) = &scope.exchange {
                    call.headers
                        .entry(crate::script::stamps::X_REQUEST_ID)
                        .or_insert_with(|| exchange.id.header().clone());
                }
                if let Some(span) = &mut span {
                    span.set("gatewright.service", name.to_owned());
                    span.set("url.path", spans::short(target.split('?').next().unwrap_or_default()));
                }
                let under = span.as_ref().filter(|_| !own).and_then(|span| Under::call(scope, span));
                let (pool, backends, exchange) = (self.pool.clone(), self.backends.clone(), scope.exchange.clone());
                Box::pin(async move {
                    let url = std::mem::take(&mut call.url);
                    let (name, target) = service_of(url.strip_prefix(SCHEME).unwrap_or_default());
                    let backend = backends.named(name).ok_or(Failure::NoService)?;
                    if !is_target(target) {
                        return Err(Failure::BadUrl);
                    }
                    pin!(to_service(&pool, backend, target, call, exchange, under, max_body)).await
                })
            }
            None => match self.clients.permitted(scope, &call.url) {
                Ok((client, url)) => {
                    if let (Some(span), Some(host)) = (&mut span, url.host_str()) {
                        span.set("server.address", spans::short(host));
                        span.set("server.port", i64::from(url.port_or_known_default().unwrap_or_default()));
                    }
                    Box::pin(outside::send(client, url, call, max_body))
                }
                Err(failure) => Box::pin(async move { Err(failure) }),
            },
        };
        Box::pin(async move {
            let ended = tokio::time::timeout_at(deadline.into(), running).await;
            let answer = ended.unwrap_or(Err(Failure::Timeout)).unwrap_or_else(Answer::Failed);
            spans::called(span, &answer);
            answer
        })
    }
}

/// The service's name, and what is asked of it.
fn service_of(rest: &str) -> (&str, &str) {
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

async fn to_service(
    pool: &Pool,
    backend: &Backend,
    target: &str,
    call: Call,
    exchange: Option<Rc<Exchange>>,
    under: Option<Under>,
    max_body: usize,
) -> Result<Answer, Failure> {
    let deadline = call.deadline.min(Instant::now() + backend.timeout);
    let mut headers = call.headers;
    let account = exchange.as_ref().map(|exchange| &exchange.account);
    let hurried = account.is_some_and(|account| account.hurried.get());
    if hurried {
        let left = deadline.saturating_duration_since(Instant::now());
        headers.entry(X_REQUEST_TIMEOUT).or_insert_with(|| deadline::field(left));
    }
    let outgoing = Outgoing {
        method: &call.method,
        headers: &headers,
        host: None,
        started: Instant::now(),
        deadline,
        hurried,
        shortened: account.is_some_and(|account| account.shortened.get()),
        key: exchange.as_ref().and_then(|exchange| backend.key(exchange, &headers)),
        account: None,
        interim: None,
        direct: None,
        passes: false,
        under,
    };
    let mut body = Body::full(call.body);
    let joined = |base: &str| match base {
        "" if target.starts_with('/') => target.into(),
        base => path::join(base, target).into(),
    };
    let sent = pin!(tries::send(pool, backend, &outgoing, &mut body, None, joined)).await;
    let response = sent.map_err(|error| failure(&error))?.response;
    let (head, body) = response.into_parts();
    answer(head.status.as_u16(), head.headers, body.collect(max_body).await.map_err(unreadable)?, max_body).await
}

/// A path with a query that is sent as the script wrote it. Unlike a client's it may hold an encoded slash: a value that was filled
/// in. SECURITY: no dot segments, which the service would resolve, and nothing that ends the request line.
fn is_target(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    // Most paths hold neither, and need not be taken apart.
    let may_have_dots = memchr::memchr2(b'.', b'%', path.as_bytes()).is_some();
    target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') && !(may_have_dots && path.split('/').any(is_dots))
}

/// Whether a segment is one dot or two, encoded or not.
fn is_dots(segment: &str) -> bool {
    let dot = |text: &str| match text.as_bytes() {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    };
    let Some(first) = dot(segment) else { return false };
    let rest = &segment[first..];
    rest.is_empty() || dot(rest) == Some(rest.len())
}

fn failure(error: &failure::Failure) -> Failure {
    if matches!(error, failure::Failure::Late) {
        return Failure::Timeout;
    }
    let failure::Failure::Upstream(error) = error else {
        // No target, or the breaker is open: nothing was sent.
        return Failure::Connect;
    };
    match &error.kind {
        Kind::Timeout => Failure::Timeout,
        Kind::Unresolved(_) | Kind::Refused(_) | Kind::Tls(_) => Failure::Connect,
        Kind::Reset(_)
        | Kind::Closed
        | Kind::BadResponse(_)
        | Kind::Client(_)
        | Kind::ClientStalled
        | Kind::BadRequest(_) => Failure::Protocol,
    }
}

fn unreadable(error: BodyError) -> Failure {
    match error {
        BodyError::TooLarge { .. } => Failure::TooLarge,
        BodyError::UpstreamTimeout(_) => Failure::Timeout,
        BodyError::Client(_) | BodyError::ClientTimeout(_) | BodyError::Upstream(_) | BodyError::Script(_) => {
            Failure::Protocol
        }
    }
}

/// Scripts see the body decoded.
pub async fn answer(
    status: u16,
    mut headers: HeaderMap,
    body: bytes::Bytes,
    max_body: usize,
) -> Result<Answer, Failure> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(Answer::Response { status, headers, body });
    }
    let body = crate::http::encoding::decode(&headers, body, max_body).await.map_err(|_| Failure::Protocol)?;
    headers.remove(header::CONTENT_ENCODING);
    Ok(Answer::Response { status, headers, body })
}

/// For `gateway check`: scripts are loaded, but nothing is called.
pub struct Offline;

impl Outbound for Offline {
    fn call(&self, _: &Scope, _: Call) -> LocalBoxFuture<'static, Answer> {
        Box::pin(async { Answer::Failed(Failure::Connect) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_no_target() {
        for (target, expected) in [
            ("/", true),
            ("/a/b?c=/../d", true),
            ("/a/.../b", true),
            ("/a/.b/%2ec/..d/%2e%2ee", true),
            ("/a%2fb", true),
            ("/a/./b", false),
            ("/a/..", false),
            ("/%2e/b", false),
            ("/a/%2E.", false),
            ("/a/.%2e?b", false),
            ("/a/%2e%2E/b", false),
            ("/a b", false),
            ("/a#b", false),
            ("/ä", false),
        ] {
            assert_eq!(is_target(target), expected, "{target}");
        }
    }
}
