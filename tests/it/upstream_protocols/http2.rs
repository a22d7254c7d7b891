//! Targets that speak HTTP/2: hyper's own server, plain and over TLS, on a thread of its own.

use super::tls::{Authority, server};
use crate::support::{Gateway, Request, eventually, gateway, gateway::Given};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Barrier, Notify},
};

/// What the server's connections share.
struct State {
    connections: AtomicUsize,
    met: Barrier,
    dropped: Notify,
}

struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

type Said = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn frames(frames: Vec<Frame<Bytes>>) -> UnsyncBoxBody<Bytes, Infallible> {
    UnsyncBoxBody::new(StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok))))
}

fn text(text: String) -> Frame<Bytes> {
    Frame::data(text.into())
}

/// Tells when an exchange was given up.
struct GivenUp(Arc<State>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

async fn answer(state: Arc<State>, number: usize, request: http::Request<Incoming>) -> Result<Said, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    match path.as_str() {
        // The two answer when both are there.
        "/left" | "/right" => {
            state.met.wait().await;
        }
        "/never" => {
            let _given = GivenUp(state.clone());
            std::future::pending::<()>().await;
        }
        "/dropped" => state.dropped.notified().await,
        _ => {}
    }
    let te = head.headers.get("te").map_or("none", |te| te.to_str().unwrap_or("odd")).to_owned();
    let collected = body.collect().await.expect("a body");
    let sums = collected.trailers().and_then(|fields| fields.get("x-sum").cloned());
    let length = collected.to_bytes().len();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut said = vec![text(format!("{} {authority}{path} {length} te={te} on {number}", head.method))];
    if path == "/trailers" {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", HeaderValue::from_static("0"));
        fields.insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        fields.extend(sums.map(|sum| (http::HeaderName::from_static("x-sum"), sum)));
        said.push(Frame::trailers(fields));
    }
    let mut response = Response::new(frames(said));
    if path == "/trailers" {
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    }
    Ok(response)
}

async fn serve(state: Arc<State>, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, streams: u32) {
    let number = state.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let last = Arc::new(Notify::new());
    let told = last.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        if request.uri().path() == "/last" {
            told.notify_one();
        }
        answer(state.clone(), number, request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    let serving = builder.max_concurrent_streams(streams).serve_connection(TokioIo::new(io), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        // A GOAWAY, while the request that asked for it goes on.
        () = last.notified() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

fn start(tls: Option<Arc<rustls::ServerConfig>>, streams: u32) -> Server {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("its address");
    let met = Barrier::new(2);
    let state = Arc::new(State { connections: AtomicUsize::new(0), met, dropped: Notify::new() });
    let shared = state.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(state, stream, streams).await,
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                serve(state, stream, streams).await;
                            }
                        }
                    }
                });
            }
        });
    });
    Server { address, state }
}

fn given(server: &Server, scheme: &str, more: &str) -> Given {
    let url = format!("{scheme}://{}", server.address);
    gateway(&format!("workers: 1\nservices: [{{name: s, url: '{url}', protocol: {more}, routes: [{{paths: [/]}}]}}]"))
}

fn connections(server: &Server) -> usize {
    server.state.connections.load(Ordering::SeqCst)
}

fn both(gateway: &Gateway) -> Vec<String> {
    let address = gateway.address();
    let left = thread::spawn(move || crate::support::Client::connect(address).send(&Request::get("/left")).ok().text());
    let right = gateway.get("/right").ok().text();
    vec![left.join().expect("an answer"), right]
}

#[test]
fn checks_speak_http2_as_requests_do() {
    let server = start(None, 100);
    let yaml = format!(
        "admin: 127.0.0.1:0\nservices: [{{name: s, url: 'http://{}', protocol: h2c, health: {{path: /healthz, interval: 10ms}}}}]\n",
        server.address
    );
    assert_eq!(super::tls::checked(&gateway(&yaml).start()), "good");
}

#[test]
fn exchanges_share_a_connection_with_prior_knowledge() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "h2c").start();
    let address = server.address;
    for size in [0, 1, 300_000] {
        let answer = gateway.send(Request::post("/x", vec![b'x'; size]).header("te", "trailers")).ok();
        assert_eq!(answer.text(), format!("POST {address}/x {size} te=trailers on 1"));
    }
    assert_eq!(
        both(&gateway),
        [format!("GET {address}/left 0 te=none on 1"), format!("GET {address}/right 0 te=none on 1")]
    );
    assert_eq!(connections(&server), 1);
}

