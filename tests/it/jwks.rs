//! Keys that an issuer publishes: fetched when they are needed, kept when it is gone, and never a reason to refuse a good token.

use crate::support::{
    Answer, Gateway, Request, Upstream, eventually, gateway, reply, repository,
    token::{Key, ada, jwk, part},
    upstream::UpstreamReply,
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{Arc, Mutex},
};

/// An issuer whose keys can be changed, or that fails.
struct Issuer {
    upstream: Upstream,
    answer: Arc<Mutex<UpstreamReply>>,
}

fn set(keys: &[Value]) -> UpstreamReply {
    reply(200, json!({ "keys": keys }).to_string()).json()
}

impl Issuer {
    fn start(answer: UpstreamReply) -> Issuer {
        let answer = Arc::new(Mutex::new(answer));
        let current = answer.clone();
        Issuer { upstream: Upstream::start(move |_| current.lock().expect("a lock").clone()), answer }
    }

    fn becomes(&self, answer: UpstreamReply) {
        *self.answer.lock().expect("a lock") = answer;
    }

    fn asked(&self) -> usize {
        self.upstream.requests().len()
    }
}

struct Guarded {
    gateway: Gateway,
    service: Upstream,
    issuer: Issuer,
}

impl Guarded {
    fn answer(&self, token: &str) -> Answer {
        self.gateway.send(Request::get("/").bearer(token))
    }
}

/// `jwt-auth` in both languages with an issuer of its own each, which is asked at its address or as a service.
fn guarded(more: &str, answer: impl Fn() -> UpstreamReply) -> Vec<Guarded> {
    let all = [("lua", "${issuer}"), ("rhai", "svc://issuer")];
    let guarded = all.map(|(language, at)| {
        let (service, issuer) = (Upstream::echo("it"), Issuer::start(answer()));
        let yaml = format!(
            "workers: 1
services:
  - {{name: issuer, url: '${{issuer}}'}}
  - name: s
    url: ${{s}}
    routes:
      - name: r
        paths: [/]
        plugins: [{{name: jwt-auth, config: {{jwks: '{at}/jwks.json', {more}}}}}]
"
        );
        let mut given = gateway(&yaml).url("s", &service).url("issuer", &issuer.upstream);
        if language == "rhai" {
            let source = fs::read_to_string(repository("scripts/jwt-auth.rhai")).expect("a script");
            given = given.file("plugins/jwt-auth.rhai", &source);
        }
        Guarded { gateway: given.start(), service, issuer }
    });
    guarded.into()
}

fn signed(key: &Key, algorithm: &str, id: &str) -> String {
    key.token_with(&json!({ "alg": algorithm, "kid": id }), algorithm, &ada())
}

fn unavailable(answer: &Answer) {
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.header("www-authenticate"), None);
}

#[test]
fn keys_of_every_kind_verify_and_others_of_the_set_are_ignored() {
    let keys = ["RS256", "PS384", "ES256", "ES384", "EdDSA"].map(|algorithm| (algorithm, Key::make(algorithm)));
    let secret = Key::make("HS256");
    let encrypting = Key::make("RS256");
    let mut all: Vec<Value> = keys.iter().map(|(algorithm, key)| jwk(key, algorithm)).collect();
    let mut not_for_this = jwk(&encrypting, "enc");
    not_for_this["use"] = "enc".into();
    all.extend([not_for_this, jwk(&secret, "secret"), json!({ "kty": "new" }), json!(7)]);
    for it in guarded("algorithms: [RS256, PS384, ES256, ES384, EdDSA]", || set(&all)) {
        for (algorithm, key) in &keys {
            it.answer(&signed(key, algorithm, algorithm)).ok();
            it.answer(&key.token(algorithm, &ada())).ok();
            it.answer(&signed(key, algorithm, "enc")).problem(401);
        }
        it.answer(&signed(&encrypting, "RS256", "enc")).problem(401);
        assert_eq!(it.service.requests()[0].header("x-user-id"), Some("42"));
        // At first, and for the key that is ignored.
        assert_eq!(it.issuer.asked(), 2);
    }
}

