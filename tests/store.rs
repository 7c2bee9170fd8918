//! The database: the original table, migrations over existing rows, roles with few rights, no
//! personal data in any column, and the lease as the condition of every write.

use std::collections::BTreeSet;
use std::time::Duration;

use keap_intercom_sync::app;
use keap_intercom_sync::feed::{Counts, Feed, RunReason};
use keap_intercom_sync::outcome::Action;
use keap_intercom_sync::store::{
    Counted, Group, IntentSide, LogRow, Recorded, SchemaState, Store, Tally,
};
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use crate::sim::{Fault, What};
use crate::world::{World, keap_id, migrations};

/// The log table of the former worker, with one row.
const FORMER_TABLE: &str = "
    create table keap_intercom_sync_logs (
        id uuid primary key default gen_random_uuid(),
        keap_contact_id text not null,
        intercom_contact_id text,
        sync_status text not null check (sync_status in ('pending', 'synced', 'failed', 'skipped')),
        sync_direction text not null check (sync_direction in ('keap_to_intercom', 'intercom_to_keap')),
        error_message text,
        synced_at timestamptz not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
    );
    create index idx_keap_intercom_sync_logs_keap_contact_id on keap_intercom_sync_logs (keap_contact_id);
    create index idx_keap_intercom_sync_logs_intercom_contact_id on keap_intercom_sync_logs (intercom_contact_id);
    create index idx_keap_intercom_sync_logs_sync_status on keap_intercom_sync_logs (sync_status);
    insert into keap_intercom_sync_logs (keap_contact_id, intercom_contact_id, sync_status, sync_direction, synced_at)
    values ('12345', 'abc', 'pending', 'keap_to_intercom', now());";

#[sqlx::test]
async fn the_log_table_has_the_original_columns_and_only_nullable_new_ones(pool: PgPool) {
    let columns = sqlx::query(
        "select column_name, data_type, is_nullable = 'YES', coalesce(column_default, '') from information_schema.columns
          where table_name = 'keap_intercom_sync_logs' order by ordinal_position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let columns: Vec<(String, String, bool, String)> =
        columns.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();

    let expected = [
        ("id", "uuid", false, "gen_random_uuid()"),
        ("keap_contact_id", "text", false, ""),
        ("intercom_contact_id", "text", true, ""),
        ("sync_status", "text", false, ""),
        ("sync_direction", "text", false, ""),
        ("error_message", "text", true, ""),
        ("synced_at", "timestamp with time zone", false, ""),
        ("created_at", "timestamp with time zone", false, "now()"),
        ("updated_at", "timestamp with time zone", false, "now()"),
    ];
    for (column, expected) in columns.iter().zip(expected) {
        assert_eq!((column.0.as_str(), column.1.as_str(), column.2, column.3.as_str()), expected);
    }
    assert!(
        columns[expected.len()..].iter().all(|column| column.2 && column.3.is_empty()),
        "new columns are nullable: {columns:?}"
    );

    for (status, direction, allowed) in [
        ("pending", "keap_to_intercom", true),
        ("synced", "intercom_to_keap", true),
        ("failed", "keap_to_intercom", true),
        ("skipped", "keap_to_intercom", true),
        ("done", "keap_to_intercom", false),
        ("synced", "sideways", false),
    ] {
        let inserted = sqlx::query("insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at) values ('1', $1, $2, now())")
            .bind(status)
            .bind(direction)
            .execute(&pool)
            .await;
        assert_eq!(inserted.is_ok(), allowed, "{status} {direction}");
    }
    let indexes: BTreeSet<String> = sqlx::query_scalar(
        "select indexdef from pg_indexes where tablename = 'keap_intercom_sync_logs'",
    )
    .fetch_all(&pool)
    .await
    .unwrap()
    .into_iter()
    .collect();
    for column in ["keap_contact_id", "intercom_contact_id", "sync_status"] {
        assert!(indexes.iter().any(|index| index.ends_with(&format!("({column})"))), "{indexes:?}");
    }
}

fn store(pool: &PgPool) -> Store {
    Store::from_pool(pool.clone())
}

#[sqlx::test(migrations = false)]
async fn the_table_of_the_former_worker_is_kept_with_its_rows(pool: PgPool) {
    sqlx::raw_sql(FORMER_TABLE).execute(&pool).await.unwrap();
    let world = World::new(pool).await;
    assert_eq!(world.store().schema_state().await.unwrap(), SchemaState::Behind(migrations()));
    assert_eq!(world.store().migrate().await.unwrap(), migrations());
    assert_eq!(world.store().schema_state().await.unwrap(), SchemaState::Current);

    let id = world.keap.add(crate::world::ann());
    world.sync().await;
    let lines = world.log().await;
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines.iter().map(|line| line.keap_contact_id.clone()).collect::<BTreeSet<_>>(),
        BTreeSet::from(["12345".into(), id.to_string()])
    );
}

