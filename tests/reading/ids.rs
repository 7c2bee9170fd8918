//! Contacts by their ids: how many calls a delivery costs, also where Keap cuts its answers short.

use std::collections::HashSet;

use sqlx::PgPool;

use crate::sim::KeapKnobs;
use crate::world::{Worker, World};

/// The calls that a request of a thousand contacts costs: lists and single reads.
async fn cost(pool: PgPool, gone: &[i64], turn: impl FnOnce(&mut KeapKnobs)) -> (usize, usize) {
    let world = World::with_people(pool, 1000).await;
    let worker: Worker = world.worker().await;
    for id in gone {
        world.keap.delete(*id);
    }
    world.keap.knobs(turn);
    world.keap.clear_ledger();

    let counts = worker.request(&(1..=1000).collect::<Vec<_>>()).await;

    let gone: HashSet<i64> = gone.iter().copied().collect();
    let there = 1000 - i64::try_from(gone.len()).unwrap();
    assert_eq!((counts.created, counts.failed), (there, 0), "{counts:?}");
    let most = super::filters(&world).iter().map(|filter| filter.split(',').count()).max();
    assert!(most.is_some_and(|ids| ids <= 100), "{most:?} ids in one call");
    worker.stop().await;
    (world.keap.count("list"), world.keap.count("read"))
}

// F72
#[sqlx::test]
async fn a_thousand_ids_cost_ten_calls(pool: PgPool) {
    assert_eq!(cost(pool, &[], |_| {}).await, (10, 0));
}

#[sqlx::test]
async fn one_answer_that_is_cut_short_costs_one_more_call(pool: PgPool) {
    assert_eq!(cost(pool, &[], |knobs| knobs.short_id_lists = 1).await, (11, 0));
}

#[sqlx::test]
async fn a_second_answer_that_is_cut_short_costs_another(pool: PgPool) {
    let (lists, reads) = cost(pool, &[], |knobs| knobs.short_id_lists = 2).await;
    assert!(lists <= 12 && reads == 0, "{lists} lists, {reads} reads");
}

#[sqlx::test]
async fn a_smaller_cap_costs_no_more_than_its_own_size_demands(pool: PgPool) {
    for_cap(pool, 60).await;
}

#[sqlx::test]
async fn a_much_smaller_cap_costs_no_more_than_its_own_size_demands(pool: PgPool) {
    for_cap(pool, 7).await;
}

/// With answers of at most `cap` contacts, no fewer calls could do.
async fn for_cap(pool: PgPool, cap: usize) {
    let (lists, reads) = cost(pool, &[], |knobs| knobs.ids_cap = Some(cap)).await;
    assert!(lists <= 1000_usize.div_ceil(cap) + 2, "{lists} lists");
    assert!(reads <= 2, "{reads} reads");
}

#[sqlx::test]
async fn pages_that_are_smaller_than_asked_for_cost_no_call_for_each(pool: PgPool) {
    let (lists, reads) = cost(pool, &[], |knobs| knobs.max_page_size_effective = Some(40)).await;
    assert!(lists <= 27 && reads <= 2, "{lists} lists, {reads} reads");
}

#[sqlx::test]
async fn contacts_that_are_gone_are_told_from_a_cut_by_one_more_list(pool: PgPool) {
    let gone = [5, 150, 151, 990];
    assert_eq!(cost(pool, &gone, |_| {}).await, (11, 4));
}

#[sqlx::test]
async fn contacts_that_are_gone_beside_a_cut_are_told_from_it(pool: PgPool) {
    let gone = [5, 150, 151, 990];
    let (lists, reads) = cost(pool, &gone, |knobs| knobs.short_id_lists = 1).await;
    assert!(lists <= 12 && reads == 4, "{lists} lists, {reads} reads");
}
