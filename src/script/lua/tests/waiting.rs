//! Scripts that wait, anywhere, and others that run meanwhile.

use super::*;
use std::time::Instant;

#[test]
fn a_call_waits_wherever_it_stands() {
    block_on(async {
        let rig = Rig::new();
        let get = r#"http.get("svc://a/" .. tostring(n)):json().url"#;
        let plain = format!("local n = 1; return reply.text(200, {get})");
        assert_eq!(rig.request(&plain).await, "200 svc://a/1");
        let in_pcall = format!(
            "local ok, url = pcall(function() local n = 2; return {get} end); return reply.text(200, tostring(ok) .. url)"
        );
        assert_eq!(rig.request(&in_pcall).await, "200 truesvc://a/2");
        let in_xpcall =
            format!("local ok, url = xpcall(function(n) return {get} end, print, 3); return reply.text(200, url)");
        assert_eq!(rig.request(&in_xpcall).await, "200 svc://a/3");
        let in_coroutines = format!(
            r#"local function each()
                   return coroutine.wrap(function() for n = 1, 3 do coroutine.yield({get}) end end)
               end
               local seen = {{}}
               for url in each() do table.insert(seen, url) end
               local co = coroutine.create(function() return pcall(function() local n = "in"; return each()(), {get} end) end)
               local ok, ok2, first, url = coroutine.resume(co)
               return reply.json(200, {{ seen, ok, ok2, first, url, coroutine.status(co) }})"#
        );
        assert_eq!(
            rig.request(&in_coroutines).await,
            r#"200 [["svc://a/1","svc://a/2","svc://a/3"],true,true,"svc://a/1","svc://a/in","dead"]"#
        );
        let in_iterator = format!(
            "local n = 0; local function step() n += 1; if n <= 2 then return {get} end end
             local seen = {{}}; for url in step do table.insert(seen, url) end; return reply.json(200, seen)"
        );
        assert_eq!(rig.request(&in_iterator).await, r#"200 ["svc://a/1","svc://a/2"]"#);
    });
}

#[test]
fn a_call_that_can_not_wait_says_so() {
    block_on(async {
        let rig = Rig::new();
        let why = "http.get: can't wait here: inside a metamethod, or a function that sort or gsub calls";
        assert_eq!(
            rig.request(
                r#"return reply.text(200, (("x"):gsub("x", function() return http.get("svc://a/b"):text() end)))"#
            )
            .await,
            format!("Runtime test.lua:1: {why}")
        );
        assert_eq!(
            rig.request(r#"local t = setmetatable({}, { __index = function(_, k) return http.get("svc://a/" .. k):text() end }); return reply.text(200, t.x)"#).await,
            format!("Runtime test.lua:1: {why}")
        );
        assert_eq!(
            rig.request("coroutine.yield(1)").await,
            "Runtime test.lua:1: coroutine.yield: there is no coroutine here to yield from"
        );
        assert_eq!(
            rig.refused(r#"local x = http.get("svc://a/b"); return {}"#),
            "Runtime test.lua:1:11: http.get: can't be called while a file is loaded: call it from on_load or another hook"
        );
    });
}

#[test]
fn two_hundred_hooks_wait_side_by_side() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(r#"return { on_request = function(req, ctx) return reply.text(200, http.get("svc://a/" .. req.params.id):json().url .. http.get("svc://b/" .. req.params.id):json().url) end }"#)
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let started = Instant::now();
        let calls = (0..200).map(|n| {
            let exchange = fixture::exchange("");
            exchange.request.borrow_mut().params = vec![("id".into(), n.to_string())];
            let (program, state) = (&program, &state);
            async move { call(&**program, Hook::OnRequest, exchange, state, Limits::default()).await }
        });
        let replies = futures_util::future::join_all(calls).await;
        for (n, reply) in replies.iter().enumerate() {
            assert_eq!(*reply, format!("200 svc://a/{n}svc://b/{n}"));
        }
        let took = started.elapsed();
        assert!(took.as_millis() < 2000, "400 waits of 20 ms side by side took {took:?}");
    });
}

#[test]
fn a_host_function_ends_the_hook_through_pcall() {
    block_on(async {
        let rig = Rig::new();
        let all = r#"http.all({ a = { url = "svc://a/b" } })"#;
        assert_eq!(
            rig.request(&format!(r#"local got = {all}; return reply.text(200, got.a:json().url)"#)).await,
            "200 svc://a/b"
        );
        // Larger than the route reads: 413 from the host.
        let program = rig
            .compile("return { on_request = function(req) pcall(function() coroutine.wrap(function() req:text() end)() end) return reply.text(200, 'caught') end }")
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let exchange = fixture::exchange("{}");
        exchange.request.borrow_mut().body.take();
        let said = call(&*program, Hook::OnRequest, exchange, &state, Limits::default()).await;
        assert_eq!(said, "200 caught");
    });
}

#[test]
fn a_cancelled_hook_leaves_the_machine_whole() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(r#"return { on_request = function(req, ctx) http.get("svc://a/b"); return reply.text(200, "late") end }"#)
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        for _ in 0..100 {
            let scope = fixture::scope(Hook::OnRequest, Some(fixture::exchange("")));
            let mut waiting = program.call(Hook::OnRequest, scope, &state);
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
        assert_eq!(said, "200 late");
    });
}
