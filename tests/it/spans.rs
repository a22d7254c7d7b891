//! Spans: what a collector gets of an exchange, its hooks, tries and calls, and what services get of their ids.

use crate::support::{Gateway, Request, Upstream, collector::Collector, eventually, gateway, redis::redis, reply};
use serde_json::Value;
use std::time::{Duration, Instant};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const YAML: &str = "
traces:
  endpoint: ${collector}
  sample: SHARE
  service_name: edge
  headers: {x-token: '${token}'}
redis: ${redis:-}
admin: 127.0.0.1:0
services:
  - name: users
    url: '${users}'
    routes: [{name: users, paths: [/users], plugins: [{script: a.lua}]}]
  - name: pair
    targets: [{url: '${dead}'}, {url: '${users}', backup: true}]
    routes: [{name: pair, paths: [/pair]}]
  - {name: failing, url: '${failing}', routes: [{name: failing, paths: [/failing]}]}
routes:
  - {name: script, paths: ['/script/{id}'], plugins: [{script: b.lua}]}
";
const HEADERS: &str = "local M = {}
function M.on_request(req) req.headers['x-seen'] = 'yes' end
function M.on_log() end
return M
";
const CALLS: &str = "return { handle = function(req, ctx)
  local own = req.params.id == 'own' and { headers = { traceparent = '00-11111111111111111111111111111111-2222222222222222-00' } } or nil
  http.get('svc://users/called?key=secret', own)
  if req.params.id == 'redis' then redis.set('secret-key', 'secret-value') end
  return reply.text(200, ctx.trace_id)
end }
";

fn start(collector: &str, share: &str, users: &Upstream) -> Gateway {
    start_with(collector, share, users, "")
}

fn start_with(collector: &str, share: &str, users: &Upstream, redis: &str) -> Gateway {
    let failing = Upstream::start(|_| reply(503, "no"));
    gateway(&YAML.replace("SHARE", share))
        .env("collector", collector)
        .env("token", "a-secret-token")
        .env("redis", redis)
        .url("users", users)
        .url("dead", &Upstream::dead())
        .url("failing", &failing)
        .file("a.lua", HEADERS)
        .file("b.lua", CALLS)
        .start()
}

fn named<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    let names: Vec<&Value> = spans.iter().map(|span| &span["name"]).collect();
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no span `{name}` in {names:?}"))
}

/// The span that a service was told last.
fn told(users: &Upstream) -> (String, String, String) {
    let requests = users.requests();
    let last = requests.last().expect("a request");
    let parent = last.header("traceparent").expect("a traceparent").to_owned();
    (parent[3..35].to_owned(), parent[36..52].to_owned(), parent[53..].to_owned())
}

#[test]
fn an_exchange_its_hooks_and_its_try_are_spans() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let gateway = start(&collector.url(), "1", &users);
    let request = Request::get("/users/7?token=secret").header("traceparent", PARENT).header("x-secret", "secret");
    assert_eq!(gateway.send(request).status, 200);
    let spans = collector.spans(4);
    let server = named(&spans, "GET /users");
    let expected = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "SPAN_KIND_SERVER", "STATUS_CODE_UNSET");
    let text = |span: &Value, key: &str| span[key].as_str().expect("text").to_owned();
    let found = (text(server, "trace"), text(server, "parent"), text(server, "kind"), text(server, "status"));
    assert_eq!((&*found.0, &*found.1, &*found.2, &*found.3), expected);
    let attributes = &server["attributes"];
    for (name, value) in [
        ("http.request.method", Value::from("GET")),
        ("url.path", "/users/7".into()),
        ("url.scheme", "http".into()),
        ("http.route", "/users".into()),
        ("http.response.status_code", 200.into()),
        ("server.address", "127.0.0.1".into()),
        ("client.address", "127.0.0.1".into()),
        ("network.protocol.version", "1.1".into()),
        ("gatewright.route", "users".into()),
        ("gatewright.service", "users".into()),
    ] {
        assert_eq!(attributes[name], value, "{name} in {attributes}");
    }
    let hook = named(&spans, "on_request a.lua");
    assert_eq!((&hook["parent"], &hook["kind"]), (&server["id"], &Value::from("SPAN_KIND_INTERNAL")));
    assert_eq!(hook["attributes"]["gatewright.plugin"], "a.lua");
    assert_eq!(named(&spans, "on_log a.lua")["parent"], server["id"]);
    let attempt = named(&spans, "GET");
    assert_eq!((&attempt["parent"], &attempt["kind"]), (&server["id"], &Value::from("SPAN_KIND_CLIENT")));
    assert_eq!(attempt["attributes"]["server.address"], "127.0.0.1");
    assert_eq!(attempt["attributes"]["server.port"], users.address().port());
    assert_eq!(attempt["attributes"]["http.response.status_code"], 200);
    let expected = (text(server, "trace"), text(attempt, "id"), "01".to_owned());
    assert_eq!(told(&users), expected);
    let nanoseconds = |span: &Value, key: &str| span[key].as_u64().expect("nanoseconds");
    assert!(
        spans
            .iter()
            .all(|span| 0 < nanoseconds(span, "begun") && nanoseconds(span, "begun") <= nanoseconds(span, "ended")),
        "{spans:?}"
    );
    let posts = collector.posts();
    assert_eq!((&posts[0]["path"], &posts[0]["type"]), (&"/v1/traces".into(), &"application/x-protobuf".into()));
    assert_eq!((&posts[0]["resource"]["service.name"], &posts[0]["token"]), (&"edge".into(), &"a-secret-token".into()));
    let text = spans.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("secret") && !gateway.log.lines().join("").contains("secret"), "{text}");
}

