//! Pattern 1: which route a request takes, and what of it reaches the service.

use crate::support::{Gateway, Request, Upstream, gateway, reply, wire::Framing};
use std::{io::Write, sync::mpsc};

const TWO: &str = "
services:
  - {name: a, url: '${a}', routes: [{name: a, ROUTE_A}]}
  - {name: b, url: '${b}', routes: [{name: b, ROUTE_B}]}
";

/// Two services `a` and `b` that echo, each behind one route with these conditions.
fn two(route_a: &str, route_b: &str) -> Gateway {
    let yaml = TWO.replace("ROUTE_A", route_a).replace("ROUTE_B", route_b);
    gateway(&yaml).url("a", &Upstream::echo("a")).url("b", &Upstream::echo("b")).start()
}

/// What an upstream's path makes of a request's target, by the route and the service's path.
fn forwarded(service_path: &str, route: &str, target: &str) -> String {
    let upstream = Upstream::echo("it");
    let yaml = format!("services: [{{name: s, url: '${{s}}{service_path}', routes: [{{{route}}}]}}]");
    let answer = gateway(&yaml).url("s", &upstream).start().get(target).ok().text();
    answer.strip_prefix("it GET ").unwrap_or(&answer).to_owned()
}

#[test]
fn the_longest_prefix_wins_by_whole_segments() {
    let gateway = two("paths: [/api], strip_path: false", "paths: [/api/users], strip_path: false");
    for (target, expected) in [
        ("/api", "a GET /api"),
        ("/api/", "a GET /api/"),
        ("/api/orders", "a GET /api/orders"),
        ("/api/usersx", "a GET /api/usersx"),
        ("/api/users", "b GET /api/users"),
        ("/api/users/7", "b GET /api/users/7"),
    ] {
        assert_eq!(gateway.get(target).ok().text(), expected);
    }
    assert_eq!(gateway.get("/apix").problem(404), "no route matches GET /apix");
}

#[test]
fn an_exact_host_beats_a_wildcard_and_that_beats_none() {
    let yaml = "
services:
  - {name: a, url: '${a}', routes: [{paths: [/], hosts: [api.example.com]}]}
  - {name: b, url: '${b}', routes: [{paths: [/], hosts: ['*.example.com']}]}
  - {name: c, url: '${c}', routes: [{paths: [/long/path]}]}
";
    let [a, b, c] = ["a", "b", "c"].map(Upstream::echo);
    let gateway = gateway(yaml).url("a", &a).url("b", &b).url("c", &c).start();
    let to = |host: &str| gateway.send(Request::get("/long/path").header("host", host)).ok().text();
    assert_eq!(to("api.example.com"), "a GET /long/path");
    assert_eq!(to("API.Example.COM:8080"), "a GET /long/path");
    assert_eq!(to("www.example.com"), "b GET /long/path");
    assert_eq!(to("example.org"), "c GET /");
}

#[test]
fn an_exact_path_beats_a_prefix_and_that_parameters_and_those_a_regex() {
    let yaml = "
services:
  - {name: a, url: '${a}', routes: [{paths: ['~/users/.*'], strip_path: false}]}
  - {name: b, url: '${b}', routes: [{paths: ['/users/{id}'], strip_path: false}]}
  - {name: c, url: '${c}', routes: [{paths: [/users/list], strip_path: false}]}
  - {name: d, url: '${d}', routes: [{paths: [=/users/list], strip_path: false}]}
";
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Upstream::echo);
    let gateway = gateway(yaml).url("a", &a).url("b", &b).url("c", &c).url("d", &d).start();
    for (target, expected) in
        [("/users/list", "d"), ("/users/list/1", "c"), ("/users/7", "b"), ("/users/7/orders", "a")]
    {
        assert_eq!(gateway.get(target).ok().text(), format!("{expected} GET {target}"));
    }
}

#[test]
fn scripts_see_the_parameters_of_the_path_and_of_a_regex() {
    let yaml = "
routes:
  - {name: lua, paths: ['/lua/{id}/orders/{order}'], plugins: [{script: p.lua}]}
  - {name: rhai, paths: ['/rhai/{id}/orders/{order}'], plugins: [{script: p.rhai}]}
  - {name: regex, paths: ['~/files/(?<name>[a-z]+)\\.txt$'], plugins: [{script: p.lua}]}
";
    let lua = "return { handle = function(req) return reply.json(200, req.params) end }";
    let rhai = "fn handle(req, ctx) { reply::json(200, req.params) }";
    let gateway = gateway(yaml).file("p.lua", lua).file("p.rhai", rhai).start();
    let params = |target: &str| gateway.get(target).ok().json();
    for language in ["lua", "rhai"] {
        let got = params(&format!("/{language}/7/orders/a%20b"));
        assert_eq!(got, serde_json::json!({ "id": "7", "order": "a b" }), "{language}");
    }
    assert_eq!(params("/files/readme.txt"), serde_json::json!({ "name": "readme" }));
    gateway.get("/files/README.txt").problem(404);
}

