//! JSON Web Tokens in the compact serialization (RFC 7519, RFC 7515), read strictly.
//!
//! `keys` turns configured secrets and PEM texts into keys that can only be used as meant, `verify` and `sign` use them,
//! `cache` remembers what was verified, `json` refuses what parsers disagree about, `set` reads what issuers publish. Keys come from
//! the configuration, or the one set that it names, alone: what a token says about keys (`jwk`, `jku`, `x5c`, `x5u`) is never looked at,
//! and its `kid` only compared with those of a set. Encrypted tokens
//! (RFC 7516) are not read.

mod cache;
mod json;
mod keys;
mod set;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::cell::OnceCell;

pub use jsonwebtoken::Algorithm;
pub use keys::{KeyError, SigningKey, VerifyKey, algorithm};
pub use set::{KeySet, SetError};
pub use sign::{SignError, Signer};
pub use verify::{Verifier, VerifyOptions};

/// The longest token that is read, in bytes: the size of a whole request head with most servers.
pub const MAX_LENGTH: usize = 8 * 1024;

/// The claims of a token, in the order they were sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// The payload as it was signed: integers of any size are still as they were. The bytes of a token that is verified again
    /// are the same in memory, by which others know them.
    pub text: Bytes,
    pub values: Map<String, Value>,
    /// What scripts are told of whom the token is of, made when it is first asked for and the same bytes ever after.
    pub identity: OnceCell<Bytes>,
}

/// Why a token was not accepted. Always the client's fault and the same when tried again, but for the two about time.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JwtError {
    #[error("token: {0}")]
    Malformed(&'static str),
    #[error("token: {0} bytes are over the limit of 8192")]
    TooLong(usize),
    #[error("token: name {0:?} occurs twice")]
    Duplicate(String),
    #[error("token: algorithm {0:?} is not allowed")]
    AlgorithmNotAllowed(String),
    /// RFC 7515 §4.1.11: an extension that must be understood, and none is.
    #[error("token: the header has `crit`")]
    CritHeader,
    /// RFC 7797, which the compact serialization of a JWT may not use (its §7).
    #[error("token: the header has `b64` that is not true")]
    UnencodedPayload,
    #[error("token: the signature does not match")]
    BadSignature,
    /// No key of the published set is this one: the set may be older than the key.
    #[error("token: its key is not one of the issuer's")]
    UnknownKey,
    #[error("token: expired at {exp}, it is {now}")]
    Expired { exp: f64, now: u64 },
    #[error("token: not valid before {nbf}, it is {now}")]
    NotYetValid { nbf: f64, now: u64 },
    #[error("token: the issuer is not an accepted one")]
    WrongIssuer,
    #[error("token: it is meant for another audience")]
    WrongAudience,
    #[error("token: claim `{0}` is missing")]
    MissingClaim(&'static str),
    #[error("token: claim `{0}` is not a number")]
    NotANumber(&'static str),
}

/// A token's header and claims as they stand, **not verified**: for looking, never for deciding.
pub fn decode(token: &str) -> Result<(Claims, Claims), JwtError> {
    let parts = Parts::split(token)?;
    Ok((part(parts.header)?, part(parts.payload)?))
}

struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// Header and payload with the dot between: what was signed.
    message: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, JwtError> {
        if token.len() > MAX_LENGTH {
            return Err(JwtError::TooLong(token.len()));
        }
        let three = JwtError::Malformed("not three parts with dots between");
        let Some((message, signature)) = token.rsplit_once('.') else {
            return Err(three);
        };
        match message.split_once('.') {
            Some((header, payload)) if !payload.contains('.') => Ok(Parts { header, payload, signature, message }),
            _ => Err(three),
        }
    }
}

/// A base64url part (no padding, no stray bits: RFC 7515 §2) that holds a JSON object.
fn part(encoded: &str) -> Result<Claims, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwtError::Malformed("a part is not base64url"))?;
    let text = String::from_utf8(bytes).map_err(|_| JwtError::Malformed("a part is not UTF-8"))?;
    let values = json::object(&text)?;
    Ok(Claims { text: text.into(), values, identity: OnceCell::new() })
}
