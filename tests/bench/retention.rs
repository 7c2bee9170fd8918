//! A log of millions of old rows: whether their deletion slows a pass, and how soon a person sees
//! what the log says.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::daemon::{self, Settings};
use crate::database::Databases;
use crate::http;
use crate::measure::{End, Goal, Progress, Site, median, sorted, stop};
use crate::phases::{self, WITHIN};
use crate::start;
use crate::table::Table;

/// The bearer token of the API, to look at a contact.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The rows of the log belong to this many contacts.
const LOGGED_CONTACTS: i64 = 100_000;
/// The longest wait for the first sign of a daemon: its first poll or its first batch.
const SOON: Duration = Duration::from_secs(20);
const LOOKS_AT_A_CONTACT: usize = 20;

#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Old rows of the log.
    pub rows: u64,
    /// Contacts in each pass.
    pub contacts: u64,
    /// Pairs of passes: one with nothing to delete, one beside the deletion.
    pub pairs: usize,
}

/// A pass over changed contacts.
struct Turn {
    /// Contacts a second, from the first write until all is recorded.
    rate: f64,
    /// Old rows that were deleted a second meanwhile.
    deleted_rate: f64,
    /// Commits a second while the daemon ran.
    commits: f64,
    /// The longest wait for a lock that was seen.
    waited_ms: f64,
}

pub(crate) async fn retention(
    table: &mut Table,
    databases: &Databases,
    size: Size,
) -> anyhow::Result<()> {
    let Size { rows, contacts, pairs } = size;
    eprintln!("A log of {rows} old rows:");
    let mut site = phases::site(databases).await?;
    site.stand_ins.add_people(contacts).await?;
    let written = Goal::Written(contacts);
    phases::finished(site.daemon(written, End::Stop, WITHIN).await?)?;
    fill(&site, rows).await?;
    let whole_before = whole_reads(&site).await?;
    answers(table, &site, rows).await?;

    let (mut calm, mut beside) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // The two take turns to be first, so that growing tables favour neither.
        for deletes in [pair % 2 == 1, pair % 2 == 0] {
            let turn = turn(&site, contacts, deletes).await?;
            if deletes { &mut beside } else { &mut calm }.push(turn);
        }
    }
    let middle =
        |turns: &[Turn], of: fn(&Turn) -> f64| median(&sorted(turns.iter().map(of).collect()));
    table.row(
        "Changed contacts a second: nothing to delete, beside the deletion",
        format!("{:.0}, {:.0}", middle(&calm, |turn| turn.rate), middle(&beside, |turn| turn.rate)),
    );
    let ratios = beside.iter().zip(&calm);
    let ratios = sorted(ratios.map(|(beside, calm)| beside.rate / calm.rate).collect());
    let found = median(&ratios);
    table.goal(
        &format!("… ratio, median of {pairs} pairs (worst pair)"),
        format!("{found:.2} ({:.2})", ratios[0]),
        "≥ 0.9",
        found >= 0.9,
    );
    let deleted = middle(&beside, |turn| turn.deleted_rate);
    table.row(
        "Old rows deleted a second beside these passes (all of them would take)",
        format!("{deleted:.0} ({:.1} min)", rows as f64 / deleted / 60.0),
    );
    table.row(
        "Postgres commits a second: nothing to delete, beside the deletion",
        format!(
            "{:.0}, {:.0}",
            middle(&calm, |turn| turn.commits),
            middle(&beside, |turn| turn.commits)
        ),
    );
    let waited = |turns: &[Turn]| turns.iter().map(|turn| turn.waited_ms).fold(0.0, f64::max);
    table.row(
        "Longest wait for a lock that was seen: nothing to delete, beside the deletion",
        format!("{:.0}, {:.0} ms", waited(&calm), waited(&beside)),
    );
    let whole = whole_reads(&site).await? - whole_before;
    table.count(
        "Times that the whole log was read for all this",
        whole.to_string(),
        "0",
        whole == 0,
    );
    phases::agreed(table, "Lost or doubled of these", &site.stand_ins.verify().await?, contacts);
    Ok(())
}

/// Fills the log with rows older than the default retention, evenly spaced, each with its number.
async fn fill(site: &Site, rows: u64) -> anyhow::Result<()> {
    let pool = &site.database.pool;
    sqlx::query(
        "insert into keap_intercom_sync_logs
                (keap_contact_id, intercom_contact_id, sync_status, sync_direction, synced_at, created_at, updated_at,
                 action, feed, run_id, request_id)
         select contact::text, lpad(to_hex(contact), 24, '0'), 'synced', 'keap_to_intercom', at, at, at,
                'updated', 'changed', gen_random_uuid(), number::text
           from (select number, number * 7919 % $2 + 1 as contact, now() - interval '2 years' + number * interval '4 seconds' as at
                   from generate_series(1::bigint, $1) number) rows",
    )
    .bind(i64::try_from(rows)?)
    .bind(LOGGED_CONTACTS)
    .execute(pool)
    .await?;
    // A log that grows for a year is vacuumed and on disk. Not every role may ask for a checkpoint.
    sqlx::query("vacuum analyze keap_intercom_sync_logs").execute(pool).await?;
    let _ = sqlx::query("checkpoint").execute(pool).await;
    Ok(())
}

