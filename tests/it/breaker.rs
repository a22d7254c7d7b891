//! Circuit breakers: a service that fails is left alone, tried again, and used again.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

fn service(keys: &str) -> (Gateway, Arc<AtomicU16>, Arc<Upstream>) {
    let status = Arc::new(AtomicU16::new(500));
    let answered = status.clone();
    let upstream = Arc::new(Upstream::start(move |_| reply(answered.load(Ordering::Relaxed), "")));
    let yaml = format!(
        "admin: 127.0.0.1:0\nservices:\n  - {{name: s, url: '${{s}}', {keys}, routes: [{{paths: [/], plugins: [{{script: late.lua}}]}}]}}\n"
    );
    let late = "return { on_response = function(res) res.headers['x-from'] = res.from end }";
    (gateway(&yaml).url("s", &upstream).file("late.lua", late).start(), status, upstream)
}

fn state(gateway: &Gateway) -> String {
    let answer = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/services")).ok();
    answer.json()[0]["breaker"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn it_opens_survives_a_reload_lets_a_few_through_and_closes() {
    let (gateway, status, upstream) = service("circuit_breaker: {open_for: 300ms, half_open_requests: 2}");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 500);
    }
    let refused = gateway.get("/");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.problem(503), "the service is left alone for a moment: it failed too often");
    let reloaded = Client::connect(gateway.address_of("admin")).send(&Request::post("/api/v1/reload", ""));
    assert_eq!((reloaded.status, state(&gateway).as_str()), (200, "open"));
    assert!(gateway.log_contains("a circuit breaker has opened").contains("\"service\":\"s\""));
    let asked = upstream.requests().len();
    assert_eq!(asked, 20, "requests went through an open breaker");
    status.store(200, Ordering::Relaxed);
    eventually("a request is let through", || (gateway.get("/").status == 200).then_some(()));
    assert_eq!(state(&gateway), "half_open");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(state(&gateway), "closed");
    gateway.log_contains("a circuit breaker has closed");
}

#[test]
fn slow_answers_open_it_too() {
    let slow = Upstream::start(|request| {
        let wait = if request.target == "/slow" { Duration::from_millis(60) } else { Duration::ZERO };
        reply(200, "").after(wait)
    });
    let yaml = "
admin: 127.0.0.1:0
services:
  - {name: s, url: '${s}', circuit_breaker: {slow_call: 50ms, slow_rate: 60, min_requests: 10, window: 60s, open_for: 60s}, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("s", &slow).start();
    (0..4).for_each(|_| assert_eq!(gateway.get("/").status, 200));
    (0..5).for_each(|_| assert_eq!(gateway.get("/slow").status, 200));
    assert_eq!(state(&gateway), "closed");
    assert_eq!(gateway.get("/slow").status, 200);
    assert_eq!(gateway.get("/").problem(503), "the service is left alone for a moment: it failed too often");
    assert_eq!(state(&gateway), "open");
}

#[test]
fn a_failing_probe_opens_it_again() {
    let (gateway, _, upstream) = service("circuit_breaker: {min_requests: 4, open_for: 50ms}");
    (0..4).for_each(|_| assert_eq!(gateway.get("/").status, 500));
    eventually("a request is let through", || (gateway.get("/").status == 500).then_some(()));
    assert_eq!((state(&gateway).as_str(), upstream.requests().len()), ("open", 5));
}

#[test]
fn errors_of_clients_do_not_count_and_it_can_be_off() {
    let (gateway, status, _) = service("circuit_breaker: {min_requests: 2}");
    status.store(404, Ordering::Relaxed);
    (0..10).for_each(|_| assert_eq!(gateway.get("/").status, 404));
    assert_eq!(state(&gateway), "closed");
    let (gateway, _, upstream) = service("circuit_breaker: off");
    (0..30).for_each(|_| assert_eq!(gateway.get("/").status, 500));
    assert_eq!((state(&gateway).as_str(), upstream.requests().len()), ("", 30));
}

#[test]
fn more_requests_at_once_than_allowed_are_refused() {
    let slow = Upstream::start(|_| reply(200, "").after(Duration::from_millis(500)));
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services: [{name: s, url: '${s}', circuit_breaker: {max_concurrent: 1}, routes: [{paths: [/]}]}]
";
    let gateway = gateway(yaml).url("s", &slow).start();
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/").status);
        eventually("the first is under way", || {
            let targets = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets"));
            (targets.json()[0]["in_flight"] == 1).then_some(())
        });
        assert_eq!(gateway.get("/").problem(503), "the service has too many requests at the moment");
        assert_eq!(first.join().expect("a client"), 200);
    });
    assert_eq!(gateway.get("/").status, 200);
}

fn admin(gateway: &Gateway, path: &str) -> serde_json::Value {
    Client::connect(gateway.address_of("admin")).send(&Request::get(path)).ok().json()
}

fn breakers(gateway: &Gateway) -> Vec<String> {
    let targets = admin(gateway, "/api/v1/targets");
    let all = targets.as_array().expect("a list").iter();
    all.map(|target| target["breaker"].as_str().unwrap_or("none").to_owned()).collect()
}

fn switchable(name: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let answered = status.clone();
    (Upstream::start(move |_| reply(answered.load(Ordering::Relaxed), name)), status)
}

/// `health: off`, so that nothing but the breaker takes it out.
const TWO: &str = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${a}'}, {url: '${b}'}]
    health: off
    circuit_breaker: {min_requests: 1000, targets: {min_requests: 4, open_for: 300ms, half_open_requests: 2}}
    routes: [{paths: [/]}]
";

