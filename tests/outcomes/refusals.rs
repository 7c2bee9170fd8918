//! A contact that is refused with 401, 402, 403, 406 or 415, while the remote serves the others.

use keap_intercom_sync::remote::Standing;
use keap_intercom_sync::sync::Halt;
use sqlx::PgPool;

use super::edit_all;
use crate::sim::verify::verify;
use crate::sim::{ErrorBody, Fault, What, client};
use crate::world::{World, until};

const FORBIDDEN: &str = r#"{"type":"error.list","errors":[{"code":"action_forbidden","message":"canary@example.org"}]}"#;

/// What a firewall, a proxy or Intercom says instead of an answer about the contact.
fn refusals() -> Vec<(&'static str, What)> {
    vec![
        ("403 action_forbidden", What::Status(403, FORBIDDEN.into())),
        ("(403", What::Html(403)),
        ("(401", What::status(401)),
        ("(402", What::status(402)),
        ("(406", What::Html(406)),
        ("(415", What::status(415)),
        ("(302", What::Redirect("https://block.example.org".into())),
        ("404 with a page", What::Html(404)),
    ]
}

async fn is_ready(address: std::net::SocketAddr) -> bool {
    let url = format!("http://{address}/ready");
    client::send("GET", &url, &[], "").await.unwrap().status == 200
}

#[sqlx::test]
async fn one_refused_update_holds_that_contact_and_the_others_arrive(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("SYNC__MAX_ATTEMPTS", "3");
    world.sync().await;
    for (n, (says, what)) in (1..).zip(refusals()) {
        edit_all(&world, if n % 2 == 0 { "Even" } else { "Odd" });
        let id = n * 7;
        world.intercom.fault(Fault::on("update").key(id.to_string()).always().what(what));
        let worker = world.worker().await;

        until("that contact is held, and the others are written", async || {
            world.make_retries_due().await;
            worker.try_sync().await.is_ok() && world.store().count_due().await.unwrap() == (0, 1)
        })
        .await;

        assert_eq!(worker.context().intercom.remote().standing(), Standing::Ok, "{says}");
        let verdict = verify(&world.keap, &world.intercom);
        assert_eq!((verdict.different, verdict.missing), (1, 0), "{says}");
        let held = world.only_held(id).await;
        assert!(
            held.reason.starts_with("last_try: Intercom ") && held.reason.contains(says),
            "{}",
            held.reason
        );
        assert!(!held.reason.contains('@'), "{}", held.reason);
        world.intercom.clear_faults();
        edit_all(&world, "Released");
        worker.sync().await;
        worker.stop().await;
        assert!(world.held().await.is_empty(), "its next change releases it");
        world.assert_agrees();
    }
}

#[sqlx::test]
async fn a_daemon_stays_ready_while_a_firewall_blocks_one_contact(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("SYNC__MAX_ATTEMPTS", "3");
    world.intercom.fault(Fault::on("create").key("11").always().what(What::Html(403)));

    let daemon = world.daemon().await;
    until("the others are written, and that contact is held", async || {
        world.make_retries_due().await;
        let verdict = verify(&world.keap, &world.intercom);
        verdict.missing == 1 && world.store().count_due().await.unwrap() == (0, 1)
    })
    .await;
    assert!(is_ready(daemon.address).await);
    daemon.stop().await.1.unwrap();

    assert_eq!(world.intercom.live_users().len(), 119);
}

#[sqlx::test]
async fn one_refused_create_search_or_read_holds_nobody_else(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("SYNC__MAX_ATTEMPTS", "3");
    let refuses = || What::Status(403, FORBIDDEN.into());
    world.intercom.fault(Fault::on("create").key("7").always().what(refuses()));
    let email = world.keap.person(9).unwrap().first_email().unwrap().to_lowercase();
    world.intercom.fault(Fault::on("search").containing(email).always().what(refuses()));
    let worker = world.worker().await;

    worker.try_sync().await.unwrap();
    until("both are held", async || {
        world.make_retries_due().await;
        let _ = worker.try_sync().await;
        world.held().await.len() == 2
    })
    .await;
    worker.work_off().await;

    let held: Vec<i64> = world.held().await.iter().map(|held| held.keap_contact_id).collect();
    assert!(held.contains(&7) && held.contains(&9), "{held:?}");
    assert_eq!(world.intercom.live_users().len(), 38);
}

