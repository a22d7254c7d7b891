//! Where connections lead, and how: host and port (an origin, RFC 9110 §4.3.1), TLS, version; the key of the pool.
//!
//! Parsed once, when the configuration is checked, and shared by the workers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use rustls::pki_types::ServerName;

use super::Tls;
use super::names::{Name, Names};

/// The origin of a target.
#[derive(Clone, Debug)]
pub struct Origin {
    host: Box<str>,
    port: u16,
    place: Place,
    host_header: HeaderValue,
    tls: Option<(Tls, ServerName<'static>)>,
    http2: bool,
}

/// Where the host is.
#[derive(Clone, Debug)]
enum Place {
    /// The host is an address: nothing to resolve.
    Address(SocketAddr),
    Name(Arc<Name>),
}

/// Why there can be no such origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    #[error("`{0}` has no usable host")]
    Host(String),
}

impl Origin {
    /// A plain HTTP/1.1 origin; IPv6 addresses with or without brackets.
    pub fn new(host: &str, port: u16) -> Result<Origin, BadOrigin> {
        let bad = || BadOrigin::Host(host.to_owned());
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address: Option<IpAddr> = bare.parse().ok();
        let named = !bare.is_empty()
            && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if address.is_none() && !named {
            return Err(bad());
        }
        let shown = match address {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => bare.to_ascii_lowercase(),
        };
        let header = if port == 80 { shown.clone() } else { format!("{shown}:{port}") };
        Ok(Origin {
            place: match address {
                Some(address) => Place::Address(SocketAddr::new(address, port)),
                None => Place::Name(Arc::new(Name::alone(&shown))),
            },
            host: shown.into_boxed_str(),
            port,
            host_header: HeaderValue::from_str(&header).map_err(|_| bad())?,
            tls: None,
            http2: false,
        })
    }

    /// The same, its name one of those that are kept fresh for the whole process.
    pub fn among(mut self, names: &Names) -> Origin {
        if let Place::Name(name) = &mut self.place {
            *name = names.name(&self.host);
        }
        self
    }

    /// The same, spoken to over TLS.
    ///
    /// # Errors
    /// The host is not one that a certificate can name.
    pub fn with_tls(mut self, tls: Tls) -> Result<Origin, BadOrigin> {
        let bad = |origin: &Origin| BadOrigin::Host(origin.host.to_string());
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => {
                let bare = self.host.trim_matches(['[', ']']).to_owned();
                ServerName::try_from(bare).map_err(|_| bad(&self))?
            }
        };
        self.tls = Some((tls, name));
        let header = if self.port == 443 { self.host.to_string() } else { format!("{}:{}", self.host, self.port) };
        self.host_header = HeaderValue::from_str(&header).map_err(|_| bad(&self))?;
        Ok(self)
    }

    /// The same, spoken to in HTTP/2: over TLS when it has TLS, else with prior knowledge (RFC 9113 §3.3).
    pub fn with_http2(mut self) -> Origin {
        self.http2 = true;
        self
    }

    /// The same at one address of its name: what it is called stays, and so does whom its certificate must name.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Origin {
        Origin { place: Place::Address(SocketAddr::new(address, self.port)), ..self.clone() }
    }

    /// The host: a name in lower case, or an address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, when there is only one.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(address) => Some(*address),
            Place::Name(_) => None,
        }
    }

    /// The name that leads to it, when addresses are still to be chosen from.
    pub fn name(&self) -> Option<&Arc<Name>> {
        match &self.place {
            Place::Address(_) => None,
            Place::Name(name) => Some(name),
        }
    }

    fn is_address(&self, address: IpAddr) -> bool {
        self.host.trim_matches(['[', ']']).parse() == Ok(address)
    }

    /// The TLS settings, and whom the certificate must name.
    pub(super) fn tls(&self) -> Option<(&Tls, &ServerName<'static>)> {
        self.tls.as_ref().map(|(tls, name)| (tls, name))
    }

    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// What `Host` says to this origin, without the default port.
    pub fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Origin) -> bool {
        // SECURITY: a connection made with other settings, or none, must never be taken for one of these.
        self.port == other.port
            && self.host == other.host
            && self.address() == other.address()
            && self.http2 == other.http2
            && self.tls == other.tls
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // What else tells them apart is compared, and need not be hashed for each request.
        self.host.hash(state);
        self.port.hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        match &self.place {
            Place::Address(address) if !self.is_address(address.ip()) => write!(f, " at {}", address.ip()),
            Place::Address(_) | Place::Name(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{SystemRoots, TlsSettings};

    #[test]
    fn hosts_are_names_or_addresses() {
        for (host, port, expected) in [
            ("Users.internal", 80, "users.internal:80 host users.internal"),
            ("127.0.0.1", 9001, "127.0.0.1:9001 host 127.0.0.1:9001"),
            ("::1", 9001, "[::1]:9001 host [::1]:9001"),
        ] {
            let origin = Origin::new(host, port).unwrap();
            let header = origin.host_header().to_str().unwrap();
            assert_eq!(format!("{origin} host {header}"), expected);
        }
        for host in ["", "a b", "a/b", "[::1"] {
            let error = Origin::new(host, 80).unwrap_err();
            assert_eq!(error.to_string(), format!("`{host}` has no usable host"));
        }
    }

    #[test]
    fn one_address_of_a_name_is_an_origin_of_its_own() {
        let name = Origin::new("users", 80).unwrap();
        let [first, second] = ["10.0.0.1", "::1"].map(|address| name.at(address.parse().unwrap()));
        assert_eq!([first.to_string(), second.to_string()], ["users:80 at 10.0.0.1", "users:80 at ::1"]);
        assert_eq!((first.host_header(), first.address()), (name.host_header(), Some(([10, 0, 0, 1], 80).into())));
        assert_ne!(first, second);
        assert_ne!(first, name);
    }

    #[test]
    fn other_settings_make_another_origin() {
        let settings = |name: &str| TlsSettings {
            ca: None,
            verify: false,
            server_name: Some(name.to_owned()),
            client: None,
            http2: false,
        };
        let plain = || Origin::new("users", 443).unwrap();
        let over = |name| plain().with_tls(Tls::new(settings(name), &SystemRoots::default()).unwrap()).unwrap();
        assert_eq!(over("a"), over("a"));
        assert_ne!(over("a"), over("b"));
        assert_ne!(over("a"), plain());
        assert_ne!(plain(), plain().with_http2());
        assert_eq!(over("a").host_header(), "users");
    }
}
