//! The targets of a service as they stand: each of several addresses of a name is a target of its own, with its own health, breaker
//! and share of the requests, as in Envoy's `STRICT_DNS`.
//!
//! Made anew when the addresses of a name have changed, from what the generation says ([`Post`]) and what the process knows. A request
//! ends with the line-up that it began with.

use crate::{
    balance::{Hand, Member, Picker, ServiceState, TargetState, apart},
    config::{Algorithm, CircuitBreaker, Service, Target},
    observe::metrics::{Histogram, ServiceMeter},
    upstream::{Name, Names, Origin, Tls},
};
use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The share of one address is a fraction of its name's weight: of whole numbers, up to ten addresses exactly.
const SHARES: u32 = 2_520;

/// A target as the configuration writes it.
pub struct Post {
    pub origin: Arc<Origin>,
    /// `host:port`.
    name: Arc<str>,
    /// Of its host. For a name of several addresses: whether the operator has set it, with all of them.
    state: Arc<TargetState>,
    path: Rc<str>,
    weight: u32,
    backup: bool,
}

/// How a service chooses among its targets.
pub struct Rules {
    pub algorithm: Algorithm,
    slow_start: Option<Duration>,
    max_connections: u32,
    /// Of targets, where they have breakers.
    pub breaker: Option<CircuitBreaker>,
}

impl Rules {
    pub fn new(service: &Service) -> Rules {
        let breaker = service.circuit_breaker.as_ref();
        Rules {
            algorithm: service.algorithm.clone(),
            slow_start: service.slow_start,
            max_connections: breaker.map_or(0, |breaker| breaker.max_connections),
            breaker: breaker.and_then(|breaker| breaker.targets.as_deref().cloned()),
        }
    }
}

pub struct Lineup {
    pub picker: Picker,
    /// In the order of the picker's members.
    pub seats: Vec<Seat>,
    /// Whose addresses they are, and of which edition.
    follows: Vec<(Arc<Name>, u64)>,
}

/// Where a target is.
pub struct Seat {
    pub origin: Arc<Origin>,
    /// `host:port`; one address of a name that has several.
    pub name: Arc<str>,
    /// Goes before the request's path; empty, or without a slash at its end.
    pub path: Rc<str>,
    /// `max_connections`.
    pub gate: Option<Arc<Semaphore>>,
    pub duration: Arc<Histogram>,
}

impl Post {
    /// None for what can't be connected to; the configuration is checked, so that there is none.
    pub fn new(
        service: &Service,
        target: &Target,
        tls: Option<&Tls>,
        state: &ServiceState,
        names: &Names,
    ) -> Option<Post> {
        let address = target.address();
        Some(Post {
            origin: Arc::new(crate::balance::origin(service, target, tls, names)?),
            state: state.target(&address),
            name: address.into(),
            path: target.path.as_str().into(),
            weight: target.weight,
            backup: target.backup,
        })
    }

    fn seat(&self, name: &Arc<str>, state: &TargetState, rules: &Rules, meter: &ServiceMeter) -> Seat {
        Seat {
            origin: self.origin.clone(),
            name: name.clone(),
            path: self.path.clone(),
            gate: state.connections(rules.max_connections),
            duration: meter.target(name),
        }
    }
}

impl Lineup {
    /// `before`: the one that it takes the place of.
    pub fn new(
        posts: &[Post],
        rules: &Rules,
        state: &ServiceState,
        meter: &ServiceMeter,
        before: Option<&Lineup>,
    ) -> Lineup {
        let (mut seats, mut members, mut follows) = (Vec::new(), Vec::new(), Vec::new());
        for post in posts {
            let (edition, addresses) = post.origin.name().map(|name| name.addresses()).unwrap_or_default();
            if let Some(name) = post.origin.name() {
                follows.push((name.clone(), edition));
            }
            let each = apart(&addresses);
            if each.is_empty() {
                seats.push(post.seat(&post.name, &post.state, rules, meter));
                let weight = post.weight.saturating_mul(SHARES);
                members.push(Member::new(post.state.clone(), &post.name, weight, post.backup));
                continue;
            }
            let joins = before.is_some_and(|before| before.has_found(post));
            for (address, waits) in &each {
                let alike = each.iter().filter(|(_, other)| other == waits).count();
                let name: Arc<str> = SocketAddr::new(*address, post.origin.port()).to_string().into();
                let known = known(state, &name, joins, post.state.hand());
                let seat = post.seat(&name, &known, rules, meter);
                seats.push(Seat { origin: Arc::new(post.origin.at(*address)), ..seat });
                let share = post.weight.saturating_mul(SHARES) / u32::try_from(alike).unwrap_or(u32::MAX);
                let share = share.max(u32::from(post.weight > 0));
                members.push(Member::new(known, &name, share, post.backup || *waits));
            }
        }
        let picker = Picker::new(rules.algorithm.clone(), rules.slow_start, state.clock, members);
        Lineup { picker: picker.with_breaker(rules.breaker.clone()), seats, follows }
    }

    /// Whether the addresses are still these.
    pub fn is_current(&self) -> bool {
        self.follows.iter().all(|(name, edition)| name.edition() == *edition)
    }

    /// Whether no address of any target is known.
    pub fn is_unresolved(&self) -> bool {
        self.follows.len() == self.seats.len() && self.follows.iter().all(|(_, edition)| *edition == 0)
    }

    /// The names that it waits for.
    pub fn names(&self) -> Vec<Arc<Name>> {
        self.follows.iter().map(|(name, _)| name.clone()).collect()
    }

    fn has_found(&self, post: &Post) -> bool {
        let own = post.origin.name();
        self.follows.iter().any(|(name, edition)| *edition > 0 && own.is_some_and(|own| Arc::ptr_eq(own, name)))
    }
}

/// What is known of an address; a new one is as the operator has set its name.
fn known(state: &ServiceState, name: &str, joins: bool, hand: Hand) -> Arc<TargetState> {
    if let Some(known) = state.known(name) {
        return known;
    }
    let made = state.target_that(joins, name);
    if hand != Hand::Auto {
        made.set(hand);
    }
    made
}
