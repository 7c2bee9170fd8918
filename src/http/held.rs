//! `GET /sync/held` and `POST /sync/held/retry`: the contacts that need a person.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::batch;
use super::code::Code;
use super::decide;
use super::json::{self, Field};
use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::contact::KeapId;
use crate::outcome::Decided;
use crate::store::{DecidedBy, Held, NewDecision, Whose};

/// Which held contacts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HeldQuery {
    /// Only contacts that are held for this reason.
    #[param(value_type = Option<String>, example = "several_users", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    reason: Option<String>,
    /// The most contacts of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Held contacts, the longest wait first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldReply {
    success: bool,
    /// How many contacts are held, by reason. The most frequent one comes first.
    reasons: Vec<ReasonCount>,
    held: Vec<HeldBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReasonCount {
    code: String,
    contacts: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeldBody {
    keap_contact_id: i64,
    /// The reason as a word, for programs.
    code: String,
    /// The reason in words.
    reason: String,
    /// The Intercom contacts to choose from.
    candidates: Vec<String>,
    attempts: i32,
    since: DateTime<Utc>,
}

impl From<Held> for HeldBody {
    fn from(held: Held) -> Self {
        let Held { keap_contact_id, code, reason, candidates, attempts, since } = held;
        Self { keap_contact_id, code, reason, candidates, attempts, since }
    }
}

/// Lists the contacts that need a person, the longest wait first
#[utoipa::path(get, path = "/sync/held", tag = "held", operation_id = "listHeld", params(HeldQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of held contacts", body = HeldReply, example = json!({
            "success": true, "reasons": [{ "code": "several_users", "contacts": 1 }], "next": null,
            "held": [{ "keapContactId": 1000, "code": "several_users", "reason": "several_users: more than one Intercom user has this e-mail",
                "candidates": ["6762f0dd1bb69f9f00000151", "6762f0dd1bb69f9f00000152"], "attempts": 1, "since": "2026-11-25T03:35:49.128648Z" }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn held(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<HeldQuery>, QueryRejection>,
) -> Result<Json<HeldReply>, Problem> {
    let HeldQuery { reason, limit, after } = list::query(query, "reason")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(After::<i64>::read).transpose()?;
    let after = after.map(|after| (after.at, after.id));
    let reasons = state.store.held_by_reason().await?;
    let mut held = state.store.held_after(reason.as_deref(), after, Some(limit + 1)).await?;
    let next = list::next(&mut held, limit, |one| After::text(one.since, &one.keap_contact_id));
    Ok(Json(HeldReply {
        success: true,
        reasons: reasons
            .into_iter()
            .map(|(code, contacts)| ReasonCount { code, contacts })
            .collect(),
        held: held.into_iter().map(HeldBody::from).collect(),
        next,
    }))
}

/// Which held contacts become due again. Give one of the three fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetryRequest {
    /// 1 to 1,000 Keap contact ids. `keap_contact_ids` is accepted too.
    #[schema(schema_with = batch::keap_ids_schema)]
    #[serde(default, alias = "keap_contact_ids", deserialize_with = "batch::given")]
    keap_contact_ids: Option<Vec<Value>>,
    /// Every contact that is held for this reason.
    #[serde(default, deserialize_with = "list::word")]
    #[schema(value_type = Option<String>, example = "several_users", pattern = "^[A-Za-z0-9_]{1,64}$")]
    reason: Option<String>,
    /// Every held contact.
    #[serde(default)]
    all: Option<bool>,
}

const RETRY_FIELDS: [Field; 3] = [
    Field { name: "keapContactIds", former: Some("keap_contact_ids") },
    Field { name: "reason", former: None },
    Field { name: "all", former: None },
];

/// What was made due again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryReply {
    success: bool,
    /// The contacts that are due again.
    retried: Vec<i64>,
    /// The named contacts that are not held.
    not_held: Vec<i64>,
}

/// Makes held contacts due again
///
/// The daemon looks at them at once. A contact whose reason still holds is held again, since the
/// same time as before.
#[utoipa::path(post, path = "/sync/held/retry", tag = "held", operation_id = "retryHeld",
    request_body(content = RetryRequest, example = json!({ "keapContactIds": [1000] })), security(("apiToken" = [])),
    responses(
        (status = 202, description = "The contacts are due again", body = RetryReply, example = json!({ "success": true, "retried": [1000], "notHeld": [] })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 1,000 contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn retry(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<RetryReply>), Problem> {
    let expected =
        "{\"keapContactIds\": [12345]}, {\"reason\": \"several_users\"}, or {\"all\": true}";
    let body: RetryRequest = json::body(&body, &RETRY_FIELDS, expected)?;
    let ids = match (&body.keap_contact_ids, &body.reason, body.all) {
        (Some(ids), None, None) => Some(batch::ids(ids)?),
        (None, Some(_), None) | (None, None, Some(true)) => None,
        _ => {
            let why = format!("the body names no contacts, or in two ways; expected {expected}");
            return Err(Problem::new(Code::InvalidBody, why));
        }
    };
    let whose = match (ids.as_deref(), body.reason.as_deref()) {
        (Some(ids), _) => Whose::These(ids),
        (None, Some(reason)) => Whose::Reason(reason),
        (None, None) => Whose::All,
    };
    let retry = NewDecision { whose, decided: Decided::Retry, intercom: None, by: DecidedBy::Http };
    let taken = decide::take(&state, &retry).await?;
    let numbers = |ids: Vec<KeapId>| ids.iter().map(|id| id.get()).collect();
    let (retried, not_held) = (numbers(taken.decided), numbers(taken.not_held));
    Ok((StatusCode::ACCEPTED, Json(RetryReply { success: true, retried, not_held })))
}
