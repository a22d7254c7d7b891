//! What must hold of any input, for the fuzz targets and for the gateway's own tests.
//!
//! Where the input is split never makes a difference, and another parser never reads an accepted input differently. The first byte
//! chooses the slices, the rest is the input. Each check tells whether the input was accepted.

#![allow(dead_code, reason = "each target uses one of them")]

use bytes::BytesMut;
use gatewright::{
    http::path::NormalPath,
    http1::{
        body::BodyDecoder,
        chunked::ChunkedDecoder,
        request::{Framing, HeadLimits, RequestHead, RequestReader},
    },
};
use http::{HeaderMap, header};

const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// The input in slices of changing lengths.
fn slices(seed: u8, mut input: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut state = usize::from(seed);
    while !input.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (slice, rest) = input.split_at((1 + (state >> 33) % 7).min(input.len()));
        all.push(slice);
        input = rest;
    }
    all
}

/// What a reader made of an input.
#[derive(Debug, PartialEq)]
enum Read<T> {
    Whole(T),
    More,
    Refused,
}

/// Request heads.
pub fn request_head(input: &[u8]) -> bool {
    let Some((seed, input)) = input.split_first() else { return false };
    let whole = read_head(&[input]);
    let told = whole.as_told();
    assert_eq!(read_head(&slices(*seed, input)).as_told(), told, "sliced");
    let Read::Whole((head, rest)) = whole else { return false };
    let sent = &input[..input.len() - rest];
    let sent = sent.strip_prefix(b"\r\n").unwrap_or(sent);
    agrees(&head, sent);
    lines_are_whole(sent);
    frames_once(&head);
    true
}

fn read_head(slices: &[&[u8]]) -> Read<(RequestHead, usize)> {
    let (mut reader, mut buffer) = (RequestReader::default(), BytesMut::new());
    let mut found = None;
    for slice in slices {
        buffer.extend_from_slice(slice);
        if found.is_none() {
            match reader.read(&mut buffer, LIMITS, HeaderMap::new) {
                Ok(head) => found = head,
                Err(_) => return Read::Refused,
            }
        }
    }
    found.map_or(Read::More, |head| Read::Whole((head, buffer.len())))
}

impl Read<(RequestHead, usize)> {
    fn as_told(&self) -> Read<String> {
        match self {
            Read::Whole((head, rest)) => Read::Whole(format!("{head:?} {rest}")),
            Read::More => Read::More,
            Read::Refused => Read::Refused,
        }
    }
}

/// With httparse, in its own words.
fn agrees(head: &RequestHead, sent: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut slots);
    let status = other.parse(sent).expect("the other parser accepts what ours does");
    assert_eq!(status, httparse::Status::Complete(sent.len()), "both end at the same byte");
    assert_eq!(other.method, Some(head.parts.method.as_str()));
    assert_eq!(other.version, Some(u8::from(head.parts.version == http::Version::HTTP_11)));
    let (target, uri) = (other.path.unwrap_or_default(), head.parts.uri.to_string());
    // An absolute form without a path is shown with one.
    assert!(uri == target || uri.replacen("/?", "?", 1) == target || uri.strip_suffix('/') == Some(target), "{uri}");
    assert_eq!(other.headers.len(), head.parts.headers.len());
    for field in other.headers.iter() {
        let values = head.parts.headers.get_all(field.name).iter();
        assert!(values.into_iter().any(|value| value.as_bytes() == field.value), "{}", field.name);
    }
}

/// No line that ends in a line feed alone, none that goes on with the one before, no white space before a colon.
fn lines_are_whole(sent: &[u8]) {
    for (at, byte) in sent.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(sent[at - 1], b'\r', "a bare line feed"),
            b'\r' => assert_eq!(sent.get(at + 1), Some(&b'\n'), "a bare carriage return"),
            _ => assert_ne!(*byte, 0, "a null"),
        }
    }
    for line in sent.split(|byte| *byte == b'\n').skip(1).filter(|line| line.len() > 1) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        assert!(name.iter().all(u8::is_ascii_graphic), "{name:?}");
    }
}

