//! A token bucket: limits what callers may cause, and still allows bursts.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// `most` at once, and `per_second` after that.
pub struct Bucket {
    most: f64,
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub most: u64,
    pub left: u64,
    pub full_in_seconds: u64,
}

impl Bucket {
    pub fn new(most: u32, per_second: f64) -> Self {
        let most = f64::from(most);
        Self { most, per_second, state: Mutex::new((most, Instant::now())) }
    }

    /// Takes up to `wanted` tokens and returns how many, whole ones only.
    pub fn take_some(&self, wanted: u32, now: Instant) -> u32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let filled = (left + now.saturating_duration_since(since).as_secs_f64() * self.per_second)
            .min(self.most);
        let taken = filled.floor().min(f64::from(wanted));
        *state = (filled - taken, now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and `wanted`"
        )]
        let taken = taken as u32;
        taken
    }

    /// Puts back tokens that were taken and not used.
    pub fn give_back(&self, unused: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = (state.0 + f64::from(unused)).min(self.most);
    }

    /// How many tokens it holds at most, how many are left, and how many seconds it needs to be
    /// full.
    pub fn standing(&self, now: Instant) -> Standing {
        let (left, since) = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = (left + now.saturating_duration_since(since).as_secs_f64() * self.per_second)
            .min(self.most);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the size of the bucket"
        )]
        let whole = |number: f64| number as u64;
        Standing {
            most: whole(self.most),
            left: whole(filled.floor()),
            full_in_seconds: whole(((self.most - filled) / self.per_second).ceil()),
        }
    }

    /// How long an empty bucket needs until it holds one token.
    pub fn seconds_for_one(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let seconds = (1.0 / self.per_second).ceil() as u64;
        seconds
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_fills_again() {
        let bucket = Bucket::new(3, 0.5);
        let now = Instant::now();
        assert_eq!(bucket.take_some(2, now), 2);
        assert_eq!(bucket.take_some(2, now), 1);
        assert_eq!(bucket.take_some(1, now), 0);
        assert_eq!(bucket.seconds_for_one(), 2);
        let later = now + Duration::from_secs(3);
        assert_eq!(bucket.take_some(5, later), 1);
        bucket.give_back(1);
        assert_eq!(bucket.take_some(5, later), 1);
        assert_eq!(
            bucket.standing(later + Duration::from_secs(1)),
            Standing { most: 3, left: 1, full_in_seconds: 4 }
        );
        bucket.give_back(100);
        assert_eq!(bucket.take_some(5, later), 3, "no more than it holds");
        assert_eq!(bucket.take_some(5, later + Duration::from_secs(3600)), 3);
    }
}
