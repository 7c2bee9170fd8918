//! Contacts that Keap cannot list: they are found without two clauses on one field, they harm no
//! other contact, and they are asked for seldom.

use sqlx::PgPool;

use super::{assert_one_clause_a_field, has_name};
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, KeapKnobs, RepeatedField, What};
use crate::sweep::settled;
use crate::world::{Worker, World};

/// People with these ids. Those with a `true` cannot be shown.
async fn world_of(pool: PgPool, ids: &[(i64, bool)]) -> World {
    let mut world = World::new(pool).await;
    world.set("KEAP__PAGE_SIZE", "20").set("SYNC__MAX_ATTEMPTS", "2");
    for (id, is_poison) in ids {
        let id = *id;
        world.keap.add_with_id(id, invented(id as u64, Shape::Plain));
        world.keap.set_stamp_ms(id, Some(world.keap.clock().now_ms() - 86_400_000));
        world.keap.knobs(|knobs| {
            knobs.poison_by_id = true;
            if *is_poison {
                knobs.poison.insert(id);
            }
        });
    }
    world
}

/// A first walk: every contact that Keap can show is in Intercom, and exactly the others are held.
async fn assert_walk_passes_over(
    pool: PgPool,
    what: &str,
    ids: &[(i64, bool)],
    turn: fn(&mut KeapKnobs),
) {
    let world = world_of(pool, ids).await;
    world.keap.knobs(turn);
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;

    let mut held: Vec<i64> = world.held().await.iter().map(|held| held.keap_contact_id).collect();
    held.sort_unstable();
    let of = |poison| ids.iter().filter(move |(_, is)| *is == poison).map(|(id, _)| *id);
    assert_eq!(held, of(true).collect::<Vec<_>>(), "{what}");
    for id in of(false) {
        let users = world.intercom.by_external_id(&id.to_string());
        assert_eq!(users.len(), 1, "{what}: contact {id}");
    }
    assert_one_clause_a_field(&world);
    let backfill = world.store().cursor(keap_intercom_sync::feed::Feed::Backfill).await.unwrap();
    assert!(backfill.unwrap().is_at_rest(), "{what}: the walk is complete");
    worker.stop().await;
}

fn dense(poison: &[i64]) -> Vec<(i64, bool)> {
    (1..=60).map(|id| (id, poison.contains(&id))).collect()
}

/// Each row is a test: what Keap does with a filter, and the contacts.
macro_rules! walks_pass_over {
    ($($name:ident: $ids:expr, $turn:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            assert_walk_passes_over(pool, stringify!($name), &$ids, $turn).await;
        })*
    };
}

walks_pass_over! {
    a_poison_row_where_two_clauses_both_count: dense(&[33]), |_| {};
    a_poison_row_where_the_last_clause_counts: dense(&[33]), |knobs| knobs.repeated_field = RepeatedField::LastCounts;
    a_poison_row_where_two_clauses_are_refused: dense(&[33]), |knobs| knobs.repeated_field = RepeatedField::Refused;
    a_poison_row_where_ids_have_no_upper_bound: dense(&[33]), |knobs| knobs.id_below = false;
    a_poison_row_whose_stamp_can_be_shown: dense(&[33]), |knobs| knobs.poison_shows_stamps = true;
    the_first_row: dense(&[1]), |_| {};
    the_last_row: dense(&[60]), |_| {};
    two_rows_side_by_side: dense(&[21, 22]), |_| {};
    three_rows_side_by_side: dense(&[21, 22, 23]), |_| {};
    every_second_row_of_some: dense(&[31, 33, 35, 37]), |_| {};
    a_row_on_each_page: dense(&[5, 25, 45]), |_| {};
    two_rows_with_a_gap_before_them: [(7, false), (900_000, true), (900_001, false), (900_002, true), (2_000_000, false)], |_| {};
}

