//! Request heads, read as strictly as RFC 9112 §2 to §6 allows.
//!
//! The end of the head is found first and parsed once, so that a head that dribbles in costs no more than one that comes whole, and
//! so that bare line feeds are refused whatever the parser would make of them. What a head says of its own connection (framing,
//! `Connection`, `Expect`) is told beside it. What a gateway makes of the rest is [`crate::http::police`]'s to judge.

use crate::{
    http::{passed::content_length, police::Refusal},
    http1,
};
use bytes::{Buf, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use std::mem::MaybeUninit;

/// Header lines for which there is room on the stack; more are rare, and cost an allocation.
const SLOTS: usize = 100;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The request line and the header lines, in bytes.
    pub bytes: usize,
    pub fields: usize,
}

/// How a request frames its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// A request head, and what it says of its connection.
#[derive(Debug)]
pub struct RequestHead {
    /// Boxed, as it goes through many hands.
    pub parts: Box<Parts>,
    pub framing: Framing,
    /// Whether the connection may take another request (RFC 9112 §9.3).
    pub keeps_alive: bool,
    /// `Expect: 100-continue` (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// `TE: trailers` (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
    /// Whether there is an `Upgrade` field.
    pub upgrades: bool,
}

/// Reads one request head; make a new one for each.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// Bytes known to hold no end of the head.
    scanned: usize,
    /// Whether the request line is whole.
    has_line: bool,
    /// Whether the empty line that RFC 9112 §2.2 tolerates was there.
    has_skipped: bool,
}

impl RequestReader {
    /// Takes a whole head from the front of `input`, or nothing while it is incomplete. `map` gives an empty one for the fields.
    ///
    /// # Errors
    /// Why the request is refused. Where the next one begins is unknown then.
    pub fn read(
        &mut self,
        input: &mut BytesMut,
        limits: HeadLimits,
        map: impl FnOnce() -> HeaderMap,
    ) -> Result<Option<RequestHead>, Refusal> {
        if !self.has_skipped && input.first() == Some(&b'\r') {
            match input.get(1) {
                None => return Ok(None),
                Some(b'\n') => input.advance(2),
                Some(_) => return Err(bad("the request line is malformed")),
            }
            self.has_skipped = true;
        }
        match self.end(input, limits)? {
            Some(end) => parse(input.split_to(end).freeze(), limits, map()).map(Some),
            None => Ok(None),
        }
    }

    fn end(&mut self, input: &[u8], limits: HeadLimits) -> Result<Option<usize>, Refusal> {
        // No need to wait for the rest of what was never a request, such as a TLS handshake.
        if input.first().is_some_and(|byte| !byte.is_ascii_graphic()) {
            return Err(bad("the request line is malformed"));
        }
        if self.scanned == 0 && input.len() <= limits.bytes && is_one_head(input) {
            return Ok(Some(input.len()));
        }
        for found in memchr::memchr_iter(b'\n', &input[self.scanned..]) {
            // Not at the start of the input, which is graphic.
            let at = self.scanned + found;
            if input[at - 1] != b'\r' {
                return Err(bad("a line of the request head does not end in cr lf"));
            }
            if at >= limits.bytes {
                return Err(if self.has_line { too_large() } else { too_long() });
            }
            if self.has_line && input[at - 2] == b'\n' {
                return Ok(Some(at + 1));
            }
            self.has_line = true;
        }
        if input.len() > limits.bytes {
            return Err(if self.has_line { too_large() } else { too_long() });
        }
        self.scanned = input.len();
        Ok(None)
    }
}

/// Whether the input is one head to its last byte, as nearly always, with no line that ends in a line feed alone.
fn is_one_head(input: &[u8]) -> bool {
    // The second byte has none before it but the first, which is graphic.
    let Some(inner) = input.strip_suffix(b"\n").filter(|_| input.ends_with(b"\r\n\r\n")) else { return false };
    inner[1] != b'\n' && http1::odd_line_feed(inner, 0).is_none()
}

fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

fn too_long() -> Refusal {
    Refusal { status: StatusCode::URI_TOO_LONG, reason: "the request line is too long" }
}

fn too_large() -> Refusal {
    Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason: "the request head is too large" }
}

fn parse(head: Bytes, limits: HeadLimits, map: HeaderMap) -> Result<RequestHead, Refusal> {
    if limits.fields <= SLOTS {
        let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
        return parse_into(&head, &mut slots[..limits.fields], map);
    }
    parse_into(&head, &mut vec![MaybeUninit::uninit(); limits.fields], map)
}

