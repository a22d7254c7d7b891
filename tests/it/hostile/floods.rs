//! Scripts that want others to work for them: commands of Redis and calls without end, and more calls at once than there may be.
//!
//! Each wait gives way, so the processor's budget is used up slowly; the route's deadline ends what it does not end.

use super::{LANGUAGES, NEIGHBOUR};
use crate::support::{Answer, Gateway, Request, Upstream, gateway, neighbours::*, redis::redis, reply};
use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

const YAML: &str = "workers: 1
limits: {quarantine: off, script_cpu: CPU}
routes:
- {name: neighbour, paths: [/neighbour], plugins: [{script: neighbour.lua}]}
services:
- name: up
  url: '${up}'
  timeout: TIMEOUT
  routes:
  - {name: flood, paths: [/], plugins: [{script: SCRIPT}]}
";

/// What a hook may take of the processor, and an exchange of the clock.
const USUAL: [&str; 2] = ["50ms", "1s"];
/// Enough to come to the call.
const AMPLE: [&str; 2] = ["2s", "30s"];

fn flooding(
    first: &str,
    [cpu, timeout]: [&str; 2],
    lang: &str,
    body: [&str; 2],
) -> (Gateway, Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let upstream = Upstream::start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        reply(200, "an answer")
    });
    let script = format!("flood.{lang}");
    let text = match lang {
        "lua" => format!("return {{ on_request = function(req, ctx) {} end }}", body[0]),
        _ => format!("fn on_request(req, ctx) {{ {} }}", body[1]),
    };
    let yaml = format!("{first}{}", YAML.replace("SCRIPT", &script).replace("CPU", cpu).replace("TIMEOUT", timeout));
    let given = gateway(&yaml).url("up", &upstream).file("neighbour.lua", NEIGHBOUR);
    (given.file(&script, &text).start(), upstream, asked)
}

/// Eight clients flood at once, while the neighbour asks and asks again: so often at least.
fn eight(gateway: &Gateway, least: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut times = neighbours(gateway, || {
        thread::scope(|scope| {
            let ask = || gateway.connect().try_send(&Request::get("/")).expect("an answer");
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            answers = asking.into_iter().map(|it| it.join().expect("a client")).collect();
        });
    });
    // Asking is asserting; a neighbour that waited for a flood to end would have been answered a handful of times.
    assert!(times.len() >= least, "{} answers in the time", times.len());
    let median = percentile(&mut times, 50);
    assert!(median < Duration::from_millis(250), "{median:?}");
    answers
}

#[test]
fn commands_of_redis_without_end_are_ended_and_neighbours_are_served() {
    let redis = redis();
    let yaml = format!("redis: {}\n", redis.url());
    let body = ["while true do redis.incr('n') end", "loop { redis::incr(\"n\"); }"];
    for lang in LANGUAGES {
        let (gateway, _upstream, asked) = flooding(&yaml, USUAL, lang, body);
        for answer in eight(&gateway, 20) {
            assert_eq!(answer.status, 500, "{lang}: {}", answer.text());
        }
        // A worker that is busy with them all may hear from Redis too late.
        gateway.log_contains("a script failed");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "what its script did not let through");
        assert_eq!(gateway.get("/neighbour").ok().text(), "fine");
    }
}

#[test]
fn calls_without_end_are_ended_and_neighbours_are_served() {
    let body = ["while true do http.get('svc://up/x') end", "loop { http::get(\"svc://up/x\"); }"];
    for lang in LANGUAGES {
        let (gateway, _upstream, asked) = flooding("", USUAL, lang, body);
        for answer in eight(&gateway, 20) {
            assert_eq!(answer.status, 500, "{lang}: {}", answer.text());
        }
        gateway.log_contains("stopped: ");
        let then = asked.load(Ordering::Relaxed);
        assert!(then > 0);
        assert_eq!(gateway.get("/neighbour").ok().text(), "fine");
        assert_eq!(asked.load(Ordering::Relaxed), then, "{lang}: nobody calls any more");
    }
}

#[test]
fn ten_thousand_calls_at_once_are_refused_before_the_first_one() {
    let body = [
        "local calls = {} for i = 1, 10000 do calls['c' .. i] = { url = 'svc://up/x' } end http.all(calls)",
        "let calls = #{}; for i in 0..10000 { calls[`c${i}`] = #{ url: \"svc://up/x\" }; } http::all(calls);",
    ];
    for lang in LANGUAGES {
        let (gateway, _upstream, asked) = flooding("", AMPLE, lang, body);
        for answer in eight(&gateway, 1) {
            assert_eq!(answer.status, 500, "{lang}: {}", answer.text());
        }
        gateway.log_contains("10000 calls are more than 100 at once");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{lang}");
    }
}
