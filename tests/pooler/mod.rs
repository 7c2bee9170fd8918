//! A pooler in transaction mode between the program and Postgres: everything works, nothing is left
//! in the pooler's sessions, and nobody has to set anything (F91).
//!
//! `tests/pooler.test` runs the last test with a real PgBouncer.

mod pgbouncer;
pub(crate) mod stand_in;

use std::collections::BTreeSet;

use sqlx::{Connection, Executor, PgConnection, PgPool, Row};

use self::stand_in::{Options, start, watched};
use crate::process::{HOLDS, Process, STANDS_BY, canary, caught_up, command, world};
use crate::sim::Fault;
use crate::world::{World, migrations, until};

const POOLED: &str = "A pooler stands between this program and Postgres.";

/// Longer than any test waits: a process that takes over has not waited for the end of the lease.
const LONG: u32 = 300;

/// A database without tables behind a pooler, and twenty people in Keap.
async fn pooled_world(pool: PgPool, options: Options) -> World {
    let mut world = world(pool, 20).await;
    let pooled = start(&world.env["DATABASE_URL"], options).await;
    world.set("DATABASE_URL", pooled);
    world
}

/// The whole life: a schema, two daemons, every command, a kill in the middle, a take-over, a stop.
async fn a_whole_life(world: &mut World) {
    world.set("LEASE__TTL_SECONDS", LONG).set("SYNC__RECORD_GROUP", 5);
    let applied = command(world, &["migrate"]).await.expect(0).stdout;
    assert_eq!(applied, format!("{} migration(s) applied.\n", migrations()));
    command(world, &["check"]).await.expect(0);

    let first = Process::leader(world).await;
    caught_up(world).await;
    let mut second = Process::daemon(world);
    second.says(STANDS_BY).await;
    for id in 1..=5 {
        world.keap.edit(id, |person| person.family_name = Some("Canaryedited".into()));
    }
    caught_up(world).await;
    for arguments in [
        &["status"] as &[&str],
        &["status", "--json"],
        &["held"],
        &["held", "retry", "--all"],
        &["explain", "1"],
        &["sync", "1", "2", "3"],
        &["sync", "--changed"],
        &["sync", "--all"],
        &["sync", "--sweep"],
        &["sync", "--all", "--dry-run"],
        &["check"],
    ] {
        command(world, arguments).await.expect(0);
    }

    let dies = first.target().dies_after();
    world.intercom.fault(Fault::on("create").nth(12).what(dies));
    world.keap.add_many(30, |n| canary(500 + n));
    first.died().await;
    second.says(HOLDS).await;
    caught_up(world).await;
    let ended = second.stop().await;
    assert!(ended.stderr.contains(POOLED), "{ended:#?}");
    command(world, &["status"]).await.expect(1);
    assert_eq!(world.intercom.live_users().len(), world.keap.len());
    world.assert_agrees();
}

/// The statements under a name in the pooler's sessions. It takes turns, or lends the last one.
async fn named_statements(world: &World) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut one = PgConnection::connect_with(&plain(&world.env["DATABASE_URL"])).await.unwrap();
    let mut other = PgConnection::connect_with(&plain(&world.env["DATABASE_URL"])).await.unwrap();
    for connection in [&mut one, &mut other] {
        connection.execute("begin").await.unwrap();
        for row in connection.fetch_all("select name from pg_prepared_statements").await.unwrap() {
            names.insert(row.get::<String, _>(0));
        }
    }
    // Both transactions were open at once, so they had both sessions.
    one.execute("commit").await.unwrap();
    other.execute("commit").await.unwrap();
    names
}

/// The address for the library itself, which sends settings that poolers refuse.
fn plain(url: &str) -> sqlx::postgres::PgConnectOptions {
    url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None)
}

#[sqlx::test(migrations = false)]
async fn everything_works_behind_a_pooler_that_refuses_settings(pool: PgPool) {
    let mut world = pooled_world(pool, Options::Refused).await;
    a_whole_life(&mut world).await;
    assert_eq!(named_statements(&world).await, BTreeSet::new());
}

