//! How long things may take: each step, each try, the whole exchange, and what clients say about their own patience.

use crate::support::{
    Client, Gateway, Request, Upstream,
    curl::curl,
    gateway, reply,
    wire::{self, Framing},
};
use std::{
    io::{BufReader, ErrorKind, Write},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Long enough that an answer which waits for it is told from one that does not, on a busy machine as well.
const LONG: Duration = Duration::from_secs(8);

fn slow() -> Upstream {
    Upstream::start(|_| reply(200, "slow").after(LONG))
}

fn with(upstream: &Upstream, keys: &str) -> Gateway {
    let yaml =
        format!("admin: 127.0.0.1:0\nservices: [{{name: s, url: '${{s}}', {keys}, routes: [{{paths: [/]}}]}}]\n");
    gateway(&yaml).url("s", upstream).start()
}

fn at_once<T>(ask: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let answer = ask();
    assert!(began.elapsed() < LONG, "it took {:?}", began.elapsed());
    answer
}

const LATE: &str = "the upstream service did not answer in time";
const OVER: &str = "the time for the request was over before it was forwarded";

#[test]
fn the_first_byte_has_a_limit_of_its_own_and_the_rest_of_a_stream_has_another() {
    let gateway = with(&slow(), "first_byte_timeout: 100ms, read_timeout: 60s");
    assert_eq!(at_once(|| gateway.get("/")).problem(504), LATE);
    let halting = Upstream::raw(|stream| {
        let mut input = BufReader::new(stream);
        if let Ok(Some(_)) = wire::read_request_head(&mut input) {
            let stream = input.get_mut();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
            thread::sleep(Duration::from_millis(600));
            let _ = stream.write_all(b"cd");
        }
    });
    assert_eq!(with(&halting, "first_byte_timeout: 300ms").get("/").ok().text(), "abcd");
}

/// A port where connections are neither accepted nor refused.
fn silent() -> (socket2::Socket, Vec<std::net::TcpStream>, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(1).expect("a queue");
    let address = socket.local_addr().expect("its address").as_socket().expect("an address of IP");
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let queued = std::iter::from_fn(connect).collect();
    (socket, queued, address)
}

#[test]
fn connecting_and_silence_have_limits_of_their_own() {
    let (_socket, _queued, address) = silent();
    let yaml =
        format!("services: [{{name: s, url: 'http://{address}', connect_timeout: 200ms, routes: [{{paths: [/]}}]}}]\n");
    let gateway = gateway(&yaml).start();
    assert_eq!(at_once(|| gateway.get("/")).problem(504), LATE);
    let halting = Upstream::raw(|stream| {
        let mut input = BufReader::new(stream);
        if let Ok(Some(_)) = wire::read_request_head(&mut input) {
            let _ = input.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
            thread::sleep(LONG);
        }
    });
    let gateway = with(&halting, "read_timeout: 200ms");
    let mut client = gateway.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read_head().0, 200);
    let body = at_once(|| wire::read_body(&mut BufReader::new(client.reader()), Framing::Length(4)));
    assert_eq!(body.expect_err("a whole body").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_try_that_is_too_slow_is_made_again_elsewhere_if_the_method_allows() {
    let (slow, quick) = (slow(), Upstream::start(|_| reply(200, "quick")));
    let yaml = "
services:
  - {name: s, targets: [{url: '${slow}'}, {url: '${quick}', backup: true}], per_try_timeout: 150ms, retries: 1, routes: [{paths: [/again]}]}
  - {name: n, targets: [{url: '${slow}'}, {url: '${quick}', backup: true}], per_try_timeout: 150ms, retries: 1, retry_on: [reset], routes: [{paths: [/not]}]}
";
    let gateway = gateway(yaml).url("slow", &slow).url("quick", &quick).start();
    assert_eq!(at_once(|| gateway.get("/again")).ok().text(), "quick");
    assert_eq!(at_once(|| gateway.send(Request::post("/again", "x"))).problem(504), LATE);
    assert_eq!(at_once(|| gateway.get("/not")).problem(504), LATE);
    assert_eq!(quick.requests().len(), 1);
}

#[test]
fn a_client_can_shorten_the_deadline_and_never_lengthen_it() {
    let upstream = slow();
    let gateway = with(&upstream, "timeout: 60s");
    for patience in ["0.1", "100ms", "0.1s"] {
        let answer = at_once(|| gateway.send(Request::get("/").header("x-request-timeout", patience)));
        assert_eq!(answer.problem(504), LATE, "{patience}");
    }
    let gateway = with(&upstream, "timeout: 150ms");
    let answer = at_once(|| gateway.send(Request::get("/").header("x-request-timeout", "3600")));
    assert_eq!(answer.problem(504), LATE);
}

#[test]
fn what_is_left_goes_upstream_and_nonsense_does_not() {
    let upstream = Upstream::echo("it");
    let gateway = with(&upstream, "timeout: 20s");
    let ask = |value: &str| gateway.send(Request::get("/").header("x-request-timeout", value)).ok();
    ["9s", "100", "9000ms", "soon", "-1"].iter().for_each(|value| drop(ask(value)));
    let told: Vec<String> = upstream
        .requests()
        .iter()
        .map(|request| request.header("x-request-timeout").unwrap_or("nothing").to_owned())
        .collect();
    let within = |text: &str, above: f64, most: f64| {
        let left: f64 = text.parse().unwrap_or_else(|_| panic!("{told:?}"));
        assert!(left > above && left <= most, "{told:?}");
    };
    within(told[0].strip_suffix('s').expect("seconds"), 1.0, 9.0);
    within(&told[1], 10.0, 20.0);
    within(told[2].strip_suffix("ms").expect("milliseconds"), 1_000.0, 9_000.0);
    assert_eq!(told[3..], ["nothing", "nothing"]);
}

#[test]
fn a_call_of_grpc_has_its_own_deadline_and_its_own_word_for_it() {
    let upstream = Upstream::start(|request| {
        let wait = if request.target == "/slow" { LONG } else { Duration::ZERO };
        reply(200, "").header("content-type", "application/grpc").after(wait)
    });
    let gateway = with(&upstream, "timeout: 60s");
    let call = |path: &str, timeout: &str| {
        let (url, timeout) = (format!("http://{}{path}", gateway.address()), format!("grpc-timeout: {timeout}"));
        let grpc = "content-type: application/grpc";
        at_once(|| curl(&["--http2-prior-knowledge", "--header", grpc, "--header", &timeout, &url]))
    };
    call("/slow", "200m").has("HTTP/2 200").has("grpc-status: 4");
    call("/slow", "0n").has("grpc-status: 4");
    call("/quick", "7S").lacks("grpc-status");
    call("/quick", "7").lacks("grpc-status");
    let told = upstream.requests().into_iter().filter(|request| request.target == "/quick");
    let told: Vec<Option<String>> = told.map(|request| request.header("grpc-timeout").map(ToOwned::to_owned)).collect();
    let micros = told[0].as_ref().and_then(|text| text.strip_suffix('u')?.parse::<u64>().ok());
    assert!(micros.is_some_and(|left| (1..=7_000_000).contains(&left)) && told[1].is_none(), "{told:?}");
}

#[test]
fn what_is_over_before_it_is_forwarded_is_not_tried() {
    let upstream = Upstream::echo("it");
    let gateway = with(&upstream, "timeout: 60s");
    assert_eq!(gateway.send(Request::get("/").header("x-request-timeout", "0")).problem(504), OVER);
    let yaml = "
services: [{name: s, url: '${s}', timeout: 100ms, routes: [{name: r, paths: [/], fault: {delay: 30s}}]}]
";
    let gateway = crate::support::gateway(yaml).url("s", &upstream).start();
    assert_eq!(at_once(|| gateway.get("/")).problem(504), OVER);
    assert_eq!(upstream.requests().len(), 0);
}

/// SECURITY: otherwise anybody could have a healthy target left out.
#[test]
fn an_impatient_client_says_nothing_about_the_service() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/slow" => reply(200, "").after(Duration::from_millis(400)),
        _ => reply(200, "fine"),
    });
    let gateway = with(&upstream, "circuit_breaker: {min_requests: 3}, health: {passive: {failures: 3}}");
    for _ in 0..6 {
        let request = Request::get("/slow").header("x-request-timeout", "20ms");
        assert_eq!(gateway.send(request).problem(504), LATE);
    }
    assert_eq!(gateway.get("/").ok().text(), "fine");
    let services = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/services")).ok().json();
    assert_eq!(services[0]["breaker"], "closed");
    let targets = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets")).ok().json();
    assert_eq!((&targets[0]["state"], &targets[0]["failures"]), (&"up".into(), &0.into()));
}

