//! The `Cookie` header, read (RFC 6265bis §4.2).
//!
//! Lenient, as browsers send what scripts of theirs have set: pairs without a name or `=` are passed over. Cookies that
//! go the other way, in `Set-Cookie`, are plain headers here.

use http::HeaderMap;
use http::header::COOKIE;

/// The pairs of all `Cookie` headers, in the order sent. Values are not decoded; surrounding double quotes are removed.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(pairs)
}

/// The first cookie of that name. Names are case-sensitive.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookies(headers).find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (!name.is_empty()).then_some((name, unquoted.unwrap_or(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn pairs_are_read_in_order() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; b=\"x y\";; =z; c", "a=2; d=e=f; g=\""] {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let all: Vec<_> = cookies(&headers).collect();
        assert_eq!(all, [("a", "1"), ("b", "x y"), ("a", "2"), ("d", "e=f"), ("g", "\"")]);
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "A"), None);
    }
}
