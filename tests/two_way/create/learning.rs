//! How a user without a link is noticed.

use serde_json::json;
use sqlx::PgPool;

use super::{BOB, stage};
use crate::sim::Person;
use crate::sim::people::{Shape, invented};
use crate::two_way::Stage;
use keap_intercom_sync::sync::users;

// F130
#[sqlx::test]
async fn the_audit_finds_who_was_there_before(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.intercom.add_user(super::bob());
    })
    .await;
    let user = stage.world.intercom.by_email(BOB)[0].id.clone();
    stage.audit_all().await;
    stage.linked_once(BOB, &user).await;
}

#[sqlx::test]
async fn nobody_is_a_newcomer_before_keap_was_read_once(pool: PgPool) {
    let stage: Stage = stage(pool, |_| {}).await;
    let Stage { world, worker, .. } = stage;
    worker.stop().await;
    // As after the direction was switched on for two existing accounts, before the first walk.
    sqlx::raw_sql("delete from sync_cursor; delete from contact_link")
        .execute(&world.pool)
        .await
        .unwrap();
    let ids = world.keap.add_many(3, |n| invented(n as u64, Shape::Plain));
    for id in &ids {
        let email = world.keap.person(*id).unwrap().emails[0].1.clone();
        world.intercom.add_user(crate::sim::Seed::with_email(&email));
    }
    world.intercom.reindex_now();
    let worker = world.worker().await;
    users::poll_changed(worker.context()).await.unwrap();
    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    assert_eq!(world.keap.count("create"), 0);
    worker.sync().await;
    worker.sync().await;
    assert_eq!(world.keap.count("create"), 0, "all are matched by their addresses");
    for id in ids {
        world.user(id);
    }
}

#[sqlx::test]
async fn a_hint_about_a_new_user_is_stored_and_one_about_a_lead_is_not(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    let item = |role: &str| json!({ "type": "contact", "id": user, "role": role, "email": BOB, "name": "Bob Ray" });
    let context = stage.worker.context();
    assert!(!users::hint(context, item("lead")).await.unwrap());
    assert_eq!(stage.waiting().await, 0);
    assert!(users::hint(context, item("user")).await.unwrap());
    assert_eq!(stage.waiting().await, 1);
    stage.worker.sync().await;
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
    assert_eq!(stage.creates(), 1);
}

#[sqlx::test]
async fn a_user_whose_address_another_linked_contact_has_is_held(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    // Ann's second address in Keap.
    stage.world.keap.edit(stage.id, |person: &mut Person| {
        person.emails.push(("EMAIL2".into(), BOB.into()));
    });
    stage.settle().await;
    let user = stage.add_bob();
    stage.bring().await;
    assert_eq!(stage.creates(), 0);
    assert_eq!(stage.held_user().await, (user, "email_in_keap".into()));
}
