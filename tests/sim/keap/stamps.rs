//! Keap's times. Stamps have hidden milliseconds and are shown as rounded seconds
//! (`docs/api/keap.md`, "Times").

use chrono::{DateTime, FixedOffset, Offset, Utc};

use super::knobs::{KeapKnobs, Rounding, StampForm};

/// The shown second of a stamp, in milliseconds.
pub(super) fn shown_ms(stamp_ms: i64, rounding: Rounding) -> i64 {
    let seconds = match rounding {
        Rounding::HalfUp => (stamp_ms + 500).div_euclid(1000),
        Rounding::Floor => stamp_ms.div_euclid(1000),
        Rounding::Ceil => (stamp_ms + 999).div_euclid(1000),
    };
    seconds * 1000
}

/// The value that time bounds are compared with.
pub(super) fn compared_ms(stamp_ms: i64, knobs: &KeapKnobs) -> i64 {
    if knobs.compare_millis { stamp_ms } else { shown_ms(stamp_ms, knobs.rounding) }
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// `2026-08-19T16:20:31Z`
pub(super) fn v2(stamp_ms: i64, rounding: Rounding) -> String {
    at(shown_ms(stamp_ms, rounding)).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The `update_time` of a v2 contact as JSON.
pub(super) fn update_time(stamp_ms: i64, knobs: &KeapKnobs) -> String {
    let ms = shown_ms(stamp_ms, knobs.rounding);
    let arizona = FixedOffset::west_opt(7 * 3600).unwrap_or_else(|| Utc.fix());
    match knobs.stamp_form {
        StampForm::Utc => format!("\"{}\"", v2(stamp_ms, knobs.rounding)),
        StampForm::Offset => {
            format!("\"{}\"", at(ms).with_timezone(&arizona).format("%Y-%m-%dT%H:%M:%S%:z"))
        }
        StampForm::NoColon => format!("\"{}\"", v1(stamp_ms, knobs.rounding)),
        StampForm::NoZone => format!("\"{}\"", at(ms).format("%Y-%m-%dT%H:%M:%S")),
        StampForm::Seconds => (ms / 1000).to_string(),
        StampForm::Millis => ms.to_string(),
        StampForm::MillisText => format!("\"{ms}\""),
        StampForm::Object => format!("{{\"at\":{ms}}}"),
    }
}

/// `2026-08-19T16:20:31.000+0000`
pub(super) fn v1(stamp_ms: i64, rounding: Rounding) -> String {
    at(shown_ms(stamp_ms, rounding)).format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// The time value of a filter. `None` for a date without a time or a time without a zone.
pub(super) fn parse(text: &str, knobs: &KeapKnobs) -> Option<i64> {
    if knobs.times_need_millis && !text.contains('.') {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}
