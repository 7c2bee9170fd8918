//! The OpenAPI document against the daemon that serves it: by a validator, by a client that is
//! generated from it, and by a property-based tool.

use std::path::Path;
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
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address);
    let people = world.keap.add_many(50, |n| invented(n as u64, Shape::Mixed));

    let daemon = Process::leader(&world).await;
    let base = format!("http://{address}");
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    let body = json!({ "keap_contact_ids": people }).to_string();
    let batch = client::send("POST", &format!("{base}/sync/batch"), &headers, body).await.unwrap();
    assert_eq!(batch.status, 200, "{}", batch.json());

    let body = json!({ "feed": "backfill" }).to_string();
    let run =
        client::send("POST", &format!("{base}/sync/run"), &headers, body).await.unwrap().json();
    let run = run["runId"].as_str().unwrap().to_owned();
    until("the walk has ended", async || {
        let url = format!("{base}/sync/runs/{run}");
        let run = client::send("GET", &url, &headers, "").await.unwrap();
        run.json()["state"] == "done"
    })
    .await;

    // The tool leaves files in its working directory.
    let folder = tempfile::tempdir().unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.toml");
    let document = format!("{base}/openapi.json");
    let arguments = ["-m", "schemathesis.cli", "--config-file", config, "run", &document];
    python(&arguments, folder.path(), &[("WEBHOOK_SECRET", OLD_SECRET)]).await;
    daemon.stop().await;
}

/// Runs Python in a folder, with the token in its environment. Fails if it fails.
async fn python(arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) {
    let mut command = Command::new("python3");
    command
        .args(arguments)
        .current_dir(folder)
        .env("API_TOKEN", TOKEN)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
    assert!(status.success(), "{arguments:?}: {status}");
}

#[sqlx::test(migrations = false)]
#[ignore = "needs a validator and a generator: tests/openapi.test fetches them and runs this"]
async fn a_validator_accepts_the_document_and_a_generated_client_works(pool: PgPool) {
    let mut world = world(pool).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address);
    let people = world.keap.add_many(3, |n| invented(n as u64, Shape::Plain));
    let daemon = Process::leader(&world).await;
    let base = format!("http://{address}");
    let document =
        client::send("GET", &format!("{base}/openapi.json"), &[], "").await.unwrap().body;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("openapi.json"), &document).unwrap();
    // Without this, the generator wants a formatter.
    std::fs::write(folder.path().join("generator.yml"), "post_hooks: []\n").unwrap();

    python(&["-m", "openapi_spec_validator", "openapi.json"], folder.path(), &[]).await;
    let generate = "-m openapi_python_client generate --path openapi.json --meta none --output-path sync_client --config generator.yml --fail-on-warning";
    let generate: Vec<&str> = generate.split(' ').collect();
    python(&generate, folder.path(), &[]).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi_client.py");
    let id = people[0].to_string();
    let folder_name = folder.path().to_str().unwrap().to_owned();
    let path = std::env::var("PYTHONPATH")
        .map_or(folder_name.clone(), |before| format!("{before}:{folder_name}"));
    let variables = [("PYTHONPATH", path.as_str()), ("BASE", &base), ("KEAP_ID", &id)];
    python(&[script], folder.path(), &variables).await;

    assert_eq!(world.user(people[0]).external_id, Some(id));
    daemon.stop().await;
}
