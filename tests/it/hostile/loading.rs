//! Scripts that attack while they are loaded: the reload is refused, and what runs goes on.

use super::STOPPED;
use crate::support::{Gateway, gateway, neighbours::NEIGHBOUR};

struct Loading {
    name: &'static str,
    lua: &'static str,
    rhai: &'static str,
    /// What the log says of either.
    says: [&'static str; 2],
}

const LOADING: &[Loading] = &[
    Loading {
        name: "on_load that loops",
        lua: "return { on_load = function() while true do end end, handle = function() end }",
        rhai: "fn on_load(config) { loop { } } fn handle(req, ctx) { }",
        says: STOPPED,
    },
    Loading {
        name: "on_load that catches what stops it",
        lua: "return { on_load = function() while true do pcall(function() while true do end end) end end, handle = function() end }",
        rhai: "fn on_load(config) { loop { try { loop { } } catch { } } } fn handle(req, ctx) { }",
        says: STOPPED,
    },
    Loading {
        name: "on_load that wants all memory",
        lua: "return { on_load = function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end, handle = function() end }",
        rhai: "fn on_load(config) { let t = []; loop { t.push(\"some text that is long\" + t.len()); } } fn handle(req, ctx) { }",
        says: STOPPED,
    },
    Loading {
        name: "a state that is too large, or nests",
        lua: "return { on_load = function() return ('x'):rep(5e7) end, handle = function() end }",
        rhai: "fn on_load(config) { let t = []; loop { t = [t]; } t } fn handle(req, ctx) { }",
        says: STOPPED,
    },
    Loading {
        name: "a file that loops",
        lua: "while true do end",
        rhai: "loop { } fn handle(req, ctx) { }",
        says: STOPPED,
    },
    Loading {
        name: "a file that recurses",
        lua: "local function f() return 1 + f() end return f()",
        rhai: "fn f(x) { 1 + f(x) } f(1); fn handle(req, ctx) { }",
        says: ["stack overflow", "stopped: calls nested too deep"],
    },
    Loading {
        name: "a deep expression",
        lua: "DEEP",
        rhai: "DEEP",
        says: ["Exceeded allowed recursion depth", "expression exceeds maximum complexity"],
    },
    Loading {
        name: "bytecode, or text as a program",
        lua: "\u{1b}Lua bytecode",
        rhai: "fn handle(req, ctx) { eval(\"1\") }",
        says: ["Expected identifier when parsing expression", "reserved keyword 'eval' is disabled"],
    },
    Loading {
        name: "modules by a name that is made up",
        lua: "return require('lib' .. '.none')",
        rhai: "fn handle(req, ctx) { let n = \"x\"; loop { import n as m; } }",
        says: ["require: there is no module `lib.none`", "must be named by a string literal"],
    },
];

fn running() -> Gateway {
    let yaml = "workers: 1\nlimits: {quarantine: off}\nroutes:\n- {name: neighbour, paths: [/neighbour], plugins: [{script: neighbour.lua}]}\n\
        - {name: lua, paths: [/lua], plugins: [{script: a.lua}]}\n- {name: rhai, paths: [/rhai], plugins: [{script: a.rhai}]}\n";
    gateway(yaml).file("neighbour.lua", NEIGHBOUR).file("a.lua", GOOD[0].1).file("a.rhai", GOOD[1].1).start()
}

const GOOD: [(&str, &str); 2] = [
    ("a.lua", "return { handle = function() return reply.text(200, 'good') end }"),
    ("a.rhai", "fn handle(req, ctx) { reply::text(200, \"good\") }"),
];

/// An expression in a hundred thousand brackets.
fn deep(lang: usize) -> String {
    let nested = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    match lang {
        0 => format!("return {{ handle = function() return {nested} end }}"),
        _ => format!("fn handle(req, ctx) {{ {nested} }}"),
    }
}

#[test]
fn what_attacks_while_it_is_loaded_is_refused_and_the_old_generation_serves() {
    let gateway = running();
    for attack in LOADING {
        for (lang, text) in [attack.lua, attack.rhai].into_iter().enumerate() {
            let (path, good) = GOOD[lang];
            let text = if text == "DEEP" { deep(lang) } else { text.to_owned() };
            let before = gateway.log.lines().len();
            gateway.files.replace(path, &text);
            let said = gateway.log.wait(&format!("{} ({path}) was not refused", attack.name), |lines| {
                let refused = |line: &&String| line.contains(path) && !line.contains("\"level\":\"INFO\"");
                lines.iter().skip(before).find(refused).cloned()
            });
            assert!(said.contains(attack.says[lang]), "{} ({path}): {said}", attack.name);
            assert_eq!(gateway.get("/neighbour").ok().text(), "fine", "after {}", attack.name);
            assert_eq!(gateway.get(&format!("/{}", ["lua", "rhai"][lang])).ok().text(), "good");
            let refused = gateway.log.lines().len();
            gateway.files.replace(path, good);
            // Else the next attack might be read together with what is good again.
            gateway.log.wait(&format!("the good one was not loaded after {}", attack.name), |lines| {
                lines.iter().skip(refused).any(|line| line.contains("\"reloaded\"")).then_some(())
            });
        }
    }
    assert!(gateway.memory("VmRSS") < 300 << 10, "{} KiB are held", gateway.memory("VmRSS"));
}
