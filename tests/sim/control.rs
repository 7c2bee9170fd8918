//! Both stand-ins in a process of their own, steered by plain JSON over HTTP, so that a bench measures the daemon alone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::intercom::Intercom;
use super::intercom::knobs::IntercomKnobs;
use super::keap::knobs::KeapKnobs;
use super::keap::person::Person;
use super::keap::{Keap, Which};
use super::people::{self, Shape};
use super::verify::{Verdict, verify};

/// Edits are numbered from here on: an invented person with a number of their own must not be given just what they have.
const FIRST_EDIT: u64 = 3_000_000;

/// Both stand-ins and what steers them.
#[derive(Clone)]
pub struct Stage {
    pub keap: Keap,
    pub intercom: Intercom,
    /// Makes every edit differ from the one before.
    edits: Arc<AtomicU64>,
}

/// Serves until the process ends; port 0 takes a free one. Prints one line of JSON with the three base URLs first.
pub async fn serve_forever(
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

/// `axum::serve` needs a feature that the daemon has no use for; this is the loop it would run.
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
    pub async fn start(keap_port: u16, intercom_port: u16) -> io::Result<Stage> {
        Ok(Stage {
            keap: Keap::start_on(keap_port).await?,
            intercom: Intercom::start_on(intercom_port).await?,
            edits: Arc::new(AtomicU64::new(FIRST_EDIT)),
        })
    }

    /// Lets the two be steered through `listener`, until the future is dropped.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        serve_router(listener, self.router()).await
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/control/keap/seed", post(seed_keap))
            .route("/control/keap/edit", post(edit_keap))
            .route("/control/keap/delete", post(delete_from_keap))
            .route("/control/keap/knobs", post(turn_keap))
            .route("/control/intercom/seed", post(seed_intercom))
            .route("/control/intercom/knobs", post(turn_intercom))
            .route("/control/intercom/reindex", post(reindex))
            .route("/control/clocks", post(set_clocks))
            .route("/control/ledger", post(set_ledger))
            .route("/control/counts", get(counts).post(counts))
            .route("/control/calls", get(calls).post(calls))
            .route("/control/windows", get(windows).post(windows))
            .route("/control/verify", get(compare).post(compare))
            .route("/control/clear", post(clear))
            .route("/control/reset", post(reset))
            .with_state(self.clone())
    }
}

