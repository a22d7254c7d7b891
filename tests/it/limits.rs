//! What a stopped script leaves behind, what scripts share, and that many may wait at once. Attacks are `hostile`'s.

use crate::support::{Upstream, gateway, neighbours::*, reply};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_stopped_script_leaves_a_line_with_its_place_and_the_clients_get_an_id_only() {
    let yaml = "routes:
  - {name: lua, paths: [/lua], plugins: [{script: lua0.lua}]}
  - {name: rhai, paths: [/rhai], plugins: [{script: rhai0.rhai}]}
";
    let gateway = gateway(yaml)
        .file("lua0.lua", "return { handle = function() while true do end end }")
        .file("rhai0.rhai", "fn handle(req, ctx) { loop { } }")
        .start();
    for lang in ["lua", "rhai"] {
        let answer = gateway.get(&format!("/{lang}"));
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
        .file("neighbour.lua", NEIGHBOUR)
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
