//! Heads: requests written, responses read (RFC 9112 §2 to §5).
//!
//! Reading finds the end of the head first and parses once, so that a head that dribbles in costs no more than one that
//! comes whole, and so that bare line feeds are refused whatever the parser would make of them. Writing takes headers
//! from which hop-by-hop fields were removed, and puts the framing in itself.

use std::io::Write;
use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode};

use super::client::Lines;
use super::error::BadResponse;
use super::framing::RequestFraming;
use crate::http::passed::{MAX_FIELDS, Passed};
use crate::http1;

/// The longest response head taken. Node and nginx take less by default, hyper more.
const MAX_HEAD: usize = 64 * 1024;

/// A response head.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub minor_version: u8,
    /// Empty when the head is `passed`.
    pub headers: HeaderMap,
    /// Boxed, as it goes through many hands.
    pub passed: Option<Box<Passed>>,
}

/// Reads one response head; make a new one for each.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes known to hold no end of the head.
    scanned: usize,
    /// Empty, and perhaps with room. None once the head is read.
    headers: Option<HeaderMap>,
    passes: bool,
}

impl HeadReader {
    /// Fills this map, which must be empty.
    pub fn into_map(headers: HeaderMap) -> HeadReader {
        debug_assert!(headers.is_empty());
        HeadReader { scanned: 0, headers: Some(headers), passes: false }
    }

    /// Whether the head of a success may be [`Passed`].
    pub fn passing(self, passes: bool) -> HeadReader {
        HeadReader { passes, ..self }
    }

    /// Takes a whole head from the front of `input`, or nothing while it is incomplete.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<ResponseHead>, BadResponse> {
        match self.end(input)? {
            Some(end) => parse(input, end, self.headers.take().unwrap_or_default(), self.passes).map(Some),
            None => Ok(None),
        }
    }

    fn end(&mut self, input: &[u8]) -> Result<Option<usize>, BadResponse> {
        const START: &[u8] = b"HTTP/1.";
        let known = input.len().min(START.len());
        if input[..known] != START[..known] {
            return Err(BadResponse::NotHttp);
        }
        if let Some(at) = http1::odd_line_feed(input, self.scanned).filter(|at| *at < MAX_HEAD) {
            return if input[at - 1] == b'\r' { Ok(Some(at + 1)) } else { Err(BadResponse::BareLineFeed) };
        }
        if input.len() > MAX_HEAD {
            return Err(BadResponse::HeadTooLarge(MAX_HEAD));
        }
        self.scanned = input.len();
        Ok(None)
    }
}

fn parse(input: &mut BytesMut, end: usize, mut headers: HeaderMap, passes: bool) -> Result<ResponseHead, BadResponse> {
    let bytes = input.split_to(end).freeze();
    let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    // The default configuration refuses obs-fold and white space before a colon.
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, &bytes, &mut slots)
        .map_err(BadResponse::Head)?;
    let (httparse::Status::Complete(length), Some(code), Some(minor_version)) = (status, parsed.code, parsed.version)
    else {
        return Err(BadResponse::NotHttp);
    };
    debug_assert_eq!(length, bytes.len());
    let status = StatusCode::from_u16(code).map_err(|_| BadResponse::Status(code))?;
    if passes
        && minor_version == 1
        && status.is_success()
        && status != StatusCode::NO_CONTENT
        && let Some(passed) = Passed::of(&bytes, parsed.headers)
    {
        return Ok(ResponseHead { status, minor_version, headers, passed: Some(Box::new(passed)) });
    }
    headers.reserve(parsed.headers.len());
    for header in parsed.headers.iter() {
        let bad = || BadResponse::Header(header.name.to_owned());
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad())?;
        // A slice of the read buffer: no copy.
        //
        // SAFETY: the parser has refused every byte that a `HeaderValue` may not hold: all below 0x20 but the tab, and 0x7f.
        let value = unsafe { HeaderValue::from_maybe_shared_unchecked(bytes.slice_ref(header.value)) };
        headers.try_append(name, value).map_err(|_| bad())?;
    }
    Ok(ResponseHead { status, minor_version, headers, passed: None })
}

