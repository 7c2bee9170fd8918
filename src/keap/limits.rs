//! Keap's limits: so many calls in a second, a minute and a day (`api/keap.md` 12), counted here and corrected by its headers.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use crate::remote::{Admission, Answered, Headroom, Lane, Limits, RemoteClock, number};

/// A little longer than a second, because calls do not travel at the same speed.
const SECOND: Duration = Duration::from_millis(1030);
const MINUTE: Duration = Duration::from_millis(60_500);
/// A wait up to this is waited for in place.
const PATIENCE: Duration = Duration::from_secs(90);
/// A used-up day is looked at again after this at the latest: somebody may raise the quota.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
pub struct KeapRules {
    pub calls_per_second: usize,
    pub calls_per_minute: usize,
    /// Share of the day's quota that the walks leave to urgent contacts and to other users of the account.
    pub daily_reserve_percent: u32,
    pub urgent_share_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Minute,
    Day,
}

/// A limit as the headers of an answer told it.
#[derive(Debug)]
struct Told {
    name: &'static str,
    per: Per,
    limit: i64,
    available: i64,
    /// Calls of others, or of our own former life, in the minute before `at`.
    foreign: i64,
    at: Instant,
    /// When the day's count starts anew.
    ends: Instant,
}

pub struct KeapLimits {
    rules: KeapRules,
    clock: RemoteClock,
    /// Starts of the last minute, oldest first.
    starts: VecDeque<Instant>,
    in_flight: i64,
    told: Vec<Told>,
    refused_until: Option<Instant>,
    refusals: u32,
}

impl KeapLimits {
    pub fn new(rules: KeapRules) -> Self {
        let now = Instant::now();
        Self {
            rules,
            clock: RemoteClock::new(now),
            starts: VecDeque::new(),
            in_flight: 0,
            told: Vec::new(),
            refused_until: None,
            refusals: 0,
        }
    }

    /// How long until fewer than `most` calls have started in the last `span`; `None` when that is so now.
    fn until_fewer(&self, most: usize, span: Duration, now: Instant) -> Option<Duration> {
        let oldest_that_counts = self.starts.len().checked_sub(most.max(1))?;
        let free_at = *self.starts.get(oldest_that_counts)? + span;
        (free_at > now).then(|| free_at - now)
    }

    fn own_in_last_minute(&self, now: Instant) -> i64 {
        count(
            self.starts
                .iter()
                .filter(|start| **start + MINUTE > now)
                .count(),
        )
    }

    /// The share of a limit that bulk calls leave alone.
    fn kept(&self, limit: i64, lane: Lane) -> i64 {
        match lane {
            Lane::Urgent => 0,
            Lane::Bulk => limit * i64::from(self.rules.urgent_share_percent) / 100,
        }
    }

    /// How long to wait for the minute limits; zero when a call may start.
    fn wait_for_minute(&self, now: Instant, lane: Lane) -> Duration {
        let own_limit = count(self.rules.calls_per_minute);
        let told = self
            .told
            .iter()
            .filter(|told| told.per == Per::Minute && told.at + MINUTE > now);
        let tightest = told
            .map(|told| told.limit - told.foreign - self.kept(told.limit, lane))
            .min()
            .unwrap_or(own_limit);
        let most = tightest.min(own_limit - self.kept(own_limit, lane));
        match usize::try_from(most) {
            Ok(most) if most > 0 => self.until_fewer(most, MINUTE, now).unwrap_or_default(),
            // Others have it all: what they used is forgotten after a minute at the latest.
            _ => self
                .told
                .iter()
                .map(|told| (told.at + MINUTE).saturating_duration_since(now))
                .max()
                .unwrap_or(Duration::from_secs(1)),
        }
    }

    fn day_is_used_up(&self, now: Instant, lane: Lane) -> Option<Admission> {
        let kept = |told: &Told| match lane {
            Lane::Urgent => 0,
            Lane::Bulk => told.limit * i64::from(self.rules.daily_reserve_percent) / 100,
        };
        let used_up = |told: &&Told| {
            told.per == Per::Day && told.ends > now && told.available - self.in_flight <= kept(told)
        };
        let told = self.told.iter().find(used_up)?;
        if told.available > kept(told) {
            // Calls under way may not all have been counted yet: their answers will tell.
            return Some(Admission::Wait(Duration::from_secs(1)));
        }
        let why = format!(
            "has {} of {} calls left for today ({}), which are kept for urgent contacts and other users",
            told.available, told.limit, told.name
        );
        Some(Admission::TooLong {
            why,
            retry_in: (told.ends - now).min(LOOK_AGAIN),
        })
    }

