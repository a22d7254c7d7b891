//! `jwt`: verifying, reading and signing JSON Web Tokens (RFC 7519).
//!
//! What was decided about a token is a value, `{ok, claims, error}`: a client's bad token is no error of the script. Wrong keys and options
//! are, and `jwt.verifier` in `on_load` finds them when the configuration is loaded. All rules are those of [`crate::crypto::jwt`]. A script
//! waits only where keys that are [`published`] must be fetched first.

pub mod published;
pub mod rules;

use super::{headers, option};
use crate::{
    crypto::jwt::{self, JwtError, KeyError, Signer, SigningKey},
    script::{
        Raise, Scope, Value,
        list::{Function, Kind, Module, Outcome, Param, Type},
        object::Object,
        value::Args,
    },
};
use bytes::Bytes;
use http::header;
use published::Why;
use rules::{Keys, Refused, Rules, Verified, decide};
use std::rc::Rc;

const TOKEN: Param = Param::optional("token", Type::String, "in the compact form, without `Bearer`");
const SECRET: Param = Param::optional("secret", Type::Bytes, "the secret of HS256, HS384 and HS512");
const SECRET_BASE64: Param = Param::optional("secret_base64", Type::String, "the same in base64");

const MAX_AGE: Param = Param::optional(
    "max_age",
    Type::Duration,
    "of fetched keys; 10 minutes when it is left out. Older ones are used while newer ones are fetched",
);
const MAX_STALE: Param = Param::optional(
    "max_stale",
    Type::Duration,
    "the age at which they are used no more, when no newer ones can be fetched; 24 hours when it is left out",
);
static JWKS: &[Param] = &[MAX_AGE, MAX_STALE];

static VERIFY: &[Param] = &[
    SECRET,
    SECRET_BASE64,
    Param::optional("public_key", Type::Json, "the PEM of an RSA, EC or Ed25519 key, or a list of them"),
    Param::optional(
        "jwks",
        Type::String,
        "instead of keys, the URL of the issuer's JWK set (RFC 7517): `svc://NAME/path`, or one of a permitted host",
    ),
    MAX_AGE,
    MAX_STALE,
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
        "`missing`, `malformed`, `unsupported`, `algorithm`, `signature`, `expired`, `not_yet_valid`, `issuer`, `audience`, `missing_claim`, `unknown_key` (the issuer has no key of this `kid`) or `keys` (the issuer's can't be had: nothing is said of the token)",
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
    Param::optional(
        "challenge",
        Type::String,
        "what `WWW-Authenticate` says of a refusal (RFC 6750 §3); nothing with the error `keys`",
    ),
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
            doc: "Prepares the keys once: make it in `on_load` and keep it in the state. It remembers tokens that it has verified. Keys that can't be used are an error. With `jwks` it waits where keys must be fetched first: when there are none, or a token has an unknown `kid`, for which a worker fetches at most every 30 s.",
            lua: r#"local verifier = jwt.verifier({ secret = config.secret, algorithms = { "HS256" } })"#,
            rhai: r#"let verifier = jwt::verifier(#{ secret: config.secret, algorithms: ["HS256"] });"#,
            run: |scope, args| Rules::of(scope, args.get(0)).map(Object::Verifier).into(),
        },
        Function {
            name: "verify",
            params: &[TOKEN, Param::optional("options", Type::Options(VERIFY), "as those of `jwt.verifier`; required")],
            variadic: false,
            returns: Type::Options(VERIFIED),
            doc: "Verifies a token with options that are given each time; the worker keeps the verifier they make.",
            lua: r#"local got = jwt.verify(token, { secret = ctx.config.secret, algorithms = { "HS256" } })"#,
            rhai: r#"let got = jwt::verify(token, #{ secret: ctx.config.secret, algorithms: ["HS256"] });"#,
            run: |scope, args| verify_with(scope, &args).unwrap_or_else(|raise| Outcome::Done(Err(raise))),
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
        Function {
            name: "jwks",
            params: &[
                Param::required("url", Type::String, "of a JWK set, as the option `jwks` of `jwt.verifier`"),
                Param::optional("options", Type::Options(JWKS), "how old it may be"),
            ],
            variadic: false,
            returns: Type::Maybe(&Type::Json),
            doc: "The keys that an issuer publishes, as verifiers use them: a list of JWKs (RFC 7517) without those that don't verify signatures. Waits where they must be fetched first; nothing when they can't be had.",
            lua: r#"local keys = jwt.jwks("svc://issuer/jwks.json", { max_age = "10m" })"#,
            rhai: r#"let keys = jwt::jwks("svc://issuer/jwks.json", #{ max_age: "10m" });"#,
            run: |scope, args| jwks(scope, &args).unwrap_or_else(|raise| Outcome::Done(Err(raise))),
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
            run: |scope, args| bearer(scope, &args).unwrap_or_else(|raise| Outcome::Done(Err(raise))),
        },
        Function {
            name: "verify",
            params: &[TOKEN],
            variadic: false,
            returns: Type::Options(VERIFIED),
            doc: "Whether a token is good at this moment, and what it says. No token at all is the error `missing`. In Lua the claims are read only: a token that is seen again has the same.",
            lua: r#"local got = ctx.state.verifier:verify(token)"#,
            rhai: r#"let got = ctx.state.verifier.verify(token);"#,
            run: |scope, args| verify_by(scope, &args).unwrap_or_else(|raise| Outcome::Done(Err(raise))),
        },
    ],
    index: None,
};

