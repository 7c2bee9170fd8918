//! Feeds: the sources of contacts to look at. Each hands out one page at a time.

pub mod backfill;
pub mod changed;
pub mod due;
mod poison;
pub mod sweep;
pub mod walk;

use crate::contact::{Contact, KeapId};
use crate::keap::Row;
use crate::sync::outcome::Halt;

/// So many contacts of one page that cannot be read are no accident: Keap's form has changed, and a person must look.
const UNREADABLE_PERCENT: usize = 5;
/// Fewer than this are taken one by one, whatever their share.
const UNREADABLE_AT_LEAST: usize = 10;

/// The rows of a page, sorted into what can be decided and what cannot.
#[derive(Default)]
pub struct Rows {
    pub contacts: Vec<Contact>,
    pub unreadable: Vec<(KeapId, String)>,
}

impl Rows {
    /// A row without an id cannot be come back to; it is told, because only a person can find it.
    pub fn sort(rows: Vec<Row>) -> Self {
        let mut sorted = Self::default();
        for row in rows {
            match row {
                Row::Contact(contact) => sorted.contacts.push(contact),
                Row::Unreadable {
                    id: Some(id), why, ..
                } => sorted.unreadable.push((id, why)),
                Row::Unreadable { id: None, why, .. } => tracing::error!(
                    why,
                    "Keap listed a contact without a usable id; it cannot be synced."
                ),
            }
        }
        // A remote that lists a contact twice must not have it written twice.
        sorted.contacts.sort_by_key(|contact| contact.id);
        sorted.contacts.dedup_by_key(|contact| contact.id);
        sorted
    }

    /// Sorts a page of a walk. Stops the walk before it passes over a whole account that it cannot read.
    pub fn of_walk(rows: Vec<Row>) -> Result<Self, Halt> {
        let total = rows.len();
        let unreadable = rows
            .iter()
            .filter(|row| matches!(row, Row::Unreadable { .. }))
            .count();
        if unreadable >= UNREADABLE_AT_LEAST && unreadable * 100 > total * UNREADABLE_PERCENT {
            return Err(Halt::Feed(format!(
                "{unreadable} of {total} contacts on a page of Keap's are in a form that is not understood; the cursor stays where it is until this program is updated"
            )));
        }
        if total > 0 && rows.iter().all(|row| row.id().is_none()) {
            return Err(Halt::Feed(
                "Keap lists contacts without usable ids; the cursor stays where it is".into(),
            ));
        }
        Ok(Self::sort(rows))
    }

    pub fn holds(&self, id: KeapId) -> bool {
        self.contacts.iter().any(|contact| contact.id == id)
            || self
                .unreadable
                .iter()
                .any(|(unreadable, _)| *unreadable == id)
    }

    pub fn extend(&mut self, more: Self) {
        self.contacts.extend(more.contacts);
        self.unreadable.extend(more.unreadable);
    }
}
