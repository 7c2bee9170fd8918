//! What waits for Keap, and when it will be written.

use std::time::Duration;

use chrono::Utc;

use super::words::{count, number, span};
use crate::feed::{DAY_SECONDS, day_left, kept_calls};
use crate::store::TwoWay;

/// What the settings say of the second direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct SecondDirection {
    pub enabled: bool,
    /// Intercom's notifications are accepted: there is a client secret.
    pub is_notified: bool,
    pub rates: Rates,
}

/// How fast contacts may be written to Keap that nobody waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub per_minute: u32,
    /// The share of the day's calls that is left to others.
    pub reserve_percent: u32,
}

/// How many calls a day Keap allows, and how many are left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayQuota {
    pub limit: i64,
    pub left: i64,
}

impl DayQuota {
    /// What Keap allows a key, as far as nobody has asked yet (`docs/api/keap.md`, "Limits").
    pub const OF_A_KEY: Self = Self { limit: 30_000, left: 30_000 };

    /// The tightest of the limits that hold for a day. `limits`: name, calls allowed, calls left.
    pub fn tightest<'a>(limits: impl Iterator<Item = (&'a str, i64, i64)>) -> Option<Self> {
        let of_a_day = limits.filter(|(name, ..)| name.ends_with("per day"));
        of_a_day.map(|(_, limit, left)| Self { limit, left }).min_by_key(|quota| quota.left)
    }
}

/// A call reads so many contacts that are written next.
const READ_TOGETHER: i64 = 20;

/// The calls to Keap that so many writes take.
pub fn calls_of(writes: i64) -> i64 {
    writes.saturating_add(writes.saturating_add(READ_TOGETHER - 1) / READ_TOGETHER)
}

/// The calls that a user takes who is created in Keap: to Keap and to Intercom
/// (`docs/two-way.md`, "What it costs").
pub const CALLS_OF_A_CREATE: (i64, i64) = (4, 5);

/// The calls that Keap allows a key in a minute (`docs/api/keap.md`, "Limits").
const CALLS_A_MINUTE: u32 = 240;

/// The time until so many contacts are created in Keap.
pub fn time_to_create(contacts: i64, rates: Rates, quota: DayQuota, day_left: i64) -> Duration {
    let (calls, _) = CALLS_OF_A_CREATE;
    let per_minute = CALLS_A_MINUTE / u32::try_from(calls).unwrap_or(1);
    time_of(contacts, (calls, 1), Rates { per_minute, ..rates }, (quota, day_left))
}

/// The time until so many contacts are written that nobody waits for. `day_left`: the seconds until
/// Keap counts anew.
pub fn time_for(writes: i64, rates: Rates, quota: DayQuota, day_left: i64) -> Duration {
    // Each write takes its share of the call that reads it.
    time_of(writes, (READ_TOGETHER + 1, READ_TOGETHER), rates, (quota, day_left))
}

/// The time that so many writes take, of which `some` take `calls_of_some` calls.
fn time_of(
    writes: i64,
    (calls_of_some, some): (i64, i64),
    rates: Rates,
    (quota, day_left): (DayQuota, i64),
) -> Duration {
    let per_minute = i64::from(rates.per_minute.max(1));
    let free = |calls: i64, seconds: i64| {
        let calls = (calls - kept_calls(quota.limit, rates.reserve_percent, seconds)).max(0);
        (calls * some / calls_of_some).min(seconds * per_minute / 60)
    };
    let (today, a_day) = (free(quota.left, day_left), free(quota.limit, DAY_SECONDS).max(1));
    let seconds_of = |writes: i64| (writes * 60 + per_minute - 1) / per_minute;
    let seconds = if writes <= today {
        seconds_of(writes)
    } else {
        let later = writes - today;
        // The last day is not a whole one.
        let whole_days = (later - 1) / a_day;
        day_left + whole_days * DAY_SECONDS + seconds_of(later - whole_days * a_day)
    };
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// What waits for Keap, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeapQueue {
    /// Contacts that have changed in Intercom, and are looked at next.
    pub waiting: i64,
    /// Those that nobody waits for.
    pub paced: i64,
    /// When the last of them is written.
    pub empty_in: Duration,
}

