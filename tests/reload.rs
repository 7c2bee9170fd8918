//! A reload that changes only a token: the clients that run take it, and nothing starts again.

use rustix::process::Signal;
use sqlx::PgPool;

use crate::process::{HOLDS, Process, canary, caught_up, world};

#[sqlx::test(migrations = false)]
async fn a_new_token_reaches_the_running_clients_without_a_restart(pool: PgPool) {
    let mut world = world(pool, 2).await;
    let credentials = tempfile::tempdir().unwrap();
    let token = credentials.path().join("INTERCOM_ACCESS_TOKEN");
    std::fs::write(&token, world.env.remove("INTERCOM_ACCESS_TOKEN").unwrap()).unwrap();
    world.set("CREDENTIALS_DIRECTORY", credentials.path().display());
    let mut daemon = Process::leader(&world).await;
    caught_up(&world).await;

    world.intercom.set_token("canary-renewed-token-0123456789");
    std::fs::write(&token, "canary-renewed-token-0123456789").unwrap();
    daemon.signal(Signal::HUP);
    daemon.says("intercom.access_token").await;
    world.keap.add(canary(77));
    caught_up(&world).await;

    assert_eq!(daemon.said(HOLDS), 1, "the parts did not start again");
    daemon.stop().await;
}
