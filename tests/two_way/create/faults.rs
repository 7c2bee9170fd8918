//! Creates in Keap that meet a fault: a lost answer, a kill, an index that lags, two daemons. There
//! is one contact afterwards, and it is linked.

use sqlx::PgPool;

use super::{BOB, CREATE, QUIET, bob, bodies, later, open_creates, stage};
use crate::process::Process;
use crate::sim::{Fault, Seed, What};
use crate::two_way::Stage;
use crate::world::{World, until};

/// Keap's lists show nothing new.
fn hide(stage: &Stage) {
    stage.world.keap.knobs(|knobs| knobs.visibility_delay_ms = 3_600_000);
}

// F131
#[sqlx::test]
async fn a_create_that_loses_its_answer_is_looked_for_and_not_repeated(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").what(What::ApplyThenDrop));
    stage.poll_intercom().await;
    let mut poll = false;
    while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    assert_eq!((stage.creates(), open_creates(&stage.world).await), (1, 1));
    // Not at once, however often it is looked.
    for _ in 0..3 {
        while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    }
    assert_eq!(stage.creates(), 1);
    stage.later().await;
    while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
    assert_eq!(stage.creates(), 1, "the search by e-mail has found it");
    stage.assert_quiet().await;
}

// F131
#[sqlx::test]
async fn a_poll_that_shows_the_new_contact_first_settles_the_create(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").what(What::ApplyThenDrop));
    // Meanwhile the user gets another address, so nobody can search for the one that was sent.
    stage.poll_intercom().await;
    let mut poll = false;
    while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    stage.world.intercom.edit(&user, |contact| contact.email = Some("bob@new.example".into()));
    stage.bring().await;
    let ids = stage.in_keap(BOB);
    let ids = if ids.is_empty() { stage.in_keap("bob@new.example") } else { ids };
    assert_eq!(ids.len(), 1);
    assert_eq!(stage.world.user(ids[0]).id, user);
    assert_eq!((stage.creates(), open_creates(&stage.world).await), (1, 0));
    stage.later().await;
    stage.bring().await;
    assert_eq!(stage.creates(), 1);
    stage.assert_quiet().await;
}

// F131
#[sqlx::test]
async fn while_keaps_search_is_behind_the_second_create_finds_the_first(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    hide(&stage);
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").what(What::ApplyThenDrop));
    stage.bring().await;
    stage.later().await;
    stage.bring().await;
    stage.worker.work_off().await;
    stage.linked_once(BOB, &user).await;
    let sent = bodies(&stage);
    assert_eq!(sent.len(), 2);
    assert!(!sent[0].1 && sent[1].1, "only the second one asks Keap to look");
    assert_eq!(sent[0].0, sent[1].0, "the same body");
}

// F131
#[sqlx::test]
async fn a_create_that_never_arrived_is_sent_again(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").what(What::Refuse));
    stage.bring().await;
    assert_eq!(stage.in_keap(BOB), [0_i64; 0]);
    stage.later().await;
    stage.bring().await;
    stage.linked_once(BOB, &user).await;
    assert_eq!(stage.creates(), 2);
}

// F131
#[sqlx::test]
async fn a_create_whose_answers_are_all_lost_needs_a_person(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set("SYNC__MAX_ATTEMPTS", 2);
    })
    .await;
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").always().what(What::Status(502, "{}".into())));
    stage.poll_intercom().await;
    until("a person is told", async || {
        // A side that fails is left alone for a moment.
        let _ = stage.worker.try_sync().await;
        let is_held = !stage.worker.store.held_newcomers().await.unwrap().is_empty();
        if !is_held {
            stage.later().await;
        }
        is_held
    })
    .await;
    assert_eq!(stage.held_user().await, (user.clone(), "create_unsure".into()));
    stage.world.keap.clear_faults();
    crate::process::command(&stage.world, &["held", "retry", &user]).await.expect(0);
    until("Bob is in Keap", async || {
        later(&stage.world).await;
        let _ = stage.worker.try_sync().await;
        stage.in_keap(BOB).len() == 1
    })
    .await;
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
}

// F131
#[sqlx::test]
async fn an_address_that_changes_while_a_create_has_no_answer_is_not_sent_twice(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    hide(&stage);
    let user = stage.add_bob();
    stage.world.keap.fault(Fault::on("create").what(What::ApplyThenDrop));
    stage.bring().await;
    stage.world.intercom.edit(&user, |contact| contact.email = Some("bob@new.example".into()));
    stage.later().await;
    stage.bring().await;
    assert_eq!(stage.creates(), 1, "the first one may have landed");
    assert_eq!(stage.held_user().await, (user, "create_unsure".into()));
}

