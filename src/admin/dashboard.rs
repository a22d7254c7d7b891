//! The page at `/` of the administration: one file, no assets from elsewhere, and nothing of the gateway's own in it.
//!
//! What it shows it asks `/api/v1/…` for, with the token that its reader types in where there is one.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

/// SECURITY: names of routes and messages of scripts are shown on this page. Nothing loads or runs but its own two blocks, no other
/// page may frame it, and what it sends goes to this listener alone.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn page() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(include_bytes!("dashboard.html"))));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
