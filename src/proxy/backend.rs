//! Services as a worker uses them: targets to connect to, and the rules of the service for choosing, trying again and giving up.
//!
//! The rules are the generation's; what is known of targets and breakers is the process's, looked up when the generation is made
//! ready on this worker. What becomes of one request to one target is [`attempt`](super::attempt)'s.

use crate::{
    balance::{
        self, Cause, Member, Permit, Registry, ServiceState, Standing, TargetState,
        backoff::{self, Retry},
    },
    config::{Algorithm, CircuitBreaker, HashOn, PassiveCheck, RetryOn, Service},
    gateway::generation::Generation,
    http::{Body, cookies},
    observe::metrics::{Meters, ServiceMeter},
    script::{Exchange, exchange::NO_END},
    upstream::{Kind, Names, Phase, Timeouts, Tls, UpstreamError, is_idempotent, is_stream},
};
use ahash::AHashMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, Method, StatusCode};
use std::{
    cell::RefCell,
    ops::Deref,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    attempt::{Attempt, Watch},
    failure::Failure,
    lineup::{Lineup, Post, Rules, Seat},
};

/// How often a retry looks for a place in the budget again: 25, 75 and 175 ms at most, about 140 together.
const WAITS_FOR_A_PLACE: usize = 3;

/// The longest body that is kept to be sent again: Envoy's buffer is 1 MiB, nginx's 16 KiB before it writes files.
const MOST_KEPT: u64 = 64 << 10;

pub struct Backend {
    pub name: Arc<str>,
    pub timeout: Duration,
    /// Whether streams may go on behind it.
    streams_last: bool,
    pub retries: u32,
    pub preserve_host: bool,
    /// Whether its targets speak HTTP/1.1 and none is chosen by a header.
    pub may_be_direct: bool,
    connect: Duration,
    first_byte: Duration,
    read: Duration,
    write: Duration,
    per_try: Option<Duration>,
    retry_on: RetryOn,
    pub(super) passive: Option<PassiveCheck>,
    breaker: Option<CircuitBreaker>,
    pub(super) watch: Rc<Watch>,
    pub(super) state: Arc<ServiceState>,
    /// What the configuration says, for the next line-up.
    rules: Rules,
    posts: Vec<Post>,
    lineup: RefCell<Rc<Lineup>>,
    pub meter: Arc<ServiceMeter>,
}

/// A service with the targets that it has at this moment.
pub struct Current<'b> {
    backend: &'b Backend,
    lineup: Rc<Lineup>,
}

