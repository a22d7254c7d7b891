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
    let asked = upstream.requests().len();
    assert_eq!(asked, 20, "requests went through an open breaker");
    status.store(200, Ordering::Relaxed);
    eventually("a request is let through", || (gateway.get("/").status == 200).then_some(()));
    assert_eq!(state(&gateway), "half_open");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(state(&gateway), "closed");
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
