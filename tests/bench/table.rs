//! The table in markdown, and the machine that made it.

use std::fs::read_to_string;

use sqlx::Connection;
use sqlx::postgres::PgConnection;

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Counts that miss their promise.
    missed: Vec<String>,
}

struct Row {
    measure: String,
    found: String,
    goal: String,
}

impl Table {
    /// Adds a measure without a goal.
    pub(crate) fn row(&mut self, measure: &str, found: impl Into<String>) {
        self.add(measure, found.into(), String::new());
    }

    /// Adds an exact count. The bench fails if it misses its goal.
    pub(crate) fn count(&mut self, measure: &str, found: impl Into<String>, goal: &str, met: bool) {
        if !met {
            self.missed.push(measure.to_owned());
        }
        self.goal(measure, found, goal, met);
    }

    /// Adds a time, which depends on the machine and on its other work.
    pub(crate) fn goal(&mut self, measure: &str, found: impl Into<String>, goal: &str, met: bool) {
        let mark = if met { "✓" } else { "✗" };
        self.add(measure, found.into(), format!("{goal} {mark}"));
    }

    fn add(&mut self, measure: &str, found: String, goal: String) {
        eprintln!("  {measure}: {found}   {goal}");
        self.rows.push(Row { measure: measure.to_owned(), found, goal });
    }

    /// Prints the table. Returns the missed counts.
    pub(crate) fn show(&self) -> &[String] {
        let width = |of: fn(&Row) -> &str, head: &str| {
            let widths = self.rows.iter().map(|row| of(row).chars().count());
            widths.max().unwrap_or(0).max(head.len())
        };
        let measures = width(|row| &row.measure, "measure");
        let founds = width(|row| &row.found, "found");
        let goals = width(|row| &row.goal, "goal");
        println!("| {:measures$} | {:founds$} | {:goals$} |", "measure", "found", "goal");
        println!("|{:-<measures$}--|-{:->founds$}:|{:-<goals$}--|", "", "", "");
        for row in &self.rows {
            println!(
                "| {:measures$} | {:>founds$} | {:goals$} |",
                row.measure, row.found, row.goal
            );
        }
        &self.missed
    }
}

/// Describes CPU, cores, memory, kernel and Postgres in one line, without a name or a path.
pub(crate) async fn machine(database_url: &str) -> anyhow::Result<String> {
    let field = |path: &str, name: &str| {
        let text = read_to_string(path).unwrap_or_default();
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let memory: u64 =
        field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut connection = PgConnection::connect(database_url).await?;
    let (version, fsync, synchronous): (String, String, String) = sqlx::query_as(
        "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(format!(
        "{} · {} cores, shared by the daemon, the stand-ins and Postgres · {:.0} GB · Linux {} · Postgres {version} (fsync {fsync}, synchronous_commit {synchronous})",
        field("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism()?,
        memory as f64 / 1024.0 / 1024.0,
        kernel.trim()
    ))
}
