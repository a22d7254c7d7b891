//! Commands of scripts on a real redis-server, and how replies look to a script.

use super::*;
use crate::{
    observe::traces::Recording,
    script::{Hook, fixture, fixture::show, limits::Limits},
    store::{RedisOptions, Stores, SystemClock, WorkerStore},
};
use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a Redis on a free port and connects a worker's store to it.
async fn started() -> (Server, WorkerStore) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its number").port();
    drop(free);
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let process = command.stdout(Stdio::null()).spawn();
    let server = Server(process.expect("redis-server runs; `tests/run` installs it when it is missing"));
    let patient = Duration::from_secs(5);
    let options = RedisOptions { connect_timeout: patient, response_timeout: patient, ..RedisOptions::default() };
    let shared = Arc::new(Stores::new(Arc::new(SystemClock::default())));
    let store = WorkerStore::connect_with(Some(&format!("redis://127.0.0.1:{port}")), options, shared);
    let store = store.expect("a URL");
    while !store.redis().is_some_and(RedisClient::is_up) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (server, store)
}

fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("within 20 s") };
    runtime.block_on(bounded);
}

async fn call(scope: &Scope, name: &str, args: Vec<Value>) -> String {
    let function = MODULE.functions.iter().find(|function| function.name == name).expect("a function");
    let result = match (function.run)(scope, Args(args)) {
        Outcome::Done(result) => result,
        Outcome::Wait(future) => future.await,
    };
    show(result.map_err(|raise| raise.to_string()))
}

fn scope_on(store: WorkerStore) -> Scope {
    let scope = fixture::scope_with(Hook::OnRequest, None, Limits::default());
    let mut scope = Rc::into_inner(scope).expect("the only one");
    Rc::get_mut(&mut scope.services).expect("the only one").store = store;
    scope
}

#[test]
fn commands_and_scripts_run_on_a_real_redis() {
    on_worker(async {
        let (_server, store) = started().await;
        let scope = scope_on(store);
        let text = |text: &str| Value::from(text);
        let cases: [(&str, Vec<Value>, &str); 10] = [
            ("set", vec![text("k"), text("v"), text("EX"), 60.into()], r#""OK""#),
            ("get", vec![text("k")], r#""v""#),
            ("get", vec![text("none")], "nil"),
            ("mget", vec![text("k"), text("none")], r#"["v", false]"#),
            ("hset", vec![text("h"), text("b"), 1.5.into(), text("a"), true.into()], "2"),
            ("hgetall", vec![text("h")], r#"{a: "1", b: "1.5"}"#),
            ("command", vec![text("strlen"), text("k")], "1"),
            (
                "lpush",
                vec![text("k"), text("x")],
                "error: redis: WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "script",
                vec![
                    text("return redis.call('INCRBY', KEYS[1], ARGV[1])"),
                    Value::List(vec![text("n")]),
                    Value::List(vec![2.into()]),
                ],
                "2",
            ),
            (
                "command",
                vec![text("BLPOP"), text("k"), 0.into()],
                "error: redis: BLPOP is not available to scripts: it blocks the connection that all exchanges of a worker share",
            ),
        ];
        for (name, args, expected) in cases {
            assert_eq!(call(&scope, name, args).await, expected, "{name}");
        }
    });
}

#[test]
fn the_span_of_a_limit_says_whether_redis_answered() {
    on_worker(async {
        let (_server, store) = started().await;
        let exchange = fixture::exchange("");
        let recording = Rc::new(Recording::new(1, 2, 0, 3));
        exchange.account.recording.set(recording.clone()).expect("the first");
        let scope = Scope { exchange: Some(exchange), ..scope_on(store) };
        let rule = Value::Map(vec![("limit".into(), 2.into()), ("window".into(), "60s".into())]);
        let checked = async || {
            let limit = crate::script::host::limit::MODULE.functions;
            let function = limit.iter().find(|function| function.name == "sliding_window").expect("a function");
            match (function.run)(&scope, Args(vec!["7".into(), rule.clone()])) {
                Outcome::Wait(future) => future.await.map(|told| told.get("store").cloned().unwrap_or_default()),
                Outcome::Done(_) => Err(Raise::error("it did not ask Redis")),
            }
        };
        let failed = || {
            let spans = format!("{recording:?}");
            (spans.matches(r#"name: "redis EVALSHA""#).count(), spans.matches(r#"error: Some("store")"#).count())
        };
        let store_of = |checked: Result<Value, Raise>| show(checked.map_err(|raise| raise.to_string()));
        assert_eq!((store_of(checked().await), failed()), (r#""redis""#.into(), (1, 0)));
        let keys = call(&scope, "command", vec!["KEYS".into(), "*".into()]).await;
        let key = keys.trim_matches(['[', ']']).trim_matches('"').to_owned();
        assert_eq!(call(&scope, "set", vec![key.as_str().into(), "no log".into()]).await, r#""OK""#);
        assert_eq!((store_of(checked().await), failed()), (r#""local""#.into(), (2, 1)));
    });
}

#[test]
fn without_redis_the_error_says_what_to_set() {
    let scope = fixture::scope(Hook::OnRequest, None);
    let got = show(fixture::run(&scope, &MODULE, "get", ["k".into()]));
    assert_eq!(
        got,
        "error: there is no Redis: set `redis:` in the gateway's configuration, or use kv, which works without"
    );
}

#[test]
fn a_script_keeps_to_the_granted_keys() {
    let permissions =
        crate::script::scope::Permissions { redis: vec!["my:".into()], redis_scripts: true, ..Default::default() };
    let scope = fixture::granting(Hook::OnRequest, permissions);
    let keys = Value::List(vec!["my:a".into(), "b".into()]);
    let refused = "error: key `b` is not granted: `permissions.redis` has `my:`";
    assert_eq!(show(fixture::run(&scope, &MODULE, "script", ["return 1".into(), keys])), refused);
    assert_eq!(show(fixture::run(&scope, &MODULE, "get", ["b".into()])), refused);
}

#[test]
fn nothing_is_no_word() {
    let scope = fixture::scope(Hook::OnRequest, None);
    let got = show(fixture::run(&scope, &MODULE, "set", ["k".into(), Value::Nil]));
    assert_eq!(got, "error: a word of a command is nothing");
}
