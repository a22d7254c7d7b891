//! Pattern 4: v1 documents answered as v2, by a mapping and by scripts written by hand; nothing else is touched.

use crate::support::{Answer, Gateway, Request, Upstream, gateway, reply, repository};
use serde_json::{Value, json};
use std::io::Write;

const LEGACY: &str = r#"{"userId":9007199254740993,"emailAddress":"ada@example.com","firstName":"Ada","lastName":"Lovelace","createdDate":"2019-03-04","dept":"Engines"}"#;

fn v2() -> Value {
    json!({
        "id": 9007199254740993_u64,
        "email": "ada@example.com",
        "name": { "first": "Ada", "last": "Lovelace" },
        "created_at": "2019-03-04",
        "metadata": { "source": "legacy-transform", "version": "2.0" },
    })
}

const MAPPING: &str = "
          - name: transform
            config:
              response:
                id: $.userId
                email: $.emailAddress
                name: {first: $.firstName, last: $.lastName}
                created_at: $.createdDate
                metadata: {source: legacy-transform, version: '2.0'}
              request:
                userId: $.id
                emailAddress: $.email
                firstName: $.name.first
                lastName: $.name.last
";

const BY_HAND_RHAI: &str = r#"
fn is_json(message) {
    let kind = message.headers["content-type"];
    kind != () && kind.contains("json")
}

fn on_request(req, ctx) {
    ctx.vars.bodiless = req.method == "HEAD";
    if !is_json(req) { return; }
    let v2 = req.json();
    req.set_json(#{ userId: v2.id, emailAddress: v2.email, firstName: v2.name?.first, lastName: v2.name?.last });
}

fn on_response(res, ctx) {
    if res.status != 200 || ctx.vars.bodiless || !is_json(res) { return; }
    let v1 = res.json();
    res.set_json(#{
        id: v1.userId,
        email: v1.emailAddress,
        name: #{ first: v1.firstName, last: v1.lastName },
        created_at: v1.createdDate,
        metadata: #{ source: "legacy-transform", version: "2.0" },
    });
}
"#;

/// The legacy service at `/api/v2/users`, rewritten in each of the three ways.
fn ways(upstream: &Upstream) -> [(&'static str, Gateway); 3] {
    let lua = std::fs::read_to_string(repository("examples/quickstart/scripts/users_v2.lua")).expect("the example");
    let plugins =
        [("mapping", MAPPING), ("lua", "\n          - script: v2.lua\n"), ("rhai", "\n          - script: v2.rhai\n")];
    plugins.map(|(way, plugin)| {
        let yaml = format!(
            "
services:
  - name: legacy
    url: ${{legacy}}/legacy/users
    routes:
      - name: users-v2
        paths: [/api/v2/users]
        plugins: {plugin}"
        );
        let given = gateway(&yaml).url("legacy", upstream).file("v2.lua", &lua).file("v2.rhai", BY_HAND_RHAI);
        (way, given.start())
    })
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("gzip")
}

fn unzipped(answer: &Answer) -> Value {
    match answer.header("content-encoding") {
        None => answer.json(),
        Some("gzip") => serde_json::from_reader(flate2::read::GzDecoder::new(&answer.body[..])).expect("JSON in gzip"),
        Some(other) => panic!("content-encoding: {other}"),
    }
}

#[test]
fn a_v1_user_is_answered_as_v2_in_each_way() {
    let upstream = Upstream::json(LEGACY);
    for (way, gateway) in ways(&upstream) {
        let answer = gateway.get("/api/v2/users/42").ok();
        assert_eq!(answer.json(), v2(), "{way}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{way}");
    }
    let targets: Vec<String> = upstream.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/legacy/users/42"; 3]);
}

#[test]
fn requests_go_the_other_way() {
    let upstream = Upstream::json("{}");
    for (way, gateway) in ways(&upstream) {
        let body = r#"{"id":9007199254740993,"email":"ada@example.com","name":{"first":"Ada","last":"Lovelace"}}"#;
        gateway.send(Request::post("/api/v2/users", "").json(body)).ok();
        let received = upstream.requests().pop().expect("a request");
        let expected = json!({ "userId": 9007199254740993_u64, "emailAddress": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace" });
        assert_eq!(received.json(), expected, "{way}");
        assert_eq!(received.header("content-length"), Some(received.body.len().to_string().as_str()), "{way}");
    }
}

#[test]
fn compressed_and_chunked_bodies_are_read_and_never_garbled() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/legacy/users/gzip" => {
            reply(200, zipped(LEGACY)).json().header("content-encoding", "gzip").header("etag", "\"v1\"")
        }
        _ => reply(200, LEGACY).json().chunked(),
    });
    for (way, gateway) in ways(&upstream) {
        let answer = gateway.send(Request::get("/api/v2/users/gzip").header("accept-encoding", "gzip")).ok();
        assert_eq!(unzipped(&answer), v2(), "{way}");
        assert_ne!(answer.header("etag"), Some("\"v1\""), "{way}: the validator of another body");
        assert_eq!(gateway.get("/api/v2/users/chunked").ok().json(), v2(), "{way}");
    }
}

