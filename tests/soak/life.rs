//! The life of a daemon: it starts, a fault strikes, people change things, it starts again, and in
//! the end it is quiet and everything is checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::case::{How, Place};
use crate::changes::Changes;
use crate::checker::{Claim, Finding, Mark};
use crate::postgres_proxy::Moment;
use crate::process::Process;
use crate::scene::Scene;
use crate::sim::{Fault, What};
use crate::story;
use crate::target::Target;

/// A guard against hangs. It measures nothing.
const HANGS: Duration = Duration::from_secs(150);
/// A look at everything costs more than the daemon's own work.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A contact that is deleted while a create of it is unknown is found by the sweep after the look.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Two polls that find nothing.
const IDLE_POLLS: usize = 2;

/// What came of a case.
#[derive(Default)]
pub(crate) struct Played {
    pub findings: Vec<Finding>,
    /// Whether the fault struck where it was to strike.
    pub reached: bool,
    pub kills: usize,
    pub cuts: usize,
    /// What happened to the contacts of the findings, and the last lines of the daemons' logs.
    pub log: Vec<String>,
}

/// Says whether a fault has struck.
#[derive(Clone, Default)]
pub(crate) struct Struck(Arc<AtomicBool>);

impl Struck {
    pub(crate) fn is_true(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn note(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Life {
    pub scene: Scene,
    pub changes: Changes,
    pub kills: usize,
    pub cuts: usize,
    pub began: Instant,
    /// What happened to the daemon, and when.
    pub milestones: Vec<(Instant, String)>,
    target: Target,
    process: Option<Process>,
}

impl Life {
    pub(crate) fn new(scene: Scene, seed: u64) -> Life {
        let changes = Changes::new(StdRng::seed_from_u64(seed));
        Life {
            scene,
            changes,
            kills: 0,
            cuts: 0,
            began: Instant::now(),
            milestones: Vec::new(),
            target: Target::default(),
            process: None,
        }
    }

    pub(crate) fn mark(&mut self, what: impl Into<String>) {
        self.milestones.push((Instant::now(), format!("--- {}", what.into())));
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.process = Some(self.scene.start(&self.target)?);
        self.mark("a daemon has started");
        Ok(())
    }

    /// Another daemon, which stands by.
    pub(crate) fn start_standby(&self) -> anyhow::Result<Process> {
        self.scene.start(&Target::default())
    }

    /// The daemon that stood by is now the one of this life.
    pub(crate) fn promote(&mut self, standby: Process) {
        self.target = standby.target();
        self.process = Some(standby);
    }

    /// Arms a fault at the `nth` call or commit from now on.
    pub(crate) fn arm(&self, place: Place, nth: usize, how: How) -> Struck {
        let struck = Struck::default();
        let action = {
            let (struck, target) = (struck.clone(), self.target.clone());
            move || {
                // First, so that nobody takes the death for one without a reason.
                struck.note();
                if how.kills() {
                    target.kill();
                }
            }
        };
        let (How::Kill(moment) | How::Cut(moment)) = how;
        if place == Place::Commit {
            self.scene.proxy.strike(nth, moment, action);
            return struck;
        }
        let what = match (how, moment) {
            (_, Moment::Before) => What::run_then(move |_| action(), What::Refuse),
            (How::Kill(_), Moment::After) => What::apply_then_run(move |_| action()),
            (How::Cut(_), Moment::After) => What::run_then(move |_| action(), What::ApplyThenDrop),
        };
        let fault = Fault::on("any").nth(nth).what(what);
        match place {
            Place::Keap => self.scene.evidence.keap.fault(fault),
            _ => self.scene.evidence.intercom.fault(fault),
        }
        struck
    }

    /// Takes back every fault that has not struck.
    pub(crate) fn disarm(&self) {
        self.scene.evidence.keap.clear_faults();
        self.scene.evidence.intercom.clear_faults();
        self.scene.proxy.disarm();
    }

    /// Waits until a fault strikes. False if the daemon is quiet before.
    pub(crate) async fn struck(
        &mut self,
        struck: &Struck,
        within: Duration,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        let (mut looked, mut quiet) = (began, 0);
        while !struck.is_true() && began.elapsed() < within && quiet < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if looked.elapsed() < LOOK_EVERY {
                continue;
            }
            let is_quiet = self.findings().await.is_empty();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            looked = Instant::now();
            if !struck.is_true() {
                self.ensure_it_runs()?;
            }
        }
        Ok(struck.is_true())
    }

    /// The daemon was killed: reads its log.
    pub(crate) async fn bury(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.ended(Duration::from_secs(10)).await?;
            self.scene.keep_log(&process.log);
            self.kills += 1;
            self.mark("the daemon was killed");
        }
        Ok(())
    }

    /// Stops the daemon as systemd does.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            let log = Arc::clone(&process.log);
            let (status, _) = process.stop().await?;
            self.scene.keep_log(&log);
            anyhow::ensure!(status.success(), "{}", log.blame("the daemon failed while stopping"));
        }
        Ok(())
    }

    async fn findings(&self) -> Vec<Finding> {
        // Before its first migration, the daemon has no tables.
        let unread = |error: sqlx::Error| {
            vec![Finding { claim: Claim::NoneDue, what: format!("no table can be read: {error}") }]
        };
        self.scene.evidence.check().await.unwrap_or_else(unread)
    }

    fn ensure_it_runs(&mut self) -> anyhow::Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.is_running() {
            return Ok(());
        }
        let log = Arc::clone(&process.log);
        self.scene.keep_log(&log);
        Err(log.blame("the daemon ended by itself"))
    }

    /// Waits until every claim holds. Returns those that do not hold in the end.
    pub(crate) async fn quiet(&mut self) -> anyhow::Result<Vec<Finding>> {
        let (began, mut swept) = (Instant::now(), Instant::now());
        loop {
            let findings = self.findings().await;
            if findings.is_empty() || began.elapsed() > HANGS {
                return Ok(findings);
            }
            self.ensure_it_runs()?;
            let orphan = findings.iter().any(|finding| finding.claim == Claim::NoOrphan);
            let walks = findings.iter().any(|finding| finding.claim == Claim::NoRunOpen);
            if orphan && !walks && swept.elapsed() > SWEEP_EVERY {
                self.scene.request_sweep().await?;
                swept = Instant::now();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A hold that can end in Intercom is looked at again from time to time, which is no matter of an
    /// idle time.
    async fn delay_looks_at_holds(&self) -> anyhow::Result<()> {
        let sql = "update contact_hold set recheck_at = now() + interval '1 h' where recheck_at is not null";
        sqlx::query(sql).execute(&self.scene.evidence.pool).await?;
        Ok(())
    }

    /// Waits until the daemon has polled this often more. A poll that finds nothing is one call.
    async fn polls(&self, number: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        let evidence = &self.scene.evidence;
        let count = || (evidence.keap.count("list"), evidence.intercom.count("search"));
        let before = count();
        // Where both directions are on, both sides are polled.
        let is_two_way = evidence.owners.is_two_way();
        let is_over = |(keap, intercom): (usize, usize)| {
            keap >= before.0 + number && (!is_two_way || intercom >= before.1 + number)
        };
        while !is_over(count()) {
            anyhow::ensure!(began.elapsed() < HANGS, "the daemon does not poll");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The end of every life: a sweep, quiet, idle, stopped in order, and no canary anywhere.
    /// `lived`: what came of the life so far, and whether its fault was reached.
    pub(crate) async fn finish(mut self, lived: anyhow::Result<bool>) -> anyhow::Result<Played> {
        let ended = match lived {
            Ok(reached) => self.ending().await.map(|findings| (reached, findings)),
            Err(error) => Err(error),
        };
        if let Some(process) = self.process.take() {
            self.scene.keep_log(&process.kill());
        }
        let canaries = self.scene.canaries().await;
        let story = match &ended {
            Ok((_, findings)) => story::of(&self, findings).await,
            Err(_) => Vec::new(),
        };
        let (kills, cuts) = (self.kills, self.cuts);
        let log = [story, self.scene.last_lines(12)].concat();
        self.scene.end().await?;
        let (reached, mut findings) = ended?;
        findings.extend(canaries.context("the tables cannot be read")?);
        Ok(Played { findings, reached, kills, cuts, log })
    }

    async fn ending(&mut self) -> anyhow::Result<Vec<Finding>> {
        self.disarm();
        if !self.is_running() {
            self.start()?;
        }
        self.scene.request_sweep_when_ready().await?;
        self.changes.finish(&self.scene.evidence);
        let findings = self.quiet().await?;
        if !findings.is_empty() {
            return Ok(findings);
        }
        // Polls read what has just changed once more, because Keap may show a change late.
        let began = Instant::now();
        while !self.scene.evidence.is_settled().await? && began.elapsed() < HANGS {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.polls(1).await?;
        let findings = self.quiet().await?;
        if !findings.is_empty() {
            return Ok(findings);
        }
        self.delay_looks_at_holds().await?;
        let mark = Mark::now(&self.scene.evidence).await?;
        self.polls(IDLE_POLLS).await?;
        let mut findings = mark.cost(&self.scene.evidence).await?;
        findings.extend(self.quiet().await?);
        if let Some(process) = &self.process {
            self.scene.keep_answers(process).await?;
        }
        self.stop().await?;
        // A poll that stops in the middle goes on at the next start.
        let after = self.findings().await.into_iter();
        findings.extend(after.filter(|finding| finding.claim != Claim::NoRunOpen));
        Ok(findings)
    }
}
