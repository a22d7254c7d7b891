//! Services as a worker uses them: targets to connect to, and the rules of the service for choosing, trying again and giving up.
//!
//! The rules are the generation's; what is known of targets and breakers is the process's, looked up when the generation is made
//! ready on this worker. One [`Attempt`] is one request to one target: it counts as in flight until its body has ended.

use crate::{
    balance::{
        Cause, Clock, Member, Permit, Picker, Registry, ServiceState, Standing, TargetState,
        backoff::{self, Retry},
    },
    config::{Algorithm, CircuitBreaker, HashOn, PassiveCheck, RetryOn, Scheme, Service, Target},
    gateway::generation::Generation,
    http::{Body, BodyError, Fault, cookies},
    observe::metrics::{Meters, ServiceMeter},
    script::Exchange,
    upstream::{Kind, Names, Origin, Phase, Timeouts, Tls, UpstreamError, is_idempotent},
};
use ahash::AHashMap;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::failure::Failure;

/// How often a retry looks for a place in the budget again: 25, 75 and 175 ms at most, about 140 together.
const WAITS_FOR_A_PLACE: usize = 3;

pub struct Backend {
    pub name: Arc<str>,
    pub timeout: Duration,
    pub retries: u32,
    pub preserve_host: bool,
    connect: Duration,
    read: Duration,
    write: Duration,
    retry_on: RetryOn,
    passive: Option<PassiveCheck>,
    breaker: Option<CircuitBreaker>,
    state: Arc<ServiceState>,
    picker: Picker,
    /// In the order of the picker's members.
    seats: Vec<Seat>,
    pub meter: Arc<ServiceMeter>,
}

/// Where a target is.
pub struct Seat {
    pub origin: Arc<Origin>,
    /// `host:port`.
    pub name: Arc<str>,
    /// Goes before the request's path; empty, or without a slash at its end.
    pub path: String,
}

/// All services of a generation.
pub struct Backends {
    all: Vec<Backend>,
    by_name: AHashMap<Arc<str>, usize>,
}

impl Backends {
    pub fn new(generation: &Generation, registry: &Registry, names: &Names, meters: &Meters) -> Backends {
        let services = generation.config.services.iter().zip(&generation.upstream_tls).zip(&meters.services);
        let one = |((service, tls), meter): ((&Service, &Option<Tls>), &Arc<ServiceMeter>)| {
            Backend::new(service, tls.as_ref(), registry, names, meter.clone())
        };
        let all: Vec<Backend> = services.map(one).collect();
        let by_name = all.iter().enumerate().map(|(index, backend)| (backend.name.clone(), index)).collect();
        Backends { all, by_name }
    }

    pub fn at(&self, index: usize) -> &Backend {
        &self.all[index]
    }

    pub fn named(&self, name: &str) -> Option<&Backend> {
        self.by_name.get(name).map(|index| &self.all[*index])
    }
}

impl Backend {
    fn new(
        service: &Service,
        tls: Option<&Tls>,
        registry: &Registry,
        names: &Names,
        meter: Arc<ServiceMeter>,
    ) -> Backend {
        let state = registry.service(&service.name.value);
        let (mut seats, mut members) = (Vec::new(), Vec::new());
        for target in &service.targets {
            if let Some(seat) = Seat::new(service, target, tls, names) {
                let address = target.address();
                members.push(Member::new(state.target(&address), &address, target.weight, target.backup));
                seats.push(seat);
            }
        }
        Backend {
            name: Arc::from(service.name.value.as_str()),
            timeout: service.timeout,
            retries: service.retries,
            preserve_host: service.preserve_host,
            connect: service.connect_timeout,
            read: service.read_timeout,
            write: service.write_timeout,
            retry_on: service.retry_on.clone(),
            passive: service.passive_check.clone(),
            breaker: service.circuit_breaker.clone(),
            picker: Picker::new(service.algorithm.clone(), service.slow_start, state.clock, members),
            state,
            seats,
            meter,
        }
    }

