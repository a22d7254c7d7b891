//! Calls by scripts to hosts that are not services of the gateway.
//!
//! A plugin's manifest names them. What a name leads to is looked at too: an address of this machine or of a private network is
//! not connected to unless the manifest names the address itself, so that a name whose owner points it inwards opens nothing.
//! The gateway's own administration is never connected to, whatever is named. Redirects are not followed and proxies of the environment are not used, either of which would stretch a permission.

use super::outbound::answer;
use crate::{
    config::manifest::Host,
    script::{
        Scope,
        outbound::{Answer, Call, Failure},
    },
};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    cell::RefCell,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    rc::Rc,
    sync::{Arc, OnceLock},
};

/// Where administration listens, once it does.
pub type Administration = Arc<OnceLock<SocketAddr>>;

/// A worker's clients, one for each list of hosts that manifests write: connections that one plugin may have are not pooled
/// with those of another that may not.
#[derive(Default)]
pub struct Clients {
    all: RefCell<Vec<Rc<Known>>>,
    administration: Administration,
}

struct Known {
    written: Vec<String>,
    /// What is not connected to.
    avoided: Option<SocketAddr>,
    hosts: Vec<Host>,
    client: reqwest::Client,
}

/// Lists change with the configuration: old ones must not gather for ever.
const MAX_CLIENTS: usize = 32;

impl Clients {
    pub fn new(administration: Administration) -> Clients {
        Clients { all: RefCell::default(), administration }
    }

    fn get(&self, written: &[String], avoided: Option<SocketAddr>) -> Rc<Known> {
        let mut all = self.all.borrow_mut();
        if let Some(known) = all.iter().find(|known| known.avoided == avoided && known.written == written) {
            return known.clone();
        }
        let hosts = parsed(written);
        let networks: Arc<[IpNet]> = hosts.iter().filter_map(Host::network).collect();
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let client = builder.dns_resolver(Arc::new(Resolver { networks, avoided })).build().unwrap_or_default();
        if all.len() == MAX_CLIENTS {
            all.clear();
        }
        let known = Rc::new(Known { written: written.to_vec(), avoided, hosts, client });
        all.push(known.clone());
        known
    }

    /// The client for a call, and where it goes.
    pub fn permitted(&self, scope: &Scope, url: &str) -> Result<(reqwest::Client, reqwest::Url), Failure> {
        let written = &scope.instance.permissions.hosts;
        let known = self.get(written, None);
        let url = permitted_by(&known.hosts, url)?;
        // A resolver doesn't learn the port: what goes to administration's has a client of its own.
        let port = url.port_or_known_default();
        let Some(avoided) = self.administration.get().filter(|own| Some(own.port()) == port) else {
            return Ok((known.client.clone(), url));
        };
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if literal.is_some_and(|address| reaches(address, *avoided)) {
            return Err(Failure::Administration);
        }
        Ok((self.get(written, Some(*avoided)).client.clone(), url))
    }
}

fn parsed(written: &[String]) -> Vec<Host> {
    written.iter().filter_map(|host| Host::parse(host)).collect()
}

/// The same without a client, for `gatewright test`.
pub fn permitted(scope: &Scope, url: &str) -> Result<reqwest::Url, Failure> {
    permitted_by(&parsed(&scope.instance.permissions.hosts), url)
}

/// SECURITY: a script reaches only hosts that its manifest names.
fn permitted_by(hosts: &[Host], url: &str) -> Result<reqwest::Url, Failure> {
    let url = reqwest::Url::parse(url).map_err(|_| Failure::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::BadUrl);
    }
    let host = url.host_str().ok_or(Failure::BadUrl)?;
    let port = url.port_or_known_default().ok_or(Failure::BadUrl)?;
    let is_named = hosts.iter().any(|named| named.permits(url.scheme(), host, port));
    if is_named { Ok(url) } else { Err(Failure::Forbidden) }
}

