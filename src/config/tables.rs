//! The lists of tables in a settings file, such as `[[field]]`. The environment cannot express
//! them.

use std::collections::BTreeSet;

use config::{Value, ValueKind};

use super::error::Problem;
use super::keys;
use super::kinds::Named;
use super::mapped::{FieldClears, FieldOwner, FieldTable, FieldTooLong, TagTable};
use super::origin::Origin;

/// The name of the list of fields.
pub(super) const FIELD: &str = "field";

const FIELD_KEYS: [&str; 7] =
    ["name", "keap", "intercom", "owner", "clears", "too_long", "create_attribute"];

/// The name of the list of tags.
pub(super) const TAG: &str = "tag";

const TAG_KEYS: [&str; 3] = ["keap", "intercom", "owner"];

/// The most characters of a name or a place.
const LONGEST: usize = 200;

/// Reads every `[[tag]]`. What is wrong goes to `problems`.
pub(super) fn tags(list: &[Value], origin: &Origin, problems: &mut Vec<Problem>) -> Vec<TagTable> {
    let each = list.iter().enumerate();
    each.filter_map(|(at, value)| {
        let place = origin.path_name(&format!("[[{TAG}]] number {}", at + 1));
        Table { value, place, problems }.tag()
    })
    .collect()
}

/// Reads every `[[field]]`. What is wrong goes to `problems`.
pub(super) fn fields(
    list: &[Value],
    origin: &Origin,
    problems: &mut Vec<Problem>,
) -> Vec<FieldTable> {
    let each = list.iter().enumerate();
    each.filter_map(|(at, value)| {
        let place = origin.path_name(&format!("[[{FIELD}]] number {}", at + 1));
        let mut table = Table { value, place, problems };
        table.field()
    })
    .collect()
}

/// One table while it is read.
struct Table<'a> {
    value: &'a Value,
    place: String,
    problems: &'a mut Vec<Problem>,
}

impl Table<'_> {
    fn field(&mut self) -> Option<FieldTable> {
        let before = self.problems.len();
        self.refuse_unknown(&FIELD_KEYS)?;
        let field = FieldTable {
            origin: self.place.clone(),
            name: self.text("name"),
            keap: self.needed("keap", "a place in Keap, such as \"job_title\" or \"custom:Plan\""),
            intercom: self
                .needed("intercom", "a place in Intercom, such as \"name\" or \"attribute:plan\""),
            owner: self.choice("owner", FieldOwner::Keap),
            clears: self.choice("clears", FieldClears::AfterFirst),
            too_long: self.choice("too_long", FieldTooLong::Hold),
            create_attribute: self.flag("create_attribute"),
        };
        (self.problems.len() == before).then_some(field)
    }

    fn tag(&mut self) -> Option<TagTable> {
        let before = self.problems.len();
        self.refuse_unknown(&TAG_KEYS)?;
        let tag = TagTable {
            origin: self.place.clone(),
            keap: self.needed("keap", "the name or id of a tag in Keap, in quotes"),
            intercom: self.needed("intercom", "the name of a tag in Intercom"),
            owner: self.choice("owner", FieldOwner::Keap),
        };
        (self.problems.len() == before).then_some(tag)
    }

    /// `None`: it is no table.
    fn refuse_unknown(&mut self, known: &[&str]) -> Option<()> {
        let ValueKind::Table(table) = &self.value.kind else {
            self.wrong("", "no table", "keys such as keap = \"…\" under it");
            return None;
        };
        for name in table.keys().collect::<BTreeSet<_>>() {
            if !known.contains(&name.as_str()) {
                let hint = keys::hint_among(name, known);
                let name = format!("{name} of {}", self.place);
                self.problems.push(Problem::Unknown { name, hint });
            }
        }
        Some(())
    }

    fn get(&self, key: &str) -> Option<&ValueKind> {
        match &self.value.kind {
            ValueKind::Table(table) => table.get(key).map(|value| &value.kind),
            _ => None,
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.get(key)? {
            ValueKind::String(text) if is_plain(text) => Some(text.trim().to_owned()),
            other => {
                let shown = shown(other);
                let expected = format!("a text of 1 to {LONGEST} characters, in quotes");
                self.wrong(key, &shown, &expected);
                None
            }
        }
    }

    fn needed(&mut self, key: &str, expected: &str) -> String {
        if self.get(key).is_none() {
            let name = format!("{key} of {}", self.place);
            self.problems.push(Problem::Missing { name, remedy: format!("set it to {expected}") });
        }
        self.text(key).unwrap_or_default()
    }

    fn choice<T: Named>(&mut self, key: &str, default: T) -> T {
        let Some(value) = self.get(key) else {
            return default;
        };
        let named = match value {
            ValueKind::String(text) => T::named(text),
            _ => None,
        };
        let shown = shown(value);
        named.unwrap_or_else(|| {
            self.wrong(key, &shown, &format!("one of {}", T::NAMES.join(", ")));
            default
        })
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.get(key) {
            None => false,
            Some(ValueKind::Boolean(flag)) => *flag,
            Some(other) => {
                let shown = shown(other);
                self.wrong(key, &shown, "true or false");
                false
            }
        }
    }

    fn wrong(&mut self, key: &str, shown: &str, expected: &str) {
        let name =
            if key.is_empty() { self.place.clone() } else { format!("{key} of {}", self.place) };
        self.problems.push(Problem::Wrong {
            name,
            shown: shown.to_owned(),
            expected: expected.to_owned(),
        });
    }
}

fn is_plain(text: &str) -> bool {
    let length = text.trim().chars().count();
    (1..=LONGEST).contains(&length) && !text.chars().any(char::is_control)
}

fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if text.trim().is_empty() => "an empty value".to_owned(),
        ValueKind::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}
