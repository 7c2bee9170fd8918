//! The measurements, one function each.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::database::Databases;
use crate::measure::{End, Goal, Site, Spent, median, sorted};
use crate::stand_ins::{StandIns, Verdict};
use crate::table::Table;
use crate::{pages, retention};

const MEMORY_GOAL_KB: u64 = 40 * 1024;
/// Contacts on a page.
const PAGE: u64 = 1000;
/// The length of Intercom's windows.
const WINDOW_MS: f64 = 10_000.0;
/// Calls that the remotes permit a key by default.
const KEAP_A_MINUTE: f64 = 240.0;
const INTERCOM_A_MINUTE: f64 = 10_000.0;
/// The time that a slow remote takes to answer.
const LATENCY_MS: u64 = 50;
/// The longest time of a session, except that of a million contacts.
pub(crate) const WITHIN: Duration = Duration::from_secs(150);

pub(crate) struct Sizes {
    /// Contacts of the phases that count calls.
    pub counted: u64,
    /// Contacts in each turn beside the worker, and the number of pairs of turns.
    beside: (u64, usize),
    /// The numbers of contacts at which memory is measured.
    memory: &'static [u64],
    /// The account whose pages are opened.
    pub pages: pages::Size,
    /// The size of the log whose old rows are deleted while passes run.
    pub retention: retention::Size,
    /// Contacts of the run that is killed and resumed, and the longest time that it may take.
    pub resumed: Option<(u64, Duration)>,
}

impl Sizes {
    pub(crate) const FULL: Sizes = Sizes {
        counted: 30_000,
        beside: (10_000, 3),
        memory: &[1_000, 100_000],
        pages: pages::Size { links: 1_000_000, log_rows: 5_000_000 },
        retention: retention::Size { rows: 5_000_000, contacts: 30_000, pairs: 5 },
        resumed: Some((1_000_000, Duration::from_secs(300))),
    };
    pub(crate) const QUICK: Sizes = Sizes {
        counted: 6_000,
        beside: (3_000, 2),
        memory: &[1_000],
        pages: pages::Size { links: 20_000, log_rows: 100_000 },
        retention: retention::Size { rows: 200_000, contacts: 10_000, pairs: 4 },
        resumed: None,
    };
}

pub(crate) async fn site(databases: &Databases) -> anyhow::Result<Site> {
    let stand_ins = StandIns::start().await?;
    Site::open(stand_ins, databases.create("bench").await?).await
}

