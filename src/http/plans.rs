//! `/sync/plans`: asks for a plan, lists plans, shows one with its contacts, and approves or drops
//! it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{Object, Type};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::code::Code;
use super::json::{self, Field};
use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::outcome::PlanKind;
use crate::report::plan_refusal;
use crate::store::{Approval, DecidedBy, Plan, PlanContact, PlanCount};

/// A request for a plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanRequest {
    /// `all`: every contact. `changed`: what the next polls would find. `sweep`: linked contacts
    /// that Keap no longer has. `audit`: linked contacts that differ in Intercom.
    #[schema(schema_with = kinds)]
    kind: String,
}

fn kinds() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(PlanKind::ASKED.map(PlanKind::code)))
        .examples(["all"])
        .build()
}

const KIND: [Field; 1] = [Field { name: "kind", former: None }];

/// A plan without its contacts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanBody {
    plan_id: Uuid,
    /// `all`, `changed`, `sweep`, `audit`, `mapping`, `leaving`, `create` or `unexplained`.
    #[schema(example = "sweep")]
    kind: String,
    /// `page`, `http`, `command`, or `brake`.
    #[schema(example = "brake")]
    asked_by: String,
    /// `requested`, `waiting`, `approved`, `done`, `dropped`, `replaced` or `failed`.
    #[schema(example = "waiting")]
    state: String,
    /// The contacts that were looked at.
    seen: i64,
    unchanged: i64,
    skipped: i64,
    /// What the brake says, or why the plan failed.
    why: Option<String>,
    /// The run that the brake has stopped.
    found_by: Option<Uuid>,
    /// The run that carries it out.
    run_id: Option<Uuid>,
    /// The contacts that have changed since the plan was made, and were decided afresh.
    changed: i64,
    made_at: DateTime<Utc>,
    decided_by: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<Plan> for PlanBody {
    fn from(plan: Plan) -> Self {
        Self {
            plan_id: plan.id,
            kind: plan.kind,
            asked_by: plan.asked_by,
            state: plan.state,
            seen: plan.seen,
            unchanged: plan.unchanged,
            skipped: plan.skipped,
            why: plan.why,
            found_by: plan.found_by,
            run_id: plan.run_id,
            changed: plan.changed,
            made_at: plan.made_at,
            decided_by: plan.decided_by,
            decided_at: plan.decided_at,
            ended_at: plan.ended_at,
        }
    }
}

/// A number of contacts of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanCountBody {
    /// `action`, or the side on which a field is to be written: `to_intercom` or `to_keap`.
    #[schema(example = "action")]
    what: String,
    /// The action, or the field.
    #[schema(example = "archived")]
    word: String,
    contacts: i64,
}

impl From<PlanCount> for PlanCountBody {
    fn from(PlanCount { what, word, contacts }: PlanCount) -> Self {
        Self { what, word, contacts }
    }
}

/// A contact of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanContactBody {
    /// Null: a user of Intercom that Keap does not know.
    keap_contact_id: Option<i64>,
    intercom_contact_id: Option<String>,
    #[schema(example = "archived")]
    action: String,
    /// `done`, or `changed` if the decision was another one by then. Null: nothing came of it yet.
    outcome: Option<String>,
}

impl From<PlanContact> for PlanContactBody {
    fn from(contact: PlanContact) -> Self {
        let PlanContact { keap_contact_id, intercom_contact_id, action, outcome, .. } = contact;
        Self { keap_contact_id, intercom_contact_id, action, outcome }
    }
}

/// A plan that is asked for, approved or dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanReply {
    success: bool,
    plan: PlanBody,
}

/// Plans, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlansReply {
    success: bool,
    plans: Vec<PlanBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

/// A plan with some of its contacts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownPlanReply {
    success: bool,
    plan: PlanBody,
    counts: Vec<PlanCountBody>,
    contacts: Vec<PlanContactBody>,
    /// The key of the next contacts; null on the last page.
    next: Option<String>,
}

/// Which plans are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlansQuery {
    /// Only plans that wait for a person.
    #[serde(default)]
    waiting: bool,
    /// The most plans of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Which contacts of a plan are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ContactsQuery {
    /// Only contacts with this action.
    #[param(value_type = Option<String>, example = "archived", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    action: Option<String>,
    /// The most contacts of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,18}$")]
    after: Option<String>,
}

