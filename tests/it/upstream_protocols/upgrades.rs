//! Connections that switch protocols: WebSockets through a tunnel that opens with the target's 101 and not before.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply, wire};
use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
};

const YAML: &str = "services: [{name: s, url: '${up}', read_timeout: TIMEOUT, routes: [{paths: [/]}]}]\nworkers: 1";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

/// A short text frame of the server (RFC 6455 §5.2).
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, text.len() as u8];
    frame.extend(text.as_bytes());
    frame
}

/// The same, masked as a client must.
fn masked(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn read_frame(input: &mut impl Read) -> Option<String> {
    let mut head = [0; 2];
    input.read_exact(&mut head).ok()?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        input.read_exact(&mut mask).ok()?;
    }
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    input.read_exact(&mut text).ok()?;
    let text = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some(String::from_utf8(text).expect("text"))
}

/// Greets in the same write as its 101, then answers each frame until the client goes.
fn talkative() -> Upstream {
    Upstream::raw(|stream: TcpStream| {
        let mut input = BufReader::new(stream);
        let Ok(Some((request, _))) = wire::read_request_head(&mut input) else { return };
        assert_eq!(request.header("connection"), Some("upgrade"));
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("sec-websocket-key"), Some(KEY));
        assert!(input.buffer().is_empty(), "nothing may come before the 101");
        let head = format!("{SWITCHING}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        input.get_mut().write_all(&[head.as_bytes(), &frame("welcome")].concat()).expect("a write");
        while let Some(text) = read_frame(&mut input) {
            input.get_mut().write_all(&frame(&format!("{} {text}", request.target))).expect("a write");
        }
    })
}

fn start(upstream: &Upstream, timeout: &str) -> Gateway {
    gateway(&YAML.replace("TIMEOUT", timeout)).url("up", upstream).start()
}

fn handshake(gateway: &Gateway) -> Vec<u8> {
    let host = gateway.address();
    format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

fn switched(client: &mut Client) {
    let (status, headers) = client.read_head();
    assert_eq!(status, 101, "{headers:?}");
    assert_eq!(headers.get("connection"), Some("upgrade"));
    assert_eq!(headers.get("upgrade"), Some("websocket"));
    assert_eq!(headers.get("sec-websocket-accept"), Some(ACCEPT));
}

#[test]
fn frames_pass_both_ways_after_the_101_and_none_is_lost_around_it() {
    let upstream = talkative();
    let gateway = start(&upstream, "60s");
    let mut client = gateway.connect();
    // A client may not do this, and what it says must still come after the 101.
    client.write(&[handshake(&gateway), masked("early")].concat());
    switched(&mut client);
    assert_eq!(read_frame(client.reader()).as_deref(), Some("welcome"));
    assert_eq!(read_frame(client.reader()).as_deref(), Some("/chat early"));
    client.write(&masked("hello"));
    assert_eq!(read_frame(client.reader()).as_deref(), Some("/chat hello"));
}

#[test]
fn a_tunnel_is_one_of_the_connections_that_a_client_may_have() {
    let upstream = talkative();
    let limits = "\nlimits: {max_connections: 1}";
    let gateway = gateway(&format!("{}{limits}", YAML.replace("TIMEOUT", "60s"))).url("up", &upstream).start();
    let mut tunnel = gateway.connect();
    tunnel.write(&handshake(&gateway));
    switched(&mut tunnel);
    assert_eq!(read_frame(tunnel.reader()).as_deref(), Some("welcome"));
    // Refused by the gateway itself, if it gets an answer at all.
    let another = || gateway.connect().try_send(&Request::get("/%2f"));
    assert!(another().is_err());
    tunnel.write(&masked("still here"));
    assert_eq!(read_frame(tunnel.reader()).as_deref(), Some("/chat still here"));
    drop(tunnel);
    eventually("its place", || another().ok());
}

#[test]
fn another_answer_than_101_is_an_ordinary_one_and_the_connection_goes_on() {
    let upstream = Upstream::start(|request| reply(426, request.header("upgrade").unwrap_or("none").to_owned()));
    let gateway = start(&upstream, "60s");
    let mut client = gateway.connect();
    client.write(&handshake(&gateway));
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.text().as_str()), (426, "websocket"));
    assert_eq!(client.send(&Request::get("/")).text(), "none");
}

#[test]
fn a_101_that_nobody_asked_for_and_a_switch_to_http_do_not_pass() {
    let upstream = Upstream::raw(|mut stream| {
        let mut input = BufReader::new(stream.try_clone().expect("a socket"));
        let Ok(Some((request, _))) = wire::read_request_head(&mut input) else { return };
        assert_eq!(request.header("upgrade"), None);
        let _ = stream.write_all(format!("{SWITCHING}\r\n").as_bytes());
    });
    let gateway = start(&upstream, "60s");
    let smuggle = Request::get("/").header("connection", "upgrade, http2-settings").header("upgrade", "h2c");
    gateway.send(smuggle).problem(502);
    gateway.log_contains("the response switches protocols unasked");
}

#[test]
fn a_silent_tunnel_ends_after_the_read_timeout() {
    let upstream = talkative();
    let gateway = start(&upstream, "100ms");
    let mut client = gateway.connect();
    client.write(&handshake(&gateway));
    switched(&mut client);
    assert_eq!(read_frame(client.reader()).as_deref(), Some("welcome"));
    assert!(client.is_closed());
}