/// Measures calls, commits, CPU time and speed for new, changed and unchanged contacts, with no
/// remote limits.
pub(crate) async fn counts(
    table: &mut Table,
    databases: &Databases,
    sizes: &Sizes,
) -> anyhow::Result<()> {
    eprintln!("Counts, with no remote limits:");
    let mut site = site(databases).await?;
    site.measure_idleness().await?;
    let count = sizes.counted;
    site.stand_ins.add_people(count).await?;
    let new = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
    site.stand_ins.edit(count, "phone").await?;
    let changed = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
    site.stand_ins.edit(count, "touch").await?;
    let unchanged = finished(site.daemon(Goal::Seen(count), End::Stop, WITHIN).await?)?;
    let verdict = site.stand_ins.verify().await?;

    let intercom = |spent: &Spent| spent.per_contact(spent.calls.intercom.calls);
    let keap = |spent: &Spent| spent.per_contact(spent.calls.keap.calls);
    let found = intercom(&changed);
    table.count(
        "Intercom calls per changed known contact",
        format!("{found:.3}"),
        "1.00",
        found <= 1.0005,
    );
    let found = intercom(&unchanged);
    table.count("Intercom calls per unchanged contact", format!("{found:.3}"), "0", found == 0.0);
    let found = intercom(&new);
    table.count("Intercom calls per new contact", format!("{found:.3}"), "≤ 1.07", found <= 1.07);
    let found = keap(&changed);
    table.count(
        "Keap calls per changed contact in a backlog",
        format!("{found:.4}"),
        "≤ 0.002",
        found <= 0.002,
    );
    for (name, spent) in [("changed", &changed), ("new", &new)] {
        let found = spent.commits / spent.contacts as f64;
        table.count(
            &format!("Postgres commits per {name} contact"),
            format!("{found:.4}"),
            "≤ 0.02",
            found <= 0.02,
        );
    }
    agreed(table, "Lost or doubled after these", &verdict, count);
    let refused = changed.calls.intercom.refused() + changed.calls.keap.refused();
    anyhow::ensure!(refused == 0, "there were 429s without a limit");
    for (name, spent) in [("Changed", &changed), ("New", &new), ("Unchanged", &unchanged)] {
        let found = spent.rate();
        table.goal(
            &format!("{name} contacts a second, no remote limits"),
            format!("{found:.0}"),
            "≥ 3,000",
            found >= 3000.0,
        );
    }
    for (name, spent, goal_ms) in [("changed", &changed, 0.3), ("new", &new, 0.08)] {
        let found = spent.cpu_per_contact();
        table.goal(
            &format!("CPU time per {name} contact"),
            format!("{found:.3} ms"),
            &format!("≤ {goal_ms} ms"),
            found <= goal_ms,
        );
    }
    let found = changed.first_write_ms.context("nothing was written")?;
    table.row("Time to the first write after a start", format!("{found:.0} ms"));
    Ok(())
}

/// Compares the daemon with the worker. They take turns over the same contacts with the same kind
/// of edit.
pub(crate) async fn beside_the_worker(
    table: &mut Table,
    databases: &Databases,
    sizes: &Sizes,
) -> anyhow::Result<()> {
    eprintln!("Beside a client in the original worker's way:");
    let mut site = site(databases).await?;
    let (count, _) = sizes.beside;
    let people = site.stand_ins.add_people(count).await?;
    finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;

    let turns = Turns::take(&mut site, sizes.beside, people).await?;
    turns.add_speed(table, "answers at once");
    let both = |of: fn(&Spent) -> f64| (middle(&turns.ours, of), middle(&turns.theirs, of));
    let (ours, theirs) = both(Spent::cpu_per_contact);
    table.row("CPU time per changed contact: daemon, worker", format!("{ours:.3}, {theirs:.3} ms"));
    let (ours, theirs) = both(|spent| spent.peak_kb as f64 / 1024.0);
    table.row("Peak memory: daemon, worker", format!("{ours:.1}, {theirs:.1} MB"));
    let keap = both(|spent| spent.per_contact(spent.calls.keap.calls));
    let intercom = both(|spent| spent.per_contact(spent.calls.intercom.calls));
    table.row(
        "Keap calls per changed contact: daemon, worker",
        format!("{:.4}, {:.4}", keap.0, keap.1),
    );
    table.row(
        "Intercom calls per changed contact: daemon, worker",
        format!("{:.3}, {:.3}", intercom.0, intercom.1),
    );
    let permitted =
        |keap: f64, intercom: f64| (KEAP_A_MINUTE / keap).min(INTERCOM_A_MINUTE / intercom);
    table.row(
        "… so the remotes' limits permit, in contacts a minute: daemon, worker",
        format!("{:.0}, {:.0}", permitted(keap.0, intercom.0), permitted(keap.1, intercom.1)),
    );

    for remote in ["keap/knobs", "intercom/knobs"] {
        site.stand_ins.order(remote, json!({"latency_ms": LATENCY_MS})).await?;
    }
    let (count, pairs) = sizes.beside;
    let turns = Turns::take(&mut site, (count, pairs - 1), people).await?;
    turns.add_speed(table, "answers after 50 ms");
    Ok(())
}

