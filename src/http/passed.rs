//! The head of a response that goes to the client as it came: its lines are copied, and become a map only for who looks at them.
//!
//! With a map each field costs a name to look up, a hash, a reference count, and all of it once more on the way out: 700 instructions
//! a field. Most answers of most routes are looked at by nobody, or only their bodies are. What needs a decision beyond leaving a
//! line out makes no [`Passed`], and takes the way of all others; so does what is malformed.

use super::content;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use std::ops::Range;

/// Lines that stand together between those that are left out: more would be a strange head.
const RUNS: usize = 4;
/// As many fields as a head may have.
pub const MAX_FIELDS: usize = 128;

/// Of the names of fields that describe a body.
const STALE_BITS: u64 = name_bits(&content::STALE);

/// The lines of a head that was parsed and has only fields that may pass.
#[derive(Debug)]
pub struct Passed {
    head: Bytes,
    runs: [Range<u32>; RUNS],
    /// The [bits](name_bit) of the lines' names: nearly every search is spared.
    names: u64,
    /// How long the body is: `Content-Length` was there once. A script may have replaced the body since.
    pub length: u64,
    /// Whether there is a `Date`.
    pub is_dated: bool,
    /// The gateway's own `X-Request-ID`, which goes behind the lines.
    pub request_id: Option<HeaderValue>,
}

/// What becomes of a line.
enum Verdict {
    Passes,
    Date,
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
        let mut passed = Passed { head: Bytes::new(), runs, names: 0, length: 0, is_dated: false, request_id: None };
        let (mut length, mut run) = (None, 0);
        let mut begin = at(fields.first()?)?;
        for (nth, field) in fields.iter().enumerate() {
            match verdict(field.name, field.value) {
                kept @ (Verdict::Passes | Verdict::Date) => {
                    passed.names |= name_bit(field.name.as_bytes());
                    passed.is_dated |= matches!(kept, Verdict::Date);
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
        others.keys().any(|other| Passed::leaves_out(other.as_str()) || self.first(other.as_str()).is_some())
    }

    /// All fields but those of the connection, for somebody who looks at them after all; the length is that of now.
    pub fn headers(&self) -> HeaderMap {
        let mut headers =
            self.fields(|name| !["connection", "keep-alive"].iter().any(|hop| name.eq_ignore_ascii_case(hop)));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length));
        headers
    }

    /// All fields of the head, those that do not pass too.
    pub fn all_headers(&self) -> HeaderMap {
        self.fields(|_| true)
    }

    fn fields(&self, is_asked_for: impl Fn(&str) -> bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(at) = self.head.iter().position(|byte| *byte == b'\n') else { return headers };
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        // They were parsed once, so that none is lost here.
        if let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&self.head[at + 1..], &mut slots) {
            for field in fields.iter().filter(|field| is_asked_for(field.name)) {
                let value = HeaderValue::from_maybe_shared(self.head.slice_ref(field.value));
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name.as_bytes()), value) {
                    headers.append(name, value);
                }
            }
        }
        headers
    }

    /// Whether there is a `Content-Encoding`.
    pub fn is_encoded(&self) -> bool {
        self.first("content-encoding").is_some()
    }

    /// Whether a field describes the bytes of the body (see [`content`]), besides its length.
    pub fn describes_body(&self) -> bool {
        self.names & STALE_BITS != 0 && content::STALE.iter().any(|name| self.first(name).is_some())
    }

    /// Whether a field of this name, though the head may have one, stands among no lines: the gateway writes its own.
    pub fn leaves_out(name: &str) -> bool {
        ["x-request-id", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own))
    }

    /// The first value of a field that is not [left out](Passed::leaves_out).
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        if self.names & name_bit(name.as_bytes()) == 0 {
            return None;
        }
        for run in &self.runs {
            let mut rest = &self.head[run.start as usize..run.end as usize];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, next) = rest.split_at(end + 1);
                if let Some(value) = value_of(line, name.as_bytes()) {
                    return Some(value.trim_ascii());
                }
                rest = next;
            }
        }
        None
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

