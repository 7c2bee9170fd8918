//! Turns: whether the lanes go round. Each says when it will turn next at the latest; one that is late hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::remote::Lane;

/// The longest that a lane takes between two turns, whatever Keap and Postgres do: every wait on them has an end before that.
const LONGEST: Duration = Duration::from_secs(15 * 60);

pub struct Turns {
    since: Instant,
    /// By lane, in milliseconds after `since`; 0 before the first turn.
    next: [AtomicU64; 2],
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            next: Default::default(),
        }
    }
}

impl Turns {
    /// The lane turns, and will again after `rest` and a step.
    pub fn turn(&self, lane: Lane, rest: Duration) {
        let next = self.since.elapsed().saturating_add(rest) + LONGEST;
        let next = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        self.next[usize::from(lane == Lane::Bulk)].store(next, Ordering::Relaxed);
    }

    /// No lane is late.
    pub fn go_round(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.since).as_millis())
            .unwrap_or(u64::MAX);
        self.next
            .iter()
            .map(|next| next.load(Ordering::Relaxed))
            .all(|next| next == 0 || now <= next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_late_hangs() {
        let turns = Turns::default();
        let now = Instant::now();
        assert!(turns.go_round(now), "no lane has begun");
        turns.turn(Lane::Urgent, Duration::ZERO);
        turns.turn(Lane::Bulk, Duration::from_secs(3600));
        assert!(turns.go_round(now + LONGEST / 2));
        assert!(!turns.go_round(now + LONGEST * 2));
        turns.turn(Lane::Urgent, Duration::from_secs(3600));
        assert!(turns.go_round(now + LONGEST * 2));
    }
}