/// The turns of both, in the order in which they were taken.
#[derive(Default)]
struct Turns {
    ours: Vec<Spent>,
    theirs: Vec<Spent>,
    /// Contacts that the worker failed to sync.
    failed: u64,
}

impl Turns {
    async fn take(
        site: &mut Site,
        (count, pairs): (u64, usize),
        (first, last): (i64, i64),
    ) -> anyhow::Result<Turns> {
        let mut turns = Turns::default();
        for _ in 0..pairs {
            site.stand_ins.edit(count, "phone").await?;
            site.stand_ins.order("intercom/reindex", json!({})).await?;
            let spent = site.daemon(Goal::Written(count), End::Stop, WITHIN).await?;
            turns.ours.push(finished(spent)?);
            site.stand_ins.edit(count, "phone").await?;
            site.stand_ins.order("intercom/reindex", json!({})).await?;
            let (spent, failed) = site.worker(first, last).await?;
            turns.failed += failed;
            turns.theirs.push(spent);
        }
        Ok(turns)
    }

    fn add_speed(&self, table: &mut Table, remotes: &str) {
        let ratios = self.ours.iter().zip(&self.theirs);
        let ratios = sorted(ratios.map(|(ours, theirs)| ours.rate() / theirs.rate()).collect());
        table.row(
            &format!("Changed contacts a second, {remotes}: daemon, worker"),
            format!(
                "{:.0}, {:.0}",
                middle(&self.ours, Spent::rate),
                middle(&self.theirs, Spent::rate)
            ),
        );
        table.row(
            "… ratio, median of pairs (worst pair)",
            format!("{:.1} ({:.1})", median(&ratios), ratios[0]),
        );
        if self.failed > 0 {
            table.row("… contacts that the worker failed", self.failed.to_string());
        }
    }
}

fn middle(all: &[Spent], of: fn(&Spent) -> f64) -> f64 {
    median(&sorted(all.iter().map(of).collect()))
}

/// Measures which share of the permitted calls the daemon uses, with both remotes' limits exact.
/// Four runs work side by side.
pub(crate) async fn limits(table: &mut Table, databases: &Databases) -> anyhow::Result<()> {
    eprintln!(
        "Exact limits, new contacts, answers after 50 ms, four runs side by side for a minute:"
    );
    let from_first = json!("FirstCall");
    let on_a_grid = json!({"Grid": {"offset_ms": 3700}});
    let kinds = [
        (1667, 8_000, "windows from the first call", &from_first),
        (1667, 8_000, "windows on a grid", &on_a_grid),
        (167, 800, "windows from the first call", &from_first),
        (167, 800, "windows on a grid", &on_a_grid),
    ];
    let runs = kinds.map(|(limit, count, _, start)| under_limit(databases, limit, count, start));
    let mut refused = 0;
    for ((limit, _, windows, _), (share, full, its_refused)) in
        kinds.iter().zip(try_join_all(runs).await?)
    {
        refused += its_refused;
        table.count(
            &format!("Share used of {limit} calls in 10 s, {windows} ({full} of them)"),
            format!("{:.1} %", share * 100.0),
            "≥ 97 %",
            share >= 0.97,
        );
    }
    table.count("429s of both remotes in these", refused.to_string(), "0", refused == 0);
    Ok(())
}

/// Returns the share, the number of full windows, and the number of 429s.
async fn under_limit(
    databases: &Databases,
    limit: u64,
    count: u64,
    window_start: &serde_json::Value,
) -> anyhow::Result<(f64, usize, u64)> {
    let mut site = site(databases).await?;
    site.stand_ins.add_people(count).await?;
    let intercom = json!({"limit": limit, "window_start": window_start, "latency_ms": LATENCY_MS});
    site.stand_ins.limit(intercom).await?;
    let spent = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
    let windows = site.stand_ins.windows().await?;
    // The run enters the first window at any time, and the last one ends with the work. Idle time
    // between windows counts as unused.
    let [first, .., last] = windows.get(1..).unwrap_or_default() else {
        anyhow::bail!("the run was too short: {windows:?}");
    };
    let full = &windows[1..windows.len() - 1];
    let used: u64 = full.iter().map(|window| window.used).sum();
    let permitted = limit as f64 * (last.start_ms - first.start_ms) as f64 / WINDOW_MS;
    let refused = spent.calls.intercom.refused() + spent.calls.keap.refused();
    Ok((used as f64 / permitted, full.len(), refused))
}