impl Deref for Current<'_> {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend
    }
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

    /// Follows names whose addresses have changed, of services that nobody asks as well: what is known of an address lasts while
    /// somebody has it.
    pub fn follow(&self) {
        self.all.iter().for_each(Backend::follow);
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
        let posts = service.targets.iter().filter_map(|target| Post::new(service, target, tls, &state, names));
        let (posts, rules): (Vec<Post>, _) = (posts.collect(), Rules::new(service));
        let lineup = Lineup::new(&posts, &rules, &state, &meter, None);
        let breaker = service.circuit_breaker.clone();
        let watch = Watch { service: state.clone(), breaker: breaker.clone(), of_targets: rules.breaker.clone() };
        Backend {
            watch: Rc::new(watch),
            name: Arc::from(service.name.value.as_str()),
            timeout: service.timeout.unwrap_or(NO_END),
            streams_last: !service.times_streams,
            retries: service.retries,
            preserve_host: service.preserve_host,
            may_be_direct: !service.http2
                && !matches!(service.algorithm, Algorithm::Hash(HashOn::Header(_) | HashOn::Cookie(_))),
            connect: service
                .per_try_timeout
                .map_or(service.connect_timeout, |limit| limit.min(service.connect_timeout)),
            first_byte: service.first_byte_timeout,
            per_try: service.per_try_timeout,
            read: service.read_timeout,
            write: service.write_timeout,
            retry_on: service.retry_on.clone(),
            passive: service.passive_check.clone(),
            breaker,
            state,
            rules,
            posts,
            lineup: RefCell::new(Rc::new(lineup)),
            meter,
        }
    }

    /// Its targets at this moment; none while no address of any is known.
    pub fn current(&self) -> Option<Current<'_>> {
        let lineup = self.lineup.borrow().clone();
        if lineup.is_current() && !lineup.is_unresolved() {
            return Some(Current { backend: self, lineup });
        }
        let now = self.renewed();
        (!now.lineup.is_unresolved()).then_some(now)
    }

    /// The same, once the first name is resolved or none can be, unless that takes longer than connecting may.
    ///
    /// # Errors
    /// It has.
    pub async fn resolved(&self, deadline: Instant) -> Result<Current<'_>, Failure> {
        let names = self.renewed().lineup.names();
        let looks = names.iter().map(|name| Box::pin(async move { name.ready().await }));
        let mut looks: FuturesUnordered<_> = looks.collect();
        let found = async { while matches!(looks.next().await, Some(Err(_))) {} };
        let end = deadline.min(Instant::now() + self.connect);
        if tokio::time::timeout_at(end.into(), found).await.is_err() {
            let (origin, phase, kind) = (self.posts[0].origin.clone(), Phase::Resolve, Kind::Timeout);
            return Err(UpstreamError { origin, phase, kind, sent: false, body_consumed: false }.into());
        }
        Ok(self.renewed())
    }

    /// Follows names that have other addresses than before.
    pub fn follow(&self) {
        drop(self.renewed());
    }

    fn renewed(&self) -> Current<'_> {
        let before = self.lineup.borrow().clone();
        if before.is_current() {
            return Current { backend: self, lineup: before };
        }
        let lineup = Rc::new(Lineup::new(&self.posts, &self.rules, &self.state, &self.meter, Some(&before)));
        self.lineup.replace(lineup.clone());
        Current { backend: self, lineup }
    }

    /// Whether the request's body is waited for: it is short, and of a request that may be repeated, so that it can be sent again.
    pub fn keeps(&self, method: &Method, body: &Body) -> bool {
        self.retries > 0
            && matches!(body, Body::Incoming(_))
            && body.len().is_some_and(|length| length <= MOST_KEPT)
            && self.may_repeat(method)
    }

    /// Waits for it.
    pub async fn keep(&self, body: &mut Body, deadline: Instant) -> Result<(), Failure> {
        let collected = tokio::time::timeout_at(deadline.into(), std::mem::take(body).collect(MOST_KEPT as usize));
        let kind = match collected.await {
            Ok(Ok(bytes)) => {
                *body = Body::full(bytes);
                return Ok(());
            }
            Ok(Err(error)) => Kind::Client(error),
            Err(_) => Kind::ClientStalled,
        };
        let origin = self.posts[0].origin.clone();
        Err(UpstreamError { origin, phase: Phase::Write, kind, sent: false, body_consumed: true }.into())
    }

    /// What the target is chosen by, where it is by something of the request.
    pub fn key(&self, exchange: &Exchange, headers: &HeaderMap) -> Option<u64> {
        let Algorithm::Hash(on) = &self.rules.algorithm else { return None };
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

    /// Whether an answer is asked for again; `replayable`: the request's body is still here.
    pub fn may_ask_again(&self, status: StatusCode, method: &Method, replayable: bool, retries: usize) -> bool {
        self.retry_on.statuses.contains(&status.as_u16())
            && retries < self.retries as usize
            && replayable
            && self.may_repeat(method)
    }

    /// Whether a request may be sent again that a target may have begun with.
    fn may_repeat(&self, method: &Method) -> bool {
        match &self.retry_on.methods {
            None => is_idempotent(method),
            Some(all) => all.contains(method),
        }
    }

    pub fn read_timeout(&self) -> Duration {
        self.read
    }

    /// Whether this answer goes on behind the deadline: the service's timeout is the default, which ends no stream, and the client gave
    /// none.
    pub fn outlasts(&self, headers: &HeaderMap, shortened: bool) -> bool {
        self.streams_last && !shortened && is_stream(headers)
    }

    /// `shortened`: the deadline is the client's. `replayable`: the request's body is here. One that streams is sent for as long as the client takes, so that the limit of a try
    /// is reckoned from its end, as in Envoy.
    pub fn timeouts(&self, deadline: Instant, shortened: bool, replayable: bool) -> Timeouts {
        let of_try = self.per_try.filter(|_| !replayable).unwrap_or(self.first_byte);
        Timeouts {
            connect: self.connect,
            first_byte: self.first_byte.min(of_try),
            read: self.read,
            write: self.write,
            deadline: Some(deadline.into()),
            streams_last: self.streams_last && !shortened,
        }
    }

    /// When a try that begins then must have its answer's head.
    pub fn try_ends(&self, begun: Instant) -> Option<Instant> {
        self.per_try.map(|limit| begun + limit)
    }
}

