//! `GET /ready`: says whether contacts flow. What counts is a fresh poll, not a running process.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::pause::{PauseBody, bodies};
use super::state::HttpState;
use crate::feed::Feed;
use crate::report::{DayQuota, KeapQueue, PartStates};
use crate::store::{Overview, TwoWay};

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
#[serde(rename_all = "camelCase")]
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
    /// `ok`, or `waiting`: plans wait for a person. `keap-intercom-sync plan show` shows them, and
    /// `keap-intercom-sync plan approve` carries one out.
    plans: PlansCheck,
    /// `off`, or `paused`: a person has paused something. Nothing is lost meanwhile.
    pause: PauseCheck,
    /// `ok`, `fields_held` (some fields are held for every contact), or `waits` (a changed mapping
    /// waits for a person). The other fields flow in every case.
    mapping: MappingCheck,
    /// The reading of Intercom's list of changes: `off`, `ok`, `late`, or `never`.
    intercom_list: PollCheck,
    /// The comparison of all users: `off`, `never`, `ok`, `braked`, or `failed`.
    audit: AuditCheck,
    /// What waits for a write to Keap: `off`, `ok` (nothing waits), or `waiting`.
    keap_queue: KeapQueueCheck,
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
#[serde(rename_all = "camelCase")]
pub(super) struct AuditCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    age_seconds: Option<u64>,
}

