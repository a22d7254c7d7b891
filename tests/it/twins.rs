//! Every stock plugin exists in Lua and in Rhai, and nobody can tell which one answered.
//!
//! Both are ejected into a plugin folder, as a user would, and get the same requests. Compared byte for byte: what clients
//! get and what the service gets. Only dates and the ids that the gateway makes differ.

use crate::support::{
    Gateway, Request, Upstream,
    command::gatewright,
    gateway, reply, repository,
    token::{Key, ada, ada_with, in_seconds},
    wire::{Answer, Headers, Received},
};
use base64::Engine;
use serde_json::json;
use std::{collections::BTreeSet, fs};

/// Requests to one configuration of one plugin.
struct Case {
    plugin: &'static str,
    /// As in `config:`, in braces.
    config: String,
    requests: Vec<Request>,
}

/// One for each way through each plugin; the runner asserts how many requests that were.
fn cases(key: &Key, rsa: &Key) -> Vec<Case> {
    let case = |plugin, config: &str, requests| Case { plugin, config: config.into(), requests };
    vec![
        case("jwt-auth", "{secret: '${SECRET}', algorithms: [HS256]}", tokens(key)),
        case("jwt-auth", "{public_key: '${RSA}', algorithms: [RS256, PS256]}", {
            ["RS256", "PS256", "RS512"].iter().map(|alg| Request::get("/x").bearer(&rsa.token(alg, &ada()))).collect()
        }),
        case(
            "jwt-auth",
            "{secret: '${SECRET}', algorithms: [HS256], issuer: me, audience: [a, b], leeway: 10s, require_exp: true}",
            {
                let claims = |iss: &str, aud: &str, exp: i64| json!({ "sub": "7", "iss": iss, "aud": aud, "exp": in_seconds(exp) });
                let all = [
                    claims("me", "a", 60),
                    claims("me", "b", -3),
                    claims("me", "c", 60),
                    claims("you", "a", 60),
                    claims("me", "a", -60),
                    json!({ "iss": "me", "aud": "a" }),
                ];
                all.iter().map(|claims| Request::get("/x").bearer(&key.token("HS256", claims))).collect()
            },
        ),
        case(
            "jwt-auth",
            "{secret: '${SECRET}', algorithms: [HS256], headers: {sub: X-Who, n: X-N, f: X-F, big: X-Big, list: X-List, map: X-Map, yes: X-Yes, none: X-None}}",
            {
                let claims = json!({ "sub": "ä€", "n": 7, "f": 1.5, "big": 9007199254740993_i64, "list": [1, "a", null, []], "map": {"b": 1, "a": {}}, "yes": true, "none": null });
                vec![
                    Request::get("/x")
                        .header("x-n", "forged")
                        .header("x-none", "forged")
                        .bearer(&key.token("HS256", &claims)),
                ]
            },
        ),
        case(
            "key-auth",
            "{consumers: {mobile: 0123456789abcdef, web: [fedcba9876543210, 'sha256:6CA13D52CA70C883E0F0BB101E425A89E8624DE51DB2D2392593AF6A84118090']}, query: key, realm: 'a \"b\"'}",
            keys(),
        ),
        case(
            "key-auth",
            "{consumers: {ä: 0123456789abcdef}, header: '', query: x-api-key, hide_credentials: false}",
            keys(),
        ),
        case(
            "basic-auth",
            "{users: {ada: 'sha256:s1:dc852315b2d0cd73f1716bb83a0b4ee8ff4eb6a70ae1d25b773e16ac44d38000', ä: 'sha256:s2:f657c78e6c56d3403a6893d55bf58b23a14fb89af71cc8f8dd1379cdb3ec9fdc'}}",
            users(),
        ),
        case(
            "basic-auth",
            "{users: {ada: '$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$HAd+zgLNLUX1MxzwI7oPIYgXasEiSyq9gzQtqGfPUlU', ä: '$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$+lOXdtM0kFFyewGeooNDMQoV5qRQcaDWB90uoEESv3Q'}}",
            users(),
        ),
        case(
            "request-validation",
            "{body: {type: object, required: [name], properties: {name: {minLength: 2}}}, query: {properties: {page: {type: integer}, ids: {type: array, items: {type: number}}}}, headers: {properties: {x-n: {type: boolean}}}, max_errors: 3, max_body: 64B}",
            validated(),
        ),
        case(
            "request-validation",
            "{body: {type: array}, body_required: false, content_types: [Text/Plain], status: 400}",
            validated(),
        ),
        case(
            "request-validation",
            "{openapi: {openapi: 3.0.0, servers: [{url: /}], paths: {/x: {get: {parameters: [{name: page, in: query, schema: {type: integer}}, {name: ids, in: query, schema: {type: array, items: {type: number}}}, {name: x-n, in: header, schema: {type: boolean}}]}, post: {requestBody: {required: true, content: {application/json: {schema: {type: object, required: [name]}}}}}}}}, max_errors: 2, max_body: 64B}",
            validated(),
        ),
        case("request-validation", "{openapi: {openapi: 3.1.0, paths: {/y: {get: {}}, /x: {put: {}}}}}", validated()),
        case("request-validation", "{openapi: {openapi: 3.1.0, paths: {/y: {get: {}}}}}", validated()),
        case(
            "aggregate",
            "{parts: [{name: o, url: 'svc://self/object', deny: [userId, list.id], rename: {firstName: n}}, {name: l, url: 'svc://self/list', allow: [userId], group: users}, {name: d, url: 'svc://self/{parts.o.firstName}', optional: true}, {name: e, url: 'svc://self/empty-list', query: {q: '{query.q}'}, headers: {x-h: '{headers.x-h}'}}]}",
            vec![Request::get("/x"), Request::get("/x?q=a%20b").header("x-h", "h")],
        ),
        case(
            "aggregate",
            "{merge: deep, parts: [{name: o, url: 'svc://self/delicate'}, {name: p, url: 'svc://self/object', extract: /list/1, group: a}, {name: t, url: 'svc://self/text', optional: true}]}",
            vec![Request::get("/x")],
        ),
        case(
            "aggregate",
            "{parts: [{name: o, url: 'svc://self/object'}, {name: d, url: 'svc://self/delicate'}]}",
            vec![Request::get("/x")],
        ),
        case("aggregate", "{parts: [{name: o, url: 'svc://self/{query.q}'}, {name: d, url: 'svc://self/none'}]}", {
            ["/x", "/x?q=..", "/x?q=object", "/x?q=error", "/x?q=a%2Fb"].map(Request::get).into()
        }),
        case("ip-restriction", "{deny: [127.0.0.0/8]}", vec![Request::get("/x")]),
        case("ip-restriction", "{allow: ['::1', 192.0.2.1], status: 404, message: ä}", vec![Request::get("/x")]),
        case("ip-restriction", "{allow: ['::ffff:127.0.0.1'], deny: [10.0.0.0/8]}", vec![Request::get("/x")]),
        case("request-size-limit", "{max: 4}", {
            let chunked = Request::new("POST", "/x").header("transfer-encoding", "chunked");
            let wire = |body: &str| chunked.clone().raw_body(body);
            vec![
                Request::get("/x"),
                Request::post("/x", "1234"),
                Request::post("/x", "12345"),
                wire("4\r\n1234\r\n0\r\n\r\n"),
                wire("4\r\n1234\r\n1\r\n5\r\n0\r\n\r\n"),
            ]
        }),
        case(
            "response-headers",
            "{remove: [Server, X-Request-Id], set: {X-Frame-Options: DENY, a: '', b: ä}, add: {Vary: accept, a: '1'}}",
            vec![Request::get("/x"), Request::get("/error"), Request::get("/none")],
        ),
        case("rate-limit", "{limit: 2, window: 60s}", vec![Request::get("/x"); 4]),
        case("rate-limit", "{limit: 1, window: 1500ms, by: route}", vec![Request::get("/x"); 2]),
        case("rate-limit", "{limit: 1, by: 'header:X-Key'}", {
            ["a", "a", "b", "ä"]
                .iter()
                .map(|value| Request::get("/x").header("x-key", value))
                .chain([Request::get("/x")])
                .collect()
        }),
        case("rate-limit", "{limit: 1, by: identity}", vec![Request::get("/x"); 2]),
        case("request-id", "{}", vec![Request::get("/x"), Request::get("/x").header("x-request-id", "mine")]),
        case(
            "request-id",
            "{header: X-Trace}",
            vec![Request::get("/x").header("x-request-id", "mine").header("x-trace", "theirs")],
        ),
        case("cors", "{origins: ['*'], expose: [x-total]}", cross_origin()),
        case(
            "cors",
            "{origins: [https://app.example.com, 'https://*.example.org'], methods: [GET, PUT], headers: [x-a, x-b], expose: [x-a, x-b], credentials: true, max_age: 1500ms}",
            cross_origin(),
        ),
        case("transform", MAPPING, transformed()),
        case(
            "transform",
            "{response: {items: $., all: $, price: $$5, first: $.list.0, list: [$.a, $.none, 7, null]}}",
            ["/object", "/list", "/delicate"].map(Request::get).into(),
        ),
        case("transform", "{}", vec![Request::get("/object")]),
        case(
            "transform",
            "{response: $.list}",
            ["/object", "/list", "/delicate", "/empty-list"].map(Request::get).into(),
        ),
        case(
            "transform",
            "{response: [{a: $.firstName}, [], {}]}",
            ["/object", "/list", "/empty-list"].map(Request::get).into(),
        ),
    ]
}

