//! How often each side of a contact was written lately. Two programs that undo each other's writes
//! would go on for ever.

use chrono::{DateTime, TimeDelta, Utc};

/// Writes to one side within an hour that people still cause.
const MOST: i16 = 6;
const HOUR: TimeDelta = TimeDelta::hours(1);

/// The writes to each side within the hour that began with the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    pub keap: i16,
    pub intercom: i16,
    /// `None`: nothing was counted yet.
    pub since: Option<DateTime<Utc>>,
}

impl Writes {
    /// What still counts.
    fn at(self, now: DateTime<Utc>) -> Self {
        match self.since {
            Some(since) if (TimeDelta::zero()..HOUR).contains(&(now - since)) => self,
            _ => Self::default(),
        }
    }

    /// The same after a look that has written to these sides.
    #[must_use]
    pub fn and(self, now: DateTime<Utc>, to_keap: bool, to_intercom: bool) -> Self {
        let counted = self.at(now);
        if !to_keap && !to_intercom {
            return counted;
        }
        Self {
            keap: counted.keap.saturating_add(i16::from(to_keap)),
            intercom: counted.intercom.saturating_add(i16::from(to_intercom)),
            since: counted.since.or(Some(now)),
        }
    }

    /// Whether one write more to Keap would be too many.
    pub fn fill_keap(self, now: DateTime<Utc>) -> bool {
        self.at(now).keap >= MOST
    }

    /// The same for Intercom.
    pub fn fill_intercom(self, now: DateTime<Utc>) -> bool {
        self.at(now).intercom >= MOST
    }

    /// The time until none of them counts.
    pub fn count_for(self, now: DateTime<Utc>) -> TimeDelta {
        self.at(now).since.map_or(TimeDelta::zero(), |since| since + HOUR - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + number * 60, 0).unwrap()
    }

    #[test]
    fn six_writes_to_a_side_fill_the_hour_that_began_with_the_first() {
        let mut writes = Writes::default();
        for number in 0..6 {
            assert!(!writes.fill_keap(minute(number)), "{number}");
            writes = writes.and(minute(number), true, number == 0);
        }
        assert!(writes.fill_keap(minute(6)));
        assert!(!writes.fill_intercom(minute(6)), "each side counts by itself");
        assert_eq!(writes.count_for(minute(6)), TimeDelta::minutes(54));
        assert!(writes.fill_keap(minute(59)));
        assert!(!writes.fill_keap(minute(60)));
        assert_eq!(writes.count_for(minute(60)), TimeDelta::zero());
        let next = writes.and(minute(60), true, false);
        assert_eq!((next.keap, next.intercom, next.since), (1, 0, Some(minute(60))));
    }

    #[test]
    fn a_look_that_writes_nothing_counts_nothing_and_a_clock_that_was_ahead_holds_nobody() {
        assert_eq!(Writes::default().and(minute(0), false, false), Writes::default());
        let ahead = Writes { keap: 6, intercom: 6, since: Some(minute(600)) };
        assert!(!ahead.fill_keap(minute(0)) && !ahead.fill_intercom(minute(0)));
    }
}
