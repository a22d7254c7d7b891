//! Scripts that want all the memory there is, inside their engine and outside of it.

use super::{Attack, Hook};

pub const BOMBS: &[Attack] = &[
    Attack {
        name: "catching that calls itself",
        hook: Hook::Handle,
        lua: "local function f() pcall(f) pcall(f) end f()",
        rhai: "loop { try { catching(1); } catch { } }",
    },
    Attack {
        name: "a long string",
        hook: Hook::Handle,
        lua: "return string.rep('x', 1e9)",
        rhai: "let x = \"x\"; x.pad(1_000_000_000, 'y');",
    },
    Attack {
        name: "a string that doubles",
        hook: Hook::Handle,
        lua: "local s = 'x' while true do s = s .. s end",
        rhai: "let s = \"xxxxxxxx\"; loop { s += s; }",
    },
    Attack {
        name: "a string that grows in another way",
        hook: Hook::Handle,
        lua: "local s = ('x'):rep(1e6) while true do s = s:gsub('x', 'xx') end",
        rhai: "let s = \"xxxxxxxx\"; for i in 0..16 { s += s; } loop { s.replace(\"x\", \"xxxxxxxx\"); }",
    },
    Attack {
        name: "strings without end",
        hook: Hook::Request,
        lua: "local t = {} while true do t[#t + 1] = string.rep('x', 1e6) .. #t end",
        rhai: "let t = []; loop { let s = \"x\"; s.pad(100000, 'x'); t.push(s + t.len()); }",
    },
    Attack {
        name: "strings without end on an answer",
        hook: Hook::Response,
        lua: "local t = {} while true do t[#t + 1] = string.rep('x', 1e6) .. #t end",
        rhai: "let t = []; loop { let s = \"x\"; s.pad(100000, 'x'); t.push(s + t.len()); }",
    },
    Attack {
        name: "strings without end, caught",
        hook: Hook::Handle,
        lua: "while true do pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end) end",
        rhai: "loop { try { let t = []; loop { t.push(\"some text that is long\" + t.len()); } } catch { } }",
    },
    Attack {
        name: "a large table or array",
        hook: Hook::Handle,
        lua: "return table.create(5e7, 1)",
        rhai: "let x = []; x.pad(9_223_372_036_854_775_807, [1, 2, 3]);",
    },
    Attack {
        name: "a table or array without end",
        hook: Hook::Handle,
        lua: "local t = {} for i = 1, 1e12 do t[i] = i end",
        rhai: "let t = []; loop { t.push(1); }",
    },
    Attack {
        name: "a map without end",
        hook: Hook::Handle,
        lua: "local t = {} for i = 1, 1e12 do t['k' .. i] = {} end",
        rhai: "let x = #{}; loop { x[\"k\" + x.len()] = [1, 2, 3]; }",
    },
    Attack {
        name: "an array that doubles",
        hook: Hook::Handle,
        lua: "local t = { 1 } while true do table.move(t, 1, #t, #t + 1) end",
        rhai: "let x = [1]; loop { x += x; }",
    },
    Attack {
        name: "nested data without end",
        hook: Hook::Handle,
        lua: "local t = {} while true do t = { t } end",
        rhai: "let t = []; loop { t = [t]; }",
    },
    Attack {
        name: "buffers or blobs",
        hook: Hook::Handle,
        lua: "local t = {} while true do t[#t + 1] = buffer.create(1e6) end",
        rhai: "let t = []; loop { t.push(blob(100_000, 1)); }",
    },
    Attack {
        name: "closures",
        hook: Hook::Handle,
        lua: "local t = {} while true do table.insert(t, function() return t end) end",
        rhai: "let x = []; loop { let y = [1]; x.push(|| y); }",
    },
    Attack {
        name: "closures in closures, or coroutines",
        hook: Hook::Handle,
        lua: "local t = {} while true do table.insert(t, coroutine.create(print)) end",
        rhai: "let f = || 1; loop { let g = f; f = || g.call() + 1; }",
    },
    Attack {
        name: "pieces of a string",
        hook: Hook::Handle,
        lua: "local s = ('x,'):rep(1e6) while true do s:split(',') end",
        rhai: "let x = \"xxxxxxxx\"; for i in 0..18 { x += x; } loop { x.split(\"\"); }",
    },
    Attack {
        name: "garbage",
        hook: Hook::Handle,
        lua: "while true do local s = ('x'):rep(1e7) end",
        rhai: "loop { let s = \"x\"; s.pad(5_000_000, 'x'); }",
    },
    Attack {
        name: "variables of the exchange",
        hook: Hook::Handle,
        lua: "local i = 0 while true do i += 1 ctx.vars['k' .. i] = ('x'):rep(1e6) end",
        rhai: "let s = \"x\"; s.pad(1_000_000, 'x'); let i = 0; loop { i += 1; ctx.vars[\"k\" + i] = s; }",
    },
    Attack {
        name: "headers",
        hook: Hook::Handle,
        lua: "local s, i = ('x'):rep(1e6), 0 while true do i += 1 pcall(function() req.headers['x-' .. i] = s end) end",
        rhai: "let s = \"x\"; s.pad(1_000_000, 'x'); let i = 0; loop { i += 1; try { req.headers[\"x-\" + i] = s; } catch { } }",
    },
    Attack {
        name: "replies",
        hook: Hook::Handle,
        lua: "local t, s = {}, ('x'):rep(4e6) while true do t[#t + 1] = reply.text(200, s) end",
        rhai: "let t = []; let s = \"x\"; s.pad(1_000_000, 'x'); loop { t.push(reply::text(200, s)); }",
    },
    Attack {
        name: "bodies",
        hook: Hook::Request,
        lua: "local s = ('x'):rep(4e6) while true do req:set_body(s) end",
        rhai: "let s = \"x\"; s.pad(4_000_000, 'x'); loop { req.set_body(s); }",
    },
    Attack {
        name: "kv",
        hook: Hook::Handle,
        lua: "local i = 0 while true do i += 1 pcall(kv.set, 'k' .. i, ('x'):rep(1e5)) end",
        rhai: "let s = \"x\"; s.pad(100_000, 'x'); let i = 0; loop { i += 1; try { kv::set(\"k\" + i, s); } catch { } }",
    },
    Attack {
        name: "JSON that is larger when it is read",
        hook: Hook::Handle,
        lua: "local s, t = '[' .. ('{},'):rep(1e6) .. '1]', {} while true do t[#t + 1] = json.decode(s) end",
        rhai: "let s = \"\"; s.pad(900_000, \"{},\"); s = \"[\" + s + \"1]\"; let t = []; loop { t.push(json::decode(s)); }",
    },
    Attack {
        name: "regular expressions that make much of little",
        hook: Hook::Handle,
        lua: "local s = ('a'):rep(1e6) local t = {} while true do t[#t + 1] = regex.replace('a', s, ('b'):rep(1000)) end",
        rhai: "let s = \"\"; s.pad(100_000, 'a'); let r = \"\"; r.pad(1000, 'b'); let t = []; loop { t.push(regex::replace(\"a\", s, r)); }",
    },
];
