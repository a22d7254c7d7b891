//! `limit`: counting against a limit, in Redis when it is configured, else in this process.
//!
//! A refused check is a value, not an error: what the client is told is the script's. Times are whole seconds, rounded up, as the header fields
//! want them (draft-ietf-httpapi-ratelimit-headers), and a refusal's `retry_after` is never earlier than `reset`.

use super::{option, redis};
use crate::{
    script::{
        Raise, Scope, Value,
        list::{Function, Module, Outcome, Param, Type},
        value::{Args, duration},
    },
    store::{Answer, AnsweredBy, Check, LimitRequest, OnStoreError, Rule, RuleError, StoreError},
};
use bytes::Bytes;
use std::time::Duration;

const KEY: Param = Param::required("key", Type::String, "who is counted, within the plugin's own namespace");
const COST: Param = Param::optional("cost", Type::Int, "how much this one counts, 1 when it is left out; 0 only looks");
const ON_STORE_ERROR: Param = Param::optional(
    "on_store_error",
    Type::String,
    "when Redis gives no answer: `local` (the default) counts in this process, `allow` lets pass, `deny` refuses with an `error`",
);

static WINDOW: &[Param] = &[
    Param::required("limit", Type::Int, "at most so many in a window"),
    Param::required("window", Type::Duration, "how long the window is"),
    COST,
    ON_STORE_ERROR,
];
static BUCKET: &[Param] = &[
    Param::required("rate", Type::Number, "tokens that flow in each second"),
    Param::required("burst", Type::Int, "tokens that the bucket holds: at most so many at once"),
    COST,
    ON_STORE_ERROR,
];
static RESULT: &[Param] = &[
    Param::required("allowed", Type::Bool, "whether it passed"),
    Param::optional(
        "error",
        Type::String,
        "`store` when the store gave no answer and `deny` was asked for: answer 503, not 429",
    ),
    Param::required("limit", Type::Int, "the most that can pass at once"),
    Param::required("remaining", Type::Int, "what could still pass now"),
    Param::required("reset", Type::Int, "seconds until more remains, rounded up"),
    Param::required("retry_after", Type::Int, "seconds to wait after a refusal, rounded up; 0 when it passed"),
    Param::required("store", Type::String, "who counted: `redis`, `local`, or `none`"),
];

pub static MODULE: Module = Module {
    name: "limit",
    doc: "Rate limits: counted in Redis, for all gateways together, when it is configured, else in this process. Checks that are refused don't count; what Redis refused is not asked of it again until it could pass, for a second at most.",
    constants: &[],
    functions: &[
        Function {
            name: "sliding_window",
            params: &[KEY, Param::required("rule", Type::Options(WINDOW), "the limit")],
            variadic: false,
            returns: Type::Options(RESULT),
            doc: "Counts, and says whether no more than `limit` passed in the last `window`: exactly up to a limit of 1000, from two counters above.",
            lua: r#"local seen = limit.sliding_window(ctx.client.ip, { limit = 100, window = "60s" })"#,
            rhai: r#"let seen = limit::sliding_window(ctx.client.ip, #{ limit: 100, window: "60s" });"#,
            run: |scope, args| check(scope, &args, window(args.get(1))),
        },
        Function {
            name: "token_bucket",
            params: &[KEY, Param::required("rule", Type::Options(BUCKET), "the limit")],
            variadic: false,
            returns: Type::Options(RESULT),
            doc: "Takes tokens from a bucket that holds `burst` and fills with `rate` a second, and says whether there were enough.",
            lua: r#"local seen = limit.token_bucket(ctx.client.ip, { rate = 5, burst = 20 })"#,
            rhai: r#"let seen = limit::token_bucket(ctx.client.ip, #{ rate: 5, burst: 20 });"#,
            run: |scope, args| check(scope, &args, bucket(args.get(1))),
        },
    ],
};

fn window(options: &Value) -> Result<Rule, Raise> {
    let limit = count(options, "limit")?;
    let window = duration(option(options, "window"))?.unwrap_or_default();
    Rule::sliding_window(limit, window).map_err(refused)
}