    fn take_in(
        &mut self,
        name: &'static str,
        per: Per,
        limit: i64,
        available: i64,
        ends: Option<f64>,
        now: Instant,
    ) {
        // Absurd numbers are no limits: our own counts hold then.
        if limit <= 0 || !(0..=limit).contains(&available) {
            return;
        }
        let foreign = (limit - available - self.own_in_last_minute(now)).max(0);
        let at = now;
        let ends = now + self.until_day_ends(ends, now);
        let told = Told {
            name,
            per,
            limit,
            available,
            foreign,
            at,
            ends,
        };
        match self.told.iter_mut().find(|known| known.name == name) {
            // Answers may overtake each other: of a day that goes on, the smaller number is the later one.
            Some(known) => {
                let overtaken = per == Per::Day
                    && known.ends > now
                    && known.limit == limit
                    && known.available < available
                    && known.ends >= told.ends;
                if !overtaken {
                    *known = told;
                }
            }
            None => self.told.push(told),
        }
    }

    /// Days end at midnight UTC by Keap's clock, or when its header says so within reason.
    fn until_day_ends(&self, told: Option<f64>, now: Instant) -> Duration {
        let here = self.clock.now(now);
        let midnight = 86_400.0 - here.rem_euclid(86_400.0);
        let left = told
            .map(|ends| ends - here)
            .filter(|left| (0.0..=86_400.0 * 1.1).contains(left))
            .unwrap_or(midnight);
        Duration::try_from_secs_f64(left + 1.0).unwrap_or(LOOK_AGAIN)
    }

    fn read(&mut self, headers: &HeaderMap, now: Instant) {
        let expiry = number(headers, "x-keap-product-quota-expiry-time").map(milliseconds);
        if let Some((limit, available)) = pair(headers, "x-keap-product-throttle") {
            self.take_in("key per minute", Per::Minute, limit, available, None, now);
        }
        if let Some((limit, available)) = pair(headers, "x-keap-product-quota") {
            self.take_in("key per day", Per::Day, limit, available, expiry, now);
        }
        let (limits, available) = (
            parts(headers, "x-keap-tenant-throttle-limit"),
            parts(headers, "x-keap-tenant-throttle-available"),
        );
        let units = headers
            .get("x-keap-tenant-throttle-time-unit")
            .and_then(|units| units.to_str().ok())
            .unwrap_or("minute|day");
        for ((unit, limit), available) in units.split('|').zip(limits).zip(available) {
            let (Some(limit), Some(available)) = (limit, available) else {
                continue;
            };
            match unit.trim() {
                "minute" => self.take_in(
                    "tenant per minute",
                    Per::Minute,
                    limit,
                    available,
                    None,
                    now,
                ),
                "day" => self.take_in("tenant per day", Per::Day, limit, available, None, now),
                _ => {}
            }
        }
    }
}

