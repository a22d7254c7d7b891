//! One step that goes through a whole large value, or copies it so that it doubles: nothing interrupts it, so a script is stopped before
//! it may take such a step once more.

use super::{Attack, Hook, STOPPED};

pub const WHOLES: &[Attack] = &[
    Attack {
        name: "functions that hold functions",
        hook: Hook::Handle,
        lua: "local f = print while true do local g = f f = function() return g, g end end",
        rhai: "let f = Fn(\"pair\"); loop { f = f.curry(f); }",
        says: STOPPED,
    },
    Attack {
        name: "functions that hold lists of functions",
        hook: Hook::Handle,
        lua: "local f = print while true do local t = { f, f } f = function() return t end end",
        rhai: "let f = Fn(\"pair\"); loop { f = curry(f, [f, f]); }",
        says: STOPPED,
    },
    Attack {
        name: "a call that doubles",
        hook: Hook::Handle,
        lua: "local function pair(x) return { x, table.clone(x) } end local x = {} while true do x = pair(x) end",
        rhai: "let x = 1; let f = Fn(\"pair\"); loop { x = f.call(x); }",
        says: STOPPED,
    },
    Attack {
        name: "lists of two copies",
        hook: Hook::Handle,
        lua: "local t = { 1 } while true do t = table.move(t, 1, #t, #t + 1, table.clone(t)) end",
        rhai: "let x = [1]; loop { x = [x, x]; }",
        says: STOPPED,
    },
    Attack {
        name: "maps of two copies",
        hook: Hook::Handle,
        lua: "local t, n = { k = 1 }, 0 while true do n += 1 t[`k{n}`] = table.clone(t) end",
        rhai: "let x = #{}; loop { x.a = x; x.b = x; }",
        says: STOPPED,
    },
    Attack {
        name: "closures that share a list",
        hook: Hook::Handle,
        lua: "local t = {} while true do t = { table.unpack(t) } table.insert(t, function() return t end) table.insert(t, t) end",
        rhai: "let y = [1]; let x = [|| y]; loop { x += x; }",
        says: STOPPED,
    },
    Attack {
        name: "two copies, thrown",
        hook: Hook::Handle,
        lua: "local x = {} while true do local _, e = pcall(error, { x, table.clone(x) }) x = e end",
        rhai: "let x = [1]; loop { try { throw [x, x]; } catch (e) { x = e; } }",
        says: STOPPED,
    },
    Attack {
        name: "copies of a document",
        hook: Hook::Handle,
        lua: "local d = json.decode('[' .. ('[1],'):rep(4e5) .. '1]') local t = {} while true do table.insert(t, table.clone(d)) end",
        rhai: "let s = \"\"; s.pad(2_000_000, \"[1],\"); let x = json::decode(\"[\" + s + \"1]\"); loop { x = [x, x]; }",
        says: STOPPED,
    },
    Attack {
        name: "the text of a large value",
        hook: Hook::Handle,
        lua: "local t = table.create(1e6, 1.5) while true do table.concat(t, ',') end",
        rhai: "let x = [1]; for i in 0..15 { x = [x, x]; } loop { `${x}`; }",
        says: STOPPED,
    },
    Attack {
        name: "large values, compared",
        hook: Hook::Handle,
        lua: "local a, b = ('x'):rep(8e6) .. 'a', ('x'):rep(8e6) .. 'b' while true do local _ = a < b end",
        rhai: "let x = [1]; for i in 0..15 { x = [x, x]; } let y = x; loop { x == y; }",
        says: STOPPED,
    },
    Attack {
        name: "looking for what is not there",
        hook: Hook::Handle,
        lua: "local t = table.create(1e6, 1) while true do table.find(t, 2) end",
        rhai: "let x = [[1]]; for i in 0..16 { x += x; } loop { x.contains([2]); x.index_of([2]); }",
        says: STOPPED,
    },
    Attack {
        name: "a number of millions of digits",
        hook: Hook::Handle,
        lua: "local s = ('1'):rep(8e6) while true do tonumber(s) end",
        rhai: "let s = \"\"; s.pad(8_000_000, '1'); loop { try { parse_float(s); } catch { } }",
        says: STOPPED,
    },
    Attack {
        name: "moving what is not there",
        hook: Hook::Handle,
        lua: "while true do table.move({}, 1, 1e9, 2, {}) end",
        rhai: "let x = []; loop { x.splice(0..9_000_000_000_000, x); x.drain(0..9_000_000_000_000); x.push(1); x.extract(0..9_000_000_000_000); }",
        says: STOPPED,
    },
];
