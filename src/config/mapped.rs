//! What the lists of tables in a settings file say: the operator's mapping.

use super::declare::choice;
use super::kinds::Named;

/// One `[[field]]`: a field of the operator's mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTable {
    /// Which table it is and in which file, for error texts.
    pub origin: String,
    pub name: Option<String>,
    pub keap: String,
    pub intercom: String,
    pub owner: FieldOwner,
    pub clears: FieldClears,
    pub too_long: FieldTooLong,
    pub create_attribute: bool,
}

choice! {
    /// Which side decides a field.
    FieldOwner {
        Keap = "keap",
        Intercom = "intercom",
        /// The side that was edited last.
        Newest = "newest",
        /// Each side fills what is empty on the other one.
        Fill = "fill",
        /// It is never written.
        Never = "never",
    }
}

choice! {
    /// What an empty value of the owner means.
    FieldClears {
        /// It travels once the owner has shown a value.
        AfterFirst = "after_first",
        Always = "always",
        Never = "never",
    }
}

choice! {
    /// What happens to a text that its target does not take whole.
    FieldTooLong {
        /// The field is not written.
        Hold = "hold",
        Cut = "cut",
    }
}

/// One `[[tag]]`: a tag in Keap is a tag in Intercom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTable {
    /// Which table it is and in which file, for error texts.
    pub origin: String,
    /// The name or id of the tag.
    pub keap: String,
    /// The name of the tag.
    pub intercom: String,
    pub owner: FieldOwner,
}
