//! `jwt`: verifying, reading and signing JSON Web Tokens (RFC 7519).
//!
//! What was decided about a token is a value, `{ok, claims, error}`: a client's bad token is no error of the script. Wrong keys and options
//! are, and `jwt.verifier` in `on_load` finds them when the configuration is loaded. All rules are those of [`crate::crypto::jwt`].

use super::{headers, option};
use crate::{
    crypto::jwt::{self, JwtError, KeyError, Signer, SigningKey, Verifier, VerifyKey, VerifyOptions},
    script::{
        Raise, Scope, Value,
        list::{Function, Kind, Module, Param, Type},
        object::Object,
        value::{Args, duration},
    },
};
use bytes::Bytes;
use http::header;
use std::rc::Rc;

const TOKEN: Param = Param::optional("token", Type::String, "in the compact form, without `Bearer`");
const SECRET: Param = Param::optional("secret", Type::Bytes, "the secret of HS256, HS384 and HS512");
const SECRET_BASE64: Param = Param::optional("secret_base64", Type::String, "the same in base64");

static VERIFY: &[Param] = &[
    SECRET,
    SECRET_BASE64,
    Param::optional("public_key", Type::Json, "the PEM of an RSA, EC or Ed25519 key, or a list of them"),
    Param::required("algorithms", Type::List(&Type::String), "the only ones that are accepted, such as `HS256`"),
    Param::optional("issuer", Type::Json, "`iss` must be this, or one of a list"),
    Param::optional("audience", Type::Json, "`aud` must be or contain this, or one of a list"),
    Param::optional("leeway", Type::Duration, "how far clocks may differ, for `exp` and `nbf`; 0 when it is left out"),
    Param::optional("require_exp", Type::Bool, "whether a token without `exp` is refused; true when it is left out"),
];
static SIGN: &[Param] = &[
    SECRET,
    SECRET_BASE64,
    Param::optional("private_key", Type::String, "the PEM of an RSA, EC or Ed25519 key"),
    Param::required("algorithm", Type::String, "such as `HS256`"),
    Param::optional("header", Type::Json, "more header parameters, such as `kid`"),
];
static VERIFIED: &[Param] = &[
    Param::optional("claims", Type::Json, "what the token says, when it is good"),
    Param::optional(
        "error",
        Type::String,
        "`missing`, `malformed`, `unsupported`, `algorithm`, `signature`, `expired`, `not_yet_valid`, `issuer`, `audience` or `missing_claim`",
    ),
    Param::optional("message", Type::String, "the same in one line for the log"),
    Param::required("ok", Type::Bool, "whether the token is good"),
];
static BEARER: &[Param] = &[
    Param::required("ok", Type::Bool, "whether the request has a good token"),
    Param::optional("claims", Type::Json, "what the token says, when it is good"),
    Param::optional(
        "identity",
        Type::Json,
        "what `ctx.identity` is set to: `id` is the claim `sub`, `email` that claim, `claims` all of them",
    ),
    Param::optional("error", Type::String, "`missing`, `repeated`, or as `verify` says it"),
    Param::optional("detail", Type::String, "the same for the client"),
    Param::optional("challenge", Type::String, "what `WWW-Authenticate` says of a refusal (RFC 6750 §3)"),
];
static DECODED: &[Param] = &[
    Param::required("claims", Type::Json, "what the token says"),
    Param::required("header", Type::Json, "what it says of itself"),
];

