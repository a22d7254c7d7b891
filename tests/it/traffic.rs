//! Traffic rules of a route that need no script: redirects, replies, splits, rewriting, faults.

use crate::support::{Request, Upstream, command::gatewright, gateway, reply};
use std::time::{Duration, Instant};

/// What `check` says of a configuration.
fn check(yaml: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = gatewright(folder.path(), &["check"]);
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn redirects_keep_what_they_are_told_to() {
    let yaml = "workers: 1\nroutes:\n\
        - {name: all, hosts: [old.example], paths: [/], redirect: \"https://new.example{path}{query}\"}\n\
        - {name: rest, paths: [/v1], redirect: {to: \"/v2{rest}\", status: 302}}\n\
        - {name: user, paths: [\"/u/{id}\"], redirect: {to: \"https://{host}/users/{id}\", status: 301}}\n\
        - {name: bare, paths: [/bare], redirect: new.example}\n";
    let refused = check(yaml);
    assert!(refused.contains("is not a URL to redirect to"), "{refused}");
    let gateway = gateway(&yaml[..yaml.find("- {name: bare").expect("it is there")]).start();
    for (target, host, status, location) in [
        ("/a/b?c=d", "old.example", 308, "https://new.example/a/b?c=d"),
        ("/a", "old.example:8080", 308, "https://new.example/a"),
        ("/v1/users?x", "a.example", 302, "/v2/users"),
        ("/v1", "a.example", 302, "/v2"),
        ("/u/a%20b", "a.example:80", 301, "https://a.example/users/a%20b"),
    ] {
        let answer = gateway.connect().send(&Request::get(target).header("host", host));
        assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{target}");
    }
}

#[test]
fn a_reply_needs_no_service() {
    let yaml = "workers: 1\nroutes:\n\
        - {name: robots, paths: [/robots.txt], reply: {body: \"User-agent: *\"}}\n\
        - {name: gone, paths: [/old], reply: {status: 410, headers: {content-type: text/html, x-a: b}, body: <p>gone</p>}}\n";
    let gateway = gateway(yaml).start();
    let robots = gateway.get("/robots.txt");
    assert_eq!((robots.status, robots.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert_eq!(robots.text(), "User-agent: *");
    let gone = gateway.get("/old");
    assert_eq!((gone.status, gone.header("content-type"), gone.header("x-a")), (410, Some("text/html"), Some("b")));
}

#[test]
fn a_split_shares_by_weight_and_a_script_may_choose_otherwise() {
    let (stable, canary) = (Upstream::json("\"stable\""), Upstream::json("\"canary\""));
    let yaml = "workers: 1\nservices:\n- {name: stable, url: \"${stable}\"}\n- {name: canary, url: \"${canary}\"}\nroutes:\n\
        - {name: both, paths: [/both], split: [{service: stable, weight: 3}, {service: canary, weight: 1}]}\n\
        - name: chosen\n  paths: [/chosen]\n  split: [{service: stable}, {service: canary, weight: 0}]\n  plugins: [{script: choose.lua}]\n";
    let choose =
        "return { on_request = function(req) if req.headers['x-canary'] then req.upstream = 'canary' end end }";
    let gateway = gateway(yaml).url("stable", &stable).url("canary", &canary).file("choose.lua", choose).start();
    let mut client = gateway.connect();
    let canaries = (0..400).filter(|_| client.send(&Request::get("/both")).text() == "\"canary\"").count();
    // Of 400 with a share of a quarter: seven standard deviations on each side.
    assert!((40..=160).contains(&canaries), "{canaries}");
    assert_eq!(client.send(&Request::get("/chosen")).text(), "\"stable\"");
    assert_eq!(client.send(&Request::get("/chosen").header("x-canary", "1")).text(), "\"canary\"");
}

#[test]
fn paths_and_headers_are_rewritten() {
    let upstream = Upstream::start(|_| reply(200, "fine").header("server", "secret/1.2").header("x-kept", "1"));
    let yaml = "workers: 1\nservices:\n- name: users\n  url: \"${users}\"\n  routes:\n\
        \x20 - name: users\n    paths: [\"/u/{id}\"]\n    rewrite: \"/v2/users/{id}\"\n\
        \x20   request_headers: {remove: [x-debug], set: {x-team: a}, add: {x-more: \"2\"}}\n\
        \x20   response_headers: {remove: [server], set: {cache-control: no-store}}\n";
    let gateway = gateway(yaml).url("users", &upstream).start();
    let request = Request::get("/u/a%2Bb?c=d").header("x-debug", "1").header("X_Team", "forged").header("x-more", "1");
    let answer = gateway.send(request);
    assert_eq!((answer.header("server"), answer.header("cache-control")), (None, Some("no-store")));
    assert_eq!(answer.header("x-kept"), Some("1"));
    let received = upstream.request();
    assert_eq!(received.target, "/v2/users/a%2Bb?c=d");
    assert_eq!((received.header("x-debug"), received.header("x_team")), (None, None));
    assert_eq!((received.header("x-team"), received.headers.all("x-more")), (Some("a"), vec!["1", "2"]));
}

#[test]
fn a_fault_delays_and_aborts() {
    let upstream = Upstream::json("1");
    let yaml = "workers: 1\nservices:\n- name: users\n  url: \"${users}\"\n  routes:\n\
        \x20 - {name: slow, paths: [/slow], fault: {delay: 100ms}}\n\
        \x20 - {name: broken, paths: [/broken], fault: {abort: 503}}\n\
        \x20 - {name: never, paths: [/never], fault: {abort: 503, percent: 0}}\n";
    let gateway = gateway(yaml).url("users", &upstream).start();
    let asked = Instant::now();
    assert_eq!(gateway.get("/slow").status, 200);
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert_eq!(gateway.get("/broken").problem(503), "a fault was injected by the configuration");
    assert_eq!(gateway.get("/never").status, 200);
}

#[test]
fn mistakes_are_found_before_anything_serves() {
    let report = check(
        "services: [{name: users, url: \"http://127.0.0.1:1\"}]\nroutes:\n\
        - {name: a, paths: [/a], split: [{service: user}]}\n\
        - {name: b, paths: [/b], redirect: \"/x/{id}\"}\n\
        - {name: c, paths: [/c], reply: {headers: {content-length: \"3\"}}}\n\
        - {name: d, paths: [/d], service: users, fault: {percent: 3}}\n",
    );
    for expected in [
        "service `user` is not defined",
        "no `{id}` in every path of the route",
        "the header `content-length` is the gateway's own and can't be changed",
        "a fault needs a `delay` or an `abort`",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
}
