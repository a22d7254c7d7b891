//! Errors as their authors read them.

use super::*;
use crate::script::{
    Scope,
    outbound::{Answer, Call, Outbound},
};
use futures_util::future::LocalBoxFuture;

async fn error(rig: &Rig, text: &str) -> ScriptError {
    let program = rig.compile(text).expect("a program");
    let state = loaded(&*program, "{}").await;
    let scope = fixture::scope(Hook::OnRequest, Some(fixture::exchange("")));
    program.call(Hook::OnRequest, scope, &state).await.expect_err("an error")
}

#[test]
fn an_error_has_its_place_line_and_stack() {
    block_on(async {
        let rig = Rig::new();
        let told = error(
            &rig,
            "local function helper(x)\n    return x.y.z\nend\nlocal M = {}\nfunction M.on_request(req)\n  local a = helper({})\n  return a\nend\nreturn M",
        )
        .await;
        assert_eq!(tell(&told), "Runtime test.lua:2:16: attempt to index nil with 'z'");
        assert_eq!(told.source_line, "    return x.y.z");
        assert_eq!(told.hook, Some(Hook::OnRequest));
        assert_eq!(told.stack, ["test.lua:2 in helper", "test.lua:6 in on_request"]);
    });
}

#[test]
fn the_column_is_that_of_the_name_that_the_message_speaks_of() {
    block_on(async {
        for (line, column) in [
            ("local x = 1; f(req).headr = 2", 23),
            ("local x = f(req).headr", 20),
            ("local x = f(req):jsn()", 20),
            ("log.info(f(http.get)({}))", 14),
            ("f(req).method, x = {}, f(req).method", 3),
            ("f(http).get({})", 3),
        ] {
            let text =
                format!("local function f(x) return x end\nreturn {{ on_request = function(req)\n  {line}\nend }}");
            let told = error(&Rig::new(), &text).await;
            assert_eq!((told.line, told.column), (3, column), "{line}: {}", tell(&told));
        }
    });
}

#[test]
fn scripts_that_do_not_compile_are_refused_with_their_place() {
    let rig = Rig::new();
    assert_eq!(
        rig.refused("local x = 1\nlocal y = = 2\nreturn {}"),
        "Syntax test.lua:2:1: Expected identifier when parsing expression, got '='"
    );
    assert_eq!(
        rig.refused("return { on_requst = function() end }"),
        "Returned test.lua:1:10: there is no hook `on_requst`, did you mean `on_request`?"
    );
    assert_eq!(
        rig.refused("return { on_request = 5 }"),
        "Returned test.lua:1:10: `on_request` must be a function, it is a number"
    );
    assert_eq!(
        rig.refused("local M = {}\nfunction M.on_request() end\n\n"),
        "Returned test.lua:2:1: a script returns a table of hooks, this one returned nothing"
    );
    assert_eq!(rig.refused("return { helper = function() end, VERSION = 3 }"), "it compiled");
    assert_eq!(rig.refused("error('no good')"), "Runtime test.lua:1:1: no good");
    let bytecode = "\u{6}\u{3}";
    assert_eq!(rig.refused(bytecode), "Syntax test.lua:1:1: attempt to load a binary chunk (mode is 't')");
}