fn bucket(options: &Value) -> Result<Rule, Raise> {
    let rate = option(options, "rate").as_f64().unwrap_or_default();
    Rule::token_bucket(rate, count(options, "burst")?).map_err(refused)
}

fn count(options: &Value, name: &str) -> Result<u64, Raise> {
    match option(options, name) {
        Value::Int(int) if *int >= 0 => Ok(*int as u64),
        Value::Int(int) => Err(Raise::error(format!("`{name}`: {int} is below 0"))),
        other => Err(Raise::error(format!("`{name}`: expected an integer, got {}", other.type_name()))),
    }
}

fn cost(options: &Value) -> Result<u32, Raise> {
    if option(options, "cost").is_nil() {
        return Ok(1);
    }
    let cost = count(options, "cost")?;
    u32::try_from(cost).map_err(|_| Raise::error(format!("`cost`: {cost} is too large")))
}

fn on_store_error(options: &Value) -> Result<OnStoreError, Raise> {
    match option(options, "on_store_error").as_bytes().map(|bytes| &bytes[..]) {
        None | Some(b"local") => Ok(OnStoreError::Local),
        Some(b"allow") => Ok(OnStoreError::Allow),
        Some(b"deny") => Ok(OnStoreError::Deny),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            Err(Raise::error(format!("`on_store_error`: `{}` is not local, allow or deny", other.escape_debug())))
        }
    }
}

fn refused(error: RuleError) -> Raise {
    let text = error.to_string();
    Raise::error(text.trim_start_matches("limit: "))
}

fn check(scope: &Scope, args: &Args, rule: Result<Rule, Raise>) -> Outcome {
    let answer = rule.and_then(|rule| {
        let options = args.get(1);
        let key = scoped(&scope.instance.plugin, &args.bytes(0)?);
        let request = LimitRequest { key: &key, rule, cost: cost(options)?, on_store_error: on_store_error(options)? };
        Ok((rule, scope.services.store.limiter().check(request)))
    });
    match answer {
        Err(raise) => Outcome::Done(Err(raise)),
        Ok((rule, Answer::Ready(result))) => Outcome::Done(Ok(told(rule, result))),
        Ok((rule, Answer::Wait(result))) => {
            let span = redis::span(scope, b"EVALSHA");
            Outcome::wait(async move {
                let result = result.await;
                redis::ended(span, !result.as_ref().is_ok_and(|check| check.answered_by == AnsweredBy::Redis));
                Ok(told(rule, result))
            })
        }
    }
}

/// The plugin's name, then the key: all callers of the limiter share one space. The name's colons are written otherwise, so that no
/// plugin's keys begin with another's name.
fn scoped(plugin: &str, key: &[u8]) -> Vec<u8> {
    let mut scoped = Vec::with_capacity(plugin.len() + 1 + key.len());
    for byte in plugin.bytes() {
        match byte {
            b'%' => scoped.extend_from_slice(b"%25"),
            b':' => scoped.extend_from_slice(b"%3A"),
            byte => scoped.push(byte),
        }
    }
    scoped.push(b':');
    scoped.extend_from_slice(key);
    scoped
}

