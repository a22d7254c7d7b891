//! Who may pass: `key-auth`, `basic-auth` and `ip-restriction`, in both languages.
//!
//! What is refused never reaches the service, and what the service is told of the caller comes from the plugin only.

use crate::support::{
    Request, Upstream, gateway,
    stock::{behind, refused},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::time::Instant;

const KEYS: &str = "{consumers: {mobile: 0123456789abcdef, web: ['sha256:6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090', fedcba9876543210]}, query: key, realm: orders}";

#[test]
fn a_known_key_passes_and_tells_whose_it_is() {
    for behind in behind("key-auth", KEYS, || Upstream::echo("it")) {
        for (key, consumer) in [("0123456789abcdef", "mobile"), ("abc123", "web"), ("fedcba9876543210", "web")] {
            let request = Request::get("/x").header("x-api-key", key).header("x-user-id", "forged");
            behind.gateway.send(request).ok();
            behind.gateway.get(&format!("/x?a=1&key={key}")).ok();
            let received = behind.upstream.requests();
            for one in &received[received.len() - 2..] {
                assert_eq!(one.header("x-user-id"), Some(consumer), "{}", behind.language);
                assert_eq!(one.header("x-api-key"), None, "{}: the key stays here", behind.language);
                assert!(!one.target.contains(key), "{}: {}", behind.language, one.target);
            }
        }
    }
}

#[test]
fn no_key_a_wrong_one_or_two_are_refused_with_a_challenge() {
    for behind in behind("key-auth", KEYS, || Upstream::echo("it")) {
        let header = |key: &str| Request::get("/").header("x-api-key", key);
        for (request, detail) in [
            (Request::get("/"), "a valid API key is required"),
            (header(""), "a valid API key is required"),
            (header("0123456789ABCDEF"), "a valid API key is required"),
            // The hash is no key.
            (header("6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090"), "a valid API key is required"),
            (header("0123456789abcdef").header("x-api-key", "abc123"), "there is more than one API key"),
            (Request::get("/?key=abc123").header("x-api-key", "abc123"), "there is more than one API key"),
        ] {
            let answer = behind.gateway.send(request);
            assert_eq!(answer.problem(401), detail, "{}", behind.language);
            assert_eq!(answer.header("www-authenticate"), Some("ApiKey realm=\"orders\""), "{}", behind.language);
        }
        assert_eq!(behind.upstream.requests().len(), 0, "{}", behind.language);
    }
}

#[test]
fn a_plugin_that_lets_callers_in_can_not_be_told_to_go_on_after_an_error() {
    let shown = refused("{name: key-auth, on_error: continue, config: {consumers: {a: 0123456789abcdef}}}");
    assert!(shown.contains("on_error"), "{shown}");
    let users = format!("{{name: basic-auth, on_error: continue, config: {USERS}}}");
    assert!(refused(&users).contains("on_error"));
}

/// `ada` with `lovelace:1` and `ä` with `€`.
const USERS: &str = "{users: {ada: 'sha256:s1:dc852315b2d0cd73f1716bb83a0b4ee8ff4eb6a70ae1d25b773e16ac44d38000', ä: 'sha256:s2:f657c78e6c56d3403a6893d55bf58b23a14fb89af71cc8f8dd1379cdb3ec9fdc'}, realm: 'the \"gate\"'}";

fn basic(pair: &[u8]) -> Request {
    Request::get("/").header("authorization", format!("Basic {}", STANDARD.encode(pair)))
}

#[test]
fn a_known_user_with_the_right_password_passes() {
    for behind in behind("basic-auth", USERS, || Upstream::echo("it")) {
        for (name, password) in [("ada", "lovelace:1"), ("ä", "€")] {
            behind.gateway.send(basic(format!("{name}:{password}").as_bytes()).header("x-user-id", "forged")).ok();
            let received = behind.upstream.requests().pop().expect("a request");
            assert_eq!(received.header("x-user-id"), Some(name), "{}", behind.language);
            assert_eq!(received.header("authorization"), None, "{}: the password stays here", behind.language);
        }
    }
}

#[test]
fn other_names_passwords_and_schemes_are_refused_with_a_challenge() {
    for behind in behind("basic-auth", USERS, || Upstream::echo("it")) {
        for request in [
            Request::get("/"),
            basic(b"ada:lovelace"),
            basic(b"ada:"),
            basic(b"ada"),
            basic(b"bob:lovelace:1"),
            basic(b":lovelace:1"),
            basic(b""),
            // ISO 8859-1, where RFC 7617 §2.1 was told that it is UTF-8.
            basic(b"\xe4:\x80"),
            basic(b"ada:lovelace:1").header("authorization", "Basic eDp5"),
            Request::get("/").header("authorization", "Basic ***"),
            Request::get("/").header("authorization", format!("Bearer {}", STANDARD.encode("ada:lovelace:1"))),
        ] {
            let answer = behind.gateway.send(request);
            assert_eq!(answer.problem(401), "a user's name and password are required", "{}", behind.language);
            let challenge = "Basic realm=\"the \\\"gate\\\"\", charset=\"UTF-8\"";
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{}", behind.language);
        }
        assert_eq!(behind.upstream.requests().len(), 0, "{}", behind.language);
    }
}

#[test]
fn only_addresses_that_are_allowed_and_not_denied_pass() {
    for (config, passes) in [
        ("{allow: [127.0.0.0/8]}", true),
        ("{allow: ['::ffff:127.0.0.1']}", true),
        ("{allow: [192.0.2.0/24, '::1']}", false),
        ("{deny: [192.0.2.0/24]}", true),
        ("{deny: ['::/0']}", true),
        ("{deny: [0.0.0.0/0]}", false),
        ("{allow: [127.0.0.1], deny: [127.0.0.1/32]}", false),
    ] {
        for behind in behind("ip-restriction", config, || Upstream::echo("it")) {
            // Nobody trusts this client to say where a request is from.
            let answer = behind.gateway.send(Request::get("/").header("x-forwarded-for", "192.0.2.7"));
            if passes {
                answer.ok();
            } else {
                assert_eq!(answer.problem(403), "your address may not use this", "{config} {}", behind.language);
            }
            assert_eq!(behind.upstream.requests().len(), usize::from(passes), "{config} {}", behind.language);
        }
    }
}

/// Four million iterations, made by Python's hashlib: a second or more on any machine.
const SLOW: &str = "$pbkdf2-sha256$i=4000000$c2FsdHNhbHRzYWx0c2FsdA$woccEgpIMwxC2SRzl2UVyTX5ZDK26beka9vISMrPjeY";

#[test]
fn checking_a_slow_password_holds_nobody_up_and_is_remembered() {
    let upstream = Upstream::echo("it");
    let yaml = format!(
        "workers: 1\nservices: [{{name: s, url: '${{s}}', routes: [{{name: open, paths: [/open]}}, {{name: r, paths: [/], plugins: [{{name: basic-auth, config: {{users: {{ada: '{SLOW}'}}}}}}]}}]}}]"
    );
    let gateway = gateway(&yaml).url("s", &upstream).start();
    let request = basic(b"ada:lovelace:1");
    let mut slow = gateway.connect();
    let begun = Instant::now();
    slow.write(
        format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Basic {}\r\n\r\n", STANDARD.encode("ada:lovelace:1"))
            .as_bytes(),
    );
    gateway.get("/open").ok();
    let open = begun.elapsed();
    assert_eq!(slow.read_answer().status, 200);
    let checked = begun.elapsed();
    assert!(open * 2 < checked, "{open:?} beside {checked:?}");
    let again = Instant::now();
    gateway.send(request).ok();
    assert!(again.elapsed() * 2 < checked, "{:?} after {checked:?}", again.elapsed());
}
