//! Signing: for scripts that issue tokens of their own, and for tests.
//!
//! The claims are signed as they are given; what they say is the caller's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value};

use super::json;
use super::keys::{KeyError, SigningKey, encoding_key};

/// Why a token was not made. The caller's fault, but for the last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("jwt: the claims are not a JSON object with each name once")]
    NotClaims,
    #[error("jwt: the header `{0}` cannot be set")]
    ReservedHeader(String),
    #[error("jwt: {0:?} failed: {1}")]
    Failed(Algorithm, String),
}

pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    pub fn new(key: &SigningKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        let key = encoding_key(key, algorithm)?;
        // Some keys, such as one for another curve, are found out only when they sign.
        jsonwebtoken::crypto::sign(b"", &key, algorithm).map_err(|_| KeyError::NotASigningKey(algorithm))?;
        Ok(Signer { key, algorithm })
    }

    /// A token with the claims of `claims`, a JSON object as text, and `header` beside `typ` and `alg`.
    pub fn sign(&self, claims: &str, header: &Map<String, Value>) -> Result<String, SignError> {
        json::object(claims).map_err(|_| SignError::NotClaims)?;
        let mut whole = Map::new();
        whole.insert("typ".into(), "JWT".into());
        whole.insert("alg".into(), format!("{:?}", self.algorithm).into());
        for (name, value) in header {
            if matches!(&name[..], "alg" | "crit" | "b64") {
                return Err(SignError::ReservedHeader(name.clone()));
            }
            whole.insert(name.clone(), value.clone());
        }
        let mut token = URL_SAFE_NO_PAD.encode(Value::Object(whole).to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = jsonwebtoken::crypto::sign(token.as_bytes(), &self.key, self.algorithm);
        let signature = signature.map_err(|error| SignError::Failed(self.algorithm, error.to_string()))?;
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }
}
