//! Upstreams: real servers on port 0 that keep what they received.
//!
//! [`Upstream::start`] answers by a function; [`Upstream::raw`] is given the socket, for servers that are slow, close early or
//! frame their answers in their own way.

use super::wire::{self, Received};
use std::{
    io::{BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What an upstream answers.
#[derive(Clone, Debug)]
pub struct UpstreamReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
    after: Duration,
}

/// An answer of that status with a body.
pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> UpstreamReply {
    UpstreamReply { status, headers: Vec::new(), body: body.into(), chunked: false, after: Duration::ZERO }
}

impl UpstreamReply {
    pub fn header(mut self, name: &str, value: &str) -> UpstreamReply {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn json(self) -> UpstreamReply {
        self.header("content-type", "application/json")
    }

    /// Written in chunks of at most seven bytes.
    pub fn chunked(mut self) -> UpstreamReply {
        self.chunked = true;
        self
    }

    /// A slow service.
    pub fn after(mut self, wait: Duration) -> UpstreamReply {
        self.after = wait;
        self
    }

    pub fn bytes(&self, method: &str) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Status\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            let _ = write!(bytes, "{name}: {value}\r\n");
        }
        if self.chunked {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(7) {
                let _ = write!(bytes, "{:x}\r\n", chunk.len());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            return bytes;
        }
        if self.status != 204 && self.status != 304 {
            let _ = write!(bytes, "content-length: {}\r\n", self.body.len());
        }
        bytes.extend(b"\r\n");
        if method != "HEAD" {
            bytes.extend(&self.body);
        }
        bytes
    }
}

/// A server for one test. Its threads end with the test's process.
pub struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Answers each request by `answer`, several on one connection.
    pub fn start(answer: impl Fn(&Received) -> UpstreamReply + Send + Sync + 'static) -> Upstream {
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        let address = listen(move |stream| {
            let mut input = BufReader::new(stream);
            while let Ok(Some((mut request, framing))) = wire::read_request_head(&mut input) {
                let Ok(body) = wire::read_body(&mut input, framing) else {
                    return;
                };
                request.body = body;
                let answer = answer(&request);
                let bytes = answer.bytes(&request.method);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                thread::sleep(answer.after);
                if input.get_mut().write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Upstream { address, received }
    }

    /// Answers 200 with `text` and the content type of JSON.
    pub fn json(text: &str) -> Upstream {
        let text = text.to_owned();
        Upstream::start(move |_| reply(200, text.clone()).json())
    }

    /// Says what it was asked for: method and target.
    pub fn echo(name: &'static str) -> Upstream {
        Upstream::start(move |request| reply(200, format!("{name} {} {}", request.method, request.target)))
    }

    /// Is given each connection to do with as it likes.
    pub fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Upstream {
        Upstream { address: listen(serve), received: Arc::default() }
    }

    /// An address where nobody listens.
    pub fn dead() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        Upstream { address, received: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has been received so far.
    pub fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only request that was received.
    pub fn request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}
