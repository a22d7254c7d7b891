//! Calls by scripts: `svc://` through the generation's own services and this worker's pool, other hosts by [`outside`].
//!
//! A call to a service is what forwarding is, without hooks: balanced, pooled, retried by the service's own rules.

use super::{
    backend::Backends,
    failure,
    outside::{self, Clients},
    spans::{self, Under},
    tries::{self, Answered, Outgoing},
};
use crate::{
    http::{
        Body, BodyError,
        deadline::{self, X_REQUEST_TIMEOUT},
        path,
        trace::{TRACEPARENT, Trace},
    },
    observe::traces::SpanInProgress,
    script::{
        Exchange, Scope,
        outbound::{Answer, Call, Failure, Headers, Outbound},
        stamps::X_REQUEST_ID,
    },
    upstream::{Kind, Lines, Pool},
};
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, header};
use std::{cell::OnceCell, pin::pin, rc::Rc, time::Instant};

pub struct Calls {
    pub pool: Pool,
    pub backends: Rc<Backends>,
    /// The most bytes of an answer.
    pub max_body: usize,
    pub clients: Rc<Clients>,
}

impl Outbound for Calls {
    fn call(&self, scope: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        let span = spans::call(scope, &call);
        // A script that names another parent has its way: tries are recorded only where they continue this trace.
        let trace = spans::parent(scope, span.as_ref()).filter(|_| !call.headers.contains_key(TRACEPARENT));
        if call.url.starts_with(SERVICE) {
            self.call_service(scope, call, trace, span)
        } else {
            self.call_outside(scope, call, trace, span)
        }
    }
}

impl Calls {
    fn call_service(
        &self,
        scope: &Scope,
        call: Call,
        trace: Option<Trace>,
        mut span: Option<SpanInProgress>,
    ) -> LocalBoxFuture<'static, Answer> {
        if let Some(span) = &mut span {
            let (name, target) = service_and_target(&call.url);
            span.set("gatewright.service", name.to_owned());
            span.set("url.path", spans::short(target.split('?').next().unwrap_or_default()));
        }
        let under = span.as_ref().filter(|_| trace.is_some()).and_then(|span| Under::call(scope, span));
        let (pool, backends, exchange) = (self.pool.clone(), self.backends.clone(), scope.exchange.clone());
        let deadline = call.deadline;
        let call = ServiceCall { pool, backends, call, exchange, trace, under, max_body: self.max_body };
        Box::pin(async move { ended(pin!(call.answer()), deadline, span).await })
    }

    fn call_outside(
        &self,
        scope: &Scope,
        mut call: Call,
        trace: Option<Trace>,
        mut span: Option<SpanInProgress>,
    ) -> LocalBoxFuture<'static, Answer> {
        if let Some(trace) = trace {
            trace.set(&mut call.headers);
        }
        let permitted = self.clients.permitted(scope, &call.url);
        if let (Some(span), Ok((_, url))) = (&mut span, &permitted)
            && let Some(host) = url.host_str()
        {
            span.set("server.address", spans::short(host));
            span.set("server.port", i64::from(url.port_or_known_default().unwrap_or_default()));
        }
        let (deadline, max_body) = (call.deadline, self.max_body);
        let running = async move {
            let (client, url) = permitted?;
            outside::send(client, url, call, max_body).await
        };
        Box::pin(async move { ended(pin!(running), deadline, span).await })
    }
}

/// What came of a call until its deadline.
async fn ended(
    running: impl Future<Output = Result<Answer, Failure>>,
    deadline: Instant,
    span: Option<SpanInProgress>,
) -> Answer {
    let ended = tokio::time::timeout_at(deadline.into(), running).await;
    let answer = ended.unwrap_or(Err(Failure::Timeout)).unwrap_or_else(Answer::Failed);
    spans::called(span, &answer);
    answer
}

const SERVICE: &str = "svc://";

/// The parts of `svc://NAME/path?query`.
fn service_and_target(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix(SERVICE).unwrap_or(url);
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

struct ServiceCall {
    pool: Pool,
    backends: Rc<Backends>,
    call: Call,
    exchange: Option<Rc<Exchange>>,
    /// What the service continues, unless the script said so itself.
    trace: Option<Trace>,
    under: Option<Under>,
    max_body: usize,
}

impl ServiceCall {
    async fn answer(self) -> Result<Answer, Failure> {
        let ServiceCall { pool, backends, call, exchange, trace, under, max_body } = self;
        let (name, target) = service_and_target(&call.url);
        let backend = backends.named(name).ok_or(Failure::NoService)?;
        if !is_target(target) {
            return Err(Failure::BadUrl);
        }
        let started = Instant::now();
        let deadline = call.deadline.min(started + backend.timeout);
        let mut headers = call.headers;
        let account = exchange.as_ref().map(|exchange| &exchange.account);
        let hurried = account.is_some_and(|account| account.hurried.get());
        if hurried {
            let left = deadline.saturating_duration_since(started);
            headers.entry(X_REQUEST_TIMEOUT).or_insert_with(|| deadline::field(left));
        }
        let id = exchange.as_ref().map(|exchange| &exchange.id).filter(|_| !headers.contains_key(X_REQUEST_ID));
        // As when a request is forwarded: what nobody looks at on the way need not enter a map.
        let is_direct = backend.may_be_direct && under.is_none();
        if !is_direct {
            id.into_iter().for_each(|id| drop(headers.insert(X_REQUEST_ID, id.header().clone())));
            trace.into_iter().for_each(|trace| trace.set(&mut headers));
        }
        let lines = |out: &mut Vec<u8>| {
            id.into_iter().for_each(|id| id.write(out));
            trace.into_iter().for_each(|trace| trace.write(out));
        };
        let outgoing = Outgoing {
            method: &call.method,
            headers: &headers,
            host: None,
            started,
            deadline,
            hurried,
            shortened: account.is_some_and(|account| account.shortened.get()),
            key: exchange.as_ref().and_then(|exchange| backend.key(exchange, &headers)),
            account: None,
            interim: None,
            direct: is_direct.then_some(&lines as Lines<'_>),
            passes: is_direct,
            under,
        };
        let mut body = Body::full(call.body);
        let joined = |base: &str| match base {
            "" if target.starts_with('/') => target.into(),
            base => path::join(base, target).into(),
        };
        let sent = pin!(tries::send(&pool, backend, &outgoing, &mut body, None, joined)).await;
        let Answered { response, passed, .. } = sent.map_err(|error| failure(&error))?;
        let (head, body) = response.into_parts();
        let (status, body) = (head.status.as_u16(), body.collect(max_body).await.map_err(unreadable)?);
        match passed {
            Some(passed) if !passed.is_encoded() => {
                pool.recycle(head.headers);
                Ok(Answer::Response { status, headers: Headers::Lines(passed, OnceCell::new()), body })
            }
            Some(passed) => answer(status, passed.all_headers(), body, max_body).await,
            None => answer(status, head.headers, body, max_body).await,
        }
    }
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
        return Ok(Answer::Response { status, headers: headers.into(), body });
    }
    let body = crate::http::encoding::decode(&headers, body, max_body).await.map_err(|_| Failure::Protocol)?;
    headers.remove(header::CONTENT_ENCODING);
    Ok(Answer::Response { status, headers: headers.into(), body })
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
