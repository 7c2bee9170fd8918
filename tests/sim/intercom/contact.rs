//! A contact in Intercom: a compact form for the store, and a plain one for tests.

use serde_json::{Map, Value};

use super::companies::CompanyNumber;
use super::tags::TagId;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    User,
    Lead,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Lead => "lead",
        }
    }
}

/// A contact's place in the store. Its public id is made from it.
pub(crate) type Slot = u32;

/// An id has 24 hex characters. The last eight are the slot, so finding it needs no table.
const ID_START: &str = "6762f0dd1bb69f9f";

pub(crate) fn id_of(slot: Slot) -> String {
    format!("{ID_START}{slot:08x}")
}

pub(crate) fn slot_of(id: &str) -> Option<Slot> {
    let digits = id.strip_prefix(ID_START)?;
    if digits.len() == 8 { Slot::from_str_radix(digits, 16).ok() } else { None }
}

/// Everything about a contact that a call can read, search or change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub role: Role,
    pub external_id: Option<Box<str>>,
    /// `""` after it was cleared.
    pub email: Option<Box<str>>,
    pub phone: Option<Box<str>>,
    pub name: Option<Box<str>>,
    /// Unix seconds.
    pub created_at: i64,
    pub updated_at: i64,
    /// Fields that few contacts have.
    pub extras: Option<Box<Extras>>,
}

impl Facts {
    /// Stores the extras, unless there are none.
    pub(super) fn set_extras(&mut self, extras: Extras) {
        self.extras = (extras != Extras::default()).then(|| Box::new(extras));
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extras {
    pub custom_attributes: Map<String, Value>,
    pub owner_id: Option<String>,
    pub signed_up_at: Option<i64>,
    pub last_seen_at: Option<i64>,
    pub unsubscribed_from_emails: bool,
    pub email_verified: bool,
    pub language_override: Option<String>,
    /// The URL of an image.
    pub avatar: Option<String>,
    /// Each tag with the Unix second of its application, in that order.
    pub tags: Vec<(TagId, i64)>,
    pub companies: Vec<CompanyNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Archived,
    /// Destroyed when the grace period ends. Until then it holds its identifiers.
    Deleted {
        at_ms: i64,
    },
    Merged {
        into: Slot,
    },
    Blocked,
}

/// A contact that a test adds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seed {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub custom_attributes: Map<String, Value>,
    /// Whether search shows it only after the lag, as a new contact. Else search shows it at once.
    pub fresh: bool,
}

impl Seed {
    pub(crate) fn with_email(email: &str) -> Seed {
        Seed { email: Some(email.to_owned()), ..Seed::default() }
    }

    pub(crate) fn external_id(mut self, external_id: impl Into<String>) -> Seed {
        self.external_id = Some(external_id.into());
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Seed {
        self.name = Some(name.to_owned());
        self
    }

    pub(crate) fn phone(mut self, phone: &str) -> Seed {
        self.phone = Some(phone.to_owned());
        self
    }
}

/// A contact that a test reads and edits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredContact {
    pub id: String,
    pub role: Role,
    pub standing: Standing,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub custom_attributes: Map<String, Value>,
    pub owner_id: Option<String>,
    pub signed_up_at: Option<i64>,
    pub unsubscribed_from_emails: bool,
    pub language_override: Option<String>,
    pub avatar: Option<String>,
}

impl StoredContact {
    pub(crate) fn new(slot: Slot, standing: Standing, facts: &Facts) -> StoredContact {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let extras = facts.extras.as_deref().cloned().unwrap_or_default();
        StoredContact {
            id: id_of(slot),
            role: facts.role,
            standing,
            external_id: owned(&facts.external_id),
            email: owned(&facts.email),
            name: owned(&facts.name),
            phone: owned(&facts.phone),
            created_at: facts.created_at,
            updated_at: facts.updated_at,
            custom_attributes: extras.custom_attributes,
            owner_id: extras.owner_id,
            signed_up_at: extras.signed_up_at,
            unsubscribed_from_emails: extras.unsubscribed_from_emails,
            language_override: extras.language_override,
            avatar: extras.avatar,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Stores what a test edited. The id, the role and the times cannot be edited.
    pub(crate) fn store_into(self, facts: &mut Facts) {
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        facts.external_id = boxed(self.external_id);
        facts.email = boxed(self.email);
        facts.name = boxed(self.name);
        facts.phone = boxed(self.phone);
        let extras = Extras {
            custom_attributes: self.custom_attributes,
            owner_id: self.owner_id,
            signed_up_at: self.signed_up_at,
            unsubscribed_from_emails: self.unsubscribed_from_emails,
            language_override: self.language_override,
            avatar: self.avatar,
            ..facts.extras.take().map(|extras| *extras).unwrap_or_default()
        };
        facts.set_extras(extras);
    }
}
