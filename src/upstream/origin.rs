//! Where connections lead: scheme, host and port (an origin, RFC 9110 §4.3.1), and the key of the pool.
//!
//! Parsed once, when the configuration is checked, and shared by the workers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use http::{HeaderValue, Uri};

/// The origin of a target.
#[derive(Clone, Debug)]
pub struct Origin {
    host: Box<str>,
    port: u16,
    /// The address, when the host is one: nothing to resolve.
    address: Option<SocketAddr>,
    host_header: HeaderValue,
}

/// Why a URL does not name an origin that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    #[error("`{0}` has no scheme and host, such as http://127.0.0.1:9001")]
    NotAbsolute(String),
    #[error("the scheme `{0}` is not supported, only http")]
    Scheme(String),
    #[error("`{0}` has no usable host")]
    Host(String),
    #[error("`{0}` carries user information, which has no place in a target")]
    UserInformation(String),
}

impl Origin {
    /// A plain HTTP origin; IPv6 addresses with or without brackets.
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
            host: shown.into_boxed_str(),
            port,
            address: address.map(|address| SocketAddr::new(address, port)),
            host_header: HeaderValue::from_str(&header).map_err(|_| bad())?,
        })
    }

    /// The origin of an absolute URL; its path and query are not looked at.
    pub fn from_uri(uri: &Uri) -> Result<Origin, BadOrigin> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadOrigin::NotAbsolute(uri.to_string()));
        };
        if scheme != "http" {
            return Err(BadOrigin::Scheme(scheme.to_owned()));
        }
        if authority.as_str().contains('@') {
            return Err(BadOrigin::UserInformation(authority.host().to_owned()));
        }
        Origin::new(authority.host(), authority.port_u16().unwrap_or(80))
    }

    /// The host: a name in lower case, or an address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What `Host` says to this origin, without the default port.
    pub fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Origin) -> bool {
        self.port == other.port && self.host == other.host
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.port.hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_origins() {
        for (url, expected) in [
            ("http://Users.internal/x", "users.internal:80 host users.internal"),
            ("http://127.0.0.1:9001", "127.0.0.1:9001 host 127.0.0.1:9001"),
            ("http://[::1]:9001", "[::1]:9001 host [::1]:9001"),
        ] {
            let origin = Origin::from_uri(&url.parse().unwrap()).unwrap();
            let header = origin.host_header().to_str().unwrap();
            assert_eq!(format!("{origin} host {header}"), expected);
        }
        for (url, expected) in [
            ("/x", "`/x` has no scheme and host, such as http://127.0.0.1:9001"),
            ("https://a", "the scheme `https` is not supported, only http"),
            ("http://u:p@a", "`a` carries user information, which has no place in a target"),
        ] {
            let error = Origin::from_uri(&url.parse().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        for host in ["", "a b", "a/b", "[::1"] {
            let error = Origin::new(host, 80).unwrap_err();
            assert_eq!(error.to_string(), format!("`{host}` has no usable host"));
        }
    }
}
