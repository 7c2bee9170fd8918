//! Requests that another process stores: the holder of the lease serves them at once, although it
//! looks for them seldom.

use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use keap_intercom_sync::feed::{DueReason, Feed, RunReason};
use keap_intercom_sync::store::RunState;

use crate::process::{Process, caught_up, world};
use crate::world::{World, keap_id, until};

/// No poll falls due but the one at the start.
const NEVER: &str = "0 0 0 1 1 *";
/// The lanes look by themselves this seldom: longer than any test waits.
const SELDOM_MS: u32 = 600_000;

const HEARS: &str = "This process hears of requests that others store.";
const HEARS_NOTHING: &str = "Notifications do not come through";

/// A daemon that is done with its first poll, and so has nothing to do.
async fn idle_daemon(world: &mut World, idle_check_ms: u32) -> Process {
    world.set("POLL__SCHEDULE", NEVER).set("SYNC__IDLE_CHECK_MS", idle_check_ms);
    let daemon = Process::leader(world).await;
    caught_up(world).await;
    daemon
}

/// A change that nobody but a request brings to Intercom.
fn change(world: &World, id: i64, name: &str) {
    world.keap.edit(id, |person| person.family_name = Some(name.into()));
}

/// As another process does it.
async fn request(world: &World, id: i64) {
    world.store().request(&[keap_id(id)], DueReason::Manual).await.unwrap();
}

async fn until_served(world: &World) {
    until("the request is served", async || world.store().count_due().await.unwrap().0 == 0).await;
    world.assert_agrees();
}

async fn disconnect_listener(world: &World) {
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and application_name like 'keap-intercom-sync-listener%'";
    let ended: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
    assert_eq!(ended, 1);
}

#[sqlx::test(migrations = false)]
async fn requests_of_another_process_are_served_at_once(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let mut daemon = idle_daemon(&mut world, SELDOM_MS).await;
    daemon.says(HEARS).await;

    change(&world, 1, "Canaryone");
    request(&world, 1).await;
    until_served(&world).await;

    let store = world.store();
    let run = store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    until("the requested walk is done", async || {
        store.run(run).await.unwrap().unwrap().state == RunState::Done
    })
    .await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_lost_connection_loses_no_request(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let mut daemon = idle_daemon(&mut world, SELDOM_MS).await;
    daemon.says(HEARS).await;

    for name in ["Canaryone", "Canarytwo"] {
        let heard = daemon.said(HEARS);
        disconnect_listener(&world).await;
        change(&world, 1, name);
        request(&world, 1).await;
        until_served(&world).await;

        until("the daemon hears again", async || daemon.said(HEARS) > heard).await;
        change(&world, 2, name);
        request(&world, 2).await;
        until_served(&world).await;
    }
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_retry_is_made_when_its_time_comes(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let mut daemon = idle_daemon(&mut world, SELDOM_MS).await;
    daemon.says(HEARS).await;

    change(&world, 1, "Canaryone");
    let retry = "insert into contact_due (keap_contact_id, reason, priority, due_at)
                 values (1, 'retry', 2, now() + interval '1.5 seconds')";
    sqlx::query(retry).execute(&world.pool).await.unwrap();
    change(&world, 2, "Canarytwo");
    request(&world, 2).await;

    until_served(&world).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn without_notifications_the_lanes_look_for_requests(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let direct = world.env["DATABASE_URL"].clone();
    let pooled = behind_pooler(&direct).await;
    world.set("DATABASE_URL", pooled);
    let mut daemon = idle_daemon(&mut world, 50).await;
    daemon.says(HEARS_NOTHING).await;
    world.set("DATABASE_URL", direct);

    change(&world, 1, "Canaryone");
    request(&world, 1).await;

    until_served(&world).await;
    assert_eq!(daemon.said(HEARS), 0);
    daemon.stop().await;
}

/// The address of a proxy that passes on everything but notifications, as a pooler that shares
/// connections between transactions.
async fn behind_pooler(url: &str) -> url::Url {
    let mut url: url::Url = url.parse().unwrap();
    let folder =
        url.query_pairs().find(|(name, _)| name == "host").map(|(_, host)| host.into_owned());
    let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if let Some(folder) = &folder {
                let path = format!("{folder}/.s.PGSQL.{}", server.1);
                let stream = UnixStream::connect(path).await.unwrap();
                tokio::spawn(pass_on(client, stream.into_split()));
            } else {
                let stream = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                tokio::spawn(pass_on(client, stream.into_split()));
            }
        }
    });
    url.set_query(Some("sslmode=disable"));
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(port)).unwrap();
    url
}

/// A message of the server is a letter and a length that counts itself; `A` is a notification.
async fn pass_on(
    client: TcpStream,
    (mut from_server, mut to_server): (
        impl AsyncReadExt + Unpin + Send + 'static,
        impl AsyncWriteExt + Unpin + Send + 'static,
    ),
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    loop {
        let mut head = [0; 5];
        from_server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length as usize - 4];
        from_server.read_exact(&mut body).await?;
        if head[0] != b'A' {
            to_client.write_all(&[&head[..], &body].concat()).await?;
        }
    }
}
