//! What an operator needs at night: `explain` and `status --stale-after`. Also the deletion of old
//! rows, so that the tables do not fill up.

mod monitoring;

use std::time::{Duration, Instant};

use keap_intercom_sync::tasks::retention::{Deleted, Keep, delete_old};
use serde_json::Value;
use sqlx::PgPool;

use crate::process::{Process, caught_up, command, world};
use crate::sim::{Person, Seed};
use crate::world::{World, ann, keap_id, until};

const DAY: Duration = Duration::from_secs(86_400);

async fn explain(world: &World, id: i64) -> (String, Value) {
    let id = id.to_string();
    let text = command(world, &["explain", &id]).await.expect(0).stdout;
    let json = command(world, &["explain", &id, "--json"]).await.expect(0);
    (text, json.json())
}

#[sqlx::test(migrations = false)]
async fn explain_says_why_a_contact_is_or_is_not_in_intercom(pool: PgPool) {
    let world = world(pool, 1).await;
    let id = world.keap.ids()[0];

    let refused = command(&world, &["explain", &id.to_string()]).await;
    assert_eq!(refused.code(), Some(2), "no schema yet: {refused:?}");

    command(&world, &["migrate"]).await.expect(0);
    let (text, _) = explain(&world, id).await;
    assert!(text.contains("The first poll has not ended yet"), "{text}");
    assert!(text.contains("No daemon is running"), "{text}");

    world.sync().await;
    let user = world.user(id);
    let (text, json) = explain(&world, id).await;
    assert!(text.contains(&format!("It is in Intercom as {}.", user.id)), "{text}");
    assert!(text.contains("created"), "{text}");
    assert_eq!(json["link"]["intercomContactId"], user.id.as_str());
    assert_eq!(json["outcomes"][0]["action"], "created");
    assert!(json["outcomes"][0]["requestId"].is_string(), "{json}");
    assert!(json["next"].as_str().unwrap().starts_with("Nothing until it changes"));

    // A contact without an e-mail address is skipped, with the reason.
    let silent = world.keap.add(Person::named("Canary", "Canarysson"));
    world.sync().await;
    let (text, _) = explain(&world, silent).await;
    assert!(text.contains("It is not in Intercom: it was skipped."), "{text}");
    assert!(text.contains("no_email"), "{text}");

    // No contact has this id.
    let (text, json) = explain(&world, 999_999).await;
    assert!(text.contains("Nothing was ever recorded"), "{text}");
    assert_eq!(json["link"], Value::Null);
}

#[sqlx::test(migrations = false)]
async fn explain_reports_a_contact_that_is_gone_from_keap(pool: PgPool) {
    let mut world = world(pool, 3).await;
    world.set("SWEEP__BRAKE_PERCENT", 100);
    command(&world, &["migrate"]).await.expect(0);
    world.sync().await;
    let id = world.keap.ids()[1];
    let user = world.user(id).id;
    world.keap.delete(id);

    command(&world, &["sync", "--sweep"]).await.expect(0);
    let (text, json) = explain(&world, id).await;

    let verdict =
        format!("It is not in Intercom any more: Keap does not have it, and {user} was archived.");
    assert_eq!(json["verdict"], verdict.as_str(), "{text}");
    assert!(
        json["next"]
            .as_str()
            .unwrap()
            .starts_with("Nothing until it changes, or is back, in Keap."),
        "{text}"
    );
}