pub async fn send(client: reqwest::Client, url: reqwest::Url, call: Call, max_body: usize) -> Result<Answer, Failure> {
    let request = client.request(call.method, url).headers(call.headers).body(call.body);
    let mut response = request.send().await.map_err(|error| not_reached(&error))?;
    let mut body = bytes::BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| not_reached(&error))? {
        if body.len() + chunk.len() > max_body {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    answer(response.status().as_u16(), std::mem::take(response.headers_mut()), body.freeze(), max_body).await
}

fn not_reached(error: &reqwest::Error) -> Failure {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    if error.is_timeout() {
        Failure::Timeout
    } else if let Some(inwards) = causes.find_map(|cause| cause.downcast_ref::<Inwards>()) {
        match inwards {
            Inwards::Private(..) => Failure::Forbidden,
            Inwards::Administration(..) => Failure::Administration,
        }
    } else if error.is_connect() {
        Failure::Connect
    } else {
        Failure::Protocol
    }
}

/// Every address of a name is one that it must not lead to.
#[derive(Debug, thiserror::Error)]
enum Inwards {
    /// Only an address in the manifest would permit it.
    #[error("`{0}` leads to {1}, a private address that the manifest doesn't name")]
    Private(String, IpAddr),
    #[error("`{0}` leads to {1}, where the gateway's administration listens")]
    Administration(String, IpAddr),
}

/// Whether a connection to this address, and the listener's port, would be the listener's.
fn reaches(address: IpAddr, listener: SocketAddr) -> bool {
    let (address, own) = (address.to_canonical(), listener.ip().to_canonical());
    // Connecting to the unspecified address leads to this machine; only an address of this machine can be bound.
    let is_of_machine = || address.is_loopback() || UdpSocket::bind((address, 0)).is_ok();
    address == own || address.is_unspecified() || (own.is_unspecified() && is_of_machine())
}

/// The system's resolver, without addresses that a name must not lead to.
struct Resolver {
    networks: Arc<[IpNet]>,
    avoided: Option<SocketAddr>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (networks, avoided) = (self.networks.clone(), self.avoided);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found = outside_of(name.as_str(), found.collect(), avoided)?;
            let admitted = admitted(name.as_str(), found, &networks)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// What a name leads to, unless that is administration.
fn outside_of(name: &str, found: Vec<SocketAddr>, avoided: Option<SocketAddr>) -> Result<Vec<SocketAddr>, Inwards> {
    let own = avoided.and_then(|avoided| found.iter().find(|address| reaches(address.ip(), avoided)));
    match own {
        Some(own) => Err(Inwards::Administration(name.to_owned(), own.ip())),
        None => Ok(found),
    }
}

fn admitted(name: &str, found: Vec<SocketAddr>, networks: &[IpNet]) -> Result<Vec<SocketAddr>, Inwards> {
    // RFC 6761 §6.3: these names mean this machine and nothing else, so who names one has named the address.
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let fits = |address: IpAddr| {
        let address = address.to_canonical();
        is_public(address)
            || (is_local && address.is_loopback())
            || networks.iter().any(|network| network.contains(&address))
    };
    let first = found.first().copied();
    let admitted: Vec<_> = found.into_iter().filter(|address| fits(address.ip())).collect();
    match (admitted.is_empty(), first) {
        (true, Some(first)) => Err(Inwards::Private(name.to_owned(), first.ip())),
        _ => Ok(admitted),
    }
}

/// Whether an address is of the public internet, by the special-purpose registries of RFC 6890. An IPv4 address that is
/// written within an IPv6 one (mapped, NAT64 of RFC 6052, 6to4 of RFC 3056) counts as itself.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation();
    let shared = a == 100 && (b & 0xc0) == 64;
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (b & 0xfe) == 18;
    !(special || shared || protocols || benchmarks || a == 0 || a >= 224)
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Only 2000::/3 is given out (RFC 4291 §2.4). Of it 2001::/23 is for protocols, such as Teredo (RFC 6890), and 2001:db8::/32
        // and 3fff::/20 (RFC 9637) for documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_of_the_public_internet_are_known() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
            "2001:2::1",
            "3fff:fff::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:200::1",
            "3fff:1000::1",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
    }

    fn shown(name: &str, found: &[&str], networks: &[&str]) -> String {
        let found = found.iter().map(|ip| SocketAddr::new(ip.parse().expect(ip), 0)).collect();
        let networks: Vec<IpNet> = networks.iter().map(|net| net.parse().expect(net)).collect();
        match admitted(name, found, &networks) {
            Ok(admitted) => format!("{:?}", admitted.iter().map(SocketAddr::ip).collect::<Vec<_>>()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_leads_inwards_only_to_addresses_that_are_named() {
        let refused = "`a.example` leads to 10.0.0.5, a private address that the manifest doesn't name";
        assert_eq!(shown("a.example", &["10.0.0.5"], &[]), refused);
        assert_eq!(shown("a.example", &["10.0.0.5", "1.1.1.1"], &[]), "[1.1.1.1]");
        assert_eq!(shown("a.example", &["10.0.0.5"], &["10.0.0.0/24"]), "[10.0.0.5]");
        assert_eq!(shown("a.example", &["::ffff:10.0.0.5"], &["10.0.1.0/24"]), refused.replace("10.0", "::ffff:10.0"));
        assert_eq!(shown("localhost", &["127.0.0.1", "::1"], &[]), "[127.0.0.1, ::1]");
        assert_eq!(shown("localhost", &["10.0.0.5"], &[]), refused.replace("a.example", "localhost"));
    }

    #[test]
    fn administration_is_known_at_every_address_that_leads_to_it() {
        let reaches = |address: &str, listener: &str| {
            super::reaches(address.parse().expect(address), listener.parse().expect(listener))
        };
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            assert!(reaches(address, "127.0.0.1:9080"), "{address}");
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"] {
            assert!(reaches(address, "0.0.0.0:9080"), "{address}");
        }
        for (address, listener) in
            [("127.0.0.2", "127.0.0.1:9080"), ("192.0.2.1", "0.0.0.0:9080"), ("::1", "127.0.0.1:1")]
        {
            assert!(!reaches(address, listener), "{address} {listener}");
        }
    }
}
