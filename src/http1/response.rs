//! Response heads and the frame around their bodies, written (RFC 9112 §4, §6, §7).
//!
//! The framing is decided here from what the body knows of itself, whatever a header says; headers come without hop-by-hop fields.

use super::chunked::{LAST_CHUNK, write_trailers};
use crate::http::passed::Passed;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING},
};

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, whatever the head says (RFC 9112 §6.3).
    None,
    /// So many bytes are still to be written.
    Length(u64),
    Chunked,
    /// The end of the connection is the end of the body.
    UntilClose,
}

impl Framing {
    /// For a response to `method` in `version`, with a body of that length, if it is known.
    pub fn of(method: &Method, version: Version, status: StatusCode, length: Option<u64>) -> Framing {
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if version == Version::HTTP_10 => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }
}

/// What becomes of the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    /// Kept for a client of HTTP/1.0 that asked for it, and must be told.
    KeptOnRequest,
    Closed,
    /// It speaks another protocol from here on: the head says itself which.
    Switched,
}

/// What a response head says beside its headers.
pub struct Frame<'d> {
    pub framing: Framing,
    pub fate: Fate,
    /// The length that an answer to HEAD would have (RFC 9110 §9.3.2), when the head doesn't say it.
    pub length_of_head: Option<u64>,
    /// The time in the form of RFC 9110 §5.6.7, for a head without one.
    pub date: &'d [u8],
    /// Lines of the target's that go before the headers.
    pub passed: Option<&'d Passed>,
}

/// Writes the head of a final response.
pub fn write_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, frame: &Frame<'_>) {
    write_status(out, status);
    let mut dated = frame.passed.is_some_and(|passed| passed.is_dated);
    let mut measured = false;
    if let Some(passed) = frame.passed {
        passed.write(out);
    }
    for (name, value) in headers {
        if *name == TRANSFER_ENCODING
            || (*name == CONNECTION && frame.fate != Fate::Switched)
            || (*name == CONTENT_LENGTH && frame.framing != Framing::None)
        {
            continue;
        }
        dated |= *name == DATE;
        measured |= *name == CONTENT_LENGTH;
        write_field(out, name, value);
    }
    match (frame.framing, frame.length_of_head) {
        (Framing::Length(length), _) => write_length(out, length),
        (Framing::None, Some(length)) if !measured => write_length(out, length),
        (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Framing::None | Framing::UntilClose, _) => {}
    }
    if !dated {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(frame.date);
        out.extend_from_slice(b"\r\n");
    }
    match frame.fate {
        Fate::Kept | Fate::Switched => {}
        Fate::KeptOnRequest => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Fate::Closed => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response (RFC 9110 §15.2).
pub fn write_interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    write_status(out, status);
    for (name, value) in headers {
        // RFC 9110 §8.6 and RFC 9112 §6.1 forbid both.
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != CONNECTION {
            write_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk, with those of the fields that the head announced (RFC 9110 §6.6.2).
pub fn write_end(out: &mut Vec<u8>, fields: Option<&HeaderMap>, announced: &[HeaderName]) {
    let Some(fields) = fields.filter(|fields| fields.keys().any(|name| announced.contains(name))) else {
        out.extend_from_slice(LAST_CHUNK);
        return;
    };
    let kept = fields.iter().filter(|(name, _)| announced.contains(name));
    write_trailers(out, &kept.map(|(name, value)| (name.clone(), value.clone())).collect());
}

/// The names that a head announces as trailers.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    // The space stands there also without a reason (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    // By hand: the general way costs ten times as much.
    let mut digits = [b'0'; 20];
    let (mut at, mut rest) = (digits.len(), length);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        method: Method,
        version: Version,
        status: u16,
        length: Option<u64>,
        fate: Fate,
        headers: &str,
    ) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        let fields = headers.lines().filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let framing = Framing::of(&method, version, status, length);
        let length_of_head = length.filter(|length| method == Method::HEAD && *length > 0);
        let mut out = Vec::new();
        write_head(&mut out, status, &headers, &Frame { framing, fate, length_of_head, date: b"now", passed: None });
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn the_framing_is_the_bodys_own() {
        let (get, head, new, old) = (Method::GET, Method::HEAD, Version::HTTP_11, Version::HTTP_10);
        for (method, version, status, length, headers, expected) in [
            (&get, new, 200, Some(3), "", "HTTP/1.1 200 OK|content-length: 3|date: now||"),
            (
                &get,
                new,
                200,
                Some(3),
                "content-length: 9\ntransfer-encoding: x\nconnection: x",
                "HTTP/1.1 200 OK|content-length: 3|date: now||",
            ),
            (
                &get,
                new,
                404,
                None,
                "a: b\ndate: then",
                "HTTP/1.1 404 Not Found|a: b|date: then|transfer-encoding: chunked||",
            ),
            (&get, old, 200, None, "", "HTTP/1.1 200 OK|date: now||"),
            (&head, new, 200, Some(0), "content-length: 9", "HTTP/1.1 200 OK|content-length: 9|date: now||"),
            (&head, new, 200, Some(4), "", "HTTP/1.1 200 OK|content-length: 4|date: now||"),
            (&head, new, 200, None, "", "HTTP/1.1 200 OK|date: now||"),
            (&get, new, 204, Some(0), "", "HTTP/1.1 204 No Content|date: now||"),
            (&get, new, 304, Some(0), "etag: x", "HTTP/1.1 304 Not Modified|etag: x|date: now||"),
            (&get, new, 299, Some(0), "", "HTTP/1.1 299 |content-length: 0|date: now||"),
        ] {
            let text = written(method.clone(), version, status, length, Fate::Kept, headers);
            // The order of fields is for nobody to rely on, but the test's.
            let sorted = |text: &str| {
                let mut lines: Vec<String> = text.split('|').map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&text), sorted(expected), "{text}");
        }
        let closed = written(get.clone(), new, 200, Some(0), Fate::Closed, "");
        assert_eq!(closed, "HTTP/1.1 200 OK|content-length: 0|date: now|connection: close||");
        let kept = written(get.clone(), old, 200, Some(0), Fate::KeptOnRequest, "");
        assert_eq!(kept, "HTTP/1.1 200 OK|content-length: 0|date: now|connection: keep-alive||");
        let switched = written(get, new, 101, Some(0), Fate::Switched, "connection: upgrade");
        assert_eq!(switched, "HTTP/1.1 101 Switching Protocols|connection: upgrade|date: now||");
    }

    #[test]
    fn lengths_are_written_in_full() {
        for length in [0, 9, 10, 65_536, u64::MAX] {
            let mut out = Vec::new();
            write_length(&mut out, length);
            assert_eq!(String::from_utf8_lossy(&out), format!("content-length: {length}\r\n"));
        }
    }

    #[test]
    fn only_announced_trailers_are_written() {
        let head = [(TRAILER, HeaderValue::from_static("A, b"))].into_iter().collect();
        let names = announced(&head);
        let fields = |names: &[&'static str]| -> HeaderMap {
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect()
        };
        for (sent, expected) in [(&["b", "c"][..], "0\r\nb: x\r\n\r\n"), (&["c"], "0\r\n\r\n"), (&[], "0\r\n\r\n")] {
            let mut out = Vec::new();
            write_end(&mut out, Some(&fields(sent)), &names);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
