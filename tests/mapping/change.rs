//! A changed mapping: what it writes, what stops it, and what it leaves alone.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::fields::{FORMER_DATABASE, add_former_people};
use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::world::{World, until};

/// Ten people, of whom the first have a job title and a plan, synced by the built-in mapping. Also
/// returns the id of the custom field.
async fn synced(pool: PgPool, titled: i64) -> (World, i64) {
    let mut world = World::with_people(pool, 10).await;
    world.set("SYNC__RECORD_AFTER_MS", 10);
    let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
    for name in ["job", "other", "plan"] {
        world.intercom.add_attribute(name, "string", &[]);
    }
    for id in 1..=titled {
        world.keap.edit_quietly(id, |person| {
            person.job_title = Some(format!("Job {id}"));
            person.details.custom_fields.insert(plan, format!("plan {id}").into());
        });
    }
    world.sync().await;
    world.intercom.clear_ledger();
    (world, plan)
}

const JOB: (&str, &str, &str) = ("job_title", "attribute:job", "");
const JOB_ELSEWHERE: (&str, &str, &str) = ("job_title", "attribute:other", "name = \"job\"");
const PLAN: (&str, &str, &str) = ("custom:Plan", "attribute:plan", "");

/// Runs the daemon until the mapping has been brought to everybody, or waits for a person.
async fn brought(world: &World) {
    let fields = fields_of(world).await;
    let daemon = world.daemon().await;
    until("the mapping has been brought to everybody", async || {
        let state = world.store().mapping_state().await.unwrap_or_default().unwrap_or_default();
        state.waits().is_some() || (state.target.is_empty() && state.walked == fields)
    })
    .await;
    daemon.stop().await.1.unwrap();
}

/// The fields that the mapping writes now, as the store names them.
async fn fields_of(world: &World) -> Vec<String> {
    let parts = keap_intercom_sync::app::Parts::build(&world.settings()).unwrap();
    parts.fit().await.unwrap().identities()
}

/// The custom attributes of each write, in the order of their contacts.
fn attributes(world: &World) -> Vec<Value> {
    let mut bodies = world.bodies();
    bodies.sort_by_key(|body| body["external_id"].as_str().unwrap().parse::<i64>().unwrap());
    bodies.into_iter().map(|body| body["custom_attributes"].clone()).collect()
}

#[sqlx::test]
async fn a_new_field_is_written_where_it_has_a_value_and_nowhere_else(pool: PgPool) {
    let (mut world, _) = synced(pool, 2).await;
    world.file(&mapped(&[JOB]));

    brought(&world).await;

    assert_eq!(attributes(&world), [json!({ "job": "Job 1" }), json!({ "job": "Job 2" })]);

    // It is brought once.
    world.intercom.clear_ledger();
    brought(&world).await;
    world.worker().await.backfill().await;
    assert_eq!(world.contact_calls(), 0);
}

#[sqlx::test]
async fn a_change_that_rewrites_too_many_waits_for_a_person(pool: PgPool) {
    let (mut world, _) = synced(pool, 3).await;
    world.file(&mapped(&[JOB]));

    brought(&world).await;
    assert_eq!(world.writes(), 0);
    let waits = "the changed mapping would rewrite 3 of 10 linked contacts";
    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(status.contains(waits) && status.contains("sync --all --force"), "{status}");
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert!(status["mapping"]["waits"].as_str().unwrap().contains(waits), "{status}");

    // A contact that changes is written all the same.
    world.keap.edit(10, |person| person.job_title = Some("Job 10".into()));
    let worker = world.worker().await;
    worker.sync().await;
    worker.stop().await;
    assert_eq!(attributes(&world), [json!({ "job": "Job 10" })]);

    // A person looks first, is refused without --force, and lifts the brake.
    world.intercom.clear_ledger();
    let shown = command(&world, &["sync", "--all", "--dry-run"]).await.expect(0).stdout;
    assert!(shown.contains("Fields that differ: job in 3"), "{shown}");
    let shown = command(&world, &["sync", "--all", "--dry-run", "--json"]).await.expect(0).json();
    assert_eq!(shown["fields"], json!({ "job": 3 }));
    let refused = command(&world, &["sync", "--all"]).await.expect(2);
    assert!(refused.stderr.contains(waits), "{}", refused.stderr);
    assert_eq!(world.writes(), 0);
    command(&world, &["sync", "--all", "--force"]).await.expect(0);
    assert_eq!(world.writes(), 3);

    world.intercom.clear_ledger();
    brought(&world).await;
    assert_eq!(world.contact_calls(), 0);
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!(status["mapping"], json!({ "heldFields": [], "waits": null }));
}

