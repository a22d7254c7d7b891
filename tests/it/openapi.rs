//! `request-validation` with an OpenAPI document: files, references, reloading; what is refused when it is loaded.

use crate::support::{
    Gateway, Request, Upstream, command::gatewright, eventually, gateway, gateway::Given, repository, stock::behind,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::Path};

const EXAMPLE: [&str; 2] = ["openapi.yaml", "schemas/user.yaml"];

fn read(path: &str) -> String {
    fs::read_to_string(repository("examples/openapi").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The example's own files, before that service.
fn example(service: &Upstream) -> Gateway {
    let given: Given = gateway(&read("gateway.yaml")).url("BACKEND", service);
    EXAMPLE.iter().fold(given, |given, path| given.file(path, &read(path))).start()
}

fn violations(body: &Value) -> Vec<Value> {
    let errors = body["errors"].as_array().expect("a list");
    errors.iter().map(|error| json!([error["in"], error["pointer"], error["keyword"]])).collect()
}

#[test]
fn the_example_lets_only_what_its_document_says_through() {
    let service = Upstream::echo("it");
    let gateway = example(&service);
    gateway.get("/v1/users/7?fields=id,name").ok();
    let put = |target: &str, body: &str| Request::new("PUT", target).json(body);
    gateway.send(put("/v1/users/7", r#"{"name":"Ada","age":null}"#)).ok();
    assert_eq!(service.requests().len(), 2);
    let wrong = gateway.send(put("/v1/users/seven", r#"{"name":"A","age":-1,"x":1}"#));
    assert_eq!(wrong.problem(422), "the request is not as it should be");
    let mut found = violations(&wrong.json());
    found.sort_by_key(Value::to_string);
    assert_eq!(
        found,
        [
            json!(["body", "", "additionalProperties"]),
            json!(["body", "/age", "minimum"]),
            json!(["body", "/name", "minLength"]),
            json!(["path", "/id", "type"]),
        ]
    );
    assert_eq!(gateway.send(put("/v1/users/7", "")).problem(400), "a request body is required");
    assert_eq!(gateway.get("/users/7").problem(404), "the API has no such path");
    let refused = gateway.send(Request::new("DELETE", "/v1/users/7"));
    assert_eq!(refused.problem(405), "the API has no such method here");
    assert_eq!(refused.header("allow"), Some("GET, HEAD, PUT"));
    assert_eq!(service.requests().len(), 2);
}

#[test]
fn a_change_to_any_of_its_files_takes_effect() {
    let service = Upstream::echo("it");
    let gateway = example(&service);
    assert_eq!(gateway.get("/v1/users/0").status, 422);
    gateway.files.write("openapi.yaml", &read("openapi.yaml").replace("minimum: 1", "minimum: 0"));
    eventually("the document", || (gateway.get("/v1/users/0").status == 200).then_some(()));
    let post = || Request::post("/v1/users", "").json(r#"{"name":"A"}"#);
    assert_eq!(gateway.send(post()).status, 422);
    gateway.files.write("schemas/user.yaml", &read("schemas/user.yaml").replace("minLength: 2", "minLength: 1"));
    eventually("the schema", || (gateway.send(post()).status == 200).then_some(()));
    // What can't be compiled changes nothing.
    gateway.files.write("schemas/user.yaml", "type: strin\n");
    gateway.log_contains("schemas/user.yaml:1:");
    assert_eq!(gateway.send(post()).status, 200);
    gateway.files.write("schemas/user.yaml", &read("schemas/user.yaml").replace("minLength: 2", "minLength: 3"));
    eventually("the schema again", || (gateway.send(post()).status == 422).then_some(()));
}

/// What `check` prints about a document in a folder of these files.
fn checked(files: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    checked_in(folder.path(), files)
}

fn checked_in(folder: &Path, files: &[(&str, &str)]) -> (i32, String) {
    let yaml = "services: [{name: s, url: 'http://127.0.0.1:1', routes: [{paths: [/], plugins: [{name: request-validation, config: {openapi: api/openapi.yaml}}]}]}]\n";
    for (path, text) in [("gateway.yaml", yaml)].iter().chain(files) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let ended = gatewright(folder, &["check"]);
    (ended.code, ended.stdout)
}

const HEAD: &str =
    "openapi: 3.1.0\npaths:\n  /x:\n    get:\n      parameters:\n        - {name: n, in: query, schema: ";

#[test]
fn mistakes_are_shown_where_they_are() {
    let with = |schema: &str| format!("{HEAD}{schema}}}\n");
    for (document, expected) in [
        ("openapi: [\n".to_owned(), vec!["not YAML", "api/openapi.yaml:"]),
        ("{\"openapi\": \"3.1.0\", \"paths\": {},}x".to_owned(), vec!["not YAML", "api/openapi.yaml:1:"]),
        (String::new(), vec!["the file is empty", "api/openapi.yaml:1:1"]),
        ("swagger: '2.0'\n".to_owned(), vec!["Swagger 2.0 is not supported", "api/openapi.yaml:1:10"]),
        (with("{type: strin}"), vec!["api/openapi.yaml:6:47", "strin"]),
        (with("{pattern: '(?=a)'}"), vec!["api/openapi.yaml:6:40"]),
        (with("{$ref: '#/no'}"), vec!["`#/no` leads nowhere", "api/openapi.yaml:6:47"]),
        (
            with("{$ref: more/a.yaml}"),
            vec!["`more/a.yaml` can't be read: there is no such file", "api/openapi.yaml:6:47"],
        ),
        (with("{$ref: http://127.0.0.1:1/x}"), vec!["is an address", "api/openapi.yaml:6:47"]),
        (with("{$ref: ../secret.yaml}"), vec!["leads out of the document's folder", "api/openapi.yaml:6:47"]),
        (with("{$ref: '%2e%2e/secret.yaml'}"), vec!["leads out of the document's folder"]),
        (with("{$ref: /etc/hostname}"), vec!["leads out of the document's folder"]),
        (with("{$ref: b.yaml}"), vec!["`api/b.yaml#/no` leads nowhere", "api/b.yaml:1:14"]),
        (with("{$ref: 'b.yaml#name'}"), vec!["is no JSON pointer"]),
    ] {
        let files = [
            ("api/openapi.yaml", document.as_str()),
            ("secret.yaml", "type: string\n"),
            ("api/b.yaml", "{not: {$ref: '#/no'}}\n"),
        ];
        let (code, shown) = checked(&files);
        assert_eq!(code, 1, "{document}: {shown}");
        for text in expected {
            assert!(shown.contains(text), "{document}: no `{text}` in\n{shown}");
        }
    }
    let (code, shown) = checked(&[]);
    assert!(code == 1 && shown.contains("api/openapi.yaml can't be read: there is no such file"), "{shown}");
    assert!(shown.contains("gateway.yaml:1:"), "{shown}");
}

#[test]
fn references_reach_files_below_and_never_through_a_link() {
    let document = format!("{HEAD}{{$ref: 'more/a.json#/defs/n'}}}}\n");
    let below = "{\n\t\"defs\": {\"n\": {\"allOf\": [{\"$ref\": \"../b.yaml\"}, {\"$ref\": \"#/defs/m\"}]}, \"m\": {\"$ref\": \"../openapi.yaml#/components\"}}}";
    let files = [
        ("api/openapi.yaml", format!("{document}components: {{type: integer, description: '${{HOME}}'}}\n")),
        ("api/more/a.json", below.to_owned()),
        ("api/b.yaml", "{minimum: 3, example: {$ref: nowhere.yaml}}\n".to_owned()),
        ("secret.yaml", "type: string\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let (code, shown) = checked(&files);
    assert_eq!(code, 0, "{shown}");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("api/more")).expect("a folder");
    symlink("../../secret.yaml", folder.path().join("api/more/a.json")).expect("a link");
    let without: Vec<(&str, &str)> = files.iter().filter(|(path, _)| !path.ends_with("a.json")).copied().collect();
    let (code, shown) = checked_in(folder.path(), &without);
    assert!(code == 1 && shown.contains("leads out of the document's folder"), "{shown}");
}

#[test]
fn parameters_of_every_style_are_held_against_their_schema() {
    let config = "{openapi: {openapi: 3.1.0, paths: {'/x/{n}': {get: {parameters: [\
        {name: n, in: path, required: true, style: matrix, explode: true, schema: {type: array, items: {type: integer}}}, \
        {name: filter, in: query, schema: {type: object, properties: {min: {type: integer}}}}]}}}}}";
    for behind in behind("request-validation", config, || Upstream::echo("it")) {
        behind.gateway.get("/x/;n=1;n=2?min=3&page=x").ok();
        let wrong = behind.gateway.get("/x/;n=1;n=b?min=y");
        assert_eq!(wrong.problem(422), "the request is not as it should be", "{}", behind.language);
        let mut found = violations(&wrong.json());
        found.sort_by_key(Value::to_string);
        let expected = [json!(["path", "/n/1", "type"]), json!(["query", "/filter/min", "type"])];
        assert_eq!(found, expected, "{}", behind.language);
        assert_eq!(behind.upstream.request().target, "/x/;n=1;n=2?min=3&page=x", "{}", behind.language);
    }
}

#[test]
fn hostile_requests_cost_little() {
    let config = "{openapi: {openapi: 3.1.0, paths: {/x: {post: {requestBody: {content: {application/json: {schema: {items: {type: string, pattern: '^(a+)+$'}}}}}}}}}, max_body: 64KiB, max_errors: 3}";
    for behind in behind("request-validation", config, || Upstream::echo("it")) {
        let post = |body: &str| behind.gateway.send(Request::post("/x", "").json(body));
        assert_eq!(post(&"[".repeat(60_000)).status, 400, "{}", behind.language);
        assert_eq!(post(&format!("[\"{}b\"]", "a".repeat(60_000))).status, 422, "{}", behind.language);
        assert_eq!(post(&format!("[{}1]", "1,".repeat(1000))).json()["errors"].as_array().map(Vec::len), Some(3));
        assert_eq!(post(&" ".repeat(70_000)).status, 413, "{}", behind.language);
        assert_eq!(post(r#"["aa"]"#).status, 200, "{}", behind.language);
        assert_eq!(behind.upstream.requests().len(), 1, "{}", behind.language);
    }
}