#[test]
fn calls_by_scripts_are_below_their_hook() {
    let (collector, users, store) = (Collector::start(), Upstream::echo("users"), redis());
    let gateway = start_with(&collector.url(), "1", &users, &store.url());
    let trace = gateway.get("/script/redis").ok().text();
    let spans = collector.spans(5);
    let server = named(&spans, "GET /script/{id}");
    assert_eq!((&server["trace"], &server["parent"]), (&Value::from(trace), &Value::from("")));
    let hook = named(&spans, "handle b.lua");
    assert_eq!(hook["parent"], server["id"]);
    let call = named(&spans, "http.get");
    assert_eq!((&call["parent"], &call["kind"]), (&hook["id"], &"SPAN_KIND_INTERNAL".into()));
    assert_eq!(
        (&call["attributes"]["gatewright.service"], &call["attributes"]["url.path"]),
        (&"users".into(), &"/called".into())
    );
    let attempt = named(&spans, "GET");
    assert_eq!(attempt["parent"], call["id"]);
    assert_eq!(Value::from(told(&users).1), attempt["id"]);
    let set = named(&spans, "redis SET");
    assert_eq!((&set["parent"], &set["kind"]), (&hook["id"], &"SPAN_KIND_CLIENT".into()));
    assert_eq!(set["attributes"]["db.system.name"], "redis");
    let text = spans.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_call_to_another_host_is_a_span_that_the_host_is_told() {
    let (collector, other) = (Collector::start(), Upstream::echo("other"));
    let script = format!(
        "return {{ handle = function()\n  http.get('{}/called?key=secret')\n  return reply.text(200, 'hi')\nend }}",
        other.url()
    );
    let manifest = format!("kind = \"other\"\n[permissions]\nhosts = [\"{}\"]\n", other.address());
    let gateway = gateway("traces: '${collector}'\nroutes: [{name: r, paths: [/], plugins: [{name: it}]}]\n")
        .env("collector", collector.url())
        .file("plugins/it/plugin.toml", &manifest)
        .file("plugins/it/main.lua", &script)
        .start();
    gateway.get("/").ok();
    let spans = collector.spans(3);
    let (hook, call) = (named(&spans, "handle it"), named(&spans, "http.get"));
    assert_eq!((&call["parent"], &call["kind"]), (&hook["id"], &"SPAN_KIND_CLIENT".into()));
    assert_eq!(call["attributes"]["server.port"], other.address().port());
    let (trace, span, flags) = told(&other);
    assert_eq!((Value::from(trace), Value::from(span), &*flags), (call["trace"].clone(), call["id"].clone(), "01"));
    assert!(!spans.iter().any(|span| span.to_string().contains("secret")), "{spans:?}");
}

#[test]
fn a_script_may_name_another_parent() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let gateway = start(&collector.url(), "1", &users);
    gateway.get("/script/own").ok();
    let other = ("11111111111111111111111111111111", "2222222222222222", "00");
    let (trace, span, flags) = told(&users);
    assert_eq!((&*trace, &*span, &*flags), other);
    assert_eq!(collector.spans(3).len(), 3);
}

const STREAM: &str = "
traces: ${collector}
services:
  - {name: events, url: '${events}', routes: [{name: events, paths: [/events], plugins: [{script: c.rhai}]}]}
