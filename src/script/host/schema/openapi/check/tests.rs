//! Requests against documents: what is found, and where.

use super::super::{Api, parse};
use super::*;
use serde_json::json;

fn api(document: Json) -> Api {
    parse(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}\n{document}"))
}

fn refused(document: Json) -> String {
    parse(document.to_string().as_bytes()).map(|_| ()).expect_err("a refusal")
}

/// A document of 3.0 with these paths.
fn with_paths(paths: Json) -> Json {
    json!({ "openapi": "3.0.3", "info": { "title": "t", "version": "1" }, "paths": paths })
}

fn request(method: &str, target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Vec::new(),
        cookies: Vec::new(),
    }
}

fn shown(found: Vec<Placed>) -> Vec<String> {
    found.into_iter().map(|(place, violation)| format!("{place} {} {}", violation.pointer, violation.keyword)).collect()
}

/// What a request is told: violations of its parameters, or why it is of no operation.
fn told(api: &Api, request: &Request) -> Vec<String> {
    match api.find(request, None) {
        Found::NoPath => vec!["no path".to_owned()],
        Found::NoMethod(allow) => vec![format!("allow {allow}")],
        Found::Operation(matched) => shown(matched.parameters(request, 20)),
    }
}

fn parameter(parameter: Json) -> Api {
    api(with_paths(json!({ "/x": { "get": { "parameters": [parameter] } } })))
}

#[test]
fn operations_are_found_by_path_and_method() {
    let api = api(json!({
        "openapi": "3.1.0",
        "servers": [{ "url": "https://{host}/v{n}", "variables": { "host": { "default": "a.test" }, "n": { "default": "1" } } }, { "url": "/" }],
        "paths": {
            "/users": { "get": {}, "post": {} },
            "/users/{id}": { "delete": {} },
            "/users/me": { "get": {} },
            "/old": { "servers": [{ "url": "https://a.test/v0/" }], "get": {} },
        },
    }));
    for (method, target, expected) in [
        ("GET", "/v1/users", &[][..]),
        ("HEAD", "/users", &[]),
        ("PUT", "/users", &["allow GET, HEAD, POST"]),
        ("DELETE", "/users/7", &[]),
        // The concrete path is asked first, and has no DELETE; the template has.
        ("DELETE", "/users/me", &[]),
        ("PATCH", "/users/me", &["allow DELETE, GET, HEAD"]),
        ("GET", "/users/", &["no path"]),
        ("GET", "/v2/users", &["no path"]),
        ("GET", "/v0/old", &[]),
        ("GET", "/v1/old", &["no path"]),
        ("GET", "/", &["no path"]),
    ] {
        assert_eq!(told(&api, &request(method, target)), expected, "{method} {target}");
    }
    let found = |base: &str| matches!(api.find(&request("GET", "/api/users"), Some(base)), Found::Operation(_));
    assert!(found("/api/") && !found("/v1"));
}

#[test]
fn parameters_are_read_by_their_style() {
    let list = json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 2 });
    for (written, good, bad) in [
        (json!({ "name": "n", "in": "query", "schema": { "type": "integer" } }), "n=7", "n=x"),
        (json!({ "name": "n", "in": "query", "schema": { "allOf": [{ "type": "integer" }] } }), "n=7", "n=+7"),
        (json!({ "name": "n", "in": "query", "required": true, "schema": { "type": "string" } }), "n=", "m=1"),
        (json!({ "name": "n", "in": "query", "schema": { "enum": [1, 2] } }), "n=2", "n=3"),
        (json!({ "name": "n", "in": "query", "schema": { "type": "boolean" } }), "n=true", "n=True"),
        (json!({ "name": "n", "in": "query", "schema": list }), "n=1&n=2", "n=1,2"),
        (json!({ "name": "n", "in": "query", "explode": false, "schema": list }), "n=1,2", "n=1,2,3"),
        (json!({ "name": "n", "in": "query", "style": "pipeDelimited", "schema": list }), "n=1|2", "n=1|x"),
        (json!({ "name": "n", "in": "query", "schema": { "type": "string" } }), "n=1", "n=1&n=2"),
        (
            json!({ "name": "n", "in": "query", "schema": { "oneOf": [{ "type": "integer" }, { "type": "string", "enum": ["all"] }] } }),
            "n=7",
            "n=none",
        ),
        (
            json!({ "name": "n", "in": "query", "style": "deepObject", "schema": { "type": "object", "properties": { "a": { "type": "integer" } }, "additionalProperties": false } }),
            "n[a]=1",
            "n[b]=1",
        ),
        (
            json!({ "name": "n", "in": "query", "content": { "application/json": { "schema": { "type": "object" } } } }),
            "n=%7B%7D",
            "n=[]",
        ),
        (json!({ "name": "n", "in": "query", "allowEmptyValue": true, "schema": { "type": "integer" } }), "n=", "n=x"),
    ] {
        let api = parameter(written.clone());
        assert_eq!(told(&api, &request("GET", &format!("/x?{good}"))), [""; 0], "{written} {good}");
        assert_eq!(told(&api, &request("GET", &format!("/x?{bad}"))).len(), 1, "{written} {bad}");
    }
}

