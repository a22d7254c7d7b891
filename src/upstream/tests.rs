//! The client against targets that misbehave: real sockets, raw bytes, one script a connection.
//!
//! A target plays its steps and then holds the connection until the client closes it; what it received is told at the
//! end, so that a test sees both sides.

mod front;

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

use super::{Origin, Pool, PoolLimits, Request, Timeouts, UpstreamError};
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
        Target {
            origin: Arc::new(Origin::new("127.0.0.1", port).unwrap()),
            playing,
            played,
        }
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
                    stream.write_all(&zeros[..here]).await.unwrap();
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
        read: Duration::from_secs(5),
        deadline: None,
    }
}

async fn send(
    pool: &Pool,
    target: &Target,
    method: Method,
    body: &mut Body,
) -> Result<Response<Body>, UpstreamError> {
    send_within(pool, target, method, body, short()).await
}

async fn send_within(
    pool: &Pool,
    target: &Target,
    method: Method,
    body: &mut Body,
    timeouts: Timeouts,
) -> Result<Response<Body>, UpstreamError> {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("t"))]);
    let request = Request {
        origin: &target.origin,
        method: &method,
        target: "/x",
        headers: &headers,
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

#[tokio::test]
async fn every_framing_is_read_and_its_connection_used_again() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n";
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write(OK_HELLO),
        Read(HEAD_END),
        Dribble(OK_HELLO),
        Read(HEAD_END),
        Write(chunked),
        Read(HEAD_END),
        Dribble(chunked),
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 204 No Content\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        Write(OK_HELLO),
    ]])
    .await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello!");
    assert_eq!(get(&pool, &target).await, "200 hello!");
    assert_eq!(exchange(&pool, &target, Method::HEAD).await, "200 ");
    assert_eq!(get(&pool, &target).await, "304 ");
    assert_eq!(get(&pool, &target).await, "204 ");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(pool.idle(), 1);
    let head = GET.replace("GET", "HEAD");
    assert_eq!(
        target.received(pool).await,
        [[GET, GET, GET, GET, &head, GET, GET, GET].concat()]
    );
}

#[tokio::test]
async fn a_connection_that_may_hold_more_is_closed() {
    for first in [
        // The body of a 204, a second response, and bytes after the last chunk.
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::play(&[
            &[Read(HEAD_END), Write(first)],
            &[Read(HEAD_END), Write(OK_HELLO)],
        ])
        .await;
        let pool = Pool::default();
        let status = &first[9..12];
        assert_eq!(get(&pool, &target).await, format!("{status} "));
        assert_eq!(pool.idle(), 0, "{first}");
        assert_eq!(get(&pool, &target).await, "200 hello");
        assert_eq!(target.received(pool).await, [GET, GET]);
    }
}

#[tokio::test]
async fn bytes_that_come_while_a_connection_rests_condemn_it() {
    let target = Target::play(&[
        &[
            Read(HEAD_END),
            Write(OK_HELLO),
            Write("HTTP/1.1 200 OK\r\n"),
            Write("\r\n"),
            Close,
        ],
        &[Read(HEAD_END), Write(OK_HELLO)],
    ])
    .await;
    let pool = Pool::default();
    // Read in pieces, so that the poison is not yet there when the response ends.
    assert_eq!(get(&pool, &target).await, "200 hello");
    until(|| {
        pool.sweep();
        pool.idle() == 0
    })
    .await;
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(target.received(pool).await, [GET, GET]);
}