pub static MODULE: Module = Module {
    name: "jwt",
    doc: "JSON Web Tokens (RFC 7519). Verification accepts the configured algorithms and keys alone, whatever a token says.",
    constants: &[],
    functions: &[
        Function {
            name: "verifier",
            params: &[Param::required("options", Type::Options(VERIFY), "keys and what a token must fulfil")],
            variadic: false,
            returns: Type::Object("verifier"),
            doc: "Prepares the keys once: make it in `on_load` and keep it in the state. It remembers tokens that it has verified. Keys that can't be used are an error.",
            lua: r#"local verifier = jwt.verifier({ secret = config.secret, algorithms = { "HS256" } })"#,
            rhai: r#"let verifier = jwt::verifier(#{ secret: config.secret, algorithms: ["HS256"] });"#,
            run: |_, args| verifier(args.get(0)).map(Object::Verifier).into(),
        },
        Function {
            name: "verify",
            params: &[TOKEN, Param::optional("options", Type::Options(VERIFY), "as those of `jwt.verifier`; required")],
            variadic: false,
            returns: Type::Options(VERIFIED),
            doc: "Verifies a token with options that are given each time; the worker keeps the verifier they make.",
            lua: r#"local got = jwt.verify(token, { secret = ctx.config.secret, algorithms = { "HS256" } })"#,
            rhai: r#"let got = jwt::verify(token, #{ secret: ctx.config.secret, algorithms: ["HS256"] });"#,
            run: |scope, args| verify_with(scope, &args).into(),
        },
        Function {
            name: "decode",
            params: &[TOKEN],
            variadic: false,
            returns: Type::Maybe(&Type::Options(DECODED)),
            doc: "A token's header and claims, NOT verified: to look at, never to decide by. Nothing when it is not a token.",
            lua: r#"local issuer = jwt.decode(token).claims.iss"#,
            rhai: r#"let issuer = jwt::decode(token).claims.iss;"#,
            run: |_, args| decode(&args).into(),
        },
        Function {
            name: "sign",
            params: &[
                Param::required("claims", Type::Json, "what the token says; nothing is added, no `exp` either"),
                Param::required("options", Type::Options(SIGN), "the key and the algorithm"),
            ],
            variadic: false,
            returns: Type::String,
            doc: "Makes a token.",
            lua: r#"local token = jwt.sign({ sub = "7" }, { secret = ctx.config.secret, algorithm = "HS256" })"#,
            rhai: r#"let token = jwt::sign(#{ sub: "7" }, #{ secret: ctx.config.secret, algorithm: "HS256" });"#,
            run: |scope, args| sign(scope, &args).into(),
        },
    ],
};

pub static VERIFIER: Kind = Kind {
    name: "verifier",
    doc: "Keys and rules, ready to verify tokens with. Made by `jwt.verifier`.",
    properties: &[],
    methods: &[
        Function {
            name: "bearer",
            params: &[Param::required("headers", Type::Object("headers"), "those of the request")],
            variadic: false,
            returns: Type::Options(BEARER),
            doc: "The bearer token of a request (RFC 6750 §2.1), verified: of the one `Authorization` that it must have, with the scheme `Bearer`. In Lua `claims` and `identity` are read only.",
            lua: r#"local got = ctx.state.verifier:bearer(req.headers)"#,
            rhai: r#"let got = ctx.state.verifier.bearer(req.headers);"#,
            run: |scope, args| bearer(scope, &args).into(),
        },
        Function {
            name: "verify",
            params: &[TOKEN],
            variadic: false,
            returns: Type::Options(VERIFIED),
            doc: "Whether a token is good at this moment, and what it says. No token at all is the error `missing`. In Lua the claims are read only: a token that is seen again has the same.",
            lua: r#"local got = ctx.state.verifier:verify(token)"#,
            rhai: r#"let got = ctx.state.verifier.verify(token);"#,
            run: |scope, args| verify_by(scope, &args).into(),
        },
    ],
    index: None,
};

fn verifier(options: &Value) -> Result<Rc<Verifier>, Raise> {
    let mut keys = Vec::new();
    keys.extend(bytes_of(options, "secret").map(VerifyKey::Secret));
    keys.extend(text_of(options, "secret_base64").map(VerifyKey::SecretBase64));
    keys.extend(one_or_more(options, "public_key")?.into_iter().map(VerifyKey::PublicPem));
    let names = match option(options, "algorithms") {
        Value::List(names) => &names[..],
        _ => &[],
    };
    let algorithms = names.iter().map(|name| jwt::algorithm(name.as_str().unwrap_or_default()));
    let algorithms = algorithms.collect::<Result<_, _>>().map_err(unusable)?;
    let mut wanted = VerifyOptions::new(keys, algorithms);
    wanted.issuers = one_or_more(options, "issuer")?;
    wanted.audiences = one_or_more(options, "audience")?;
    wanted.leeway = duration(option(options, "leeway"))?.unwrap_or_default().as_secs_f64().ceil() as u64;
    wanted.require_exp = !matches!(option(options, "require_exp"), Value::Bool(false));
    Verifier::new(wanted).map(Rc::new).map_err(unusable)
}

