//! `aggregate`: one answer out of several services, whole, partial or none.

use crate::support::{
    Gateway, Request, Upstream, gateway, reply, repository,
    stock::{behind, refused},
};
use serde_json::json;
use std::{fs, io::Write};

fn example(service: &Upstream) -> Gateway {
    let yaml = fs::read_to_string(repository("examples/aggregate/gateway.yaml")).expect("the example");
    gateway(&yaml).url("BACKEND", service).start()
}

#[test]
fn the_example_answers_whole_and_in_part() {
    let service = Upstream::start(|request| match request.target.as_str() {
        "/users/7" => reply(200, r#"{"id":7,"name":"Ada","city":"New York","secret":1}"#).json(),
        "/users/8" => reply(200, r#"{"id":8,"name":"Bob"}"#).json(),
        "/users/9" => reply(500, "{}").json(),
        "/orders/of/7?limit=2" => reply(200, r#"{"data":{"items":[{"n":1,"internal":2}]}}"#).json(),
        "/offers/in/New%20York" => reply(200, r#"{"offers":[]}"#).json(),
        _ => reply(404, "{}").json(),
    });
    let gateway = example(&service);
    let whole = gateway.get("/mobile/users/7?limit=2").ok();
    assert_eq!(
        whole.json(),
        json!({ "id": 7, "displayName": "Ada", "city": "New York", "orders": [{ "n": 1 }], "offers": [] })
    );
    assert_eq!((whole.header("x-gateway-completed"), whole.header("cache-control")), (Some("true"), None));
    // Without a city there is nothing to ask for offers.
    let part = gateway.get("/mobile/users/8").ok();
    assert_eq!(part.json(), json!({ "id": 8, "displayName": "Bob" }));
    assert_eq!((part.header("x-gateway-completed"), part.header("cache-control")), (Some("false"), Some("no-store")));
    assert_eq!(gateway.get("/mobile/users/9").problem(502), "the part `user` of this answer is not available");
    let asked: Vec<String> = service.requests().into_iter().map(|request| request.target).collect();
    assert!(!asked.iter().any(|target| target.starts_with("/offers/in/{")), "{asked:?}");
}

#[test]
fn a_value_can_not_leave_its_segment() {
    let config = "{parts: [{name: a, url: 'svc://s/of/{query.q}'}]}";
    for behind in behind("aggregate", config, || Upstream::json("{}")) {
        behind.gateway.send(Request::get("/?q=..%2F..%2Fadmin%3Fx%23y")).ok();
        assert_eq!(behind.upstream.request().target, "/of/..%2F..%2Fadmin%3Fx%23y", "{}", behind.language);
        for query in ["", "?q=", "?q=.."] {
            behind.gateway.get(&format!("/{query}")).problem(400);
        }
        assert_eq!(behind.upstream.requests().len(), 1, "{}", behind.language);
    }
}

#[test]
fn descriptions_that_can_not_work_are_refused_when_they_are_loaded() {
    let shown = refused(
        "{name: aggregate, config: {parts: [{name: a, url: 'svc://s/{parts.b.x}'}, {name: b, url: 'svc://s/{parts.a.x}'}]}}",
    );
    assert!(shown.contains("part `a`: it needs a value that needs it"), "{shown}");
    assert!(refused("{name: aggregate, config: {parts: []}}").contains("at least 1"));
}

#[test]
fn a_call_carries_the_id_and_the_trace_and_its_answer_is_read_as_it_is_meant() {
    let service = Upstream::start(|request| {
        let plain = r#"{"a":1}"#;
        let answer = match request.target.as_str() {
            "/zipped" => {
                let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                let zipped = zip.write_all(plain.as_bytes()).and_then(|()| zip.finish()).expect("gzip");
                reply(200, zipped).header("content-encoding", "gzip")
            }
            _ => reply(200, plain),
        };
        answer.json().header("x-many", "1").header("x-many", "2")
    });
    let script = "return { handle = function(req)
        local own = req.query.id and { ['x-request-id'] = req.query.id }
        local got = http.get('svc://s/{what}', { params = { what = req.query.what }, headers = own })
        local headers, names = got.headers, got.headers:names()
        return reply.json(200, { got:json().a, headers['x-many'], headers['content-length'], headers['content-encoding'] or 'none', #names > 2 })
    end }";
    let yaml = "services: [{name: s, url: '${s}'}]\nroutes: [{name: r, paths: ['/'], plugins: [{script: calls.lua}]}]";
    let gateway = gateway(yaml).url("s", &service).file("calls.lua", script).start();
    assert_eq!(gateway.get("/?what=plain").ok().json(), json!([1, "1", "7", "none", true]));
    let zipped = gateway.get("/?what=zipped&id=mine").ok().json();
    assert_eq!((&zipped[0], &zipped[1], &zipped[3]), (&json!(1), &json!("1"), &json!("none")), "{zipped}");
    let told = |nth: usize| {
        let requests = service.requests();
        let of = |name: &str| requests[nth].header(name).map(str::to_owned).unwrap_or_default();
        (of("x-request-id"), of("traceparent").len())
    };
    assert_eq!((told(0).0.len(), told(0).1, told(1)), (36, 55, ("mine".to_owned(), 55)));
}