    /// The leave to ask this service at all.
    pub fn admit(&self, started: Instant) -> Result<Permit<'_>, Failure> {
        if let Some(breaker) = &self.breaker
            && breaker.max_concurrent > 0
            && self.in_flight() >= breaker.max_concurrent
        {
            return Err(Failure::Overloaded(self.name.to_string()));
        }
        let admitted = self.state.breaker.admit(self.breaker.as_ref(), self.state.clock, started);
        admitted.map_err(|refused| Failure::BreakerOpen { service: self.name.to_string(), after: refused.after })
    }

    /// The next target, another one than those in `tried` if possible.
    pub fn choose(&self, tried: &[usize], key: Option<u64>) -> Result<usize, Failure> {
        self.picker.pick(tried, key).ok_or_else(|| self.no_target())
    }

    /// None of its targets can be asked: when the next one may be tried.
    pub fn no_target(&self) -> Failure {
        let now = self.state.clock.now();
        let ends = self.picker.members().iter().filter_map(|member| member.state.ejected_until());
        let after = ends.min().map_or(1_000, |end| end.saturating_sub(now));
        Failure::NoTarget { service: self.name.to_string(), after: Duration::from_millis(after) }
    }

    /// What the target is chosen by, where it is by something of the request.
    pub fn key(&self, exchange: &Exchange, headers: &HeaderMap) -> Option<u64> {
        let Algorithm::Hash(on) = self.picker.algorithm() else { return None };
        let hash = crate::balance::hash;
        match on {
            HashOn::Ip => Some(match exchange.client.ip {
                std::net::IpAddr::V4(ip) => hash(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            HashOn::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashOn::Cookie(name) => cookies::cookie(headers, name).map(|value| hash(value.as_bytes())),
            HashOn::Path => Some(hash(exchange.request.borrow().path().as_bytes())),
        }
    }

    /// Begins one request to a target.
    pub fn attempt(&self, index: usize) -> Attempt<'_> {
        let target = &self.picker.members()[index].state;
        Attempt { backend: self, target, trial: target.begin() }
    }

    /// Whether a try that failed is repeated; `retries` ones have been. A target that could not be connected to is passed over in
    /// any case, as in Caddy: nothing was sent.
    pub fn may_retry(&self, error: &UpstreamError, method: &Method, retries: usize) -> bool {
        let unreached = is_unreached(error);
        let allowed = if unreached { self.seats.len().saturating_sub(1) } else { 0 };
        let wanted = unreached || self.retry_on.reset;
        wanted && retries < allowed.max(self.retries as usize) && error.may_retry(method)
    }

    /// Whether an answer is asked for again; `replayable`: the request's body is still here.
    pub fn may_ask_again(&self, status: StatusCode, method: &Method, replayable: bool, retries: usize) -> bool {
        self.retry_on.statuses.contains(&status.as_u16())
            && retries < self.retries as usize
            && replayable
            && is_idempotent(method)
    }

    /// A place in the budget of retries, after a random moment; none when the budget is spent.
    ///
    /// When one of several targets dies, all its requests fail at once, and more of them than the budget has places. As long as another
    /// target is well they wait for one: places come free as fast as it answers. In an outage nobody waits.
    pub async fn begin_retry(&self, tried: &[usize], last: usize, deadline: Instant) -> Option<Retry<'_>> {
        let mut place = None;
        for nth in (tried.len() as u32 + 1..).take(1 + WAITS_FOR_A_PLACE) {
            place = place.or_else(|| Retry::begin(&self.state.retrying, self.in_flight()));
            let another = |index: usize| index != last && !tried.contains(&index) && self.is_well(index);
            if place.is_none() && !(0..self.seats.len()).any(another) {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(backoff::wait(nth, self.picker.random()).min(left)).await;
            if place.is_some() {
                return place;
            }
        }
        Retry::begin(&self.state.retrying, self.in_flight())
    }

    fn is_well(&self, index: usize) -> bool {
        let target = &self.picker.members()[index].state;
        target.standing() == Standing::Up && target.is_well()
    }

    /// Whether all its targets have been tried, and it has several.
    pub fn has_tried_all(&self, tried: &[usize], last: usize) -> bool {
        self.seats.len() > 1 && (0..self.seats.len()).all(|index| index == last || tried.contains(&index))
    }

    /// Whether it has more targets than were tried.
    pub fn has_more(&self, tried: usize) -> bool {
        tried < self.seats.len()
    }

    /// Counts a try that began then and ended now; gives how long it took.
    pub fn counted<T>(&self, begun: Instant, ended: Result<T, UpstreamError>) -> (Result<T, UpstreamError>, Duration) {
        let took = begun.elapsed();
        self.meter.tries.increment();
        self.meter.duration.observe(took);
        if let Err(error) = &ended {
            self.meter.failed(error.word());
        }
        (ended, took)
    }

    pub fn seat(&self, index: usize) -> &Seat {
        &self.seats[index]
    }

    pub fn read_timeout(&self) -> Duration {
        self.read
    }

    pub fn timeouts(&self, deadline: Instant) -> Timeouts {
        Timeouts { connect: self.connect, read: self.read, write: self.write, deadline: Some(deadline.into()) }
    }

    fn in_flight(&self) -> u32 {
        self.picker.members().iter().map(|member| member.state.in_flight()).sum()
    }

    /// Whether one more target may be ejected for `cause`. A service's only target never is: the breaker is there for that. Those that
    /// can't be reached are no loss, so their share is not looked at.
    fn may_eject(&self, cause: Cause, policy: &PassiveCheck) -> bool {
        let members = self.picker.members();
        if members.len() < 2 {
            return false;
        }
        let ejected = members.iter().filter(|member| member.state.standing() == Standing::Ejected).count();
        cause == Cause::Unreached || ejected == 0 || (ejected + 1) * 100 <= members.len() * policy.max_ejected as usize
    }
}

impl Seat {
    /// None for what can't be connected to; the configuration is checked, so that there is none.
    fn new(service: &Service, target: &Target, tls: Option<&Tls>, names: &Names) -> Option<Seat> {
        let mut origin = Origin::new(&target.host, target.port).ok()?.among(names);
        if target.scheme == Scheme::Https {
            origin = origin.with_tls(tls?.clone()).ok()?;
        }
        if service.http2 {
            origin = origin.with_http2();
        }
        Some(Seat { origin: Arc::new(origin), name: target.address().into(), path: target.path.clone() })
    }
}

/// One request to one target, in flight.
pub struct Attempt<'b> {
    backend: &'b Backend,
    target: &'b Arc<TargetState>,
    /// It decides whether an ejection ends.
    trial: bool,
}