#[test]
fn a_rotated_key_is_fetched_and_a_flood_of_unknown_ones_only_once() {
    let (old, new) = (Key::make("ES256"), Key::make("ES256"));
    for it in guarded("algorithms: [ES256]", || set(&[jwk(&old, "old")])) {
        it.answer(&signed(&old, "ES256", "old")).ok();
        it.issuer.becomes(set(&[jwk(&new, "new")]));
        it.answer(&signed(&old, "ES256", "old")).ok();
        assert_eq!(it.issuer.asked(), 1);
        it.answer(&signed(&new, "ES256", "new")).ok();
        assert_eq!(it.issuer.asked(), 2);
        // A key that was withdrawn verifies no more, a token that was verified with it included.
        it.answer(&signed(&old, "ES256", "old")).problem(401);
        for id in 0..50 {
            it.answer(&signed(&old, "ES256", &format!("../{id}"))).problem(401);
        }
        it.answer(&signed(&new, "ES256", "new")).ok();
        assert_eq!(it.issuer.asked(), 2);
    }
}

#[test]
fn many_wait_for_one_fetch() {
    let key = Key::make("ES256");
    for it in guarded("algorithms: [ES256]", || set(&[jwk(&key, "a")]).after(std::time::Duration::from_millis(300))) {
        let token = signed(&key, "ES256", "a");
        std::thread::scope(|threads| {
            for _ in 0..10 {
                threads.spawn(|| it.answer(&token).ok());
            }
        });
        assert_eq!(it.issuer.asked(), 1);
    }
}

#[test]
fn without_keys_nothing_is_said_of_a_token_until_they_come() {
    let key = Key::make("ES256");
    let big = "x".repeat(300 << 10);
    for (what, broken) in [
        ("an error", reply(500, "down")),
        ("a redirect", reply(302, "").header("location", "http://127.0.0.1:1/")),
        ("no set", reply(200, "[]")),
        ("too much", reply(200, json!({ "keys": [], "more": big }).to_string())),
    ] {
        for it in guarded("algorithms: [ES256]", || broken.clone()) {
            let good = signed(&key, "ES256", "a");
            unavailable(&it.answer(&good));
            // What is bad without any key stays so.
            it.gateway.get("/").problem(401);
            it.answer("x").problem(401);
            it.answer(&Key::make("HS256").token("HS256", &ada())).problem(401);
            assert_eq!(it.service.requests().len(), 0, "{what}");
            it.issuer.becomes(set(&[jwk(&key, "a")]));
            eventually("the keys", || Some(it.answer(&good)).filter(|answer| answer.status == 200));
        }
    }
}

#[test]
fn keys_go_on_without_their_issuer_until_they_are_too_old() {
    let key = Key::make("ES256");
    for (max_stale, lasts) in [("24h", true), ("300ms", false)] {
        let config = format!("algorithms: [ES256], jwks_max_age: 1ms, jwks_max_stale: {max_stale}");
        for it in guarded(&config, || set(&[jwk(&key, "a")])) {
            let good = signed(&key, "ES256", "a");
            it.answer(&good).ok();
            it.issuer.becomes(reply(500, "down"));
            if lasts {
                eventually("a fetch that fails", || {
                    it.answer(&good).ok();
                    (it.issuer.asked() > 1).then_some(())
                });
                it.answer(&good).ok();
                it.answer(&signed(&Key::make("ES256"), "ES256", "a")).problem(401);
                // It may be a new one of the issuer's.
                unavailable(&it.answer(&signed(&key, "ES256", "unknown")));
            } else {
                let gone = eventually("the end", || Some(it.answer(&good)).filter(|answer| answer.status != 200));
                unavailable(&gone);
            }
        }
    }
}

