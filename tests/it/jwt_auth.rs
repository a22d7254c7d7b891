//! Pattern 2: `jwt-auth` lets valid tokens pass, and nothing else; who the caller is comes from the token only.

use crate::support::{
    Answer, Gateway, Request, Upstream, gateway,
    token::{Key, ada, ada_with, in_seconds, part},
};
use serde_json::{Value, json};

const ALGORITHMS: [&str; 12] =
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// A service behind `jwt-auth` with that key, and more of its configuration.
fn guarded(key: &Key, algorithms: &str, more: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::echo("it");
    let option = key.option();
    let yaml = format!(
        "
services:
  - name: s
    url: ${{s}}
    routes:
      - name: guarded
        paths: [/guarded]
        plugins:
          - name: jwt-auth
            config: {{{option}: '${{KEY}}', algorithms: [{algorithms}], {more}}}
      - {{name: open, paths: [/open]}}
"
    );
    (gateway(&yaml).url("s", &upstream).env("KEY", key.text()).start(), upstream)
}

/// Checks that this is a 401 with a challenge, and gives detail and challenge.
fn refused(answer: &Answer) -> (String, String) {
    let detail = answer.problem(401);
    (detail, answer.header("www-authenticate").expect("a challenge").to_owned())
}

#[test]
fn every_algorithm_verifies_and_tells_the_service_who_it_is() {
    for algorithm in ALGORITHMS {
        let key = Key::make(algorithm);
        let (gateway, upstream) = guarded(&key, algorithm, "");
        gateway.send(Request::get("/guarded/x").bearer(&key.token(algorithm, &ada()))).ok();
        let received = upstream.request();
        assert_eq!(received.header("x-user-id"), Some("42"), "{algorithm}");
        assert_eq!(received.header("x-user-email"), Some("ada@example.com"), "{algorithm}");
        let forged = Key::make(algorithm).token(algorithm, &ada_with("sub", "1"));
        let forged = if matches!(key, Key::Secret(_)) {
            Key::Secret("another secret".repeat(8)).token(algorithm, &ada_with("sub", "1"))
        } else {
            forged
        };
        let answer = gateway.send(Request::get("/guarded").bearer(&forged));
        let (_, challenge) = refused(&answer);
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{algorithm}: {challenge}");
        assert_eq!(upstream.requests().len(), 1, "{algorithm}");
    }
}

#[test]
fn a_missing_token_gets_a_bare_challenge() {
    let (gateway, upstream) = guarded(&Key::make("HS256"), "HS256", "");
    let bare = ("a bearer token is required".to_owned(), "Bearer".to_owned());
    assert_eq!(refused(&gateway.get("/guarded")), bare);
    assert_eq!(refused(&gateway.send(Request::get("/guarded").header("authorization", "Basic eDp5"))), bare);
    assert_eq!(refused(&gateway.send(Request::get("/guarded").header("authorization", ""))), bare);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn what_is_no_valid_token_is_refused() {
    let key = Key::make("HS256");
    let (gateway, upstream) = guarded(&key, "HS256", "");
    let good = key.token("HS256", &ada());
    let pieces: Vec<&str> = good.split('.').collect();
    let none = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&ada()));
    let none_signed = format!("{}.{}.{}", part(&json!({ "alg": "none" })), pieces[1], pieces[2]);
    for (what, token) in [
        ("empty", String::new()),
        ("no token", "xyz".into()),
        ("two parts", format!("{}.{}", pieces[0], pieces[1])),
        ("four parts", format!("{good}.x")),
        ("not base64", format!("{}.{}.!!!", pieces[0], pieces[1])),
        ("not JSON", format!("{}.eA.{}", pieces[0], pieces[2])),
        ("no signature", format!("{}.{}.", pieces[0], pieces[1])),
        ("forged claims", format!("{}.{}.{}", pieces[0], part(&ada_with("sub", "1")), pieces[2])),
        ("alg none", none),
        ("alg None, signed", none_signed),
        ("alg of another family", key.token_with(&json!({ "alg": "RS256" }), "HS256", &ada())),
        ("alg that is not allowed", key.token("HS512", &ada())),
        ("expired", key.token("HS256", &ada_with("exp", in_seconds(-1)))),
        ("not yet valid", key.token("HS256", &ada_with("nbf", in_seconds(60)))),
        ("exp that is no number", key.token("HS256", &ada_with("exp", "tomorrow"))),
        ("crit", key.token_with(&json!({ "alg": "HS256", "crit": ["x"] }), "HS256", &ada())),
        ("claims that are no object", key.token("HS256", &json!([1]))),
    ] {
        let answer = gateway.send(Request::get("/guarded").bearer(&token));
        let (detail, challenge) = refused(&answer);
        assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
        assert!(!detail.contains(&key.text()), "{what}: {detail}");
    }
    assert_eq!(upstream.requests().len(), 0);
    gateway.send(Request::get("/guarded").bearer(&good)).ok();
}

/// RFC 8725 §2.1: a public key taken for an HMAC secret.
#[test]
fn a_public_key_is_never_a_secret() {
    let key = Key::make("RS256");
    let (gateway, upstream) = guarded(&key, "RS256", "");
    for secret in [key.text(), key.text().trim().to_owned()] {
        let token = Key::Secret(secret).token("HS256", &ada());
        refused(&gateway.send(Request::get("/guarded").bearer(&token)));
    }
    assert_eq!(upstream.requests().len(), 0);
    let both = gateway_error("secret: '${KEY}', algorithms: [RS256]", &key);
    assert!(both.contains("the secret is a PEM key; give it as the public key"), "{both}");
}

