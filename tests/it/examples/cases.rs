//! What is asked of each example, and what must come of it.

use super::{Case, Example, case};
use crate::support::{
    Request, reply,
    token::{Key, ada, ada_with, in_seconds},
    upstream::UpstreamReply,
    wire::Received,
};
use aws_lc_rs::{digest, hmac};
use serde_json::json;
use std::time::Duration;

/// Of everything that the examples sign.
pub const SECRET: &str = "a secret of the test";

/// Cases in all examples together, in one language.
pub const COUNT: usize = 111;

pub fn examples(key: &Key) -> Vec<Example> {
    let example = |folder, service, cases| Example { folder, service, cases };
    vec![
        example("ab-routing", plain, ab_routing()),
        example("api-version", plain, api_version()),
        example("block-user-agent", plain, block_user_agent()),
        example("bot-challenge", plain, bot_challenge()),
        example("cache-control", site, cache_control()),
        example("canary", plain, canary()),
        example("claims-to-headers", plain, claims_to_headers(key)),
        example("cost-limits", plain, cost_limits()),
        example("default-query", plain, default_query()),
        example("echo", plain, echo()),
        example("error-pages", broken, error_pages()),
        example("feature-flags", plain, feature_flags()),
        example("graphql-depth", plain, graphql_depth()),
        example("idempotency-keys", orders, idempotency_keys()),
        example("language-redirect", plain, language_redirect()),
        example("log-slow", slow, log_slow()),
        example("maintenance", plain, maintenance()),
        example("pagination-links", pages, pagination_links()),
        example("redact-by-role", staff, redact_by_role(key)),
        example("request-signing", plain, request_signing()),
        example("response-merging", warehouses, response_merging()),
        example("tenant-subdomain", plain, tenant_subdomain()),
        example("webhook-signature", plain, webhook_signature()),
    ]
}

fn get(target: &str) -> Request {
    Request::get(target)
}

fn plain(_: &Received) -> UpstreamReply {
    reply(200, "ok").header("content-type", "text/plain").header("set-cookie", "own=1")
}

fn echo() -> Vec<Case> {
    vec![
        case("a GET comes back", get("/a/b?c=1"))
            .json(json!({ "method": "GET", "path": "/a/b", "query": "c=1", "body": "" }))
            .kept_back(),
        case("a POST comes back", Request::post("/", "hello"))
            .json(json!({ "method": "POST", "path": "/", "query": "", "body": "hello" })),
    ]
}

fn ab_routing() -> Vec<Case> {
    vec![
        case("group a keeps the old shop", get("/cart?x=1").header("cookie", "ab=a"))
            .forwarded("/old/cart?x=1")
            .header("set-cookie", "own=1"),
        case("group b keeps the new one", get("/cart").header("cookie", "other=1; ab=b")).forwarded("/new/cart"),
        case("a visitor is given a group and told so", get("/cart")).check(in_one_group),
        case("a made-up group is no group", get("/cart").header("cookie", "ab=admin")).check(in_one_group),
    ]
}

fn in_one_group(seen: &super::Seen) {
    let cookies = seen.answer.headers.all("set-cookie");
    assert_eq!(cookies.len(), 2, "{}: {cookies:?}", seen.fact);
    let group = if seen.received().target == "/new/cart" { "b" } else { "a" };
    assert_eq!(cookies[1], format!("ab={group}; Path=/; Max-Age=2592000; SameSite=Lax"), "{}", seen.fact);
}

fn canary() -> Vec<Case> {
    vec![
        case("everybody gets the stable version", get("/x")).forwarded("/stable/x").header("x-version", "stable"),
        case("testers get the next one", get("/x").header("X-Canary", "always"))
            .forwarded("/next/x")
            .forwarded_header("x-canary", None)
            .header("x-version", "canary")
            .header("vary", "x-canary"),
        case("other words mean nothing", get("/x").header("X-Canary", "1")).forwarded("/stable/x"),
    ]
}

