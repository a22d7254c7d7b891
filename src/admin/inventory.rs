//! What runs, as JSON: services, targets with their health, routes, plugins; and targets taken out or put in by hand.
//!
//! Read from the current generation and from the process's registry; asking changes nothing on the path of a request.

use super::History;
use crate::{
    balance::{Hand, Registry, Standing, apart},
    config::{PluginKind, PluginUse, Service, Target},
    gateway::generation::Generation,
    observe::metrics::{ScriptStanding, ServiceStanding, TargetStanding},
    upstream::{Names, Resolved},
};
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::sync::watch;

pub struct Inventory {
    pub registry: Arc<Registry>,
    pub names: Arc<Names>,
    pub current: watch::Receiver<Arc<Generation>>,
    pub history: watch::Receiver<History>,
}

impl Inventory {
    /// None when there is no such path.
    pub fn answer(&self, path: &str) -> Option<(StatusCode, Value)> {
        let generation = self.current.borrow().clone();
        let config = &generation.config;
        let path = path.strip_prefix("/api/v1/")?;
        if let Some(rest) = path.strip_prefix("targets/") {
            return Some(self.set(rest));
        }
        let listed = match path {
            "services" => config.services.iter().map(|service| self.service(service)).collect(),
            "targets" => config.services.iter().flat_map(|service| self.targets(service)).collect(),
            "routes" => routes(&generation),
            "plugins" => plugins(&generation),
            "generations" => return Some((StatusCode::OK, self.history.borrow().json())),
            _ => return None,
        };
        Some((StatusCode::OK, Value::Array(listed)))
    }

    fn service(&self, service: &Service) -> Value {
        let name = &service.name.value;
        let state = self.registry.known(name);
        let targets = self.targets(service);
        let up = targets.iter().filter(|target| target["state"] == "up").count();
        json!({
            "name": name,
            "enabled": service.enabled,
            "targets": targets.len(),
            "up": up,
            "retries": service.retries,
            "timeout_ms": service.timeout.map(|timeout| timeout.as_millis() as u64),
            "breaker": service.circuit_breaker.as_ref().and(state).map(|state| state.breaker.state().name()),
        })
    }

