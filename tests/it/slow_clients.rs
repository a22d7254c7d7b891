//! Clients that take their time: with a head, between requests, with a body, and with an answer.

use crate::support::{
    Client, Gateway, Upstream, eventually,
    frames::{
        DATA, END_HEADERS, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, connect, frame, get, read_frame,
        try_read_frame,
    },
    gateway, reply,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

fn before(upstream: &Upstream, limits: &str) -> Gateway {
    let yaml = format!(
        "access_log: stdout\nlimits: {{{limits}}}\nservices: [{{name: s, url: '${{s}}', routes: [{{name: r, paths: [/]}}]}}]"
    );
    gateway(&yaml).url("s", upstream).start()
}

fn line(gateway: &Gateway, text: &str) -> Value {
    serde_json::from_str(&gateway.output.contains(text)).expect("a line")
}

#[test]
fn half_of_a_head_is_408_in_time() {
    let gateway = before(&Upstream::dead(), "header_timeout: 300ms");
    // The first head of a connection, and a later one.
    for earlier in ["", "GET /\\ HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut client = gateway.connect();
        if !earlier.is_empty() {
            client.write(earlier.as_bytes());
            client.read_answer().problem(400);
        }
        let began = Instant::now();
        client.write(b"GET / HTTP/1.1\r\nhost");
        let answer = client.read_answer();
        assert_eq!(answer.problem(408), "the request head took too long");
        assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(5));
        assert!(client.is_closed());
        let logged = line(&gateway, answer.header("x-request-id").expect("an id"));
        assert_eq!((&logged["status"], &logged["method"]), (&json!(408), &json!("-")));
    }
}

#[test]
fn a_head_that_never_ends_is_408_however_its_bytes_come() {
    let gateway = before(&Upstream::dead(), "header_timeout: 300ms");
    let stream = TcpStream::connect(gateway.address()).expect("a connection");
    let mut writing = stream.try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        let _ = writing.write_all(b"GET / HTTP/1.1\r\n");
        // A byte often enough for a timeout between two reads, until the gateway has had enough.
        for _ in 0..3000 {
            if writing.write_all(b"x").is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let mut answer = String::new();
    let mut reading = stream;
    let _ = reading.read_to_string(&mut answer);
    let _ = reading.shutdown(Shutdown::Both);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    writer.join().expect("the writer");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let upstream = Upstream::echo("it");
    let gateway = before(&upstream, "idle_timeout: 300ms");
    let mut client = gateway.connect();
    let began = Instant::now();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_answer().ok();
    assert!(client.is_closed());
    let took = began.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn a_body_that_comes_too_slowly_is_408() {
    let upstream = Upstream::echo("it");
    let gateway = before(&upstream, "min_body_rate: 1MiB");
    let mut client = gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab");
    let answer = client.read_answer();
    assert_eq!(answer.problem(408), "the request body could not be read");
    assert!(client.is_closed());
    assert_eq!(line(&gateway, answer.header("x-request-id").expect("an id"))["flags"], json!(["client"]));
}

/// Much more than the buffers of both sockets take.
#[test]
fn a_client_that_takes_nothing_is_cut_off_and_logged_so() {
    let upstream = Upstream::start(|_| reply(200, vec![b'x'; 32 << 20]));
    let gateway = before(&upstream, "write_timeout: 300ms");
    let mut client = Client::connect(gateway.address());
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: stalled\r\n\r\n");
    let logged = line(&gateway, "stalled");
    assert_eq!((&logged["status"], &logged["flags"]), (&json!(499), &json!(["write_timeout", "client_closed"])));
    // One that only takes its time is not.
    let mut client = Client::connect(gateway.address());
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: slow\r\nconnection: close\r\n\r\n");
    let mut all = 0;
    let mut piece = vec![0; 1 << 20];
    eventually("the end of the body", || match client.reader().read(&mut piece) {
        Ok(0) => Some(()),
        Ok(count) => {
            all += count;
            None
        }
        Err(error) => panic!("{error} after {all} bytes"),
    });
    assert!(all > 32 << 20, "{all}");
    assert_eq!(line(&gateway, "slow")["status"], 200);
}

/// A connection of HTTP/2 on which this much of a stream may be on its way to the client.
fn over_http2(gateway: &Gateway, window: u32, frames: &[u8]) -> TcpStream {
    let mut stream = connect(gateway.address());
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
    let settings = frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
    stream.write_all(&[&PREFACE[..], &settings, frames].concat()).expect("a write");
    stream
}

#[test]
fn a_body_that_comes_too_slowly_over_http2_is_408_and_a_call_of_grpc_is_not() {
    let upstream = Upstream::echo("it");
    let gateway = before(&upstream, "min_body_rate: 1MiB");
    // By HPACK's static table: POST, http, and `/`; the others are literals.
    let call = [&[0, 12][..], b"content-type", &[16], b"application/grpc"].concat();
    let post = [&[0x83, 0x86, 0x84, 0x01, 1], &b"a"[..]].concat();
    let begin = |stream: u32, more: &[u8]| {
        let head = frame(HEADERS, END_HEADERS, stream, &[&post, more].concat());
        [head, frame(DATA, 0, stream, b"ab")].concat()
    };
    let mut client = over_http2(&gateway, 65_535, &[begin(1, &call), begin(3, b"")].concat());
    loop {
        let (kind, _, stream, _) = read_frame(&mut client);
        if kind == HEADERS {
            assert_eq!(stream, 3);
            break;
        }
    }
    assert_eq!(line(&gateway, "\"status\":408")["flags"], json!(["client"]));
}

#[test]
fn a_client_of_http2_that_takes_nothing_is_cut_off_and_logged_so() {
    let upstream = Upstream::start(|_| reply(200, vec![b'x'; 1 << 20]));
    let gateway = before(&upstream, "write_timeout: 300ms");
    let mut client = over_http2(&gateway, 1000, &get(1, "/stalled"));
    let mut taken = 0;
    loop {
        match read_frame(&mut client) {
            (DATA, _, 1, payload) => taken += payload.len(),
            (RST_STREAM, _, 1, _) => break,
            _ => {}
        }
    }
    assert_eq!(taken, 1000);
    let logged = line(&gateway, "/stalled");
    assert_eq!((&logged["status"], &logged["flags"]), (&json!(499), &json!(["write_timeout", "client_closed"])));
    // It is the stream's end, and not the connection's.
    client.write_all(&get(3, "/small\\")).expect("a write");
    while read_frame(&mut client).2 != 3 {}
}

#[test]
fn an_idle_connection_of_http2_is_told_to_go_away() {
    let upstream = Upstream::start(|_| reply(200, "late").after(Duration::from_millis(600)));
    let gateway = before(&upstream, "idle_timeout: 300ms");
    let mut client = over_http2(&gateway, 65_535, &get(1, "/"));
    // Not while it waits for an answer.
    let mut answered = false;
    let began = Instant::now();
    while let Ok((kind, _, stream, _)) = try_read_frame(&mut client) {
        answered |= kind == HEADERS && stream == 1;
        if kind == GOAWAY {
            break;
        }
    }
    assert!(answered && began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}