#[test]
fn over_tls_it_is_negotiated_or_refused() {
    let authority = Authority::new();
    let identity = authority.sign("127.0.0.1");
    let speaking = start(Some(server(&identity, None, "h2")), 100);
    let gateway = given(&speaking, "https", "h2, tls: {ca: ca.pem}").file("ca.pem", &authority.pem).start();
    assert_eq!(gateway.get("/x").ok().text(), format!("GET {}/x 0 te=none on 1", speaking.address));

    let mut silent = (*server(&identity, None, "h2")).clone();
    silent.alpn_protocols.clear();
    let other = start(Some(Arc::new(silent)), 100);
    let gateway = given(&other, "https", "grpcs, tls: {ca: ca.pem}").file("ca.pem", &authority.pem).start();
    gateway.get("/x").problem(502);
    gateway.log_contains("the target does not negotiate HTTP/2");
}

#[test]
fn when_all_streams_are_used_another_connection_is_made() {
    let server = start(None, 1);
    let gateway = given(&server, "http", "h2c").start();
    gateway.get("/x").ok();
    both(&gateway);
    assert_eq!(connections(&server), 2);
}

#[test]
fn a_connection_that_goes_away_is_replaced_and_no_request_fails() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "grpc").start();
    for round in 1..=3 {
        let answer = gateway.get("/last").ok().text();
        assert!(answer.ends_with(&format!("on {round}")), "{answer}");
        // It goes in two steps (RFC 9113 §6.8): until the second one new streams are welcome.
        let next = format!("on {}", round + 1);
        eventually("another connection", || gateway.get("/x").ok().text().ends_with(&next).then_some(()));
    }
}

#[test]
fn an_exchange_that_takes_too_long_is_reset_alone() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "h2c, read_timeout: 200ms").start();
    assert_eq!(gateway.get("/never").problem(504), "the upstream service did not answer in time");
    // Answers only once the stream of the other was reset.
    assert!(gateway.get("/dropped").ok().text().ends_with("on 1"));
}

/// The rest of a chunked answer, framing and all.
fn rest(client: &mut crate::support::Client) -> String {
    let mut lines = String::new();
    let mut byte = [0];
    while !lines.ends_with("\r\n\r\n") {
        std::io::Read::read_exact(client.reader(), &mut byte).expect("a byte");
        lines.push(char::from(byte[0]));
    }
    lines
}

const CALL: &str = "POST /trailers HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
                    Trailer: x-sum, authorization, x-user-id\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\nx-user-id: eve\r\n\
                    authorization: x\r\n\r\n";

#[test]
fn trailers_pass_both_ways_without_what_decides_something() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "grpc").start();
    let mut client = gateway.connect();
    client.write(CALL.as_bytes());
    let (status, headers) = client.read_head();
    assert_eq!((status, headers.get("transfer-encoding")), (200, Some("chunked")));
    let body = rest(&mut client);
    assert!(body.contains("te=trailers"), "{body}");
    let fields = body.split_once("\r\n0\r\n").expect("a last chunk").1;
    // Of those that nobody announced, hyper sends none.
    assert_eq!(fields, "grpc-status: 0\r\n\r\n");
}

#[test]
fn a_call_that_fails_is_answered_by_a_grpc_status() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "h2c, read_timeout: 100ms").start();
    let call = Request::post("/never", "x").header("content-type", "application/grpc").header("te", "trailers");
    let answer = gateway.send(call).ok();
    assert_eq!(answer.header("grpc-status"), Some("4"));
    assert_eq!(answer.header("grpc-message"), Some("the upstream service did not answer in time"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.body, b"");
}

/// Over HTTP/2 on both sides nothing is chunked.
#[test]
fn trailers_of_a_request_pass_from_one_http2_to_the_other() {
    let server = start(None, 100);
    let gateway = given(&server, "http", "grpc").start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = gateway.address();
    let trailers = runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{address}/trailers"));
        let request = request.header("trailer", "x-sum, authorization").header("te", "trailers");
        let (answer, mut body) = sender.send_request(request.body(()).expect("a request"), false).expect("a stream");
        body.send_data(Bytes::from_static(b"abc"), false).expect("data");
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", HeaderValue::from_static("6"));
        fields.insert("authorization", HeaderValue::from_static("eve"));
        body.send_trailers(fields).expect("trailers");
        let mut answer = answer.await.expect("an answer").into_body();
        while let Some(data) = answer.data().await {
            let length = data.expect("data").len();
            answer.flow_control().release_capacity(length).expect("a window");
        }
        answer.trailers().await.expect("trailers").expect("some")
    });
    // The target gives back the one that it got.
    assert_eq!(trailers["x-sum"], "6");
    assert_eq!(trailers["grpc-status"], "0");
}
