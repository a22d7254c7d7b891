//! Scripts against the engine: what they can do, how they wait, what they say when they fail.

use super::RhaiEngine;
use crate::script::{
    Decision, Engine, Exchange, Hook, Language, Modules, Program, ScriptError, Source, State,
    exchange::{RequestId, Side},
    fixture::{self, exchange, respond, scope, scope_with},
    limits::Limits,
};
use std::{collections::BTreeMap, rc::Rc};

mod errors;
mod hostile;

pub struct Library(BTreeMap<&'static str, &'static str>);

impl Modules for Library {
    fn find(&self, language: Language, name: &str) -> Option<Source> {
        assert_eq!(language, Language::Rhai);
        self.0.get(name).map(|text| Source { path: format!("plugins/{name}.rhai").into(), text: (*text).into() })
    }
}

pub fn engine() -> RhaiEngine {
    RhaiEngine::new(64 << 20).expect("an engine")
}

pub fn compile_with(
    engine: &RhaiEngine,
    text: &str,
    library: &[(&'static str, &'static str)],
) -> Result<Rc<dyn Program>, ScriptError> {
    let modules: Rc<dyn Modules> = Rc::new(Library(library.iter().copied().collect()));
    engine.compile(&Source { path: "test.rhai".into(), text: text.into() }, &modules)
}

/// Whatever could be said of it without running it.
pub fn compile(text: &str) -> Rc<dyn Program> {
    compile_with(&engine(), &format!("{text} {}", Language::Rhai.unchecked()), &[])
        .unwrap_or_else(|error| panic!("{error}"))
}

pub async fn load(program: &Rc<dyn Program>, config: &str) -> State {
    program.load(scope(Hook::OnLoad, None), config).await.unwrap_or_else(|error| panic!("{error}"))
}

pub fn told(result: Result<Decision, ScriptError>) -> String {
    match result {
        Ok(Decision::Continue) => "continue".into(),
        Ok(Decision::Reply(reply)) => {
            format!("{} {}", reply.status.as_u16(), String::from_utf8_lossy(&reply.body_for("test-id")))
        }
        Err(error) => error.to_string(),
    }
}

pub async fn run_on(exchange: &Rc<Exchange>, hook: Hook, text: &str) -> String {
    let program = compile(text);
    let state = load(&program, "{}").await;
    told(program.call(hook, scope(hook, Some(exchange.clone())), &state).await)
}

