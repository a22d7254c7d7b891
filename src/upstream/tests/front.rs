//! The client behind hyper's server, as the gateway uses it: what a browser sees, and what becomes of a target's
//! connection when the browser goes away.

use std::convert::Infallible;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::http::{BodyError, hop, received::Received};

/// Forwards one request; answers an error with its status and text.
async fn forward(
    request: http::Request<Incoming>,
    pool: Pool,
    origin: Arc<Origin>,
) -> Result<Response<Body>, Infallible> {
    let (mut head, body) = request.into_parts();
    hop::strip_request(&mut head.headers);
    let request = Request {
        origin: &origin,
        method: &head.method,
        target: head.uri.path(),
        host: head.headers.get(http::header::HOST),
        headers: &head.headers,
        upgrade: None,
        interim: None,
        body: &mut Body::incoming(Received::Http2(Box::new(body.map_err(|error| BodyError::Client(error.into()))))),
    };
    Ok(match pool.send(request, &short()).await {
        Ok(mut response) => {
            hop::strip_response(response.headers_mut());
            response
        }
        Err(error) => {
            let mut response = Response::new(Body::from(error.kind.to_string()));
            *response.status_mut() = error.status();
            response
        }
    })
}

/// Serves one client connection until both sides are done with it.
async fn serve(stream: DuplexStream, pool: Pool, origin: Arc<Origin>) {
    let service = service_fn(move |request| forward(request, pool.clone(), origin.clone()));
    let _ = http1::Builder::new()
        .half_close(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Sends the bytes as a client does; gives all that came back.
async fn told(pool: &Pool, target: &Target, request: &str) -> String {
    let (mut client, stream) = duplex(64 * 1024);
    let asking = async {
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let serving = serve(stream, pool.clone(), target.origin.clone());
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn responses_keep_their_framing_on_the_way() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (method, response, expected) in [
        ("GET", OK_HELLO, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", chunked, "HTTP/1.1 200 OK\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-a\r\nX-A: 1\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 52\r\n\r\nthe response content-length `5, 6` is not one number",
        ),
    ] {
        let target = Target::play(&[&[Read(HEAD_END), Write(response)]]).await;
        let pool = Pool::default();
        let request = format!("{method} /x HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(told(&pool, &target, &request).await, expected, "{response}");
    }
}

#[tokio::test]
async fn requests_keep_their_framing_on_the_way() {
    for (request, end, expected) in [
        ("content-length: 3\r\n\r\nabc", "abc", "content-length: 3\r\n\r\nabc"),
        (
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
            "0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        ("content-length: 0\r\n\r\n", HEAD_END, "content-length: 0\r\n\r\n"),
        ("\r\n", HEAD_END, "content-length: 0\r\n\r\n"),
        (
            "connection: close, x-a\r\nx-a: 1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
            "abc",
            "content-length: 3\r\n\r\nabc",
        ),
    ] {
        let target = Target::play(&[&[Read(end), Write(OK_HELLO)]]).await;
        let pool = Pool::default();
        let start = "POST /x HTTP/1.1\r\nhost: t\r\n";
        let answer = told(&pool, &target, &format!("{start}{request}")).await;
        assert!(answer.contains("200 OK"), "{answer}");
        let received = target.received(pool).await;
        assert_eq!(received, [format!("{start}{expected}")], "{request}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_target_s_connection_with_it() {
    // While it uploads, while it waits, and while it downloads.
    let partial = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
    for (request, steps, answered) in [
        ("POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\nabc", &[Read("abc")][..], ""),
        ("GET /x HTTP/1.1\r\nhost: t\r\n\r\n", &[Read(HEAD_END)], ""),
        ("GET /x HTTP/1.1\r\nhost: t\r\n\r\n", &[Read(HEAD_END), Write(partial)], "hel"),
    ] {
        let target = Target::play(&[steps]).await;
        let pool = Pool::default();
        let (mut client, stream) = duplex(64 * 1024);
        let origin = target.origin.clone();
        let mut played = target.played.clone();
        let asking = async {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(answered.as_bytes()) {
                client.read_buf(&mut answer).await.unwrap();
            }
            if answered.is_empty() {
                // The target has it all before the client goes.
                played.wait_for(|count| *count == 1).await.unwrap();
            }
            drop(client);
        };
        let service = service_fn(|request| forward(request, pool.clone(), origin.clone()));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let (_, ()) = tokio::join!(serving, asking);
        // Ends only when the target's connection does.
        assert_eq!(target.playing.await.unwrap().len(), 1, "{request}");
        assert_eq!(pool.idle(), 0);
    }
}
