//! What a plugin's manifest grants: headers, hosts, keys of Redis, names of the environment; enforced, and shown by `check`.

use crate::support::{Gateway, Upstream, command::gatewright, gateway, redis::redis, reply};
use std::{fs, path::Path};

const YAML: &str = "services: [{name: s, url: '${s}', routes: [{name: r, paths: [/], plugins: [{name: it}]}]}]";

/// A gateway whose one plugin has these permissions.
fn start(permissions: &str, extension: &str, script: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::echo("it");
    let given = gateway(YAML).url("s", &upstream).env("GRANTED", "yes").env("OTHER", "no");
    let toml = format!("kind = \"other\"\n[permissions]\n{permissions}\n");
    let given = given.file("plugins/it/plugin.toml", &toml).file(&format!("plugins/it/main.{extension}"), script);
    (given.start(), upstream)
}

/// Statements that each write one header, in both languages, and whether they may.
const WRITES: [(&str, &str, bool); 9] = [
    ("req.headers['x-user-id'] = '7'", "req.headers[\"x-user-id\"] = \"7\";", true),
    ("req.headers['X-User-Name'] = 'ada'", "req.headers[\"X-User-Name\"] = \"ada\";", true),
    ("req.headers:add('vary', 'origin')", "req.headers.add(\"vary\", \"origin\");", true),
    ("req.headers['authorization'] = 'x'", "req.headers[\"authorization\"] = \"x\";", false),
    ("req.headers['authorization'] = nil", "req.headers[\"authorization\"] = ();", false),
    ("req.headers:add('x-other', 'x')", "req.headers.add(\"x-other\", \"x\");", false),
    (
        "return reply.text(200, 'x', { ['set-cookie'] = 'a=b' })",
        "return reply::text(200, \"x\", #{ \"set-cookie\": \"a=b\" });",
        false,
    ),
    ("local moved = reply.redirect('/elsewhere')", "let moved = reply::redirect(\"/elsewhere\");", true),
    ("req:set_json({ a = 1 })", "req.set_json(#{ a: 1 });", true),
];

#[test]
fn a_plugin_writes_only_headers_that_its_manifest_names() {
    let granted = "headers = [\"x-user-*\", \"Vary\"]";
    for (lua, rhai, may) in WRITES {
        let lua_script = format!("return {{ on_request = function(req)\n {lua}\nend }}");
        let rhai_script = format!("fn on_request(req, ctx) {{\n {rhai}\n}}");
        for (extension, script) in [("lua", lua_script), ("rhai", rhai_script)] {
            let (gateway, upstream) = start(granted, extension, &script);
            let answer = gateway.get("/");
            if may {
                assert_eq!((answer.status, upstream.requests().len()), (200, 1), "{script}");
                continue;
            }
            answer.problem(500);
            assert_eq!(upstream.requests().len(), 0, "{script}");
            let line = gateway.log_contains("may not be written");
            let place = format!("main.{extension}:2");
            assert!(line.contains(&place) && line.contains("`x-user-*`, `vary`"), "{line}");
        }
    }
}

#[test]
fn responses_are_held_to_the_same_headers() {
    let scripts = [
        ("lua", "return { on_response = function(res) res.headers['server'] = nil end }"),
        ("rhai", "fn on_response(res, ctx) { res.headers[\"server\"] = (); }"),
    ];
    for (extension, script) in scripts {
        let (gateway, _upstream) = start("headers = []", extension, script);
        gateway.get("/").problem(500);
        let line = gateway.log_contains("may not be written");
        assert!(line.contains("header `server`") && line.contains("is empty"), "{line}");
    }
}

/// A script that calls `url` and answers with what came of it.
fn caller(url: &str) -> String {
    format!(
        "return {{ on_request = function()\n local got = http.get('{url}')\n return reply.text(200, got.status .. ' ' .. (got.error or got:text()))\nend }}"
    )
}

