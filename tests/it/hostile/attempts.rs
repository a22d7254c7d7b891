//! Attempts at what scripts must not reach: files, processes, bytecode, other plugins, the messages' framing, and addresses inside.
//!
//! Each is caught by the script itself, which tells what it got; so an attempt that succeeds is seen, not only one that ends the hook.

use crate::support::{Client, Gateway, Request, Upstream, gateway, reply};

struct Attempt {
    name: &'static str,
    /// The bodies of functions that return what they got, or raise; empty where the language has no such thing.
    lua: &'static str,
    rhai: &'static str,
    /// What is part of the answer; `nothing` is all of it.
    says: &'static str,
}

const ATTEMPTS: &[Attempt] = &[
    Attempt { name: "files", lua: "return io", rhai: "", says: "nothing" },
    Attempt { name: "a file to run", lua: "return dofile", rhai: "", says: "nothing" },
    Attempt { name: "processes", lua: "return os.execute", rhai: "", says: "nothing" },
    Attempt { name: "the end of the process", lua: "return os.exit", rhai: "", says: "nothing" },
    Attempt { name: "the environment", lua: "return os.getenv", rhai: "", says: "nothing" },
    Attempt {
        name: "the environment by the host",
        lua: "return env.get('HOME')",
        rhai: "env::get(\"HOME\")",
        says: "`HOME` is not granted",
    },
    Attempt { name: "text as a program", lua: "return loadstring", rhai: "", says: "nothing" },
    Attempt {
        name: "text as a program, by a keyword",
        lua: "",
        rhai: "Fn(\"eval\").call(\"1 + 1\")",
        says: "syntax error: 'eval' is a reserved keyword",
    },
    Attempt { name: "load", lua: "return load", rhai: "", says: "nothing" },
    Attempt { name: "bytecode", lua: "return string.dump", rhai: "", says: "nothing" },
    Attempt { name: "the debugger", lua: "return debug", rhai: "", says: "nothing" },
    Attempt { name: "environments of functions", lua: "return getfenv or setfenv", rhai: "", says: "nothing" },
    Attempt { name: "the collector", lua: "return collectgarbage", rhai: "", says: "nothing" },
    Attempt { name: "proxies", lua: "return newproxy", rhai: "", says: "nothing" },
    Attempt {
        name: "the metatable of strings",
        lua: "getmetatable('').__index = { upper = function() return 'mine' end } return ('x'):upper()",
        rhai: "",
        says: "attempt to modify a readonly table",
    },
    Attempt { name: "the library of strings", lua: "string.upper = nil return 'set'", rhai: "", says: "readonly" },
    Attempt { name: "the library, raw", lua: "rawset(string, 'upper', 1) return 'set'", rhai: "", says: "readonly" },
    Attempt { name: "a module of the host", lua: "reply.text = nil return 'set'", rhai: "", says: "readonly" },
    Attempt { name: "a global", lua: "secret = 1 return 'set'", rhai: "", says: "can't be assigned here" },
    Attempt { name: "a global, raw", lua: "rawset(_G, 'secret', 1) return 'set'", rhai: "", says: "readonly" },
    Attempt {
        name: "a handle's metatable",
        lua: "getmetatable(req).__index = nil return 'set'",
        rhai: "",
        says: "attempt to index boolean with '__index'",
    },
    Attempt {
        name: "another module",
        lua: "return require('../../etc/passwd')",
        rhai: "",
        says: "require: there is no module `../../etc/passwd`",
    },
    Attempt { name: "another plugin's global", lua: "return planted", rhai: "planted()", says: "nothing" },
    Attempt {
        name: "another plugin's kv",
        lua: "return kv.get('planted')",
        rhai: "kv::get(\"planted\")",
        says: "nothing",
    },
    Attempt {
        name: "a header's value in two lines",
        lua: "req.headers['x-a'] = 'b\\r\\nx-evil: 1'",
        rhai: "req.headers[\"x-a\"] = \"b\\r\\nx-evil: 1\";",
        says: "a header value has a control character in it",
    },
    Attempt {
        name: "a header's name in two lines",
        lua: "req.headers['x-a: 1\\r\\nx-evil'] = '1'",
        rhai: "req.headers[\"x-a: 1\\r\\nx-evil\"] = \"1\";",
        says: "is not a header name",
    },
    Attempt {
        name: "a line feed alone",
        lua: "req.headers['x-a'] = 'b\\nx-evil: 1'",
        rhai: "req.headers[\"x-a\"] = \"b\\nx-evil: 1\";",
        says: "a header value has a control character in it",
    },
    Attempt {
        name: "a header of a reply",
        lua: "return reply.text(200, 'x', { ['x-a'] = 'b\\r\\n\\r\\nevil' })",
        rhai: "reply::text(200, \"x\", #{ \"x-a\": \"b\\r\\n\\r\\nevil\" })",
        says: "a header value has a control character in it",
    },
    Attempt {
        name: "a redirect",
        lua: "return reply.redirect('/\\r\\nset-cookie: a=b')",
        rhai: "reply::redirect(\"/\\r\\nset-cookie: a=b\")",
        says: "a header value has a control character in it",
    },
    Attempt {
        name: "a status that is a text",
        lua: "return reply.text('200 OK\\r\\nx-evil: 1', 'x')",
        rhai: "reply::text(\"200 OK\\r\\nx-evil: 1\", \"x\")",
        says: "expected an integer",
    },
    Attempt { name: "a status that is none", lua: "return reply.empty(99)", rhai: "reply::empty(99)", says: "99" },
    Attempt {
        name: "a call's header",
        lua: "return http.get('svc://up/', { headers = { ['x-a'] = 'b\\r\\nx-evil: 1' } }).status",
        rhai: "http::get(\"svc://up/\", #{ headers: #{ \"x-a\": \"b\\r\\nx-evil: 1\" } }).status",
        says: "a header value has a control character in it",
    },
    Attempt {
        name: "a call's path",
        lua: "return http.get('svc://up/a HTTP/1.1\\r\\nx-evil: 1\\r\\n\\r\\n').error",
        rhai: "http::get(\"svc://up/a HTTP/1.1\\r\\nx-evil: 1\\r\\n\\r\\n\").error",
        says: "bad_url",
    },
    Attempt {
        name: "a call's method",
        lua: "return http.request({ url = 'svc://up/', method = 'GET / HTTP/1.1\\r\\nx-evil: 1' }).error",
        rhai: "http::request(#{ url: \"svc://up/\", method: \"GET / HTTP/1.1\\r\\nx-evil: 1\" }).error",
        says: "not a method",
    },
    Attempt {
        name: "leaving a call's path",
        lua: "return http.get('svc://up/a/{id}', { params = { id = '..' } }).error",
        rhai: "http::get(\"svc://up/a/{id}\", #{ params: #{ id: \"..\" } }).error",
        says: "bad_url",
    },
    Attempt {
        name: "a file by its URL",
        lua: "return http.get('file:///etc/passwd').error",
        rhai: "http::get(\"file:///etc/passwd\").error",
        says: "bad_url",
    },
    Attempt {
        name: "the cloud's metadata",
        lua: "return http.get('http://169.254.169.254/latest/meta-data/').error",
        rhai: "http::get(\"http://169.254.169.254/latest/meta-data/\").error",
        says: "forbidden",
    },
    Attempt {
        name: "this host, as IPv6",
        lua: "return http.get('http://[::1]/').error .. ' ' .. http.get('http://[::ffff:127.0.0.1]/').error",
        rhai: "http::get(\"http://[::1]/\").error + \" \" + http::get(\"http://[::ffff:127.0.0.1]/\").error",
        says: "forbidden forbidden",
    },
    Attempt {
        name: "addresses in other spellings",
        lua: "local t = {} for _, host in { '2852039166', '0xA9FEA9FE', '0251.0376.0251.0376', '0.0.0.0', '0', '127.1', 'localhost' } do table.insert(t, http.get('http://' .. host .. '/').error) end return table.concat(t, ' ')",
        rhai: "let t = \"\"; for host in [\"2852039166\", \"0xA9FEA9FE\", \"0251.0376.0251.0376\", \"0.0.0.0\", \"0\", \"127.1\", \"localhost\"] { t += http::get(\"http://\" + host + \"/\").error + \" \"; } t",
        says: "forbidden forbidden forbidden forbidden forbidden forbidden forbidden",
    },
    Attempt {
        name: "a host that hides behind a name and a password",
        lua: "return http.get('http://granted.test@127.0.0.1/').error .. ' ' .. http.get('http://127.0.0.1#@granted.test/').error",
        rhai: "http::get(\"http://granted.test@127.0.0.1/\").error + \" \" + http::get(\"http://127.0.0.1#@granted.test/\").error",
        says: "forbidden forbidden",
    },
    Attempt {
        name: "the administration",
        lua: "return http.get('http://' .. ctx.config.admin .. '/api/v1/status').error",
        rhai: "http::get(\"http://\" + ctx.config.admin + \"/api/v1/status\").error",
        says: "forbidden",
    },
];

