//! Services as a worker uses them: origins to connect to, and whose turn it is.
//!
//! Smooth weighted round robin (nginx): over a cycle each target is chosen by its weight, spread evenly. Each worker counts
//! for itself. Health, breakers and other balancing algorithms will decide here which targets may be chosen.

use crate::{
    config::{Scheme, Service, Target},
    gateway::generation::Generation,
    upstream::{Origin, Phase, Timeouts, Tls, UpstreamError},
};
use ahash::AHashMap;
use http::Method;
use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

pub struct Backend {
    pub name: Arc<str>,
    pub timeout: Duration,
    pub retries: u32,
    pub preserve_host: bool,
    connect: Duration,
    read: Duration,
    write: Duration,
    targets: Vec<Seat>,
}

/// A target and its standing in the round.
pub struct Seat {
    pub origin: Arc<Origin>,
    /// Goes before the request's path; empty, or without a slash at its end.
    pub path: String,
    weight: i64,
    current: Cell<i64>,
}

/// All services of a generation.
pub struct Backends {
    all: Vec<Backend>,
    by_name: AHashMap<Arc<str>, usize>,
}

impl Backends {
    pub fn new(generation: &Generation) -> Backends {
        let services = generation.config.services.iter().zip(&generation.upstream_tls);
        let all: Vec<Backend> = services.map(|(service, tls)| Backend::new(service, tls.as_ref())).collect();
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
    fn new(service: &Service, tls: Option<&Tls>) -> Backend {
        Backend {
            name: Arc::from(service.name.value.as_str()),
            timeout: service.timeout,
            retries: service.retries,
            preserve_host: service.preserve_host,
            connect: service.connect_timeout,
            read: service.read_timeout,
            write: service.write_timeout,
            targets: service.targets.iter().filter_map(|target| Seat::new(service, target, tls)).collect(),
        }
    }

    /// The next target; the least tried one when all in `tried` were.
    pub fn choose(&self, tried: &[usize]) -> Option<usize> {
        if let [_] = self.targets[..] {
            return Some(0);
        }
        let fresh = |index: &usize| tried.len() >= self.targets.len() || !tried.contains(index);
        let total: i64 = self.targets.iter().map(|seat| seat.weight).sum();
        let mut best: Option<usize> = None;
        for (index, seat) in self.targets.iter().enumerate() {
            seat.current.set(seat.current.get() + seat.weight);
            let leads = best.is_none_or(|best| seat.current.get() > self.targets[best].current.get());
            if seat.weight > 0 && leads && fresh(&index) {
                best = Some(index);
            }
        }
        let chosen = &self.targets[best?].current;
        chosen.set(chosen.get() - total);
        best
    }

    /// Whether a try that failed is repeated; `retries` ones have been. A target that could not be connected to is passed over in
    /// any case, as in Caddy: nothing was sent.
    pub fn may_retry(&self, error: &UpstreamError, method: &Method, retries: usize) -> bool {
        let unreached = matches!(error.phase, Phase::Resolve | Phase::Connect);
        let allowed = if unreached { self.targets.len().saturating_sub(1) } else { 0 };
        retries < allowed.max(self.retries as usize) && error.may_retry(method)
    }

    pub fn seat(&self, index: usize) -> &Seat {
        &self.targets[index]
    }

    pub fn timeouts(&self, deadline: Instant) -> Timeouts {
        Timeouts { connect: self.connect, read: self.read, write: self.write, deadline: Some(deadline.into()) }
    }
}

impl Seat {
    /// None for what can't be connected to; the configuration is checked, so that there is none.
    fn new(service: &Service, target: &Target, tls: Option<&Tls>) -> Option<Seat> {
        let mut origin = Origin::new(&target.host, target.port).ok()?;
        if target.scheme == Scheme::Https {
            origin = origin.with_tls(tls?.clone()).ok()?;
        }
        if service.http2 {
            origin = origin.with_http2();
        }
        Some(Seat {
            origin: Arc::new(origin),
            path: target.path.clone(),
            weight: i64::from(target.weight),
            current: Cell::new(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(weights: &[i64]) -> Backend {
        let seat = |(port, weight): (usize, &i64)| Seat {
            origin: Arc::new(Origin::new("127.0.0.1", 9000 + port as u16).expect("an origin")),
            path: String::new(),
            weight: *weight,
            current: Cell::new(0),
        };
        Backend {
            name: "users".into(),
            timeout: Duration::from_secs(1),
            retries: 0,
            preserve_host: false,
            connect: Duration::from_secs(1),
            read: Duration::from_secs(1),
            write: Duration::from_secs(1),
            targets: weights.iter().enumerate().map(seat).collect(),
        }
    }

    #[test]
    fn weights_are_kept_and_spread() {
        let backend = backend(&[5, 1, 1, 0]);
        let chosen: Vec<usize> = (0..7).filter_map(|_| backend.choose(&[])).collect();
        assert_eq!(chosen, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_retry_goes_to_another_target_first() {
        let backend = backend(&[1, 1]);
        let first = backend.choose(&[]).expect("a target");
        assert_eq!(backend.choose(&[first]), Some(1 - first));
    }
}
