//! Stores the contacts that a caller asks for as due, waits for them, and gives the outcomes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::code::Code;
use super::problem::Problem;
use super::state::HttpState;
use crate::contact::KeapId;
use crate::feed::{DueReason, Feed};
use crate::outcome::{Action, Reason, SkipReason};
use crate::store::LoggedOutcome;

/// How long a caller waits who asks for no other time.
const DEFAULT_WAIT_SECONDS: u64 = 20;
/// Nobody waits longer, because a request ends after 30 s.
const MAX_WAIT_SECONDS: u64 = 25;

/// How long to wait for outcomes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// How many seconds to wait for the outcome. 0 does not wait; more than 25 counts as 25.
    #[param(value_type = Option<i64>, minimum = 0, default = 20)]
    #[serde(default, deserialize_with = "seconds")]
    wait: Option<u64>,
}

/// Accepts only what the OpenAPI document allows.
fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let seconds = i64::deserialize(value)?;
    u64::try_from(seconds).map(Some).map_err(D::Error::custom)
}

impl Wait {
    pub(super) fn time(&self) -> Duration {
        Duration::from_secs(self.wait.unwrap_or(DEFAULT_WAIT_SECONDS).min(MAX_WAIT_SECONDS))
    }
}

/// The query of a request, or an answer that names the mistake.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|_| {
        Problem::new(
            Code::InvalidQuery,
            "the query is not understood; expected ?wait= and whole seconds",
        )
    })
}

/// An outcome as a caller gets it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Done {
        action: &'static str,
        intercom: Option<String>,
        /// Intercom's value was written to Keap.
        to_keap: bool,
    },
    Skipped(String),
    NotInKeap(String),
    Held(String),
    /// This try failed. Another one follows by itself.
    Failed(String),
    Queued,
}

impl Reply {
    /// `None`: the contact has no outcome yet.
    pub(super) fn of(outcome: Option<&LoggedOutcome>) -> Self {
        let Some(outcome) = outcome else { return Self::Queued };
        let why = outcome.reason.as_ref().map(ToString::to_string).unwrap_or_default();
        match outcome.action {
            Action::Created
            | Action::Updated
            | Action::Linked
            | Action::Restored
            | Action::Unchanged => Self::Done {
                action: outcome.action.code(),
                intercom: outcome.intercom.clone(),
                to_keap: outcome.to_keap,
            },
            // A sweep has released the contact. The request itself is still open.
            Action::Archived | Action::Unlinked => Self::Queued,
            Action::Skipped => match outcome.reason {
                Some(Reason::Skip(SkipReason::NotInKeap)) => Self::NotInKeap(why),
                _ => Self::Skipped(why),
            },
            Action::Held => Self::Held(why),
            Action::Failed => Self::Failed(why),
        }
    }
}

/// Where a caller finds the state of a contact.
pub(super) fn status_url(id: KeapId) -> String {
    format!("/sync/contacts/{id}")
}

/// Stores requests and wakes the urgent lane. Outcomes from the returned time on belong to them.
pub(super) async fn request(
    state: &HttpState,
    ids: &[KeapId],
    reason: DueReason,
) -> Result<DateTime<Utc>, Problem> {
    let tickets = state.store.request(ids, reason).await?;
    state.urgent.fire(reason.as_str());
    tracing::debug!(
        contacts = tickets.len(),
        reason = reason.as_str(),
        "A caller asks for contacts."
    );
    let since = tickets.iter().map(|ticket| ticket.requested_at).min();
    since.ok_or_else(|| Problem::new(Code::DatabaseRefused, "the database stored nothing"))
}

/// Waits for outcomes and returns them. A contact without an outcome is missing.
pub(super) async fn wait_for_outcomes(
    state: &HttpState,
    ids: &[KeapId],
    since: DateTime<Utc>,
    time: Duration,
) -> Result<HashMap<KeapId, Reply>, Problem> {
    // A pause may last for days: the request is stored, and nobody waits for it.
    let pauses = state.overview.get().await.map(|overview| overview.pauses);
    let is_paused = pauses.is_some_and(|pauses| pauses.of_feed(Feed::Due, true).is_some());
    let time = if is_paused { Duration::ZERO } else { time };
    let undone: HashSet<KeapId> = state.waits.wait(ids, time).await.into_iter().collect();
    let done: Vec<KeapId> = ids.iter().copied().filter(|id| !undone.contains(id)).collect();
    if done.is_empty() {
        return Ok(HashMap::new());
    }
    // The request is stored, so an error of the database now means `queued`, not a failed request.
    let rows = state.store.outcomes_since(&done, since).await.unwrap_or_default();
    let mut replies: HashMap<KeapId, Reply> =
        rows.into_iter().map(|(id, row)| (id, Reply::of(Some(&row)))).collect();
    // No row names a contact that is erased, so nothing is stored of its request either.
    let silent: Vec<KeapId> = done.into_iter().filter(|id| !replies.contains_key(id)).collect();
    if !silent.is_empty() {
        let erased = state.store.erased(&silent).await.unwrap_or_default();
        let skipped = Reply::Skipped(SkipReason::Erased.to_string());
        replies.extend(erased.into_iter().map(|id| (id, skipped.clone())));
    }
    Ok(replies)
}
