//! Tokens and digests, without a word about scripts or requests: what `jwt-auth` and the scripts' modules are made of.
//!
//! [`jwt`] signs and verifies JSON Web Tokens, [`digest`] has hashes, MACs and random bytes, [`password`] what is slow on purpose. All primitives come from
//! aws-lc; nothing here implements one.

pub mod digest;
pub mod jwt;
pub mod password;
