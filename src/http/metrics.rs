//! `GET /metrics`: metrics for Prometheus. Labels come from short fixed lists, never from ids,
//! addresses or other people's texts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio_util::sync::CancellationToken;

use super::code::Code;
use super::problem::{Problem, ProblemBody};
use super::ready::keap_day;
use super::state::HttpState;
use crate::notify::KINDS;
use crate::report::{KeapQueue, misses_notifications};
use crate::store::TwoWay;

/// The buckets of all durations, in seconds: from a call on loopback to a page of a long walk.
const DURATION_BUCKETS_SECONDS: &[f64] =
    &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
/// How often the exporter folds the samples of histograms into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// A gauge that a request does not set is left out after this time. While the database is down, its
/// last values would hide the trouble.
const GAUGE_LIFETIME: Duration = Duration::from_millis(100);

/// The recorder of this process. There can be only one.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let built = PrometheusBuilder::new()
                .idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_LIFETIME))
                .set_buckets_for_metric(
                    Matcher::Suffix("_seconds".into()),
                    DURATION_BUCKETS_SECONDS,
                )
                .and_then(PrometheusBuilder::install_recorder);
            match built {
                Ok(handle) => {
                    describe();
                    // Prometheus sees an increase only if the counter exists before its first
                    // event.
                    counter!("keap_intercom_sync_late_total").increment(0);
                    counter!("keap_intercom_sync_writes_to_keap_total").increment(0);
                    counter!("keap_intercom_sync_created_in_keap_total").increment(0);
                    counter!("keap_intercom_sync_notifications_total", "action" => "queued")
                        .increment(0);
                    counter!("keap_intercom_sync_conflicts_total").increment(0);
                    for target in KINDS {
                        for class in ["sent", "failed"] {
                            counter!("keap_intercom_sync_alarms_total", "target" => target, "class" => class)
                                .increment(0);
                        }
                    }
                    for why in ["value", "opt_out", "forbidden"] {
                        counter!("keap_intercom_sync_keap_refusals_total", "why" => why)
                            .increment(0);
                    }
                    Some(handle)
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "The metrics could not be set up."
                    );
                    None
                }
            }
        })
        .as_ref()
}

fn describe_second_direction() {
    describe_counter!(
        "keap_intercom_sync_notifications_total",
        "Webhooks of Intercom, by what came of them."
    );
    describe_counter!(
        "keap_intercom_sync_created_in_keap_total",
        "Contacts that were made in Keap for users of Intercom."
    );
    describe_counter!(
        "keap_intercom_sync_writes_to_keap_total",
        "Contacts whose values of Intercom were written to Keap."
    );
    describe_counter!(
        "keap_intercom_sync_conflicts_total",
        "Contacts with a field that was edited on both sides."
    );
    describe_counter!(
        "keap_intercom_sync_keap_refusals_total",
        "Writes that Keap does not take, by what it refuses."
    );
    describe_gauge!(
        "keap_intercom_sync_audit_braked",
        "1 when the brake stopped the last audit, which then changed nothing."
    );
    describe_gauge!(
        "keap_intercom_sync_keap_queue",
        "Contacts that wait for a write to Keap, by their turn."
    );
    describe_gauge!(
        "keap_intercom_sync_keap_queue_seconds",
        "The time until the last of them is written."
    );
    describe_gauge!(
        "keap_intercom_sync_newcomers",
        "Users of Intercom that wait for a contact in Keap, by what they wait for."
    );
    describe_gauge!(
        "keap_intercom_sync_search_lag_seconds",
        "The longest time of the last day until Intercom's list showed a write."
    );
    describe_gauge!(
        "keap_intercom_sync_notifications_missing",
        "1 while polls find changes in Intercom and no notification comes."
    );
}