#[test]
fn what_is_not_a_v1_user_passes_unharmed() {
    let binary: Vec<u8> = (0..=255).collect();
    let body = binary.clone();
    let upstream = Upstream::start(move |request| match request.target.rsplit('/').next() {
        Some("binary") => reply(200, body.clone()).header("content-type", "image/png"),
        Some("missing") => reply(404, r#"{"error":"no such user"}"#).json(),
        Some("broken") => reply(500, "<h1>oops</h1>").header("content-type", "text/html"),
        Some("gone") => reply(204, ""),
        Some("zip") => {
            reply(200, zipped("plain text")).header("content-type", "text/plain").header("content-encoding", "gzip")
        }
        _ => reply(200, LEGACY).json(),
    });
    for (way, gateway) in ways(&upstream) {
        let get = |name: &str| gateway.get(&format!("/api/v2/users/{name}"));
        assert_eq!(get("binary").ok().body, binary, "{way}");
        let missing = get("missing");
        assert_eq!((missing.status, missing.text().as_str()), (404, r#"{"error":"no such user"}"#), "{way}");
        let broken = get("broken");
        assert_eq!((broken.status, broken.text().as_str()), (500, "<h1>oops</h1>"), "{way}");
        assert_eq!(get("gone").status, 204, "{way}");
        let zip = get("zip").ok();
        assert_eq!((zip.header("content-encoding"), &zip.body), (Some("gzip"), &zipped("plain text")), "{way}");
        let mut client = gateway.connect();
        let head = client.send(&Request::new("HEAD", "/api/v2/users/42"));
        assert_eq!(head.status, 200, "{way}: {:?}", head.headers);
        // The connection is still in step after an answer without a body.
        assert_eq!(client.send(&Request::get("/api/v2/users/42")).ok().json(), v2(), "{way}");
    }
}

#[test]
fn a_body_that_claims_to_be_json_and_is_not_never_arrives_garbled() {
    let upstream = Upstream::start(|_| reply(200, "{\"userId\": 1,").json());
    for (way, gateway) in ways(&upstream) {
        let answer = gateway.get("/api/v2/users/42");
        match answer.status {
            200 => assert_eq!(answer.text(), "{\"userId\": 1,", "{way}"),
            status => assert!((500..=502).contains(&status), "{way}: {status}"),
        }
    }
}

#[test]
fn lists_are_mapped_item_by_item_and_absent_parts_stay_absent() {
    let upstream = Upstream::json(r#"[{"userId":1,"firstName":"Ada"},{"userId":2,"firstName":null}]"#);
    let [(_, gateway), ..] = ways(&upstream);
    let metadata = json!({ "source": "legacy-transform", "version": "2.0" });
    let expected = json!([
        { "id": 1, "name": { "first": "Ada" }, "metadata": metadata },
        { "id": 2, "name": { "first": null }, "metadata": metadata },
    ]);
    assert_eq!(gateway.get("/api/v2/users").ok().json(), expected);
}

/// Integers above 2^53, empty arrays and objects, null, floats and the order of keys.
const DELICATE: &str = r#"{"z":9007199254740993,"max":18446744073709551615,"min":-9223372036854775808,"a":[],"o":{},"n":null,"f":1.5,"m":[1,null,[],{}],"s":"\u00e4\"\\ \u20ac","b":{"y":1,"x":[2,3]},"t":true}"#;

#[test]
fn json_survives_a_script_that_reads_and_writes_it_back() {
    let upstream = Upstream::start(|_| reply(200, DELICATE).json());
    let lua = "
return {
  on_response = function(res)
    local doc = res:json()
    if doc.b.x[2] ~= 3 or #doc.m ~= 4 then error('read wrongly') end
    doc.added = true
    res:set_json(doc)
  end,
}";
    let rhai = "
fn on_response(res, ctx) {
    let doc = res.json();
    if doc.b.x[1] != 3 || doc.m.len() != 4 { throw \"read wrongly\"; }
    doc.added = true;
    res.set_json(doc);
}";
    let yaml = "
services:
  - name: s
    url: ${s}
    routes:
      - {name: lua, paths: [/lua], plugins: [{script: a.lua}]}
      - {name: rhai, paths: [/rhai], plugins: [{script: a.rhai}]}
";
    let gateway = gateway(yaml).url("s", &upstream).file("a.lua", lua).file("a.rhai", rhai).start();
    let mut expected: Value = serde_json::from_str(DELICATE).expect("JSON");
    expected["added"] = json!(true);
    for language in ["lua", "rhai"] {
        let answer = gateway.get(&format!("/{language}")).ok();
        let got = answer.json();
        assert_eq!(got, expected, "{language}");
        let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(&got), keys(&expected), "{language}: the order of the keys");
        assert_eq!(keys(&got["b"]), keys(&expected["b"]), "{language}: the order of the keys");
    }
}

/// Headers that no script looks at go as they came; whether one does makes no difference to the client.
#[test]
fn headers_are_the_same_whether_a_script_looks_at_them_or_not() {
    let plain =
        || reply(200, r#"{"a":1}"#).header("set-cookie", "a=1").header("set-cookie", "b=2").header("x-own", "o");
    let upstream = Upstream::start(move |request| match request.target.rsplit('/').next() {
        Some("json") => plain().json(),
        Some("validated") => plain().json().header("etag", "\"v1\"").header("accept-ranges", "bytes"),
        Some("text") => plain().header("content-type", "text/plain").header("x-request-id", "theirs"),
        _ => plain().json().header("connection", "keep-alive").header("keep-alive", "timeout=9"),
    });
    let (lua_look, rhai_look) = ("for _ in res.headers:names() do end", "for name in res.headers.names() {}");
    let lua = |look: &str| {
        format!("return {{ on_request = function(req, ctx) ctx.response_headers['x-mine'] = 'm' ctx.response_headers['x-own'] = 'n' end,
  on_response = function(res) {look} res:set_json({{ kind = res.headers['content-type'], doc = res:text() }}) end }}")
    };
    let rhai = |look: &str| {
        format!(
            "fn on_request(req, ctx) {{ ctx.response_headers[\"x-mine\"] = \"m\"; }}
fn on_response(res, ctx) {{ {look} res.set_json(#{{ kind: res.headers[\"content-type\"], doc: res.text() }}); }}"
        )
    };
    let mine = "return { on_request = function(req, ctx) ctx.response_headers['x-mine'] = 'm' end,
  on_response = function(res) res:text() end }";
    let yaml = "
services:
  - name: s
    url: ${s}
    routes:
      - {name: lua, paths: [/lua], plugins: [{script: blind.lua}]}
      - {name: looks-lua, paths: [/looks/lua], plugins: [{script: looks.lua}]}
      - {name: rhai, paths: [/rhai], plugins: [{script: blind.rhai}]}
      - {name: looks-rhai, paths: [/looks/rhai], plugins: [{script: looks.rhai}]}
      - {name: reads, paths: [/reads], plugins: [{script: reads.lua}]}
";
    let gateway = gateway(yaml)
        .url("s", &upstream)
        .file("blind.lua", &lua(""))
        .file("looks.lua", &lua(lua_look))
        .file("blind.rhai", &rhai(""))
        .file("looks.rhai", &rhai(rhai_look))
        .file("reads.lua", mine)
        .start();
    let answered = |path: &str| {
        let answer = gateway.get(path).ok();
        let fields = answer.headers.0.iter().filter(|(name, _)| name != "x-request-id" && name != "date");
        let mut fields: Vec<String> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        fields.sort();
        assert_eq!(answer.headers.0.iter().filter(|(name, _)| name == "x-request-id").count(), 1, "{path}");
        (fields.join("|"), String::from_utf8_lossy(&answer.body).into_owned())
    };
    for kind in ["json", "validated", "text", "hop"] {
        for language in ["lua", "rhai"] {
            let (blind, looks) =
                (answered(&format!("/{language}/{kind}")), answered(&format!("/looks/{language}/{kind}")));
            assert_eq!(blind, looks, "{language} {kind}");
        }
    }
    let (fields, body) = answered("/lua/validated");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body, json!({ "kind": "application/json", "doc": r#"{"a":1}"# }));
    let expected =
        "content-length: 45|content-type: application/json|set-cookie: a=1|set-cookie: b=2|x-mine: m|x-own: n";
    assert_eq!(fields, expected);
    let (fields, _) = answered("/lua/text");
    assert!(fields.contains("content-type: application/json") && !fields.contains("text/plain"), "{fields}");
    let (fields, body) = answered("/reads/hop");
    assert_eq!(body, r#"{"a":1}"#);
    let expected =
        "content-length: 7|content-type: application/json|set-cookie: a=1|set-cookie: b=2|x-mine: m|x-own: o";
    assert_eq!(fields, expected);
}

#[test]
fn a_body_over_the_limit_is_refused_and_never_cut() {
    let upstream = Upstream::start(|_| reply(200, format!("\"{}\"", "x".repeat(2000))).json());
    let yaml = "
limits: {max_body_size: 1KiB}
services: [{name: s, url: '${s}', routes: [{paths: [/], plugins: [{script: a.lua}]}]}]
";
    let script = "return {
  on_request = function(req) if req.method == 'POST' then req:json() end end,
  on_response = function(res) res:set_json(res:json()) end,
}";
    let gateway = gateway(yaml).url("s", &upstream).file("a.lua", script).start();
    gateway.send(Request::post("/", "").json(&format!("\"{}\"", "x".repeat(2000)))).problem(413);
    assert_eq!(upstream.requests().len(), 0);
    gateway.get("/").problem(502);
}
