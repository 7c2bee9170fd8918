//! Runs both stand-ins in a process of their own and controls them by JSON over HTTP, so that a
//! bench measures the daemon alone.
//!
//! Each route is called by POST with a JSON body (`content-type: application/json`). A body without
//! fields is `{}`.
//!
//! - `/control/keap/seed`: `count`, `start`, `shape` (`plain`, `mixed`), `age_ms`.
//! - `/control/keap/edit`: `ids`, or `count` and `skip`; `what` (`phone`, `name`, `email`,
//!   `clear_phone`, `touch`); `one_stamp`.
//! - `/control/keap/delete`: `ids`.
//! - `/control/keap/custom_field`: adds one with `label`, `field_type`, `options`; or changes that of
//!   `id` by `label` or `deleted`. `/control/keap/custom`: `contact`, `field`, `content`.
//! - `/control/keap/details`: `contact`, `texts` (property and text or null), `owner_id`, `company`
//!   (`id`, `name`).
//! - `/control/keap/user`: `email`. `/control/keap/opt_status`: `email`, `status`.
//! - `/control/keap/tag`: `name`, and the ids of contacts in `apply` and `remove`.
//! - `/control/keap/knobs`: any fields of `KeapKnobs`. Answers with all of them.
//! - `/control/intercom/seed`: `count`, `start`, `with` (`email`, `external_id`, `lead`,
//!   `archived`), `first_keap_id`.
//! - `/control/intercom/attribute`: `name`, `data_type`, `options`, `archived`.
//! - `/control/intercom/admin`: `email`.
//! - `/control/intercom/knobs`: any fields of `IntercomKnobs`. Answers with all of them.
//! - `/control/intercom/reindex`: brings search up to date.
//! - `/control/clocks`: `keap_offset_ms`, `intercom_offset_ms`.
//! - `/control/ledger`: `keep_calls`.
//! - `/control/clear`: clears counts, windows and faults.
//! - `/control/reset`: as `clear`; also removes all contacts, custom fields, attributes, tags, users,
//!   admins and companies, and sets all knobs to their defaults.
//!
//! `/control/counts`, `/control/calls`, `/control/windows`, `/control/verify` and
//! `/control/could_subscribe` take a GET as well. `calls` leaves out the numbers of contacts, which
//! makes it cheaper than `counts`.

mod intercom;
mod keap;
mod setup;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::sim::intercom::Intercom;
use crate::sim::intercom::knobs::IntercomKnobs;
use crate::sim::keap::Keap;
use crate::sim::keap::knobs::KeapKnobs;
use crate::sim::verify::{Verdict, verify};

/// Edits are numbered from here on. No invented person has such a number, so an edit never sets the
/// value that the person already has.
const FIRST_EDIT: u64 = 3_000_000;

/// Both stand-ins and the counter that their control routes share.
#[derive(Clone)]
pub(crate) struct Stage {
    pub keap: Keap,
    pub intercom: Intercom,
    /// Makes every edit differ from the one before.
    edits: Arc<AtomicU64>,
}

/// First prints one line of JSON with the three base URLs and the tokens, then serves until the
/// process ends. Port 0 takes a free port.
pub(crate) async fn serve_forever(
    keap_port: u16,
    intercom_port: u16,
    control_port: u16,
) -> io::Result<()> {
    let stage = Stage::start(keap_port, intercom_port).await?;
    let listener = TcpListener::bind(("127.0.0.1", control_port)).await?;
    let urls = json!({
        "keap": stage.keap.base_url(), "keap_token": stage.keap.token(),
        "intercom": stage.intercom.base_url(), "intercom_token": stage.intercom.token(),
        "control": format!("http://{}", listener.local_addr()?),
    });
    println!("{urls}");
    stage.serve(listener).await
}

/// Accepts connections in its own loop, because `axum::serve` needs a feature that nothing else
/// here uses.
async fn serve_router(listener: TcpListener, router: Router) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
        );
    }
}

impl Stage {
    pub(crate) async fn start(keap_port: u16, intercom_port: u16) -> io::Result<Stage> {
        Ok(Stage {
            keap: Keap::start_on(keap_port).await?,
            intercom: Intercom::start_on(intercom_port).await?,
            edits: Arc::new(AtomicU64::new(FIRST_EDIT)),
        })
    }

