//! How far a walk is, and when it will have ended.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::words::{count, number, span};
use crate::feed::Feed;
use crate::store::{LinkCount, Run};

/// A forecast needs this much of the walk, in contacts.
const ENOUGH: i64 = 100;

/// How far a walk is.
pub struct Progress {
    /// What the walk does.
    pub what: &'static str,
    pub text: String,
    /// 0 to 100, where it is known how many contacts there are.
    pub percent: Option<i64>,
}

impl Progress {
    /// `linked`: the contacts that are linked, which is about as many as a walk over all of them
    /// meets.
    pub fn of(run: &Run, linked: LinkCount, now: DateTime<Utc>) -> Self {
        let seen = run.counts.seen;
        let is_whole = run.since.is_none()
            && matches!(Feed::parse(&run.feed), Some(Feed::Backfill | Feed::Sweep | Feed::Audit));
        let total = Some(linked.links).filter(|total| is_whole && *total > 0);
        let what = match Feed::parse(&run.feed) {
            Some(Feed::Backfill) if run.since.is_some() => {
                "Walk over what has changed since a time"
            }
            Some(Feed::Backfill) => "Walk over all contacts",
            Some(Feed::Sweep) => "Search for deleted contacts",
            Some(Feed::Audit) => "Comparison of both sides",
            Some(Feed::Changed) => "Poll of Keap",
            Some(Feed::Plan) => "Approved plan",
            Some(Feed::Due) | None => "Walk",
        };
        let Some(total) = total else {
            return Self {
                what,
                text: format!("{} so far", count(seen, "contact")),
                percent: None,
            };
        };
        // More contacts may have come than were known.
        let percent = (seen.saturating_mul(100) / total.max(seen).max(1)).clamp(0, 100);
        let left = (now - run.created_at).to_std().ok().and_then(|took| left(seen, total, took));
        let left = left.map(|left| format!("; about {} left", span(left))).unwrap_or_default();
        let text = format!("{} of about {} contacts{left}", number(seen), number(total));
        Self { what, text, percent: Some(percent) }
    }
}

/// The time that is left, if the walk goes on as it went so far.
#[expect(clippy::cast_precision_loss, reason = "a forecast")]
fn left(seen: i64, total: i64, took: Duration) -> Option<Duration> {
    if seen < ENOUGH {
        return None;
    }
    let share = total.saturating_sub(seen).max(0) as f64 / seen as f64;
    Duration::try_from_secs_f64(took.as_secs_f64() * share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_as_it_went() {
        let minute = Duration::from_secs(60);
        assert_eq!(left(1000, 4000, minute), Some(3 * minute));
        assert_eq!(left(5000, 4000, minute), Some(Duration::ZERO));
        assert_eq!(left(3, 4000, minute), None, "too little to foretell anything");
    }
}
