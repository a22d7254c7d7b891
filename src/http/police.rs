//! Request heads that two parties could read differently, or that a gateway has no business with, are refused.
//!
//! Malformed heads and doubtful framing are refused where they are read (`http1::request`, and the crate h2). This is the
//! rest, and looks at framing once more. It looks at heads only and changes nothing.

use std::net::Ipv6Addr;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::identity::folds_to;

/// Why a request is refused before it is matched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// 400, 405, 408, 414, 431, 501 or 505. With 405 an `Allow` header is due (RFC 9110 §15.5.6): [`Refusal::ALLOW`].
    pub status: StatusCode,
    /// What was wrong, for the log and the problem detail.
    pub reason: &'static str,
}

impl Refusal {
    /// What to put into `Allow` with a 405 from here: anything but `CONNECT` and `TRACE`.
    pub const ALLOW: &'static str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

    fn bad(reason: &'static str) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, reason }
    }
}

/// The `Host` field. It ought to be the first (RFC 9110 §7.2), so that a look at the fields costs less than a search.
pub fn host(headers: &HeaderMap) -> Option<&HeaderValue> {
    hosts(headers).next()
}

fn hosts(headers: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    headers.iter().filter(|(name, _)| *name == HOST).map(|(_, host)| host)
}

/// Checks the head of a request.
///
/// # Errors
/// The first reason to refuse it, with the status to answer.
pub fn check(head: &Parts) -> Result<(), Refusal> {
    check_method(head)?;
    check_host(head)?;
    if head.version == Version::HTTP_2 {
        check_values(head)?;
    }
    if check_names(head)? == Framed::Yes { check_framing(head) } else { Ok(()) }
}

/// Holds the size of a head, as HTTP/1.1 writes it, to a limit in bytes.
///
/// # Errors
/// 431 (RFC 6585 §5), or 414 when the target alone is too long.
pub fn check_size(head: &Parts, limit: usize) -> Result<(), Refusal> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limit {
        return Err(Refusal { status: StatusCode::URI_TOO_LONG, reason: "the request target is too long" });
    }
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    match target + fields > limit {
        true => Err(Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the request head is too large",
        }),
        false => Ok(()),
    }
}

/// Holds the number of header lines to a limit.
///
/// # Errors
/// 431 (RFC 6585 §5).
pub fn check_count(head: &Parts, limit: usize) -> Result<(), Refusal> {
    match head.headers.len() > limit {
        true => Err(Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the request has too many header fields",
        }),
        false => Ok(()),
    }
}

fn check_method(head: &Parts) -> Result<(), Refusal> {
    let not_allowed = |reason| Refusal { status: StatusCode::METHOD_NOT_ALLOWED, reason };
    // A gateway is no tunnel; and TRACE would echo credentials that were added on the way (RFC 9110 §9.3.8).
    if head.method == Method::CONNECT {
        // RFC 9220 §3, of which RFC 8441 says nothing. WebSockets have become a GET by now.
        if head.extensions.get::<h2::ext::Protocol>().is_some() {
            let reason = "an extended CONNECT is for websockets only";
            return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, reason });
        }
        return Err(not_allowed("the method CONNECT is not allowed"));
    }
    if head.method == Method::TRACE {
        return Err(not_allowed("the method TRACE is not allowed"));
    }
    if head.uri.path() == "*" && head.method != Method::OPTIONS {
        return Err(Refusal::bad("the target `*` is for OPTIONS only"));
    }
    Ok(())
}

/// RFC 9112 §3.2: exactly one valid `Host` in HTTP/1.1, and none that contradicts the target.
fn check_host(head: &Parts) -> Result<(), Refusal> {
    let mut hosts = hosts(&head.headers);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("more than one host header"));
    }
    let target = head.uri.authority();
    if target.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Refusal::bad("user information in the request target"));
    }
    if target.is_some() {
        match head.uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(Refusal::bad("the scheme of the request target is not http")),
            // Authority form, which only CONNECT has.
            None => return Err(Refusal::bad("the request target is not a path")),
        }
    }
    let Some(host) = host else {
        return match target {
            _ if head.version == Version::HTTP_11 => Err(Refusal::bad("no host header")),
            // RFC 9113 §8.3.1: `:authority` stands for it.
            None if head.version == Version::HTTP_2 => Err(Refusal::bad("neither an authority nor a host header")),
            Some(target) if !is_host(target.as_str().as_bytes()) => Err(Refusal::bad("the authority is not a host")),
            _ => Ok(()),
        };
    };
    let host = host.as_bytes();
    if host.is_empty() {
        // Allowed for a target without an authority, but nothing a gateway could match.
        return Err(Refusal::bad("the host header is empty"));
    }
    if !is_host(host) {
        return Err(Refusal::bad("the host header is not a host"));
    }
    if let Some(target) = target
        && !target.as_str().as_bytes().eq_ignore_ascii_case(host)
    {
        return Err(Refusal::bad("the host header does not match the request target"));
    }
    Ok(())
}

