//! The operator's page over a large account: how long each of its pages takes, and whether a query
//! reads a large table from end to end.

use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::AssertSqlSafe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon::{self, Settings};
use crate::database::Databases;
use crate::measure::{Site, median, memory_kb, sorted, stop};
use crate::phases;
use crate::process::Process;
use crate::sim::client::{self, Reply};
use crate::table::Table;

const PASSWORD: &str = "the password of the bench";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const REQUESTS: usize = 20;
/// The page takes 20 requests a second.
const BETWEEN: Duration = Duration::from_millis(60);
const GOAL_MS: f64 = 50.0;
/// A cron line that does not fire while the bench runs.
const NEVER: &str = "0 0 0 1 1 *";
/// The time that a start takes at most, with its first look at every table.
const STARTED: Duration = Duration::from_secs(5);
/// Links that a page counts exactly. Beyond that it asks the statistics of Postgres.
const COUNTED_LINKS: i64 = 10_001;

/// How large the account is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub links: i64,
    pub log_rows: i64,
}

pub(crate) async fn pages(
    table: &mut Table,
    databases: &Databases,
    size: Size,
) -> anyhow::Result<()> {
    let Size { links, log_rows } = size;
    eprintln!("The operator's page with {links} links and {log_rows} log rows:");
    let site = phases::site(databases).await?;
    // Both directions are switched on while nothing is there to be compared.
    let first = daemon::start(&settings(&site))?;
    tokio::time::sleep(STARTED).await;
    stop(first).await?;
    fill(&site, size).await?;
    let process = daemon::start(&settings(&site))?;
    tokio::time::sleep(STARTED).await;
    let visitor = Visitor::signed_in(&process).await?;
    let before = Reads::take(&site).await?;
    for page in PAGES {
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            times.push(visitor.time_ms(page.path).await?);
            tokio::time::sleep(BETWEEN).await;
        }
        let times = sorted(times);
        let worst = times[times.len() - 1];
        table.goal(
            &format!("{}, median of {REQUESTS} (worst)", page.name),
            format!("{:.1} ms ({worst:.1} ms)", median(&times)),
            "all ≤ 50 ms",
            worst <= GOAL_MS,
        );
    }
    let after = Reads::take(&site).await?;
    let log = after.log - before.log;
    table.count("Log rows read by whole scans for all this", log.to_string(), "0", log == 0);
    // Only the overview counts links.
    let most = COUNTED_LINKS * i64::try_from(REQUESTS)?;
    let read = after.links - before.links;
    table.count("… links", read.to_string(), &format!("≤ {most}"), read <= most);
    download(table, &process, log_rows).await?;
    stop(process).await
}

/// Downloads the whole log as CSV, and looks at the memory of the daemon meanwhile.
async fn download(table: &mut Table, process: &Process, log_rows: i64) -> anyhow::Result<()> {
    let before = memory_kb(process, "VmHWM:")?;
    let mut stream = TcpStream::connect(process.first_line.as_str()).await?;
    let request = format!(
        "GET /sync/log?format=csv HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut lines, mut tail) = (0, Vec::new());
    let mut part = vec![0; 64 * 1024];
    let began = Instant::now();
    loop {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            break;
        }
        lines += part[..read].iter().filter(|byte| **byte == b'\n').count();
        tail = part[..read].to_vec();
    }
    let seconds = began.elapsed().as_secs_f64();
    // The last part of a chunked answer is empty; an answer that breaks off has none.
    anyhow::ensure!(tail.ends_with(b"0\r\n\r\n"), "the download broke off after {lines} lines");
    anyhow::ensure!(lines as i64 > log_rows, "{lines} lines are too few");
    let grown = memory_kb(process, "VmHWM:")?.saturating_sub(before);
    table.row(
        &format!("CSV of {log_rows} outcomes: rows a second"),
        format!("{:.0}", log_rows as f64 / seconds),
    );
    table.count(
        "… the daemon's memory grows by at most",
        format!("{:.1} MB", grown as f64 / 1024.0),
        "≤ 5 MB",
        grown <= 5 * 1024,
    );
    Ok(())
}

struct Measured {
    name: &'static str,
    path: &'static str,
}

const fn page(name: &'static str, path: &'static str) -> Measured {
    Measured { name, path }
}