/// One way to find the body's end, and only one.
fn frames_once(head: &RequestHead) {
    let count = |name| head.parts.headers.get_all(name).iter().count();
    let (lengths, codings) = (count(header::CONTENT_LENGTH), count(header::TRANSFER_ENCODING));
    match head.framing {
        Framing::None => assert_eq!((lengths, codings), (0, 0)),
        Framing::Length(length) => {
            assert_eq!((lengths, codings), (1, 0));
            let said = head.parts.headers[header::CONTENT_LENGTH].to_str().expect("digits");
            assert!(said.bytes().all(|byte| byte.is_ascii_digit()) && said.parse() == Ok(length), "{said}");
        }
        Framing::Chunked => {
            assert_eq!((lengths, codings), (0, 1));
            assert!(head.parts.headers[header::TRANSFER_ENCODING].as_bytes().eq_ignore_ascii_case(b"chunked"));
            assert_eq!(head.parts.version, http::Version::HTTP_11);
        }
    }
}

/// Chunked bodies.
pub fn chunked_body(input: &[u8]) -> bool {
    let Some((seed, input)) = input.split_first() else { return false };
    let whole = read_chunks(&[input]);
    assert_eq!(read_chunks(&slices(*seed, input)), whole, "sliced");
    let Read::Whole((body, _, rest)) = whole else { return false };
    let sent = &input[..input.len() - rest];
    assert_eq!(plainly(sent).as_deref(), Some(&body[..]), "another reader");
    true
}

type Chunks = (Vec<u8>, Option<Box<HeaderMap>>, usize);

fn read_chunks(slices: &[&[u8]]) -> Read<Chunks> {
    let (mut decoder, mut buffer) = (BodyDecoder::Chunked(ChunkedDecoder::default()), BytesMut::new());
    let (mut body, mut ended) = (Vec::new(), None);
    for slice in slices {
        buffer.extend_from_slice(slice);
        if ended.is_some() {
            continue;
        }
        match decoder.decode(&mut buffer) {
            Ok(decoded) => {
                body.extend_from_slice(&decoded.data);
                ended = decoded.ended.then_some(decoded.trailers);
            }
            Err(_) => return Read::Refused,
        }
    }
    ended.map_or(Read::More, |trailers| Read::Whole((body, trailers, buffer.len())))
}

/// The same body, with httparse's reading of the sizes and of the trailers, to the input's last byte.
fn plainly(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        // It takes sixteen digits; zeros before them say nothing.
        while let [b'0', rest @ ..] = input
            && rest.first().is_some_and(u8::is_ascii_hexdigit)
        {
            input = rest;
        }
        let httparse::Status::Complete((begin, size)) = httparse::parse_chunk_size(input).ok()? else { return None };
        input = &input[begin..];
        if size == 0 {
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let httparse::Status::Complete((end, _)) = httparse::parse_headers(input, &mut slots).ok()? else {
                return None;
            };
            return (end == input.len()).then_some(body);
        }
        let (chunk, rest) = input.split_at_checked(usize::try_from(size).ok()?)?;
        body.extend_from_slice(chunk);
        input = rest.strip_prefix(b"\r\n")?;
    }
}

/// Paths.
pub fn path(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let of_uri = text.parse::<http::Uri>().ok().map(|uri| NormalPath::parse(&uri));
    let accepted = [NormalPath::parse_str(text).ok(), of_uri.and_then(Result::ok)];
    for normal in accepted.iter().flatten() {
        let path = normal.path();
        assert!(path.starts_with('/') || path == "*", "{path}");
        let again =
            (path != "*").then(|| NormalPath::parse_str(normal.as_str()).expect("what was normalised is normal"));
        assert!(again.is_none_or(|again| again.as_str() == normal.as_str()), "{path}");
        // What a target could read as another path, whatever it decodes.
        let decoded = path.to_ascii_lowercase().replace("%2e", ".");
        let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        assert!(!decoded.split('/').any(is_dots), "{path}");
        assert!(!["%2f", "%5c", "%00", "\\", "\0", "#", "\r", "\n"].iter().any(|odd| decoded.contains(odd)), "{path}");
    }
    accepted.iter().any(Option::is_some)
}
