//! What the page says of targets and breakers: standings at this moment, as they are told when the page is asked for.
//!
//! Their series are as many as the configuration has lines: what is no target any more is not told.

use super::text::Text;

/// A service, its breaker and its targets.
pub struct ServiceStanding<'a> {
    pub name: &'a str,
    /// Of [`BREAKER`]; absent when it has none.
    pub breaker: Option<&'static str>,
    pub targets: Vec<TargetStanding>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetStanding {
    /// `host:port`.
    pub address: String,
    pub up: bool,
    pub ejected: bool,
    pub in_flight: u64,
    pub tries: u64,
    pub failures: u64,
    pub ejections: u64,
    /// Of [`BREAKER`]; absent where it has none of its own.
    pub breaker: Option<&'static str>,
    /// Active checks, by [`CHECKS`].
    pub checks: [u64; CHECKS.len()],
}

/// What active checks find.
pub const CHECKS: [&str; 3] = ["good", "bad", "neither"];
/// What a breaker can be.
pub const BREAKER: [&str; 4] = ["closed", "open", "half_open", "recovering"];

pub fn write(text: &mut Text, services: &[ServiceStanding<'_>]) {
    let mut each = |begin: fn(&mut Text, &str, &str), name, help, value: fn(&TargetStanding) -> u64| {
        begin(text, name, help);
        for service in services {
            for target in &service.targets {
                text.sample(&[("service", service.name), ("target", &target.address)], value(target));
            }
        }
    };
    each(Text::counter, "gatewright_target_tries", "Requests sent to a target.", |it| it.tries);
    each(
        Text::counter,
        "gatewright_target_failures",
        "Tries at a target that failed, and bodies that broke off.",
        |it| it.failures,
    );
    each(Text::gauge, "gatewright_target_requests_in_flight", "Requests that a target is busy with.", |it| {
        it.in_flight
    });
    each(Text::gauge, "gatewright_target_up", "1 when a target may be chosen; 0 when it is down or ejected.", |it| {
        u64::from(it.up)
    });
    each(Text::gauge, "gatewright_target_ejected", "1 while a target is left out for failures of requests.", |it| {
        u64::from(it.ejected)
    });
    each(Text::counter, "gatewright_target_ejections", "How often a target was left out for failures.", |it| {
        it.ejections
    });
    text.counter("gatewright_health_checks", "Active checks of a target, by what they found.");
    for service in services {
        for target in &service.targets {
            for (result, count) in CHECKS.into_iter().zip(target.checks).filter(|(_, count)| *count > 0) {
                let labels = [("service", service.name), ("target", &*target.address), ("result", result)];
                text.sample(&labels, count);
            }
        }
    }
    breakers(text, services);
}

/// Those of services, and those that targets have of their own beside them.
fn breakers(text: &mut Text, services: &[ServiceStanding<'_>]) {
    text.gauge("gatewright_breaker_state", "1 for the state that a service's circuit breaker is in.");
    for service in services {
        let Some(current) = service.breaker else { continue };
        for state in BREAKER {
            text.sample(&[("service", service.name), ("state", state)], u8::from(state == current));
        }
    }
    text.gauge("gatewright_target_breaker_state", "1 for the state that a target's own circuit breaker is in.");
    for service in services {
        for target in &service.targets {
            let Some(current) = target.breaker else { continue };
            for state in BREAKER {
                let labels = [("service", service.name), ("target", &*target.address), ("state", state)];
                text.sample(&labels, u8::from(state == current));
            }
        }
    }
}
