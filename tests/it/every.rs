//! Background work of scripts: once in the process, within limits, never overlapping, and gone with its generation.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply};

const YAML: &str = "
admin: 127.0.0.1:0
workers: 2
services: [{name: rates, url: '${rates}'}]
routes:
  - {name: r, paths: [/], plugins: [{script: SCRIPT}]}
";

fn started(script: &str, text: &str, rates: &Upstream) -> Gateway {
    gateway(&YAML.replace("SCRIPT", script)).url("rates", rates).file(script, text).start()
}

fn rates() -> Upstream {
    Upstream::start(|_| reply(200, r#"{"eur":2}"#).json())
}

fn page(gateway: &Gateway) -> String {
    Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).ok().text()
}

/// The value of a line of the metrics; 0 when it is not there.
fn value(gateway: &Gateway, series: &str) -> f64 {
    let page = page(gateway);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

const LUA: &str = r#"
local M = {}
function M.on_load(config)
  local runs = 0
  every("100ms", function()
    runs = runs + 1
    kv.set("rates", http.get("svc://rates/latest"):json())
    metrics.counter("refreshed")
    if runs == 1 then log.info("first run") end
  end)
end
function M.handle(req) return reply.json(200, kv.get("rates")) end
return M
"#;
const RHAI: &str = r#"
import "lib/keys" as keys;
fn refresh(key) {
    kv::set(key, http::get("svc://rates/latest").json());
    metrics::counter("refreshed");
}
fn on_load(config) {
    let key = "rates";
    every("100ms", || {
        refresh(keys::full(key));
        log::info("a run");
    });
}
fn handle(req, ctx) { reply::json(200, kv::get(keys::full("rates"))) }
"#;

#[test]
fn it_runs_on_one_worker_with_the_whole_host_in_both_languages() {
    for (script, text) in [("a.lua", LUA), ("a.rhai", RHAI)] {
        let rates = rates();
        let given = gateway(&YAML.replace("SCRIPT", script)).url("rates", &rates).file(script, text);
        let gateway = given.file("lib/keys.rhai", "fn full(name) { name + \"-1\" }").start();
        eventually("the rates", || (gateway.get("/").text() == r#"{"eur":2}"#).then_some(()));
        let place = format!(r#"plugin="{script}",place="route:r/{}""#, gateway.files.path(script).display());
        let series = format!("gatewright_background_runs_total{{{place},result=\"ok\"}}");
        eventually("some runs", || (value(&gateway, &series) >= 3.0).then_some(()));
        // Asked between two runs of the counter: each run counts once, whatever the number of workers.
        let (before, asked) = (value(&gateway, &series), rates.requests().len() as f64);
        assert!((asked - before).abs() <= 2.0, "{asked} requests in {before} runs");
        assert!(value(&gateway, &format!("gatewright_plugin_refreshed_total{{plugin=\"{script}\"}}")) >= before);
        gateway.log_contains("\"hook\":\"every\"");
    }
}

#[test]
fn a_reload_ends_it_in_the_middle_of_a_wait_and_begins_the_new_one() {
    let old = [
        (
            "a.lua",
            "return { on_load = function() every('100ms', function() while true do time.sleep('20ms') kv.incr('old') end end) end, handle = function() return reply.text(200, tostring(kv.get('old') or 0)) end }",
        ),
        (
            "a.rhai",
            "fn on_load(config) { every(\"100ms\", || loop { time::sleep(\"20ms\"); kv::incr(\"old\"); }); }\nfn handle(req, ctx) { reply::text(200, `${kv::get(\"old\")}`) }",
        ),
    ];
    let new = [
        "return { on_load = function() every('100ms', function() kv.incr('new') end) end, handle = function() return reply.text(200, (kv.get('old') or 0) .. ' ' .. (kv.get('new') or 0)) end }",
        "fn on_load(config) { every(\"100ms\", || kv::incr(\"new\")); }\nfn handle(req, ctx) { reply::text(200, `${kv::get(\"old\")} ${kv::get(\"new\")}`) }",
    ];
    for ((script, old), new) in old.into_iter().zip(new) {
        let rates = rates();
        let gateway = started(script, old, &rates);
        eventually("runs of the old one", || gateway.get("/").text().parse::<u64>().ok().filter(|old| *old >= 1));
        gateway.files.replace(script, new);
        gateway.log_contains("\"reloaded\"");
        let counts = |least: u64| {
            eventually("runs of the new one", || {
                let text = gateway.get("/").text();
                let (old, new) = text.split_once(' ')?;
                let (old, new): (u64, u64) = (old.parse().ok()?, new.parse().ok()?);
                (new >= least).then_some(old)
            })
        };
        let then = counts(1);
        assert!(then >= 1, "{script}: what the old one counted is gone");
        assert_eq!(counts(6), then, "{script}: the old one went on");
    }
}

#[test]
fn what_is_late_is_left_out_and_counted() {
    let script = "return { on_load = function() every('100ms', function() time.sleep('350ms') end) end, handle = function() return reply.empty(204) end }";
    let rates = rates();
    let gateway = started("a.lua", script, &rates);
    let place = format!(r#"plugin="a.lua",place="route:r/{}""#, gateway.files.path("a.lua").display());
    let runs = format!("gatewright_background_runs_total{{{place},result=\"ok\"}}");
    eventually("two runs", || (value(&gateway, &runs) >= 2.0).then_some(()));
    let skipped = value(&gateway, &format!("gatewright_background_skipped_total{{{place}}}"));
    assert!(skipped >= 3.0, "{skipped} were left out");
}

#[test]
fn errors_are_logged_once_and_loops_are_stopped() {
    let failing = [
        (
            "a.lua",
            "return { on_load = function() every('100ms', function()\n  error('no rates')\nend) every('100ms', function() while true do end end) end, handle = function() return reply.empty(204) end }",
            "a.lua:2",
        ),
        (
            "a.rhai",
            "fn on_load(config) { every(\"100ms\", || {\n  throw \"no rates\"; });\n every(\"100ms\", || loop {}); }\nfn handle(req, ctx) { reply::empty(204) }",
            "a.rhai:2",
        ),
    ];
    for (script, text, at) in failing {
        let rates = rates();
        let gateway = started(script, text, &rates);
        let place = format!(r#"plugin="{script}",place="route:r/{}""#, gateway.files.path(script).display());
        let runs =
            |result: &str| value(&gateway, &format!("gatewright_background_runs_total{{{place},result=\"{result}\"}}"));
        eventually("failures", || (runs("error") >= 3.0 && runs("limit") >= 2.0).then_some(()));
        assert!(gateway.log_contains("no rates").contains(at), "{}", gateway.log_contains("no rates"));
        assert_eq!(gateway.log.lines().iter().filter(|line| line.contains("no rates")).count(), 1);
        assert_eq!(gateway.get("/").status, 204);
    }
}

#[test]
fn elsewhere_than_in_on_load_it_is_refused() {
    for (script, text, said) in [
        (
            "a.lua",
            "return { handle = function()\n  every('1s', function() end)\nend }",
            "a.lua:2:3: every: can be called in on_load only",
        ),
        (
            "a.rhai",
            "fn handle(req, ctx) {\n  every(\"1s\", || 1);\n}",
            "a.rhai:2:3: every: can be called in on_load only",
        ),
    ] {
        let rates = rates();
        let gateway = started(script, text, &rates);
        assert_eq!(gateway.get("/").status, 500);
        gateway.log_contains(said);
    }
}

#[test]
fn what_keeps_failing_is_put_off_and_shown() {
    for (script, text) in [
        (
            "a.lua",
            "return { on_load = function() every('100ms', function() kv.incr('runs') if not kv.get('good') then error('no') end end) end,
  handle = function(req) if req.path == '/mend' then kv.set('good', 1) end return reply.text(200, tostring(kv.get('runs') or 0)) end }",
        ),
        (
            "a.rhai",
            "fn on_load(config) { every(\"100ms\", || { kv::incr(\"runs\"); if kv::get(\"good\") == () { throw \"no\"; } }); }
fn handle(req, ctx) { if req.path == \"/mend\" { kv::set(\"good\", 1); } reply::text(200, `${kv::get(\"runs\")}`) }",
        ),
    ] {
        let rates = rates();
        let yaml = YAML.replace("SCRIPT", script);
        let held = gateway(&format!("{yaml}limits: {{quarantine: {{hold_for: 60s}}}}\n"));
        let held = held.url("rates", &rates).file(script, text).start();
        held.log_contains("keeps failing and is put off");
        assert_eq!(held.get("/").text(), "5", "{script}: it goes on");
        let series = format!(r#"gatewright_script_quarantined{{plugin="{script}",hook="every",route=""}}"#);
        assert_eq!(value(&held, &series), 1.0);
        let plugins = Client::connect(held.address_of("admin")).send(&Request::get("/api/v1/plugins")).ok().text();
        let plugins: serde_json::Value = serde_json::from_str(&plugins).expect("JSON");
        assert_eq!(plugins[0]["quarantined"][0]["hook"], "every", "{plugins}");
        assert!(plugins[0]["quarantined"][0]["for_ms"].as_u64().is_some_and(|left| left > 10_000), "{plugins}");

        let short = gateway(&format!("{yaml}limits: {{quarantine: {{hold_for: 300ms}}}}\n"));
        let short = short.url("rates", &rates).file(script, text).start();
        short.log_contains("keeps failing and is put off");
        short.get("/mend").ok();
        short.log_contains("succeeds again");
        let runs = || short.get("/").text().parse::<u64>().expect("a number");
        let then = runs();
        eventually("it runs as before", || (runs() >= then + 3).then_some(()));
        assert_eq!(value(&short, &series), 0.0);
    }
}
