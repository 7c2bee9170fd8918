//! Both stand-ins in a process of their own, so that the bench measures the daemon alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::daemon::{self, Settings};
use crate::process::{Process, end_with_parent};
use crate::sim::{self, client};

/// The first word that makes a process the stand-ins.
pub(crate) const WORD: &str = "stand-ins";

pub(crate) struct StandIns {
    // The process ends when this value is dropped.
    _process: Process,
    urls: Urls,
    limited: bool,
    /// The settings file of the daemon, if it has one.
    file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Urls {
    keap: String,
    keap_token: String,
    intercom: String,
    intercom_token: String,
    control: String,
}

/// Calls so far, by their kind and by the status of the answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Calls {
    pub keap: OfOne,
    pub intercom: OfOne,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct OfOne {
    pub calls: u64,
    pub kinds: BTreeMap<String, u64>,
    pub statuses: BTreeMap<u16, u64>,
}

impl OfOne {
    pub(crate) fn refused(&self) -> u64 {
        self.statuses.get(&429).copied().unwrap_or(0)
    }

    pub(crate) fn of(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Windows {
    pub windows: Vec<Window>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Window {
    pub start_ms: i64,
    pub used: u64,
}

/// How far both memories agree.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    pub equal: u64,
    pub different: u64,
    pub doubled: u64,
    pub strangers: u64,
}

/// Runs the stand-ins until the parent ends.
pub(crate) fn run() -> anyhow::Result<()> {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(sim::serve_forever(0, 0, 0))?)
}

impl StandIns {
    pub(crate) async fn start() -> anyhow::Result<StandIns> {
        let process = Process::start(&[WORD], &[])?;
        let urls = serde_json::from_str(&process.first_line)?;
        let stand_ins = StandIns { _process: process, urls, limited: false, file: None };
        // A ledger of a million calls would slow the stand-ins.
        stand_ins.order("ledger", json!({"keep_calls": false})).await?;
        Ok(stand_ins)
    }

    /// The daemon's settings. Where a remote announces no limit, the daemon assumes none that it
    /// would meet.
    pub(crate) fn settings(&self, database_url: &str) -> Settings {
        let Urls { keap, keap_token, intercom, intercom_token, .. } = &self.urls;
        let mut settings =
            daemon::settings(database_url, (keap, keap_token), (intercom, intercom_token));
        if let Some(file) = &self.file {
            settings.push((daemon::SETTINGS_FILE, file.display().to_string()));
        }
        if !self.limited {
            let no_limit = [
                ("INTERCOM__CALLS_PER_10_SECONDS", "100000"),
                ("KEAP__CALLS_PER_SECOND", "1000"),
                ("KEAP__CALLS_PER_MINUTE", "60000"),
            ];
            settings.extend(no_limit.map(|(name, value)| (name, value.to_owned())));
        }
        settings
    }

    /// From now on, the daemon has this settings file.
    pub(crate) fn map_by(&mut self, file: PathBuf) {
        self.file = Some(file);
    }

    /// Sends an order to the stand-ins; the paths are those of `tests/sim/control.rs`.
    pub(crate) async fn order(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/control/{path}", self.urls.control);
        let headers = [("content-type", "application/json")];
        let reply = client::send("POST", &url, &headers, body.to_string())
            .await
            .with_context(|| format!("the stand-ins do not answer to {path}"))?;
        anyhow::ensure!(
            reply.status == 200,
            "the stand-ins refuse {path}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        Ok(reply.json())
    }

    /// Sets exact limits at both remotes. The daemon keeps its defaults.
    pub(crate) async fn limit(&mut self, intercom: Value) -> anyhow::Result<()> {
        let keap =
            json!({"per_second": 10, "per_minute": 240, "per_day": 30_000, "tenant_headers": true});
        self.order("keap/knobs", keap).await?;
        self.order("intercom/knobs", intercom).await?;
        self.limited = true;
        Ok(())
    }

    /// Adds people to Keap. Returns the first and the last id.
    pub(crate) async fn add_people(&self, count: u64) -> anyhow::Result<(i64, i64)> {
        let added = self.order("keap/seed", json!({"count": count})).await?;
        let id = |name: &str| added[name].as_i64().context("nobody was added");
        Ok((id("first")?, id("last")?))
    }

    /// Changes the first `count` people in one bulk edit; `what` is `phone`, `touch`, ….
    pub(crate) async fn edit(&self, count: u64, what: &str) -> anyhow::Result<()> {
        let edited = self.order("keap/edit", json!({"count": count, "what": what})).await?;
        anyhow::ensure!(edited["edited"] == count, "not everybody was edited");
        Ok(())
    }

    pub(crate) async fn calls(&self) -> anyhow::Result<Calls> {
        Ok(serde_json::from_value(self.order("calls", Value::Null).await?)?)
    }

    pub(crate) async fn windows(&self) -> anyhow::Result<Vec<Window>> {
        let answer: Windows = serde_json::from_value(self.order("windows", Value::Null).await?)?;
        Ok(answer.windows)
    }

    pub(crate) async fn verify(&self) -> anyhow::Result<Verdict> {
        Ok(serde_json::from_value(self.order("verify", Value::Null).await?)?)
    }

    /// Clears the counts of calls. The memories stay.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        self.order("clear", json!({})).await.map(drop)
    }
}
