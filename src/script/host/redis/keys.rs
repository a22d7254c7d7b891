//! Which words of a command are keys, from Redis' own command table (`COMMAND`, its first key, last key and step).
//!
//! Asked only for plugins whose manifest grants prefixes; a command that is not listed is refused to them rather than
//! let through unchecked. What takes its keys by options (SORT … BY, EVAL, XREAD) is left out on purpose.

use crate::script::Raise;
use bytes::Bytes;

#[derive(Clone, Copy)]
enum Keys {
    /// It has none.
    None,
    First,
    FirstTwo,
    /// Every word.
    All,
    /// Key and value in turn.
    EverySecond,
    /// All but the first word.
    Rest,
}

/// Their names, with spaces between.
const COMMANDS: &[(Keys, &str)] = &[
    (Keys::None, "ECHO PING TIME"),
    (
        Keys::First,
        "APPEND BITCOUNT BITFIELD BITFIELD_RO BITPOS DECR DECRBY DUMP EXPIRE EXPIREAT EXPIRETIME GEOADD \
         GEODIST GEOHASH GEOPOS GEOSEARCH GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HGET HGETALL \
         HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET HSETNX HSTRLEN HVALS INCR INCRBY \
         INCRBYFLOAT LINDEX LINSERT LLEN LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM PERSIST PEXPIRE \
         PEXPIREAT PEXPIRETIME PFADD PSETEX PTTL PUBLISH RPOP RPUSH RPUSHX SADD SCARD SET SETBIT SETEX SETNX \
         SETRANGE SISMEMBER SMEMBERS SMISMEMBER SPOP SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSTR TTL TYPE \
         XACK XADD XDEL XLEN XRANGE XREVRANGE XTRIM ZADD ZCARD ZCOUNT ZINCRBY ZLEXCOUNT ZMSCORE ZPOPMAX \
         ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK \
         ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE",
    ),
    (Keys::FirstTwo, "COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE"),
    (Keys::All, "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK"),
    (Keys::EverySecond, "MSET MSETNX"),
    (Keys::Rest, "BITOP"),
];

/// Whether a command, its name first, keeps to the granted prefixes. No prefixes: any command may have any keys.
pub fn permit(prefixes: &[String], words: &[Bytes]) -> Result<(), Raise> {
    if prefixes.is_empty() {
        return Ok(());
    }
    let Some((name, words)) = words.split_first() else {
        return Ok(());
    };
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let known = COMMANDS.iter().find(|(_, names)| names.split(' ').any(is));
    let Some((keys, _)) = known else {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        let name = name.escape_debug();
        return Err(Raise::error(format!(
            "`{name}`: which words are keys is not known, and only some keys are granted"
        )));
    };
    match keys {
        Keys::None => Ok(()),
        Keys::First => permit_keys(prefixes, words.get(..1).unwrap_or_default()),
        Keys::FirstTwo => permit_keys(prefixes, &words[..words.len().min(2)]),
        Keys::All => permit_keys(prefixes, words),
        Keys::EverySecond => permit_keys(prefixes, words.iter().step_by(2)),
        Keys::Rest => permit_keys(prefixes, words.iter().skip(1)),
    }
}

pub fn permit_keys<'a>(prefixes: &[String], keys: impl IntoIterator<Item = &'a Bytes>) -> Result<(), Raise> {
    let granted = |key: &Bytes| prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
    match keys.into_iter().find(|key| !prefixes.is_empty() && !granted(key)) {
        None => Ok(()),
        Some(key) => {
            let key = String::from_utf8_lossy(key);
            let key = key.escape_debug();
            let prefixes = prefixes.join("`, `");
            Err(Raise::error(format!("key `{key}` is not granted: `permissions.redis` has `{prefixes}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let prefixes = ["my:".to_owned(), "our:".to_owned()];
        permit(&prefixes, &words).map_or_else(|raise| raise.to_string(), |()| "yes".to_owned())
    }

    #[test]
    fn keys_are_checked_wherever_they_stand() {
        for line in
            ["get my:a", "PING", "DEL my:a our:b", "MSET my:a x our:b y", "RENAME my:a our:b", "BITOP AND my:a my:b"]
        {
            assert_eq!(permitted(line), "yes", "{line}");
        }
        let refused = |key| format!("key `{key}` is not granted: `permissions.redis` has `my:`, `our:`");
        for line in ["GET a", "DEL my:a a", "MSET my:a x a y", "RENAME my:a a", "BITOP AND my:a a"] {
            assert_eq!(permitted(line), refused("a"), "{line}");
        }
        let unknown = "`KEYS`: which words are keys is not known, and only some keys are granted";
        assert_eq!(permitted("keys *"), unknown);
    }

    #[test]
    fn without_prefixes_everything_is_granted() {
        assert!(permit(&[], &[Bytes::from_static(b"KEYS"), Bytes::from_static(b"*")]).is_ok());
    }

    #[test]
    fn every_function_of_the_module_is_listed() {
        let named = |name: &str| {
            COMMANDS.iter().any(|(_, names)| names.split(' ').any(|other| other.eq_ignore_ascii_case(name)))
        };
        for function in super::super::MODULE.functions {
            assert!(named(function.name) || matches!(function.name, "command" | "script"), "{}", function.name);
        }
    }
}