// F95
#[sqlx::test(migrations = false)]
async fn of_many_processes_that_migrate_at_once_one_does_it_and_the_others_wait(pool: PgPool) {
    let world = World::new(pool).await;

    let applied = futures_util::future::join_all(
        (0..6).map(|_| async { world.store().migrate().await.unwrap() }),
    )
    .await;

    assert_eq!(applied.iter().sum::<usize>(), migrations(), "{applied:?}");
    assert_eq!(world.store().migrate().await.unwrap(), 0);
}

// F94
#[sqlx::test]
async fn a_newer_database_is_refused_with_the_remedy(pool: PgPool) {
    sqlx::query("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '', 0)").execute(&pool).await.unwrap();
    assert_eq!(store(&pool).schema_state().await.unwrap(), SchemaState::Newer);

    let error = store(&pool).migrate().await.unwrap_err();
    assert!(error.to_string().contains("install that version"), "{error}");
}

// F95
#[sqlx::test(migrations = false)]
async fn a_migration_that_fails_leaves_nothing_behind(pool: PgPool) {
    // This table makes the second migration fail.
    sqlx::raw_sql("create table sync_run (id int)").execute(&pool).await.unwrap();

    let error = store(&pool).migrate().await.unwrap_err();
    assert!(error.to_string().contains("a migration failed"), "{error}");
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(tables, ["sync_run"]);

    sqlx::raw_sql("drop table sync_run").execute(&pool).await.unwrap();
    assert_eq!(store(&pool).migrate().await.unwrap(), migrations());
}

#[sqlx::test]
async fn a_role_without_ddl_rights_is_enough_after_the_migrations(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    let role = format!("app_{}", uuid::Uuid::new_v4().simple());
    let grants = format!(
        "create role {role} login;
         revoke create on schema public from public;
         grant usage on schema public to {role};
         grant select, insert, update, delete on keap_intercom_sync_logs, contact_link, contact_due, sync_cursor, sync_run, sync_lease, sync_batch, keap_hook, sweep_candidate, contact_hold, former_link, sync_mapping, contact_intent, mapping_state, tag_cursor, intercom_cursor, scope_brake, intercom_due, create_brake, contact_decision, sync_pause, sync_tally, erasure, erased_email, alarm, alarm_message, alarm_target, sync_plan, plan_contact, plan_count to {role};
         grant select on _sqlx_migrations, contact_held to {role};"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&world.pool).await.unwrap();
    let mut url: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    url.set_username(&role).unwrap();
    let url = url.to_string();
    world.set("DATABASE_URL", url);

    assert_eq!(
        world.store().missing_rights().await.unwrap(),
        ["sync_digest_key"],
        "a missing right is named"
    );

    sqlx::raw_sql(AssertSqlSafe(format!("grant select on sync_digest_key to {role}")))
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(world.store().missing_rights().await.unwrap().is_empty());
    assert!(!world.store().may_migrate().await.unwrap());
    assert!(store(&world.pool).may_migrate().await.unwrap());

    app::prepare_database(&world.store(), keap_intercom_sync::config::Migrate::Auto).await.unwrap();
    world.sync().await;
    world.assert_agrees();

    sqlx::raw_sql(AssertSqlSafe(format!("grant create on schema public to {role}")))
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(!world.store().may_migrate().await.unwrap(), "the tables belong to another role");

    sqlx::raw_sql(AssertSqlSafe(format!("drop owned by {role}; drop role {role}")))
        .execute(&world.pool)
        .await
        .unwrap();
}

// S16
#[sqlx::test]
async fn no_column_holds_personal_data(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    let held = world.keap.add(
        crate::sim::Person::named("Canaryname", "Canaryfamily")
            .email("canary.person@example.org")
            .phone("555-CANARY", Some("+15550199")),
    );
    let refusal = r#"{"type":"error.list","errors":[{"code":"parameter_invalid","message":"canary.person@example.org is bad"}]}"#;
    world.intercom.fault(
        Fault::on("create").key(held.to_string()).always().what(What::Status(400, refusal.into())),
    );
    world.intercom.fault(
        Fault::on("create")
            .key("9")
            .times(2)
            .what(What::Status(500, "canary.person@example.org".into())),
    );
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;
    world.only_held(held).await;
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(tables.len() >= 8, "{tables:?}");

    let mut canaries = vec!["canary".to_owned(), "+15550199".into(), "@example".into()];
    for id in [1, 9, 30] {
        let person = world.keap.person(id).unwrap();
        canaries.push(person.first_email().unwrap().to_lowercase());
    }
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select row_to_json(t)::text from \"{table}\" t"
        )))
        .fetch_all(&world.pool)
        .await
        .unwrap();
        for row in rows {
            let row = row.to_lowercase();
            assert!(
                canaries.iter().all(|canary| !row.contains(canary.as_str())),
                "{table} holds personal data: {row}"
            );
        }
    }
}

