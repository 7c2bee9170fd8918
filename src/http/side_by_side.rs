//! `GET /sync/contacts/{id}/fields`: the fields of a contact as both products show them now.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::contact::{IntercomId, KeapId};
use crate::report::{ComparedField, SideBySide, SideShown};

/// The fields of a contact on both sides.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldsReply {
    success: bool,
    keap_contact_id: i64,
    /// Null: it is not linked.
    intercom_contact_id: Option<String>,
    keap: SideBody,
    intercom: SideBody,
    fields: Vec<FieldBody>,
}

/// How one side has answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SideBody {
    /// When the contact last changed there, as far as the side says.
    updated_at: Option<DateTime<Utc>>,
    /// Why it shows nobody.
    error: Option<String>,
}

/// One field on both sides.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldBody {
    name: String,
    /// Who decides what the field holds.
    #[schema(example = "Keap")]
    owner: Option<String>,
    /// The value in Keap; an empty text is an empty field. Null: Keap does not show the field.
    keap: Option<String>,
    /// The same in Intercom.
    intercom: Option<String>,
    /// Whether both are the same, where both sides show the field.
    same: Option<bool>,
}

impl From<SideShown> for SideBody {
    fn from(shown: SideShown) -> Self {
        match shown {
            SideShown::Contact(updated_at) => Self { updated_at, error: None },
            SideShown::Nobody(why) => Self { updated_at: None, error: Some(why) },
        }
    }
}

/// A contact on both sides, and its Intercom contact.
pub(super) struct Both {
    pub intercom_id: Option<IntercomId>,
    pub sides: SideBySide,
}

/// Reads a contact in both products. `None`: nothing is known of it, or nobody may look at it
/// because it was erased.
pub(super) async fn read(state: &HttpState, id: KeapId) -> Result<Option<Both>, Problem> {
    let known = state.store.explain(id, 1).await?;
    if known.erasure.is_some() || known.is_empty() {
        return Ok(None);
    }
    let linked = known.link.and_then(|link| link.intercom_contact_id);
    let intercom_id = linked.and_then(IntercomId::new);
    // No transaction is open while the products are asked.
    let sides = (state.both_sides)(id, intercom_id.clone()).await;
    Ok(Some(Both { intercom_id, sides }))
}

/// Who decides what a field holds; `None` for a field that the mapping does not name any more.
pub(super) fn owner_of(state: &HttpState, name: &str) -> Option<&'static str> {
    let mapped = state.shown.fields.borrow();
    let fields = mapped.as_ref().map(|mapped| mapped.fields.as_slice()).unwrap_or_default();
    fields.iter().find(|field| field.name == name).map(|field| field.decides)
}

/// Shows the fields of a contact as Keap and Intercom have them now
///
/// It costs one call to each of them, and nothing of the values is stored or logged. A side that
/// does not answer says so in `error`.
#[utoipa::path(get, path = "/sync/contacts/{id}/fields", tag = "contacts", operation_id = "showContactFields",
    params(("id" = i64, Path, minimum = 1, description = "A Keap contact id", example = 12345)), security(("apiToken" = [])),
    responses(
        (status = 200, description = "The fields on both sides", body = FieldsReply, example = json!({
            "success": true, "keapContactId": 12345, "intercomContactId": "6762f0dd1bb69f9f00000000",
            "keap": { "updatedAt": "2026-11-25T04:05:52Z", "error": null }, "intercom": { "updatedAt": "2026-11-25T04:05:54Z", "error": null },
            "fields": [{ "name": "phone", "owner": "Keap", "keap": "+15550100", "intercom": "+15550100", "same": true }] })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is known of such a contact, or it was erased", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn fields(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<FieldsReply>, Problem> {
    let unknown = || Problem::new(Code::UnknownContact, "nothing is known of such a contact");
    let Path(id) = path.map_err(|_| unknown())?;
    let id: KeapId = id.parse().map_err(|_| unknown())?;
    let Both { intercom_id, sides } = read(&state, id).await?.ok_or_else(unknown)?;
    let body = |field: ComparedField| {
        let ComparedField { name, keap, intercom, is_same: same } = field;
        FieldBody { owner: owner_of(&state, &name).map(str::to_owned), name, keap, intercom, same }
    };
    Ok(Json(FieldsReply {
        success: true,
        keap_contact_id: id.get(),
        intercom_contact_id: intercom_id.map(|id| id.as_str().to_owned()),
        keap: sides.keap.into(),
        intercom: sides.intercom.into(),
        fields: sides.fields.into_iter().map(body).collect(),
    }))
}