/// Measures the peak memory of a daemon that writes new contacts.
pub(crate) async fn memory(
    table: &mut Table,
    databases: &Databases,
    sizes: &Sizes,
) -> anyhow::Result<()> {
    eprintln!("Memory:");
    for &count in sizes.memory {
        let mut site = site(databases).await?;
        site.stand_ins.add_people(count).await?;
        let spent = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
        peak(table, "Peak memory", count, spent.peak_kb);
        agreed(
            table,
            &format!("Lost or doubled of {count}"),
            &site.stand_ins.verify().await?,
            count,
        );
    }
    Ok(())
}

/// Kills a run over very many new contacts early. Measures its memory, and where the next start
/// resumes.
pub(crate) async fn killed_and_resumed(
    table: &mut Table,
    databases: &Databases,
    (count, within): (u64, Duration),
) -> anyhow::Result<()> {
    eprintln!("{count} contacts, killed after a tenth:");
    let mut site = site(databases).await?;
    site.stand_ins.add_people(count).await?;
    let before = finished(site.daemon(Goal::Written(count / 10), End::Kill, within).await?)?;
    let rest = count - before.contacts;
    let after = site.daemon(Goal::Written(rest), End::Stop, within).await?;
    let recorded = before.contacts + after.contacts;
    let verdict = site.stand_ins.verify().await?;

    peak(table, "Peak memory", count, before.peak_kb.max(after.peak_kb));
    if !after.goal_reached {
        table.row(
            &format!("… stopped after {} s with", within.as_secs()),
            format!("{recorded} contacts"),
        );
    }
    let lists = before.calls.keap.of("list") + after.calls.keap.of("list");
    // Both starts read the newest stamp, the second reads the interrupted page again, and the end
    // is read twice.
    let beside = lists.saturating_sub(recorded.div_ceil(PAGE));
    table.count(
        "… Keap calls beside one a page, the kill included",
        beside.to_string(),
        "≤ 10",
        beside <= 10,
    );
    let found = after.first_write_ms.context("nothing was written")?;
    table.row("… time to the first write after the kill", format!("{found:.0} ms"));
    table.row(
        "… contacts a second",
        format!("{:.0}", recorded as f64 / (before.seconds + after.seconds)),
    );
    agreed(table, &format!("Lost or doubled of {recorded}"), &verdict, recorded);
    Ok(())
}

pub(crate) fn peak(table: &mut Table, what: &str, count: u64, peak_kb: u64) {
    table.count(
        &format!("{what} with {count} contacts"),
        format!("{:.1} MB", peak_kb as f64 / 1024.0),
        "≤ 40 MB",
        peak_kb <= MEMORY_GOAL_KB,
    );
}

/// Checks that every recorded contact is in Intercom, once, with the values of Keap.
pub(crate) fn agreed(table: &mut Table, measure: &str, verdict: &Verdict, recorded: u64) {
    let lost = recorded.saturating_sub(verdict.equal);
    let wrong = lost + verdict.doubled + verdict.strangers + verdict.different;
    table.count(measure, wrong.to_string(), "0", wrong == 0);
}

pub(crate) fn finished(spent: Spent) -> anyhow::Result<Spent> {
    anyhow::ensure!(
        spent.goal_reached,
        "the daemon was too slow: {} contacts in {:.0} s, calls {:?}",
        spent.contacts,
        spent.seconds,
        spent.calls
    );
    Ok(spent)
}
