//! Keap's JSON in our words: only this file knows its field names (`api/keap.md` 5 and 6).

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Row;
use crate::contact::{Contact, EmailField, KeapId, normalise};

/// The fields that are asked for: without the list only ids and names come (`api/keap.md` 1).
pub const FIELDS: &str = "id,given_name,family_name,email_addresses,phone_numbers,update_time";

/// A page of contacts. `contacts` must be there: an answer without it is no empty list.
#[derive(Deserialize)]
pub struct List<'a> {
    #[serde(borrow, deserialize_with = "null_or_list")]
    pub contacts: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// serde takes a missing `Option` for null, unless it is read by a function.
fn null_or_list<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Option<Vec<&'de RawValue>>, D::Error> {
    Option::deserialize(input)
}

impl List<'_> {
    /// The token alone: it has been seen as a whole URL, whose host is never followed (`api/keap.md` 5.1).
    pub fn next_token(&self) -> Option<String> {
        let token = self
            .next_page_token
            .as_deref()
            .map(str::trim)
            .filter(|token| !token.is_empty())?;
        let Ok(url) = url::Url::parse(token) else {
            return Some(token.to_owned());
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Some(token.to_owned());
        }
        url.query_pairs()
            .find(|(name, _)| name == "page_token")
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }
}

/// Ids come as numbers in one call and as strings in the next.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(i64),
    Number(f64),
}

impl Scalar {
    fn into_string(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }

    fn id(self) -> Option<KeapId> {
        self.into_string().trim().parse().ok()
    }
}

#[derive(Deserialize)]
struct ContactWire {
    id: Scalar,
    #[serde(default)]
    given_name: Option<String>,
    #[serde(default)]
    family_name: Option<String>,
    #[serde(default)]
    email_addresses: Option<Vec<EmailWire>>,
    #[serde(default)]
    phone_numbers: Option<Vec<PhoneWire>>,
    #[serde(default)]
    update_time: Option<String>,
}

#[derive(Deserialize)]
struct EmailWire {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    field: Option<String>,
}

#[derive(Deserialize)]
struct PhoneWire {
    #[serde(default)]
    number: Option<Scalar>,
    #[serde(default)]
    number_e164: Option<Scalar>,
}

/// What is left of a contact that cannot be read whole.
#[derive(Deserialize)]
struct Remains {
    #[serde(default)]
    id: Option<Scalar>,
    #[serde(default)]
    update_time: Option<String>,
}

/// Reads one contact; whatever is wrong with it is this contact's own trouble.
pub fn row(json: &str) -> Row {
    let wire = match serde_json::from_str::<ContactWire>(json) {
        Ok(wire) => wire,
        // The parser's own text may quote the contact.
        Err(error) => {
            return unreadable(
                json,
                format!(
                    "Keap shows this contact in a form that is not understood (column {})",
                    error.column()
                ),
            );
        }
    };
    let updated_at = match wire.update_time.as_deref().map(time) {
        Some(None) => {
            return unreadable(
                json,
                "Keap shows this contact with an update_time that is no time".into(),
            );
        }
        Some(Some(at)) => Some(at),
        None => None,
    };
    let Some(id) = wire.id.id() else {
        return unreadable(
            json,
            "Keap shows a contact whose id is no positive whole number".into(),
        );
    };
    let emails = wire.email_addresses.unwrap_or_default();
    let filled = |email: &&EmailWire| {
        email
            .email
            .as_deref()
            .is_some_and(|text| !text.trim().is_empty())
    };
    let first = emails
        .iter()
        .filter(filled)
        .find(|email| email.field.as_deref() == Some("EMAIL1"))
        .or_else(|| emails.iter().find(filled));
    Row::Contact(Contact {
        id,
        updated_at,
        email: EmailField::of(first.and_then(|email| email.email.as_deref())),
        name: Contact::full_name(wire.given_name.as_deref(), wire.family_name.as_deref()),
        phone: wire
            .phone_numbers
            .unwrap_or_default()
            .into_iter()
            .find_map(phone),
    })
}

/// E.164 when Keap gives it, else the number as it was typed.
fn phone(wire: PhoneWire) -> Option<String> {
    let text = |text: Option<Scalar>| normalise(text.map(Scalar::into_string).as_deref());
    text(wire.number_e164).or_else(|| text(wire.number))
}

fn unreadable(json: &str, why: String) -> Row {
    let remains = serde_json::from_str::<Remains>(json).ok();
    let (id, stamp) = remains.map_or((None, None), |remains| {
        (remains.id.and_then(Scalar::id), remains.update_time)
    });
    Row::Unreadable {
        id,
        updated_at: stamp.as_deref().and_then(time),
        why,
    }
}

/// Reads Keap's forms of time: RFC 3339, and v1's offset without a colon (`api/keap.md` 5.4). No zone is no time.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|at| at.to_utc())
}

