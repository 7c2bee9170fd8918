//! Keap's limits: calls in a second, in a minute and in a day (`docs/api/keap.md`, "Limits"),
//! counted here and corrected by its headers.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap};
use tokio::time::Instant;

use crate::remote::{
    Admission, Answered, Headroom, LARGEST_LIMIT, Lane, Limits, RemoteClock, number, retry_after,
};

/// A little longer than a second, because some calls take longer on their way than others.
const SECOND: Duration = Duration::from_millis(1030);
const MINUTE: Duration = Duration::from_millis(60_500);
/// A call waits up to this long; a longer wait counts as a side that is down.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// A used-up day is checked again after this time at the latest, because the quota may have been
/// raised.
const RECHECK: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
pub(super) struct KeapQuota {
    pub calls_per_second: usize,
    pub calls_per_minute: usize,
    /// Share of the daily quota that walks leave to urgent contacts and to other users of the
    /// account.
    pub daily_reserve_percent: u32,
    pub urgent_share_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Minute,
    Day,
}

/// One of the limits that Keap's headers state.
#[derive(Debug, Clone, Copy)]
struct Which {
    name: &'static str,
    per: Per,
}

const KEY_MINUTE: Which = Which { name: "key per minute", per: Per::Minute };
const KEY_DAY: Which = Which { name: "key per day", per: Per::Day };
const TENANT_MINUTE: Which = Which { name: "tenant per minute", per: Per::Minute };
const TENANT_DAY: Which = Which { name: "tenant per day", per: Per::Day };

/// A limit as the headers of an answer stated it.
#[derive(Debug)]
struct Stated {
    name: &'static str,
    per: Per,
    limit: i64,
    available: i64,
    /// Calls of others, or of this program before its restart, in the minute before `at`.
    foreign: i64,
    at: Instant,
    /// When the count of the day starts again.
    ends: Instant,
}

pub(super) struct KeapLimits {
    quota: KeapQuota,
    clock: RemoteClock,
    /// Starts of the last minute, oldest first.
    starts: VecDeque<Instant>,
    in_flight: i64,
    stated: Vec<Stated>,
    refused_until: Option<Instant>,
    refusals: u32,
}

impl KeapLimits {
    pub(super) fn new(quota: KeapQuota) -> Self {
        let now = Instant::now();
        Self {
            quota,
            clock: RemoteClock::new(now),
            starts: VecDeque::new(),
            in_flight: 0,
            stated: Vec::new(),
            refused_until: None,
            refusals: 0,
        }
    }

    /// How long until fewer than `most` calls have started in the last `span`; `None`: already now.
    fn until_fewer(&self, most: usize, span: Duration, now: Instant) -> Option<Duration> {
        let oldest_that_counts = self.starts.len().checked_sub(most.max(1))?;
        let free_at = *self.starts.get(oldest_that_counts)? + span;
        (free_at > now).then(|| free_at - now)
    }

    fn own_in_last_minute(&self, now: Instant) -> i64 {
        count(self.starts.iter().filter(|start| **start + MINUTE > now).count())
    }

    /// The share of a limit that bulk calls do not use.
    fn kept(&self, limit: i64, lane: Lane) -> i64 {
        match lane {
            Lane::Urgent => 0,
            Lane::Bulk => limit * i64::from(self.quota.urgent_share_percent) / 100,
        }
    }

    /// How long to wait for the minute limits; zero: a call may start.
    fn wait_for_minute(&self, now: Instant, lane: Lane) -> Duration {
        let own_limit = count(self.quota.calls_per_minute);
        let stated = self
            .stated
            .iter()
            .filter(|stated| stated.per == Per::Minute && stated.at + MINUTE > now);
        let tightest = stated
            .map(|stated| stated.limit - stated.foreign - self.kept(stated.limit, lane))
            .min()
            .unwrap_or(own_limit);
        let most = tightest.min(own_limit - self.kept(own_limit, lane));
        match usize::try_from(most) {
            Ok(most) if most > 0 => self.until_fewer(most, MINUTE, now).unwrap_or_default(),
            // Others use the whole limit. Their calls no longer count after a minute at the latest.
            _ => self
                .stated
                .iter()
                .map(|stated| (stated.at + MINUTE).saturating_duration_since(now))
                .max()
                .unwrap_or(Duration::from_secs(1)),
        }
    }

