//! When a body is replaced, the fields that described the old one go, and the length of the new one is set.
//!
//! Serves requests and responses alike. It does not look at the body, and leaves `Content-Type` to who wrote the body.

use super::identity::strip_where;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue};

/// These describe the bytes of the body that was, and would be untrue of others: RFC 9530 (digests), its forerunners, and
/// validators and ranges over those bytes (RFC 9110 §8.8.3, §14).
pub(super) const STALE: [&str; 10] = [
    "transfer-encoding",
    "trailer",
    "content-encoding",
    "content-range",
    "accept-ranges",
    "etag",
    "digest",
    "content-digest",
    "repr-digest",
    "content-md5",
];

/// Makes the headers fit a new body of `length` bytes that is not encoded.
///
/// `Last-Modified` stays: it is a weak validator (RFC 9110 §8.8.2) of a resource, not of bytes, and a transformation of
/// an unchanged resource is unchanged.
pub fn replaced(headers: &mut HeaderMap, length: usize) {
    strip(headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// Takes away what described the body that was.
pub fn strip(headers: &mut HeaderMap) {
    strip_where(headers, |name| STALE.contains(&name));
}

/// Makes the headers fit a body that is changed while it streams, and whose length nobody knows yet.
pub fn changing(headers: &mut HeaderMap) {
    strip_where(headers, |name| STALE.contains(&name) || name == "content-length");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_described_the_old_body_goes() {
        let mut headers = HeaderMap::new();
        for name in [
            "transfer-encoding",
            "trailer",
            "content-encoding",
            "content-range",
            "accept-ranges",
            "etag",
            "digest",
            "content-digest",
            "repr-digest",
            "content-md5",
        ] {
            headers.append(name, HeaderValue::from_static("x"));
            headers.append(name, HeaderValue::from_static("y"));
        }
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("1"));
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("2"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("last-modified", HeaderValue::from_static("x"));
        replaced(&mut headers, 42);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["content-length: 42", "content-type: application/json", "last-modified: x"]);
    }
}
