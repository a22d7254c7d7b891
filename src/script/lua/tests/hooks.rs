//! What scripts can do: objects, replies, modules, state.

use super::*;
use crate::script::exchange::Side;

#[test]
fn hooks_decide() {
    block_on(async {
        let rig = Rig::new();
        assert_eq!(rig.request("").await, "continue");
        assert_eq!(rig.request(r#"return reply.text(200, "hi")"#).await, "200 hi");
        assert_eq!(rig.request(r#"return reply.json(200, { b = 1, a = { 1, 2 } })"#).await, r#"200 {"a":[1,2],"b":1}"#);
        assert_eq!(rig.request(r#"return reply.error(403, "not yours")"#).await, "403 problem: not yours");
        assert_eq!(rig.request(r#"error(reply.error(401, "no key"))"#).await, "401 problem: no key");
        assert_eq!(
            rig.request(r#"local function deep() error(reply.empty(204)) end; local function f() deep() end; f()"#)
                .await,
            "204 "
        );
        assert_eq!(rig.request("return { status = 200 }").await, "Returned test.lua:1: on_request returned a table");
    });
}

#[test]
fn objects_are_read_and_set() {
    block_on(async {
        let rig = Rig::new();
        let text = |body: &'static str| {
            let rig = &rig;
            async move { rig.request(&format!("return reply.text(200, tostring({body}))")).await }
        };
        assert_eq!(text("req.method").await, "200 GET");
        assert_eq!(text(r#"req.headers["ACCEPT"]"#).await, "200 */*");
        assert_eq!(text(r#"req.headers["x-none"]"#).await, "200 nil");
        assert_eq!(text(r#"req.headers:has("accept")"#).await, "200 true");
        assert_eq!(text(r#"req.headers:all("accept")[1]"#).await, "200 */*");
        assert_eq!(text("req.params.id").await, "200 42");
        assert_eq!(text("ctx.client.ip").await, "200 203.0.113.7");
        assert_eq!(text("ctx.id").await, "200 test-id");
        assert_eq!(text("req").await, "200 request");
        assert_eq!(text("req.headers == req.headers").await, "200 true");
        assert_eq!(
            rig.request(
                r#"req.headers["x-a"] = 5; req.headers["x-b"] = true; req.headers["accept"] = nil
                   local seen = {}
                   for name, value in req.headers do table.insert(seen, name .. "=" .. value) end
                   for name, value in pairs(req.headers) do table.insert(seen, name .. "=" .. value) end
                   table.sort(seen)
                   return reply.text(200, table.concat(seen, " "))"#
            )
            .await,
            "200 x-a=5 x-a=5 x-b=true x-b=true"
        );
        assert_eq!(
            rig.request(
                r#"ctx.vars.user = { name = "Ada", tags = {} }; ctx.vars.n = 3
                   local user = ctx.vars.user
                   return reply.json(200, { user, ctx.vars.n, ctx.vars.none == nil })"#
            )
            .await,
            r#"200 [{"name":"Ada","tags":{}},3,true]"#
        );
    });
}

#[test]
fn bodies_are_read_and_replaced() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile("return { on_request = function(req) local v = req:json(); v.name = 'x'; req:set_json(v) end }")
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let exchange = fixture::exchange(r#"{"z":1,"a":[]}"#);
        let scope = fixture::scope(Hook::OnRequest, Some(exchange.clone()));
        assert_eq!(show(&program.call(Hook::OnRequest, scope, &state).await.expect("a decision")), "continue");
        assert_eq!(fixture::body(&exchange, Side::Request).await, r#"{"z":1,"a":[],"name":"x"}"#);
    });
}

#[test]
fn what_a_callback_makes_is_not_kept_for_the_machines_life() {
    block_on(async {
        let rig = Rig::new();
        let script = r#"return { on_load = function()
            every("1s", function() assert(ip.list({ "192.0.2.0/24" }):has("192.0.2.7")) end)
            return ip.list({ "192.0.2.0/24" })
        end }"#;
        let program = rig.compile(script).expect("a program");
        let scope = fixture::scope(Hook::OnLoad, None);
        let state = program.load(scope.clone(), "{}").await.expect("a state");
        let given = scope.services.background.as_ref().expect("a place for callbacks").take();
        let kept = || rig.engine.vm.shared.made.borrow().len();
        assert_eq!((given.len(), kept()), (1, 1));
        for task in given.iter().cycle().take(3) {
            let ran = program.background(&task.callback, fixture::scope(Hook::Every, None), &state).await;
            assert_eq!(ran.map_err(|error| tell(&error)), Ok(()));
        }
        assert_eq!(kept(), 1);
    });
}

#[test]
fn every_hook_gets_its_objects() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"
                local M = {}
                function M.handle(req, ctx) return reply.text(200, "handled " .. req.path) end
                function M.on_response(res, ctx) res.status = 201; return reply.text(200, res.from .. ctx.id) end
                function M.on_error(err, ctx) return reply.text(500, err.kind .. " " .. err.status) end
                function M.on_log(ctx) ctx.vars.logged = true end
                return M"#,
            )
            .expect("a program");
        let hooks = Hook::ALL.into_iter().filter(|hook| program.hooks().has(*hook)).map(Hook::name);
        assert_eq!(hooks.collect::<Vec<_>>(), ["handle", "on_response", "on_error", "on_log"]);
        let state = loaded(&*program, "{}").await;
        let exchange = fixture::exchange("");
        fixture::respond(&exchange, "old");
        let failed = crate::script::object::Failed { kind: "timeout", status: 504, message: "late".into() };
        exchange.failed.replace(Some(Rc::new(failed)));
        let said = |hook| call(&*program, hook, exchange.clone(), &state, Limits::default());
        assert_eq!(said(Hook::Handle).await, "200 handled /users/42");
        assert_eq!(said(Hook::OnResponse).await, "200 upstreamtest-id");
        assert_eq!(said(Hook::OnError).await, "500 timeout 504");
        assert_eq!(said(Hook::OnLog).await, "continue");
        assert_eq!(said(Hook::OnRequest).await, "continue");
        assert_eq!(format!("{:?}", exchange.vars.borrow()), r#"[("logged", Json(b"true"))]"#);
    });
}

#[test]
fn config_and_state_are_kept_and_can_not_be_changed() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"return {
                    on_load = function(config) return { limit = config.limit * 2, list = { 1 } } end,
                    on_request = function(req, ctx)
                        local ok, why = pcall(function() ctx.state.limit = 1 end)
                        local ok2, why2 = pcall(function() table.insert(ctx.config.names, "c") end)
                        return reply.json(200, { ctx.state.limit, ctx.config.names, why, ctx.state == ctx.state, ok2 })
                    end,
                }"#,
            )
            .expect("a program");
        let state = loaded(&*program, r#"{"limit":5,"names":["a","b"]}"#).await;
        assert_eq!(
            call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await,
            r#"200 [10,["a","b"],"test.lua:4: attempt to modify a readonly table",true,false]"#
        );
    });
}

#[test]
fn globals_are_the_files_own_until_it_is_loaded() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile("count = 1; function helper() return count + 1 end; return { on_request = function() return reply.text(200, tostring(helper())) end }")
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
        assert_eq!(said, "200 2");
        assert_eq!(rig.request("return reply.text(200, tostring(helper))").await, "200 nil");
        assert_eq!(
            rig.request("total = 1").await,
            "Runtime test.lua:1: the global 'total' can't be assigned here: other requests would see it. Use a local, or ctx.vars or kv to share"
        );
        for name in [
            "debug",
            "io",
            "loadstring",
            "load",
            "getfenv",
            "setfenv",
            "newproxy",
            "collectgarbage",
            "dofile",
            "gcinfo",
        ] {
            assert_eq!(rig.request(&format!("return reply.text(200, type({name}))")).await, "200 nil", "{name}");
        }
        assert_eq!(rig.request("return reply.text(200, type(os.execute) .. type(os.time()))").await, "200 nilnumber");
        assert_eq!(rig.request("string.rep = nil").await, "Runtime test.lua:1: attempt to modify a readonly table");
        assert_eq!(rig.request("http.get = nil").await, "Runtime test.lua:1: attempt to modify a readonly table");
    });
}

#[test]
fn modules_are_loaded_once_and_may_not_turn_in_circles() {
    block_on(async {
        let rig = Rig::with([
            (
                "lib/a",
                "local b = require 'lib.b'; loads = (loads or 0) + 1; return { twice = function(x) return b.twice(x) end, n = loads }",
            ),
            ("lib/b", "return { twice = function(x) return 2 * x end, list = { unpack({ 1, 2 }) } }"),
            ("lib/c", "require 'lib.d'"),
            ("lib/d", "require 'lib.c'"),
            ("lib/broken", "local x = \n\nend"),
            ("lib/failing", "local t = nil\nreturn t.x"),
            ("lib/global", "return { set = function() leaked = 1 end }"),
        ]);
        let loads = r#"local a, b = require "lib.a", require "lib/a"
            return { on_request = function() return reply.json(200, { a == b, a.twice(4), a.n, require("lib.b").twice(1) }) end }"#;
        for _ in 0..2 {
            let program = rig.compile(loads).expect("a program");
            let state = loaded(&*program, "{}").await;
            let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
            assert_eq!(said, "200 [true,8,1,2]");
        }
        assert_eq!(
            rig.refused("local x = require 'lib.none'\nreturn {}"),
            "Runtime test.lua:1:20: require: there is no module `lib.none`"
        );
        assert_eq!(
            rig.refused("require 'lib.c'\nreturn {}"),
            "Runtime lib/d.lua:1:1: require: a module requires itself: lib/c.lua → lib/d.lua → lib/c.lua"
        );
        assert_eq!(
            rig.refused("require 'lib.broken'\nreturn {}"),
            "Syntax lib/broken.lua:3:1: Expected identifier when parsing expression, got 'end'"
        );
        assert_eq!(
            rig.refused("require 'lib.failing'\nreturn {}"),
            "Runtime lib/failing.lua:2:10: attempt to index nil with 'x'"
        );
        assert_eq!(
            rig.request("require('lib.global').set()").await,
            "Runtime lib/global.lua:1: the global 'leaked' can't be assigned here: other requests would see it. Use a local, or ctx.vars or kv to share"
        );
    });
}

#[test]
fn objects_that_are_kept_end_with_their_request() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"local kept, answer, made
                return { on_request = function(req, ctx)
                    if kept then
                        local ok, why = pcall(function() return kept.method end)
                        local ok2, why2 = pcall(function() return answer.status end)
                        return reply.json(200, { why, why2, made.status, req.method })
                    end
                    kept, answer, made = req, http.get("svc://a/b"), reply.empty(204)
                end }"#,
            )
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let said = || call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default());
        assert_eq!(said().await, "continue");
        let over = "the request of this object is over: keep what was read from it, not the object";
        assert_eq!(said().await, format!(r#"200 ["test.lua:4: {over}","test.lua:5: {over}",204,"GET"]"#));
    });
}

#[test]
fn a_reply_is_an_object_also_when_it_is_kept() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"local made = {}
                return { on_request = function(req, ctx)
                    table.insert(made, reply.text(200 + #made, string.rep("x", 100)))
                    if #made < 3 then return end
                    for _ = 1, 5000 do reply.empty(204) end
                    local said = {}
                    for _, wrong in {
                        function() return made[1].body end,
                        function() made[1].status = 5 end,
                        function() return made[1]:status() end,
                        function() return made[1]:send() end,
                        function() for _ in made[1] do end end,
                        function() return json.encode(made[1]) end,
                        function() return http.get(made[1]) end,
                    } do
                        local _, why = pcall(wrong)
                        table.insert(said, (string.gsub(why, "^test.lua:%d+: ", "")))
                    end
                    if made[2].status == 201 and tostring(made[2]) == "reply" and type(made[2]) == "userdata" then
                        return reply.json(200, said)
                    end
                end }"#,
            )
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let said = || call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default());
        assert_eq!([said().await, said().await], ["continue", "continue"]);
        let wrong = [
            "reply has no `body`",
            "`status` of reply can't be set",
            "`status` of reply is no function: read it without calling it",
            "reply has no `send`",
            "a reply has no items to go through",
            "json.encode: argument 1 (value): a reply can't be JSON",
            "http.get: argument 1 (url): expected a string, got a reply",
        ];
        assert_eq!(said().await, format!("200 {}", serde_json::json!(wrong)));
    });
}