#[test]
fn calls_go_to_hosts_that_are_named_with_their_port_and_scheme() {
    let other = Upstream::start(|_| reply(200, "other"));
    let port = other.address().port();
    let cases = [
        (format!("hosts = [\"127.0.0.1:{port}\"]"), "200 other"),
        (format!("hosts = [\"http://127.0.0.1:{port}\"]"), "200 other"),
        (format!("hosts = [\"https://127.0.0.1:{port}\"]"), "0 forbidden"),
        ("hosts = [\"127.0.0.1\", \"127.0.0.0/8\", \"*.example.com\"]".to_owned(), "0 forbidden"),
        (format!("hosts = [\"127.0.0.2:{port}\", \"localhost:{port}\"]"), "0 forbidden"),
        (String::new(), "0 forbidden"),
    ];
    for (permissions, expected) in cases {
        let (gateway, _upstream) = start(&permissions, "lua", &caller(&format!("http://127.0.0.1:{port}/")));
        assert_eq!(gateway.get("/").ok().text(), expected, "{permissions}");
    }
    // The same address in other spellings, with someone's name before it, and by a name that means this machine.
    for (url, permissions, expected) in [
        ("http://2130706433:PORT/", "hosts = [\"127.0.0.1:PORT\"]", "200 other"),
        ("http://0x7f.1:PORT/", "hosts = [\"example.com:PORT\"]", "0 forbidden"),
        ("http://[::ffff:127.0.0.1]:PORT/", "hosts = [\"127.0.0.1:PORT\"]", "0 forbidden"),
        ("http://example.com:PORT@127.0.0.1:PORT/", "hosts = [\"example.com:PORT\"]", "0 forbidden"),
        ("http://localhost:PORT/", "hosts = [\"localhost:PORT\"]", "200 other"),
        ("file:///etc/passwd", "hosts = [\"localhost:PORT\"]", "0 bad_url"),
    ] {
        let port = port.to_string();
        let (url, permissions) = (url.replace("PORT", &port), permissions.replace("PORT", &port));
        let (gateway, _upstream) = start(&permissions, "lua", &caller(&url));
        assert_eq!(gateway.get("/").ok().text(), expected, "{url} {permissions}");
    }
}

/// However it is named, and whatever the manifest grants: a script never asks administration, which has no token here.
#[test]
fn administration_is_out_of_reach_whatever_is_granted() {
    let upstream = Upstream::echo("it");
    let lua = "return { on_request = function(req)
  local got = http.get(req.query.url)
  return reply.text(200, got.status .. ' ' .. (got.error or 'reached'))
end }";
    let rhai = "fn on_request(req, ctx) {
  let got = http::get(req.query[\"url\"]);
  reply::text(200, `${got.status} ${if got.error == () { \"reached\" } else { got.error }}`)
}";
    for (extension, script) in [("lua", lua), ("rhai", rhai)] {
        // A port that is free now: the manifest names it before the gateway listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        for (listens, hosts) in [
            ("127.0.0.1", &["127.0.0.1", "localhost", "2130706433", "0.0.0.0"][..]),
            ("0.0.0.0", &["127.0.0.1", "127.0.0.9", "localhost", "0.0.0.0"][..]),
        ] {
            let token = if listens == "0.0.0.0" { ", token: a-token-of-thirty-two-characters" } else { "" };
            let yaml = format!("admin: {{address: '{listens}:{port}'{token}}}\n{YAML}");
            let granted =
                format!("\"127.0.0.1:{port}\", \"127.0.0.9:{port}\", \"localhost:{port}\", \"0.0.0.0:{port}\"");
            let toml = format!("kind = \"other\"\n[permissions]\nhosts = [{granted}]\n");
            let given = gateway(&yaml).url("s", &upstream).file("plugins/it/plugin.toml", &toml);
            let gateway = given.file(&format!("plugins/it/main.{extension}"), script).start();
            for host in hosts {
                let said = gateway.get(&format!("/?url=http://{host}:{port}/api/v1/status")).ok().text();
                assert_eq!(said, "0 administration", "{host} of {listens}, {extension}");
            }
        }
    }
}

