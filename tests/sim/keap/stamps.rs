//! Keap's times: hidden milliseconds, shown as rounded seconds, read from filters.

use chrono::{DateTime, Utc};

use super::knobs::{KeapKnobs, Rounding};

/// The shown second of a stamp, in milliseconds.
pub fn shown_ms(stamp_ms: i64, rounding: Rounding) -> i64 {
    let seconds = match rounding {
        Rounding::HalfUp => (stamp_ms + 500).div_euclid(1000),
        Rounding::Floor => stamp_ms.div_euclid(1000),
        Rounding::Ceil => (stamp_ms + 999).div_euclid(1000),
    };
    seconds * 1000
}

/// What time bounds are compared with.
pub fn compared_ms(stamp_ms: i64, knobs: &KeapKnobs) -> i64 {
    if knobs.compare_millis {
        stamp_ms
    } else {
        shown_ms(stamp_ms, knobs.rounding)
    }
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// `2026-08-19T16:20:31Z`
pub fn v2(stamp_ms: i64, rounding: Rounding) -> String {
    at(shown_ms(stamp_ms, rounding))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// `2026-08-19T16:20:31.000+0000`
pub fn v1(stamp_ms: i64, rounding: Rounding) -> String {
    at(shown_ms(stamp_ms, rounding))
        .format("%Y-%m-%dT%H:%M:%S%.3f+0000")
        .to_string()
}

/// A filter's time value; a date alone, or a time without zone, is none.
pub fn parse(text: &str, knobs: &KeapKnobs) -> Option<i64> {
    if knobs.times_need_millis && !text.contains('.') {
        return None;
    }
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.timestamp_millis())
}