impl Current<'_> {
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
        let found = self.lineup.picker.pick(tried, key).ok_or_else(|| self.no_target())?;
        Ok(if self.is_full(found) { self.with_room(found, tried, key) } else { found })
    }

    /// A target of those that were not tried which has a connection to give, or the one that was found.
    #[cold]
    fn with_room(&self, found: usize, tried: &[usize], key: Option<u64>) -> usize {
        let mut passed = tried.to_vec();
        let mut full = found;
        while passed.len() < self.lineup.seats.len() {
            passed.push(full);
            match self.lineup.picker.pick(&passed, key) {
                Some(next) if passed.contains(&next) => break,
                Some(next) if self.is_full(next) => full = next,
                Some(next) => return next,
                None => break,
            }
        }
        found
    }

    fn is_full(&self, index: usize) -> bool {
        self.lineup.seats[index].gate.as_ref().is_some_and(|gate| gate.available_permits() == 0)
    }

    /// A connection to the target, within `max_connections`; waits for it until `connect_timeout` or the deadline.
    pub async fn connection(&self, index: usize, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(gate) = &self.lineup.seats[index].gate else { return Ok(None) };
        if let Ok(free) = gate.clone().try_acquire_owned() {
            return Ok(Some(free));
        }
        let overloaded = || Failure::Overloaded(self.name.to_string());
        let most = self.breaker.as_ref().map_or(0, |breaker| breaker.max_pending);
        let _pending =
            Pending::begin(&self.lineup.picker.members()[index].state.pending, most).ok_or_else(overloaded)?;
        let end = deadline.min(Instant::now() + self.connect);
        match tokio::time::timeout_at(end.into(), gate.clone().acquire_owned()).await {
            Ok(Ok(free)) => Ok(Some(free)),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    /// None of its targets can be asked: when the next one may be tried.
    pub fn no_target(&self) -> Failure {
        let now = self.state.clock.now();
        let breakers = self.lineup.picker.breaker().is_some();
        let of_breaker = |member: &Member| if breakers { member.state.breaker.opens_at() } else { None };
        let members = self.lineup.picker.members().iter();
        let ends = members.filter_map(|member| member.state.ejected_until().max(of_breaker(member)));
        let after = ends.min().map_or(1_000, |end| end.saturating_sub(now));
        Failure::NoTarget { service: self.name.to_string(), after: Duration::from_millis(after) }
    }

    /// Begins one request to a target, on a connection that it may have.
    pub fn attempt(&self, index: usize, begun: Instant, connection: Option<OwnedSemaphorePermit>) -> Attempt<'_> {
        let target = &self.lineup.picker.members()[index].state;
        // Another worker may have taken the last place of a probe meanwhile: one request more does no harm.
        let admitted =
            self.lineup.picker.breaker().map(|policy| target.breaker.admit(Some(policy), self.state.clock, begun));
        let permit = admitted.and_then(Result::ok);
        let round = permit.as_ref().map(Permit::round).unwrap_or_default();
        let address = &*self.lineup.seats[index].name;
        Attempt { backend: self, target, address, trial: target.begin(), permit, round, connection }
    }

    /// Whether a try that failed is repeated; `retries` ones have been. A target that could not be connected to is passed over in
    /// any case, as in Caddy: nothing was sent.
    pub fn may_retry(&self, error: &UpstreamError, method: &Method, retries: usize) -> bool {
        let unreached = is_unreached(error);
        let allowed = if unreached { self.lineup.seats.len().saturating_sub(1) } else { 0 };
        let repeatable = self.may_repeat(method);
        let slow = self.retry_on.timeout && error.may_retry_slow(repeatable);
        let wanted = slow || (unreached || self.retry_on.reset) && error.may_retry(repeatable);
        wanted && retries < allowed.max(self.retries as usize)
    }

    /// A place in the budget of retries, after `wait`; none when the budget is spent.
    ///
    /// When one of several targets dies, all its requests fail at once, and more of them than the budget has places. As long as another
    /// target is well they wait for one: places come free as fast as it answers. In an outage nobody waits.
    pub async fn begin_retry(
        &self,
        tried: &[usize],
        last: usize,
        mut wait: Duration,
        deadline: Instant,
    ) -> Option<Retry<'_>> {
        for nth in (tried.len() as u32 + 2..).take(1 + WAITS_FOR_A_PLACE) {
            let place = Retry::begin(&self.state.retrying, self.in_flight());
            let another = |index: usize| index != last && !tried.contains(&index) && self.is_well(index);
            if place.is_none() && !(0..self.lineup.seats.len()).any(another) {
                return None;
            }
            tokio::time::sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
            if place.is_some() {
                return place;
            }
            wait = backoff::wait(nth, self.random());
        }
        Retry::begin(&self.state.retrying, self.in_flight())
    }

    pub fn random(&self) -> u64 {
        self.lineup.picker.random()
    }

    fn is_well(&self, index: usize) -> bool {
        let target = &self.lineup.picker.members()[index].state;
        target.standing() == Standing::Up && target.is_well()
    }

    /// Whether nobody is there after this failure, rather than one who failed: that is no answer of a gateway's, and a client may
    /// well come back. So it is when none of several targets could be reached, and also when a request that may be repeated finds
    /// none any more that was well when it was last seen: those that are left out meanwhile are not tried.
    pub fn is_gone(&self, error: &UpstreamError, method: &Method, tried: &[usize], last: usize) -> bool {
        if self.lineup.seats.len() < 2 {
            return false;
        }
        let all = |is_so: &dyn Fn(usize) -> bool| (0..self.lineup.seats.len()).all(is_so);
        let unreached = is_unreached(error);
        let broken = matches!(error.kind, Kind::Reset(_) | Kind::Closed) && error.may_retry(self.may_repeat(method));
        unreached && all(&|index| index == last || tried.contains(&index))
            || (unreached || broken) && all(&|index| !self.is_well(index))
    }

    /// Whether it has more targets than were tried.
    pub fn has_more(&self, tried: usize) -> bool {
        tried < self.lineup.seats.len()
    }

    /// Counts a try that began then and ended now; gives how long it took.
    pub fn counted<T>(&self, index: usize, begun: Instant, ended: &Result<T, UpstreamError>) -> Duration {
        let took = begun.elapsed();
        self.meter.tries.increment();
        self.meter.duration.observe(took);
        self.lineup.seats[index].duration.observe(took);
        if let Err(error) = ended {
            self.meter.failed(error.word());
        }
        took
    }

    /// Whether targets have breakers of their own, which an only one has not.
    pub fn has_target_breakers(&self) -> bool {
        self.lineup.picker.breaker().is_some()
    }

    pub fn seat(&self, index: usize) -> &Seat {
        &self.lineup.seats[index]
    }

    fn in_flight(&self) -> u32 {
        self.lineup.picker.members().iter().map(|member| member.state.in_flight()).sum()
    }

    /// Whether a target answers well so much less often than the others that it is left out for it.
    pub(super) fn is_outlier(&self, target: &TargetState, policy: &PassiveCheck, now: u64) -> bool {
        let Some(deviations) = policy.max_deviation else { return false };
        let Some(own) = target.successes(policy, now) else { return false };
        let members = self.lineup.picker.members().iter();
        let all: Vec<f64> = members.filter_map(|member| member.state.successes(policy, now)).collect();
        balance::is_outlier(own, &all, deviations)
    }

    /// Whether one more target may be ejected for `cause`. A service's only target never is: the breaker is there for that. Those that
    /// can't be reached are no loss, so their share is not looked at.
    pub(super) fn may_eject(&self, cause: Cause, policy: &PassiveCheck) -> bool {
        let members = self.lineup.picker.members();
        if members.len() < 2 {
            return false;
        }
        let ejected = members.iter().filter(|member| member.state.standing() == Standing::Ejected).count();
        cause == Cause::Unreached || ejected == 0 || (ejected + 1) * 100 <= members.len() * policy.max_ejected as usize
    }
}

/// Whether no connection could be made: nothing was sent.
pub fn is_unreached(error: &UpstreamError) -> bool {
    matches!(error.phase, Phase::Resolve | Phase::Connect)
}

/// A try that waits for a connection.
struct Pending<'b>(&'b AtomicU32);

impl<'b> Pending<'b> {
    /// None when as many wait as may.
    fn begin(pending: &'b AtomicU32, most: u32) -> Option<Pending<'b>> {
        let begun = pending.fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1));
        begun.ok().map(|_| Pending(pending))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
