//! A request to a service: breaker, target, try, and trying again. Forwarding and `svc://` calls of scripts both end here.
//!
//! A try that failed is repeated only where the failure says that it may be, at another target first. Passing over a target that can't
//! be connected to costs neither wait nor budget, since nothing was sent; every other retry waits a random moment and needs a place in the
//! service's budget. The breaker hears of the outcome once, after the last try.

use super::{
    backend::{Backend, is_unreached},
    failure::Failure,
    spans::{self, Under},
};
use crate::{
    balance::backoff,
    http::{Body, Fault},
    script::Account,
    upstream::{Pool, Request, Upgrade},
};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use std::{
    borrow::Cow,
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
    /// What is known of the exchange, told of each try; none for a call by a script.
    pub account: Option<&'r Account>,
    /// What the target is chosen by, with `balance: hash`.
    pub key: Option<u64>,
    /// Where tries are recorded, if they are.
    pub under: Option<Under>,
}

/// An answer, and when its head was here.
pub struct Answered {
    pub response: Response<Body>,
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
    let permit = backend.admit(outgoing.started)?;
    let timeouts = backend.timeouts(outgoing.deadline);
    let replayable = matches!(body, Body::Empty | Body::Full(_));
    let mut tried = Vec::new();
    // Held while its retry is in flight.
    let mut _budget = None;
    loop {
        let index = backend.choose(&tried, outgoing.key)?;
        let seat = backend.seat(index);
        let attempt = backend.attempt(index);
        let under = outgoing.under.as_ref();
        let span = under.map(|under| under.attempt(&backend.name, &seat.name, outgoing.method, tried.len()));
        let traced = under.zip(span.as_ref()).map(|(under, span)| under.headers(span, outgoing.headers));
        let begun = Instant::now();
        let sent = {
            let target = target(&seat.path);
            let request = Request {
                origin: &seat.origin,
                method: outgoing.method,
                target: &target,
                host: outgoing.host,
                headers: traced.as_ref().unwrap_or(outgoing.headers),
                upgrade: upgrade.as_deref_mut(),
                body,
            };
            pool.send(request, &timeouts).await
        };
        spans::answered(span, &sent);
        let (sent, took) = backend.counted(begun, sent);
        if let Some(account) = outgoing.account {
            account.tried(&backend.name, &seat.name, took);
        }
        let at = begun + took;
        let free = match sent {
            Ok(response) => {
                attempt.answered(response.status(), at);
                let failed = counts(&response);
                let again = backend.may_ask_again(response.status(), outgoing.method, replayable, tried.len())
                    && at < outgoing.deadline
                    && !asks_for_patience(&response);
                if !again {
                    permit.ended(failed, at);
                    return Ok(Answered { response: attempt.follow(response), at });
                }
                _budget = None;
                match backend.begin_retry() {
                    Some(budget) => _budget = Some(budget),
                    None => {
                        permit.ended(failed, at);
                        return Ok(Answered { response: attempt.follow(response), at });
                    }
                }
                false
            }
            Err(error) => {
                attempt.failed(&error, at);
                let unreached = is_unreached(&error);
                let free = unreached && backend.has_more(tried.len() + 1);
                let mut again = backend.may_retry(&error, outgoing.method, tried.len()) && at < outgoing.deadline;
                if again && !free {
                    _budget = None;
                    _budget = backend.begin_retry();
                    again = _budget.is_some();
                }
                if !again {
                    if error.fault() == Fault::Upstream {
                        permit.ended(true, at);
                    }
                    // Nobody is there: that is no answer of a gateway's, and a client may well come back.
                    let all_dead = unreached && backend.has_tried_all(&tried, index);
                    return Err(if all_dead { backend.no_target() } else { error.into() });
                }
                tracing::debug!(%error, "trying again");
                free
            }
        };
        drop(attempt);
        tried.push(index);
        backend.meter.retries.increment();
        if !free {
            let wait = backoff::wait(tried.len() as u32, backend.random());
            let left = outgoing.deadline.saturating_duration_since(at);
            tokio::time::sleep(wait.min(left)).await;
        }
    }
}

/// Whether the breaker counts it. 501 and 505 answer the request and not the load (RFC 9110 §15.6).
fn counts(response: &Response<Body>) -> bool {
    let status = response.status().as_u16();
    status >= 500 && status != 501 && status != 505
}

/// Whether the service said when to come back, and that is later than any retry here (RFC 9110 §10.2.3).
fn asks_for_patience(response: &Response<Body>) -> bool {
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    after.and_then(|text| text.parse().ok()).map(Duration::from_secs).is_some_and(|after| !after.is_zero())
}
