//! What a place holds, so that the forms of two places can be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contact::Form;

/// What a place holds, as its side describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holds {
    /// The place in its side's own and lasting spelling: a custom field has an id.
    pub place: String,
    /// The side's word for the type, for people.
    pub kind: String,
    /// The forms in which its values can be read or written, the most exact first.
    pub forms: Vec<Form>,
    /// The only values that it takes.
    pub options: Option<Vec<String>>,
    /// The most characters that it takes.
    pub limit: Option<usize>,
    /// The other side's words for its values, such as the teammates for users; in lower case.
    pub words: Option<Arc<BTreeMap<String, String>>>,
    /// A person can delete the place, and then no contact shows it.
    pub may_vanish: bool,
    /// The side only shows the place: nobody can write it.
    pub is_read_only: bool,
}

impl Holds {
    /// A place that holds a value of one of these forms.
    pub fn of(place: impl Into<String>, kind: impl Into<String>, forms: &[Form]) -> Self {
        Self {
            place: place.into(),
            kind: kind.into(),
            forms: forms.to_vec(),
            options: None,
            limit: None,
            words: None,
            may_vanish: false,
            is_read_only: false,
        }
    }
}

/// Why a place cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// What is wrong and what to do, without personal data.
    pub why: String,
    /// Whether the settings alone show it, whatever the account holds.
    pub by_itself: bool,
}

impl Unfit {
    /// The settings are wrong.
    pub fn by_itself(why: impl Into<String>) -> Self {
        Self { why: why.into(), by_itself: true }
    }

    /// The account does not fit the settings now.
    pub fn now(why: impl Into<String>) -> Self {
        Self { why: why.into(), by_itself: false }
    }
}

/// A hint that names the nearest of these names, or nothing if none is near.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= (wrong.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}
