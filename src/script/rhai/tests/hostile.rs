//! Scripts that want everything: each is stopped in time, and its neighbours hardly notice.

use super::*;
use crate::script::{
    Instance, Scope,
    limits::thread_cpu,
    outbound::{Answer, Call, Outbound},
    scope::Permissions,
};
use futures_util::future::LocalBoxFuture;
use std::time::{Duration, Instant};

/// Runs a hook beside a timer of 1 ms on the same thread: what was said, and how long the timer had to wait for the thread at worst.
async fn beside_a_neighbour(text: &str, cpu: Duration) -> (String, Duration) {
    let program = compile(text);
    let state = load(&program, "{}").await;
    let limits = Limits { cpu, ..Limits::default() };
    let mut call = program.call(Hook::OnRequest, scope_with(Hook::OnRequest, Some(exchange("{}")), limits), &state);
    let mut latest = Duration::ZERO;
    loop {
        let asleep = thread_cpu();
        let said = tokio::select! {
            biased;
            said = &mut call => Some(told(said)),
            () = tokio::time::sleep(Duration::from_millis(1)) => None,
        };
        latest = latest.max(thread_cpu() - asleep);
        if let Some(said) = said {
            return (said, latest);
        }
    }
}

/// Each is stopped by its limit (when none is given, by any), and the neighbour's timer is never much late. When another limit
/// than that of CPU time is meant, there is enough of that.
async fn stopped(soon: Duration, cases: &[(&str, &str)]) {
    for (body, limit) in cases {
        let text = format!("{HELPERS} fn on_request(req, ctx) {{ {body} }}");
        let cpu = if *limit == CPU || limit.is_empty() { Limits::default().cpu } else { Duration::from_secs(2) };
        let mut seen = Vec::new();
        // A processor that others use too is slower: the time is measured several times, and what is said must be right each time.
        while seen.last().is_none_or(|late| *late >= soon) {
            let (said, late) = beside_a_neighbour(&text, cpu).await;
            assert!(said.ends_with(limit), "{body}: {said}");
            seen.push(late);
            assert!(late < soon || seen.len() < TRIES, "{body}: the neighbour was late by {seen:?} of CPU time");
        }
    }
}

const HELPERS: &str = "
    fn forever(x) { forever(x + 1) }
    fn catching(x) { try { catching(x + 1) } catch { catching(x) } }
    fn pair(x) { [x, x] }
";
const TRIES: usize = 12;
/// How late a neighbour may be: a slice, a step, and what a test build adds.
const SOON: Duration = Duration::from_millis(12);
/// Copying or dropping a value is one step: a quarter of a million items, or what the memory limit allows.
const LARGE: Duration = Duration::from_millis(80);
const CPU: &str = "stopped: it used up its CPU time";
const DEPTH: &str = "stopped: calls nested too deep";

