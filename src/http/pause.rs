//! `GET /sync/pauses`, `POST /sync/pause` and `POST /sync/resume`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Object, Type};

use super::code::Code;
use super::json::{self, Field};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::pause::{By, Pause, PauseScope, Pauses};

/// Who pauses if the caller does not say.
const CALLER: &str = "the API";

/// Something that is paused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PauseBody {
    /// `all`, the name of a feed, or a direction.
    #[schema(value_type = String, example = "all")]
    scope: &'static str,
    since: DateTime<Utc>,
    /// Who has paused it.
    by: String,
    /// Contacts that a person or a script asks for are synced all the same.
    lets_requests: bool,
}

impl From<&Pause> for PauseBody {
    fn from(pause: &Pause) -> Self {
        let Pause { scope, since, by, lets_requests } = pause;
        let (since, lets_requests) = (*since, *lets_requests);
        Self { scope: scope.as_str(), since, by: by.clone(), lets_requests }
    }
}

/// The pauses as callers see them.
pub(super) fn bodies<'a>(pauses: impl IntoIterator<Item = &'a Pause>) -> Vec<PauseBody> {
    pauses.into_iter().map(PauseBody::from).collect()
}

/// Everything that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PausesReply {
    success: bool,
    pauses: Vec<PauseBody>,
}

/// A field that may be missing may be null, too.
fn text_or_null() -> SchemaType {
    SchemaType::from_iter([Type::String, Type::Null])
}

/// The form of a scope.
fn scope_schema() -> Object {
    Object::builder()
        .schema_type(text_or_null())
        .pattern(Some(
            "^(all|changed|backfill|sweep|audit|due|plan|keap_to_intercom|intercom_to_keap)$",
        ))
        .examples(["sweep"])
        .build()
}

/// The form of a name: a line with something to see.
fn by_schema() -> Object {
    Object::builder()
        .schema_type(text_or_null())
        .min_length(Some(1))
        .max_length(Some(64))
        .pattern(Some(r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"))
        .examples(["Ann"])
        .build()
}

/// What to pause.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// `all` (also if it is missing), a feed, or a direction.
    #[serde(default)]
    #[schema(schema_with = scope_schema)]
    scope: Option<String>,
    /// Let the contacts through that a person or a script asks for.
    #[serde(default)]
    lets_requests: Option<bool>,
    /// Who does it, for the others.
    #[serde(default)]
    #[schema(schema_with = by_schema)]
    by: Option<String>,
}

/// What to resume.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResumeRequest {
    /// The pause of this scope ends. Missing: all pauses end.
    #[serde(default)]
    #[schema(schema_with = scope_schema)]
    scope: Option<String>,
    /// Who does it, for the log.
    #[serde(default)]
    #[schema(schema_with = by_schema)]
    by: Option<String>,
}

const SCOPE: Field = Field { name: "scope", former: None };
const BY: Field = Field { name: "by", former: None };
const LETS_REQUESTS: Field = Field { name: "letsRequests", former: None };

/// The scope of a request that names one.
fn scope(text: Option<&str>) -> Result<Option<PauseScope>, Problem> {
    let wrong = |error| Problem::new(Code::InvalidBody, format!("scope is not known: {error}"));
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// The name that a request gives, or another.
pub(super) fn by(text: Option<&str>, otherwise: &str) -> Result<By, Problem> {
    let wrong = |error| Problem::new(Code::InvalidBody, format!("by is no name: {error}"));
    text.unwrap_or(otherwise).parse().map_err(wrong)
}

/// Shows what is paused
#[utoipa::path(get, path = "/sync/pauses", tag = "walks", operation_id = "listPauses", security(("apiToken" = [])),
    responses(
        (status = 200, description = "What is paused; empty while everything runs", body = PausesReply, example = json!({
            "success": true, "pauses": [{ "scope": "all", "since": "2026-11-25T03:35:49.128648Z", "by": "Ann", "letsRequests": false }] })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn pauses(
    State(state): State<Arc<HttpState>>,
) -> Result<Json<PausesReply>, Problem> {
    Ok(shown(&state.store.pauses().await?))
}

fn shown(pauses: &Pauses) -> Json<PausesReply> {
    Json(PausesReply { success: true, pauses: bodies(&pauses.0) })
}

/// Pauses everything, one feed or one direction
///
/// Nothing is lost: after the pause, the daemon syncs what has changed. What is paused already
/// keeps its time and its name.
#[utoipa::path(post, path = "/sync/pause", tag = "walks", operation_id = "pause", security(("apiToken" = [])),
    request_body(content = PauseRequest, example = json!({ "scope": "all", "by": "Ann" })),
    responses(
        (status = 200, description = "Paused. The answer lists everything that is paused", body = PausesReply, example = json!({
            "success": true, "pauses": [{ "scope": "all", "since": "2026-11-25T03:35:49.128648Z", "by": "Ann", "letsRequests": false }] })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn pause(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<Json<PausesReply>, Problem> {
    let expected = "{\"scope\": \"all\", \"by\": \"Ann\"}";
    let body: PauseRequest = json::body(&body, &[SCOPE, BY, LETS_REQUESTS], expected)?;
    let scope = scope(body.scope.as_deref())?.unwrap_or(PauseScope::All);
    let by = by(body.by.as_deref(), CALLER)?;
    state.store.pause(scope, body.lets_requests.unwrap_or_default(), &by).await?;
    Ok(shown(&state.store.pauses().await?))
}

/// Ends one pause, or all of them
///
/// The daemon goes on at once. Where nothing was paused, nothing changes.
#[utoipa::path(post, path = "/sync/resume", tag = "walks", operation_id = "resume", security(("apiToken" = [])),
    request_body(content = ResumeRequest, example = json!({ "by": "Ann" })),
    responses(
        (status = 200, description = "Resumed. The answer lists what is still paused", body = PausesReply, example = json!({ "success": true, "pauses": [] })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn resume(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<Json<PausesReply>, Problem> {
    let body: ResumeRequest = json::body(&body, &[SCOPE, BY], "{} or {\"scope\": \"sweep\"}")?;
    let scope = scope(body.scope.as_deref())?;
    let by = by(body.by.as_deref(), CALLER)?;
    state.store.resume(scope, &by).await?;
    Ok(shown(&state.store.pauses().await?))
}
