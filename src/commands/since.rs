//! Reads the times that people type: a date, a time, or how long ago.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

/// What is understood, for the text of an error.
const FORMS: &str = "expected a date (2026-01-31, today, yesterday), a time (2026-01-31T09:30, in UTC unless \
     a zone such as Z or +01:00 follows), or how long ago (90min, 2h, 3d, 1w)";

/// Forms of a time without a zone. It is in UTC, as all times that this program shows.
const LOCAL_FORMS: [&str; 4] =
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

/// Forms of a time with a zone. RFC 3339 is read first.
const ZONED_FORMS: [&str; 2] = ["%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"];

/// Reads a time that lies in the past. The error names the forms that are understood.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    at(text, Utc::now())
}

fn at(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    let time = read(text, now).ok_or(FORMS)?;
    if time > now {
        return Err(format!("it lies in the future, so nothing has changed since; {FORMS}"));
    }
    Ok(time)
}

fn read(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    match text {
        "now" => return Some(now),
        "today" => return Some(midnight(now.date_naive())),
        "yesterday" => return Some(midnight(now.date_naive().checked_sub_days(Days::new(1))?)),
        _ => {}
    }
    if let Some(ago) = duration(text) {
        return now.checked_sub_signed(ago);
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(midnight(date));
    }
    // RFC 3339 allows a blank between date and time, and small letters.
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let zoned = text.strip_suffix(['Z', 'z']).map(|text| format!("{text}+00:00"));
    let zoned = zoned.as_deref().unwrap_or(text);
    let with_zone = ZONED_FORMS.iter().find_map(|form| DateTime::parse_from_str(zoned, form).ok());
    if let Some(time) = with_zone {
        return Some(time.to_utc());
    }
    let without =
        LOCAL_FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(without.and_utc())
}

/// How long ago: a whole number and a unit.
fn duration(text: &str) -> Option<TimeDelta> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: i64 = number.parse().ok()?;
    let unit = unit.trim().strip_suffix("ago").unwrap_or(unit).trim();
    match unit {
        "s" | "sec" => TimeDelta::try_seconds(number),
        "m" | "min" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        "w" => TimeDelta::try_weeks(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:30:15Z".parse().unwrap()
    }

    #[test]
    fn every_form_that_people_type_is_read() {
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("today", "2026-03-01T00:00:00Z"),
            ("yesterday", "2026-02-28T00:00:00Z"),
            ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
            ("2026-01-31T09:30:00.250Z", "2026-01-31T09:30:00.250Z"),
            ("2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00Z"),
            ("2026-01-31T09:30+02:00", "2026-01-31T07:30:00Z"),
            ("2026-01-31 09:30Z", "2026-01-31T09:30:00Z"),
            ("2026-01-31T09:30", "2026-01-31T09:30:00Z"),
            ("2026-01-31 09:30:05", "2026-01-31T09:30:05Z"),
            ("90min", "2026-03-01T11:00:15Z"),
            ("2h", "2026-03-01T10:30:15Z"),
            ("3d", "2026-02-26T12:30:15Z"),
            (" 1w ", "2026-02-22T12:30:15Z"),
            ("3 d ago", "2026-02-26T12:30:15Z"),
            ("now", "2026-03-01T12:30:15Z"),
        ] {
            assert_eq!(at(text, now()), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_answered_with_the_forms() {
        for text in
            ["", "last week", "2026-13-01", "31.01.2026", "3x", "-2h", "2.5h", "99999999999999999d"]
        {
            let why = at(text, now()).unwrap_err();
            assert!(why.contains("2026-01-31") && why.contains("3d"), "{text}: {why}");
        }
        assert!(at("2026-03-02", now()).unwrap_err().contains("future"));
    }
}
