//! HTTP/1.1 towards clients: framing, keeping connections, pipelining, interim answers, and HTTP/1.0.

use crate::support::{Client, Gateway, Upstream, gateway, reply};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

const ROUTES: &str = "services: [{name: s, url: '${s}', routes: [{name: r, paths: [/], strip_path: false}]}]";

fn before(upstream: &Upstream) -> Gateway {
    gateway(ROUTES).url("s", upstream).start()
}

/// All bytes that come back for these, on a connection that then ends.
fn exchanged(gateway: &Gateway, request: &str) -> String {
    let mut client = gateway.connect();
    client.write(request.as_bytes());
    let mut all = String::new();
    client.reader().read_to_string(&mut all).expect("an end");
    all
}

/// Reads a request's head away.
fn read_head(stream: &TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::echo("it");
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let all: String =
        (0..5).map(|nth| format!("POST /{nth} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab")).collect();
    client.write(all.as_bytes());
    for nth in 0..5 {
        assert_eq!(client.read_answer().ok().text(), format!("it POST /{nth}"));
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_the_same() {
    let upstream = Upstream::echo("it");
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    for request in [
        "\r\nPOST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        "POST /2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    ] {
        request.bytes().for_each(|byte| client.write(&[byte]));
        client.read_answer().ok();
    }
    let bodies: Vec<String> = upstream.requests().iter().map(|request| request.text()).collect();
    assert_eq!(bodies, ["abc", "abc"]);
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/204" => reply(204, ""),
        "/304" => reply(304, "").header("etag", "x"),
        _ => reply(200, "hello"),
    });
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    for (head, status, length) in [
        ("HEAD / HTTP/1.1", 200, Some("5")),
        ("GET /204 HTTP/1.1", 204, None),
        ("HEAD /204 HTTP/1.1", 204, None),
        ("GET /304 HTTP/1.1", 304, None),
        ("GET / HTTP/1.1", 200, Some("5")),
    ] {
        client.write(format!("{head}\r\nhost: a\r\n\r\n").as_bytes());
        let (found, headers) = client.read_head();
        assert_eq!(
            (found, headers.get("content-length"), headers.get("transfer-encoding")),
            (status, length, None),
            "{head}"
        );
        assert!(headers.get("date").is_some_and(|date| date.ends_with(" GMT")), "{headers:?}");
    }
    let mut body = [0; 5];
    client.reader().read_exact(&mut body).expect("the last one's body");
    assert_eq!(&body, b"hello");
}

#[test]
fn http_1_0_gets_what_it_understands() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/chunked" => reply(200, "in pieces".repeat(5000)).chunked(),
        _ => reply(200, "hello"),
    });
    let gateway = before(&upstream);
    // A body without a length ends with the connection, whatever the client would like.
    for keep in ["", "connection: keep-alive\r\n"] {
        let answer = exchanged(&gateway, &format!("GET /chunked HTTP/1.0\r\nhost: a\r\n{keep}\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.ends_with("\r\nconnection: close") && !head.contains("chunked"), "{head}");
        assert_eq!(body, "in pieces".repeat(5000));
    }
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.write(b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
        let answer = client.read_answer().ok();
        assert_eq!((answer.header("connection"), answer.text().as_str()), (Some("keep-alive"), "hello"));
    }
}

#[test]
fn the_client_may_close() {
    let upstream = Upstream::echo("it");
    let answer = exchanged(&before(&upstream), "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("it GET /"), "{answer}");
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    let upstream = Upstream::echo("it");
    let yaml = format!("{ROUTES}\nroutes: [{{name: no, paths: [/no], plugins: [{{script: no.lua}}]}}]");
    let no = "return { handle = function() return reply.text(403, 'no') end }";
    let gateway = gateway(&yaml).url("s", &upstream).file("no.lua", no).start();
    let head =
        |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
    let mut client = gateway.connect();
    client.write(head("/yes").as_bytes());
    let mut interim = [0; 25];
    client.reader().read_exact(&mut interim).expect("an interim answer");
    assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write(b"abc");
    assert_eq!(client.read_answer().ok().text(), "it POST /yes");
    assert_eq!(upstream.request().text(), "abc");
    // Nobody knows whether the body comes now.
    let answer = exchanged(&gateway, &head("/no"));
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[test]
fn early_answers_reach_clients_that_still_send() {
    let upstream = Upstream::echo("it");
    let yaml = format!("{ROUTES}\nroutes: [{{name: no, paths: [/no], plugins: [{{script: no.lua}}]}}]");
    let no = "return { handle = function() return reply.text(403, 'no') end }";
    let gateway = gateway(&yaml).url("s", &upstream).file("no.lua", no).start();
    // A short rest is read away.
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.write(b"POST /no HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
        assert_eq!(client.read_answer().text(), "no");
        client.write(&[b'x'; 1000]);
    }
    // A long one is not; but the answer is there, and no reset before it.
    let mut client = gateway.connect();
    client.write(b"POST /no HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n");
    client.write(&[b'x'; 400_000]);
    let answer = client.read_answer();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("no", Some("close")));
    assert!(client.is_closed());
}

#[test]
fn interim_answers_of_targets_pass() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::raw(move |mut stream: TcpStream| {
        read_head(&stream);
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
        let _ = stream.write_all(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}").as_bytes());
        let _ = wait.lock().expect("one at a time").recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    });
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    // The hints are there before the answer is.
    let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let mut hints = vec![0; expected.len()];
    client.reader().read_exact(&mut hints).expect("the hints");
    assert_eq!(String::from_utf8_lossy(&hints), expected);
    go_on.send(()).expect("the upstream waits");
    let mut answer = String::new();
    client.reader().read_to_string(&mut answer).expect("an end");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    go_on.send(()).expect("the upstream waits");
    let answer = exchanged(&gateway, "GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_body_that_breaks_off_is_no_whole_body() {
    let upstream = Upstream::raw(|mut stream: TcpStream| {
        read_head(&stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    });
    let answer = exchanged(&before(&upstream), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.ends_with("3\r\nabc\r\n"), "{answer}");
}

#[test]
fn draining_closes_idle_connections_and_lets_an_exchange_be_the_last() {
    let (go_on, wait) = mpsc::channel::<()>();
    let (arrived, arrives) = mpsc::channel::<()>();
    let both = Mutex::new((arrived, wait));
    let upstream = Upstream::start(move |request| {
        if request.target == "/late" {
            let (arrived, wait) = &*both.lock().expect("one at a time");
            let _ = arrived.send(());
            let _ = wait.recv();
        }
        reply(200, "done")
    });
    let mut gateway = before(&upstream);
    let connect = || -> Client {
        let mut client = gateway.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.read_answer().ok();
        client
    };
    let (mut idle, mut busy) = (connect(), connect());
    busy.write(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n");
    arrives.recv().expect("the late request");
    gateway.signal("TERM");
    assert!(idle.is_closed());
    go_on.send(()).expect("the upstream waits");
    let answer = busy.read_answer().ok();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("done", Some("close")));
    assert!(busy.is_closed());
    assert_eq!(gateway.ended(), Some(0));
}
