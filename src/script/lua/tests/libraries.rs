//! Files that scripts require: what libraries for Lua 5.1 expect of their host, what is shared between requests, what is absent.

use super::*;

/// One program, called twice with different exchanges: what the second says of what the first did.
async fn twice(rig: &Rig, text: &str) -> [String; 2] {
    let program = rig.compile(text).expect("a program");
    let state = loaded(&*program, "{}").await;
    let one = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
    let two = call(&*program, Hook::OnRequest, fixture::exchange(""), &state, Limits::default()).await;
    [one, two]
}

#[test]
fn a_file_knows_its_name_and_finds_the_standard_libraries() {
    block_on(async {
        let rig = Rig::with([
            (
                "lib/main",
                "local path = (...):match('^(.-)[^%.]+$')
local part = require(path .. 'part')
local string, tb, mth = require 'string', require 'table', require('math')
local unpack = unpack or table.unpack
local loadstring = loadstring or load
if setfenv then error('setfenv') end
return { name = ..., say = function(...) return string.upper(part) .. tb.concat({ unpack({ ... }, 2) }) .. mth.floor(1.5) end }",
            ),
            ("lib/part", "return 'part'"),
        ]);
        let said = rig.request("local m = require('lib.main'); return reply.text(200, m.name .. m.say(1, 2, 3))").await;
        assert_eq!(said, "200 lib.mainPART231");
    });
}

