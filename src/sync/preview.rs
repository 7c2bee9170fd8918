//! What a dry run looks at, and what it says of a contact.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::contact::{FieldName, IntercomId, KeapId};
use crate::outcome::Action;

/// What to look at.
#[derive(Debug, Clone)]
pub enum Scope {
    Ids(Vec<KeapId>),
    /// What the next polls would find.
    Changed,
    All,
    /// What differs in Intercom from what was settled.
    Audit,
    Since(DateTime<Utc>),
}

/// What would be done for one contact.
pub struct Preview {
    pub keap_contact_id: i64,
    pub action: Action,
    pub intercom: Option<IntercomId>,
    pub reason: Option<String>,
    /// Each field that would be written, with its value; `None` clears it. The operator may see
    /// them; a log must not.
    pub fields: Vec<(String, Option<String>)>,
    /// The fields that really differ from what was written before; all of them for a contact that
    /// is new in Intercom.
    pub differs: Vec<FieldName>,
    /// What Intercom shows of these fields now, as far as it was asked; `None` is an empty field.
    pub before: BTreeMap<String, Option<String>>,
    /// Each field that would be written to Keap.
    pub to_keap: Vec<ToKeap>,
    /// Fields that were edited on both sides.
    pub conflicts: Vec<FieldName>,
    /// Fields whose winning value the other side cannot take. Both sides keep their own.
    pub held: Vec<FieldName>,
}

/// A field that would get Intercom's value in Keap.
pub struct ToKeap {
    pub field: FieldName,
    /// `None` clears it.
    pub value: Option<String>,
    /// What Keap shows now.
    pub before: Option<String>,
}

impl Preview {
    pub(super) fn of(id: KeapId, action: Action, reason: Option<String>) -> Self {
        Self {
            keap_contact_id: id.get(),
            action,
            intercom: None,
            reason,
            fields: Vec::new(),
            differs: Vec::new(),
            before: BTreeMap::new(),
            to_keap: Vec::new(),
            conflicts: Vec::new(),
            held: Vec::new(),
        }
    }
}
