//! `make demo-stay`: everything keeps running, and a person tries the commands of the README.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use sqlx::postgres::PgPool;
use tokio::net::TcpListener;

use crate::daemon::Settings;
use crate::database::Database;
use crate::process::Process;
use crate::recorded::Recorded;
use crate::sim::verify::verify;
use crate::sim::{Intercom, Keap, Stage};
use crate::{POLL_INTERVAL, Snapshot};

/// The address that the README names.
const README_ADDRESS: &str = "127.0.0.1:8080";
/// The token of the daemon's HTTP surface. It opens nothing but this demo.
const TOKEN: &str = "demo-token-0123456789abcdef";

/// Lets the daemon listen where the README says, if nobody else does, and sets its token.
pub(crate) async fn open_surface(settings: &mut Settings) {
    let is_free = TcpListener::bind(README_ADDRESS).await.is_ok();
    let address = if is_free { README_ADDRESS.to_owned() } else { free_address() };
    settings.retain(|(name, _)| *name != "HTTP_LISTEN");
    settings.push(("HTTP_LISTEN", address));
    settings.push(("API_TOKEN", TOKEN.to_owned()));
}

/// The demo starts the daemon several times, and it must listen at one address all the time.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_or_else(|_| "127.0.0.1:18080".to_owned(), |address| address.to_string())
}

/// Keeps everything running until Ctrl-C.
pub(crate) async fn stay(
    stage: &Stage,
    database: &Database,
    settings: &Settings,
    process: Process,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let control = listener.local_addr()?.to_string();
    let file = write_environment(settings, &control)?;
    print_what_to_try(process.first_line.trim(), &file);
    process.log.show();
    let (keap, intercom, pool) =
        (stage.keap.clone(), stage.intercom.clone(), database.pool.clone());
    let agree =
        Router::new().route("/agree", get(async move || agreement(&keap, &intercom, &pool).await));
    tokio::select! {
        ended = stage.serve_with(listener, agree) => Ok(ended?),
        // The demo also ends if the daemon ends. Ctrl-C is handled by the caller.
        () = ends(process) => Ok(()),
    }
}

async fn ends(mut process: Process) {
    while process.is_running() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Whether both sides agree now: yes or no, and why.
async fn agreement(keap: &Keap, intercom: &Intercom, pool: &PgPool) -> String {
    let recorded = match Recorded::read(pool).await {
        Ok(recorded) => recorded,
        Err(error) => return format!("no: Postgres does not answer ({error})\n"),
    };
    let snapshot = Snapshot { recorded, verdict: verify(keap, intercom) };
    let held = snapshot.recorded.held.len();
    let differ = snapshot.verdict.keap_contacts.saturating_sub(snapshot.in_sync() + held);
    match (differ, held) {
        (0, 0) => "yes\n".to_owned(),
        (0, held) => format!("yes, and {held} held until a person decides\n"),
        (differ, _) => format!(
            "no: {differ} differ, {} are due; ask again in some seconds\n",
            snapshot.recorded.due
        ),
    }
}

/// The folder of the built programs.
fn programs() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe()?;
    let folder = demo.parent().and_then(Path::parent);
    Ok(folder.context("the demo does not lie in a folder of Cargo's")?.to_owned())
}

/// Writes the settings of the demo for a shell. Returns the path of the file.
fn write_environment(settings: &Settings, control: &str) -> anyhow::Result<PathBuf> {
    let programs = programs()?;
    let mut text = String::from("# The settings of the running demo, for a shell.\n");
    for (name, value) in settings {
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', "'\\''"));
    }
    let _ = writeln!(text, "export DEMO='http://{control}'");
    let _ = writeln!(text, "export PATH='{}':\"$PATH\"", programs.display());
    let file = programs.with_file_name("demo.env");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn print_what_to_try(address: &str, file: &Path) {
    let program = file.with_file_name("debug").join("keap-intercom-sync");
    println!(
        "
Everything keeps running. The page to open: http://{address}/ui
It asks for the demo's token: {TOKEN}

In another terminal, this gives a shell the settings of the demo, and the program ({}):

  . {}

Then the commands of the README work as they are printed there:

  keap-intercom-sync check
  keap-intercom-sync status
  keap-intercom-sync held
  keap-intercom-sync sync 12 999999
  keap-intercom-sync explain 1000
  keap-intercom-sync runs
  curl -H \"Authorization: Bearer $API_TOKEN\" {address}/sync/contact -d '{{\"keapContactId\": 12}}'

And these play the customers:

  # Change the phone number of person 7 in Keap. A second later it is in Intercom.
  curl -H 'content-type: application/json' -d '{{\"ids\": [7], \"what\": \"phone\"}}' $DEMO/control/keap/edit
  curl -H \"authorization: Bearer $INTERCOM_ACCESS_TOKEN\" $INTERCOM_BASE_URL/contacts/find_by_external_id/7

  # Add a hundred people to Keap.
  curl -H 'content-type: application/json' -d '{{\"count\": 100, \"start\": 900000}}' $DEMO/control/keap/seed

  # Do both sides agree? Yes or no.
  curl $DEMO/agree

  # Read the last outcomes from Postgres.
  psql \"$DATABASE_URL\" -c 'select * from keap_intercom_sync_logs order by created_at desc limit 5'

Ctrl-C ends everything. From here on you see what the daemon logs:
",
        program.display(),
        file.display()
    );
}
