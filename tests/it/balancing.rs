//! Which target a request goes to, and where it goes when the first one fails.

use crate::support::{Client, Request, Upstream, eventually, gateway, reply, wire};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

fn three() -> [Upstream; 3] {
    ["a", "b", "c"].map(|name| Upstream::start(move |_| reply(200, name)))
}

#[test]
fn the_same_key_goes_to_the_same_target_and_different_keys_are_spread() {
    let [a, b, c] = three();
    let targets = "targets: [{url: '${a}'}, {url: '${b}'}, {url: '${c}'}], balance: hash";
    let yaml = format!(
        "
services:
  - {{name: h, {targets}, hash_on: 'header:x-user', routes: [{{paths: [/header]}}]}}
  - {{name: k, {targets}, hash_on: 'cookie:id', routes: [{{paths: [/cookie]}}]}}
  - {{name: p, {targets}, hash_on: path, routes: [{{paths: [/path]}}]}}
  - {{name: i, {targets}, routes: [{{paths: [/ip]}}]}}
"
    );
    let gateway = gateway(&yaml).url("a", &a).url("b", &b).url("c", &c).start();
    type Make = fn(usize) -> Request;
    let ways: [(&str, Make); 3] = [
        ("header", |n| Request::get("/header").header("x-user", n)),
        ("cookie", |n| Request::get("/cookie").header("cookie", format!("x=y; id={n}"))),
        ("path", |n| Request::get(&format!("/path/{n}"))),
    ];
    for (way, request) in ways {
        let of = |n: usize| gateway.send(request(n)).ok().text();
        let first: Vec<String> = (0..30).map(of).collect();
        let again: Vec<String> = (0..30).map(of).collect();
        assert_eq!(first, again, "{way}");
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 3, "{way}: {first:?}");
    }
    let of_ip: HashSet<String> = (0..5).map(|_| gateway.get("/ip").text()).collect();
    assert_eq!(of_ip.len(), 1, "{of_ip:?}");
}

#[test]
fn requests_are_shared_by_weight() {
    let [a, b, c] = three();
    let yaml = "
workers: 1
services:
  - name: s
    targets: [{url: '${a}', weight: 5}, {url: '${b}'}, {url: '${c}', weight: 0}]
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).url("a", &a).url("b", &b).url("c", &c).start();
    let mut client = gateway.connect();
    let order: String = (0..12).map(|_| client.send(&Request::get("/")).ok().text()).collect();
    assert_eq!(order, "aaabaaaaabaa");
}

#[test]
fn a_target_that_comes_back_begins_slowly_and_has_its_share_in_the_end() {
    let [a, b, _] = three();
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - {name: s, targets: [{url: '${a}'}, {url: '${b}'}], slow_start: SLOW, health: {tcp: true, interval: 10ms, healthy_threshold: 1, unhealthy_threshold: 1}, routes: [{paths: [/]}]}
";
    let client_of = |slow: &str| {
        // It is away when the gateway starts, and comes back at the same address.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let late = listener.local_addr().expect("its address");
        drop(listener);
        let yaml = yaml.replace("SLOW", slow);
        let gateway = gateway(&yaml).url("a", &a).env("b", format!("http://{late}")).start();
        let state = || {
            let targets = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets"));
            targets.json()[1]["state"].as_str().unwrap_or_default().to_owned()
        };
        eventually("it is down", || (state() == "down").then_some(()));
        let listener = std::net::TcpListener::bind(late).expect("the same port");
        let relay = b.address();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || wire_through(stream, relay));
            }
        });
        eventually("it is up", || (state() == "up").then_some(()));
        gateway
    };
    let of_b = |gateway: &crate::support::Gateway, count: usize| {
        let mut client = gateway.connect();
        (0..count).filter(|_| client.send(&Request::get("/")).ok().text() == "b").count()
    };
    let slowly = client_of("1h");
    assert_eq!(of_b(&slowly, 110), 10, "a tenth of the other's weight");
    let soon = client_of("50ms");
    eventually("it has its share", || (of_b(&soon, 20) == 10).then_some(()));
}

/// Bytes both ways, until either side ends.
fn wire_through(client: std::net::TcpStream, to: std::net::SocketAddr) {
    let Ok(server) = std::net::TcpStream::connect(to) else { return };
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    let sending = thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut &server, &mut &client);
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = sending.join();
}

#[test]
fn a_backup_is_used_only_when_no_other_is_up() {
    let backup = Upstream::echo("backup");
    let yaml = "
services:
  - {name: s, targets: [{url: '${main}'}, {url: '${backup}', backup: true}], routes: [{paths: [/main]}]}
  - {name: d, targets: [{url: '${dead}'}, {url: '${backup}', backup: true}], routes: [{paths: [/dead]}]}
";
    let main = Upstream::echo("main");
    let gateway = gateway(yaml).url("main", &main).url("backup", &backup).url("dead", &Upstream::dead()).start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/main").text(), "main GET /");
        assert_eq!(gateway.get("/dead").text(), "backup GET /");
    }
}

