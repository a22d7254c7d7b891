//! Streams of HTTP/2 that end before their time, and what comes before an answer.

use crate::support::{
    Gateway, Upstream,
    frames::{DATA, END_HEADERS, END_STREAM, HEADERS, OK, PREFACE, RST_STREAM, SETTINGS, connect, frame, target},
    gateway,
    wire::{self, Framing},
};
use std::{
    io::{BufReader, ErrorKind, Read, Write},
    sync::mpsc,
};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

fn start(upstream: &Upstream, protocol: &str) -> Gateway {
    let yaml =
        format!("services: [{{name: s, url: '${{up}}', {protocol} retries: 0, routes: [{{paths: [/]}}]}}]\nworkers: 1");
    gateway(&yaml).url("up", upstream).start()
}

fn reset(id: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &reason.to_be_bytes())
}

#[test]
fn an_answer_that_is_reset_in_its_middle_is_not_whole() {
    for reason in [INTERNAL_ERROR, CANCEL] {
        let upstream = target(move |_, id, stream| {
            let frames = [frame(HEADERS, END_HEADERS, id, &[OK]), frame(DATA, 0, id, b"half"), reset(id, reason)];
            stream.write_all(&frames.concat()).expect("a write");
        });
        let gateway = start(&upstream, "protocol: h2c,");
        let mut client = gateway.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        // The reset may come before anyone has looked at the head.
        if client.read_head().0 == 200 {
            let body = wire::read_body(&mut BufReader::new(client.reader()), Framing::Chunked);
            assert_eq!(body.expect_err("no whole body").kind(), ErrorKind::UnexpectedEof, "{reason}");
        }
    }
}

/// RFC 9113 §8.1: so a target says that it wants no more of the request.
#[test]
fn an_answer_that_is_reset_behind_its_end_is_whole() {
    let upstream = target(|_, id, stream| {
        let frames = [frame(HEADERS, END_HEADERS, id, &[OK]), frame(DATA, END_STREAM, id, b"all"), reset(id, NO_ERROR)];
        stream.write_all(&frames.concat()).expect("a write");
    });
    let gateway = start(&upstream, "protocol: h2c,");
    let mut client = gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab");
    assert_eq!(client.read_answer().ok().text(), "all");
}

#[test]
fn interim_answers_of_targets_of_http2_pass_and_a_flood_of_them_does_not() {
    // By HPACK (RFC 7541 §6.2): `:status` by its index and a literal, and a field of two literals.
    let early = |status: &str| [&[0x08, 3], status.as_bytes(), &[0, 4], b"link", &[6], b"</a.c>"].concat();
    let upstream = target(move |_, id, stream| {
        let count = if id == 1 { 2 } else { 100 };
        let hints = frame(HEADERS, END_HEADERS, id, &early("103")).repeat(count);
        let frames = [
            frame(HEADERS, END_HEADERS, id, &early("100")),
            hints,
            frame(HEADERS, END_HEADERS, id, &[OK]),
            frame(DATA, END_STREAM, id, b"ok"),
        ];
        stream.write_all(&frames.concat()).expect("a write");
    });
    let gateway = start(&upstream, "protocol: h2c,");
    let ask = || {
        let mut client = gateway.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        client.reader().read_to_string(&mut answer).expect("an end");
        answer
    };
    let answer = ask();
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.c>\r\n\r\n".repeat(2);
    assert!(answer.strip_prefix(&hints).is_some_and(|rest| rest.starts_with("HTTP/1.1 200 OK\r\n")), "{answer}");
    assert!(ask().contains("HTTP/1.1 502 Bad Gateway\r\n"));
}

