//! What the Intercom client is asked for and what it returns.

use crate::contact::{Candidate, Email, FieldName, IntercomId, KeapId};

/// A contact to find by its e-mail or its Keap id.
#[derive(Clone)]
pub struct Wanted {
    pub keap: KeapId,
    pub email: Email,
}

/// The result of a write.
#[derive(Debug)]
pub enum Written {
    Done(Done),
    Conflict(Conflict),
    /// Merged into this one.
    Merged(IntercomId),
    Missing,
    Refused(Refused),
}

/// Intercom does not take the contact as it is, however often it is sent.
#[derive(Debug)]
pub struct Refused {
    /// Ids, statuses and codes only.
    pub why: String,
    /// The field that is the reason, as far as Intercom names it.
    pub field: Option<FieldName>,
    /// The attribute of this field does not exist, or cannot be written: no contact can have it.
    pub is_gone: bool,
}

#[derive(Debug)]
pub struct Done {
    pub id: IntercomId,
    pub request_id: Option<String>,
    /// What Intercom shows after the write, where that is remembered.
    pub shows: Option<Box<Candidate>>,
}

/// Another contact has this e-mail or this external id.
#[derive(Debug)]
pub struct Conflict {
    pub id: Option<IntercomId>,
    pub archived: bool,
}

/// The result of tagging a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tagged {
    Done,
    /// The contact, or the tag, is not there.
    Missing,
    /// Intercom does not take it, however often it is sent.
    Refused(String),
}

/// The result of a read.
#[derive(Debug)]
pub enum Found {
    Contact(Candidate),
    Merged(IntercomId),
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unarchived {
    Live,
    /// Merged away, blocked, or marked for deletion.
    NotRestorable,
    Missing,
}

/// A page of all users.
pub struct UsersPage {
    pub users: Vec<Candidate>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A contact that a notification is about.
#[derive(Debug)]
pub enum Hinted {
    User(Box<Candidate>),
    /// Archived, deleted or merged: nothing else is shown.
    Gone(IntercomId),
}

impl Hinted {
    pub fn id(&self) -> &IntercomId {
        match self {
            Self::User(user) => &user.id,
            Self::Gone(id) => id,
        }
    }
}

/// The order of a list of all users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserOrder {
    /// By the last change, the newest first.
    NewestFirst,
    /// By their creation, the oldest first. This order does not move.
    AsCreated,
}

/// The workspace of the token.
#[derive(Debug)]
pub struct Workspace {
    pub id_code: Option<String>,
    pub region: Option<String>,
}
