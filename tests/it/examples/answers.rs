//! The cases of examples: what clients get, and what the log says of it.

use super::{Case, Seen, case, cases::get};
use crate::support::{
    Request, reply,
    token::{Key, ada, ada_with},
    upstream::UpstreamReply,
    wire::Received,
};
use serde_json::json;
use std::time::Duration;

pub fn echo() -> Vec<Case> {
    vec![
        case("a GET comes back", get("/a/b?c=1"))
            .json(json!({ "method": "GET", "path": "/a/b", "query": "c=1", "headers": {}, "body": "" }))
            .kept_back(),
        case("a POST comes back", Request::post("/", "hello").header("x-tenant", "t-1")).json(
            json!({ "method": "POST", "path": "/", "query": "", "headers": { "x-tenant": "t-1" }, "body": "hello" }),
        ),
    ]
}

pub fn warehouses(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/east/search?q=tea" => {
            reply(200, r#"[{"name":"green tea","cents":300},{"name":"tea pot","cents":1900}]"#).json()
        }
        "/west/search?q=tea" => reply(200, r#"[{"name":"black tea","cents":250}]"#).json(),
        "/west/search?q=pot" => reply(200, "[]").json(),
        _ => reply(500, ""),
    }
}

pub fn response_merging() -> Vec<Case> {
    vec![
        case("both are merged by price", get("/?q=tea"))
            .json(json!({ "items": [
                { "name": "black tea", "cents": 250, "warehouse": "west" },
                { "name": "green tea", "cents": 300, "warehouse": "east" },
                { "name": "tea pot", "cents": 1900, "warehouse": "east" },
            ], "missing": [] }))
            .check(|seen| assert_eq!(seen.received.len(), 2, "{}", seen.fact)),
        case("one may be missing", get("/?q=pot")).json(json!({ "items": [], "missing": ["east"] })),
        case("both may not", get("/?q=none")).status(502).says("no warehouse answers"),
    ]
}

pub fn staff(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/text" => reply(200, "salary: 5").header("content-type", "text/plain"),
        _ => {
            reply(200, r#"{"name":"Ada","salary":5,"team":[{"name":"Bob","salary":4,"email":"b@x"}],"none":[]}"#).json()
        }
    }
}

pub fn redact_by_role(key: &Key) -> Vec<Case> {
    let of = |role: &str| get("/").bearer(&key.token("HS256", &ada_with("role", role)));
    let others = json!({ "name": "Ada", "team": [{ "name": "Bob" }], "none": [] });
    vec![
        case("admins see all", of("admin")).json(
            json!({ "name": "Ada", "salary": 5, "team": [{ "name": "Bob", "salary": 4, "email": "b@x" }], "none": [] }),
        ),
        case("support sees no salaries", of("support"))
            .json(json!({ "name": "Ada", "team": [{ "name": "Bob", "email": "b@x" }], "none": [] }))
            .header("cache-control", "private"),
        case("an unknown role sees least", of("boss")).json(others.clone()),
        case("a role that is no text sees least", get("/").bearer(&key.token("HS256", &ada_with("role", 1))))
            .json(others),
        case("nobody gets in without a token", get("/")).status(401).kept_back(),
        case("a HEAD stays without a body", Request::new("HEAD", "/").bearer(&key.token("HS256", &ada())))
            .header("content-type", "application/json"),
    ]
}

pub fn site(request: &Received) -> UpstreamReply {
    let of = |kind: &str| reply(200, "x").header("content-type", kind);
    match request.target.as_str() {
        "/logo" => of("image/png"),
        "/style" => of("Text/CSS; charset=utf-8"),
        "/page" => of("text/html"),
        "/own" => of("text/html").header("cache-control", "max-age=5"),
        "/cookie" => of("image/png").header("set-cookie", "a=b"),
        "/missing" => reply(404, "").header("content-type", "image/png"),
        _ => of("application/json"),
    }
}

pub fn cache_control() -> Vec<Case> {
    let kept = |fact, target, value| case(fact, get(target)).header("cache-control", value);
    vec![
        kept("images for a week", "/logo", "public, max-age=604800"),
        kept("styles for an hour", "/style", "public, max-age=3600"),
        kept("pages are asked for again", "/page", "no-cache"),
        kept("others are not kept", "/data", "no-store"),
        kept("what the service says stays", "/own", "max-age=5"),
        kept("what has a cookie is private", "/cookie", "private, no-cache"),
        case("errors are left alone", get("/missing")).status(404).without("cache-control"),
    ]
}