#[test]
fn a_record_has_only_what_it_says_and_belongs_to_the_script() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"return {
                on_load = function()
                    local key = { secret = string.rep("s", 32), algorithm = "HS256" }
                    local verifier = jwt.verifier({ secret = key.secret, algorithms = { "HS256" } })
                    return { verifier = verifier, token = jwt.sign({ exp = 4102444800 }, key) }
                end,
                on_request = function(req, ctx)
                    local function names(record)
                        local all = {}
                        for name in pairs(record) do table.insert(all, name) end
                        table.sort(all)
                        return table.concat(all, " ") .. " " .. tostring(record.ok)
                    end
                    local verifier, said = ctx.state.verifier, {}
                    for _, token in ipairs({ ctx.state.token, "a.b" }) do
                        local record = verifier:verify(token)
                        table.insert(said, names(record))
                        record.ok, record.claims, record.error, record.own = "changed", nil, nil, true
                    end
                    return reply.json(200, said)
                end }"#,
            )
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        for _ in 0..3 {
            let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
            assert_eq!(said, r#"200 ["claims ok true","error message ok false"]"#);
        }
    });
}

#[test]
fn claims_are_read_only_also_when_their_token_is_seen_again() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"return {
                on_load = function()
                    local key = { secret = string.rep("s", 32), algorithm = "HS256" }
                    local verifier = jwt.verifier({ secret = key.secret, algorithms = { "HS256" } })
                    return { verifier = verifier, token = jwt.sign({ sub = "7", roles = { "a" }, exp = 4102444800 }, key) }
                end,
                on_request = function(req, ctx)
                    local claims = ctx.state.verifier:verify(ctx.state.token).claims
                    local changed = pcall(function() claims.sub = "8" end) or pcall(table.insert, claims.roles, "b")
                    ctx.identity = { id = claims.sub, claims = claims }
                    return reply.json(200, { changed, ctx.identity.claims.roles, ctx.identity.id })
                end }"#,
            )
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        for _ in 0..3 {
            let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
            assert_eq!(said, r#"200 [false,["a"],"7"]"#);
        }
    });
}