    fn day_is_used_up(&self, now: Instant, lane: Lane) -> Option<Admission> {
        let kept = |stated: &Stated| match lane {
            Lane::Urgent => 0,
            Lane::Bulk => stated.limit * i64::from(self.quota.daily_reserve_percent) / 100,
        };
        let used_up = |stated: &&Stated| {
            stated.per == Per::Day
                && stated.ends > now
                && stated.available - self.in_flight <= kept(stated)
        };
        let stated = self.stated.iter().find(used_up)?;
        if stated.available > kept(stated) {
            // Keap may not have counted all calls in flight yet: their answers will show it.
            return Some(Admission::Wait(Duration::from_secs(1)));
        }
        let why = format!(
            "has {} of {} calls left for today ({}), which are kept for urgent contacts and other users",
            stated.available, stated.limit, stated.name
        );
        Some(Admission::TooLong { why, retry_in: (stated.ends - now).min(RECHECK) })
    }

    /// Takes in one limit of an answer. `ends`: when its day ends, in seconds since 1970, if the
    /// answer says so.
    fn take_in(
        &mut self,
        which: Which,
        (limit, available): (i64, i64),
        ends: Option<f64>,
        now: Instant,
    ) {
        // Such numbers cannot be limits, so our own counts apply.
        if !(1..=LARGEST_LIMIT).contains(&limit) || !(0..=limit).contains(&available) {
            return;
        }
        let Which { name, per } = which;
        let foreign = (limit - available - self.own_in_last_minute(now)).max(0);
        let at = now;
        let ends = now + self.until_day_ends(ends, now);
        let stated = Stated { name, per, limit, available, foreign, at, ends };
        match self.stated.iter_mut().find(|known| known.name == name) {
            // Answers may overtake each other: within one day the smaller number is the later one.
            Some(known) => {
                let overtaken = per == Per::Day
                    && known.ends > now
                    && known.limit == limit
                    && known.available < available
                    && known.ends >= stated.ends;
                if !overtaken {
                    *known = stated;
                }
            }
            None => self.stated.push(stated),
        }
    }

    /// Days end at midnight UTC by Keap's clock, or when its header says so and is plausible.
    fn until_day_ends(&self, stated: Option<f64>, now: Instant) -> Duration {
        let here = self.clock.now(now);
        let midnight = 86_400.0 - here.rem_euclid(86_400.0);
        let left = stated
            .map(|ends| ends - here)
            .filter(|left| (0.0..=86_400.0 * 1.1).contains(left))
            .unwrap_or(midnight);
        Duration::try_from_secs_f64(left + 1.0).unwrap_or(RECHECK)
    }

    fn read(&mut self, headers: &HeaderMap, now: Instant) {
        let expiry = number(headers, "x-keap-product-quota-expiry-time").map(milliseconds);
        if let Some(figures) = pair(headers, "x-keap-product-throttle") {
            self.take_in(KEY_MINUTE, figures, None, now);
        }
        if let Some(figures) = pair(headers, "x-keap-product-quota") {
            self.take_in(KEY_DAY, figures, expiry, now);
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
                "minute" => {
                    self.take_in(TENANT_MINUTE, (limit, available), None, now);
                }
                "day" => self.take_in(TENANT_DAY, (limit, available), None, now),
                _ => {}
            }
        }
    }
}

