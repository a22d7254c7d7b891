//! HTTP/1.1 messages on a socket, read to the letter: heads by httparse, bodies by RFC 9112 §6.
//!
//! Serves both ends: the client reads [`Answer`]s, upstreams read [`Received`] requests. Nothing is repaired: a message that
//! is framed wrongly is an error, which the tests want to see.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Header lines in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value, names compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }
}

/// What a client got.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// What an upstream got.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query as they were on the wire.
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks that this is an RFC 9457 problem of that status with the request's id, and gives its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }

    pub fn ok(self) -> Answer {
        assert_eq!(self.status, 200, "{:?}: {}", self.headers, self.text());
        self
    }
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// One side of a connection with what was read ahead.
pub type Input<S> = BufReader<S>;

/// The bytes up to and with the empty line; none when the other end closed before the first byte.
fn read_head<S: Read>(input: &mut Input<S>) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if input.read_until(b'\n', &mut head)? == 0 {
            return match before {
                0 => Ok(None),
                _ => Err(ErrorKind::UnexpectedEof.into()),
            };
        }
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

fn headers(parsed: &[httparse::Header]) -> Headers {
    let line = |h: &httparse::Header| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned());
    Headers(parsed.iter().map(line).collect())
}

/// The status and headers of the next answer, interim ones left out.
pub fn read_answer_head<S: Read>(input: &mut Input<S>) -> io::Result<(u16, Headers)> {
    loop {
        let head = read_head(input)?.ok_or(ErrorKind::UnexpectedEof)?;
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Response::new(&mut lines);
        parsed.parse(&head).map_err(bad)?;
        let status = parsed.code.unwrap_or_default();
        if status >= 200 || status == 101 {
            return Ok((status, headers(parsed.headers)));
        }
    }
}

/// RFC 9112 §6.3 for an answer to `method`.
pub fn answer_framing(method: &str, status: u16, headers: &Headers) -> io::Result<Framing> {
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    Ok(framing(headers)?.unwrap_or(Framing::Close))
}

fn framing(headers: &Headers) -> io::Result<Option<Framing>> {
    let lengths = headers.all("content-length");
    if headers.has_token("transfer-encoding", "chunked") {
        if !lengths.is_empty() {
            return Err(bad("both transfer-encoding and content-length"));
        }
        return Ok(Some(Framing::Chunked));
    }
    match lengths.as_slice() {
        [] => Ok(None),
        [length] => Ok(Some(Framing::Length(length.parse().map_err(bad)?))),
        more => Err(bad(format!("{} lines of content-length", more.len()))),
    }
}

pub fn read_body<S: Read>(input: &mut Input<S>, framing: Framing) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => {
            body.resize(length, 0);
            input.read_exact(&mut body)?;
        }
        Framing::Close => {
            input.read_to_end(&mut body)?;
        }
        Framing::Chunked => {
            while let Some(chunk) = read_chunk(input)? {
                body.extend(chunk);
            }
        }
    }
    Ok(body)
}

/// The next chunk; none after the last, trailers read away.
pub fn read_chunk<S: Read>(input: &mut Input<S>) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(input)?;
    let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).map_err(bad)?;
    if size == 0 {
        while !read_line(input)?.is_empty() {}
        return Ok(None);
    }
    let mut chunk = vec![0; size + 2];
    input.read_exact(&mut chunk)?;
    if !chunk.ends_with(b"\r\n") {
        return Err(bad("a chunk does not end in CRLF"));
    }
    chunk.truncate(size);
    Ok(Some(chunk))
}

fn read_line<S: Read>(input: &mut Input<S>) -> io::Result<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("a line does not end in CRLF"))?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// A whole answer to `method`.
pub fn read_answer<S: Read>(input: &mut Input<S>, method: &str) -> io::Result<Answer> {
    let (status, headers) = read_answer_head(input)?;
    let body = read_body(input, answer_framing(method, status, &headers)?)?;
    Ok(Answer { status, headers, body })
}

/// The head of the next request, and how its body ends; none when the connection was closed between requests.
pub fn read_request_head<S: Read>(input: &mut Input<S>) -> io::Result<Option<(Received, Framing)>> {
    let Some(head) = read_head(input)? else {
        return Ok(None);
    };
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut lines);
    parsed.parse(&head).map_err(bad)?;
    let headers = headers(parsed.headers);
    let framing = framing(&headers)?.unwrap_or(Framing::Length(0));
    let method = parsed.method.unwrap_or_default().to_owned();
    let target = parsed.path.unwrap_or_default().to_owned();
    Ok(Some((Received { method, target, headers, body: Vec::new() }, framing)))
}
