//! The words of rate limiting: a rule, a question, a decision, and the boundary that both stores answer behind.
//!
//! Nothing here counts. `model` holds the arithmetic, `embedded` keeps counts in this process, `redis` in a Redis.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::StoreError;
use super::clock::micros;

/// Up to this limit a sliding window is an exact log; above it two counters approximate it. See `model`.
pub const EXACT_UP_TO: u64 = 1000;

/// What is limited, checked when it was made: no rule overflows the arithmetic of either store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// At most `limit` in any `window` microseconds.
    SlidingWindow { limit: u64, window: u64 },
    /// `rate` tokens a second flow into a bucket that holds `burst`.
    TokenBucket { rate: f64, burst: u64 },
}

/// Why a rule is no rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error("limit: {0} is over the largest limit, 1000000000")]
    Limit(u64),
    #[error("limit: a window of {0:?} is not between 1ms and 366 days")]
    Window(Duration),
    #[error("limit: a rate of {0} tokens a second is not between 0.000001 and 1000000000")]
    Rate(f64),
    #[error("limit: a burst of {0} is not between 1 and 1000000000")]
    Burst(u64),
}

impl Rule {
    const LARGEST: u64 = 1_000_000_000;
    const LONGEST: Duration = Duration::from_secs(366 * 86_400);

    /// A limit of 0 lets nothing through.
    pub fn sliding_window(limit: u64, window: Duration) -> Result<Rule, RuleError> {
        if limit > Rule::LARGEST {
            return Err(RuleError::Limit(limit));
        }
        if window < Duration::from_millis(1) || window > Rule::LONGEST {
            return Err(RuleError::Window(window));
        }
        let window = micros(window);
        Ok(Rule::SlidingWindow { limit, window })
    }

    /// `rate` is in tokens a second and need not be whole.
    pub fn token_bucket(rate: f64, burst: u64) -> Result<Rule, RuleError> {
        if !(1e-6..=1e9).contains(&rate) {
            return Err(RuleError::Rate(rate));
        }
        if !(1..=Rule::LARGEST).contains(&burst) {
            return Err(RuleError::Burst(burst));
        }
        Ok(Rule::TokenBucket { rate, burst })
    }

    /// The most that can pass at once.
    pub fn limit(&self) -> u64 {
        match *self {
            Rule::SlidingWindow { limit, .. } => limit,
            Rule::TokenBucket { burst, .. } => burst,
        }
    }

    /// What keeps the state of unlike rules apart when they share a key: the model and, for windows, the length. A
    /// changed limit therefore goes on with the old count, a changed window starts afresh.
    pub(super) fn tag(&self) -> [u8; 9] {
        let (model, window) = match *self {
            Rule::SlidingWindow { limit, window } if limit <= EXACT_UP_TO => (b'l', window),
            Rule::SlidingWindow { window, .. } => (b'c', window),
            Rule::TokenBucket { .. } => (b'b', 0),
        };
        let mut tag = [model; 9];
        tag[1..].copy_from_slice(&window.to_be_bytes());
        tag
    }
}

/// What came of one check. Times are exact to the microsecond; rounding them for a header is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub limit: u64,
    /// What could still pass at this moment, after this request.
    pub remaining: u64,
    /// Until `remaining` grows by itself; zero when nothing is used. Never later than `retry_after` of a refusal, as
    /// the RateLimit header fields demand of `t` and `Retry-After` (draft-ietf-httpapi-ratelimit-headers).
    pub reset_after: Duration,
    /// Zero when allowed; else the time after which the same request passes if nobody else comes. A request that costs
    /// more than the limit never passes: then it is the time after which the limit is whole again.
    pub retry_after: Duration,
}

/// Who made a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The embedded store, because there is no Redis.
    Embedded,
    Redis,
    /// The embedded store, because Redis did not answer: only what came through this gateway was counted.
    Fallback,
    /// No store: Redis did not answer and the request asked to be let through then.
    Nobody,
}

/// A decision and who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub decision: Decision,
    pub answered_by: AnsweredBy,
}

/// What becomes of a check when Redis is down or slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// The embedded store decides, on what this gateway has seen.
    #[default]
    Local,
    /// The request passes uncounted.
    Allow,
    /// The check fails with the store's error. That is the gateway's fault: a 503, never a 429.
    Deny,
}

/// One question to a limiter.
#[derive(Clone, Copy, Debug)]
pub struct LimitRequest<'a> {
    /// Who is counted. The caller puts its own name in front: all callers share one space of keys.
    pub key: &'a [u8],
    pub rule: Rule,
    /// How much this request counts. 0 counts nothing and tells whether one more would pass.
    pub cost: u32,
    pub on_store_error: OnStoreError,
}

/// An answer that is here, or one that must be waited for. The embedded store's is always here: no allocation, no wake-up.
pub enum Answer {
    Ready(Result<Check, StoreError>),
    Wait(LocalBoxFuture<'static, Result<Check, StoreError>>),
}

impl Answer {
    pub async fn get(self) -> Result<Check, StoreError> {
        match self {
            Answer::Ready(result) => result,
            Answer::Wait(future) => future.await,
        }
    }
}

/// A store that counts.
pub trait Limiter {
    /// Counts a request when it passes; a refused one is not counted.
    fn check(&self, request: LimitRequest<'_>) -> Answer;
}
