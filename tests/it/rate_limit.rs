//! Pattern 3: `rate-limit` counts who asks, here and on a Redis that several gateways share.

use crate::support::{
    Answer, Gateway, Request, Upstream, eventually, gateway,
    redis::{Redis, redis},
    token::{Key, ada_with},
};
use std::time::{Duration, Instant};

/// A service behind `rate-limit` with that configuration; on Redis when there is one.
fn limited(config: &str, redis: Option<&Redis>) -> (Gateway, Upstream) {
    let upstream = Upstream::echo("it");
    let yaml = format!(
        "
workers: 2
redis: ${{REDIS:-}}
services:
  - name: s
    url: ${{s}}
    routes:
      - name: r
        paths: [/r]
        plugins: [{{name: rate-limit, config: {{{config}}}}}]
"
    );
    let gateway = gateway(&yaml).url("s", &upstream).env("REDIS", redis.map(Redis::url).unwrap_or_default());
    (gateway.start(), upstream)
}

fn statuses(gateway: &Gateway, count: usize, request: &Request) -> Vec<u16> {
    let mut client = gateway.connect();
    (0..count).map(|_| client.send(request).status).collect()
}

/// The number after `key=` in a structured header.
fn field(answer: &Answer, name: &str, key: &str) -> u64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name}: {:?}", answer.headers));
    let found = value.split(';').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('='));
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_hundred_in_a_minute_is_the_default_and_every_answer_tells() {
    for redis in [None, Some(redis())] {
        let (gateway, upstream) = limited("", redis.as_ref());
        let mut client = gateway.connect();
        for left in (0..100).rev() {
            let answer = client.send(&Request::get("/r")).ok();
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=100;w=60"));
            assert_eq!(field(&answer, "ratelimit", "r"), left);
            assert!((1..=60).contains(&field(&answer, "ratelimit", "t")), "{:?}", answer.headers);
        }
        let answer = client.send(&Request::get("/r"));
        let detail = answer.problem(429);
        assert!(detail.starts_with("too many requests"), "{detail}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=100;w=60"));
        assert_eq!(field(&answer, "ratelimit", "r"), 0);
        let retry: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a number of seconds");
        assert!((1..=60).contains(&retry), "{retry}");
        assert!(retry >= field(&answer, "ratelimit", "t"), "{:?}", answer.headers);
        assert_eq!(upstream.requests().len(), 100);
    }
}

#[test]
fn rejected_requests_are_not_counted_and_the_window_slides_on() {
    for redis in [None, Some(redis())] {
        let (gateway, _upstream) = limited("limit: 3, window: 1s", redis.as_ref());
        assert_eq!(statuses(&gateway, 3, &Request::get("/r")), [200; 3]);
        // Were these counted, the window would never empty.
        let refused = Instant::now();
        while refused.elapsed() < Duration::from_millis(700) {
            assert!(matches!(gateway.get("/r").status, 200 | 429));
        }
        eventually("the window is empty again", || (gateway.get("/r").status == 200).then_some(()));
    }
}

#[test]
fn clients_are_told_apart_by_address_header_identity_or_not_at_all() {
    let by_header = |value: &str| Request::get("/r").header("x-api-key", value);
    let (gateway, _upstream) = limited("limit: 2, by: 'header:X-Api-Key'", None);
    assert_eq!(statuses(&gateway, 3, &by_header("a")), [200, 200, 429]);
    assert_eq!(statuses(&gateway, 3, &by_header("b")), [200, 200, 429]);
    assert_eq!(statuses(&gateway, 3, &Request::get("/r")), [200, 200, 429]);
    let from = |address: &str| Request::get("/r").header("x-forwarded-for", address);
    for (config, trusted, expected) in
        [("limit: 2, by: ip", true, 200), ("limit: 2, by: ip", false, 429), ("limit: 2, by: route", true, 429)]
    {
        let upstream = Upstream::echo("it");
        let proxies = if trusted { "trusted_proxies: [127.0.0.1/32]" } else { "" };
        let yaml = format!(
            "{proxies}\nservices: [{{name: s, url: '${{s}}', routes: [{{paths: [/r], plugins: [{{name: rate-limit, config: {{{config}}}}}]}}]}}]"
        );
        let gateway = crate::support::gateway(&yaml).url("s", &upstream).start();
        assert_eq!(statuses(&gateway, 2, &from("1.1.1.1")), [200, 200]);
        assert_eq!(gateway.send(from("2.2.2.2")).status, expected, "{config}, trusted: {trusted}");
    }
}

