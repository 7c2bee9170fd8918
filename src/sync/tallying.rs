//! What the charts count of an outcome.

use chrono::{DateTime, Utc};

use super::plan::Planned;
use super::result::Outcome;
use crate::feed::{DueReason, Feed};
use crate::outcome::{Action, HoldReason, Reason};
use crate::store::{Counted, IntentSide, LogRow, Recorded, Tally};

/// What has become of the fields of a contact, and how long its change took.
pub(super) fn of_outcome(
    planned: &Planned,
    feed: Feed,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> Tally {
    let Outcome::Synced { action, fields, both, .. } = outcome else {
        return Tally::default();
    };
    let mut tally = fields.clone();
    if !is_news(planned, feed) {
        return tally;
    }
    let wrote_keap = both.as_ref().is_some_and(|both| both.keap.is_some());
    let wrote_intercom = both.as_ref().is_none_or(|both| both.wrote_intercom);
    let is_brought = matches!(action, Action::Created | Action::Linked | Action::Updated);
    // A side that was written twice shows the stamp of our own write.
    let reached = match (wrote_keap, wrote_intercom) {
        (false, true) if is_brought => (IntentSide::Intercom, planned.contact.updated_at),
        (true, false) => {
            (IntentSide::Keap, both.as_ref().and_then(|both| both.intercom_updated_at))
        }
        _ => return tally,
    };
    if let (side, Some(changed_at)) = reached {
        // The two clocks may differ a little.
        tally.fresh(side, (now - changed_at).to_std().unwrap_or_default());
    }
    tally
}

/// Whether the contact is written because somebody has just changed it. What a person asks for,
/// what waited for a person and what a walk over all contacts finds may be old.
fn is_news(planned: &Planned, feed: Feed) -> bool {
    let is_asked_for =
        planned.waiting.as_ref().is_some_and(|waiting| waiting.reason == DueReason::Manual);
    matches!(feed, Feed::Changed | Feed::Due) && !is_asked_for && planned.hold.is_none()
}

/// What its rows in the log say. An outcome without a row is no news.
pub(super) fn of_log(recorded: &Recorded) -> Tally {
    let mut tally = Tally::default();
    for log in recorded.log.iter().chain(&recorded.log_to_keap) {
        let counted = match log.action {
            Action::Created
            | Action::Linked
            | Action::Updated
            | Action::Restored
            | Action::Archived => Counted::Written,
            Action::Held => Counted::Held,
            Action::Failed => Counted::Failed,
            Action::Unchanged | Action::Unlinked | Action::Skipped => continue,
        };
        tally.one(side_of(log), counted);
    }
    tally
}

fn side_of(log: &LogRow) -> IntentSide {
    let waits_for_keap = matches!(
        log.reason,
        Some(Reason::Hold(HoldReason::EmailInKeap(_) | HoldReason::PingPong { in_keap: true }))
    );
    if log.to_keap || waits_for_keap { IntentSide::Keap } else { IntentSide::Intercom }
}
