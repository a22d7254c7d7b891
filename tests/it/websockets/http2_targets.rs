//! WebSockets to targets that speak HTTP/2, by an extended CONNECT of the gateway's own.

use super::{draining::open, extended_connect};
use crate::support::{
    Gateway, gateway,
    websocket::{TEXT, masked, read_frame},
};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, ext::Protocol, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, net::SocketAddr, thread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Opens what is asked for by an extended CONNECT, and gives each byte back.
async fn answer(mut request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    let said = format!("{} {} {protocol:?}", request.method(), request.uri().path());
    if request.method() != Method::CONNECT || request.uri().path() != "/chat" {
        let mut refusal = Response::new(Full::from(said));
        *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(refusal);
    }
    let key = request.headers().contains_key("sec-websocket-key");
    let version = request.headers().get("sec-websocket-version").cloned();
    let opened = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(opened.await.expect("a stream"));
        let said = format!("{said} key={key} {version:?}");
        stream.write_all(&crate::support::websocket::frame(TEXT, said)).await.expect("a write");
        let mut buffer = [0; 1000];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.expect("a write");
        }
    });
    Ok(Response::new(Full::default()))
}

/// A target; `announced`: whether it says that it takes an extended CONNECT.
fn target(announced: bool) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let mut builder = Builder::new(TokioExecutor::new());
                if announced {
                    builder.enable_connect_protocol();
                }
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        });
    });
    address
}

fn start(target: SocketAddr) -> Gateway {
    gateway("services: [{name: s, url: '${up}', protocol: h2c, routes: [{paths: [/]}]}]\nworkers: 1")
        .env("up", format!("http://{target}"))
        .start()
}

const SAID: &str = r#"CONNECT /chat Some("websocket") key=false Some("13")"#;

#[test]
fn a_client_of_http1_gets_its_101_and_the_proof() {
    let gateway = start(target(true));
    // The second one finds the connection that the first has made.
    for _ in 0..2 {
        let mut client = open(&gateway, "websocket");
        assert_eq!(read_frame(client.reader()), Some((TEXT, false, SAID.into())));
        client.write(&masked(TEXT, "hello"));
        assert_eq!(read_frame(client.reader()), Some((TEXT, true, b"hello".to_vec())));
    }
}

#[test]
fn a_client_of_http2_gets_its_200() {
    let gateway = start(target(true));
    let mut client = extended_connect::Client::connect(&gateway);
    let mut opened = client.open("websocket", &extended_connect::FIELDS);
    assert_eq!(opened.status, 200);
    assert!(!opened.headers.contains_key("sec-websocket-accept"), "{:?}", opened.headers);
    client.expect(&mut opened, &crate::support::websocket::frame(TEXT, SAID));
    opened.to.send_data(masked(TEXT, "hello").into(), true).expect("a write");
    client.expect(&mut opened, &masked(TEXT, "hello"));
    client.ends(&mut opened);
}

#[test]
fn a_target_that_takes_none_is_asked_without_and_its_answer_passed_on() {
    let gateway = start(target(false));
    let mut client = gateway.connect();
    client.write(&super::draining::handshake(&gateway, "websocket"));
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.text().as_str()), (426, "GET /chat None"));
}
