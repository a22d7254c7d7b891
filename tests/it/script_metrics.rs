//! What scripts count themselves, in both languages: on the page, over reloads, and within bounds.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, reply};
use std::time::Duration;

const YAML: &str = "
admin: 127.0.0.1:0
workers: 2
routes:
  - {name: lua, paths: [/lua], plugins: [{script: shop.lua}]}
  - {name: rhai, paths: [/rhai], plugins: [{script: shop.rhai}]}
";
const LUA: &str = r#"
local M = {}
function M.on_load()
  metrics.describe("items", "histogram", { help = "Items of an order.", buckets = { 1, 5 } })
  metrics.counter("loads")
end
function M.handle(req)
  metrics.counter("orders", { country = req.query.country })
  metrics.gauge("last_price", 9.5)
  metrics.histogram("items", 3)
  return reply.empty(204)
end
return M
"#;
const RHAI: &str = r#"
fn on_load(config) {
    metrics::describe("items", "histogram", #{ help: "Items of an order.", buckets: [1, 5] });
    metrics::counter("loads");
}
fn handle(req, ctx) {
    metrics::counter("orders", #{ country: req.query.country });
    metrics::gauge("last_price", 9.5);
    metrics::histogram("items", 3);
    reply::empty(204)
}
"#;

fn started() -> Gateway {
    gateway(YAML).file("shop.lua", LUA).file("shop.rhai", RHAI).start()
}

fn page(gateway: &Gateway, accept: &str) -> String {
    let mut client = Client::connect(gateway.address_of("admin"));
    client.send(&Request::get("/metrics").header("accept", accept)).ok().text()
}

fn has(gateway: &Gateway, line: &str) {
    let text = page(gateway, "");
    assert!(text.lines().any(|each| each == line), "no `{line}` in\n{text}");
}

#[test]
fn both_languages_count_of_all_workers_together() {
    let gateway = started();
    for (lang, script) in [("lua", "shop.lua"), ("rhai", "shop.rhai")] {
        for country in ["de", "de", "fr"] {
            assert_eq!(gateway.get(&format!("/{lang}?country={country}")).status, 204);
        }
        has(&gateway, &format!(r#"gatewright_plugin_orders_total{{plugin="{script}",country="de"}} 2"#));
        has(&gateway, &format!(r#"gatewright_plugin_orders_total{{plugin="{script}",country="fr"}} 1"#));
        has(&gateway, &format!(r#"gatewright_plugin_loads_total{{plugin="{script}"}} 1"#));
        has(&gateway, &format!(r#"gatewright_plugin_last_price{{plugin="{script}"}} 9.5"#));
        has(&gateway, &format!(r#"gatewright_plugin_items_bucket{{plugin="{script}",le="1.0"}} 0"#));
        has(&gateway, &format!(r#"gatewright_plugin_items_bucket{{plugin="{script}",le="5.0"}} 3"#));
        has(&gateway, &format!(r#"gatewright_plugin_items_sum{{plugin="{script}"}} 9"#));
    }
    has(&gateway, "# HELP gatewright_plugin_items Items of an order.");
    let cpu = r#"gatewright_script_cpu_seconds_total{plugin="shop.lua",hook="handle",route="lua"} 0.0"#;
    assert!(page(&gateway, "").contains(cpu), "no `{cpu}` in\n{}", page(&gateway, ""));
    has(&gateway, "# TYPE gatewright_plugin_orders_total counter");
    assert!(page(&gateway, "application/openmetrics-text").contains("# TYPE gatewright_plugin_orders counter\n"));
}

#[test]
fn counters_go_on_over_reloads_and_leave_with_their_plugin() {
    let gateway = started();
    assert_eq!(gateway.get("/lua?country=de").status, 204);
    assert_eq!(gateway.get("/rhai?country=de").status, 204);
    gateway.files.replace("shop.lua", &format!("{LUA}-- saved"));
    gateway.log_contains("reloaded");
    assert_eq!(gateway.get("/lua?country=de").status, 204);
    has(&gateway, r#"gatewright_plugin_orders_total{plugin="shop.lua",country="de"} 2"#);
    let without = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nworkers: 2\nroutes:\n  - {name: rhai, paths: [/rhai], plugins: [{script: shop.rhai}]}\n";
    gateway.files.replace("gateway.yaml", without);
    gateway.log.counts("\"reloaded\"", 2);
    has(&gateway, r#"gatewright_plugin_orders_total{plugin="shop.rhai",country="de"} 1"#);
    assert!(!page(&gateway, "").contains("shop.lua"), "{}", page(&gateway, ""));
}

#[test]
fn a_reload_that_fails_touches_no_count_and_no_hook() {
    let yaml = "admin: 127.0.0.1:0\nworkers: 2\nroutes:\n  - {name: SHOP, paths: [/], plugins: [{script: SCRIPT}]}\n";
    let lua = LUA.replace("histogram", "gauge").replace(", buckets = { 1, 5 }", "");
    let rhai = RHAI.replace("histogram", "gauge").replace(", buckets: [1, 5]", "");
    let failing = [
        (
            "shop.lua",
            LUA,
            lua.replace(r#"metrics.counter("loads")"#, r#"metrics.gauge("orders", 0) error("no stock")"#),
        ),
        (
            "shop.rhai",
            RHAI,
            rhai.replace(r#"metrics::counter("loads");"#, r#"metrics::gauge("orders", 0); throw "no stock";"#),
        ),
    ];
    for (script, good, bad) in failing {
        let gateway = gateway(&yaml.replace("SCRIPT", script)).file(script, good).start();
        assert_eq!(gateway.get("/?country=de").status, 204);
        let own = || {
            page(&gateway, "").lines().filter(|line| line.contains("gatewright_plugin_")).map(str::to_owned).collect()
        };
        let before: Vec<String> = own();
        gateway.files.replace(script, &bad);
        gateway.log_contains("not reloaded");
        assert_eq!(own(), before);
        assert_eq!(gateway.get("/?country=fr").status, 204, "a label that is new to it");
        has(&gateway, &format!(r#"gatewright_plugin_orders_total{{plugin="{script}",country="de"}} 1"#));
        has(&gateway, &format!(r#"gatewright_plugin_orders_total{{plugin="{script}",country="fr"}} 1"#));
        has(&gateway, &format!(r#"gatewright_plugin_items_sum{{plugin="{script}"}} 6"#));
        has(&gateway, &format!(r#"gatewright_plugin_loads_total{{plugin="{script}"}} 1"#));
    }
}

#[test]
fn metrics_of_a_service_without_routes_stay() {
    let yaml =
        "admin: 127.0.0.1:0\nservices:\n  - {name: s, url: 'http://127.0.0.1:9', plugins: [{script: shop.lua}]}\n";
    let gateway = gateway(yaml).file("shop.lua", LUA).start();
    has(&gateway, r#"gatewright_plugin_loads_total{plugin="shop.lua"} 1"#);
    gateway.files.replace("shop.lua", &format!("{LUA}-- saved"));
    gateway.log_contains("reloaded");
    has(&gateway, r#"gatewright_plugin_loads_total{plugin="shop.lua"} 2"#);
}

#[test]
fn the_time_of_a_hook_counts_what_it_waited_for() {
    let upstream = Upstream::start(|_| reply(200, "late").after(Duration::from_millis(400)));
    let yaml = "
admin: 127.0.0.1:0
services:
  - name: s
    url: ${s}
    timeout: 200ms
    routes:
      - {name: lua, paths: [/lua], plugins: [{script: waits.lua}]}
      - {name: rhai, paths: [/rhai], plugins: [{script: waits.rhai}]}
  - {name: slow, url: '${s}'}
";
    let lua = "return { handle = function(req) http.get('svc://slow/') return reply.empty(204) end }";
    let rhai = "fn handle(req, ctx) { http::get(\"svc://slow/\"); reply::empty(204) }";
    let gateway = gateway(yaml).url("s", &upstream).file("waits.lua", lua).file("waits.rhai", rhai).start();
    for lang in ["lua", "rhai"] {
        let status = gateway.get(&format!("/{lang}")).status;
        let text = page(&gateway, "");
        let sum = text.lines().find(|line| {
            line.starts_with("gatewright_script_duration_seconds_total") && line.contains(&format!("waits.{lang}"))
        });
        let seconds: f64 = sum.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a sum");
        assert!((0.15..2.0).contains(&seconds), "{lang}: {status}, {sum:?}");
    }
}

#[test]
fn labels_of_clients_fill_no_memory() {
    let gateway = started();
    let mut client = gateway.connect();
    for number in 0..1100 {
        assert_eq!(client.send(&Request::get(&format!("/lua?country={number}"))).status, 204);
    }
    let lines = |text: String| text.lines().filter(|line| line.starts_with("gatewright_plugin_")).count();
    eventually("the bound", || (lines(page(&gateway, "")) < 1100).then_some(()));
    assert!(page(&gateway, "").contains(r#"gatewright_plugin_orders_total{plugin="shop.lua",country="other"}"#));
    gateway.log.counts("too many label values", 1);
}

#[test]
fn a_wrong_name_is_an_error_at_its_line() {
    let script = "return { handle = function()\n  metrics.counter('a-b')\nend }";
    let gateway = gateway(YAML).file("shop.lua", script).file("shop.rhai", RHAI).start();
    assert_eq!(gateway.get("/lua").status, 500);
    gateway.log_contains("shop.lua:2:20: metrics.counter: `a-b` is not a name");
}
