//! The checker can fail: each test damages a quiet world in one way, and the checker names the
//! claim.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::{Claim, Evidence, History, Mark, Owners};
use crate::process::world;
use crate::sim::{Seed, client};
use crate::world::World;

/// Six people who are in step, and a stranger.
async fn quiet_world(pool: PgPool) -> (World, Evidence) {
    let world = world(pool, 6).await;
    let stranger = world.intercom.add_user(Seed::with_email("stranger@canary.example"));
    let evidence = Evidence {
        keap: world.keap.clone(),
        intercom: world.intercom.clone(),
        pool: world.pool.clone(),
        history: History::of(&world.keap),
        at_start: world.intercom.contacts(),
        strangers: vec![stranger],
        shared: BTreeSet::new(),
        owners: Owners::default(),
    };
    world.sync().await;
    assert_eq!(evidence.check().await.unwrap(), []);
    assert_eq!(evidence.canaries(&[]).await.unwrap(), []);
    (world, evidence)
}

/// The claims that do not hold.
async fn named(evidence: &Evidence) -> Vec<Claim> {
    let findings = evidence.check().await.unwrap();
    let claims: BTreeSet<Claim> = findings.iter().map(|finding| finding.claim).collect();
    claims.into_iter().collect()
}

async fn sql(world: &World, statement: &'static str) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
}

#[sqlx::test]
async fn a_contact_that_differs_or_is_missing_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    world.intercom.edit(&world.user(2).id, |user| user.phone = None);
    assert_eq!(named(&evidence).await, [Claim::Agree]);

    world.intercom.archive(&world.user(3).id);
    assert_eq!(named(&evidence).await, [Claim::Agree, Claim::LinksAreRight]);
}

#[sqlx::test]
async fn an_address_that_is_cleared_in_keap_alone_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    evidence.history.edit(&world.keap, 2, |person| person.emails.clear());

    assert_eq!(named(&evidence).await, [Claim::Agree]);
}

#[sqlx::test]
async fn a_second_contact_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    world.intercom.add_user(Seed::default().external_id("2"));

    assert_eq!(named(&evidence).await, [Claim::NoDouble, Claim::LinksAreRight]);
}

#[sqlx::test]
async fn a_second_contact_with_the_same_address_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    let email = world.user(2).email.unwrap();

    world.intercom.add_user(Seed::with_email(&email.to_uppercase()));

    assert_eq!(named(&evidence).await, [Claim::NoDouble]);
}

#[sqlx::test]
async fn an_orphan_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    sql(&world, "delete from contact_link where keap_contact_id = 3").await;
    assert_eq!(named(&evidence).await, [Claim::LinksAreRight]);

    world.keap.delete(3);
    assert_eq!(named(&evidence).await, [Claim::NoOrphan, Claim::LinksAreRight]);
}

#[sqlx::test]
async fn an_older_version_over_a_newer_one_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    let rename = |name: &str| {
        let name = Some(name.to_owned());
        evidence.history.edit(&world.keap, 2, |person| person.family_name = name)
    };
    let write = async |name: &str| {
        let url = format!("{}/contacts/{}", world.intercom.base_url(), world.user(2).id);
        let bearer = format!("Bearer {}", world.intercom.token());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("intercom-version", "2.16"),
        ];
        let body = json!({ "name": format!("Canary1 {name}") }).to_string();
        let reply = client::send("PUT", &url, &headers, body).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    for name in ["Older", "Newer"] {
        rename(name);
        world.sync().await;
    }
    // A second write of the same version is none of its business.
    write("Newer").await;
    assert_eq!(named(&evidence).await, []);

    // The end is right, and on the way it was wrong.
    write("Older").await;
    write("Newer").await;
    assert_eq!(named(&evidence).await, [Claim::NoOlder]);
}

#[sqlx::test]
async fn a_version_that_comes_back_is_no_older_one(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    let first = world.keap.person(2).unwrap();
    evidence.history.edit(&world.keap, 2, |person| person.family_name = Some("Canaryb".into()));
    world.sync().await;

    evidence.history.edit(&world.keap, 2, |person| *person = first);
    world.sync().await;

    assert_eq!(named(&evidence).await, []);
}

#[sqlx::test]
async fn an_open_run_and_a_walk_are_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    sql(
        &world,
        "insert into sync_run (feed, reason, state) values ('backfill', 'manual', 'running')",
    )
    .await;
    assert_eq!(named(&evidence).await, [Claim::NoRunOpen]);

    sql(
        &world,
        "delete from sync_run; update sync_cursor set walking = true, updated_at = now() - interval '1 min'",
    )
    .await;
    assert_eq!(named(&evidence).await, [Claim::NoRunOpen]);
}

#[sqlx::test]
async fn a_due_contact_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    sql(
        &world,
        "insert into contact_due (keap_contact_id, reason, priority) values (2, 'manual', 0)",
    )
    .await;

    assert_eq!(named(&evidence).await, [Claim::NoneDue]);
}

#[sqlx::test]
async fn an_open_intent_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    sql(
        &world,
        "insert into contact_intent (id, epoch, keap_contact_id, side, kind, deadline)
         values (gen_random_uuid(), 1, 2, 'intercom', 'update', now())",
    )
    .await;

    assert_eq!(named(&evidence).await, [Claim::NoIntent]);
}