impl Attempt<'_> {
    /// Judges an answer.
    pub fn answered(&self, status: StatusCode, at: Instant) {
        let clock = self.backend.state.clock;
        let failing = |policy: &PassiveCheck| policy.statuses.contains(&status.as_u16());
        // Nearly all answers are below.
        if status.as_u16() >= 400 && self.backend.passive.as_ref().is_some_and(failing) {
            self.failed_by(Cause::Status, clock, at);
        } else {
            self.target.succeeded(self.trial, self.backend.passive.as_ref(), || clock.at(at));
        }
    }

    /// Judges a failure; the client's own say nothing about the target.
    pub fn failed(&self, error: &UpstreamError, at: Instant) {
        if error.fault() == Fault::Upstream {
            let cause = match &error.kind {
                _ if is_unreached(error) => Cause::Unreached,
                Kind::Timeout => Cause::Timeout,
                _ => Cause::Broken,
            };
            self.failed_by(cause, self.backend.state.clock, at);
        }
    }

    fn failed_by(&self, cause: Cause, clock: Clock, at: Instant) {
        let policy = self.backend.passive.as_ref();
        let may_eject = || policy.is_some_and(|policy| self.backend.may_eject(cause, policy));
        if self.target.failed(cause, self.trial, policy, clock.at(at), may_eject) {
            let service = &*self.backend.name;
            tracing::warn!(service, ?cause, "a target is left out for a while: it failed too often");
        }
    }

    /// The answer, which keeps the target busy until its body has ended.
    pub fn follow(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| match body {
            Body::Streamed(inner) => {
                let busy = Busy { target: self.target.clone() };
                // It ends with the body, and not here.
                std::mem::forget(self);
                Body::Streamed(Box::new(Followed { inner, busy }))
            }
            body => body,
        })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.target.end(self.trial);
    }
}

struct Busy {
    target: Arc<TargetState>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Its head was a success already: no trial any more.
        self.target.end(false);
    }
}

/// The body of an answer, and the target that is busy with it.
struct Followed {
    inner: crate::http::body::Streamed,
    busy: Busy,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && error.fault() == Fault::Upstream
        {
            // Counted only: the next failure that is seen with its service decides.
            self.busy.target.failed(Cause::Broken, false, None, 0, || false);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether no connection could be made: nothing was sent.
pub fn is_unreached(error: &UpstreamError) -> bool {
    matches!(error.phase, Phase::Resolve | Phase::Connect)
}
