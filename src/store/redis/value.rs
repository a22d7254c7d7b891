//! What Redis answers, in the store's own words, so that the client crate is named in this folder only.

use bytes::Bytes;
use redis::Value;

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

impl From<Value> for RedisValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Nil => RedisValue::Nil,
            Value::Int(int) => RedisValue::Int(int),
            Value::Double(double) => RedisValue::Double(double),
            Value::Boolean(bool) => RedisValue::Bool(bool),
            Value::Okay => RedisValue::Status("OK".into()),
            Value::SimpleString(text) => RedisValue::Status(text),
            Value::BulkString(bytes) => RedisValue::Bytes(bytes.into()),
            Value::VerbatimString { text, .. } => RedisValue::Bytes(text.into()),
            Value::BigNumber(digits) => RedisValue::Bytes(digits.into()),
            Value::Array(items) | Value::Set(items) | Value::Push { data: items, .. } => {
                RedisValue::List(items.into_iter().map(RedisValue::from).collect())
            }
            Value::Map(pairs) => {
                let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into()));
                RedisValue::Map(pairs.collect())
            }
            Value::Attribute { data, .. } => RedisValue::from(*data),
            Value::ServerError(error) => {
                RedisValue::Error { code: error.code().into(), detail: error.details().unwrap_or_default().into() }
            }
            // The crate's enum is open; what it may add one day is not sent unless it is asked for.
            _ => RedisValue::Nil,
        }
    }
}
