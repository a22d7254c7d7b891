//! The drop-in folder: files and folders that become plugins while the gateway runs, and those that are shipped.

use crate::support::{Gateway, Request, Upstream, command::gatewright, eventually, gateway, repository};
use std::fs;

const YAML: &str = "services: [{name: s, url: '${s}', routes: [{name: r, paths: [/], plugins: [PLUGINS]}]}]";

fn with(plugins: &str) -> String {
    crate::support::gateway::with_defaults(&YAML.replace("PLUGINS", plugins))
}

fn start(plugins: &str, files: &[(&str, &str)]) -> (Gateway, Upstream) {
    let upstream = Upstream::echo("it");
    let given = gateway(&YAML.replace("PLUGINS", plugins)).url("s", &upstream);
    let given = files.iter().fold(given, |given, (path, text)| given.file(path, text));
    (given.start(), upstream)
}

/// Waits until answers carry that value of `x-by`.
fn by(gateway: &Gateway, expected: &str) {
    eventually(&format!("x-by: {expected}"), || (gateway.get("/").header("x-by") == Some(expected)).then_some(()));
}

#[test]
fn a_file_dropped_in_is_used_without_a_restart() {
    let (gateway, _upstream) = start("", &[]);
    assert_eq!(gateway.get("/").ok().header("x-by"), None);
    gateway.files.write("plugins/mark.lua", "return { on_response = function(res) res.headers['x-by'] = 'lua' end }");
    gateway.files.replace("gateway.yaml", &with("{name: mark}"));
    by(&gateway, "lua");
    gateway.files.write("plugins/note.rhai", "fn on_response(res, ctx) { res.headers[\"x-by\"] = \"rhai\"; }");
    gateway.files.replace("gateway.yaml", &with("{name: note}"));
    by(&gateway, "rhai");
    gateway.files.replace("plugins/note.rhai", "fn on_response(res, ctx) { res.headers[\"x-by\"] = \"changed\"; }");
    by(&gateway, "changed");
}

#[test]
fn a_folder_with_a_manifest_has_its_configuration_checked_and_defaults_filled_in() {
    let toml = "name = \"mark\"\nversion = \"1.0.0\"\n[config]\nvalue = { type = \"string\", default = \"default\" }\ntimes = { type = \"integer\", default = 1, max = 3 }\n";
    let lua = "local lib = require('lib.text')
return { on_response = function(res, ctx) res.headers['x-by'] = lib.times(ctx.config.value, ctx.config.times) end }";
    let lib = "return { times = function(text, n) return string.rep(text, n) end }";
    let files = [("plugins/mark/plugin.toml", toml), ("plugins/mark/main.lua", lua), ("plugins/lib/text.lua", lib)];
    let (gateway, _upstream) = start("{name: mark}", &files);
    by(&gateway, "default");
    gateway.files.replace("gateway.yaml", &with("{name: mark, config: {value: ab, times: 3}}"));
    by(&gateway, "ababab");
    gateway.files.replace("gateway.yaml", &with("{name: mark, config: {times: 4}}"));
    let line = gateway.log_contains("not reloaded");
    assert!(line.contains("gateway.yaml:") && line.contains("times"), "{line}");
    by(&gateway, "ababab");
    gateway.files.replace("plugins/lib/text.lua", "return { times = function(text, n) return text .. n end }");
    gateway.files.replace("gateway.yaml", &with("{name: mark, config: {value: x, times: 2}}"));
    by(&gateway, "x2");
}

#[test]
fn a_file_of_the_folder_takes_the_place_of_a_stock_plugin_with_a_notice() {
    let own = "return { on_response = function(res) res.headers['x-by'] = 'own' end }";
    let (gateway, _upstream) = start("{name: request-id}", &[("plugins/request-id.lua", own)]);
    by(&gateway, "own");
    gateway.log_contains("takes the place of the stock plugin");
}

#[test]
fn a_plugin_folder_that_is_deleted_is_an_error_and_changes_nothing() {
    let own = "return { on_response = function(res) res.headers['x-by'] = 'own' end }";
    let (gateway, _upstream) = start("{name: mark}", &[("plugins/mark.lua", own)]);
    by(&gateway, "own");
    fs::remove_dir_all(gateway.files.path("plugins")).expect("the folder");
    gateway.log_contains("not reloaded");
    by(&gateway, "own");
    gateway.files.write("plugins/mark.lua", &own.replace("own", "back"));
    by(&gateway, "back");
}

