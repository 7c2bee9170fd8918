//! Intercom's JSON in our words: only this file knows the names of its properties
//! (`docs/api/intercom.md`, "Fields of a contact").

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::known_tags::KnownTags;
use super::model::{Conflict, UserOrder, Wanted};
use super::places::ATTRIBUTE;
use crate::contact::{
    self, Candidate, Clears, Contact, Email, FieldName, FieldPlace, Fields, Form, IntercomId,
    KeapId, Reading, Role,
};
use crate::mapping::{ARCHIVED, COMPANY, TAG};
use crate::remote::lenient;

/// The places of the mapped fields in an Intercom contact.
pub(super) struct Places {
    properties: Vec<Place>,
    attributes: Vec<Place>,
    /// The names of the mapped tags.
    tags: Vec<(FieldName, String)>,
    /// Those of them that Intercom's contacts are asked for.
    read_tags: Vec<FieldName>,
    known_tags: Arc<KnownTags>,
    /// What Intercom shows after a write is remembered.
    pub(super) remembers: bool,
}

struct Place {
    field: FieldName,
    /// The key in the JSON object.
    key: String,
    half: FieldPlace,
}

impl Places {
    /// `attribute:<name>` is a custom attribute. Any other place is the name of a property.
    pub(super) fn new(fields: &[FieldPlace], known_tags: Arc<KnownTags>) -> Self {
        let mut places = Self {
            properties: Vec::new(),
            attributes: Vec::new(),
            tags: Vec::new(),
            read_tags: Vec::new(),
            known_tags,
            remembers: fields.iter().any(|field| field.both_ways),
        };
        for half in fields {
            let FieldPlace { field, place, .. } = half;
            if place == COMPANY || place == ARCHIVED {
                continue;
            }
            if let Some(name) = place.strip_prefix(TAG) {
                places.tags.push((field.clone(), name.to_owned()));
                places.read_tags.extend(half.both_ways.then(|| field.clone()));
                continue;
            }
            let (list, key) = match place.strip_prefix(ATTRIBUTE) {
                Some(name) => (&mut places.attributes, name),
                None => (&mut places.properties, place.as_str()),
            };
            list.push(Place { field: field.clone(), key: key.to_owned(), half: half.clone() });
        }
        places
    }

    /// The name of the tag that a field means.
    pub(super) fn tag(&self, field: &FieldName) -> Option<String> {
        self.tags.iter().find(|(known, _)| known == field).map(|(_, name)| name.clone())
    }

    /// Whether contacts are asked for their tags.
    pub(super) fn reads_tags(&self) -> bool {
        !self.read_tags.is_empty()
    }

    /// What a contact shows of the mapped tags, and whether it hides some of them. A tag that the
    /// workspace does not have says nothing about anybody: it may have been deleted or renamed.
    fn of_tags(&self, wire: &ContactWire) -> (Fields, bool) {
        let Some(list) = wire.tags.as_ref().filter(|_| self.reads_tags()) else {
            return (Fields::default(), false);
        };
        let names: Vec<Option<String>> =
            list.data.iter().map(|tag| self.known_tags.name(&tag.id)).collect();
        let is_whole = !list.is_cut() && names.iter().all(Option::is_some);
        let names: Vec<String> = names.into_iter().flatten().collect();
        let shown = self.tag_readings(&names, is_whole);
        let hides = !is_whole && shown.iter().count() < self.read_tags.len();
        (shown, hides)
    }

    /// The readings of the mapped tags of a contact with tags of these names, in lower case.
    pub(super) fn tag_readings(&self, names: &[String], is_whole: bool) -> Fields {
        let each = self.read_tags.iter().filter_map(|field| {
            let name = self.tag(field)?;
            let has = names.contains(&name.to_lowercase());
            let is_known = has || is_whole && self.known_tags.has(&name);
            is_known.then(|| (field.clone(), Form::YesNo.read(has.then_some("true"))))
        });
        each.collect()
    }

    /// The fields that tell one person from another, as an Intercom contact shows them.
    fn of_person(&self, wire: &ContactWire) -> Fields {
        let shown = self.properties.iter().filter_map(|place| {
            let value = match place.key.as_str() {
                "email" => &wire.email,
                "name" => &wire.name,
                "phone" => &wire.phone,
                _ => return None,
            };
            Some((place.field.clone(), place.half.read(value.as_deref())))
        });
        shown.collect()
    }