#[tokio::test(flavor = "current_thread")]
async fn endless_loops_give_way_and_end() {
    stopped(SOON, &[
        ("loop { }", CPU),
        ("while true { let x = 1; }", CPU),
        ("for i in 0..1_000_000_000 { i + 1; }", CPU),
        ("loop { try { loop { } } catch { } }", CPU),
        ("loop { try { throw 1; } catch (e) { continue; } }", CPU),
        ("[3, 1, 2].sort(|a, b| { loop { } 1 })", CPU),
        ("let x = []; for i in 0..500 { x.push(i % 7); } loop { x.sort(|a, b| { try { loop { } } catch { } a - b }); }", CPU),
        ("[1, 2].map(|x| { loop { } })", CPU),
        ("[1, 2].filter(|x| { while true { } true })", CPU),
        ("let f = || { loop { } }; f.call()", CPU),
        ("let x = []; for i in 0..3000 { x.push(i); } loop { x.sort(); }", CPU),
        ("let x = []; x.pad(100_000, 1); x.sort(|a, b| a - b);", CPU),
        ("let x = []; x.pad(100_000, 1); x.dedup(|a, b| false); loop { x.dedup(|a, b| true); x.pad(100_000, 1); }", CPU),
        ("let x = []; x.pad(100_000, 1); x.dedup(); loop { x.dedup(); }", CPU),
        ("let x = [1]; x.retain(|v| { loop { } })", CPU),
        ("loop { req.headers[\"x\"] = \"y\"; }", CPU),
        ("loop { ctx.vars.x = [1, 2, 3]; }", CPU),
        ("loop { \"a\".split(\"\"); }", CPU),
        ("loop { req.text(); }", CPU),
        ("let x = \"x\"; loop { x.pad(10, \"\"); }", CPU),
        ("loop { let x = \"x\"; x.pad(5_000_000, 'x'); }", ""),
    ])
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn recursion_ends() {
    stopped(
        SOON,
        &[
            ("forever(1)", DEPTH),
            ("catching(1)", DEPTH),
            ("let f = |f, x| f.call(f, x + 1); f.call(f, 1)", DEPTH),
            ("[1].map(|x| { forever(x) })", DEPTH),
        ],
    )
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn memory_bombs_are_defused() {
    stopped(
        LARGE,
        &[
            ("let x = \"xxxxxxxx\"; loop { x += x; }", "length of string is too large"),
            ("let x = \"xxxxxxxx\"; let all = []; for i in 0..18 { x += x; } loop { all.push(x + all.len()); }", ""),
            ("let x = []; loop { x.push(\"some text that is long enough\" + x.len()); }", ""),
            ("let x = #{}; loop { x[\"k\" + x.len()] = [1, 2, 3]; }", ""),
            ("let x = blob(8, 1); loop { x += x; }", ""),
            ("let x = blob(1_000_000_000, 1);", "size of array/BLOB is too large"),
            ("let x = \"x\"; x.pad(1_000_000_000, 'y');", "length of string is too large"),
            ("let x = \"x\"; x.pad(9_000_000_000_000_000_000, \"yy\");", "length of string is too large"),
            ("let x = []; x.pad(1_000_000_000, 0);", "size of array/BLOB is too large"),
            ("let x = []; x.pad(9_223_372_036_854_775_807, [1, 2, 3]);", "size of array/BLOB is too large"),
            ("let x = blob(); x.pad(1_000_000_000, 0);", "size of BLOB is too large"),
            ("let x = \"xxxxxxxx\"; for i in 0..18 { x += x; } x.replace(\"x\", x);", "length of string is too large"),
            ("let x = \"xxxxxxxx\"; for i in 0..19 { x += x; } x.split(\"\");", ""),
            ("let x = \"xxxxxxxx\"; for i in 0..19 { x += x; } x.split(\"x\");", ""),
            ("let x = \"xxxxxxxx\"; for i in 0..18 { x += x; } let all = []; loop { all.push(x.to_blob()); }", ""),
            ("let x = [1]; loop { x = [x]; }", ""),
            ("let x = #{}; loop { x = #{ x: x }; }", ""),
            ("let x = []; loop { let y = []; y.push(x); x = y; }", ""),
            ("let x = []; loop { x = [x.take()]; }", ""),
            ("let x = []; loop { x.push(|| x); }", ""),
        ],
    )
    .await;
}

/// With much CPU time, memory is the limit; and what is nested deeply is dropped on a stack that is large enough.
#[tokio::test(flavor = "current_thread")]
async fn memory_is_counted_as_a_whole() {
    for (memory, body) in [
        (64 << 20, "let f = || 1; loop { let g = f; f = || g.call() + 1; }"),
        (2 << 20, "let x = []; loop { x.push(\"some text that is long enough\" + x.len()); }"),
        (2 << 20, "let x = #{}; loop { x[\"k\" + x.len()] = |a| a; }"),
        (2 << 20, "let x = \"x\"; loop { x += x; }"),
    ] {
        let program = compile(&format!("{HELPERS} fn on_request(req, ctx) {{ {body} }}"));
        let state = load(&program, "{}").await;
        let limits = Limits { cpu: Duration::from_secs(10), memory, ..Limits::default() };
        let exchange = exchange("");
        // Filling 64 MiB takes seconds, and more on a busy machine.
        exchange.deadline.set(Instant::now() + Duration::from_secs(60));
        let call = program.call(Hook::OnRequest, scope_with(Hook::OnRequest, Some(exchange), limits), &state);
        assert_eq!(
            told(call.await),
            format!("test.rhai:5:5: stopped: it held more than its share of memory ({} MiB)", memory >> 20),
            "{body}"
        );
    }
}

/// A limit that was hit ends its own exchange and frees what that held; the engine goes on.
#[tokio::test(flavor = "current_thread")]
async fn neighbours_do_not_share_a_limit() {
    let engine = engine();
    let program = compile_with(
        &engine,
        "fn handle(req, ctx) { if ctx.id == \"bad\" { let x = \"x\"; loop { x += x; } } reply::text(200, \"fine\") }",
        &[],
    );
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    let state = load(&program, "{}").await;
    for n in 0..50 {
        let mut it = exchange("");
        if n % 2 == 0 {
            Rc::get_mut(&mut it).expect("the only one").id = "bad".into();
        }
        let limits = Limits { cpu: Duration::from_secs(2), ..Limits::default() };
        let said = told(program.call(Hook::Handle, scope_with(Hook::Handle, Some(it), limits), &state).await);
        let expected = if n % 2 == 0 { "test.rhai:1:4: stopped: length of string is too large" } else { "200 fine" };
        assert_eq!(said, expected);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn strings_are_padded_to_so_many_characters() {
    for (given, padded) in [
        ("5, '.'", "äb..."),
        ("6, \"xyz\"", "äbxyzx"),
        ("2, 'x'", "äb"),
        ("-1, 'x'", "äb"),
        ("4, \"\"", "äb"),
        ("5, 'é'", "äbééé"),
    ] {
        let said = run(&format!("let x = \"äb\"; x.pad({given}); reply::text(200, x)")).await;
        assert_eq!(said, format!("200 {padded}"), "{given}");
    }
    let long =
        run("let x = \"ä\"; x.pad(10_001, \"xyz\"); reply::text(200, `${x.len()} ${x.sub_string(9_998)}`)").await;
    assert_eq!(long, "200 10001 yzx");
}

#[tokio::test(flavor = "current_thread")]
async fn the_host_takes_no_value_that_is_too_large() {
    let program = compile("fn on_request(req, ctx) { let s = \"x\"; s.pad(2000, 'x'); reply::text(200, s) }");
    let state = load(&program, "{}").await;
    let limits = Limits { value: 1000, ..Limits::default() };
    let said =
        told(program.call(Hook::OnRequest, scope_with(Hook::OnRequest, Some(exchange("")), limits), &state).await);
    let why = "2000 bytes are more than the host takes at once (1000, `limits.max_body_size`)";
    assert_eq!(said, format!("test.rhai:1:65: reply::text: argument 2 (text): {why}"));
}

/// Two hundred exchanges wait in calls of 20 ms each; another one runs beside them.
#[tokio::test(flavor = "current_thread")]
async fn waiting_exchanges_do_not_stop_others() {
    let waiting = compile(
        r#"fn handle(req, ctx) { let got = http::all(#{ a: #{ url: "svc://a/1" }, b: #{ url: "svc://b/1" } }); reply::json(200, got.a.ok && got.b.ok) }"#,
    );
    let quick = compile(r#"fn handle(req, ctx) { reply::text(200, "quick") }"#);
    let (waiting_state, quick_state) = (load(&waiting, "{}").await, load(&quick, "{}").await);
    let started = Instant::now();
    let mut all = futures_util::stream::FuturesUnordered::new();
    for _ in 0..200 {
        all.push(waiting.call(Hook::Handle, scope(Hook::Handle, Some(exchange(""))), &waiting_state));
    }
    let first = std::cell::Cell::new(false);
    let others = async {
        let mut served = 0;
        while !first.get() {
            let said = quick.call(Hook::Handle, scope(Hook::Handle, Some(exchange(""))), &quick_state).await;
            assert_eq!(told(said), "200 quick");
            served += 1;
            tokio::task::yield_now().await;
        }
        served
    };
    let waited = async {
        while let Some(said) = futures_util::StreamExt::next(&mut all).await {
            assert_eq!(told(said), "200 true");
            first.set(true);
        }
        started.elapsed()
    };
    // The others begin when all two hundred wait.
    let (waited, served) = tokio::join!(waited, others);
    assert!(served > 5, "{served} others were served before the first had waited");
    // One after the other they would take four seconds.
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// Fails as only a bug does, when it is called or while it is waited for, or never answers.
struct Broken;

impl Outbound for Broken {
    fn call(&self, _: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        match &*call.url {
            "svc://now" => panic!("at once"),
            "svc://later" => Box::pin(async { panic!("while waiting") }),
            _ => Box::pin(std::future::pending()),
        }
    }
}

async fn with_broken_calls(body: &str) -> String {
    let program = compile(&format!("fn on_request(req, ctx) {{ {body} }}"));
    let state = load(&program, "{}").await;
    let it = exchange("");
    it.deadline.set(Instant::now() + Duration::from_millis(30));
    let instance = Instance {
        plugin: "test".into(),
        place: "route:users/test".into(),
        permissions: Permissions::default(),
        limits: Limits::default(),
        documents: Default::default(),
    };
    let services = fixture::services(Rc::new(Broken));
    let scope = Scope {
        hook: Hook::OnRequest,
        instance: Rc::new(instance),
        exchange: Some(it),
        services: Rc::new(services),
        span: 0,
        used: Default::default(),
    };
    told(program.call(Hook::OnRequest, Rc::new(scope), &state).await)
}

#[tokio::test(flavor = "current_thread")]
async fn panics_and_endless_waits_stay_in_their_exchange() {
    let now = "loop { try { http::get(\"svc://now\"); } catch { } }";
    assert_eq!(with_broken_calls(now).await, "test.rhai:0:0: a host function failed: at once");
    let later = "http::get(\"svc://later\");";
    assert_eq!(with_broken_calls(later).await, "test.rhai:1:33: http::get: a host function failed: while waiting");
    let never = "loop { try { http::get(\"svc://never\"); } catch { } }";
    assert_eq!(with_broken_calls(never).await, "test.rhai:1:4: stopped: the deadline passed");
    assert_eq!(run("reply::empty(204)").await, "204 ");
}

#[tokio::test(flavor = "current_thread")]
async fn large_values_are_copied_and_dropped_in_one_step() {
    stopped(
        LARGE,
        &[
            ("let x = [1]; loop { x += x; }", ""),
            ("let x = [1]; loop { x = [x, x]; }", ""),
            ("let f = || 1; loop { let g = f; f = || g.call() + 1; }", ""),
            ("let x = 1; let f = Fn(\"pair\"); loop { x = f.call(x); }", ""),
            ("let f = Fn(\"pair\"); loop { f = f.curry(f); }", ""),
        ],
    )
    .await;
}
