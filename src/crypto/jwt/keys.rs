//! Keys that can only be used as meant: a secret for HMAC, a PEM key for the algorithms of its kind.
//!
//! The classic forgery takes the public RSA key, which everybody has, for an HMAC secret (RFC 8725 §2.1). Here a key
//! knows its kind before any token is seen, and a set of keys and algorithms that would allow the confusion is an error.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};

/// A key for verifying, as it is configured.
#[derive(Clone)]
pub enum VerifyKey {
    Secret(Vec<u8>),
    /// Base64 of the secret, in either alphabet, padded or not.
    SecretBase64(String),
    /// `-----BEGIN PUBLIC KEY-----` (SPKI) or `-----BEGIN RSA PUBLIC KEY-----` (PKCS#1).
    PublicPem(String),
}

/// A key for signing, as it is configured.
#[derive(Clone)]
pub enum SigningKey {
    Secret(Vec<u8>),
    /// Base64 of the secret, in either alphabet, padded or not.
    SecretBase64(String),
    /// `-----BEGIN PRIVATE KEY-----` (PKCS#8), or `-----BEGIN RSA PRIVATE KEY-----` (PKCS#1).
    PrivatePem(String),
}

/// Why a key, or keys and algorithms together, cannot be used. The configuration's fault; no text quotes a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("jwt: no algorithms are given")]
    NoAlgorithms,
    #[error("jwt: no key is given")]
    NoKeys,
    #[error("jwt: algorithm `none` is never allowed")]
    AlgorithmNone,
    #[error("jwt: algorithm `{0}` is not known; known are {KNOWN}")]
    UnknownAlgorithm(String),
    #[error("jwt: the secret is empty")]
    EmptySecret,
    #[error("jwt: the secret is not base64")]
    NotBase64,
    #[error("jwt: the secret is a PEM key; give it as the public key")]
    PemAsSecret,
    #[error("jwt: the public key is not the PEM of an RSA, EC or Ed25519 key")]
    NotAPublicKey,
    #[error("jwt: the public key is a private key; give its public half")]
    PrivateKey,
    #[error("jwt: the public key is a certificate; give the key within it")]
    Certificate,
    #[error("jwt: the signing key is not one for {0:?}")]
    NotASigningKey(Algorithm),
    #[error("jwt: an RSA key of fewer than 2048 bits is refused")]
    ShortRsaKey,
    #[error("jwt: {0:?} is symmetric and cannot be allowed beside a public key")]
    Mixed(Algorithm),
    #[error("jwt: there is no key for {0:?}")]
    NoKeyFor(Algorithm),
    #[error("jwt: a key fits none of the algorithms")]
    UselessKey,
    #[error("jwt: give `jwks` or keys, not both")]
    TwoSources,
}

const KNOWN: &str = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";

/// An algorithm by its name in RFC 7518 §3.1 and RFC 8037 §3.1. Names are case-sensitive.
pub fn algorithm(name: &str) -> Result<Algorithm, KeyError> {
    if name.eq_ignore_ascii_case("none") {
        return Err(KeyError::AlgorithmNone);
    }
    name.parse().map_err(|_| KeyError::UnknownAlgorithm(name.to_owned()))
}

/// A key that is ready, and the algorithms it may be used with.
pub(super) struct Usable {
    /// The `kid` of a published key. SECURITY: only ever compared.
    pub id: Option<String>,
    pub key: DecodingKey,
    pub algorithms: Vec<Algorithm>,
}

/// The keys, each with those of `algorithms` that it is for.
pub(super) fn usable(keys: &[VerifyKey], algorithms: &[Algorithm]) -> Result<Vec<Usable>, KeyError> {
    if algorithms.is_empty() {
        return Err(KeyError::NoAlgorithms);
    }
    if keys.is_empty() {
        return Err(KeyError::NoKeys);
    }
    let symmetric = algorithms.iter().find(|algorithm| is_symmetric(**algorithm));
    let has_pem = keys.iter().any(|key| matches!(key, VerifyKey::PublicPem(_)));
    if let (Some(symmetric), true) = (symmetric, has_pem) {
        return Err(KeyError::Mixed(*symmetric));
    }
    let mut usable = Vec::new();
    for key in keys {
        let key = decoding_key(key)?;
        let fitting = algorithms.iter().copied();
        let algorithms: Vec<_> = fitting.filter(|algorithm| fits(&key, *algorithm)).collect();
        if algorithms.is_empty() {
            return Err(KeyError::UselessKey);
        }
        usable.push(Usable { id: None, key, algorithms });
    }
    let served = |algorithm| usable.iter().any(|key| key.algorithms.contains(algorithm));
    match algorithms.iter().find(|algorithm| !served(algorithm)) {
        Some(unserved) => Err(KeyError::NoKeyFor(*unserved)),
        None => Ok(usable),
    }
}

