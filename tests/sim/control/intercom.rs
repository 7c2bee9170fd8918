//! Control routes of Intercom: add contacts, set knobs, bring search up to date.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Stage, merged};
use crate::sim::intercom::knobs::IntercomKnobs;
use crate::sim::people;

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum With {
    /// Users with an e-mail and no external id.
    #[default]
    Email,
    /// Users whose external id is a Keap id.
    ExternalId,
    Lead,
    Archived,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeedIntercom {
    count: u64,
    /// Number of the first invented person.
    #[serde(default)]
    start: u64,
    #[serde(default)]
    with: With,
    /// Keap id of the first contact; used by `external_id` only.
    #[serde(default = "one")]
    first_keap_id: u64,
}

fn one() -> u64 {
    1
}

pub(super) async fn seed_intercom(
    State(stage): State<Stage>,
    Json(order): Json<SeedIntercom>,
) -> Json<Value> {
    for at in 0..order.count {
        let seed = people::seed(order.start + at);
        match order.with {
            With::Email => {
                stage.intercom.add_user(seed);
            }
            With::ExternalId => {
                stage.intercom.add_user(seed.external_id((order.first_keap_id + at).to_string()));
            }
            With::Lead => {
                stage.intercom.add_lead(seed);
            }
            With::Archived => {
                let id = stage.intercom.add_user(seed);
                stage.intercom.archive(&id);
            }
        }
    }
    stage.intercom.reindex_now();
    Json(json!({"added": order.count}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditIntercom {
    count: usize,
}

/// An agent gives the first users new phone numbers.
pub(super) async fn edit_intercom(
    State(stage): State<Stage>,
    Json(order): Json<EditIntercom>,
) -> Json<Value> {
    let users = stage.intercom.live_users();
    let edited = users.iter().take(order.count).enumerate().filter(|(at, user)| {
        let phone = people::e164(7_900_000 + *at as u64);
        stage.intercom.edit(&user.id, |contact| contact.phone = Some(phone))
    });
    let edited = edited.count();
    stage.intercom.reindex_now();
    Json(json!({"edited": edited}))
}

pub(super) async fn set_intercom_knobs(
    State(stage): State<Stage>,
    Json(changes): Json<Value>,
) -> Result<Json<IntercomKnobs>, Refusal> {
    stage.intercom.knobs(|knobs| {
        *knobs = merged(knobs, changes)?;
        Ok(Json(knobs.clone()))
    })
}

pub(super) async fn reindex(State(stage): State<Stage>) -> Json<Value> {
    stage.intercom.reindex_now();
    Json(json!({}))
}