/// What stands behind a name, if it is the line's.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, behind) = line.split_at_checked(name.len())?;
    let value = behind.strip_prefix(b":")?;
    // What is asked for may hold a colon itself.
    (start.eq_ignore_ascii_case(name) && !name.contains(&b':')).then_some(value)
}

/// One bit for a name, whatever its case, by its length and its last letter. The factor was found by trying: of the fields of usual
/// answers only `Age` shares its bit with one that describes a body.
const fn name_bit(name: &[u8]) -> u64 {
    let last = match name {
        [.., last] => *last | 0x20,
        [] => 0,
    };
    1 << (((30 * name.len()) ^ last as usize) % 64)
}

const fn name_bits(names: &[&str]) -> u64 {
    match names {
        [name, others @ ..] => name_bit(name.as_bytes()) | name_bits(others),
        [] => 0,
    }
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
        12 if value.starts_with(b"application/grpc") && is("content-type") => Verdict::Matters,
        14 if is("content-length") => content_length(value).map_or(Verdict::Matters, Verdict::Length),
        14 if is("http2-settings") => Verdict::Matters,
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
pub(super) mod tests {
    use super::*;

    /// Of a head with these lines.
    pub fn parsed(lines: &str) -> Option<Passed> {
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
        let encoded = if passed.is_encoded() { " encoded" } else { "" };
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
        let expected = r#"{"server": "x", "a": "b:c", "a": "", "content-length": "3", "e": "d"}"#;
        assert_eq!(format!("{:?}", passed.headers()), expected);
        for (name, expected) in [
            ("server", true),
            ("a", true),
            ("e", true),
            ("x-request-id", true),
            ("content-length", true),
            ("connection", false),
            ("b", false),
        ] {
            let others = [(HeaderName::from_static(name), HeaderValue::from_static("1"))].into_iter().collect();
            assert_eq!(passed.clashes(&others), expected, "{name}");
        }
    }

    #[test]
    fn it_is_known_whether_a_field_describes_the_body() {
        for name in content::STALE {
            let described =
                parsed(&format!("{name}: x|Content-Length: 3")).is_none_or(|passed| passed.describes_body());
            assert!(described, "{name}");
        }
        let plain = parsed("Content-Length: 3|Date: now|Content-Type: a/b|Last-Modified: then").expect("it passes");
        assert!(!plain.describes_body());
    }

    #[test]
    fn usual_fields_are_told_from_those_that_describe_a_body_by_their_bits() {
        const USUAL: &str = "Server|Date|Content-Type|Last-Modified|Cache-Control|Expires|Vary|Set-Cookie|Location|Via|X-Powered-By|\
            Strict-Transport-Security|X-Content-Type-Options|X-Frame-Options|Access-Control-Allow-Origin|Content-Language";
        for name in USUAL.split('|') {
            assert_eq!(name_bit(name.as_bytes()) & STALE_BITS, 0, "{name}");
        }
    }

    #[test]
    fn the_first_content_type_counts() {
        for (lines, expected) in [
            ("Content-Type: a/b|Content-Type: c/d", Some("a/b")),
            ("Content-Type:|Content-Type: c/d", Some("")),
            ("Content-Types: a/b", None),
        ] {
            let passed = parsed(&format!("{lines}|Content-Length: 3")).expect("it passes");
            assert_eq!(passed.first("content-type"), expected.map(str::as_bytes), "{lines}");
        }
    }

    #[test]
    fn names_end_where_their_lines_first_colon_is() {
        let passed = parsed("Content-Length: 3|A: b: c").expect("it passes");
        assert_eq!(passed.first("a"), Some(&b"b: c"[..]));
        for other in ["a: b", "A:", "a: b: c", ""] {
            assert_eq!(passed.first(other), None, "{other}");
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
