//! `GET /sync/held` and `POST /sync/held/retry`: the contacts that need a person, and the users of
//! Intercom without a contact in Keap that do.

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
use super::held_users::{self, HeldUser, UserKey};
use super::json::{self, Field};
use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::contact::{IntercomId, KeapId};
use crate::outcome::Decided;
use crate::store::{DecidedBy, Held, HeldFilter, HeldNewcomer, NewDecision, Whose};

/// Which held contacts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct HeldQuery {
    /// Only contacts that are held for this reason.
    #[param(value_type = Option<String>, example = "several_users", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    reason: Option<String>,
    /// The most contacts of the page, and the most users.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
    /// `nextUsers` of the page before.
    after_users: Option<String>,
}

/// Held contacts, the longest wait first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeldReply {
    success: bool,
    /// How many contacts and users are held, by reason. The most frequent one comes first.
    reasons: Vec<ReasonCount>,
    held: Vec<HeldBody>,
    /// The key of the next contacts; null on the last page.
    next: Option<String>,
    /// Users of Intercom without a contact in Keap that need a person, the longest wait first.
    users: Vec<HeldUser>,
    /// The key of the next users; null on the last page.
    next_users: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReasonCount {
    pub(super) code: String,
    pub(super) contacts: i64,
    /// Users of Intercom without a contact in Keap.
    pub(super) users: i64,
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
    /// The decisions that can be taken about it with `POST /sync/held/decide`.
    #[schema(value_type = Vec<String>, example = json!(["use", "create", "retry", "ignore_until_changed", "ignore"]))]
    offers: Vec<&'static str>,
}

impl From<Held> for HeldBody {
    fn from(held: Held) -> Self {
        let Held { keap_contact_id, code, reason, candidates, attempts, since, offers } = held;
        Self { keap_contact_id, code, reason, candidates, attempts, since, offers }
    }
}

/// Lists the contacts that need a person, the longest wait first
#[utoipa::path(get, path = "/sync/held", tag = "held", operation_id = "listHeld", params(HeldQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of held contacts", body = HeldReply, example = json!({
            "success": true, "reasons": [{ "code": "several_users", "contacts": 1, "users": 0 }], "next": null, "users": [], "nextUsers": null,
            "held": [{ "keapContactId": 1000, "code": "several_users", "reason": "several_users: more than one Intercom user has this e-mail",
                "candidates": ["6762f0dd1bb69f9f00000151", "6762f0dd1bb69f9f00000152"], "attempts": 1, "since": "2026-11-25T03:35:49.128648Z",
                "offers": ["use", "create", "retry", "ignore_until_changed", "ignore"] }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn held(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<HeldQuery>, QueryRejection>,
) -> Result<Json<HeldReply>, Problem> {
    let HeldQuery { reason, limit, after, after_users } = list::query(query, "reason, afterUsers")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let shown = Shown::read(after.as_deref(), after_users.as_deref(), limit)?;
    let (held, next) = shown.contacts(&state, reason.as_deref()).await?;
    let (users, next_users) = shown.users(&state, reason.as_deref()).await?;
    Ok(Json(HeldReply {
        success: true,
        reasons: reasons(&state).await?,
        held: held.into_iter().map(HeldBody::from).collect(),
        next,
        users: users.into_iter().map(HeldUser::from).collect(),
        next_users,
    }))
}

/// A page of both lists. Who asks for the rest of one list has seen the other.
pub(super) struct Shown {
    after: Option<After<i64>>,
    after_users: Option<After<UserKey>>,
    limit: i64,
}

impl Shown {
    /// `after`, `after_users`: the keys that the page before has named.
    pub(super) fn read(
        after: Option<&str>,
        after_users: Option<&str>,
        limit: i64,
    ) -> Result<Self, Problem> {
        let after = after.map(After::read).transpose()?;
        Ok(Self { after, after_users: after_users.map(After::read).transpose()?, limit })
    }

    /// The contacts of a reason, or of all, and the key of the next page.
    pub(super) async fn contacts(
        &self,
        state: &HttpState,
        reason: Option<&str>,
    ) -> Result<(Vec<Held>, Option<String>), Problem> {
        if self.after.is_none() && self.after_users.is_some() {
            return Ok((Vec::new(), None));
        }
        let (after, limit) = (self.after.map(|after| (after.at, after.id)), self.limit);
        let mut held = state.store.held_after(reason, after, Some(limit + 1)).await?;
        let next = list::next(&mut held, limit, |one| After::text(one.since, &one.keap_contact_id));
        Ok((held, next))
    }

    /// The same for the users of Intercom without a contact in Keap.
    pub(super) async fn users(
        &self,
        state: &HttpState,
        reason: Option<&str>,
    ) -> Result<(Vec<HeldNewcomer>, Option<String>), Problem> {
        if self.after_users.is_none() && self.after.is_some() {
            return Ok((Vec::new(), None));
        }
        let after = self.after_users.as_ref().map(|after| (after.at, &after.id.0));
        let limit = self.limit;
        let mut users = state.store.held_newcomers_after(reason, after, Some(limit + 1)).await?;
        let key = |one: &HeldNewcomer| After::text(one.since, &one.intercom_contact_id);
        let next = list::next(&mut users, limit, key);
        Ok((users, next))
    }
}

/// How many contacts and users need a person, by reason. The most frequent one comes first.
pub(super) async fn reasons(state: &HttpState) -> Result<Vec<ReasonCount>, Problem> {
    let contacts = state.store.held_by_reason().await?.into_iter();
    let mut reasons: Vec<ReasonCount> =
        contacts.map(|(code, contacts)| ReasonCount { code, contacts, users: 0 }).collect();
    for (code, users) in state.store.held_newcomers_by_reason().await? {
        match reasons.iter_mut().find(|reason| reason.code == code) {
            Some(reason) => reason.users = users,
            None => reasons.push(ReasonCount { code, contacts: 0, users }),
        }
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.contacts + reason.users));
    Ok(reasons)
}

