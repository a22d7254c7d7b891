//! The Redis store against a real redis-server, started for each test on a free port.
//!
//! Nothing is skipped when redis-server is missing: the tests then fail and say how to get it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::super::{
    AnsweredBy, Check, LimitRequest, ManualClock, OnStoreError, RedisClient, RedisOptions, RedisScript, RedisValue,
    Rule, StoreError, Stores, WorkerStore,
};

/// The most that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// This machine may be busy with other tests, so the tests that are not about time allow Redis more of it.
const PATIENT: RedisOptions =
    RedisOptions { connect_timeout: Duration::from_secs(5), response_timeout: Duration::from_secs(5), trip_after: 3 };

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Server { process: Server::run(port), port }
    }

    fn run(port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server runs; `tests/run` installs it when it is missing")
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Server::run(self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a test as a worker does: on one thread.
fn worker<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test)
}

/// A gateway's only worker.
fn gateway(url: &str, options: RedisOptions) -> WorkerStore {
    let stores = Arc::new(Stores::new(Arc::new(ManualClock::default())));
    WorkerStore::connect_with(Some(url), options, stores).unwrap()
}

async fn connected(server: &Server, options: RedisOptions) -> WorkerStore {
    let store = gateway(&server.url(), options);
    wait_for(&store, true).await;
    store
}

async fn wait_for(store: &WorkerStore, up: bool) {
    let client = store.redis().unwrap();
    let turned = async {
        while client.is_up() != up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, turned).await.expect("the link turns");
}

fn per_minute(limit: u64) -> Rule {
    Rule::sliding_window(limit, Duration::from_secs(60)).unwrap()
}

async fn ask(
    store: &WorkerStore,
    key: &str,
    rule: Rule,
    cost: u32,
    on_store_error: OnStoreError,
) -> Result<Check, StoreError> {
    let key = key.as_bytes();
    let request = LimitRequest { key, rule, cost, on_store_error };
    store.limiter().check(request).get().await
}

async fn check(store: &WorkerStore, key: &str, rule: Rule, cost: u32) -> Check {
    ask(store, key, rule, cost, OnStoreError::Local).await.unwrap()
}

async fn redis(store: &WorkerStore, line: &str) -> Result<RedisValue, StoreError> {
    let words = line.split(' ');
    let words: Vec<_> = words.map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    store.redis().unwrap().command(&words).await
}

#[test]
fn two_gateways_share_one_limit_in_every_model() {
    let server = Server::start();
    worker(async {
        let one = connected(&server, PATIENT).await;
        let other = connected(&server, PATIENT).await;
        let rules = [per_minute(10), per_minute(1001), Rule::token_bucket(0.001, 10).unwrap()];
        for rule in rules {
            let half = (rule.limit() / 2) as u32;
            let first = check(&one, "k", rule, half).await;
            assert_eq!(first.answered_by, AnsweredBy::Redis);
            assert!(first.decision.allowed);
            let rest = rule.limit() as u32 - half;
            let second = check(&other, "k", rule, rest).await;
            assert!(second.decision.allowed);
            assert_eq!(second.decision.remaining, 0);
            let third = check(&one, "k", rule, 1).await;
            assert!(!third.decision.allowed, "{rule:?}");
            assert!(third.decision.reset_after <= third.decision.retry_after);
            assert!(!third.decision.retry_after.is_zero());
        }
    });
}

#[test]
fn refused_requests_are_not_counted() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        for rule in [per_minute(3), per_minute(1003)] {
            let limit = rule.limit() as u32;
            assert!(check(&store, "k", rule, limit - 1).await.decision.allowed);
            for _ in 0..5 {
                assert!(!check(&store, "k", rule, 2).await.decision.allowed);
            }
            assert_eq!(check(&store, "k", rule, 0).await.decision.remaining, 1);
            assert!(check(&store, "k", rule, 1).await.decision.allowed);
        }
        let log = redis(&store, "LLEN gatewright:limit:log:60000000:k").await;
        assert_eq!(log, Ok(RedisValue::Int(3)));
    });
}