const MAPPING: &str = "{response: {id: $.userId, name: {first: $.firstName, last: $.lastName}, order: $.list.1.id, absent: $.no.such, metadata: {version: '2.0', n: 2, f: 1.5, t: true, z: null}}, request: {userId: $.id, firstName: $.name.first}}";

fn tokens(key: &Key) -> Vec<Request> {
    let good = key.token("HS256", &ada());
    let cut = &good[..good.len() - 4];
    let bearer = |token: &str| Request::get("/x").bearer(token);
    vec![
        Request::get("/x"),
        bearer(&good),
        bearer(""),
        bearer("x.y.z"),
        bearer(cut),
        bearer(&key.token("HS512", &ada())),
        bearer(&key.token_with(&json!({ "alg": "none" }), "HS256", &ada())),
        bearer(&key.token("HS256", &ada_with("exp", in_seconds(-5)))),
        bearer(&key.token("HS256", &ada_with("nbf", in_seconds(50)))),
        bearer(&key.token("HS256", &json!({ "name": "no subject" }))),
        bearer(&key.token("HS256", &json!({ "sub": 42, "email": null }))),
        bearer(&good).bearer(&good),
        Request::get("/x").header("authorization", "Basic eDp5"),
        Request::get("/x").header("authorization", "Bear"),
        Request::get("/x").header("authorization", format!("bEaReR {good}")),
        Request::get("/x").header("authorization", "ÄÖÜäöüß x"),
    ]
}