impl AuditCheck {
    fn of(two_way: Option<&TwoWay>) -> Self {
        let audit = two_way.and_then(|two_way| two_way.audit.as_ref());
        let state = match (two_way, audit) {
            (None, _) => "off",
            (_, None) => "never",
            (_, Some(audit)) if audit.is_braked => "braked",
            (_, Some(audit)) if audit.failure.is_some() => "failed",
            _ => "ok",
        };
        Self { state, age_seconds: audit.map(|audit| audit.age.as_secs()) }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeapQueueCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    /// Contacts that are looked at next.
    waiting: i64,
    /// Contacts that nobody waits for: a walk has found them.
    paced: i64,
    /// When the last of them is written.
    empty_in_seconds: u64,
    /// What Keap allows in a day, and what is left of it; null until an answer has shown it.
    calls_a_day: Option<i64>,
    calls_left: Option<i64>,
}

impl KeapQueueCheck {
    fn of(state: &HttpState, two_way: Option<&TwoWay>) -> Self {
        let day = keap_day(state);
        let queue = two_way.map(|two_way| KeapQueue::of(two_way, state.second.rates, day));
        let (waiting, paced) = queue.map_or((0, 0), |queue| (queue.waiting, queue.paced));
        Self {
            state: match queue {
                None => "off",
                Some(_) if waiting + paced == 0 => "ok",
                Some(_) => "waiting",
            },
            waiting,
            paced,
            empty_in_seconds: queue.map_or(0, |queue| queue.empty_in.as_secs()),
            calls_a_day: day.map(|day| day.limit),
            calls_left: day.map(|day| day.left),
        }
    }
}

/// What Keap allows this process today.
pub(super) fn keap_day(state: &HttpState) -> Option<DayQuota> {
    let remotes = (state.remotes)();
    let keap = remotes.iter().find(|remote| remote.name == "Keap")?;
    DayQuota::tightest(keap.limits.iter().map(|(name, limit, left)| (name.as_str(), *limit, *left)))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    subscriptions: i64,
    verified: i64,
}

impl WebhookCheck {
    fn of(overview: Option<&Overview>) -> Self {
        let (subscriptions, verified) =
            overview.map_or((0, 0), |overview| (overview.hooks, overview.hooks_verified));
        let state = match (overview, subscriptions) {
            (None, _) => "unknown",
            (_, 0) => "off",
            _ if verified == subscriptions => "ok",
            _ => "incomplete",
        };
        Self { state, subscriptions, verified }
    }
}

/// The reading of Intercom's list of changes. It goes by the rule of Keap's polls.
fn list_check(state: &HttpState, overview: Option<&Overview>) -> PollCheck {
    let age = overview.and_then(|overview| overview.two_way.as_ref()?.read_age);
    let word = match (overview, age) {
        _ if !state.second.enabled => "off",
        (None, _) => "unknown",
        (_, None) => "never",
        (_, Some(age)) if age > state.poll_age_limit => "late",
        _ => "ok",
    };
    PollCheck {
        state: word,
        age_seconds: age.map(|age| age.as_secs()),
        limit_seconds: state.poll_age_limit.as_secs(),
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlansCheck {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    /// Plans that wait for a person.
    waiting: i64,
}

impl PlansCheck {
    fn of(overview: Option<&Overview>) -> Self {
        let waiting = overview.map_or(0, |overview| overview.plans_waiting);
        let state = match overview {
            None => "unknown",
            Some(_) if waiting > 0 => "waiting",
            Some(_) => "ok",
        };
        Self { state, waiting }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PauseCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    /// What is paused, since when and by whom.
    pauses: Vec<PauseBody>,
}

impl PauseCheck {
    fn of(overview: Option<&Overview>) -> Self {
        let state = match overview {
            None => "unknown",
            Some(overview) if overview.pauses.0.is_empty() => "off",
            Some(_) => "paused",
        };
        Self { state, pauses: overview.map(|o| bodies(&o.pauses.0)).unwrap_or_default() }
    }
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
            "keap": { "state": "ok" }, "intercom": { "state": "ok" }, "webhooks": { "state": "ok", "subscriptions": 3, "verified": 3 }, "plans": { "state": "ok", "waiting": 0 }, "pause": { "state": "off", "pauses": [] }, "mapping": { "state": "ok", "heldFields": 0 },
            "intercomList": { "state": "ok", "ageSeconds": 20, "limitSeconds": 900 }, "audit": { "state": "ok", "ageSeconds": 3600 },
            "keapQueue": { "state": "waiting", "waiting": 1, "paced": 120, "emptyInSeconds": 120, "callsADay": 30000, "callsLeft": 21000 } } })),
    (status = 503, description = "Contacts do not flow: a check says why", body = Ready, example = json!({
        "status": "not_ready", "timestamp": "2026-11-25T04:05:54.285Z", "environment": "production", "version": "0.1.0",
        "checks": { "database": { "state": "ok" }, "lease": { "state": "free" }, "poll": { "state": "late", "ageSeconds": 4000, "limitSeconds": 900 }, "walks": { "state": "ok" },
            "keap": { "state": "ok" }, "intercom": { "state": "ok" }, "webhooks": { "state": "ok", "subscriptions": 3, "verified": 3 }, "plans": { "state": "ok", "waiting": 0 }, "pause": { "state": "off", "pauses": [] }, "mapping": { "state": "ok", "heldFields": 0 },
            "intercomList": { "state": "ok", "ageSeconds": 20, "limitSeconds": 900 }, "audit": { "state": "ok", "ageSeconds": 3600 },
            "keapQueue": { "state": "waiting", "waiting": 1, "paced": 120, "emptyInSeconds": 120, "callsADay": 30000, "callsLeft": 21000 } } }))))]
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
    let two_way = overview.and_then(|overview| overview.two_way.as_ref());
    let walks = WalkCheck::of(overview, state.poll_age_limit);
    let remotes = (state.remotes)();
    let remote = |name: &str| {
        remotes.iter().find(|remote| remote.name == name).map_or(check("unknown"), |remote| Check {
            state: remote.state,
            retry_in_seconds: remote.retry_in.map(|time| time.as_secs().max(1)),
        })
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
        plans: PlansCheck::of(overview),
        pause: PauseCheck::of(overview),
        webhooks: WebhookCheck::of(overview),
        mapping: MappingCheck::of(overview),
        intercom_list: list_check(state, overview),
        audit: AuditCheck::of(two_way),
        keap_queue: KeapQueueCheck::of(state, two_way),
    };
    let is_ready = matches!(lease, "holder" | "standby")
        && !overview.is_some_and(|overview| overview.pauses.stop_changes(state.second.enabled))
        && poll == "ok"
        && matches!(checks.intercom_list.state, "ok" | "off")
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
        keap_day: keap_day(state),
    }
}
