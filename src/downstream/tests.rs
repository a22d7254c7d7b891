//! What becomes of requests on a connection: the parser, [`crate::http::police`] and the server together, over a pipe.

use super::*;
use crate::http::{NormalPath, police};
use http::{HeaderMap, Response, StatusCode};
use std::{cell::Cell, rc::Rc};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Answers with the normal path and the body's bytes, or with the refusal.
#[derive(Default)]
struct Told {
    cut: Cell<Option<Cut>>,
}

impl Service for Told {
    type Body = Body;

    async fn serve(&self, request: Request) -> Box<Response<Body>> {
        let Request { head, body, interim, upgrade: _ } = request;
        let (status, text) = match judge(&head) {
            Err(refusal) => refusal,
            Ok(path) if path.path() == "/unread" => (StatusCode::OK, "unread".to_owned()),
            Ok(path) if path.path() == "/long" => (StatusCode::OK, "x".repeat(100_000)),
            Ok(path) => {
                if let Some(interim) = interim.filter(|_| path.path() == "/hints") {
                    interim.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
                    interim.send(StatusCode::CONTINUE, &HeaderMap::new());
                }
                match body.collect(10).await {
                    Ok(body) => (StatusCode::OK, format!("{} {:?}", path.as_str(), String::from_utf8_lossy(&body))),
                    Err(error) => (error.status(), error.to_string()),
                }
            }
        };
        let mut response = Box::new(Response::new(Body::from(text)));
        *response.status_mut() = status;
        response
    }

    async fn refuse(&self, refusal: Refusal) -> Box<Response<Body>> {
        let mut response = Box::new(Response::new(Body::from(refusal.reason)));
        *response.status_mut() = refusal.status;
        response
    }

    fn cut_off(&self, _body: &mut Body, cut: Cut) {
        self.cut.set(Some(cut));
    }
}

fn judge(head: &Parts) -> Result<NormalPath, (StatusCode, String)> {
    police::check(head).map_err(|refusal| (refusal.status, refusal.to_string()))?;
    NormalPath::parse(&head.uri).map_err(|bad| (StatusCode::BAD_REQUEST, bad.to_string()))
}

const LIMITS: Limits = Limits {
    head: HeadLimits { bytes: 1000, fields: 20 },
    header_timeout: Duration::from_millis(100),
    idle_timeout: Duration::from_secs(75),
    min_body_rate: 240,
    write_timeout: Duration::from_millis(100),
};

async fn serving(service: &Told, stream: DuplexStream) -> io::Result<()> {
    serve(stream, service, LIMITS, Rc::default(), std::future::pending()).await
}

/// Sends the bytes over one connection, in pieces, and then no more; gives all that comes back.
async fn exchanged(pieces: &[&str]) -> String {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let asking = async {
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let service = Told::default();
    // A connection that ends in an error is part of the game.
    let (_, answers) = tokio::join!(serving(&service, server), asking);
    answers
}

/// The statuses and bodies of all answers.
fn short(answers: &str) -> String {
    let mut told = Vec::new();
    for answer in answers.split("HTTP/1.").filter(|answer| !answer.is_empty()) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let closes = if head.contains("\r\nconnection: close") { " close" } else { "" };
        told.push(format!("{} {body}{closes}", &head[2..5]).trim_end().to_owned());
    }
    told.join(" | ")
}

async fn told(request: &str) -> String {
    short(&exchanged(&[request]).await)
}

#[tokio::test]
async fn hostile_heads_are_refused() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (request, expected) in [
        ("GET /%41 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200 /A \"\""),
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200 /x \"\""),
        (
            "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "400 the host header does not match the request target",
        ),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the request target has a fragment close"),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the character '\\\\'"),
        ("GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the dot segment `..;`"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 no host header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), "400 more than one host header"),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the dot segment `..`"),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the request line is malformed close"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the request target is not a path"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), "405 the method CONNECT is not allowed"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405 the method TRACE is not allowed"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), "400 a header name is malformed close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n".to_owned(), "400 a header name is malformed close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n".to_owned(), "400 a header value is malformed close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n".to_owned(), "400 a header value is malformed close"),
        (format!("{post}Content-Length: 3\r\n\r\nabc"), "200 / \"abc\""),
        (
            format!("{post}Content-Length: 3\r\n\r\nab"),
            "400 reading the request body: the connection ended before the body did close",
        ),
        (format!("{post}Content-Length: 11\r\n\r\n"), "413 the client body is longer than 10 bytes"),
        (format!("{post}Content-Length: +3\r\n\r\nabc"), "400 the content-length is not one number close"),
        (format!("{post}Content-Length: 3, 3\r\n\r\nabc"), "400 the content-length is not one number close"),
        (
            format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
            "400 the content-length is not one number close",
        ),
        (format!("{post}Content-Length: \r\n\r\nabc"), "400 the content-length is not one number close"),
        (format!("{post}Content_Length: 3\r\n\r\n"), "400 a framing header in another spelling"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "200 / \"abc\""),
        (
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "501 the transfer-encoding is not `chunked` alone close",
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "501 the transfer-encoding is not `chunked` alone close",
        ),
        (
            format!("{post}Transfer-Encoding: identity\r\n\r\n"),
            "400 the transfer-encoding does not end in `chunked` close",
        ),
        (
            format!("{post}Transfer-Encoding: xchunked\r\n\r\n"),
            "400 the transfer-encoding does not end in `chunked` close",
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "400 transfer-encoding in http/1.0 close",
        ),
    ] {
        assert_eq!(told(&request).await, expected, "{request:?}");
    }
}