/// The gauges of the second direction, which exist only while it is on.
fn set_second_direction(state: &HttpState, two_way: &TwoWay, float: impl Fn(i64) -> f64) {
    let flag = |is_set: bool| f64::from(u8::from(is_set));
    let queue = KeapQueue::of(two_way, state.second.rates, keap_day(state));
    gauge!("keap_intercom_sync_audit_braked").set(flag(two_way.is_braked()));
    gauge!("keap_intercom_sync_keap_queue", "turn" => "next").set(float(queue.waiting));
    gauge!("keap_intercom_sync_keap_queue", "turn" => "paced").set(float(queue.paced));
    gauge!("keap_intercom_sync_keap_queue_seconds").set(queue.empty_in.as_secs_f64());
    for (state, users) in [
        ("next", two_way.newcomers),
        ("braked", two_way.newcomers_braked),
        ("held", two_way.newcomers_held),
    ] {
        gauge!("keap_intercom_sync_newcomers", "state" => state).set(float(users));
    }
    let lag = two_way.search_lag.unwrap_or_default();
    gauge!("keap_intercom_sync_search_lag_seconds").set(lag.as_secs_f64());
    let is_missing = state.second.is_notified && misses_notifications(two_way);
    gauge!("keap_intercom_sync_notifications_missing").set(flag(is_missing));
    let audit = two_way.audit.as_ref().filter(|audit| audit.failure.is_none());
    let ages = [("intercom_changed", two_way.read_age), ("audit", audit.map(|audit| audit.age))];
    for (feed, age) in ages {
        if let Some(age) = age {
            gauge!("keap_intercom_sync_success_age_seconds", "feed" => feed).set(age.as_secs_f64());
        }
    }
}

fn describe_pauses() {
    describe_gauge!(
        "keap_intercom_sync_paused_seconds",
        "For how long a person has paused something, by what is paused; 0 while nothing is."
    );
}

fn describe_alarms() {
    describe_counter!(
        "keap_intercom_sync_alarms_total",
        "Messages to the targets of alarms, by target and by what came of them."
    );
}

fn describe() {
    describe_alarms();
    describe_second_direction();
    describe_pauses();
    describe_counter!(
        "keap_intercom_sync_contacts_total",
        "Contacts that were looked at, by action and reason."
    );
    describe_counter!(
        "keap_intercom_sync_calls_total",
        "Calls to Keap and Intercom, by remote, route and class of answer."
    );
    describe_histogram!(
        "keap_intercom_sync_call_seconds",
        "How long calls to Keap and Intercom took."
    );
    describe_histogram!("keap_intercom_sync_pass_seconds", "How long passes took, by feed.");
    describe_counter!(
        "keap_intercom_sync_requests_total",
        "Requests to this program, by route and status."
    );
    describe_histogram!(
        "keap_intercom_sync_request_seconds",
        "How long requests to this program took, by route."
    );
    describe_counter!(
        "keap_intercom_sync_deliveries_total",
        "Webhook deliveries, by what came of them."
    );
    describe_counter!(
        "keap_intercom_sync_late_total",
        "Contacts that every poll missed and the sweep found."
    );
    describe_gauge!(
        "keap_intercom_sync_limit_left",
        "Calls that a limit of a remote still allows, by its last headers."
    );
    describe_gauge!("keap_intercom_sync_limit", "Calls that a limit of a remote allows.");
    describe_gauge!(
        "keap_intercom_sync_remote_up",
        "1 while a remote takes calls, 0 while it is limited, failing or refused."
    );
    describe_gauge!(
        "keap_intercom_sync_lag_seconds",
        "How far a feed's cursor lies behind now. It also grows while nothing changes in Keap."
    );
    describe_gauge!(
        "keap_intercom_sync_success_age_seconds",
        "Seconds since a feed's last complete walk."
    );
    describe_gauge!("keap_intercom_sync_due", "Contacts that are due now or wait for a retry.");
    describe_gauge!("keap_intercom_sync_held", "Contacts and users that wait for a person.");
    describe_gauge!("keap_intercom_sync_plans_waiting", "Plans that wait for a person.");
    describe_gauge!("keap_intercom_sync_lease_held", "1 in the process that runs passes.");
    describe_gauge!("keap_intercom_sync_database_up", "1 while the database answers.");
    describe_gauge!("keap_intercom_sync_hooks", "Our subscriptions in Keap, by state.");
    describe_gauge!(
        "keap_intercom_sync_sweep_braked",
        "1 when the brake stopped the last sweep, which then archived and unlinked nothing."
    );
    describe_gauge!("keap_intercom_sync_build_info", "The version of this program.");
}