";
const CHUNKS: &str = "fn on_request(req, ctx) { ctx.vars[\"trace\"] = ctx.trace_id; }
fn on_response(res, ctx) { res.headers[\"x-trace\"] = ctx.trace_id; }
fn on_response_chunk(chunk, ctx) { chunk }
";

#[test]
fn all_pieces_of_a_body_are_one_span_and_rhai_knows_the_trace() {
    let (collector, events) = (Collector::start(), Upstream::start(|_| reply(200, vec![b'a'; 300_000]).chunked()));
    let gateway =
        gateway(STREAM).env("collector", collector.url()).url("events", &events).file("c.rhai", CHUNKS).start();
    let answer = gateway.get("/events").ok();
    assert_eq!(answer.body.len(), 300_000);
    let spans = collector.spans(5);
    let server = named(&spans, "GET /events");
    assert_eq!(answer.header("x-trace"), server["trace"].as_str());
    let pieces: Vec<&Value> = spans.iter().filter(|span| span["name"] == "on_response_chunk c.rhai").collect();
    assert_eq!(pieces.len(), 1, "{spans:?}");
    assert_eq!(pieces[0]["parent"], server["id"]);
    assert!(pieces[0]["attributes"]["gatewright.runs"].as_u64() >= Some(2), "{pieces:?}");
}

#[test]
fn each_try_is_a_span_and_failures_are_errors() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let gateway = start(&collector.url(), "1", &users);
    assert_eq!(gateway.get("/pair").status, 200);
    assert_eq!(gateway.get("/failing").status, 503);
    let spans = collector.spans(5);
    let of = |route: &str| {
        let server = named(&spans, route);
        let tries: Vec<&Value> = spans.iter().filter(|span| span["parent"] == server["id"]).collect();
        (server, tries)
    };
    let (server, tries) = of("GET /pair");
    assert_eq!((&server["status"], tries.len()), (&"STATUS_CODE_UNSET".into(), 2), "{spans:?}");
    assert_eq!(
        (&tries[0]["status"], &tries[0]["attributes"]["error.type"]),
        (&"STATUS_CODE_ERROR".into(), &"connect".into())
    );
    assert_eq!(tries[1]["attributes"]["http.request.resend_count"], 1);
    assert_eq!(Value::from(told(&users).1), tries[1]["id"]);
    let (server, tries) = of("GET /failing");
    assert_eq!((&server["status"], &tries[0]["status"]), (&"STATUS_CODE_ERROR".into(), &"STATUS_CODE_ERROR".into()));
    assert_eq!(
        (&server["attributes"]["error.type"], &tries[0]["attributes"]["error.type"]),
        (&"503".into(), &"503".into())
    );
}

#[test]
fn the_callers_word_counts_and_otherwise_the_share() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let none = start(&collector.url(), "0", &users);
    assert_eq!(none.get("/users").status, 200);
    assert_eq!(told(&users).2, "00");
    let all = start(&collector.url(), "1", &users);
    assert_eq!(all.send(Request::get("/users").header("traceparent", UNSAMPLED)).status, 200);
    assert_eq!(told(&users).2, "00");
    // Only what the caller records is recorded by the first, and comes after what it would have exported before.
    assert_eq!(none.send(Request::get("/users/parent").header("traceparent", PARENT)).status, 200);
    assert_eq!(told(&users).2, "01");
    assert_eq!(all.get("/users/share").status, 200);
    assert_eq!(told(&users).2, "01");
    let spans = collector.spans(8);
    let mut paths: Vec<&str> = spans.iter().filter_map(|span| span["attributes"]["url.path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/users/parent", "/users/share"]);
}

#[test]
fn a_share_of_the_traces_that_begin_here_is_recorded() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let gateway = start(&collector.url(), "0.25", &users);
    let mut client = gateway.connect();
    (0..400).for_each(|_| drop(client.send(&Request::get("/users")).ok()));
    let flag = |request: &crate::support::wire::Received| request.header("traceparent").map(|it| it.ends_with("-01"));
    let recorded = users.requests().iter().filter(|request| flag(request) == Some(true)).count();
    // Seven standard deviations on each side.
    assert!((40..=160).contains(&recorded), "{recorded}");
    let paths = |spans: &[Value]| spans.iter().filter(|span| span["name"] == "GET /users").count();
    assert_eq!(paths(&collector.spans(4 * recorded)), recorded);
}

#[test]
fn the_last_spans_are_exported_when_it_drains() {
    let (collector, users) = (Collector::start(), Upstream::echo("users"));
    let mut gateway = start(&collector.url(), "1", &users);
    assert_eq!(gateway.get("/users").status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    named(&collector.spans(3), "GET /users");
}

#[test]
fn a_collector_that_is_not_there_harms_nothing() {
    let users = Upstream::echo("users");
    let gateway = start(&Upstream::dead().url(), "1", &users);
    let asked = Instant::now();
    for _ in 0..50 {
        assert_eq!(gateway.get("/users").status, 200);
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    gateway.log_contains("spans are being lost: the collector does not take them");
    let lost = || {
        let page = crate::support::Client::connect(gateway.address_of("admin")).send(&Request::get("/metrics")).text();
        let line = page.lines().find_map(|line| line.strip_prefix("gatewright_trace_spans_total{result=\"lost\"} "));
        line.and_then(|count| count.parse::<u64>().ok()).filter(|count| *count > 0)
    };
    eventually("spans are counted as lost", lost);
    assert_eq!(gateway.get("/users").status, 200);
}