/// Which held contacts become due again. Give ids of either kind or both, or one of the other two
/// fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetryRequest {
    /// 1 to 1,000 Keap contact ids. `keap_contact_ids` is accepted too.
    #[schema(schema_with = batch::keap_ids_schema)]
    #[serde(default, alias = "keap_contact_ids", deserialize_with = "batch::given")]
    keap_contact_ids: Option<Vec<Value>>,
    /// 1 to 1,000 ids of users of Intercom without a contact in Keap.
    #[schema(schema_with = held_users::ids_schema)]
    #[serde(default, deserialize_with = "batch::given")]
    intercom_contact_ids: Option<Vec<String>>,
    /// Every contact and user that is held for this reason.
    #[serde(default, deserialize_with = "list::word")]
    #[schema(value_type = Option<String>, example = "several_users", pattern = "^[A-Za-z0-9_]{1,64}$")]
    reason: Option<String>,
    /// Every held contact and user.
    #[serde(default)]
    all: Option<bool>,
    /// Only those that are held since this time or later. Alone, with `reason` or with `until`.
    #[serde(default)]
    since: Option<DateTime<Utc>>,
    /// Only those that are held since this time or earlier.
    #[serde(default)]
    until: Option<DateTime<Utc>>,
    /// Only counts them.
    #[serde(default)]
    dry_run: Option<bool>,
}

const RETRY_FIELDS: [Field; 7] = [
    Field { name: "since", former: None },
    Field { name: "until", former: None },
    Field { name: "dryRun", former: None },
    Field { name: "intercomContactIds", former: None },
    Field { name: "keapContactIds", former: Some("keap_contact_ids") },
    Field { name: "reason", former: None },
    Field { name: "all", former: None },
];

/// What was made due again.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryReply {
    success: bool,
    /// They were only counted.
    dry_run: bool,
    /// How many contacts are due again, or would be.
    contacts: i64,
    /// The same for users of Intercom without a contact in Keap.
    users: i64,
    /// The contacts that are due again.
    retried: Vec<i64>,
    /// The named contacts that are not held.
    not_held: Vec<i64>,
    /// The users of Intercom without a contact in Keap that are due again.
    retried_users: Vec<String>,
    /// The named users that are not held.
    users_not_held: Vec<String>,
}

