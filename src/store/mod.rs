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

use std::sync::Arc;

pub use bounded::Bounds;
pub use clock::{Clock, ManualClock, SystemClock};
pub use embedded::EmbeddedLimiter;
pub use kv::{Kv, KvError, KvValue};
pub use limit::{
    Answer, AnsweredBy, Check, Decision, EXACT_UP_TO, LimitRequest, Limiter, OnStoreError, Rule,
    RuleError,
};

/// The stores of the process.
pub struct Stores {
    pub kv: Arc<Kv>,
    pub limits: Arc<EmbeddedLimiter>,
}

impl Stores {
    /// With the default bounds, on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Stores {
            kv: Arc::new(Kv::new(Kv::DEFAULT_BOUNDS, clock.clone())),
            limits: Arc::new(EmbeddedLimiter::new(EmbeddedLimiter::DEFAULT_BOUNDS, clock)),
        }
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
    Forbidden {
        command: String,
        reason: &'static str,
    },
}