#[sqlx::test]
async fn what_keap_refuses_is_held_and_leaves_no_intent(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    let refusal = r#"{"code":400,"message":"no","status":"INVALID_ARGUMENT"}"#;
    stage.world.keap.fault(Fault::on("create").what(What::Status(400, refusal.into())));
    stage.bring().await;
    assert_eq!(stage.held_user().await, (user.clone(), "create_refused".into()));
    assert_eq!((stage.creates(), open_creates(&stage.world).await), (1, 0));

    // Another one whom the key may not write is tried again.
    let eve = stage.world.intercom.add_user(Seed::with_email("eve@example.org"));
    stage.world.keap.fault(Fault::on("create").what(What::Status(403, "{}".into())));
    stage.bring().await;
    stage.later().await;
    stage.bring().await;
    let ids = stage.in_keap("eve@example.org");
    assert_eq!(ids.len(), 1);
    assert_eq!(stage.world.user(ids[0]).id, eve);
}

// F131
#[sqlx::test]
async fn a_contact_that_a_person_deletes_before_its_link_is_not_made_again(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    stage.add_bob();
    stage.poll_intercom().await;
    let mut poll = false;
    while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    let ids = stage.in_keap(BOB);
    assert_eq!(ids.len(), 1);
    stage.world.keap.delete(ids[0]);
    stage.worker.work_off().await;
    stage.bring().await;
    stage.audit_all().await;
    assert_eq!((stage.creates(), stage.in_keap(BOB)), (1, Vec::new()));
    assert_eq!(open_creates(&stage.world).await, 0);
}

/// Both directions are on, the daemon polls every second, and nobody is anywhere but Bob in
/// Intercom.
async fn polled(pool: PgPool) -> (World, String) {
    let mut world = crate::process::world(pool, 1).await;
    world
        .set("INTERCOM_TO_KEAP__ENABLED", true)
        .set("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *")
        .set(CREATE, "users")
        .set(QUIET, 1);
    let user = world.intercom.add_user(Seed { name: Some("Bob Canary".into()), ..bob() });
    (world, user)
}

fn in_keap(world: &World) -> usize {
    let mut found = 0;
    world.keap.for_each(|_, person| {
        found += usize::from(person.emails.iter().any(|(_, address)| address == BOB));
    });
    found
}

async fn until_linked(world: &World, user: &str) {
    until("Bob is linked, and nothing is open", async || {
        let sql = "select count(*) from contact_link where intercom_contact_id = $1";
        let linked: i64 = sqlx::query_scalar(sql).bind(user).fetch_one(&world.pool).await.unwrap();
        linked == 1 && open_creates(world).await == 0
    })
    .await;
    assert_eq!(in_keap(world), 1);
}

/// Each row is a test: the remote, the kind of the call, and whether the daemon dies before or
/// after the call is carried out.
macro_rules! kills {
    ($($name:ident: $remote:ident, $kind:literal, $moment:ident;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            let (world, user) = polled(pool).await;
            world.keap.knobs(|knobs| knobs.email_index_lag_ms = 2_000);
            let daemon = Process::daemon(&world);
            // Updates of Intercom also link the first contact, so only the create is early enough.
            until("a create is under way", async || {
                world.keap.count("create") > 0 || $kind == "create"
            })
            .await;
            world.$remote.fault(Fault::on($kind).what(daemon.target().$moment()));
            daemon.died().await;
            let daemon = Process::daemon(&world);
            until_linked(&world, &user).await;
            daemon.stop().await;
            assert_eq!(in_keap(&world), 1);
        })*
    };
}

// F131
kills! {
    a_kill_before_the_create_loses_nothing: keap, "create", dies_before;
    a_kill_after_the_create_makes_no_second_contact: keap, "create", dies_after;
}

// F131
#[sqlx::test]
async fn two_daemons_and_many_notices_of_one_user_make_one_contact(pool: PgPool) {
    let (world, user) = polled(pool).await;
    world.keap.knobs(|knobs| knobs.latency_ms = 20);
    let daemons = [world.daemon().await, world.daemon().await];
    let id = keap_intercom_sync::contact::IntercomId::new(&user).unwrap();
    let store = world.store();
    until("the first poll of Keap is over", async || {
        let cursor = store.cursor(keap_intercom_sync::feed::Feed::Changed).await;
        cursor.is_ok_and(|cursor| cursor.is_some_and(|cursor| cursor.polled_age.is_some()))
    })
    .await;
    for _ in 0..40 {
        store.request_newcomer(&id).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    until_linked(&world, &user).await;
    assert_eq!(world.keap.count("create"), 1);
    for daemon in daemons {
        daemon.stop().await.1.unwrap();
    }
    assert_eq!((in_keap(&world), world.keap.count("create")), (1, 1));
}
