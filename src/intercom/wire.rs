//! Intercom's JSON in our words: only this file knows its field names (`api/intercom.md` 2 to 5 and 10).

use serde::{Deserialize, Serialize, Serializer};

use super::{Conflict, Wanted};
use crate::contact::{Candidate, Contact, Email, EmailField, IntercomId, Role};

/// A contact as it is written. A field that is left out keeps its value there, null clears it (`api/intercom.md` 3).
#[derive(Serialize)]
pub struct Write<'a> {
    /// A lead becomes a user, and takes the external id, by the same call.
    role: &'static str,
    external_id: String,
    #[serde(skip_serializing_if = "Keep::is_left_out")]
    email: Keep<'a>,
    #[serde(skip_serializing_if = "Keep::is_left_out")]
    name: Keep<'a>,
    #[serde(skip_serializing_if = "Keep::is_left_out")]
    phone: Keep<'a>,
}

enum Keep<'a> {
    LeftOut,
    Cleared,
    Set(&'a str),
}

impl Keep<'_> {
    fn is_left_out(&self) -> bool {
        matches!(self, Self::LeftOut)
    }
}

impl Serialize for Keep<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(text) => out.serialize_str(text),
            Self::LeftOut | Self::Cleared => out.serialize_none(),
        }
    }
}

impl<'a> Write<'a> {
    /// A new contact: there is nothing to clear.
    pub fn create(contact: &'a Contact) -> Self {
        Self::of(contact, |text| text.map_or(Keep::LeftOut, Keep::Set))
    }

    pub fn update(contact: &'a Contact) -> Self {
        Self::of(contact, |text| text.map_or(Keep::Cleared, Keep::Set))
    }

    fn of(contact: &'a Contact, field: impl Fn(Option<&'a str>) -> Keep<'a>) -> Self {
        Self {
            role: "user",
            external_id: contact.id.to_string(),
            email: match &contact.email {
                EmailField::Valid(email) => Keep::Set(email.as_written()),
                EmailField::Absent => field(None),
                // Intercom keeps what it has rather than take what is no address.
                EmailField::Invalid => Keep::LeftOut,
            },
            name: field(contact.name.as_deref()),
            phone: field(contact.phone.as_deref()),
        }
    }
}

/// A contact as it is read: only what matching needs.
#[derive(Deserialize)]
pub struct ContactWire {
    pub id: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    created_at: Option<i64>,
}

impl ContactWire {
    /// `None`: the id is none that a call could name.
    pub fn candidate(self) -> Option<Candidate> {
        let role = if self.role.as_deref() == Some("lead") {
            Role::Lead
        } else {
            Role::User
        };
        Some(Candidate {
            id: IntercomId::new(self.id)?,
            role,
            // A lead's is Intercom's own (`api/intercom.md` 0.4).
            external_id: self
                .external_id
                .filter(|id| role == Role::User && !id.is_empty()),
            email: self
                .email
                .as_deref()
                .and_then(Email::new)
                .map(|email| email.folded()),
            created_at: self.created_at.unwrap_or_default(),
        })
    }
}

/// The answer to a write: nothing but the id is believed, or needed.
#[derive(Deserialize)]
pub struct WrittenWire {
    pub id: String,
}

#[derive(Deserialize)]
pub struct Found {
    pub data: Vec<ContactWire>,
    #[serde(default)]
    pages: Option<Pages>,
}

#[derive(Deserialize)]
struct Pages {
    #[serde(default)]
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    starting_after: Option<String>,
}

impl Found {
    pub fn cursor(&mut self) -> Option<String> {
        self.pages
            .take()?
            .next?
            .starting_after
            .filter(|cursor| !cursor.is_empty())
    }
}

/// How contacts are asked for; which of the documented limits bind is known only by trying (`api/intercom.md` 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// E-mails and external ids together, as two lists under one OR.
    EmailsAndIds,
    /// A list of e-mails.
    Emails,
    /// An OR of single e-mails.
    OneByOne,
}

impl Asking {
    /// The fullest form first.
    pub const ALL: [Self; 3] = [Self::EmailsAndIds, Self::Emails, Self::OneByOne];
}

