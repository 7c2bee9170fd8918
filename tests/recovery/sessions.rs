//! States of a session that only a new session ends: the connection is closed, and work goes on by
//! itself (F86).

use std::time::Duration;

use keap_intercom_sync::feed::DueReason;
use keap_intercom_sync::store::Store;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::{assert_whole, everybody_changes, number, small_steps};
use crate::pooler::stand_in::{Options, start};
use crate::process::{Process, caught_up, command};
use crate::sim::client;
use crate::world::{World, keap_id, until};

const CANNOT: &str = "read-only transaction";

/// Statements that leave a session in a state that outlives the transaction.
#[rustfmt::skip]
const STATES: &[(&str, &str)] = &[
    ("read-only by its own setting", "set default_transaction_read_only = on"),
    ("read-only by its characteristics", "set session characteristics as transaction read only"),
    ("ended by an administrator, 57P01", "select pg_terminate_backend(pg_backend_pid())"),
    ("in a failed transaction, 25P02", "begin; select 1 / 0"),
    ("in a transaction of somebody else", "begin; create table left_behind ()"),
    ("in a read-only transaction of somebody else", "begin read only; select 1"),
    ("idle in a transaction for too long, 25P03", "set idle_in_transaction_session_timeout = 1; begin; select 1"),
    ("idle for too long, 57P05", "set idle_session_timeout = 1"),
];

#[sqlx::test]
async fn a_session_in_a_state_that_only_a_new_session_ends_is_replaced(pool: PgPool) {
    for (number, (state, statement)) in (1..).zip(STATES) {
        let options = (*pool.connect_options()).clone();
        let one = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut connection = one.acquire().await.unwrap();
        let _ = sqlx::raw_sql(*statement).execute(&mut *connection).await;
        drop(connection);
        // The server ends the session meanwhile, or the pool has it back.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let store = Store::from_pool(one);

        let asked = store.request(&[keap_id(number)], DueReason::Manual).await;

        assert_eq!(asked.map(|asked| asked.len()).map_err(|e| e.to_string()), Ok(1), "{state}");
        assert!(!store.is_read_only().await.unwrap(), "{state}");
        assert_eq!(store.count_due().await.unwrap().0, number, "{state}");
    }
    let left: Option<String> = sqlx::query_scalar("select to_regclass('left_behind')::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, None, "the transaction of somebody else is rolled back");
}

/// An error in the middle of a transaction: the session is replaced for the next one.
#[sqlx::test]
async fn a_session_that_ends_in_the_middle_of_a_transaction_is_replaced(pool: PgPool) {
    let world = small_steps(pool).await;
    // The second row of a page ends the session that stores it, once.
    sqlx::raw_sql(
        "create table ends (left_to_do integer);
         insert into ends values (3);
         create function end_session() returns trigger language plpgsql as $$
         begin
             if (select left_to_do from ends) > 0 and new.keap_contact_id % 7 = 2 then
                 perform pg_notify('ends', '');
                 perform pg_terminate_backend(pg_backend_pid());
             end if;
             return new;
         end $$;
         create trigger ends before insert on contact_link for each row execute function end_session()",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let mut daemon = Process::daemon(&world);
    daemon.says("Outcomes cannot be recorded").await;
    sqlx::query("update ends set left_to_do = 0").execute(&world.pool).await.unwrap();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_eq!(world.writes(), world.keap.len());
}

/// The database of a world takes no writes in new sessions, or takes them again.
async fn read_only(world: &World, on: bool) {
    let name = world.pool.connect_options().get_database().unwrap().to_owned();
    let on = if on { "on" } else { "off" };
    let sql = format!("alter database \"{name}\" set default_transaction_read_only = {on}");
    let mut outside = PgConnection::connect(&std::env::var("DATABASE_URL").unwrap()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut outside).await.unwrap();
}

/// Ends the sessions of the daemon, so that it opens new ones.
async fn end_sessions(world: &World, names: &str) {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and regexp_replace(application_name, '-[0-9a-f]{{8}}$', '') in ({names})"
    );
    let _: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&world.pool).await.unwrap();
}

/// A read-only time: nothing ends the daemon's sessions at its end.
async fn a_read_only_time(world: &mut World, names: &str) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    world.set("HTTP_LISTEN", address);
    let mut daemon = Process::leader(world).await;
    caught_up(world).await;
    let ready = async || {
        let reply = client::send("GET", &format!("http://{address}/ready"), &[], "").await.unwrap();
        (reply.status, reply.json()["checks"]["database"]["state"].as_str().unwrap().to_owned())
    };
    until("it is ready", async || ready().await == (200, "ok".into())).await;

    read_only(world, true).await;
    end_sessions(world, names).await;
    everybody_changes(world, "Canaryreadonly");
    daemon.says(CANNOT).await;
    until("/ready says it", async || ready().await == (503, "read_only".into())).await;
    let status = command(world, &["status"]).await.expect(1).stdout;
    assert!(status.starts_with("working   no: the database is read-only\n"), "{status}");
    let status = command(world, &["status", "--json"]).await.expect(1).json();
    assert_eq!((&status["database"], &status["working"]), (&"read_only".into(), &false.into()));
    // The lease ends, and every part of the daemon meets the database as it is.
    until("the lease has ended", async || {
        number(world, "select count(*) from sync_lease where expires_at < now()").await == 1
    })
    .await;

    read_only(world, false).await;
    // `until` gives up after half a minute.
    caught_up(world).await;
    until("it is ready again", async || ready().await == (200, "ok".into())).await;
    let status = command(world, &["status", "--json"]).await.expect(0).json();
    assert_eq!((&status["database"], &status["working"]), (&"ok".into(), &true.into()), "{status}");
    daemon.stop().await;
    assert_whole(world).await;
}

// F86
#[sqlx::test]
async fn work_goes_on_by_itself_after_a_read_only_time(pool: PgPool) {
    let mut world = small_steps(pool).await;
    a_read_only_time(&mut world, "'keap-intercom-sync', 'keap-intercom-sync-listener'").await;
}

/// The pooler keeps its sessions, and they keep what they began with.
// F86
#[sqlx::test]
async fn work_goes_on_by_itself_after_a_read_only_time_behind_a_pooler(pool: PgPool) {
    let mut world = small_steps(pool).await;
    let pooled = start(&world.env["DATABASE_URL"], Options::Refused).await;
    world.set("DATABASE_URL", pooled);
    a_read_only_time(&mut world, "''").await;
}

// F86
#[sqlx::test(migrations = false)]
async fn a_daemon_that_starts_in_a_read_only_time_begins_at_its_end(pool: PgPool) {
    let world = small_steps(pool).await;
    read_only(&world, true).await;
    let mut daemon = Process::daemon(&world);
    daemon.says("Postgres is not there yet; waiting for it.").await;
    daemon.says(CANNOT).await;
    read_only(&world, false).await;
    until("it has migrated", async || {
        number(&world, "select count(*) from pg_tables where tablename = 'contact_link'").await == 1
    })
    .await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}
