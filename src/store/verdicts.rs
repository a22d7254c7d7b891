//! What slow checks of passwords came to: remembered for a short time, and how many may run at once.
//!
//! Belongs to the process, so that a password that one worker has checked is known to all, and a reload forgets nothing. A key is
//! a MAC under [`Verdicts::secret`], made by the caller: what is kept here would tell nobody a password.

use super::{
    bounded::Bounds,
    clock::Clock,
    kv::{Kv, KvValue},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a password that was right needs no new check: as long as one that was taken away keeps working.
const RIGHT: Duration = Duration::from_secs(300);
/// A client that keeps sending a wrong one costs one check in this time.
const WRONG: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds { entries: 16_384, bytes: 4 << 20 };
/// Checks that may wait for their turn, in the whole process.
const WAITING: usize = 64;

pub struct Verdicts {
    known: Kv,
    secret: OnceLock<[u8; 32]>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Nobody may wait any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING} passwords wait to be checked already")]
pub struct Crowded;

impl Verdicts {
    pub fn new(clock: Arc<dyn Clock>) -> Verdicts {
        // Half of the cores: the workers need theirs.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Verdicts {
            known: Kv::new(BOUNDS, clock),
            secret: OnceLock::new(),
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The key of the MACs: random, of this process, never written anywhere.
    pub fn secret<E>(&self, make: impl FnOnce() -> Result<[u8; 32], E>) -> Result<&[u8; 32], E> {
        match self.secret.get() {
            Some(secret) => Ok(secret),
            None => {
                let made = make()?;
                Ok(self.secret.get_or_init(|| made))
            }
        }
    }

    /// What a check came to lately.
    pub fn known(&self, key: &[u8]) -> Option<bool> {
        match self.known.get("", key)? {
            KvValue::Int(verdict) => Some(verdict == 1),
            KvValue::Bytes(_) => None,
        }
    }

    pub fn remember(&self, key: &[u8], is_right: bool) {
        let ttl = if is_right { RIGHT } else { WRONG };
        // An entry that finds no room is checked again, no more.
        let _ = self.known.set("", key, KvValue::Int(i64::from(is_right)), Some(ttl));
    }

    /// A turn to work; it ends when the permit is dropped.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, Crowded> {
        if let Ok(permit) = self.turns.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting)?;
        self.turns.clone().acquire_owned().await.map_err(|_| Crowded)
    }
}

/// A place in the queue; dropping it, also by a client that goes away, frees it.
struct Place<'w>(&'w AtomicUsize);

impl<'w> Place<'w> {
    fn take(waiting: &'w AtomicUsize) -> Result<Place<'w>, Crowded> {
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < WAITING).then_some(n + 1));
        taken.map(|_| Place(waiting)).map_err(|_| Crowded)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    #[test]
    fn a_verdict_is_forgotten_in_time() {
        let clock = Arc::new(ManualClock::default());
        let verdicts = Verdicts::new(clock.clone());
        verdicts.remember(b"right", true);
        verdicts.remember(b"wrong", false);
        let known = || ["right", "wrong", "other"].map(|key| verdicts.known(key.as_bytes()));
        assert_eq!(known(), [Some(true), Some(false), None]);
        clock.advance(WRONG + Duration::from_secs(1));
        assert_eq!(known(), [Some(true), None, None]);
        clock.advance(RIGHT);
        assert_eq!(known(), [None; 3]);
    }

    #[tokio::test]
    async fn few_work_and_not_many_wait() {
        let verdicts = Verdicts::new(Arc::new(ManualClock::default()));
        let mut working = Vec::new();
        while let Ok(permit) = verdicts.turns.clone().try_acquire_owned() {
            working.push(permit);
        }
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(verdicts.turn())).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        let crowded = verdicts.turn().await.map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(crowded, Err("64 passwords wait to be checked already".to_owned()));
        waiting.pop();
        assert!(futures_util::poll!(Box::pin(verdicts.turn())).is_pending());
        working.pop();
        assert!(waiting.remove(0).await.is_ok());
    }
}
