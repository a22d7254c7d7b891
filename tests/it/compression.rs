//! Answers are compressed for clients that ask for it, and left alone where that would break something.

use crate::support::{Answer, Gateway, Request, Upstream, gateway, reply};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::mpsc,
};

const YAML: &str = "workers: 1\ncompression: {min_length: 100}\nservices:\n  - {name: users, url: \"{url}\", routes: [{paths: [/]}]}\n";

fn text() -> String {
    "a line that comes again and again\n".repeat(100)
}

fn between(upstream: &Upstream) -> Gateway {
    gateway(&YAML.replace("{url}", &upstream.url())).start()
}

fn ask(gateway: &Gateway, target: &str, accepted: &str) -> Answer {
    gateway.send(Request::get(target).header("accept-encoding", accepted))
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn an_answer_is_compressed_as_its_client_likes_it() {
    let upstream = Upstream::start(|_| reply(200, text()).header("content-type", "text/plain").header("etag", "\"1\""));
    let gateway = between(&upstream);
    for (accepted, coding) in [("gzip", "gzip"), ("gzip;q=0.5, br", "br"), ("gzip, br, zstd", "zstd")] {
        let answer = ask(&gateway, "/", accepted);
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accepted}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(answer.header("etag"), Some("W/\"1\""));
        assert!(answer.body.len() < 300, "{} bytes", answer.body.len());
        if coding == "gzip" {
            assert_eq!(gunzip(&answer.body), text());
        }
    }
    let plain = ask(&gateway, "/", "identity");
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    assert_eq!(plain.text(), text());
}

#[test]
fn a_real_client_reads_every_coding() {
    let upstream = Upstream::start(|_| reply(200, text()).header("content-type", "text/plain").chunked());
    let gateway = between(&upstream);
    for coding in ["gzip", "br", "zstd"] {
        let out = std::process::Command::new("curl")
            .args([
                "-s",
                "--compressed",
                "-H",
                &format!("accept-encoding: {coding}"),
                &format!("http://{}/", gateway.address()),
            ])
            .output()
            .expect("curl");
        assert_eq!(String::from_utf8_lossy(&out.stdout), text(), "{coding}");
    }
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let upstream = Upstream::start(|request| {
        let answer = |kind: &str| reply(200, text()).header("content-type", kind);
        match request.target.as_str() {
            "/short" => reply(200, "short").header("content-type", "text/plain"),
            "/image" => answer("image/png"),
            "/events" => answer("text/event-stream; charset=utf-8"),
            "/grpc" => answer("application/grpc"),
            "/encoded" => answer("text/plain").header("content-encoding", "x-own"),
            "/part" => reply(206, text()).header("content-type", "text/plain"),
            _ => answer("text/plain").header("cache-control", "public, No-Transform"),
        }
    });
    let gateway = between(&upstream);
    for target in ["/short", "/image", "/events", "/grpc", "/encoded", "/part", "/no-transform"] {
        let answer = ask(&gateway, target, "gzip");
        let expected = (target == "/encoded").then_some("x-own");
        assert_eq!(answer.header("content-encoding"), expected, "{target}");
    }
}

#[test]
fn a_slow_answer_is_not_held_back() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::raw(move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}5\r\nfirst\r\n").as_bytes());
        let _ = wait.lock().expect("one connection").recv();
        let _ = stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n");
    });
    let gateway = between(&upstream);
    let mut client = TcpStream::connect(gateway.address()).expect("a connection");
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n")
        .expect("a request");
    let mut decoder = flate2::read::GzDecoder::new(Dechunked::after_the_head(BufReader::new(client)));
    let mut first = [0; 5];
    decoder.read_exact(&mut first).expect("the first part, before the second is made");
    assert_eq!(&first, b"first");
    go_on.send(()).expect("the upstream waits");
    let mut rest = String::new();
    decoder.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "second");
}

/// The bytes of a chunked body, as they come.
struct Dechunked<R> {
    input: R,
    left: usize,
}

impl<R: BufRead> Dechunked<R> {
    fn after_the_head(mut input: R) -> Dechunked<R> {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            input.read_line(&mut line).expect("a head");
        }
        Dechunked { input, left: 0 }
    }
}

impl<R: BufRead> Read for Dechunked<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut line = String::new();
        while self.left == 0 {
            line.clear();
            self.input.read_line(&mut line)?;
            match line.trim() {
                "" => continue,
                size => self.left = usize::from_str_radix(size, 16).expect("a size"),
            }
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = self.left.min(out.len());
        let read = self.input.read(&mut out[..most])?;
        self.left -= read;
        Ok(read)
    }
}