/// Writes a request head.
///
/// # Errors
/// A target that would not stay on its line. Names, values and methods can't: their types hold nothing else.
#[expect(clippy::too_many_arguments, reason = "each is a part of the head, and there is one caller")]
pub fn write_request(
    out: &mut Vec<u8>,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    lines: Option<Lines<'_>>,
    host: &HeaderValue,
    framing: RequestFraming,
    upgrade: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    // SECURITY: a space or line end here would start a second request of the caller's making.
    if target.is_empty() || !target.bytes().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..)) {
        return Err("the request target holds a space or control character");
    }
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, &HOST, host);
    for (name, value) in headers {
        // The framing is ours to say, and so is the fate of the connection.
        if *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != CONNECTION {
            write_field(out, name, value);
        }
    }
    if let Some(lines) = lines {
        lines(out);
    }
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
        write_field(out, &UPGRADE, protocol);
    }
    match framing {
        RequestFraming::None => {}
        RequestFraming::Length(length) => {
            // Writing to a Vec does not fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        RequestFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces one after another; tells the head as text and what was left, or the error.
    fn run<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> String {
        let (mut reader, mut input) = (HeadReader::default(), BytesMut::new());
        let mut head = None;
        for piece in pieces {
            input.extend_from_slice(piece);
            if head.is_none() {
                match reader.read(&mut input) {
                    Ok(found) => head = found,
                    Err(error) => return error.to_string(),
                }
            }
        }
        match head {
            None => "incomplete".to_owned(),
            Some(head) => {
                format!("{} 1.{} {:?} rest {:?}", head.status.as_u16(), head.minor_version, head.headers, input)
            }
        }
    }

    #[test]
    fn heads_are_read() {
        for (input, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nabc", "200 1.1 {} rest b\"abc\""),
            ("HTTP/1.0 404\r\nA: b c \r\na:\r\n\r\n", "404 1.0 {\"a\": \"b c\", \"a\": \"\"} rest b\"\""),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", "incomplete"),
            ("HT", "incomplete"),
        ] {
            assert_eq!(run([input.as_bytes()]), expected, "{input:?}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        let start = "HTTP/1.1 200 OK\r\n";
        for (input, expected) in [
            ("SSH-2.0-OpenSSH", "the response is not http/1.x"),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", "the response is not http/1.x"),
            ("HTTP/2.0 200 OK\r\n\r\n", "the response is not http/1.x"),
            ("HTTP/1.2 200 OK\r\n\r\n", "the response head is malformed: invalid HTTP version"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "the response head is malformed: invalid response status"),
            ("HTTP/1.1 099 OK\r\n\r\n", "the response status 99 is out of range"),
            ("HTTP/1.1 200 OK\n\n", "a line of the response head does not end in cr lf"),
            ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "a line of the response head does not end in cr lf"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "the response head is malformed: invalid header name"),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "the response head is malformed: invalid header name"),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "the response head is malformed: invalid header name"),
            ("HTTP/1.1 200 OK\r\nA\r\n\r\n", "the response head is malformed: invalid header name"),
            ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "the response head is malformed: invalid header value"),
            ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", "the response head is malformed: invalid header value"),
        ] {
            assert_eq!(run([input.as_bytes()]), expected, "{input:?}");
        }
        let many = format!("{start}{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(run([many.as_bytes()]), "the response head is malformed: too many headers");
        let long = format!("{start}a: {}\r\n\r\n", "b".repeat(MAX_HEAD));
        let too_long = "the response head is longer than 65536 bytes";
        assert_eq!(run([long.as_bytes()]), too_long);
        assert_eq!(run(long.as_bytes().chunks(1000)), too_long);
    }

    #[test]
    fn a_request_head_carries_one_host_and_one_framing() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("accept", "*/*"), ("content-length", "7"), ("transfer-encoding", "gzip"), ("connection", "x")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let host = HeaderValue::from_static("users:9001");
        let mut out = Vec::new();
        let framing = RequestFraming::Length(3);
        write_request(&mut out, &Method::POST, "/a?b", &headers, None, &host, framing, None).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /a?b HTTP/1.1\r\nhost: users:9001\r\naccept: */*\r\ncontent-length: 3\r\n\r\n"
        );
        for target in ["", "/a b", "/a\r\nX: y", "/\0"] {
            let none = RequestFraming::None;
            let written = write_request(&mut Vec::new(), &Method::GET, target, &headers, None, &host, none, None);
            let expected = "the request target holds a space or control character";
            assert_eq!(written, Err(expected), "{target:?}");
        }
    }

    proptest! {
        #[test]
        fn splitting_the_input_changes_nothing(
            damage in prop::option::of((0usize..60, any::<u8>())),
            splits in prop::collection::vec(0usize..70, 0..6),
        ) {
            let mut input = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\nabc".to_vec();
            if let Some((at, byte)) = damage {
                let at = at % input.len();
                input[at] = byte;
            }
            let whole = run([&input[..]]);
            prop_assert_eq!(&run(input.chunks(1)), &whole);
            let mut at: Vec<_> = splits.iter().map(|at| at % (input.len() + 1)).collect();
            at.extend([0, input.len()]);
            at.sort_unstable();
            prop_assert_eq!(&run(at.windows(2).map(|ends| &input[ends[0]..ends[1]])), &whole);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(input in prop::collection::vec(any::<u8>(), 0..100)) {
            run([&b"HTTP/1.1 200 OK\r\n"[..], &input[..], b"\r\n\r\n"]);
            run(input.chunks(7));
        }
    }
}
