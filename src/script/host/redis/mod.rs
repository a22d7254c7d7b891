//! `redis`: commands and scripts on the Redis of the configuration, over the worker's one connection.
//!
//! A command suspends the script until its reply is there, at most for the store's response timeout. Which words of a command are
//! keys is known from `keys`, so that a plugin with granted prefixes keeps to them. Commands that block or change the connection are
//! refused by the store. Without a Redis, or while it is away, every call is an error that the script may catch.

mod keys;

use crate::{
    observe::traces::{Kind, SpanInProgress},
    script::{
        Raise, Scope, Value, json,
        list::{Function, Module, Outcome, Param, Type},
        value::Args,
    },
    store::{RedisClient, RedisScript, RedisValue},
};
use bytes::Bytes;

const KEY: Param = Param::required("key", Type::Bytes, "the key");
const FIELD: Param = Param::required("field", Type::Scalar, "the field of the hash");
const VALUE: Param = Param::required("value", Type::Scalar, "the value; more words of the command may follow");
const MEMBER: Param = Param::required("member", Type::Scalar, "the member");
const START: Param = Param::required("start", Type::Int, "the first place, from 0");
const STOP: Param = Param::required("stop", Type::Int, "the last place; -1 is the end");

const SCALAR: Type = Type::Scalar;
const MANY: Type = Type::List(&Type::Scalar);

/// A function for each command that is common: its words go to Redis as they are, further ones too.
macro_rules! commands {
    ($($name:ident ($($param:expr),*) -> $returns:expr, $doc:literal, $lua:literal, $rhai:literal;)*) => {
        &[$(Function {
            name: stringify!($name),
            params: &[$($param),*],
            variadic: true,
            returns: $returns,
            doc: $doc,
            lua: $lua,
            rhai: $rhai,
            run: |scope, args| shortcut(scope, stringify!($name), args),
        },)*
        Function {
            name: "command",
            params: &[Param::required("name", Type::String, "of the command, in either case")],
            variadic: true,
            returns: Type::Any,
            doc: "Any command that neither blocks nor changes the connection. Gives nil, a number, string, list or map; a nil within a list is false, as in Redis' own scripts.",
            lua: r#"local length = redis.command("STRLEN", "greeting")"#,
            rhai: r#"let length = redis::command("STRLEN", "greeting");"#,
            run: |scope, args| command(scope, args),
        },
        Function {
            name: "script",
            params: &[
                Param::required("source", Type::String, "a script in Redis' Lua"),
                Param::optional("keys", Type::List(&Type::Bytes), "its KEYS"),
                Param::optional("args", Type::List(&Type::Scalar), "its ARGV"),
            ],
            variadic: false,
            returns: Type::Any,
            doc: "Runs a script within Redis, in one step and by its digest. It gives what a command gives. A plugin with granted prefixes needs `permissions.redis_scripts` too: they are checked for `keys` alone.",
            lua: r#"local sum = redis.script("return redis.call('INCRBY', KEYS[1], ARGV[1])", { "visits" }, { 2 })"#,
            rhai: r#"let sum = redis::script("return redis.call('INCRBY', KEYS[1], ARGV[1])", ["visits"], [2]);"#,
            run: |scope, args| script(scope, &args),
        }]
    };
}