#[sqlx::test]
async fn a_contact_that_keap_forbids_is_held_and_the_others_arrive(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("SYNC__MAX_ATTEMPTS", "3").set("KEAP__PAGE_SIZE", "20");
    for body in [ErrorBody::V2, ErrorBody::Html, ErrorBody::Gateway] {
        world.keap.knobs(|knobs| (knobs.error_body, _) = (body, knobs.forbidden.insert(33)));
        edit_all(&world, "Forbidden");
        let worker = world.worker().await;

        until("that contact is held", async || {
            world.make_retries_due().await;
            let _ = worker.try_sync().await;
            !world.held().await.is_empty()
        })
        .await;

        let held = world.only_held(33).await;
        assert!(held.reason.contains("Keap") && held.reason.contains("403"), "{}", held.reason);
        assert_eq!(worker.context().keap.remote().standing(), Standing::Ok);
        worker.stop().await;
        world.keap.knobs(|knobs| knobs.forbidden.clear());
        edit_all(&world, "Allowed");
        world.sync().await;
        assert!(world.held().await.is_empty());
        world.assert_agrees();
    }
}

#[sqlx::test]
async fn writes_that_are_refused_for_everybody_hold_nobody(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SYNC__MAX_ATTEMPTS", "2");
    world.sync().await;
    for (_, what) in refusals() {
        world.intercom.fault(Fault::on("update").always().what(what));
        edit_all(&world, "Refused");
        let worker = world.worker().await;
        for _ in 0..3 {
            let halt = worker.try_sync().await.unwrap_err();
            assert!(matches!(halt, Halt::Remote { needs_person: false, .. }), "{halt}");
        }
        assert_eq!(world.store().count_due().await.unwrap(), (0, 0), "nobody is to blame");

        world.intercom.clear_faults();
        until("Intercom takes writes", async || worker.try_sync().await.is_ok()).await;
        worker.stop().await;
        edit_all(&world, "Again");
        world.sync().await;
        world.assert_agrees();
    }
}

// F41
#[sqlx::test]
async fn one_stray_401_costs_a_question_and_no_contact(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    world.intercom.fault(Fault::on("create").nth(5).what(What::status(401)));
    world.keap.fault(Fault::on("list").nth(1).what(What::status(401)));
    let worker = world.worker().await;

    let counts = worker.sync().await;

    assert_eq!((counts.created, counts.failed), (30, 0), "{counts:?}");
    assert_eq!((world.intercom.count("me"), world.keap.count("userinfo")), (1, 1));
    world.assert_agrees();
}

/// Both lanes of a side whose token was revoked, driven as often as a test likes.
async fn assert_few_calls(world: &World, revoked: impl Fn() -> usize) {
    let worker = world.worker().await;
    for _ in 0..5 {
        let halt = worker.try_sync().await.unwrap_err();
        assert!(matches!(halt, Halt::Remote { needs_person: true, .. }), "{halt}");
    }
    let refused = revoked();
    assert!((1..=3).contains(&refused), "{refused} calls with a revoked token");
    worker.stop().await;
}

// F41
#[sqlx::test]
async fn a_revoked_token_costs_at_most_three_calls(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    world.set("SYNC__STOP_RECHECK_SECONDS", "300").set("SYNC__CONCURRENCY", "1");
    world.sync().await;
    edit_all(&world, "Revoked");
    let (keap, intercom) = (world.keap.token(), world.intercom.token());
    let of = |statuses: std::collections::BTreeMap<u16, usize>| {
        statuses.get(&401).copied().unwrap_or_default()
    };

    world.intercom.set_token("another");
    assert_few_calls(&world, || of(world.intercom.statuses())).await;
    world.intercom.set_token(&intercom);
    world.keap.set_token("another");
    assert_few_calls(&world, || of(world.keap.statuses())).await;

    world.keap.set_token(&keap);
    world.sync().await;
    world.assert_agrees();
    assert!(world.held().await.is_empty());
}
