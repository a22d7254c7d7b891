//! The breaker of scripts: a hook that keeps failing is left out on its route, tried again, and shown.

use crate::support::{Client, Gateway, Request, Upstream, command::binary, eventually, gateway, reply};
use serde_json::Value;

const YAML: &str = "
admin: 127.0.0.1:0
access_log: stdout
workers: 2
limits: {quarantine: {hold_for: HOLD}}
services:
  - name: s
    url: '${s}'
    routes:
      - {name: one, paths: [/one], plugins: [{script: SCRIPT}]}
      - {name: two, paths: [/two], plugins: [{script: SCRIPT}]}
      - {name: skip, paths: [/skip], plugins: [{script: SCRIPT, on_error: continue}]}
";
const LUA: &str = "return { on_request = function(req)
  if req.headers['x-loop'] then while true do end end
  if req.headers['x-fail'] then error('no') end
  req.headers['x-ran'] = '1'
end }";
const RHAI: &str = "fn on_request(req, ctx) {
  if req.headers.has(\"x-loop\") { loop {} }
  if req.headers.has(\"x-fail\") { throw \"no\"; }
  req.headers[\"x-ran\"] = \"1\";
}";
const DETAIL: &str = "a script of this route is left out for a moment: it failed too often";

/// For what is seen while a hook is held, and for what comes after.
const LONG: &str = "60s";
const SHORT: &str = "300ms";

fn started(hold: &str, script: &str, text: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start(|_| reply(200, "fine"));
    let yaml = YAML.replace("HOLD", hold).replace("SCRIPT", script);
    let given = gateway(&yaml).url("s", &upstream).file(script, text);
    (given.start(), upstream)
}

fn fail(gateway: &Gateway, path: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.send(Request::get(path).header("x-fail", 1)).status, 500);
    }
}

fn admin(gateway: &Gateway, path: &str) -> String {
    Client::connect(gateway.address_of("admin")).send(&Request::get(path)).ok().text()
}

