//! `GET /ready`: says whether contacts flow. What counts is a fresh poll, not a running process.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::state::HttpState;
use crate::feed::Feed;
use crate::report::PartStates;
use crate::store::Overview;

/// Whether contacts flow, part by part.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready` or `not_ready`.
    #[schema(value_type = String, example = "ready")]
    status: &'static str,
    timestamp: String,
    environment: String,
    #[schema(value_type = String)]
    version: &'static str,
    checks: Checks,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checks {
    /// `ok`, `read_only`, `down`, or `starting` until the daemon has prepared it.
    database: Check,
    /// `holder`, `standby`, or `free` when no process runs passes.
    lease: Check,
    /// `ok`, `late`, or `never`.
    poll: PollCheck,
    /// `ok`, or `standing_still` when a walk under way does not move.
    walks: WalkCheck,
    /// `ok`, `limited` (the quota is used up), `failing`, or `refused` (a person must act).
    keap: Check,
    /// The same words as for Keap.
    intercom: Check,
    /// `off`, `ok`, or `incomplete`. Polls find every change without webhooks.
    webhooks: WebhookCheck,
    /// `ok`, `fields_held` (some fields are held for every contact), or `waits` (a changed mapping
    /// waits for a person). The other fields flow in every case.
    mapping: MappingCheck,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_seconds: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PollCheck {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    age_seconds: Option<u64>,
    limit_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WalkCheck {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    /// The feed of the walk that stands still.
    #[schema(value_type = Option<String>, example = "backfill")]
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    still_seconds: Option<u64>,
}

impl WalkCheck {
    fn of(overview: Option<&Overview>, poll_age_limit: Duration) -> Self {
        let still = overview.and_then(|overview| overview.standing_still(poll_age_limit));
        let state = match (overview, still) {
            (None, _) => "unknown",
            (_, None) => "ok",
            (_, Some(_)) => "standing_still",
        };
        Self {
            state,
            feed: still.map(|(feed, _)| feed),
            still_seconds: still.map(|(_, time)| time.as_secs()),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    subscriptions: i64,
    verified: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MappingCheck {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    /// How many fields are held. `keap-intercom-sync status` names them.
    held_fields: i64,
}

impl MappingCheck {
    fn of(overview: Option<&Overview>) -> Self {
        let held_fields = overview.map_or(0, |overview| overview.held_fields);
        let state = match overview {
            None => "unknown",
            Some(overview) if overview.mapping_waits => "waits",
            Some(_) if held_fields > 0 => "fields_held",
            Some(_) => "ok",
        };
        Self { state, held_fields }
    }
}

/// Says whether contacts flow
#[utoipa::path(get, path = "/ready", tag = "watch", operation_id = "showReady", responses(
    (status = 200, description = "Contacts flow", body = Ready, example = json!({
        "status": "ready", "timestamp": "2026-11-25T04:05:54.285Z", "environment": "production", "version": "0.1.0",
        "checks": { "database": { "state": "ok" }, "lease": { "state": "holder" }, "poll": { "state": "ok", "ageSeconds": 2, "limitSeconds": 900 }, "walks": { "state": "ok" },
            "keap": { "state": "ok" }, "intercom": { "state": "ok" }, "webhooks": { "state": "ok", "subscriptions": 3, "verified": 3 } } })),
    (status = 503, description = "Contacts do not flow: a check says why", body = Ready, example = json!({
        "status": "not_ready", "timestamp": "2026-11-25T04:05:54.285Z", "environment": "production", "version": "0.1.0",
        "checks": { "database": { "state": "ok" }, "lease": { "state": "free" }, "poll": { "state": "late", "ageSeconds": 4000, "limitSeconds": 900 }, "walks": { "state": "ok" },
            "keap": { "state": "ok" }, "intercom": { "state": "ok" }, "webhooks": { "state": "ok", "subscriptions": 3, "verified": 3 } } }))))]
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> (StatusCode, Json<Ready>) {
    // Before the database is prepared, its tables are missing or about to change.
    let overview = if state.start.is_over() { state.overview.get().await } else { None };
    let (checks, is_ready) = checks(&state, overview.as_ref());
    let ready = Ready {
        status: if is_ready { "ready" } else { "not_ready" },
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        environment: state.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
        checks,
    };
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready))
}

fn checks(state: &HttpState, overview: Option<&Overview>) -> (Checks, bool) {
    let check = |state| Check { state, retry_in_seconds: None };
    let lease = match overview {
        None => "unknown",
        Some(overview) => match overview.holder.as_deref() {
            None => "free",
            Some(_) if (state.holds_lease)() => "holder",
            Some(_) => "standby",
        },
    };
    let age = overview.and_then(|overview| overview.feed(Feed::Changed)).and_then(|feed| feed.age);
    let poll = match (overview, age) {
        (None, _) => "unknown",
        (_, None) => "never",
        (_, Some(age)) if age > state.poll_age_limit => "late",
        _ => "ok",
    };
    let walks = WalkCheck::of(overview, state.poll_age_limit);
    let remotes = (state.remotes)();
    let remote = |name: &str| {
        remotes.iter().find(|remote| remote.name == name).map_or(check("unknown"), |remote| Check {
            state: remote.state,
            retry_in_seconds: remote.retry_in.map(|time| time.as_secs().max(1)),
        })
    };
    let (hooks, verified) =
        overview.map_or((0, 0), |overview| (overview.hooks, overview.hooks_verified));
    let webhooks = match (overview, hooks) {
        (None, _) => "unknown",
        (_, 0) => "off",
        _ if verified == hooks => "ok",
        _ => "incomplete",
    };
    let checks = Checks {
        database: check(match overview {
            Some(overview) if overview.read_only => "read_only",
            Some(_) => "ok",
            None if state.start.is_over() => "down",
            None => "starting",
        }),
        lease: check(lease),
        poll: PollCheck {
            state: poll,
            age_seconds: age.map(|age| age.as_secs()),
            limit_seconds: state.poll_age_limit.as_secs(),
        },
        walks,
        keap: remote("Keap"),
        intercom: remote("Intercom"),
        webhooks: WebhookCheck { state: webhooks, subscriptions: hooks, verified },
        mapping: MappingCheck::of(overview),
    };
    let is_ready = matches!(lease, "holder" | "standby")
        && poll == "ok"
        && checks.walks.state == "ok"
        && checks.database.state == "ok"
        && checks.keap.state != "refused"
        && checks.intercom.state != "refused";
    (checks, is_ready)
}

/// The states of the parts that only a daemon knows, for the status in words.
pub(super) fn part_states(state: &HttpState, overview: Option<&Overview>) -> PartStates {
    let (checks, _) = checks(state, overview);
    let known = |state: &'static str| (state != "unknown").then(|| state.to_owned());
    PartStates {
        keap: known(checks.keap.state),
        intercom: known(checks.intercom.state),
        webhooks: known(checks.webhooks.state),
    }
}
