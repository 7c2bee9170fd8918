//! The counters behind the charts and behind the history of the fields: each outcome counts once,
//! on its side, and at no commit of its own.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use keap_intercom_sync::store::{Counted, IntentSide, Span, Store};
use keap_intercom_sync::tasks::retention::{Deleted, Keep, delete_old};
use sqlx::PgPool;

use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Person, Seed, What};
use crate::two_way::Stage;
use crate::world::{World, ann};

use Counted::{
    Calls, Failed, FieldCleared, FieldConflict, FieldRefused, FieldWritten, Fresh, Held, Written,
};
use IntentSide::{Intercom, Keap};

const DAY: Duration = Duration::from_secs(86_400);

/// What was counted in this hour and in the one before.
async fn counted(store: &Store, side: IntentSide, what: Counted) -> i64 {
    let (_, rows) = store.tallies(Span::Hours).await.unwrap();
    let rows = rows.into_iter().filter(|row| (row.side, row.counted) == (side, what));
    rows.map(|row| row.count).sum()
}

/// What has become of the fields: field, side, how often.
async fn fields(store: &Store) -> Vec<(String, IntentSide, Counted, i64)> {
    let tallies = store.field_tallies(1).await.unwrap().into_iter();
    tallies.map(|tally| (tally.field, tally.side, tally.counted, tally.count)).collect()
}

#[sqlx::test]
async fn each_outcome_and_each_call_counts_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.keap.add_many(3, |n| invented(n as u64, Shape::Plain));
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email("twins@example.org"));
    }
    world.keap.add(Person::named("Ann", "Twin").email("twins@example.org"));
    world.keap.add(Person::named("No", "Mail"));
    world.intercom.reindex_now();
    let worker = world.worker().await;
    let store = &worker.store;

    worker.sync().await;

    let all =
        [(Intercom, Written), (Intercom, Held), (Intercom, Failed), (Keap, Written), (Keap, Held)];
    let mut found = Vec::new();
    for (side, what) in all {
        found.push(counted(store, side, what).await);
    }
    assert_eq!(found, [3, 1, 0, 0, 0]);
    let calls = (counted(store, Keap, Calls).await, counted(store, Intercom, Calls).await);
    assert_eq!(calls, (world.keap.calls() as i64, world.intercom.calls() as i64));

    // A poll that finds nothing counts its calls, and nothing else.
    worker.sync().await;
    assert_eq!(counted(store, Intercom, Written).await, 3);
    assert_eq!(counted(store, Keap, Calls).await, world.keap.calls() as i64);

    // A failed attempt, and the success after it.
    world.keap.edit(1, |person| person.family_name = Some("Edited".into()));
    world.intercom.fault(Fault::on("update").what(What::status(500)));
    worker.sync().await;
    world.make_retries_due().await;
    worker.work_off().await;
    assert_eq!(counted(store, Intercom, Failed).await, 1);
    assert_eq!(counted(store, Intercom, Written).await, 4);
}

#[sqlx::test]
async fn a_field_counts_where_its_value_differs_from_what_the_side_had(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    let store = &worker.store;
    worker.sync().await;
    let new = |field: &str| (field.to_owned(), Intercom, FieldWritten, 1);
    assert_eq!(fields(store).await, [new("email"), new("name"), new("phone")]);

    world.keap.edit(id, |person| {
        *person = Person { phones: Vec::new(), ..person.clone() }
            .phone("(602) 555-0199", Some("+16025550199"))
    });
    worker.sync().await;
    let phone = |counted, count| ("phone".to_owned(), Intercom, counted, count);
    assert_eq!(fields(store).await, [new("email"), new("name"), phone(FieldWritten, 2)]);

    world.keap.edit(id, |person| person.phones.clear());
    worker.sync().await;
    world.keap.edit(id, |person| person.emails = vec![("EMAIL1".into(), "no address".into())]);
    worker.sync().await;
    // An address that is none is not taken.
    let mut all = vec![
        new("email"),
        ("email".to_owned(), Intercom, FieldRefused, 1),
        new("name"),
        phone(FieldCleared, 1),
        phone(FieldWritten, 2),
    ];
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found = fields(store).await;
    found.sort_by(|one, other| (&one.0, one.2).cmp(&(&other.0, other.2)));
    all.sort_by(|one, other| (&one.0, one.2).cmp(&(&other.0, other.2)));
    assert_eq!(found, all);

    // What is written again unchanged is no news.
    world.keap.touch(id);
    worker.sync().await;
    let mut again = fields(store).await;
    again.sort_by(|one, other| (&one.0, one.2).cmp(&(&other.0, other.2)));
    assert_eq!(again, all);
}

#[sqlx::test]
async fn both_directions_count_on_their_own_side(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let store = &stage.worker.store;
    let (written, fresh) = (counted(store, Keap, Written).await, counted(store, Keap, Fresh).await);
    assert_eq!((written, fresh), (0, 0));

    stage.edit_plan_in_intercom("silver", 600);
    stage.settle().await;

    assert_eq!(stage.plan_in_keap(), "silver");
    assert_eq!(counted(store, Keap, Written).await, 1);
    assert_eq!(counted(store, Keap, Fresh).await, 1);
    let plan = fields(store).await.into_iter().filter(|(field, side, _, _)| {
        ["custom:Plan", "plan"].contains(&field.as_str()) && *side == Keap
    });
    assert_eq!(
        plan.map(|(_, _, counted, count)| (counted, count)).collect::<Vec<_>>(),
        [(FieldWritten, 1)]
    );

    // Edited on both sides: the later edit counts, and the side that gets it counts the conflict.
    stage.edit_plan_in_keap("bronze");
    stage.edit_plan_in_intercom("tin", 1200);
    stage.settle().await;
    let conflicts: Vec<_> = fields(store)
        .await
        .into_iter()
        .filter(|(_, _, counted, _)| *counted == FieldConflict)
        .collect();
    assert_eq!(conflicts.iter().map(|(_, _, _, count)| count).sum::<i64>(), 1, "{conflicts:?}");
}