#[test]
fn a_broken_plugin_that_no_route_names_harms_nobody() {
    let (gateway, _upstream) = start("", &[("plugins/broken.lua", "this is not Lua")]);
    gateway.get("/").ok();
}

#[test]
fn plugins_run_in_the_order_of_the_list_and_back() {
    let mark = |name: &str| {
        format!(
            "return {{
  on_request = function(req) req.headers['x-order'] = (req.headers['x-order'] or '') .. '{name}' end,
  on_response = function(res) res.headers['x-back'] = (res.headers['x-back'] or '') .. '{name}' end,
}}"
        )
    };
    let [a, b, c] = ["a", "b", "c"].map(mark);
    let upstream = Upstream::echo("it");
    let yaml = "
plugins: [{name: a}]
services:
  - name: s
    url: ${s}
    plugins: [{name: b}]
    routes:
      - {name: r, paths: [/r], plugins: [{name: c}]}
      - {name: without, paths: [/without], plugins: [{name: c}, {name: b, enabled: false}]}
";
    let given =
        gateway(yaml).url("s", &upstream).file("plugins/a.lua", &a).file("plugins/b.lua", &b).file("plugins/c.lua", &c);
    let gateway = given.start();
    assert_eq!(gateway.get("/r").ok().header("x-back"), Some("cba"));
    assert_eq!(gateway.get("/without").ok().header("x-back"), Some("ca"));
    let orders: Vec<_> =
        upstream.requests().iter().map(|request| request.header("x-order").map(str::to_owned)).collect();
    assert_eq!(orders, [Some("abc".into()), Some("ac".into())]);
}

/// The repository's own `plugins/`, each used as its README says.
#[test]
fn the_shipped_plugins_run() {
    let shipped: Vec<String> = fs::read_dir(repository("plugins"))
        .expect("the shipped plugins")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        shipped.iter().any(|name| name == "api-key") && shipped.iter().any(|name| name == "maintenance-mode.rhai"),
        "{shipped:?}"
    );
    let upstream = Upstream::echo("it");
    let yaml = format!(
        "
plugins_dir: {}
services:
  - name: s
    url: ${{s}}
    routes:
      - {{name: key, paths: [/key], plugins: [{{name: api-key, config: {{clients: {{mobile: 'a key of sixteen bytes'}}}}}}]}}
      - {{name: down, paths: [/down], plugins: [{{name: maintenance-mode, config: {{retry_after: 90s}}}}]}}
      - {{name: allowed, paths: [/allowed], plugins: [{{name: maintenance-mode, config: {{allow: [127.0.0.1]}}}}]}}
",
        repository("plugins").display()
    );
    let gateway = gateway(&yaml).url("s", &upstream).start();
    let wrong = gateway.send(Request::get("/key").header("x-api-key", "wrong").header("x-user-id", "forged"));
    assert_eq!(wrong.problem(401), "a valid API key is required");
    gateway.get("/key").problem(401);
    gateway.send(Request::get("/key").header("x-api-key", "a key of sixteen bytes")).ok();
    let received = upstream.request();
    assert_eq!((received.header("x-user-id"), received.header("x-api-key")), (Some("mobile"), None));
    let down = gateway.get("/down");
    assert_eq!(down.problem(503), "we are working on it");
    assert_eq!((down.header("retry-after"), down.header("cache-control")), (Some("90"), Some("no-store")));
    gateway.get("/allowed").ok();
}

#[test]
fn an_auth_plugin_can_not_go_on_after_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = "{name: jwt-auth, on_error: continue, config: {secret: a secret of more than thirty-two bytes, algorithms: [HS256]}}";
    let yaml = YAML.replace("PLUGINS", plugin).replace("${s}", "http://127.0.0.1:1");
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = gatewright(folder.path(), &["check"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("`jwt-auth` is an auth plugin: it can't go on after an error"), "{}", ended.stdout);
}
