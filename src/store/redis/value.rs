//! What Redis answers, in the store's own words, so that the client crate is named in this folder only.

use bytes::Bytes;

/// An answer of Redis. The reply types of RESP3 are folded into those that scripts know.
#[derive(Clone, Debug, PartialEq)]
pub enum RedisValue {
    Nil,
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A status such as `OK`.
    Status(String),
    Bytes(Bytes),
    List(Vec<RedisValue>),
    Map(Vec<(RedisValue, RedisValue)>),
    /// An error within a list; an error as the whole answer is a `StoreError`.
    Error {
        code: String,
        detail: String,
    },
}
