//! Which target gets the next request: health, ejection, circuit breakers, balancing, retry budgets.
//!
//! What is known of a service and its targets belongs to the process: a [`Registry`] of atomics that all workers share and
//! that outlives generations. Each generation looks its services up when it is built, and what none uses goes. How to choose
//! ([`Picker`]) and what is a failure belong to a generation. On the path of a request stand a few relaxed atomics; locks
//! are taken only when a target or breaker changes its state. Nothing here opens connections but the [`check`]s.

pub mod backoff;
pub mod breaker;
pub mod check;
pub mod pick;
mod rate;
pub mod registry;
pub mod target;

pub use breaker::{Breaker, Permit, Refused};
pub use pick::{Member, Picker};
pub use rate::is_outlier;
pub use registry::{Registry, ServiceState};
pub use target::{Cause, Hand, Standing, TargetState};

use crate::{
    config::{Scheme, Service, Target},
    upstream::{Names, Origin, Tls},
};
use std::time::Instant;

/// How a target is connected to; none for what can't be, which the configuration's check has refused.
pub fn origin(service: &Service, target: &Target, tls: Option<&Tls>, names: &Names) -> Option<Origin> {
    let mut origin = Origin::new(&target.host, target.port).ok()?.among(names);
    if target.scheme == Scheme::Https {
        origin = origin.with_tls(tls?.clone()).ok()?;
    }
    Some(if service.http2 { origin.with_http2() } else { origin })
}

/// Milliseconds since the process's registry was made: fits an atomic, where an [`Instant`] doesn't.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn at(self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
    }

    pub fn now(self) -> u64 {
        self.at(Instant::now())
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// FNV-1a, mixed. Without a seed: all workers and all gateways must agree on it.
pub fn hash(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)))
}
