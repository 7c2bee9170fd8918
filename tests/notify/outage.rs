//! Postgres is away: nothing can be stored, and people are told all the same.

use std::time::Duration;

use sqlx::PgPool;

use super::{Hook, telling};
use crate::http::outages::Door;
use crate::http::{self, get, started};
use crate::world::until;

#[sqlx::test]
async fn the_holder_of_the_lease_tells_that_postgres_is_away_and_back(pool: PgPool) {
    let hook = Hook::start(200).await;
    let mut world = http::world(pool).await;
    telling(&mut world).set("NOTIFY__JSON_URL", hook.url());
    let holder = started(&world).await;
    let standby_hook = Hook::start(200).await;
    world.set("NOTIFY__JSON_URL", standby_hook.url());
    let standby = world.daemon().await;
    until("the standby has seen Postgres", async || {
        get(&standby, "/ready").await.json()["checks"]["database"]["state"] == "ok"
    })
    .await;
    // Its alarms look at Postgres four times a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut door = Door::find(&world).await;

    door.close().await;
    let told = async || hook.told_of(&["database"]).await;
    until("it is told", async || told().await == ["begun database"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(told().await, ["begun database"], "once");
    door.allow(true).await;
    until("the end is told", async || told().await.contains(&"over database".into())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(told().await, ["begun database", "over database"]);
    assert_eq!(standby_hook.told_of(&["database"]).await, [""; 0]);
    standby.stop().await.1.unwrap();
    holder.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_daemon_that_starts_without_postgres_tells_it(pool: PgPool) {
    let hook = Hook::start(200).await;
    let mut world = http::world(pool).await;
    telling(&mut world).set("NOTIFY__JSON_URL", hook.url());
    let mut door = Door::find(&world).await;
    door.close().await;

    let daemon = world.daemon().await;

    let told = async || hook.told_of(&["database"]).await;
    until("it is told", async || told().await == ["begun database"]).await;
    let (body, _) = hook.message("begun", "database").await;
    assert_eq!(body["title"], "[production] the database does not answer, so no contact is synced");
    door.allow(true).await;
    until("the end is told", async || told().await.contains(&"over database".into())).await;
    daemon.stop().await.1.unwrap();
}
