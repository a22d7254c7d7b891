//! The head of a response that goes to the client as it came: its lines are copied and never become a map.
//!
//! With a map each field costs a name to look up, a hash, a reference count, and all of it once more on the way out: 700 instructions
//! a field. Most answers of most routes are looked at by nobody. What needs a decision beyond leaving a line out makes
//! no [`Passed`], and takes the way of all others; so does what is malformed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::Range;

/// Lines that stand together between those that are left out: more would be a strange head.
const RUNS: usize = 4;
/// As many fields as a head may have.
pub const MAX_FIELDS: usize = 128;

/// The lines of a head that was parsed and has only fields that may pass.
#[derive(Debug)]
pub struct Passed {
    head: Bytes,
    runs: [Range<u32>; RUNS],
    /// Bit `n` is set when a line's name is `n` bytes long, the last bit for all longer ones: nearly every search is spared.
    lengths: u64,
    /// How long the body is: `Content-Length` was there once.
    pub length: u64,
    /// Whether there is a `Date`.
    pub is_dated: bool,
    /// Whether there is a `Content-Encoding`.
    pub is_encoded: bool,
    /// The gateway's own `X-Request-ID`, which goes behind the lines.
    pub request_id: Option<HeaderValue>,
}

/// What becomes of a line.
enum Verdict {
    Passes,
    Date,
    Encoding,
    /// It is of the connection, or the gateway writes its own.
    LeftOut,
    Length(u64),
    /// It says more of the message or of the connection than a copy could heed.
    Matters,
}

impl Passed {
    /// Of a head of HTTP/1.1 and its fields, which are slices of it; nothing when a field matters.
    pub fn of(head: &Bytes, fields: &[httparse::Header<'_>]) -> Option<Passed> {
        let at = |field: &httparse::Header<'_>| {
            field.name.as_ptr().addr().checked_sub(head.as_ptr().addr()).and_then(|at| u32::try_from(at).ok())
        };
        let end = u32::try_from(head.len().checked_sub(2)?).ok()?;
        let runs = [const { 0..0 }; RUNS];
        let mut passed = Passed {
            head: Bytes::new(),
            runs,
            lengths: 0,
            length: 0,
            is_dated: false,
            is_encoded: false,
            request_id: None,
        };
        let (mut length, mut run) = (None, 0);
        let mut begin = at(fields.first()?)?;
        for (nth, field) in fields.iter().enumerate() {
            passed.lengths |= length_bit(field.name);
            match verdict(field.name, field.value) {
                Verdict::Passes => continue,
                Verdict::Date => {
                    passed.is_dated = true;
                    continue;
                }
                Verdict::Encoding => {
                    passed.is_encoded = true;
                    continue;
                }
                Verdict::LeftOut => {}
                Verdict::Length(_) if length.is_some() => return None,
                Verdict::Length(said) => length = Some(said),
                Verdict::Matters => return None,
            }
            let (this, next) = (at(field)?, fields.get(nth + 1).map_or(Some(end), at)?);
            if begin < this {
                *passed.runs.get_mut(run)? = begin..this;
                run += 1;
            }
            begin = next;
        }
        if begin < end {
            *passed.runs.get_mut(run)? = begin..end;
        }
        passed.length = length?;
        passed.head = head.clone();
        Some(passed)
    }

    /// Whether a field among `others` has a name that stands here too, or is one that the gateway writes behind the lines.
    pub fn clashes(&self, others: &HeaderMap) -> bool {
        let stands = |other: &str| {
            self.lengths & length_bit(other) != 0
                && self.names().any(|name| name.eq_ignore_ascii_case(other.as_bytes()))
        };
        others.keys().any(|other| other.as_str() == "x-request-id" || stands(other.as_str()))
    }

    /// The lines as headers, for somebody who looks at them after all.
    pub fn headers(&self) -> HeaderMap {
        self.fields(|name, value| matches!(verdict(name, value), Verdict::Passes | Verdict::Date | Verdict::Encoding))
    }

    /// All fields of the head, those that do not pass too.
    pub fn all_headers(&self) -> HeaderMap {
        self.fields(|_, _| true)
    }

