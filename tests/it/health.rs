//! Targets that die, come back, answer badly, or are taken out: what clients see of it, and what the administration says.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// An upstream that answers with a status that can be changed.
fn switchable(status: u16) -> (Upstream, Arc<AtomicU16>) {
    let shared = Arc::new(AtomicU16::new(status));
    let answered = shared.clone();
    (Upstream::start(move |_| reply(answered.load(Ordering::Relaxed), "")), shared)
}

/// A server whose socket and connections close when it is dropped, like those of a process that was killed.
struct Mortal {
    url: String,
    address: std::net::SocketAddr,
    dead: Arc<AtomicBool>,
}

impl Mortal {
    fn start() -> Mortal {
        Mortal::on(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn on(listener: TcpListener) -> Mortal {
        let address = listener.local_addr().expect("its address");
        let dead = Arc::new(AtomicBool::new(false));
        let (ends, url) = (dead.clone(), format!("http://{address}"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let ends = ends.clone();
                thread::spawn(move || {
                    let mut input = BufReader::new(stream);
                    let mut line = String::new();
                    while input.read_line(&mut line).is_ok_and(|read| read > 0) && !ends.load(Ordering::Relaxed) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if line == "\r\n" && input.get_mut().write_all(answer).is_err() {
                            return;
                        }
                        line.clear();
                    }
                });
            }
        });
        Mortal { url, address, dead }
    }

    /// Returns when nobody listens any more.
    fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        // Wakes the listener, which then closes; until then a connection may still be accepted, and lost.
        eventually("the server closed its socket", || {
            std::net::TcpStream::connect(self.address).is_err().then_some(())
        });
    }
}

fn targets(gateway: &Gateway) -> Vec<Value> {
    let answer = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets")).ok();
    answer.json().as_array().expect("a list").clone()
}

fn states(gateway: &Gateway) -> Vec<String> {
    targets(gateway).iter().map(|target| target["state"].as_str().unwrap_or_default().to_owned()).collect()
}

fn post(gateway: &Gateway, path: &str) -> u16 {
    Client::connect(gateway.address_of("admin")).send(&Request::post(path, "")).status
}

#[test]
fn one_of_three_targets_killed_under_load_costs_next_to_nothing() {
    let servers: Vec<Mortal> = (0..3).map(|_| Mortal::start()).collect();
    let yaml = "
workers: 1
services:
  - name: s
    targets: [{url: '${a}'}, {url: '${b}'}, {url: '${c}'}]
    retries: 2
    routes: [{paths: [/]}]
";
    let given = ["a", "b", "c"].iter().zip(&servers).fold(gateway(yaml), |g, (name, s)| g.env(name, &s.url));
    let gateway = given.start();
    let (sent, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                while !done.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if client.send(&Request::get("/")).status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let reached = |count| (sent.load(Ordering::Relaxed) >= count).then_some(());
        eventually("traffic before", || reached(500));
        servers[1].kill();
        eventually("traffic after", || reached(sent.load(Ordering::Relaxed).max(4_000)));
        done.store(true, Ordering::Relaxed);
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    assert!(failed * 1_000 <= sent, "{failed} of {sent} failed");
}

#[test]
fn all_targets_dead_is_503_at_once_and_says_when_to_come_back() {
    let yaml = "
services:
  - {name: s, targets: [{url: '${a}'}, {url: '${b}'}], routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("a", &Upstream::dead()).url("b", &Upstream::dead()).start();
    let mut client = gateway.connect();
    let mut times = Vec::new();
    for _ in 0..30 {
        let asked = Instant::now();
        let answer = client.send(&Request::get("/"));
        times.push(asked.elapsed());
        let after: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("retry-after");
        assert_eq!((answer.status, (1..=30).contains(&after)), (503, true), "{after}");
    }
    // The first ones show that it needs no learning; a busy machine may delay a single one.
    let slow = times.iter().filter(|time| **time > Duration::from_millis(50)).count();
    assert!(slow <= 2, "{times:?}");
}

#[test]
fn an_active_check_takes_a_target_out_and_back_in_and_its_state_survives_a_reload() {
    let (bad, status) = switchable(200);
    let good = Upstream::echo("good");
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${good}'}, {url: '${bad}'}]
    health: {path: /healthz, interval: 10ms, healthy_threshold: 2, unhealthy_threshold: 2}
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).url("good", &good).url("bad", &bad).start();
    status.store(500, Ordering::Relaxed);
    eventually("it is down", || (states(&gateway) == ["up", "down"]).then_some(()));
    assert_eq!(post(&gateway, "/api/v1/reload"), 200);
    assert_eq!(states(&gateway), ["up", "down"]);
    for _ in 0..10 {
        assert_eq!(gateway.get("/x").text(), "good GET /x");
    }
    status.store(204, Ordering::Relaxed);
    eventually("it is up", || (states(&gateway) == ["up", "up"]).then_some(()));
    let statuses: Vec<u16> = (0..4).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 2, "{statuses:?}");
}