#[test]
fn methods_headers_and_queries_are_conditions() {
    let gateway =
        two("paths: [/x], methods: [POST]", "paths: [/x], headers: {x-version: ['2', '3']}, query: {debug: '1'}");
    assert_eq!(gateway.send(Request::post("/x", "")).ok().text(), "a POST /");
    let with = |target, version: &str| gateway.send(Request::get(target).header("x-version", version));
    assert_eq!(with("/x?debug=1", "3").ok().text(), "b GET /?debug=1");
    with("/x?debug=1", "4").problem(404);
    with("/x", "2").problem(404);
    gateway.get("/x").problem(404);
}

#[test]
fn priority_comes_before_everything_and_order_after() {
    let gateway = two("paths: [/long/path]", "paths: [/], priority: 1");
    assert_eq!(gateway.get("/long/path").ok().text(), "b GET /long/path");
    let gateway = two("paths: [/x], headers: {x-a: '1'}", "paths: [/x], headers: {x-b: '1'}");
    let both = Request::get("/x").header("x-a", "1").header("x-b", "1");
    assert_eq!(gateway.send(both).ok().text(), "a GET /");
}

#[test]
fn paths_are_stripped_unless_told_and_joined_as_kong_does() {
    for (service, route, target, expected) in [
        ("", "paths: [/t]", "/t/req", "/req"),
        ("", "paths: [/t]", "/t", "/"),
        ("", "paths: [/t], strip_path: false", "/t/req", "/t/req"),
        ("/s", "paths: [/t]", "/t/req", "/s/req"),
        ("/s/", "paths: [/t]", "/t/req", "/s/req"),
        ("/s", "paths: [/t]", "/t", "/s"),
        ("/s", "paths: [/t], strip_path: false", "/t/req", "/s/t/req"),
        ("/s", "paths: [/]", "/t/req", "/s/t/req"),
        ("/s", "paths: [/t]", "/t/req?a=1&b=%2F&a=2", "/s/req?a=1&b=%2F&a=2"),
        ("", "paths: [/t]", "/t/a%20b/%C3%A4", "/a%20b/%C3%A4"),
        ("", "paths: [/t]", "/t/%7Euser", "/~user"),
        ("", "paths: ['~/t/(?<id>[0-9]+)']", "/t/7/rest", "/rest"),
    ] {
        assert_eq!(forwarded(service, route, target), expected, "{service} + {route} + {target}");
    }
}

#[test]
fn paths_that_two_servers_could_read_differently_are_refused() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/], strip_path: false}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    for (target, detail) in [
        ("/a%2fb", "the path contains an encoded slash or backslash `%2f`"),
        ("/a%5Cb", "the path contains an encoded slash or backslash `%5C`"),
        ("/a/../b", "the path contains the dot segment `..`"),
        ("/a/%2e%2e/b", "the path contains the dot segment `..`"),
        ("/a/..;/b", "the path contains the dot segment `..;`"),
        ("/a/%00", "the path contains the encoded control character `%00`"),
        ("/a/%zz", "the path contains the malformed percent-encoding `%zz`"),
    ] {
        assert_eq!(gateway.get(target).problem(400), detail, "{target}");
    }
    assert_eq!(gateway.get("//a///b").ok().text(), "it GET //a///b");
    assert_eq!(gateway.get("/a/./b").ok().text(), "it GET /a/b");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn heads_that_smuggle_requests_are_refused() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    for head in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n",
        "GET http://other.example/ HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        assert_eq!(gateway.raw(head).status, 400, "{head:?}");
    }
    gateway.raw("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n").problem(405);
    gateway.raw("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n").problem(405);
    assert_eq!(upstream.requests().len(), 0);
}

/// RFC 9112 §6.1: a front that believed the length would have us take the rest of its request for another one.
#[test]
fn a_connection_closes_after_a_chunked_request_with_a_length() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let mut client = gateway.connect();
    client.write(
        b"POST /one HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    client.read_answer();
    assert!(client.is_closed(), "the connection takes another request");
    let targets: Vec<String> = upstream.requests().into_iter().map(|request| request.target).collect();
    assert!(!targets.contains(&"/two".to_owned()), "{targets:?}");
}

#[test]
fn an_unknown_path_is_a_problem_with_the_request_id() {
    let gateway = two("paths: [/a]", "paths: [/b]");
    let answer = gateway.send(Request::get("/c").header("x-request-id", "mine-1"));
    assert_eq!(answer.problem(404), "no route matches GET /c");
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
}