    /// The targets of a service with what the configuration says of each; of a name that has several addresses these.
    fn members<'g>(&self, service: &'g Service) -> Vec<Member<'g>> {
        let all = service.targets.iter().flat_map(|target| {
            let resolved = self.names.resolved(&target.host.to_ascii_lowercase());
            let found = resolved.as_ref().map(|name| name.addresses.clone()).unwrap_or_default();
            let mut members: Vec<String> =
                apart(&found).iter().map(|(ip, _)| SocketAddr::new(*ip, target.port).to_string()).collect();
            if members.is_empty() {
                members.push(target.address());
            }
            members.into_iter().map(move |address| Member { target, address, resolved: resolved.clone() })
        });
        all.collect()
    }

    fn targets(&self, service: &Service) -> Vec<Value> {
        let state = self.registry.known(&service.name.value);
        let members = self.members(service);
        let breakers = have_breakers(service, members.len());
        let describe = |Member { target, address, resolved }: &Member<'_>| {
            let known = state.as_ref().and_then(|state| Some((state.clock, state.known(address)?)));
            let (standing, hand) = match &known {
                Some((_, target)) => (target.standing(), target.hand()),
                None => (Standing::Down, Hand::Auto),
            };
            let ends = known.as_ref().and_then(|(clock, target)| Some((target.ejected_until()?, clock.now())));
            json!({
                "addresses": resolved.as_ref().map(|name| name.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "lookups_failed": resolved.as_ref().map(|name| name.failures),
                "lookup_error": resolved.as_ref().and_then(|name| name.failing.as_deref()),
                "service": service.name.value,
                "name": target.address(),
                "target": address,
                "url": target.to_string(),
                "state": match standing { Standing::Up => "up", Standing::Down => "down", Standing::Ejected => "ejected" },
                "set": match hand { Hand::Auto => "auto", Hand::Up => "up", Hand::Down => "down" },
                "ejected_for_ms": ends.map(|(end, now)| end.saturating_sub(now)),
                "checked": service.active_check.is_some(),
                "weight": target.weight,
                "backup": target.backup,
                "in_flight": known.as_ref().map_or(0, |(_, target)| target.in_flight()),
                "failures": known.as_ref().map_or(0, |(_, target)| target.failures()),
                "pending": known.as_ref().map_or(0, |(_, target)| target.pending.load(Relaxed)),
                "breaker": known.as_ref().filter(|_| breakers).map(|(_, target)| target.breaker.state().name()),
            })
        };
        members.iter().map(describe).collect()
    }

    /// Services and targets of the configuration as they stand, for the metrics.
    pub fn standings<'g>(&self, generation: &'g Generation) -> Vec<ServiceStanding<'g>> {
        let standing = |service: &'g Service| {
            let state = self.registry.known(&service.name.value);
            let members = self.members(service);
            let breakers = have_breakers(service, members.len());
            let target = |Member { address, .. }: Member<'_>| {
                let known = state.as_ref().and_then(|state| state.known(&address));
                let standing = known.as_ref().map_or(Standing::Down, |known| known.standing());
                let breaker = known.as_ref().filter(|_| breakers).map(|known| known.breaker.state().name());
                let known = known.unwrap_or_default();
                TargetStanding {
                    address,
                    up: standing == Standing::Up,
                    ejected: standing == Standing::Ejected,
                    in_flight: u64::from(known.in_flight()),
                    tries: known.tries(),
                    failures: known.failures(),
                    ejections: known.ejections(),
                    breaker,
                    checks: known.checks(),
                }
            };
            ServiceStanding {
                name: &service.name.value,
                breaker: service.circuit_breaker.as_ref().and(state.as_ref()).map(|state| state.breaker.state().name()),
                targets: members.into_iter().map(target).collect(),
            }
        };
        generation.config.services.iter().map(standing).collect()
    }

    /// Those of a target that has a name.
    fn addresses(&self, service: &str, name: &str) -> Vec<String> {
        let generation = self.current.borrow().clone();
        let service = generation.config.services.iter().find(|known| known.name.value == service);
        let members = service.map(|service| self.members(service)).unwrap_or_default();
        let of_name = members.into_iter().filter(|member| member.target.address() == name && member.address != name);
        of_name.map(|member| member.address).collect()
    }

    /// `SERVICE/ADDRESS/up|down|auto`, names percent-encoded. The name of several addresses means all of them.
    fn set(&self, rest: &str) -> (StatusCode, Value) {
        let refuse = |status, error: String| (status, json!({ "error": error }));
        let parts: Vec<_> = rest.split('/').map(percent_decoded).collect();
        let [service, address, hand] = &parts[..] else {
            return refuse(StatusCode::NOT_FOUND, "write targets/SERVICE/HOST:PORT/up, down or auto".into());
        };
        let hand = match hand.as_str() {
            "up" => Hand::Up,
            "down" => Hand::Down,
            "auto" => Hand::Auto,
            other => return refuse(StatusCode::NOT_FOUND, format!("`{other}` is not `up`, `down` or `auto`")),
        };
        let state = self.registry.known(service);
        match state.as_ref().and_then(|state| state.known(address)) {
            Some(target) => {
                target.set(hand);
                for address in self.addresses(service, address) {
                    if let Some(of_name) = state.as_ref().and_then(|state| state.known(&address)) {
                        of_name.set(hand);
                    }
                }
                tracing::warn!(service, address, ?hand, "a target was set by hand");
                (StatusCode::OK, json!({ "service": service, "target": address, "set": parts[2] }))
            }
            None => refuse(StatusCode::NOT_FOUND, format!("the service `{service}` has no target `{address}`")),
        }
    }
}

