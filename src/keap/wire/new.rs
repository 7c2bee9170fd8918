//! The body of a create: an address and names, and nothing else. It opts nobody in.

use serde_json::{Map, Value as Json, json};

use super::{Places, Source};
use crate::contact::{Email, Fields, Reading};

/// The most characters of a given name or a family name.
const NAME_CHARS: usize = 40;

impl Places {
    /// The body of a new contact with this address and the names among these fields. Names that
    /// Keap does not take as they are stay away: half a name would count as Keap's.
    pub(in crate::keap) fn new_contact(&self, email: &Email, fields: &Fields) -> Map<String, Json> {
        let mut names = Map::new();
        let mut put = |key: &str, name: &str| {
            if !name.is_empty() {
                names.insert(key.to_owned(), name.into());
            }
        };
        for field in &self.fields {
            let Some(Reading::Is(value)) = fields.get(field.place.field.as_str()) else {
                continue;
            };
            match &field.source {
                Source::Name(..) => {
                    let (given, family) = parts(value.as_str());
                    put("given_name", given);
                    put("family_name", family);
                }
                Source::Property(index) => {
                    let name = self.properties.get(*index).map(String::as_str).unwrap_or_default();
                    if matches!(name, "given_name" | "family_name") {
                        put(name, value.as_str());
                    }
                }
                _ => {}
            }
        }
        let is_long =
            |name: &Json| name.as_str().is_some_and(|name| name.chars().count() > NAME_CHARS);
        if names.values().any(is_long) {
            names.clear();
        }
        let email = json!([{ "email": email.as_written(), "field": "EMAIL1" }]);
        names.insert("email_addresses".to_owned(), email);
        names
    }
}

/// The given name and the family name of a whole name: the last word is the family name.
fn parts(name: &str) -> (&str, &str) {
    let name = name.trim();
    name.rsplit_once(char::is_whitespace)
        .map_or((name, ""), |(given, family)| (given.trim(), family))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{FieldPlace, Form};
    use crate::mapping::Filter;

    fn body(places: &[(&str, &str)], fields: &[(&str, &str)]) -> Json {
        let places: Vec<FieldPlace> = places
            .iter()
            .map(|(field, place)| FieldPlace::new(*field, *place, Form::Text))
            .collect();
        let fields =
            fields.iter().map(|(name, value)| (*name, Form::Text.read(Some(value)))).collect();
        let email = Email::new("Ann@Example.org").unwrap();
        Json::Object(Places::new(&places, Filter::default()).new_contact(&email, &fields))
    }

    #[test]
    fn an_address_and_names_are_all_that_is_sent() {
        let emails = json!([{ "email": "Ann@Example.org", "field": "EMAIL1" }]);
        let whole = [("name", "name"), ("phone", "phone"), ("job", "job_title")];
        let shown = |name| [("name", name), ("phone", "+16025550144"), ("job", "Buyer")];
        let long = "L".repeat(41);
        for (name, expected) in [
            (
                "Ann Lee",
                json!({ "given_name": "Ann", "family_name": "Lee", "email_addresses": emails }),
            ),
            (
                "Mary Ann Lee",
                json!({ "given_name": "Mary Ann", "family_name": "Lee", "email_addresses": emails }),
            ),
            ("Ann", json!({ "given_name": "Ann", "email_addresses": emails })),
            (&format!("Ann {long}"), json!({ "email_addresses": emails })),
        ] {
            assert_eq!(body(&whole, &shown(name)), expected, "{name}");
        }
        assert_eq!(
            body(
                &[("first", "given_name"), ("last", "family_name")],
                &[("first", "Ann"), ("last", "van Lee")]
            ),
            json!({ "given_name": "Ann", "family_name": "van Lee", "email_addresses": emails })
        );
        assert_eq!(body(&[], &[]), json!({ "email_addresses": emails }));
    }
}
