//! Sets of public keys as issuers publish them (RFC 7517), read with distrust.
//!
//! Only what verifies signatures is kept: keys for encryption, secrets, private keys, short RSA keys and kinds that are not known are
//! ignored, as RFC 7517 §5 has it, and never make the others unusable. Who fetches a set, and when, is not decided here.

use super::keys::{Usable, fits};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

const MAX_SIZE: usize = 256 << 10;
const MAX_KEYS: usize = 100;

/// Those that a published key may be for: none that is symmetric.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The keys of an issuer that can be used, and the same as a JSON list.
pub struct KeySet {
    pub text: Bytes,
    pub(super) keys: Vec<Usable>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("{0} bytes are over the limit of 262144")]
    TooLong(usize),
    #[error("it is not a JSON object with a list `keys`")]
    NotASet,
    #[error("{0} keys are over the limit of 100")]
    TooMany(usize),
}

impl KeySet {
    /// A set without a key that can be used is one as well: its issuer has withdrawn them.
    pub fn parse(text: &[u8]) -> Result<KeySet, SetError> {
        if text.len() > MAX_SIZE {
            return Err(SetError::TooLong(text.len()));
        }
        let set: Value = serde_json::from_slice(text).map_err(|_| SetError::NotASet)?;
        let all = set.get("keys").and_then(Value::as_array).ok_or(SetError::NotASet)?;
        if all.len() > MAX_KEYS {
            return Err(SetError::TooMany(all.len()));
        }
        let (kept, keys): (Vec<_>, Vec<_>) = all.iter().filter_map(|one| Some((one.clone(), usable(one)?))).unzip();
        Ok(KeySet { text: Value::Array(kept).to_string().into(), keys })
    }
}

fn usable(written: &Value) -> Option<Usable> {
    // SECURITY: who can read the set could sign with what is in it, were it a secret or a private key.
    if written.get("d").is_some() || written.get("k").is_some() {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(written.clone()).ok()?;
    let is_for_signatures = jwk.common.public_key_use.is_none_or(|usage| usage == PublicKeyUse::Signature);
    let verifies = jwk.common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let key = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) if is_long(&key.n) => DecodingKey::from_rsa_components(&key.n, &key.e),
        AlgorithmParameters::EllipticCurve(key) => DecodingKey::from_ec_components(&key.x, &key.y),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            DecodingKey::from_ed_components(&key.x)
        }
        _ => return None,
    };
    let key = key.ok().filter(|_| is_for_signatures && verifies)?;
    // RFC 7517 §4.4: a key that names its algorithm is for that alone.
    let named = jwk.common.key_algorithm.map(|name| name.to_string());
    let is_named = |algorithm: &Algorithm| named.as_ref().is_none_or(|name| *name == format!("{algorithm:?}"));
    let algorithms = ALGORITHMS.into_iter().filter(|algorithm| is_named(algorithm) && fits(&key, *algorithm));
    let algorithms: Vec<_> = algorithms.collect();
    (!algorithms.is_empty()).then_some(Usable { id: jwk.common.key_id, key, algorithms })
}

/// Whether a modulus has 2048 bits or more.
fn is_long(modulus: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default();
    let mut significant = bytes.iter().skip_while(|byte| **byte == 0);
    let first = significant.next().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    first + 8 * significant.count() >= 2048
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A modulus of that many bits.
    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xff; bits / 8];
        bytes.insert(0, (1 << (bits % 8)) - 1);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What the keys are for, when the members of an RSA key of 2048 bits are replaced or added.
    fn algorithms(members: Value) -> Vec<Vec<Algorithm>> {
        let mut key = json!({ "kty": "RSA", "n": modulus(2048), "e": "AQAB" });
        for (name, value) in members.as_object().expect("members") {
            key[name] = value.clone();
        }
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).expect("a set");
        set.keys.into_iter().map(|usable| usable.algorithms).collect()
    }

    #[test]
    fn only_keys_that_verify_signatures_are_kept() {
        assert_eq!(algorithms(json!({})).concat(), ALGORITHMS[..6]);
        assert_eq!(algorithms(json!({ "alg": "PS256", "use": "sig", "key_ops": ["verify"] })), [[Algorithm::PS256]]);
        for ignored in [
            json!({ "n": modulus(2047) }),
            json!({ "n": "AQAB" }),
            json!({ "n": 7 }),
            json!({ "use": "enc" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "alg": "RSA-OAEP" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "none" }),
            json!({ "d": "AQAB" }),
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": "AQAB" }),
            json!({ "kty": "OKP", "crv": "P-256", "x": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" }),
        ] {
            assert!(algorithms(ignored.clone()).is_empty(), "{ignored}");
        }
    }

    #[test]
    fn what_is_no_set_is_told() {
        let told = |text: &str| KeySet::parse(text.as_bytes()).map(|set| set.text).map_err(|error| error.to_string());
        assert_eq!(told(r#"{"keys":[{"kty":"oct","k":"AA"},7]}"#), Ok("[]".into()));
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert_eq!(told(wrong), Err("it is not a JSON object with a list `keys`".into()), "{wrong}");
        }
        let many = json!({ "keys": vec![0; 101] }).to_string();
        assert_eq!(told(&many), Err("101 keys are over the limit of 100".into()));
        assert_eq!(told(&" ".repeat(262_145)), Err("262145 bytes are over the limit of 262144".into()));
    }
}