#[test]
fn identities_are_told_apart_behind_one_address() {
    let key = Key::make("HS256");
    let upstream = Upstream::echo("it");
    let yaml = "
services:
  - name: s
    url: ${s}
    routes:
      - name: r
        paths: [/r]
        plugins:
          - {name: jwt-auth, config: {secret: '${KEY}', algorithms: [HS256]}}
          - {name: rate-limit, config: {limit: 2, by: identity}}
";
    let gateway = gateway(yaml).url("s", &upstream).env("KEY", key.text()).start();
    for user in ["ada", "bob"] {
        let request = Request::get("/r").bearer(&key.token("HS256", &ada_with("sub", user)));
        assert_eq!(statuses(&gateway, 3, &request), [200, 200, 429], "{user}");
    }
}

#[test]
fn a_wrong_by_is_found_before_it_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "services: [{name: s, url: 'http://127.0.0.1:1', routes: [{paths: [/], plugins: [{name: rate-limit, config: {by: moon}}]}]}]";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = crate::support::command::gatewright(folder.path(), &["check"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("`moon` is not `ip`, `header:NAME`, `identity` or `route`"), "{}", ended.stdout);
}

#[test]
fn all_clients_at_once_get_no_more_than_the_limit() {
    let (mut counted, mut rounds) = (Vec::new(), 0);
    while counted != [false, true] {
        let with_redis = counted.len() == 1;
        let redis = with_redis.then(redis);
        // So that what Redis did not answer within its 20 ms, as on a busy machine, is seen: it is not counted here.
        let config = if with_redis { "limit: 50, on_store_error: deny" } else { "limit: 50" };
        let (gateway, upstream) = limited(config, redis.as_ref());
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..10).map(|_| scope.spawn(|| statuses(&gateway, 20, &Request::get("/r")))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        let count = |status: u16| statuses.iter().filter(|each| **each == status).count();
        assert_eq!(upstream.requests().len(), count(200));
        assert!(count(200) <= 50, "{} passed", count(200));
        // It may have counted a request whose answer was late: nobody knows how many can pass in that round.
        rounds += 1;
        if with_redis && rounds < ROUNDS && count(503) > 0 {
            continue;
        }
        assert_eq!((count(200), count(429)), (50, 150));
        if let Some(redis) = redis {
            assert_eq!(redis.counted(), 50);
        }
        counted.push(with_redis);
    }
}

/// So often a round is repeated in which Redis was late.
const ROUNDS: usize = 20;

#[test]
fn two_gateways_on_one_redis_share_one_limit() {
    let redis = redis();
    let (one, _upstream) = limited("limit: 10", Some(&redis));
    let (two, _other) = limited("limit: 10", Some(&redis));
    let mut passed = 0;
    for turn in 0..20 {
        let gateway = if turn % 2 == 0 { &one } else { &two };
        passed += usize::from(gateway.get("/r").status == 200);
    }
    assert_eq!(passed, 10);
}

