//! Tokens of every algorithm with real keys, the examples of RFC 7515, and what attackers send.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaPublicKeyComponents,
};
use base64::engine::general_purpose::STANDARD;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes....";

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A private and a public key as PEM.
struct Pair {
    private: SigningKey,
    public: VerifyKey,
}

impl Pair {
    fn new(private: &[u8], public: &[u8]) -> Self {
        Pair {
            private: SigningKey::PrivatePem(pem("PRIVATE KEY", private)),
            public: VerifyKey::PublicPem(pem("PUBLIC KEY", public)),
        }
    }

    fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
        let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
        Pair::new(private.as_ref(), public.as_ref())
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).unwrap();
        let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
        Pair::new(private.as_ref(), public.as_ref())
    }

    fn ed25519() -> Self {
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
        let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
        Pair::new(private.as_ref(), public.as_ref())
    }
}

fn secret() -> VerifyKey {
    VerifyKey::Secret(SECRET.to_vec())
}

fn hs256() -> VerifyOptions {
    VerifyOptions::new(vec![secret()], vec![Algorithm::HS256])
}

fn verifier(options: VerifyOptions) -> Verifier {
    Verifier::new(options).unwrap()
}

/// A token with exactly these two texts, signed with HS256 whatever the header says.
fn token(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.unwrap())
}