async fn checks(store: &WorkerStore) -> usize {
    let Ok(RedisValue::Bytes(text)) = redis(store, "INFO commandstats").await else { panic!("no INFO") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_was_refused_is_not_asked_again_for_a_second() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        let hourly = Rule::sliding_window(1010, Duration::from_secs(3600)).unwrap();
        for (number, rule) in [per_minute(10), hourly, Rule::token_bucket(0.01, 10).unwrap()].into_iter().enumerate() {
            let (key, limit) = (format!("k{number}"), rule.limit() as u32);
            // Given a refusal
            assert!(check(&store, &key, rule, limit - 3).await.decision.allowed);
            let since = Instant::now();
            let told = check(&store, &key, rule, 5).await;
            assert!(!told.decision.allowed);
            let asked = checks(&store).await;
            // When the same is asked again and again
            let mut last = told.decision;
            for _ in 0..100 {
                let again = check(&store, &key, rule, 5).await;
                assert_eq!(again.answered_by, AnsweredBy::Redis);
                let decision = again.decision;
                assert!(!decision.allowed);
                assert_eq!((decision.limit, decision.remaining), (rule.limit(), 3));
                assert!(decision.retry_after <= last.retry_after && decision.reset_after <= last.reset_after);
                assert!(
                    told.decision.retry_after <= decision.retry_after + since.elapsed(),
                    "no less than there is to wait"
                );
                last = decision;
            }
            // Then Redis heard of it no more than once a second
            let more = checks(&store).await - asked;
            assert!(more as u64 <= since.elapsed().as_secs(), "{rule:?}: {more}");
            // And what costs less, or stands under another rule, is asked, and passes
            assert!(check(&store, &key, rule, 2).await.decision.allowed);
            // After which less remains than was known
            let fewer = check(&store, &key, rule, 5).await.decision;
            assert_eq!((fewer.allowed, fewer.remaining), (false, 1));
            assert!(!check(&store, &key, rule, 2).await.decision.allowed);
            assert!(check(&store, &key, rule, 1).await.decision.allowed);
        }
        // A raised limit is another rule
        assert!(!check(&store, "k0", per_minute(10), 1).await.decision.allowed);
        assert!(check(&store, "k0", per_minute(11), 1).await.decision.allowed);
        // What never passes is not kept: its time is none after which it would
        let asked = checks(&store).await;
        for _ in 0..3 {
            assert!(!check(&store, "k0", per_minute(10), 11).await.decision.allowed);
        }
        assert_eq!(checks(&store).await, asked + 3);
    });
}

#[test]
fn a_key_that_is_deleted_passes_within_a_second() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        assert!(check(&store, "k", per_minute(1), 1).await.decision.allowed);
        let asked = Instant::now();
        assert!(!check(&store, "k", per_minute(1), 1).await.decision.allowed);
        assert_eq!(redis(&store, "DEL gatewright:limit:log:60000000:k").await, Ok(RedisValue::Int(1)));
        while !check(&store, "k", per_minute(1), 1).await.decision.allowed {
            assert!(asked.elapsed() < Duration::from_millis(1100), "{:?}", asked.elapsed());
        }
    });
}

#[test]
fn a_known_refusal_stands_while_redis_hangs() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, RedisOptions::default()).await;
        let options = [OnStoreError::Local, OnStoreError::Allow, OnStoreError::Deny];
        // Given refusals by Redis, which may be late on a busy machine
        let mut known = false;
        for round in 0..50 {
            wait_for(&store, true).await;
            let key = format!("k{round}");
            let first = check(&store, &key, per_minute(1), 1).await;
            let second = check(&store, &key, per_minute(1), 1).await;
            if (first.answered_by, second.answered_by) != (AnsweredBy::Redis, AnsweredBy::Redis)
                || second.decision.allowed
            {
                continue;
            }
            // When Redis hangs
            let since = Instant::now();
            server.signal("-STOP");
            let answers = options.map(|on_store_error| ask(&store, &key, per_minute(1), 1, on_store_error));
            let answers = join_all(answers).await;
            let is_short = since.elapsed() < Duration::from_millis(900);
            // Then it is refused at once, whatever was asked for, and after a second what was asked for decides
            if is_short {
                let told: Vec<_> =
                    answers.into_iter().map(|answer| answer.map(|it| (it.decision.allowed, it.answered_by))).collect();
                assert_eq!(
                    told,
                    [Ok((false, AnsweredBy::Redis)), Ok((false, AnsweredBy::Redis)), Ok((false, AnsweredBy::Redis))]
                );
                let decided = loop {
                    let answer = check(&store, &key, per_minute(1), 1).await;
                    if answer.answered_by != AnsweredBy::Redis {
                        break answer;
                    }
                };
                assert_eq!((decided.answered_by, decided.decision.allowed), (AnsweredBy::Fallback, true));
                assert!(!check(&store, &key, per_minute(1), 1).await.decision.allowed);
                known = true;
            }
            server.signal("-CONT");
            if known {
                return;
            }
        }
        panic!("redis was late fifty times");
    });
}