#[test]
fn options_in_a_frozen_table_mean_the_same_each_time() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(
                r#"return {
                on_load = function() return { rule = { limit = 2, window = "60s" }, wrong = { limt = 2 } } end,
                on_request = function(req, ctx)
                    local seen = limit.sliding_window("k", ctx.state.rule)
                    local _, why = pcall(limit.token_bucket, "k", ctx.state.rule)
                    local _, why2 = pcall(limit.sliding_window, "k", ctx.state.wrong)
                    local changed = pcall(rawset, ctx.state.rule, "limit", 3)
                    return reply.json(200, { seen.limit, changed, why, why2 })
                end }"#,
            )
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        for _ in 0..3 {
            let said = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
            let unknown = "limit.token_bucket: argument 2 (rule): unknown entry `limit`, there are rate, burst, cost, on_store_error";
            let near = "limit.sliding_window: argument 2 (rule): unknown entry `limt`, did you mean `limit`?";
            assert_eq!(said, format!(r#"200 [2,false,"{unknown}","{near}"]"#));
        }
    });
}

#[test]
fn answers_of_calls_are_read_and_their_headers_are_one_object() {
    block_on(async {
        let rig = Rig::new();
        let said = rig
            .request(
                r#"local got = http.all({ a = { url = "svc://x/{id}", params = { id = 7 }, query = { b = true } }, c = { url = "svc://y" } })
                   local a = got.a
                   return reply.json(200, { a.status, a.ok, a:json().url, got.c:json().method, tostring(a), tostring(a.headers),
                       a.headers == a.headers, a.headers["x-none"] == nil, a.headers, a == got.c })"#,
            )
            .await;
        assert_eq!(said, r#"200 [200,true,"svc://x/7?b=true","GET","result","result headers",true,true,{},false]"#);
    });
}

#[test]
fn an_exchange_is_freed_when_its_hook_is_over() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile("return { on_request = function(req, ctx) ctx.vars.m = req.headers.accept; req:text() end }")
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let exchange = fixture::exchange("a body");
        let weak = Rc::downgrade(&exchange);
        assert_eq!(call(&*program, Hook::OnRequest, exchange, &state, Limits::default()).await, "continue");
        assert_eq!(weak.strong_count(), 0);
    });
}

#[test]
fn the_json_module_and_the_machine_agree() {
    block_on(async {
        let rig = Rig::new();
        assert_eq!(
            rig.request(
                r#"local list = json.array()
                   local text = json.encode({ a = list, b = json.null, c = json.decode('{"z":1,"y":[]}'), d = {} })
                   table.insert(list, 5)
                   return reply.json(200, { text, list, json.decode("null") == json.null })"#
            )
            .await,
            r#"200 ["{\"a\":[],\"b\":null,\"c\":{\"z\":1,\"y\":[]},\"d\":{}}",[5],true]"#
        );
    });
}