/// A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. Narrower than RFC 3986 §3.2.2, whose
/// names may hold `,` or `%`: no host that resolves does, and each server reads them its own way.
fn is_host(host: &[u8]) -> bool {
    let end = match host {
        [b'[', ..] => host.iter().position(|byte| *byte == b']').map(|end| end + 1),
        _ => memchr::memchr(b':', host),
    };
    let (name, port) = host.split_at(end.unwrap_or(host.len()));
    let port_is_fine = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let name_is_fine = match name {
        [] => false,
        [b'[', address @ .., b']'] => std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        name => name.iter().all(|byte| NAME[usize::from(*byte)]),
    };
    port_is_fine && name_is_fine
}

/// What a host's name may be made of: letters, digits and `.-_`.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'.' | b'-' | b'_');
        byte += 1;
    }
    table
};

/// Framing with two readings (RFC 9112 §6), whoever has let it through.
fn check_framing(head: &Parts) -> Result<(), Refusal> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let Some(coding) = head.headers.get(TRANSFER_ENCODING) else {
        let odd = length.is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit));
        if odd || lengths.next().is_some() {
            return Err(Refusal::bad("the content-length is not one number"));
        }
        return Ok(());
    };
    if length.is_some() {
        return Err(Refusal::bad("both content-length and transfer-encoding"));
    }
    if head.version == Version::HTTP_10 {
        return Err(Refusal::bad("transfer-encoding in http/1.0"));
    }
    let one = head.headers.get_all(TRANSFER_ENCODING).iter().count() == 1;
    if !one || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        // RFC 9112 §6.1: 501 for a coding not understood.
        return Err(Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            reason: "the transfer-encoding is not `chunked` alone",
        });
    }
    Ok(())
}

/// RFC 9113 §8.2.1: a value neither begins nor ends with white space, which would be gone behind a target of HTTP/1.1 and not before it.
fn check_values(head: &Parts) -> Result<(), Refusal> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let odd = |value: &HeaderValue| is_space(value.as_bytes().first()) || is_space(value.as_bytes().last());
    match head.headers.values().any(odd) {
        true => Err(Refusal::bad("a header value begins or ends with white space")),
        false => Ok(()),
    }
}

/// Whether a head speaks of a body.
#[derive(PartialEq, Eq)]
enum Framed {
    Yes,
    No,
}