/// Gathers metrics until `cancel`.
pub async fn gather(cancel: CancellationToken) {
    let recorder = recorder();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_INTERVAL) => {}
        }
        if let Some(recorder) = recorder {
            recorder.run_upkeep();
        }
    }
}

/// Shows the metrics in Prometheus's format
#[utoipa::path(get, path = "/metrics", tag = "watch", operation_id = "showMetrics", security(("apiToken" = [])), responses(
    (status = 200, description = "The metrics", body = String, content_type = "text/plain", example = "keap_intercom_sync_held 1"),
    (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "Not configured, or the metrics could not be set up", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn metrics(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let recorder = recorder().ok_or_else(|| {
        Problem::new(Code::NotConfigured, "the metrics could not be set up; the log says why")
    })?;
    set_gauges(&state).await;
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((headers, recorder.render()).into_response())
}

/// Sets the gauges. It awaits nothing after the first gauge, so none expires before the answer.
async fn set_gauges(state: &HttpState) {
    let overview = state.overview.get().await;
    #[expect(clippy::cast_precision_loss, reason = "counts of contacts and calls")]
    let float = |number: i64| number as f64;
    gauge!("keap_intercom_sync_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("keap_intercom_sync_lease_held").set(f64::from(u8::from((state.holds_lease)())));
    for remote in (state.remotes)() {
        let name = remote.name.to_lowercase();
        let up = f64::from(u8::from(remote.state == "ok"));
        gauge!("keap_intercom_sync_remote_up", "remote" => name.clone()).set(up);
        for (limit, allowed, left) in remote.limits {
            gauge!("keap_intercom_sync_limit", "remote" => name.clone(), "limit" => limit.clone())
                .set(float(allowed));
            gauge!("keap_intercom_sync_limit_left", "remote" => name.clone(), "limit" => limit)
                .set(float(left));
        }
    }
    let up = f64::from(u8::from(overview.is_some()));
    gauge!("keap_intercom_sync_database_up").set(up);
    let Some(overview) = overview else { return };
    gauge!("keap_intercom_sync_due").set(float(overview.due));
    gauge!("keap_intercom_sync_held").set(float(overview.held));
    gauge!("keap_intercom_sync_plans_waiting").set(float(overview.plans_waiting));
    // Prometheus sees an end only if the value goes back to 0.
    let now = Utc::now();
    let paused = |scope: &'static str, since: Option<DateTime<Utc>>| {
        let seconds = since.map_or(0, |since| (now - since).num_seconds().max(1));
        gauge!("keap_intercom_sync_paused_seconds", "scope" => scope).set(float(seconds));
    };
    paused("all", None);
    for pause in &overview.pauses.0 {
        paused(pause.scope.as_str(), Some(pause.since));
    }
    gauge!("keap_intercom_sync_hooks", "state" => "verified").set(float(overview.hooks_verified));
    gauge!("keap_intercom_sync_hooks", "state" => "other")
        .set(float(overview.hooks - overview.hooks_verified));
    let braked = f64::from(u8::from(overview.sweep_braked));
    gauge!("keap_intercom_sync_sweep_braked").set(braked);
    if let Some(two_way) = &overview.two_way {
        set_second_direction(state, two_way, float);
    }
    for feed in overview.feeds {
        gauge!("keap_intercom_sync_lag_seconds", "feed" => feed.feed).set(feed.lag.as_secs_f64());
        if let Some(age) = feed.age {
            gauge!("keap_intercom_sync_success_age_seconds", "feed" => feed.feed)
                .set(age.as_secs_f64());
        }
    }
}
