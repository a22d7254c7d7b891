//! What the target learns about the client: `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
//!
//! A peer outside `trusted_proxies` is taken for the client itself: whatever it says in these fields, in `Forwarded`
//! (RFC 7239) or `X-Real-IP`, and in other spellings of them, is discarded. A trusted one is a proxy whose words are
//! kept and added to. The client's address is found from the right, over trusted addresses: all further left is the
//! client's to forge.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use http::uri::Scheme;
use ipnet::IpNet;

use super::identity::{folds_to, strip_where};

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// One client connection, as it is told to targets. Made once a connection; applying it allocates nothing for a
/// client that is not a proxy.
#[derive(Clone, Debug)]
pub struct Connection {
    peer: IpAddr,
    peer_value: HeaderValue,
    proto: HeaderValue,
    port: HeaderValue,
    /// The three as lines of a head.
    lines: Box<[u8]>,
}

impl Connection {
    /// `peer` is the other end, `local` the listener's end, `scheme` what the listener speaks.
    pub fn new(peer: SocketAddr, local: SocketAddr, scheme: &Scheme) -> Connection {
        // A listener on `[::]` sees IPv4 clients as ::ffff:a.b.c.d, which no `trusted_proxies` entry would match.
        let peer = peer.ip().to_canonical();
        let proto = if *scheme == Scheme::HTTPS { "https" } else { "http" };
        let port = local.port();
        let lines = format!("x-forwarded-for: {peer}\r\nx-forwarded-proto: {proto}\r\nx-forwarded-port: {port}\r\n");
        Connection {
            peer,
            peer_value: display_value(&peer),
            // Static, so that a clone counts nothing.
            proto: HeaderValue::from_static(proto),
            port: HeaderValue::from(port),
            lines: lines.into_bytes().into(),
        }
    }

    /// The address at the other end of the connection: the client or the nearest proxy.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The client's address: the first from the right that is not a trusted proxy's. When every address is trusted,
    /// the leftmost; when an entry is not an address, the last one before it, since nothing beyond can be believed.
    pub fn client(&self, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
        let mut client = self.peer;
        if trusted.is_empty() {
            return client;
        }
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for entry in value.to_str().unwrap_or("?").rsplit(',') {
                if !is_trusted(client, trusted) {
                    return client;
                }
                match parse_address(entry.trim()) {
                    Some(address) => client = address,
                    None => return client,
                }
            }
        }
        client
    }

    /// Whether the other end is no trusted proxy.
    pub fn is_stranger(&self, trusted: &[IpNet]) -> bool {
        !is_trusted(self.peer, trusted)
    }

    /// Sets the four fields on a stranger's request, whose claims are gone. `host` is what the client asked for, and may be empty.
    pub fn set(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        headers.reserve(4);
        headers.insert(X_FORWARDED_FOR, self.peer_value.clone());
        headers.insert(X_FORWARDED_PROTO, self.proto.clone());
        headers.insert(X_FORWARDED_PORT, self.port.clone());
        if !host.is_empty() {
            headers.insert(X_FORWARDED_HOST, host.clone());
        }
    }

    /// The same as lines of a head.
    pub fn write(&self, host: &HeaderValue, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lines);
        if !host.is_empty() {
            out.extend_from_slice(b"x-forwarded-host: ");
            out.extend_from_slice(host.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Takes away what a stranger claims, and adds to what a trusted proxy says. `host` is as with [`set`](Self::set).
    pub fn enter(&self, headers: &mut HeaderMap, host: &HeaderValue, trusted: &[IpNet]) {
        if self.is_stranger(trusted) {
            strip_where(headers, is_claim);
            return;
        }
        // SECURITY: proxies rewrite the canonical names and pass other spellings on, so even here they are the client's.
        strip_where(headers, |name| is_claim(name) && !is_canonical(name));
        self.append_for(headers);
        headers.entry(X_FORWARDED_PROTO).or_insert_with(|| self.proto.clone());
        headers.entry(X_FORWARDED_PORT).or_insert_with(|| self.port.clone());
        if !host.is_empty() {
            headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
        }
        if headers.contains_key(FORWARDED) {
            // Extended so that the two accounts agree on who was here (RFC 7239 §4).
            let element = match self.peer {
                IpAddr::V4(ip) => format!("for={ip}"),
                IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
            };
            if let Ok(element) = HeaderValue::from_str(&element) {
                headers.append(FORWARDED, element);
            }
        }
    }

    /// Joins all `X-Forwarded-For` fields into one, since many servers read only the first or the last.
    fn append_for(&self, headers: &mut HeaderMap) {
        let mut joined = BytesMut::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            joined.put_slice(value.as_bytes());
            joined.put_slice(b", ");
        }
        joined.put_slice(self.peer_value.as_bytes());
        let joined = HeaderValue::from_maybe_shared(joined.freeze()).unwrap_or_else(|_| self.peer_value.clone());
        headers.insert(X_FORWARDED_FOR, joined);
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// Whether a header claims something about the client, in any spelling that a CGI-like server would accept.
fn is_claim(name: &str) -> bool {
    let name = name.as_bytes();
    match name.len() {
        9 => folds_to(name, b"forwarded") || folds_to(name, b"x-real-ip"),
        12.. => name[0] == b'x' && folds_to(&name[..12], b"x-forwarded-"),
        _ => false,
    }
}

/// Whether a lower-case name uses only hyphens between its words.
fn is_canonical(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// An entry of `X-Forwarded-For`: an address, also with a port, also an IPv6 address in brackets.
fn parse_address(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = entry.parse::<SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inner = entry.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// An address as it is displayed. Scripts ask for it on each request, and what displays it takes 1,300 instructions for one of IPv4.
pub fn address_text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (digit, least) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + digit));
            }
        }
    }
    text
}

