//! A walk that stands still is reported, whatever the reason.

use serde_json::Value;
use sqlx::PgPool;

use crate::process::command;
use crate::sim::client;
use crate::world::{World, until};

async fn ready(address: std::net::SocketAddr) -> (u16, Value) {
    let reply = client::send("GET", &format!("http://{address}/ready"), &[], "").await.unwrap();
    (reply.status, reply.json())
}

#[sqlx::test]
async fn a_walk_that_stands_still_is_reported_and_the_report_ends_with_it(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("KEAP__PAGE_SIZE", "10").set("HTTP__READY_POLL_AGE_SECONDS", "5");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.set("HTTP_LISTEN", format!("127.0.0.1:{port}"));
    // Where pages are asked for by token, no page can go around a contact that cannot be shown. The
    // polls go on.
    world.keap.knobs(|knobs| {
        knobs.ignore_contact_id_filter = true;
        knobs.poison.insert(33);
    });
    let daemon = world.daemon().await;

    until("/ready reports the walk", async || {
        let (status, body) = ready(daemon.address).await;
        status == 503
            && body["checks"]["walks"]["state"] == "standing_still"
            && body["checks"]["walks"]["feed"] == "backfill"
            && body["checks"]["poll"]["state"] == "ok"
    })
    .await;
    let text = command(&world, &["status"]).await.expect(1).stdout;
    assert!(
        text.starts_with("working   no: the walk of the feed backfill has stood still"),
        "{text}"
    );

    world.keap.knobs(|knobs| knobs.poison.clear());
    until("the walk is complete", async || ready(daemon.address).await.0 == 200).await;
    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert!(text.starts_with("working   yes"), "{text}");
    daemon.stop().await.1.unwrap();
}
