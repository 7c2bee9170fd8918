//! The two kinds of id, as two types, so that code that mixes them up does not compile.

use std::fmt;
use std::str::FromStr;

/// A Keap contact id: a positive 64-bit integer (`docs/api/keap.md`, "Fields of a contact"). It is
/// also the contact's `external_id` in Intercom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeapId(i64);

impl KeapId {
    /// The greatest id that there can be.
    pub const LAST: Self = Self(i64::MAX);

    /// Accepts positive ids only.
    pub fn new(id: i64) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for KeapId {
    type Error = NotAKeapId;

    fn try_from(id: i64) -> Result<Self, NotAKeapId> {
        Self::new(id).ok_or(NotAKeapId)
    }
}

/// The text is not a Keap contact id.
#[derive(Debug, thiserror::Error)]
#[error("not a Keap contact id: expected a positive whole number, for example 12345")]
pub struct NotAKeapId;

impl FromStr for KeapId {
    type Err = NotAKeapId;

    fn from_str(text: &str) -> Result<Self, NotAKeapId> {
        // A sign or a leading zero would give one contact two spellings of its external id.
        if !text.starts_with(|first: char| first.is_ascii_digit() && first != '0') {
            return Err(NotAKeapId);
        }
        text.parse().ok().and_then(Self::new).ok_or(NotAKeapId)
    }
}

impl fmt::Display for KeapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Intercom contact id: letters, digits, `-` and `_` without a meaning for us. Every sample has
/// 24 hexadecimal digits (`docs/api/intercom.md`, "Ids and roles").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntercomId(String);

impl IntercomId {
    /// `None`: the id is not safe as one part of a URL path. Some ids are read out of error texts,
    /// so they cannot be trusted.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (!id.is_empty() && id.len() <= 64 && id.chars().all(plain)).then_some(Self(id))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong with a text that should be an Intercom contact id.
#[derive(Debug, thiserror::Error)]
#[error("not an Intercom contact id: expected 1 to 64 letters, digits, '-' or '_'")]
pub struct NotAnIntercomId;

impl TryFrom<String> for IntercomId {
    type Error = NotAnIntercomId;

    fn try_from(id: String) -> Result<Self, NotAnIntercomId> {
        Self::new(id).ok_or(NotAnIntercomId)
    }
}

impl fmt::Display for IntercomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for IntercomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keap_ids_are_positive_whole_numbers_in_one_spelling() {
        assert_eq!("4121".parse::<KeapId>().expect("an id").get(), 4121);
        for wrong in ["", "0", "-1", "+1", "007", "1.5", "1e3", "9223372036854775808", " 1", "abc"]
        {
            assert!(wrong.parse::<KeapId>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn intercom_ids_cannot_leave_their_path_part() {
        assert!(IntercomId::new("6762f0dd1bb69f9f2193bb83").is_some());
        for wrong in ["", "a/b", "..", "a?b", "a b", "é"] {
            assert!(IntercomId::new(wrong).is_none(), "{wrong:?} was accepted");
        }
        assert!(IntercomId::new("x".repeat(65)).is_none());
    }
}