fn graphql_depth() -> Vec<Case> {
    let query = |query: &str| Request::post("/graphql", "").json(&json!({ "query": query }).to_string());
    vec![
        case("a flat query passes", query("{ user { name } }")).forwarded("/graphql"),
        case("four levels pass", query("query Q { a { b { c { d } } } }")).forwarded("/graphql"),
        case("five don't", query("{ a { b { c { d { e } } } } }")).status(400).says("5 deep: at most 4").kept_back(),
        case(
            "strings, comments and arguments don't count",
            query("{ a(f: {g: {h: {i: \"{{{{{\"}}}}) { b } # {{{{{\n }"),
        )
        .forwarded("/graphql"),
        case("fragments count", query("{ a { b { ...F } } } fragment F on T { c { d } }")).status(400).says("5 deep"),
        case("what is not JSON is refused", Request::post("/graphql", "").json("{")).status(400).kept_back(),
        case("a batch is refused", Request::post("/graphql", "").json("[]")).status(400).kept_back(),
        case(
            "a query hidden behind another is refused",
            Request::post("/graphql?query=%7Ba%7D", "").json(r#"{"query":"{b}"}"#),
        )
        .status(400)
        .kept_back(),
        case("queries in the URL count too", get("/graphql?query=%7Ba%7Bb%7Bc%7Bd%7Be%7D%7D%7D%7D%7D"))
            .status(400)
            .kept_back(),
    ]
}

fn staff(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/text" => reply(200, "salary: 5").header("content-type", "text/plain"),
        _ => {
            reply(200, r#"{"name":"Ada","salary":5,"team":[{"name":"Bob","salary":4,"email":"b@x"}],"none":[]}"#).json()
        }
    }
}

fn redact_by_role(key: &Key) -> Vec<Case> {
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

fn hmac_hex(message: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn webhook_signature() -> Vec<Case> {
    let signed = |at: i64, body: &str, sent: &str| {
        let value = format!("t={at},v1={}", hmac_hex(&format!("{at}.{body}")));
        Request::post("/hook", sent).header("x-signature", value)
    };
    let now = in_seconds(0);
    vec![
        case("a signed call passes", signed(now, "paid: €", "paid: €")).forwarded("/hook"),
        case("so does an empty one", signed(now, "", "")).forwarded("/hook"),
        case("a changed body is refused", signed(now, "paid: 1", "paid: 2")).status(401).says("is wrong").kept_back(),
        case("an old call is refused", signed(now - 400, "paid", "paid")).status(401).says("too old").kept_back(),
        case("one without a signature is refused", Request::post("/hook", "paid"))
            .status(401)
            .says("missing")
            .kept_back(),
    ]
}

fn request_signing() -> Vec<Case> {
    let signed = |case: Case| {
        case.check(|seen| {
            let got = seen.received();
            let at = got.header("x-signed-at").unwrap_or_default();
            assert!((in_seconds(-60)..=in_seconds(0)).contains(&at.parse().unwrap_or_default()), "{}: {at}", seen.fact);
            let body = digest::digest(&digest::SHA256, &got.body);
            let message = format!("{at}\n{}\n{}\n{}", got.method, got.target, hex(body.as_ref()));
            let expected = format!("gateway-1:{}", hmac_hex(&message));
            assert_eq!(got.header("x-signature"), Some(expected.as_str()), "{}", seen.fact);
        })
    };
    vec![
        signed(case("a GET is signed", get("/a%20b?x=1&y=%C3%A4"))),
        signed(case("a POST is signed with its body", Request::post("/pay", r#"{"amount":5}"#))),
        signed(case("a client's own signature is replaced", get("/").header("x-signature", "forged"))),
    ]
}

fn tenant_subdomain() -> Vec<Case> {
    vec![
        case("acme is told apart", get("/x").header("x-tenant", "t-2"))
            .subdomain("acme")
            .forwarded("/x")
            .forwarded_header("x-tenant", Some("t-1"))
            .forwarded_header("x-plan", Some("gold")),
        case("in capitals too", get("/x")).subdomain("GLOBEX").forwarded_header("x-tenant", Some("t-2")),
        case("others are not there", get("/x")).subdomain("nobody").status(404).says("no such tenant").kept_back(),
    ]
}

fn orders(request: &Received) -> UpstreamReply {
    match request.text().as_str() {
        "fail" => reply(503, "later"),
        "refuse" => reply(400, r#"{"no":1}"#).json(),
        _ => reply(201, format!(r#"{{"order":"{}"}}"#, request.text())).json(),
    }
}

fn idempotency_keys() -> Vec<Case> {
    let order = |key: &str, body: &str| Request::post("/orders", body).header("idempotency-key", key);
    vec![
        case("the first reaches the service", order("k1", "tea"))
            .status(201)
            .forwarded("/orders")
            .without("idempotency-replayed"),
        case("the second gets the same answer", order("k1", "tea"))
            .status(201)
            .json(json!({ "order": "tea" }))
            .header("content-type", "application/json")
            .header("idempotency-replayed", "true")
            .kept_back(),
        case("the key is good for one request only", order("k1", "coffee")).status(422).kept_back(),
        case("callers have keys of their own", order("k1", "milk").bearer("other")).status(201).forwarded("/orders"),
        case("a failure", order("k2", "fail")).status(503).forwarded("/orders"),
        case("may be tried again", order("k2", "tea")).status(201).forwarded("/orders"),
        case("a refusal", order("k3", "refuse")).status(400).forwarded("/orders"),
        case("is an answer as well", order("k3", "refuse")).status(400).json(json!({ "no": 1 })).kept_back(),
        case("without a key nothing is kept", Request::post("/orders", "tea")).status(201).forwarded("/orders"),
    ]
}

fn warehouses(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/east/search?q=tea" => {
            reply(200, r#"[{"name":"green tea","cents":300},{"name":"tea pot","cents":1900}]"#).json()
        }
        "/west/search?q=tea" => reply(200, r#"[{"name":"black tea","cents":250}]"#).json(),
        "/west/search?q=pot" => reply(200, "[]").json(),
        _ => reply(500, ""),
    }
}

fn response_merging() -> Vec<Case> {
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

fn maintenance() -> Vec<Case> {
    let from_now_on = |seen: &super::Seen| {
        let seconds: u64 = seen.answer.header("retry-after").and_then(|value| value.parse().ok()).unwrap_or_default();
        assert!(seconds > 1_000_000, "{}: retry-after {seconds}", seen.fact);
    };
    vec![
        case("programs get a problem", get("/"))
            .status(503)
            .header("content-type", "application/problem+json")
            .check(from_now_on)
            .kept_back(),
        case("browsers get a page", get("/").header("accept", "text/html,*/*"))
            .status(503)
            .header("content-type", "text/html; charset=utf-8")
            .says("<h1>Back soon</h1>")
            .check(from_now_on)
            .kept_back(),
        case("the staff gets through", get("/x").header("x-maintenance-pass", SECRET))
            .forwarded("/x")
            .forwarded_header("x-maintenance-pass", None),
        case("a wrong pass does not", get("/").header("x-maintenance-pass", "guess")).status(503).kept_back(),
    ]
}

fn block_user_agent() -> Vec<Case> {
    vec![
        case("a browser passes", get("/").header("user-agent", "Mozilla/5.0")).forwarded("/"),
        case("a scraper does not", get("/").header("user-agent", "Scrapy/2.11")).status(403).kept_back(),
        case("an old library does not", get("/").header("user-agent", "python-requests/1.2")).status(403).kept_back(),
        case("a new one does", get("/").header("user-agent", "python-requests/2.32")).forwarded("/"),
        case("who says nothing does not", get("/")).status(403).kept_back(),
    ]
}

fn default_query() -> Vec<Case> {
    let with = |parts: &'static [&'static str]| {
        move |seen: &super::Seen| {
            let target = seen.received().target.clone();
            let mut got: Vec<&str> = target.trim_start_matches("/items?").split('&').collect();
            got.sort_unstable();
            assert_eq!(got, parts, "{}", seen.fact);
        }
    };
    vec![
        case("what is missing is added", get("/items")).check(with(&["limit=20", "sort=name"])),
        case("what is there stays", get("/items?limit=5&sort=age&q=x")).check(with(&["limit=5", "q=x", "sort=age"])),
        case("too much is cut", get("/items?limit=5000&limit=9&debug=1")).check(with(&["limit=100", "sort=name"])),
        case("what is no number is refused", get("/items?limit=all"))
            .status(400)
            .says("`limit` is a number")
            .kept_back(),
    ]
}

fn slow(request: &Received) -> UpstreamReply {
    let answer = reply(200, "ok");
    if request.target.starts_with("/slow") { answer.after(Duration::from_millis(250)) } else { answer }
}

fn log_slow() -> Vec<Case> {
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

fn site(request: &Received) -> UpstreamReply {
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

fn cache_control() -> Vec<Case> {
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

fn broken(request: &Received) -> UpstreamReply {
    match request.target.as_str() {
        "/missing" => reply(404, r#"{"error":"none"}"#).json(),
        "/own" => reply(500, "<h1>own</h1>").header("content-type", "text/html"),
        "/fails" => reply(500, "stack trace: secret"),
        _ => reply(200, "ok"),
    }
}

fn error_pages() -> Vec<Case> {
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

fn api_version() -> Vec<Case> {
    let asked = |version: &str| get("/users").header("api-version", version);
    vec![
        case("without a word it is the default, which ends", get("/users"))
            .forwarded("/v1/users")
            .header("api-version", "1")
            .header("sunset", "Sat, 01 Jan 2028 00:00:00 GMT"),
        case("version 2 is another service", asked("2"))
            .forwarded("/v2/users")
            .header("api-version", "2")
            .header("vary", "api-version")
            .without("sunset"),
        case("there is no version 3", asked("3")).status(400).says("no such API-Version").kept_back(),
    ]
}

fn language_redirect() -> Vec<Case> {
    let sent_to = |fact, request: Request, location| {
        case(fact, request)
            .status(302)
            .header("location", location)
            .header("vary", "accept-language, cookie")
            .kept_back()
    };
    let prefers = |languages: &str| get("/about?x=1").header("accept-language", languages);
    vec![
        sent_to("the browser's language", prefers("de-AT"), "/de/about?x=1"),
        sent_to("the one liked best", prefers("en;q=0.5, fr-CH;q=0.9, es"), "/fr/about?x=1"),
        sent_to("never one that is refused", prefers("de;q=0"), "/en/about?x=1"),
        sent_to("the cookie wins", prefers("de").header("cookie", "language=fr"), "/fr/about?x=1"),
        sent_to("a made-up cookie doesn't", prefers("de").header("cookie", "language=..//x"), "/de/about?x=1"),
        sent_to("the country, if nothing else is known", get("/").header("cf-ipcountry", "AT"), "/de/"),
        sent_to("English for all others", get("/"), "/en/"),
        case("who has a language is left alone", get("/de/about").header("accept-language", "fr"))
            .forwarded("/de/about"),
        case("what is posted is left alone", Request::post("/form", "x")).forwarded("/form"),
    ]
}

fn claims_to_headers(key: &Key) -> Vec<Case> {
    let with = |claim: &str, value: serde_json::Value| {
        get("/")
            .bearer(&key.token("HS256", &ada_with(claim, value)))
            .header("x-roles", "forged")
            .header("x_level", "99")
    };
    vec![
        case("lists are joined", with("realm_access", json!({ "roles": ["admin", "dev"] })))
            .forwarded_header("x-roles", Some("admin,dev")),
        case("numbers are written", with("level", json!(7)))
            .forwarded_header("x-level", Some("7"))
            .forwarded_header("x-roles", None)
            .forwarded_header("x_level", None),
        case("text is found at its path", with("team", json!({ "name": "core" })))
            .forwarded_header("x-team", Some("core")),
        case("no value smuggles another in", with("realm_access", json!({ "roles": ["a,admin"] })))
            .forwarded_header("x-roles", None),
        case("nor a line", with("team", json!({ "name": "a\r\nx-roles: admin" }))).forwarded_header("x-team", None),
        case("nor another shape", with("team", json!("core"))).forwarded_header("x-team", None),
        case("nobody gets in without a token", get("/")).status(401).kept_back(),
    ]
}

fn cost_limits() -> Vec<Case> {
    let by = |key: &str, request: Request| request.header("x-api-key", key);
    vec![
        case("a cheap call costs 1", by("a", get("/items"))).header("x-cost", "1").header("x-budget-left", "19"),
        case("a search costs 8", by("a", get("/search?q=tea"))).header("x-cost", "8").header("x-budget-left", "11"),
        case("a report costs 15, which is not left", by("a", Request::post("/reports", "{}")))
            .status(429)
            .says("this costs 15, and 11 is left")
            .check(|seen| {
                let wait: u64 = seen.answer.header("retry-after").and_then(|v| v.parse().ok()).unwrap_or_default();
                assert!((1..=8).contains(&wait), "{}: retry-after {wait}", seen.fact);
            })
            .kept_back(),
        case("what was refused cost nothing", by("a", get("/search"))).header("x-budget-left", "3"),
        case("others have a budget of their own", by("b", Request::post("/reports", "{}")))
            .header("x-budget-left", "5"),
        case("so does who has no key", get("/items")).header("x-budget-left", "19"),
    ]
}

fn pages(request: &Received) -> UpstreamReply {
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

fn pagination_links() -> Vec<Case> {
    let public = |seen: &super::Seen| {
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

fn feature_flags() -> Vec<Case> {
    vec![
        case("without Redis the defaults hold", get("/")).forwarded_header("x-features", Some("fast-search")),
        case("a client can't switch them", get("/").header("x-features", "new-cart"))
            .forwarded_header("x-features", Some("fast-search")),
    ]
}

/// What the page of the challenge finds out in a browser.
fn solved(expiry: i64, address: &str) -> String {
    let seed = format!("{expiry}.{}", hmac_hex(&format!("{expiry} {address}")));
    let texts = (0..).map(|nonce| format!("{seed}.{nonce}"));
    let mut good =
        texts.filter(|text| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()).starts_with("000"));
    good.next().unwrap_or_default()
}

fn bot_challenge() -> Vec<Case> {
    let with = |cookie: &str| get("/x").header("accept", "text/html").header("cookie", format!("human={cookie}"));
    let refused = |fact, request: Request| case(fact, request).status(403).kept_back();
    let later = in_seconds(600);
    vec![
        refused("a browser gets the challenge", get("/x").header("accept", "text/html"))
            .header("content-type", "text/html; charset=utf-8")
            .header("cache-control", "no-store")
            .says("zeros = \"000\", age = 3600")
            .check(|seen| {
                let text = seen.answer.text();
                let seed = text.split("seed = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
                let (expiry, mac) = seed.split_once('.').unwrap_or_default();
                assert_eq!(mac, hmac_hex(&format!("{expiry} 127.0.0.1")), "{}: {seed}", seen.fact);
            }),
        refused("a program is told to use one", get("/x")).header("content-type", "application/problem+json"),
        case("who solved it passes", with(&solved(later, "127.0.0.1"))).forwarded("/x"),
        refused("not after it expired", with(&solved(in_seconds(-5), "127.0.0.1"))),
        refused("not from another address", with(&solved(later, "127.0.0.2"))),
        refused("not with another nonce", with(&format!("{}0", solved(later, "127.0.0.1")))),
        refused("not with nonsense", with("1.2.3")),
    ]
}
