//! Examples that change what streams: each piece reaches the client before the service makes the next one.

use super::{Case, case, cases::get, running};
use crate::support::{Client, Gateway, Request, Upstream, reply, token::Key, upstream::UpstreamReply, wire::Received};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    sync::{Mutex, mpsc},
};

const EVENTS: &str =
    ": hello\n\nevent: debug\ndata: b\n\nevent:usage\r\ndata: c\r\n\r\nid: 7\rdata:a sk-123456789 €\r\rdata: cut";

pub fn events(request: &Received) -> UpstreamReply {
    let kind = if request.target == "/text" { "text/plain" } else { "Text/Event-Stream; charset=utf-8" };
    reply(200, EVENTS).header("content-type", kind).chunked()
}

pub fn sse_filter() -> Vec<Case> {
    vec![
        case("events are chosen and secrets hidden", get("/")).check(|seen| {
            assert_eq!(seen.answer.text(), ": hello\n\nid: 7\ndata: a [hidden] €\n\n", "{}", seen.fact);
        }),
        case("what is no event stream is left alone", get("/text")).check(|seen| {
            assert_eq!(seen.answer.text(), EVENTS, "{}", seen.fact);
        }),
    ]
}

pub fn model(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/fails" => reply(500, r#"{"error":"no such model"}"#).json(),
        "/stops" => reply(200, "{\"error\":\"out of memory\"}\n").header("content-type", "application/x-ndjson"),
        _ => reply(
            200,
            concat!(
                r#"{"model":"m","message":{"content":"Grüß"},"done":false}"#,
                "\n\n",
                r#"{"model":"m","done":true,"done_reason":"length","prompt_eval_count":5,"eval_count":2}"#
            ),
        )
        .header("content-type", "application/x-ndjson")
        .chunked(),
    }
}

/// The events of a stream; the last is the word that ends it.
fn data(text: &str) -> Vec<Value> {
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    events.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

fn chunk(content: &str, reason: Value) -> Value {
    let mut choice = json!({ "index": 0, "delta": { "content": content } });
    if !reason.is_null() {
        choice["finish_reason"] = reason;
    }
    json!({ "object": "chat.completion.chunk", "model": "m", "choices": [choice] })
}

pub fn llm_stream() -> Vec<Case> {
    vec![
        case("lines become events, and the cost is logged", Request::post("/", "{}"))
            .header("content-type", "text/event-stream")
            .check(|seen| {
                let expected = [chunk("Grüß", Value::Null), chunk("", json!("length")), json!("[DONE]")];
                assert_eq!(data(&seen.answer.text()), expected, "{}", seen.fact);
                let line = seen.gateway.log_contains("tokens");
                assert!(line.contains(r#"\"read\":5,\"written\":2"#), "{}: {line}", seen.fact);
            }),
        case("the model's own errors come through", Request::post("/stops", "{}")).check(|seen| {
            assert_eq!(
                data(&seen.answer.text()),
                [json!({ "error": { "message": "out of memory" } })],
                "{}",
                seen.fact
            );
        }),
        case("what is no stream is left alone", Request::post("/fails", "{}"))
            .status(500)
            .json(json!({ "error": "no such model" })),
    ]
}

/// A service that sends each piece when the test says so, and then waits.
fn step_by_step(head: &'static str, pieces: &'static [&'static str]) -> (Upstream, mpsc::Sender<()>) {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let service = Upstream::raw(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\nconnection: close\r\n\r\n");
        let wait = wait.lock().expect("one at a time");
        for piece in pieces {
            let _ = stream.write_all(piece.as_bytes());
            if wait.recv().is_err() {
                return;
            }
        }
    });
    (service, go_on)
}

/// What comes until a blank line ends an event.
fn next_event(client: &mut Client) -> String {
    let mut event = String::new();
    while !event.ends_with("\n\n") {
        let chunk = client.read_chunk().unwrap_or_else(|| panic!("the stream ended after {event:?}"));
        event.push_str(&String::from_utf8_lossy(&chunk));
    }
    event
}

fn opened(gateway: &Gateway, language: &str) -> Client {
    let mut client = gateway.connect();
    client.write(format!("GET / HTTP/1.1\r\nhost: {language}.localhost\r\n\r\n").as_bytes());
    assert_eq!(client.read_head().0, 200);
    client
}

#[test]
fn an_event_is_here_before_the_next_is_made_and_one_that_is_not_whole_waits() {
    for language in ["lua", "rhai"] {
        let pieces: &[&str] = &["data: 1\n\n", "data: key-1234", "56789\n\nevent: deb", "ug\ndata: 3\n\ndata: 4\n\n"];
        let (service, go_on) = step_by_step("content-type: text/event-stream", pieces);
        let gateway = running("sse-filter", &service, &Key::make("HS256"), "");
        let mut client = opened(&gateway, language);
        assert_eq!(next_event(&mut client), "data: 1\n\n", "{language}");
        go_on.send(()).and_then(|()| go_on.send(())).expect("the service waits");
        assert_eq!(next_event(&mut client), "data: [hidden]\n\n", "{language}: a secret in two pieces");
        go_on.send(()).expect("the service waits");
        assert_eq!(next_event(&mut client), "data: 4\n\n", "{language}: a dropped event in two pieces");
        go_on.send(()).expect("the service waits");
        assert_eq!(client.read_chunk(), None, "{language}");
    }
}

#[test]
fn a_token_is_here_before_the_model_says_the_next() {
    for language in ["lua", "rhai"] {
        let pieces: &[&str] = &[
            "{\"model\":\"m\",\"message\":{\"content\":\"Hel\"},\"done\":false}\n{\"model\":\"m\",\"mess",
            "age\":{\"content\":\"lo\"},\"done\":false}\n",
            "{\"model\":\"m\",\"done\":true}\n",
        ];
        let (service, go_on) = step_by_step("content-type: application/x-ndjson", pieces);
        let gateway = running("llm-stream", &service, &Key::make("HS256"), "");
        let mut client = opened(&gateway, language);
        assert_eq!(data(&next_event(&mut client)), [chunk("Hel", Value::Null)], "{language}");
        go_on.send(()).expect("the service waits");
        assert_eq!(data(&next_event(&mut client)), [chunk("lo", Value::Null)], "{language}");
        go_on.send(()).expect("the service waits");
        assert_eq!(data(&next_event(&mut client)), [chunk("", json!("stop")), json!("[DONE]")], "{language}");
    }
}