fn display_value(address: &IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(peer: &str) -> Connection {
        Connection::new(SocketAddr::new(peer.parse().unwrap(), 50000), "10.0.0.9:8080".parse().unwrap(), &Scheme::HTTP)
    }

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_client_is_found_from_the_right() {
        let cases: [(&str, &[&'static str], &[&str], &str); 9] = [
            ("9.9.9.9", &["1.1.1.1"], &[], "9.9.9.9"),
            ("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"], "9.9.9.9"),
            ("10.0.0.1", &["1.1.1.1"], &["10.0.0.0/8"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"], &["10.0.0.0/8"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "1.1.1.1", "10.2.2.2"], &["10.0.0.0/8"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, bogus, 10.2.2.2"], &["10.0.0.0/8"], "10.2.2.2"),
            ("10.0.0.1", &["10.1.1.1"], &["10.0.0.0/8"], "10.1.1.1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], &["10.0.0.0/8"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["1.1.1.1:80"], &["10.0.0.0/8"], "1.1.1.1"),
        ];
        for (peer, lines, trusted, expected) in cases {
            let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let client = connection(peer).client(&headers(&fields), &nets(trusted));
            assert_eq!(client.to_string(), expected, "{peer} {lines:?} {trusted:?}");
        }
    }

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        let octets = 0..=255u8;
        for address in octets.map(|octet| [octet, octet.wrapping_mul(7), 0, octet / 10].into()) {
            assert_eq!(address_text(address), address.to_string());
        }
        let long: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(address_text(long), "2001:db8::1");
    }

    #[test]
    fn a_stranger_s_claims_are_replaced_in_every_spelling() {
        let mut map = headers(&[
            ("host", "shop.example"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded-prefix", "/admin"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-forwarder", "stays"),
        ]);
        let (stranger, host) = (connection("9.9.9.9"), HeaderValue::from_static("shop.example"));
        stranger.enter(&mut map, &host, &[]);
        let mut written = Vec::new();
        stranger.write(&host, &mut written);
        stranger.set(&mut map, &host);
        let mut lines: Vec<String> =
            map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "host: shop.example",
                "x-forwarded-for: 9.9.9.9",
                "x-forwarded-host: shop.example",
                "x-forwarded-port: 8080",
                "x-forwarded-proto: http",
                "x-forwarder: stays",
            ]
        );
        assert_eq!(
            String::from_utf8_lossy(&written),
            "x-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: http\r\nx-forwarded-port: 8080\r\nx-forwarded-host: shop.example\r\n"
        );
    }

    #[test]
    fn a_trusted_proxy_s_words_are_kept_and_added_to() {
        let mut map = headers(&[
            ("host", "inner"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=1.1.1.1"),
        ]);
        let trusted = nets(&["10.0.0.0/8"]);
        connection("10.0.0.1").enter(&mut map, &HeaderValue::from_static("inner"), &trusted);
        assert_eq!(map["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.1");
        assert_eq!(map["x-forwarded-proto"], "https");
        assert_eq!(map["x-forwarded-host"], "shop.example");
        assert_eq!(map["x-forwarded-port"], "8080");
        let forwarded: Vec<_> = map.get_all("forwarded").iter().collect();
        assert_eq!(forwarded, ["for=1.1.1.1", "for=10.0.0.1"]);
    }
}
