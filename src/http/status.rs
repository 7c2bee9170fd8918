//! `POST /sync/run` and `GET /sync/contacts/{id}`: asks for a walk, and shows what is known of a
//! contact.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};
use uuid::Uuid;

use super::code::Code;
use super::decisions::DecisionBody;
use super::json;
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::contact::KeapId;
use crate::feed::{Feed, RunReason};

/// A request for a walk.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    /// `changed`: contacts that changed since the last poll. `backfill`: all contacts, or those
    /// that changed since `since`. `sweep`: linked contacts that Keap no longer has. `audit`:
    /// linked contacts whose Intercom contact differs from what was settled.
    #[schema(schema_with = feeds)]
    feed: String,
    /// Only with `backfill`.
    #[serde(default)]
    since: Option<DateTime<Utc>>,
}

const RUN_FIELDS: [json::Field; 2] =
    [json::Field { name: "feed", former: None }, json::Field { name: "since", former: None }];

fn feeds() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(
            [Feed::Changed, Feed::Backfill, Feed::Sweep, Feed::Audit].map(Feed::as_str),
        ))
        .examples(["backfill"])
        .build()
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AskedRun {
    success: bool,
    #[schema(value_type = String, example = "queued")]
    action: &'static str,
    run_id: Uuid,
    status_url: String,
}

impl AskedRun {
    pub(super) fn queued(run_id: Uuid) -> Self {
        let status_url = format!("/sync/runs/{run_id}");
        Self { success: true, action: "queued", run_id, status_url }
    }
}

