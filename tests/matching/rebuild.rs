//! A database that was lost, or restored from a dump.

use keap_intercom_sync::feed::Feed;
use sqlx::PgPool;

use crate::sim::people::{self, Shape};
use crate::world::{World, ann};

/// The tables that a dump contains, and that a lost database no longer has.
const STATE: [&str; 8] = [
    "contact_link",
    "contact_due",
    "contact_hold",
    "former_link",
    "sync_cursor",
    "sync_run",
    "sweep_candidate",
    "keap_intercom_sync_logs",
];

#[sqlx::test]
async fn a_lost_database_is_rebuilt_by_matching_without_a_second_contact(pool: PgPool) {
    let world = World::with_people(pool, 120).await;
    world.sync().await;
    for table in STATE {
        sqlx::query(sqlx::AssertSqlSafe(format!("truncate {table}")))
            .execute(&world.pool)
            .await
            .unwrap();
    }
    // A new database also has another key.
    sqlx::query("update sync_digest_key set key = sha256(key)").execute(&world.pool).await.unwrap();
    world.intercom.clear_ledger();
    let worker = world.worker().await;

    let counts = worker.sync().await;

    assert_eq!((counts.linked, counts.created), (120, 0), "{counts:?}");
    world.assert_agrees();
    assert!(world.store().cursor(Feed::Changed).await.unwrap().is_some());
}

#[sqlx::test]
async fn a_restored_dump_catches_up_without_a_second_contact(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    world.sync().await;
    let run = async |statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
    };
    for table in STATE {
        run(format!("create table dump_of_{table} as table {table}")).await;
    }

    // After the dump: contacts are added, are changed and get another e-mail.
    let new: Vec<i64> =
        (0..20).map(|n| world.keap.add(people::invented(900_000 + n, Shape::default()))).collect();
    for id in 1..=20 {
        world.keap.edit(id, |person| person.given_name = Some("Renamed".into()));
    }
    world.keap.edit(21, |person| *person = ann().email("another@example.com"));

    world.sync().await;
    world.assert_agrees();

    let users = world.intercom.count_users(|_| true);

    // The dump is restored. Meanwhile one of the new contacts has changed again.
    for table in STATE {
        run(format!("truncate {table}")).await;
        run(format!("insert into {table} select * from dump_of_{table}")).await;
    }
    world.keap.edit(new[3], |person| person.given_name = Some("Later".into()));
    world.intercom.reindex_now();
    let counts = world.worker().await.sync().await;
    assert_eq!(
        (counts.created, counts.linked, counts.held, counts.failed),
        (0, 20, 0, 0),
        "{counts:?}"
    );
    world.assert_agrees();
    assert_eq!(world.intercom.count_users(|_| true), users);
}
