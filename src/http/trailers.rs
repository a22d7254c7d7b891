//! Trailer fields, which come after everything was decided (RFC 9110 §6.5).
//!
//! SECURITY: recipients may merge trailers into the head, so that nothing may pass there which is checked, removed or
//! written there (§6.5.1). Applied to whatever comes from another connection, before it is forwarded.

use http::HeaderMap;
use http::header::{HeaderValue, TRAILER};

use super::identity::strip_where;

/// Removes what may not be a trailer: framing, routing, request modifiers, authentication, content and response control.
pub fn police(trailers: &mut HeaderMap) {
    strip_where(trailers, is_forbidden);
}

/// Whether a field may not be a trailer.
fn is_forbidden(name: &str) -> bool {
    const STARTS: [&str; 8] =
        ["x-forwarded-", "x-request-id", "x-real-ip", "if-", "proxy-", "access-control-", "accept", "sec-"];
    matches!(
        name,
        "age"
            | "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-location"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expect"
            | "expires"
            | "forwarded"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "location"
            | "max-forwards"
            | "origin"
            | "pragma"
            | "range"
            | "retry-after"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "vary"
            | "warning"
            | "www-authenticate"
    ) || STARTS.iter().any(|start| name.starts_with(start))
}

/// The names in `Trailer` that may be trailers; none when there are none.
pub fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let allowed: Vec<String> = names.filter(|name| !name.is_empty() && !is_forbidden(name)).collect();
    HeaderValue::from_str(&allowed.join(", ")).ok().filter(|_| !allowed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn only_what_decides_nothing_passes() {
        let names = [
            "grpc-status",
            "grpc-message",
            "server-timing",
            "etag",
            "x-checksum",
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "set-cookie",
            "x-forwarded-for",
            "if-match",
        ];
        let value = HeaderValue::from_static("x");
        let mut fields: HeaderMap = names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect();
        police(&mut fields);
        let kept: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(kept, names[..5]);
    }
}
