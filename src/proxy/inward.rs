//! Names of other hosts that resolve to where no other host is: link-local addresses, with the clouds' metadata services, and this host's
//! "any" address.
//!
//! A manifest grants names, and who runs a name's DNS chooses its addresses. Private networks and loopback stay allowed, since a
//! granted name of one's own may well live there.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Resolves by the system, without the addresses that no name may stand for.
pub struct Outside;

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = found.filter(|address| !is_inward(address.ip())).collect();
            if addresses.is_empty() {
                let why = format!("`{}` has no address that may be called", name.as_str());
                return Err(io::Error::other(why).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// AWS serves its metadata here too, in the range of private networks.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// SECURITY: an IPv4 address is the same in its IPv6 spelling.
pub fn is_inward(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || v6 == METADATA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_for_link_local_or_any_addresses() {
        let is = |text: &str| is_inward(text.parse().expect("an address"));
        for inward in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "fd00:ec2::254",
            "224.0.0.1",
        ] {
            assert!(is(inward), "{inward}");
        }
        for outside in ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.7", "2001:db8::1", "fd00::1"] {
            assert!(!is(outside), "{outside}");
        }
    }
}