/// Runs `on_request` with this body.
pub async fn run(body: &str) -> String {
    run_on(&exchange(r#"{"id":7,"name":"Ada"}"#), Hook::OnRequest, &format!("fn on_request(req, ctx) {{ {body} }}"))
        .await
}

#[tokio::test(flavor = "current_thread")]
async fn a_hook_reads_changes_and_answers() {
    let it = exchange("");
    let text = r#"
        fn on_request(req, ctx) {
            if req.headers["x-key"] == () { req.headers["x-user-id"] = "7"; }
            req.headers.accept = "text/plain";
            req.headers["accept"] += "; q=1";
            ctx.vars.seen = #{ names: ["a"] };
            ctx.vars.seen.names.push("b");
            reply::json(201, #{ path: req.path, ip: ctx.client.ip, seen: ctx.vars.seen, id: req.params.id })
        }
    "#;
    let said = run_on(&it, Hook::OnRequest, text).await;
    assert_eq!(said, r#"201 {"id":"42","ip":"203.0.113.7","path":"/users/42","seen":{"names":["a","b"]}}"#);
    let request = it.request.borrow();
    assert_eq!(request.headers["x-user-id"], "7");
    assert_eq!(request.headers["accept"], "text/plain; q=1");
}

#[tokio::test(flavor = "current_thread")]
async fn bodies_are_read_and_written() {
    let it = exchange("");
    respond(&it, r#"{"userId":7,"big":18446744073709551615,"tags":[],"at":null,"price":20.0}"#);
    let text = r#"
        fn on_response(res, ctx) {
            let old = res.json();
            old.remove("userId");
            old.id = 7;
            res.set_json(old);
        }
    "#;
    assert_eq!(run_on(&it, Hook::OnResponse, text).await, "continue");
    let body = fixture::body(&it, Side::Response).await;
    assert_eq!(body, r#"{"big":18446744073709551615,"tags":[],"at":null,"price":20,"id":7}"#);
}

#[tokio::test(flavor = "current_thread")]
async fn calls_wait_also_inside_callbacks_of_rhai() {
    let said = run(r#"
        let urls = ["svc://c/3", "svc://a/1", "svc://b/2"];
        urls.sort(|a, b| if http::get(a).json().url < http::get(b).json().url { -1 } else { 1 });
        let got = urls.map(|url| http::get(url).json().url);
        reply::json(200, got)
    "#)
    .await;
    assert_eq!(said, r#"200 ["svc://a/1","svc://b/2","svc://c/3"]"#);
}

#[tokio::test(flavor = "current_thread")]
async fn calls_run_side_by_side() {
    let started = std::time::Instant::now();
    let said = run(r#"
        let got = http::all(#{ a: #{ url: "svc://a/1" }, b: #{ url: "svc://b/{id}", params: #{ id: 7 }, method: "PUT" } });
        reply::json(200, #{ a: got.a.json(), b: got.b.json(), ok: got.a.ok })
    "#)
    .await;
    assert_eq!(
        said,
        r#"200 {"a":{"method":"GET","url":"svc://a/1"},"b":{"method":"PUT","url":"svc://b/7"},"ok":true}"#
    );
    assert!(started.elapsed().as_millis() < 200, "one wait, not two");
}

#[tokio::test(flavor = "current_thread")]
async fn a_thousand_scripts_wait_at_once() {
    let program = compile(
        r#"fn handle(req, ctx) {
            let a = http::get("svc://a/" + ctx.id).json().url;
            let b = http::get("svc://b/" + ctx.id).json().url;
            reply::text(200, a + " " + b)
        }"#,
    );
    let state = load(&program, "{}").await;
    let started = std::time::Instant::now();
    let calls = (0..1000).map(|n| {
        let mut it = exchange("");
        Rc::get_mut(&mut it).expect("the only one").id = RequestId::new(http::HeaderValue::from(n));
        program.call(Hook::Handle, scope(Hook::Handle, Some(it)), &state)
    });
    let said: Vec<String> = futures_util::future::join_all(calls).await.into_iter().map(told).collect();
    for (n, said) in said.iter().enumerate() {
        assert_eq!(*said, format!("200 svc://a/{n} svc://b/{n}"));
    }
    assert!(started.elapsed().as_secs_f64() < 2.0, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_is_dropped_unwinds_its_script() {
    for body in [
        r#"http::get("svc://a/1"); throw "not reached";"#,
        r#"try { http::get("svc://a/1"); } catch { } loop { }"#,
        r#"let x = [3, 2, 1]; x.sort(|a, b| { http::get("svc://a/1"); a - b }); loop { http::get("svc://a/1"); }"#,
        r#"[1].map(|x| [2].filter(|y| http::get("svc://a/1").ok)); loop { }"#,
    ] {
        let program = compile(&format!("fn on_request(req, ctx) {{ {body} }}"));
        let state = load(&program, "{}").await;
        let it = exchange("");
        let held = Rc::strong_count(&it);
        let mut call = program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(it.clone())), &state);
        assert!(futures_util::poll!(&mut call).is_pending(), "{body}");
        assert!(Rc::strong_count(&it) > held);
        drop(call);
        assert_eq!(Rc::strong_count(&it), held, "{body}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn replies_are_returned_thrown_and_raised() {
    assert_eq!(run("").await, "continue");
    assert_eq!(run(r#"req.headers["x"] = "1""#).await, "continue");
    assert_eq!(run(r#"reply::text(200, "a")"#).await, "200 a");
    assert_eq!(run(r#"let f = || { [1].map(|x| { throw reply::text(403, "b") }) }; f.call();"#).await, "403 b");
    let failing = r#"http::all(#{ a: #{ url: "svc://a/1" } }); reply::empty(204)"#;
    assert_eq!(run(failing).await, "204 ");
}

#[tokio::test(flavor = "current_thread")]
async fn config_and_state_are_the_instances_own() {
    let program = compile(
        r#"
        fn on_load(config) { let n = 1; #{ add: |x| x + n + config.by, list: [1, 2], by: config.by } }
        fn on_request(req, ctx) {
            let mine = ctx.state;
            mine.list.push(3);
            reply::json(200, [ctx.state.add.call(10), ctx.state.list.len(), ctx.config.by, mine.list.len()])
        }
        fn on_response(res, ctx) { ctx.state.list = []; }
        fn on_log(ctx) { ctx.config.names.push("x"); }
        "#,
    );
    let state = load(&program, r#"{"by":5,"names":[]}"#).await;
    let call = |hook| {
        let it = exchange("");
        respond(&it, "");
        program.call(hook, scope(hook, Some(it)), &state)
    };
    for _ in 0..2 {
        assert_eq!(told(call(Hook::OnRequest).await), "200 [16,2,5,3]");
        assert_eq!(told(call(Hook::OnResponse).await), "test.rhai:8:40: `state` of context can't be set");
        assert_eq!(told(call(Hook::OnLog).await), "test.rhai:9:30: `config` of context can't be set");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn imports_and_constants_are_seen_in_functions() {
    let program = compile_with(
        &engine(),
        r#"
        import "lib/greet" as greet;
        const WORD = "world";
        fn on_request(req, ctx) { reply::text(200, greet::hello(global::WORD)) }
        "#,
        &[
            (
                "lib/greet",
                r#"import "lib/mark" as mark; const HELLO = "hello "; fn hello(x) { global::HELLO + x + mark::end() }"#,
            ),
            ("lib/mark", r#"fn end() { "!" }"#),
        ],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let state = load(&program, "{}").await;
    for _ in 0..3 {
        let said = program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(exchange(""))), &state).await;
        assert_eq!(told(said), "200 hello world!");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn echoes_of_rhai_change_nothing() {
    let it = exchange("");
    for value in ["a,b", "c"] {
        it.request.borrow_mut().headers.append("x-many", value.parse().expect("a value"));
    }
    let text = r#"
        fn on_request(req, ctx) {
            let first = req.headers["x-many"].split(",");
            req.headers["x-copy"] = req.headers["x-many"];
            req.params.id.split("-");
            let names = [];
            for name in req.headers { names.push(name); }
            reply::json(200, #{ first: first, all: req.headers.all("x-many"), copy: req.headers["x-copy"], names: names })
        }
    "#;
    assert_eq!(
        run_on(&it, Hook::OnRequest, text).await,
        r#"200 {"all":["a,b","c"],"copy":"a,b","first":["a","b"],"names":["accept","x-many","x-copy"]}"#
    );
}

#[tokio::test(flavor = "current_thread")]
async fn bytes_are_blobs_and_strings() {
    assert_eq!(run(r#"reply::bytes(200, req.bytes())"#).await, r#"200 {"id":7,"name":"Ada"}"#);
    assert_eq!(run(r#"reply::bytes(200, "abc")"#).await, "200 abc");
    assert_eq!(
        run(r#"reply::json(200, [type_of(req), type_of(req.bytes()), req.text().len()])"#).await,
        r#"200 ["object","blob",21]"#
    );
}

/// Deadlines of the exchange are kept by the engine too.
#[tokio::test(flavor = "current_thread")]
async fn limits_of_an_instance_count() {
    let program = compile("fn on_request(req, ctx) { loop { } }");
    let state = load(&program, "{}").await;
    let limits = Limits { cpu: std::time::Duration::from_millis(5), ..Limits::default() };
    let call = program.call(Hook::OnRequest, scope_with(Hook::OnRequest, Some(exchange("")), limits), &state);
    assert_eq!(told(call.await), "test.rhai:1:4: stopped: it used up its CPU time");
}

#[tokio::test(flavor = "current_thread")]
async fn the_language_is_whole() {
    let program = compile_with(
        &engine(),
        r#"
        private fn add(x) { this + x }
        fn handle(req, ctx) {
            import "lib/twice" as twice;
            let base = 10;
            let more = |x| x + base;
            base = 20;
            let n = switch req.method { "GET" => 1, _ => 2 };
            let missing = ctx.vars.nothing?.at?.all;
            let five = 2;
            reply::json(200, [more.call(1), twice::of(4), n, `${req.method} ${n}`, missing, 3.add(five), #{ b: 1, a: 2 }, 'c'])
        }
        "#,
        &[("lib/twice", "fn of(x) { x * 2 }")],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let state = load(&program, "{}").await;
    let said = program.call(Hook::Handle, scope(Hook::Handle, Some(exchange(""))), &state).await;
    assert_eq!(told(said), r#"200 [21,8,1,"GET 1",null,5,{"a":2,"b":1},"c"]"#);
}

/// Rhai reserves words; a function of the list must not be one.
#[test]
fn every_name_of_the_list_can_be_written() {
    let mut text = String::from("fn all(x) {\n");
    for function in crate::script::host::GLOBALS {
        text += &format!("{}();\n", function.name);
    }
    for module in crate::script::host::MODULES {
        for function in module.functions {
            text += &format!("{}::{}();\n", module.name, function.name);
        }
    }
    for kind in crate::script::host::KINDS {
        for name in kind.properties.iter().map(|property| property.name) {
            text += &format!("x.{name}; x.{name} = 1;\n");
        }
        for method in kind.methods {
            text += &format!("x.{}();\n", method.name);
        }
    }
    compile(&(text + "}"));
}

/// Variables of a file's top level are made anew for each hook, and functions see constants alone.
#[tokio::test(flavor = "current_thread")]
async fn nothing_that_a_request_writes_is_seen_by_the_next() {
    let library = ("lib/m", "export const LIST = [1]; export let n = 1;");
    for write in [
        "global::LIST.push(2);",
        "leaked = 1;",
        "m::n = 2;",
        "m::LIST.push(2);",
        "let leaked = m::LIST; leaked.push(2);",
        "ctx.state.n = 2;",
        "ctx.state.list.push(2);",
        "this = 1;",
    ] {
        let text = format!(
            "import \"lib/m\" as m;\nconst LIST = [1];\nlet own = 1;\nfn on_load(config) {{ #{{ n: 1, list: [1] }} }}
fn on_request(req, ctx) {{\n  {write}\n}}\nfn on_response(res, ctx) {{ reply::text(200, `${{global::LIST.len}} ${{m::LIST.len}} ${{m::n}} ${{ctx.state.n}} ${{ctx.state.list.len}}`) }}"
        );
        let program = match compile_with(&engine(), &text, &[library]) {
            Ok(program) => program,
            Err(error) => {
                assert!(error.to_string().starts_with("test.rhai:6:"), "{write}: {error}");
                continue;
            }
        };
        let state = load(&program, "{}").await;
        for _ in 0..2 {
            let it = exchange("");
            // Whether it is an error differs: most of these change a copy.
            let _ = program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(it.clone())), &state).await;
            respond(&it, "");
            let seen = told(program.call(Hook::OnResponse, scope(Hook::OnResponse, Some(it)), &state).await);
            assert_eq!(seen, "200 1 1 1 1 1", "{write}");
        }
    }
}
