//! Scripts that change bodies while they stream, in both languages.

use crate::support::{
    Gateway, PATIENCE, Request, Upstream,
    frames::{self, PREFACE, SETTINGS, frame, get},
    gateway, reply,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

/// Drops events that carry a secret and keeps a line that is not whole until its rest comes.
const FILTER_LUA: &str = "
local M = {}
function M.on_response_chunk(chunk, ctx)
  local held = (ctx.vars.held or '') .. (chunk or '')
  local out = {}
  local rest = held:gsub('([^\\n]*)\\n', function(line)
    if not line:find('secret', 1, true) then table.insert(out, line .. '\\n') end
    return ''
  end)
  if chunk == nil and rest ~= '' then table.insert(out, rest .. ' (cut)\\n') rest = '' end
  ctx.vars.held = rest
  return table.concat(out)
end
function M.on_request_chunk(chunk, ctx)
  if chunk then return chunk:upper() end
  return '!'
end
return M";

const FILTER_RHAI: &str = r#"
fn on_response_chunk(chunk, ctx) {
    let held = ctx.vars.held;
    if held == () { held = ""; }
    if chunk != () { held += chunk; }
    let out = "";
    loop {
        let at = held.index_of("\n");
        if at < 0 { break; }
        let line = held.sub_string(0, at + 1);
        held = held.sub_string(at + 1);
        if line.index_of("secret") < 0 { out += line; }
    }
    if chunk == () && held != "" { out += held + " (cut)\n"; held = ""; }
    ctx.vars.held = held;
    out
}
fn on_request_chunk(chunk, ctx) {
    if chunk == () { "!" } else { chunk.to_upper() }
}
"#;

fn between(upstream: &Upstream) -> Gateway {
    let yaml = "workers: 1\nservices:\n- name: events\n  url: \"${events}\"\n  routes:\n\
        \x20 - {name: lua, paths: [/lua], plugins: [{script: filter.lua}]}\n\
        \x20 - {name: rhai, paths: [/rhai], plugins: [{script: filter.rhai}]}\n\
        \x20 - {name: bad-lua, paths: [/bad-lua], plugins: [{script: bad.lua}]}\n\
        \x20 - {name: bad-rhai, paths: [/bad-rhai], plugins: [{script: bad.rhai}]}\n";
    gateway(yaml)
        .url("events", upstream)
        .file("filter.lua", FILTER_LUA)
        .file("filter.rhai", FILTER_RHAI)
        .file("bad.lua", "return { on_response_chunk = function(chunk, ctx) return #'a text' end }")
        .file("bad.rhai", "fn on_response_chunk(chunk, ctx) { \"a text\".len() }")
        .start()
}

/// Nothing is held back where no script looks either, whatever the client speaks.
#[test]
fn events_pass_one_by_one_as_they_come() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::raw(move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}data: first\n\n").as_bytes());
        let _ = wait.lock().expect("one at a time").recv();
        let _ = stream.write_all(b"data: second\n\n");
    });
    let yaml = "services: [{name: events, url: '${events}', routes: [{name: r, paths: [/]}]}]\n";
    let gateway = gateway(yaml).url("events", &upstream).start();
    let http1 = "GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_bytes().to_vec();
    let http2 = [&PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &get(1, "/")].concat();
    for request in [http1, http2] {
        let mut client = frames::connect(gateway.address());
        client.write_all(&request).expect("a request");
        let mut seen = Vec::new();
        let mut until = |text: &str| {
            let mut piece = [0; 1024];
            while !String::from_utf8_lossy(&seen).contains(text) {
                let count = client.read(&mut piece).expect("an event");
                assert!(count > 0, "an end before `{text}`");
                seen.extend_from_slice(&piece[..count]);
            }
        };
        until("data: first\n\n");
        go_on.send(()).expect("the upstream waits");
        until("data: second\n\n");
    }
}

#[test]
fn events_are_filtered_one_by_one_as_they_come() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::raw(move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}first €\nsecret\nsec").as_bytes());
        let _ = wait.lock().expect("one at a time").recv();
        let _ = stream.write_all("ond\nlast".as_bytes());
    });
    let gateway = between(&upstream);
    for language in ["lua", "rhai"] {
        let mut client = TcpStream::connect(gateway.address()).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // HTTP/1.0, so that the body comes as it is.
        client.write_all(format!("GET /{language} HTTP/1.0\r\nhost: a\r\n\r\n").as_bytes()).expect("a request");
        let mut input = BufReader::new(client);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            input.read_line(&mut line).expect("a head");
        }
        line.clear();
        input.read_line(&mut line).expect("the first event, before the second is made");
        assert_eq!(line, "first €\n", "{language}");
        go_on.send(()).expect("the upstream waits");
        let mut rest = String::new();
        input.read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest, "second\nlast (cut)\n", "{language}");
    }
}

