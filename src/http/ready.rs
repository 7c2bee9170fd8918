//! `GET /ready`: whether contacts flow. Freshness is the signal, not that the process runs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::HttpState;
use crate::store::{Feed, Overview, Store};

/// One look at the database serves everybody who asks within this time, so that askers are no load.
const FRESH: Duration = Duration::from_secs(1);

/// How a remote stands, as far as its client knows without a call.
#[derive(Debug, Clone)]
pub struct RemoteStanding {
    pub name: &'static str,
    /// `ok`, `limited`, `failing` or `refused`.
    pub state: &'static str,
    pub retry_in: Option<Duration>,
    /// Limits by name: how many calls are allowed and how many are left.
    pub limits: Vec<(String, i64, i64)>,
}

/// Looks at the remotes.
pub type LookAtRemotes = dyn Fn() -> Vec<RemoteStanding> + Send + Sync;

/// The last look at the database.
pub struct Looks {
    store: Store,
    last: Mutex<Option<(Instant, Option<Overview>)>>,
}

impl Looks {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            last: Mutex::default(),
        }
    }

    /// `None` while the database does not answer.
    pub async fn overview(&self) -> Option<Overview> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, overview)) if at.elapsed() < FRESH => overview.clone(),
            _ => {
                let overview = self.store.overview().await;
                if let Err(error) = &overview {
                    tracing::debug!(
                        error = error as &dyn std::error::Error,
                        "The database could not be looked at."
                    );
                }
                let overview = overview.ok();
                *last = Some((Instant::now(), overview.clone()));
                overview
            }
        }
    }
}

/// Whether contacts flow, part by part.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
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
pub struct Checks {
    /// `ok` or `down`.
    database: Check,
    /// `holder`, `standby`, or `free` when no process runs passes.
    lease: Check,
    /// `ok`, `late`, or `never`.
    poll: PollCheck,
    /// `ok`, `limited` (its quota is used up), `failing`, or `refused` (a person must act).
    keap: Check,
    intercom: Check,
    /// `off`, `ok`, or `incomplete`; polling works without them.
    webhooks: WebhookCheck,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_seconds: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PollCheck {
    #[schema(value_type = String, example = "ok")]
    state: &'static str,
    age_seconds: Option<u64>,
    limit_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookCheck {
    #[schema(value_type = String, example = "off")]
    state: &'static str,
    subscriptions: i64,
    verified: i64,
}

/// Says whether contacts flow
#[utoipa::path(get, path = "/ready", tag = "watch", responses(
    (status = 200, description = "Contacts flow", body = Ready),
    (status = 503, description = "They do not: a check says why", body = Ready)))]
pub async fn ready(State(state): State<Arc<HttpState>>) -> (StatusCode, Json<Ready>) {
    let overview = state.looks.overview().await;
    let (checks, is_ready) = checks(&state, overview.as_ref());
    let ready = Ready {
        status: if is_ready { "ready" } else { "not_ready" },
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        environment: state.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
        checks,
    };
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(ready))
}

fn checks(state: &HttpState, overview: Option<&Overview>) -> (Checks, bool) {
    let check = |state| Check {
        state,
        retry_in_seconds: None,
    };
    let lease = match overview {
        None => "unknown",
        Some(overview) => match overview.holder.as_deref() {
            None => "free",
            Some(_) if (state.holds_lease)() => "holder",
            Some(_) => "standby",
        },
    };
    let age = overview
        .and_then(|overview| overview.feed(Feed::Changed))
        .and_then(|feed| feed.age);
    let poll = match (overview, age) {
        (None, _) => "unknown",
        (_, None) => "never",
        (_, Some(age)) if age > state.poll_age_limit => "late",
        _ => "ok",
    };
    let remotes = (state.remotes)();
    let remote = |name: &str| {
        remotes
            .iter()
            .find(|remote| remote.name == name)
            .map_or(check("unknown"), |remote| Check {
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
        database: check(if overview.is_some() { "ok" } else { "down" }),
        lease: check(lease),
        poll: PollCheck {
            state: poll,
            age_seconds: age.map(|age| age.as_secs()),
            limit_seconds: state.poll_age_limit.as_secs(),
        },
        keap: remote("Keap"),
        intercom: remote("Intercom"),
        webhooks: WebhookCheck {
            state: webhooks,
            subscriptions: hooks,
            verified,
        },
    };
    let is_ready = matches!(lease, "holder" | "standby")
        && poll == "ok"
        && checks.keap.state != "refused"
        && checks.intercom.state != "refused";
    (checks, is_ready)
}