fn verify_with(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let options = args.get(1);
    if options.is_nil() {
        return Err(Raise::error("argument 2 (options) is missing"));
    }
    let verifier = scope.services.caches.verifiers.get_or_make(&format!("{options:?}"), || verifier(options))?;
    Ok(told(scope, &verifier, args.get(0)))
}

fn verify_by(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    by(args).map(|verifier| told(scope, verifier, args.get(1)))
}

fn by(args: &Args) -> Result<&Verifier, Raise> {
    match args.object()? {
        Object::Verifier(verifier) => Ok(verifier),
        other => Err(Raise::error(format!("expected a verifier, got {}", other.kind().name))),
    }
}

fn told(scope: &Scope, verifier: &Verifier, token: &Value) -> Value {
    let now = scope.services.since_1970().as_secs();
    let record = |ok: bool, claims: Value, error: Value, message: Value| {
        Value::Record(VERIFIED, vec![claims, error, message, ok.into()])
    };
    let refused = |error: &'static str, message: String| record(false, Value::Nil, error.into(), message.into());
    if token.is_nil() {
        return refused("missing", "token: there is none".into());
    }
    let Some(token) = token.as_str() else {
        return refused("malformed", "token: it is not UTF-8".into());
    };
    match verifier.verify(token, now) {
        Ok(claims) => record(true, Value::Json(claims.text.clone()), Value::Nil, Value::Nil),
        Err(error) => refused(word(&error), error.to_string()),
    }
}

fn bearer(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let refused = |error: &'static str, detail: &str, challenge: &str| {
        let values = [false.into(), Value::Nil, Value::Nil, error.into(), detail.into(), challenge.into()];
        Ok(Value::Record(BEARER, values.into()))
    };
    // RFC 6750 §3: the challenge says what was wrong with a token, and nothing when there was none.
    let missing = || refused("missing", "a bearer token is required", "Bearer");
    let Value::Object(sent) = args.get(1) else { return missing() };
    headers::read(sent, |headers| {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(first), None) = (sent.next(), sent.next()) else {
            let several = headers.contains_key(header::AUTHORIZATION);
            let repeated = || {
                let detail = "there is more than one Authorization header";
                refused("repeated", detail, r#"Bearer error="invalid_request""#)
            };
            return if several { repeated() } else { missing() };
        };
        let Some((scheme, token)) = first.as_bytes().split_first_chunk::<7>() else { return missing() };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return missing();
        }
        let verified = match std::str::from_utf8(token) {
            Ok(token) => by(args)?.verify(token.trim_start_matches(' '), scope.services.since_1970().as_secs()),
            Err(_) => Err(JwtError::Malformed("it is not UTF-8")),
        };
        match verified {
            Ok(claims) => {
                let identity = claims.identity.get_or_init(|| identity(&claims)).clone();
                let json = [Value::Json(claims.text.clone()), Value::Json(identity)];
                let [claims, identity] = json;
                Ok(Value::Record(BEARER, vec![true.into(), claims, identity, Value::Nil, Value::Nil, Value::Nil]))
            }
            Err(error) => {
                let word = word(&error);
                let challenge = format!(r#"Bearer error="invalid_token", error_description="{word}""#);
                refused(word, &format!("the token is not valid: {word}"), &challenge)
            }
        }
    })
}

/// Who a token is of, as `ctx.identity` has it.
fn identity(claims: &jwt::Claims) -> Bytes {
    let mut text = b"{".to_vec();
    for (name, claim) in [("id", "sub"), ("email", "email")] {
        if let Some(value) = claims.values.get(claim) {
            text.extend_from_slice(format!("\"{name}\":{value},").as_bytes());
        }
    }
    text.extend_from_slice(b"\"claims\":");
    text.extend_from_slice(&claims.text);
    text.push(b'}');
    text.into()
}

