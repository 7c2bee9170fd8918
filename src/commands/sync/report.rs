//! What `sync` prints at the end: the contacts, and the counts.

use serde_json::json;

use crate::commands::look::{count, number};
use crate::contact::KeapId;
use crate::feed::Counts;
use crate::outcome::Action;
use crate::report::plan_changed;

/// What came of a contact.
pub(super) struct ContactOutcome {
    pub id: KeapId,
    /// `None` while it is queued.
    pub action: Option<Action>,
    pub intercom: Option<String>,
    pub why: Option<String>,
}

impl ContactOutcome {
    fn word(&self) -> &'static str {
        self.action.map_or("queued", Action::code)
    }
}

/// The end of a `sync`.
pub(super) struct Summary<'a> {
    /// Print one JSON document.
    pub json: bool,
    pub counts: Counts,
    /// The contacts that the caller named, or those of a walk that are not synced.
    pub contacts: &'a [ContactOutcome],
    /// The caller named them. Text lists no others, because a walk may have thousands.
    pub are_named: bool,
    /// The counts are those of a sweep.
    pub is_sweep: bool,
    /// The calls were counted.
    pub knows_calls: bool,
    /// Contacts of an approved plan that were decided afresh.
    pub changed: i64,
    pub error: Option<&'a str>,
}

impl Summary<'_> {
    pub(super) fn print(&self) {
        if self.json {
            self.print_document();
            return;
        }
        for one in self.contacts.iter().filter(|_| self.are_named) {
            outln!(
                "{}",
                line(&one.id.to_string(), one.word(), one.intercom.as_deref(), one.why.as_deref())
            );
        }
        if let Some(error) = self.error {
            outln!("Not complete: {error}");
        }
        print_counts(&self.counts, self.is_sweep, self.knows_calls);
        if let Some(changed) = plan_changed(self.changed) {
            outln!("{changed}.");
        }
        if self.counts.held > 0 && !self.are_named {
            outln!("`keap-intercom-sync held` says why contacts are held.");
        }
    }

    fn print_document(&self) {
        let contacts: Vec<_> = self
            .contacts
            .iter()
            .map(|one| json!({ "keapContactId": one.id.get(), "action": one.word(), "intercomContactId": one.intercom, "error": one.why }))
            .collect();
        let mut summary = json!(self.counts);
        if !self.knows_calls {
            summary["keapCalls"] = json!(null);
            summary["intercomCalls"] = json!(null);
        }
        if self.changed > 0 {
            summary["changedSincePlan"] = json!(self.changed);
        }
        out!("{}\n", json!({ "summary": summary, "contacts": contacts, "error": self.error }));
    }
}

/// Prints the counts in one line. A sweep looks at ids only, so most counters mean nothing for it.
/// `knows_calls`: the calls were counted.
pub(super) fn print_counts(counts: &Counts, sweep: bool, knows_calls: bool) {
    let calls = if knows_calls {
        format!(
            "; calls: Keap {}, Intercom {}",
            number(counts.keap_calls),
            number(counts.intercom_calls)
        )
    } else {
        String::new()
    };
    if sweep {
        outln!(
            "{} looked at. Gone from Keap: {} archived, {} unlinked; found late: {}{calls}",
            count(counts.seen, "contact"),
            number(counts.archived),
            number(counts.unlinked),
            number(counts.late),
        );
        return;
    }
    outln!(
        "{}: {} created, {} linked, {} updated, {} unchanged, {} skipped, {} held, {} failed{}{calls}",
        count(counts.seen, "contact"),
        number(counts.created),
        number(counts.linked),
        number(counts.updated),
        number(counts.unchanged),
        number(counts.skipped),
        number(counts.held),
        number(counts.failed),
        of_both_sides(counts),
    );
}

/// The counts that only the second direction has, as far as they are not zero.
fn of_both_sides(counts: &Counts) -> String {
    let counted = [
        (counts.restored, "restored"),
        (counts.conflicts, "edited on both sides"),
        (counts.created_in_keap, "created in Keap"),
    ];
    let counted = counted.into_iter().filter(|(value, _)| *value > 0);
    let words = counted.map(|(value, what)| format!(", {} {what}", number(value)));
    words.collect::<Vec<_>>().concat()
}

pub(super) fn line(id: &str, action: &str, intercom: Option<&str>, why: Option<&str>) -> String {
    let intercom = intercom.map(|id| format!(" → Intercom {id}")).unwrap_or_default();
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{id}: {action}{intercom}{why}")
}
