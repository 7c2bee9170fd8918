//! Linked contacts that exchange their e-mail addresses, where Intercom refuses an address in use.

use keap_intercom_sync::feed::DueReason;
use sqlx::PgPool;

use super::recheck_now;
use crate::process::{Process, canary, caught_up};
use crate::sim::{Fault, Person, What};
use crate::world::{Worker, World, keap_id};

/// Synced contacts, and an Intercom that refuses an address of another user.
async fn synced(pool: PgPool, people: usize) -> (World, Worker, Vec<i64>) {
    let world = World::new(pool).await;
    let ids = world.keap.add_many(people, canary);
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    world.intercom.reindex_now();
    world.intercom.clear_ledger();
    (world, worker, ids)
}

fn set_email(person: &mut Person, email: &str) {
    person.emails = vec![("EMAIL1".into(), email.to_owned())];
}

fn emails(world: &World, ids: &[i64]) -> Vec<String> {
    let email = |id: &i64| world.keap.person(*id).unwrap().first_email().unwrap().to_owned();
    ids.iter().map(email).collect()
}

/// Each contact gets the address of the next one, in Keap; the last one gets that of the first.
fn rotate(world: &World, ids: &[i64]) {
    let mut emails = emails(world, ids);
    emails.rotate_left(1);
    for (id, email) in ids.iter().zip(emails) {
        world.keap.edit(*id, |person| set_email(person, &email));
    }
}

async fn assert_settled(world: &World, users: &[String]) {
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    world.assert_agrees();
    let mut now: Vec<String> =
        world.intercom.live_users().into_iter().map(|user| user.id).collect();
    now.sort();
    assert_eq!(now, users, "everybody keeps the Intercom contact");
    for call in world.intercom.ledger() {
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        assert!(!body.contains("unsubscribed_from_emails"), "{body}");
    }
}

fn users(world: &World) -> Vec<String> {
    let mut users: Vec<String> =
        world.intercom.live_users().into_iter().map(|user| user.id).collect();
    users.sort();
    users
}

async fn settle(worker: &Worker) {
    worker.sync().await;
    worker.work_off().await;
}

#[sqlx::test]
async fn two_contacts_that_swap_addresses_end_as_keap_has_them(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 2).await;
    let before = users(&world);
    rotate(&world, &ids);

    settle(&worker).await;

    assert_settled(&world, &before).await;
    assert!(world.intercom.calls() <= 12, "{:?}", world.intercom.kinds());
}

#[sqlx::test]
async fn three_contacts_that_rotate_addresses_end_as_keap_has_them(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 3).await;
    let before = users(&world);
    rotate(&world, &ids);

    settle(&worker).await;

    assert_settled(&world, &before).await;
    assert!(world.intercom.calls() <= 16, "{:?}", world.intercom.kinds());

    // The other way round, among bystanders.
    world.keap.add_many(20, |n| canary(100 + n));
    settle(&worker).await;
    let before = users(&world);
    let reversed: Vec<i64> = ids.iter().rev().copied().collect();
    rotate(&world, &reversed);
    settle(&worker).await;
    assert_settled(&world, &before).await;
}

#[sqlx::test]
async fn a_long_circle_and_a_swap_at_once_end_as_keap_has_them(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 14).await;
    let before = users(&world);
    rotate(&world, &ids[..12]);
    rotate(&world, &ids[12..]);

    settle(&worker).await;

    assert_settled(&world, &before).await;
    assert!(world.intercom.calls() <= 14 * 5, "{:?}", world.intercom.kinds());
}

#[sqlx::test]
async fn a_circle_that_was_tried_often_is_looked_at_again(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 2).await;
    let before = users(&world);
    rotate(&world, &ids);
    // Both were tried before, and now they meet in one page: nobody sees the circle in time.
    let waiting: Vec<_> = ids.iter().map(|id| keap_id(*id)).collect();
    worker.store.request(&waiting, DueReason::Manual).await.unwrap();
    sqlx::query("update contact_due set attempts = 5").execute(&world.pool).await.unwrap();

    worker.work_off().await;
    assert_eq!(world.held().await.len(), 2, "{:?}", world.held().await);
    recheck_now(&world).await;
    settle(&worker).await;

    assert_settled(&world, &before).await;
}

#[sqlx::test]
async fn contacts_whose_creates_had_no_answer_exchange_addresses_too(pool: PgPool) {
    let world = World::new(pool).await;
    let ids = world.keap.add_many(2, canary);
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    for _ in &ids {
        world.intercom.fault(Fault::on("create").what(What::ApplyThenDrop));
    }
    let worker = world.worker().await;
    worker.sync().await;
    let before = users(&world);
    assert_eq!(before.len(), 2, "both were made, and nobody knows it");
    rotate(&world, &ids);

    world.make_retries_due().await;
    settle(&worker).await;
    world.make_retries_due().await;
    settle(&worker).await;

    assert_settled(&world, &before).await;
}

