//! The cases of examples: what reaches which service, and what the service is told.

use super::{
    Case, Seen, case,
    cases::{get, hex, hmac_hex},
};
use crate::support::{
    Request,
    token::{Key, ada_with, in_seconds},
};
use aws_lc_rs::digest;
use serde_json::json;

pub fn ab_routing() -> Vec<Case> {
    vec![
        case("group a keeps the old shop", get("/cart?x=1").header("cookie", "ab=a"))
            .forwarded("/old/cart?x=1")
            .header("set-cookie", "own=1"),
        case("group b keeps the new one", get("/cart").header("cookie", "other=1; ab=b")).forwarded("/new/cart"),
        case("a visitor is given a group and told so", get("/cart")).check(in_one_group),
        case("a made-up group is no group", get("/cart").header("cookie", "ab=admin")).check(in_one_group),
    ]
}

fn in_one_group(seen: &Seen) {
    let cookies = seen.answer.headers.all("set-cookie");
    assert_eq!(cookies.len(), 2, "{}: {cookies:?}", seen.fact);
    let group = if seen.received().target == "/new/cart" { "b" } else { "a" };
    assert_eq!(cookies[1], format!("ab={group}; Path=/; Max-Age=2592000; SameSite=Lax"), "{}", seen.fact);
}

pub fn canary() -> Vec<Case> {
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

pub fn api_version() -> Vec<Case> {
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

pub fn tenant_subdomain() -> Vec<Case> {
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

pub fn language_redirect() -> Vec<Case> {
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

pub fn default_query() -> Vec<Case> {
    let with = |parts: &'static [&'static str]| {
        move |seen: &Seen| {
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

pub fn feature_flags() -> Vec<Case> {
    vec![
        case("without Redis the defaults hold", get("/")).forwarded_header("x-features", Some("fast-search")),
        case("a client can't switch them", get("/").header("x-features", "new-cart"))
            .forwarded_header("x-features", Some("fast-search")),
    ]
}

pub fn request_signing() -> Vec<Case> {
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

pub fn claims_to_headers(key: &Key) -> Vec<Case> {
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