fn parse_into<'h>(
    head: &'h Bytes,
    slots: &mut [MaybeUninit<httparse::Header<'h>>],
    headers: HeaderMap,
) -> Result<RequestHead, Refusal> {
    let mut parsed = httparse::Request::new(&mut []);
    // The default configuration refuses obs-fold and white space before a colon.
    let status = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, head, slots)
        .map_err(|error| refusal(error, head))?;
    let (httparse::Status::Complete(length), Some(method), Some(target), Some(minor)) =
        (status, parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("the request head is malformed"));
    };
    // SECURITY: what is left would be read as the start of a body.
    if length != head.len() {
        return Err(bad("the request head is malformed"));
    }
    let mut parts = Box::new(http::Request::new(()).into_parts().0);
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    parts.uri = uri(head, target)?;
    parts.version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = headers;
    let mut fields = Fields { old: minor == 0, keeps_alive: minor == 1, ..Fields::default() };
    parts.headers.reserve(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad("a header name is malformed"))?;
        fields.look(&name, field.name.len(), field.value)?;
        // A slice of the read buffer: no copy.
        //
        // SAFETY: the parser has refused every byte that a `HeaderValue` may not hold: all below 0x20 but the tab, and 0x7f.
        let value = unsafe { HeaderValue::from_maybe_shared_unchecked(head.slice_ref(field.value)) };
        parts.headers.try_append(name, value).map_err(|_| too_large())?;
    }
    let framing = fields.framing()?;
    Ok(RequestHead {
        parts,
        framing,
        keeps_alive: fields.keeps_alive && !fields.closes,
        // RFC 9110 §10.1.1: never to an HTTP/1.0 client, nor where no body comes.
        expects_continue: fields.expects_continue
            && minor == 1
            && !matches!(framing, Framing::None | Framing::Length(0)),
        takes_trailers: fields.takes_trailers,
        upgrades: fields.upgrades,
    })
}

fn uri(head: &Bytes, target: &str) -> Result<Uri, Refusal> {
    // A URI may have a fragment, a request target may not (RFC 9112 §3.2), and what parses URIs cuts it off silently.
    if memchr::memchr(b'#', target.as_bytes()).is_some() {
        return Err(bad("the request target has a fragment"));
    }
    Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| {
        match target.len() > usize::from(u16::MAX) - 1 {
            true => too_long(),
            false => bad("the request target is malformed"),
        }
    })
}

fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName => bad("a header name is malformed"),
        httparse::Error::HeaderValue => bad("a header value is malformed"),
        httparse::Error::TooManyHeaders => Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the request has too many header fields",
        },
        httparse::Error::Version if names_other_version(head) => Refusal {
            status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            reason: "the version of http is neither 1.0 nor 1.1",
        },
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            bad("the request line is malformed")
        }
    }
}

/// Whether the request line has its three parts and ends in another version of HTTP (RFC 9112 §2.3).
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    let (version, more) = (parts.next().unwrap_or_default(), parts.next());
    let digits = match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => [*major, *minor],
        _ => return false,
    };
    more.is_none() && digits.iter().all(u8::is_ascii_digit) && !matches!(&digits, b"10" | b"11")
}

/// What the fields of a head say of its connection, gathered as they are read.
#[derive(Debug, Default)]
struct Fields {
    /// Whether the request is of HTTP/1.0.
    old: bool,
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    ends_chunked: bool,
    keeps_alive: bool,
    closes: bool,
    expects_continue: bool,
    takes_trailers: bool,
    upgrades: bool,
}

impl Fields {
    fn look(&mut self, name: &HeaderName, length: usize, value: &[u8]) -> Result<(), Refusal> {
        // By length first: most fields are none of these.
        match length {
            2 if *name == TE => self.takes_trailers |= has_token(value, b"trailers"),
            6 if *name == EXPECT => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            7 if *name == UPGRADE => self.upgrades = true,
            10 if *name == CONNECTION => {
                self.closes |= has_token(value, b"close");
                self.keeps_alive |= has_token(value, b"keep-alive");
            }
            14 if *name == CONTENT_LENGTH => {
                // RFC 9110 §8.6 would let a repeated equal one pass.
                if self.length.is_some() {
                    return Err(bad("the content-length is not one number"));
                }
                self.length = Some(content_length(value).ok_or(bad("the content-length is not one number"))?);
            }
            17 if *name == TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
                self.ends_chunked = tokens(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3, without the repairs that it allows.
    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.codings, self.length) {
            (0, None) => Ok(Framing::None),
            (0, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(bad("both content-length and transfer-encoding")),
            (_, None) if self.old => Err(bad("transfer-encoding in http/1.0")),
            (1, None) if self.chunked => Ok(Framing::Chunked),
            // Without `chunked` at the end, where the body ends is anyone's guess.
            (_, None) if !self.ends_chunked => Err(bad("the transfer-encoding does not end in `chunked`")),
            (_, None) => Err(Refusal {
                status: StatusCode::NOT_IMPLEMENTED,
                reason: "the transfer-encoding is not `chunked` alone",
            }),
        }
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|each| each.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
