//! A client that leaves takes with it what was done for it: the call to the service, and the script that waits for one.

use crate::support::{
    Gateway, Upstream, eventually,
    frames::{DATA, END_HEADERS, HEADERS, PREFACE, RST_STREAM, SETTINGS, connect, frame, get},
    gateway,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
};

const YAML: &str = "
workers: 1
access_log: {file: access.log, fields: [path, status, flags]}
services:
  - {name: slow, url: '${slow}', routes: [{name: plain, paths: [/plain]}]}
routes:
  - {name: lua, paths: [/lua], plugins: [{script: wait.lua}]}
  - {name: rhai, paths: [/rhai], plugins: [{script: wait.rhai}]}
";

/// Takes a request and answers nothing; tells when one has come and when its connection has ended.
fn silent() -> (Upstream, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::raw(move |mut stream| {
        let mut piece = [0; 4096];
        let _ = stream.read(&mut piece);
        let _ = tell.send("asked");
        while let Ok(1..) = stream.read(&mut piece) {}
        let _ = tell.send("left alone");
    });
    (upstream, told)
}

fn before(upstream: &Upstream) -> Gateway {
    gateway(YAML)
        .url("slow", upstream)
        .file("wait.lua", "return { handle = function() http.get('svc://slow/') return reply.text(200, 'late') end }")
        .file("wait.rhai", "fn handle(req, ctx) { http::get(\"svc://slow/\"); reply::text(200, \"late\") }")
        .start()
}

type Ask = fn(&Gateway, &str) -> TcpStream;
type Leave = fn(TcpStream);

/// How a client asks for a path, and how it leaves.
const WAYS: &[(&str, Ask, Leave)] = &[
    ("http/1.1, closed", over_http1, drop),
    ("http/1.1, half closed", over_http1, |stream| stream.shutdown(Shutdown::Write).expect("a shutdown")),
    ("http/2, closed", over_http2, drop),
    ("http/2, reset", over_http2, |mut stream| {
        stream.write_all(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).expect("a write");
        // Open until the test ends, so that it is the stream's end and not the connection's.
        std::mem::forget(stream);
    }),
];

fn over_http1(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = connect(gateway.address());
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n").as_bytes()).expect("a write");
    stream
}

fn over_http2(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = connect(gateway.address());
    stream.write_all(&[&PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &get(1, path)].concat()).expect("a write");
    stream
}

fn lines(gateway: &Gateway, count: usize) -> Vec<serde_json::Value> {
    let log = gateway.files.path("access.log");
    eventually("a line for each", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() == count).then_some(lines)
    })
}

#[test]
fn what_was_done_for_it_ends_and_is_logged_as_499() {
    let (upstream, told) = silent();
    let gateway = before(&upstream);
    let mut expected = Vec::new();
    for (way, ask, leave) in WAYS {
        for path in ["/plain", "/lua", "/rhai"] {
            let stream = ask(&gateway, path);
            assert_eq!(told.recv().expect("the service"), "asked", "{way} {path}");
            leave(stream);
            assert_eq!(told.recv().expect("the service"), "left alone", "{way} {path}");
            expected.push(serde_json::json!({"path": path, "status": 499, "flags": ["client_closed"]}));
        }
    }
    assert_eq!(lines(&gateway, expected.len()), expected);
}

#[test]
fn one_that_leaves_in_the_middle_of_its_request_is_a_499_too() {
    let (upstream, told) = silent();
    let gateway = before(&upstream);
    let http1 = b"POST /plain HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    // By HPACK's static table: POST and http; the path and the authority are literals.
    let head = [&[0x83, 0x86, 0x04, 6], &b"/plain"[..], &[0x01, 1], b"a"].concat();
    let http2 = [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(DATA, 0, 1, b"half"),
    ];
    let http2 = http2.concat();
    let ways = [(&http1, &[][..]), (&http2, &[][..]), (&http2, &frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()))];
    for (request, last) in ways {
        let mut stream = connect(gateway.address());
        stream.write_all(request).expect("a write");
        assert_eq!(told.recv().expect("the service"), "asked");
        stream.write_all(last).expect("a write");
        if last.is_empty() {
            drop(stream);
        }
        assert_eq!(told.recv().expect("the service"), "left alone");
    }
    for line in lines(&gateway, ways.len()) {
        let flags = line["flags"].as_array().expect("flags");
        assert_eq!(line["status"], 499, "{line}");
        assert!(flags.iter().any(|flag| flag == "client_closed"), "{line}");
    }
}
