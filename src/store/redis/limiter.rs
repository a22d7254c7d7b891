//! The limiter that counts in Redis: one atomic script a check, on Redis' own clock, so that any number of gateways
//! share a limit exactly.
//!
//! The models are those of `model`; the scripts beside this file count, and what follows from the counts is computed here
//! by the same functions. When Redis gives no answer the request's `on_store_error` decides.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::StoreError;
use super::super::embedded::EmbeddedLimiter;
use super::super::limit::{
    Answer, AnsweredBy, Check, Decision, EXACT_UP_TO, LimitRequest, Limiter, OnStoreError, Rule,
};
use super::super::model::{Bucket, Counters, GRACE};
use super::client::{RedisClient, RedisScript};
use super::refusals::Refusals;
use super::value::RedisValue;

/// In front of every key, so that an operator can tell what they are. `SCAN MATCH gatewright:limit:*` finds them.
const PREFIX: &str = "gatewright:limit:";

pub struct RedisLimiter {
    inner: Rc<Inner>,
    local: Arc<EmbeddedLimiter>,
}

struct Inner {
    client: RedisClient,
    log: RedisScript,
    counters: RedisScript,
    bucket: RedisScript,
    refusals: Refusals,
    /// Whether the last answer was an error of Redis' own (loading, read-only, …): logged once, when it changes.
    refusing: Cell<bool>,
}

impl RedisLimiter {
    pub fn new(client: RedisClient, local: Arc<EmbeddedLimiter>) -> Self {
        let inner = Inner {
            client,
            log: RedisScript::new(include_str!("log.lua")),
            counters: RedisScript::new(include_str!("counters.lua")),
            bucket: RedisScript::new(include_str!("bucket.lua")),
            refusals: Refusals::new(),
            refusing: Cell::new(false),
        };
        RedisLimiter { inner: Rc::new(inner), local }
    }
}

impl Limiter for RedisLimiter {
    fn check(&self, request: LimitRequest<'_>) -> Answer {
        let sent = self.inner.refusals.now();
        // Before all else: Redis has said so, also when it says nothing more.
        if let Some(decision) = self.inner.refusals.find(&request, sent) {
            return Answer::Ready(Ok(Check { decision, answered_by: AnsweredBy::Redis }));
        }
        if !self.inner.client.is_up() {
            let error = self.inner.client.unavailable();
            return Answer::Ready(without_redis(&self.local, request, error));
        }
        let (inner, local) = (self.inner.clone(), self.local.clone());
        let key = request.key.to_vec();
        let LimitRequest { rule, cost, on_store_error, .. } = request;
        Answer::Wait(Box::pin(async move {
            let result = inner.decide(&key, &rule, cost).await;
            inner.tell(&result);
            let request = LimitRequest { key: &key, rule, cost, on_store_error };
            match result {
                Ok(decision) => {
                    inner.refusals.learn(&request, &decision, sent);
                    Ok(Check { decision, answered_by: AnsweredBy::Redis })
                }
                Err(error) => without_redis(&local, request, error),
            }
        }))
    }
}

fn without_redis(local: &EmbeddedLimiter, request: LimitRequest<'_>, error: StoreError) -> Result<Check, StoreError> {
    let LimitRequest { key, rule, cost, .. } = request;
    match request.on_store_error {
        OnStoreError::Local => {
            Ok(Check { decision: local.decide(key, &rule, cost), answered_by: AnsweredBy::Fallback })
        }
        OnStoreError::Allow => Ok(Check {
            decision: Decision {
                allowed: true,
                limit: rule.limit(),
                remaining: rule.limit(),
                reset_after: Duration::ZERO,
                retry_after: Duration::ZERO,
            },
            answered_by: AnsweredBy::Nobody,
        }),
        OnStoreError::Deny => Err(error),
    }
}

impl Inner {
    async fn decide(&self, key: &[u8], rule: &Rule, cost: u32) -> Result<Decision, StoreError> {
        match *rule {
            Rule::SlidingWindow { limit, window } if limit <= EXACT_UP_TO => {
                let args = [limit, window, u64::from(cost)].map(|arg| arg.to_string());
                let key = redis_key("log", window, key);
                let [allowed, used, reset, retry] = numbers(&self.run(&self.log, key, &args).await?)?;
                Ok(Decision {
                    allowed: allowed == 1,
                    limit,
                    remaining: limit.saturating_sub(used),
                    reset_after: Duration::from_micros(reset),
                    retry_after: Duration::from_micros(retry),
                })
            }
            Rule::SlidingWindow { limit, window } => {
                let args = [limit, window, u64::from(cost)].map(|arg| arg.to_string());
                let key = redis_key("counters", window, key);
                let answer = self.run(&self.counters, key, &args).await?;
                let [allowed, current, previous, elapsed] = numbers(&answer)?;
                let counters = Counters { index: 0, current, previous };
                let need = u64::from(cost).max(1);
                Ok(counters.decision(allowed == 1, elapsed, limit, window, need))
            }
            Rule::TokenBucket { rate, burst } => {
                let args = [rate.to_string(), burst.to_string(), cost.to_string(), GRACE.to_string()];
                let key = redis_key("bucket", 0, key);
                let answer = self.run(&self.bucket, key, &args).await?;
                let (allowed, tokens) = bucket_answer(&answer).ok_or_else(|| unexpected(&answer))?;
                let bucket = Bucket { tokens, at: 0 };
                Ok(bucket.decision(allowed, rate, burst, u64::from(cost).max(1)))
            }
        }
    }

    async fn run(&self, script: &RedisScript, key: Vec<u8>, args: &[String]) -> Result<RedisValue, StoreError> {
        self.client.script(script, &[key], args).await
    }

    fn tell(&self, result: &Result<Decision, StoreError>) {
        let refusing = matches!(result, Err(StoreError::Refused { .. }));
        if self.refusing.replace(refusing) == refusing {
            return;
        }
        match result {
            Err(error) => tracing::warn!(%error, "redis refuses to count"),
            Ok(_) => tracing::info!("redis counts again"),
        }
    }
}

/// Unlike rules with the same key count apart, as in the embedded store.
fn redis_key(model: &str, window: u64, key: &[u8]) -> Vec<u8> {
    let window = window.to_string();
    [PREFIX.as_bytes(), model.as_bytes(), b":", window.as_bytes(), b":", key].concat()
}

fn numbers<const N: usize>(answer: &RedisValue) -> Result<[u64; N], StoreError> {
    let read = || {
        let RedisValue::List(items) = answer else {
            return None;
        };
        let items: Option<Vec<u64>> = items
            .iter()
            .map(|item| match item {
                RedisValue::Int(int) => u64::try_from(*int).ok(),
                _ => None,
            })
            .collect();
        items?.try_into().ok()
    };
    read().ok_or_else(|| unexpected(answer))
}

fn bucket_answer(answer: &RedisValue) -> Option<(bool, f64)> {
    match answer {
        RedisValue::List(items) => match &items[..] {
            [RedisValue::Int(allowed), RedisValue::Bytes(tokens)] => {
                let tokens: f64 = std::str::from_utf8(tokens).ok()?.parse().ok()?;
                Some((*allowed == 1, tokens))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Only a Redis that is none answers like this.
fn unexpected(answer: &RedisValue) -> StoreError {
    StoreError::Refused { code: "UNEXPECTED".into(), detail: format!("{answer:?}") }
}
