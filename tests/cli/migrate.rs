//! `migrate`, and what the other commands do with a database that is not migrated.

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Process, caught_up, command, world};
use crate::world::{migrations, until};

#[sqlx::test(migrations = false)]
async fn a_second_migrate_changes_nothing(pool: PgPool) {
    let world = quiet_world(pool, 0).await;

    let first = command(&world, &["migrate"]).await.expect(0);
    assert_eq!(first.stdout, format!("{} migration(s) applied.\n", migrations()));

    let second = command(&world, &["migrate"]).await.expect(0);
    assert_eq!(second.stdout, "The database is up to date.\n");
}

// F95
#[sqlx::test(migrations = false)]
async fn processes_that_migrate_at_the_same_time_do_not_clash(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let processes: Vec<_> = (0..3).map(|_| Process::start(&world, &["migrate"])).collect();
    let mut outputs = Vec::new();
    for process in processes {
        outputs.push(process.ended().await.expect(0).stdout);
    }
    outputs.sort();

    assert_eq!(
        outputs,
        [
            &format!("{} migration(s) applied.\n", migrations()),
            "The database is up to date.\n",
            "The database is up to date.\n"
        ]
    );
}

#[sqlx::test(migrations = false)]
async fn a_daemon_that_may_not_migrate_names_the_remedy(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    world.set("DATABASE__MIGRATE", "refuse");

    let ended = command(&world, &["run"]).await.expect(2);
    assert!(
        ended.stderr.contains(&format!(
            "{} migration(s) are missing; run `keap-intercom-sync migrate`",
            migrations()
        )),
        "{ended:#?}"
    );

    let ended = command(&world, &["status"]).await.expect(2);
    assert!(ended.stderr.contains("run `keap-intercom-sync migrate`"), "{ended:#?}");

    // A dry run never migrates.
    world.set("DATABASE__MIGRATE", "auto");
    let ended = command(&world, &["sync", "--all", "--dry-run"]).await.expect(2);
    assert!(ended.stderr.contains("keap-intercom-sync migrate"), "{ended:#?}");
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(tables, 0);

    command(&world, &["migrate"]).await.expect(0);
    world.set("DATABASE__MIGRATE", "refuse");
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn run_alone_turns_an_empty_database_into_a_working_sync(pool: PgPool) {
    let world = world(pool, 5).await;
    let daemon = Process::daemon(&world);
    until("everybody is in Intercom", async || world.intercom.live_users().len() == 5).await;
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn a_database_of_a_newer_version_is_refused(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    sqlx::query("update _sqlx_migrations set version = 9999 where version = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    for arguments in [["run"], ["migrate"]] {
        let ended = command(&world, &arguments).await.expect(2);
        assert!(ended.stderr.contains("newer"), "{ended:#?}");
    }
}