fn jwks(scope: &Scope, args: &Args) -> Result<Outcome, Raise> {
    let url = args.get(0).as_str().ok_or_else(|| Raise::argument(0, "url", args.get(0)))?;
    let keys = Keys::at(scope, url, args.get(1))?;
    let told = |keys: Option<Rc<jwt::KeySet>>| keys.map_or(Value::Nil, |keys| Value::Json(keys.text.clone()));
    let usable = keys.usable(Some(scope));
    if usable.is_some() {
        return Ok(told(usable).into());
    }
    let Some(fetching) = keys.published.fetch(scope, Why::Absent) else { return Ok(Value::Nil.into()) };
    Ok(Outcome::wait(async move {
        fetching.await;
        Ok(told(keys.usable(None)))
    }))
}

fn verify_with(scope: &Scope, args: &Args) -> Result<Outcome, Raise> {
    let options = args.get(1);
    if options.is_nil() {
        return Err(Raise::error("argument 2 (options) is missing"));
    }
    // SECURITY: published keys are only for those who may call their host.
    let name = match option(options, "jwks") {
        Value::Nil => format!("{options:?}"),
        _ => format!("{options:?} {:?}", scope.instance.permissions.hosts),
    };
    let rules = scope.services.caches.verifiers.get_or_make(&name, || Rules::of(scope, options))?;
    Ok(verified(scope, &rules, args.get(0)))
}

fn verify_by(scope: &Scope, args: &Args) -> Result<Outcome, Raise> {
    by(args).map(|rules| verified(scope, rules, args.get(1)))
}

fn by(args: &Args) -> Result<&Rc<Rules>, Raise> {
    match args.object()? {
        Object::Verifier(rules) => Ok(rules),
        other => Err(Raise::error(format!("expected a verifier, got {}", other.kind().name))),
    }
}

fn verified(scope: &Scope, rules: &Rc<Rules>, token: &Value) -> Outcome {
    let refused = |error: &'static str, message: &str| {
        Value::Record(VERIFIED, vec![Value::Nil, error.into(), message.into(), false.into()])
    };
    if token.is_nil() {
        return refused("missing", "token: there is none").into();
    }
    let Some(token) = token.as_str() else {
        return refused("malformed", "token: it is not UTF-8").into();
    };
    decide(scope, rules, token, |verified| {
        let values = match verified {
            Ok(claims) => vec![Value::Json(claims.text.clone()), Value::Nil, Value::Nil, true.into()],
            Err(Refused::Keys) => vec![Value::Nil, "keys".into(), UNAVAILABLE.into(), false.into()],
            Err(Refused::Token(error)) => {
                vec![Value::Nil, word(&error).into(), error.to_string().into(), false.into()]
            }
        };
        Value::Record(VERIFIED, values)
    })
}

const UNAVAILABLE: &str = "the keys of the tokens' issuer are not available";

fn bearer(scope: &Scope, args: &Args) -> Result<Outcome, Raise> {
    let refused =
        |error: &'static str, detail: &str, challenge: &str| Ok(no_bearer(error, detail, challenge.into()).into());
    // RFC 6750 §3: the challenge says what was wrong with a token, and nothing when there was none.
    let missing = || refused("missing", "a bearer token is required", "Bearer");
    let Value::Object(sent) = args.get(1) else { return missing() };
    headers::read(sent, header::AUTHORIZATION.as_str(), |headers| {
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
        match std::str::from_utf8(token) {
            Ok(token) => Ok(decide(scope, by(args)?, token.trim_start_matches(' '), bearing)),
            Err(_) => Ok(bearing(Err(Refused::Token(JwtError::Malformed("it is not UTF-8")))).into()),
        }
    })
}

fn bearing(verified: Verified) -> Value {
    match verified {
        Ok(claims) => {
            let identity = claims.identity.get_or_init(|| identity(&claims)).clone();
            let json = [Value::Json(claims.text.clone()), Value::Json(identity)];
            let [claims, identity] = json;
            Value::Record(BEARER, vec![true.into(), claims, identity, Value::Nil, Value::Nil, Value::Nil])
        }
        Err(Refused::Keys) => no_bearer("keys", UNAVAILABLE, Value::Nil),
        Err(Refused::Token(error)) => {
            let word = word(&error);
            let challenge = format!(r#"Bearer error="invalid_token", error_description="{word}""#);
            no_bearer(word, &format!("the token is not valid: {word}"), challenge.into())
        }
    }
}

fn no_bearer(error: &'static str, detail: &str, challenge: Value) -> Value {
    Value::Record(BEARER, vec![false.into(), Value::Nil, Value::Nil, error.into(), detail.into(), challenge])
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
        JwtError::UnknownKey => "unknown_key",
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

fn unusable(error: KeyError) -> Raise {
    Raise::error(without_prefix(&error.to_string()))
}

/// The engines put the function's name in front.
fn without_prefix(text: &str) -> &str {
    text.trim_start_matches("jwt: ")
}

#[cfg(test)]
mod tests;
