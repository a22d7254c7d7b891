//! `request-validation`: requests that are not as their schema says never reach the service, and the client is told all of it.

use crate::support::{
    Request, Upstream,
    stock::{behind, refused},
};
use serde_json::{Value, json};

const CONFIG: &str = "{body: {type: object, required: [name], properties: {name: {type: string, minLength: 2}, tags: {type: array, items: {type: string}}}}, query: {properties: {page: {type: integer, minimum: 1}}, additionalProperties: false}, headers: {required: [x-tenant]}, max_body: 1KiB}";

fn post(target: &str, body: &str) -> Request {
    Request::post(target, "").json(body).header("x-tenant", "a")
}

#[test]
fn what_fits_passes_unchanged() {
    for behind in behind("request-validation", CONFIG, || Upstream::echo("it")) {
        let body = r#"{ "name": "Ada", "n": 9007199254740993 }"#;
        behind.gateway.send(post("/x?page=2", body)).ok();
        assert_eq!(behind.upstream.request().text(), body, "{}", behind.language);
        behind.gateway.send(Request::get("/x").header("x-tenant", "a")).ok();
    }
}

#[test]
fn every_violation_is_listed_with_its_place() {
    for behind in behind("request-validation", CONFIG, || Upstream::echo("it")) {
        let request = Request::post("/x?page=0&a=1", "").json(r#"{"name":"A","tags":["x",7]}"#);
        let answer = behind.gateway.send(request);
        assert_eq!(answer.problem(422), "the request is not as it should be", "{}", behind.language);
        let body = answer.json();
        let errors = body["errors"].as_array().expect("a list");
        let places: Vec<Value> =
            errors.iter().map(|error| json!([error["in"], error["pointer"], error["keyword"]])).collect();
        let expected = [
            json!(["query", "/page", "minimum"]),
            json!(["query", "", "additionalProperties"]),
            json!(["header", "", "required"]),
            json!(["body", "/name", "minLength"]),
            json!(["body", "/tags/1", "type"]),
        ];
        for place in &expected {
            assert!(places.contains(place), "{}: {place} in {places:?}", behind.language);
        }
        assert_eq!(places.len(), expected.len(), "{}", behind.language);
        assert_eq!(behind.upstream.requests().len(), 0, "{}", behind.language);
    }
}

#[test]
fn bodies_that_are_no_json_of_the_right_kind_are_refused() {
    for behind in behind("request-validation", CONFIG, || Upstream::echo("it")) {
        for (request, status) in [
            (post("/", "{broken"), 400),
            (post("/", r#"{"name":"Ada","name":7}"#), 400),
            (post("/", ""), 400),
            (Request::post("/", r#"{"name":"Ada"}"#).header("x-tenant", "a").header("content-type", "text/plain"), 415),
            (Request::post("/", r#"{"name":"Ada"}"#).header("x-tenant", "a"), 415),
            (post("/", &format!("\"{}\"", "x".repeat(1024))), 413),
            (post("/?page=1&page=2", r#"{"name":"Ada"}"#), 422),
            (post("/?page=+1", r#"{"name":"Ada"}"#), 422),
        ] {
            let shown = format!("{} {request:?}", behind.language);
            assert_eq!(behind.gateway.send(request).status, status, "{shown}");
        }
        assert_eq!(behind.upstream.requests().len(), 0, "{}", behind.language);
    }
}

#[test]
fn a_schema_that_can_not_work_is_refused_when_it_is_loaded() {
    for schema in
        ["{type: strin}", "{$ref: 'http://127.0.0.1:1/x'}", "{$ref: 'file:///etc/hostname'}", "{pattern: '(?=a)'}"]
    {
        let shown = refused(&format!("{{name: request-validation, config: {{body: {schema}}}}}"));
        assert!(shown.contains("`body`: schema.compile: the schema"), "{schema}: {shown}");
    }
}
