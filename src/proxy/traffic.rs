//! A route's own traffic rules at work: faults, fixed answers, the split between services, rewriting.
//!
//! Runs after the plugins' `on_request`, so that what is refused by them is never redirected or delayed. What a script has
//! set (another service, another path) is left as the script wants it.

use super::failure::Failure;
use crate::{
    config::{Fixed, HeaderChanges, Part, Template, Traffic},
    http::{NormalPath, identity::strip_other_spellings},
    script::{Exchange, Reply},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::cell::Cell;

/// Random enough for shares of traffic, at the cost of a hash; each worker has its own.
pub struct Dice {
    thrown: Cell<u64>,
    random: ahash::RandomState,
}

impl Default for Dice {
    fn default() -> Dice {
        Dice { thrown: Cell::new(0), random: ahash::RandomState::new() }
    }
}

impl Dice {
    /// At least 0 and below `sides`.
    fn throw(&self, sides: u64) -> u64 {
        self.thrown.set(self.thrown.get().wrapping_add(1));
        // The high bits, by a multiplication (Lemire): no bias that matters at these sizes.
        ((u128::from(self.random.hash_one(self.thrown.get())) * u128::from(sides)) >> 64) as u64
    }

    pub fn happens(&self, share: f64) -> bool {
        self.throw(1_000_000) < (share * 1_000_000.0) as u64
    }
}

/// Applies the route's rules to a request whose plugins let it pass. A reply ends it.
pub async fn direct(
    dice: &Dice,
    exchange: &Exchange,
    traffic: &Traffic,
    consumed: usize,
    services: impl Fn(usize) -> String,
) -> Result<Option<Reply>, Failure> {
    if let Some(fault) = &traffic.fault
        && dice.happens(fault.share)
    {
        exchange.account.fault.set(true);
        if let Some(delay) = fault.delay {
            let left = exchange.remaining();
            tokio::time::sleep(delay.min(left)).await;
            if delay >= left {
                return Err(Failure::Late);
            }
        }
        if let Some(status) = fault.abort {
            return Ok(Some(Reply::problem(status, "a fault was injected by the configuration")));
        }
    }
    match &traffic.answer {
        Some(Fixed::Redirect { to, status }) => return Ok(Some(redirect(exchange, to, *status, consumed))),
        Some(Fixed::Reply { status, headers, body }) => {
            return Ok(Some(Reply { headers: headers.clone(), body: body.clone(), ..Reply::empty(*status) }));
        }
        None => {}
    }
    let total: u64 = traffic.split.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total > 0 && exchange.upstream.borrow().is_none() {
        let mut thrown = dice.throw(total);
        for (service, weight) in &traffic.split {
            match thrown.checked_sub(u64::from(*weight)) {
                Some(left) => thrown = left,
                None => {
                    exchange.upstream.replace(Some(services(*service).into()));
                    break;
                }
            }
        }
    }
    if let Some(template) = &traffic.rewrite
        && exchange.request.borrow().path_set.is_none()
    {
        let path = fill(template, exchange, consumed);
        exchange.request.borrow_mut().path_set = Some(Box::new(NormalPath::parse_str(&path).map_err(Failure::Path)?));
    }
    change(&traffic.request_headers, &mut exchange.request.borrow_mut().headers);
    Ok(None)
}

pub fn change(changes: &HeaderChanges, headers: &mut HeaderMap) {
    for name in &changes.remove {
        headers.remove(name);
        strip_other_spellings(headers, name);
    }
    for (name, value) in &changes.set {
        headers.insert(name.clone(), value.clone());
        strip_other_spellings(headers, name);
    }
    for (name, value) in &changes.add {
        headers.append(name.clone(), value.clone());
    }
}

fn redirect(exchange: &Exchange, to: &Template, status: StatusCode, consumed: usize) -> Reply {
    let mut location = fill(to, exchange, consumed);
    // SECURITY: `//host` would lead to another host that the client chose.
    while location.starts_with("//") {
        location.remove(0);
    }
    match HeaderValue::from_str(&location) {
        Ok(location) => Reply::empty(status).header(header::LOCATION, location),
        Err(_) => Reply::problem(StatusCode::BAD_REQUEST, "the request can't be redirected"),
    }
}

/// RFC 3986 §2.3: all but the unreserved is encoded, so that a value can't leave its segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn fill(template: &Template, exchange: &Exchange, consumed: usize) -> String {
    let request = exchange.request.borrow();
    let mut filled = String::with_capacity(64);
    for part in &template.0 {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Path => filled.push_str(request.path()),
            Part::Rest => {
                let rest = request.path().get(consumed..).unwrap_or_default();
                if !rest.is_empty() && !rest.starts_with('/') {
                    filled.push('/');
                }
                filled.push_str(rest);
            }
            Part::Query if request.query().is_empty() => {}
            Part::Query => {
                filled.push('?');
                filled.push_str(request.query());
            }
            Part::Host => filled.push_str(super::without_port(request.host())),
            Part::Parameter(name) => {
                let value = request.params.iter().find(|(known, _)| **known == **name).map_or("", |(_, value)| value);
                filled.extend(utf8_percent_encode(value, SEGMENT));
            }
        }
    }
    filled
}
