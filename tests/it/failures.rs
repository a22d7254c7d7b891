//! Upstreams and Redis as real processes that die, hang, come back or talk nonsense, under load, within the bounds that are promised.
//!
//! A busy machine can only add to a time, so bounds are compared with what the same requests took before anything failed, and with the
//! best of several rounds. Retries are switched on, as they would be in production; they are off by default.

mod process;

use crate::support::{
    Client, Gateway, Request, Upstream, eventually, gateway,
    redis::{Redis, redis},
};
use process::{Asked, Process, failures, percentile, under_load};
use std::time::{Duration, Instant};

/// A service over these processes with further keys.
fn service(processes: &[Process], keys: &str) -> Gateway {
    let targets: Vec<String> = processes.iter().map(|process| format!("{{url: '{}'}}", process.url())).collect();
    let targets = targets.join(", ");
    let yaml = format!(
        "admin: 127.0.0.1:0\nservices: [{{name: s, targets: [{targets}], retries: 2, {keys} routes: [{{paths: [/]}}]}}]\n"
    );
    gateway(&yaml).start()
}

fn three(third: &'static str) -> Vec<Process> {
    vec![Process::start("ok"), Process::start("ok"), Process::start(third)]
}

fn states(gateway: &Gateway) -> Vec<String> {
    let answer = Client::connect(gateway.address_of("admin")).send(&Request::get("/api/v1/targets")).ok();
    let targets = answer.json();
    let state = |target: &serde_json::Value| target["state"].as_str().unwrap_or_default().to_owned();
    targets.as_array().expect("a list").iter().map(state).collect()
}

const TWO_SECONDS: Duration = Duration::from_secs(2);

#[test]
fn one_of_three_killed_fails_one_in_a_thousand_for_two_seconds_and_then_none() {
    let mut processes = three("ok");
    let gateway = service(&processes, "");
    let mut killed = Instant::now();
    let asked = under_load(&gateway, 32, |load| {
        load.wait(Instant::now(), 500, Duration::ZERO);
        killed = Instant::now();
        processes[1].kill();
        load.wait(killed, 2_000, TWO_SECONDS);
        load.wait(Instant::now(), 500, Duration::ZERO);
    });
    let (count, failed) = failures(&asked, killed - Duration::from_millis(200), killed + TWO_SECONDS);
    assert!(failed.len() * 1_000 <= count, "{} of {count}: {failed:#?}", failed.len());
    let (_, late) = failures(&asked, killed + TWO_SECONDS, Instant::now());
    assert!(late.is_empty(), "{late:#?}");
}

#[test]
fn one_of_three_that_hangs_costs_a_few_timeouts_and_then_nothing() {
    let processes = three("ok");
    let gateway = service(&processes, "read_timeout: 200ms, circuit_breaker: off,");
    let mut hung = Instant::now();
    let clients = 16;
    let asked = under_load(&gateway, clients, |load| {
        load.wait(Instant::now(), 200, Duration::ZERO);
        hung = Instant::now();
        processes[1].hang();
        eventually("it is left out", || (states(&gateway)[1] == "ejected").then_some(()));
        load.wait(Instant::now(), 1_000, Duration::from_millis(500));
    });
    let (_, failed) = failures(&asked, asked[0].at, Instant::now());
    // Five in a row, and whoever was waiting beside them.
    assert!(failed.len() <= clients + 5, "{} failed: {failed:#?}", failed.len());
    assert!(failed.iter().all(|asked| asked.status == 504), "{failed:#?}");
    assert!(asked.iter().rev().take(500).all(|asked| asked.status == 200));
}

#[test]
fn all_dead_is_503_within_fifty_milliseconds() {
    let mut processes = three("ok");
    let gateway = service(&processes, "");
    let mut dead = Instant::now();
    let asked = under_load(&gateway, 8, |load| {
        load.wait(Instant::now(), 200, Duration::ZERO);
        processes.iter_mut().for_each(Process::kill);
        dead = Instant::now();
        load.wait(dead, 1_000, TWO_SECONDS);
    });
    let after: Vec<Asked> = asked.iter().filter(|asked| asked.at >= dead).copied().collect();
    let odd: Vec<&Asked> = after.iter().filter(|asked| asked.status != 503).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    let took = |asked: &[Asked]| asked.iter().map(|asked| asked.took).collect::<Vec<_>>();
    let well: Vec<Asked> = asked.iter().filter(|asked| asked.status == 200).copied().collect();
    let bound = Duration::from_millis(50) + percentile(&took(&well), 99);
    let slow = percentile(&took(&after), 99);
    assert!(slow <= bound, "p99 {slow:?}, above {bound:?}");
    // The very first ones as well, which know nothing yet.
    let first = percentile(&took(&after[..100]), 90);
    assert!(first <= bound, "p90 of the first hundred {first:?}, above {bound:?}");
}

