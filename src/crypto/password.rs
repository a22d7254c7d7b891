//! Passwords as they may be stored: PBKDF2 (RFC 8018 §5.2) with HMAC-SHA-256, written as a PHC string
//! (<https://github.com/P-H-C/phc-string-format>): `$pbkdf2-sha256$i=600000$SALT$HASH`, salt and hash in base64 without padding.
//!
//! Both directions take the time they are meant to take, about a tenth of a second: callers see to it that no worker waits.

use super::digest::{NoRandomness, random};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, STANDARD_PAD_INDIFFERENT},
};
use std::num::NonZeroU32;

/// OWASP's Password Storage Cheat Sheet (2023) for PBKDF2-HMAC-SHA256.
pub const ITERATIONS: u32 = 600_000;
/// Some two seconds: more would be a way to stop the gateway, not to protect a password.
const MOST: u32 = 10_000_000;
/// RFC 8018 §4.1 asks for eight bytes at least; NIST SP 800-132 §5.1 for sixteen.
const SALT: usize = 16;
const HASH: usize = 32;

const NAME: &str = "pbkdf2-sha256";

/// A password as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Why a text is no stored password. It is never shown itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    #[error("a stored password is written `$pbkdf2-sha256$i=ITERATIONS$SALT$HASH`")]
    Form,
    #[error("{0} iterations are not between 1 and 10000000")]
    Iterations(u64),
    #[error("the salt is not 8 to 64 bytes in base64")]
    Salt,
    #[error("the hash is not 16 to 64 bytes in base64")]
    Hash,
}

impl Stored {
    pub fn parse(text: &str) -> Result<Stored, NotStored> {
        let mut parts = text.split('$');
        let (Some(""), Some(NAME), Some(parameters), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotStored::Form);
        };
        let mut written = None;
        for parameter in parameters.split(',') {
            match parameter.split_once('=') {
                Some(("i", number)) if written.is_none() => written = number.parse::<u64>().ok(),
                // The length, which others write too: the hash says it.
                Some(("l", _)) => {}
                _ => return Err(NotStored::Form),
            }
        }
        let written = written.ok_or(NotStored::Form)?;
        let iterations = u32::try_from(written).ok().filter(|iterations| *iterations <= MOST).and_then(NonZeroU32::new);
        let bytes = |text: &str, least| {
            let bytes = STANDARD_PAD_INDIFFERENT.decode(text).ok();
            bytes.filter(|bytes| (least..=64).contains(&bytes.len()))
        };
        Ok(Stored {
            iterations: iterations.ok_or(NotStored::Iterations(written))?,
            salt: bytes(salt, 8).ok_or(NotStored::Salt)?,
            hash: bytes(hash, 16).ok_or(NotStored::Hash)?,
        })
    }

    /// Whether this is the password. The comparison's time tells nothing.
    pub fn is(&self, password: &[u8]) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA256, self.iterations, &self.salt, password, &self.hash).is_ok()
    }
}

/// How many iterations may be asked for.
pub fn iterations(asked: i64) -> Result<NonZeroU32, NotStored> {
    let asked_or_none = u32::try_from(asked).ok().filter(|asked| *asked <= MOST).and_then(NonZeroU32::new);
    asked_or_none.ok_or(NotStored::Iterations(u64::try_from(asked).unwrap_or_default()))
}

/// A password as it is to be stored, with a salt of its own.
pub fn store(password: &[u8], iterations: NonZeroU32) -> Result<String, NoRandomness> {
    let salt = random(SALT)?;
    let mut hash = [0; HASH];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut hash);
    let base64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    Ok(format!("${NAME}$i={iterations}${}${}", base64(&salt), base64(&hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_other_implementations() {
        // Python: hashlib.pbkdf2_hmac("sha256", b"lovelace:1", b"saltsaltsaltsalt", 1000).
        let stored = Stored::parse(
            "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$HAd+zgLNLUX1MxzwI7oPIYgXasEiSyq9gzQtqGfPUlU",
        );
        assert!(stored.is_ok_and(|stored| stored.is(b"lovelace:1") && !stored.is(b"lovelace:2")));
    }

    #[test]
    fn what_is_stored_is_found_again_and_never_the_same() {
        let few = iterations(10).expect("a number");
        let [one, other] = [(); 2].map(|()| store(b"secret", few).expect("random bytes"));
        assert_ne!(one, other);
        assert!(one.starts_with("$pbkdf2-sha256$i=10$"), "{one}");
        let stored = Stored::parse(&one).expect("a stored password");
        assert_eq!([&b"secret"[..], b"Secret", b""].map(|password| stored.is(password)), [true, false, false]);
    }

    #[test]
    fn what_is_no_stored_password_is_named() {
        let salt = "c2FsdHNhbHQ";
        let hash = "AAAAAAAAAAAAAAAAAAAAAA";
        for (text, expected) in [
            (String::new(), NotStored::Form),
            ("secret".to_owned(), NotStored::Form),
            (format!("$pbkdf2-sha512$i=1${salt}${hash}"), NotStored::Form),
            (format!("$pbkdf2-sha256$i=1${salt}${hash}$"), NotStored::Form),
            (format!("$pbkdf2-sha256$i=x${salt}${hash}"), NotStored::Form),
            (format!("$pbkdf2-sha256$i=1,i=2${salt}${hash}"), NotStored::Form),
            (format!("$pbkdf2-sha256$i=0${salt}${hash}"), NotStored::Iterations(0)),
            (format!("$pbkdf2-sha256$i=10000001${salt}${hash}"), NotStored::Iterations(10_000_001)),
            (format!("$pbkdf2-sha256$i=4294967297${salt}${hash}"), NotStored::Iterations(4_294_967_297)),
            (format!("$pbkdf2-sha256$i=1$c2FsdA${hash}"), NotStored::Salt),
            (format!("$pbkdf2-sha256$i=1${salt}$AAAA"), NotStored::Hash),
            (format!("$pbkdf2-sha256$i=1${salt}$!"), NotStored::Hash),
        ] {
            assert_eq!(Stored::parse(&text), Err(expected), "{text}");
        }
    }
}