/// SECURITY: to a CGI-like target `Content_Length` is `Content-Length`: a second, contradicting one would be smuggled
/// past every other check. Names that carry identity are treated in [`super::identity`].
fn check_names(head: &Parts) -> Result<Framed, Refusal> {
    let mut framed = Framed::No;
    for name in head.headers.keys() {
        let reserved: &HeaderName = match name.as_str().len() {
            4 => &HOST,
            10 => &CONNECTION,
            14 => &CONTENT_LENGTH,
            17 => &TRANSFER_ENCODING,
            _ => continue,
        };
        if name == reserved {
            if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING {
                framed = Framed::Yes;
            }
        } else if folds_to(name.as_str().as_bytes(), reserved.as_str().as_bytes()) {
            return Err(Refusal::bad("a framing header in another spelling"));
        }
    }
    Ok(framed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn verdict(method: &str, target: &str, version: Version, fields: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        match check(&head) {
            Ok(()) => "fine".to_owned(),
            Err(refusal) => format!("{} {refusal}", refusal.status.as_u16()),
        }
    }

    #[test]
    fn methods_and_targets() {
        let host = [("host", "a")];
        for (method, target, expected) in [
            ("GET", "/", "fine"),
            ("PURGE", "/", "fine"),
            ("OPTIONS", "*", "fine"),
            ("GET", "*", "400 the target `*` is for OPTIONS only"),
            ("CONNECT", "a:443", "405 the method CONNECT is not allowed"),
            ("TRACE", "/", "405 the method TRACE is not allowed"),
            ("GET", "http://a/", "fine"),
            ("GET", "http://A/", "fine"),
            ("GET", "http://b/", "400 the host header does not match the request target"),
            ("GET", "http://u@a/", "400 user information in the request target"),
            ("GET", "ftp://a/", "400 the scheme of the request target is not http"),
        ] {
            let verdict = verdict(method, target, Version::HTTP_11, &host);
            assert_eq!(verdict, expected, "{method} {target}");
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("shop.example", "fine"),
            ("shop_1.example:8080", "fine"),
            ("127.0.0.1:80", "fine"),
            ("[::1]:80", "fine"),
            ("[::1]", "fine"),
            ("", "400 the host header is empty"),
            (":80", "400 the host header is not a host"),
            ("a:b", "400 the host header is not a host"),
            ("a:80:80", "400 the host header is not a host"),
            ("a/b", "400 the host header is not a host"),
            ("a b", "400 the host header is not a host"),
            ("a,b", "400 the host header is not a host"),
            ("a@b", "400 the host header is not a host"),
            ("a?b", "400 the host header is not a host"),
            ("[zz]", "400 the host header is not a host"),
        ] {
            let verdict = verdict("GET", "/", Version::HTTP_11, &[("host", host)]);
            assert_eq!(verdict, expected, "{host}");
        }
        let two = [("host", "a"), ("host", "a")];
        assert_eq!(verdict("GET", "/", Version::HTTP_11, &two), "400 more than one host header");
        assert_eq!(verdict("GET", "/", Version::HTTP_11, &[]), "400 no host header");
        assert_eq!(verdict("GET", "/", Version::HTTP_10, &[]), "fine");
        assert_eq!(verdict("GET", "http://a/", Version::HTTP_2, &[]), "fine");
        assert_eq!(verdict("GET", "http://a/", Version::HTTP_2, &[("host", "a")]), "fine");
        let other = verdict("GET", "http://a/", Version::HTTP_2, &[("host", "b")]);
        assert_eq!(other, "400 the host header does not match the request target");
        assert_eq!(verdict("GET", "/", Version::HTTP_2, &[]), "400 neither an authority nor a host header");
        assert_eq!(verdict("GET", "http://a,b/", Version::HTTP_2, &[]), "400 the authority is not a host");
    }

    #[test]
    fn framing() {
        let cases: [(&[(&str, &str)], &str); 8] = [
            (&[("content-length", "5")], "fine"),
            (&[("content-length", "+5")], "400 the content-length is not one number"),
            (&[("content-length", "5"), ("content-length", "5")], "400 the content-length is not one number"),
            (&[("transfer-encoding", "Chunked")], "fine"),
            (&[("transfer-encoding", "gzip, chunked")], "501 the transfer-encoding is not `chunked` alone"),
            (
                &[("transfer-encoding", "chunked"), ("content-length", "5")],
                "400 both content-length and transfer-encoding",
            ),
            (&[("content_length", "5")], "400 a framing header in another spelling"),
            (&[("transfer.encoding", "chunked")], "400 a framing header in another spelling"),
        ];
        for (fields, expected) in cases {
            let mut all = vec![("host", "a")];
            all.extend_from_slice(fields);
            assert_eq!(verdict("POST", "/", Version::HTTP_11, &all), expected, "{fields:?}");
        }
        let old = [("transfer-encoding", "chunked")];
        assert_eq!(verdict("POST", "/", Version::HTTP_10, &old), "400 transfer-encoding in http/1.0");
        for value in [" a", "a ", "\ta", "a\t", " "] {
            let padded = verdict("GET", "http://a/", Version::HTTP_2, &[("x-user", value)]);
            assert_eq!(padded, "400 a header value begins or ends with white space", "{value:?}");
        }
        assert_eq!(verdict("GET", "http://a/", Version::HTTP_2, &[("x-user", "a b"), ("x", "")]), "fine");
    }
}