#[test]
fn a_target_that_fails_is_left_out_probed_by_real_requests_and_comes_back() {
    let ((a, of_a), (b, _)) = (switchable("a"), switchable("b"));
    let gateway = gateway(TWO).url("a", &a).url("b", &b).start();
    assert_eq!(breakers(&gateway), ["closed", "closed"]);
    of_a.store(500, Ordering::Relaxed);
    let failed = (0..12).filter(|_| gateway.get("/").status == 500).count();
    assert_eq!((failed, breakers(&gateway)), (4, vec!["open".to_owned(), "closed".to_owned()]));
    let page = Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).ok().text();
    let told = |target: &Upstream, state: &str| {
        let name = "gatewright_target_breaker_state";
        let series = format!("{name}{{service=\"s\",target=\"{}\",state=\"{state}\"}} ", target.address());
        page.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    };
    let one_and_none = [Some("1".to_owned()), Some("0".to_owned())];
    assert_eq!([told(&a, "open"), told(&a, "closed")], one_and_none);
    assert_eq!([told(&b, "closed"), told(&b, "open")], one_and_none);
    let reloaded = Client::connect(gateway.address_of("admin")).send(&Request::post("/api/v1/reload", ""));
    assert_eq!((reloaded.status, breakers(&gateway)[0].as_str()), (200, "open"));
    of_a.store(200, Ordering::Relaxed);
    eventually("a request tries it", || (gateway.get("/").ok().text() == "a").then_some(()));
    assert_eq!(breakers(&gateway)[0], "half_open");
    eventually("it is used again", || {
        gateway.get("/").ok();
        (breakers(&gateway)[0] == "closed").then_some(())
    });
}

#[test]
fn with_every_target_open_it_is_said_when_to_come_back() {
    let ((a, of_a), (b, of_b)) = (switchable("a"), switchable("b"));
    let gateway = gateway(&TWO.replace("300ms", "60s")).url("a", &a).url("b", &b).start();
    [of_a, of_b].iter().for_each(|status| status.store(503, Ordering::Relaxed));
    (0..8).for_each(|_| assert_eq!(gateway.get("/").status, 503));
    let refused = gateway.get("/");
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(refused.problem(503), "the service has no target that can answer");
    assert_eq!(a.requests().len() + b.requests().len(), 8);
}

#[test]
fn bodies_that_break_after_their_head_open_it() {
    let breaking = Upstream::raw(|stream| {
        let mut input = std::io::BufReader::new(stream);
        if let Ok(Some(_)) = crate::support::wire::read_request_head(&mut input) {
            let _ = std::io::Write::write_all(input.get_mut(), b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
        }
    });
    let yaml = "
admin: 127.0.0.1:0
services: [{name: s, url: '${s}', circuit_breaker: {min_requests: 3, open_for: 60s}, routes: [{paths: [/]}]}]
";
    let gateway = gateway(yaml).url("s", &breaking).start();
    for _ in 0..3 {
        let mut client = gateway.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        // How much of it comes is not certain; that it ends is.
        let _ = std::io::Read::read_to_end(client.reader(), &mut Vec::new());
    }
    eventually("it is open", || (state(&gateway) == "open").then_some(()));
    assert_eq!(gateway.get("/").problem(503), "the service is left alone for a moment: it failed too often");
}

#[test]
fn it_recovers_by_and_by() {
    let keys = "circuit_breaker: {min_requests: 4, open_for: 50ms, half_open_requests: 1, recover_over: 60s}";
    let (gateway, status, upstream) = service(keys);
    (0..4).for_each(|_| assert_eq!(gateway.get("/").status, 500));
    status.store(200, Ordering::Relaxed);
    eventually("a request is let through", || (gateway.get("/").status == 200).then_some(()));
    assert_eq!(state(&gateway), "recovering");
    let before = upstream.requests().len();
    let answers: Vec<u16> = (0..20).map(|_| gateway.get("/").status).collect();
    let good = answers.iter().filter(|status| **status == 200).count();
    assert!((1..=5).contains(&good) && upstream.requests().len() == before + good, "{answers:?}");
}

#[test]
fn connections_to_a_target_are_limited_and_so_is_who_waits_for_one() {
    let slow = Upstream::start(|_| reply(200, "").after(Duration::from_millis(400)));
    let yaml = "
admin: 127.0.0.1:0
services:
  - {name: s, url: '${s}', circuit_breaker: {max_connections: 1, max_pending: 1}, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("s", &slow).start();
    let seen =
        |key: &str| eventually("it is under way", || (admin(&gateway, "/api/v1/targets")[0][key] == 1).then_some(()));
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/").status);
        seen("in_flight");
        let second = scope.spawn(|| gateway.get("/").status);
        seen("pending");
        let third = gateway.get("/");
        assert_eq!(third.header("retry-after"), Some("1"));
        assert_eq!(third.problem(503), "the service has too many requests at the moment");
        assert_eq!((first.join().expect("a client"), second.join().expect("a client")), (200, 200));
    });
    assert_eq!(slow.requests().len(), 2);
}

#[test]
fn a_target_without_a_connection_to_give_is_passed_over() {
    let (slow, quick) = (
        Upstream::start(|_| reply(200, "slow").after(Duration::from_secs(3))),
        Upstream::start(|_| reply(200, "quick")),
    );
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - {name: s, targets: [{url: '${slow}'}, {url: '${quick}'}], circuit_breaker: {max_connections: 1}, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("slow", &slow).url("quick", &quick).start();
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/").ok().text());
        eventually("it is under way", || (admin(&gateway, "/api/v1/targets")[0]["in_flight"] == 1).then_some(()));
        (0..4).for_each(|_| assert_eq!(gateway.get("/").ok().text(), "quick"));
        assert_eq!(first.join().expect("a client"), "slow");
    });
}