/// Asks for a walk over Keap's contacts
#[utoipa::path(post, path = "/sync/run", tag = "walks", operation_id = "askForRun",
    request_body(content = RunRequest, example = json!({ "feed": "backfill", "since": "2026-08-01T00:00:00Z" })), security(("apiToken" = [])),
    responses(
        (status = 202, description = "The walk is queued", body = AskedRun, example = json!({ "success": true, "action": "queued", "runId": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "statusUrl": "/sync/runs/b89b5e77-aba6-47ba-b8cf-84a078cfab29" })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "There is no such feed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn ask_run(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<AskedRun>), Problem> {
    let expected = "{\"feed\": \"changed\"}, {\"feed\": \"sweep\"}, {\"feed\": \"audit\"}, or {\"feed\": \"backfill\", \"since\": \"2026-01-31T00:00:00Z\"}";
    let body: RunRequest = json::body(&body, &RUN_FIELDS, expected)?;
    let refused = |why: &str| Problem::new(Code::SinceNotAllowed, why);
    let feed = match (Feed::parse(&body.feed), body.since) {
        (Some(Feed::Changed), None) => Feed::Changed,
        (Some(Feed::Changed), Some(_)) => {
            return Err(refused(
                "since goes with the feed backfill only: changed continues from its cursor",
            ));
        }
        (Some(Feed::Sweep), None) => Feed::Sweep,
        (Some(Feed::Sweep), Some(_)) => {
            return Err(refused(
                "since goes with the feed backfill only: a sweep looks at every contact",
            ));
        }
        (Some(Feed::Audit), None) => Feed::Audit,
        (Some(Feed::Audit), Some(_)) => {
            return Err(refused(
                "since goes with the feed backfill only: an audit looks at every contact",
            ));
        }
        (Some(Feed::Backfill), _) => Feed::Backfill,
        _ => {
            let why = "feed is one of changed, backfill, sweep, audit";
            return Err(Problem::new(Code::UnknownFeed, why));
        }
    };
    let run_id = state.store.request_run(feed, RunReason::Manual, body.since).await?;
    state.bulk.fire("run");
    tracing::info!(run.id = %run_id, feed = feed.as_str(), "A caller asks for a walk.");
    Ok((StatusCode::ACCEPTED, Json(AskedRun::queued(run_id))))
}

/// What is known of a contact: ids, stamps and reasons.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContactBody {
    success: bool,
    keap_contact_id: i64,
    link: Option<LinkBody>,
    /// What Keap showed of each field when the link was last written. Values are not stored.
    fields: Vec<FieldBody>,
    due: Option<DueBody>,
    /// What people have decided about it, the newest first.
    decisions: Vec<DecisionBody>,
    /// The last ten outcomes, the latest first.
    log: Vec<LogBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkBody {
    /// Null: the contact was skipped.
    intercom_contact_id: Option<String>,
    keap_updated_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldBody {
    name: String,
    /// `value`, `empty` or `unknown`.
    #[schema(value_type = String, example = "value")]
    keap: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DueBody {
    /// `manual`, `webhook`, `retry` or `again`.
    reason: String,
    /// When it is looked at by itself. Null: it waits for a person alone.
    due_at: Option<DateTime<Utc>>,
    attempts: i32,
    /// Whether the contact waits for a person.
    held: bool,
    /// Since when it is held for its reason, also while a retry is due.
    held_since: Option<DateTime<Utc>>,
    error: Option<String>,
    /// The Intercom contacts to choose from.
    candidates: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogBody {
    at: DateTime<Utc>,
    status: String,
    action: Option<String>,
    intercom_contact_id: Option<String>,
    error: Option<String>,
    feed: Option<String>,
    run_id: Option<Uuid>,
}

/// Outcomes that are shown, newest first.
const OUTCOMES: i64 = 10;

/// Shows what is known of a contact: its link, its due row, its last outcomes
#[utoipa::path(get, path = "/sync/contacts/{id}", tag = "contacts", operation_id = "showContact",
    params(("id" = i64, Path, minimum = 1, description = "A Keap contact id", example = 12345)), security(("apiToken" = [])),
    responses(
        (status = 200, description = "What is known", body = ContactBody, example = json!({
            "success": true, "keapContactId": 12345, "link": { "intercomContactId": "6762f0dd1bb69f9f00000000", "keapUpdatedAt": "2026-11-25T04:05:52Z", "updatedAt": "2026-11-25T04:05:54.311006Z" }, "due": null, "decisions": [],
            "log": [{ "at": "2026-11-25T04:05:54.313031Z", "status": "synced", "action": "created", "intercomContactId": "6762f0dd1bb69f9f00000000", "error": null, "feed": "due", "runId": null }] })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is known of such a contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn contact(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ContactBody>, Problem> {
    let unknown = || Problem::new(Code::UnknownContact, "nothing is known of such a contact");
    let Path(id) = path.map_err(|_| unknown())?;
    let id: KeapId = id.parse().map_err(|_| unknown())?;
    let known = state.store.explain(id, OUTCOMES).await?;
    if known.link.is_none() && known.due.is_none() && known.outcomes.is_empty() {
        return Err(unknown());
    }
    Ok(Json(ContactBody {
        success: true,
        keap_contact_id: id.get(),
        link: known.link.map(|link| LinkBody {
            intercom_contact_id: link.intercom_contact_id,
            keap_updated_at: link.keap_updated_at,
            updated_at: link.updated_at,
        }),
        fields: known
            .fields
            .into_iter()
            .map(|field| FieldBody { name: field.name, keap: field.keap })
            .collect(),
        due: known.due.map(|due| DueBody {
            reason: due.reason,
            due_at: due.due_at,
            attempts: due.attempts,
            held: due.held,
            held_since: due.held_since,
            error: due.last_error,
            candidates: due.candidates,
        }),
        decisions: known.decisions.into_iter().map(DecisionBody::from).collect(),
        log: known
            .outcomes
            .into_iter()
            .map(|entry| LogBody {
                at: entry.at,
                status: entry.status,
                action: entry.action,
                intercom_contact_id: entry.intercom_contact_id,
                error: entry.reason,
                feed: entry.feed,
                run_id: entry.run_id,
            })
            .collect(),
    }))
}