/// Every page that a person can open without a call to Keap or Intercom, and the lists of the API.
const PAGES: &[Measured] = &[
    page("Overview", "/ui"),
    page("Needs a person", "/ui/held"),
    page("… one reason", "/ui/held?reason=several_users"),
    page("… ignored contacts", "/ui/held/ignored"),
    page("One contact", "/ui/contacts?id=500000"),
    page("… found by its Intercom id", "/ui/contacts?id=00000000000000000007a120"),
    page("… unknown", "/ui/contacts?id=999999999999"),
    page("Runs", "/ui/runs"),
    page("One run", "/ui/runs/00000000-0000-4000-8000-0000000003e8"),
    page("Activity", "/ui/log"),
    page("… of an action", "/ui/log?action=held"),
    page("… of a rare reason", "/ui/log?reason=never_stored"),
    page("… of a contact", "/ui/log?contact=500000"),
    page("… of a run", "/ui/log?run=00000000-0000-4000-8000-0000000003e8"),
    page("Fields", "/ui/fields"),
    page("Settings", "/ui/settings"),
    page("GET /ready", "/ready"),
    page("GET /sync/held", "/sync/held"),
    page("GET /sync/log", "/sync/log"),
    page("GET /sync/contacts/{id}", "/sync/contacts/500000"),
];

fn settings(site: &Site) -> Settings {
    let mut settings = site.stand_ins.settings(site.database.url.as_str());
    settings.extend([
        ("UI_PASSWORD", PASSWORD.to_owned()),
        ("API_TOKEN", TOKEN.to_owned()),
        ("INTERCOM_TO_KEAP__ENABLED", "true".to_owned()),
        ("INTERCOM_TO_KEAP__AUDIT_SCHEDULE", NEVER.to_owned()),
        // A sweep would miss a million contacts in an empty Keap.
        ("SWEEP__SCHEDULE", NEVER.to_owned()),
    ]);
    settings
}

/// Fills every table that a page reads, as an account that has run for a year has them.
async fn fill(site: &Site, Size { links, log_rows }: Size) -> anyhow::Result<()> {
    let pool = &site.database.pool;
    let (held, due, runs) =
        ((links / 200).max(100), (links / 100).max(100), (links / 20).max(2_000));
    let run = "('00000000-0000-4000-8000-' || lpad(to_hex(%), 12, '0'))::uuid";
    let run_of = |number: &str| run.replace('%', number);
    let statements = [
        format!(
            "insert into contact_link (keap_contact_id, intercom_contact_id, state, fingerprint, sighting, email_digest, keap_updated_at)
             select n, lpad(to_hex(n), 24, '0'), 'linked', decode(md5(n::text), 'hex'), decode(md5('s' || n), 'hex'), decode(md5('e' || n), 'hex'),
                    now() - n * interval '20 seconds'
               from generate_series(1::bigint, {links}) n"
        ),
        format!(
            "do $$
             declare
                 indexes text[];
                 one text;
             begin
                 -- Without its indexes, the log is filled in a third of the time.
                 select array_agg(indexdef) into indexes from pg_indexes
                  where tablename = 'keap_intercom_sync_logs' and indexname not like '%_pkey';
                 for one in select indexname from pg_indexes
                             where tablename = 'keap_intercom_sync_logs' and indexname not like '%_pkey'
                 loop
                     execute 'drop index ' || one;
                 end loop;
                 insert into keap_intercom_sync_logs
                        (keap_contact_id, intercom_contact_id, sync_status, sync_direction, error_message, synced_at, created_at, updated_at, action, feed, run_id, conflicts)
                 select contact::text, lpad(to_hex(contact), 24, '0'),
                        case n % 100 when 0 then 'failed' when 1 then 'skipped' when 2 then 'skipped' else 'synced' end,
                        case n % 10 when 5 then 'intercom_to_keap' else 'keap_to_intercom' end,
                        case n % 100 when 0 then 'Keap answers 503' when 1 then 'no_email: it has none' when 2 then 'several_users: more than one' end,
                        at, at, at,
                        case n % 100 when 0 then 'failed' when 1 then 'skipped' when 2 then 'held' else 'updated' end,
                        'changed', {}, case when n % 1000 = 5 then 1 end
                   from (select n, n * 7919 % {links} + 1 as contact, now() - n * interval '6 seconds' as at
                           from generate_series(1::bigint, {log_rows}) n) rows;
                 foreach one in array indexes loop
                     execute one;
                 end loop;
             end $$",
            run_of("n / 100")
        ),
        format!(
            "insert into sync_run (id, feed, reason, state, seen, updated, keap_calls, intercom_calls, created_at, started_at, finished_at)
             select {}, case n % 500 when 0 then 'audit' when 1 then 'sweep' else 'changed' end, 'schedule', 'done', 100, 97, 1, 97, at, at, at + interval '10 minutes'
               from (select n, now() - (n + 1) * interval '10 minutes' as at from generate_series(1::bigint, {runs}) n) rows",
            run_of("n")
        ),
        format!(
            "insert into contact_hold (keap_contact_id, code, detail, candidates, attempts, sighting, held_at)
             select {links} + n, (array['several_users', 'archived', 'refused', 'external_id_taken'])[1 + n % 4], null,
                    array['a' || n, 'b' || n], 1, decode(md5(n::text), 'hex'), now() - n * interval '1 minute'
               from generate_series(1::bigint, {held}) n"
        ),
        format!(
            "insert into contact_due (keap_contact_id, reason, priority, due_at, attempts, looks_at_intercom)
             select n, 'retry', 2, now() + interval '1 day', 1, n % 2 = 0 from generate_series(1::bigint, {due}) n"
        ),
        format!(
            "insert into contact_decision (keap_contact_id, decision, reason, decided_by, decided_at, ended_at, ended_how)
             select {links} + n, case n % 2 when 0 then 'ignore' else 'retry' end, 'several_users', 'page', at,
                    case n % 2 when 1 then at end, case n % 2 when 1 then 'done' end
               from (select n, now() - n * interval '1 minute' as at from generate_series(1::bigint, {held} / 4) n) rows"
        ),
        format!(
            "insert into intercom_due (intercom_contact_id, reason, priority, not_before, code, waits_since)
             select 'n' || n, 'again', 2, now() + interval '1 day', case n % 10 when 0 then 'several_in_keap' else 'in_keap' end, now()
               from generate_series(1::bigint, {held}) n"
        ),
        format!(
            "insert into former_link (intercom_contact_id, keap_contact_id)
             select 'f' || n, {links} * 2 + n from generate_series(1::bigint, {held}) n"
        ),
        "insert into sync_tally (since, side, what, detail, count)
         select since, side, what, detail::text, 7
           from (select date_trunc('hour', now()) - h * interval '1 hour' from generate_series(0, 47) h
                 union select date_trunc('day', now()) - d * interval '1 day' from generate_series(2, 31) d) as times (since),
                unnest(array['keap', 'intercom']) side, unnest(array['written', 'calls', 'fresh', 'field_written']) what,
                unnest(array[1, 2, 5, 10, 20, 30, 60, 120, 300, 600]) detail"
            .to_owned(),
        "vacuum analyze".to_owned(),
    ];
    for sql in statements {
        let began = Instant::now();
        let what = sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        sqlx::query(AssertSqlSafe(sql)).execute(pool).await.with_context(|| what.clone())?;
        eprintln!("  {what}: {:.0} s", began.elapsed().as_secs_f64());
    }
    let _ = sqlx::query("checkpoint").execute(pool).await;
    Ok(())
}

