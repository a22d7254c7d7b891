//! Scripts that take what they can get, each beside a neighbour on the same runtime.

use super::*;
use crate::script::limits::thread_cpu;
use std::time::{Duration, Instant};

/// How a hostile script ended, the CPU time that it took, and how much of it a timer of 1 ms missed at once.
struct Ended {
    said: String,
    took: Duration,
    late: Duration,
}

async fn beside_a_neighbour(rig: &Rig, body: &str, limits: Limits) -> Ended {
    let started = thread_cpu();
    let mut late = Duration::ZERO;
    let mut request = std::pin::pin!(rig.request_with(body, limits));
    loop {
        let asleep = thread_cpu();
        let said = tokio::select! {
            biased;
            said = &mut request => Some(said),
            () = tokio::time::sleep(Duration::from_millis(1)) => None,
        };
        late = late.max(thread_cpu() - asleep);
        if let Some(said) = said {
            return Ended { said, took: thread_cpu() - started, late };
        }
    }
}

/// Runs a script until it was stopped with one of `faults` in time and the neighbour came no later than `late`. Time is the thread's
/// on a processor; one that others use too is slower, so that it is measured several times. No try may end without a limit.
async fn stops(rig: &Rig, body: &str, limits: Limits, faults: &[&str], late: Duration) {
    let mut tries = Vec::new();
    let stopped = loop {
        let ended = beside_a_neighbour(rig, body, limits.clone()).await;
        assert!(ended.said.starts_with("Limit("), "{body}\nended with {}", ended.said);
        let in_time = ended.took < limits.cpu.min(MUCH) + AFTER.max(late) && ended.late <= late;
        if in_time && faults.iter().any(|fault| ended.said.starts_with(fault)) {
            break true;
        }
        tries.push(format!("{:?}, neighbour {:?} late: {}", ended.took, ended.late, ended.said));
        if tries.len() == TRIES {
            break false;
        }
    };
    assert!(stopped, "{body}\n{}", tries.join("\n"));
    // The neighbour in the same machine has all it needs.
    let alive =
        rig.request(r#"local t = {} for i = 1, 1000 do t[i] = { i } end return reply.text(200, "alive")"#).await;
    assert_eq!(alive, "200 alive", "after {body}");
}

/// For scripts whose memory or depth is looked at, not their time.
fn patient() -> Limits {
    Limits { cpu: Duration::from_secs(4), ..Limits::default() }
}

const TRIES: usize = 12;
/// What a script takes that is stopped for its memory.
const MUCH: Duration = Duration::from_millis(400);
/// What a script may take beyond its budget, compiling it and collecting what it left included.
const AFTER: Duration = Duration::from_millis(20);
const GIVES_WAY: Duration = Duration::from_millis(6);
/// Where it can't give way it is stopped after 10 ms; the rest is for the clock and the collector.
const STOPPED: Duration = Duration::from_millis(16);

#[test]
fn endless_loops_give_way_and_are_stopped() {
    block_on(async {
        let rig = Rig::new();
        for body in [
            "while true do end",
            "for i = 1, 1e12 do end",
            "local function f() end while true do f() end",
            "while true do pcall(function() while true do end end) end",
            "while true do pcall(error, 'x') end",
            "while true do pcall(function() req.nothing = 1 end) end",
            "while true do xpcall(function() while true do end end, function() while true do end end) end",
            "for x in function() return 1 end do end",
            "while true do req.headers['x-a'] = req.method end",
            "local s = 0 while true do s += #tostring(s) end",
            "while true do string.format('%d', 5) end",
            "repeat local ok = pcall(coroutine.wrap(function() error('x') end)) until ok",
        ] {
            stops(&rig, body, Limits::default(), &["Limit(Cpu)"], GIVES_WAY).await;
        }
    });
}

/// Each call of `pcall` is left by an error of its own.
#[test]
fn leaving_twenty_thousand_calls_takes_a_while() {
    block_on(async {
        let body = "local function f() pcall(f) pcall(f) end f()";
        // Beside other tests the processor's caches are shared, and a build for tests does more at each of them.
        let late = Duration::from_millis(if cfg!(debug_assertions) { 90 } else { 60 });
        stops(&Rig::new(), body, Limits::default(), &["Limit(Cpu)"], late).await;
    });
}

#[test]
fn where_a_script_can_not_give_way_it_is_stopped_after_10_ms() {
    block_on(async {
        let rig = Rig::new();
        for body in [
            "xpcall(error, function() while true do end end, 'x')",
            "coroutine.wrap(function() while true do end end)()",
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
            "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
            "local function f() return pcall(coroutine.wrap(f)) end while true do f() end",
            "('xx'):gsub('.', function() while true do end end)",
            "('xx'):gsub('.', function() while true do pcall(function() while true do end end) end end)",
            "table.sort({ 3, 2, 1 }, function() while true do end end)",
            "table.foreach({ 1 }, function() while true do end end)",
            "local t = setmetatable({}, { __index = function() while true do end end }) local x = t.x",
            "local t = setmetatable({}, { __newindex = function() while true do end end }) t.x = 1",
            "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
            "local t = setmetatable({}, { __eq = function() while true do end end }) local x = t == setmetatable({}, getmetatable(t))",
            "local t = setmetatable({}, { __concat = function() while true do end end }) local x = t .. 'x'",
            "local t = setmetatable({}, { __len = function() while true do end end }) local x = #t",
            "local t = setmetatable({}, { __iter = function() while true do end end }) for x in t do end",
            "print(setmetatable({}, { __tostring = function() while true do end end }))",
            "local x = (('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40))",
            "local x = (('a'):rep(5000)):find(('.-'):rep(30) .. 'b')",
            "while true do local x = (('a'):rep(30)):match(('a*'):rep(20) .. 'b') end",
        ] {
            stops(&rig, body, Limits::default(), &["Limit(Cpu)"], STOPPED).await;
        }
    });
}

#[test]
fn library_functions_do_not_run_away() {
    block_on(async {
        let rig = Rig::new();
        // The last is one call on more than a megabyte, which a build for tests reads at a tenth of the speed.
        let late = if cfg!(debug_assertions) { 2 * STOPPED } else { STOPPED };
        for body in [
            "local t = {} for i = 1, 3e5 do t[i] = -i end table.sort(t)",
            "local s = ('a'):rep(4e6) while true do s:find(('a'):rep(2e6) .. 'b', 1, true) end",
            "local s = ('a'):rep(4e6) while true do s:split(('a'):rep(2e6) .. 'b') end",
            "local t = {} for i = 1, 2e5 do t[i] = { i } end while true do reply.json(200, t) end",
            "local t = ('[1],'):rep(2e5) while true do ctx.vars.x = t .. t local y = ctx.vars.x end",
        ] {
            stops(&rig, body, Limits::default(), &["Limit(Cpu)", "Limit(Memory)"], late).await;
        }
    });
}

#[test]
fn memory_is_capped_for_each_hook() {
    block_on(async {
        let rig = Rig::new();
        for body in [
            "local s = ('x'):rep(1e9)",
            "local t = table.create(5e7, 1)",
            "local b = buffer.create(5e8)",
            "local s = 'x' while true do s = s .. s end",
            "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
            "while true do pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end) end",
            "while true do pcall(string.rep, 'x', 1e9) end",
            "local i = 0 while true do i += 1 ctx.vars['k' .. i] = ('x'):rep(1e6) end",
            "local t, s = {}, ('x'):rep(4e6) while true do t[#t + 1] = reply.text(200, s) end",
        ] {
            stops(&rig, body, patient(), &["Limit(Memory)"], Duration::from_millis(40)).await;
        }
        // Whether time or memory ends first depends on the machine.
        for body in [
            "local t = {} for i = 1, 1e9 do t[i] = i end",
            "local t = {} for i = 1, 1e9 do t['k' .. i] = {} end",
            "local t = {} while true do table.insert(t, function() return t end) end",
            "local t = {} while true do table.insert(t, coroutine.create(print)) end",
            "while true do local s = ('x'):rep(1e7) end",
            "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end",
            "coroutine.wrap(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end)()",
        ] {
            stops(&rig, body, Limits::default(), &["Limit(Memory)", "Limit(Cpu)"], Duration::from_millis(60)).await;
        }
    });
}

#[test]
fn what_is_found_when_the_hook_has_ended_has_a_place_too() {
    block_on(async {
        let rig = Rig::new();
        let said = rig.request_with("return ('x'):rep(4e7)", patient()).await;
        assert_eq!(said, "Limit(Memory) test.lua:1: stopped: it held more than its share of memory (32 MiB)");
    });
}

#[test]
fn the_host_takes_no_value_that_is_too_large() {
    block_on(async {
        let rig = Rig::new();
        for body in [
            "return reply.text(200, ('x'):rep(9e6))",
            "req.headers['x-a'] = ('x'):rep(9e6)",
            "return reply.text(200, crypto.sha256(buffer.create(9e6)))",
        ] {
            let said = rig.request_with(body, patient()).await;
            let why = "9000000 bytes are more than the host takes at once (8388608, `limits.max_body_size`)";
            assert!(said.starts_with("Runtime test.lua:1: ") && said.contains(why), "{body}: {said}");
        }
        let many = "local t = {} for i = 1, 2e4 do t['k' .. i] = 'x' end return reply.empty(204, t)";
        let said = rig.request_with(many, patient()).await;
        assert!(said.contains("more than 16384 entries, the most that the host takes at once"), "{said}");
        let most = "return reply.text(200, tostring(#crypto.sha256(('x'):rep(8388608))))";
        assert_eq!(rig.request_with(most, patient()).await, "200 64");
    });
}

#[test]
fn deep_recursion_is_an_ordinary_error() {
    block_on(async {
        let rig = Rig::new();
        for body in [
            "local function f(x) return 1 + f(x) end f(1)",
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end local x = t.x",
            "local function f() return (('x'):gsub('x', f)) end f()",
        ] {
            let said = rig.request_with(body, patient()).await;
            assert!(said.starts_with("Runtime test.lua:1: ") && said.contains("overflow"), "{body}: {said}");
        }
        let caught =
            rig.request("local function f() return 1 + f() end return reply.text(200, tostring(pcall(f)))").await;
        assert_eq!(caught, "200 false");
        for body in ["local function f() return 1 + f() end", "local function f() return req.method .. f() end"] {
            let body = format!("{body} return reply.text(200, tostring(pcall(f)))");
            let caught = rig.request_with(&body, patient()).await;
            assert_eq!(caught, "200 false");
        }
    });
}

#[test]
fn a_memory_bomb_does_not_fail_its_neighbour() {
    block_on(async {
        let rig = Rig::new();
        let bomb = rig
            .compile(
                r#"return { on_request = function(req, ctx)
                    local t = {}
                    while true do
                        for i = 1, 200 do t[#t + 1] = ("x"):rep(10000) .. #t end
                        http.get("svc://a/b")
                    end
                end }"#,
            )
            .expect("a program");
        let good = rig
            .compile(
                r#"return { on_request = function(req, ctx)
                    for round = 1, 20 do
                        local t = {}
                        for i = 1, 100 do t[i] = ("y"):rep(10000) .. i end
                        http.get("svc://a/b")
                    end
                    return reply.text(200, "fine")
                end }"#,
            )
            .expect("a program");
        let (bomb_state, good_state) = (loaded(&*bomb, "{}").await, loaded(&*good, "{}").await);
        let (bombed, fine) = tokio::join!(
            call(&*bomb, Hook::OnRequest, fixture::exchange(""), &bomb_state, patient()),
            call(&*good, Hook::OnRequest, fixture::exchange(""), &good_state, patient()),
        );
        assert!(bombed.starts_with("Limit(Memory) test.lua:4:"), "{bombed}");
        assert_eq!(fine, "200 fine");
    });
}