#[test]
fn one_that_flaps_fails_nobody_and_is_used_again_in_the_end() {
    let mut processes = three("ok");
    let gateway = service(&processes, "health: {passive: {eject_for: 50ms, max_eject_for: 100ms}},");
    let asked = under_load(&gateway, 16, |load| {
        for _ in 0..4 {
            load.wait(Instant::now(), 200, Duration::from_millis(100));
            processes[2].kill();
            load.wait(Instant::now(), 200, Duration::from_millis(100));
            processes[2].restart();
        }
        eventually("it is used again", || (states(&gateway)[2] == "up").then_some(()));
        load.wait(Instant::now(), 200, Duration::ZERO);
    });
    let (_, failed) = failures(&asked, asked[0].at, Instant::now());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn one_that_answers_garbage_fails_no_get_and_is_left_out() {
    for mode in ["garbage", "failing"] {
        let processes = three(mode);
        let gateway = service(&processes, "retry_on: [reset, 503],");
        let asked = under_load(&gateway, 8, |load| load.wait(Instant::now(), 500, Duration::ZERO));
        let (_, failed) = failures(&asked, asked[0].at, Instant::now());
        assert!(failed.is_empty(), "{mode}: {failed:#?}");
        assert_eq!(states(&gateway), ["up", "up", "ejected"], "{mode}");
    }
}

#[test]
fn one_that_fails_now_and_then_is_left_out_by_its_rate() {
    // Two thirds of what the last target answers are failures, never three in a row.
    let nth = std::sync::atomic::AtomicUsize::new(0);
    let flaky = Upstream::start(move |_| {
        let nth = nth.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        crate::support::reply(if nth.is_multiple_of(3) { 200 } else { 500 }, "")
    });
    let good = Process::start("ok");
    let yaml = "
workers: 1
admin: 127.0.0.1:0
services:
  - name: s
    targets: [{url: '${good}'}, {url: '${flaky}'}]
    circuit_breaker: off
    health: {passive: {failure_rate: 50, min_requests: 20}}
    routes: [{paths: [/]}]
";
    let gateway = gateway(yaml).env("good", good.url()).url("flaky", &flaky).start();
    let mut client = gateway.connect();
    (0..38).for_each(|_| drop(client.send(&Request::get("/"))));
    assert_eq!(states(&gateway), ["up", "up"]);
    (0..10).for_each(|_| drop(client.send(&Request::get("/"))));
    assert_eq!(states(&gateway), ["up", "ejected"]);
    assert_eq!(Client::connect(gateway.address_of("admin")).send(&Request::post("/api/v1/reload", "")).status, 200);
    assert_eq!(states(&gateway), ["up", "ejected"], "a reload forgot it");
    let by_hand = format!("/api/v1/targets/s/{}/auto", flaky.address());
    assert_eq!(Client::connect(gateway.address_of("admin")).send(&Request::post(&by_hand, "")).status, 200);
    assert_eq!(states(&gateway), ["up", "up"]);
}

#[test]
fn one_of_five_that_fails_more_than_the_others_is_left_out_and_none_where_all_fail_alike() {
    for all_fail in [false, true] {
        let flaky = |fails: bool| {
            let nth = std::sync::atomic::AtomicUsize::new(0);
            Upstream::start(move |_| {
                let nth = nth.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                crate::support::reply(if fails && nth.is_multiple_of(4) { 500 } else { 200 }, "")
            })
        };
        let upstreams: Vec<Upstream> = (0..5).map(|at| flaky(all_fail || at == 4)).collect();
        let targets: Vec<String> = upstreams.iter().map(|upstream| format!("{{url: '{}'}}", upstream.url())).collect();
        let yaml = format!(
            "workers: 1\nadmin: 127.0.0.1:0\nservices: [{{name: s, targets: [{}], circuit_breaker: off, health: {{passive: {{max_deviation: 1.9, min_requests: 20, window: 60s}}}}, routes: [{{paths: [/]}}]}}]\n",
            targets.join(", ")
        );
        let gateway = gateway(&yaml).start();
        let mut client = gateway.connect();
        (0..5 * 30).for_each(|_| drop(client.send(&Request::get("/"))));
        let last = if all_fail { "up" } else { "ejected" };
        assert_eq!(states(&gateway), ["up", "up", "up", "up", last]);
    }
}

#[test]
fn a_slow_one_and_a_cut_one_harm_nobody_else() {
    let slow = Process::start("slow");
    let cut = Process::start("cut");
    let good = Process::start("ok");
    let yaml = "
services:
  - {name: slow, url: '${slow}', timeout: 100ms, routes: [{paths: [/slow]}]}
  - {name: cut, url: '${cut}', routes: [{paths: [/cut]}]}
  - {name: good, url: '${good}', routes: [{paths: [/]}]}
";
    let gateway = gateway(yaml).env("slow", slow.url()).env("cut", cut.url()).env("good", good.url()).start();
    let asked = under_load(&gateway, 4, |load| {
        for _ in 0..5 {
            let begun = Instant::now();
            assert_eq!(gateway.get("/slow").status, 504);
            assert!(begun.elapsed() >= Duration::from_millis(100));
            // The head has left already: all that can still be said is that the body is not whole.
            let answer = gateway.connect().try_send(&Request::get("/cut"));
            assert_eq!(answer.expect_err("a whole body").kind(), std::io::ErrorKind::UnexpectedEof);
        }
        load.wait(Instant::now(), 200, Duration::ZERO);
    });
    let (_, failed) = failures(&asked, asked[0].at, Instant::now());
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A limited service that falls back when Redis is away.
fn limited(redis: &Redis) -> (Gateway, Process) {
    let process = Process::start("ok");
    let yaml = "
workers: 1
redis: ${REDIS}
services:
  - name: s
    url: ${s}
    routes: [{paths: [/], plugins: [{name: rate-limit, config: {limit: 1000000}}]}]
";
    (gateway(yaml).env("REDIS", redis.url()).env("s", process.url()).start(), process)
}

fn times(client: &mut Client, count: usize) -> Vec<Duration> {
    let one = |_| {
        let begun = Instant::now();
        assert_eq!(client.send(&Request::get("/")).status, 200);
        begun.elapsed()
    };
    (0..count).map(one).collect()
}

fn lost(gateway: &Gateway) -> usize {
    gateway.log.lines().iter().filter(|line| line.contains("redis was lost")).count()
}

fn connected(gateway: &Gateway) -> usize {
    gateway.log.lines().iter().filter(|line| line.contains("redis is connected")).count()
}

#[test]
fn a_redis_that_hangs_adds_at_most_25_ms_until_its_breaker_opens_and_at_most_one_after() {
    let redis = redis();
    let (gateway, _process) = limited(&redis);
    let mut client = gateway.connect();
    times(&mut client, 50);
    let (mut rounds, mut good) = (Vec::new(), false);
    while !good && rounds.len() < 8 {
        let before = percentile(&times(&mut client, 100), 50);
        let losses = lost(&gateway);
        redis.stop();
        let mut waited = Vec::new();
        eventually("its breaker opens", || {
            waited.extend(times(&mut client, 1));
            (lost(&gateway) > losses).then_some(())
        });
        let after = percentile(&times(&mut client, 100), 50);
        redis.go_on();
        eventually("redis is back", || (connected(&gateway) > lost(&gateway)).then_some(()));
        // Three timeouts in a row open it. What came before the log could be read did not wait any more.
        assert!(waited.len() >= 3, "its breaker opened after {waited:?}");
        let added = waited[..3].iter().max().copied().unwrap_or_default().saturating_sub(before);
        good = added <= Duration::from_millis(25) && after <= before + Duration::from_millis(1);
        rounds.push(format!("{before:?} before, then {waited:?}, {after:?} after"));
    }
    assert!(good, "{rounds:#?}");
    redis.forget();
    eventually("it counts there again", || (times(&mut client, 1).len() == 1 && redis.keys() > 0).then_some(()));
}

#[test]
fn a_redis_that_is_killed_fails_nobody_and_counts_again_when_it_is_back() {
    let mut redis = redis();
    let (gateway, _process) = limited(&redis);
    let asked = under_load(&gateway, 8, |load| {
        load.wait(Instant::now(), 100, Duration::ZERO);
        redis.kill();
        load.wait(Instant::now(), 200, Duration::from_millis(300));
        redis.restart();
        eventually("it counts there again", || (redis.keys() > 0).then_some(()));
        load.wait(Instant::now(), 100, Duration::ZERO);
    });
    let (_, failed) = failures(&asked, asked[0].at, Instant::now());
    assert!(failed.is_empty(), "{failed:#?}");
}