fn word(error: &JwtError) -> &'static str {
    match error {
        JwtError::Malformed(_) | JwtError::TooLong(_) | JwtError::Duplicate(_) | JwtError::NotANumber(_) => "malformed",
        JwtError::CritHeader | JwtError::UnencodedPayload => "unsupported",
        JwtError::AlgorithmNotAllowed(_) => "algorithm",
        JwtError::BadSignature => "signature",
        JwtError::Expired { .. } => "expired",
        JwtError::NotYetValid { .. } => "not_yet_valid",
        JwtError::WrongIssuer => "issuer",
        JwtError::WrongAudience => "audience",
        JwtError::MissingClaim(_) => "missing_claim",
    }
}

fn decode(args: &Args) -> Result<Value, Raise> {
    let decoded = args.get(0).as_str().and_then(|token| jwt::decode(token).ok());
    let json = |part: jwt::Claims| Value::Json(part.text);
    Ok(decoded.map_or(Value::Nil, |(header, claims)| Value::Record(DECODED, vec![json(claims), json(header)])))
}

fn sign(scope: &Scope, args: &Args) -> Result<String, Raise> {
    let options = args.get(1);
    let signer = scope.services.caches.signers.get_or_make(&format!("{options:?}"), || signer(options))?;
    let header = match option(options, "header").clone() {
        Value::Json(text) => serde_json::from_slice(&text).map_err(|_| Raise::error("`header` is not a map"))?,
        _ => serde_json::Map::new(),
    };
    let claims = args.bytes(0)?;
    let claims = std::str::from_utf8(&claims).map_err(|_| Raise::argument(0, "claims", args.get(0)))?;
    signer.sign(claims, &header).map_err(|error| Raise::error(without_prefix(&error.to_string())))
}

fn signer(options: &Value) -> Result<Rc<Signer>, Raise> {
    let algorithm = jwt::algorithm(option(options, "algorithm").as_str().unwrap_or_default()).map_err(unusable)?;
    let keys = [
        bytes_of(options, "secret").map(SigningKey::Secret),
        text_of(options, "secret_base64").map(SigningKey::SecretBase64),
        text_of(options, "private_key").map(SigningKey::PrivatePem),
    ];
    let mut keys = keys.into_iter().flatten();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Signer::new(&key, algorithm).map(Rc::new).map_err(unusable),
        _ => Err(Raise::error("give one of `secret`, `secret_base64` and `private_key`")),
    }
}

fn bytes_of(options: &Value, name: &str) -> Option<Vec<u8>> {
    option(options, name).as_bytes().map(|bytes| bytes.to_vec())
}

fn text_of(options: &Value, name: &str) -> Option<String> {
    option(options, name).as_str().map(str::to_owned)
}

/// A string or a list of strings.
fn one_or_more(options: &Value, name: &str) -> Result<Vec<String>, Raise> {
    let wrong = || Raise::error(format!("`{name}` is not a string or a list of strings"));
    let text = match option(options, name) {
        Value::Nil => return Ok(Vec::new()),
        Value::Json(text) => text,
        _ => return Err(wrong()),
    };
    match serde_json::from_slice(text).map_err(|_| wrong())? {
        serde_json::Value::Null => Ok(Vec::new()),
        serde_json::Value::String(one) => Ok(vec![one]),
        // An empty table of Lua is an object. An empty list must not mean that anything goes.
        serde_json::Value::Array(items) if !items.is_empty() => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong));
            texts.collect()
        }
        _ => Err(wrong()),
    }
}

fn unusable(error: KeyError) -> Raise {
    Raise::error(without_prefix(&error.to_string()))
}

/// The engines put the function's name in front.
fn without_prefix(text: &str) -> &str {
    text.trim_start_matches("jwt: ")
}

#[cfg(test)]
mod tests {
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
}