pub fn broken(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/missing" => reply(404, r#"{"error":"none"}"#).json(),
        "/own" => reply(500, "<h1>own</h1>").header("content-type", "text/html"),
        "/fails" => reply(500, "stack trace: secret"),
        _ => reply(200, "ok"),
    }
}

pub fn error_pages() -> Vec<Case> {
    let browser = |target: &str| get(target).header("accept", "text/html,*/*;q=0.8");
    vec![
        case("a browser gets a page", browser("/missing"))
            .status(404)
            .header("content-type", "text/html; charset=utf-8")
            .says("<h1>This page is not here</h1>")
            .check(|seen| {
                let id = seen.answer.header("x-request-id").unwrap_or_default();
                assert!(seen.answer.text().contains(id), "{}: {}", seen.fact, seen.answer.text());
            }),
        case("a program keeps the JSON", get("/missing")).status(404).json(json!({ "error": "none" })),
        case("other errors have a page too", browser("/fails"))
            .status(500)
            .says("<h1>Something went wrong</h1>")
            .check(|seen| assert!(!seen.answer.text().contains("secret"), "{}: {}", seen.fact, seen.answer.text())),
        case("the service's own page stays", browser("/own")).status(500).says("<h1>own</h1>"),
        case("good answers are left alone", browser("/")).says("ok"),
    ]
}

pub fn pages(request: &Received) -> UpstreamReply {
    let body =
        r#"{"items":[{"url":"http://items.internal/1"}],"next":"http://items.internal:9000/items?page=3","prev":null}"#;
    let answer = reply(200, body).json();
    match request.target.as_str() {
        "/list" => reply(200, "[1]").json(),
        _ => answer.header(
            "link",
            "<http://items.internal/items?page=3>; rel=\"next\", <https://elsewhere.example/>; rel=\"about\"",
        ),
    }
}

pub fn pagination_links() -> Vec<Case> {
    let public = |seen: &Seen| {
        let language = if seen.fact.contains("(lua)") { "lua" } else { "rhai" };
        let expected = json!({
            "items": [{ "url": "http://items.internal/1" }],
            "next": format!("http://{language}.localhost/items?page=3"),
            "prev": null,
        });
        assert_eq!(seen.answer.json(), expected, "{}", seen.fact);
        let link = format!(
            "<http://{language}.localhost/items?page=3>; rel=\"next\", <https://elsewhere.example/>; rel=\"about\""
        );
        assert_eq!(seen.answer.header("link"), Some(link.as_str()), "{}", seen.fact);
    };
    vec![
        case("links lead to the public address", get("/items?page=2")).check(public),
        case("a list has no links", get("/list")).json(json!([1])),
        case("a HEAD has no body", Request::new("HEAD", "/items")).check(|seen| {
            let link = seen.answer.header("link").unwrap_or_default();
            assert!(link.contains(".localhost/items?page=3>"), "{}: {link}", seen.fact);
        }),
    ]
}

pub fn slow(request: &Received) -> UpstreamReply {
    let answer = reply(200, "ok");
    if request.target.starts_with("/slow") { answer.after(Duration::from_millis(250)) } else { answer }
}

pub fn rates(received: &Received) -> UpstreamReply {
    if received.target == "/rates" { reply(200, r#"{"usd":1.25}"#).json() } else { reply(200, "fine") }
}

pub fn exchange_rates() -> Vec<Case> {
    vec![
        case("who comes first has them fetched", get("/")).header("x-rate-usd", "1.25"),
        case("and who comes next gets what is there", get("/")).header("x-rate-usd", "1.25"),
    ]
}

pub fn log_slow() -> Vec<Case> {
    vec![
        case("a fast answer is none of its business", get("/fast")),
        case("a slow one is logged, and no fast one", get("/slow?token=secret")).check(|seen| {
            let line = seen.gateway.log_contains("slow answer");
            let id = seen.answer.header("x-request-id").unwrap_or_default();
            for part in ["GET /slow", id, "127.0.0.1", "WARN"] {
                assert!(line.contains(part), "{}: {part}\n{line}", seen.fact);
            }
            assert!(!line.contains("secret"), "{}: {line}", seen.fact);
        }),
    ]
}
