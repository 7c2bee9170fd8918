//! The users of Intercom without a contact in Keap that wait for a person, in the words of the API.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Array, Object, Type};

use super::batch::MAX_BATCH_CONTACTS;
use super::code::Code;
use super::problem::Problem;
use crate::contact::{IntercomId, NotAnIntercomId};
use crate::outcome::Decided;
use crate::store::HeldNewcomer;

/// A user of Intercom without a contact in Keap.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeldUser {
    #[schema(example = "6762f0dd1bb69f9f00000000")]
    intercom_contact_id: String,
    /// The reason as a word, for programs.
    #[schema(example = "external_id_taken")]
    code: String,
    /// The reason in words.
    reason: String,
    attempts: i32,
    since: DateTime<Utc>,
    /// What can be decided about it: nothing but to try it again.
    #[schema(value_type = Vec<String>, example = json!(["retry"]))]
    offers: [&'static str; 1],
}

impl From<HeldNewcomer> for HeldUser {
    fn from(user: HeldNewcomer) -> Self {
        let HeldNewcomer { intercom_contact_id, code, reason, attempts, since } = user;
        let offers = [Decided::Retry.code()];
        Self { intercom_contact_id, code, reason, attempts, since, offers }
    }
}

/// The id of a user as the key of a page has it.
#[derive(Debug, Clone)]
pub(super) struct UserKey(pub IntercomId);

impl FromStr for UserKey {
    type Err = NotAnIntercomId;

    fn from_str(text: &str) -> Result<Self, NotAnIntercomId> {
        IntercomId::try_from(text.to_owned()).map(Self)
    }
}

impl std::fmt::Display for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`ids`] accepts, for the OpenAPI document.
pub(super) fn ids_schema() -> Array {
    let id = Object::builder().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_-]{1,64}$"));
    Array::builder()
        .items(id)
        .min_items(Some(1))
        .max_items(Some(MAX_BATCH_CONTACTS))
        .examples([serde_json::json!(["6762f0dd1bb69f9f00000000"])])
        .build()
}

/// The ids that a request names.
pub(super) fn ids(given: &[String]) -> Result<Vec<IntercomId>, Problem> {
    if given.is_empty() {
        return Err(Problem::new(Code::InvalidBody, "intercomContactIds is empty"));
    }
    if given.len() > MAX_BATCH_CONTACTS {
        let why = format!("a request names at most {MAX_BATCH_CONTACTS} users");
        return Err(Problem::new(Code::TooLarge, why));
    }
    let each = given.iter().enumerate().map(|(at, id)| {
        IntercomId::new(id.as_str()).ok_or_else(|| {
            let why = format!("intercomContactIds[{at}] is not an Intercom contact id");
            Problem::new(Code::InvalidId, why)
        })
    });
    each.collect()
}