#[sqlx::test(migrations = false)]
async fn explain_shows_a_hold_with_its_candidates_and_a_retry_with_its_attempts(pool: PgPool) {
    let world = world(pool, 2).await;
    command(&world, &["migrate"]).await.expect(0);
    let ids = world.keap.ids();
    let hold = "insert into contact_hold (keap_contact_id, code, candidates) values ($1, 'several_users', $2)";
    sqlx::query(hold).bind(ids[0]).bind(vec!["aaa", "bbb"]).execute(&world.pool).await.unwrap();
    let retry = "insert into contact_due (keap_contact_id, reason, priority, due_at, attempts, last_error)
                 values ($1, 'retry', 2, now() + make_interval(secs => 600), 3, 'Intercom answered 500')";
    sqlx::query(retry).bind(ids[1]).execute(&world.pool).await.unwrap();

    let (text, json) = explain(&world, ids[0]).await;
    assert!(text.contains("it is held for a person"), "{text}");
    assert!(text.contains("several_users") && text.contains("aaa, bbb"), "{text}");
    assert!(text.contains(&format!("held retry {}", ids[0])), "{text}");
    assert_eq!(json["due"]["held"], true);

    let (text, _) = explain(&world, ids[1]).await;
    assert!(text.contains("after 3 of 8 attempts"), "{text}");
}

#[sqlx::test(migrations = false)]
async fn status_fails_when_no_poll_has_succeeded_for_too_long(pool: PgPool) {
    let mut world = world(pool, 1).await;
    world.set("POLL__SCHEDULE", "0 0 0 1 1 *");

    command(&world, &["migrate"]).await.expect(0);
    let never = command(&world, &["status", "--stale-after", "60"]).await.expect(1);
    assert!(never.stdout.contains("no poll has succeeded yet"), "{never:?}");

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    command(&world, &["status", "--stale-after", "60"]).await.expect(0);
    sqlx::query("update sync_cursor set polled_at = now() - interval '20 minutes'")
        .execute(&world.pool)
        .await
        .unwrap();
    let stale = command(&world, &["status", "--stale-after", "60", "--json"]).await.expect(1);
    assert_eq!(stale.json()["stale"], true);

    // The limit of the command takes the place of the setting.
    let fresh = command(&world, &["status", "--stale-after", "3600"]).await.expect(0);
    assert!(fresh.stdout.starts_with("working   yes"), "{fresh:?}");
    let late = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!((&late["stale"], &late["working"]), (&Value::Null, &false.into()));
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn explain_and_held_agree_since_when_a_contact_is_held(pool: PgPool) {
    let world = world(pool, 2).await;
    command(&world, &["migrate"]).await.expect(0);
    let id = world.keap.ids()[0];
    let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }
    world.sync().await;
    // Nothing looks at it again by itself, as where an archived contact stands in the way.
    sqlx::query("update contact_hold set held_at = now() - interval '3 days', recheck_at = null")
        .execute(&world.pool)
        .await
        .unwrap();
    let since = async || {
        let held = command(&world, &["held", "--json"]).await.expect(0).json();
        held[0]["since"].clone()
    };
    let before = since().await;

    let (text, json) = explain(&world, id).await;
    assert_eq!(json["due"]["heldSince"], before);
    assert_eq!(json["due"]["dueAt"], Value::Null, "it waits for a person, not for a time");
    assert!(text.contains("held      since ") && text.contains(", for 3 days"), "{text}");
    assert!(!text.contains(", next "), "{text}");

    // While a retry is due, the hold is still shown.
    command(&world, &["held", "retry", "--all"]).await.expect(0);
    let (text, json) = explain(&world, id).await;
    assert_eq!((&json["due"]["held"], &json["due"]["heldSince"]), (&false.into(), &before));
    assert!(text.contains("it is held since "), "{text}");

    command(&world, &["sync", &id.to_string()]).await.expect(1);
    assert_eq!(since().await, before, "a retry makes no old hold look new");
    assert_eq!(explain(&world, id).await.1["due"]["heldSince"], before);
}