#[test]
fn the_request_id_is_taken_or_made_and_goes_both_ways() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let taken = gateway.send(Request::get("/1").header("x-request-id", "mine-1"));
    let made = gateway.get("/2");
    let refused = gateway.send(Request::get("/3").header("x-request-id", "a b\"c"));
    let requests = upstream.requests();
    assert_eq!(taken.header("x-request-id"), Some("mine-1"));
    assert_eq!(requests[0].header("x-request-id"), Some("mine-1"));
    assert_eq!(made.header("x-request-id").map(str::len), Some(36));
    assert_eq!(requests[1].header("x-request-id"), made.header("x-request-id"));
    assert_eq!(refused.header("x-request-id").map(str::len), Some(36));
    assert_eq!(requests[2].headers.all("x-request-id"), [refused.header("x-request-id").unwrap_or_default()]);
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let upstream = Upstream::start(|_| {
        reply(200, "ok")
            .header("connection", "x-gone")
            .header("x-gone", "1")
            .header("keep-alive", "9")
            .header("x-kept", "1")
    });
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let request = Request::get("/")
        .header("connection", "keep-alive, X-Private")
        .header("x-private", "1")
        .header("keep-alive", "timeout=5")
        .header("te", "gzip")
        .header("upgrade", "h2c")
        .header("proxy-authorization", "Basic eA==")
        .header("x-kept", "1");
    let answer = gateway.send(request).ok();
    let received = upstream.request();
    for name in ["x-private", "keep-alive", "te", "upgrade", "proxy-authorization"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(received.header("x-kept"), Some("1"));
    assert_eq!(answer.header("x-gone"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-kept"), Some("1"));
}

#[test]
fn the_service_learns_who_asked_for_what_and_forged_claims_are_dropped() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let forged = Request::get("/")
        .header("host", "shop.example.com")
        .header("x-forwarded-for", "6.6.6.6")
        .header("X_Forwarded_For", "6.6.6.6")
        .header("x-forwarded-proto", "https")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6");
    gateway.send(forged).ok();
    let received = upstream.request();
    assert_eq!(received.headers.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("shop.example.com"));
    for name in ["x_forwarded_for", "x-real-ip", "forwarded"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(received.header("host"), Some(upstream.address().to_string().as_str()));
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let upstream = Upstream::echo("it");
    let yaml = "trusted_proxies: [127.0.0.0/8]\nservices: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    gateway.send(Request::get("/").header("x-forwarded-for", "9.9.9.9").header("x-forwarded-proto", "https")).ok();
    let received = upstream.request();
    assert_eq!(received.headers.all("x-forwarded-for"), ["9.9.9.9, 127.0.0.1"]);
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn preserve_host_passes_the_clients_host() {
    let upstream = Upstream::echo("it");
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/], preserve_host: true}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    gateway.send(Request::get("/").header("host", "shop.example.com:8080")).ok();
    assert_eq!(upstream.request().header("host"), Some("shop.example.com:8080"));
}

/// An upstream that answers a chunk only when it has got one.
#[test]
fn both_directions_stream() {
    let upstream = Upstream::raw(|stream| {
        let mut input = std::io::BufReader::new(stream);
        let head = crate::support::wire::read_request_head(&mut input);
        assert!(matches!(head, Ok(Some((_, Framing::Chunked)))), "{head:?}");
        let _ = input.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Ok(Some(chunk)) = crate::support::wire::read_chunk(&mut input) {
            let _ = write!(input.get_mut(), "{:x}\r\n", chunk.len());
            let _ = input.get_mut().write_all(&[&chunk[..], b"\r\n"].concat());
        }
        let _ = input.get_mut().write_all(b"0\r\n\r\n");
    });
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let mut client = gateway.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in ["first", "second", "third"] {
        client.write(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        if chunk == "first" {
            assert_eq!(client.read_head().0, 200);
        }
        assert_eq!(client.read_chunk().as_deref(), Some(chunk.as_bytes()));
    }
    client.write(b"0\r\n\r\n");
    assert_eq!(client.read_chunk(), None);
}

#[test]
fn a_large_body_passes_in_both_directions_without_being_held() {
    const SIZE: usize = 64 * 1024 * 1024;
    let (told, received) = mpsc::channel();
    let upstream = Upstream::raw(move |stream| {
        let mut input = std::io::BufReader::new(stream);
        let Ok(Some((_, framing))) = crate::support::wire::read_request_head(&mut input) else {
            return;
        };
        let body = crate::support::wire::read_body(&mut input, framing).unwrap_or_default();
        let _ = told.send(body.len());
        let _ = write!(input.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = input.get_mut().write_all(&body);
    });
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let before = gateway.watch_peak();
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let answer = gateway.send(Request::post("/", body.clone())).ok();
    assert_eq!(received.recv(), Ok(SIZE));
    assert!(answer.body == body, "the body was changed: {} bytes", answer.body.len());
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more for a body that should stream");
}

#[test]
fn bodies_keep_their_framing_and_head_has_none() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/chunked" => reply(200, "a body in several chunks").chunked(),
        "/empty" => reply(204, ""),
        _ => reply(200, "a body of known length"),
    });
    let yaml = "services: [{name: s, url: '${s}', routes: [{paths: [/]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    let mut client = gateway.connect();
    assert_eq!(client.send(&Request::get("/chunked")).text(), "a body in several chunks");
    assert_eq!(client.send(&Request::get("/known")).header("content-length"), Some("22"));
    let head = client.send(&Request::new("HEAD", "/known"));
    assert_eq!((head.status, head.header("content-length")), (200, Some("22")));
    assert_eq!(client.send(&Request::get("/empty")).status, 204);
    assert_eq!(client.send(&Request::get("/known")).text(), "a body of known length");
}

