//! Services as a worker uses them: targets to connect to, and the rules of the service for choosing, trying again and giving up.
//!
//! The rules are the generation's; what is known of targets and breakers is the process's, looked up when the generation is made
//! ready on this worker. Which target is asked, and whether another is, [`Current`] says.

use super::{
    attempt::Watch,
    current::Current,
    failure::Failure,
    lineup::{Lineup, Post, Rules},
};
use crate::{
    balance::{Registry, ServiceState},
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
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

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
    pub(super) connect: Duration,
    first_byte: Duration,
    read: Duration,
    write: Duration,
    per_try: Option<Duration>,
    pub(super) retry_on: RetryOn,
    pub(super) passive: Option<PassiveCheck>,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) watch: Rc<Watch>,
    pub(super) state: Arc<ServiceState>,
    /// What the configuration says, for the next line-up.
    pub(super) rules: Rules,
    posts: Vec<Post>,
    lineup: RefCell<Rc<Lineup>>,
    pub meter: Arc<ServiceMeter>,
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
            return Some(Current::new(self, lineup));
        }
        let now = self.renewed();
        now.is_resolved().then_some(now)
    }

    /// The same, once the first name is resolved or none can be, unless that takes longer than connecting may.
    ///
    /// # Errors
    /// It has.
    pub async fn resolved(&self, deadline: Instant) -> Result<Current<'_>, Failure> {
        let names = self.renewed().names();
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
            return Current::new(self, before);
        }
        let lineup = Rc::new(Lineup::new(&self.posts, &self.rules, &self.state, &self.meter, Some(&before)));
        self.lineup.replace(lineup.clone());
        Current::new(self, lineup)
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
    pub(super) fn may_repeat(&self, method: &Method) -> bool {
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