    /// The other fields of the mapping, as an Intercom contact shows them.
    fn of_rest(&self, wire: &ContactWire) -> Fields {
        let shown = |place: &Place, json: Option<&Value>| {
            (place.field.clone(), place.half.fit(read(place.half.form, json)))
        };
        let is_of_person =
            |place: &&Place| matches!(place.key.as_str(), "email" | "name" | "phone");
        let properties = self.properties.iter().filter(|place| !is_of_person(place));
        let attributes = wire.custom_attributes.as_ref();
        let property = |key: &str| match key {
            "avatar" => wire.avatar.as_ref(),
            "owner_id" => wire.owner_id.as_ref(),
            "signed_up_at" => wire.signed_up_at.as_ref(),
            "last_seen_at" => wire.last_seen_at.as_ref(),
            // Only an opt-out is a value: that somebody is subscribed says nothing.
            "unsubscribed_from_emails" => {
                wire.unsubscribed_from_emails.as_ref().filter(|flag| **flag != Value::Bool(false))
            }
            _ => None,
        };
        properties
            .map(|place| shown(place, property(&place.key)))
            .chain(self.attributes.iter().map(|place| {
                shown(place, attributes.and_then(|attributes| attributes.get(&place.key)))
            }))
            .collect()
    }

    /// The field at a place as Intercom's errors name it: `email`, or `custom_attributes.plan`.
    fn field_at(&self, name: &str) -> Option<FieldName> {
        let (list, key) = match name.strip_prefix("custom_attributes.") {
            Some(key) => (&self.attributes, key),
            None => (&self.properties, name),
        };
        list.iter().find(|place| place.key == key).map(|place| place.field.clone())
    }

    /// The field whose place a text names. "Name" is too common a word to mean the place.
    fn field_named_in(&self, text: &str) -> Option<FieldName> {
        let text = text.to_lowercase().replace("e-mail", "email");
        let is_word = |place: &&Place| {
            let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            // "The owner specified is not a member of the workspace"
            let shown = place.key.trim_end_matches("_id");
            place.key != "name" && words.any(|word| word == place.key || word == shown)
        };
        let attribute = self.attribute_quoted_in(&text);
        let place = attribute.or_else(|| self.properties.iter().find(is_word))?;
        Some(place.field.clone())
    }

    /// The attribute whose name a text has in quotes. `text`: in lower case.
    fn attribute_quoted_in(&self, text: &str) -> Option<&Place> {
        let is_quoted = |place: &&Place| text.contains(&format!("'{}'", place.key.to_lowercase()));
        self.attributes.iter().find(is_quoted)
    }
}

/// A contact as it is written. Intercom keeps the value of a field that is left out, and clears a
/// field that is null (`docs/api/intercom.md`, "Writing").
pub(super) struct Write<'a> {
    contact: &'a Contact,
    places: &'a Places,
    clears: &'a Clears,
}

impl<'a> Write<'a> {
    pub(super) fn new(contact: &'a Contact, places: &'a Places, clears: &'a Clears) -> Self {
        Self { contact, places, clears }
    }
}

impl Serialize for Write<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut body = out.serialize_map(None)?;
        // The role makes a lead a user, which can take the external id in the same call.
        body.serialize_entry("role", "user")?;
        body.serialize_entry("external_id", &self.contact.id.to_string())?;
        self.entries(&self.places.properties)
            .try_for_each(|(key, value)| body.serialize_entry(key, &value))?;
        let mut attributes = self.entries(&self.places.attributes).peekable();
        if attributes.peek().is_some() {
            // Serde writes a list of pairs as an array, so they become a map first.
            let attributes: serde_json::Map<_, _> =
                attributes.map(|(key, value)| (key.to_owned(), value.into())).collect();
            body.serialize_entry("custom_attributes", &attributes)?;
        }
        body.end()
    }
}

impl Write<'_> {
    /// The keys that are sent, each with its value. `None` is null.
    fn entries<'s>(
        &'s self,
        places: &'s [Place],
    ) -> impl Iterator<Item = (&'s str, Option<Value>)> {
        places.iter().filter(|place| place.half.is_written).filter_map(|place| {
            let value = match self.contact.fields.get(place.field.as_str())? {
                Reading::Is(value) => Some(json(value)),
                Reading::Empty if self.clears.includes(place.field.as_str()) => None,
                // There is nothing to clear, or no value that Intercom can take.
                Reading::Empty | Reading::Invalid => return None,
            };
            Some((place.key.as_str(), value))
        })
    }
}