fn validated() -> Vec<Request> {
    let post = |target: &str, body: &str| Request::post(target, "").json(body);
    vec![
        Request::get("/x"),
        Request::get("/x?page=7&ids=1&ids=2.5").header("x-n", "true"),
        Request::get("/x?page=x&page=y&ids=a&ids=b").header("x-n", "1"),
        post("/x", r#"{"name":"Ada"}"#),
        post("/x", r#"{"name":"A"}"#),
        post("/x", "[]"),
        post("/x", ""),
        post("/x", "{"),
        post("/x", r#"{"a":1,"a":2}"#),
        post("/x", &" ".repeat(65)),
        Request::post("/x", "[1]").header("content-type", "text/plain; charset=utf-8"),
        Request::post("/x", b"\"\xff\"".to_vec()).header("content-type", "application/a+json"),
    ]
}

fn keys() -> Vec<Request> {
    let header = |key: &str| Request::get("/x?a=%20b").header("x-api-key", key).header("x-user-id", "forged");
    vec![
        Request::get("/x"),
        header("0123456789abcdef"),
        header("fedcba9876543210"),
        header("abc123"),
        header("0123456789abcdeg"),
        header(""),
        header("ä"),
        header("0123456789abcdef").header("x-api-key", "0123456789abcdef"),
        header("0123456789abcdef").header("x_api_key", "other"),
        Request::get("/x?key=0123456789abcdef&a=1"),
        Request::get("/x?a=1&x-api-key=0123456789abcdef"),
        Request::get("/x?key=fedcba9876543210").header("x-api-key", "0123456789abcdef"),
    ]
}

fn users() -> Vec<Request> {
    let basic = |pair: &[u8]| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        Request::get("/x").header("authorization", format!("Basic {encoded}"))
    };
    vec![
        Request::get("/x"),
        basic(b"ada:lovelace:1"),
        basic("ä:€".as_bytes()),
        basic(b"ada:wrong"),
        basic(b"bob:lovelace:1"),
        basic(b"ada"),
        basic(b":"),
        basic(b"\xe4:\x80"),
        basic(b"ada:lovelace:1").header("authorization", "Basic eDp5"),
        Request::get("/x").header("authorization", "bASIC   YWRhOmxvdmVsYWNlOjE="),
        Request::get("/x").header("authorization", "Basic !"),
        Request::get("/x").header("authorization", "Bas"),
    ]
}

fn cross_origin() -> Vec<Request> {
    let mut requests = vec![Request::get("/x"), Request::new("OPTIONS", "/x")];
    let origins =
        ["https://app.example.com", "https://a.example.org", "https://example.org", "https://aexample.org", "null"];
    for origin in origins {
        let preflight = Request::new("OPTIONS", "/x").header("origin", origin);
        requests.push(Request::get("/x").header("origin", origin));
        requests.push(preflight.clone());
        requests.push(preflight.clone().header("access-control-request-method", "PUT"));
        requests.push(
            preflight
                .header("access-control-request-method", "PUT")
                .header("access-control-request-headers", "x-a,x-c"),
        );
    }
    requests
}

fn transformed() -> Vec<Request> {
    let post = |body: &str| Request::post("/x", "").json(body);
    let mut requests: Vec<Request> =
        ["/object", "/list", "/empty-list", "/delicate", "/scalar", "/text", "/error", "/none", "/json-by-suffix"]
            .map(Request::get)
            .into();
    // Twice: when its keys were seen before, Lua builds only what is looked at.
    requests.extend(["/long", "/long"].map(Request::get));
    requests.extend([
        Request::new("HEAD", "/object"),
        post(r#"{"id":9007199254740993,"name":{"first":"Ada"}}"#),
        post("[]"),
        post(r#"[{"id":1},{"id":null}]"#),
        post("7"),
        post("{broken"),
        Request::post("/x", "no json").header("content-type", "text/plain"),
        Request::post("/x", r#"{"id":1}"#).header("content-type", "Application/Vnd.Api+JSON ; charset=utf-8"),
    ]);
    requests
}

/// The service behind both.
fn service() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        "/object" => reply(
            200,
            r#"{"userId":18446744073709551615,"firstName":"Ada","lastName":null,"list":[{"id":1},{"id":2}],"a":[]}"#,
        )
        .json(),
        "/list" => reply(200, r#"[{"userId":1},{"userId":2,"firstName":"B"}]"#).json(),
        "/empty-list" => reply(200, "[]").json(),
        "/delicate" => {
            reply(200, r#"{"userId":-9007199254740993,"firstName":{},"lastName":[],"list":[],"a":{"z":1,"a":2}}"#)
                .json()
        }
        "/long" => {
            let item = r#"{ "id" : 1.50, "name" : "\u00e9\/", "list" : [ [ ], { }, null ] }"#;
            let list = [item; 20].join(", ");
            reply(
                200,
                format!(r#"{{"userId":7, "firstName":{item}, "lastName":[{list}], "list":[{list}], "a":{item}}}"#),
            )
            .json()
        }
        "/scalar" => reply(200, "\"text\"").json(),
        "/text" => reply(200, "{}").header("content-type", "text/plain"),
        "/error" => reply(404, r#"{"userId":1}"#).json(),
        "/none" => reply(204, ""),
        "/json-by-suffix" => {
            reply(201, r#"{"userId":1}"#).header("content-type", "application/hal+json; charset=utf-8")
        }
        _ => reply(200, "ok").header("content-type", "text/plain").header("x-request-id", "the service's"),
    })
}

/// A gateway that runs all cases' plugins in one language, each case on a route and a service of its own.
fn running(cases: &[Case], lang: &str, key: &Key, rsa: &Key) -> (Gateway, Vec<Upstream>) {
    let mut yaml = String::from("services:\n");
    let mut upstreams = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let plugin = case.plugin;
        let config = case.config.replace("svc://self/", &format!("svc://s{index}/"));
        yaml.push_str(&format!(
            "  - {{name: s{index}, url: '${{s{index}}}', routes: [{{name: r{index}, hosts: [c{index}.test], paths: [/], plugins: [{{name: {plugin}, config: {config}}}]}}]}}\n"
        ));
        upstreams.push(service());
    }
    let mut given = gateway(&yaml).env("SECRET", key.text()).env("RSA", rsa.text());
    for (index, upstream) in upstreams.iter().enumerate() {
        given = given.url(&format!("s{index}"), upstream);
    }
    for name in stock() {
        given = given.file(&format!("plugins/{name}.{lang}"), &ejected(&name, lang));
    }
    (given.start(), upstreams)
}

/// What `eject` writes.
fn ejected(name: &str, lang: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = gatewright(folder.path(), &["eject", name, "--lang", lang]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    fs::read_to_string(folder.path().join(format!("plugins/{name}.{lang}"))).expect("the ejected file")
}

/// The names of the stock scripts in one language.
fn scripts(extension: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository("scripts")).expect("the stock scripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let own = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let names = own.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    names.filter(|name| !name.ends_with("_test")).collect()
}

fn stock() -> BTreeSet<String> {
    scripts("lua")
}

#[test]
fn every_stock_script_has_its_twin_with_the_same_manifest() {
    assert_eq!(scripts("lua"), scripts("rhai"));
    assert!(stock().len() >= 4, "{:?}", stock());
    for name in stock() {
        let manifest = |extension: &str, close: &str| {
            let text = fs::read_to_string(repository(&format!("scripts/{name}.{extension}"))).expect("a script");
            let after =
                text.split_once("plugin.toml\n").unwrap_or_else(|| panic!("{name}.{extension} has no manifest")).1;
            after
                .split_once(close)
                .unwrap_or_else(|| panic!("{name}.{extension}: the manifest has no end"))
                .0
                .to_owned()
        };
        assert_eq!(manifest("lua", "\n]]"), manifest("rhai", "\n*/"), "{name}");
        assert_eq!(
            ejected(&name, "lua"),
            fs::read_to_string(repository(&format!("scripts/{name}.lua"))).expect("a script")
        );
        assert_eq!(
            ejected(&name, "rhai"),
            fs::read_to_string(repository(&format!("scripts/{name}.rhai"))).expect("a script")
        );
    }
}

/// Without what differs from one run to the next.
fn plain(headers: &Headers, made_id: Option<&str>) -> Vec<(String, String)> {
    let kept = headers
        .0
        .iter()
        .filter(|(name, _)| name != "date" && name != "traceparent" && name != "x-forwarded-port" && name != "host");
    let same = |value: &String| made_id.map_or(value.clone(), |id| value.replace(id, "ID"));
    let mut lines: Vec<_> = kept.map(|(name, value)| (name.clone(), same(value))).collect();
    // RFC 9110 §5.3: the order of lines with different names means nothing.
    lines.sort();
    lines
}

fn answer_text(answer: &Answer) -> String {
    let id = answer.header("x-request-id").map(str::to_owned);
    let body = id.as_deref().map_or(answer.text(), |id| answer.text().replace(id, "ID"));
    format!("{} {:?}\n{body}", answer.status, plain(&answer.headers, id.as_deref()))
}

fn received_text(received: &Received) -> String {
    let id = received.header("x-request-id");
    format!("{} {} {:?}\n{}", received.method, received.target, plain(&received.headers, id), received.text())
}

#[test]
fn both_languages_answer_alike_byte_for_byte() {
    let key = Key::make("HS256");
    let rsa = Key::make("RS256");
    let cases = cases(&key, &rsa);
    let covered: BTreeSet<String> = cases.iter().map(|case| case.plugin.to_owned()).collect();
    assert_eq!(covered, stock(), "a stock script without a case");
    let (lua, lua_services) = running(&cases, "lua", &key, &rsa);
    let (rhai, rhai_services) = running(&cases, "rhai", &key, &rsa);
    let mut ran = 0;
    let mut differences = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for (number, request) in case.requests.iter().enumerate() {
            let request = request.clone().header("host", format!("c{index}.test"));
            let [one, other] = [&lua, &rhai].map(|gateway| answer_text(&gateway.send(request.clone())));
            if one != other {
                differences
                    .push(format!("{} {} #{number} {request:?}\nlua:  {one}\nrhai: {other}", case.plugin, case.config));
            }
            ran += 1;
        }
        let [one, other] = [&lua_services, &rhai_services]
            .map(|services| services[index].requests().iter().map(received_text).collect::<Vec<_>>())
            .map(|mut received| {
                // It asks for its parts side by side.
                if case.plugin == "aggregate" {
                    received.sort();
                }
                received
            });
        if one != other {
            differences
                .push(format!("{} {}: the service got\nlua:  {one:#?}\nrhai: {other:#?}", case.plugin, case.config));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n\n"));
    assert_eq!(ran, cases.iter().map(|case| case.requests.len()).sum::<usize>());
    assert_eq!(ran, 244, "cases were added or lost: write down how many there are");
}

/// What a wrong configuration is told must not depend on the language either.
#[test]
fn both_languages_refuse_the_same_configurations_with_the_same_words() {
    let mut ran = 0;
    for (plugin, config, expected) in [
        ("jwt-auth", "{secret: x}", "algorithms"),
        ("jwt-auth", "{algorithms: [HS256]}", ""),
        ("jwt-auth", "{secret: x, algorithms: [none]}", "none"),
        ("jwt-auth", "{public_key: nonsense, algorithms: [RS256]}", ""),
        ("jwt-auth", "{secret: x, algorithms: [HS256], leeway: -1s}", "-1s"),
        ("key-auth", "{consumers: {}}", "consumers"),
        ("key-auth", "{consumers: {a: short}}", "16 characters"),
        ("key-auth", "{consumers: {a: 1234567890123456}}", "write it in quotes"),
        ("key-auth", "{consumers: {a: []}}", "there is no key"),
        ("key-auth", "{consumers: {a: {b: c}}}", "there is no key"),
        ("key-auth", "{consumers: {a: 'sha256:abc'}}", "64 hexadecimal digits"),
        ("key-auth", "{consumers: {b: 0123456789abcdef, a: [0123456789abcdef]}}", "the same key"),
        ("key-auth", "{consumers: {a: 0123456789abcdef}, header: ''}", "must say where"),
        ("basic-auth", "{users: {a: secret}}", "sha256:SALT:HASH"),
        ("basic-auth", "{users: {'a:b': 'sha256:x:'}}", "no colon"),
        ("request-validation", "{body: {type: strin}}", "strin"),
        ("request-validation", "{query: {$ref: 'http://127.0.0.1:1/'}}", "`query`"),
        ("request-validation", "{headers: {properties: {X-A: true}}}", "lower case"),
        ("request-validation", "{body: '{'}", "`body`"),
        ("request-validation", "{openapi: {swagger: '2.0'}}", "Swagger 2.0"),
        ("request-validation", "{openapi: nowhere.yaml}", "nowhere.yaml can't be read"),
        ("request-validation", "{openapi: 7}", "an OpenAPI document"),
        ("aggregate", "{parts: [{name: a, url: 'svc://s/{id}'}]}", "`{id}` is none of"),
        ("aggregate", "{parts: [{name: a, url: 'svc://s/{parts.b.x}'}]}", "there is no part `b`"),
        ("aggregate", "{parts: [{name: a, url: x}, {name: a, url: x}]}", "is there twice"),
        ("ip-restriction", "{}", "must name an address"),
        ("ip-restriction", "{allow: [10.0.0.0/33]}", "10.0.0.0/33"),
        ("ip-restriction", "{deny: [example.com]}", "example.com"),
        ("request-size-limit", "{}", "max"),
        ("response-headers", "{remove: [Content-Length]}", "written by the gateway"),
        ("response-headers", "{set: {'a b': c}}", "a b"),
        ("response-headers", "{add: {a: \"b\\nc\"}}", "control character"),
        ("rate-limit", "{limit: 0}", "0"),
        ("rate-limit", "{limit: many}", "many"),
        ("rate-limit", "{by: moon}", "moon"),
        ("rate-limit", "{by: 'header:'}", "header:"),
        ("rate-limit", "{window: 0s}", "0s"),
        ("rate-limit", "{on_store_error: cry}", "cry"),
        ("transform", "{response: {a: $b}}", "$b"),
        ("request-id", "{headr: x}", "headr"),
        ("cors", "{origins: ['*'], credentials: true}", "exclude each other"),
        ("cors", "{origins: []}", "origins"),
    ] {
        let [lua, rhai] = ["lua", "rhai"].map(|lang| {
            let folder = tempfile::tempdir().expect("a folder");
            let yaml = format!(
                "services: [{{name: s, url: 'http://127.0.0.1:1', routes: [{{paths: [/], plugins: [{{name: {plugin}, config: {config}}}]}}]}}]"
            );
            fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
            let ejected = gatewright(folder.path(), &["eject", plugin, "--lang", lang]);
            assert_eq!(ejected.code, 0, "{}", ejected.stderr);
            let ended = gatewright(folder.path(), &["check"]);
            assert_eq!(ended.code, 1, "{plugin} {config} in {lang}:\n{}", ended.stdout);
            assert!(ended.stdout.contains(expected), "{plugin} {config} in {lang}:\n{}", ended.stdout);
            let messages = ended.stdout.lines().filter_map(|line| line.strip_prefix("error: "));
            // A module is written `jwt.x` in one and `jwt::x` in the other.
            messages.map(|line| line.replace("::", ".")).collect::<Vec<_>>()
        });
        assert_eq!(lua, rhai, "{plugin} {config}");
        ran += 1;
    }
    assert_eq!(ran, 42);
}
