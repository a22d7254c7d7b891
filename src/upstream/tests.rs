//! The client against targets that misbehave: real sockets, raw bytes, one script a connection.
//!
//! A target plays its steps and then holds the connection until the client closes it; what it received is told at the
//! end, so that a test sees both sides.

mod front;
mod requests;
mod responses;
mod reuse;
mod timeouts;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Origin, Pool, Request, Timeouts, UpstreamError};
use crate::http::{Body, BodyError};

#[derive(Clone)]
enum Step {
    /// Reads until what was received since the last such step ends so, and no byte further.
    Read(&'static str),
    Write(&'static str),
    /// Writes byte by byte, each in a segment of its own.
    Dribble(&'static str),
    /// Writes this many bytes of zeros in all.
    Flood(usize),
    /// Reads and drops this many bytes.
    Swallow(usize),
    Close,
    /// Closes with unread input, which resets the connection.
    Reset,
}
use Step::*;

const HEAD_END: &str = "\r\n\r\n";
const OK_HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

struct Target {
    origin: Arc<Origin>,
    playing: JoinHandle<Vec<String>>,
    /// The number of connections whose steps are all done.
    played: watch::Receiver<usize>,
}

impl Target {
    /// Plays one list of steps for each connection, in the order they come.
    async fn play(scripts: &[&[Step]]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scripts: Vec<Vec<Step>> = scripts.iter().map(|steps| steps.to_vec()).collect();
        let (done, played) = watch::channel(0);
        let playing = tokio::spawn(async move {
            let mut connections = Vec::new();
            for steps in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                connections.push(tokio::spawn(play(stream, steps, done.clone())));
            }
            let mut received = Vec::new();
            for connection in connections {
                received.push(connection.await.unwrap());
            }
            received
        });
        Target { origin: Arc::new(Origin::new("127.0.0.1", port).unwrap()), playing, played }
    }

    /// What each connection received, once the client has closed them all.
    async fn received(self, pool: Pool) -> Vec<String> {
        drop(pool);
        self.playing.await.unwrap()
    }
}

async fn play(mut stream: TcpStream, steps: Vec<Step>, done: watch::Sender<usize>) -> String {
    stream.set_nodelay(true).unwrap();
    let mut received = Vec::new();
    let mut from = 0;
    for step in steps {
        match step {
            Read(end) => {
                while !received[from..].ends_with(end.as_bytes()) {
                    match stream.read_u8().await {
                        Ok(byte) => received.push(byte),
                        Err(_) => return String::from_utf8(received).unwrap() + "<eof>",
                    }
                }
                from = received.len();
            }
            Write(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Dribble(bytes) => {
                for byte in bytes.bytes() {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            Flood(mut left) => {
                let zeros = vec![0; 64 * 1024];
                while left > 0 {
                    let here = left.min(zeros.len());
                    if stream.write_all(&zeros[..here]).await.is_err() {
                        // The client has had enough.
                        break;
                    }
                    left -= here;
                }
            }
            Swallow(mut left) => {
                let mut buffer = vec![0; 64 * 1024];
                while left > 0 {
                    let room = left.min(buffer.len());
                    left -= stream.read(&mut buffer[..room]).await.unwrap();
                }
            }
            Close => return String::from_utf8(received).unwrap(),
            Reset => {
                stream.set_zero_linger().unwrap();
                return String::from_utf8(received).unwrap();
            }
        }
    }
    done.send_modify(|count| *count += 1);
    // A client that closes with unread input resets; for the target both are the end.
    let _ = stream.read_to_end(&mut received).await;
    String::from_utf8_lossy(&received).into_owned()
}

fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(5),
        write: Duration::from_secs(5),
        first_byte: Duration::from_secs(5),
        read: Duration::from_secs(5),
        deadline: None,
        streams_last: false,
    }
}

async fn send(pool: &Pool, target: &Target, method: Method, body: &mut Body) -> Result<Response<Body>, UpstreamError> {
    send_within(pool, target, method, body, short()).await
}

async fn send_within(
    pool: &Pool,
    target: &Target,
    method: Method,
    body: &mut Body,
    timeouts: Timeouts,
) -> Result<Response<Body>, UpstreamError> {
    let (headers, host) = (HeaderMap::new(), HeaderValue::from_static("t"));
    let request = Request {
        origin: &target.origin,
        method: &method,
        target: "/x",
        host: Some(&host),
        headers: &headers,
        upgrade: None,
        interim: None,
        body,
    };
    pool.send(request, &timeouts).await
}

/// Sends a request without a body; tells status and body, or the error without the target's name.
async fn exchange(pool: &Pool, target: &Target, method: Method) -> String {
    match send(pool, target, method, &mut Body::Empty).await {
        Ok(response) => {
            let status = response.status().as_u16();
            match response.into_body().collect(1 << 20).await {
                Ok(body) => format!("{status} {}", String::from_utf8_lossy(&body)),
                Err(error) => format!("{status} {}", text(&error, target)),
            }
        }
        Err(error) => text(&error, target),
    }
}

async fn get(pool: &Pool, target: &Target) -> String {
    exchange(pool, target, Method::GET).await
}

fn text(error: &dyn std::error::Error, target: &Target) -> String {
    error.to_string().replace(&target.origin.to_string(), "T")
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: t\r\n\r\n";

/// Lets the runtime work until the condition holds.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// A body of unknown length that gives its pieces, then stops for ever when told so.
struct Pieces {
    left: Vec<&'static str>,
    then_hangs: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left.is_empty() {
            return if self.then_hangs { Poll::Pending } else { Poll::Ready(None) };
        }
        let piece = self.left.remove(0);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}
