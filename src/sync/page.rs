//! A page: a bounded batch of contacts from one feed.

use std::collections::HashMap;

use uuid::Uuid;

use super::claims::OpenPage;
use super::context::{Calls, Opened};
use crate::contact::{Contact, KeapId};
use crate::feed::{Cursor, Feed, Lane};
use crate::keap::Row;
use crate::store::PlanRow;

/// A bounded batch of contacts from one feed, read from Keap.
pub(super) struct Page {
    pub feed: Feed,
    pub lane: Lane,
    pub open: OpenPage,
    /// Calls made before the page was read.
    pub calls: Calls,
    pub contacts: Vec<Contact>,
    /// Contacts that Keap could not show, each with the reason.
    pub unreadable: Vec<(KeapId, String)>,
    /// Contacts that Keap does not have.
    pub missing: Vec<KeapId>,
    /// Linked contacts that Keap no longer has: confirmed, and within the brake.
    pub gone: Vec<KeapId>,
    /// The version of each due row that the page was made for.
    pub versions: HashMap<KeapId, i64>,
    pub run_id: Option<Uuid>,
    /// The feed's cursor once every contact of this page is recorded.
    pub cursor: Option<Cursor>,
    /// A person has approved what is to be done to them.
    pub approved: Option<Approved>,
}

/// Contacts of an approved plan, and what it says of each.
pub(super) struct Approved {
    pub plan: Uuid,
    pub rows: HashMap<KeapId, PlanRow>,
}

impl Page {
    /// An empty page of a feed.
    pub(super) fn of(feed: Feed, opened: Opened) -> Self {
        Self {
            feed,
            lane: feed.lane(),
            open: opened.open,
            calls: opened.calls,
            contacts: Vec::new(),
            unreadable: Vec::new(),
            missing: Vec::new(),
            gone: Vec::new(),
            versions: HashMap::new(),
            run_id: None,
            cursor: None,
            approved: None,
        }
    }

    /// The same page with these rows.
    pub(super) fn with(self, rows: Rows) -> Self {
        Self { contacts: rows.contacts, unreadable: rows.unreadable, ..self }
    }
}

/// The rows of a page, sorted into what can be decided and what cannot.
#[derive(Default)]
pub(super) struct Rows {
    pub contacts: Vec<Contact>,
    pub unreadable: Vec<(KeapId, String)>,
}

impl Rows {
    /// Sorts rows. A row without an id cannot be retried, so it is logged for a person.
    pub(super) fn sort(rows: Vec<Row>) -> Self {
        let mut sorted = Self::default();
        for row in rows {
            match row {
                Row::Contact(contact) => sorted.contacts.push(contact),
                Row::Unreadable { id: Some(id), why, .. } => sorted.unreadable.push((id, why)),
                Row::Unreadable { id: None, why, .. } => {
                    tracing::error!(
                        why,
                        "Keap listed a contact without a usable id; it cannot be synced."
                    );
                }
            }
        }
        // A remote that lists a contact twice must not have it written twice.
        sorted.contacts.sort_by_key(|contact| contact.id);
        sorted.contacts.dedup_by_key(|contact| contact.id);
        sorted
    }

    /// Whether the contact is among the rows.
    pub(super) fn holds(&self, id: KeapId) -> bool {
        self.contacts.iter().any(|contact| contact.id == id)
            || self.unreadable.iter().any(|(unreadable, _)| *unreadable == id)
    }

    /// Adds the rows of another call.
    pub(super) fn extend(&mut self, more: Self) {
        self.contacts.extend(more.contacts);
        self.unreadable.extend(more.unreadable);
    }
}
