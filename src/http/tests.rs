//! What becomes of hostile requests: hyper's own parser and [`super::police`] together, over a real socket.
//!
//! These cases hold the division of labour in place: when a new hyper lets through what it used to refuse, one fails.

use std::convert::Infallible;

use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Body, NormalPath, police};

/// Answers with the normal path and the body's bytes, or with the refusal.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let must_close = police::must_close(&head.headers);
    let (status, text) = match judge(&head) {
        Err(refusal) => refusal,
        Ok(path) => match Body::incoming(body).collect(10).await {
            Ok(body) => (StatusCode::OK, format!("{} {:?}", path.as_str(), String::from_utf8_lossy(&body))),
            Err(error) => (error.status(), error.to_string()),
        },
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    if must_close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn judge(head: &http::request::Parts) -> Result<NormalPath, (StatusCode, String)> {
    police::check(head).map_err(|refusal| (refusal.status, refusal.to_string()))?;
    NormalPath::parse(&head.uri).map_err(|bad| (StatusCode::BAD_REQUEST, bad.to_string()))
}

/// Sends the bytes over one connection; tells the statuses and bodies of all answers.
async fn told(request: &str) -> String {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let serving = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service_fn(answer));
    let asking = async {
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        answers
    };
    // A connection that ends in an error is part of the game.
    let (_, answers) = tokio::join!(serving, asking);
    let mut told = Vec::new();
    for answer in answers.split("HTTP/1.").filter(|answer| !answer.is_empty()) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        told.push(format!("{} {body}", &head[2..5]).trim_end().to_owned());
    }
    told.join(" | ")
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
        // hyper cuts a fragment off before anyone sees it: the path that is matched is still the one forwarded.
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200 /a \"\""),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the character '\\\\'"),
        ("GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the dot segment `..;`"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 no host header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), "400 more than one host header"),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the path contains the dot segment `..`"),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400 the request target is not a path"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), "405 the method CONNECT is not allowed"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405 the method TRACE is not allowed"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n".to_owned(), "400"),
        (format!("{post}Content-Length: 3\r\n\r\nabc"), "200 / \"abc\""),
        (
            format!("{post}Content-Length: 3\r\n\r\nab"),
            "400 reading the request body: error reading a body from connection",
        ),
        (format!("{post}Content-Length: 11\r\n\r\n"), "413 the client body is longer than 10 bytes"),
        (format!("{post}Content-Length: +3\r\n\r\nabc"), "400"),
        (format!("{post}Content-Length: 3, 3\r\n\r\nabc"), "400"),
        (format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), "400"),
        (format!("{post}Content-Length: \r\n\r\nabc"), "400"),
        (format!("{post}Content_Length: 3\r\n\r\n"), "400 a framing header in another spelling"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "200 / \"abc\""),
        (
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "501 the transfer-encoding is not `chunked` alone",
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "501 the transfer-encoding is not `chunked` alone",
        ),
        (format!("{post}Transfer-Encoding: identity\r\n\r\n"), "400"),
        (format!("{post}Transfer-Encoding: xchunked\r\n\r\n"), "400"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "400"),
    ] {
        assert_eq!(told(&request).await, expected, "{request:?}");
    }
}

#[tokio::test]
async fn of_two_lengths_the_body_is_read_in_chunks_and_the_connection_closed() {
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(told(&format!("{both}{smuggled}")).await, "200 / \"\"");
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(told(&format!("{plain}{smuggled}")).await, "200 / \"\" | 200 /smuggled \"\"");
}