/// Whether `algorithms` can be those of published keys.
pub(super) fn asymmetric(algorithms: &[Algorithm]) -> Result<(), KeyError> {
    match algorithms.iter().find(|algorithm| is_symmetric(**algorithm)) {
        _ if algorithms.is_empty() => Err(KeyError::NoAlgorithms),
        Some(symmetric) => Err(KeyError::Mixed(*symmetric)),
        None => Ok(()),
    }
}

fn decoding_key(key: &VerifyKey) -> Result<DecodingKey, KeyError> {
    let pem = match key {
        VerifyKey::Secret(bytes) => return Ok(DecodingKey::from_secret(secret(bytes)?)),
        VerifyKey::SecretBase64(text) => {
            return Ok(DecodingKey::from_secret(secret(&base64(text)?)?));
        }
        VerifyKey::PublicPem(pem) => pem,
    };
    // The crate would take the first bit string it finds in either of these.
    if pem.contains("PRIVATE KEY-----") {
        return Err(KeyError::PrivateKey);
    }
    if pem.contains("BEGIN CERTIFICATE-----") {
        return Err(KeyError::Certificate);
    }
    let pem = pem.as_bytes();
    // An EC key read as RSA would be refused only when it verifies; so the kinds that say what they are come first.
    let key = DecodingKey::from_ec_pem(pem)
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .or_else(|_| DecodingKey::from_rsa_pem(pem))
        .map_err(|_| KeyError::NotAPublicKey)?;
    // PKCS#1: the modulus and at least six bytes around it.
    let bytes = key.try_get_as_bytes().map_err(|_| KeyError::NotAPublicKey)?;
    if key.family() == AlgorithmFamily::Rsa && bytes.len() < 2048 / 8 + 6 {
        return Err(KeyError::ShortRsaKey);
    }
    Ok(key)
}

/// Whether `key` is for `algorithm`. With EC keys that depends on the curve, which aws-lc tells by the point.
pub(super) fn fits(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let curve: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        _ => return key.family() == algorithm.family(),
    };
    let point = key.try_get_as_bytes().unwrap_or_default();
    key.family() == algorithm.family() && ParsedPublicKey::new(curve, point).is_ok()
}

pub(super) fn encoding_key(key: &SigningKey, algorithm: Algorithm) -> Result<EncodingKey, KeyError> {
    let unfit = KeyError::NotASigningKey(algorithm);
    let pem = match (key, is_symmetric(algorithm)) {
        (SigningKey::Secret(bytes), true) => return Ok(EncodingKey::from_secret(secret(bytes)?)),
        (SigningKey::SecretBase64(text), true) => {
            return Ok(EncodingKey::from_secret(secret(&base64(text)?)?));
        }
        (SigningKey::PrivatePem(pem), false) => pem.as_bytes(),
        (SigningKey::Secret(_) | SigningKey::SecretBase64(_), false) | (SigningKey::PrivatePem(_), true) => {
            return Err(unfit);
        }
    };
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => return Err(unfit),
    };
    key.map_err(|_| unfit)
}

fn is_symmetric(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}

fn secret(bytes: &[u8]) -> Result<&[u8], KeyError> {
    if bytes.is_empty() {
        return Err(KeyError::EmptySecret);
    }
    // SECURITY: a public key here would be a secret that everybody knows.
    if memchr::memmem::find(bytes, b"-----BEGIN ").is_some() {
        return Err(KeyError::PemAsSecret);
    }
    Ok(bytes)
}

fn base64(text: &str) -> Result<Vec<u8>, KeyError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = match text.contains(['-', '_']) {
        true => &alphabet::URL_SAFE,
        false => &alphabet::STANDARD,
    };
    GeneralPurpose::new(alphabet, config).decode(text.trim()).map_err(|_| KeyError::NotBase64)
}
