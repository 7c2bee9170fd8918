//! What an erasure removes, and what it keeps.

use keap_intercom_sync::feed::DueReason;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::{ANN, Stage};
use crate::sim::{Fault, Person, What};
use crate::world::keap_id;

/// Fills a row about Ann into every table that can name her, beside those that passes have made.
async fn fill(stage: &Stage, other: i64) {
    let (ann, user) = (ANN, &stage.user);
    let naming = format!("email_linked_to {ann}: the Intercom contact belongs to another");
    for sql in [
        format!("insert into contact_due (keap_contact_id, reason, priority, due_at, last_error, candidates) values
                 ({ann}, 'retry', 2, now() + interval '1 day', 'x', '{{}}'), (3, 'retry', 2, now() + interval '1 day', '{naming}', '{{{user},other}}')"),
        format!("insert into contact_hold (keap_contact_id, code, detail, candidates) values
                 ({ann}, 'refused', 'x', '{{}}'), (2, 'several_users', 'see {user}', '{{{user},other}}')
                 on conflict do nothing"),
        format!("insert into former_link (intercom_contact_id, keap_contact_id) values ('formerofann', {ann})"),
        format!("insert into contact_intent (id, epoch, keap_contact_id, intercom_contact_id, side, kind, deadline) values
                 (gen_random_uuid(), 0, {ann}, '{user}', 'intercom', 'update', now())"),
        format!("insert into contact_intent (id, epoch, keap_contact_id, side, kind, deadline, borrowed_id) values
                 (gen_random_uuid(), 0, 2, 'intercom', 'update', now(), '{user}')"),
        format!("insert into contact_intent (id, epoch, intercom_contact_id, side, kind, deadline, keap_id_made) values
                 (gen_random_uuid(), 0, 'somebody', 'keap', 'create', now(), {ann})"),
        format!("insert into intercom_due (intercom_contact_id, reason, priority, not_before, about, detail) values
                 ('waiting', 'again', 2, now() + interval '1 day', {ann}, null),
                 ('elsewhere', 'again', 2, now() + interval '1 day', null, 'Intercom refuses {user}')"),
        format!("insert into contact_decision (keap_contact_id, decision, reason, decided_by) values ({ann}, 'create', 'refused', 'page')"),
        format!("insert into contact_decision (keap_contact_id, decision, intercom_contact_id, reason, decided_by, ended_at, ended_how) values
                 ({other}, 'use', '{user}', 'several_users', 'page', now(), 'taken_back')"),
        format!("insert into sweep_candidate (keap_contact_id) values ({ann})"),
        format!("insert into sync_batch (key_digest, body_digest, answer) values
                 (decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), '{{\"results\":[{{\"keapContactId\":{ann},\"success\":true}}]}}'),
                 (decode(repeat('01', 32), 'hex'), decode(repeat('00', 32), 'hex'), '{{\"results\":[{{\"keapContactId\":2,\"error\":\"{naming}\"}}]}}'),
                 (decode(repeat('02', 32), 'hex'), decode(repeat('00', 32), 'hex'), '{{\"results\":[{{\"keapContactId\":2}}]}}')"),
        format!("insert into sync_run (feed, reason, state, error) values ('due', 'manual', 'failed', 'Intercom contact {user} is odd')"),
        format!("update sync_cursor set ahead_contacts = 1, ahead_example = {ann}, ahead_until = now() where feed = 'changed'"),
        format!("insert into keap_intercom_sync_logs (keap_contact_id, intercom_contact_id, sync_status, sync_direction, error_message, synced_at, action) values
                 ('{other}', '{user}', 'skipped', 'keap_to_intercom', '{naming}', now(), 'held'),
                 ('{other}', null, 'synced', 'keap_to_intercom', 'merged: Keap does not have this contact any more (404); its Intercom contact goes to Keap contact {ann}, which was held for it', now(), 'unlinked'),
                 ('{other}', null, 'failed', 'keap_to_intercom', 'Intercom failed with 500', now(), 'failed')"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&stage.world.pool).await.unwrap();
    }
}

// S16
#[sqlx::test]
async fn an_erased_contact_goes_from_intercom_and_from_every_table(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let other = stage.world.keap.add(Person::named("Canaryother", "Ann").email("ann@example.org"));
    stage.worker.sync().await;
    stage.world.only_held(other).await;
    fill(&stage, other).await;
    assert!(stage.rows_about_ann().await.len() > 20);

    let erasure = stage.erase().await;

    assert!(stage.is_deleted(), "{:?}", stage.standing());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
    // The second one is that of the former link, which Intercom does not show.
    assert_eq!(erasure.proof, ["deleted", "gone_before"], "{erasure:?}");
    assert_eq!((erasure.mode.as_deref(), erasure.asked_by.as_str()), (Some("delete"), "command"));
    assert!(erasure.done_at.is_some() && erasure.last_error.is_none());

    // What others have stays: they lose only what names Ann.
    let texts: Vec<Option<String>> = sqlx::query_scalar(
        "select error_message from keap_intercom_sync_logs where keap_contact_id = $1",
    )
    .bind(other.to_string())
    .fetch_all(&stage.world.pool)
    .await
    .unwrap();
    assert!(texts.contains(&Some("Intercom failed with 500".into())), "{texts:?}");
    let named = "this reason named a contact that was erased since";
    assert!(texts.iter().flatten().filter(|text| *text == named).count() >= 2, "{texts:?}");
    let left: (i64, i64, Vec<String>) = sqlx::query_as(
        "select (select count(*) from sync_batch), (select count(*) from intercom_due),
                (select candidates from contact_hold where keap_contact_id = 2)",
    )
    .fetch_one(&stage.world.pool)
    .await
    .unwrap();
    assert_eq!(left, (1, 1, vec!["other".to_owned()]));
    // The contact that waited for Ann has her address. It is skipped, and waits no more.
    assert_eq!(stage.world.last_action(other).await, "skipped");
    let holds: i64 =
        sqlx::query_scalar("select count(*) from contact_hold where keap_contact_id = $1")
            .bind(other)
            .fetch_one(&stage.world.pool)
            .await
            .unwrap();
    assert_eq!(holds, 0);
}

#[sqlx::test]
async fn an_erasure_costs_three_calls_to_intercom_and_one_to_keap(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.clear();

    stage.erase().await;

    let kinds = stage.world.intercom.kinds();
    assert_eq!((stage.world.intercom.count("read"), stage.world.intercom.count("delete")), (2, 1));
    assert_eq!(stage.world.intercom.calls(), 3, "{kinds:?}");
    assert_eq!(stage.world.keap.calls(), 1);
}

#[sqlx::test]
async fn nobody_but_the_person_is_touched(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let before = stage.world.intercom.live_users().len();

    stage.erase().await;

    assert_eq!(stage.world.intercom.live_users().len(), before - 1);
    for id in 1..=3 {
        assert_eq!(stage.world.log_of(id).await.len(), 1, "the log of {id}");
    }
    let links: i64 = sqlx::query_scalar("select count(*) from contact_link")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(links, 3);
}

/// A contact without a link, of which a create without an answer has landed.
#[sqlx::test]
async fn an_intercom_contact_that_a_lost_create_has_made_is_found_and_deleted(pool: PgPool) {
    let stage = Stage::with(pool, |world| {
        world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 600);
    })
    .await;
    let zoe = 712_345_002;
    stage.world.intercom.fault(Fault::on("create").what(What::ApplyThenDrop));
    stage.world.keap.add_with_id(zoe, Person::named("Canaryzoe", "Z").email("zoe@example.org"));
    stage.worker.sync().await;
    let made = stage.world.user(zoe).id;

    let store = &stage.worker.store;
    let door = keap_intercom_sync::store::Door::Http;
    store.request_erasure(keap_id(zoe), door, false).await.unwrap();
    stage.worker.sync().await;

    let erasure = store.erasure(keap_id(zoe)).await.unwrap().unwrap();
    assert_eq!(erasure.proof, ["deleted"], "{erasure:?}");
    let standing = stage.world.intercom.contact(&made).unwrap().standing;
    assert!(matches!(standing, crate::sim::Standing::Deleted { .. }), "{standing:?}");
    assert_eq!(super::rows_with(&stage.world, &["712345002", &made]).await, [""; 0]);
}

/// A stranger carries the number of a contact that was never linked.
#[sqlx::test]
async fn a_stranger_with_the_number_is_not_deleted(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let seed = crate::sim::Seed::with_email("stranger@example.org");
    let stranger = stage
        .world
        .intercom
        .add_user(crate::sim::Seed { external_id: Some("712345009".into()), ..seed });
    let id = keap_id(712_345_009);

    stage
        .worker
        .store
        .request_erasure(id, keap_intercom_sync::store::Door::Page, false)
        .await
        .unwrap();
    stage.worker.sync().await;

    assert!(stage.world.intercom.contact(&stranger).unwrap().is_live());
    let erasure = stage.worker.store.erasure(id).await.unwrap().unwrap();
    assert!(erasure.waits && erasure.done_at.is_none(), "{erasure:?}");
    assert!(erasure.last_error.unwrap().contains("by hand"));
    // It waits for a person, and nothing is tried meanwhile.
    stage.clear();
    stage.worker.sync().await;
    assert_eq!(stage.world.intercom.calls(), 0);
    assert_eq!(stage.worker.store.request(&[id], DueReason::Manual).await.unwrap().len(), 1);
    assert_eq!(json!(stage.worker.store.count_due().await.unwrap().0), 0);
}