/// What `check` says about a configuration of `jwt-auth` that can't work.
fn gateway_error(config: &str, key: &Key) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = format!(
        "services: [{{name: s, url: 'http://127.0.0.1:1', routes: [{{name: r, paths: [/], plugins: [{{name: jwt-auth, config: {{{config}}}}}]}}]}}]"
    );
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let mut command = crate::support::command::binary();
    let ended = crate::support::command::ended(command.current_dir(folder.path()).arg("check").env("KEY", key.text()));
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    ended.stdout
}

#[test]
fn algorithms_must_be_named_and_known() {
    let key = Key::make("HS256");
    let missing = gateway_error("secret: '${KEY}'", &key);
    assert!(missing.contains("`algorithms`"), "{missing}");
    for algorithm in ["none", "HS257"] {
        let unknown = gateway_error(&format!("secret: '${{KEY}}', algorithms: [{algorithm}]"), &key);
        assert!(unknown.contains(algorithm), "{unknown}");
    }
}

#[test]
fn issuer_audience_and_leeway_are_held_to() {
    let key = Key::make("HS256");
    let more = "issuer: https://id.example.com, audience: [api, web], leeway: 30s";
    let (gateway, upstream) = guarded(&key, "HS256", more);
    let claims = |issuer: Value, audience: Value, exp: i64| {
        let claims = json!({ "sub": "42", "iss": issuer, "aud": audience, "exp": in_seconds(exp) });
        gateway.send(Request::get("/guarded").bearer(&key.token("HS256", &claims)))
    };
    let own = || json!("https://id.example.com");
    claims(own(), json!("web"), 60).ok();
    claims(own(), json!(["other", "api"]), 60).ok();
    claims(own(), json!("api"), -20).ok();
    let passed = upstream.requests().len();
    refused(&claims(json!("https://evil.example.com"), json!("api"), 60));
    refused(&claims(Value::Null, json!("api"), 60));
    refused(&claims(own(), json!("other"), 60));
    refused(&claims(own(), Value::Null, 60));
    refused(&claims(own(), json!("api"), -40));
    assert_eq!((passed, upstream.requests().len()), (3, 3));
}

#[test]
fn two_authorization_headers_are_refused_even_when_one_is_good() {
    let key = Key::make("HS256");
    let (gateway, upstream) = guarded(&key, "HS256", "");
    let good = key.token("HS256", &ada());
    for other in ["Bearer x".to_owned(), format!("Bearer {good}")] {
        let request = Request::get("/guarded").bearer(&good).header("Authorization", other);
        refused(&gateway.send(request));
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_clients_own_identity_never_gets_through_in_any_spelling() {
    let key = Key::make("HS256");
    let (gateway, upstream) = guarded(&key, "HS256", "");
    let forged = |target: &str| {
        [
            "x-user-id",
            "X-USER-ID",
            "x_user_id",
            "X.User.Id",
            "X_User-ID",
            "x-user_email",
            "X-User-Email",
            "x.user.email",
        ]
        .iter()
        .fold(Request::get(target), |request, name| request.header(name, "1"))
    };
    gateway.send(forged("/open")).ok();
    gateway.send(forged("/guarded").bearer(&key.token("HS256", &json!({ "sub": "42", "exp": in_seconds(60) })))).ok();
    let requests = upstream.requests();
    let identity = |index: usize| -> Vec<(String, String)> {
        let named = |(name, _): &&(String, String)| {
            name.to_lowercase().contains("user") && !name.eq_ignore_ascii_case("user-agent")
        };
        requests[index].headers.0.iter().filter(named).cloned().collect()
    };
    assert_eq!(identity(0), []);
    assert_eq!(identity(1), [("x-user-id".to_owned(), "42".to_owned())]);
}

#[test]
fn claims_go_where_the_configuration_says() {
    let key = Key::make("HS256");
    let (gateway, upstream) = guarded(&key, "HS256", "headers: {tenant: X-Tenant, roles: X-Roles}");
    let mut claims = ada_with("tenant", "blue");
    claims["roles"] = json!(["a", "b"]);
    gateway
        .send(
            Request::get("/guarded")
                .header("x_tenant", "forged")
                .header("x-tenant", "forged")
                .bearer(&key.token("HS256", &claims)),
        )
        .ok();
    let received = upstream.request();
    assert_eq!(received.headers.all("x-tenant"), ["blue"]);
    assert_eq!(received.header("x-roles"), Some(r#"["a","b"]"#));
    assert_eq!(received.header("x_tenant"), None, "another spelling of a header that the gateway sets");
}

#[test]
fn a_claim_can_not_break_out_of_its_header() {
    let key = Key::make("HS256");
    let (gateway, upstream) = guarded(&key, "HS256", "");
    let claims = ada_with("sub", "1\r\nx-admin: yes");
    let answer = gateway.send(Request::get("/guarded").bearer(&key.token("HS256", &claims)));
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(upstream.requests().len(), 0);
}