#[test]
fn scripts_know_what_is_left_and_where_there_is_no_end() {
    let lua = "return { handle = function(req, ctx) return reply.text(200, tostring(ctx.deadline_ms)) end }";
    let rhai = "fn handle(req, ctx) { let left = ctx.deadline_ms; reply::text(200, if left == () { \"nil\" } else { left.to_string() }) }";
    let upstream = Upstream::echo("it");
    for (name, script) in [("a.lua", lua), ("a.rhai", rhai)] {
        let yaml = format!(
            "services:\n  - {{name: s, url: '${{s}}', timeout: 20s, routes: [{{paths: [/s], plugins: [{{script: {name}}}]}}]}}\n\
             \x20 - {{name: e, url: '${{s}}', timeout: off, routes: [{{paths: [/e], plugins: [{{script: {name}}}]}}]}}\n"
        );
        let gateway = gateway(&yaml).url("s", &upstream).file(name, script).start();
        let left = |path: &str, patience: &str| {
            gateway.send(Request::get(path).header("x-request-timeout", patience)).ok().text()
        };
        let number = |text: String| text.parse::<f64>().unwrap_or_else(|_| panic!("{name}: {text}"));
        assert!((10_000.0..=20_000.0).contains(&number(left("/s", "60"))), "{name}");
        assert!((1_000.0..=9_000.0).contains(&number(left("/s", "9"))), "{name}");
        assert!((1_000.0..=9_000.0).contains(&number(left("/e", "9"))), "{name}");
        assert_eq!(gateway.get("/e").ok().text(), "nil", "{name}");
    }
}

