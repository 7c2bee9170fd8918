//! The OpenAPI document against the daemon that serves it, by a property-based tool.

use std::process::{Command, Stdio};

use serde_json::json;
use sqlx::PgPool;

use super::{OLD_SECRET, TOKEN, world};
use crate::process::Process;
use crate::sim::client;
use crate::sim::people::{Shape, invented};
use crate::world::until;

#[sqlx::test(migrations = false)]
#[ignore = "needs Schemathesis: tests/openapi.test fetches it and runs this"]
async fn every_answer_is_one_that_the_document_names(pool: PgPool) {
    let mut world = world(pool).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.set("HTTP_LISTEN", address);
    let people = world
        .keap
        .add_many(50, |n| invented(n as u64, Shape::Mixed));
    let daemon = Process::leader(&world).await;
    let base = format!("http://{address}");
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    let body = json!({ "keap_contact_ids": people }).to_string();
    let batch = client::send("POST", &format!("{base}/sync/batch"), &headers, body)
        .await
        .unwrap();
    assert_eq!(batch.status, 200, "{}", batch.json());
    let body = json!({ "feed": "backfill" }).to_string();
    let run = client::send("POST", &format!("{base}/sync/run"), &headers, body)
        .await
        .unwrap()
        .json();
    let run = run["runId"].as_str().unwrap().to_owned();
    until("the end of the walk", async || {
        let url = format!("{base}/sync/runs/{run}");
        let run = client::send("GET", &url, &headers, "").await.unwrap();
        run.json()["state"] == "done"
    })
    .await;

    let folder = tempfile::tempdir().unwrap(); // it leaves things behind
    let mut command = Command::new("python3");
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.toml"))
        .args(["run", &format!("{base}/openapi.json")])
        .current_dir(folder.path())
        .env("API_TOKEN", TOKEN)
        .env("WEBHOOK_SECRET", OLD_SECRET)
        .stdin(Stdio::null());
    let status = tokio::task::spawn_blocking(move || command.status().unwrap())
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    daemon.stop().await;
}