#[test]
fn a_script_that_keeps_failing_is_held_on_its_route_and_shown() {
    for (script, text) in [("a.lua", LUA), ("a.rhai", RHAI)] {
        let (gateway, _upstream) = started(LONG, script, text);
        fail(&gateway, "/one", 5);
        let refused = gateway.get("/one");
        assert_eq!(refused.problem(503), DETAIL);
        let retry = refused.header("retry-after").and_then(|text| text.parse::<u64>().ok()).expect("seconds");
        assert!((30..=60).contains(&retry), "{retry}");
        assert_eq!(gateway.get("/two").status, 200, "another route has a place of its own");
        let labels = format!(r#"plugin="{script}",hook="on_request",route="one""#);
        let page = admin(&gateway, "/metrics");
        assert!(page.contains(&format!("gatewright_script_quarantined{{{labels}}} 1\n")), "{page}");
        assert!(page.contains(&format!("gatewright_script_held_total{{{labels}}} 1\n")), "{page}");
        assert!(
            page.contains("gatewright_failures_total{route=\"one\",service=\"s\",kind=\"quarantined\"} 1\n"),
            "{page}"
        );
        let routes: Value = serde_json::from_str(&admin(&gateway, "/api/v1/routes")).expect("JSON");
        let one = routes.as_array().and_then(|all| all.iter().find(|route| route["name"] == "one")).expect("the route");
        assert_eq!(one["quarantined"][0]["hook"], "on_request", "{one}");
        let plugins: Value = serde_json::from_str(&admin(&gateway, "/api/v1/plugins")).expect("JSON");
        let held = |of: &str| {
            let entry =
                plugins.as_array().and_then(|all| all.iter().find(|entry| entry["of"] == of)).expect("the entry");
            (entry["quarantined"][0]["route"].clone(), entry["quarantined"][0]["hook"].clone())
        };
        assert_eq!(held("one"), ("one".into(), "on_request".into()), "{plugins}");
        assert_eq!(held("two"), (Value::Null, Value::Null), "{plugins}");
        let admin = gateway.address_of("admin").to_string();
        let listed = binary()
            .current_dir(gateway.files.folder())
            .env("s", "http://127.0.0.1:1")
            .args(["routes", "--admin", &admin])
            .output()
            .expect("the command");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let (_, after) = listed.split_once("left out at the moment, since they kept failing:\n").expect(&listed);
        let of_one = format!("  one  on_request of {script}, tried again in ");
        assert!(after.starts_with(&of_one) && after.lines().count() == 1, "{listed}");
        gateway.output.contains("quarantined");
        gateway.log_contains("is in quarantine");
        assert_eq!(gateway.log.lines().iter().filter(|line| line.contains("is in quarantine")).count(), 1);
    }
}

#[test]
fn after_its_time_it_is_tried_again() {
    for (script, text) in [("a.lua", LUA), ("a.rhai", RHAI)] {
        let (gateway, _upstream) = started(SHORT, script, text);
        fail(&gateway, "/one", 5);
        gateway.log_contains("is in quarantine");
        eventually("a probe", || (gateway.get("/one").status == 200).then_some(()));
        gateway.log.counts("left quarantine", 1);
        assert_eq!(gateway.get("/one").status, 200);
        let labels = format!(r#"plugin="{script}",hook="on_request",route="one""#);
        assert!(admin(&gateway, "/metrics").contains(&format!("gatewright_script_quarantined{{{labels}}} 0\n")));
        assert_eq!(gateway.log.lines().iter().filter(|line| line.contains("is in quarantine")).count(), 1);
    }
}

#[test]
fn a_probe_that_fails_holds_it_longer() {
    let (gateway, _upstream) = started(SHORT, "a.lua", LUA);
    fail(&gateway, "/one", 5);
    let failing = || Request::get("/one").header("x-fail", 1);
    // Three times twice as long: enough to be asked about in peace.
    eventually("it is held for seconds", || {
        gateway.send(failing());
        let held: Value = serde_json::from_str(&admin(&gateway, "/api/v1/routes")).expect("JSON");
        held[0]["quarantined"][0]["for_ms"].as_u64().filter(|left| *left > 2_000)
    });
    assert_eq!(gateway.send(failing()).status, 503);
}

#[test]
fn with_on_error_continue_it_is_passed_over() {
    let failed_often = |hold: &str| {
        let (gateway, upstream) = started(hold, "a.lua", LUA);
        assert!(runs(&gateway, &upstream), "a good request");
        for _ in 0..5 {
            assert_eq!(gateway.send(Request::get("/skip").header("x-fail", 1)).status, 200);
        }
        gateway.log_contains("is in quarantine");
        (gateway, upstream)
    };
    let (gateway, upstream) = failed_often(LONG);
    assert!(!runs(&gateway, &upstream));
    let (gateway, upstream) = failed_often(SHORT);
    eventually("it runs again", || runs(&gateway, &upstream).then_some(()));
}

/// Whether the script of `/skip` runs for a request that the upstream gets in either case.
fn runs(gateway: &Gateway, upstream: &Upstream) -> bool {
    assert_eq!(gateway.get("/skip").status, 200);
    upstream.requests().last().expect("the request").headers.get("x-ran").is_some()
}

#[test]
fn three_limits_are_enough_and_a_saved_script_begins_clean() {
    for (script, text) in [("a.lua", LUA), ("a.rhai", RHAI)] {
        let (gateway, _upstream) = started(LONG, script, text);
        for _ in 0..3 {
            assert_eq!(gateway.send(Request::get("/one").header("x-loop", 1)).status, 500);
        }
        assert_eq!(gateway.get("/one").status, 503);
        let comment = if script.ends_with("lua") { "-- mended" } else { "// mended" };
        gateway.files.replace(script, &format!("{text}\n{comment}\n"));
        gateway.log_contains("\"reloaded\"");
        assert_eq!(gateway.get("/one").status, 200);
    }
}

#[test]
fn it_can_be_switched_off() {
    let upstream = Upstream::start(|_| reply(200, "fine"));
    let yaml = YAML.replace("{quarantine: {hold_for: HOLD}}", "{quarantine: off}").replace("SCRIPT", "a.lua");
    let gateway = gateway(&yaml).url("s", &upstream).file("a.lua", LUA).start();
    fail(&gateway, "/one", 12);
    assert_eq!(gateway.get("/one").status, 200);
}

const ENTRIES: &str = "
admin: 127.0.0.1:0
workers: 1
limits: {quarantine: {hold_for: HOLD}}
services:
  - name: s
    url: '${s}'
    routes:
      - name: one
        paths: [/one]
        plugins: [{script: SCRIPT, on_error: WHAT}, {script: other.lua}]
";
/// It fails with the answer, after the upstream did its work.
const LATE: [(&str, &str); 2] = [
    (
        "a.lua",
        "return { on_request = function(req) req.headers['x-ran'] = '1' end,
  on_response = function(res) if res.headers['x-bad'] then error('no') end end }",
    ),
    (
        "a.rhai",
        "fn on_request(req, ctx) { req.headers[\"x-ran\"] = \"1\"; }
fn on_response(res, ctx) { if res.headers.has(\"x-bad\") { throw \"no\"; } }",
    ),
];
const OTHER: &str = "return { on_request = function(req) req.headers['x-other'] = '1' end }";

fn with_entries(hold: &str, what: &str, (script, text): (&str, &str)) -> (Gateway, Upstream) {
    let upstream = Upstream::start(|request| match request.headers.get("x-fail") {
        Some(_) => reply(200, "fine").header("x-bad", "1"),
        None => reply(200, "fine"),
    });
    let yaml = ENTRIES.replace("HOLD", hold).replace("SCRIPT", script).replace("WHAT", what);
    let gateway = gateway(&yaml).url("s", &upstream).file(script, text).file("other.lua", OTHER).start();
    (gateway, upstream)
}

#[test]
fn an_entry_that_fails_late_is_refused_before_the_upstream_works() {
    for late in LATE {
        let (gateway, upstream) = with_entries(LONG, "refuse", late);
        fail(&gateway, "/one", 5);
        assert_eq!(upstream.requests().len(), 5);
        assert_eq!(gateway.get("/one").problem(503), DETAIL);
        assert_eq!(upstream.requests().len(), 5, "{}: nothing is asked for an answer that nobody gets", late.0);
        let (gateway, upstream) = with_entries(SHORT, "refuse", late);
        fail(&gateway, "/one", 5);
        gateway.log_contains("is in quarantine");
        eventually("an exchange that tries it", || (gateway.get("/one").status == 200).then_some(()));
        assert_eq!(upstream.requests().len(), 6, "{}: the one that tried it", late.0);
        gateway.log.counts("left quarantine", 1);
        assert_eq!(gateway.get("/one").status, 200);
    }
}

#[test]
fn an_entry_that_is_passed_over_is_so_whole_and_alone() {
    for late in LATE {
        let (gateway, upstream) = with_entries(LONG, "continue", late);
        let seen = || {
            assert_eq!(gateway.get("/one").status, 200);
            let last = upstream.requests().pop().expect("the request");
            ["x-ran", "x-other"].map(|name| last.headers.get(name).is_some())
        };
        assert_eq!(seen(), [true, true]);
        for _ in 0..9 {
            assert_eq!(gateway.send(Request::get("/one").header("x-fail", 1)).status, 200);
        }
        gateway.log_contains("is in quarantine");
        assert_eq!(seen(), [false, true], "{}: the other entry goes on", late.0);
    }
}
