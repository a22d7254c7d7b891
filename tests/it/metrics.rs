//! The page at `/metrics`: what is counted, under which labels, in both formats, across reloads.

use crate::support::{Client, Gateway, Request, Upstream, eventually, gateway, python::python, reply, repository};
use serde_json::Value;
use std::{collections::BTreeSet, io::Write, process::Stdio};

const YAML: &str = "
admin: 127.0.0.1:0
services:
  - {name: users, url: '${users}', routes: [{name: users, paths: [/users]}]}
  - {name: dead, url: '${dead}', routes: [{name: dead, paths: [/dead]}]}
routes:
  - {name: script, paths: [/script], plugins: [{script: a.lua}]}
";
const SCRIPT: &str = "local M = {}\nfunction M.handle(req)\n  if req.path == '/script/fail' then error('no') end\n  return reply.text(200, 'hi')\nend\nreturn M\n";

fn page(gateway: &Gateway, accept: &str) -> (String, String) {
    let mut client = Client::connect(gateway.address_of("admin"));
    let answer = client.send(&Request::get("/metrics").header("accept", accept)).ok();
    (answer.header("content-type").unwrap_or_default().to_owned(), answer.text())
}

/// Waits for this line: an exchange counts when its last byte is out, a moment after its client has it.
fn has(gateway: &Gateway, line: &str) {
    let seen = std::cell::RefCell::default();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(line, || {
            let text = page(gateway, "").1;
            let found = text.lines().any(|each| each == line);
            seen.replace(text);
            found.then_some(())
        });
    }));
    assert!(found.is_ok(), "no `{line}` in\n{}", seen.borrow());
}

fn started() -> (Gateway, Upstream) {
    let users = Upstream::start(|_| reply(201, "hello"));
    let given = gateway(YAML).url("users", &users).url("dead", &Upstream::dead()).file("a.lua", SCRIPT);
    (given.start(), users)
}

