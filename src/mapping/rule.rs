//! One rule of the mapping: a field, its place on each side, and who decides it.

use crate::contact::{FieldName, OnEmpty, Owner, TooLong};

/// The place of a tag begins with this, on both sides.
pub const TAG: &str = "tag:";

/// The place of the linked company, on both sides. No operator's field can name it.
pub const COMPANY: &str = "(company)";

/// The place in Intercom that says whether a contact was archived or deleted there. No operator's
/// field can name it.
pub const ARCHIVED: &str = "(archived)";

/// A place is a plain text. Only the room of its side knows what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Our own name, in digests and logs.
    pub name: FieldName,
    pub keap: String,
    pub intercom: String,
    pub owner: Owner,
    pub clears: OnEmpty,
    pub too_long: TooLong,
    /// Whether `fields create` may make the attribute in Intercom.
    pub create_attribute: bool,
    /// Whether it travels for a contact out of scope, too.
    pub travels_always: bool,
    /// Whether Intercom's value may be written to Keap, as far as the owner lets it.
    pub both_ways: bool,
    /// Keap's value is never written to Intercom.
    pub only_to_keap: bool,
}

impl Rule {
    /// A rule with the defaults of the settings.
    pub fn new(name: &str, keap: &str, intercom: &str) -> Self {
        Self {
            name: FieldName::from(name),
            keap: keap.to_owned(),
            intercom: intercom.to_owned(),
            owner: Owner::default(),
            clears: OnEmpty::default(),
            too_long: TooLong::default(),
            create_attribute: false,
            travels_always: false,
            both_ways: false,
            only_to_keap: false,
        }
    }

    /// The field with its places, as the store names it. A base of another place says nothing about
    /// this one. `keap`: the place in Keap's own spelling, if it is known: a new label is no other
    /// place, and a new field with the old label is one. The built-in fields had their bare names
    /// in the first release that stored bases.
    pub(super) fn identity(&self, keap: Option<&str>) -> String {
        let Self { name, intercom, .. } = self;
        let keap = keap.unwrap_or(&self.keap);
        if keap == name.as_str() && intercom == name.as_str() {
            return name.to_string();
        }
        format!("{name}: {keap} = {intercom}")
    }

    /// Whether it is written by a call of its own, and not with the fields of the contact.
    pub fn is_relation(&self) -> bool {
        self.intercom.starts_with(TAG) || [COMPANY, ARCHIVED].contains(&self.intercom.as_str())
    }

    /// Whether it is a tag on both sides.
    pub fn is_tag(&self) -> bool {
        self.keap.starts_with(TAG) && self.intercom.starts_with(TAG)
    }

    /// Whether its place in Keap is a tag that Intercom may apply.
    pub fn tags_in_keap(&self) -> bool {
        self.writes_to_keap() && self.keap.starts_with(TAG)
    }

    /// Whether Keap's value may be written to Intercom at all.
    pub fn writes_to_intercom(&self) -> bool {
        !self.only_to_keap && !matches!(self.owner, Owner::Intercom | Owner::Never)
    }

    /// Whether Intercom's value may be written to Keap at all.
    pub fn writes_to_keap(&self) -> bool {
        self.both_ways && !matches!(self.owner, Owner::Keap | Owner::Never)
    }
}
