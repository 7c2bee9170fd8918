//! Postgres is away: nothing can be stored, and people are told all the same.

use std::time::Duration;

use sqlx::PgPool;

use super::{Hook, telling};
use crate::http::outages::Door;
use crate::http::{self, started};
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
    // Both have seen Postgres, and know who holds the lease.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut door = Door::find(&world).await;

    door.close().await;
    until("it is told", async || hook.told().await == ["begun database"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hook.told().await, ["begun database"], "once");
    door.allow(true).await;
    until("the end is told", async || hook.told().await.contains(&"over database".into())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let told = hook.told().await;
    assert_eq!(told.iter().filter(|one| one.ends_with(" database")).count(), 2, "{told:?}");
    let of_standby = standby_hook.told().await;
    assert!(!of_standby.contains(&"begun database".into()), "{of_standby:?}");
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

    until("it is told", async || hook.told().await == ["begun database"]).await;
    let body = &hook.bodies().await[0];
    assert_eq!(body["title"], "[production] the database does not answer, so no contact is synced");
    door.allow(true).await;
    until("the end is told", async || hook.told().await.contains(&"over database".into())).await;
    daemon.stop().await.1.unwrap();
}