/// A target as requests see it.
struct Member<'g> {
    target: &'g Target,
    /// `host:port`; one address of a name that has several.
    address: String,
    resolved: Option<Resolved>,
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// In the order in which they are tried.
fn routes(generation: &Generation) -> Vec<Value> {
    let config = &generation.config;
    let describe = |route: &crate::config::Route| {
        json!({
            "name": route.name.value,
            "service": config.service_of(route).map(|service| &service.name.value),
            "paths": route.paths.iter().map(|path| path.value.to_string()).collect::<Vec<_>>(),
            "methods": route.methods.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "plugins": route.plugins.iter().map(label).collect::<Vec<_>>(),
        })
    };
    let mut routes: Vec<Value> = generation.router.routes().iter().map(describe).collect();
    for standing in generation.quarantines.standings() {
        let (Some(route), Some(left)) = (standing.route.and_then(|at| routes.get_mut(at)), standing.held_for) else {
            continue;
        };
        let held = json!({
            "plugin": &*generation.places[standing.place].name,
            "place": &*generation.places[standing.place].label,
            "hook": standing.hook.name(),
            "for_ms": left.as_millis() as u64,
        });
        push(&mut route["quarantined"], held);
    }
    routes
}

/// Adds to a list that begins with its first item.
fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(all) => all.push(item),
        None => *list = json!([item]),
    }
}

/// Hooks that have failed since the last reload, for the metrics; those of one plugin on a route together.
pub fn failing(generation: &Generation) -> Vec<ScriptStanding<'_>> {
    let mut all: Vec<ScriptStanding<'_>> = Vec::new();
    for standing in generation.quarantines.standings() {
        let route = standing.route.map_or("", |at| &*generation.router.routes()[at].name.value);
        let (plugin, hook) = (&*generation.places[standing.place].name, standing.hook.name());
        let quarantined = standing.held_for.is_some();
        match all.iter_mut().find(|known| (known.plugin, known.hook, known.route) == (plugin, hook, route)) {
            Some(known) => known.quarantined |= quarantined,
            None => all.push(ScriptStanding { plugin, hook, route, quarantined }),
        }
    }
    all
}

fn label(plugin: &PluginUse) -> String {
    match &plugin.kind {
        PluginKind::Named(name) => name.clone(),
        PluginKind::Script(file) => file.display().to_string(),
    }
}

/// Every use of a plugin, with where it stands, and on which routes it is left out.
fn plugins(generation: &Generation) -> Vec<Value> {
    let config = &generation.config;
    let standings = generation.quarantines.standings();
    let entry = |scope: &str, of: Option<&str>, plugin: &PluginUse| {
        let mut entry = json!({ "plugin": label(plugin), "scope": scope, "of": of });
        let within = of.map_or_else(|| scope.to_owned(), |of| format!("{scope}:{of}"));
        let place = format!("{within}/{}", plugin.key());
        let is_own = |at: usize| *generation.places[at].label == *place;
        for standing in standings.iter().filter(|standing| is_own(standing.place)) {
            let Some(left) = standing.held_for else { continue };
            let route = standing.route.and_then(|at| generation.router.routes().get(at)).map(|route| &route.name.value);
            let held = json!({ "route": route, "hook": standing.hook.name(), "for_ms": left.as_millis() as u64 });
            push(&mut entry["quarantined"], held);
        }
        entry
    };
    let global = config.plugins.iter().map(|plugin| entry("global", None, plugin));
    let services = config
        .services
        .iter()
        .flat_map(|service| service.plugins.iter().map(|plugin| entry("service", Some(&service.name.value), plugin)));
    let routes = generation
        .router
        .routes()
        .iter()
        .flat_map(|route| route.plugins.iter().map(|plugin| entry("route", Some(&route.name.value), plugin)));
    global.chain(services).chain(routes).collect()
}

/// Whether the targets of a service have breakers of their own: an only one has its service's.
fn have_breakers(service: &Service, targets: usize) -> bool {
    targets > 1 && service.circuit_breaker.as_ref().is_some_and(|breaker| breaker.targets.is_some())
}

#[cfg(test)]
mod tests {
    use crate::{balance::breaker::State, observe::metrics::BREAKER};

    #[test]
    fn metrics_know_every_state_of_a_breaker() {
        assert_eq!(BREAKER, [State::Closed, State::Open, State::HalfOpen, State::Recovering].map(State::name));
    }
}