#[test]
fn lists_and_objects_are_read_in_every_style() {
    let list = json!({ "type": "array", "items": { "type": "integer" } });
    let object = json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    let one = json!({ "type": "integer" });
    for (style, explode, schema, good, bad) in [
        ("simple", false, &one, "7", &["x", "7,8"][..]),
        ("simple", false, &list, "1,2", &["1,x", "1.2"]),
        ("simple", false, &object, "a,1,b,x", &["a,x", "a", "b,x", "a,1,c,2", "a=1"]),
        ("simple", true, &object, "a=1,b=x", &["a,1", "a=x", "b=x"]),
        ("label", false, &one, ".7", &["7", ".x"]),
        ("label", false, &list, ".1,2", &["1,2", ".1.2", ".1,x"]),
        ("label", true, &list, ".1.2", &[".1,2", ".1.x"]),
        ("label", false, &object, ".a,1,b,x", &["a,1", ".a", ".b,x"]),
        ("label", true, &object, ".a=1.b=x", &[".a,1", ".a=x"]),
        ("matrix", false, &one, ";n=7", &["7", ";m=7", ";n7", ";n=x"]),
        ("matrix", false, &list, ";n=1,2", &[";n=1;n=2", ";n=x"]),
        ("matrix", true, &list, ";n=1;n=2", &[";n=1;m=2", ";n=1,2", "n=1"]),
        ("matrix", false, &object, ";n=a,1,b,x", &[";a=1", ";n=a"]),
        ("matrix", true, &object, ";a=1;b=x", &[";n=a,1", ";a=x", ";b=x"]),
    ] {
        let written = json!({ "name": "n", "in": "path", "required": true, "style": style, "explode": explode, "schema": schema });
        let api = api(with_paths(json!({ "/x/{n}": { "get": { "parameters": [written] } } })));
        let told = |text: &str| told(&api, &request("GET", &format!("/x/{text}")));
        assert_eq!(told(good), [""; 0], "{style} {explode} {good}");
        bad.iter().for_each(|text| assert_ne!(told(text), [""; 0], "{style} {explode} {schema} {text}"));
    }
    for (style, explode, good, bad) in [
        ("form", true, "a=1&b=x&other=1", &["a=x", "b=x", "a=1&a=2"][..]),
        ("form", false, "n=a,1,b,x", &["n=a", "n=b,x", "n=a,1,c,2"]),
        ("spaceDelimited", false, "n=a%201%20b%20x", &["n=a%20x", "n=a,1"]),
        ("pipeDelimited", false, "n=a|1|b|x", &["n=a|x"]),
    ] {
        let api =
            parameter(json!({ "name": "n", "in": "query", "style": style, "explode": explode, "schema": object }));
        let told = |text: &str| told(&api, &request("GET", &format!("/x?{text}")));
        assert_eq!(told(good), [""; 0], "{style} {explode} {good}");
        assert_eq!(told("other=1"), [""; 0], "it may be left out");
        bad.iter().for_each(|text| assert_ne!(told(text), [""; 0], "{style} {explode} {text}"));
    }
    let needed = parameter(json!({ "name": "n", "in": "query", "required": true, "schema": object }));
    assert_eq!(told(&needed, &request("GET", "/x?other=1")), ["query /n required"]);
    let header = parameter(json!({ "name": "X-N", "in": "header", "schema": object }));
    let mut asked = request("GET", "/x");
    asked.headers = vec![("x-n".to_owned(), "a, 1".to_owned()), ("x-n".to_owned(), "b, x".to_owned())];
    assert_eq!(told(&header, &asked), [""; 0]);
    asked.headers.pop();
    asked.headers[0].1 = "a, x".to_owned();
    assert_eq!(told(&header, &asked), ["header /x-n/a type"]);
}