#[test]
fn a_busy_target_gets_less_with_least_requests() {
    let (slow, fast) = (
        Upstream::start(|_| reply(200, "slow").after(Duration::from_millis(200))),
        Upstream::start(|_| reply(200, "fast")),
    );
    let yaml = "
services:
  - {name: s, targets: [{url: '${slow}'}, {url: '${fast}'}], balance: least_requests, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("slow", &slow).url("fast", &fast).start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                (0..25).for_each(|_| drop(client.send(&Request::get("/")).ok()));
            });
        }
    });
    let (slow, fast) = (slow.requests().len(), fast.requests().len());
    assert_eq!(slow + fast, 100);
    assert!(slow < fast / 2, "{slow} slow, {fast} fast");
}

#[test]
fn chosen_statuses_are_tried_again_at_another_target_but_never_a_post() {
    let bad = Upstream::start(|_| reply(503, "bad"));
    let good = Upstream::start(|_| reply(200, "good"));
    let yaml = "
workers: 1
services:
  - {name: s, targets: [{url: '${bad}'}, {url: '${good}'}], retries: 1, retry_on: [503], health: off, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("bad", &bad).url("good", &good).start();
    let gets: HashSet<u16> = (0..6).map(|_| gateway.get("/").status).collect();
    assert_eq!(gets, HashSet::from([200]));
    let posts: HashSet<u16> = (0..4).map(|_| gateway.send(Request::post("/", "x")).status).collect();
    assert_eq!(posts, HashSet::from([200, 503]));
}

/// How often a target that breaks off is asked for one request, and what its client gets.
fn asked_of_one_that_breaks(keys: &str, request: &Request) -> (usize, u16) {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let breaking = Upstream::raw(move |stream| {
        let mut input = std::io::BufReader::new(stream);
        if let Ok(Some((_, framing))) = wire::read_request_head(&mut input) {
            // All of it has been read: the target may have done what it asks for.
            let _ = wire::read_body(&mut input, framing);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let yaml = format!("services: [{{name: s, url: '${{s}}', retries: 2, {keys} routes: [{{paths: [/]}}]}}]\n");
    let gateway = gateway(&yaml).url("s", &breaking).start();
    let status = gateway.connect().send(request).status;
    (asked.load(Ordering::Relaxed), status)
}

#[test]
fn what_is_not_idempotent_is_sent_once_unless_the_service_says_that_it_may_be_repeated() {
    let (get, post) = (Request::get("/"), Request::post("/", "x"));
    assert_eq!(asked_of_one_that_breaks("", &get), (3, 502));
    assert_eq!(asked_of_one_that_breaks("", &post), (1, 502));
    let said = "retry_methods: [POST],";
    assert_eq!(asked_of_one_that_breaks(said, &post), (3, 502));
    assert_eq!(asked_of_one_that_breaks(said, &get), (1, 502));
    // A body that streams by is gone once it has left.
    let streamed = Request::new("POST", "/").header("transfer-encoding", "chunked").raw_body("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(asked_of_one_that_breaks(said, &streamed), (1, 502));
}

#[test]
fn an_answer_that_says_when_to_come_back_is_not_asked_for_again() {
    let patient = Upstream::start(|_| reply(503, "").header("retry-after", "7"));
    let yaml = "
services:
  - {name: s, url: '${s}', retries: 3, retry_on: [503], routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("s", &patient).start();
    assert_eq!(gateway.get("/").header("retry-after"), Some("7"));
    patient.request();
}

#[test]
fn retries_end_and_stay_within_their_budget() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let broken = Upstream::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        reply(502, "").after(Duration::from_millis(20))
    });
    let yaml = "
workers: 1
services:
  - {name: s, url: '${s}', retries: 4, retry_on: [502], circuit_breaker: off, routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).url("s", &broken).start();
    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 5);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| assert_eq!(gateway.get("/").status, 502));
        }
    });
    // Without a budget all 30 would be sent five times.
    let all = asked.load(Ordering::Relaxed);
    assert!(all < 100, "{all} requests in {:?}", began.elapsed());
}

#[test]
fn kongs_upstreams_balance_and_check() {
    let [a, b, c] = three();
    let yaml = "
_format_version: '3.0'
services:
  - {name: s, host: u, routes: [{paths: [/]}]}
upstreams:
  - name: u
    algorithm: consistent-hashing
    hash_on: header
    hash_on_header: x-user
    healthchecks: {active: {type: tcp, healthy: {interval: 0.01, successes: 1}, unhealthy: {interval: 0.01, tcp_failures: 1}}}
    targets: [{target: '${a}'}, {target: '${b}'}, {target: '${c}'}]
";
    let address = |upstream: &Upstream| upstream.address().to_string();
    let gateway = gateway(yaml).env("a", address(&a)).env("b", address(&b)).env("c", address(&c)).start();
    let of = |n: usize| gateway.send(Request::get("/").header("x-user", n)).ok().text();
    let first: Vec<String> = (0..20).map(of).collect();
    assert_eq!(first, (0..20).map(of).collect::<Vec<_>>());
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 3, "{first:?}");
}
