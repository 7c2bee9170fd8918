//! A machine and a database that refuse single steps.

use std::process::Stdio;

use sqlx::{AssertSqlSafe, PgPool};
use tokio::net::TcpStream;

use super::{PEOPLE, assert_each_is_logged, assert_whole, everybody_changes, small_steps};
use crate::process::{HOLDS, Process, caught_up};

/// Ways in which Postgres ends a transaction that would work a moment later.
const PASSING: [(&str, &str); 3] = [
    ("serialization_failure", "40001"),
    ("deadlock_detected", "40P01"),
    ("query_canceled", "57014"),
];

// F85
#[sqlx::test]
async fn a_transaction_that_postgres_ends_is_repeated_alone(pool: PgPool) {
    let world = small_steps(pool).await;
    for (name, code) in PASSING {
        // The record of every seventh contact fails twice. A sequence counts also what is rolled
        // back.
        let sql = format!(
            "drop trigger if exists fails on contact_link;
             drop sequence if exists failures;
             create sequence failures;
             create or replace function fails() returns trigger language plpgsql as $$
             begin
                 if new.keap_contact_id % 7 = 2 and nextval('failures') <= 8 then
                     raise exception 'on purpose' using errcode = '{code}';
                 end if;
                 return new;
             end $$;
             create trigger fails before insert or update on contact_link for each row execute function fails()"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
        everybody_changes(&world, &format!("Canary{code}"));
        world.intercom.clear_ledger();

        let daemon = Process::daemon(&world);
        caught_up(&world).await;
        daemon.stop().await;

        assert_whole(&world).await;
        assert_eq!(world.writes(), PEOPLE, "{name}: no call is repeated for it");
        let failures: i64 = sqlx::query_scalar("select last_value from failures")
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert!(failures >= 8, "{name}: the fault must strike");
    }
    assert_each_is_logged(&world, PASSING.len()).await;
}

// F100
#[sqlx::test]
async fn without_file_descriptors_accepting_waits_and_syncing_goes_on(pool: PgPool) {
    let mut world = small_steps(pool).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    world.set("HTTP_LISTEN", address).set("LOG_FORMAT", "json");
    let mut daemon = Process::by_shell(&world, "ulimit -n 48; exec \"$0\" run", Stdio::null());
    daemon.says(HOLDS).await;
    caught_up(&world).await;

    // They say nothing, and each takes a descriptor as long as it is open.
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    everybody_changes(&world, "Canaryedited");
    caught_up(&world).await;

    daemon.stop().await;
    assert_whole(&world).await;
    drop(silent);
}