#[test]
fn a_tcp_check_finds_what_does_not_listen() {
    let yaml = "
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${dead}'}]
    health: {tcp: true, interval: 10ms, unhealthy_threshold: 1}
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).url("dead", &Upstream::dead()).start();
    eventually("it is down", || (states(&gateway) == ["down"]).then_some(()));
    let answer = gateway.get("/");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.problem(503), "the service has no target that can answer");
}

#[test]
fn failures_in_a_row_eject_a_target_and_one_request_brings_it_back() {
    let (bad, status) = switchable(503);
    let good = Upstream::start(|_| reply(200, ""));
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${good}'}, {url: '${bad}'}]
    health: {passive: {failures: 3, eject_for: 100ms}}
    circuit_breaker: off
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).url("good", &good).url("bad", &bad).start();
    let statuses: Vec<u16> = (0..6).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3, "{statuses:?}");
    assert_eq!(states(&gateway), ["up", "ejected"]);
    let told = gateway.log_contains("a target is left out for a while");
    assert!(told.contains(&format!("\"address\":\"{}\"", bad.address())), "{told}");
    status.store(204, Ordering::Relaxed);
    eventually("a real request tried it", || (gateway.get("/").status == 204).then_some(()));
    gateway.log_contains("a target that was left out is used again");
    assert_eq!(states(&gateway), ["up", "up"]);
    assert_eq!(targets(&gateway)[1]["failures"], 3);
}

#[test]
fn no_more_than_its_share_of_the_targets_is_left_out() {
    let all: Vec<Upstream> = (0..4).map(|_| switchable(503).0).collect();
    let targets: Vec<String> = all.iter().map(|upstream| format!("{{url: '{}'}}", upstream.url())).collect();
    for (most, expected) in [("", 1), ("max_ejected: 50", 2), ("max_ejected: 75", 3)] {
        let yaml = format!(
            "workers: 1\nadmin: 127.0.0.1:0\nservices: [{{name: s, targets: [{}], circuit_breaker: off, health: {{passive: {{failures: 2, {most}}}}}, routes: [{{paths: [/]}}]}}]\n",
            targets.join(", ")
        );
        let gateway = gateway(&yaml).start();
        (0..40).for_each(|_| assert_eq!(gateway.get("/").status, 503));
        let ejected = states(&gateway).iter().filter(|state| *state == "ejected").count();
        assert_eq!(ejected, expected, "{most}");
    }
}

#[test]
fn a_target_is_taken_out_and_put_in_by_hand() {
    let (a, b) = (Upstream::echo("a"), Upstream::echo("b"));
    let yaml = "
admin: 127.0.0.1:0
services:
  - {name: s, targets: [{url: '${a}'}, {url: '${b}'}], routes: [{name: r, paths: [/]}]}
";
    let gateway = gateway(yaml).url("a", &a).url("b", &b).start();
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/down", a.address())), 200);
    assert_eq!(post(&gateway, "/api/v1/reload"), 200);
    let texts: Vec<String> = (0..3).map(|_| gateway.get("/").text()).collect();
    assert_eq!(texts, ["b GET /"; 3]);
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/down", b.address())), 200);
    gateway.get("/").problem(503);
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/auto", a.address())), 200);
    assert_eq!(gateway.get("/").text(), "a GET /");
    assert_eq!(post(&gateway, "/api/v1/targets/s/nowhere:1/up"), 404);
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/sideways", a.address())), 404);
}

