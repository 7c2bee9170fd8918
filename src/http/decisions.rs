//! `GET /sync/held/decisions`: the decisions in force.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::store::StoredDecision;

/// Which decisions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DecisionsQuery {
    /// Only decisions of this word.
    #[param(value_type = Option<String>, example = "ignore", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    decision: Option<String>,
    /// The most decisions of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Decisions in force, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionsReply {
    success: bool,
    decisions: Vec<DecisionBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

/// What a person has decided about a contact.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecisionBody {
    keap_contact_id: i64,
    /// `use`, `create`, `retry`, `ignore_until_changed` or `ignore`.
    decision: String,
    /// The Intercom contact to use.
    intercom_contact_id: Option<String>,
    /// The reason for which the contact was held.
    reason: String,
    /// `page`, `http` or `command`.
    decided_by: String,
    decided_at: DateTime<Utc>,
    /// When it was carried out. It stays in force.
    done_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// `done`, `taken_back`, `replaced`, `void`, `changed` or `gone`. Null: it is in force.
    ended_how: Option<String>,
    taken_back_by: Option<String>,
}

impl From<StoredDecision> for DecisionBody {
    fn from(stored: StoredDecision) -> Self {
        Self {
            keap_contact_id: stored.keap_contact_id,
            decision: stored.decision,
            intercom_contact_id: stored.intercom_contact_id,
            reason: stored.reason,
            decided_by: stored.decided_by,
            decided_at: stored.decided_at,
            done_at: stored.done_at,
            ended_at: stored.ended_at,
            ended_how: stored.ended_how,
            taken_back_by: stored.taken_back_by,
        }
    }
}

/// Lists the decisions in force, the newest first
#[utoipa::path(get, path = "/sync/held/decisions", tag = "held", operation_id = "listDecisions", params(DecisionsQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of decisions", body = DecisionsReply, example = json!({
            "success": true, "next": null,
            "decisions": [{ "keapContactId": 1000, "decision": "ignore", "intercomContactId": null, "reason": "several_users", "decidedBy": "http",
                "decidedAt": "2026-11-25T03:35:49.128648Z", "doneAt": null, "endedAt": null, "endedHow": null, "takenBackBy": null }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn decisions(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<DecisionsQuery>, QueryRejection>,
) -> Result<Json<DecisionsReply>, Problem> {
    let DecisionsQuery { decision, limit, after } = list::query(query, "decision")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(After::<i64>::read).transpose()?;
    let words = decision.as_deref().map(|word| [word]);
    let (decisions, next) =
        page(&state, words.as_ref().map(<[&str; 1]>::as_slice), after, limit).await?;
    let decisions = decisions.into_iter().map(DecisionBody::from).collect();
    Ok(Json(DecisionsReply { success: true, decisions, next }))
}

/// A page of the decisions in force, of all words or these, and the key of the next one.
pub(super) async fn page(
    state: &HttpState,
    words: Option<&[&str]>,
    after: Option<After<i64>>,
    limit: i64,
) -> Result<(Vec<StoredDecision>, Option<String>), Problem> {
    let after = after.map(|after| (after.at, after.id));
    let mut decisions = state.store.decisions_in_force(words, after, limit + 1).await?;
    let next = list::next(&mut decisions, limit, |one| After::text(one.decided_at, &one.id));
    Ok((decisions, next))
}