#[test]
fn without_a_timeout_a_stream_lasts_and_with_one_it_is_cut() {
    let ticking = || {
        Upstream::raw(|stream| {
            let mut input = BufReader::new(stream);
            if let Ok(Some(_)) = wire::read_request_head(&mut input) {
                let stream = input.get_mut();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..10 {
                    let _ = stream.write_all(b"2\r\nx\n\r\n");
                    thread::sleep(Duration::from_millis(60));
                }
                let _ = stream.write_all(b"0\r\n\r\n");
            }
        })
    };
    assert_eq!(with(&ticking(), "timeout: off").get("/").ok().text(), "x\n".repeat(10));
    assert_eq!(with(&ticking(), "timeout: 0").get("/").ok().text(), "x\n".repeat(10));
    let gateway = with(&ticking(), "timeout: 200ms");
    let mut client = gateway.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read_head().0, 200);
    let cut = wire::read_body(&mut BufReader::new(client.reader()), Framing::Chunked);
    assert_eq!(cut.expect_err("a whole body").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn an_answer_that_asks_for_a_moment_is_given_it_while_there_is_time() {
    let asked = AtomicUsize::new(0);
    let busy = Upstream::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => reply(503, "").header("retry-after", "1"),
        _ => reply(200, "now"),
    });
    let keys = "retries: 1, retry_on: [503], health: off";
    let began = Instant::now();
    assert_eq!(with(&busy, keys).get("/").ok().text(), "now");
    assert!(began.elapsed() >= Duration::from_secs(1), "it came after {:?}", began.elapsed());
    let hurried = with(&busy, keys).send(Request::get("/").header("x-request-timeout", "900ms"));
    assert_eq!((hurried.status, hurried.header("retry-after")), (503, Some("1")));
    assert_eq!(busy.requests().len(), 3);
}
