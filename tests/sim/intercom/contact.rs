//! A contact as Intercom knows it: compact inside, plain for tests.

use serde_json::{Map, Value};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    User,
    Lead,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Lead => "lead",
        }
    }
}

/// A contact's place in the store; its public id is made from it.
pub type Slot = u32;

/// 24 hex characters; the last eight are the slot, so that no table is needed to find it again.
const ID_START: &str = "6762f0dd1bb69f9f";

pub fn id_of(slot: Slot) -> String {
    format!("{ID_START}{slot:08x}")
}

pub fn slot_of(id: &str) -> Option<Slot> {
    let digits = id.strip_prefix(ID_START)?;
    if digits.len() == 8 {
        Slot::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// All that can be read, searched or changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub role: Role,
    pub external_id: Option<Box<str>>,
    /// `""` once it was cleared.
    pub email: Option<Box<str>>,
    pub phone: Option<Box<str>>,
    pub name: Option<Box<str>>,
    /// Unix seconds.
    pub created_at: i64,
    pub updated_at: i64,
    /// What few contacts have.
    pub extras: Option<Box<Extras>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    pub custom_attributes: Map<String, Value>,
    pub owner_id: Option<String>,
    pub signed_up_at: Option<i64>,
    pub last_seen_at: Option<i64>,
    pub unsubscribed_from_emails: bool,
    pub email_verified: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    Archived,
    /// Destroyed when the grace is over; till then it holds its identifiers.
    Deleted {
        at_ms: i64,
    },
    Merged {
        into: Slot,
    },
    Blocked,
}

/// What a test puts into Intercom's memory.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub custom_attributes: Map<String, Value>,
    /// Search does not know it yet. Else it is taken to have been there for long.
    pub fresh: bool,
}

impl Seed {
    pub fn with_email(email: &str) -> Seed {
        Seed {
            email: Some(email.to_owned()),
            ..Seed::default()
        }
    }

    pub fn external_id(mut self, external_id: impl Into<String>) -> Seed {
        self.external_id = Some(external_id.into());
        self
    }

    pub fn name(mut self, name: &str) -> Seed {
        self.name = Some(name.to_owned());
        self
    }

    pub fn phone(mut self, phone: &str) -> Seed {
        self.phone = Some(phone.to_owned());
        self
    }
}

/// What a test reads from Intercom's memory, and edits.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredContact {
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
}

impl StoredContact {
    pub fn new(slot: Slot, standing: Standing, facts: &Facts) -> StoredContact {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
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
            custom_attributes: facts
                .extras
                .as_ref()
                .map(|extras| extras.custom_attributes.clone())
                .unwrap_or_default(),
        }
    }

    pub fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Carries a test's edits over; ids, role and times are not for editing.
    pub fn store_into(self, facts: &mut Facts) {
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        facts.external_id = boxed(self.external_id);
        facts.email = boxed(self.email);
        facts.name = boxed(self.name);
        facts.phone = boxed(self.phone);
        if facts.extras.is_some() || !self.custom_attributes.is_empty() {
            facts.extras.get_or_insert_default().custom_attributes = self.custom_attributes;
        }
    }
}