pub static MODULE: Module = Module {
    name: "redis",
    doc: "Commands of Redis, when `redis:` is configured; each waits for its reply. An error when Redis is not there or refuses, and without `redis:`: the embedded store serves `kv` and `limit`, which work in either case, and does not pretend to be a Redis, whose commands and scripts each process would answer differently. More words than are named may follow: `redis.set(key, value, \"EX\", 60)`.",
    constants: &[],
    functions: commands! {
        get(KEY) -> SCALAR, "The string of a key, or nothing.",
            r#"local text = redis.get("greeting")"#, r#"let text = redis::get("greeting");"#;
        set(KEY, VALUE) -> SCALAR, "Sets a string; `\"EX\", seconds`, `\"NX\"` and other words may follow.",
            r#"redis.set("greeting", "hello", "EX", 60)"#, r#"redis::set("greeting", "hello", "EX", 60);"#;
        del(KEY) -> SCALAR, "Deletes keys and says how many there were.",
            r#"redis.del("greeting")"#, r#"redis::del("greeting");"#;
        exists(KEY) -> SCALAR, "How many of the keys there are.",
            r#"local there = redis.exists("greeting") == 1"#, r#"let there = redis::exists("greeting") == 1;"#;
        expire(KEY, Param::required("seconds", Type::Int, "how long it lives from now")) -> SCALAR, "Gives a key a time to live; 1 when it is there.",
            r#"redis.expire("greeting", 60)"#, r#"redis::expire("greeting", 60);"#;
        ttl(KEY) -> SCALAR, "Seconds that a key has to live; -1: for ever, -2: there is none.",
            r#"local left = redis.ttl("greeting")"#, r#"let left = redis::ttl("greeting");"#;
        incr(KEY) -> SCALAR, "Adds 1 and gives the sum.",
            r#"local visits = redis.incr("visits")"#, r#"let visits = redis::incr("visits");"#;
        incrby(KEY, Param::required("by", Type::Int, "what is added")) -> SCALAR, "Adds and gives the sum.",
            r#"local visits = redis.incrby("visits", 5)"#, r#"let visits = redis::incrby("visits", 5);"#;
        decr(KEY) -> SCALAR, "Takes 1 away and gives what is left.",
            r#"local left = redis.decr("stock")"#, r#"let left = redis::decr("stock");"#;
        mget(KEY) -> MANY, "The strings of several keys; false for one that is not there.",
            r#"local both = redis.mget("a", "b")"#, r#"let both = redis::mget("a", "b");"#;
        mset(KEY, VALUE) -> SCALAR, "Sets several keys: in turn a key and a value.",
            r#"redis.mset("a", 1, "b", 2)"#, r#"redis::mset("a", 1, "b", 2);"#;
        hget(KEY, FIELD) -> SCALAR, "A field of a hash, or nothing.",
            r#"local name = redis.hget("user:7", "name")"#, r#"let name = redis::hget("user:7", "name");"#;
        hset(KEY, FIELD, VALUE) -> SCALAR, "Sets fields of a hash and says how many are new.",
            r#"redis.hset("user:7", "name", "Ada")"#, r#"redis::hset("user:7", "name", "Ada");"#;
        hdel(KEY, FIELD) -> SCALAR, "Deletes fields of a hash and says how many there were.",
            r#"redis.hdel("user:7", "name")"#, r#"redis::hdel("user:7", "name");"#;
        hincrby(KEY, FIELD, Param::required("by", Type::Int, "what is added")) -> SCALAR, "Adds to a field of a hash and gives the sum.",
            r#"local logins = redis.hincrby("user:7", "logins", 1)"#, r#"let logins = redis::hincrby("user:7", "logins", 1);"#;
        hgetall(KEY) -> Type::Map(&Type::Scalar), "All fields of a hash as a map; an empty one when there is none.",
            r#"local name = redis.hgetall("user:7").name"#, r#"let name = redis::hgetall("user:7").name;"#;
        sadd(KEY, MEMBER) -> SCALAR, "Adds members to a set and says how many are new.",
            r#"redis.sadd("online", "7")"#, r#"redis::sadd("online", "7");"#;
        srem(KEY, MEMBER) -> SCALAR, "Removes members of a set and says how many there were.",
            r#"redis.srem("online", "7")"#, r#"redis::srem("online", "7");"#;
        sismember(KEY, MEMBER) -> SCALAR, "1 when the set has the member, else 0.",
            r#"local online = redis.sismember("online", "7") == 1"#, r#"let online = redis::sismember("online", "7") == 1;"#;
        smembers(KEY) -> MANY, "All members of a set.",
            r#"local online = redis.smembers("online")"#, r#"let online = redis::smembers("online");"#;
        lpush(KEY, VALUE) -> SCALAR, "Puts values at the head of a list and gives its length.",
            r#"redis.lpush("recent", req.path)"#, r#"redis::lpush("recent", req.path);"#;
        rpush(KEY, VALUE) -> SCALAR, "Puts values at the end of a list and gives its length.",
            r#"redis.rpush("queue", "job")"#, r#"redis::rpush("queue", "job");"#;
        lpop(KEY) -> Type::Any, "Takes a value from the head of a list; nothing when it is empty. A list when a count follows.",
            r#"local job = redis.lpop("queue")"#, r#"let job = redis::lpop("queue");"#;
        rpop(KEY) -> Type::Any, "Takes a value from the end of a list; nothing when it is empty. A list when a count follows.",
            r#"local job = redis.rpop("queue")"#, r#"let job = redis::rpop("queue");"#;
        lrange(KEY, START, STOP) -> MANY, "A part of a list.",
            r#"local recent = redis.lrange("recent", 0, 9)"#, r#"let recent = redis::lrange("recent", 0, 9);"#;
        ltrim(KEY, START, STOP) -> SCALAR, "Keeps only a part of a list.",
            r#"redis.ltrim("recent", 0, 99)"#, r#"redis::ltrim("recent", 0, 99);"#;
        llen(KEY) -> SCALAR, "The length of a list.",
            r#"local waiting = redis.llen("queue")"#, r#"let waiting = redis::llen("queue");"#;
        zadd(KEY, Param::required("score", Type::Scalar, "its score, or an option of the command"), MEMBER) -> SCALAR, "Adds members to a sorted set and says how many are new.",
            r#"redis.zadd("scores", 12.5, "ada")"#, r#"redis::zadd("scores", 12.5, "ada");"#;
        zrem(KEY, MEMBER) -> SCALAR, "Removes members of a sorted set and says how many there were.",
            r#"redis.zrem("scores", "ada")"#, r#"redis::zrem("scores", "ada");"#;
        zscore(KEY, MEMBER) -> SCALAR, "A member's score as text, or nothing.",
            r#"local score = redis.zscore("scores", "ada")"#, r#"let score = redis::zscore("scores", "ada");"#;
        zincrby(KEY, Param::required("by", Type::Number, "what is added"), MEMBER) -> SCALAR, "Adds to a member's score and gives it as text.",
            r#"redis.zincrby("scores", 1, "ada")"#, r#"redis::zincrby("scores", 1, "ada");"#;
        zcard(KEY) -> SCALAR, "How many members a sorted set has.",
            r#"local count = redis.zcard("scores")"#, r#"let count = redis::zcard("scores");"#;
        zrange(KEY, Param::required("start", Type::Scalar, "the first place or score"), Param::required("stop", Type::Scalar, "the last")) -> MANY, "A part of a sorted set; `\"REV\"`, `\"BYSCORE\"`, `\"WITHSCORES\"` may follow.",
            r#"local best = redis.zrange("scores", 0, 9, "REV")"#, r#"let best = redis::zrange("scores", 0, 9, "REV");"#;
        publish(Param::required("channel", Type::Bytes, "the channel, for granted prefixes a key"), Param::required("message", Type::Scalar, "the message")) -> SCALAR, "Publishes a message and says how many got it.",
            r#"redis.publish("signups", "7")"#, r#"redis::publish("signups", "7");"#;
    },
};