#[sqlx::test]
async fn a_walk_that_a_caller_asks_for_does_not_pass_the_brake(pool: PgPool) {
    let (mut world, _) = synced(pool, 5).await;
    world.file(&mapped(&[JOB]));
    brought(&world).await;

    let worker = world.worker().await;
    worker.backfill().await;

    assert_eq!(world.writes(), 0);
    let status = command(&world, &["status"]).await.expect(0).stdout;
    assert!(status.contains("the last backfill has failed"), "{status}");
}

#[sqlx::test]
async fn a_field_that_leaves_the_mapping_stays_as_it_is_and_costs_nothing(pool: PgPool) {
    let (mut world, _) = synced(pool, 2).await;
    world.file(&mapped(&[JOB, PLAN]));
    brought(&world).await;

    world.intercom.clear_ledger();
    world.file(&mapped(&[PLAN]));
    brought(&world).await;
    let worker = world.worker().await;
    worker.backfill().await;
    assert_eq!(world.contact_calls(), 0);
    assert_eq!(world.attribute(1, "job"), "Job 1");
    worker.stop().await;

    // It comes back: only what has changed since is written.
    world.keap.edit_quietly(2, |person| person.job_title = Some("Job 2 now".into()));
    world.file(&mapped(&[JOB, PLAN]));
    world.set("MAPPING__BRAKE_PERCENT", 100);
    brought(&world).await;
    assert_eq!(world.attribute(2, "job"), "Job 2 now");
}

#[sqlx::test]
async fn a_field_that_moves_is_written_to_its_new_place(pool: PgPool) {
    let (mut world, _) = synced(pool, 2).await;
    world.file(&mapped(&[JOB]));
    brought(&world).await;

    world.intercom.clear_ledger();
    world.file(&mapped(&[JOB_ELSEWHERE]));
    brought(&world).await;
    assert_eq!(attributes(&world), [json!({ "other": "Job 1" }), json!({ "other": "Job 2" })]);

    // The same attribute from another place in Keap.
    world.intercom.clear_ledger();
    world.file(&mapped(&[("custom:Plan", "attribute:other", "name = \"job\"")]));
    brought(&world).await;
    assert_eq!(attributes(&world), [json!({ "other": "plan 1" }), json!({ "other": "plan 2" })]);
}

#[sqlx::test]
async fn another_name_or_another_label_is_no_other_field(pool: PgPool) {
    let (mut world, plan) = synced(pool, 8).await;
    world.set("MAPPING__BRAKE_PERCENT", 100);
    world.file(&mapped(&[PLAN]));
    brought(&world).await;
    assert_eq!(world.writes(), 8);
    world.set("MAPPING__BRAKE_PERCENT", 0);

    world.intercom.clear_ledger();
    world.keap.rename_custom_field(plan, "Plan of care");
    for (keap, name) in
        [("custom:Plan of care", "plan"), ("custom:Plan of care", "care"), ("custom:_Plan", "p")]
    {
        world.file(&mapped(&[(keap, "attribute:plan", &format!("name = {name:?}"))]));
        brought(&world).await;
        assert_eq!(world.intercom.count("update"), 0, "{keap} {name}");
    }

    // A new custom field with the old label is another one. It is empty, and wipes nothing.
    world.keap.delete_custom_field(plan);
    world.keap.add_custom_field("Plan", "TEXT", &[]);
    world.file(&mapped(&[PLAN]));
    brought(&world).await;
    assert_eq!((world.intercom.count("update"), world.attribute(8, "plan")), (0, json!("plan 8")));
}