/// Reads the value of a place in the form of its field. Dates are in seconds.
fn read(form: Form, json: Option<&Value>) -> Reading {
    let text = match json {
        None | Some(Value::Null) => return Reading::Empty,
        Some(Value::String(text)) => text.clone(),
        Some(json @ (Value::Number(_) | Value::Bool(_))) => json.to_string(),
        Some(Value::Array(_) | Value::Object(_)) => return Reading::Invalid,
    };
    let at = || lenient::instant(&text);
    match form {
        Form::Day => match at() {
            Some(at) => Form::Day.read(Some(&at.date_naive().to_string())),
            None => seconds(&text).map_or_else(
                || Form::Day.read(Some(&text)),
                |at| Form::Day.read(Some(&at.date_naive().to_string())),
            ),
        },
        Form::Time => match at().or_else(|| seconds(&text)) {
            Some(at) => Form::Time.read(Some(&at.timestamp().to_string())),
            None => Form::Time.read(Some(&text)),
        },
        form => form.read(Some(&text)),
    }
}

/// A count of seconds, also from before 1970.
fn seconds(text: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(text.trim().parse().ok()?, 0)
}

/// A value as Intercom takes it. Dates are in seconds: a day is its midnight in UTC.
fn json(value: &contact::Value) -> Value {
    let contact::Value::Typed(form, text) = value else {
        return value.as_str().into();
    };
    let typed = match form {
        Form::YesNo => text.parse::<bool>().ok().map(Value::from),
        Form::Day => NaiveDate::from_str(text)
            .ok()
            .map(|day| day.and_time(NaiveTime::MIN).and_utc().timestamp().into()),
        Form::Decimal => text.parse::<f64>().ok().map(Value::from),
        _ => text.parse::<i64>().ok().map(Value::from),
    };
    typed.unwrap_or_else(|| text.as_str().into())
}

/// The body of a write that clears the e-mail and changes nothing else.
pub(super) fn clear_email() -> serde_json::Value {
    serde_json::json!({ "email": null })
}

/// The same where Intercom takes no null: an address of a domain that cannot exist (RFC 2606), so
/// that no mail to it can reach anybody.
pub(super) fn replace_email(keap: KeapId) -> serde_json::Value {
    serde_json::json!({ "email": format!("keap-{keap}@address-moves.invalid") })
}

/// A contact as Intercom shows it: only the properties that matching needs. Without an id it is not
/// understood; any other value that cannot be read counts as absent.
#[derive(Deserialize)]
pub(super) struct ContactWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    role: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    external_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    email: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    phone: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    updated_at: Option<String>,
    #[serde(default, deserialize_with = "lenient::readable")]
    custom_attributes: Option<HashMap<String, Value>>,
    #[serde(default)]
    avatar: Option<Value>,
    #[serde(default)]
    owner_id: Option<Value>,
    #[serde(default)]
    signed_up_at: Option<Value>,
    #[serde(default)]
    last_seen_at: Option<Value>,
    #[serde(default)]
    unsubscribed_from_emails: Option<Value>,
    #[serde(default, deserialize_with = "lenient::readable")]
    tags: Option<TagListWire>,
}

/// The first ten tags of a contact.
#[derive(Deserialize)]
struct TagListWire {
    #[serde(default, deserialize_with = "lenient::filled")]
    data: Vec<TagWire>,
    #[serde(default, deserialize_with = "lenient::text")]
    total_count: Option<String>,
    #[serde(default, deserialize_with = "lenient::readable")]
    has_more: Option<bool>,
}

/// A tag. A contact shows only its id.
#[derive(Deserialize)]
pub(super) struct TagWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<String>,
}

/// A list of tags.
#[derive(Deserialize)]
pub(super) struct TagsWire {
    #[serde(deserialize_with = "lenient::filled")]
    data: Vec<TagWire>,
}

impl TagListWire {
    fn is_cut(&self) -> bool {
        let total = self.total_count.as_deref().and_then(|count| count.parse().ok());
        self.has_more == Some(true) || total > Some(self.data.len())
    }

    /// The ids of all of them, as far as it is certain.
    fn all(self) -> Option<Vec<String>> {
        (!self.is_cut()).then(|| self.data.into_iter().map(|tag| tag.id).collect())
    }
}

