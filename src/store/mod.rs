//! Where counts and small values live: `kv` and the rate limiter, embedded in the process and in Redis.
//!
//! [`Stores`] belongs to the process and is shared by all workers; it survives reloads. [`WorkerStore`] is one worker's
//! view of it, with that worker's connection to Redis when there is one. Nothing here knows of configuration, scripts
//! or requests: a key is bytes, and what it means is the caller's.

mod bounded;
mod clock;
mod embedded;
mod kv;
mod limit;
mod model;
mod redis;
mod verdicts;

use std::rc::Rc;
use std::sync::Arc;

pub use bounded::Bounds;
pub use clock::{Clock, ManualClock, SystemClock};
pub use embedded::EmbeddedLimiter;
pub use kv::{Kv, KvError, KvValue};
pub use limit::{
    Answer, AnsweredBy, Check, Decision, EXACT_UP_TO, LimitRequest, Limiter, OnStoreError, Rule, RuleError,
};
pub use redis::{RedisClient, RedisLimiter, RedisOptions, RedisScript, RedisValue};
pub use verdicts::{Crowded, Verdicts};

/// The stores of the process.
pub struct Stores {
    pub kv: Arc<Kv>,
    pub limits: Arc<EmbeddedLimiter>,
    pub verdicts: Arc<Verdicts>,
}

impl Stores {
    /// With the default bounds, on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Stores {
            kv: Arc::new(Kv::new(Kv::DEFAULT_BOUNDS, clock.clone())),
            limits: Arc::new(EmbeddedLimiter::new(EmbeddedLimiter::DEFAULT_BOUNDS, clock.clone())),
            verdicts: Arc::new(Verdicts::new(clock)),
        }
    }
}

/// One worker's view of the stores. Made within the worker's runtime and used on its thread only.
pub struct WorkerStore {
    shared: Arc<Stores>,
    redis: Option<Rc<WorkerRedis>>,
}

struct WorkerRedis {
    url: String,
    options: RedisOptions,
    client: RedisClient,
    limiter: RedisLimiter,
}

impl WorkerStore {
    /// With Redis at `url`, or without any when there is no URL or an empty one. Returns at once: the connection is made in
    /// the background, and until it is there every request's `on_store_error` decides.
    pub fn connect(url: Option<&str>, shared: Arc<Stores>) -> Result<Self, StoreError> {
        WorkerStore::connect_with(url, RedisOptions::default(), shared)
    }

    pub fn connect_with(url: Option<&str>, options: RedisOptions, shared: Arc<Stores>) -> Result<Self, StoreError> {
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            return Ok(WorkerStore { shared, redis: None });
        };
        let client = RedisClient::connect(url, options)?;
        let redis = WorkerRedis {
            url: url.to_owned(),
            options,
            limiter: RedisLimiter::new(client.clone(), shared.limits.clone()),
            client,
        };
        Ok(WorkerStore { shared, redis: Some(Rc::new(redis)) })
    }

    /// The store for the next generation's configuration. With the same URL and options it shares this one's connection, and
    /// what its breaker has learnt.
    pub fn next(&self, url: Option<&str>, options: RedisOptions) -> Result<Self, StoreError> {
        match &self.redis {
            Some(redis) if url == Some(&redis.url) && options == redis.options => {
                Ok(WorkerStore { shared: self.shared.clone(), redis: Some(redis.clone()) })
            }
            _ => WorkerStore::connect_with(url, options, self.shared.clone()),
        }
    }

    pub fn kv(&self) -> &Kv {
        &self.shared.kv
    }

    pub fn verdicts(&self) -> &Arc<Verdicts> {
        &self.shared.verdicts
    }

    /// Counts in Redis when there is one, else in this process.
    pub fn limiter(&self) -> &dyn Limiter {
        match &self.redis {
            Some(redis) => &redis.limiter,
            None => &*self.shared.limits,
        }
    }

    pub fn redis(&self) -> Option<&RedisClient> {
        self.redis.as_ref().map(|redis| &redis.client)
    }
}

/// Why a store gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The address is not one. The configuration's fault.
    #[error("redis: the url is not valid: {reason}")]
    Url { reason: String },
    /// Not connected, or given up on for the moment. Try again later.
    #[error("redis {address}: not available")]
    Unavailable { address: String },
    /// No answer in time, or the connection broke while waiting: the command may or may not have run.
    #[error("redis {address}: {reason}")]
    Failed { address: String, reason: String },
    /// Redis answered with an error: the command's fault.
    #[error("redis: {code} {detail}")]
    Refused { code: String, detail: String },
    /// A command that would change or block the connection that all of a worker's exchanges share.
    #[error("redis: {command} is not available to scripts: {reason}")]
    Forbidden { command: String, reason: &'static str },
}
