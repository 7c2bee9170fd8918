//! The fields of one contact as both products show them now. They are shown to the person who asks,
//! and never stored or logged: these types have no debug print.

use chrono::{DateTime, Utc};

/// Both sides of a contact.
pub struct SideBySide {
    pub keap: SideShown,
    pub intercom: SideShown,
    /// In the order of their names.
    pub fields: Vec<ComparedField>,
}

/// How one side has answered.
pub enum SideShown {
    /// It shows the contact, which last changed there at this time, as far as it says.
    Contact(Option<DateTime<Utc>>),
    /// A sentence that says why it shows nobody.
    Nobody(String),
}

/// One field on both sides.
pub struct ComparedField {
    pub name: String,
    /// The value; an empty text is an empty field. `None`: the side does not show the field.
    pub keap: Option<String>,
    pub intercom: Option<String>,
    /// Whether both are the same, where both show the field.
    pub is_same: Option<bool>,
}
