//! The pace of writes to Keap. Keap counts calls by the day, so a walk over many contacts must not
//! take them all, and Keap's service suffers from many writes at once.
//!
//! A contact that nobody waits for is written while there is room in the minute. Else it is stored
//! as due, and its turn comes after everything else (`feed::PACED_TURN`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::feed::{day_left, kept_calls};
use crate::remote::Headroom;

/// Edits that a poll or a notification shows are written at once: so many, and so many a second
/// after that. Whatever changes more contacts is a program, and nobody waits for each of them.
///
/// This makes 1,700 a day at the most, so they leave the day's reserve to others.
const EDITS: (u32, f64) = (240, 1.0 / 60.0);

/// A call reads the contacts that are written next. It is made for so many at least, if more wait.
const AT_ONCE: usize = 20;

pub struct Pace {
    edits: Bucket,
    writes: Bucket,
    /// Contacts that one look takes.
    at_once: usize,
    per_minute: u32,
    reserve_percent: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(60, 10)
    }
}

impl Pace {
    /// `reserve_percent`: the share of the day's calls that is left to others.
    pub fn new(per_minute: u32, reserve_percent: u32) -> Self {
        Self {
            edits: Bucket::new(EDITS.0, EDITS.1),
            writes: Bucket::new(per_minute, f64::from(per_minute) / 60.0),
            at_once: AT_ONCE.min(usize::try_from(per_minute).unwrap_or(AT_ONCE)),
            per_minute,
            reserve_percent,
        }
    }

    /// Whether the day has calls left for writes that nobody waits for. `limits`: those of Keap.
    pub fn has_calls(&self, limits: &[Headroom], now: DateTime<Utc>) -> bool {
        let mut of_a_day = limits.iter().filter(|limit| limit.name.ends_with("per day"));
        of_a_day.all(|Headroom { limit, available, .. }| {
            *available > kept_calls(*limit, self.reserve_percent, day_left(now))
        })
    }

    /// Takes the turn of one write that nobody waits for. False: there is no room in this minute.
    pub fn take(&self, now: Instant) -> bool {
        self.writes.take_some(1, now) == 1
    }

    /// How many of these edits are written at once. The others have a pace.
    pub fn edits(&self, wanted: usize, now: Instant) -> usize {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.edits.take_some(wanted, now) as usize
    }

    /// How many contacts have room now, and how many are taken together at least.
    pub(super) fn room(&self, now: Instant) -> (usize, usize) {
        let left = self.writes.standing(now).left;
        (usize::try_from(left).unwrap_or(usize::MAX), self.at_once)
    }

    /// The longest time until there is room for the next look.
    pub fn until_room(&self, now: Instant) -> Duration {
        let (room, at_once) = self.room(now);
        let missing = u32::try_from(at_once.saturating_sub(room)).unwrap_or(u32::MAX);
        (Duration::from_secs(60) / self.per_minute.max(1)).saturating_mul(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_no_more_writes_than_its_pace_allows() {
        let (pace, now) = (Pace::new(60, 10), Instant::now());
        let all = |now| (0..1000).filter(|_| pace.take(now)).count();
        assert_eq!(all(now), 60);
        assert_eq!(pace.room(now), (0, AT_ONCE));
        assert_eq!(pace.until_room(now), Duration::from_secs(20));

        let later = now + Duration::from_secs(21);
        assert_eq!(pace.until_room(later), Duration::ZERO);
        assert_eq!(all(later), 21);
    }

    #[test]
    fn a_day_has_few_urgent_edits_however_many_contacts_change() {
        let (pace, start) = (Pace::new(60, 10), Instant::now());
        let minutes = (0..24 * 60).map(|minute| start + Duration::from_secs(60 * minute));
        let urgent: usize = minutes.map(|now| pace.edits(100, now)).sum();
        assert!((1600..1700).contains(&urgent), "{urgent}");
    }

    #[test]
    fn the_reserve_and_the_polls_until_midnight_are_left_to_others() {
        let pace = Pace::new(60, 10);
        let noon = "2026-11-30T12:00:00Z".parse().unwrap();
        let day = |available| {
            let name = "key per day".to_owned();
            [Headroom { name, limit: 30_000, available }]
        };
        assert!(pace.has_calls(&[], noon), "nobody knows");
        assert!(pace.has_calls(&day(4_501), noon));
        assert!(!pace.has_calls(&day(4_500), noon));
    }

    #[test]
    fn a_slow_pace_waits_for_no_more_than_it_ever_has() {
        assert_eq!(Pace::new(5, 10).room(Instant::now()), (5, 5));
    }
}