fn shortcut(scope: &Scope, name: &'static str, args: Args) -> Outcome {
    let words = std::iter::once(Ok(Bytes::from_static(name.as_bytes()))).chain(args.0.iter().map(word)).collect();
    send(scope, words, if name == "hgetall" { as_map } else { value })
}

fn command(scope: &Scope, args: Args) -> Outcome {
    send(scope, args.0.iter().map(word).collect(), value)
}

fn send(scope: &Scope, words: Result<Vec<Bytes>, Raise>, finish: fn(RedisValue) -> Value) -> Outcome {
    if let (Some(trial), Ok(words)) = (&scope.services.trial, &words) {
        let permitted = keys::permit(&scope.instance.permissions.redis, words);
        return Outcome::Done(permitted.and_then(|()| trial.redis(words)).map(finish));
    }
    let ready = words.and_then(|words| {
        keys::permit(&scope.instance.permissions.redis, &words)?;
        Ok((client(scope)?, words))
    });
    match ready {
        Err(raise) => Outcome::Done(Err(raise)),
        Ok((client, words)) => {
            let span = span(scope, words.first().map_or(b"", |word| word));
            Outcome::wait(async move {
                let reply = client.command(&words).await;
                ended(span, reply.is_err());
                reply.map(finish).map_err(|error| Raise::error(error.to_string()))
            })
        }
    }
}