#[sqlx::test]
async fn the_time_of_a_change_is_counted_and_that_of_a_walk_is_not(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    let store = &worker.store;
    // The first walk brings everybody, however old the contacts are.
    worker.sync().await;
    let before = counted(store, Intercom, Fresh).await;
    worker.backfill().await;
    assert_eq!(counted(store, Intercom, Fresh).await, before);

    world.keap.edit(id, |person| person.family_name = Some("Edited".into()));
    worker.sync().await;

    assert_eq!(counted(store, Intercom, Fresh).await, before + 1);
    let (_, rows) = store.tallies(Span::Hours).await.unwrap();
    let within = rows.iter().filter(|row| row.counted == Fresh).filter_map(|row| row.within);
    assert!(within.max().is_some_and(|within| within <= 300), "{rows:?}");

    // What a person asks for may be old.
    world.keap.edit(id, |person| person.family_name = Some("Asked".into()));
    worker.request(&[id]).await;
    assert_eq!(counted(store, Intercom, Fresh).await, before + 1);
}

/// Counters as they stand: how long ago, in hours, and how many.
async fn put(pool: &PgPool, rows: &[(i32, i64)]) {
    for (hours, count) in rows {
        let sql = "insert into sync_tally (since, side, what, count)
                   values (date_trunc('hour', now() at time zone 'UTC') at time zone 'UTC' - make_interval(hours => $1), 'intercom', 'written', $2)";
        sqlx::query(sql).bind(hours).bind(count).execute(pool).await.unwrap();
    }
}

#[sqlx::test]
async fn hours_are_added_up_to_days_and_old_days_go(pool: PgPool) {
    let world = World::with_people(pool, 0).await;
    let worker = world.worker().await;
    let store = &worker.store;
    put(
        &world.pool,
        &[(0, 1), (1, 2), (50, 10), (75, 20), (76, 30), (24 * 29 + 1, 40), (24 * 40, 99)],
    )
    .await;
    let sums = async |span| {
        let (_, rows) = store.tallies(span).await.unwrap();
        let written = rows.into_iter().filter(|row| row.counted == Written);
        written.map(|row| row.count).sum::<i64>()
    };
    let rows = async || -> i64 {
        sqlx::query_scalar("select count(*) from sync_tally where what = 'written'")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    let before = (sums(Span::Hours).await, sums(Span::Days).await);
    assert_eq!(before.0, 3);
    assert!([63, 103].contains(&before.1), "the 29th day before may have begun later: {before:?}");

    let keep = Keep { log_rows: None, runs: None };
    for _ in 0..2 {
        delete_old(keep, &worker.store, &worker.held_lease()).await.unwrap();
        assert_eq!((sums(Span::Hours).await, sums(Span::Days).await), before, "nothing is lost");
    }
    // What comes to a day that has been added up counts on.
    put(&world.pool, &[(74, 5)]).await;
    delete_old(keep, &worker.store, &worker.held_lease()).await.unwrap();
    assert_eq!(sums(Span::Days).await, before.1 + 5);
    // Of the two hours that may lie on one day, one row is left; the oldest is gone.
    assert!((5..=7).contains(&rows().await), "{}", rows().await);
    let midnights: i64 = sqlx::query_scalar(
        "select count(*) from sync_tally where since < now() - interval '2 days' and since <> date_trunc('day', since at time zone 'UTC') at time zone 'UTC'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(midnights, 0);
}

#[sqlx::test]
async fn decisions_that_have_ended_are_deleted_and_those_in_force_stay(pool: PgPool) {
    let world = World::with_people(pool, 0).await;
    let worker = world.worker().await;
    let old = Utc::now() - TimeDelta::days(400);
    let put = async |id: i64, decision: &str, ended: Option<(chrono::DateTime<Utc>, &str)>| {
        let (at, how) = ended.unzip();
        sqlx::query(
            "insert into contact_decision (keap_contact_id, decision, reason, decided_by, decided_at, done_at, ended_at, ended_how)
             values ($1, $2, 'several_users', 'page', $3, $3, $4, $5)",
        )
        .bind(id)
        .bind(decision)
        .bind(old)
        .bind(at)
        .bind(how)
        .execute(&world.pool)
        .await
        .unwrap();
    };
    put(1, "ignore", None).await;
    put(2, "create", None).await;
    put(3, "ignore", Some((old, "taken_back"))).await;
    put(4, "retry", Some((old, "done"))).await;
    put(5, "create", Some((old, "void"))).await;
    put(6, "ignore", Some((Utc::now(), "taken_back"))).await;
    let kept = async || -> Vec<i64> {
        sqlx::query_scalar("select keap_contact_id from contact_decision order by 1")
            .fetch_all(&world.pool)
            .await
            .unwrap()
    };

    let for_ever = Keep { log_rows: None, runs: None };
    delete_old(for_ever, &worker.store, &worker.held_lease()).await.unwrap();
    assert_eq!(kept().await, [1, 2, 3, 4, 5, 6]);
    let keep = Keep { log_rows: Some(365 * DAY), runs: None };
    let deleted = delete_old(keep, &worker.store, &worker.held_lease()).await.unwrap();

    assert_eq!(deleted, Deleted { decisions: 3, ..Deleted::default() });
    assert_eq!(kept().await, [1, 2, 6]);
}
