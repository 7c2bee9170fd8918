//! Keap's limits: calls a second, a minute and a day, and the headers that show them
//! (`docs/api/keap.md`, "Limits").

use std::collections::VecDeque;

use super::knobs::{KeapKnobs, LimitWindows};

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

pub(super) const TENANT: &str = "xy123.infusionsoft.com";

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Spike,
    Quota,
}

#[derive(Default)]
pub(super) struct Limits {
    second: Window,
    minute: Window,
    day: Window,
    /// When calls of other programs began.
    foreign_since_ms: Option<i64>,
}

/// Counts calls in the current fixed window, or in the span that ends now.
#[derive(Default)]
struct Window {
    start_ms: i64,
    used: u32,
    /// Times of the calls, kept only for a sliding window.
    calls: VecDeque<i64>,
}

impl Window {
    /// Forgets calls outside of the window. After the clock jumps back, no call in the future
    /// stays.
    fn move_to(&mut self, now_ms: i64, length_ms: i64, kind: LimitWindows) {
        let start_ms = now_ms - now_ms.rem_euclid(length_ms);
        match kind {
            LimitWindows::Fixed if start_ms == self.start_ms => {}
            LimitWindows::Fixed => *self = Window { start_ms, ..Window::default() },
            LimitWindows::Sliding => {
                self.calls.retain(|at| *at > now_ms - length_ms && *at <= now_ms);
                self.used = self.calls.len() as u32;
            }
        }
    }

    fn count(&mut self, now_ms: i64, kind: LimitWindows) {
        self.used += 1;
        if kind == LimitWindows::Sliding {
            self.calls.push_back(now_ms);
        }
    }
}

impl Limits {
    /// Counts a call or refuses it.
    pub(super) fn take(&mut self, knobs: &KeapKnobs, now_ms: i64) -> Result<(), Refused> {
        self.move_to(knobs, now_ms);
        let verdict = self.check(knobs, now_ms);
        if verdict.is_ok() || knobs.rejected_calls_count {
            self.second.count(now_ms, knobs.limit_windows);
            self.minute.count(now_ms, knobs.limit_windows);
            self.day.count(now_ms, LimitWindows::Fixed);
        }
        verdict
    }

    fn move_to(&mut self, knobs: &KeapKnobs, now_ms: i64) {
        self.second.move_to(now_ms, SECOND_MS, knobs.limit_windows);
        self.minute.move_to(now_ms, MINUTE_MS, knobs.limit_windows);
        self.day.move_to(now_ms, DAY_MS, LimitWindows::Fixed);
        self.foreign_since_ms = match knobs.foreign_calls_per_minute {
            0 => None,
            _ => self.foreign_since_ms.or(Some(now_ms)),
        };
    }

    fn check(&self, knobs: &KeapKnobs, now_ms: i64) -> Result<(), Refused> {
        let full = |limit: Option<u32>, used: u32| limit.is_some_and(|limit| used >= limit);
        if full(knobs.per_second, self.second.used) {
            return Err(Refused::Spike);
        }
        let (minute, day) = (self.minute_used(knobs, now_ms), self.day_used(knobs, now_ms));
        let tenant_full = minute >= knobs.tenant_per_minute || day >= knobs.tenant_per_day;
        if full(knobs.per_minute, minute)
            || full(knobs.per_day, day)
            || (knobs.tenant_headers && tenant_full)
        {
            return Err(Refused::Quota);
        }
        Ok(())
    }

    /// Our calls and those of other programs.
    fn minute_used(&self, knobs: &KeapKnobs, now_ms: i64) -> u32 {
        let start_ms = match knobs.limit_windows {
            LimitWindows::Fixed => self.minute.start_ms,
            LimitWindows::Sliding => now_ms - MINUTE_MS,
        };
        self.minute.used + self.foreign(knobs, start_ms, now_ms)
    }

    fn day_used(&self, knobs: &KeapKnobs, now_ms: i64) -> u32 {
        self.day.used + knobs.foreign_calls_today + self.foreign(knobs, self.day.start_ms, now_ms)
    }

