//! What would fail for certain when a script runs is found when it is loaded: `check` refuses it, with file, line, column, the line,
//! a caret and a way to mend it, in both languages.

use crate::support::{command::gatewright, gateway, gateway::Files};

/// A mistake in the body of a hook, in both languages: what stands where the caret points, and what is said.
struct Mistake {
    lua: [&'static str; 3],
    rhai: [&'static str; 3],
}

/// Of the hook `on_request(req, ctx)`.
const MISTAKES: &[Mistake] = &[
    Mistake {
        lua: [r#"local x = req.header["x-key"]"#, "header", "request has no `header`, did you mean `headers`?"],
        rhai: [r#"let x = req.header["x-key"];"#, "header", "request has no `header`, did you mean `headers`?"],
    },
    Mistake {
        lua: ["if ctx.client.adress then return end", "adress", "client has no `adress`"],
        rhai: ["if ctx.client.adress == \"x\" { return; }", "adress", "client has no `adress`"],
    },
    Mistake {
        lua: ["local client = ctx.client\n  log.info(client.adress)", "adress", "client has no `adress`"],
        rhai: ["let client = ctx.client;\n  log::info(client.adress);", "adress", "client has no `adress`"],
    },
    Mistake {
        lua: ["http.gte('svc://echo/')", "http", "there is no function `http.gte`"],
        rhai: ["http::gte(\"svc://echo/\");", "http", "there is no function `http::gte`"],
    },
    Mistake {
        lua: ["http.get({ url = 'svc://echo/' })", "get", "http.get: argument 1 (url): expected a string, got a table"],
        rhai: [
            "http::get(#{ url: \"svc://echo/\" });",
            "get",
            "http::get: argument 1 (url): expected a string, got a map",
        ],
    },
    Mistake {
        lua: [
            "local id = req.params.id\n  http.get('svc://echo/' .. id, { timout = 1, query = { id = id } })",
            "timout",
            "http.get: argument 2 (options): unknown entry `timout`, did you mean `timeout`?",
        ],
        rhai: [
            "let id = req.params.id;\n  http::get(\"svc://echo/\" + id, #{ timout: 1, query: #{ id: id } });",
            "timout",
            "http::get: argument 2 (options): unknown entry `timout`, did you mean `timeout`?",
        ],
    },
    Mistake {
        lua: [
            "http.get('svc://echo/', { timeout = 'soon' })",
            "timeout",
            "`timeout`: `soon` is not a duration: write `500ms`, `5s`, `1m` or a number of seconds",
        ],
        rhai: [
            "http::get(\"svc://echo/\", #{ timeout: \"soon\" });",
            "timeout",
            "`timeout`: `soon` is not a duration: write `500ms`, `5s`, `1m` or a number of seconds",
        ],
    },
    Mistake {
        lua: [
            "return reply.json('200', {})",
            "json",
            "reply.json: argument 1 (status): expected an integer, got a string",
        ],
        rhai: [
            "return reply::json(\"200\", #{});",
            "json",
            "reply::json: argument 1 (status): expected an integer, got a string",
        ],
    },
    Mistake {
        lua: ["return reply.text()", "text", "reply.text: argument 1 (status) is missing"],
        rhai: ["return reply::text();", "text", "reply::text: argument 1 (status) is missing"],
    },
    Mistake {
        lua: [
            "local got = http.get('svc://echo/')\n  return reply.json(200, got.boddy)",
            "boddy",
            "result has no `boddy`",
        ],
        rhai: [
            "let got = http::get(\"svc://echo/\");\n  return reply::json(200, got.boddy);",
            "boddy",
            "result has no `boddy`",
        ],
    },
    Mistake {
        lua: ["local x = req.headers:get('x-key')", "get", "headers has no `get`"],
        rhai: ["let x = req.headers.get(\"x-key\");", "get", "headers has no `get`"],
    },
    Mistake {
        lua: ["local x = req.json()", "json", "request:json: call it with a colon, on a request"],
        rhai: ["let x = req.json;", "json", "`json` of request is a method: call it with `()`"],
    },
    Mistake {
        lua: ["local x = req:path()", "path", "`path` of request is no method: read it without `()`"],
        rhai: ["let x = req.path();", "path", "`path` of request is no method: read it without `()`"],
    },
    Mistake {
        lua: ["http:get('svc://echo/')", "get", "http.get: it is a function and no method"],
        rhai: ["http(\"svc://echo/\");", "http", "there is no function `http`"],
    },
    Mistake {
        lua: ["req.heads = {}", "heads", "request has no `heads`, did you mean `headers`?"],
        rhai: ["req.heads = #{};", "heads", "request has no `heads`, did you mean `headers`?"],
    },
    Mistake {
        lua: ["req.headers = {}", "headers", "`headers` of request can't be set"],
        rhai: ["req.headers = #{};", "headers", "`headers` of request can't be set"],
    },
    Mistake {
        lua: [
            "req.headers['x-a'] = {}",
            "'x-a'",
            "headers[\"x-a\"]: expected a string, number or boolean, got a table",
        ],
        rhai: [
            "req.headers[\"x-a\"] = #{};",
            "\"x-a\"",
            "headers[\"x-a\"]: expected a string, number or boolean, got a map",
        ],
    },
    Mistake {
        lua: ["req.method = 5", "method", "request.method: expected a string, got a number"],
        rhai: ["req.method = 5;", "method", "request.method: expected a string, got a number"],
    },
    Mistake {
        lua: ["if not req.headers.x then return 401 end", "return 401", "on_request returned a number"],
        rhai: ["if req.headers.x == () { return 401; }", "return 401", "on_request returned a number"],
    },
    Mistake {
        lua: ["return { status = 401 }", "return", "on_request returned a table"],
        rhai: ["#{ status: 401 }", "#{", "on_request returned a map"],
    },
    Mistake {
        lua: ["return http.get('svc://echo/')", "return", "on_request returned a result"],
        rhai: ["http::get(\"svc://echo/\")", "get", "on_request returned a result"],
    },
    Mistake {
        lua: ["htp.get('svc://echo/')", "htp", "`htp` is not defined"],
        rhai: ["htp::get(\"svc://echo/\");", "htp", "there is no module `htp`"],
    },
];

const YAML: &str = "services:
- {name: echo, url: 'http://127.0.0.1:1', routes: [{name: r, paths: [/], plugins: [{script: a.EXT}]}]}
";

fn text(lang: &str, body: &str) -> String {
    match lang {
        "lua" => format!("local M = {{}}\n\nfunction M.on_request(req, ctx)\n  {body}\nend\n\nreturn M\n"),
        _ => format!("\n\nfn on_request(req, ctx) {{\n  {body}\n}}\n"),
    }
}

/// What `check` prints of a script with this body.
fn checked(files: &Files, lang: &str, text: &str) -> (i32, String) {
    files.write("gateway.yaml", &YAML.replace("EXT", lang));
    files.write(&format!("a.{lang}"), text);
    let ended = gatewright(files.folder(), &["check"]);
    (ended.code, ended.stdout)
}

#[test]
fn what_would_fail_for_certain_is_refused_with_its_place_in_both_languages() {
    let files = Files::new();
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        for (lang, [body, at, says]) in [("lua", mistake.lua), ("rhai", mistake.rhai)] {
            let text = text(lang, body);
            let (code, said) = checked(&files, lang, &text);
            let body_at = text.find(body).expect("the body");
            let (before, _) = text.split_at(body_at + body.rfind(at).expect("the place"));
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let source = text.lines().nth(line - 1).expect("the line");
            let expected = [says.to_owned(), format!("a.{lang}:{line}:{column}\n"), format!("{line} | {source}\n")];
            if code != 1 || expected.iter().any(|expected| !said.contains(expected.as_str())) {
                wrong.push(format!("{lang}: {body}\n  expected {expected:?}\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), MISTAKES.len() * 2, wrong.join("\n"));
}

/// Bodies that work, or that a script may try: nothing is said of them, and no word of the languages stops the reader.
const FINE: [&[&str]; 2] = [
    &[
        "local ok, why = pcall(function() return req.nothing end) log.info(tostring(why))",
        "local ok = pcall(reply.json) local ok = xpcall(http.gte, print)",
        "local function attempt() return req.nothing end local ok = pcall(attempt)",
        "if htp then htp.get('x') end local unpack = unpack or table.unpack",
        "local http = { gte = function() end } http.gte({})",
        "local req = { header = {} } local x = req.header.x",
        "local got = {} got = http.get('svc://echo/') got = { boddy = 1 } local x = got.boddy",
        "local function helper(req) return req.anything end helper({ anything = 1 })",
        "local f = req.json local x = f(req) x = req.json(req)",
        "http.get('svc://echo/', { headers = { ['x-a'] = { 1, 'b', true } }, query = { a = nil, b = 1.5 } })",
        "http.all({ a = { url = 'svc://echo/', optional = true }, ['b'] = { url = 'svc://echo/' } }, { timeout = 2 })",
        "local args = { 200, 'x' } return reply.text(table.unpack(args))",
        "return reply.text((function() return 200, 'x' end)())",
        "local x: string? = req.headers.x :: any local t: { [string]: number } = {} t.a = 1",
        "local n = if req.path == '/' then 1 elseif req.path == 'x' then 2 else 3 log.info(`{n} {req.path .. \"}\"}`)",
        "for k, v in { a = 1 } do if k == 'b' then continue end end for i = 1, 0x10, 1 do break end",
        "local s = [==[ ]] req.nothing ]==] --[[ req.nothing ]] local n = 1_000 + .5e-3 + 0b11",
        "type T = { a: number } | nil local function f<A>(a: A, ...: any): (A, number) return a, select('#', ...) end f(1)",
        "repeat local x = 1 until x == 1 while false do end do local y = 2 y += 1 end local z = -#'x' ^ 2",
        "req.headers['x-a'], req.headers['x-b'] = 'a', nil req.headers.x = 5 req.query.a = true",
        "ctx.vars.list = { 1, 2, { a = {} } } local list = ctx.vars.list list[1] = 2",
        "local v = ctx.config.anything.at.all local w = ctx.state.method:call()",
        "every = nil",
        "return (req.headers.x and reply.empty(204))",
        "if req.method == 'X' then return reply.json(200, json.array()) end return nil",
    ],
    &[
        "let why = \"\"; try { why = req.nothing; } catch (e) { why = e; } log::info(why);",
        "try { reply::json(); http::gte(1); } catch { }",
        "let req = #{ header: #{} }; let x = req.header.x;",
        "let got = http::get(\"svc://echo/\"); got = #{ boddy: 1 }; let x = got.boddy;",
        "helper(#{ anything: 1 });",
        "req.headers.own(1); let t = req.type_of(); log::info(req.to_string());",
        "http::get(\"svc://echo/\", #{ headers: #{ \"x-a\": [1, \"b\", true] }, query: #{ a: (), b: 1.5 } }); return;",
        "http::all(#{ a: #{ url: \"svc://echo/\", optional: true } }, #{ timeout: 2 }); return;",
        "let x = req.headers?.x ?? \"none\"; let y = `${req.path} ${x}`;",
        "for (v, i) in [1, 2] { if v == 2 { continue; } } let n = switch req.path { \"/\" => 1, _ => 2 };",
        "req.headers[\"x-a\"] = 5; req.headers.x = (); req.query.a = true; req.headers = req.headers;",
        "ctx.vars.list = [1, 2, #{ a: #{} }]; let list = ctx.vars.list; list[0] = 2;",
        "let v = ctx.config?.anything?.at; let f = |x| x.whatever; let n = [1].map(|x| x + 1);",
        "let parts = req.path.split(\"/\"); let first = req.headers[\"accept\"].split(\",\")[0].to_upper();",
        "if req.headers.x == () { return reply::empty(204); } let last = 5;",
        "let f = || 1; let g = |x| http::get(x); let h = |x, y| { 5 }; let n = f.call();",
        "let x = if req.path == \"/\" { 1 } else { 2 }; if x == 1 { reply::empty(204) }",
    ],
];

const OWN: &str = "fn helper(req) { req.anything } fn own(x) { x }\n";

#[test]
fn what_works_or_is_tried_is_left_alone() {
    let files = Files::new();
    for (lang, bodies) in ["lua", "rhai"].into_iter().zip(FINE) {
        for body in bodies {
            let own = if lang == "rhai" { OWN } else { "" };
            let (code, said) = checked(&files, lang, &format!("{own}{}", text(lang, body)));
            assert_eq!(code, 0, "{lang}: {body}\n{said}");
        }
    }
}

#[test]
fn tests_are_read_like_scripts() {
    let files = Files::new();
    files.write("a.lua", "return { handle = function(req, ctx) return reply.text(200, 'hi') end }");
    files.write("a_test.lua", "return { test_a = function()\n  local gw = test.plugin('a.lua')\n  gw:request()\n  test.equal(#gw.recieved, 0)\nend }");
    files.write(
        "a_test.rhai",
        "fn test_a() {\n  let gw = test::plugin(\"a.lua\");\n  test::equal(gw.recieved.len(), 0);\n}",
    );
    let ended = gatewright(files.folder(), &["test"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    let said = "gateway has no `recieved`, did you mean `received`?";
    assert_eq!(ended.stdout.matches(said).count(), 2, "{}", ended.stdout);
    for place in ["a_test.lua:4:18", "a_test.rhai:3:18"] {
        assert!(ended.stdout.contains(place), "no {place} in\n{}", ended.stdout);
    }
}

/// Other languages' spellings, which Luau's and Rhai's own words for what they expected do not explain.
const SPELLINGS: &[(&str, &str, &str)] = &[
    ("lua", "if req.path != '/' then end", "not equal is written `~=`"),
    ("lua", "if req.path == '/' && req.host == 'x' then end", "Luau writes `and`, `or` and `not`"),
    ("lua", "if req.path == '/' { return }", "blocks are written `if … then … end`"),
    ("lua", "local t = {\"a\": 1}", "tables are written `{ name = value }` or `{ [\"a name\"] = value }`"),
    ("lua", "let x = 1", "variables are written `local x = …`"),
    ("lua", "// a comment", "comments begin with `--`"),
    ("rhai", "if req.path == \"/\" then { }", "blocks are written `if … { … }`"),
    ("rhai", "if req.path == \"/\" { } elseif true { }", "`else if` are two words"),
    ("rhai", "let x = req:json();", "methods are called with a dot: `req.json()`"),
    ("rhai", "local x = 1;", "variables are written `let x = …;`"),
    ("rhai", "req.headers['x-key'] = 1;", "texts stand in double quotes"),
    ("rhai", "if req.path == \"/\" and true { }", "Rhai writes `&&`, `||` and `!`"),
    ("rhai", "http.get(\"svc://echo/\");", "functions of modules are called with `::`, as in `http::…`"),
    ("rhai", "return reply::json(200, {a: 1});", "maps are written `#{ name: value }`"),
    ("rhai", "if req.path ~= \"/\" { }", "not equal is written `!=`"),
    ("rhai", "reply(200, \"x\")", "`reply` is a module: call one of its functions, such as `reply::json`"),
];

#[test]
fn spellings_of_other_languages_get_the_right_one() {
    let files = Files::new();
    let mut wrong = Vec::new();
    for (lang, body, help) in SPELLINGS {
        let (code, said) = checked(&files, lang, &text(lang, body));
        if code != 1 || !said.contains(&format!("= help: {help}")) || !said.contains(&format!("--> a.{lang}:4:")) {
            wrong.push(format!("{lang}: {body}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_save_that_would_fail_for_certain_changes_nothing_that_is_served() {
    for (lang, good, bad) in [
        ("lua", "return reply.text(200, 'good')", "return reply.text(200, req.header.host)"),
        ("rhai", "reply::text(200, \"good\")", "reply::text(200, req.header.host)"),
    ] {
        let text = |body: &str| text(lang, body).replace("on_request", "handle");
        let yaml = format!("routes: [{{name: r, paths: [/], plugins: [{{script: a.{lang}}}]}}]\n");
        let gateway = gateway(&yaml).file(&format!("a.{lang}"), &text(good)).start();
        assert_eq!(gateway.get("/").text(), "good");
        gateway.files.replace(&format!("a.{lang}"), &text(bad));
        let line = gateway.log_contains("request has no `header`, did you mean `headers`?");
        assert!(line.contains(&format!("a.{lang}:4:")), "{line}");
        assert_eq!(gateway.get("/").ok().text(), "good");
    }
}

#[test]
fn all_that_is_found_is_told_at_once_in_the_order_of_the_file() {
    let files = Files::new();
    for (lang, body) in [
        ("lua", "local x = req.header\n  http.gte('x')\n  if x then return 401 end"),
        ("rhai", "let x = req.header;\n  http::gte(\"x\");\n  if x { return 401; }"),
    ] {
        let (code, said) = checked(&files, lang, &text(lang, body));
        let places: Vec<usize> =
            [4, 5, 6].iter().filter_map(|line| said.find(&format!(" --> a.{lang}:{line}:"))).collect();
        assert!(places.len() == 3 && places.is_sorted(), "{lang}: {said}");
        assert!(code == 1 && said.ends_with("gateway.yaml: 3 errors\n"), "{lang}: {said}");
    }
}
