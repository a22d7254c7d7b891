//! Scripts that misbehave are stopped in time, in both languages, while a neighbour's requests keep flowing.

use crate::support::{Gateway, Request, Upstream, gateway, reply};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What a hook does, in one language.
struct Attack {
    name: &'static str,
    lua: &'static str,
    rhai: &'static str,
}

/// Each body is that of `handle(req, ctx)`.
const ATTACKS: &[Attack] = &[
    Attack { name: "an endless loop", lua: "while true do end", rhai: "loop { }" },
    Attack {
        name: "a loop that catches what stops it",
        lua: "while true do pcall(function() while true do end end) end",
        rhai: "loop { try { loop { } } catch { } }",
    },
    Attack {
        name: "a loop in a coroutine or a callback",
        lua: "while true do coroutine.wrap(function() while true do end end)() end",
        rhai: "loop { try { [3, 1, 2].sort(|a, b| { loop { } 0 }); } catch { } }",
    },
    Attack {
        name: "a memory bomb",
        lua: "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end",
        rhai: "let t = []; loop { let s = \"x\"; s.pad(100000, 'x'); t.push(s + t.len()); }",
    },
    Attack {
        name: "a string that doubles",
        lua: "local s = string.rep('x', 1000000000) local t = s .. s",
        rhai: "let s = \"xxxxxxxx\"; loop { s += s; }",
    },
    Attack {
        name: "a bomb for the pattern matcher",
        lua: "string.find(string.rep('a', 30000), string.rep('a-', 30) .. 'b')",
        rhai: "let s = \"a\"; s.pad(100000, 'a'); loop { s.replace(\"aa\", \"a\"); s.pad(100000, 'a'); }",
    },
    Attack { name: "deep recursion", lua: "local function f(n) return 1 + f(n + 1) end return f(1)", rhai: "fn_f(1)" },
    Attack {
        name: "a table or array without end",
        lua: "local t = {} for i = 1, 1e12 do t[i] = i end",
        rhai: "let t = []; loop { t.push(1); }",
    },
    Attack {
        name: "nested data without end",
        lua: "local t = {} while true do t = { t } end",
        rhai: "let t = []; loop { t = [t]; }",
    },
];

fn attacked() -> Gateway {
    let mut yaml = String::from(
        "workers: 1\nlimits: {quarantine: off}\nroutes:\n  - {name: neighbour, paths: [/neighbour], plugins: [{script: neighbour.lua}]}\n",
    );
    let mut given = Vec::new();
    for (index, attack) in ATTACKS.iter().enumerate() {
        for lang in ["lua", "rhai"] {
            yaml.push_str(&format!(
                "  - {{name: {lang}-{index}, paths: [/{lang}/{index}], plugins: [{{script: {lang}{index}.{lang}}}]}}\n"
            ));
        }
        given.push((format!("lua{index}.lua"), format!("return {{ handle = function(req, ctx) {} end }}", attack.lua)));
        given.push((
            format!("rhai{index}.rhai"),
            format!("fn fn_f(n) {{ 1 + fn_f(n + 1) }}\nfn handle(req, ctx) {{ {} }}", attack.rhai),
        ));
    }
    let neighbour = "return { handle = function() return reply.text(200, 'fine') end }";
    given.iter().fold(gateway(&yaml).file("neighbour.lua", neighbour), |g, (path, text)| g.file(path, text)).start()
}

/// Asks the neighbour again and again while `meanwhile` runs, and gives how long each answer took.
fn neighbours(gateway: &Gateway, meanwhile: impl FnOnce()) -> Vec<Duration> {
    /// Also when the test has failed: whoever asks must come to an end.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = gateway.connect();
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(client.send(&Request::get("/neighbour")).ok().text(), "fine");
                times.push(asked.elapsed());
            }
            times
        });
        let ends = Done(&done);
        meanwhile();
        drop(ends);
        asking.join().expect("the neighbour's client")
    })
}

/// How often an attack is tried until it is stopped in time: the machine that runs the tests may be busy with something else.
const TRIES: usize = 10;