#[test]
fn a_dead_service_is_502_and_a_slow_one_504() {
    let slow = Upstream::start(|_| reply(200, "late").after(std::time::Duration::from_secs(5)));
    let yaml = "
services:
  - {name: dead, url: '${dead}', routes: [{paths: [/dead]}]}
  - {name: slow, url: '${slow}', timeout: 200ms, routes: [{paths: [/slow]}]}
";
    let gateway = gateway(yaml).url("dead", &Upstream::dead()).url("slow", &slow).start();
    assert_eq!(gateway.get("/dead").problem(502), "the upstream service did not answer");
    assert_eq!(gateway.get("/slow").problem(504), "the upstream service did not answer in time");
}

/// Shaped as in Kong's documentation: nothing in it was written for this gateway.
const KONG: &str = r#"_format_version: "3.0"
_transform: true

services:
  - name: catalogue
    host: catalogue.internal
    protocol: http
    port: 80
    path: /v1
    retries: 3
    connect_timeout: 2000
    read_timeout: 3000
    write_timeout: 3000
    tags: [shop, public]
    routes:
      - name: catalogue-items
        paths: [/items, /things]
        methods: [GET, HEAD]
        strip_path: true
        tags: [shop]
      - name: catalogue-raw
        paths: [/v1/raw]
        strip_path: false
      - name: catalogue-numbered
        paths: ['~/n/(?<number>\d+)$']
        strip_path: true
        regex_priority: 10
  - name: accounts
    url: ${ACCOUNTS}/accounts
    routes:
      - name: accounts-route
        hosts: [accounts.example.com, "*.accounts.example.com"]
        paths: [/]
        protocols: [http, https]
        preserve_host: true
        headers:
          x-tenant: [blue, green]

upstreams:
  - name: catalogue.internal
    algorithm: round-robin
    tags: [shop]
    targets:
      - target: ${CATALOGUE}
        weight: 100
"#;

#[test]
fn a_kong_file_runs_unmodified() {
    let [catalogue, accounts] = ["catalogue", "accounts"].map(Upstream::echo);
    let gateway = gateway(KONG).env("CATALOGUE", catalogue.address().to_string()).url("ACCOUNTS", &accounts).start();
    for (target, expected) in [
        ("/items", "catalogue GET /v1"),
        ("/items/7?x=1", "catalogue GET /v1/7?x=1"),
        ("/things/7", "catalogue GET /v1/7"),
        ("/v1/raw/7", "catalogue GET /v1/v1/raw/7"),
        ("/n/42", "catalogue GET /v1"),
    ] {
        assert_eq!(gateway.get(target).ok().text(), expected);
    }
    gateway.send(Request::post("/items", "")).problem(404);
    gateway.get("/n/x").problem(404);
    let request = |host: &str| Request::get("/me").header("host", host).header("x-tenant", "green");
    assert_eq!(gateway.send(request("eu.accounts.example.com")).ok().text(), "accounts GET /accounts/me");
    assert_eq!(accounts.request().header("host"), Some("eu.accounts.example.com"));
    gateway.send(request("example.com")).problem(404);
}

#[test]
fn the_access_log_has_a_line_for_each_exchange() {
    let upstream = Upstream::echo("it");
    let yaml = "access_log: stdout\nservices: [{name: s, url: '${s}', routes: [{name: r, paths: [/a]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).start();
    gateway.send(Request::get("/a/b?c=1").header("x-request-id", "first")).ok();
    gateway.send(Request::get("/none").header("x-request-id", "second")).problem(404);
    for (id, status, route) in [("first", 200, "r"), ("second", 404, "")] {
        let line = gateway.output.contains(id);
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(entry["status"], status, "{line}");
        assert_eq!(entry["route"].as_str().unwrap_or_default(), route, "{line}");
    }
}
