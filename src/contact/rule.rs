//! What digests, merges and writes need to know of the rule of one field.

use super::FieldName;

/// Which side decides the value of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    #[default]
    Keap,
    Intercom,
    /// The side that was edited last.
    Newest,
    /// Neither: each side only fills what is empty on the other one.
    Fill,
    /// Either: the side that has a value brings it to the other one, and an empty value never
    /// travels. Only an opt-out has this owner.
    Either,
    /// Neither: the field is never written.
    Never,
}

/// What an empty value of the owner means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnEmpty {
    /// It travels once the owner has shown a value. A first match never wipes.
    #[default]
    AfterFirst,
    /// It travels like any other value.
    Always,
    /// It never travels.
    Never,
}

/// The rule of one field, without its places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldRule {
    pub name: FieldName,
    pub owner: Owner,
    pub clears: OnEmpty,
    /// A call of its own writes it.
    pub is_relation: bool,
    /// Intercom shows it as well, and is asked for it.
    pub is_read_in_intercom: bool,
    /// It is the linked company.
    pub is_company: bool,
    /// It travels for a contact out of scope, too.
    pub travels_always: bool,
    /// Keap's value may be written to Intercom.
    pub to_intercom: bool,
    /// Intercom's value may be written to Keap: the direction is on, and Keap takes the field.
    pub to_keap: bool,
    /// A person can delete its place in Keap. Then every contact shows it empty.
    pub may_vanish: bool,
}

impl FieldRule {
    /// A field that Keap owns, and whose clearing travels once it had a value.
    pub fn plain(name: FieldName) -> Self {
        Self {
            name,
            owner: Owner::Keap,
            clears: OnEmpty::AfterFirst,
            is_relation: false,
            is_read_in_intercom: false,
            is_company: false,
            travels_always: false,
            to_intercom: true,
            to_keap: false,
            may_vanish: false,
        }
    }

    /// Whether Intercom is read before its value is replaced, because it may count more.
    pub fn looks_first(&self) -> bool {
        !matches!(self.owner, Owner::Keap | Owner::Never)
    }

    /// Whether it is a tag that both sides show.
    pub fn is_tag_of_both(&self) -> bool {
        self.is_relation && self.is_read_in_intercom
    }

    /// Whether an empty value never travels.
    pub fn never_clears(&self) -> bool {
        self.clears == OnEmpty::Never || matches!(self.owner, Owner::Fill | Owner::Either)
    }
}