fn is_stopped_in_time(gateway: &Gateway, target: &str, name: &str) {
    let mut times = Vec::new();
    while times.len() < TRIES {
        let asked = Instant::now();
        assert_eq!(gateway.get(target).problem(500), "a script of this route failed", "{name}");
        times.push(asked.elapsed());
        if asked.elapsed() < Duration::from_millis(150) {
            return;
        }
    }
    panic!("{name} ({target}) was never stopped in time: {times:?}");
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

#[test]
fn every_attack_is_stopped_in_time_in_both_languages_and_neighbours_go_on() {
    let gateway = attacked();
    let mut times = neighbours(&gateway, || {
        for (index, attack) in ATTACKS.iter().enumerate() {
            for lang in ["lua", "rhai"] {
                is_stopped_in_time(&gateway, &format!("/{lang}/{index}"), attack.name);
            }
        }
    });
    assert!(times.len() > 100, "the neighbour was asked only {} times", times.len());
    let p50 = percentile(&mut times, 50);
    let p99 = percentile(&mut times, 99);
    let (all, bound) = (times.len(), Duration::from_millis(60));
    assert!(p99 < bound, "the neighbour waited {p50:?} (p50), {p99:?} (p99) of {all}");
    assert!(gateway.memory("VmRSS") < 300 * 1024, "{} KiB are held after the bombs", gateway.memory("VmRSS"));
}

#[test]
fn a_stopped_script_leaves_a_line_with_its_place_and_the_clients_get_an_id_only() {
    let gateway = attacked();
    for lang in ["lua", "rhai"] {
        let answer = gateway.get(&format!("/{lang}/0"));
        assert_eq!(answer.problem(500), "a script of this route failed");
        let id = answer.header("x-request-id").expect("an id");
        let line = gateway.log_contains(id);
        assert!(line.contains(&format!("{lang}0.{lang}:")) && line.contains("CPU"), "{line}");
    }
}

#[test]
fn what_scripts_must_not_reach_is_not_there() {
    let absent = "
return { handle = function()
  local found = {}
  for _, name in ipairs({ 'io', 'debug', 'load', 'loadstring', 'loadfile', 'dofile', 'package', 'getfenv', 'setfenv', 'newproxy', 'collectgarbage' }) do
    if _G[name] ~= nil then found[#found + 1] = name end
  end
  -- Luau's own `os` tells the time and nothing else.
  for name in pairs(os) do
    if name ~= 'clock' and name ~= 'date' and name ~= 'difftime' and name ~= 'time' then found[#found + 1] = 'os.' .. name end
  end
  return reply.text(200, table.concat(found, ' '))
end }";
    let frozen = "
return { handle = function()
  local ok = pcall(function() string.rep = nil end)
  local set = pcall(function() _G.leak = (_G.leak or 0) + 1 end)
  return reply.text(200, tostring(ok) .. ' ' .. tostring(string.rep ~= nil) .. ' ' .. tostring(leak))
end }";
    let yaml = "routes:
  - {name: a, paths: [/absent], plugins: [{script: absent.lua}]}
  - {name: f, paths: [/frozen], plugins: [{script: frozen.lua}]}
";
    let gateway = gateway(yaml).file("absent.lua", absent).file("frozen.lua", frozen).start();
    assert_eq!(gateway.get("/absent").ok().text(), "");
    let first = gateway.get("/frozen").ok().text();
    assert!(first.starts_with("false true"), "{first}");
    assert_eq!(gateway.get("/frozen").ok().text(), first, "one exchange sees what another left behind");
}

#[test]
fn two_hundred_exchanges_waiting_in_a_script_do_not_stop_others() {
    let slow = Upstream::start(|_| reply(200, "{}").json().after(Duration::from_millis(800)));
    let rhai = r#"fn handle(req, ctx) {
    let got = http::all(#{ a: #{ url: "svc://slow/a" }, b: #{ url: "svc://slow/b" } });
    reply::json(200, #{ a: got.a.ok, b: got.b.ok })
}"#;
    let lua = "return { handle = function()
  local got = http.all({ a = { url = 'svc://slow/a' }, b = { url = 'svc://slow/b' } })
  return reply.json(200, { a = got.a.ok, b = got.b.ok })
end }";
    let neighbour = "return { handle = function() return reply.text(200, 'fine') end }";
    let yaml = "
workers: 1
services: [{name: slow, url: '${slow}'}]
routes:
  - {name: rhai, paths: [/rhai], plugins: [{script: a.rhai}]}
  - {name: lua, paths: [/lua], plugins: [{script: a.lua}]}
  - {name: neighbour, paths: [/neighbour], plugins: [{script: neighbour.lua}]}
";
    let gateway = gateway(yaml)
        .url("slow", &slow)
        .file("a.rhai", rhai)
        .file("a.lua", lua)
        .file("neighbour.lua", neighbour)
        .start();
    for lang in ["rhai", "lua"] {
        let began = Instant::now();
        let mut times = neighbours(&gateway, || {
            thread::scope(|scope| {
                let ask = || gateway.get(&format!("/{lang}")).ok().text();
                let waiting: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
                for answer in waiting {
                    assert_eq!(answer.join().expect("a client"), r#"{"a":true,"b":true}"#);
                }
            });
        });
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{lang}: they waited one after the other: {took:?}");
        let p99 = percentile(&mut times, 99);
        assert!(times.len() > 50 && p99 < Duration::from_millis(250), "{lang}: p99 {p99:?} of {}", times.len());
    }
}