impl Limits for KeapLimits {
    fn admit(&self, now: Instant, lane: Lane) -> Admission {
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            let wait = until - now;
            if wait > LONGEST_WAIT {
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
        let second = self.until_fewer(self.quota.calls_per_second, SECOND, now).unwrap_or_default();
        let wait = second.max(self.wait_for_minute(now, lane));
        if wait.is_zero() { Admission::Now } else { Admission::Wait(wait) }
    }

    fn start(&mut self, now: Instant) -> u64 {
        while self.starts.front().is_some_and(|start| *start + MINUTE <= now) {
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
            self.clock.observe(date.with_timezone(&Utc), answered.sent, now);
        }
        self.read(answered.headers, now);
        if !answered.refused {
            self.refusals = 0;
            return;
        }
        // The per-second limit has no header at all: refusals without a time lead to longer and
        // longer pauses.
        let pause = Duration::from_secs(1 << self.refusals.min(6)).min(Duration::from_secs(60));
        let pause = retry_after(answered.headers)
            .filter(|pause| !pause.is_zero())
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
        self.stated
            .iter()
            .filter(|stated| stated.per == Per::Minute || stated.ends > now)
            .map(|stated| Headroom {
                name: stated.name.to_owned(),
                limit: stated.limit,
                available: if stated.per == Per::Day || stated.at + MINUTE > now {
                    stated.available
                } else {
                    // The minute is over.
                    stated.limit
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

/// The numbers of a list such as `10000|250000`; a plain number is a list of one.
fn parts(headers: &HeaderMap, name: &str) -> Vec<Option<i64>> {
    let text = headers.get(name).and_then(|text| text.to_str().ok()).unwrap_or_default();
    text.split('|').map(|part| part.trim().parse().ok()).collect()
}

/// Epoch milliseconds as seconds. Keap's documents leave the unit open; a published client reads
/// milliseconds.
fn milliseconds(number: i64) -> f64 {
    #[expect(clippy::cast_precision_loss)]
    let number = number as f64;
    number / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    /// Numbers, pairs and texts that no limit can be.
    fn hostile_text() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let edges = [
            "-1",
            "0",
            "1",
            "1|1",
            "minute|day",
            "9223372036854775807",
            "9223372036854775807|9223372036854775807",
            "-9223372036854775808",
            "1800000000000",
        ];
        prop_oneof![
            proptest::sample::select(edges.as_slice().to_vec()).prop_map(str::to_owned),
            any::<i64>().prop_map(|number| number.to_string()),
            "[ -~]{0,12}",
        ]
    }

    fn limits(per_second: usize, per_minute: usize) -> KeapLimits {
        KeapLimits::new(KeapQuota {
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
                (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn answer(limits: &mut KeapLimits, now: Instant, headers: &HeaderMap, refused: bool) {
        let ticket = limits.start(now);
        limits.answered(&Answered { sent: now, received: now, headers, refused, ticket });
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
                started[i..].iter().take_while(|other| **other < *start + span).count()
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
            run(&mut limits, now + Duration::from_secs(61), Duration::from_secs(5)).len() > 100
        );
    }

    #[test]
    fn the_days_reserve_is_kept_for_urgent_calls_until_midnight() {
        let mut limits = limits(10, 240);
        let now = Instant::now();
        let stated = headers(&[
            ("date", "Tue, 24 Nov 2026 14:00:00 GMT"),
            ("x-keap-product-quota-limit", "30000"),
            ("x-keap-product-quota-available", "3000"),
            ("x-keap-product-quota-expiry-time", "123456789"),
        ]);
        answer(&mut limits, now, &stated, false);
        assert!(matches!(limits.admit(now, Lane::Bulk), Admission::TooLong { .. }));
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
        let stated = headers(&[
            ("x-keap-tenant-throttle-limit", "10000|250000"),
            ("x-keap-tenant-throttle-available", "9990|20000"),
            ("x-keap-tenant-throttle-time-unit", "minute|day"),
        ]);
        answer(&mut limits, now, &stated, false);
        assert_eq!(limits.headroom(now).len(), 2);
        assert!(matches!(limits.admit(now, Lane::Bulk), Admission::TooLong { .. }));

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
        let stated = headers(&[
            ("date", "Tue, 24 Nov 2026 14:00:00 GMT"),
            ("x-keap-product-throttle-limit", "240"),
            ("x-keap-product-throttle-available", "0"),
            ("x-keap-product-quota-limit", "30000"),
            ("x-keap-product-quota-available", "7"),
        ]);
        answer(&mut limits, now, &stated, false);
        let left = |after| {
            let headroom = limits.headroom(now + Duration::from_secs(after));
            headroom.iter().map(|limit| limit.available).collect::<Vec<_>>()
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
        answer(&mut limits, now, &headers(&[("retry-after", "86400")]), true);
        assert!(matches!(limits.admit(now, Lane::Urgent), Admission::TooLong { .. }));
    }

    proptest::proptest! {
        // F35
        #[test]
        fn no_header_is_a_panic_or_an_endless_sleep(
            texts in proptest::collection::vec(hostile_text(), 9), refused in proptest::bool::ANY,
        ) {
            let names = [
                "x-keap-product-throttle-limit", "x-keap-product-throttle-available",
                "x-keap-product-quota-limit", "x-keap-product-quota-available",
                "x-keap-product-quota-expiry-time", "x-keap-tenant-throttle-limit",
                "x-keap-tenant-throttle-available", "x-keap-tenant-throttle-time-unit", "retry-after",
            ];
            let headers: HeaderMap = names
                .iter()
                .zip(&texts)
                .filter_map(|(name, text)| Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?)))
                .collect();
            let mut limits = limits(10, 240);
            let now = Instant::now();
            for _ in 0..3 {
                answer(&mut limits, now, &headers, refused);
            }
            // A pause gets up to a quarter more, by chance.
            let longest = Duration::from_secs(3600 * 5 / 4);
            for lane in [Lane::Bulk, Lane::Urgent] {
                match limits.admit(now, lane) {
                    Admission::Now => {}
                    Admission::Wait(wait) | Admission::TooLong { retry_in: wait, .. } => {
                        proptest::prop_assert!(wait <= longest, "{wait:?}");
                    }
                }
            }
            limits.headroom(now);
        }
    }
}