impl TagsWire {
    pub(super) fn ids(&self) -> Vec<String> {
        self.data.iter().map(|tag| tag.id.clone()).collect()
    }

    /// Each id with its name.
    pub(super) fn tags(self) -> Vec<(String, String)> {
        self.data.into_iter().filter_map(|tag| Some((tag.id, tag.name?))).collect()
    }
}

impl ContactWire {
    /// `None`: the id is not safe in a URL path.
    pub(super) fn candidate(self, places: &Places) -> Option<Candidate> {
        let (tags, hides_tags) = places.of_tags(&self);
        let (shows, rest) = (places.of_person(&self), places.of_rest(&self).and(tags));
        let role = if self.role.as_deref() == Some("lead") { Role::Lead } else { Role::User };
        // Unix seconds here, ISO texts in webhooks (`docs/api/intercom.md`, "Fields of a contact").
        let created_at = self.created_at.as_deref().and_then(lenient::instant);
        let updated_at = self.updated_at.as_deref().and_then(lenient::instant);
        Some(Candidate {
            id: IntercomId::new(self.id)?,
            role,
            // Intercom gives a lead its external id (`docs/api/intercom.md`, "Ids and roles").
            external_id: self.external_id.filter(|id| role == Role::User && !id.is_empty()),
            email: self
                .email
                .as_deref()
                .and_then(Email::new)
                .map(|email| email.folded().to_owned()),
            shows,
            rest,
            hides_tags,
            tags: self.tags.and_then(TagListWire::all),
            created_at: created_at.map_or(0, |at| at.timestamp()),
            updated_at: updated_at.map(|at| at.timestamp()),
        })
    }
}

/// The answer to a write. Only the id is read.
#[derive(Deserialize)]
pub(super) struct WrittenWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(deserialize_with = "lenient::filled")]
    pub data: Vec<ContactWire>,
    #[serde(default, deserialize_with = "lenient::readable")]
    pages: Option<Pages>,
}

#[derive(Deserialize)]
struct Pages {
    #[serde(default, deserialize_with = "lenient::readable")]
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default, deserialize_with = "lenient::text")]
    starting_after: Option<String>,
}

impl Found {
    /// The ids of the tags that its contacts show.
    pub(super) fn tag_ids(&self) -> impl Iterator<Item = &str> {
        let lists = self.data.iter().filter_map(|contact| contact.tags.as_ref());
        lists.flat_map(|list| list.data.iter().map(|tag| tag.id.as_str()))
    }

    pub(super) fn cursor(&mut self) -> Option<String> {
        self.pages.take()?.next?.starting_after.filter(|cursor| !cursor.is_empty())
    }
}

/// How a search asks for contacts. Only trying shows which of the documented limits really bind
/// (`docs/api/intercom.md`, "Search").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchForm {
    /// Two lists under one OR: e-mails and external ids.
    EmailsAndIds,
    /// A list of e-mails.
    Emails,
    /// Single e-mails under one OR.
    OneByOne,
    /// Single external ids under one OR.
    Ids,
}

impl SearchForm {
    /// The forms that ask for e-mails. The one that asks for most comes first.
    pub(super) const ALL: [Self; 3] = [Self::EmailsAndIds, Self::Emails, Self::OneByOne];
}

/// The body of a search for the wanted contacts, from a cursor on.
pub(super) fn search(
    wanted: &[Wanted],
    form: SearchForm,
    cursor: Option<&str>,
) -> serde_json::Value {
    let emails: Vec<&str> = wanted.iter().flat_map(|one| spellings(&one.email)).collect();
    let filter = |field: &str, operator: &str, value: serde_json::Value| serde_json::json!({ "field": field, "operator": operator, "value": value });
    let query = match form {
        SearchForm::EmailsAndIds => {
            let ids: Vec<String> = wanted.iter().map(|one| one.keap.to_string()).collect();
            serde_json::json!({ "operator": "OR", "value": [filter("email", "IN", emails.into()), filter("external_id", "IN", ids.into())] })
        }
        SearchForm::Emails => filter("email", "IN", emails.into()),
        SearchForm::OneByOne => {
            let each: Vec<_> =
                emails.into_iter().map(|email| filter("email", "=", email.into())).collect();
            serde_json::json!({ "operator": "OR", "value": each })
        }
        SearchForm::Ids => {
            let each =
                wanted.iter().map(|one| filter("external_id", "=", one.keap.to_string().into()));
            serde_json::json!({ "operator": "OR", "value": each.collect::<Vec<_>>() })
        }
    };
    let mut pagination = serde_json::json!({ "per_page": 150 });
    if let Some(cursor) = cursor {
        pagination["starting_after"] = cursor.into();
    }
    serde_json::json!({ "query": query, "pagination": pagination })
}

