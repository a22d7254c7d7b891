//! Fields that belong to one connection and are not forwarded (RFC 9110 §7.6.1).
//!
//! Run on a request as soon as its head is accepted and before anything is added to it, so that a `Connection` field
//! can only name what its own sender wrote; run on a response as soon as its head is here. What is needed on the next
//! connection (framing, `Connection`) is written by that connection's own encoder.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRAILER, UPGRADE};

use super::identity::strip_where;
use super::trailers;

/// Fields that a `Connection` field may not take away.
///
/// SECURITY: `Connection: x-forwarded-for` or `Connection: authorization` would let a sender hide from the target what
/// another party, or the gateway's own rules, rely on (CVE-2022-31813 in Apache httpd was this).
const END_TO_END: [&str; 15] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "forwarded",
    "host",
    "location",
    "set-cookie",
    "traceparent",
    "x-real-ip",
];

/// Removes the hop-by-hop fields of a request.
///
/// `Trailer` stays, as far as what it names may be one: it is not of this connection (RFC 9110 §6.6.2). `TE: trailers` stays when it was sent, since gRPC servers insist on seeing it. `Expect` goes: reading the body makes
/// the client side answer `100 Continue`, and the target is not asked again (RFC 9110 §10.1.1).
pub fn strip_request(headers: &mut HeaderMap) {
    let unwanted = |name: &str| is_hop(name) || matches!(name, "expect" | "proxy-authorization");
    match found(headers, unwanted) {
        Found::Nothing => return,
        Found::Usual => {
            headers.remove(CONNECTION);
            return;
        }
        Found::More => {}
    }
    let te = headers.get_all(TE).iter().any(|value| {
        tokens(value).any(|token| {
            let coding = token.split(';').next().unwrap_or(token);
            coding.trim().eq_ignore_ascii_case("trailers")
        })
    });
    let announced = trailers::announced(headers);
    strip(headers, unwanted);
    if let Some(names) = announced {
        headers.insert(TRAILER, names);
    }
    if te {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocol that a request asks to switch to, when it may: `Upgrade` and a `Connection` that names it (RFC 9110 §7.8).
/// To be asked before [`strip_request`] takes both away.
///
/// SECURITY: no other version of HTTP and no TLS: what follows would be requests that nobody checks ("h2c smuggling").
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let named =
        headers.get_all(CONNECTION).iter().any(|value| tokens(value).any(|t| t.eq_ignore_ascii_case("upgrade")));
    let forbidden = |token: &str| {
        let name = token.split('/').next().unwrap_or(token).trim();
        ["h2c", "h2", "http", "tls"].iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    (named && tokens(value).next().is_some() && !tokens(value).any(forbidden)).then(|| value.clone())
}

/// Removes the hop-by-hop fields of a response.
pub fn strip_response(headers: &mut HeaderMap) {
    let unwanted = |name: &str| is_hop(name) || name == "proxy-authenticate";
    match found(headers, unwanted) {
        Found::Nothing => {}
        Found::Usual => {
            headers.remove(CONNECTION);
        }
        Found::More => {
            let announced = trailers::announced(headers);
            strip(headers, unwanted);
            if let Some(names) = announced {
                headers.insert(TRAILER, names);
            }
        }
    }
}

/// What is unwanted among the fields.
enum Found {
    Nothing,
    /// Nothing but `Connection` with one of its usual values.
    Usual,
    More,
}

/// One look at the names that are there: ten searches for names that mostly aren't took 1,700 instructions a message.
fn found(headers: &HeaderMap, unwanted: impl Fn(&str) -> bool) -> Found {
    let mut found = Found::Nothing;
    for (name, value) in headers {
        if *name == CONNECTION && is_usual(value) {
            found = Found::Usual;
        } else if unwanted(name.as_str()) {
            return Found::More;
        }
    }
    found
}

/// By far the most frequent values, which name no field to look for: `keep-alive` is removed anyway, `close` is reserved.
fn is_usual(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
}

fn is_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let values = headers.get_all(CONNECTION).iter().filter(|value| !is_usual(value));
    let named = values.flat_map(tokens).filter(|name| may_be_named(name));
    let named: Vec<HeaderName> = named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    strip_where(headers, unwanted);
}

/// The elements of a comma-separated list field; a value that is not text has none.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn may_be_named(name: &str) -> bool {
    let protected = END_TO_END.iter().any(|kept| kept.eq_ignore_ascii_case(name));
    let forwarded = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"));
    !protected && !forwarded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn connection_names_what_goes_with_it() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two,, keep-alive"),
            ("keep-alive", "timeout=5"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eA=="),
            ("expect", "100-continue"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["x-three"]);
    }

    #[test]
    fn connection_cannot_take_away_what_others_rely_on() {
        let mut headers = map(&[
            ("connection", "Host, content-length, X-Forwarded-For, authorization, cookie, forwarded"),
            ("host", "a"),
            ("content-length", "3"),
            ("x-forwarded-for", "1.2.3.4"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("forwarded", "for=1.2.3.4"),
        ]);
        strip_request(&mut headers);
        assert_eq!(
            names(&headers),
            ["authorization", "content-length", "cookie", "forwarded", "host", "x-forwarded-for"]
        );
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_fields_and_never_to_http() {
        for (connection, upgrades, expected) in [
            ("keep-alive, Upgrade", "websocket", Some("websocket")),
            ("keep-alive", "websocket", None),
            ("upgrade", "", None),
            ("upgrade, http2-settings", "h2c", None),
            ("upgrade", "websocket, H2C", None),
            ("upgrade", "HTTP/2.0", None),
            ("upgrade", "TLS/1.2", None),
        ] {
            let headers = map(&[("connection", connection), ("upgrade", upgrades)]);
            let found = upgrade(&headers);
            assert_eq!(found.as_ref().and_then(|value| value.to_str().ok()), expected, "{connection}: {upgrades}");
        }
    }

    #[test]
    fn te_trailers_stays_and_other_codings_go() {
        let mut headers = map(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        strip_request(&mut headers);
        assert_eq!(headers["te"], "trailers");
        strip_response(&mut headers);
        assert_eq!(names(&headers), [] as [&str; 0]);
    }
}
