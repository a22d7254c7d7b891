//! Small rules for messages: `request-size-limit` and `response-headers`, in both languages.

use crate::support::{Request, Upstream, reply, stock::behind};

#[test]
fn a_body_over_the_limit_is_refused_however_it_is_framed() {
    for behind in behind("request-size-limit", "{max: 1KiB}", || Upstream::echo("it")) {
        let chunked = |size: usize| {
            let body = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
            Request::new("POST", "/").header("transfer-encoding", "chunked").raw_body(body)
        };
        for request in [Request::post("/", "x".repeat(1024)), chunked(1024), Request::get("/")] {
            behind.gateway.send(request).ok();
        }
        let sizes: Vec<usize> = behind.upstream.requests().iter().map(|received| received.body.len()).collect();
        assert_eq!(sizes, [1024, 1024, 0], "{}", behind.language);
        for request in [Request::post("/", "x".repeat(1025)), chunked(1025)] {
            let answer = behind.gateway.send(request);
            assert_eq!(answer.problem(413), "the request body is larger than 1024 bytes", "{}", behind.language);
        }
        assert_eq!(behind.upstream.requests().len(), 3, "{}", behind.language);
    }
}

/// None of the body has been sent when the answer comes.
#[test]
fn an_announced_length_is_refused_at_once() {
    for behind in behind("request-size-limit", "{max: 1KiB}", || Upstream::echo("it")) {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n";
        behind.gateway.raw(head).problem(413);
    }
}

#[test]
fn headers_are_removed_set_and_added_on_answers_and_errors() {
    let config = "{remove: [Server], set: {X-Frame-Options: DENY}, add: {Vary: accept}}";
    let answers = || {
        Upstream::start(|_| {
            reply(200, "ok").header("server", "x/1").header("x-frame-options", "ALLOW").header("vary", "origin")
        })
    };
    for behind in behind("response-headers", config, answers) {
        let answer = behind.gateway.get("/").ok();
        assert_eq!(answer.header("server"), None, "{}", behind.language);
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{}", behind.language);
        let vary = answer.headers.all("vary");
        assert_eq!(vary, ["origin", "accept"], "{}", behind.language);
    }
    for behind in behind("response-headers", config, Upstream::dead) {
        let answer = behind.gateway.get("/");
        assert_eq!(answer.status / 100, 5, "{}", behind.language);
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{}", behind.language);
    }
}
