//! `GET /metrics`: numbers for Prometheus. Labels come from short fixed lists; no id, address or text of anybody's is one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio_util::sync::CancellationToken;

use super::HttpState;
use super::problem::{Problem, ProblemBody};

/// Bounds of durations in seconds: from a call on loopback to a long walk's page.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
];
/// How often what histograms have gathered is put together.
const UPKEEP: Duration = Duration::from_secs(5);
/// A gauge that a look does not set is left out: while the database is down its last numbers would hide how bad things are.
const FORGOTTEN_AFTER: Duration = Duration::from_millis(100);

/// The recorder of this process; there can be but one.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let built = PrometheusBuilder::new()
                .idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN_AFTER))
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
                .and_then(PrometheusBuilder::install_recorder);
            match built {
                Ok(handle) => {
                    describe();
                    // A count that begins with its first event would show no increase.
                    counter!("keap_intercom_sync_late_total").increment(0);
                    Some(handle)
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Numbers are not gathered."
                    );
                    None
                }
            }
        })
        .as_ref()
}

fn describe() {
    describe_counter!(
        "keap_intercom_sync_contacts_total",
        "Contacts that were looked at, by what was done and why not."
    );
    describe_counter!(
        "keap_intercom_sync_calls_total",
        "Calls to the remotes, by remote, route and class of answer."
    );
    describe_histogram!(
        "keap_intercom_sync_call_seconds",
        "How long calls to the remotes took."
    );
    describe_histogram!(
        "keap_intercom_sync_pass_seconds",
        "How long passes took, by feed."
    );
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
        "Deliveries of webhooks, by what was made of them."
    );
    describe_counter!(
        "keap_intercom_sync_late_total",
        "Contacts that every poll had missed and the sweep found."
    );
    describe_gauge!(
        "keap_intercom_sync_limit_left",
        "Calls that a limit of a remote still leaves, as its headers last said."
    );
    describe_gauge!(
        "keap_intercom_sync_limit",
        "Calls that a limit of a remote allows."
    );
    describe_gauge!(
        "keap_intercom_sync_remote_up",
        "1 while a remote takes calls, 0 while it is limited, failing or refused."
    );
    describe_gauge!(
        "keap_intercom_sync_lag_seconds",
        "How far a feed's cursor lies behind now; it grows too while nothing changes in Keap."
    );
    describe_gauge!(
        "keap_intercom_sync_success_age_seconds",
        "Seconds since a feed's last whole walk."
    );
    describe_gauge!(
        "keap_intercom_sync_due",
        "Contacts that are to be looked at."
    );
    describe_gauge!(
        "keap_intercom_sync_held",
        "Contacts that wait for a person."
    );
    describe_gauge!(
        "keap_intercom_sync_lease_held",
        "1 in the process that runs passes."
    );
    describe_gauge!(
        "keap_intercom_sync_database_up",
        "1 while the database answers."
    );
    describe_gauge!(
        "keap_intercom_sync_hooks",
        "Our subscriptions in Keap, by state."
    );
    describe_gauge!(
        "keap_intercom_sync_sweep_braked",
        "1 when the brake ended the last sweep, so that nothing was done to what it missed in Keap."
    );
    describe_gauge!(
        "keap_intercom_sync_build_info",
        "The version of this program."
    );
}

/// Gathers numbers from now on, until `cancel`.
pub async fn gather(cancel: CancellationToken) {
    let recorder = recorder();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
        if let Some(recorder) = recorder {
            recorder.run_upkeep();
        }
    }
}

/// Shows numbers in Prometheus's form
#[utoipa::path(get, path = "/metrics", tag = "watch", security(("apiToken" = [])), responses(
    (status = 200, description = "Numbers", body = String, content_type = "text/plain"),
    (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "Not configured, or nothing is gathered", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn metrics(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let recorder = recorder().ok_or_else(|| Problem::not_configured("numbers are not gathered"))?;
    look(&state).await;
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((headers, recorder.render()).into_response())
}

/// Sets what is looked at rather than counted. Nothing is waited for between the first gauge and the answer.
async fn look(state: &HttpState) {
    let overview = state.looks.overview().await;
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
    gauge!("keap_intercom_sync_hooks", "state" => "verified").set(float(overview.hooks_verified));
    gauge!("keap_intercom_sync_hooks", "state" => "other")
        .set(float(overview.hooks - overview.hooks_verified));
    let braked = f64::from(u8::from(overview.sweep_braked));
    gauge!("keap_intercom_sync_sweep_braked").set(braked);
    for feed in overview.feeds {
        gauge!("keap_intercom_sync_lag_seconds", "feed" => feed.feed).set(feed.lag.as_secs_f64());
        if let Some(age) = feed.age {
            gauge!("keap_intercom_sync_success_age_seconds", "feed" => feed.feed)
                .set(age.as_secs_f64());
        }
    }
}