/// The token's tenant. The answer holds a person too, whom nobody here looks at.
#[derive(Deserialize)]
pub struct UserInfo {
    #[serde(default)]
    tenant_id: Option<Scalar>,
}

impl UserInfo {
    pub fn tenant(self) -> Option<String> {
        self.tenant_id
            .map(Scalar::into_string)
            .filter(|tenant| !tenant.is_empty())
    }
}

/// The words of a refusal that are safe to show: its code and status, never its message.
#[derive(Deserialize)]
pub struct Refusal {
    #[serde(default)]
    pub status: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contact(json: &str) -> Contact {
        match row(json) {
            Row::Contact(contact) => contact,
            Row::Unreadable { why, .. } => panic!("{why}"),
        }
    }

    #[test]
    fn the_mapping_takes_the_first_of_what_there_is() {
        let ann = contact(
            r#"{"id":"4121","given_name":" Ann ","family_name":"Lee","update_time":"2026-08-19T16:20:31Z",
                "email_addresses":[{"email":"second@example.org","field":"EMAIL2"},{"email":" Ann@Example.org ","field":"EMAIL1"}],
                "phone_numbers":[{"number":" ","field":"PHONE1"},{"number":"(602) 555-0144","number_e164":"+16025550144","field":"PHONE2"}]}"#,
        );
        assert_eq!(ann.id.get(), 4121);
        assert_eq!(ann.name.as_deref(), Some("Ann Lee"));
        assert_eq!(
            ann.email.valid().map(|email| email.as_written()),
            Some("Ann@Example.org")
        );
        assert_eq!(ann.phone.as_deref(), Some("+16025550144"));
        let bob = contact(
            r#"{"id":7,"email_addresses":[{"email":null,"field":"EMAIL1"},{"email":"b@example.org","field":"EMAIL3"}],"phone_numbers":[{"number":5550144}],"new":{}}"#,
        );
        assert_eq!(
            bob.email.valid().map(|email| email.as_written()),
            Some("b@example.org")
        );
        assert_eq!(
            (bob.phone.as_deref(), bob.name.as_deref(), bob.updated_at),
            (Some("5550144"), None, None)
        );
        let nobody =
            contact(r#"{"id":8,"given_name":null,"email_addresses":null,"phone_numbers":[]}"#);
        assert_eq!(nobody.email, EmailField::Absent);
    }

    #[test]
    fn a_contact_that_cannot_be_read_keeps_its_id() {
        for json in [
            r#"{"id":"9","given_name":{"a":1}}"#,
            r#"{"id":9,"update_time":"yesterday"}"#,
            r#"{"id":9,"update_time":"2026-08-19T16:20:31"}"#,
            r#"{"id":9,"email_addresses":"a@b.co"}"#,
        ] {
            assert!(
                matches!(row(json), Row::Unreadable { id: Some(id), .. } if id.get() == 9),
                "{json}"
            );
        }
        for json in [
            r#"{"given_name":"Ann"}"#,
            r#"{"id":-4}"#,
            r#"{"id":"x"}"#,
            r#"{"id":1.5}"#,
            "7",
            "null",
        ] {
            assert!(
                matches!(row(json), Row::Unreadable { id: None, .. }),
                "{json}"
            );
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_was_seen() {
        let expected = time("2024-11-20T18:34:12Z");
        assert!(expected.is_some());
        for same in [
            "2024-11-20T18:34:12.000+0000",
            "2024-11-20T18:34:12.000000000Z",
            "2024-11-20T18:34:12+00:00",
            "2024-11-20T11:34:12-0700",
            " 2024-11-20T18:34:12.0Z",
        ] {
            assert_eq!(time(same), expected, "{same}");
        }
        assert!(time("2016-12-31T23:59:60Z").is_some());
        for wrong in [
            "",
            "2024-11-20",
            "2024-11-20T18:34:12",
            "2024-13-20T18:34:12Z",
            "1732127652",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_come_in_many_forms() {
        let token = |json: &str| serde_json::from_str::<List<'_>>(json).unwrap().next_token();
        for none in [
            r#"{"contacts":[]}"#,
            r#"{"contacts":[],"next_page_token":null}"#,
            r#"{"contacts":[],"next_page_token":""}"#,
        ] {
            assert_eq!(token(none), None);
        }
        assert_eq!(
            token(r#"{"contacts":[],"next_page_token":"abc=="}"#).as_deref(),
            Some("abc==")
        );
        assert_eq!(token(r#"{"contacts":[],"next_page_token":"https://evil.example/v2/contacts?page_size=1&page_token=91"}"#).as_deref(), Some("91"));
    }

    proptest! {
        #[test]
        fn nothing_that_keap_could_send_is_a_panic(text in ".{0,200}") {
            let _ = row(&text);
            let _ = time(&text);
        }
    }
}
