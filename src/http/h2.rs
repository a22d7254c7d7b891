//! A request head that came by HTTP/2, as the rest of the gateway and targets of HTTP/1.1 expect it.
//!
//! The crate h2 has refused what RFC 9113 §8.2 forbids (`Connection`, `Transfer-Encoding`, upper-case names, unknown
//! pseudo-fields) and made the pseudo-fields a method and a URI.

use http::HeaderMap;
use http::header::{COOKIE, HOST, HeaderValue};

/// Sets `Host` to `host`, the authority (RFC 9113 §8.3.1), and joins the pieces of `Cookie` (§8.2.3).
pub fn as_http1(headers: &mut HeaderMap, host: &HeaderValue) {
    if !host.is_empty() && !headers.contains_key(HOST) {
        headers.insert(HOST, host.clone());
    }
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Joined of valid values, it is valid.
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_the_host_and_cookies_are_whole() {
        let mut headers = HeaderMap::new();
        for piece in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(piece));
        }
        as_http1(&mut headers, &HeaderValue::from_static("shop.example"));
        assert_eq!(headers["host"], "shop.example");
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}