    /// Serves the control routes on `listener` until the future is dropped.
    pub(crate) async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        serve_router(listener, self.router()).await
    }

    /// The same, with further routes.
    pub(crate) async fn serve_with(&self, listener: TcpListener, more: Router) -> io::Result<()> {
        serve_router(listener, self.router().merge(more)).await
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/control/keap/seed", post(keap::seed_keap))
            .route("/control/keap/edit", post(keap::edit_keap))
            .route("/control/keap/delete", post(keap::delete_from_keap))
            .route("/control/keap/custom_field", post(setup::set_custom_field))
            .route("/control/keap/custom", post(setup::set_custom))
            .route("/control/keap/details", post(setup::set_details))
            .route("/control/keap/user", post(setup::add_user))
            .route("/control/keap/opt_status", post(setup::set_opt_status))
            .route("/control/keap/tag", post(setup::set_tag))
            .route("/control/keap/knobs", post(keap::set_keap_knobs))
            .route("/control/intercom/seed", post(intercom::seed_intercom))
            .route("/control/intercom/attribute", post(setup::set_attribute))
            .route("/control/intercom/admin", post(setup::add_admin))
            .route("/control/intercom/knobs", post(intercom::set_intercom_knobs))
            .route("/control/intercom/edit", post(intercom::edit_intercom))
            .route("/control/intercom/reindex", post(intercom::reindex))
            .route("/control/clocks", post(set_clocks))
            .route("/control/ledger", post(set_ledger))
            .route("/control/counts", get(counts).post(counts))
            .route("/control/calls", get(calls).post(calls))
            .route("/control/windows", get(windows).post(windows))
            .route("/control/verify", get(compare).post(compare))
            .route("/control/could_subscribe", get(could_subscribe).post(could_subscribe))
            .route("/control/clear", post(clear))
            .route("/control/reset", post(reset))
            .with_state(self.clone())
    }
}

type Refusal = (StatusCode, String);

