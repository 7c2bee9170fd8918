//! The heartbeat of the lanes: each beat says when the next one comes at the latest. A lane that is
//! late hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::feed::Lane;

/// The longest time between two beats of a lane, whatever Keap and Postgres do: every wait on them
/// ends before that.
const LONGEST_STEP: Duration = Duration::from_secs(15 * 60);

/// When each lane beats next at the latest.
pub struct Heartbeat {
    since: Instant,
    /// By lane, in milliseconds after `since`; 0 before the first beat.
    next: [AtomicU64; 2],
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { since: Instant::now(), next: Default::default() }
    }
}

impl Heartbeat {
    /// The lane works. It beats again after `rest` and one step.
    pub fn beat(&self, lane: Lane, rest: Duration) {
        let next = self.since.elapsed().saturating_add(rest) + LONGEST_STEP;
        let next = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        self.next[lane.index()].store(next, Ordering::Relaxed);
    }

    /// Whether no lane is late.
    pub fn is_alive(&self, now: Instant) -> bool {
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
        let heartbeat = Heartbeat::default();
        let now = Instant::now();
        assert!(heartbeat.is_alive(now), "no lane has begun");

        heartbeat.beat(Lane::Urgent, Duration::ZERO);
        heartbeat.beat(Lane::Bulk, Duration::from_secs(3600));
        assert!(heartbeat.is_alive(now + LONGEST_STEP / 2));
        assert!(!heartbeat.is_alive(now + LONGEST_STEP * 2));

        heartbeat.beat(Lane::Urgent, Duration::from_secs(3600));
        assert!(heartbeat.is_alive(now + LONGEST_STEP * 2));
    }
}