#[test]
fn the_deadline_ends_a_script_that_waits() {
    block_on(async {
        let rig = Rig::new();
        let program = rig
            .compile(r#"return { on_request = function() while true do pcall(http.get, "svc://a/b") end end }"#)
            .expect("a program");
        let state = loaded(&*program, "{}").await;
        let exchange = fixture::exchange("");
        exchange.deadline.set(Instant::now() + Duration::from_millis(50));
        let started = Instant::now();
        let said = call(&*program, Hook::OnRequest, exchange, &state, Limits::default()).await;
        assert_eq!(said, "Limit(Wall) test.lua:1: stopped: the deadline passed");
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    });
}

#[test]
fn files_are_stopped_while_they_are_loaded() {
    let rig = Rig::new();
    for text in ["while true do end", "while true do pcall(function() while true do end end) end"] {
        assert_eq!(
            rig.refused(text),
            "Limit(Cpu) test.lua:1:1: stopped: it ran too long without giving way, or used up its CPU time"
        );
    }
    assert_eq!(
        rig.refused("local s = ('x'):rep(1e9)"),
        "Limit(Memory) test.lua:1:1: stopped: it held more than its share of memory (32 MiB)"
    );
    assert_eq!(rig.refused("return {}"), "it compiled");
}

#[test]
fn loops_in_step_with_the_clock_give_way() {
    block_on(async {
        let rig = Rig::new();
        for count in 1..=9 {
            let body = format!("while true do local x = {} end", vec!["req.method"; count].join(" .. "));
            let body = &body.replace("while true", "local till = os.clock() + 0.03 while os.clock() < till");
            assert_eq!(rig.request_with(body, patient()).await, "continue", "{body}");
        }
    });
}
