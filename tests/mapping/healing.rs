//! Fields that one side renames, archives or deletes while the daemon runs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::process::command;
use crate::world::{Daemon, World, until};

/// Six people with a plan and a job, both of which are in Intercom, and the daemon. Also returns
/// the id of the custom field.
async fn running(pool: PgPool) -> (World, i64, Daemon) {
    let mut world = World::with_people(pool, 6).await;
    world.set("MAPPING__CHECK_SECONDS", 10).set("SYNC__RECORD_AFTER_MS", 10);
    let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
    for name in ["plan", "job"] {
        world.intercom.add_attribute(name, "string", &[]);
    }
    for id in 1..=6 {
        world.keap.edit_quietly(id, |person| {
            person.job_title = Some(format!("Job {id}"));
            person.details.custom_fields.insert(plan, format!("plan {id}").into());
        });
    }
    world.file(&mapped(&[
        ("custom:Plan", "attribute:plan", ""),
        ("job_title", "attribute:job", ""),
    ]));
    let daemon = world.daemon().await;
    until("everybody is in Intercom", async || world.store().count_linked().await.ok() == Some(6))
        .await;
    (world, plan, daemon)
}

/// The fields that are held for everybody.
async fn held(world: &World) -> Vec<String> {
    world.store().mapping_state().await.unwrap().unwrap_or_default().unfit
}

fn edit_job(world: &World, id: i64, job: &str) {
    world.keap.edit(id, |person| person.job_title = Some(job.into()));
}

async fn arrives(world: &World, id: i64, name: &str, value: &str) {
    until(&format!("{value} arrives"), async || world.attribute(id, name) == value).await;
}

#[sqlx::test]
async fn an_archived_attribute_is_held_and_heals_without_losing_an_edit(pool: PgPool) {
    let (world, plan, daemon) = running(pool).await;

    world.intercom.archive_attribute("plan");
    world.keap.edit(1, |person| {
        person.job_title = Some("new job 1".into());
        person.details.custom_fields.insert(plan, "new plan 1".into());
    });
    arrives(&world, 1, "job", "new job 1").await;
    until("the field is held", async || !held(&world).await.is_empty()).await;
    assert_eq!(
        held(&world).await,
        ["plan: the attribute plan is archived in Intercom; restore it there, or name another one"]
    );
    let status = command(&world, &["status"]).await.expect(0).stdout;
    assert!(status.contains("a field is held for every contact: plan: "), "{status}");

    // The others go on, at one call each, and the value that is there stays.
    world.intercom.clear_ledger();
    for id in 2..=4 {
        edit_job(&world, id, "held job");
        arrives(&world, id, "job", "held job").await;
    }
    assert_eq!(world.intercom.kinds().get("update"), Some(&3), "{:?}", world.intercom.kinds());
    assert!(!world.intercom.statuses().contains_key(&400));
    world.keap.set_custom(2, plan, "new plan 2");
    // The second poll from now on begins after the edit, and the third after its pass.
    let lists = world.keap.count("list");
    until("the edit is polled", async || world.keap.count("list") >= lists + 3).await;

    world.intercom.edit_attribute("plan", |attribute| attribute.archived = false);
    arrives(&world, 1, "plan", "new plan 1").await;
    arrives(&world, 2, "plan", "new plan 2").await;
    until("nothing is held", async || held(&world).await.is_empty()).await;
    daemon.stop().await.1.unwrap();
    for id in 3..=6 {
        assert_eq!(world.attribute(id, "plan"), format!("plan {id}"));
    }
}