#[test]
fn of_a_thousand_at_once_exactly_the_limit_passes() {
    let server = Server::start();
    worker(async {
        let stores = [connected(&server, PATIENT).await, connected(&server, PATIENT).await];
        let checks = (0..1000).map(|i| check(&stores[i % 2], "k", per_minute(100), 1));
        let checks = join_all(checks).await;
        assert!(checks.iter().all(|c| c.answered_by == AnsweredBy::Redis));
        let passed = checks.iter().filter(|check| check.decision.allowed);
        assert_eq!(passed.count(), 100);
    });
}

#[test]
fn waiting_as_long_as_told_is_enough_and_keys_expire() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        let window = Duration::from_millis(200);
        let rules = [
            Rule::sliding_window(3, window).unwrap(),
            Rule::sliding_window(1002, window).unwrap(),
            Rule::token_bucket(20.0, 2).unwrap(),
        ];
        for rule in rules {
            let limit = rule.limit() as u32;
            let mut refused = 0;
            let started = Instant::now();
            while refused < 4 && started.elapsed() < PATIENCE {
                let first = check(&store, "k", rule, limit - 1).await.decision;
                if !first.allowed {
                    refused += 1;
                    // Not a wait for an event: this time is what is tested.
                    tokio::time::sleep(first.retry_after).await;
                    let again = check(&store, "k", rule, limit - 1).await.decision;
                    assert!(again.allowed, "{rule:?}: {first:?}, then {again:?}");
                }
            }
            assert_eq!(refused, 4, "{rule:?}");
        }
        let emptied = async {
            while redis(&store, "DBSIZE").await != Ok(RedisValue::Int(0)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, emptied).await.expect("every key expires");
    });
}

#[test]
fn a_frozen_redis_costs_milliseconds_once() {
    let server = Server::start();
    worker(async {
        // Given a limit that is half used, counted in Redis
        let store = connected(&server, RedisOptions::default()).await;
        // When Redis freezes
        server.signal("-STOP");
        // Then each check answers soon, from this process, and after three of them at once
        let mut slow = 0;
        let started = Instant::now();
        for _ in 0..1000 {
            let waited = store.redis().unwrap().is_up();
            slow += u32::from(waited);
            let check = check(&store, "k", per_minute(100), 1).await;
            assert_eq!(check.answered_by, AnsweredBy::Fallback);
        }
        assert_eq!(slow, 3);
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
        // And what this process counts is a limit, too
        assert!(!check(&store, "k", per_minute(100), 1).await.decision.allowed);
        // When it thaws
        server.signal("-CONT");
        wait_for(&store, true).await;
        let after = check(&store, "k2", per_minute(100), 1).await;
        assert_eq!(after.answered_by, AnsweredBy::Redis);
    });
}

#[test]
fn a_slow_answer_adds_no_more_than_the_response_timeout() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, RedisOptions::default()).await;
        server.signal("-STOP");
        // The best of three, because the machine may be busy: a timeout that was longer would be longer each time.
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let started = Instant::now();
            check(&store, "k", per_minute(100), 1).await;
            best = best.min(started.elapsed());
        }
        assert!(best >= Duration::from_millis(19), "{best:?}");
        assert!(best <= Duration::from_millis(25), "{best:?}");
        assert!(!store.redis().unwrap().is_up());
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let started = Instant::now();
            check(&store, "k", per_minute(100), 1).await;
            best = best.min(started.elapsed());
        }
        assert!(best <= Duration::from_millis(1), "{best:?}");
        server.signal("-CONT");
    });
}

#[test]
fn a_worker_that_was_held_up_does_not_blame_redis() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, RedisOptions::default()).await;
        // On a busy machine Redis may truly be late now and then; blamed for the worker, it would be late every time.
        for _ in 0..50 {
            wait_for(&store, true).await;
            let held_up = async {
                // Not a wait for an event: a script that keeps the thread for twice the timeout.
                std::thread::sleep(Duration::from_millis(40));
            };
            let (answer, ()) = tokio::join!(check(&store, "k", per_minute(100), 1), held_up);
            if answer.answered_by == AnsweredBy::Redis {
                return;
            }
        }
        panic!("redis was blamed fifty times");
    });
}