type Refusal = (StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedKeap {
    count: u64,
    /// Number of the first invented person; people with other numbers are other people.
    #[serde(default)]
    start: u64,
    #[serde(default)]
    shape: Shape,
    /// One stamp for all, so many milliseconds ago; else each its own.
    #[serde(default)]
    age_ms: Option<i64>,
}

async fn seed_keap(State(stage): State<Stage>, Json(order): Json<SeedKeap>) -> Json<Value> {
    let ids = stage.keap.add_many(order.count as usize, |at| {
        people::invented(order.start + at as u64, order.shape)
    });
    if let Some(age_ms) = order.age_ms {
        let stamp_ms = stage.keap.clock().now_ms() - age_ms;
        ids.iter()
            .for_each(|id| stage.keap.set_stamp_ms(*id, Some(stamp_ms)));
    }
    Json(json!({"added": ids.len(), "first": ids.first(), "last": ids.last()}))
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edit {
    Phone,
    Name,
    Email,
    ClearPhone,
    /// A new stamp and nothing else.
    Touch,
}

impl Edit {
    fn apply(self, person: &mut Person, number: u64) {
        match self {
            Edit::Phone => {
                person.phones.clear();
                let new = std::mem::take(person)
                    .phone(&people::phone(number), Some(&people::e164(number)));
                *person = new;
            }
            Edit::Name => person.family_name = Some(format!("Lind {number}")),
            Edit::Email => {
                person.emails.clear();
                *person = std::mem::take(person).email(&format!("moved.{number}@example.org"));
            }
            Edit::ClearPhone => person.phones.clear(),
            Edit::Touch => {}
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditKeap {
    /// These contacts …
    ids: Option<Vec<i64>>,
    /// … or so many, from the lowest id on …
    count: Option<usize>,
    /// … after so many.
    #[serde(default)]
    skip: usize,
    what: Edit,
    /// One stamp for all, as a bulk edit in Keap gives them; else each its own.
    #[serde(default = "yes")]
    one_stamp: bool,
}

fn yes() -> bool {
    true
}

async fn edit_keap(State(stage): State<Stage>, Json(order): Json<EditKeap>) -> Json<Value> {
    let ids = order.ids.unwrap_or_else(|| {
        stage
            .keap
            .ids()
            .into_iter()
            .skip(order.skip)
            .take(order.count.unwrap_or(usize::MAX))
            .collect()
    });
    let edit = |person: &mut Person| {
        order
            .what
            .apply(person, stage.edits.fetch_add(1, Ordering::Relaxed))
    };
    let edited = if order.one_stamp {
        stage.keap.bulk_edit(Which::Ids(ids), edit)
    } else {
        ids.into_iter()
            .filter(|id| stage.keap.edit(*id, edit))
            .count()
    };
    Json(json!({"edited": edited}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteFromKeap {
    ids: Vec<i64>,
}

async fn delete_from_keap(
    State(stage): State<Stage>,
    Json(order): Json<DeleteFromKeap>,
) -> Json<Value> {
    let deleted = order
        .ids
        .into_iter()
        .filter(|id| stage.keap.delete(*id))
        .count();
    Json(json!({"deleted": deleted}))
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum With {
    /// Users with an e-mail alone.
    #[default]
    Email,
    /// Users that carry the Keap id already.
    ExternalId,
    Lead,
    Archived,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedIntercom {
    count: u64,
    /// Number of the first invented person.
    #[serde(default)]
    start: u64,
    #[serde(default)]
    with: With,
    /// Keap id of the first; only for `external_id`.
    #[serde(default = "one")]
    first_keap_id: u64,
}

fn one() -> u64 {
    1
}

async fn seed_intercom(State(stage): State<Stage>, Json(order): Json<SeedIntercom>) -> Json<Value> {
    for at in 0..order.count {
        let seed = people::seed(order.start + at);
        match order.with {
            With::Email => drop(stage.intercom.add_user(seed)),
            With::ExternalId => {
                drop(
                    stage
                        .intercom
                        .add_user(seed.external_id((order.first_keap_id + at).to_string())),
                );
            }
            With::Lead => drop(stage.intercom.add_lead(seed)),
            With::Archived => {
                let id = stage.intercom.add_user(seed);
                stage.intercom.archive(&id);
            }
        }
    }
    stage.intercom.reindex_now();
    Json(json!({"added": order.count}))
}

/// The knobs with those of `turned` replaced, or what is wrong with them.
fn merged<K: Serialize + DeserializeOwned>(knobs: &K, turned: Value) -> Result<K, Refusal> {
    let wrong = |error: serde_json::Error| (StatusCode::BAD_REQUEST, format!("{error}\n"));
    let mut all = serde_json::to_value(knobs).map_err(wrong)?;
    match (&mut all, turned) {
        (Value::Object(all), Value::Object(turned)) => all.extend(turned),
        _ => {
            return Err((
                StatusCode::BAD_REQUEST,
                "an object of knobs is expected\n".to_owned(),
            ));
        }
    }
    serde_json::from_value(all).map_err(wrong)
}

async fn turn_keap(
    State(stage): State<Stage>,
    Json(turned): Json<Value>,
) -> Result<Json<KeapKnobs>, Refusal> {
    stage.keap.knobs(|knobs| {
        let between_pages = knobs.between_pages.take();
        *knobs = KeapKnobs {
            between_pages,
            ..merged(knobs, turned)?
        };
        Ok(Json(knobs.clone()))
    })
}

async fn turn_intercom(
    State(stage): State<Stage>,
    Json(turned): Json<Value>,
) -> Result<Json<IntercomKnobs>, Refusal> {
    stage.intercom.knobs(|knobs| {
        *knobs = merged(knobs, turned)?;
        Ok(Json(knobs.clone()))
    })
}

async fn reindex(State(stage): State<Stage>) -> Json<Value> {
    stage.intercom.reindex_now();
    Json(json!({}))
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

/// As `counts`, without a look at the memories: cheap enough to be asked for all the time.
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

/// Clears counts, windows and faults; the memories stay.
async fn clear(State(stage): State<Stage>) -> Json<Value> {
    stage.keap.clear_ledger();
    stage.keap.clear_faults();
    stage.intercom.clear_ledger();
    stage.intercom.clear_faults();
    Json(json!({}))
}

/// Forgets everything but tokens, clocks and Keap's last id.
async fn reset(state: State<Stage>) -> Json<Value> {
    state.keap.forget_everybody();
    state.keap.knobs(|knobs| *knobs = KeapKnobs::default());
    state.intercom.forget_everybody();
    state
        .intercom
        .knobs(|knobs| *knobs = IntercomKnobs::default());
    clear(state).await
}