#[test]
fn exchanges_are_counted_by_route_service_and_status() {
    let (gateway, _users) = started();
    assert_eq!(gateway.send(Request::post("/users/1", "12345678")).status, 201);
    assert_eq!(gateway.get("/dead").status, 502);
    assert_eq!(gateway.get("/nowhere").status, 404);
    has(&gateway, r#"gatewright_requests_total{route="users",service="users",status="201"} 1"#);
    has(&gateway, r#"gatewright_requests_total{route="dead",service="dead",status="502"} 1"#);
    has(&gateway, r#"gatewright_requests_total{route="",service="",status="404"} 1"#);
    has(&gateway, r#"gatewright_request_bytes_total{route="users",service="users"} 8"#);
    has(&gateway, r#"gatewright_response_bytes_total{route="users",service="users"} 5"#);
    has(&gateway, r#"gatewright_request_duration_seconds_count{route="users",service="users"} 1"#);
    has(&gateway, r#"gatewright_request_duration_seconds_bucket{route="users",service="users",le="+Inf"} 1"#);
    has(&gateway, r#"gatewright_upstream_tries_total{service="users"} 1"#);
    has(&gateway, r#"gatewright_upstream_duration_seconds_count{service="users"} 1"#);
    has(&gateway, r#"gatewright_upstream_errors_total{service="dead",kind="connect"} 1"#);
    has(&gateway, r#"gatewright_requests_in_flight{route="users",service="users"} 0"#);
    has(&gateway, "gatewright_connections 0");
}

#[test]
fn targets_and_breakers_are_shown() {
    let (gateway, users) = started();
    assert_eq!(gateway.get("/users").status, 201);
    assert_eq!(gateway.get("/dead").status, 502);
    let target = format!("service=\"users\",target=\"{}\"", users.address());
    has(&gateway, &format!("gatewright_target_tries_total{{{target}}} 1"));
    has(&gateway, &format!("gatewright_target_duration_seconds_count{{{target}}} 1"));
    has(&gateway, &format!("gatewright_target_failures_total{{{target}}} 0"));
    has(&gateway, &format!("gatewright_target_requests_in_flight{{{target}}} 0"));
    has(&gateway, &format!("gatewright_target_up{{{target}}} 1"));
    has(&gateway, &format!("gatewright_target_ejected{{{target}}} 0"));
    has(&gateway, &format!("gatewright_target_ejections_total{{{target}}} 0"));
    has(&gateway, r#"gatewright_breaker_state{service="users",state="closed"} 1"#);
    has(&gateway, r#"gatewright_breaker_state{service="users",state="open"} 0"#);
    has(&gateway, r#"gatewright_failures_total{route="dead",service="dead",kind="connect"} 1"#);
    let mut client = gateway.connect();
    client.send(&Request::get("/users"));
    has(&gateway, "gatewright_connections 1");
    has(&gateway, "gatewright_connections_accepted_total 3");
}

const HARD: &str = "
admin: 127.0.0.1:0
services:
  - name: pair
    targets: [{url: '${dead}'}, {url: '${users}', backup: true}]
    health: {path: /, interval: 1h, passive: {failures: 1, eject_for: 60s}}
    routes: [{name: pair, paths: [/pair]}]
";

#[test]
fn retries_ejections_and_checks_are_counted() {
    let (users, dead) = (Upstream::start(|_| reply(200, "hello")), Upstream::dead());
    let gateway = gateway(HARD).url("users", &users).url("dead", &dead).start();
    let (dead, users) = (dead.url().replace("http://", ""), users.address());
    has(&gateway, &format!("gatewright_health_checks_total{{service=\"pair\",target=\"{users}\",result=\"good\"}} 1"));
    has(&gateway, &format!("gatewright_health_checks_total{{service=\"pair\",target=\"{dead}\",result=\"bad\"}} 1"));
    assert_eq!(gateway.get("/pair").status, 200);
    has(&gateway, r#"gatewright_upstream_retries_total{service="pair"} 1"#);
    has(&gateway, &format!("gatewright_target_ejections_total{{service=\"pair\",target=\"{dead}\"}} 1"));
    has(&gateway, &format!("gatewright_target_up{{service=\"pair\",target=\"{dead}\"}} 0"));
}

/// A body whose length is not announced.
#[test]
fn bytes_of_chunked_bodies_are_counted_as_they_pass() {
    let (gateway, _users) = started();
    let request =
        "POST /users HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
    assert_eq!(gateway.raw(request).status, 201);
    has(&gateway, r#"gatewright_request_bytes_total{route="users",service="users"} 8"#);
}

/// What the official Python client reads of a page.
fn parsed(format: &str, page: &str) -> Vec<Value> {
    let mut command = python("prometheus/parse.py");
    let mut process = command.arg(format).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
    process.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("its input");
    let output = process.wait_with_output().expect("its output");
    assert!(output.status.success(), "{format}: it does not read\n{page}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_official_python_client_reads_both_formats() {
    let (gateway, _users) = started();
    assert_eq!(gateway.send(Request::post("/users/1", "12345678")).status, 201);
    assert_eq!(gateway.get("/dead").status, 502);
    assert_eq!(gateway.get("/script/fail").status, 500);
    has(&gateway, r#"gatewright_script_errors_total{plugin="a.lua",hook="handle",route="script"} 1"#);
    for (format, accept) in [("prometheus", ""), ("openmetrics", "application/openmetrics-text; version=1.0.0")] {
        let families = parsed(format, &page(&gateway, accept).1);
        assert!(families.len() >= 30, "{format}: {} families", families.len());
        let family = |name: &str| {
            families.iter().find(|family| family["name"] == name).unwrap_or_else(|| panic!("{format}: no {name}"))
        };
        let requests = family("gatewright_requests");
        assert_eq!(
            (&requests["type"], &requests["samples"][0]["name"]),
            (&"counter".into(), &"gatewright_requests_total".into())
        );
        let labels = &requests["samples"][0]["labels"];
        assert_eq!(labels, &serde_json::json!({ "route": "users", "service": "users", "status": "201" }));
        assert_eq!(family("gatewright_request_duration_seconds")["type"], "histogram");
        assert_eq!(family("gatewright_target_up")["type"], "gauge");
        for family in &families {
            assert!(family["help"].as_str().is_some_and(|help| help.ends_with('.')), "{family}");
            assert_ne!(family["type"], "unknown", "{family}");
        }
    }
}

#[test]
fn scripts_are_counted_by_plugin_hook_and_route() {
    let (gateway, _users) = started();
    assert_eq!(gateway.get("/script").status, 200);
    assert_eq!(gateway.get("/script/fail").status, 500);
    has(&gateway, r#"gatewright_script_calls_total{plugin="a.lua",hook="handle",route="script"} 2"#);
    has(&gateway, r#"gatewright_script_errors_total{plugin="a.lua",hook="handle",route="script"} 1"#);
    has(&gateway, r#"gatewright_plugin_duration_seconds_count{plugin="a.lua"} 2"#);
    has(&gateway, r#"gatewright_script_limit_hits_total{plugin="a.lua",hook="handle",route="script"} 0"#);
}

#[test]
fn counts_survive_reloads_and_removed_routes_leave() {
    let (gateway, users) = started();
    assert_eq!(gateway.get("/users").status, 201);
    assert_eq!(gateway.get("/script").status, 200);
    has(&gateway, r#"gatewright_script_calls_total{plugin="a.lua",hook="handle",route="script"} 1"#);
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\naccess_log: off\nservices:\n  - {{name: users, url: '{}', routes: [{{name: users, paths: [/users]}}]}}\n",
        users.url()
    );
    gateway.files.replace("gateway.yaml", &yaml);
    let text = eventually("the route left", || Some(page(&gateway, "").1).filter(|text| !text.contains("script\"")));
    assert!(text.contains("gatewright_last_reload_success 1\n"), "{text}");
    assert!(text.contains(r#"gatewright_requests_total{route="users",service="users",status="201"} 1"#), "{text}");
    gateway.files.replace("gateway.yaml", "nonsense: 1\n");
    has(&gateway, r#"gatewright_reloads_total{result="failure"} 1"#);
    has(&gateway, "gatewright_last_reload_success 0");
}

#[test]
fn the_format_is_what_the_scraper_asks_for() {
    let (gateway, _users) = started();
    let (kind, text) = page(&gateway, "application/openmetrics-text; version=1.0.0,text/plain;q=0.5");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.contains("# TYPE gatewright_requests counter\n") && text.ends_with("\n# EOF\n"), "{text}");
    let (kind, text) = page(&gateway, "text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE gatewright_requests_total counter\n") && !text.contains("# EOF"), "{text}");
    for name in ["process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"] {
        assert!(text.contains(&format!("\n{name} ")), "{name} is not in\n{text}");
    }
}

/// Every name that the dashboard's queries use is a family of the page.
#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let (gateway, _users) = started();
    let page = page(&gateway, "").1;
    let families: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let file = std::fs::read_to_string(repository("examples/grafana/dashboard.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = 0;
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let expression = target["expr"].as_str().expect("a query");
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("gatewright_") || word.starts_with("process_")) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            assert!(families.contains(name) || family.is_some_and(|name| families.contains(name)), "{name}");
            asked += 1;
        }
    }
    assert!(asked >= 10, "only {asked} metrics on {} panels", panels.len());
}