impl Limits for KeapLimits {
    fn admit(&self, now: Instant, lane: Lane) -> Admission {
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            let wait = until - now;
            if wait > PATIENCE {
                return Admission::TooLong {
                    why: "asks to be left alone (429)".into(),
                    retry_in: wait,
                };
            }
            return Admission::Wait(wait);
        }
        if let Some(used_up) = self.day_is_used_up(now, lane) {
            return used_up;
        }
        let second = self
            .until_fewer(self.rules.calls_per_second, SECOND, now)
            .unwrap_or_default();
        let wait = second.max(self.wait_for_minute(now, lane));
        if wait.is_zero() {
            Admission::Now
        } else {
            Admission::Wait(wait)
        }
    }

    fn start(&mut self, now: Instant) -> u64 {
        while self
            .starts
            .front()
            .is_some_and(|start| *start + MINUTE <= now)
        {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        self.in_flight += 1;
        0
    }

    fn answered(&mut self, answered: &Answered<'_>) {
        self.in_flight -= 1;
        let now = answered.received;
        let date = answered
            .headers
            .get(DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        if let Some(date) = date {
            self.clock
                .observe(date.with_timezone(&Utc), answered.sent, now);
        }
        self.read(answered.headers, now);
        if !answered.refused {
            self.refusals = 0;
            return;
        }
        // The per-second limit has no header at all: an answer without a time is followed by longer and longer pauses.
        let told = number(answered.headers, RETRY_AFTER.as_str())
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        let pause = Duration::from_secs(1 << self.refusals.min(6)).min(Duration::from_secs(60));
        let pause = told
            .filter(|told| !told.is_zero())
            .unwrap_or(pause)
            .mul_f64(rand::random_range(1.0..1.25));
        self.refusals += 1;
        let until = now + pause;
        self.refused_until = Some(self.refused_until.map_or(until, |known| known.max(until)));
    }

    fn lost(&mut self, _now: Instant, _ticket: u64) {
        self.in_flight -= 1;
    }

    fn headroom(&self, now: Instant) -> Vec<Headroom> {
        self.told
            .iter()
            .filter(|told| told.per == Per::Minute || told.ends > now)
            .map(|told| Headroom {
                name: told.name.to_owned(),
                limit: told.limit,
                available: if told.per == Per::Day || told.at + MINUTE > now {
                    told.available
                } else {
                    // The minute is over.
                    told.limit
                },
            })
            .collect()
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `<name>-limit` and `<name>-available`.
fn pair(headers: &HeaderMap, name: &str) -> Option<(i64, i64)> {
    Some((
        number(headers, &format!("{name}-limit"))?,
        number(headers, &format!("{name}-available"))?,
    ))
}

/// The numbers of a piped pair such as `10000|250000`; a plain number is a list of one.
fn parts(headers: &HeaderMap, name: &str) -> Vec<Option<i64>> {
    let text = headers
        .get(name)
        .and_then(|text| text.to_str().ok())
        .unwrap_or_default();
    text.split('|')
        .map(|part| part.trim().parse().ok())
        .collect()
}

/// Epoch milliseconds as seconds; one client reads the header so, and the documents' example is no help.
fn milliseconds(number: i64) -> f64 {
    #[expect(clippy::cast_precision_loss)]
    let number = number as f64;
    number / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn limits(per_second: usize, per_minute: usize) -> KeapLimits {
        KeapLimits::new(KeapRules {
            calls_per_second: per_second,
            calls_per_minute: per_minute,
            daily_reserve_percent: 10,
            urgent_share_percent: 1,
        })
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn answer(limits: &mut KeapLimits, now: Instant, headers: &HeaderMap, refused: bool) {
        let ticket = limits.start(now);
        limits.answered(&Answered {
            sent: now,
            received: now,
            headers,
            refused,
            ticket,
        });
    }

    /// Starts as many calls as are let through in a span, and says when.
    fn run(limits: &mut KeapLimits, from: Instant, span: Duration) -> Vec<Instant> {
        let (mut now, mut started) = (from, Vec::new());
        while now < from + span {
            match limits.admit(now, Lane::Bulk) {
                Admission::Now => {
                    answer(limits, now, &HeaderMap::new(), false);
                    started.push(now);
                }
                Admission::Wait(wait) => now += wait.max(Duration::from_micros(10)),
                Admission::TooLong { why, .. } => panic!("{why}"),
            }
        }
        started
    }

    #[test]
    fn no_second_and_no_minute_sees_more_calls_than_allowed() {
        let mut limits = limits(10, 240);
        let started = run(&mut limits, Instant::now(), Duration::from_secs(600));
        for (i, start) in started.iter().enumerate() {
            let within = |span: Duration| {
                started[i..]
                    .iter()
                    .take_while(|other| **other < *start + span)
                    .count()
            };
            assert!(within(Duration::from_secs(1)) <= 10);
            assert!(within(Duration::from_secs(60)) <= 240);
        }
        assert!(started.len() >= 240 * 10 * 97 / 100, "{}", started.len());
    }

    #[test]
    fn calls_of_others_are_left_to_them_for_a_minute() {
        let mut limits = limits(100, 240);
        let now = Instant::now();
        answer(
            &mut limits,
            now,
            &headers(&[
                ("x-keap-product-throttle-limit", "240"),
                ("x-keap-product-throttle-available", "5"),
            ]),
            false,
        );
        let started = run(&mut limits, now, Duration::from_secs(60));
        assert!(started.len() <= 5, "{}", started.len());
        assert!(
            run(
                &mut limits,
                now + Duration::from_secs(61),
                Duration::from_secs(5)
            )
            .len()
                > 100
        );
    }

    #[test]
    fn the_days_reserve_is_kept_for_urgent_calls_until_midnight() {
        let mut limits = limits(10, 240);
        let now = Instant::now();
        let told = headers(&[
            ("date", "Tue, 24 Nov 2026 14:00:00 GMT"),
            ("x-keap-product-quota-limit", "30000"),
            ("x-keap-product-quota-available", "3000"),
            ("x-keap-product-quota-expiry-time", "123456789"),
        ]);
        answer(&mut limits, now, &told, false);
        assert!(matches!(
            limits.admit(now, Lane::Bulk),
            Admission::TooLong { .. }
        ));
        assert_eq!(limits.admit(now, Lane::Urgent), Admission::Now);
        assert_eq!(
            limits.admit(now + Duration::from_secs(10 * 3600 + 2), Lane::Bulk),
            Admission::Now
        );
    }

    #[test]
    fn the_tenants_pairs_are_read_and_empty_ones_are_nothing() {
        let mut limits = limits(10, 240);
        let now = Instant::now();
        let told = headers(&[
            ("x-keap-tenant-throttle-limit", "10000|250000"),
            ("x-keap-tenant-throttle-available", "9990|20000"),
            ("x-keap-tenant-throttle-time-unit", "minute|day"),
        ]);
        answer(&mut limits, now, &told, false);
        assert_eq!(limits.headroom(now).len(), 2);
        assert!(matches!(
            limits.admit(now, Lane::Bulk),
            Admission::TooLong { .. }
        ));

        let mut limits = super::tests::limits(10, 240);
        answer(
            &mut limits,
            now,
            &headers(&[
                ("x-keap-tenant-throttle-limit", "|"),
                ("x-keap-tenant-throttle-available", "|"),
            ]),
            false,
        );
        answer(
            &mut limits,
            now,
            &headers(&[
                ("x-keap-product-throttle-limit", "-5"),
                ("x-keap-product-throttle-available", "ten"),
            ]),
            false,
        );
        assert!(limits.headroom(now).is_empty());
    }

    #[test]
    fn a_minute_that_is_over_leaves_everything_and_a_day_goes_on() {
        let mut limits = limits(10, 240);
        let now = Instant::now();
        let told = headers(&[
            ("date", "Tue, 24 Nov 2026 14:00:00 GMT"),
            ("x-keap-product-throttle-limit", "240"),
            ("x-keap-product-throttle-available", "0"),
            ("x-keap-product-quota-limit", "30000"),
            ("x-keap-product-quota-available", "7"),
        ]);
        answer(&mut limits, now, &told, false);
        let left = |after| {
            let headroom = limits.headroom(now + Duration::from_secs(after));
            headroom
                .iter()
                .map(|told| told.available)
                .collect::<Vec<_>>()
        };
        assert_eq!(left(30), [0, 7]);
        assert_eq!(left(61), [240, 7]);
        assert_eq!(left(11 * 3600), [240]);
    }

    #[test]
    fn a_refusal_without_a_time_is_followed_by_growing_pauses_and_an_endless_one_is_no_wait() {
        let mut limits = limits(100, 1000);
        let now = Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            answer(&mut limits, now, &HeaderMap::new(), true);
            let Admission::Wait(wait) = limits.admit(now, Lane::Urgent) else {
                panic!("must wait")
            };
            assert!(wait > last && wait < Duration::from_secs(20));
            last = wait;
        }
        answer(
            &mut limits,
            now,
            &headers(&[("retry-after", "86400")]),
            true,
        );
        assert!(matches!(
            limits.admit(now, Lane::Urgent),
            Admission::TooLong { .. }
        ));
    }
}
