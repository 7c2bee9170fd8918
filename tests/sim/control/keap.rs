//! Control routes of Keap: add, edit and delete contacts, set knobs.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Stage, merged};
use crate::sim::keap::Which;
use crate::sim::keap::knobs::KeapKnobs;
use crate::sim::keap::person::Person;
use crate::sim::people::{self, Shape};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeedKeap {
    count: u64,
    /// Number of the first invented person. Each number stands for another person.
    #[serde(default)]
    start: u64,
    #[serde(default)]
    shape: Shape,
    /// If set, all contacts get one stamp, this many milliseconds ago. Else each gets its own.
    #[serde(default)]
    age_ms: Option<i64>,
    /// These custom fields have a value for everybody.
    #[serde(default)]
    customs: Vec<i64>,
    /// Everybody has these tags.
    #[serde(default)]
    tags: Vec<i64>,
    /// Everybody works for this company.
    #[serde(default)]
    company: Option<(i64, String)>,
}

pub(super) async fn seed_keap(
    State(stage): State<Stage>,
    Json(order): Json<SeedKeap>,
) -> Json<Value> {
    let ids = stage.keap.add_many(order.count as usize, |at| {
        let mut person = people::invented(order.start + at as u64, order.shape);
        for field in &order.customs {
            person = person.custom(*field, format!("value {field} of {at}"));
        }
        person.tag_ids.extend(&order.tags);
        if let Some((id, name)) = &order.company {
            person.details.company_id = Some(*id);
            person.company_name = Some(name.clone());
        }
        person
    });
    if let Some(age_ms) = order.age_ms {
        let stamp_ms = stage.keap.clock().now_ms() - age_ms;
        ids.iter().for_each(|id| stage.keap.set_stamp_ms(*id, Some(stamp_ms)));
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
    /// Changes nothing but the stamp.
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
pub(super) struct EditKeap {
    /// Edits these contacts.
    ids: Option<Vec<i64>>,
    /// Without `ids`: edits this many contacts, the lowest ids first.
    count: Option<usize>,
    /// Without `ids`: leaves out this many contacts at the start.
    #[serde(default)]
    skip: usize,
    what: Edit,
    /// Gives all contacts one stamp, as a bulk edit in Keap does. Else each gets its own.
    #[serde(default = "yes")]
    one_stamp: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn edit_keap(
    State(stage): State<Stage>,
    Json(order): Json<EditKeap>,
) -> Json<Value> {
    let ids = order.ids.unwrap_or_else(|| {
        stage
            .keap
            .ids()
            .into_iter()
            .skip(order.skip)
            .take(order.count.unwrap_or(usize::MAX))
            .collect()
    });
    let edit =
        |person: &mut Person| order.what.apply(person, stage.edits.fetch_add(1, Ordering::Relaxed));
    let edited = if order.one_stamp {
        stage.keap.bulk_edit(Which::Ids(ids), edit)
    } else {
        ids.into_iter().filter(|id| stage.keap.edit(*id, edit)).count()
    };
    Json(json!({"edited": edited}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteFromKeap {
    ids: Vec<i64>,
}

pub(super) async fn delete_from_keap(
    State(stage): State<Stage>,
    Json(order): Json<DeleteFromKeap>,
) -> Json<Value> {
    let deleted = order.ids.into_iter().filter(|id| stage.keap.delete(*id)).count();
    Json(json!({"deleted": deleted}))
}

pub(super) async fn set_keap_knobs(
    State(stage): State<Stage>,
    Json(changes): Json<Value>,
) -> Result<Json<KeapKnobs>, Refusal> {
    stage.keap.knobs(|knobs| {
        let between_pages = knobs.between_pages.take();
        *knobs = KeapKnobs { between_pages, ..merged(knobs, changes)? };
        Ok(Json(knobs.clone()))
    })
}
