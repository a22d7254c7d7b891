//! The headers of a response on its way through the gateway: lines as they came, until somebody looks at them.
//!
//! Most scripts that change a body look at no header, and then none needs to become a map: see [`Passed`]. What a script adds stands
//! beside the lines as long as it replaces none of them.

use super::{content, encoding, passed::Passed};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_TYPE, HeaderName},
};

/// Without hop-by-hop fields.
#[derive(Debug, Default)]
pub struct ResponseHeaders {
    /// All fields, or those beside the lines: none has a name that stands there.
    map: HeaderMap,
    lines: Option<Box<Passed>>,
}

impl From<HeaderMap> for ResponseHeaders {
    fn from(map: HeaderMap) -> ResponseHeaders {
        ResponseHeaders { map, lines: None }
    }
}

impl ResponseHeaders {
    /// As the target sent them: `map` is empty when there are lines.
    pub fn new(map: HeaderMap, lines: Option<Box<Passed>>) -> ResponseHeaders {
        debug_assert!(lines.is_none() || map.is_empty());
        ResponseHeaders { map, lines }
    }

    /// All fields, to look at or to change.
    pub fn map(&mut self) -> &mut HeaderMap {
        if let Some(lines) = self.lines.take() {
            let beside = std::mem::replace(&mut self.map, lines.headers());
            replace(&mut self.map, beside);
        }
        &mut self.map
    }

    /// The first value of a field, for who looks at no more.
    pub fn first(&mut self, name: &str) -> Option<&[u8]> {
        if self.lines.is_none() || Passed::leaves_out(name) || (!self.map.is_empty() && self.map.contains_key(name)) {
            return self.map().get(name).map(HeaderValue::as_bytes);
        }
        self.lines.as_ref()?.first(name)
    }

    /// What goes to the client: the fields, and the lines that go before them.
    pub fn into_parts(self) -> (HeaderMap, Option<Box<Passed>>) {
        (self.map, self.lines)
    }

    /// Adds fields, all of a name in place of those that it had.
    pub fn replace(&mut self, others: HeaderMap) {
        if self.lines.as_ref().is_some_and(|lines| lines.clashes(&others)) {
            self.map();
        }
        replace(&mut self.map, others);
    }
}

fn replace(headers: &mut HeaderMap, others: HeaderMap) {
    if headers.is_empty() {
        *headers = others;
        return;
    }
    let mut last: Option<HeaderName> = None;
    for (name, value) in others {
        match (name, &last) {
            (Some(name), _) => {
                headers.insert(name.clone(), value);
                last = Some(name);
            }
            (None, Some(last)) => {
                headers.append(last, value);
            }
            (None, None) => {}
        }
    }
}

/// Headers as far as they speak of the body beside them.
pub trait OfBody {
    /// All fields.
    fn map(&mut self) -> &mut HeaderMap;

    /// Whether a `Content-Encoding` other than `identity` is declared.
    fn is_encoded(&mut self) -> bool {
        encoding::is_encoded(self.map())
    }

    fn content_type(&mut self) -> Option<&[u8]> {
        self.map().get(CONTENT_TYPE).map(HeaderValue::as_bytes)
    }

    /// Fits them to a new body of `length` bytes: see [`content::replaced`].
    fn replaced(&mut self, length: usize) {
        content::replaced(self.map(), length);
    }
}

impl OfBody for HeaderMap {
    fn map(&mut self) -> &mut HeaderMap {
        self
    }
}

impl OfBody for ResponseHeaders {
    fn map(&mut self) -> &mut HeaderMap {
        self.map()
    }

    fn is_encoded(&mut self) -> bool {
        match &self.lines {
            Some(lines) if !lines.is_encoded() => encoding::is_encoded(&self.map),
            _ => encoding::is_encoded(self.map()),
        }
    }

    fn content_type(&mut self) -> Option<&[u8]> {
        let beside = self.map.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        beside.or_else(|| self.lines.as_ref()?.first(CONTENT_TYPE.as_str()))
    }

    fn replaced(&mut self, length: usize) {
        match &mut self.lines {
            Some(lines) if !lines.describes_body() => {
                lines.length = length as u64;
                content::strip(&mut self.map);
            }
            _ => content::replaced(self.map(), length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::passed::tests::parsed;

    /// All fields, sorted.
    fn fields(headers: &HeaderMap) -> String {
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        fields.sort();
        fields.join("|")
    }

    /// Of these lines, once as lines and once as a map.
    fn both(lines: &str) -> [ResponseHeaders; 2] {
        let of_lines = ResponseHeaders::new(HeaderMap::new(), Some(Box::new(parsed(lines).expect("it passes"))));
        let mut map = parsed(lines).expect("it passes").all_headers();
        crate::http::hop::strip_response(&mut map);
        [of_lines, map.into()]
    }

    fn map(text: &str) -> HeaderMap {
        let fields = text.split('|').filter_map(|field| field.split_once(": "));
        fields.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn lines_and_a_map_say_the_same() {
        const HEADS: [&str; 5] = [
            "Server: x|Date: now|Content-Type: application/json|Content-Length: 3|Connection: keep-alive",
            "Content-Type: text/plain|Content-Type: application/json|Content-Length: 3|ETag: \"a\"|Accept-Ranges: bytes",
            "content-length: 3|Content-Encoding: gzip|Set-Cookie: a|Set-Cookie: b|X-Request-ID: theirs",
            "content-length: 3|Content-Encoding: identity|Keep-Alive: timeout=5|Content-MD5: x",
            "content-length: 3|Digest: x|Last-Modified: then|Content-Disposition: attachment|Content-Language: de",
        ];
        const NAMES: [&str; 8] =
            ["Server", "content-type", "set-cookie", "x-a", "Content-Length", "x-request-id", "connection", "no name"];
        for head in HEADS {
            for added in
                ["", "x-a: 1|x-a: 2", "server: y|set-cookie: c|content-type: text/html", "content-encoding: br|etag: b"]
            {
                for length in [None, Some(0), Some(1234)] {
                    let seen = both(head).map(|mut headers| {
                        headers.replace(map(added));
                        if let Some(length) = length {
                            headers.replaced(length);
                        }
                        let encoded = OfBody::is_encoded(&mut headers);
                        let text =
                            |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                        let kind = text(headers.content_type());
                        let firsts = NAMES.map(|name| text(headers.first(name)));
                        (encoded, kind, firsts, fields(headers.map()))
                    });
                    assert_eq!(seen[0], seen[1], "{head} + {added}, {length:?}");
                }
            }
        }
    }

    #[test]
    fn lines_stay_lines_while_nobody_needs_a_map() {
        let [mut plain, _] = both("Date: now|Content-Type: application/json|Content-Length: 3|Server: x");
        plain.replace(map("x-a: 1"));
        plain.replaced(20);
        assert!(!plain.is_encoded());
        assert_eq!(plain.first("SERVER"), Some(&b"x"[..]));
        assert_eq!(plain.first("x-b"), None);
        assert_eq!(plain.content_type(), Some(&b"application/json"[..]));
        let (beside, lines) = plain.into_parts();
        let mut out = Vec::new();
        lines.expect("lines").write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "Date: now\r\nContent-Type: application/json\r\nServer: x\r\n");
        assert_eq!(fields(&beside), "x-a: 1");
    }
}
