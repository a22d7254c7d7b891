//! Mirroring: what the other service receives, and that nothing that happens to it reaches the client.

use crate::support::{Client, Gateway, Request, Upstream, command::gatewright, eventually, gateway, reply, wire};
use std::{
    io::{BufReader, Write},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// A service, and a route whose requests are copied to another by `rule`.
fn mirroring(rule: &str, main: &Upstream, shadow: &Upstream, log: &str) -> Gateway {
    let yaml = format!(
        "admin: 127.0.0.1:0\naccess_log: {log}\nworkers: 1\nservices:\n- name: main\n  url: \"${{main}}/v1\"\n  routes:\n\
         \x20 - {{name: users, paths: [/api], mirror: {{service: shadow, {rule}}}, request_headers: {{set: {{x-team: a}}}}}}\n\
         - {{name: shadow, url: \"${{shadow}}/copy\", retries: 0, timeout: 2s}}\n"
    );
    gateway(&yaml).url("main", main).url("shadow", shadow).start()
}

/// Waits until so many copies of `users` have come to this.
fn became(gateway: &Gateway, result: &str, count: u64) {
    let line = format!("gatewright_mirrored_requests_total{{route=\"users\",result=\"{result}\"}} {count}");
    let admin = gateway.address_of("admin");
    eventually(&line, || {
        let page = Client::connect(admin).send(&Request::get("/metrics")).text();
        page.contains(&line).then_some(())
    });
}

#[test]
fn a_copy_goes_as_forwarded_and_its_answer_is_dropped() {
    let (main, shadow) = (Upstream::json("\"main\""), Upstream::start(|_| reply(500, "from the mirror")));
    let gateway = mirroring("percent: 100", &main, &shadow, "stdout");
    let request =
        Request::new("PUT", "/api/users/7?a=b").header("x-own", "1").header("Connection", "x-hop").header("x-hop", "1");
    let answer = gateway.send(request.body("a body")).ok();
    assert_eq!(answer.text(), "\"main\"");
    became(&gateway, "answered", 1);
    let (asked, copied) = (main.request(), shadow.request());
    assert_eq!((&*asked.method, &*asked.target), ("PUT", "/v1/users/7?a=b"));
    assert_eq!((&*copied.method, &*copied.target, &*copied.body), ("PUT", "/copy/users/7?a=b", &b"a body"[..]));
    assert_eq!(copied.header("host"), Some(&*shadow.address().to_string()), "as forwarding there sends it");
    assert_eq!((copied.header("x-gatewright-mirror"), asked.header("x-gatewright-mirror")), (Some("users"), None));
    for name in ["x-own", "x-team", "x-request-id", "x-forwarded-for", "traceparent"] {
        let trace = name == "traceparent";
        let same =
            |value: Option<&str>| value.map(|value| if trace { value[..35].to_owned() } else { value.to_owned() });
        assert_eq!(same(copied.header(name)), same(asked.header(name)), "{name}");
        assert!(copied.header(name).is_some(), "{name}");
    }
    assert_eq!(copied.header("x-hop"), None);
    assert!(gateway.output.contains("\"status\":200").contains("\"flags\":[\"mirrored\"]"));
}

#[test]
fn bodies_are_copied_while_they_stream_up_to_a_length() {
    let (main, shadow) = (Upstream::json("1"), Upstream::json("2"));
    let gateway = mirroring("max_body: 64KiB", &main, &shadow, "off");
    let body = vec![b'x'; 64 << 10];
    gateway.send(Request::post("/api", body.clone())).ok();
    became(&gateway, "answered", 1);
    assert_eq!(shadow.request().body, body);
    gateway.send(Request::post("/api", vec![b'x'; (64 << 10) + 1])).ok();
    became(&gateway, "too_large", 1);
    // Of a length that is not announced.
    let chunk = |size: usize| [format!("{size:x}\r\n").into_bytes(), vec![b'y'; size], b"\r\n".to_vec()].concat();
    let chunked = |chunks: &[usize]| {
        let body = chunks.iter().flat_map(|size| chunk(*size)).chain(*b"0\r\n\r\n").collect::<Vec<_>>();
        gateway.send(Request::new("POST", "/api").header("transfer-encoding", "chunked").raw_body(body)).ok();
    };
    chunked(&[1000, 30_000, 10]);
    became(&gateway, "answered", 2);
    assert_eq!(shadow.requests()[1].body, vec![b'y'; 31_010]);
    chunked(&[40_000, 40_000]);
    became(&gateway, "too_large", 2);
    assert_eq!((main.requests().len(), shadow.requests().len()), (4, 2));
    assert_eq!(main.requests()[3].body.len(), 80_000, "the request itself is whole");
}

#[test]
fn a_mirror_that_fails_or_hangs_is_not_noticed() {
    let main = Upstream::json("1");
    let gateway = mirroring("percent: 100", &main, &Upstream::dead(), "off");
    for _ in 0..5 {
        gateway.get("/api/x").ok();
    }
    became(&gateway, "failed", 5);
    let closing = mirroring("percent: 100", &main, &Upstream::raw(drop), "off");
    closing.get("/api/x").ok();
    became(&closing, "failed", 1);
    let late = Upstream::start(|_| reply(200, "late").after(Duration::from_secs(30)));
    let hanging = mirroring("timeout: 100ms", &main, &late, "off");
    hanging.get("/api/x").ok();
    became(&hanging, "failed", 1);
}

#[test]
fn copies_under_way_are_bounded_and_the_others_counted() {
    let main = Upstream::json("1");
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waiting = gate.clone();
    let shadow = Upstream::raw(move |stream| {
        let mut input = BufReader::new(stream);
        while let Ok(Some(_)) = wire::read_request_head(&mut input) {
            let mut open = waiting.0.lock().expect("the gate");
            while !*open {
                open = waiting.1.wait(open).expect("the gate");
            }
            drop(open);
            let _ = input.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let gateway = mirroring("max_in_flight: 2, timeout: 30s", &main, &shadow, "stdout");
    for _ in 0..5 {
        gateway.get("/api/x").ok();
    }
    became(&gateway, "dropped", 3);
    assert!(gateway.output.contains("not_mirrored").contains("\"status\":200"));
    *gate.0.lock().expect("the gate") = true;
    gate.1.notify_all();
    became(&gateway, "answered", 2);
    gateway.get("/api/x").ok();
    became(&gateway, "answered", 3);
}

#[test]
fn a_share_is_copied_and_what_plugins_refuse_is_not() {
    let (main, shadow) = (Upstream::json("1"), Upstream::json("2"));
    let gateway = mirroring("percent: 25", &main, &shadow, "off");
    let mut client = gateway.connect();
    (0..400).for_each(|_| {
        client.send(&Request::get("/api")).ok();
    });
    let copies = eventually("all copies have arrived", || {
        let page = Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).text();
        let in_flight = "gatewright_mirrored_requests_in_flight{route=\"users\"} 0";
        page.contains(in_flight).then(|| shadow.requests().len())
    });
    // Of 400 with a share of a quarter: seven standard deviations on each side.
    assert!((40..=160).contains(&copies), "{copies}");
    let yaml = "workers: 1\nservices:\n- name: main\n  url: \"${main}\"\n  routes:\n\
        \x20 - {name: r, paths: [/r], mirror: {service: main}, plugins: [{script: no.lua}]}\n";
    let quiet = Upstream::json("1");
    let refusing = crate::support::gateway(yaml).url("main", &quiet);
    let refusing =
        refusing.file("no.lua", "return { on_request = function() return reply.error(403, 'no') end }").start();
    assert_eq!(refusing.get("/r").problem(403), "no");
    assert_eq!(quiet.requests().len(), 0);
}

#[test]
fn mistakes_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "services: [{name: users, url: \"http://127.0.0.1:1\"}]\nroutes:\n\
        - {name: a, service: users, paths: [/a], mirror: {service: user}}\n\
        - {name: b, service: users, paths: [/b], mirror: {percent: 3}}\n\
        - {name: c, service: users, paths: [/c], mirror: {service: users, max_body: 1GiB, percant: 3}}\n";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = gatewright(folder.path(), &["check"]);
    let report = format!("{}{}", ended.stdout, ended.stderr);
    for expected in [
        "service `user` is not defined",
        "a mirror needs a `service`",
        "`max_body` of a mirror is at most 16 MiB",
        "unknown key `percant` in a mirror",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
}
