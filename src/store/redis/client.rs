//! What may be sent to Redis: any command that leaves the shared connection as it was, and Lua scripts by their digest.
//!
//! All exchanges of a worker share one connection, so a command that blocks it, or changes what it is, would hit
//! strangers; those that administer the server are refused as well. This guards against mistakes, it is no replacement
//! for a Redis ACL: a Lua script runs what Redis lets it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::super::StoreError;
use super::link::{Link, RedisOptions};
use super::value::RedisValue;
use super::wire;

/// A worker's handle to Redis. Clones share the connection, which ends with the last of them.
#[derive(Clone)]
pub struct RedisClient {
    connection: Rc<Connection>,
}

struct Connection {
    link: Arc<Link>,
    keeper: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A Lua script and its digest, computed once.
#[derive(Clone)]
pub struct RedisScript {
    source: Rc<str>,
    digest: Rc<str>,
}

impl RedisScript {
    pub fn new(source: &str) -> Self {
        RedisScript { source: source.into(), digest: redis::Script::new(source).get_hash().into() }
    }
}

impl RedisClient {
    /// Starts connecting in the background and returns at once; must be called within the worker's runtime. Until the
    /// connection is there, commands fail with [`StoreError::Unavailable`].
    pub fn connect(url: &str, options: RedisOptions) -> Result<Self, StoreError> {
        let link = Arc::new(Link::new(url, options)?);
        let runtime = Handle::try_current().map_err(|error| StoreError::Url { reason: error.to_string() })?;
        let keeper = runtime.spawn(link.clone().keep_connected()).abort_handle();
        let connection = Rc::new(Connection { link, keeper });
        Ok(RedisClient { connection })
    }

    /// Whether [`RedisClient::connect`] would take `url`, without connecting: for checking a configuration.
    pub fn check_url(url: &str) -> Result<(), StoreError> {
        Link::new(url, RedisOptions::default()).map(|_| ())
    }

    /// Whether there is a connection that the breaker lets commands through to.
    pub fn is_up(&self) -> bool {
        self.connection.link.is_up()
    }

    /// Waits until it is up, at most for the time of one attempt to connect (250 ms by default).
    pub async fn first_attempt(&self) {
        self.connection.link.first_attempt().await;
    }

    /// Sends one command, its name first.
    pub async fn command(&self, words: &[Bytes]) -> Result<RedisValue, StoreError> {
        check_allowed(words)?;
        let write = |out: &mut Vec<u8>| {
            wire::begin(out, words.len());
            words.iter().for_each(|word| wire::word(out, word));
        };
        self.connection.link.send(write).await
    }

    /// Runs a script by its digest; a Redis that doesn't know it yet (or was restarted) is sent the source in a second trip.
    pub async fn script<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        script: &RedisScript,
        keys: &[K],
        args: &[A],
    ) -> Result<RedisValue, StoreError> {
        let invoke = |out: &mut Vec<u8>, name: &str, script: &str| {
            wire::begin(out, 3 + keys.len() + args.len());
            wire::word(out, name.as_bytes());
            wire::word(out, script.as_bytes());
            wire::number(out, keys.len());
            keys.iter().for_each(|key| wire::word(out, key.as_ref()));
            args.iter().for_each(|arg| wire::word(out, arg.as_ref()));
        };
        let link = &self.connection.link;
        match link.send(|out| invoke(out, "EVALSHA", &script.digest)).await {
            Err(StoreError::Refused { code, .. }) if code == "NOSCRIPT" => {
                link.send(|out| invoke(out, "EVAL", &script.source)).await
            }
            result => result,
        }
    }

    pub(super) fn unavailable(&self) -> StoreError {
        self.connection.link.unavailable()
    }
}

const CONNECTION: &str = "it changes the connection that all exchanges of a worker share";
const BLOCKING: &str = "it blocks the connection that all exchanges of a worker share";
const ADMINISTRATION: &str = "it administers the server";

/// Every command of Redis 7 (and those of 8 known by then) that scripts do not get, in upper case.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        CONNECTION,
        &[
            "ASKING",
            "AUTH",
            "CLIENT",
            "DISCARD",
            "EXEC",
            "HELLO",
            "MONITOR",
            "MULTI",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "QUIT",
            "READONLY",
            "READWRITE",
            "RESET",
            "SELECT",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
            "UNWATCH",
            "WATCH",
        ],
    ),
    (
        BLOCKING,
        &["BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "WAIT", "WAITAOF"],
    ),
    (
        ADMINISTRATION,
        &[
            "ACL",
            "BGREWRITEAOF",
            "BGSAVE",
            "CLUSTER",
            "CONFIG",
            "DEBUG",
            "FAILOVER",
            "FLUSHALL",
            "FLUSHDB",
            "FUNCTION",
            "LATENCY",
            "MEMORY",
            "MIGRATE",
            "MODULE",
            "PFDEBUG",
            "PFSELFTEST",
            "PSYNC",
            "REPLCONF",
            "REPLICAOF",
            "RESTORE-ASKING",
            "SAVE",
            "SCRIPT",
            "SHUTDOWN",
            "SLAVEOF",
            "SLOWLOG",
            "SWAPDB",
            "SYNC",
        ],
    ),
];

fn check_allowed(words: &[Bytes]) -> Result<(), StoreError> {
    let forbidden = |name: &[u8], reason| StoreError::Forbidden {
        command: String::from_utf8_lossy(name).to_ascii_uppercase(),
        reason,
    };
    let Some(name) = words.first() else {
        return Err(forbidden(b"", "a command has a name"));
    };
    for (reason, names) in FORBIDDEN {
        if names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
            return Err(forbidden(name, reason));
        }
    }
    let reads_stream = name.eq_ignore_ascii_case(b"XREAD") || name.eq_ignore_ascii_case(b"XREADGROUP");
    let keys = words.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
    let options = &words[..keys.unwrap_or(words.len())];
    if reads_stream && options.iter().any(|word| word.eq_ignore_ascii_case(b"BLOCK")) {
        return Err(forbidden(&[name, &b" BLOCK"[..]].concat(), BLOCKING));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match check_allowed(&words) {
            Ok(()) => "allowed".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn commands_that_touch_the_connection_or_the_server_are_refused() {
        let cases = [
            ("GET k", "allowed"),
            ("eval return(1) 0", "allowed"),
            ("XREAD COUNT 1 STREAMS block 0", "allowed"),
            (
                "xread block 0 STREAMS s 0",
                "redis: XREAD BLOCK is not available to scripts: it blocks the connection that all exchanges of a worker share",
            ),
            (
                "BLPOP k 0",
                "redis: BLPOP is not available to scripts: it blocks the connection that all exchanges of a worker share",
            ),
            (
                "Subscribe c",
                "redis: SUBSCRIBE is not available to scripts: it changes the connection that all exchanges of a worker share",
            ),
            ("FlushAll", "redis: FLUSHALL is not available to scripts: it administers the server"),
            ("", "redis:  is not available to scripts: a command has a name"),
        ];
        for (line, expected) in cases {
            assert_eq!(check(line), expected, "{line}");
        }
    }
}