/// Makes held contacts due again
///
/// The daemon looks at them at once. A contact whose reason still holds is held again, since the
/// same time as before.
#[utoipa::path(post, path = "/sync/held/retry", tag = "held", operation_id = "retryHeld",
    request_body(content = RetryRequest, example = json!({ "keapContactIds": [1000] })), security(("apiToken" = [])),
    responses(
        (status = 200, description = "They were only counted (`dryRun`)", body = RetryReply, example = json!({ "success": true, "dryRun": true, "contacts": 12, "users": 0, "retried": [], "notHeld": [], "retriedUsers": [], "usersNotHeld": [] })),
        (status = 202, description = "The contacts are due again", body = RetryReply, example = json!({ "success": true, "dryRun": false, "contacts": 1, "users": 0, "retried": [1000], "notHeld": [], "retriedUsers": [], "usersNotHeld": [] })),
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
    let expected = "{\"keapContactIds\": [12345]}, {\"intercomContactIds\": […]}, {\"reason\": \"several_users\"} with or without since and until, or {\"all\": true}";
    let body: RetryRequest = json::body(&body, &RETRY_FIELDS, expected)?;
    let filter =
        HeldFilter { reason: body.reason.as_deref(), since: body.since, until: body.until };
    let is_filter = body.reason.is_some() || body.since.is_some() || body.until.is_some();
    let is_dry = body.dry_run == Some(true);
    let named = match (is_filter, body.all, Named::of(&body)?) {
        (false, None, Some(named)) if !is_dry => Some(named),
        (true, None, None) | (false, Some(true), None) => None,
        _ => {
            let why = format!("the body names no contacts, or in two ways; expected {expected}");
            return Err(Problem::new(Code::InvalidBody, why));
        }
    };
    if is_dry {
        let contacts = state.store.count_held(filter).await?;
        let users = state.store.count_held_newcomers(filter).await?;
        let reply =
            RetryReply { success: true, dry_run: true, contacts, users, ..RetryReply::default() };
        return Ok((StatusCode::OK, Json(reply)));
    }
    let is_named = named.is_some();
    let named = named.unwrap_or_default();
    let users = is_named.then_some(named.users.as_slice());
    let retried_users = state.store.retry_newcomers(users, filter).await?;
    let whose = if is_named { Whose::These(&named.contacts) } else { Whose::Held(filter) };
    let retry = NewDecision { whose, decided: Decided::Retry, intercom: None, by: DecidedBy::Http };
    let taken = decide::take(&state, &retry).await?;
    let numbers = |ids: Vec<KeapId>| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
    let (retried, not_held) = (numbers(taken.decided), numbers(taken.not_held));
    let users_not_held = named.users.iter().map(ToString::to_string);
    let users_not_held = users_not_held.filter(|id| !retried_users.contains(id)).collect();
    let number = |all: usize| i64::try_from(all).unwrap_or(i64::MAX);
    let (contacts, users) = (number(retried.len()), number(retried_users.len()));
    let reply = RetryReply {
        success: true,
        dry_run: false,
        contacts,
        users,
        retried,
        not_held,
        retried_users,
        users_not_held,
    };
    Ok((StatusCode::ACCEPTED, Json(reply)))
}

/// Those that a caller names.
#[derive(Debug, Default)]
struct Named {
    contacts: Vec<KeapId>,
    /// Users of Intercom without a contact in Keap.
    users: Vec<IntercomId>,
}

impl Named {
    fn of(body: &RetryRequest) -> Result<Option<Self>, Problem> {
        let contacts = body.keap_contact_ids.as_deref().map(batch::ids).transpose()?;
        let users = body.intercom_contact_ids.as_deref().map(held_users::ids).transpose()?;
        Ok((contacts.is_some() || users.is_some()).then(|| Self {
            contacts: contacts.unwrap_or_default(),
            users: users.unwrap_or_default(),
        }))
    }
}
