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
use std::{net::IpAddr, time::Instant};

/// The addresses of a name that are targets of their own, and whether each waits until no other is up. A host that is reached by one
/// version of IP need not be by the other: those of the rarer one wait. None where there is one address of a version at most: then the
/// name is the target, whichever of the two answers, and as a service's only one it is never left out.
pub fn apart(addresses: &[IpAddr]) -> Vec<(IpAddr, bool)> {
    let of_four = addresses.iter().filter(|address| address.is_ipv4()).count();
    let mostly_four = of_four * 2 >= addresses.len();
    let most = if mostly_four { of_four } else { addresses.len() - of_four };
    let each = |address: &IpAddr| (*address, address.is_ipv4() != mostly_four);
    if most > 1 { addresses.iter().map(each).collect() } else { Vec::new() }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_where_a_version_of_ip_has_several_addresses() {
        for (addresses, expected) in [
            (&[][..], ""),
            (&["10.0.0.1"], ""),
            (&["127.0.0.1", "::1"], ""),
            (&["10.0.0.1", "10.0.0.2"], "10.0.0.1 10.0.0.2"),
            (&["10.0.0.1", "10.0.0.2", "fd00::1"], "10.0.0.1 10.0.0.2 (fd00::1)"),
            (&["10.0.0.1", "fd00::1", "fd00::2"], "(10.0.0.1) fd00::1 fd00::2"),
        ] {
            let parsed: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
            let shown = |(ip, waits): &(IpAddr, bool)| if *waits { format!("({ip})") } else { ip.to_string() };
            let found: Vec<String> = apart(&parsed).iter().map(shown).collect();
            assert_eq!(found.join(" "), expected, "{addresses:?}");
        }
    }
}
