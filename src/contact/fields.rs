//! The fields of a contact: named, typed values, each in one of three states.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::form::{Form, Reading, Value};

/// Our own name of a field, for example `phone`. A clone copies a pointer, not the text, because
/// every contact of a page carries its names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(Arc<str>);

impl FieldName {
    /// This field finds a contact in Intercom, so the code must know its name.
    pub const EMAIL: &'static str = "email";
    /// The name of the rule by which an opt-out travels.
    pub const OPT_OUT: &'static str = "opt_out";
    /// The name of the rule by which contacts that are gone in Intercom get a tag in Keap.
    pub const GONE_IN_INTERCOM: &'static str = "gone in Intercom";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FieldName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a side shows of a contact, sorted by name. A field without an entry was not asked for.
///
/// A sorted list takes a quarter of the memory of a tree map here: contacts have few fields.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldName, Reading)>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&Reading> {
        let at = self.0.binary_search_by(|(field, _)| field.as_str().cmp(name)).ok()?;
        self.0.get(at).map(|(_, reading)| reading)
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&FieldName, &Reading)> {
        self.0.iter().map(|(name, reading)| (name, reading))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes fields out, as if they had not been asked for.
    pub fn remove(&mut self, names: &[FieldName]) {
        self.0.retain(|(field, _)| !names.contains(field));
    }

    /// Only these fields, as if no other had been asked for.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&FieldName) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(name, _)| is_wanted(name));
        Self(wanted.cloned().collect())
    }

    /// These fields and other ones. A name must not occur twice.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        if others.is_empty() {
            return self;
        }
        self.0.into_iter().chain(others.0).collect()
    }

    /// The same fields, with these instead of those of the same names.
    #[must_use]
    pub fn with(mut self, newer: &Self) -> Self {
        for (name, reading) in &mut self.0 {
            if let Some(newer) = newer.get(name.as_str()) {
                reading.clone_from(newer);
            }
        }
        self
    }

    /// The same fields, of which this one is not written: the other side keeps its value.
    #[must_use]
    pub fn without(mut self, name: &FieldName) -> Self {
        for (_, reading) in self.0.iter_mut().filter(|(field, _)| field == name) {
            *reading = Reading::Invalid;
        }
        self
    }
}

/// Takes the fields in any order. A name must not occur twice.
impl<Name: Into<FieldName>> FromIterator<(Name, Reading)> for Fields {
    fn from_iter<I: IntoIterator<Item = (Name, Reading)>>(fields: I) -> Self {
        let mut fields: Vec<_> =
            fields.into_iter().map(|(name, reading)| (name.into(), reading)).collect();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(fields)
    }
}

/// Names and states, without values.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What happens to a text that is longer than its target takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TooLong {
    /// The field is not written, and says so.
    #[default]
    Hold,
    /// Its end is cut off.
    Cut,
}

/// One side's half of a mapping rule: which field it is, and where that side keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldPlace {
    pub field: FieldName,
    /// The side's own name of the place. Only that side's wire module understands it.
    pub place: String,
    pub form: Form,
    /// A call of its own writes it.
    pub is_relation: bool,
    /// Whether this side's place may be written; else it is only read.
    pub is_written: bool,
    /// What this side shows of it is remembered, because it may travel to the other one.
    pub both_ways: bool,
    /// The most characters that the target takes.
    pub limit: Option<usize>,
    pub too_long: TooLong,
    /// The only values that the target takes, by the values of the origin in lower case. `None`: it
    /// takes every value.
    pub words: Option<Arc<BTreeMap<String, String>>>,
}

impl FieldPlace {
    /// A place without limits.
    pub fn new(field: impl Into<FieldName>, place: impl Into<String>, form: Form) -> Self {
        Self {
            field: field.into(),
            place: place.into(),
            form,
            is_relation: false,
            is_written: true,
            both_ways: false,
            limit: None,
            too_long: TooLong::Hold,
            words: None,
        }
    }

    /// Reads the text that the origin shows, as the target takes it. A value that the target cannot
    /// take is invalid.
    pub fn read(&self, text: Option<&str>) -> Reading {
        self.fit(self.form.read(text))
    }

    /// A reading, as the target takes it.
    pub fn fit(&self, reading: Reading) -> Reading {
        let Reading::Is(value) = reading else {
            return reading;
        };
        if let Some(words) = &self.words {
            let word = words.get(&value.as_str().to_lowercase()).cloned();
            return word.map_or(Reading::Invalid, |word| Reading::Is(Value::Text(word)));
        }
        match (self.limit, self.too_long) {
            (Some(limit), TooLong::Hold) if value.as_str().chars().count() > limit => {
                Reading::Invalid
            }
            (Some(limit), TooLong::Cut) => value.cut(limit),
            _ => Reading::Is(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_by_name_and_a_field_that_was_not_asked_for_has_no_entry() {
        let fields = Fields::from_iter([
            ("phone", Reading::Empty),
            ("email", Reading::Invalid),
            ("name", Form::Text.read(Some("Ann"))),
        ]);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["email", "name", "phone"]);
        assert_eq!(fields.get("email"), Some(&Reading::Invalid));
        assert_eq!(fields.get("phone"), Some(&Reading::Empty));
        assert_eq!(fields.get("job_title"), None);
    }

    #[test]
    fn a_debug_print_shows_no_person() {
        let fields = Fields::from_iter([
            ("name", Form::Text.read(Some("Ann Canary"))),
            ("email", Form::Email.read(Some("ann@canary.example"))),
            ("phone", Form::Text.read(None)),
        ]);
        assert_eq!(format!("{fields:?}"), "{email: Is(Email), name: Is(Text), phone: Empty}");
    }

    fn text_place(limit: usize, too_long: TooLong) -> FieldPlace {
        FieldPlace { limit: Some(limit), too_long, ..FieldPlace::new("a", "a", Form::Text) }
    }

    #[test]
    fn a_long_text_is_held_or_cut_between_characters() {
        let is = |text: &str| Reading::Is(Value::Text(text.into()));
        for (text, held, cut) in [
            ("Zo\u{eb}", is("Zo\u{eb}"), is("Zo\u{eb}")),
            ("Zo\u{eb}s", Reading::Invalid, is("Zo\u{eb}")),
            ("ab c", Reading::Invalid, is("ab")),
        ] {
            assert_eq!(text_place(3, TooLong::Hold).read(Some(text)), held, "{text}");
            assert_eq!(text_place(3, TooLong::Cut).read(Some(text)), cut, "{text}");
        }
        assert_eq!(text_place(3, TooLong::Cut).read(None), Reading::Empty);
    }

    #[test]
    fn only_a_known_word_is_taken_and_it_is_spelt_as_the_target_spells_it() {
        let words = BTreeMap::from([("gold".to_owned(), "Gold".to_owned())]);
        let place =
            FieldPlace { words: Some(words.into()), ..FieldPlace::new("a", "a", Form::Text) };
        assert_eq!(place.read(Some(" GOLD ")), Reading::Is(Value::Text("Gold".into())));
        assert_eq!(place.read(Some("silver")), Reading::Invalid);
        assert_eq!(place.read(Some(" ")), Reading::Empty);
    }
}
