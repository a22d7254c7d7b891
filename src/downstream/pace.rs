//! How fast a body must arrive: so many bytes a second over the time that it was waited for.
//!
//! Kestrel's rule (`MinRequestBodyDataRate`: 240 bytes a second after a grace of 5 seconds), since a timeout between two reads lets one
//! byte a minute hold a request for ever. Time in which nobody asked for the body, as when its target is slow, is not the client's.

use std::time::Duration;
use tokio::time::Instant;

const GRACE: Duration = Duration::from_secs(5);

/// Of one body.
#[derive(Debug, Default)]
pub struct Pace {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// Bytes came.
    pub fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.since.is_some() {
            self.stop(Instant::now());
        }
    }

    fn stop(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// None came; gives when that has taken too long, for `rate` bytes a second.
    pub fn limit(&mut self, rate: u64, now: Instant) -> Option<Instant> {
        let millis = self.bytes.saturating_mul(1000).checked_div(rate)?;
        let since = *self.since.get_or_insert(now);
        let allowed = GRACE.saturating_add(Duration::from_millis(millis));
        since.checked_add(allowed.saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_of_waiting_counts() {
        let mut pace = Pace { bytes: 480, ..Pace::default() };
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(pace.limit(240, begun), Some(at(7)), "5 s, and 2 s for what is here");
        pace.stop(at(3));
        // Nobody asks for an hour.
        assert_eq!(pace.limit(240, at(3603)), Some(at(3607)), "less the 3 s");
        pace.stop(at(3612));
        assert_eq!(pace.limit(240, at(3612)), Some(at(3612)), "it is too late already");
        assert_eq!(Pace::default().limit(0, begun), None);
    }
}
