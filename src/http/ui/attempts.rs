//! Slows down whoever tries passwords. Each sender has a lane, and after a wrong password the lane
//! is closed for a while, longer each time. Other lanes stay open. The lanes are a fixed number, so
//! a flood takes no memory.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Senders share these lanes by a keyed hash. All of them together allow some 70 tries a second.
const LANES: usize = 1024;
/// The lane is closed this long after the first wrong password. The time doubles with each further
/// one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// It is never closed longer: the right password is kept out no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A lane without a try for this time begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// The lane is closed for this time, and the password was not looked at.
    Closed(Duration),
}

#[derive(Clone, Copy)]
struct Lane {
    failures: u32,
    opens: Instant,
}

/// The lanes of all senders.
pub(super) struct Attempts {
    hasher: RandomState,
    lanes: Mutex<Vec<Option<Lane>>>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), lanes: Mutex::new(vec![None; LANES]) }
    }

    /// Lets a sender try, if its lane is open. One try at a time is under way.
    pub(super) fn attempt(
        &self,
        sender: impl Hash,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Verdict {
        let at = usize::try_from(self.hasher.hash_one(sender) % LANES as u64).unwrap_or_default();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = &mut lanes[at];
        *lane = lane.filter(|lane| now < lane.opens + FORGOTTEN_AFTER);
        if let Some(lane) = lane
            && now < lane.opens
        {
            // A try at a closed lane does not keep it closed.
            return Verdict::Closed(lane.opens - now);
        }
        if is_right() {
            *lane = None;
            return Verdict::Right;
        }
        let failures = lane.map_or(0, |lane| lane.failures).saturating_add(1);
        *lane = Some(Lane { failures, opens: now + wait_after(failures) });
        Verdict::Wrong
    }
}

/// How long a lane is closed after this many wrong passwords.
fn wait_after(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_wait_grows_to_its_bound_and_a_right_password_ends_it() {
        let attempts = Attempts::new();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 15, 15] {
            assert_eq!(attempts.attempt("a", now, || false), Verdict::Wrong);
            let wait = Duration::from_secs(seconds);
            // The password is not looked at, and asking does not prolong the wait.
            for early in [Duration::ZERO, wait - SECOND / 2] {
                let verdict = attempts.attempt("a", now + early, || panic!("not looked at"));
                assert_eq!(verdict, Verdict::Closed(wait - early));
            }
            now += wait;
        }
        assert_eq!(attempts.attempt("a", now, || true), Verdict::Right);
        assert_eq!(attempts.attempt("a", now, || false), Verdict::Wrong);
        assert_eq!(attempts.attempt("a", now + SECOND, || true), Verdict::Right);
    }

    #[test]
    fn a_flood_closes_its_own_lane_and_is_forgotten() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for _ in 0..10_000 {
            attempts.attempt("flood", now, || false);
        }

        let others = (0..100).filter(|n| attempts.attempt(n, now, || true) == Verdict::Right);
        assert!(others.count() >= 90, "a few may share the lane of the flood");
        assert_eq!(attempts.lanes.lock().unwrap().len(), LANES);
        for wait in [1, 2, 4, 8] {
            attempts.attempt("flood", now + Duration::from_secs(wait * 100), || false);
        }
        let later = now + Duration::from_secs(800) + LONGEST_WAIT + FORGOTTEN_AFTER;
        assert_eq!(attempts.attempt("flood", later, || false), Verdict::Wrong);
        assert_eq!(
            attempts.attempt("flood", later, || true),
            Verdict::Closed(FIRST_WAIT),
            "it begins anew"
        );
    }
}