/// The body of a search for the contacts wanted, behind a cursor.
pub fn search(wanted: &[Wanted], asking: Asking, cursor: Option<&str>) -> serde_json::Value {
    let emails: Vec<String> = wanted
        .iter()
        .flat_map(|one| spellings(&one.email))
        .collect();
    let filter = |field: &str, operator: &str, value: serde_json::Value| serde_json::json!({ "field": field, "operator": operator, "value": value });
    let query = match asking {
        Asking::EmailsAndIds => {
            let ids: Vec<String> = wanted.iter().map(|one| one.keap.to_string()).collect();
            serde_json::json!({ "operator": "OR", "value": [filter("email", "IN", emails.into()), filter("external_id", "IN", ids.into())] })
        }
        Asking::Emails => filter("email", "IN", emails.into()),
        Asking::OneByOne => {
            let each: Vec<_> = emails
                .into_iter()
                .map(|email| filter("email", "=", email.into()))
                .collect();
            serde_json::json!({ "operator": "OR", "value": each })
        }
    };
    let mut pagination = serde_json::json!({ "per_page": 150 });
    if let Some(cursor) = cursor {
        pagination["starting_after"] = cursor.into();
    }
    serde_json::json!({ "query": query, "pagination": pagination })
}

/// The lower-case form that practice asks for, and the written one where it differs: whether Intercom folds case is unknown.
pub fn spellings(email: &Email) -> Vec<String> {
    let folded = email.folded();
    if folded == email.as_written() {
        vec![folded]
    } else {
        vec![folded, email.as_written().to_owned()]
    }
}

#[derive(Deserialize)]
pub struct Errors {
    #[serde(default)]
    pub errors: Vec<ErrorWire>,
}

#[derive(Deserialize)]
pub struct ErrorWire {
    #[serde(default)]
    pub code: Option<String>,
    /// May quote the contact: read for ids, never shown.
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    field: Option<String>,
}

