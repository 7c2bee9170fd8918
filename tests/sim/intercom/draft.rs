//! The body of a create or update, read and checked.

use serde_json::{Map, Value};

use super::contact::{Facts, Role};
use super::errors;
use super::knobs::IntercomKnobs;
use crate::sim::message::Answer;

/// Longest string value of a custom attribute.
const ATTRIBUTE_LIMIT: usize = 255;

/// Absent, null or given.
type Given<T> = Option<Option<T>>;

#[derive(Default)]
pub struct Draft {
    pub role: Option<Role>,
    pub external_id: Given<Box<str>>,
    pub email: Given<Box<str>>,
    pub phone: Given<Box<str>>,
    pub name: Given<Box<str>>,
    owner_id: Given<String>,
    signed_up_at: Given<i64>,
    last_seen_at: Given<i64>,
    unsubscribed_from_emails: Given<bool>,
    email_verified: Given<bool>,
    custom_attributes: Map<String, Value>,
}

impl Draft {
    /// Unknown properties are ignored, as are `type` and the like.
    pub fn parse(body: Option<&Value>, knobs: &IntercomKnobs) -> Result<Draft, Answer> {
        let Some(Value::Object(body)) = body else {
            return Err(errors::error(
                400,
                "bad_request",
                "The request body is not a JSON object",
            ));
        };
        let draft = Draft {
            role: role(body),
            external_id: text(body, "external_id")?,
            email: text(body, "email")?,
            phone: text(body, "phone")?,
            name: text(body, "name")?,
            owner_id: text(body, "owner_id")?.map(|id| id.map(str::into_string)),
            signed_up_at: typed(body, "signed_up_at", Value::as_i64)?,
            last_seen_at: typed(body, "last_seen_at", Value::as_i64)?,
            unsubscribed_from_emails: typed(body, "unsubscribed_from_emails", Value::as_bool)?,
            email_verified: typed(body, "email_verified", Value::as_bool)?,
            custom_attributes: custom_attributes(body, knobs)?,
        };
        if draft.email_verified.is_some() && draft.email.is_none() {
            return Err(errors::invalid("email_verified requires email"));
        }
        if let Some(email) = draft.email()
            && knobs.refuse_emails.contains(email)
        {
            return Err(errors::invalid(&format!("Email {email} is invalid")));
        }
        Ok(draft)
    }

    pub fn external_id(&self) -> Option<&str> {
        self.external_id
            .as_ref()?
            .as_deref()
            .filter(|id| !id.is_empty())
    }

    pub fn email(&self) -> Option<&str> {
        self.email
            .as_ref()?
            .as_deref()
            .filter(|email| !email.is_empty())
    }

    /// Puts what is given into the facts; identity and role are the caller's to judge.
    pub fn fill(self, facts: &mut Facts) {
        if let Some(email) = self.email {
            // A cleared e-mail reads back as an empty text, a cleared phone or name as null.
            facts.email = Some(email.unwrap_or_default());
        }
        if let Some(phone) = self.phone {
            facts.phone = phone;
        }
        if let Some(name) = self.name {
            facts.name = name;
        }
        let extras = self.owner_id.is_some()
            || self.signed_up_at.is_some()
            || self.last_seen_at.is_some()
            || self.unsubscribed_from_emails.is_some()
            || self.email_verified.is_some()
            || !self.custom_attributes.is_empty();
        if !extras {
            return;
        }
        let extras = facts.extras.get_or_insert_default();
        extras.owner_id = self.owner_id.unwrap_or_else(|| extras.owner_id.take());
        extras.signed_up_at = self.signed_up_at.unwrap_or(extras.signed_up_at);
        extras.last_seen_at = self.last_seen_at.unwrap_or(extras.last_seen_at);
        if let Some(unsubscribed) = self.unsubscribed_from_emails {
            extras.unsubscribed_from_emails = unsubscribed.unwrap_or(false);
        }
        if let Some(verified) = self.email_verified {
            extras.email_verified = verified.unwrap_or(false);
        }
        // Keys that are not sent stay; a cleared one stays with null.
        extras.custom_attributes.extend(self.custom_attributes);
    }
}

/// An unknown role is taken for a user, as recorded.
fn role(body: &Map<String, Value>) -> Option<Role> {
    match body.get("role")? {
        Value::Null => None,
        Value::String(word) if word == "lead" => Some(Role::Lead),
        _ => Some(Role::User),
    }
}

fn typed<T>(
    body: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Given<T>, Answer> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match read(value) {
            Some(value) => Ok(Some(Some(value))),
            None => Err(errors::error(
                400,
                "type_mismatch",
                &format!("{name} has the wrong type"),
            )),
        },
    }
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Given<Box<str>>, Answer> {
    typed(body, name, |value| value.as_str().map(Box::from))
}

fn custom_attributes(
    body: &Map<String, Value>,
    knobs: &IntercomKnobs,
) -> Result<Map<String, Value>, Answer> {
    let attributes = match body.get("custom_attributes") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return Err(errors::invalid("custom_attributes must be an object")),
    };
    for (name, value) in attributes {
        if !knobs.attributes.contains(name) {
            return Err(errors::invalid(&format!(
                "Custom attribute '{name}' does not exist"
            )));
        }
        let too_long = value
            .as_str()
            .is_some_and(|text| text.chars().count() > ATTRIBUTE_LIMIT);
        if too_long || value.is_object() || value.is_array() {
            return Err(errors::invalid(&format!(
                "Custom attribute '{name}' has an invalid value"
            )));
        }
    }
    Ok(attributes.clone())
}