#[test]
fn host_errors_name_the_function_and_the_nearest_name() {
    block_on(async {
        let rig = Rig::new();
        for (body, message) in [
            (
                r#"http.get("svc://a/b", { timout = 1 })"#,
                "http.get: argument 2 (options): unknown entry `timout`, did you mean `timeout`?",
            ),
            ("http.get()", "http.get: argument 1 (url) is missing"),
            ("http.get({})", "http.get: argument 1 (url): expected a string, got a table"),
            (r#"http.get("a", {}, 3)"#, "http.get: takes at most 2 arguments, got 3"),
            (
                r#"http.get("a", { headers = { [1] = "x" } })"#,
                "http.get: argument 2 (options): `headers`: expected names as keys, got a number",
            ),
            ("req.headers.all('x')", "headers:all: call it with a colon, on a headers"),
            ("local x = req.methd", "request has no `methd`, did you mean `method`?"),
            ("req.heads = 1", "request has no `heads`, did you mean `headers`?"),
            ("req.headers = {}", "`headers` of request can't be set"),
            ("req.params.id = 1", "`id` of params can't be set"),
            ("req.method = {}", "request.method: expected a string, got a table"),
            (r#"req.headers["x y"] = 1"#, r#"headers["x y"]: `x y` is not a header name"#),
            (r#"req.headers["x"] = "a\r\nb""#, r#"headers["x"]: a header value has a control character in it"#),
            ("for k in req do end", "a request has no items to go through"),
            ("local x = req[1]", "a request is read by a name, not a number"),
            ("return reply.json(200, print)", "reply.json: argument 2 (value): a function can't be JSON"),
            ("return reply.json(999, {})", "reply.json: 999 is not a status between 200 and 599"),
            ("ctx.vars.x = { a = { 1, { y = print } } }", "vars[\"x\"]: a[2].y: a function can't be JSON"),
        ] {
            assert_eq!(rig.request(body).await, format!("Runtime test.lua:1: {message}"), "{body}");
        }
    });
}

#[test]
fn no_value_is_larger_than_the_host_takes_however_it_is_given() {
    block_on(async {
        let rig = Rig::new();
        let limits = || Limits { value: 64, ..Limits::default() };
        for (body, place, size) in [
            ("ctx.vars.x = { string.rep('x', 40), string.rep('y', 40) }", "vars[\"x\"]", 87),
            ("ctx.vars.x = string.rep('x', 65)", "vars[\"x\"]", 65),
            ("req.headers.x = string.rep('x', 65)", "headers[\"x\"]", 65),
            ("req.method = string.rep('X', 65)", "request.method", 65),
            ("log.info(string.rep('x', 65))", "log.info: argument 1 (message)", 65),
            ("req:set_body(string.rep('x', 65))", "request:set_body: argument 1 (bytes)", 65),
        ] {
            assert_eq!(
                rig.request_with(body, limits()).await,
                format!(
                    "Runtime test.lua:1: {place}: {size} bytes are more than the host takes at once (64, `limits.max_body_size`)"
                ),
                "{body}"
            );
        }
        let fits =
            "ctx.vars.x = { string.rep('x', 40) }; req.headers.x = string.rep('x', 64); log.info(string.rep('x', 64))";
        assert_eq!(rig.request_with(fits, limits()).await, "continue");
    });
}

#[test]
fn scripts_catch_host_errors_as_strings_with_a_position() {
    block_on(async {
        let rig = Rig::new();
        assert_eq!(
            rig.request("local ok, why = pcall(function()\n return req.methd end)\nreturn reply.text(200, why)").await,
            "200 test.lua:2: request has no `methd`, did you mean `method`?"
        );
        assert_eq!(
            rig.request("local ok, why = pcall(error, { code = 5 }); return reply.text(200, tostring(why.code))").await,
            "200 5"
        );
        assert_eq!(
            rig.request("local ok, why = xpcall(function() error('x', 0) end, function(e) return e .. '!' end); return reply.text(200, why)").await,
            "200 x!"
        );
        assert_eq!(
            rig.request("local ok, why = pcall(function() error(reply.empty(204)) end); return reply.text(200, tostring(ok) .. tostring(why))").await,
            "200 falsereply"
        );
        assert_eq!(rig.request("error({ code = 5 })").await, r#"Runtime test.lua:1: raised {"code":5}"#);
        assert_eq!(rig.request("error()").await, "Runtime test.lua:1: raised nothing");
    });
}

/// Fails as only a bug does: when it is called, or while it is waited for.
struct Panics;

impl Outbound for Panics {
    fn call(&self, _: &Scope, call: Call) -> LocalBoxFuture<'static, Answer> {
        if call.url == "svc://now" {
            panic!("at once");
        }
        Box::pin(async { panic!("while waiting") })
    }
}

#[test]
fn a_panic_of_a_host_function_stays_in_its_hook() {
    block_on(async {
        let rig = Rig::new();
        for (url, said) in [
            ("svc://now", "Runtime test.lua:1: a host function failed: at once"),
            ("svc://later", "Runtime test.lua:1: a host function failed: while waiting"),
        ] {
            let program = rig
                .compile(&format!(
                    "return {{ on_request = function() while true do pcall(http.get, '{url}') end end }}"
                ))
                .expect("a program");
            let state = loaded(&*program, "{}").await;
            let usual = fixture::scope(Hook::OnRequest, None);
            let scope = Scope {
                hook: Hook::OnRequest,
                instance: usual.instance.clone(),
                exchange: Some(fixture::exchange("")),
                services: Rc::new(fixture::services(Rc::new(Panics))),
                span: 0,
                used: Default::default(),
            };
            let error = program.call(Hook::OnRequest, Rc::new(scope), &state).await.expect_err("an error");
            assert_eq!(tell_line(&error), said);
        }
        assert_eq!(rig.request("return reply.empty(204)").await, "204 ");
    });
}