#[test]
fn a_request_is_changed_on_its_way() {
    let upstream = Upstream::start(|request| reply(200, request.body.clone()));
    let gateway = between(&upstream);
    for language in ["lua", "rhai"] {
        let answer = gateway.send(Request::post(&format!("/{language}"), "a body\n").header("digest", "stale"));
        assert_eq!(answer.text(), "A BODY\n! (cut)\n", "{language}");
        let received = upstream.requests().pop().expect("a request");
        assert_eq!((received.header("content-length"), received.header("digest")), (None, None));
        assert_eq!(received.header("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn a_hook_that_fails_breaks_the_body_off() {
    let upstream = Upstream::start(|_| reply(200, "text"));
    let gateway = between(&upstream);
    for language in ["lua", "rhai"] {
        let mut client = TcpStream::connect(gateway.address()).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.write_all(format!("GET /bad-{language} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).expect("a request");
        let mut all = String::new();
        let _ = client.read_to_string(&mut all);
        assert!(!all.contains("\r\n0\r\n\r\n") && !all.contains("text"), "{all}");
        let line = gateway.log_contains(&format!("bad.{language}:1:"));
        assert!(line.contains("on_response_chunk returned a"), "{line}");
    }
}

/// More than all buffers on the way hold together.
const MUCH: usize = 64 << 20;

/// Takes nothing for a while: whoever writes must come to a stop, with the gateway holding little. Then everything arrives, changed.
#[test]
fn back_pressure_reaches_the_source_through_a_hook() {
    for lang in ["lua", "rhai"] {
        let source = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = source.local_addr().expect("an address");
        let yaml = format!(
            "workers: 1\nservices: [{{name: s, url: 'http://{address}', routes: [{{name: r, paths: [/], plugins: [{{script: up.{lang}}}]}}]}}]\n"
        );
        let gateway = gateway(&yaml)
            .file("up.lua", "return { on_response_chunk = function(chunk, ctx) return chunk and chunk:upper() end }")
            .file("up.rhai", "fn on_response_chunk(chunk, ctx) { if chunk != () { return chunk.to_upper(); } }")
            .start();
        let (stopped, stops) = mpsc::channel();
        let writing = std::thread::spawn(move || {
            let (mut connection, _) = source.accept().expect("a connection");
            assert!(connection.read(&mut [0; 4096]).expect("a request") > 0);
            connection.set_write_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n");
            connection.write_all(head.as_bytes()).expect("a head");
            let (piece, mut written) = ([b'x'; 16 << 10], 0);
            while written < MUCH {
                let rest = piece.len().min(MUCH - written);
                match connection.write(&piece[..rest]) {
                    Ok(bytes) => written += bytes,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => drop(stopped.send(written)),
                    Err(error) => panic!("after {written} bytes: {error}"),
                }
            }
            written
        });
        // Without the program's own pages, which come as they are touched and go again.
        let before = gateway.memory("RssAnon");
        let mut client = TcpStream::connect(gateway.address()).expect("a connection");
        write!(client, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("a request");
        let written = stops.recv_timeout(PATIENCE).expect("the source comes to a stop");
        assert!(written < MUCH / 2, "{lang}: {written} bytes were taken from the source");
        let held = gateway.memory("RssAnon").saturating_sub(before);
        assert!(held < 8 << 10, "{lang}: {held} KiB are held");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the whole answer");
        let body = answer.iter().filter(|byte| **byte == b'X').count();
        assert_eq!((body, writing.join().expect("the source")), (MUCH, MUCH), "{lang}");
    }
}

/// The other way round: the service takes nothing, so the client's upload stops until it does.
#[test]
fn back_pressure_reaches_the_client_through_a_hook() {
    for lang in ["lua", "rhai"] {
        let service = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = service.local_addr().expect("an address");
        let yaml = format!(
            "workers: 1\nservices: [{{name: s, url: 'http://{address}', routes: [{{name: r, paths: [/], plugins: [{{script: up.{lang}}}]}}]}}]\n"
        );
        let gateway = gateway(&yaml)
            .file("up.lua", "return { on_request_chunk = function(chunk, ctx) return chunk and chunk:upper() end }")
            .file("up.rhai", "fn on_request_chunk(chunk, ctx) { if chunk != () { return chunk.to_upper(); } }")
            .start();
        let (go_on, waits) = mpsc::channel::<()>();
        let reading = std::thread::spawn(move || {
            let (mut connection, _) = service.accept().expect("a connection");
            waits.recv_timeout(PATIENCE).expect("a word");
            let (mut piece, mut body) = (vec![0; 64 << 10], 0);
            while body < MUCH {
                let bytes = connection.read(&mut piece).expect("more of the body");
                assert!(bytes > 0, "it ended after {body} bytes");
                body += piece[..bytes].iter().filter(|byte| **byte == b'X').count();
            }
            connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").expect("an answer");
            body
        });
        // Without the program's own pages, which come as they are touched and go again.
        let before = gateway.memory("RssAnon");
        let mut client = TcpStream::connect(gateway.address()).expect("a connection");
        client.set_write_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
        write!(client, "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {MUCH}\r\n\r\n")
            .expect("a head");
        let (piece, mut written, mut stops) = ([b'x'; 16 << 10], 0, 0);
        while written < MUCH {
            let rest = piece.len().min(MUCH - written);
            match client.write(&piece[..rest]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if stops == 0 {
                        assert!(written < MUCH / 2, "{lang}: {written} bytes were taken from the client");
                        let held = gateway.memory("RssAnon").saturating_sub(before);
                        assert!(held < 8 << 10, "{lang}: {held} KiB are held");
                        go_on.send(()).expect("the service");
                    }
                    stops += 1;
                }
                Err(error) => panic!("after {written} bytes: {error}"),
            }
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the answer");
        assert!(answer.starts_with("HTTP/1.1 204"), "{lang}: {answer}");
        assert_eq!((stops > 0, reading.join().expect("the service")), (true, MUCH), "{lang}");
    }
}