#[tokio::test]
async fn requests_are_answered_in_order_and_nothing_is_taken_behind_a_refusal() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let answers = told(&[&get("/a"), post, &get("/c")].concat()).await;
    assert_eq!(answers, "200 /a \"\" | 200 /b \"abc\" | 200 /c \"\"");
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(told(&[both, &get("/smuggled")].concat()).await, "400 both content-length and transfer-encoding close");
    let bad_chunk = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n";
    let expected = "400 reading the request body: malformed chunk size, at byte 0x0a close";
    assert_eq!(told(&[bad_chunk, &get("/smuggled")].concat()).await, expected);
}

#[tokio::test]
async fn bytes_that_come_one_by_one_are_the_same_request() {
    let request = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n";
    let pieces: Vec<&str> = (0..request.len()).map(|at| &request[at..=at]).collect();
    assert_eq!(short(&exchanged(&pieces).await), "200 /b \"abc\" | 200 /c \"\"");
}

#[tokio::test]
async fn the_end_of_the_connection_is_said_in_the_clients_words() {
    for (head, expected) in [
        ("GET / HTTP/1.0\r\n\r\n", "connection: close"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "connection: keep-alive"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "connection: close"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    ] {
        let answer = exchanged(&[head]).await;
        let said = answer.lines().find(|line| line.starts_with("connection")).unwrap_or_default();
        assert_eq!(said, expected, "{head:?}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_read_away_when_it_is_short() {
    let post =
        |length: usize, rest: &str| format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{rest}");
    let get = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(told(&[&post(3, "\r\nabc"), get].concat()).await, "200 unread | 200 /next \"\"");
    assert_eq!(told(&[&post(100_000, "\r\nabc"), get].concat()).await, "200 unread close");
    // It may or may not send it now.
    assert_eq!(told(&post(3, "Expect: 100-continue\r\n\r\n")).await, "200 unread close");
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_wanted() {
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let service = Told::default();
    let asking = async {
        client.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        client.read_exact(&mut interim).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"abc").await.unwrap();
        let mut answer = vec![0; 1024];
        let count = client.read(&mut answer).await.unwrap();
        drop(client);
        short(&String::from_utf8_lossy(&answer[..count]))
    };
    let (_, answer) = tokio::join!(serving(&service, server), asking);
    assert_eq!(answer, "200 /a \"abc\"");
}

#[tokio::test]
async fn interim_responses_go_before_the_answer_and_not_to_http_1_0() {
    let (new, old) = ("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n", "GET /hints HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(told(new).await, "103 | 200 /hints \"\"");
    assert_eq!(told(old).await, "200 /hints \"\" close");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_408() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let service = Told::default();
    let mut answer = String::new();
    let asking = async {
        client.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
        client.read_to_string(&mut answer).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let _ = tokio::join!(serving(&service, server), asking);
    assert_eq!(short(&answer), "408 the request head took too long close");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let (mut client, server) = tokio::io::duplex(1024);
    let service = Told::default();
    let asking = async {
        client.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = serving(&service, server) => ended,
        () = asking => Ok(()),
    };
    assert_eq!(ended.unwrap_err().to_string(), "the client took no byte for too long");
    assert_eq!(service.cut.get(), Some(Cut::Stalled));
}

#[tokio::test]
async fn draining_ends_what_is_idle_and_lets_an_exchange_be_the_last() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let service = Told::default();
    let (begin, began) = tokio::sync::oneshot::channel::<()>();
    let drain = async {
        let _ = began.await;
    };
    let asking = async {
        let mut answer = vec![0; 1024];
        client.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let count = client.read(&mut answer).await.unwrap();
        assert_eq!(short(&String::from_utf8_lossy(&answer[..count])), "200 /1 \"\"");
        begin.send(()).unwrap();
        client.read(&mut answer).await.unwrap()
    };
    let (ended, rest) = tokio::join!(serve(server, &service, LIMITS, Rc::default(), drain), asking);
    assert_eq!((ended.is_ok(), rest), (true, 0));
    // One that was accepted is served, and told.
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let mut answer = String::new();
    let asking = async {
        client.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        client.read_to_string(&mut answer).await.unwrap();
    };
    let _ = tokio::join!(serve(server, &service, LIMITS, Rc::default(), std::future::ready(())), asking);
    assert_eq!(short(&answer), "200 /1 \"\" close");
}