/// The way on which this caller decides.
const BY: &str = DecidedBy::Http.as_str();

fn unknown() -> Problem {
    Problem::new(Code::NoPlan, "there is no such plan; old plans are deleted")
}

/// The id of a path.
fn id_of(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(id) = path.map_err(|_| unknown())?;
    Uuid::try_parse(&id).map_err(|_| unknown())
}

/// A stored plan.
pub(super) async fn plan_of(state: &HttpState, id: Uuid) -> Result<Plan, Problem> {
    state.store.plan(id).await?.ok_or_else(unknown)
}

/// Approves a plan. `by`: the way on which it comes.
pub(super) async fn approve_by(state: &HttpState, id: Uuid, by: &str) -> Result<(), Problem> {
    match state.store.approve_plan(id, by).await? {
        None => Err(unknown()),
        Some(Approval::Run(_)) => {
            state.bulk.fire("plan");
            Ok(())
        }
        Some(Approval::No(plan)) => Err(over(&plan)),
    }
}

/// Drops a plan. `by`: the way on which it comes.
pub(super) async fn drop_by(state: &HttpState, id: Uuid, by: &str) -> Result<(), Problem> {
    let plan = plan_of(state, id).await?;
    if state.store.drop_plan(id, by).await? { Ok(()) } else { Err(over(&plan)) }
}

fn over(plan: &Plan) -> Problem {
    Problem::new(Code::PlanOver, plan_refusal(plan, Utc::now()))
}