/// Returns how often Postgres has read the whole log.
async fn whole_reads(site: &Site) -> anyhow::Result<i64> {
    // When Postgres has counted the commits of closed connections, it has counted their reads too.
    site.database.commits().await?;
    let sql = "select seq_scan from pg_stat_user_tables where relname = 'keap_intercom_sync_logs'";
    Ok(sqlx::query_scalar(sql).fetch_one(&site.database.pool).await?)
}

/// Measures how soon people see what a log of this length says.
async fn answers(table: &mut Table, site: &Site, rows: u64) -> anyhow::Result<()> {
    let id = (LOGGED_CONTACTS / 2).to_string();
    let mut settings = settings(site, false);
    table.row(
        &format!("Time of `--help`, `status`, `held`, `explain` with {rows} log rows"),
        start::commands_ms(&settings, &id).await?,
    );
    settings.push(("API_TOKEN", TOKEN.to_owned()));
    let process = daemon::start(&settings)?;
    let request = format!(
        "GET /sync/contacts/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let times = sorted(http::times_ms(&process, &request, LOOKS_AT_A_CONTACT).await?);
    table.row(
        "… of GET /sync/contacts/{id}, median (worst)",
        format!("{:.1} ms ({:.1} ms)", median(&times), times[times.len() - 1]),
    );
    stop(process).await
}

fn settings(site: &Site, deletes: bool) -> Settings {
    let mut settings = site.stand_ins.settings(site.database.url.as_str());
    let kept = if deletes { "365" } else { "0" };
    settings.extend([
        ("RETENTION__LOG_DAYS", kept.to_owned()),
        ("RETENTION__SCHEDULE", "* * * * * *".to_owned()),
        ("POLL__SCHEDULE", "* * * * * *".to_owned()),
        // Otherwise the polls of this turn read the contacts of the turn before again.
        ("POLL__OVERLAP_SECONDS", "0".to_owned()),
    ]);
    settings
}

/// Measures one pass of a daemon that has started. Beside the deletion, the pass begins when the
/// deletion is under way.
async fn turn(site: &Site, contacts: u64, deletes: bool) -> anyhow::Result<Turn> {
    let commits_before = site.database.commits().await?;
    let mut looks = Looks::default();
    let oldest = looks.oldest(site).await?;
    let started = Instant::now();
    let process = daemon::start(&settings(site, deletes))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    while deletes && looks.oldest(site).await? == oldest {
        anyhow::ensure!(started.elapsed() < SOON, process.log.blame("nothing was deleted"));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }

    let mut progress = Progress::open(&site.database, Goal::Written(contacts)).await?;
    site.stand_ins.clear().await?;
    site.stand_ins.edit(contacts, "phone").await?;
    let edited = Instant::now();
    while site.stand_ins.calls().await?.intercom.calls == 0 {
        anyhow::ensure!(edited.elapsed() < SOON, process.log.blame("nothing was written"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (began, from) = (Instant::now(), looks.oldest(site).await?);
    while progress.look().await? < contacts {
        anyhow::ensure!(began.elapsed() < WITHIN, process.log.blame("the pass did not end"));
        looks.at_locks(site).await?;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let (seconds, to) = (began.elapsed().as_secs_f64(), looks.oldest(site).await?);
    let of_progress = progress.close().await?;
    stop(process).await?;
    let running = started.elapsed().as_secs_f64();
    let commits = site.database.commits().await? - commits_before - of_progress - looks.count;
    anyhow::ensure!(deletes == (from < to), "{from} was the oldest row, and then {to}");
    Ok(Turn {
        rate: contacts as f64 / seconds,
        deleted_rate: (to - from) as f64 / seconds,
        commits: commits as f64 / running,
        waited_ms: looks.waited_ms,
    })
}

/// Watches the database during a pass. Each look is a commit.
#[derive(Default)]
struct Looks {
    count: i64,
    waited_ms: f64,
}

impl Looks {
    /// The number of the oldest row that is left. All rows before it are deleted.
    async fn oldest(&mut self, site: &Site) -> anyhow::Result<i64> {
        let sql = "select request_id::bigint from keap_intercom_sync_logs
                    where created_at < now() - interval '365 days' order by created_at limit 1";
        self.count += 1;
        sqlx::query_scalar(sql)
            .fetch_optional(&site.database.pool)
            .await?
            .context("the old rows are used up")
    }

    async fn at_locks(&mut self, site: &Site) -> anyhow::Result<()> {
        let sql = "select coalesce(max(extract(epoch from clock_timestamp() - query_start)), 0)::float8 * 1000
                     from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        self.count += 1;
        let waited: f64 = sqlx::query_scalar(sql).fetch_one(&site.database.pool).await?;
        self.waited_ms = self.waited_ms.max(waited);
        Ok(())
    }
}