#[sqlx::test(migrations = false)]
async fn everything_works_behind_a_pooler_that_ignores_settings(pool: PgPool) {
    let mut world = pooled_world(pool, Options::Ignored).await;
    a_whole_life(&mut world).await;
    assert_eq!(named_statements(&world).await, BTreeSet::new());
}

#[sqlx::test(migrations = false)]
async fn statements_that_another_program_left_in_the_poolers_sessions_do_no_harm(pool: PgPool) {
    let mut world = pooled_world(pool, Options::Ignored).await;
    world.set("DATABASE__PREPARED_STATEMENTS", "false");
    let options = plain(&world.env["DATABASE_URL"]);
    for _ in 0..2 {
        let mut other = PgConnection::connect_with(&options).await.unwrap();
        let mut transaction = other.begin().await.unwrap();
        let two: i32 =
            sqlx::query_scalar("select 1 + $1").bind(1).fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(two, 2);
        transaction.commit().await.unwrap();
    }
    assert_eq!(named_statements(&world).await, BTreeSet::from(["sqlx_s_1".into()]));

    a_whole_life(&mut world).await;

    // The kill may end a session in the middle of a transaction, and the pooler opens another one.
    let left = named_statements(&world).await;
    assert!(left.is_subset(&BTreeSet::from(["sqlx_s_1".into()])), "{left:?}");
}

#[sqlx::test(migrations = false)]
async fn the_schema_of_an_account_is_used_behind_a_pooler_that_passes_no_settings_on(pool: PgPool) {
    for (options, schema) in [(Options::Refused, "acme"), (Options::Ignored, "other account")] {
        let mut world = world(pool.clone(), 5).await;
        let create = format!("create schema \"{schema}\"");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&world.pool).await.unwrap();
        let mut url = start(&world.env["DATABASE_URL"], options).await;
        url.query_pairs_mut().append_pair("options[search_path]", &format!("\"{schema}\""));
        world.set("DATABASE_URL", url);

        command(&world, &["sync", "--all"]).await.expect(0);
        let mut daemon = Process::daemon(&world);
        daemon.says(HOLDS).await;
        let sql = "select count(*) from pg_tables where schemaname = $1 and tablename = 'sync_run'";
        let count = async |schema: &str| -> i64 {
            sqlx::query_scalar(sql).bind(schema).fetch_one(&world.pool).await.unwrap()
        };
        until("the daemon renews its lease there", async || {
            let sql = format!(
                "select expires_at > acquired_at + interval '7 s' from \"{schema}\".sync_lease"
            );
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&world.pool).await.unwrap()
        })
        .await;
        daemon.stop().await;

        assert_eq!((count(schema).await, count("public").await), (1, 0), "{options:?}");
        world.assert_agrees();
    }
}

#[sqlx::test]
async fn on_a_direct_connection_statements_are_prepared_once_and_do_not_pile_up(pool: PgPool) {
    for (setting, has_names) in [("true", true), ("false", false)] {
        let mut world = world(pool.clone(), 20).await;
        let direct = world.env["DATABASE_URL"].clone();
        let (address, statements) = watched(&direct).await;
        world
            .set("DATABASE_URL", address)
            .set("DATABASE__PREPARED_STATEMENTS", setting)
            .set("DATABASE__MAX_CONNECTIONS", 2);

        let daemon = Process::leader(&world).await;
        for turn in 0..5 {
            let name = format!("Canary{turn}{setting}");
            world
                .keap
                .bulk_edit(world.keap.ids(), |person| person.family_name = Some(name.clone()));
            caught_up(&world).await;
        }
        assert!(!daemon.stop().await.stderr.contains(POOLED));

        let seen = statements.lock().unwrap().clone();
        let named = seen.iter().filter(|one| one.len() > 1 && one.starts_with('+')).count();
        let unnamed = seen.iter().filter(|one| *one == "+").count();
        if has_names {
            assert_eq!(unnamed, 0, "{seen:?}");
            // Two connections, and one more where a step had closed one. The daemon has run some
            // hundreds of statements by then.
            assert!((10..250).contains(&named), "{named} statements: {seen:?}");
        } else {
            assert_eq!(named, 0, "{seen:?}");
            assert!(unnamed > 30, "{seen:?}");
        }
    }
}