/// Rows that Postgres has read by scans of whole tables.
struct Reads {
    log: i64,
    links: i64,
}

impl Reads {
    async fn take(site: &Site) -> anyhow::Result<Self> {
        // When Postgres has counted the commits of closed connections, it has counted their reads
        // too.
        site.database.commits().await?;
        let sql = "select seq_tup_read from pg_stat_user_tables where relname = $1";
        let of = async |name: &str| {
            let read: i64 =
                sqlx::query_scalar(sql).bind(name).fetch_one(&site.database.pool).await?;
            anyhow::Ok(read)
        };
        Ok(Self { log: of("keap_intercom_sync_logs").await?, links: of("contact_link").await? })
    }
}

/// Somebody who is signed in, and has the token of the API.
struct Visitor {
    address: String,
    cookie: String,
}

impl Visitor {
    async fn signed_in(process: &Process) -> anyhow::Result<Self> {
        let address = format!("http://{}", process.first_line);
        let form = format!("password={}", PASSWORD.replace(' ', "+"));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let reply = client::send("POST", &format!("{address}/ui/sign-in"), &headers, form).await?;
        let cookies = reply.headers.get_all("set-cookie").iter();
        let cookies = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookie = cookies.collect::<Vec<_>>().join("; ");
        anyhow::ensure!(reply.status == 303, "nobody can sign in: {}", reply.status);
        Ok(Self { address, cookie })
    }

    async fn time_ms(&self, path: &str) -> anyhow::Result<f64> {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("cookie", self.cookie.as_str()), ("authorization", bearer.as_str())];
        let began = Instant::now();
        let url = format!("{}{path}", self.address);
        let Reply { status, body, .. } = client::send("GET", &url, &headers, "").await?;
        let time = began.elapsed().as_secs_f64() * 1000.0;
        anyhow::ensure!(status == 200, "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(time)
    }
}