#[sqlx::test]
async fn a_hold_without_a_true_reason_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    for (code, about) in [
        ("several_users", "null"),
        ("external_id_taken", "null"),
        ("external_id_unproven", "null"),
        ("email_linked_to", "3"),
        ("conflict", "null"),
        ("last_try", "null"),
    ] {
        let hold = format!(
            "delete from contact_hold; insert into contact_hold (keap_contact_id, code, about) values (2, '{code}', {about})"
        );
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&world.pool).await.unwrap();
        assert_eq!(named(&evidence).await, [Claim::HoldsAreTrue], "{code}");
    }
}

#[sqlx::test]
async fn a_link_to_the_contact_of_another_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    sql(
        &world,
        "update contact_link set intercom_contact_id = 'x' where keap_contact_id = 2;
         update keap_intercom_sync_logs set intercom_contact_id = 'x' where keap_contact_id = '2'",
    )
    .await;

    assert_eq!(named(&evidence).await, [Claim::LinksAreRight]);
}

#[sqlx::test]
async fn a_link_without_a_log_row_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    sql(&world, "delete from keap_intercom_sync_logs where keap_contact_id = '2'").await;

    assert_eq!(named(&evidence).await, [Claim::Logged]);
}

#[sqlx::test]
async fn a_stranger_that_was_touched_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;

    world.intercom.edit(&evidence.strangers[0], |user| user.name = Some("Canary".into()));

    assert_eq!(named(&evidence).await, [Claim::StrangersKept]);
}

#[sqlx::test]
async fn a_person_in_an_output_or_a_table_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    for text in ["contact CANARY.1@canary.example", "calls (777) 555-0001", "+17775550001"] {
        let outputs = [("a log".to_owned(), format!("all is well\n{text}\n"))];
        let found = evidence.canaries(&outputs).await.unwrap();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].claim, Claim::NoCanary);
    }
    for column in ["error_message = 'the name is Canary1'", "request_id = 'canary'"] {
        let damage = format!("update keap_intercom_sync_logs set error_message = null, {column}");
        let damage = damage.replace("error_message = null, error_message", "error_message");
        sqlx::raw_sql(AssertSqlSafe(damage)).execute(&world.pool).await.unwrap();
        assert_eq!(evidence.canaries(&[]).await.unwrap().len(), 1, "{column}");
    }
    sql(&world, "update keap_intercom_sync_logs set error_message = null, request_id = null").await;

    // Bytes hold it too.
    sql(&world, "update contact_link set email_digest = 'canary@canary'::bytea").await;
    assert_eq!(evidence.canaries(&[]).await.unwrap().len(), 1);
}

#[sqlx::test]
async fn a_time_without_changes_that_costs_something_is_named(pool: PgPool) {
    let (world, evidence) = quiet_world(pool).await;
    let mark = Mark::now(&evidence).await.unwrap();
    world.sync().await;
    assert_eq!(mark.cost(&evidence).await.unwrap(), []);

    let bearer = format!("Bearer {}", world.intercom.token());
    let url = format!("{}/me", world.intercom.base_url());
    client::send("GET", &url, &[("authorization", &bearer)], "").await.unwrap();
    let cost = mark.cost(&evidence).await.unwrap();
    assert_eq!((cost.len(), cost[0].claim), (1, Claim::IdleIsFree), "{cost:?}");

    let mark = Mark::now(&evidence).await.unwrap();
    sql(
        &world,
        "insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at)
         values ('2', 'skipped', 'keap_to_intercom', now())",
    )
    .await;
    assert_eq!(mark.cost(&evidence).await.unwrap().len(), 1);
}

/// What the checker says of the field of this owner.
async fn of_field(evidence: &Evidence, contact: i64, owner: &str) -> Vec<Claim> {
    let findings = evidence.check().await.unwrap().into_iter();
    let about = [format!("contact {contact} shows "), format!(" of {owner} after ")];
    let is_about = |what: &str| about.iter().all(|part| what.contains(part));
    findings.filter(|finding| is_about(&finding.what)).map(|finding| finding.claim).collect()
}

#[sqlx::test]
async fn a_value_that_an_owner_keeps_and_a_side_does_not_show_is_named(pool: PgPool) {
    let (world, mut evidence) = quiet_world(pool).await;
    evidence.owners = Owners::add_to(&world.keap, &world.intercom);
    evidence.owners.settle(&evidence);
    assert_eq!(of_field(&evidence, 3, "keap").await, []);
    // The field of the owner keap, in Keap: nobody brings it to Intercom.
    assert!(evidence.owners.type_word(&evidence, 3, 0).is_some());
    assert_eq!(of_field(&evidence, 3, "keap").await, [Claim::OwnersDecide]);
}

#[sqlx::test]
async fn a_word_that_a_write_overwrites_unseen_is_lost_only_soon_after_it(pool: PgPool) {
    let (world, mut evidence) = quiet_world(pool).await;
    evidence.owners = Owners::add_to(&world.keap, &world.intercom);
    evidence.owners.settle(&evidence);
    // The field of the owner intercom, in Keap: it stays where the owner has no value.
    assert!(evidence.owners.type_word(&evidence, 2, 1).is_some());
    assert_eq!(of_field(&evidence, 2, "intercom").await, []);
    let field = evidence.owners.field("intercom");
    let clears = json!({ "custom_fields": [{ "id": field, "content": null }] });
    let url = format!("{}/v2/contacts/2?update_mask=custom_fields", world.keap.base_url());
    let bearer = format!("Bearer {}", world.keap.token());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client::send("PATCH", &url, &headers, clears.to_string()).await.unwrap();
    assert_eq!(of_field(&evidence, 2, "intercom").await, []);
    evidence.owners.typed_earlier(std::time::Duration::from_secs(11));
    assert_eq!(of_field(&evidence, 2, "intercom").await, [Claim::OwnersDecide]);
}
