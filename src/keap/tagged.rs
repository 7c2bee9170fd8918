//! What Keap says of the contacts of one call that applies or removes a tag.

use std::collections::HashMap;

use super::model::Tagged;
use crate::contact::KeapId;

/// What a call says of each of its contacts.
#[derive(Clone)]
pub(super) struct TaggedAll {
    pub contacts: usize,
    pub said: Said,
}

#[derive(Clone)]
pub(super) enum Said {
    /// Keap's word for each contact, by its id.
    Words(HashMap<String, String>),
    /// The tag, or the only contact, is not there.
    Missing,
    Refused(String),
    Forbidden,
}

impl TaggedAll {
    /// The call was refused as a whole. Perhaps only one of its contacts is to blame.
    pub(super) fn is_about_one_of_them(&self) -> bool {
        matches!(self.said, Said::Missing | Said::Refused(_))
    }

    pub(super) fn of(&self, contact: KeapId) -> Tagged {
        match &self.said {
            Said::Missing => Tagged::Missing,
            Said::Forbidden => Tagged::Forbidden,
            Said::Refused(why) => Tagged::Refused(why.clone()),
            Said::Words(words) => match words.get(&contact.to_string()).map(String::as_str) {
                None | Some("SUCCESS" | "DUPLICATE") => Tagged::Done,
                Some("CONTACT_NOT_FOUND" | "TAG_ID_NOT_FOUND") => Tagged::Missing,
                Some("NO_PERMISSION") => Tagged::Forbidden,
                Some(word) => Tagged::Refused(format!("Keap refuses the tag ({word})")),
            },
        }
    }
}