/// Asks for a plan
///
/// The daemon looks at the contacts as a dry run does, and stores what it would write. Nothing is
/// written. The plan then waits for a person.
#[utoipa::path(post, path = "/sync/plans", tag = "plans", operation_id = "askForPlan", security(("apiToken" = [])),
    request_body(content = PlanRequest, example = json!({ "kind": "all" })),
    responses(
        (status = 202, description = "The plan is asked for", body = PlanReply, example = json!({ "success": true, "plan": {
            "planId": "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29", "kind": "all", "askedBy": "http", "state": "requested", "seen": 0, "unchanged": 0, "skipped": 0, "why": null, "foundBy": null, "runId": null,
            "changed": 0, "madeAt": "2026-11-25T03:35:49.128648Z", "decidedBy": null, "decidedAt": null, "endedAt": null } })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn ask(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<PlanReply>), Problem> {
    let body: PlanRequest = json::body(&body, &KIND, "{\"kind\": \"all\"}")?;
    let kind = PlanKind::ASKED.into_iter().find(|kind| kind.code() == body.kind);
    let kind = kind.ok_or_else(|| {
        Problem::new(Code::InvalidBody, "kind is one of all, changed, sweep, audit")
    })?;
    let id = state.store.request_plan(kind, BY).await?;
    let plan = plan_of(&state, id).await?.into();
    Ok((StatusCode::ACCEPTED, Json(PlanReply { success: true, plan })))
}

/// Lists plans, the newest first
#[utoipa::path(get, path = "/sync/plans", tag = "plans", operation_id = "listPlans", params(PlansQuery), security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of plans", body = PlansReply, example = json!({ "success": true, "next": null, "plans": [{
            "planId": "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29", "kind": "sweep", "askedBy": "brake", "state": "waiting", "seen": 120, "unchanged": 0, "skipped": 0, "why": "brake: …",
            "foundBy": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "runId": null, "changed": 0, "madeAt": "2026-11-25T03:35:49.128648Z", "decidedBy": null, "decidedAt": null, "endedAt": null }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn plans(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<PlansQuery>, QueryRejection>,
) -> Result<Json<PlansReply>, Problem> {
    let PlansQuery { waiting, limit, after } = list::query(query, "waiting")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(After::<Uuid>::read).transpose()?;
    let before = after.map(|after| (after.at, after.id));
    let mut plans = state.store.plans(waiting, before, limit + 1).await?;
    let next = list::next(&mut plans, limit, |plan| After::text(plan.made_at, &plan.id));
    let plans = plans.into_iter().map(PlanBody::from).collect();
    Ok(Json(PlansReply { success: true, plans, next }))
}

/// Shows a plan with its contacts
#[utoipa::path(get, path = "/sync/plans/{id}", tag = "plans", operation_id = "showPlan", security(("apiToken" = [])),
    params(("id" = Uuid, Path, description = "The id of a plan", example = "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29"), ContactsQuery),
    responses(
        (status = 200, description = "The plan, and a page of its contacts", body = ShownPlanReply, example = json!({ "success": true, "next": null, "plan": {
            "planId": "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29", "kind": "sweep", "askedBy": "brake", "state": "waiting", "seen": 1, "unchanged": 0, "skipped": 0, "why": "brake: …",
            "foundBy": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "runId": null, "changed": 0, "madeAt": "2026-11-25T03:35:49.128648Z", "decidedBy": null, "decidedAt": null, "endedAt": null },
            "counts": [{ "what": "action", "word": "archived", "contacts": 1 }],
            "contacts": [{ "keapContactId": 1000, "intercomContactId": "6762f0dd1bb69f9f00000151", "action": "archived", "outcome": null }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such plan", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn plan(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ContactsQuery>, QueryRejection>,
) -> Result<Json<ShownPlanReply>, Problem> {
    let id = id_of(path)?;
    let ContactsQuery { action, limit, after } = list::query(query, "action")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(place).transpose()?.unwrap_or_default();
    let plan = plan_of(&state, id).await?;
    let counts = state.store.plan_counts(id).await?;
    let mut contacts = state.store.plan_contacts(id, action.as_deref(), after, limit + 1).await?;
    let next = list::next(&mut contacts, limit, |contact| contact.number.to_string());
    Ok(Json(ShownPlanReply {
        success: true,
        plan: plan.into(),
        counts: counts.into_iter().map(PlanCountBody::from).collect(),
        contacts: contacts.into_iter().map(PlanContactBody::from).collect(),
        next,
    }))
}

/// The place behind which a page of contacts begins.
pub(super) fn place(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| {
        let why = "after is not a key of this list; take `next` of the page before";
        Problem::new(Code::InvalidQuery, why)
    })
}

/// Approves a plan
///
/// The daemon carries it out, once. It writes the contacts of the plan and no others. A contact
/// that has changed since the plan was made is decided afresh.
#[utoipa::path(post, path = "/sync/plans/{id}/approve", tag = "plans", operation_id = "approvePlan", security(("apiToken" = [])),
    params(("id" = Uuid, Path, description = "The id of a plan", example = "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29")),
    responses(
        (status = 202, description = "Approved: its run carries it out", body = PlanReply, example = json!({ "success": true, "plan": {
            "planId": "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29", "kind": "sweep", "askedBy": "brake", "state": "approved", "seen": 120, "unchanged": 0, "skipped": 0, "why": "brake: …", "foundBy": null,
            "runId": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "changed": 0, "madeAt": "2026-11-25T03:35:49.128648Z", "decidedBy": "http", "decidedAt": "2026-11-25T04:35:49.128648Z", "endedAt": null } })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such plan", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The plan does not wait", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn approve(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<PlanReply>), Problem> {
    let id = id_of(path)?;
    approve_by(&state, id, BY).await?;
    let plan = plan_of(&state, id).await?.into();
    Ok((StatusCode::ACCEPTED, Json(PlanReply { success: true, plan })))
}

/// Drops a plan
///
/// It is never carried out. Nothing was written by it.
#[utoipa::path(post, path = "/sync/plans/{id}/drop", tag = "plans", operation_id = "dropPlan", security(("apiToken" = [])),
    params(("id" = Uuid, Path, description = "The id of a plan", example = "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29")),
    responses(
        (status = 200, description = "Dropped", body = PlanReply, example = json!({ "success": true, "plan": {
            "planId": "0d5f2a1c-aba6-47ba-b8cf-84a078cfab29", "kind": "all", "askedBy": "http", "state": "dropped", "seen": 3, "unchanged": 2, "skipped": 0, "why": null, "foundBy": null, "runId": null,
            "changed": 0, "madeAt": "2026-11-25T03:35:49.128648Z", "decidedBy": "http", "decidedAt": "2026-11-25T04:35:49.128648Z", "endedAt": "2026-11-25T04:35:49.128648Z" } })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such plan", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The plan does not wait", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn drop(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<PlanReply>, Problem> {
    let id = id_of(path)?;
    drop_by(&state, id, BY).await?;
    let plan = plan_of(&state, id).await?.into();
    Ok(Json(PlanReply { success: true, plan }))
}
