//! A request to a service: breaker, target, try, and trying again. Forwarding and `svc://` calls of scripts both end here.
//!
//! A try that failed is repeated only where the failure says that it may be, at another target first. Passing over a target that can't
//! be connected to costs neither wait nor budget, since nothing was sent; every other retry waits a random moment, or as long as the
//! answer asks for, and needs a place in the service's budget. The breaker hears of the outcome once, after the last try.

use super::{
    attempt::{counts, told as breaker_told},
    backend::Backend,
    current::{Current, is_unreached},
    failure::Failure,
    spans::{self, Under},
};
use crate::{
    balance::backoff,
    http::{Body, Fault, deadline, passed::Passed},
    script::Account,
    upstream::{Direct, Kind, Lines, Phase, Pool, Request, Timeouts, Upgrade, UpstreamError},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::{
    borrow::Cow,
    cell::Cell,
    pin::pin,
    time::{Duration, Instant},
};

/// What is sent, whichever target it goes to.
pub struct Outgoing<'r> {
    pub method: &'r Method,
    pub headers: &'r HeaderMap,
    /// What `Host` says; the target's own when absent.
    pub host: Option<&'r HeaderValue>,
    pub started: Instant,
    pub deadline: Instant,
    /// The headers hold the client's own deadline, of which targets are told what is left.
    pub hurried: bool,
    /// The deadline is the client's own.
    pub shortened: bool,
    /// What is known of the exchange, told of each try; none for a call by a script.
    pub account: Option<&'r Account>,
    /// What the target is chosen by, with `balance: hash`.
    pub key: Option<u64>,
    /// Is told of interim responses.
    pub interim: Option<&'r dyn Fn(StatusCode, HeaderMap)>,
    /// Writes what goes behind the headers; for targets of HTTP/1.1.
    pub direct: Option<Lines<'r>>,
    /// With that, whether the head of the answer may be [`Passed`].
    pub passes: bool,
    /// Where tries are recorded, if they are.
    pub under: Option<Under>,
}

/// An answer, and when its head was here.
pub struct Answered {
    pub response: Response<Body>,
    /// Instead of the response's headers.
    pub passed: Option<Box<Passed>>,
    pub at: Instant,
}