#[sqlx::test]
async fn a_refusal_costs_one_call_more_and_not_one_for_each_contact(pool: PgPool) {
    let (world, _, daemon) = running(pool).await;
    daemon.stop().await.1.unwrap();
    let worker = world.worker().await;

    world.intercom.archive_attribute("plan");
    edit_job(&world, 1, "new job");
    world.intercom.clear_ledger();
    worker.sync().await;
    assert_eq!(world.intercom.statuses()[&400], 1);
    world.intercom.clear_ledger();
    for id in 2..=6 {
        edit_job(&world, id, "new job");
        worker.sync().await;
    }
    assert!(!world.intercom.statuses().contains_key(&400));
    let mut writes = BTreeMap::new();
    // A probe after a refusal repeats no fields.
    let has_fields = |body: &Value| body.get("custom_attributes").is_some();
    for body in world.bodies().into_iter().filter(has_fields) {
        *writes.entry(body["external_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    // The first contact is written once more, because its first write was not complete.
    let expected: BTreeMap<String, i32> = (1..=6).map(|id: i32| (id.to_string(), 1)).collect();
    assert_eq!(writes, expected);
    // It is nothing that a person has to do for each contact.
    assert_eq!(world.held().await.len(), 0);
    worker.stop().await;

    // The next start finds the attribute again, and brings what is missing.
    world.intercom.edit_attribute("plan", |attribute| attribute.archived = false);
    world.intercom.clear_ledger();
    let worker = world.worker().await;
    worker.backfill().await;
    worker.backfill().await;
    assert_eq!(world.intercom.count("update"), 6);
}

#[sqlx::test]
async fn a_custom_field_that_is_deleted_in_keap_wipes_nothing(pool: PgPool) {
    let (world, plan, daemon) = running(pool).await;

    world.keap.delete_custom_field(plan);
    edit_job(&world, 1, "new job 1");
    arrives(&world, 1, "job", "new job 1").await;
    until("the field is held", async || !held(&world).await.is_empty()).await;
    assert!(held(&world).await[0].starts_with("plan: Keap has no custom field Plan"));
    edit_job(&world, 2, "new job 2");
    arrives(&world, 2, "job", "new job 2").await;
    for id in 1..=6 {
        assert_eq!(world.attribute(id, "plan"), format!("plan {id}"));
    }

    // A new field with the old label fills again, and its empty contents wipe nothing.
    let again = world.keap.add_custom_field("Plan", "TEXT", &[]);
    world.keap.set_custom(3, again, "again 3");
    arrives(&world, 3, "plan", "again 3").await;
    until("nothing is held", async || held(&world).await.is_empty()).await;
    daemon.stop().await.1.unwrap();
    for id in [1, 2, 4, 5, 6] {
        assert_eq!(world.attribute(id, "plan"), format!("plan {id}"));
    }
}

#[sqlx::test]
async fn a_clearing_of_a_custom_field_costs_one_call_to_keap_and_travels(pool: PgPool) {
    let (world, plan, daemon) = running(pool).await;
    daemon.stop().await.1.unwrap();
    let worker = world.worker().await;
    worker.sync().await;

    for id in 1..=3 {
        world.keap.set_custom(id, plan, Value::Null);
    }
    world.keap.clear_ledger();
    worker.sync().await;

    assert_eq!(world.keap.count("model"), 1);
    for id in 1..=3 {
        assert_eq!(world.attribute(id, "plan"), Value::Null);
    }
}

#[sqlx::test]
async fn a_label_that_changes_holds_the_field_until_it_is_back(pool: PgPool) {
    let (world, plan, daemon) = running(pool).await;

    world.keap.edit_custom_field(plan, |field| {
        field.label = "Tariff".into();
        field.field_name = "_Tariff".into();
    });
    until("the field is held", async || !held(&world).await.is_empty()).await;
    world.keap.set_custom(1, plan, "new plan 1");
    edit_job(&world, 2, "new job 2");
    arrives(&world, 2, "job", "new job 2").await;
    assert_eq!(world.attribute(1, "plan"), "plan 1");

    world.keap.rename_custom_field(plan, "Plan");
    arrives(&world, 1, "plan", "new plan 1").await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn another_type_of_an_attribute_is_another_form(pool: PgPool) {
    let (world, plan, daemon) = running(pool).await;
    world.intercom.edit_attribute("plan", |attribute| attribute.data_type = "integer".into());
    until("the field is held", async || !held(&world).await.is_empty()).await;
    assert!(held(&world).await[0].contains("there is no form for this pair"));

    world.keap.edit_custom_field(plan, |field| field.field_type = "WHOLE_NUMBER".into());
    world.keap.set_custom(1, plan, "7");
    until("the number arrives", async || world.attribute(1, "plan") == json!(7)).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_teammate_who_leaves_costs_the_owner_and_not_the_contact(pool: PgPool) {
    let mut world = World::new(pool).await;
    let uma = world.keap.add_user("uma@shop.example");
    let there = world.intercom.add_admin("uma@shop.example");
    world.file(&mapped(&[("owner", "owner_id", "")]));
    let worker = world.worker().await;
    world.intercom.remove_admin(&there);
    let id = world.keap.add(crate::world::ann().owner(uma));

    worker.sync().await;

    assert_eq!((world.user(id).owner_id, world.held().await.len()), (None, 0));
    assert_eq!(world.user(id).email.as_deref(), Some("ann@example.org"));
}