    fn fields(&self, is_asked_for: impl Fn(&str, &[u8]) -> bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(at) = self.head.iter().position(|byte| *byte == b'\n') else { return headers };
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        // They were parsed once, so that none is lost here.
        if let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&self.head[at + 1..], &mut slots) {
            for field in fields.iter().filter(|field| is_asked_for(field.name, field.value)) {
                let value = HeaderValue::from_maybe_shared(self.head.slice_ref(field.value));
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name.as_bytes()), value) {
                    headers.append(name, value);
                }
            }
        }
        headers
    }

    /// The names of the lines.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let runs = self.runs.iter().map(|run| &self.head[run.start as usize..run.end as usize]);
        let lines = runs.flat_map(|run| run.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| Some(&line[..memchr::memchr(b':', line)?]))
    }

    /// Writes the lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        for run in &self.runs {
            out.extend_from_slice(self.head.get(run.start as usize..run.end as usize).unwrap_or_default());
        }
        if let Some(id) = &self.request_id {
            out.extend_from_slice(b"x-request-id: ");
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

/// By length first: most fields are none of these.
fn verdict(name: &str, value: &[u8]) -> Verdict {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Verdict::Matters,
        4 if is("date") => Verdict::Date,
        7 if is("trailer") || is("upgrade") => Verdict::Matters,
        10 if is("connection") && value.eq_ignore_ascii_case(b"keep-alive") => Verdict::LeftOut,
        10 if is("connection") => Verdict::Matters,
        10 if is("keep-alive") => Verdict::LeftOut,
        12 if is("x-request-id") => Verdict::LeftOut,
        // Its trailers are announced for it.
        12 if is("content-type") && value.starts_with(b"application/grpc") => Verdict::Matters,
        14 if is("content-length") => content_length(value).map_or(Verdict::Matters, Verdict::Length),
        14 if is("http2-settings") => Verdict::Matters,
        16 if is("content-encoding") => Verdict::Encoding,
        16 if is("proxy-connection") => Verdict::Matters,
        17 if is("transfer-encoding") => Verdict::Matters,
        18 if is("proxy-authenticate") => Verdict::Matters,
        _ => Verdict::Passes,
    }
}

/// A `Content-Length`: digits only, as `parse` alone would take "+5".
pub fn content_length(value: &[u8]) -> Option<u64> {
    // By hand and not by way of text: it is in nearly every response.
    let digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a head with these lines.
    fn parsed(lines: &str) -> Option<Passed> {
        let head = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", lines.replace('|', "\r\n")));
        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut slots);
        parsed.parse(&head).expect("a head");
        Passed::of(&head, parsed.headers)
    }

    /// The lines that pass, and the length.
    fn passed(lines: &str) -> Option<String> {
        let passed = parsed(lines)?;
        let mut out = Vec::new();
        passed.write(&mut out);
        let out = String::from_utf8(out).expect("text").replace("\r\n", "|");
        let dated = if passed.is_dated { " dated" } else { "" };
        let encoded = if passed.is_encoded { " encoded" } else { "" };
        Some(format!("{out} {}{dated}{encoded}", passed.length))
    }

    #[test]
    fn lines_pass_but_those_of_the_connection() {
        for (lines, expected) in [
            (
                "Server: x|Date: now|Content-Length: 3|ETag: \"a\"|Connection: keep-alive",
                "Server: x|Date: now|ETag: \"a\"| 3 dated",
            ),
            ("content-length: 12", " 12"),
            ("Content-Encoding: gzip|content-length: 12", "Content-Encoding: gzip| 12 encoded"),
            ("Content-Length: 0|A: b", "A: b| 0"),
            ("A: b|Keep-Alive: timeout=5|X-Request-ID: theirs|C: d|content-length: 0|E:", "A: b|C: d|E:| 0"),
        ] {
            assert_eq!(passed(lines).as_deref(), Some(expected), "{lines}");
        }
    }

    #[test]
    fn lines_become_headers_for_who_looks_at_them() {
        let passed = parsed("Server: x|Connection: keep-alive|A: b:c |a:|Content-Length: 3|E: d").expect("it passes");
        assert_eq!(format!("{:?}", passed.headers()), r#"{"server": "x", "a": "b:c", "a": "", "e": "d"}"#);
        for (name, expected) in
            [("server", true), ("a", true), ("e", true), ("x-request-id", true), ("connection", false), ("b", false)]
        {
            let others = [(HeaderName::from_static(name), HeaderValue::from_static("1"))].into_iter().collect();
            assert_eq!(passed.clashes(&others), expected, "{name}");
        }
    }

    #[test]
    fn all_fields_become_a_map_when_it_is_asked_for() {
        let passed = parsed("Date: now|Content-Length: 3|A: b|Connection: keep-alive|a:c ").expect("it passes");
        let expected = r#"{"date": "now", "content-length": "3", "a": "b", "a": "c", "connection": "keep-alive"}"#;
        assert_eq!(format!("{:?}", passed.all_headers()), expected);
    }

    #[test]
    fn what_matters_does_not_pass() {
        for line in [
            "Connection: close",
            "Connection: x-secret",
            "Connection: keep-alive, x-secret",
            "Trailer: a",
            "TE: trailers",
            "Transfer-Encoding: chunked",
            "Upgrade: h2c",
            "Proxy-Connection: keep-alive",
            "Proxy-Authenticate: Basic",
            "HTTP2-Settings: x",
            "Content-Length: 3",
            "Content-Type: application/grpc+proto",
        ] {
            assert_eq!(passed(&format!("Content-Length: 3|{line}")), None, "{line}");
        }
        for alone in ["A: b", "Content-Length: +3", "Content-Length: 3, 3", "Content-Length:"] {
            assert_eq!(passed(alone), None, "{alone}");
        }
        assert_eq!(
            passed("A: b|Keep-Alive: 1|A: b|Keep-Alive: 1|A: b|Keep-Alive: 1|A: b|Content-Length: 1|A: b"),
            None
        );
    }
}