/// The machine's own name leads to an address of its own: whoever names the name has not named that.
#[test]
fn a_name_that_leads_inwards_is_not_followed() {
    let other = Upstream::start(|_| reply(200, "other"));
    let port = other.address().port();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim().to_ascii_lowercase();
    let url = format!("http://{name}:{port}/");
    let (gateway, _upstream) = start(&format!("hosts = [\"{name}:{port}\"]"), "lua", &caller(&url));
    let answer = gateway.get("/").ok().text();
    // A machine may not know its own name: then there is nobody to call.
    assert!(matches!(answer.as_str(), "0 forbidden" | "0 connect"), "{answer}");
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn a_redirect_to_another_host_is_given_to_the_script() {
    let hidden = Upstream::start(|_| reply(200, "hidden"));
    let location = hidden.url();
    let named = Upstream::start(move |_| reply(302, "moved").header("location", &location));
    let (gateway, _upstream) =
        start(&format!("hosts = [\"127.0.0.1:{}\"]", named.address().port()), "lua", &caller(&named.url()));
    assert_eq!(gateway.get("/").ok().text(), "302 moved");
    assert_eq!(hidden.requests().len(), 0);
}

#[test]
fn commands_that_have_no_keys_are_not_for_a_plugin_with_granted_keys() {
    let redis = redis();
    let upstream = Upstream::echo("it");
    let script = "local calls = {
  keys = function() return redis.command('KEYS', '*') end,
  flush = function() return redis.command('FLUSHALL') end,
  config = function() return redis.command('CONFIG', 'GET', '*') end,
  eval = function() return redis.command('EVAL', 'return 1', 1, 'other') end,
  sort = function() return redis.command('SORT', 'my:list', 'BY', 'other:*') end,
  scan = function() return redis.command('SCAN', 0) end,
  script = function() return redis.script('return redis.call(\"GET\", \"other\")', { 'my:a' }) end,
  other = function() return redis.get('other') end,
  mine = function() return redis.set('my:a', 1) end,
  both = function() return redis.mget('my:a', 'other') end,
}
return { on_request = function(req)
  local ok, got = pcall(calls[req.query.call])
  return reply.text(200, tostring(got))
end }";
    let given = gateway(&format!("redis: {}\n{YAML}", redis.url())).url("s", &upstream);
    let toml = "[permissions]\nredis = [\"my:\"]\n";
    let gateway = given.file("plugins/it/plugin.toml", toml).file("plugins/it/main.lua", script).start();
    let call = |name: &str| gateway.get(&format!("/?call={name}")).ok().text();
    assert_eq!(call("mine"), "OK");
    for (name, expected) in [
        ("keys", "`KEYS`: which words are keys is not known"),
        ("flush", "`FLUSHALL`: which words are keys is not known"),
        ("config", "`CONFIG`: which words are keys is not known"),
        ("eval", "`EVAL`: which words are keys is not known"),
        ("sort", "`SORT`: which words are keys is not known"),
        ("scan", "`SCAN`: which words are keys is not known"),
        ("script", "the manifest needs `permissions.redis_scripts`"),
        ("other", "key `other` is not granted: `permissions.redis` has `my:`"),
        ("both", "key `other` is not granted: `permissions.redis` has `my:`"),
    ] {
        let said = call(name);
        assert!(said.contains(expected), "{name}: {said}");
    }
    assert_eq!(call("mine"), "OK");
}

#[test]
fn only_granted_names_of_the_environment_are_read() {
    let scripts = [
        (
            "lua",
            "return { on_request = function() return reply.text(200, env.get('GRANTED') .. ' ' .. tostring(pcall(env.get, 'OTHER'))) end }",
        ),
        (
            "rhai",
            "fn on_request(req, ctx) { let other = \"\"; try { other = env::get(\"OTHER\"); } catch { other = \"false\"; } reply::text(200, env::get(\"GRANTED\") + \" \" + other) }",
        ),
    ];
    for (extension, script) in scripts {
        let (gateway, _upstream) = start("env = [\"GRANTED\"]", extension, script);
        assert_eq!(gateway.get("/").ok().text(), "yes false");
    }
}

#[test]
fn check_shows_what_each_plugin_may_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write(
        "gateway.yaml",
        "routes:\n  - {name: a, paths: [/a], plugins: [{name: it}]}\n  - {name: b, paths: [/b], plugins: [{name: request-id}, {name: it}]}\n",
    );
    write(
        "plugins/it/plugin.toml",
        "kind = \"auth\"\n[permissions]\nhosts = [\"https://*.Example.com\"]\nenv = [\"TOKEN\"]\nredis = [\"it:\"]\nheaders = [\"X-User-*\"]\n",
    );
    write("plugins/it/main.lua", "return { handle = function() return reply.empty(204) end }");
    let ended = gatewright(folder.path(), &["check"]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    for expected in [
        "  it (auth, 2 places): hosts https://*.example.com; env TOKEN; redis it:; headers x-user-*\n",
        "  request-id (stock, traffic, 1 place): hosts none; env none; redis any; headers any\n",
    ] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in\n{}", ended.stdout);
    }
    let ended = gatewright(folder.path(), &["check", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(found["diagnostics"], serde_json::json!([]));
    let file = found["plugins"][0]["file"].as_str().expect("a path");
    assert!(file.ends_with("plugins/it/main.lua"), "{file}");
    assert_eq!(
        found["plugins"][0],
        serde_json::json!({
            "name": "it", "kind": "auth", "stock": false,
            "file": file,
            "places": ["route:a/it", "route:b/it"],
            "permissions": {
                "hosts": ["https://*.example.com"], "env": ["TOKEN"], "redis": ["it:"], "redis_scripts": false, "headers": ["x-user-*"],
            },
        })
    );
}
