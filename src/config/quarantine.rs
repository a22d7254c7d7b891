//! When a script that keeps failing is left out for a while.
//!
//! Numbers only: what they do is in `gateway::quarantine`.

use std::time::Duration;

use super::diagnostic::Diagnostics;
use super::keys;
use super::node::Node;
use super::table::{Table, mismatch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Of a hook's runs, in percent. Default 50, as a service's breaker.
    pub failure_rate: u32,
    /// Default 10 s.
    pub window: Duration,
    /// In the window, before the rate means something. Default 5: a script that fails does so for a reason in its text, not by chance.
    pub min_runs: u32,
    /// Limits hit in the window. Default 3: each costs as much as a hundred good runs, and more.
    pub limit_hits: u32,
    /// Default 5 s.
    pub hold_for: Duration,
    /// Each hold is twice as long as the one before, up to this. Default 60 s.
    pub max_hold_for: Duration,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine {
            failure_rate: 50,
            window: Duration::from_secs(10),
            min_runs: 5,
            limit_hits: 3,
            hold_for: Duration::from_secs(5),
            max_hold_for: Duration::from_secs(60),
        }
    }
}

/// Decodes `limits.quarantine`; none when it is switched off.
pub(super) fn quarantine(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Option<Quarantine> {
    let mut rules = Quarantine::default();
    let Some(node) = node else { return Some(rules) };
    if node.as_str() == Some("off") || node.as_bool() == Some(false) {
        return None;
    }
    let Some(table) = Table::open(node, &keys::QUARANTINE, diagnostics) else { return Some(rules) };
    let mut number = |key, most, into: &mut u32| {
        let given = table.integer(key, 1..=most, diagnostics).and_then(|number| u32::try_from(number).ok());
        *into = given.unwrap_or(*into);
    };
    number("failure_rate", 100, &mut rules.failure_rate);
    number("min_runs", 1_000_000, &mut rules.min_runs);
    number("limit_hits", 1_000_000, &mut rules.limit_hits);
    let mut duration = |key, into: &mut Duration| match table.duration(key, diagnostics) {
        Some(given) if given.is_zero() => {
            if let Some(node) = table.get(key) {
                mismatch(node, "a duration above 0", diagnostics);
            }
        }
        given => *into = given.unwrap_or(*into),
    };
    duration("window", &mut rules.window);
    duration("hold_for", &mut rules.hold_for);
    duration("max_hold_for", &mut rules.max_hold_for);
    rules.max_hold_for = rules.max_hold_for.max(rules.hold_for);
    Some(rules)
}