/// Adds log rows, spread evenly over the last `days` days.
async fn fill(pool: &PgPool, rows: i64, days: i64) {
    sqlx::query(
        "insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at, created_at, action)
         select n::text, 'synced', 'keap_to_intercom', at, at, 'updated'
           from (select n, now() - make_interval(secs => $2 * 86400.0 * ($1 - n) / $1) as at from generate_series(1, $1) n) rows",
    )
    .bind(rows)
    .bind(days as f64)
    .execute(pool)
    .await
    .unwrap();
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn old_rows_are_deleted_and_young_ones_stay(pool: PgPool) {
    let world = World::with_people(pool, 1).await;

    world.sync().await;
    fill(&world.pool, 5_000, 100).await;
    sqlx::query("insert into sync_run (feed, reason, state, finished_at) values ('changed', 'schedule', 'done', now() - interval '99 days'), ('backfill', 'manual', 'requested', null)")
        .execute(&world.pool)
        .await
        .unwrap();
    let (log, runs) =
        (count(&world.pool, "keap_intercom_sync_logs").await, count(&world.pool, "sync_run").await);
    let worker = world.worker().await;
    let lease = worker.held_lease();
    let nothing = Keep { log_rows: None, runs: None };
    assert_eq!(delete_old(nothing, &worker.store, &lease).await.unwrap(), Deleted::default());

    let keep = Keep { log_rows: Some(50 * DAY), runs: Some(50 * DAY) };
    let Deleted { log_rows: rows, runs: ended, .. } =
        delete_old(keep, &worker.store, &lease).await.unwrap();
    assert!((2_499..=2_501).contains(&rows), "{rows}");
    assert_eq!(ended, 1);
    assert_eq!(count(&world.pool, "keap_intercom_sync_logs").await, log - rows as i64);
    assert_eq!(count(&world.pool, "sync_run").await, runs - 1);
    assert_eq!(delete_old(keep, &worker.store, &lease).await.unwrap(), Deleted::default());

    // A process without the lease deletes nothing.
    fill(&world.pool, 100, 100).await;
    worker.lease.send_replace(None);
    assert_eq!(delete_old(keep, &worker.store, &lease).await.unwrap(), Deleted::default());
}

#[sqlx::test]
async fn the_schedule_deletes_old_rows(pool: PgPool) {
    let mut world = World::with_people(pool, 1).await;
    world.set("RETENTION__SCHEDULE", "* * * * * *").set("RETENTION__LOG_DAYS", 50);
    fill(&world.pool, 2_500, 100).await;
    let daemon = world.daemon().await;
    until("the old rows are gone", async || {
        count(
            &world.pool,
            "keap_intercom_sync_logs where created_at < now() - interval '50 days 1 minute'",
        )
        .await
            == 0
    })
    .await;

    // Half of the rows are young, and the sync of the contact adds its own.
    assert!(count(&world.pool, "keap_intercom_sync_logs").await >= 1_250);
    daemon.stop().await.1.unwrap();
}

/// The number of whole scans of the log table, including those of the migrations, and the number of
/// entries that were read in its index by age. Postgres may count an open connection later.
async fn reads_of_the_log(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "select seq_scan, (select idx_tup_read from pg_stat_user_indexes where indexrelname = 'keap_intercom_sync_logs_created_at')
           from pg_stat_user_tables where relname = 'keap_intercom_sync_logs'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// F102: deleted rows stay in the index until a vacuum, and a vacuum cannot remove them while an
/// older snapshot is open, such as that of a backup.
#[sqlx::test]
async fn no_batch_reads_the_rows_that_earlier_batches_deleted(pool: PgPool) {
    let rows = 8_000;
    let world = World::with_people(pool, 1).await;
    fill(&world.pool, rows, 100).await;
    sqlx::query("analyze keap_intercom_sync_logs").execute(&world.pool).await.unwrap();
    let (whole_before, _) = reads_of_the_log(&world.pool).await;
    let mut backup = world.pool.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read")
        .execute(&mut *backup)
        .await
        .unwrap();
    let _snapshot = sqlx::query("select from contact_due").fetch_all(&mut *backup).await.unwrap();
    let worker = world.worker().await;
    let keep = Keep { log_rows: Some(DAY), runs: None };

    let deleted =
        delete_old(keep, &worker.store, &worker.held_lease()).await.unwrap().log_rows as i64;
    assert!(deleted > rows * 9 / 10, "{deleted}");

    worker.store.close(Duration::from_secs(5)).await;
    until("Postgres has counted the reads", async || {
        reads_of_the_log(&world.pool).await.1 >= deleted
    })
    .await;
    let (whole, entries) = reads_of_the_log(&world.pool).await;
    assert_eq!(whole, whole_before);
    assert!(entries < deleted * 2, "{entries} entries for {deleted} rows");
    backup.rollback().await.unwrap();
}

/// Also in a long log, and where the planner expects to find the rows of a contact early in the
/// index by age.
#[sqlx::test]
async fn a_look_at_a_contact_reads_its_own_log_rows_only(pool: PgPool) {
    let world = World::with_people(pool, 1).await;
    sqlx::query(
        "insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at, created_at)
         select (n % 20 + 1)::text, 'synced', 'keap_to_intercom', at, at
           from (select n, now() - make_interval(secs => n) as at from generate_series(1, 20000) n) rows",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query("analyze keap_intercom_sync_logs").execute(&world.pool).await.unwrap();
    let (whole_before, _) = reads_of_the_log(&world.pool).await;
    let store = world.store();

    for (id, is_logged) in [(7, true), (99_999, false)] {
        let id = keap_id(id);
        let explained = store.explain(id, 20).await.unwrap();
        let outcomes: Vec<_> = explained.outcomes.iter().map(|one| one.at).collect();
        assert_eq!(outcomes.len(), if is_logged { 20 } else { 0 });
        assert!(outcomes.is_sorted_by(|newer, older| newer > older));
        let log = store.explain(id, 10).await.unwrap().outcomes;
        assert_eq!(log.len(), if is_logged { 10 } else { 0 });
        assert!(log.iter().map(|entry| entry.at).eq(outcomes.into_iter().take(10)));
    }
    store.close(Duration::from_secs(5)).await;
    until("Postgres has counted the reads", async || {
        sqlx::query_scalar("select idx_tup_read >= 30 from pg_stat_user_indexes where indexrelname = 'idx_keap_intercom_sync_logs_keap_contact_id'")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    })
    .await;

    let (whole, entries) = reads_of_the_log(&world.pool).await;
    assert_eq!(whole, whole_before);
    assert!(entries < 100, "{entries}");
}

/// F102. To measure, set `RETENTION_ROWS` to a larger number of rows: the test prints the times.
#[sqlx::test]
async fn deleting_old_rows_does_not_delay_a_pass(pool: PgPool) {
    let rows: i64 = std::env::var("RETENTION_ROWS").map_or(40_000, |rows| rows.parse().unwrap());
    let world = World::with_people(pool, 300).await;
    fill(&world.pool, rows, 100).await;
    let worker = world.worker().await;
    let alone = Instant::now();
    worker.sync().await;
    let alone = alone.elapsed();
    for id in world.keap.ids() {
        world.keap.edit(id, |person| *person = ann().email(&format!("new.{id}@example.org")));
    }
    let keep = Keep { log_rows: Some(50 * DAY), runs: None };
    let (store, lease) = (worker.store.clone(), worker.held_lease());
    let deleting = tokio::spawn(async move {
        let started = Instant::now();
        (delete_old(keep, &store, &lease).await.unwrap().log_rows, started.elapsed())
    });

    let beside = Instant::now();
    let counts = worker.sync().await;
    let beside = beside.elapsed();
    assert_eq!(counts.updated, 300);
    let (deleted, took) = deleting.await.unwrap();
    assert!(deleted as i64 >= rows / 2 - 1, "{deleted}");

    println!(
        "{rows} log rows: a pass over 300 contacts took {alone:?}, and {beside:?} beside the deletion of {deleted} rows in {took:?}"
    );
    // Fails if the pass waits for the whole deletion. A busy machine allows no finer bound.
    assert!(beside < alone * 10 + Duration::from_secs(5));
    world.assert_agrees();
}

#[sqlx::test(migrations = false)]
async fn explain_works_beside_a_daemon_that_has_caught_up(pool: PgPool) {
    let world = world(pool, 3).await;
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;

    let (text, _) = explain(&world, world.keap.ids()[1]).await;

    assert!(text.contains("created") && !text.contains("No daemon"), "{text}");
    daemon.stop().await;
}