/// What it has sent so far must not look like all of it.
#[test]
fn a_request_that_its_client_gives_up_is_never_whole_to_the_target() {
    for reason in [NO_ERROR, CANCEL] {
        let (tell, told) = mpsc::channel();
        let upstream = Upstream::raw(move |mut stream| {
            let (mut received, mut piece) = (Vec::new(), [0; 1024]);
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                received.extend_from_slice(&piece[..count]);
                let _ = tell.send(Some(String::from_utf8_lossy(&received).into_owned()));
            }
            let _ = tell.send(None);
        });
        let gateway = start(&upstream, "");
        let mut client = connect(gateway.address());
        // By HPACK's static table: POST, http, and `/`; the authority is a literal.
        let head = [&[0x83, 0x86, 0x84, 0x01, 1], &b"a"[..]].concat();
        let begin = [
            PREFACE.to_vec(),
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &head),
            frame(DATA, 0, 1, b"half"),
        ];
        client.write_all(&begin.concat()).expect("a write");
        while !told.recv().expect("the target").expect("half of it").contains("half") {}
        client.write_all(&[frame(DATA, 0, 1, b"more"), reset(1, reason)].concat()).expect("a write");
        let rest = std::iter::from_fn(|| told.recv().expect("the target")).last();
        assert!(!rest.unwrap_or_default().contains("\r\n0\r\n\r\n"), "{reason}");
    }
}

/// By HPACK: two literals.
fn field(name: &str, value: &str) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    [vec![0], literal(name), literal(value)].concat()
}

/// The kind of a frame, its flags and what it holds.
type Told = (u8, u8, Vec<u8>);

/// What answers of HTTP/2 must not hold, or not say of themselves (RFC 9113 §8.1.1, §8.2, §8.3.2), is never passed on as an answer.
#[test]
fn answers_that_make_no_sense_are_no_answers() {
    const PUSH_PROMISE: u8 = 5;
    let ok = |more: &[u8]| [&[OK], more].concat();
    let head = |block: Vec<u8>| (HEADERS, END_HEADERS | END_STREAM, block);
    let with_body = |length: &str, body: &str| {
        vec![(HEADERS, END_HEADERS, ok(&field("content-length", length))), (DATA, END_STREAM, body.as_bytes().to_vec())]
    };
    let cases: Vec<(&str, Vec<Told>)> = vec![
        ("connection", vec![head(ok(&field("connection", "close")))]),
        ("transfer-encoding", vec![head(ok(&field("transfer-encoding", "chunked")))]),
        ("no status", vec![head(field("x", "y"))]),
        ("two statuses", vec![head(ok(&[OK]))]),
        ("a line end in a value", vec![head(ok(&field("x", "a\r\nevil: b")))]),
        ("a colon in a name", vec![head(ok(&field("x: y", "a")))]),
        ("upper case", vec![head(ok(&field("X-A", "a")))]),
        ("shorter than it says", with_body("5", "ab")),
        ("longer than it says", with_body("2", "abcdef")),
        ("a length that is none", with_body("+2", "ab")),
        ("data and no head", vec![(DATA, END_STREAM, b"ab".to_vec())]),
        ("a push", vec![(PUSH_PROMISE, END_HEADERS, [&[0, 0, 0, 2, 0x82, 0x86, 0x84][..], b""].concat())]),
    ];
    for (what, frames) in cases {
        let upstream = target(move |_, id, stream| {
            let frames = frames.iter().map(|(kind, flags, payload)| frame(*kind, *flags, id, payload));
            let _ = stream.write_all(&frames.collect::<Vec<_>>().concat());
        });
        let gateway = start(&upstream, "protocol: h2c,");
        let mut client = gateway.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = client.reader().read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {answer}"));
        // A head that came alone is out already when the rest shows what it is.
        let is_cut = head.lines().any(|line| line == "content-length: 5") && body.len() < 5
            || head.lines().any(|line| line == "content-length: 2") && body.len() < 2;
        assert!(head.starts_with("HTTP/1.1 502 ") || is_cut, "{what}: {answer}");
        assert!(!answer.contains("evil"), "{what}: {answer}");
    }
}
