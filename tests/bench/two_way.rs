//! What the second direction costs, in calls to both remotes.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::daemon::Settings;
use crate::database::Databases;
use crate::measure::{End, Goal, Site};
use crate::phases::{WITHIN, finished, site};
use crate::stand_ins::Calls;
use crate::start::Running;
use crate::table::Table;

/// People who are edited in Intercom. As many as one call reads from Keap.
const EDITED: u64 = 100;
/// A cron line that does not fire while the bench runs.
const NEVER: &str = "0 0 0 1 1 *";
/// Polls at the start of a process are over after this time.
const SETTLE: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

/// Both directions, with these schedules.
fn settings(site: &Site, of_keap: &str, of_intercom: &str) -> Settings {
    let mut settings = site.stand_ins.settings(site.database.url.as_str());
    settings.extend([
        ("INTERCOM_TO_KEAP__ENABLED", "true".to_owned()),
        ("INTERCOM_TO_KEAP__SCHEDULE", of_intercom.to_owned()),
        ("POLL__SCHEDULE", of_keap.to_owned()),
    ]);
    settings
}

/// Waits until a query says so.
async fn until(site: &Site, what: &str, sql: &'static str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(site.database.url.as_str()).await?;
    let began = Instant::now();
    while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut connection).await? {
        anyhow::ensure!(began.elapsed() < WITHIN, "{what}: it takes too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(connection.close().await?)
}

/// The writes to both remotes.
fn writes(calls: &Calls) -> u64 {
    let intercom = ["create", "update", "archive", "unarchive"];
    calls.keap.of("write") + intercom.iter().map(|kind| calls.intercom.of(kind)).sum::<u64>()
}

/// The built-in fields. Agents correct phones.
const MAPPING: &str = r#"
[[field]]
keap = "email"
intercom = "email"
[[field]]
keap = "name"
intercom = "name"
[[field]]
keap = "phone"
intercom = "phone"
owner = "newest"
"#;

pub(crate) async fn two_way(table: &mut Table, databases: &Databases) -> anyhow::Result<()> {
    eprintln!("Both directions:");
    let mut site: Site = site(databases).await?;
    let mut mapping = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::io::Write::write_all(&mut mapping, MAPPING.as_bytes())?;
    site.stand_ins.map_by(mapping.path().to_owned());
    site.stand_ins.add_people(EDITED).await?;
    finished(site.daemon(Goal::Written(EDITED), End::Stop, WITHIN).await?)?;
    site.stand_ins.order("intercom/knobs", json!({"search_lag_ms": 0})).await?;
    // The comparison sees everybody, as it does minutes after a first sync.
    site.stand_ins.order("intercom/reindex", json!({})).await?;
    edits(table, &site).await?;
    idle_minute(table, &site).await
}

/// Edits in Intercom, their echo in Keap, and a comparison of contacts that have not changed.
async fn edits(table: &mut Table, site: &Site) -> anyhow::Result<()> {
    let settings = settings(site, NEVER, "* * * * * *");
    site.stand_ins.clear().await?;
    let daemon = Running::start(&["run"], &settings, None)?;
    let compared =
        "select exists (select from intercom_cursor where feed = 'audit' and walked_at is not null)
                       and not exists (select from contact_due)";
    until(site, "the first comparison", compared).await?;
    let found = writes(&site.stand_ins.calls().await?);
    table.count(
        "Both directions: writes when they are switched on and nothing differs",
        found.to_string(),
        "0",
        found == 0,
    );

    site.stand_ins.clear().await?;
    site.stand_ins.order("intercom/edit", json!({"count": EDITED})).await?;
    let written = "select (select count(*) from keap_intercom_sync_logs where sync_direction = 'intercom_to_keap') >= 100
                      and not exists (select from contact_due)";
    until(site, "the edits", written).await?;
    let calls = site.stand_ins.calls().await?;
    let each = |calls: u64| calls as f64 / EDITED as f64;
    let keap = each(calls.keap.calls);
    table.count(
        "… Keap calls per edit in Intercom: a write, and its share of a read",
        format!("{keap:.2}"),
        "≤ 1.05",
        keap <= 1.05,
    );
    let intercom = each(calls.intercom.of("read"));
    let others = writes(&calls) - calls.keap.of("write");
    table.count(
        "… Intercom calls per edit in Intercom, beside the polls",
        format!("{:.2}", intercom + each(others)),
        "1.00",
        intercom <= 1.0 && others == 0,
    );

    site.stand_ins.clear().await?;
    let mut poll = Running::start(&["sync", "--changed"], &settings, None)?;
    anyhow::ensure!(poll.ended().await?, "the poll of Keap failed");
    let calls = site.stand_ins.calls().await?;
    let found = writes(&calls) + calls.intercom.of("read");
    table.count(
        "… reads and writes because of the echo in Keap",
        found.to_string(),
        "0",
        found == 0,
    );
    drop(daemon);
    Ok(())
}

/// A minute in which nothing changes.
async fn idle_minute(table: &mut Table, site: &Site) -> anyhow::Result<()> {
    let settings = settings(site, "0 * * * * *", "30 * * * * *");
    let daemon = Running::start(&["run"], &settings, None)?;
    tokio::time::sleep(SETTLE).await;
    site.stand_ins.clear().await?;
    tokio::time::sleep(MINUTE).await;
    let calls = site.stand_ins.calls().await?;
    let found = (calls.keap.calls, calls.intercom.calls);
    table.count(
        "… calls in an idle minute: Keap, Intercom",
        format!("{}, {}", found.0, found.1),
        "1, 1",
        found.0 <= 1 && found.1 <= 1,
    );
    drop(daemon);
    Ok(())
}
