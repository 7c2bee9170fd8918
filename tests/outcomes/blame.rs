//! Who is to blame for a failed write: an outage costs no contact an attempt, however few contacts
//! change, and a contact that fails by itself uses up its attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use keap_intercom_sync::sync::Halt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use sqlx::PgPool;

use super::most_attempts;
use crate::sim::{Fault, What};
use crate::world::{Worker, World, until};

const PEOPLE: i64 = 24;
const MAX_ATTEMPTS: i32 = 4;

/// All calls that write.
const WRITES: [&str; 4] = ["create", "update", "archive", "unarchive"];

async fn world(pool: PgPool) -> World {
    let mut world = World::with_people(pool, PEOPLE as usize).await;
    world.set("SYNC__MAX_ATTEMPTS", MAX_ATTEMPTS);
    world
}

fn edit(world: &World, ids: &[i64], name: &str) {
    world.keap.clock().advance_ms(3_000);
    for id in ids {
        world.keap.edit(*id, |person| person.family_name = Some(name.to_owned()));
    }
}

fn outage(world: &World, what: &What) {
    for kind in WRITES {
        world.intercom.fault(Fault::on(kind).always().what(what.clone()));
    }
}

/// What an Intercom that takes no writes may say to them.
fn forms() -> Vec<What> {
    vec![
        What::status(500),
        What::status(503),
        What::Html(502),
        What::Html(403),
        What::Html(200),
        What::status(400),
        What::Status(400, r#"{"errors":[{"code":"server_error"}]}"#.into()),
        What::Refuse,
    ]
}

/// Works for a while, and brings every retry forward, as an outage of an hour would.
async fn work_for(worker: &Worker, world: &World, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        world.make_retries_due().await;
        let _ = worker.try_sync().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Works until nothing is due, nothing changes any more and Intercom is called again.
async fn settle(worker: &Worker, world: &World) {
    until("everything has its outcome", async || {
        world.make_retries_due().await;
        worker.try_sync().await.is_ok() && world.store().count_due().await.unwrap().0 == 0
    })
    .await;
}

#[sqlx::test]
async fn one_changed_contact_outlives_an_outage_of_writes_without_an_attempt(pool: PgPool) {
    let world = world(pool).await;
    world.sync().await;
    for (round, what) in forms().into_iter().enumerate() {
        let worker = world.worker().await;
        outage(&world, &what);
        edit(&world, &[5], &format!("Alone{round}"));
        world.intercom.clear_ledger();
        world.keap.clear_ledger();

        work_for(&worker, &world, Duration::from_secs(2)).await;

        assert_eq!(most_attempts(&world).await, 0);
        assert!(world.held().await.is_empty(), "{:?}", world.held().await);
        let writes: usize = WRITES.iter().map(|kind| world.intercom.count(kind)).sum();
        assert!(writes <= 5, "{writes} writes in two seconds");
        assert!(writes >= 2, "it was tried, and a harmless write after it");
        assert!(world.keap.calls() <= 2, "{} calls of Keap", world.keap.calls());

        world.intercom.clear_faults();
        settle(&worker, &world).await;
        world.assert_agrees();
        assert!(world.held().await.is_empty());
        worker.stop().await;
    }
}

#[sqlx::test]
async fn a_few_new_contacts_outlive_an_outage_of_creates(pool: PgPool) {
    let world = world(pool).await;
    // In an account that was never written to, then in one that was.
    for round in 0..2 {
        let new = match round {
            0 => world.keap.ids().len(),
            _ => {
                let named = |n: usize| crate::process::canary(n);
                world.keap.add_many(2, named).len()
            }
        };
        assert!(new > 0);
        let worker = world.worker().await;
        world.intercom.fault(Fault::on("create").always().what(What::status(500)));

        work_for(&worker, &world, Duration::from_secs(3)).await;

        assert!(most_attempts(&world).await <= i32::from(round == 0 && new > 4));
        assert!(world.held().await.is_empty(), "{:?}", world.held().await);

        world.intercom.clear_faults();
        settle(&worker, &world).await;
        world.assert_agrees();
        assert!(world.held().await.is_empty());
        worker.stop().await;
    }
}

#[sqlx::test]
async fn the_first_three_contacts_of_an_account_outlive_an_outage(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    world.set("SYNC__MAX_ATTEMPTS", "2");
    world.intercom.fault(Fault::on("create").always().what(What::status(500)));
    let worker = world.worker().await;

    work_for(&worker, &world, Duration::from_secs(4)).await;

    assert_eq!(most_attempts(&world).await, 0);
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    world.intercom.clear_faults();
    settle(&worker, &world).await;
    world.assert_agrees();
}

#[sqlx::test]
async fn a_few_searches_and_reads_that_fail_for_everybody_cost_no_attempt(pool: PgPool) {
    let world = world(pool).await;
    world.sync().await;
    let worker = world.worker().await;
    let new = world.keap.add_many(2, crate::process::canary);
    world.intercom.fault(Fault::on("search").always().what(What::Html(502)));

    work_for(&worker, &world, Duration::from_secs(2)).await;

    assert_eq!(most_attempts(&world).await, 0);
    assert!(world.intercom.count("search") <= 20, "{} searches", world.intercom.count("search"));
    world.intercom.clear_faults();
    settle(&worker, &world).await;
    assert_eq!(new.len(), 2);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_dozen_contacts_that_fail_by_themselves_are_held_though_nothing_else_is_written(
    pool: PgPool,
) {
    let world = world(pool).await;
    world.sync().await;
    let poison: Vec<i64> = (1..=12).collect();
    for id in &poison {
        world
            .intercom
            .fault(Fault::on("update").key(id.to_string()).always().what(What::status(500)));
    }
    edit(&world, &poison, "Poisoned");
    let worker = world.worker().await;

    settle(&worker, &world).await;

    let held: BTreeSet<i64> = world.held().await.iter().map(|held| held.keap_contact_id).collect();
    assert_eq!(held, poison.into_iter().collect());
    for held in world.held().await {
        assert_eq!(
            (held.attempts, held.reason.as_str()),
            (MAX_ATTEMPTS, "last_try: Intercom failed with 500")
        );
    }
}

/// Outages, contacts that fail by themselves, edits and waits in an order that the seed decides.
async fn any_order(pool: PgPool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = world(pool).await;
    world.sync().await;
    let mut everybody: Vec<i64> = (1..=PEOPLE).collect();
    everybody.shuffle(&mut random);
    let poison: BTreeSet<i64> = everybody[..random.random_range(1..=4)].iter().copied().collect();
    let poisoned = |world: &World| {
        for id in &poison {
            let fault = Fault::on("update").key(id.to_string()).always();
            world.intercom.fault(fault.what(What::status(500)));
        }
    };
    poisoned(&world);
    let worker = world.worker().await;
    let mut changed: BTreeSet<i64> = BTreeSet::new();
    for step in 0..8 {
        let many = *[1, 2, 3, 9].choose(&mut random).unwrap();
        let some: Vec<i64> = everybody.choose_multiple(&mut random, many).copied().collect();
        if random.random_bool(0.5) {
            let before = most_attempts(&world).await;
            world.intercom.clear_faults();
            outage(&world, forms().choose(&mut random).unwrap());
            edit(&world, &some, &format!("Outage{step}"));
            work_for(&worker, &world, Duration::from_millis(700)).await;
            assert_eq!(most_attempts(&world).await, before, "seed {seed}, step {step}");
            world.intercom.clear_faults();
            poisoned(&world);
        } else {
            edit(&world, &some, &format!("Calm{step}"));
            work_for(&worker, &world, Duration::from_millis(700)).await;
        }
        changed.extend(some);
    }
    settle(&worker, &world).await;

    let held: BTreeSet<i64> = world.held().await.iter().map(|held| held.keap_contact_id).collect();
    let blamed: BTreeSet<i64> = poison.intersection(&changed).copied().collect();
    assert_eq!(held, blamed, "seed {seed}");
    assert!(world.held().await.iter().all(|held| held.attempts == MAX_ATTEMPTS), "seed {seed}");

    world.intercom.clear_faults();
    edit(&world, &everybody, "End");
    settle(&worker, &world).await;
    world.assert_agrees();
    assert!(world.held().await.is_empty(), "seed {seed}");
}

/// Each row is a test with its seed.
macro_rules! any_order {
    ($($name:ident: $seed:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            any_order(pool, $seed).await;
        })*
    };
}

any_order! {
    outages_and_poison_in_one_order_blame_the_poison_alone: 1;
    outages_and_poison_in_another_order_blame_the_poison_alone: 2;
    outages_and_poison_in_a_new_order_each_time_blame_the_poison_alone: rand::random();
}

// F39
#[sqlx::test]
async fn the_pauses_of_an_outage_of_writes_grow_and_nothing_is_read_from_keap(pool: PgPool) {
    let world = world(pool).await;
    world.sync().await;
    outage(&world, &What::status(500));
    edit(&world, &[3], "Paused");
    let worker = world.worker().await;
    let mut pauses = Vec::new();
    let first = worker.try_sync().await.unwrap_err();
    world.keap.clear_ledger();
    let mut halt = first;
    for _ in 0..3 {
        assert!(matches!(halt, Halt::Remote { needs_person: false, .. }), "{halt}");
        pauses.push(halt.retry_in());
        tokio::time::sleep(halt.retry_in()).await;
        halt = worker.try_sync().await.unwrap_err();
    }

    assert!(pauses[2] > pauses[0], "{pauses:?}");
    assert!(halt.to_string().contains("takes no writes"), "{halt}");
    assert_eq!(world.keap.calls(), 0, "a page is read when Intercom takes writes");
}