/// In both languages: what the body gives as text, or what was raised.
fn files(attempt: &Attempt) -> [String; 2] {
    let lua = format!(
        "return {{ handle = function(req, ctx)
  local ok, got = pcall(function() {} end)
  local text = if type(got) == 'userdata' then 'an object' elseif got == nil then 'nothing' else tostring(got)
  return reply.text(200, if ok then text else 'error: ' .. text)
end }}",
        attempt.lua
    );
    let rhai = format!(
        "fn attempt(req, ctx) {{ {} }}
fn handle(req, ctx) {{
    try {{
        let got = attempt(req, ctx);
        return reply::text(200, if got == () {{ \"nothing\" }} else {{ `${{got}}` }});
    }} catch (error) {{
        let text = `${{error}}`;
        return reply::text(200, if text.contains(\"unction not found\") {{ \"nothing\" }} else {{ \"error: \" + text }});
    }}
}}",
        attempt.rhai
    );
    [lua, rhai]
}

/// A gateway with all of them, the upstream that none reaches, and a gateway whose administration is attempted.
fn attempted() -> (Gateway, Upstream, Gateway) {
    let upstream = Upstream::start(|_| reply(200, "reached"));
    // The first admin port that is free might be taken in between, so the attempt has that of another gateway.
    let mut yaml = String::from(
        "workers: 1\nlimits: {quarantine: off}\nroutes:\n- {name: plant-lua, paths: [/plant/lua], plugins: [{script: plant.lua}]}\n\
         - {name: plant-rhai, paths: [/plant/rhai], plugins: [{script: plant.rhai}]}\n",
    );
    let mut given = vec![
        (
            "plant.lua".to_owned(),
            "planted = 'a secret' return { handle = function() kv.set('planted', 'a secret') return reply.empty(204) end }"
                .to_owned(),
        ),
        (
            "plant.rhai".to_owned(),
            "fn planted() { \"a secret\" } fn handle(req, ctx) { kv::set(\"planted\", \"a secret\"); reply::empty(204) }"
                .to_owned(),
        ),
    ];
    for (at, attempt) in ATTEMPTS.iter().enumerate() {
        for (lang, text) in ["lua", "rhai"].into_iter().zip(files(attempt)) {
            let plugin = format!("{{script: {lang}{at}.{lang}, config: {{admin: '${{admin}}'}}}}");
            yaml.push_str(&format!("- {{name: {lang}-{at}, paths: [/{lang}/{at}], plugins: [{plugin}]}}\n"));
            given.push((format!("{lang}{at}.{lang}"), text));
        }
    }
    yaml.push_str("services: [{name: up, url: '${up}'}]\n");
    let administered = gateway("admin: 127.0.0.1:0\nroutes: [{paths: [/], reply: {status: 204}}]\n").start();
    let admin = administered.address_of("admin").to_string();
    assert_eq!(Client::connect(administered.address_of("admin")).send(&Request::get("/healthz")).status, 200);
    let start = gateway(&yaml).url("up", &upstream).env("admin", admin);
    (given.iter().fold(start, |gateway, (path, text)| gateway.file(path, text)).start(), upstream, administered)
}

#[test]
fn scripts_reach_nothing_that_is_not_theirs() {
    let (gateway, upstream, administered) = attempted();
    for lang in ["lua", "rhai"] {
        assert_eq!(gateway.get(&format!("/plant/{lang}")).status, 204);
    }
    let mut tried = 0;
    for (at, attempt) in ATTEMPTS.iter().enumerate() {
        for (lang, body) in [("lua", attempt.lua), ("rhai", attempt.rhai)] {
            if body.is_empty() {
                continue;
            }
            let answer = gateway.get(&format!("/{lang}/{at}"));
            // What no script can catch is logged.
            let said = match answer.status {
                500 => gateway.log_contains(&format!("\"route\":\"{lang}-{at}\"")),
                _ => answer.ok().text(),
            };
            let is_right = if attempt.says == "nothing" { said == "nothing" } else { said.contains(attempt.says) };
            assert!(is_right, "{} ({lang}): {said}", attempt.name);
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried} attempts were made");
    assert_eq!(upstream.requests().len(), 0, "an attempt reached the upstream");
    let administration = Client::connect(administered.address_of("admin")).send(&Request::get("/healthz"));
    assert_eq!(administration.status, 200, "there was nothing to reach");
}