#[test]
fn every_parameter_has_its_place() {
    let api = api(with_paths(json!({ "/users/{id}": {
        "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } },
            { "name": "X-Tenant", "in": "header", "required": true, "schema": { "type": "string" } },
            { "name": "session", "in": "cookie", "schema": { "type": "string", "minLength": 8 } },
            { "name": "Authorization", "in": "header", "required": true },
        ],
        "get": { "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 10 } },
            { "name": "ids", "in": "query", "schema": { "type": "array", "items": { "type": "integer" } } },
        ] },
    } })));
    let mut wrong = request("GET", "/users/7?ids=1&ids=x");
    wrong.cookies.push(("session".to_owned(), "short".to_owned()));
    assert_eq!(
        told(&api, &wrong),
        ["path /id minimum", "query /ids/1 type", "header /x-tenant required", "cookie /session minLength"]
    );
    wrong.path = "/users/10".to_owned();
    wrong.query.clear();
    wrong.cookies.clear();
    wrong.headers.push(("x-tenant".to_owned(), "acme".to_owned()));
    assert_eq!(told(&api, &wrong), [""; 0]);
}

#[test]
fn bodies_are_held_against_what_their_type_says() {
    let api = api(json!({
        "openapi": "3.0.0",
        "components": {
            "schemas": {
                "User": {
                    "type": "object",
                    "required": ["id", "name"],
                    "properties": {
                        "id": { "type": "integer", "readOnly": true },
                        "name": { "type": "string", "nullable": true },
                        "age": { "type": "integer", "minimum": 0, "exclusiveMinimum": true },
                        "friends": { "type": "array", "items": { "$ref": "#/components/schemas/User" } },
                    },
                },
                "Form": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" }, "l": { "type": "array", "items": { "type": "integer" } } } },
            },
            "requestBodies": { "U": { "required": true, "content": {
                "application/json": { "schema": { "$ref": "#/components/schemas/User" } },
                "application/x-www-form-urlencoded": { "schema": { "$ref": "#/components/schemas/Form" } },
                "image/*": {},
            } } },
        },
        "paths": { "/x": { "post": { "requestBody": { "$ref": "#/components/requestBodies/U" } } } },
    }));
    let request = request("POST", "/x");
    let Found::Operation(matched) = api.find(&request, None) else { panic!("no operation") };
    let body = |kind: &str, text: &str| match matched.body(&[kind], text.as_bytes(), 20) {
        Ok(found) => shown(found),
        Err(refused) => vec![format!("{refused:?}")],
    };
    let json = |text: &str| body("application/json; charset=utf-8", text);
    assert_eq!(json(r#"{"name":null,"age":1,"friends":[{"name":"Bob"}]}"#), [""; 0]);
    assert_eq!(
        json(r#"{"name":7,"age":0,"friends":[{}]}"#),
        ["body /name type", "body /age exclusiveMinimum", "body /friends/0 required"]
    );
    assert_eq!(json("{"), ["body  json"]);
    assert_eq!(json(r#"{"name":"a","name":"b"}"#), ["body  duplicate"]);
    assert_eq!(json(""), ["Missing"]);
    assert_eq!(body("application/hal+json", "{}"), ["Type"]);
    assert_eq!(body("image/png", "\u{1}"), [""; 0]);
    assert_eq!(body("text/plain", "x"), ["Type"]);
    assert_eq!(body("application/x-www-form-urlencoded", "n=7&l=1&l=2&o=x"), [""; 0]);
    assert_eq!(body("application/x-www-form-urlencoded", "n=x&l=1&l=y"), ["body /n type", "body /l/1 type"]);
    assert_eq!(body("application/x-www-form-urlencoded", "n=1&n=2"), ["body /n type"]);
    assert!(matches!(matched.body(&["application/json", "image/png"], b"{}", 20), Err(Refused::Type)));
    assert!(matches!(matched.body(&[], b"{}", 20), Err(Refused::Type)));
}

#[test]
fn documents_that_can_not_work_are_named() {
    let get = |operation: Json| with_paths(json!({ "/x": { "get": operation } }));
    let schema = |schema: Json| get(json!({ "parameters": [{ "name": "n", "in": "query", "schema": schema }] }));
    let at = "the document at `/paths/~1x/get/parameters/0/schema";
    for (document, expected) in [
        (json!({ "swagger": "2.0" }), "the document at `/swagger`: Swagger 2.0 is not supported".to_owned()),
        (json!({ "openapi": "4.0.0", "paths": {} }), "OpenAPI `4.0.0` is not supported".to_owned()),
        (json!({ "paths": {} }), "this is no OpenAPI document".to_owned()),
        (json!({ "openapi": "3.1.0" }), "there are no `paths`".to_owned()),
        (with_paths(json!({ "x": {} })), "the path `x` does not begin with `/`".to_owned()),
        (schema(json!({ "type": "strin" })), format!("{at}/type`: ")),
        (schema(json!({ "$ref": "#/no" })), format!("{at}/$ref`: `#/no` leads nowhere")),
        (
            schema(json!({ "$ref": "http://127.0.0.1:1/x" })),
            format!("{at}/$ref`: `http://127.0.0.1:1/x` is not in the document"),
        ),
        (schema(json!({ "$ref": "other.yaml" })), format!("{at}/$ref`: `other.yaml` is not in the document")),
        (schema(json!({ "pattern": "(a" })), at.to_owned()),
        (schema(json!({ "pattern": "(?=a)" })), at.to_owned()),
        (schema(json!(7)), format!("{at}`: a schema is a mapping or a boolean")),
        (get(json!({ "parameters": [{ "in": "query" }] })), "a parameter needs a `name`".to_owned()),
        (get(json!({ "parameters": [{ "name": "a", "in": "body" }] })), "`in` none of".to_owned()),
        (
            get(json!({ "parameters": [{ "name": "a", "in": "path", "style": "odd" }] })),
            "the style `odd` is not supported".to_owned(),
        ),
        (get(json!({ "requestBody": { "$ref": "#/paths/~1x/get/requestBody" } })), "this refers to itself".to_owned()),
    ] {
        let said = refused(document.clone());
        assert!(said.contains(&expected), "{document}: {said}");
    }
}

#[test]
fn hostile_documents_and_requests_end() {
    let round = json!({ "$ref": "#/components/schemas/A" });
    let mut document =
        with_paths(json!({ "/x": { "post": { "requestBody": { "content": { "*/*": { "schema": round } } } } } }));
    document["components"]["schemas"] = json!({
        "A": { "allOf": [{ "$ref": "#/components/schemas/B" }] },
        "B": { "properties": { "a": { "$ref": "#/components/schemas/A" }, "s": { "type": "string", "pattern": "^(a+)+$" } } },
    });
    let api = api(document);
    let request = request("POST", "/x");
    let Found::Operation(matched) = api.find(&request, None) else { panic!("no operation") };
    let deep = format!("{}{}{}", r#"{"a":"#.repeat(100), r#"{"s":7}"#, "}".repeat(100));
    let found = matched.body(&["application/json"], deep.as_bytes(), 20).map(shown);
    assert_eq!(found.map(|found| found.len()), Ok(1));
    let bomb = format!(r#"{{"s":"{}b"}}"#, "a".repeat(50_000));
    let started = std::time::Instant::now();
    assert_eq!(matched.body(&["application/json"], bomb.as_bytes(), 20).map(|found| found.len()), Ok(1));
    assert!(started.elapsed().as_millis() < 2000);
    assert_eq!(
        matched.body(&["application/json"], "[".repeat(1 << 20).as_bytes(), 20).map(shown),
        Ok(vec!["body  json".to_owned()])
    );
    let many = api_with_many();
    let target = format!("/x?{}", "n=x&".repeat(1000));
    assert_eq!(told(&many, &self::request("GET", &target)).len(), 20);
}

fn api_with_many() -> Api {
    parameter(json!({ "name": "n", "in": "query", "schema": { "type": "array", "items": { "type": "integer" } } }))
}