/// The body of a list of all users, from a cursor on.
pub(super) fn all_users(order: UserOrder, cursor: Option<&str>) -> serde_json::Value {
    let (field, order) = match order {
        UserOrder::NewestFirst => ("updated_at", "descending"),
        UserOrder::AsCreated => ("created_at", "ascending"),
    };
    let mut pagination = serde_json::json!({ "per_page": 150 });
    if let Some(cursor) = cursor {
        pagination["starting_after"] = cursor.into();
    }
    serde_json::json!({
        "query": { "field": "role", "operator": "=", "value": "user" },
        "sort": { "field": field, "order": order },
        "pagination": pagination,
    })
}

/// The address in lower case, as experience shows is needed, and as it is written if that differs:
/// nobody has documented whether Intercom's search minds the case.
pub(super) fn spellings(email: &Email) -> Vec<&str> {
    let (folded, written) = (email.folded(), email.as_written());
    if folded == written { vec![folded] } else { vec![folded, written] }
}

#[derive(Deserialize)]
pub(super) struct Errors {
    #[serde(default, deserialize_with = "lenient::filled")]
    pub errors: Vec<ErrorWire>,
}

#[derive(Deserialize)]
pub(super) struct ErrorWire {
    #[serde(default, deserialize_with = "lenient::text")]
    code: Option<String>,
    /// The text may quote the contact, so only ids and names of properties are read out of it, and
    /// nobody is shown it.
    #[serde(default, deserialize_with = "lenient::text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    field: Option<String>,
}

impl Errors {
    pub(super) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or(Self { errors: Vec::new() })
    }

    pub(super) fn has_code(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code.as_deref() == Some(code))
    }

    /// Codes and names of properties. They hold no personal data.
    pub(super) fn in_words(&self) -> String {
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

    /// The field that Intercom refuses, as far as the answer names it: in `field`, or in its text.
    pub(super) fn blamed(&self, places: &Places) -> Option<FieldName> {
        let by_field =
            self.errors.iter().find_map(|error| places.field_at(error.field.as_deref()?));
        by_field.or_else(|| {
            self.errors.iter().find_map(|error| places.field_named_in(error.message.as_deref()?))
        })
    }

    /// Whether an answer says that the workspace has no such attribute, or that nobody may write
    /// it. Only its text says so: "Custom attribute 'plan' does not exist".
    pub(super) fn deny_an_attribute(&self, places: &Places) -> bool {
        const SAY_SO: [&str; 4] =
            ["does not exist", "doesn't exist", "cannot be written", "archived"];
        self.errors.iter().filter_map(|error| error.message.as_deref()).any(|message| {
            let text = message.to_lowercase();
            SAY_SO.iter().any(|words| text.contains(words))
                && places.attribute_quoted_in(&text).is_some()
        })
    }

    /// The contact that is in the way. Only the text of the error has its id
    /// (`docs/api/intercom.md`, "Conflicts").
    pub(super) fn conflict(&self) -> Conflict {
        for message in self.errors.iter().filter_map(|error| error.message.as_deref()) {
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
        Conflict { id: None, archived: false }
    }
}

/// The contact that a 410 names as the survivor of a merge:
/// `</contacts/{id}>; rel="canonical"`. Only the id is read, never a host.
pub(super) fn survivor(link: &str) -> Option<IntercomId> {
    link.split(',').find_map(|one| {
        let (target, _) = one.trim().strip_prefix('<')?.split_once('>')?;
        let path = target.split(['?', '#']).next()?;
        IntercomId::new(path.rsplit_once("/contacts/")?.1.trim_end_matches('/'))
    })
}

/// Whether the body is a JSON object that is not empty.
pub(super) fn is_filled_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
        .is_ok_and(|object| !object.is_empty())
}

#[derive(Deserialize)]
pub(super) struct Me {
    #[serde(default, deserialize_with = "lenient::readable")]
    pub app: Option<App>,
}

#[derive(Deserialize)]
pub(super) struct App {
    #[serde(default, deserialize_with = "lenient::text")]
    pub id_code: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub region: Option<String>,
}

#[cfg(test)]
mod tests;
