//! Hosts that a plugin may call, as its manifest writes them.
//!
//! A name or address, with the scheme and port if those matter, or a network. Without a port only the scheme's own is meant: a
//! permission for a web site is none for whatever else listens there.

use ipnet::IpNet;
use std::{fmt, net::IpAddr};

/// `api.example.com`, `*.example.com`, `https://api.example.com:8443` or `10.0.0.0/8`.
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    written: String,
    scheme: Option<&'static str>,
    name: Name,
    /// Absent: 443, or 80 for `http`.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq)]
enum Name {
    Exact(String),
    /// What ends like this, which begins with a dot.
    Below(String),
    Address(IpNet),
}

impl Host {
    /// Nothing when it is none of these.
    pub fn parse(text: &str) -> Option<Host> {
        let written = text.to_ascii_lowercase();
        if let Ok(network) = written.parse::<IpNet>() {
            return Some(Host { written, scheme: None, name: Name::Address(network), port: None });
        }
        let scheme = ["http", "https"].into_iter().find(|scheme| written.starts_with(&format!("{scheme}://")));
        let rest = scheme.map_or(written.as_str(), |scheme| &written[scheme.len() + 3..]);
        let (is_wild, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let (host, port) = super::super::target::host_and_port(rest, 0).ok()?;
        let port = (port != 0).then_some(port);
        let is_number = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
        let name = match (host.parse::<IpAddr>(), is_wild) {
            (Ok(address), false) => Name::Address(address.into()),
            (Err(_), false) if !is_number => Name::Exact(host),
            (Err(_), true) if !is_number => Name::Below(format!(".{host}")),
            _ => return None,
        };
        Some(Host { written, scheme, name, port })
    }

    /// The host that a URL leads to, with its scheme and port.
    pub fn of_url(url: &str) -> Option<Host> {
        let url = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        // SECURITY: one host; a wildcard would permit others too.
        let host = url.host_str().filter(|host| !host.contains('*'))?;
        Host::parse(&format!("{}://{host}:{}", url.scheme(), url.port_or_known_default()?))
    }

    /// Whether a URL with this scheme, host (an IPv6 address in its brackets or not) and port is meant.
    pub fn permits(&self, scheme: &str, host: &str, port: u16) -> bool {
        let fits = match &self.name {
            Name::Exact(name) => name == host,
            Name::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Name::Address(network) => {
                let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
                address.is_ok_and(|address| network.contains(&address))
            }
        };
        let own_port = if scheme == "http" { 80 } else { 443 };
        fits && self.scheme.is_none_or(|only| only == scheme) && port == self.port.unwrap_or(own_port)
    }

    /// The addresses that are named themselves, and to which a permitted name may lead even if they are private.
    pub fn network(&self) -> Option<IpNet> {
        match &self.name {
            Name::Address(network) => Some(*network),
            Name::Exact(_) | Name::Below(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(host: &str, scheme: &str, name: &str, port: u16) -> bool {
        Host::parse(host).unwrap_or_else(|| panic!("{host}")).permits(scheme, name, port)
    }

    #[test]
    fn a_name_is_meant_at_the_schemes_own_port_unless_one_is_written() {
        assert!(permits("API.example.com", "https", "api.example.com", 443));
        assert!(permits("api.example.com", "http", "api.example.com", 80));
        assert!(!permits("api.example.com", "https", "api.example.com", 80));
        assert!(!permits("api.example.com", "http", "api.example.com", 6379));
        assert!(permits("api.example.com:6379", "http", "api.example.com", 6379));
        assert!(!permits("api.example.com:6379", "http", "api.example.com", 80));
        assert!(!permits("api.example.com", "https", "api.example.com.evil.net", 443));
        assert!(!permits("api.example.com", "https", "a.api.example.com", 443));
    }

    #[test]
    fn a_scheme_is_meant_alone() {
        assert!(permits("https://api.example.com", "https", "api.example.com", 443));
        assert!(!permits("https://api.example.com", "http", "api.example.com", 443));
        assert!(!permits("https://api.example.com", "http", "api.example.com", 80));
    }

    #[test]
    fn a_wildcard_stands_for_what_is_below() {
        assert!(permits("*.example.com", "https", "a.b.example.com", 443));
        assert!(!permits("*.example.com", "https", "example.com", 443));
        assert!(!permits("*.example.com", "https", "badexample.com", 443));
        assert!(permits("https://*.example.com:8443", "https", "a.example.com", 8443));
    }

    #[test]
    fn a_url_means_its_own_host_scheme_and_port() {
        let host = |url: &str| Host::of_url(url).map(|host| host.to_string());
        assert_eq!(host("https://Issuer.example/keys?a#b"), Some("https://issuer.example:443".into()));
        assert_eq!(host("http://user:word@[::1]:9000/"), Some("http://[::1]:9000".into()));
        assert_eq!(host("https://*.example.com/"), None);
        for wrong in ["svc://a/b", "ftp://a/b", "file:///a", "a.example/b", "https://", ""] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_and_networks_are_meant_as_numbers() {
        assert!(permits("10.0.0.0/8", "http", "10.1.2.3", 80));
        assert!(!permits("10.0.0.0/8", "http", "10.1.2.3", 8080));
        assert!(!permits("10.0.0.0/8", "http", "11.1.2.3", 80));
        assert!(permits("[::1]:9000", "http", "[::1]", 9000));
        for wrong in ["*", "*.1", "ftp://a", "a/b", "http://", "127.1", "*.*.example.com", ""] {
            assert!(Host::parse(wrong).is_none(), "{wrong}");
        }
    }
}
