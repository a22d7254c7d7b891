//! The module `jwt` and its verifiers, by what scripts would see of them.

use super::*;
use crate::script::{
    Hook,
    fixture::{run, scope, show},
    list::Outcome,
};

const SECRET: &str = "a secret of thirty-two bytes, ok";

fn options(more: &[(&str, Value)]) -> Value {
    let mut entries =
        vec![("algorithms".to_owned(), Value::List(vec!["HS256".into()])), ("secret".to_owned(), SECRET.into())];
    entries.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Map(entries)
}

fn json(text: &str) -> Value {
    Value::Json(bytes::Bytes::copy_from_slice(text.as_bytes()))
}

fn signed(scope: &Scope, claims: &str) -> Value {
    let by = Value::Map(vec![("algorithm".into(), "HS256".into()), ("secret".into(), SECRET.into())]);
    run(scope, &MODULE, "sign", [json(claims), by]).expect("a token")
}

#[test]
fn what_was_signed_is_verified() {
    let scope = scope(Hook::OnRequest, None);
    let claims = r#"{"sub":"7","n":9007199254740993,"exp":99999999999}"#;
    let token = signed(&scope, claims);
    let good = format!("{{claims: {claims}, error: nil, message: nil, ok: true}}");
    assert_eq!(show(run(&scope, &MODULE, "verify", [token.clone(), options(&[])])), good);
    let decoded = show(run(&scope, &MODULE, "decode", [token.clone()]));
    assert_eq!(decoded, format!(r#"{{claims: {claims}, header: {{"typ":"JWT","alg":"HS256"}}}}"#));

    let verifier = run(&scope, &MODULE, "verifier", [options(&[])]).expect("a verifier");
    let method = VERIFIER.method("verify").expect("a method");
    let Outcome::Done(result) = (method.run)(&scope, Args(vec![verifier, token])) else { panic!("it waits") };
    assert_eq!(show(result.map_err(|raise| raise.to_string())), good);
}

#[test]
fn a_refusal_is_a_value_that_says_why() {
    let scope = scope(Hook::OnRequest, None);
    let why = |token: Value, more: &[(&str, Value)]| {
        let told = run(&scope, &MODULE, "verify", [token, options(more)]).expect("a value");
        assert_eq!(show(Ok(told.get("ok").cloned().unwrap_or_default())), "false");
        show(Ok(told.get("error").cloned().unwrap_or_default()))
    };
    let lasting = signed(&scope, r#"{"exp":99999999999,"iss":"a","aud":["x","y"]}"#);
    assert_eq!(why(Value::Nil, &[]), r#""missing""#);
    assert_eq!(why("a.b".into(), &[]), r#""malformed""#);
    assert_eq!(why("eyJhbGciOiJub25lIn0.e30.".into(), &[]), r#""algorithm""#);
    assert_eq!(why(signed(&scope, r#"{"exp":1}"#), &[]), r#""expired""#);
    assert_eq!(why(signed(&scope, "{}"), &[]), r#""missing_claim""#);
    assert_eq!(why(lasting.clone(), &[("issuer", json(r#""b""#))]), r#""issuer""#);
    assert_eq!(why(lasting.clone(), &[("audience", json(r#"["z"]"#))]), r#""audience""#);
    let forged = lasting.as_str().map(|token| format!("{}AA", &token[..token.len() - 2]));
    assert_eq!(why(Value::maybe(forged), &[]), r#""signature""#);
}

#[test]
fn options_that_allow_too_much_are_errors() {
    let scope = scope(Hook::OnLoad, None);
    let made = |options: Value| show(run(&scope, &MODULE, "verifier", [options]));
    let wrong = "error: `issuer` is not a string or a list of strings";
    assert_eq!(made(options(&[("issuer", json("[]"))])), wrong);
    assert_eq!(made(options(&[("issuer", json("{}"))])), wrong);
    assert_eq!(made(Value::Map(vec![("secret".into(), SECRET.into())])), "error: no algorithms are given");
    let none = Value::Map(vec![("algorithms".into(), Value::List(vec!["none".into()]))]);
    assert_eq!(made(none), "error: algorithm `none` is never allowed");
    let nothing = show(run(&scope, &MODULE, "verify", [Value::from("t")]));
    assert_eq!(nothing, "error: argument 2 (options) is missing");
}

#[test]
fn one_key_signs() {
    let scope = scope(Hook::OnLoad, None);
    let by = Value::Map(vec![("algorithm".into(), "HS256".into())]);
    let signed = show(run(&scope, &MODULE, "sign", [json("{}"), by]));
    assert_eq!(signed, "error: give one of `secret`, `secret_base64` and `private_key`");
}