#[test]
fn a_bad_token_is_refused_whatever_it_says_of_its_key() {
    let (key, other) = (Key::make("RS256"), Key::make("RS256"));
    for it in guarded("algorithms: [RS256]", || set(&[jwk(&key, "a")])) {
        let good = signed(&key, "RS256", "a");
        it.answer(&good).ok();
        let public = Key::Secret(key.text());
        let own = json!({ "alg": "RS256", "kid": "a", "jwk": jwk(&other, "a"), "jku": it.service.url(), "x5u": it.service.url() });
        for (what, token) in [
            ("another key", signed(&other, "RS256", "a")),
            ("a key of its own", other.token_with(&own, "RS256", &ada())),
            ("the public key as a secret", public.token_with(&json!({ "alg": "HS256", "kid": "a" }), "HS256", &ada())),
            ("none", format!("{}.{}.", part(&json!({ "alg": "none", "kid": "a" })), part(&ada()))),
            ("an algorithm that is not allowed", signed(&key, "PS256", "a")),
            ("a kid that is no string", key.token_with(&json!({ "alg": "RS256", "kid": 7 }), "RS256", &ada())),
        ] {
            let answer = it.answer(&token);
            answer.problem(401);
            assert!(answer.header("www-authenticate").is_some(), "{what}");
        }
        assert_eq!((it.service.requests().len(), it.issuer.asked()), (1, 1));
    }
}

#[test]
fn keys_survive_a_reload() {
    let key = Key::make("ES256");
    for it in guarded("algorithms: [ES256]", || set(&[jwk(&key, "a")])) {
        let good = signed(&key, "ES256", "a");
        it.answer(&good).ok();
        it.issuer.becomes(reply(500, "down"));
        it.gateway.signal("HUP");
        it.gateway.log_contains("\"reloaded\"");
        it.answer(&good).ok();
        assert_eq!(it.issuer.asked(), 1);
    }
}

/// Whoever may not call the issuer's host has no keys of it, also where another plugin has fetched them.
#[test]
fn a_script_has_keys_of_permitted_hosts_alone() {
    let key = Key::make("ES256");
    let lua = "return { on_request = function(req)
  local got = jwt.verify(req.headers['x-token'], { jwks = req.query.url, algorithms = { 'ES256' } })
  return reply.text(200, (got.error or 'good') .. ' ' .. #(jwt.jwks(req.query.url) or {}))
end }";
    let rhai = "fn on_request(req, ctx) {
  let got = jwt::verify(req.headers[\"x-token\"], #{ jwks: req.query[\"url\"], algorithms: [\"ES256\"] });
  let keys = jwt::jwks(req.query[\"url\"]);
  reply::text(200, `${if got.error == () { \"good\" } else { got.error }} ${if keys == () { 0 } else { keys.len() }}`)
}";
    for (extension, script) in [("lua", lua), ("rhai", rhai)] {
        let issuer = Issuer::start(set(&[jwk(&key, "a")]));
        let url = format!("{}/jwks.json", issuer.upstream.url());
        let yaml = format!(
            "workers: 1
services:
  - name: s
    url: ${{s}}
    routes:
      - {{name: guarded, paths: [/guarded], plugins: [{{name: jwt-auth, config: {{jwks: '{url}', algorithms: [ES256]}}}}]}}
      - {{name: own, paths: [/own], plugins: [{{name: own}}]}}
      - {{name: permitted, paths: [/permitted], plugins: [{{name: permitted}}]}}
"
        );
        let host = issuer.upstream.address();
        let manifest = format!("kind = \"other\"\n[permissions]\nhosts = [\"{host}\"]\n");
        let given = gateway(&yaml).url("s", &Upstream::echo("it"));
        let given = given.file(&format!("plugins/own.{extension}"), script);
        let given = given.file("plugins/permitted/plugin.toml", &manifest);
        let gateway = given.file(&format!("plugins/permitted/main.{extension}"), script).start();
        let token = signed(&key, "ES256", "a");
        gateway.send(Request::get("/guarded").bearer(&token)).ok();
        let said = |path: &str| {
            let request = Request::get(&format!("{path}?url={url}")).header("x-token", &token);
            gateway.send(request).ok().text()
        };
        assert_eq!(said("/own"), "keys 0");
        assert_eq!(issuer.asked(), 1);
        assert_eq!(said("/permitted"), "good 1");
        assert_eq!(said("/own"), "keys 0");
        assert_eq!(issuer.asked(), 2);
    }
}
