//! The cases of examples: what is not let through, or not twice.

use super::{
    Case, Seen, case,
    cases::{SECRET, get, hex, hmac_hex},
};
use crate::support::{
    Request, reply,
    token::{Key, ada, in_seconds},
    upstream::UpstreamReply,
    websocket::KEY,
    wire::Received,
};
use aws_lc_rs::digest;
use serde_json::json;

pub fn graphql_depth() -> Vec<Case> {
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

pub fn webhook_signature() -> Vec<Case> {
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

pub fn block_user_agent() -> Vec<Case> {
    vec![
        case("a browser passes", get("/").header("user-agent", "Mozilla/5.0")).forwarded("/"),
        case("a scraper does not", get("/").header("user-agent", "Scrapy/2.11")).status(403).kept_back(),
        case("an old library does not", get("/").header("user-agent", "python-requests/1.2")).status(403).kept_back(),
        case("a new one does", get("/").header("user-agent", "python-requests/2.32")).forwarded("/"),
        case("who says nothing does not", get("/")).status(403).kept_back(),
    ]
}

pub fn maintenance() -> Vec<Case> {
    let from_now_on = |seen: &Seen| {
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

/// What the page of the challenge finds out in a browser.
fn solved(expiry: i64, address: &str) -> String {
    let seed = format!("{expiry}.{}", hmac_hex(&format!("{expiry} {address}")));
    let texts = (0..).map(|nonce| format!("{seed}.{nonce}"));
    let mut good =
        texts.filter(|text| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()).starts_with("000"));
    good.next().unwrap_or_default()
}

pub fn bot_challenge() -> Vec<Case> {
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

pub fn cost_limits() -> Vec<Case> {
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

pub fn orders(request: &Received) -> UpstreamReply {
    match request.text().as_str() {
        "fail" => reply(503, "later"),
        "refuse" => reply(400, r#"{"no":1}"#).json(),
        _ => reply(201, format!(r#"{{"order":"{}"}}"#, request.text())).json(),
    }
}

pub fn idempotency_keys() -> Vec<Case> {
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

pub fn websocket_token(key: &Key) -> Vec<Case> {
    let token = key.token("HS256", &ada());
    let opens = |target: &str| {
        get(target)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", KEY)
            .header("sec-websocket-version", "13")
    };
    let by_query = opens(&format!("/chat?room=1&access_token={token}"));
    let bearer = format!("Bearer {token}");
    let ours = "http://lua.localhost:8080";
    vec![
        case("the token leaves the query", by_query.clone().header("origin", ours))
            .forwarded("/chat?room=1")
            .forwarded_header("x-user-id", Some("42"))
            .forwarded_header("upgrade", Some("websocket"))
            .check(move |seen| {
                assert_eq!(seen.received().header("authorization"), Some(bearer.as_str()), "{}", seen.fact);
            }),
        case("programs may send it as a header", opens("/chat").bearer(&token)).forwarded("/chat"),
        case("pages of others are refused", by_query.header("origin", "http://evil.example"))
            .status(403)
            .says("not from a page of http://evil.example")
            .kept_back(),
        case("nobody gets in without a token", opens("/chat")).status(401).kept_back(),
        case("other requests are told what this is for", get("/chat").bearer(&token))
            .status(426)
            .header("sec-websocket-version", "13")
            .kept_back(),
    ]
}