/// The knobs with `changes` applied; the error says what is wrong with the changes.
fn merged<K: Serialize + DeserializeOwned>(knobs: &K, changes: Value) -> Result<K, Refusal> {
    let wrong = |error: serde_json::Error| (StatusCode::BAD_REQUEST, format!("{error}\n"));
    let mut all = serde_json::to_value(knobs).map_err(wrong)?;
    match (&mut all, changes) {
        (Value::Object(all), Value::Object(changes)) => all.extend(changes),
        _ => {
            return Err((
                StatusCode::BAD_REQUEST,
                "the body must be an object of knobs\n".to_owned(),
            ));
        }
    }
    serde_json::from_value(all).map_err(wrong)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clocks {
    keap_offset_ms: Option<i64>,
    intercom_offset_ms: Option<i64>,
}

async fn set_clocks(State(stage): State<Stage>, Json(order): Json<Clocks>) -> Json<Value> {
    if let Some(offset_ms) = order.keap_offset_ms {
        stage.keap.clock().set_offset_ms(offset_ms);
    }
    if let Some(offset_ms) = order.intercom_offset_ms {
        stage.intercom.clock().set_offset_ms(offset_ms);
    }
    Json(
        json!({"keap_ms": stage.keap.clock().now_ms(), "intercom_ms": stage.intercom.clock().now_ms()}),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerOrder {
    keep_calls: bool,
}

async fn set_ledger(State(stage): State<Stage>, Json(order): Json<LedgerOrder>) -> Json<Value> {
    stage.keap.keep_calls(order.keep_calls);
    stage.intercom.keep_calls(order.keep_calls);
    Json(json!({}))
}

async fn counts(State(stage): State<Stage>) -> Json<Value> {
    Json(json!({
        "keap": {
            "calls": stage.keap.calls(), "kinds": stage.keap.kinds(), "statuses": stage.keap.statuses(),
            "contacts": stage.keap.len(),
        },
        "intercom": {
            "calls": stage.intercom.calls(), "kinds": stage.intercom.kinds(),
            "statuses": stage.intercom.statuses(), "live_users": stage.intercom.count_users(|_| true),
        },
    }))
}

/// As `counts`, without counting contacts, so it is cheap enough for frequent polling.
async fn calls(State(stage): State<Stage>) -> Json<Value> {
    Json(json!({
        "keap": {"calls": stage.keap.calls(), "kinds": stage.keap.kinds(), "statuses": stage.keap.statuses()},
        "intercom": {
            "calls": stage.intercom.calls(), "kinds": stage.intercom.kinds(), "statuses": stage.intercom.statuses(),
        },
    }))
}

async fn windows(State(stage): State<Stage>) -> Json<Value> {
    let windows: Vec<_> = stage
        .intercom
        .windows()
        .into_iter()
        .map(|(start_ms, used, limit)| json!({"start_ms": start_ms, "used": used, "limit": limit}))
        .collect();
    Json(json!({"windows": windows, "refused": stage.intercom.refused_by_limit()}))
}

async fn compare(State(stage): State<Stage>) -> Json<Verdict> {
    Json(verify(&stage.keap, &stage.intercom))
}

async fn could_subscribe(State(stage): State<Stage>) -> Json<Value> {
    Json(json!({
        "keap": stage.keap.could_subscribe(), "intercom": stage.intercom.could_subscribe(),
    }))
}

/// Clears counts, windows and faults. The contacts stay.
async fn clear(State(stage): State<Stage>) -> Json<Value> {
    stage.keap.clear_ledger();
    stage.keap.clear_faults();
    stage.intercom.clear_ledger();
    stage.intercom.clear_faults();
    Json(json!({}))
}

/// Forgets everything except tokens, clocks and Keap's last id.
async fn reset(state: State<Stage>) -> Json<Value> {
    state.keap.forget_everybody();
    state.keap.forget_setup();
    state.keap.knobs(|knobs| *knobs = KeapKnobs::default());
    state.intercom.forget_everybody();
    state.intercom.forget_setup();
    state.intercom.knobs(|knobs| *knobs = IntercomKnobs::default());
    clear(state).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::client;

    #[tokio::test]
    async fn a_stage_is_seeded_controlled_and_compared_over_http() {
        let stage = Stage::start(0, 0).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/control", listener.local_addr().unwrap());
        tokio::spawn(serve_router(listener, stage.router()));
        let post = async |path: &str, body: Value| {
            let headers = [("content-type", "application/json")];
            client::send("POST", &format!("{base}{path}"), &headers, body.to_string())
                .await
                .unwrap()
        };

        let added =
            post("/keap/seed", json!({"count": 40, "shape": "mixed", "age_ms": 5000})).await.json();
        assert_eq!(added["last"], 40);
        post("/intercom/seed", json!({"count": 3, "with": "external_id"})).await;
        let edited = post("/keap/edit", json!({"ids": [2, 3], "what": "phone"})).await.json();
        assert_eq!(edited["edited"], 2);
        assert_eq!(stage.keap.stamp_ms(2), stage.keap.stamp_ms(3));
        let verdict = post("/verify", json!({})).await.json();
        // One of twenty mixed people has no e-mail. The users added to Intercom have no family name
        // and no phone.
        assert_eq!(
            (&verdict["without_email"], &verdict["different"], &verdict["missing"]),
            (&json!(2), &json!(3), &json!(35))
        );

        let knobs =
            post("/keap/knobs", json!({"per_minute": 240, "rounding": "Floor"})).await.json();
        assert_eq!((&knobs["per_minute"], &knobs["per_second"]), (&json!(240), &Value::Null));
        assert_eq!(post("/keap/knobs", json!({"per_hour": 1})).await.status, 400);
        post("/intercom/knobs", json!({"limit": 5, "window_start": {"Grid": {"offset_ms": 3}}}))
            .await;
        assert_eq!(stage.intercom.knobs(|knobs| knobs.limit), Some(5));
        assert_eq!(post("/counts", json!({})).await.json()["intercom"]["live_users"], 3);
        assert_eq!(post("/windows", json!({})).await.json()["refused"], 0);
        post("/reset", json!({})).await;
        assert!(stage.keap.is_empty() && stage.intercom.contacts().is_empty());
    }
}
