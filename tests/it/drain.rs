//! The end: SIGTERM under load, the delay between readiness and closing, and what forces it.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply};
use std::{
    collections::BTreeSet,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

fn draining(drain: &str, upstream: &Upstream) -> Gateway {
    let yaml = format!(
        "workers: 2\nadmin: '127.0.0.1:0'\ndrain: {drain}\nservices:\n  - {{name: s, url: '${{s}}', routes: [{{name: r, paths: [/]}}]}}"
    );
    gateway(&yaml).url("s", upstream).start()
}

/// Sends requests until the gateway takes no more connections, and gives the targets that were answered in full.
///
/// A connection may be closed between two requests, and one that the gateway has not accepted may be reset: RFC 9112 §9.3
/// has clients deal with both. What may never be is a request that went on its way and got no whole answer.
fn ask_on(gateway: &Gateway, name: &str, keep_alive: bool) -> Vec<String> {
    let mut answered = Vec::new();
    let mut client: Option<Client> = None;
    for number in 0.. {
        let mut open = match client.take() {
            Some(open) => open,
            None => match Client::try_connect(gateway.address()) {
                Ok(open) => open,
                Err(_) => break,
            },
        };
        let target = format!("/{name}/{number}");
        let Ok(answer) = open.try_send(&Request::get(&target)) else { continue };
        assert_eq!((answer.status, answer.text()), (200, target.clone()));
        let closes = answer.headers.has_token("connection", "close");
        answered.push(target);
        if keep_alive && !closes {
            client = Some(open);
        }
    }
    answered
}

#[test]
fn no_accepted_request_fails_under_load() {
    for drain in ["{}", "{delay: 300ms}"] {
        let upstream = Upstream::start(|request| reply(200, request.target.clone()).after(Duration::from_millis(5)));
        let mut gateway = draining(drain, &upstream);
        let answered = Mutex::new(BTreeSet::new());
        thread::scope(|scope| {
            for client in 0..24 {
                let (gateway, answered) = (&gateway, &answered);
                scope.spawn(move || {
                    let own = ask_on(gateway, &format!("client-{client}"), client % 3 != 0);
                    answered.lock().expect("a lock").extend(own);
                });
            }
            eventually("the load is there", || (upstream.requests().len() > 200).then_some(()));
            gateway.signal("TERM");
        });
        assert_eq!(gateway.ended(), Some(0), "{drain}");
        let answered = answered.into_inner().expect("a lock");
        let accepted: BTreeSet<String> = upstream.requests().into_iter().map(|request| request.target).collect();
        let failed: Vec<_> = accepted.difference(&answered).collect();
        assert!(failed.is_empty(), "{drain}: {} of {}: {failed:?}", failed.len(), accepted.len());
    }
}

#[test]
fn readiness_fails_first_and_connections_are_taken_until_the_delay_ends() {
    let upstream = Upstream::echo("s");
    let mut gateway = draining("{delay: 2s}", &upstream);
    let admin = gateway.address_of("admin");
    let ready = || Client::connect(admin).send(&Request::get("/readyz")).status;
    assert_eq!(ready(), 200);
    let (mut busy, began) = (gateway.connect(), Instant::now());
    gateway.signal("TERM");
    eventually("not ready", || (ready() == 503).then_some(()));
    busy.send(&Request::get("/old")).ok();
    gateway.get("/new").ok();
    assert!(busy.is_closed());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn while_it_waits_to_drain_a_reload_is_refused_and_the_log_opened_anew() {
    let yaml = "admin: 127.0.0.1:0\naccess_log: {file: access.log, fields: [path]}\ndrain: {delay: 10m}\n";
    let mut gateway = gateway(yaml).start();
    let admin = gateway.address_of("admin");
    let send = |request| Client::connect(admin).send(&request);
    gateway.signal("TERM");
    eventually("not ready", || (send(Request::get("/readyz")).status == 503).then_some(()));
    let answer = send(Request::post("/api/v1/reload", ""));
    assert_eq!((answer.status, answer.text()), (503, "{\"error\":\"the gateway is stopping\"}\n".to_owned()));
    let (log, moved) = (gateway.files.path("access.log"), gateway.files.path("access.log.1"));
    std::fs::rename(&log, &moved).expect("a rename");
    gateway.signal("USR1");
    eventually("the new file", || log.exists().then_some(()));
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(1));
}

/// A service that never answers, and a client that waits for it.
fn stuck(drain: &str) -> (Gateway, Client) {
    let upstream = Upstream::raw(|stream| {
        let mut kept = stream;
        let _ = std::io::copy(&mut kept, &mut std::io::sink());
    });
    let gateway = draining(drain, &upstream);
    let mut client = gateway.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    // The connection is served, so draining waits for it.
    let metrics = || Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).text();
    eventually("an exchange is under way", || {
        let text = metrics();
        text.lines().any(|line| line.starts_with("gatewright_requests_in_flight") && line.ends_with(" 1")).then_some(())
    });
    gateway.signal("TERM");
    gateway.log_contains(r#""message":"draining""#);
    (gateway, client)
}

#[test]
fn the_timeout_closes_what_does_not_end() {
    let (mut gateway, mut client) = stuck("{timeout: 200ms}");
    assert_eq!(gateway.ended(), Some(0));
    let line = gateway.log_contains("closed connections that did not end in time");
    assert!(line.contains(r#""connections":1"#), "{line}");
    assert!(client.is_closed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut gateway, mut client) = stuck("{timeout: 10m}");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(1));
    assert!(client.is_closed());
}
