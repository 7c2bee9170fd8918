//! Many accounts on one database: a schema and a process each.

use sqlx::PgPool;

use crate::process::{HOLDS, Process, canary, world};
use crate::sim::verify::verify;
use crate::world::{World, until};

/// Points a world at the same database with another search path.
fn set_search_path(world: &mut World, search_path: &str) {
    let mut url: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    url.query_pairs_mut().append_pair("options[search_path]", search_path);
    world.set("DATABASE_URL", url);
}

async fn rows(pool: &PgPool, schema: &str, table: &str) -> i64 {
    let sql = format!("select count(*) from {schema}.{table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = false)]
async fn three_accounts_on_one_database_do_not_see_each_other(pool: PgPool) {
    let accounts = [("acme", 3), ("bolt", 5), ("core", 7)];
    let mut worlds = Vec::new();
    for (schema, people) in accounts {
        sqlx::query(sqlx::AssertSqlSafe(format!("create schema {schema}")))
            .execute(&pool)
            .await
            .unwrap();
        let mut world = world(pool.clone(), people).await;
        set_search_path(&mut world, schema);
        worlds.push(world);
    }
    // They start together, so they migrate at the same time. Each gets its own lease.
    let mut daemons: Vec<_> = worlds.iter().map(Process::daemon).collect();
    for daemon in &mut daemons {
        daemon.says(HOLDS).await;
    }

    for ((schema, people), world) in accounts.iter().zip(&worlds) {
        until("everybody is recorded", async || {
            verify(&world.keap, &world.intercom).agrees()
                && rows(&pool, schema, "contact_link").await == *people as i64
        })
        .await;
        assert_eq!(rows(&pool, schema, "keap_intercom_sync_logs").await, *people as i64);
        assert_eq!(rows(&pool, schema, "sync_lease").await, 1);
        assert_eq!(world.intercom.count("create"), *people);
    }

    // The ids are the same in all accounts, and a change in one account stays there.
    let id = worlds[0].keap.ids()[0];
    worlds[0].keap.edit(id, |person| *person = canary(99));
    until("the change is in Intercom", async || {
        verify(&worlds[0].keap, &worlds[0].intercom).agrees()
            && worlds[0].intercom.count("update") == 1
    })
    .await;
    assert_eq!(worlds[1].intercom.count("update") + worlds[2].intercom.count("update"), 0);
    for daemon in daemons {
        daemon.stop().await;
    }
    let public: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(public, 0);
}

#[sqlx::test]
async fn tables_of_a_later_schema_in_the_search_path_are_not_used(pool: PgPool) {
    sqlx::query("create schema acme").execute(&pool).await.unwrap();
    let mut world = World::with_people(pool.clone(), 2).await;
    set_search_path(&mut world, "acme,public");

    world.store().migrate().await.unwrap();
    world.sync().await;
    assert_eq!(rows(&pool, "acme", "contact_link").await, 2);
    assert_eq!(rows(&pool, "public", "contact_link").await, 0);

    set_search_path(&mut world, "nowhere");
    let error = world.store().migrate().await.unwrap_err().to_string();
    assert!(error.contains("create schema"), "{error}");
}