/// Lets the runtime work until the condition holds.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\n\r\nhel"),
        Write("lo"),
        Close,
    ]])
    .await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn a_response_that_breaks_off_or_makes_no_sense_is_an_error() {
    let waiting = "T: waiting for the response: ";
    let reading = "200 reading the response body: T: reading the response body: ";
    for (response, expected) in [
        ("", format!("{waiting}the connection was closed")),
        (
            "HTTP/1.1 200 OK\r\nA: ",
            format!("{waiting}the connection was closed"),
        ),
        (
            "220 smtp.example ESMTP\r\n",
            format!("{waiting}the response is not http/1.x"),
        ),
        (
            "HTTP/1.1 101 Switching\r\n\r\n",
            format!("{waiting}the response switches protocols unasked"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            format!("{waiting}the response has both content-length and transfer-encoding"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            format!("{reading}the connection was closed"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            format!("{reading}the connection was closed"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            format!("{waiting}malformed chunk size, at byte 0x7a"),
        ),
    ] {
        let target = Target::play(&[&[Read(HEAD_END), Write(response), Close]]).await;
        let pool = Pool::default();
        assert_eq!(get(&pool, &target).await, expected, "{response}");
        assert_eq!(pool.idle(), 0);
    }
}

#[tokio::test]
async fn endless_interim_responses_are_refused() {
    let three: &str =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n";
    let mut steps = vec![Read(HEAD_END)];
    steps.extend(vec![Write(three); 6]);
    let target = Target::play(&[&steps]).await;
    let expected = "T: waiting for the response: more than 16 interim responses";
    assert_eq!(get(&Pool::default(), &target).await, expected);
}

#[tokio::test]
async fn a_stale_connection_costs_a_second_try_only_when_that_is_harmless() {
    let closes_on_second: &[Step] = &[Read(HEAD_END), Write(OK_HELLO), Read(HEAD_END), Close];
    let answers: &[Step] = &[Read(HEAD_END), Write(OK_HELLO)];
    let answers_post: &[Step] = &[Read("abc"), Write(OK_HELLO)];

    let target = Target::play(&[closes_on_second, answers]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(
        target.received(pool).await,
        [[GET, GET].concat(), GET.to_owned()]
    );

    // Once a byte of a POST has left, nobody knows what became of it.
    let target = Target::play(&[closes_on_second]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    let mut body = Body::Empty;
    let error = send(&pool, &target, Method::POST, &mut body)
        .await
        .unwrap_err();
    assert_eq!(
        text(&error, &target),
        "T: waiting for the response: the connection was closed"
    );
    assert!(!error.may_retry(&Method::POST));

    // A connection that was closed while it rested is never used.
    let target = Target::play(&[&[Read(HEAD_END), Write(OK_HELLO), Close], answers_post]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    until(|| pool.idle_and_quiet() == 0).await;
    assert_eq!(pool.idle(), 1);
    let mut body = Body::from("abc");
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_small_body_leaves_with_its_head() {
    let target = Target::play(&[&[Read("abc"), Write(OK_HELLO)]]).await;
    let pool = Pool::default();
    let mut body = Body::from("abc");
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
    assert_eq!(body.collect(3).await.unwrap(), "abc");
    assert_eq!(
        target.received(pool).await,
        ["POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc"]
    );
}

/// A body of unknown length that gives its pieces, then stops for ever when told so.
struct Pieces {
    left: Vec<&'static str>,
    then_hangs: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left.is_empty() {
            return if self.then_hangs {
                Poll::Pending
            } else {
                Poll::Ready(None)
            };
        }
        let piece = self.left.remove(0);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let target = Target::play(&[&[Read("0\r\n\r\n"), Write(OK_HELLO)]]).await;
    let pool = Pool::default();
    let mut body = Body::Streamed(Box::new(Pieces {
        left: vec!["abc", "", "0123456789"],
        then_hangs: false,
    }));
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
    assert_eq!(
        target.received(pool).await,
        [
            "POST /x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
          3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"
        ]
    );
}

#[tokio::test]
async fn an_early_answer_counts_and_its_connection_is_closed() {
    let early = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
    for steps in [
        &[Read("abc\r\n"), Write(early)][..],
        &[Read("abc\r\n"), Write(early), Close],
    ] {
        let target = Target::play(&[steps]).await;
        let pool = Pool::default();
        let mut body = Body::Streamed(Box::new(Pieces {
            left: vec!["abc"],
            then_hangs: true,
        }));
        let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(response.into_body().collect(5).await.unwrap(), "big");
        assert_eq!(pool.idle(), 0);
        let received = target.received(pool).await;
        assert!(received[0].ends_with("3\r\nabc\r\n"), "{received:?}");
    }
}

#[tokio::test]
async fn slowness_is_told_by_its_step() {
    let brief = Duration::from_millis(30);
    let hangs: &[Step] = &[Read(HEAD_END)];

    let target = Target::play(&[hangs]).await;
    let timeouts = Timeouts {
        read: brief,
        ..short()
    };
    let pool = Pool::default();
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(
        text(&error, &target),
        "T: waiting for the response: timed out"
    );
    assert_eq!(error.status().as_u16(), 504);
    assert_eq!(target.received(pool).await, [GET]);

    let target = Target::play(&[&[
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
    ]])
    .await;
    let pool = Pool::default();
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
    let error = sent.unwrap().into_body().collect(5).await.unwrap_err();
    assert_eq!(
        text(&error, &target),
        "reading the response body: T: reading the response body: timed out"
    );
    assert_eq!(error.status().as_u16(), 504);

    // A client that stops sending is not the target's fault, and only the deadline ends it.
    let target = Target::play(&[hangs]).await;
    let pool = Pool::default();
    let timeouts = Timeouts {
        deadline: Some(Instant::now() + 3 * brief),
        ..timeouts
    };
    let mut body = Body::Streamed(Box::new(Pieces {
        left: vec!["abc"],
        then_hangs: true,
    }));
    let sent = send_within(&pool, &target, Method::POST, &mut body, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(
        text(&error, &target),
        "T: sending the request: the client was too slow to send the request body"
    );
    assert_eq!((error.status().as_u16(), error.body_consumed), (408, true));
}

#[tokio::test]
async fn a_target_that_does_not_read_is_a_write_timeout() {
    let timeouts = Timeouts {
        write: Duration::from_millis(30),
        ..short()
    };
    let pool = Pool::default();
    // More than any socket buffer holds.
    let mut body = Body::full(vec![b'x'; 64 << 20]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Target {
        origin: Arc::new(Origin::new("127.0.0.1", port).unwrap()),
        playing: tokio::spawn(async { Vec::new() }),
        played: watch::channel(0).1,
    };
    let sent = send_within(&pool, &silent, Method::PUT, &mut body, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(text(&error, &silent), "T: sending the request: timed out");
    assert!(!error.body_consumed);
    assert_eq!(body.len(), Some(64 << 20));
}

#[tokio::test]
async fn an_unreachable_target_leaves_the_body_in_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let origin = Arc::new(Origin::new("127.0.0.1", port).unwrap());
    let mut body = Body::Streamed(Box::new(Pieces {
        left: vec!["abc"],
        then_hangs: false,
    }));
    let request = Request {
        origin: &origin,
        method: &Method::POST,
        target: "/",
        headers: &HeaderMap::new(),
        body: &mut body,
    };
    let error = Pool::default().send(request, &short()).await.unwrap_err();
    let expected = format!("127.0.0.1:{port}: connecting: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
    assert!(error.may_retry(&Method::POST));
    assert_eq!(body.collect(3).await.unwrap(), "abc");
}

#[tokio::test]
async fn a_reset_is_told() {
    let target = Target::play(&[&[Read(HEAD_END), Reset]]).await;
    assert_eq!(
        get(&Pool::default(), &target).await,
        "T: waiting for the response: Connection reset by peer (os error 104)"
    );
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_connection() {
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
    ]])
    .await;
    let pool = Pool::default();
    let response = send(&pool, &target, Method::GET, &mut Body::Empty)
        .await
        .unwrap();
    drop(response);
    assert_eq!(pool.idle(), 0);
    // Ends only when the connection does, although the pool is still here.
    assert_eq!(target.playing.await.unwrap(), [GET]);

    let target = Target::play(&[&[Read(HEAD_END)]]).await;
    {
        let mut body = Body::Empty;
        let mut sending = std::pin::pin!(send(&pool, &target, Method::GET, &mut body));
        std::future::poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    target.playing.await.unwrap();
    assert_eq!(pool.idle(), 0);
}

/// A request body of zeros that counts how far it was read.
struct Zeros {
    piece: Bytes,
    left: usize,
    taken: Rc<Cell<usize>>,
}

impl HttpBody for Zeros {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let here = self.left.min(self.piece.len());
        if here == 0 {
            return Poll::Ready(None);
        }
        self.left -= here;
        self.taken.set(self.taken.get() + here);
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..here)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_the_pace_of_the_slower_side() {
    const SIZE: usize = 48 << 20;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 50331648\r\n\r\n";
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write(head),
        Swallow(SIZE / 2),
        Flood(SIZE / 2),
        Swallow(SIZE / 2),
        Flood(SIZE / 2),
        Read(HEAD_END),
        Write(OK_HELLO),
    ]])
    .await;
    let pool = Pool::default();
    let taken = Rc::new(Cell::new(0));
    let mut body = Body::Streamed(Box::new(Zeros {
        piece: Bytes::from(vec![0; 50_000]),
        left: SIZE,
        taken: taken.clone(),
    }));
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert!(
        taken.get() < SIZE,
        "the request waits for the target to read it"
    );
    let mut body = response.into_body();
    assert_eq!(body.len(), Some(SIZE as u64));
    let (mut read, mut largest) = (0, 0);
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let data = frame.unwrap().into_data().unwrap();
        read += data.len();
        largest = largest.max(data.len());
    }
    assert_eq!((read, taken.get()), (SIZE, SIZE));
    assert!(largest <= 128 * 1024, "a frame of {largest} bytes");
    assert_eq!(pool.idle(), 1);
    assert_eq!(get(&pool, &target).await, "200 hello");
}

#[tokio::test]
async fn old_and_surplus_connections_are_closed() {
    let answers: &[Step] = &[Read(HEAD_END), Write(OK_HELLO)];
    let target = Target::play(&[answers, answers]).await;
    let pool = Pool::new(PoolLimits {
        idle_timeout: Duration::ZERO,
        idle_connections: 1,
    });
    let (mut one, mut two) = (Body::Empty, Body::Empty);
    let (one, two) = tokio::join!(
        send(&pool, &target, Method::GET, &mut one),
        send(&pool, &target, Method::GET, &mut two),
    );
    assert_eq!((one.is_ok(), two.is_ok(), pool.idle()), (true, true, 1));
    assert!(pool.take(&target.origin).is_none());
    assert_eq!(pool.idle(), 0);
    assert_eq!(target.playing.await.unwrap(), [GET, GET]);
}

#[tokio::test]
async fn a_timer_kept_from_an_earlier_exchange_tells_the_right_time() {
    let target = Target::play(&[&[
        Read(HEAD_END),
        Dribble(OK_HELLO),
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\n"),
    ]])
    .await;
    let pool = Pool::default();
    let long = get(&pool, &target).await;
    assert_eq!(long, "200 hello");
    let started = Instant::now();
    let brief = Timeouts {
        read: Duration::from_millis(30),
        ..short()
    };
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, brief).await;
    assert_eq!(
        text(&sent.unwrap_err(), &target),
        "T: waiting for the response: timed out"
    );
    let took = started.elapsed();
    assert!(took >= brief.read && took < short().read, "{took:?}");
}

#[test]
fn any_answer_is_taken_without_panic_and_leaves_no_bytes_behind() {
    use proptest::prelude::*;

    let parts = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.0 200\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "\n",
        "\0",
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    };
    proptest!(config, |(rest in prop::collection::vec(parts, 0..8))| {
        runtime.block_on(async {
            let mut steps = vec![Read(HEAD_END), Write("HTTP/1.1 200 OK\r\n")];
            steps.extend(rest.iter().map(|part| Write(part)));
            steps.push(Close);
            let target = Target::play(&[&steps]).await;
            let pool = Pool::default();
            let told = get(&pool, &target).await;
            if told.starts_with("200 ") && pool.idle() == 1 {
                prop_assert!(["200 ", "200 abc", "200 abcabc"].contains(&&*told), "{}", told);
            }
            Ok(())
        })?;
    });
}