// S19
#[sqlx::test]
async fn a_process_that_lost_the_lease_records_nothing(pool: PgPool) {
    let world = World::with_people(pool, 10).await;
    let worker = world.worker().await;
    // Another process takes over the lease, and this one does not know it yet.
    sqlx::query("update sync_lease set epoch = epoch + 1, holder = 'another'")
        .execute(&world.pool)
        .await
        .unwrap();

    let halt = worker.try_sync().await.unwrap_err();

    assert!(matches!(halt, keap_intercom_sync::sync::Halt::LeaseLost), "{halt}");
    assert_eq!(world.log().await.len(), 0);
    assert_eq!(world.writes(), 0, "the first record of the pass is refused, before any write");
}

// S19
#[sqlx::test]
async fn no_write_begins_after_the_lease_has_ended(pool: PgPool) {
    let world = World::with_people(pool, 50).await;
    let worker = world.worker().await;
    // The lease ends while the searches are under way.
    let lease = worker.lease.clone();
    world.intercom.fault(Fault::on("search").nth(1).what(What::run(move |_| {
        lease.send_replace(None);
    })));

    assert!(worker.try_sync().await.is_err());
    assert_eq!(world.writes(), 0);
}

// F90
#[sqlx::test]
async fn no_write_begins_after_a_lease_that_nobody_could_renew(pool: PgPool) {
    let world = World::with_people(pool, 50).await;
    let worker = world.worker().await;
    // The time of the lease is over, and whoever renews it says nothing.
    let lease = worker.lease.clone();
    world.intercom.fault(Fault::on("search").nth(1).what(What::run(move |_| {
        lease.send_modify(|held| {
            held.as_mut().unwrap().valid_until = tokio::time::Instant::now();
        });
    })));

    assert!(worker.try_sync().await.is_err());
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn a_contact_that_postgres_refuses_is_held_alone(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    // A constraint that an operator added and that one contact violates.
    sqlx::raw_sql(
        "alter table contact_link add constraint nobody_is_13 check (keap_contact_id <> 13)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let worker = world.worker().await;

    worker.sync().await;

    let held = world.only_held(13).await;
    assert!(held.reason.contains("Postgres refuses"), "{}", held.reason);
    let linked: i64 = world.store().count_linked().await.unwrap();
    assert_eq!(linked, 29);
}

#[sqlx::test]
async fn a_statement_that_waits_for_a_lock_ends_at_its_time_limit(pool: PgPool) {
    let mut world = World::with_people(pool, 5).await;
    world.set("DATABASE__STATEMENT_TIMEOUT_MS", "200");
    let store = world.store();
    let mut blocker = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_due in access exclusive mode")
        .execute(&mut *blocker)
        .await
        .unwrap();

    let started = tokio::time::Instant::now();
    assert!(store.count_due().await.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(10));
    blocker.rollback().await.unwrap();
    assert_eq!(store.count_due().await.unwrap(), (0, 0));
}

// F89
#[sqlx::test]
async fn writes_that_wait_for_a_limit_are_dropped_when_the_lease_ends(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    world.sync().await;
    world.intercom.knobs(|knobs| (knobs.limit, knobs.window_secs) = (Some(10), 1));
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some("Waits".into());
    });
    world.intercom.clear_ledger();
    let worker = world.worker().await;
    // By then all sixty writes have begun and wait for the limit.
    let lease = worker.lease.clone();
    world.intercom.fault(Fault::on("update").nth(15).what(What::run(move |_| {
        lease.send_replace(None);
    })));

    assert!(worker.try_sync().await.is_err());
    let made = world.intercom.count("update");
    assert!((15..=25).contains(&made), "{made} writes: none may begin after those under way");
}

// F6
#[sqlx::test]
async fn outcomes_that_are_recorded_again_count_once(pool: PgPool) {
    let store = Store::from_pool(pool.clone());
    let lease = store.take_lease("a process", Duration::from_secs(60), None).await.unwrap();
    let fence = lease.unwrap().fence().unwrap();
    let run = store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    let log = LogRow {
        id: Uuid::new_v4(),
        keap: keap_id(7),
        intercom: None,
        action: Action::Created,
        reason: None,
        to_keap: false,
        feed: Feed::Backfill,
        run_id: Some(run),
        request_id: None,
        conflicts: None,
    };
    let counts = Counts { seen: 1, created: 1, ..Counts::default() };
    let mut tally = Tally::default();
    tally.one(IntentSide::Intercom, Counted::Written);
    let outcome = Recorded { log: Some(log), counts, tally, ..Recorded::new(keap_id(7)) };
    let calls = Tally::calls(3, 0);
    let group = Group { run: Some(run), tally: calls, ..Group::of(vec![outcome]) };

    // The answer to the first commit is lost.
    store.record(&fence, &group).await.unwrap();
    store.record(&fence, &group).await.unwrap();

    let recorded: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from keap_intercom_sync_logs), sum(created)::bigint, (select sum(count)::bigint from sync_tally) from sync_run",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(recorded, (1, 1, 1 + 3));
}
