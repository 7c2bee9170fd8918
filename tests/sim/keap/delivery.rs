//! Delivers hook events: collects them, tries four times on Keap's schedule, then gives up
//! (`docs/api/keap.md`, "Hooks: deliveries").

use std::ops::Range;
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::json;

use super::Keap;
use super::hooks::HookStatus;
use super::stamps;
use crate::sim::client;

/// Seconds from a change to its first delivery, and from each failure to the next attempt.
const WAITS: [Range<f64>; 4] = [30.0..60.0, 30.0..60.0, 300.0..301.0, 1800.0..1801.0];
/// Most events in one delivery.
const BATCH: usize = 1000;
/// Seconds that a receiver has for its answer.
const ANSWER_TIMEOUT_SECS: f64 = 30.0;
/// The shortest timeout, however fast time runs: a receiver on a busy machine needs it.
const MIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

fn answer_timeout(time_scale: f64) -> Duration {
    Duration::from_secs_f64(ANSWER_TIMEOUT_SECS * time_scale).max(MIN_ANSWER_TIMEOUT)
}

async fn wait(range: &Range<f64>, keap: &Keap) {
    let seconds = rand::rng().random_range(range.clone());
    let time_scale = keap.knobs(|knobs| knobs.hook_time_scale);
    tokio::time::sleep(Duration::from_secs_f64(seconds * time_scale)).await;
}

/// Sends a secret. The receiver is verified if it answers exactly 200 and echoes the secret.
pub(super) async fn echoes_secret(hook_url: &str, secret: &str, time_scale: f64) -> bool {
    let headers = [("x-hook-secret", secret), ("content-type", "application/json")];
    let reply = client::send("POST", hook_url, &headers, "{}");
    match tokio::time::timeout(answer_timeout(time_scale), reply).await {
        Ok(Ok(reply)) => reply.status == 200 && reply.header("x-hook-secret") == Some(secret),
        _ => false,
    }
}

/// Waits for the first wait, then delivers the events that have come in, each batch on its own.
pub(super) async fn collect(keap: Keap, key: String) {
    wait(&WAITS[0], &keap).await;
    let events = {
        let mut state = keap.state();
        let shuffle = state.knobs.hook_shuffle;
        let Some(subscription) = state.hooks.get_mut(&key) else {
            return;
        };
        subscription.collecting = false;
        let mut events = std::mem::take(&mut subscription.waiting);
        if shuffle {
            events.shuffle(&mut rand::rng());
        }
        events
    };
    for batch in events.chunks(BATCH) {
        tokio::spawn(deliver(keap.clone(), key.clone(), batch.to_vec()));
    }
}

async fn deliver(keap: Keap, key: String, events: Vec<(i64, i64)>) {
    for next in WAITS.get(1..).into_iter().flatten().map(Some).chain([None]) {
        let Some((hook_url, body)) = delivery(&keap, &key, &events) else {
            return;
        };
        let (duplicate, time_scale) =
            keap.knobs(|knobs| (knobs.hook_duplicate, knobs.hook_time_scale));
        let mut status = post(&hook_url, &body, time_scale).await;
        if duplicate {
            status = post(&hook_url, &body, time_scale).await;
        }
        match (status, next) {
            (Some(200..=399), _) => return,
            (Some(410), _) | (_, None) => return keap.set_hook_status(&key, HookStatus::Inactive),
            (_, Some(next)) => wait(next, &keap).await,
        }
    }
}

/// The URL and body of a delivery. `None` if the subscription is gone or no longer verified.
fn delivery(keap: &Keap, key: &str, events: &[(i64, i64)]) -> Option<(String, String)> {
    let mut state = keap.state();
    let (rounding, drop_api_url) = (state.knobs.rounding, state.knobs.hook_drop_api_url);
    let hook = &state.hooks.get_mut(key)?.hook;
    if hook.status != HookStatus::Verified {
        return None;
    }
    let object = |(id, stamp_ms): &(i64, i64)| {
        let timestamp = stamps::v2(*stamp_ms, rounding);
        let api_url = format!("https://api.infusionsoft.com/crm/rest/v1/contacts/{id}");
        if drop_api_url {
            json!({"id": id, "timestamp": timestamp})
        } else {
            json!({"id": id, "apiUrl": api_url, "timestamp": timestamp})
        }
    };
    let object_type = hook.event_key.split('.').next().unwrap_or_default();
    let body = json!({
        "event_key": hook.event_key, "object_type": object_type,
        "object_keys": events.iter().map(object).collect::<Vec<_>>(),
    });
    Some((hook.hook_url.clone(), body.to_string()))
}

/// The status of the answer, if it came in time.
async fn post(hook_url: &str, body: &str, time_scale: f64) -> Option<u16> {
    let headers = [("content-type", "application/json")];
    let reply = client::send("POST", hook_url, &headers, body.to_owned());
    let reply = tokio::time::timeout(answer_timeout(time_scale), reply).await.ok()?;
    Some(reply.ok()?.status)
}