#[test]
fn a_redis_that_hangs_costs_milliseconds_and_no_request() {
    let redis = redis();
    let (gateway, _upstream) = limited("limit: 1000", Some(&redis));
    assert_eq!(statuses(&gateway, 5, &Request::get("/r")), [200; 5]);
    redis.stop();
    let mut client = gateway.connect();
    let times: Vec<Duration> = (0..50)
        .map(|_| {
            let asked = Instant::now();
            let answer = client.send(&Request::get("/r")).ok();
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=1000;w=60"));
            asked.elapsed()
        })
        .collect();
    redis.go_on();
    let slowest = times.iter().max().copied().unwrap_or_default();
    assert!(slowest < Duration::from_millis(300), "{times:?}");
    // The breaker is open after the first: waiting for Redis is not paid by every request.
    let total: Duration = times.iter().sum();
    assert!(total < Duration::from_secs(1), "{times:?}");
}

#[test]
fn who_keeps_knocking_is_refused_without_asking_redis_again() {
    for _ in 0..ROUNDS {
        let redis = redis();
        let (gateway, upstream) = limited("limit: 2, on_store_error: deny", Some(&redis));
        let mut client = gateway.connect();
        let first: Vec<u16> = (0..3).map(|_| client.send(&Request::get("/r")).status).collect();
        // Given a refusal, which a worker that Redis answered late did not get
        if first != [200, 200, 429] {
            continue;
        }
        let (asked, since) = (redis.checks(), Instant::now());
        // When the same client goes on for half a second
        let (mut refused, mut last) = (0, 60);
        while since.elapsed() < Duration::from_millis(500) {
            let answer = client.send(&Request::get("/r"));
            assert_eq!(answer.problem(429), format!("too many requests: try again in {} s", retry_after_of(&answer)));
            assert_eq!(field(&answer, "ratelimit", "r"), 0);
            assert!(retry_after_of(&answer) <= last && retry_after_of(&answer) >= 59, "{:?}", answer.headers);
            assert!(field(&answer, "ratelimit", "t") <= retry_after_of(&answer), "{:?}", answer.headers);
            last = retry_after_of(&answer);
            refused += 1;
        }
        // Then Redis has not heard of it, but for the one time that a whole second had passed on a busy machine
        let more = redis.checks() - asked;
        assert!(refused > 10 && more <= 1, "{refused} were refused, {more} asked");
        // And an operator who forgives is obeyed within a second
        redis.forget();
        let forgiven = Instant::now();
        eventually("it passes again", || (client.send(&Request::get("/r")).status == 200).then_some(()));
        assert!(forgiven.elapsed() < Duration::from_secs(3), "{:?}", forgiven.elapsed());
        assert_eq!(upstream.requests().len(), 3);
        return;
    }
    panic!("redis was late in every round");
}

fn retry_after_of(answer: &Answer) -> u64 {
    answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a number of seconds")
}

#[test]
fn a_redis_that_is_gone_still_limits_on_this_node() {
    let redis = redis();
    let (gateway, _upstream) = limited("limit: 3", Some(&redis));
    drop(redis);
    assert_eq!(statuses(&gateway, 5, &Request::get("/r")), [200, 200, 200, 429, 429]);
}

#[test]
fn on_store_error_decides() {
    for (choice, expected) in [("allow", 200), ("deny", 503)] {
        let redis = redis();
        let (gateway, _upstream) = limited(&format!("limit: 2, on_store_error: {choice}"), Some(&redis));
        drop(redis);
        assert_eq!(statuses(&gateway, 4, &Request::get("/r")), [expected; 4], "{choice}");
        if choice == "deny" {
            let answer = gateway.get("/r");
            assert_eq!(answer.problem(503), "the rate limit can't be checked at the moment");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
}

#[test]
fn a_start_without_redis_serves_from_the_embedded_store() {
    let gone = redis();
    let url = gone.url();
    drop(gone);
    let upstream = Upstream::echo("it");
    let yaml = "redis: ${REDIS}\nservices: [{name: s, url: '${s}', routes: [{paths: [/r], plugins: [{name: rate-limit, config: {limit: 1}}]}]}]";
    let gateway = gateway(yaml).url("s", &upstream).env("REDIS", url).start();
    assert_eq!(statuses(&gateway, 2, &Request::get("/r")), [200, 429]);
}