#[sqlx::test]
async fn another_owner_writes_only_what_differs(pool: PgPool) {
    let (mut world, _) = synced(pool, 2).await;
    world.file(&mapped(&[JOB]));
    brought(&world).await;

    for owner in ["never", "keap", "intercom", "newest", "fill", "keap"] {
        world.intercom.clear_ledger();
        world.file(&mapped(&[("job_title", "attribute:job", &format!("owner = {owner:?}"))]));
        brought(&world).await;
        let worker = world.worker().await;
        worker.backfill().await;
        worker.stop().await;
        assert_eq!(world.intercom.count("update"), 0, "{owner}");
    }
}

#[sqlx::test]
async fn a_mapping_that_changes_while_a_walk_is_under_way_reaches_everybody(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.keap.add_many(30, |n| invented(n as u64, Shape::Plain));
    world.set("KEAP__PAGE_SIZE", 10).set("MAPPING__BRAKE_PERCENT", 100);
    world.intercom.add_attribute("job", "string", &[]);
    for id in world.keap.ids() {
        world.keap.edit_quietly(id, |person| person.job_title = Some(format!("Job {id}")));
    }
    // The first walk has come to the second of three pages.
    let worker = world.worker().await;
    let mut poll = true;
    while world.intercom.count("create") < 10 {
        worker.syncer.bulk_step(&mut poll).await.unwrap();
    }
    worker.stop().await;
    let walked = world.intercom.count("create") as i64;
    assert!((10..30).contains(&walked), "{walked}");

    world.file(&mapped(&[JOB]));
    brought(&world).await;

    for id in world.keap.ids() {
        assert_eq!(world.attribute(id, "job"), format!("Job {id}"));
    }
    assert_eq!(world.intercom.count("create"), 30);
}

/// The database of the former release, and its people.
async fn former(pool: PgPool) -> World {
    sqlx::raw_sql(FORMER_DATABASE).execute(&pool).await.unwrap();
    let mut world = World::new(pool).await;
    add_former_people(&world.keap);
    world.intercom.add_attribute("job", "string", &[]);
    world.set("MAPPING__BRAKE_PERCENT", 0);
    world.store().migrate().await.unwrap();
    world
}

#[sqlx::test(migrations = false)]
async fn an_upgrade_with_new_fields_writes_only_their_values(pool: PgPool) {
    let mut world = former(pool).await;
    world.file(&mapped(&[JOB]));
    let worker = world.worker().await;
    let counts = worker.backfill().await;
    assert_eq!(world.intercom.count("update"), 0, "{counts:?}");

    world.keap.edit_quietly(1, |person| person.job_title = Some("Buyer".into()));
    // The update goes to a contact that this stand-in does not have: one call shows that it is
    // made.
    worker.request(&[1]).await;
    assert_eq!(world.intercom.count("update"), 1);
}

#[sqlx::test(migrations = false)]
async fn an_upgrade_with_fewer_fields_writes_nothing(pool: PgPool) {
    let mut world = former(pool).await;
    world.file(&super::tables(&[("email", "email", "")]));
    let worker = world.worker().await;

    let counts = worker.backfill().await;

    // Without a stamp, nothing proves that the last contact is as it was.
    assert_eq!(world.intercom.count("update"), 1, "{counts:?}");
    let updated = world.intercom.ledger().into_iter().find(|call| call.kind == "update").unwrap();
    assert_eq!(updated.body.unwrap()["external_id"], "12");
}