    fn foreign(&self, knobs: &KeapKnobs, start_ms: i64, now_ms: i64) -> u32 {
        let from_ms = self.foreign_since_ms.unwrap_or(now_ms).max(start_ms);
        let passed_ms = (now_ms - from_ms).max(0);
        (i64::from(knobs.foreign_calls_per_minute) * passed_ms / MINUTE_MS) as u32
    }

    /// The limit headers, with the numbers after this call.
    pub(super) fn headers(
        &mut self,
        knobs: &KeapKnobs,
        now_ms: i64,
    ) -> Vec<(&'static str, String)> {
        self.move_to(knobs, now_ms);
        let (minute, day) = (self.minute_used(knobs, now_ms), self.day_used(knobs, now_ms));
        let mut headers = vec![("x-keap-tenant-id", TENANT.to_owned())];
        if let Some(limit) = knobs.per_day {
            let end_ms = now_ms - now_ms.rem_euclid(DAY_MS) + DAY_MS;
            headers.extend([
                ("x-keap-product-quota-limit", limit.to_string()),
                ("x-keap-product-quota-time-unit", "day".to_owned()),
                ("x-keap-product-quota-interval", "1".to_owned()),
                ("x-keap-product-quota-available", limit.saturating_sub(day).to_string()),
                ("x-keap-product-quota-used", day.to_string()),
                ("x-keap-product-quota-expiry-time", end_ms.to_string()),
            ]);
        }
        if let Some(limit) = knobs.per_minute {
            headers.extend([
                ("x-keap-product-throttle-limit", limit.to_string()),
                ("x-keap-product-throttle-time-unit", "minute".to_owned()),
                ("x-keap-product-throttle-interval", "1".to_owned()),
                ("x-keap-product-throttle-available", limit.saturating_sub(minute).to_string()),
                ("x-keap-product-throttle-used", minute.to_string()),
            ]);
        }
        if knobs.per_second.is_some() {
            headers.push(("x-keap-product-spike-limit", String::new()));
        }
        if knobs.tenant_headers {
            let pair = |minute: u32, day: u32| format!("{minute}|{day}");
            let (per_minute, per_day) = (knobs.tenant_per_minute, knobs.tenant_per_day);
            headers.extend(tenant(
                pair(per_minute, per_day),
                pair(per_minute.saturating_sub(minute), per_day.saturating_sub(day)),
                pair(minute, day),
            ));
        }
        headers
    }
}

fn tenant(limit: String, available: String, used: String) -> [(&'static str, String); 5] {
    [
        ("x-keap-tenant-throttle-limit", limit),
        ("x-keap-tenant-throttle-time-unit", "minute|day".to_owned()),
        ("x-keap-tenant-throttle-interval", "1|1".to_owned()),
        ("x-keap-tenant-throttle-available", available),
        ("x-keap-tenant-throttle-used", used),
    ]
}

/// The headers for a caller without a valid key. The tenant is unknown, so all numbers are empty.
pub(super) fn headers_without_key(knobs: &KeapKnobs) -> Vec<(&'static str, String)> {
    let empty = || "|".to_owned();
    if knobs.tenant_headers { tenant(empty(), empty(), empty()).into() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(
        knobs: &KeapKnobs,
        limits: &mut Limits,
        times: impl IntoIterator<Item = i64>,
    ) -> usize {
        times.into_iter().filter(|at| limits.take(knobs, *at).is_ok()).count()
    }

    #[test]
    fn a_fixed_second_lets_a_double_burst_through_and_a_sliding_one_does_not() {
        let mut knobs = KeapKnobs { per_second: Some(10), ..KeapKnobs::default() };
        let burst = (0..20).map(|at| 60_000 + 990 + at);
        assert_eq!(taken(&knobs, &mut Limits::default(), burst.clone()), 20);
        knobs.limit_windows = LimitWindows::Sliding;
        assert_eq!(taken(&knobs, &mut Limits::default(), burst), 10);
    }

    #[test]
    fn calls_of_other_programs_use_up_the_minute() {
        let knobs = KeapKnobs {
            per_minute: Some(240),
            foreign_calls_per_minute: 480,
            ..KeapKnobs::default()
        };
        let mut limits = Limits::default();
        assert_eq!(limits.take(&knobs, 10_000), Ok(()));
        assert_eq!(limits.take(&knobs, 50_000), Err(Refused::Quota));
    }
}