/// In the style of a Mustache renderer: it requires its parts by its own name, wherever it lies, and extends `string`.
#[test]
fn a_library_in_a_folder_finds_its_parts_beside_it() {
    block_on(async {
        let rig = Rig::with([
            (
                "lib/tache",
                "function string.parts(text, by) local all = {} for part in text:gmatch('[^' .. by .. ']+') do all[#all + 1] = part end return all end
return { renderer = require('tache.renderer'):new() }",
            ),
            (
                "lib/tache/renderer",
                "local Scanner = require 'tache.scanner'
local Renderer = {} Renderer.__index = Renderer
function Renderer:new() return setmetatable({ cache = {} }, self) end
function Renderer:render(text, with)
  self.cache[text] = self.cache[text] or Scanner.tokens(text)
  local out = {}
  for _, token in ipairs(self.cache[text]) do out[#out + 1] = token.name and tostring(with[token.name]) or token.text end
  return table.concat(out)
end
return Renderer",
            ),
            (
                "lib/tache/scanner",
                "return { tokens = function(text) local all, at = {}, 1
  for before, name, after in text:gmatch('()%{%{(.-)%}%}()') do
    all[#all + 1] = { text = text:sub(at, before - 1) } all[#all + 1] = { name = name } at = after end
  all[#all + 1] = { text = text:sub(at) } return all end }",
            ),
        ]);
        let body = "local tache = require 'lib.tache' return reply.text(200, tache.renderer:render('hi {{name}}, {{n}}!', { name = 'Ada', n = 2 }))";
        assert_eq!(rig.request(body).await, "200 hi Ada, 2!");
        let missing = rig.request("local part = require 'tache.scanner'").await;
        assert_eq!(missing, "Runtime test.lua:1: require: there is no module `tache.scanner`");
    });
}

#[test]
fn what_is_absent_is_named_with_a_way_out_at_its_place() {
    for (line, error, help) in [
        ("local f = loadstring('return 1')()", "attempt to call a nil value", "there is no loadstring:"),
        ("local f = load('return 1')()", "attempt to call a nil value", "there is no load:"),
        ("setfenv(1, {})", "attempt to call a nil value", "there is no setfenv:"),
        ("module('x', package.seeall)", "attempt to index nil with 'seeall'", "there is no module:"),
        ("package.loaded.x = 1", "attempt to index nil with 'loaded'", "there is no package:"),
        ("for w in string.gfind('a b', '%a') do end", "attempt to call a nil value", "there is no string.gfind: use"),
        ("local f = io.open('/etc/passwd')", "attempt to index nil with 'open'", "there is no io:"),
        ("local h = os.getenv('HOME')", "attempt to call a nil value", "of os there are only"),
        ("debug.sethook()", "attempt to index nil with 'sethook'", "there is no debug library"),
        ("goto out", "Incomplete statement: expected assignment or a function call", "Luau has no goto"),
        ("local x <const> = 1", "Expected identifier when parsing expression, got '<'", "Luau has no attributes"),
        ("local x = 1 << 3", "Expected identifier when parsing expression, got '<'", "Luau has no operators on bits"),
        ("local x = 6 & 3", "Expected identifier when parsing expression, got '&'", "Luau has no operators on bits"),
    ] {
        let text = format!("\n{line}\nreturn {{}}");
        let found = match Rig::new().compile(&text) {
            Ok(_) => panic!("`{line}` compiled"),
            Err(found) => found,
        };
        let help_said = found.help.clone().unwrap_or_default();
        assert!(help_said.starts_with(help), "{line}: {} / {help_said}", tell(&found));
        assert_eq!((found.line, found.source_line.as_str()), (2, line));
        if !matches!(found.fault, crate::script::error::Fault::Syntax) {
            assert_eq!(found.message, error, "{line}");
        }
    }
}

#[test]
fn what_only_looks_absent_is_not_named() {
    for (line, error) in [
        ("local cfg = {} local level = cfg.debug.level", "attempt to index nil with 'level'"),
        ("local cfg = {} local level = cfg.package.level", "attempt to index nil with 'level'"),
        ("local t = {} t.load('x')", "attempt to call a nil value"),
        ("local x: string | number = = 2", "Expected identifier when parsing expression, got '='"),
        ("local x = (2 :: any) = 2", "Expected identifier when parsing expression, got '='"),
    ] {
        let found = Rig::new().compile(&format!("\n{line}\nreturn {{}}")).err().expect(line);
        assert_eq!((found.help.as_deref(), found.line), (None, 2), "{line}");
        assert!(found.message.starts_with(error), "{line}: {}", found.message);
    }
    for line in ["local x = 6 | 3", "::out::"] {
        let found = Rig::new().compile(&format!("\n{line}\nreturn {{}}")).err().expect(line);
        assert!(found.help.as_deref().is_some_and(|help| help.starts_with("Luau has no")), "{line}: {}", found.message);
    }
}

#[test]
fn of_os_there_are_clocks_only() {
    block_on(async {
        let body = "local names = {} for name in pairs(os) do table.insert(names, name) end table.sort(names)
            return reply.text(200, table.concat(names, ' '))";
        assert_eq!(Rig::new().request(body).await, "200 clock date difftime time");
    });
}

#[test]
fn nothing_that_a_request_writes_is_seen_by_the_next() {
    block_on(async {
        let module =
            "local M = { list = {}, deep = { er = {} } } setmetatable(M, { __call = function() end }) return M";
        let rig = Rig::with([
            ("lib/m", module),
            ("lib/g", "shared = { n = 0 } return { get = function() return shared end }"),
        ]);
        let read_only = "attempt to modify a readonly table";
        let global = "can't be assigned here";
        for (write, why) in [
            ("leaked = 1", global),
            ("_G.leaked = 1", read_only),
            ("rawset(_G, 'leaked', 1)", read_only),
            ("string.leaked = 1", read_only),
            ("math.pi = 3", read_only),
            ("getmetatable('').leaked = 1", read_only),
            ("getmetatable('').__index.leaked = 1", read_only),
            ("m.leaked = 1", read_only),
            ("rawset(m, 'leaked', 1)", read_only),
            ("table.insert(m.list, 1)", read_only),
            ("m.deep.er.leaked = 1", read_only),
            ("g.get().n = 1", read_only),
            ("own.n = 1", read_only),
            ("table.insert(own.list, 1)", read_only),
            ("M.count = 1", read_only),
            ("M.on_request = function() end", read_only),
            ("http.leaked = 1", read_only),
            ("ctx.config.leaked = 1", read_only),
        ] {
            let text = format!(
                "local m, g = require 'lib.m', require 'lib.g'\nown = {{ n = 0, list = {{}} }}\nlocal M = {{}}
function M.on_request(req, ctx) local ok, why = pcall(function() {write} end) return reply.text(200, tostring(why)) end return M"
            );
            for said in twice(&rig, &text).await {
                assert!(said.contains(why), "{write}: {said}");
            }
        }
    });
}

#[test]
fn modules_can_be_changed_until_requests_come() {
    block_on(async {
        let rig = Rig::with([("lib/m", "return { options = { indent = 2 } }"), ("lib/late", "return { n = 1 }")]);
        let text = "local m = require 'lib.m'
m.options.indent = 4
m.extra = function() return 'extra' end
return {
  on_load = function() m.options.loaded = true end,
  on_request = function()
    local late = require 'lib.late'
    local ok, why = pcall(function() late.n = late.n + 1 end)
    return reply.json(200, { m.options.indent, m.extra(), m.options.loaded, late.n, ok, (pcall(function() m.x = 1 end)) })
  end,
}";
        assert_eq!(twice(&rig, text).await, [r#"200 [4,"extra",true,1,false,false]"#; 2]);
    });
}

/// Objects with a metatable of their own are their own affair: classes keep lists of their subclasses, renderers a cache.
#[test]
fn classes_of_a_library_can_be_extended_in_a_request() {
    block_on(async {
        let library = "local Object = { subclasses = setmetatable({}, { __mode = 'k' }) }
Object.__index = Object
setmetatable(Object, { __tostring = function() return 'class Object' end })
function Object:subclass(name)
  local class = { name = name, super = self, subclasses = setmetatable({}, { __mode = 'k' }) }
  class.__index = class
  self.subclasses[class] = true
  return setmetatable(class, { __index = self, __call = function(c, ...) return setmetatable({ ... }, c) end })
end
return setmetatable({ Object = Object }, { __call = function(_, name) return Object:subclass(name) end })";
        let rig = Rig::with([("lib/class", library)]);
        let body = "local class = require 'lib.class' local Point = class('Point')
            function Point:sum() return self[1] + self[2] end return reply.text(200, Point.name .. Point(1, 2):sum())";
        assert_eq!(rig.request(body).await, "200 Point3");
    });
}

/// Many add what Lua 5.1 lacks: to copies of their own, which the files that they require share and nobody else.
#[test]
fn a_library_that_extends_string_is_heard_by_its_own_files_only() {
    block_on(async {
        let library = "local gmatch = string.gmatch
function string.words(text)
  local all = {}
  for word in gmatch(text, '%S+') do all[#all + 1] = word end
  return all
end
  table.size = function(list) return #list end
return { part = require('lib.part') }";
        let part = "local words, size = string.words, table.size
return { count = function(text) return size(words(text)), string.upper('x') end,
  late = function() string.more = 1 end }";
        let rig = Rig::with([("lib/words", library), ("lib/part", part)]);
        let body = "local words = require 'lib.words'
local count, upper = words.part.count('a b c')
local ok, why = pcall(words.part.late)
return reply.json(200, { count, upper, string.words == nil, ('x').words == nil, table.size == nil, ok, why })";
        let text = format!("return {{ on_request = function(req, ctx) {body} end }}");
        let said = r#"200 [3,"X",true,true,true,false,"lib/part.lua:3: attempt to modify a readonly table"]"#;
        assert_eq!(twice(&rig, &text).await, [said; 2]);
    });
}

#[test]
fn what_the_gateway_replaces_does_what_it_did() {
    block_on(async {
        let numbers: Vec<String> = (1..=60_001).map(|n| format!("{n}.5")).collect();
        for (said, expected) in [
            ("table.concat(t, ',')", numbers.join(",")),
            ("table.concat(t)", numbers.concat()),
            ("table.concat(t, ', ', 3)", numbers[2..].join(", ")),
            ("table.concat(t, ',', 9000, 60001)", numbers[8_999..60_001].join(",")),
            ("table.concat(t, ',', 5, 4)", String::new()),
            ("table.concat({ 'a', 1, 2.5 }, '-')", "a-1-2.5".to_owned()),
            ("select(2, pcall(table.concat, t, ',', 1, 60002))", "at index 60002 in table for 'concat'".to_owned()),
            (
                "select(2, pcall(table.concat, 'x'))",
                "invalid argument #1 to 'concat' (table expected, got string)".to_owned(),
            ),
            (
                "tonumber('10') + tonumber(' 0x10 ') + tonumber('ff', 16) + tonumber(1.5) + tonumber('1e2')",
                "382.5".to_owned(),
            ),
            (
                "tostring(tonumber('x')) .. tostring(tonumber(nil)) .. tostring(tonumber({})) .. tostring(tonumber('9', 8))",
                "nilnilnilnil".to_owned(),
            ),
            ("tostring(tonumber(('0'):rep(20000) .. '7')) .. tostring(tonumber(('x'):rep(20000)))", "7nil".to_owned()),
        ] {
            let body = format!(
                "local t = {{}} for i = 1, 60001 do t[i] = i + 0.5 end return reply.text(200, tostring({said}))"
            );
            let got = Rig::new().request(&body).await;
            assert!(got.ends_with(&expected) && got.starts_with("200 "), "{said}: {}", &got[..got.len().min(200)]);
        }
    });
}