#[test]
fn a_restarted_redis_is_found_again_and_learns_the_scripts_again() {
    let mut server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        assert!(check(&store, "k", per_minute(1), 1).await.decision.allowed);
        server.stop();
        let without = check(&store, "k", per_minute(1), 1).await;
        assert_eq!(without.answered_by, AnsweredBy::Fallback);
        server.restart();
        wait_for(&store, true).await;
        let after = check(&store, "k", per_minute(1), 1).await;
        assert_eq!(after.answered_by, AnsweredBy::Redis);
        assert!(after.decision.allowed, "the new Redis is empty");
    });
}

#[test]
fn without_redis_each_request_says_what_becomes_of_it() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    worker(async {
        let store = gateway(&format!("redis://:secret@{address}"), RedisOptions::default());
        let rule = per_minute(1);
        let local = ask(&store, "k", rule, 1, OnStoreError::Local).await.unwrap();
        assert_eq!(local.answered_by, AnsweredBy::Fallback);
        let local = ask(&store, "k", rule, 1, OnStoreError::Local).await.unwrap();
        assert!(!local.decision.allowed);
        let allow = ask(&store, "k", rule, 1, OnStoreError::Allow).await.unwrap();
        assert_eq!(allow.answered_by, AnsweredBy::Nobody);
        assert!(allow.decision.allowed);
        let deny = ask(&store, "k", rule, 1, OnStoreError::Deny).await;
        assert_eq!(deny.unwrap_err().to_string(), format!("redis {address}: not available"));
    });
}

#[test]
fn commands_and_scripts_answer_or_say_what_is_wrong() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        let ok = RedisValue::Status("OK".into());
        assert_eq!(redis(&store, "SET k 7").await, Ok(ok));
        assert_eq!(redis(&store, "INCR k").await, Ok(RedisValue::Int(8)));
        let eight = RedisValue::Bytes(Bytes::from_static(b"8"));
        let list = RedisValue::List(vec![eight, RedisValue::Nil]);
        assert_eq!(redis(&store, "MGET k none").await, Ok(list));
        let wrong = redis(&store, "LPUSH k 1").await.unwrap_err();
        assert_eq!(wrong.to_string(), "redis: WRONGTYPE Operation against a key holding the wrong kind of value");
        let forbidden = redis(&store, "config get *").await.unwrap_err();
        assert_eq!(forbidden.to_string(), "redis: CONFIG is not available to scripts: it administers the server");
        let script = RedisScript::new("return {KEYS[1], ARGV[1] + 1}");
        let client = store.redis().unwrap();
        for _ in 0..2 {
            let answer = client.script(&script, &["a"], &["41"]).await;
            let a = RedisValue::Bytes(Bytes::from_static(b"a"));
            assert_eq!(answer, Ok(RedisValue::List(vec![a, RedisValue::Int(42)])));
        }
        let broken = RedisScript::new("return {");
        let error = client.script::<&str, &str>(&broken, &[], &[]).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("Error compiling script"), "{error}");
    });
}

#[test]
fn the_next_generation_keeps_the_connection_of_the_same_url() {
    let server = Server::start();
    worker(async {
        let store = connected(&server, PATIENT).await;
        let url = server.url();
        let next = store.next(Some(&url), PATIENT).unwrap();
        drop(store);
        assert!(next.redis().unwrap().is_up());
        let without = next.next(Some(""), PATIENT).unwrap();
        assert!(without.redis().is_none());
        let embedded = check(&without, "k", per_minute(1), 1).await;
        assert_eq!(embedded.answered_by, AnsweredBy::Embedded);
    });
}

#[test]
fn a_url_that_is_none_is_an_error_without_its_password() {
    let cases = [
        ("redis://:hunter2@localhost:6379/2", "fine"),
        ("http://:hunter2@localhost", "redis: the url is not valid: redis url did not parse"),
        ("localhost hunter2", "redis: the url is not valid: redis url did not parse"),
        ("redis://:hunter2@localhost/x", "redis: the url is not valid: invalid database number"),
        (
            "rediss://:hunter2@localhost",
            "redis: the url is not valid: can't connect with tls, the feature is not enabled",
        ),
    ];
    for (url, expected) in cases {
        let found = match RedisClient::check_url(url) {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{url}");
    }
}
