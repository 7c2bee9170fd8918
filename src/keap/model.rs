//! What the Keap client is asked for and what it returns.

use chrono::{DateTime, Utc};

use crate::contact::{Contact, Email, KeapId};

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Start,
    /// After this id.
    After(KeapId),
    /// At the first contact; only contacts below this id.
    Below(KeapId),
    /// Only contacts below this id, the highest first.
    DownFrom(KeapId),
    /// Where Keap's own token points.
    Token(String),
}

/// Which contacts a page holds. They are ordered by id.
///
/// No query has two bounds of the id: Keap's contract does not say that two clauses on one field
/// work (`docs/api/keap.md`, "Filters and bounds").
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// Bounds of the update stamp. Whether Keap includes the bounds themselves is unknown.
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub place: Place,
    pub page_size: usize,
    pub show: Show,
}

/// What a page shows of each contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Everything,
    /// Its id and update stamp.
    Stamp,
}

/// A page of contacts.
pub struct Page {
    pub rows: Vec<Row>,
    pub next_token: Option<String>,
    /// Keap's time, cut to the second.
    pub date: Option<DateTime<Utc>>,
}

/// One contact of a list.
pub enum Row {
    Contact(Contact),
    Unreadable { id: Option<KeapId>, updated_at: Option<DateTime<Utc>>, why: String },
}

/// The newest of Keap's contacts.
#[derive(Debug)]
pub struct Newest {
    /// Their update stamps, the newest first; empty if Keap does not sort by them.
    pub stamps: Vec<DateTime<Utc>>,
    /// Keap's time, cut to the second.
    pub date: Option<DateTime<Utc>>,
    /// Whether Keap has any contact at all.
    pub any: bool,
}

/// A tag that was applied to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub contact: KeapId,
    pub at: DateTime<Utc>,
}

/// A page of the contacts with a tag.
pub struct TaggedPage {
    pub applied: Vec<Applied>,
    pub next_token: Option<String>,
    /// Keap's time, cut to the second.
    pub date: Option<DateTime<Utc>>,
}

/// The account that the key belongs to.
#[derive(Debug)]
pub struct Account {
    pub tenant: Option<String>,
}

/// The result of a write.
#[derive(Debug)]
pub enum Updated {
    /// What Keap shows now.
    Done(Box<Contact>),
    /// What was known of the contact is too old, or somebody has changed it at the same moment.
    Stale,
    /// Keap does not take one of the values, however often it is sent. Without personal data.
    Refused(String),
    /// The key may not write this contact, or any.
    Forbidden,
    /// Keap does not show the contact.
    Missing,
}

/// The result of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// This contact is there now. Keap may have had it before, if it was asked to look.
    Made(KeapId),
    /// Keap does not take it. Without personal data.
    Refused(String),
    /// The key may not write.
    Forbidden,
    /// There is no certain answer, and why.
    Unknown(String),
}

/// The result of an opt-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptedOut {
    Done,
    /// Keap takes it, and still shows the address as one that may be mailed.
    NotShown,
    /// Keap does not take it. Without personal data.
    Refused(String),
    /// The key may not write.
    Forbidden,
}

impl Row {
    pub fn id(&self) -> Option<KeapId> {
        match self {
            Self::Contact(contact) => Some(contact.id),
            Self::Unreadable { id, .. } => *id,
        }
    }

    pub fn updated_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Contact(contact) => contact.updated_at,
            Self::Unreadable { updated_at, .. } => *updated_at,
        }
    }
}

/// What came of applying or removing a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tagged {
    Done,
    /// The contact or the tag is not there.
    Missing,
    Refused(String),
    /// The key may not write.
    Forbidden,
}

/// A page of addresses that have opted out.
pub struct OptOuts {
    pub emails: Vec<Email>,
    pub next: Option<String>,
}