/// `target` makes the path and query to ask for, from the path that is the target's own.
pub async fn send<'t>(
    pool: &Pool,
    backend: &Backend,
    outgoing: &Outgoing<'_>,
    body: &mut Body,
    mut upgrade: Option<&mut Upgrade>,
    target: impl Fn(&str) -> Cow<'t, str>,
) -> Result<Answered, Failure> {
    let current = match backend.current() {
        Some(current) => current,
        None => Box::pin(backend.resolved(outgoing.deadline)).await?,
    };
    let backend = &current;
    let permit = backend.admit(outgoing.started)?;
    let replayable = matches!(body, Body::Empty | Body::Full(_));
    let timeouts = backend.timeouts(outgoing.deadline, outgoing.shortened, replayable);
    let own_end = outgoing.shortened.then_some(outgoing.deadline);
    let mut tried = Vec::new();
    // Held while its retry is in flight.
    let mut _budget = None;
    loop {
        let index = backend.choose(&tried, outgoing.key)?;
        let seat = backend.seat(index);
        let connection = pin!(backend.connection(index, outgoing.deadline)).await?;
        let under = outgoing.under.as_ref();
        let span = under.map(|under| under.attempt(&backend.name, &seat.name, outgoing.method, tried.len()));
        let traced = under.zip(span.as_ref()).map(|(under, span)| under.headers(span, outgoing.headers));
        let begun = Instant::now();
        if begun >= outgoing.deadline {
            return Err(Failure::Late);
        }
        let mut attempt = backend.attempt(index, begun, connection);
        let direct =
            outgoing.direct.map(|lines| Direct { lines, passes: outgoing.passes, begun, passed: Cell::default() });
        let sent = {
            let target = target(&seat.path);
            let own = told(outgoing, begun, traced);
            let request = Request {
                origin: &seat.origin,
                method: outgoing.method,
                target: &target,
                host: outgoing.host,
                headers: own.as_ref().unwrap_or(outgoing.headers),
                upgrade: upgrade.as_deref_mut(),
                interim: outgoing.interim,
                body,
            };
            let ends = if replayable { backend.try_ends(begun) } else { None };
            pin!(one(pool, request, &timeouts, ends, direct.as_ref())).await
        };
        spans::answered(span, &sent);
        let took = backend.counted(index, begun, &sent);
        if let Some(account) = outgoing.account {
            account.tried(&backend.name, &seat.name, took);
        }
        let at = begun + took;
        match sent {
            Ok(mut response) => {
                attempt.answered(response.status(), at);
                let failed = counts(response.status());
                let may_ask_again = backend.may_ask_again(response.status(), outgoing.method, replayable, tried.len());
                let wait = if may_ask_again { wait_for(&response, backend, tried.len(), outgoing, at) } else { None };
                _budget = None;
                if let Some(wait) = wait {
                    _budget = backend.begin_retry(&tried, index, wait, outgoing.deadline).await;
                }
                if _budget.is_none() {
                    let round = permit.round();
                    breaker_told(permit.ended(failed, at), &backend.name, "");
                    attempt.follow(response.body_mut(), own_end, round);
                    return Ok(Answered { response, passed: direct.and_then(|direct| direct.passed.take()), at });
                }
            }
            Err(error) => {
                let own = outgoing.shortened && matches!(error.kind, Kind::Timeout) && at >= outgoing.deadline;
                if !own {
                    attempt.failed(&error, at);
                }
                drop(attempt);
                let unreached = is_unreached(&error);
                let free = unreached && backend.has_more(tried.len() + 1);
                let mut again = backend.may_retry(&error, outgoing.method, tried.len()) && at < outgoing.deadline;
                if again && !free {
                    _budget = None;
                    let wait = backoff::wait(tried.len() as u32 + 1, backend.random());
                    _budget = backend.begin_retry(&tried, index, wait, outgoing.deadline).await;
                    again = _budget.is_some();
                }
                if !again {
                    if error.fault() == Fault::Upstream && !own {
                        breaker_told(permit.ended(true, at), &backend.name, "");
                    }
                    return Err(if backend.is_gone(&error, outgoing.method, &tried, index) {
                        backend.no_target()
                    } else {
                        error.into()
                    });
                }
                tracing::debug!(%error, "trying again");
            }
        }
        tried.push(index);
        backend.meter.retries.increment();
    }
}

/// One try, which may have a limit of its own.
async fn one(
    pool: &Pool,
    request: Request<'_>,
    timeouts: &Timeouts,
    ends: Option<Instant>,
    direct: Option<&Direct<'_>>,
) -> Result<Response<Body>, UpstreamError> {
    let origin = request.origin;
    let sending = pin!(pool.send_direct(request, timeouts, direct));
    let Some(ends) = ends else { return sending.await };
    let ended = tokio::time::timeout_at(ends.into(), sending).await;
    // Connecting has a limit that is no longer, so that this is one that was sent; and its body is one that is kept.
    ended.unwrap_or_else(|_| {
        let (origin, kind) = (origin.clone(), Kind::Timeout);
        Err(UpstreamError { origin, phase: Phase::Head, kind, sent: true, body_consumed: false })
    })
}

/// This try's own headers, if it has any: those that are traced, and what is left of the client's own deadline.
fn told(outgoing: &Outgoing<'_>, now: Instant, traced: Option<HeaderMap>) -> Option<HeaderMap> {
    if !outgoing.hurried {
        return traced;
    }
    let mut headers = traced.unwrap_or_else(|| outgoing.headers.clone());
    deadline::tell(&mut headers, outgoing.deadline.saturating_duration_since(now));
    Some(headers)
}

/// How long to wait before asking again; none when the service said when to come back, and that is too late.
fn wait_for(
    response: &Response<Body>,
    backend: &Current<'_>,
    retries: usize,
    outgoing: &Outgoing<'_>,
    at: Instant,
) -> Option<Duration> {
    let own = backoff::wait(retries as u32 + 1, backend.random());
    let asked = backoff::retry_after(response.headers()).unwrap_or_default();
    (asked <= backoff::MOST_PATIENCE && at + asked < outgoing.deadline).then(|| own.max(asked))
}
