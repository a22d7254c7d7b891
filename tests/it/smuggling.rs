//! Requests that two parties could read differently: refused with an answer of the gateway's own, on a connection that ends.

use crate::support::{
    Answer, Client, Gateway, Upstream, eventually,
    frames::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, connect, frame, try_read_frame,
    },
    gateway,
};
use std::io::{Read, Write};

const ROUTES: &str = "services: [{name: s, url: '${s}', routes: [{name: r, paths: [/]}]}]";

fn between(upstream: &Upstream, yaml: &str) -> Gateway {
    gateway(&format!("admin: 127.0.0.1:0\naccess_log: stdout\n{yaml}\n{ROUTES}")).url("s", upstream).start()
}

/// The answer to these bytes, after which nothing may come but the end.
fn refused(gateway: &Gateway, bytes: &str) -> Answer {
    let mut client = gateway.connect();
    client.write(bytes.as_bytes());
    let answer = client.read_answer();
    let mut rest = Vec::new();
    client.reader().read_to_end(&mut rest).unwrap_or_else(|error| panic!("no end, but {error}: {bytes:?}"));
    assert_eq!((answer.header("connection"), rest.len()), (Some("close"), 0), "{bytes:?}");
    answer
}

const CASES: &[(&str, u16, &str)] = &[
    ("GET / HTTP/1.1\nhost: a\n\n", 400, "a line of the request head does not end in cr lf"),
    ("GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n", 400, "a line of the request head does not end in cr lf"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n", 400, "a header name is malformed"),
    ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400, "a header name is malformed"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx(: 1\r\n\r\n", 400, "a header name is malformed"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n", 400, "a header value is malformed"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        400,
        "the content-length is not one number",
    ),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc", 400, "the content-length is not one number"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3,3\r\n\r\nabc", 400, "the content-length is not one number"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\nabc", 400, "the content-length is not one number"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nabc",
        400,
        "the content-length is not one number",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
        400,
        "both content-length and transfer-encoding",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
        "the transfer-encoding is not `chunked` alone",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
        "the transfer-encoding does not end in `chunked`",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
        "a header value is malformed",
    ),
    ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "transfer-encoding in http/1.0"),
    ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505, "the version of http is neither 1.0 nor 1.1"),
    ("GET /\r\n\r\n", 400, "the request line is malformed"),
    ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the request line is malformed"),
    ("GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the request target has a fragment"),
    ("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the request line is malformed"),
    ("GET / HTTP/1.1\r\n\r\n", 400, "no host header"),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, "more than one host header"),
    ("GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400, "the host header is not a host"),
    ("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the host header does not match the request target"),
    ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the target `*` is for OPTIONS only"),
    ("GET a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the request target is not a path"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent_length: 3\r\n\r\n", 400, "a framing header in another spelling"),
    ("\x16\x03\x01", 400, "the request line is malformed"),
];

#[test]
fn each_refusal_is_answered_logged_and_counted_and_ends_the_connection() {
    let upstream = Upstream::echo("it");
    let gateway = between(&upstream, "");
    for (bytes, status, detail) in CASES {
        let answer = refused(&gateway, bytes);
        assert_eq!(answer.problem(*status), *detail, "{bytes:?}");
        let id = answer.header("x-request-id").expect("an id");
        let line: serde_json::Value = serde_json::from_str(&gateway.output.contains(id)).expect("a line");
        assert_eq!((&line["status"], &line["flags"]), (&(*status).into(), &serde_json::json!(["refused"])), "{line}");
    }
    assert_eq!(upstream.requests().len(), 0);
    let count = |status: u16| CASES.iter().filter(|case| case.1 == status).count();
    for status in [400, 501, 505] {
        let line = format!(r#"gatewright_requests_total{{route="",service="",status="{status}"}} {}"#, count(status));
        eventually(&line, || {
            let page = Client::connect(gateway.address_of("admin")).send(&crate::support::Request::get("/metrics"));
            page.text().lines().any(|each| each == line).then_some(())
        });
    }
}

/// That a method is not allowed leaves no doubt about where its request ends.
#[test]
fn a_method_that_is_not_allowed_costs_no_connection() {
    let upstream = Upstream::echo("it");
    let gateway = between(&upstream, "");
    let mut client = gateway.connect();
    for head in ["CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        client.write(head.as_bytes());
        client.read_answer().problem(405);
    }
    client.write(b"GET /fine HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read_answer().ok().text(), "it GET /fine");
}

#[test]
fn heads_have_their_limits() {
    let upstream = Upstream::echo("it");
    let gateway = between(&upstream, "limits: {max_header_bytes: 1KiB, max_header_count: 5}");
    let long = "x".repeat(1100);
    for (head, status, detail) in [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "the request line is too long"),
        (format!("GET /{long}"), 414, "the request line is too long"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), 431, "the request head is too large"),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(5)),
            431,
            "the request has too many header fields",
        ),
    ] {
        assert_eq!(refused(&gateway, &head).problem(status), detail);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn chunks_are_read_strictly() {
    let upstream = Upstream::echo("it");
    let gateway = between(&upstream, "");
    let head = "POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
    ] {
        let answer = refused(&gateway, &format!("{head}{body}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(answer.problem(400), "the request body could not be read", "{body:?}");
    }
    let mut client = gateway.connect();
    client.write(
        format!("{head}3;a=\"b\"\r\nabc\r\n2\r\nde\r\n0\r\nx-late: 1\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(client.read_answer().ok().text(), "it POST /b");
    assert_eq!(client.read_answer().ok().text(), "it GET /next");
    let requests = upstream.requests();
    assert_eq!((requests.len(), requests[0].text().as_str(), requests[0].header("x-late")), (2, "abcde", None));
}

type Fields<'f> = &'f [(&'f str, &'f str)];

/// A header block of literals without indexing (RFC 7541 §6.2.2), which carry any bytes.
fn block(fields: Fields) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect()
}

/// What one request of HTTP/2, with `data` behind its head, comes to: a status, or how it was refused.
fn over_http2(gateway: &Gateway, fields: Fields, data: Option<&str>) -> String {
    let mut stream = connect(gateway.address());
    let ends = if data.is_some() { 0 } else { END_STREAM };
    let mut bytes = [&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend(frame(HEADERS, END_HEADERS | ends, 1, &block(fields)));
    bytes.extend(data.map(|data| frame(DATA, END_STREAM, 1, data.as_bytes())).unwrap_or_default());
    stream.write_all(&bytes).expect("a write");
    loop {
        match try_read_frame(&mut stream) {
            // `:status` is the first field, and by the static table (RFC 7541 §A) or a literal of it.
            Ok((HEADERS, _, _, payload)) if payload[0] == 0x88 => return "200".to_owned(),
            Ok((HEADERS, _, _, payload)) if payload[0] == 0x8c => return "400".to_owned(),
            Ok((HEADERS, ..)) => return "another status".to_owned(),
            Ok((RST_STREAM, ..)) => return "reset".to_owned(),
            Ok((GOAWAY, ..)) => return "goaway".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn what_http2_can_carry_and_http1_can_not_never_reaches_a_target() {
    let upstream = Upstream::echo("it");
    let gateway = between(&upstream, "");
    let (post, get) = ((":method", "POST"), (":method", "GET"));
    let (scheme, authority, path) = ((":scheme", "http"), (":authority", "a"), (":path", "/x"));
    let refused: &[(Fields, Option<&str>, &str)] = &[
        (&[post, scheme, authority, path, ("content-length", "50")], Some("abc"), "reset"),
        (&[post, scheme, authority, path, ("content-length", "3"), ("content-length", "4")], Some("abc"), "reset"),
        (&[post, scheme, authority, path, ("content-length", "+3")], Some("abc"), "reset"),
        (&[post, scheme, authority, path, ("content-length", "3")], None, "reset"),
        (&[post, scheme, authority, path, ("transfer-encoding", "chunked")], Some(SMUGGLED), "reset"),
        (&[post, scheme, authority, path, ("content_length", "3")], Some("abc"), "400"),
        (&[get, scheme, authority, path, ("connection", "keep-alive")], None, "reset"),
        (&[get, scheme, authority, path, ("upgrade", "h2c")], None, "reset"),
        (&[get, scheme, authority, path, ("x", "a\r\nevil: b")], None, "goaway"),
        (&[get, scheme, authority, path, ("x", "a\nevil: b")], None, "goaway"),
        (&[get, scheme, authority, path, ("x", "a\0b")], None, "goaway"),
        (&[get, scheme, authority, path, ("x", " a")], None, "400"),
        (&[get, scheme, authority, path, ("x: y\r\nz", "a")], None, "goaway"),
        (&[get, scheme, authority, path, ("x y", "a")], None, "goaway"),
        (&[get, scheme, authority, path, ("X-Upper", "a")], None, "goaway"),
        (&[get, scheme, authority, path, ("host", "b")], None, "400"),
        (&[(":method", "GET /y HTTP/1.1\r\nx:"), scheme, authority, path], None, "goaway"),
        (&[get, scheme, authority, (":path", "/x HTTP/1.1\r\nevil: 1")], None, "reset"),
        (&[get, scheme, authority, (":path", "http://b/x")], None, "reset"),
        (&[get, scheme, authority, (":path", "/a/../b")], None, "400"),
        (&[get, scheme, authority, path, (":path", "/y")], None, "reset"),
        (&[get, scheme, authority, ("x", "y"), path], None, "reset"),
        (&[get, scheme, (":authority", "a\r\nx: y"), path], None, "reset"),
        (&[get, scheme, (":authority", "u@a"), path], None, "400"),
        (&[get, scheme, path], None, "400"),
        (&[get, (":scheme", "http://b/?"), authority, path], None, "reset"),
        (&[get, (":scheme", "ftp"), authority, path], None, "400"),
    ];
    for (fields, data, expected) in refused {
        assert_eq!(over_http2(&gateway, fields, *data), *expected, "{fields:?}");
    }
    // Its target may have the head by then, and nothing of what stands behind the announced end.
    let short = [post, scheme, authority, path, ("content-length", "0")];
    assert_eq!(over_http2(&gateway, &short, Some(SMUGGLED)), "reset");
    let plain = [post, scheme, authority, path];
    assert_eq!(over_http2(&gateway, &plain, Some(SMUGGLED)), "200");
    let requests = upstream.requests();
    let bodies: Vec<_> = requests.iter().map(|request| request.text()).filter(|text| !text.is_empty()).collect();
    assert_eq!(bodies, [SMUGGLED]);
    assert!(requests.iter().all(|request| request.target == "/x"), "{requests:?}");
}
