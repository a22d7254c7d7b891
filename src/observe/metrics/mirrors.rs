//! Of a route's mirror: copies under way, and what became of them. All zero, and not shown, where nothing is mirrored.

use super::cells::{Counter, Gauge};

/// What became of a copy: the service answered it; it could not be asked; it was one too many at once; its body was too long,
/// or broke off.
pub const MIRRORED: [&str; 5] = ["answered", "failed", "dropped", "too_large", "cut_off"];

#[derive(Default)]
pub struct Mirrors {
    pub in_flight: Gauge,
    pub(super) results: [Counter; MIRRORED.len()],
}

impl Mirrors {
    /// Counts a word of [`MIRRORED`].
    pub fn count(&self, result: &str) {
        if let Some(at) = MIRRORED.iter().position(|known| *known == result) {
            self.results[at].increment();
        }
    }

    pub(super) fn any(&self) -> bool {
        self.in_flight.get() > 0 || self.results.iter().any(|count| count.get() > 0)
    }
}