impl Errors {
    pub fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or(Self { errors: Vec::new() })
    }

    pub fn has_code(&self, code: &str) -> bool {
        self.errors
            .iter()
            .any(|error| error.code.as_deref() == Some(code))
    }

    /// Codes and field names, which hold no person.
    pub fn in_words(&self) -> String {
        let plain = |text: &str| {
            (text.len() <= 60
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.'))
            .then(|| text.to_owned())
        };
        let each = self.errors.iter().filter_map(|error| {
            let code = error.code.as_deref().and_then(plain)?;
            Some(match error.field.as_deref().and_then(plain) {
                Some(field) => format!("{code} in {field}"),
                None => code,
            })
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// Which contact is in the way: its id stands in the text alone (`api/intercom.md` 5).
    pub fn conflict(&self) -> Conflict {
        for message in self
            .errors
            .iter()
            .filter_map(|error| error.message.as_deref())
        {
            let Some((before, after)) = message.split_once("id=") else {
                continue;
            };
            let id: String = after
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
                .collect();
            if let Some(id) = IntercomId::new(id) {
                return Conflict {
                    id: Some(id),
                    archived: before.to_lowercase().contains("archived"),
                };
            }
        }
        Conflict {
            id: None,
            archived: false,
        }
    }
}

/// The survivor that a 410 names: `</contacts/{id}>; rel="canonical"`. The id alone is taken, never a host.
pub fn survivor(link: &str) -> Option<IntercomId> {
    link.split(',').find_map(|one| {
        let (target, _) = one.trim().strip_prefix('<')?.split_once('>')?;
        let path = target.split(['?', '#']).next()?;
        IntercomId::new(path.rsplit_once("/contacts/")?.1.trim_end_matches('/'))
    })
}

/// Whether this is a JSON object with anything in it.
pub fn is_filled_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
        .is_ok_and(|object| !object.is_empty())
}

#[derive(Deserialize)]
pub struct Me {
    #[serde(default)]
    pub app: Option<App>,
}

#[derive(Deserialize)]
pub struct App {
    #[serde(default)]
    pub id_code: Option<String>,
    #[serde(default)]
    pub region: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::KeapId;
    use proptest::prelude::*;
    use serde_json::json;

    fn ann(email: Option<&str>, name: Option<&str>) -> Contact {
        Contact {
            id: KeapId::new(7).unwrap(),
            updated_at: None,
            email: EmailField::of(email),
            name: name.map(str::to_owned),
            phone: None,
        }
    }

    #[test]
    fn a_create_leaves_out_what_an_update_clears() {
        let contact = ann(Some("Ann@Example.org"), None);
        assert_eq!(
            serde_json::to_value(Write::create(&contact)).unwrap(),
            json!({ "role": "user", "external_id": "7", "email": "Ann@Example.org" })
        );
        assert_eq!(
            serde_json::to_value(Write::update(&contact)).unwrap(),
            json!({ "role": "user", "external_id": "7", "email": "Ann@Example.org", "name": null, "phone": null })
        );
        let cleared = serde_json::to_value(Write::update(&ann(None, Some("Ann")))).unwrap();
        assert_eq!(
            cleared,
            json!({ "role": "user", "external_id": "7", "email": null, "name": "Ann", "phone": null })
        );
        let invalid = serde_json::to_value(Write::update(&ann(Some("n/a"), Some("Ann")))).unwrap();
        assert_eq!(
            invalid,
            json!({ "role": "user", "external_id": "7", "name": "Ann", "phone": null })
        );
    }

    #[test]
    fn both_texts_of_a_conflict_and_texts_without_an_id() {
        let conflict = |message: &str| {
            Errors::of(json!({ "errors": [{ "code": "other" }, { "code": "conflict", "message": message }] }).to_string().as_bytes()).conflict()
        };
        let live = conflict(
            "A contact matching those details already exists with id=6762f0dd1bb69f9f2193bb83",
        );
        assert_eq!(
            (live.id.unwrap().as_str(), live.archived),
            ("6762f0dd1bb69f9f2193bb83", false)
        );
        let archived =
            conflict("An archived contact matching those details already exists with id=abc.");
        assert_eq!(
            (archived.id.unwrap().as_str(), archived.archived),
            ("abc", true)
        );
        for nameless in [
            "Multiple existing users match this email address",
            "exists with id=",
            "id=../x",
        ] {
            assert!(conflict(nameless).id.is_none(), "{nameless}");
        }
        assert!(Errors::of(b"<html>").conflict().id.is_none());
    }

    #[test]
    fn errors_in_words_hold_no_message() {
        let errors = Errors::of(br#"{"errors":[{"code":"parameter_invalid","message":"ann@example.org is bad","field":"email"},{"code":"Ann@x"},{"code":"conflict","field":"ann@example.org"}]}"#);
        assert_eq!(errors.in_words(), "parameter_invalid in email, conflict");
    }

    #[test]
    fn a_survivor_is_an_id_on_this_host() {
        for (link, id) in [
            (r#"</contacts/abc>; rel="canonical""#, Some("abc")),
            (
                r#"<https://elsewhere.example/contacts/abc?x=1>; rel="canonical""#,
                Some("abc"),
            ),
            ("/contacts/abc", None),
            ("</companies/abc>", None),
            ("", None),
        ] {
            assert_eq!(
                survivor(link).as_ref().map(IntercomId::as_str),
                id,
                "{link}"
            );
        }
    }

    #[test]
    fn a_leads_external_id_is_not_a_keap_id() {
        let wire: ContactWire = serde_json::from_value(
            json!({ "id": "a", "role": "lead", "external_id": "7", "email": "", "name": null }),
        )
        .unwrap();
        let lead = wire.candidate().unwrap();
        assert_eq!(
            (lead.external_id, lead.email, lead.role),
            (None, None, Role::Lead)
        );
    }

    proptest! {
        #[test]
        fn nothing_that_intercom_could_send_is_a_panic(text in ".{0,200}") {
            let errors = Errors::of(json!({ "errors": [{ "message": &text, "code": &text }] }).to_string().as_bytes());
            let _ = (errors.conflict(), errors.in_words(), survivor(&text));
        }
    }
}
