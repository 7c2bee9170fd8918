//! A run in words.

use super::words::{count, number, stamp};
use crate::feed::Feed;
use crate::store::Run;

/// The counters of a run by name, those of outcomes only.
pub fn outcomes_of(run: &Run) -> [(&'static str, i64); 13] {
    let counts = &run.counts;
    [
        ("created", counts.created),
        ("linked", counts.linked),
        ("updated", counts.updated),
        ("restored", counts.restored),
        ("unchanged", counts.unchanged),
        ("skipped", counts.skipped),
        ("held", counts.held),
        ("failed", counts.failed),
        ("archived", counts.archived),
        ("unlinked", counts.unlinked),
        ("late", counts.late),
        ("edited on both sides", counts.conflicts),
        ("created in Keap", counts.created_in_keap),
    ]
}

/// The counters that are not zero, the calls, and why it failed.
pub fn came_of(run: &Run) -> String {
    let counts = &run.counts;
    let named = outcomes_of(run);
    let named = named.iter().filter(|(_, value)| *value > 0);
    let named: Vec<_> = named.map(|(name, value)| format!("{} {name}", number(*value))).collect();
    let seen = count(counts.seen, "contact");
    let looked_at = if named.is_empty() { seen } else { format!("{seen}: {}", named.join(", ")) };
    let mut parts = vec![looked_at];
    if counts.keap_calls + counts.intercom_calls > 0 {
        parts.push(format!(
            "calls: Keap {}, Intercom {}",
            number(counts.keap_calls),
            number(counts.intercom_calls)
        ));
    }
    parts.extend(run.failure.as_ref().map(ToString::to_string));
    parts.join("; ")
}

/// Which contacts the run looks at.
pub fn scope_of(run: &Run) -> String {
    let since = run.since.map(|since| format!("what has changed since {} UTC", stamp(since)));
    match (Feed::parse(&run.feed), since) {
        (_, Some(since)) => since,
        (Some(Feed::Changed), None) => "what has changed since the stored cursor".to_owned(),
        (Some(Feed::Plan), None) => "the contacts of an approved plan".to_owned(),
        (_, None) => "every contact in Keap".to_owned(),
    }
}
