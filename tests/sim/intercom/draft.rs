//! Parses and checks the body of a create or update (`docs/api/intercom.md`, "Writing").

use serde_json::{Map, Value};

use super::attributes::Model;
use super::contact::{Facts, Role};
use super::knobs::IntercomKnobs;
use super::workspace::Workspace;
use super::{errors, values};
use crate::sim::message::Answer;

/// A property of the body: absent (`None`), null (`Some(None)`) or set.
type Given<T> = Option<Option<T>>;

#[derive(Default)]
pub(super) struct Draft {
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
    language_override: Given<String>,
    avatar: Given<String>,
    custom_attributes: Map<String, Value>,
}

impl Draft {
    /// Parses a body. Ignores unknown properties and those that a client cannot set, such as
    /// `type`.
    pub(super) fn parse(
        body: Option<&Value>,
        workspace: &Workspace,
        knobs: &IntercomKnobs,
    ) -> Result<Draft, Answer> {
        let Some(Value::Object(body)) = body else {
            return Err(errors::error(400, "bad_request", "The request body is not a JSON object"));
        };
        let draft = Draft {
            role: role(body),
            external_id: text(body, "external_id")?,
            email: rewritten(body, "email", knobs)?,
            phone: rewritten(body, "phone", knobs)?,
            name: rewritten(body, "name", knobs)?,
            owner_id: typed(body, "owner_id", id)?,
            signed_up_at: typed(body, "signed_up_at", Value::as_i64)?,
            last_seen_at: typed(body, "last_seen_at", Value::as_i64)?,
            unsubscribed_from_emails: typed(body, "unsubscribed_from_emails", Value::as_bool)?,
            email_verified: typed(body, "email_verified", Value::as_bool)?,
            language_override: typed(body, "language_override", owned)?,
            avatar: typed(body, "avatar", owned)?,
            custom_attributes: values::custom_attributes(
                body,
                Model::Contact,
                &workspace.attributes,
                knobs,
            )?,
        };
        draft.check(workspace, knobs)?;
        Ok(draft)
    }

    /// Checks the values. The error is the answer that refuses the write.
    fn check(&self, workspace: &Workspace, knobs: &IntercomKnobs) -> Result<(), Answer> {
        if let Some(Some(owner)) = &self.owner_id
            && !workspace.admins.has(owner)
        {
            return Err(errors::invalid("The owner specified is not a member of the workspace"));
        }
        if self.email_verified.is_some() && self.email.is_none() {
            return Err(errors::invalid("email_verified requires email"));
        }
        let is_null = matches!(self.email, Some(None));
        if self.email().is_some_and(|email| knobs.refuse_emails.contains(email))
            || (is_null && knobs.refuse_null_email)
        {
            return Err(errors::refused_email(self.email().unwrap_or("null"), knobs));
        }
        let phone = self.phone.as_ref().and_then(|phone| phone.as_deref());
        if phone.is_some_and(|phone| knobs.refuse_phones.contains(phone)) {
            return Err(errors::refused_field("phone"));
        }
        Ok(())
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        self.external_id.as_ref()?.as_deref().filter(|id| !id.is_empty())
    }

    pub(super) fn email(&self) -> Option<&str> {
        self.email.as_ref()?.as_deref().filter(|email| !email.is_empty())
    }

    /// Copies the properties of the body into `facts`, except the external id and the role, which
    /// the caller checks.
    pub(super) fn fill(self, facts: &mut Facts) {
        if let Some(email) = self.email {
            // Intercom shows a cleared e-mail as an empty text, but a cleared phone or name as
            // null.
            facts.email = Some(email.unwrap_or_default());
        }
        if let Some(phone) = self.phone {
            facts.phone = phone;
        }
        if let Some(name) = self.name {
            facts.name = name;
        }
        let mut extras = facts.extras.take().map(|extras| *extras).unwrap_or_default();
        extras.owner_id = self.owner_id.unwrap_or(extras.owner_id);
        extras.signed_up_at = self.signed_up_at.unwrap_or(extras.signed_up_at);
        extras.last_seen_at = self.last_seen_at.unwrap_or(extras.last_seen_at);
        extras.language_override = self.language_override.unwrap_or(extras.language_override);
        extras.avatar = self.avatar.unwrap_or(extras.avatar);
        if let Some(unsubscribed) = self.unsubscribed_from_emails {
            extras.unsubscribed_from_emails = unsubscribed.unwrap_or(false);
        }
        if let Some(verified) = self.email_verified {
            extras.email_verified = verified.unwrap_or(false);
        }
        // Absent attributes stay. A cleared attribute stays with the value null.
        extras.custom_attributes.extend(self.custom_attributes);
        facts.set_extras(extras);
    }
}

/// Reads the role. An unknown role counts as a user, as the real service was seen to do.
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
            None => Err(errors::error(400, "type_mismatch", &format!("{name} has the wrong type"))),
        },
    }
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Given<Box<str>>, Answer> {
    typed(body, name, |value| value.as_str().map(Box::from))
}

fn rewritten(
    body: &Map<String, Value>,
    name: &str,
    knobs: &IntercomKnobs,
) -> Result<Given<Box<str>>, Answer> {
    typed(body, name, |value| Some(values::rewritten(name, value.as_str()?, knobs)))
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// An id as a text, or as a number of an older version.
fn id(value: &Value) -> Option<String> {
    owned(value).or_else(|| value.as_u64().map(|id| id.to_string()))
}