fn with_claims(claims: &str) -> String {
    token(r#"{"alg":"HS256"}"#, claims)
}

fn with_header(header: &str) -> String {
    token(header, r#"{"sub":"7","exp":1800000060}"#)
}

fn outcome(verifier: &Verifier, token: &str) -> String {
    match verifier.verify(token, NOW) {
        Ok(claims) => String::from_utf8_lossy(&claims.text).into_owned(),
        Err(error) => error.to_string(),
    }
}

fn key_error(options: VerifyOptions) -> String {
    match Verifier::new(options) {
        Ok(_) => "a verifier".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    let secrets = || Pair { private: SigningKey::Secret(SECRET.to_vec()), public: secret() };
    let p256 = || Pair::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = || Pair::ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let families = [
        (secrets(), vec!["HS256", "HS384", "HS512"]),
        (Pair::rsa(), vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (p256(), vec!["ES256"]),
        (p384(), vec!["ES384"]),
        (Pair::ed25519(), vec!["EdDSA"]),
    ];
    let claims = r#"{"sub":"7","n":9007199254740993,"exp":1800000060}"#;
    for (pair, names) in families {
        for name in &names {
            let algorithm = algorithm(name).unwrap();
            let signer = Signer::new(&pair.private, algorithm).unwrap();
            let token = signer.sign(claims, &Map::new()).unwrap();
            let only = VerifyOptions::new(vec![pair.public.clone()], vec![algorithm]);
            let only = verifier(only);
            assert_eq!(outcome(&only, &token), claims, "{name}");
            // One bit of the signature, then of the claims
            let (message, signature) = token.rsplit_once('.').unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[0] ^= 1;
            let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
            let wrong = "token: the signature does not match";
            assert_eq!(outcome(&only, &forged), wrong, "{name}");
            let forged = token.replacen(".eyJzdWIiOiI3", ".eyJzdWIiOiI4", 1);
            assert_eq!(outcome(&only, &forged), wrong, "{name}");
            // The same key, but pinned to a sibling
            for other in names.iter().filter(|other| *other != name) {
                let other = super::algorithm(other).unwrap();
                let pinned = VerifyOptions::new(vec![pair.public.clone()], vec![other]);
                let refused = format!("token: algorithm \"{name}\" is not allowed");
                assert_eq!(outcome(&verifier(pinned), &token), refused);
            }
        }
    }
}

#[test]
fn the_examples_of_rfc_7515_verify() {
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let hmac = VerifyKey::SecretBase64(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow".into(),
    );
    let n = URL_SAFE_NO_PAD.decode("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ").unwrap();
    let rsa = RsaPublicKeyComponents { n: &n[..], e: &[1, 0, 1][..] };
    let rsa: aws_lc_rs::encoding::PublicKeyX509Der = rsa.as_der().unwrap();
    // RFC 5480: an EC public key on P-256, then the uncompressed point.
    let mut ec = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    for coordinate in ["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"] {
        ec.extend(URL_SAFE_NO_PAD.decode(coordinate).unwrap());
    }
    let public = |der: &[u8]| VerifyKey::PublicPem(pem("PUBLIC KEY", der));
    let examples = [
        (
            "A.1",
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            hmac,
            Algorithm::HS256,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "A.2",
            "eyJhbGciOiJSUzI1NiJ9",
            public(rsa.as_ref()),
            Algorithm::RS256,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "A.3",
            "eyJhbGciOiJFUzI1NiJ9",
            public(&ec),
            Algorithm::ES256,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ];
    for (name, header, key, algorithm, signature) in examples {
        let token = format!("{header}.{CLAIMS}.{signature}");
        let verifier = verifier(VerifyOptions::new(vec![key], vec![algorithm]));
        let claims = verifier.verify(&token, 1_300_819_379).expect(name);
        assert_eq!(claims.values["iss"], "joe", "{name}");
        let late = verifier.verify(&token, 1_300_819_380).unwrap_err();
        assert_eq!(late.to_string(), "token: expired at 1300819380, it is 1300819380");
    }
}

#[test]
fn what_attackers_send_is_refused() {
    let good = with_header(r#"{"alg":"HS256"}"#);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |header: &str| {
        let header = URL_SAFE_NO_PAD.encode(header);
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode(r#"{"sub":"7"}"#))
    };
    let cases = [
        (unsigned(r#"{"alg":"none"}"#), "token: algorithm \"none\" is not allowed"),
        (unsigned(r#"{"alg":"nOnE"}"#), "token: algorithm \"nOnE\" is not allowed"),
        (unsigned(r#"{"alg":""}"#), "token: algorithm \"\" is not allowed"),
        (unsigned(r#"{"alg":"a\r\nb"}"#), "token: algorithm \"a\\r\\nb\" is not allowed"),
        (unsigned(r#"{"alg":["HS256"]}"#), "token: the header has no `alg`"),
        (unsigned(r#"{}"#), "token: the header has no `alg`"),
        (with_header(r#"{"alg":"hs256"}"#), "token: algorithm \"hs256\" is not allowed"),
        (with_header(r#"{"alg":"HS512"}"#), "token: algorithm \"HS512\" is not allowed"),
        (with_header(r#"{"alg":"RS256"}"#), "token: algorithm \"RS256\" is not allowed"),
        (with_header(r#"{"alg":"none","alg":"HS256"}"#), "token: name \"alg\" occurs twice"),
        (with_header(r#"{"alg":"HS256","\u0061lg":"none"}"#), "token: name \"alg\" occurs twice"),
        (with_header(r#"{"alg":"HS256","crit":["exp"]}"#), "token: the header has `crit`"),
        (with_header(r#"{"alg":"HS256","crit":[]}"#), "token: the header has `crit`"),
        (with_header(r#"{"alg":"HS256","b64":false}"#), "token: the header has `b64` that is not true"),
        (with_header(r#"["HS256"]"#), "token: a part is not a JSON object"),
        (with_header(r#"{"alg":"HS256"} x"#), "token: a part is not JSON"),
        (format!("{message}."), "token: the signature does not match"),
        (format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 32])), "token: the signature does not match"),
        (format!("{message}.{signature}="), "token: the signature does not match"),
        (format!("{good}.{signature}"), "token: not three parts with dots between"),
        (format!("{good}.."), "token: not three parts with dots between"),
        (message.to_owned(), "token: not three parts with dots between"),
        (String::new(), "token: not three parts with dots between"),
        ("..".into(), "token: a part is not JSON"),
        (format!(" {good}"), "token: a part is not base64url"),
        (good.replacen('.', "=.", 1), "token: a part is not base64url"),
        ("x".repeat(8193), "token: 8193 bytes are over the limit of 8192"),
        (with_claims(r#"{"sub":"1","sub":"2","exp":1800000060}"#), "token: name \"sub\" occurs twice"),
        (with_claims(r#"{"a":{"b":1,"b":2},"exp":1800000060}"#), "token: name \"b\" occurs twice"),
        (with_claims(r#"{"exp":"1800000060"}"#), "token: claim `exp` is not a number"),
        (with_claims(r#"{"exp":null}"#), "token: claim `exp` is not a number"),
        (with_claims(r#"{"exp":1e999}"#), "token: a part is not JSON"),
        (with_claims(r#"{"exp":1800000060,"nbf":"0"}"#), "token: claim `nbf` is not a number"),
        (with_claims(r#"{"exp":1800000060,"iat":{}}"#), "token: claim `iat` is not a number"),
        (with_claims(r#"{"sub":"7"}"#), "token: claim `exp` is missing"),
        (with_claims("7"), "token: a part is not a JSON object"),
        (with_claims(&"[".repeat(4000)), "token: a part is not JSON"),
    ];
    let verifier = verifier(hs256());
    for (token, expected) in cases {
        assert_eq!(outcome(&verifier, &token), expected, "{token}");
    }
    assert_eq!(verifier.cached(), 0);
}

#[test]
fn a_public_key_is_never_a_secret() {
    // Given a gateway that takes RS256, and its public key, which everybody has
    let pair = Pair::rsa();
    let VerifyKey::PublicPem(text) = &pair.public else { unreachable!() };
    // When a token is signed with that text as an HMAC secret
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"admin","exp":1800000060}"#);
    let message = format!("{header}.{claims}");
    let key = jsonwebtoken::EncodingKey::from_secret(text.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    let forged = format!("{message}.{signature}");
    // Then it is refused
    let rs256 = VerifyOptions::new(vec![pair.public.clone()], vec![Algorithm::RS256]);
    assert_eq!(outcome(&verifier(rs256), &forged), "token: algorithm \"HS256\" is not allowed");
    // And no configuration accepts it
    let both = vec![Algorithm::RS256, Algorithm::HS256];
    let mixed = VerifyOptions::new(vec![pair.public.clone(), secret()], both);
    assert_eq!(key_error(mixed), "jwt: HS256 is symmetric and cannot be allowed beside a public key");
    let as_secret = VerifyKey::Secret(text.clone().into_bytes());
    let as_base64 = VerifyKey::SecretBase64(STANDARD.encode(text));
    for key in [as_secret, as_base64] {
        assert_eq!(
            key_error(VerifyOptions::new(vec![key], vec![Algorithm::HS256])),
            "jwt: the secret is a PEM key; give it as the public key"
        );
    }
}

#[test]
fn keys_a_token_brings_along_are_not_looked_at() {
    let verifier = verifier(hs256());
    let headers = [
        r#"{"alg":"HS256","kid":"../../../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"' OR 1=1 --"}"#,
        r#"{"alg":"HS256","jku":"http://169.254.169.254/keys"}"#,
        r#"{"alg":"HS256","x5u":"file:///etc/passwd"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
    ];
    for header in headers {
        let good = with_header(header);
        assert_eq!(outcome(&verifier, &good), r#"{"sub":"7","exp":1800000060}"#);
        let (message, _) = good.rsplit_once('.').unwrap();
        // Signed with the key that the last header offers, or with an empty one
        for key in [&[0; 3][..], &[]] {
            let key = jsonwebtoken::EncodingKey::from_secret(key);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            let forged = format!("{message}.{signature}");
            assert_eq!(outcome(&verifier, &forged), "token: the signature does not match");
        }
    }
}

#[test]
fn times_are_judged_at_the_given_moment_also_when_cached() {
    let token = with_claims(r#"{"nbf":1000.5,"exp":2000}"#);
    let with_leeway = |leeway| verifier(VerifyOptions { leeway, ..hs256() });
    let at = |verifier: &Verifier, now| match verifier.verify(&token, now) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
    };
    let strict = with_leeway(0);
    for _ in 0..2 {
        assert_eq!(at(&strict, 1000), "token: not valid before 1000.5, it is 1000");
        assert_eq!(at(&strict, 1001), "good");
        assert_eq!(at(&strict, 1999), "good");
    }
    assert_eq!(strict.cached(), 1);
    assert_eq!(at(&strict, 2000), "token: expired at 2000, it is 2000");
    assert_eq!(strict.cached(), 0);
    let lenient = with_leeway(10);
    assert_eq!(at(&lenient, 990), "token: not valid before 1000.5, it is 990");
    assert_eq!(at(&lenient, 991), "good");
    assert_eq!(at(&lenient, 2009), "good");
    assert_eq!(at(&lenient, 2010), "token: expired at 2000, it is 2010");
}

#[test]
fn a_token_without_exp_is_accepted_only_on_request() {
    let lasting = verifier(VerifyOptions { require_exp: false, ..hs256() });
    let token = with_claims(r#"{"sub":"7"}"#);
    assert_eq!(outcome(&lasting, &token), r#"{"sub":"7"}"#);
}

#[test]
fn issuer_and_audience_must_be_accepted_ones() {
    let verifier = verifier(VerifyOptions {
        issuers: vec!["a".into(), "b".into()],
        audiences: vec!["x".into(), "y".into()],
        require_exp: false,
        ..hs256()
    });
    let cases = [
        (r#"{"iss":"a","aud":"x"}"#, None),
        (r#"{"iss":"b","aud":["z","y"]}"#, None),
        (r#"{"aud":"x"}"#, Some("token: claim `iss` is missing")),
        (r#"{"iss":"a"}"#, Some("token: claim `aud` is missing")),
        (r#"{"iss":"A","aud":"x"}"#, Some("token: the issuer is not an accepted one")),
        (r#"{"iss":["a"],"aud":"x"}"#, Some("token: the issuer is not an accepted one")),
        (r#"{"iss":"a","aud":"z"}"#, Some("token: it is meant for another audience")),
        (r#"{"iss":"a","aud":[]}"#, Some("token: it is meant for another audience")),
        (r#"{"iss":"a","aud":{"x":1}}"#, Some("token: it is meant for another audience")),
    ];
    for (claims, error) in cases {
        let expected = error.unwrap_or(claims);
        assert_eq!(outcome(&verifier, &with_claims(claims)), expected);
    }
}

#[test]
fn any_of_several_keys_may_have_signed() {
    let old = VerifyKey::Secret(b"the secret of last year".to_vec());
    let options = VerifyOptions::new(vec![old, secret()], vec![Algorithm::HS256]);
    let good = with_header(r#"{"alg":"HS256"}"#);
    assert_eq!(outcome(&verifier(options), &good), r#"{"sub":"7","exp":1800000060}"#);
}

#[test]
fn keys_that_cannot_work_are_found_when_they_are_configured() {
    let p256 = Pair::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let SigningKey::PrivatePem(private) = &p256.private else { unreachable!() };
    let short = RsaPublicKeyComponents { n: &[0xc5; 128][..], e: &[1, 0, 1][..] };
    let short: aws_lc_rs::encoding::PublicKeyX509Der = short.as_der().unwrap();
    let short = VerifyKey::PublicPem(pem("PUBLIC KEY", short.as_ref()));
    let public = |text: &str| VerifyKey::PublicPem(text.into());
    let base64 = |text: &str| VerifyKey::SecretBase64(text.into());
    let cases = [
        (vec![secret()], vec![], "jwt: no algorithms are given"),
        (vec![], vec!["HS256"], "jwt: no key is given"),
        (vec![VerifyKey::Secret(vec![])], vec!["HS256"], "jwt: the secret is empty"),
        (vec![base64("")], vec!["HS256"], "jwt: the secret is empty"),
        (vec![base64("§")], vec!["HS256"], "jwt: the secret is not base64"),
        (vec![secret()], vec!["RS256"], "jwt: a key fits none of the algorithms"),
        (vec![secret()], vec!["HS256", "RS256"], "jwt: there is no key for RS256"),
        (vec![p256.public.clone()], vec!["ES384"], "jwt: a key fits none of the algorithms"),
        (vec![public("nonsense")], vec!["ES256"], "jwt: the public key is not the PEM of an RSA, EC or Ed25519 key"),
        (vec![public(private)], vec!["ES256"], "jwt: the public key is a private key; give its public half"),
        (
            vec![public("-----BEGIN CERTIFICATE-----")],
            vec!["ES256"],
            "jwt: the public key is a certificate; give the key within it",
        ),
        (vec![short], vec!["RS256"], "jwt: an RSA key of fewer than 2048 bits is refused"),
    ];
    for (keys, names, expected) in cases {
        let algorithms = names.iter().map(|name| algorithm(name).unwrap()).collect();
        assert_eq!(key_error(VerifyOptions::new(keys, algorithms)), expected);
    }
    for (name, expected) in [
        ("none", "jwt: algorithm `none` is never allowed"),
        ("None", "jwt: algorithm `none` is never allowed"),
        (
            "HS255",
            "jwt: algorithm `HS255` is not known; known are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ),
    ] {
        assert_eq!(algorithm(name).unwrap_err().to_string(), expected);
    }
    let unfit = |key: &SigningKey, algorithm| match Signer::new(key, algorithm) {
        Ok(_) => "a signer".into(),
        Err(error) => error.to_string(),
    };
    assert_eq!(unfit(&p256.private, Algorithm::ES384), "jwt: the signing key is not one for ES384");
    assert_eq!(unfit(&p256.private, Algorithm::HS256), "jwt: the signing key is not one for HS256");
    let secret = SigningKey::Secret(SECRET.to_vec());
    assert_eq!(unfit(&secret, Algorithm::RS256), "jwt: the signing key is not one for RS256");
}

#[test]
fn base64_secrets_are_read_in_every_spelling() {
    let bytes = [0xfb, 0xff, 0xfe, 0x01];
    let key = SigningKey::Secret(bytes.to_vec());
    let signer = Signer::new(&key, Algorithm::HS256).unwrap();
    let claims = r#"{"exp":1800000060}"#;
    let token = signer.sign(claims, &Map::new()).unwrap();
    for spelling in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ", " -__-AQ\n"] {
        let key = VerifyKey::SecretBase64(spelling.into());
        let options = VerifyOptions::new(vec![key], vec![Algorithm::HS256]);
        assert_eq!(outcome(&verifier(options), &token), claims, "{spelling:?}");
    }
}

#[test]
fn a_signer_keeps_claims_as_they_are_and_its_header_its_own() {
    let key = SigningKey::Secret(SECRET.to_vec());
    let signer = Signer::new(&key, Algorithm::HS256).unwrap();
    let header = |text: &str| json::object(text).unwrap();
    let claims = r#"{ "z": 18446744073709551616, "a": [] }"#;
    let token = signer.sign(claims, &header(r#"{"kid":"1"}"#)).unwrap();
    let (decoded_header, decoded) = decode(&token).unwrap();
    assert_eq!(decoded_header.text, r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#);
    assert_eq!(decoded.text, claims);
    for name in ["alg", "crit", "b64"] {
        let header = header(&format!(r#"{{"{name}":"x"}}"#));
        assert_eq!(
            signer.sign("{}", &header).unwrap_err().to_string(),
            format!("jwt: the header `{name}` cannot be set")
        );
    }
    assert_eq!(
        signer.sign("[]", &Map::new()).unwrap_err().to_string(),
        "jwt: the claims are not a JSON object with each name once"
    );
}

#[test]
fn the_cache_is_bounded() {
    let verifier = verifier(hs256());
    let padding = "x".repeat(3000);
    for i in 0..2000 {
        let claims = format!(r#"{{"n":{i},"exp":1800000060,"p":"{padding}"}}"#);
        assert_eq!(outcome(&verifier, &with_claims(&claims)), claims);
    }
    let cached = verifier.cached();
    assert!((100..1000).contains(&cached), "{cached}");
}