fn script(scope: &Scope, args: &Args) -> Outcome {
    let ready = || {
        let (keys, more) = (list(args.get(1))?, list(args.get(2))?);
        let permissions = &scope.instance.permissions;
        if !permissions.redis.is_empty() && !permissions.redis_scripts {
            let why = "only some keys are granted, and a script can touch any: the manifest needs `permissions.redis_scripts`";
            return Err(Raise::error(why));
        }
        keys::permit_keys(&permissions.redis, &keys)?;
        let source = args.str(0)?;
        if let Some(trial) = &scope.services.trial {
            let words = [Bytes::from_static(b"SCRIPT"), Bytes::copy_from_slice(source.as_bytes())];
            let words: Vec<Bytes> = words.into_iter().chain(keys).chain(more).collect();
            return Ok(Outcome::Done(trial.redis(&words).map(value)));
        }
        let client = client(scope)?;
        let make = || Ok(RedisScript::new(source));
        let script = scope.services.caches.redis_scripts.get_or_make(source, make)?;
        let span = span(scope, b"EVALSHA");
        Ok(Outcome::wait(async move {
            let reply = client.script(&script, &keys, &more).await;
            ended(span, reply.is_err());
            reply.map(value).map_err(|error| Raise::error(error.to_string()))
        }))
    };
    ready().unwrap_or_else(|raise| Outcome::Done(Err(raise)))
}

/// SECURITY: the command's name alone; keys and values may hold secrets. Longer than any name, it is none.
pub fn span(scope: &Scope, command: &[u8]) -> Option<SpanInProgress> {
    let name =
        || if command.len() > 32 { String::new() } else { String::from_utf8_lossy(command).to_ascii_uppercase() };
    let mut span = scope.begin_span(Kind::Client, || format!("redis {}", name()))?;
    span.set("db.system.name", "redis");
    span.set("db.operation.name", name());
    Some(span)
}

pub fn ended(span: Option<SpanInProgress>, is_failed: bool) {
    if let (Some(mut span), true) = (span, is_failed) {
        span.fail("store");
    }
}

fn client(scope: &Scope) -> Result<RedisClient, Raise> {
    let missing = || {
        Raise::error("there is no Redis: set `redis:` in the gateway's configuration, or use kv, which works without")
    };
    scope.services.store.redis().cloned().ok_or_else(missing)
}

fn list(value: &Value) -> Result<Vec<Bytes>, Raise> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::List(items) => items.iter().map(word).collect(),
        other => Err(Raise::error(format!("expected a list, got {}", other.type_name()))),
    }
}

/// A word of a command. Booleans are 1 and 0, as in Redis' replies; nothing is a mistake, never an empty word.
fn word(value: &Value) -> Result<Bytes, Raise> {
    match value {
        Value::Str(bytes) => Ok(bytes.clone()),
        Value::Int(int) => Ok(Bytes::from(int.to_string())),
        Value::Float(float) => Ok(Bytes::from(json::number(*float))),
        Value::Bool(bool) => Ok(Bytes::from_static(if *bool { b"1" } else { b"0" })),
        other => Err(Raise::error(format!("a word of a command is {}", other.type_name()))),
    }
}

fn value(reply: RedisValue) -> Value {
    match reply {
        RedisValue::Nil => Value::Nil,
        RedisValue::Int(int) => Value::Int(int),
        RedisValue::Double(double) => Value::Float(double),
        RedisValue::Bool(bool) => Value::Bool(bool),
        RedisValue::Status(text) => text.into(),
        RedisValue::Bytes(bytes) => Value::Str(bytes),
        RedisValue::List(items) => Value::List(items.into_iter().map(item).collect()),
        RedisValue::Map(pairs) => map(pairs.into_iter()),
        RedisValue::Error { code, detail } => Value::Map(vec![("error".into(), format!("{code} {detail}").into())]),
    }
}

/// A list can't hold nil in Lua; Redis' own Lua has the same problem and the same answer.
fn item(reply: RedisValue) -> Value {
    match value(reply) {
        Value::Nil => Value::Bool(false),
        other => other,
    }
}

/// In the protocol's second version a map comes as a list of names and values in turn.
fn as_map(reply: RedisValue) -> Value {
    let RedisValue::List(items) = reply else {
        return value(reply);
    };
    let mut items = items.into_iter();
    map(std::iter::from_fn(|| Some((items.next()?, items.next()?))))
}

fn map(pairs: impl Iterator<Item = (RedisValue, RedisValue)>) -> Value {
    let name = |name: RedisValue| word(&value(name)).map(|name| String::from_utf8_lossy(&name).into_owned());
    let mut entries: Vec<(String, Value)> =
        pairs.map(|(key, value)| (name(key).unwrap_or_default(), item(value))).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Map(entries)
}

#[cfg(test)]
mod tests;
