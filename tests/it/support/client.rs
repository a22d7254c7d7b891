//! The client: one connection, requests written byte by byte, answers read strictly.
//!
//! It adds `Host` and the framing of a body and nothing else, so that what the gateway adds can be told.

use super::{
    PATIENCE,
    wire::{self, Answer, Headers, Input},
};
use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

/// A request as a test writes it down.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    raw: bool,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.into(), target: target.into(), headers: Vec::new(), body: None, raw: false }
    }

    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::new("POST", target).body(body)
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Request {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub fn bearer(self, token: &str) -> Request {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &str) -> Request {
        self.header("content-type", "application/json").body(body)
    }

    /// Bytes after the head, as they are: their framing is the test's.
    pub fn raw_body(mut self, bytes: impl Into<Vec<u8>>) -> Request {
        self.raw = true;
        self.body(bytes)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(bytes, "host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(bytes, "{name}: {value}\r\n");
        }
        if let Some(body) = self.body.as_ref().filter(|_| !self.raw) {
            let _ = write!(bytes, "content-length: {}\r\n", body.len());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// A connection that is kept open.
pub struct Client {
    address: SocketAddr,
    input: Input<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { address, input: BufReader::new(stream) })
    }

    pub fn send(&mut self, request: &Request) -> Answer {
        self.try_send(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    pub fn try_send(&mut self, request: &Request) -> io::Result<Answer> {
        let bytes = request.bytes(self.address);
        self.input.get_mut().write_all(&bytes)?;
        wire::read_answer(&mut self.input, &request.method)
    }

    /// Bytes as they are, for what no client should send.
    pub fn write(&mut self, bytes: &[u8]) {
        self.input.get_mut().write_all(bytes).unwrap_or_else(|error| panic!("writing: {error}"));
    }

    pub fn read_answer(&mut self) -> Answer {
        wire::read_answer(&mut self.input, "GET").unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn read_head(&mut self) -> (u16, Headers) {
        wire::read_answer_head(&mut self.input).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        wire::read_chunk(&mut self.input).unwrap_or_else(|error| panic!("no chunk: {error}"))
    }

    /// What comes after a head, as it is.
    pub fn reader(&mut self) -> &mut impl Read {
        &mut self.input
    }

    /// Whether the other end closed the connection; waits for it.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.input.read(&mut [0]), Ok(0))
    }
}