impl KeapQueue {
    pub fn of(two_way: &TwoWay, rates: Rates, quota: Option<DayQuota>) -> Self {
        let quota = quota.unwrap_or(DayQuota::OF_A_KEY);
        let (waiting, paced) = (two_way.waiting, two_way.paced);
        // Whoever waits is written before them.
        let left = DayQuota { left: quota.left.saturating_sub(calls_of(waiting)), ..quota };
        let time = time_for(paced, rates, left, day_left(Utc::now()));
        Self { waiting, paced, empty_in: if paced > 0 { time } else { Duration::ZERO } }
    }

    /// The line while a pause stops all of them.
    pub fn paused_line(&self) -> String {
        match self.waiting + self.paced {
            0 => "nothing waits".into(),
            all => format!("{} for the end of the pause", count(all, "contact")),
        }
    }

    pub fn line(&self) -> String {
        match (self.waiting, self.paced) {
            (0, 0) => "nothing waits".into(),
            (waiting, 0) => format!("{} next", count(waiting, "contact")),
            (waiting, paced) => {
                let first = match waiting {
                    0 => String::new(),
                    waiting => format!("{} next, ", count(waiting, "contact")),
                };
                let time = span(self.empty_in);
                let others = if waiting == 0 { count(paced, "contact") } else { number(paced) };
                format!("{first}{others} at their pace; empty in about {time}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { per_minute: 60, reserve_percent: 10 };
    const NOON: i64 = 43_200;

    fn hours(writes: i64, left: i64) -> f64 {
        let quota = DayQuota { limit: 30_000, left };
        time_for(writes, RATES, quota, NOON).as_secs_f64() / 3600.0
    }

    #[test]
    fn a_queue_that_fits_into_today_takes_a_second_a_contact() {
        assert_eq!(hours(0, 30_000), 0.0);
        assert_eq!(hours(3600, 30_000), 1.0);
    }

    #[test]
    fn what_does_not_fit_into_today_goes_on_after_midnight() {
        // 3,000 are kept, and 1,500 are for polls until midnight: nothing is left today.
        assert_eq!(hours(3600, 4_500), 13.0);
        // 24,000 calls a day are 22,857 writes and their reads.
        assert_eq!(hours(22_857 + 3600, 4_500), 12.0 + 24.0 + 1.0);
        // The last write of a day ends that day.
        assert!((hours(22_857, 4_500) - (12.0 + 22_857.0 / 3600.0)).abs() < 0.001);
    }

    #[test]
    fn a_create_takes_four_calls() {
        let quota = DayQuota { limit: 30_000, left: 30_000 };
        assert_eq!(time_to_create(60, RATES, quota, NOON), Duration::from_secs(60));
        // A day has 24,000 calls for them.
        let days = time_to_create(12_000, RATES, DayQuota { left: 0, ..quota }, NOON);
        assert_eq!(days, Duration::from_secs(43_200 + 86_400 + 6_000));
    }

    #[test]
    fn a_small_quota_ends_all_the_same() {
        for limit in [1, 10, 500] {
            let quota = DayQuota { limit, left: 0 };
            assert!(time_for(1000, RATES, quota, NOON) > Duration::from_secs(86_400));
        }
    }

    #[test]
    fn the_tightest_limit_of_a_day_counts() {
        let limits = [
            ("key per minute", 240, 3),
            ("key per day", 30_000, 900),
            ("tenant per day", 150_000, 20),
        ];
        let tightest = DayQuota::tightest(limits.into_iter());
        assert_eq!(tightest, Some(DayQuota { limit: 150_000, left: 20 }));
    }

    #[test]
    fn the_queue_is_told_in_words() {
        let queue =
            |waiting, paced| KeapQueue { waiting, paced, empty_in: Duration::from_secs(7260) };
        assert_eq!(queue(0, 0).line(), "nothing waits");
        assert_eq!(queue(0, 0).paused_line(), "nothing waits");
        assert_eq!(queue(1, 7200).paused_line(), "7,201 contacts for the end of the pause");
        assert_eq!(queue(2, 0).line(), "2 contacts next");
        assert_eq!(queue(0, 7200).line(), "7,200 contacts at their pace; empty in about 2 h 1 min");
        assert_eq!(
            queue(1, 7200).line(),
            "1 contact next, 7,200 at their pace; empty in about 2 h 1 min"
        );
    }
}