#[sqlx::test]
async fn a_chain_that_ends_in_a_free_address_needs_no_detour(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 4).await;
    let before = users(&world);
    let mut emails = emails(&world, &ids);
    emails.rotate_left(1);
    emails[3] = "free@canary.example".into();
    for (id, email) in ids.iter().zip(&emails) {
        world.keap.edit(*id, |person| set_email(person, email));
    }

    settle(&worker).await;

    assert_settled(&world, &before).await;
    assert!(world.intercom.ledger().iter().all(|call| {
        call.body.as_ref().is_none_or(|body| !body.to_string().contains("\"email\":null"))
    }));
}

#[sqlx::test]
async fn contacts_that_arrive_one_after_the_other_exchange_addresses_too(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 3).await;
    let before = users(&world);
    let mut emails = emails(&world, &ids);
    emails.rotate_left(1);

    for (n, (id, email)) in ids.iter().zip(&emails).enumerate() {
        world.keap.edit(*id, |person| set_email(person, email));
        settle(&worker).await;
        if n < 2 {
            // They wait, and nobody loses an address before the circle is closed.
            let users = world.intercom.live_users();
            assert!(
                users
                    .iter()
                    .all(|user| user.email.as_deref().is_some_and(|email| !email.is_empty()))
            );
        }
    }

    assert_settled(&world, &before).await;
}

#[sqlx::test]
async fn two_contacts_that_want_one_address_lose_none(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 2).await;
    let emails = emails(&world, &ids);
    world.keap.edit(ids[0], |person| set_email(person, &emails[1]));

    settle(&worker).await;

    let held = world.only_held(ids[0]).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {}:", ids[1])), "{}", held.reason);
    assert_eq!(world.user(ids[0]).email.as_ref(), Some(&emails[0]));
    assert_eq!(world.user(ids[1]).email.as_ref(), Some(&emails[1]));
}

/// Both wanted to swap, and one changed its mind before it was looked at again.
#[sqlx::test]
async fn an_exchange_that_is_called_off_takes_nobodys_address(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 2).await;
    let emails = emails(&world, &ids);
    world.keap.edit(ids[0], |person| set_email(person, &emails[1]));
    settle(&worker).await;
    // While the second one is written, it goes back in Keap to its own address.
    let (keap, back, own) = (world.keap.clone(), ids[0], emails[0].clone());
    world.intercom.fault(Fault::on("update").key(ids[1].to_string()).what(What::apply_then_run(
        move |_| assert!(keap.edit(back, |person| set_email(person, &own))),
    )));
    world.keap.edit(ids[1], |person| set_email(person, &emails[0]));

    settle(&worker).await;

    assert!(world.intercom.ledger().iter().all(|call| {
        call.body.as_ref().is_none_or(|body| !body.to_string().contains("\"email\":null"))
    }));
    assert_eq!(world.user(ids[0]).email.as_ref(), Some(&emails[0]));
}

#[sqlx::test]
async fn a_conflict_that_names_nobody_does_not_stop_an_exchange(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 3).await;
    let before = users(&world);
    world.intercom.knobs(|knobs| knobs.conflict_without_id = true);
    rotate(&world, &ids);

    settle(&worker).await;

    assert_settled(&world, &before).await;
}

#[sqlx::test]
async fn where_intercom_takes_no_null_an_impossible_address_stands_in(pool: PgPool) {
    let (world, worker, ids) = synced(pool, 3).await;
    let before = users(&world);
    let refusal = r#"{"type":"error.list","errors":[{"code":"parameter_invalid"}]}"#;
    let refused = What::Status(400, refusal.into());
    world.intercom.fault(Fault::on("update").containing("\"email\":null").always().what(refused));
    rotate(&world, &ids);

    settle(&worker).await;

    assert_settled(&world, &before).await;
    assert!(
        world.intercom.live_users().iter().all(|user| {
            user.email.as_deref().is_some_and(|email| !email.ends_with(".invalid"))
        })
    );
}

/// A daemon dies at every write of an exchange, before or after it is carried out.
#[sqlx::test]
async fn a_kill_at_any_write_of_an_exchange_loses_no_address(pool: PgPool) {
    let mut world = crate::process::world(pool, 3).await;
    world.set("LEASE__TTL_SECONDS", 5);
    let ids = world.keap.ids();
    world.sync().await;
    let before = users(&world);
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);

    // Writes 1 to 3 are refused, 4 is refused again, 5 gives an address up, 6 to 8 bring the new
    // ones.
    for nth in 2..=8 {
        rotate(&world, &ids);
        let daemon = Process::daemon(&world);
        let target = daemon.target();
        let what = if nth == 2 { target.dies_before() } else { target.dies_after() };
        world.intercom.fault(Fault::on("update").nth(nth).what(what));
        daemon.died().await;

        let daemon = Process::daemon(&world);
        caught_up(&world).await;
        daemon.stop().await;
        assert_settled(&world, &before).await;
    }
}
