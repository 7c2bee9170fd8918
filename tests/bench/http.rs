//! The HTTP surface: how fast deliveries are stored and answered, and what a connection costs.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon;
use crate::database::Databases;
use crate::measure::{Site, memory_kb};
use crate::process::Process;
use crate::stand_ins::StandIns;
use crate::table::Table;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Deliveries of one measurement: few enough that the limit of deliveries does not slow them.
const DELIVERIES: usize = 480;
/// Contacts in each delivery.
const CONTACTS: usize = 10;
/// Senders that work side by side.
const SENDERS: usize = 8;
/// Many systems let a process open 1,024 files; these stay below.
const CONNECTIONS: usize = 900;
/// A request or an answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn surface(table: &mut Table, databases: &Databases) -> anyhow::Result<()> {
    eprintln!("The HTTP surface:");
    let stand_ins = StandIns::start().await?;
    let site = Site::open(stand_ins, databases.create("bench").await?).await?;
    let (seconds, slowest) = deliveries(&start(&site)?).await?;
    table.goal(
        &format!("Deliveries of {CONTACTS} contacts stored and answered a second (slowest answer)"),
        format!("{:.0} ({:.0} ms)", DELIVERIES as f64 / seconds, slowest.as_secs_f64() * 1000.0),
        "≥ 50, as many as are let in",
        DELIVERIES as f64 / seconds >= 50.0,
    );
    let idle = connections(&start(&site)?, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n", true).await?;
    let half_open = "POST /sync/contact HTTP/1.1\r\nhost: x\r\n";
    let half_open = connections(&start(&site)?, half_open, false).await?;
    table.row(
        "Memory of 1,000 connections: idle after a request, half open",
        format!("{idle:.1}, {half_open:.1} MB"),
    );
    Ok(())
}

/// Starts a daemon for one measurement, so that none uses what another has left.
fn start(site: &Site) -> anyhow::Result<Process> {
    let mut settings = site.stand_ins.settings(site.database.url.as_str());
    settings.push(("KEAP_WEBHOOK_SECRET", SECRET.to_owned()));
    settings.push(("HTTP__MAX_CONNECTIONS", "2000".to_owned()));
    daemon::start(&settings)
}

/// Returns the seconds that all deliveries took, and the time of the slowest.
async fn deliveries(process: &Process) -> anyhow::Result<(f64, Duration)> {
    settle(process).await?;
    let began = Instant::now();
    let senders = (0..SENDERS).map(async |sender| {
        let mut stream = TcpStream::connect(process.first_line.as_str()).await?;
        stream.set_nodelay(true)?;
        let mut slowest = Duration::ZERO;
        for delivery in (sender..DELIVERIES).step_by(SENDERS) {
            let first = 1 + delivery * CONTACTS;
            let keys: Vec<_> = (first..first + CONTACTS)
                .map(|id| json!({"id": id, "timestamp": "2026-01-31T00:00:00Z"}))
                .collect();
            let body = json!({"event_key": "contact.edit", "object_keys": keys}).to_string();
            let head = format!(
                "POST /webhook/keap/{SECRET} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let asked = Instant::now();
            ask(&mut stream, &(head + body.as_str())).await?;
            slowest = slowest.max(asked.elapsed());
        }
        anyhow::Ok(slowest)
    });
    let slowest = try_join_all(senders).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((seconds, slowest.into_iter().max().unwrap_or_default()))
}

/// Opens connections, sends this on each, and returns the megabytes that 1,000 of them take.
async fn connections(process: &Process, sent: &str, answered: bool) -> anyhow::Result<f64> {
    settle(process).await?;
    let before = memory_kb(process, "VmRSS:")?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(process.first_line.as_str()).await?;
        if answered {
            ask(&mut stream, sent).await?;
        } else {
            stream.write_all(sent.as_bytes()).await?;
        }
        open.push(stream);
    }
    // The daemon accepts all of them in this time, and ends none: it ends a connection after five
    // silent seconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = memory_kb(process, "VmRSS:")?;
    for stream in &open {
        let mut byte = [0];
        let ended = stream.try_read(&mut byte).is_ok();
        anyhow::ensure!(!ended, "connections ended before they were measured");
    }
    let kb = after.saturating_sub(before) as f64;
    Ok(kb / 1024.0 * 1000.0 / CONNECTIONS as f64)
}

/// Sends a request so often to a daemon that has started, and returns the milliseconds of each.
pub(crate) async fn times_ms(
    process: &Process,
    request: &str,
    times: usize,
) -> anyhow::Result<Vec<f64>> {
    settle(process).await?;
    let mut stream = TcpStream::connect(process.first_line.as_str()).await?;
    stream.set_nodelay(true)?;
    let mut found = Vec::with_capacity(times);
    for _ in 0..times {
        let asked = Instant::now();
        ask(&mut stream, request).await?;
        found.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(found)
}

/// Waits until the daemon has started and has answered once.
async fn settle(process: &Process) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut stream = TcpStream::connect(process.first_line.as_str()).await?;
    ask(&mut stream, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await
}

/// Sends a request whose answer is 200 and fits into one read.
async fn ask(stream: &mut TcpStream, request: &str) -> anyhow::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer))
        .await
        .context("no answer came")??;
    let answer = String::from_utf8_lossy(&answer[..read]);
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "refused: {answer}");
    Ok(())
}