fn told(rule: Rule, result: Result<Check, StoreError>) -> Value {
    let (allowed, error) = match &result {
        Ok(check) => (check.decision.allowed, Value::Nil),
        Err(_) => (false, "store".into()),
    };
    // Without an answer nothing is known of the window: a second is as good a time to try again as any.
    let (remaining, reset, retry_after, store) = match &result {
        Ok(Check { decision, answered_by }) => {
            let store = match answered_by {
                AnsweredBy::Redis => "redis",
                AnsweredBy::Embedded | AnsweredBy::Fallback => "local",
                AnsweredBy::Nobody => "none",
            };
            let reset = seconds(decision.reset_after);
            let retry_after = if allowed { 0 } else { seconds(decision.retry_after).max(reset).max(1) };
            (decision.remaining, reset, retry_after, store)
        }
        Err(_) => (0, 1, 1, "none"),
    };
    let int = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let values = [
        allowed.into(),
        error,
        int(rule.limit()),
        int(remaining),
        int(reset),
        int(retry_after),
        Value::Str(Bytes::from_static(store.as_bytes())),
    ];
    Value::Record(RESULT, values.into())
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };
    use crate::store::Decision;

    fn rule(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn the_embedded_store_answers_at_once() {
        let scope = scope(Hook::OnRequest, None);
        let two = rule(&[("limit", 2.into()), ("window", "60s".into())]);
        let check = || show(run(&scope, &MODULE, "sliding_window", ["7".into(), two.clone()]));
        let shown = [check(), check(), check()].map(|shown| shown.replace("59", "60"));
        let passed = "{allowed: true, error: nil, limit: 2, remaining: 1, reset: 60, retry_after: 0, store: \"local\"}";
        assert_eq!(shown[0], passed);
        assert_eq!(shown[1], passed.replace("remaining: 1", "remaining: 0"));
        let refused =
            "{allowed: false, error: nil, limit: 2, remaining: 0, reset: 60, retry_after: 60, store: \"local\"}";
        assert_eq!(shown[2], refused);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_waits() {
        let scope = scope(Hook::OnRequest, None);
        let one = rule(&[("rate", 0.01.into()), ("burst", 1.into())]);
        let check = || show(run(&scope, &MODULE, "token_bucket", ["7".into(), one.clone()]));
        assert!(check().starts_with("{allowed: true"));
        assert!(
            check().starts_with("{allowed: false, error: nil, limit: 1, remaining: 0, reset: 100, retry_after: 100")
        );
    }

    #[test]
    fn what_is_no_rule_is_named() {
        let scope = scope(Hook::OnRequest, None);
        let wrong = |entries: &[(&str, Value)]| {
            let args = ["7".into(), rule(entries)];
            show(run(&scope, &MODULE, "sliding_window", args))
        };
        let minute = ("window", Value::from("60s"));
        assert_eq!(wrong(&[("limit", (-1).into()), minute.clone()]), "error: `limit`: -1 is below 0");
        assert_eq!(
            wrong(&[("limit", 1.into()), ("window", 0.into())]),
            "error: a window of 0ns is not between 1ms and 366 days"
        );
        let policy = ("on_store_error", Value::from("open"));
        assert_eq!(
            wrong(&[("limit", 1.into()), minute, policy]),
            "error: `on_store_error`: `open` is not local, allow or deny"
        );
    }

    #[test]
    fn seconds_are_rounded_up_and_no_retry_is_too_early() {
        let rule = Rule::sliding_window(5, Duration::from_secs(60)).expect("a rule");
        let told = |allowed, reset: u64, retry: u64| {
            let decision = Decision {
                allowed,
                limit: 5,
                remaining: 0,
                reset_after: Duration::from_micros(reset),
                retry_after: Duration::from_micros(retry),
            };
            let told = told(rule, Ok(Check { decision, answered_by: AnsweredBy::Redis }));
            (
                show(Ok(told.get("reset").cloned().unwrap_or_default())),
                show(Ok(told.get("retry_after").cloned().unwrap_or_default())),
            )
        };
        assert_eq!(told(false, 1_000_001, 2_000_001), ("2".into(), "3".into()));
        assert_eq!(told(false, 1, 1), ("1".into(), "1".into()));
        assert_eq!(told(true, 1, 0), ("1".into(), "0".into()));
    }

    #[test]
    fn a_store_that_denies_is_an_error_and_not_a_refusal() {
        let rule = Rule::sliding_window(5, Duration::from_secs(60)).expect("a rule");
        let denied = told(rule, Err(StoreError::Unavailable { address: "127.0.0.1:6379".into() }));
        let shown =
            "{allowed: false, error: \"store\", limit: 5, remaining: 0, reset: 1, retry_after: 1, store: \"none\"}";
        assert_eq!(show(Ok(denied)), shown);
    }

    #[test]
    fn no_plugin_counts_on_anothers_keys() {
        assert_eq!(scoped("a:b", b"c"), b"a%3Ab:c");
        assert_eq!(scoped("a", b"b:c"), b"a:b:c");
    }
}