#[test]
fn the_administration_lists_what_runs() {
    let yaml = "
admin: 127.0.0.1:0
services:
  - {name: s, url: '${a}', routes: [{name: r, paths: [/x], methods: [GET], plugins: [{name: request-id}]}]}
";
    let yaml = yaml.replace("{name: request-id}", "{script: x.lua}");
    let upstream = Upstream::echo("a");
    let gateway = gateway(&yaml).url("a", &upstream).file("x.lua", "return { on_request = function() end }").start();
    let mut admin = Client::connect(gateway.address_of("admin"));
    let mut list = |what: &str| admin.send(&Request::get(&format!("/api/v1/{what}"))).ok().json()[0].clone();
    let service = list("services");
    assert_eq!((&service["name"], &service["up"], &service["breaker"]), (&"s".into(), &1.into(), &"closed".into()));
    let route = list("routes");
    assert_eq!((&route["name"], &route["service"], &route["paths"][0]), (&"r".into(), &"s".into(), &"/x".into()));
    assert_eq!(list("plugins")["of"], "r");
    let target = list("targets");
    assert_eq!((&target["target"], &target["in_flight"]), (&upstream.address().to_string().into(), &0.into()));
    assert_eq!(admin.send(&Request::post("/api/v1/targets", "")).status, 405);
}

#[test]
fn a_target_that_hangs_is_left_out_after_a_few_timeouts() {
    let hung = Upstream::raw(|stream| {
        // Reads and never answers.
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let good = Upstream::start(|_| reply(200, ""));
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${good}'}, {url: '${hung}'}]
    read_timeout: 50ms
    health: {passive: {failures: 0, timeouts: 2}}
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).url("good", &good).url("hung", &hung).start();
    let statuses: Vec<u16> = (0..10).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
    assert_eq!(states(&gateway), ["up", "ejected"]);
}

#[test]
fn a_server_that_was_killed_and_comes_back_is_used_again() {
    let server = Mortal::start();
    let (address, other) = (server.address, Mortal::start());
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${a}'}, {url: '${b}'}]
    retries: 1
    health: {tcp: true, interval: 10ms, unhealthy_threshold: 1, healthy_threshold: 1, passive: off}
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).env("a", &server.url).env("b", &other.url).start();
    for _ in 0..2 {
        let server = Mortal::on(eventually("the port is free", || {
            server.kill();
            TcpListener::bind(address).ok()
        }));
        eventually("it is up", || (states(&gateway) == ["up", "up"]).then_some(()));
        server.kill();
        eventually("it is down", || (states(&gateway) == ["down", "up"]).then_some(()));
        (0..10).for_each(|_| assert_eq!(gateway.get("/").status, 200));
    }
}

#[test]
fn calls_by_scripts_pass_over_what_is_dead_and_respect_what_is_down() {
    let good = Upstream::start(|_| reply(200, "good"));
    let yaml = "
admin: 127.0.0.1:0
services:
  - {name: s, targets: [{url: '${dead}'}, {url: '${good}'}]}
routes:
  - {name: r, paths: [/], plugins: [{script: ask.lua}]}
";
    let ask = "return { handle = function()
  local answer = http.get('svc://s/x')
  return reply.text(200, answer.error or answer:text())
end }";
    let gateway = gateway(yaml).url("dead", &Upstream::dead()).url("good", &good).file("ask.lua", ask).start();
    (0..4).for_each(|_| assert_eq!(gateway.get("/").text(), "good"));
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/down", good.address())), 200);
    assert_eq!(gateway.get("/").text(), "connect");
    assert_eq!(post(&gateway, &format!("/api/v1/targets/s/{}/auto", good.address())), 200);
    assert_eq!(gateway.get("/").text(), "good");
}
