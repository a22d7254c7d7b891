//! Tokens: keys made for the test, and tokens signed with them, also such as no library would make.
//!
//! Signed with aws-lc-rs directly and put together by hand, so that the header may lie about the algorithm.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// What signs, and how a configuration names it.
pub enum Key {
    Secret(String),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    /// One that can sign by that algorithm.
    pub fn make(algorithm: &str) -> Key {
        match algorithm {
            "ES256" => Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "ES384" => Key::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key")),
            "EdDSA" => Key::Ed(Ed25519KeyPair::generate().expect("a key")),
            rsa if rsa.starts_with("RS") || rsa.starts_with("PS") => {
                Key::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
            }
            _ => Key::Secret(format!("a secret of the test, {} bytes long or more: {}", 64, "x".repeat(64))),
        }
    }

    /// The secret, or the public key as PEM.
    pub fn text(&self) -> String {
        let der = match self {
            Key::Secret(secret) => return secret.clone(),
            Key::Rsa(key) => key.public_key().as_der().expect("DER"),
            Key::Ec(key) => key.public_key().as_der().expect("DER"),
            Key::Ed(key) => key.public_key().as_der().expect("DER"),
        };
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The key of `jwt-auth` that takes it.
    pub fn option(&self) -> &'static str {
        match self {
            Key::Secret(_) => "secret",
            _ => "public_key",
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Secret(secret) => hmac_of(algorithm, secret.as_bytes(), message),
            Key::Rsa(key) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Key::Ec(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with that `alg` and those claims.
    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.token_with(&serde_json::json!({ "alg": algorithm, "typ": "JWT" }), algorithm, claims)
    }

    /// A token whose header may say anything.
    pub fn token_with(&self, header: &Value, algorithm: &str, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn hmac_of(algorithm: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
}

pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Seconds since 1970, and that many more.
pub fn in_seconds(more: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now as i64 + more
}

/// A user's claims, good for an hour.
pub fn ada() -> Value {
    serde_json::json!({ "sub": "42", "email": "ada@example.com", "exp": in_seconds(3600) })
}

/// The claims of [`ada`] with one set.
pub fn ada_with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = ada();
    claims[claim] = value.into();
    claims
}

/// The public key as a JWK with that `kid`.
pub fn jwk(key: &Key, id: &str) -> Value {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key {
        Key::Secret(secret) => serde_json::json!({ "kty": "oct", "kid": id, "k": text(secret.as_bytes()) }),
        Key::Rsa(key) => {
            let public = key.public_key();
            let [n, e] =
                [public.modulus(), public.exponent()].map(|number| text(number.big_endian_without_leading_zero()));
            serde_json::json!({ "kty": "RSA", "kid": id, "use": "sig", "n": n, "e": e })
        }
        Key::Ec(key) => {
            let point = &key.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let curve = if x.len() == 32 { "P-256" } else { "P-384" };
            serde_json::json!({ "kty": "EC", "kid": id, "crv": curve, "x": text(x), "y": text(y) })
        }
        Key::Ed(key) => {
            serde_json::json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
        }
    }
}