/// Polls beside poison rows that are in the window of every poll. Returns the Keap calls of each.
async fn polls_beside(world: &World, worker: &Worker, polls: std::ops::Range<usize>) -> Vec<usize> {
    let mut calls = Vec::new();
    for poll in polls {
        let name = format!("Poll{poll}");
        world.keap.clock().advance_ms(5_000);
        for id in [3, 40, 52, 71, 119] {
            world.keap.edit(id, |person| person.given_name = Some(name.clone()));
        }
        world.keap.clear_ledger();
        worker.sync().await;
        calls.push(world.keap.calls());
        for id in [3, 40, 52, 71, 119] {
            assert!(has_name(world, id, &name), "contact {id} in poll {poll}: {calls:?}");
        }
    }
    calls
}

async fn edits_beside(pool: PgPool, poison: &[i64]) -> Vec<usize> {
    let mut world = World::with_people(pool, 120).await;
    world.set("SYNC__MAX_ATTEMPTS", "2");
    let worker = settled(&world).await;
    worker.stop().await;
    // The poison rows stay in the window of every poll.
    world.set("POLL__OVERLAP_SECONDS", "600");
    let worker = world.worker().await;
    for id in poison {
        world.keap.touch(*id);
        world.keap.knobs(|knobs| {
            knobs.poison.insert(*id);
            knobs.poison_by_id = true;
        });
    }
    // The first poll finds them. Their attempts are used up before the others are counted.
    let mut calls = polls_beside(&world, &worker, 0..1).await;
    worker.work_off().await;
    calls.extend(polls_beside(&world, &worker, 1..7).await);
    assert_one_clause_a_field(&world);
    assert_eq!(world.held().await.len(), poison.len());
    calls
}

#[sqlx::test]
async fn five_edits_beside_a_poison_row_cost_two_calls_a_poll(pool: PgPool) {
    let calls = edits_beside(pool, &[50]).await;

    assert!(calls[0] <= 40, "the search: {calls:?}");
    assert!(calls[1..].iter().all(|calls| *calls <= 2), "{calls:?}");
}

#[sqlx::test]
async fn five_edits_beside_two_poison_rows_cost_few_calls_a_poll(pool: PgPool) {
    let calls = edits_beside(pool, &[50, 60]).await;

    assert!(calls[0] <= 80, "the search: {calls:?}");
    assert!(calls[1..].iter().all(|calls| *calls <= 8), "{calls:?}");
}

#[sqlx::test]
async fn a_poison_row_is_no_candidate_of_the_sweep(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("KEAP__PAGE_SIZE", "20");
    let worker = settled(&world).await;
    world.keap.knobs(|knobs| knobs.poison.insert(33));
    world.keap.delete(12);
    worker.request_sweep(false).await;

    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}

    assert_eq!(world.intercom.live_users().len(), 59);
    assert_eq!(world.intercom.by_external_id("33").len(), 1);
    assert_one_clause_a_field(&world);
}

/// One failed page says little: the polls after it keep their overlap.
#[sqlx::test]
async fn a_page_that_fails_once_does_not_shorten_the_overlap(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    let worker = settled(&world).await;
    worker.stop().await;
    world.set("POLL__OVERLAP_SECONDS", "120");
    let worker = world.worker().await;
    // Contact 5 changes first, and Keap shows it one and a half seconds later.
    world.keap.edit(5, |person| person.given_name = Some("Late".into()));
    world.keap.hide_until(5, world.keap.clock().now_ms() + 4_500);
    world.keap.clock().advance_ms(3_000);
    world.keap.edit(6, |person| person.given_name = Some("Early".into()));
    // The page fails twice, and Keap works between.
    for nth in [1, 3] {
        world.keap.fault(Fault::on("list").nth(nth).what(What::status(500)));
    }

    worker.sync().await;
    assert!(has_name(&world, 6, "Early"));
    assert_eq!(world.keap.faults_waiting(), 0);
    world.keap.clock().advance_ms(1_600);
    worker.sync().await;

    assert!(has_name(&world, 5, "Late"));
    worker.stop().await;
}
