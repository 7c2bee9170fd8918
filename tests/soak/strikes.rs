//! One fault at an exact call or commit of a run.

use std::time::Duration;

use crate::case::{How, Phase, Place, Strike};
use crate::cast::MIXED;
use crate::database::Database;
use crate::life::{Life, Played};
use crate::scene::Scene;

/// A guard against hangs. It measures nothing.
const HANGS: Duration = Duration::from_secs(60);

/// How many calls and commits a run has without faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub keap: usize,
    pub intercom: usize,
    pub commits: usize,
}

impl Sizes {
    pub(crate) fn of(&self, place: Place) -> usize {
        match place {
            Place::Keap => self.keap,
            Place::Intercom => self.intercom,
            Place::Commit => self.commits,
        }
    }

    fn now(life: &Life) -> Sizes {
        Sizes {
            keap: life.scene.evidence.keap.calls(),
            intercom: life.scene.evidence.intercom.calls(),
            commits: life.scene.proxy.commits(),
        }
    }
}

/// Runs without a fault and counts.
pub(crate) async fn measure(phase: Phase, template: &Database) -> anyhow::Result<Sizes> {
    let mut life = begin(phase, template, 0).await?;
    let before = match phase {
        Phase::First => Sizes::default(),
        Phase::Changes | Phase::Both => Sizes::now(&life),
    };
    set_off(&mut life, phase).await?;
    let findings = life.quiet().await?;
    let after = Sizes::now(&life);
    let ended = life.finish(Ok(true)).await?;
    let wrong = findings.iter().chain(&ended.findings).map(|finding| format!("\n  {finding}"));
    let wrong: String = wrong.collect();
    anyhow::ensure!(
        wrong.is_empty(),
        "a run without a fault is wrong:{wrong}\n{}",
        ended.log.join("\n")
    );
    Ok(Sizes {
        keap: after.keap - before.keap,
        intercom: after.intercom - before.intercom,
        commits: after.commits - before.commits,
    })
}

/// The time before the fault.
async fn begin(phase: Phase, template: &Database, seed: u64) -> anyhow::Result<Life> {
    let template = (phase != Phase::First).then_some(template);
    let scene = match phase {
        Phase::First | Phase::Changes => Scene::new(MIXED, template).await?,
        Phase::Both => Scene::two_way(MIXED, template).await?,
    };
    let mut life = Life::new(scene, seed);
    if phase != Phase::First {
        life.start()?;
        let findings = life.quiet().await?;
        anyhow::ensure!(findings.is_empty(), "the first run does not end: {findings:?}");
        life.scene.evidence.owners.settle(&life.scene.evidence);
    }
    Ok(life)
}

/// The run in which the fault strikes begins.
async fn set_off(life: &mut Life, phase: Phase) -> anyhow::Result<()> {
    match phase {
        Phase::First => life.start(),
        Phase::Changes => {
            life.changes.many(&life.scene.evidence);
            life.scene.request_sweep().await
        }
        Phase::Both => {
            life.changes.on_both_sides(&life.scene.evidence);
            life.scene.request_sweep().await
        }
    }
}

pub(crate) async fn play(strike: Strike, template: &Database) -> anyhow::Result<Played> {
    let mut life = begin(strike.phase, template, strike.seed).await?;
    let reached = strike_once(&mut life, strike).await;
    life.finish(reached).await
}

/// Returns whether the fault has struck.
async fn strike_once(life: &mut Life, strike: Strike) -> anyhow::Result<bool> {
    let Strike { phase, place, nth, how, .. } = strike;
    life.mark("the fault is armed");
    let struck = life.arm(place, nth, how);
    set_off(life, phase).await?;
    let reached = life.struck(&struck, HANGS).await?;
    life.disarm();
    match how {
        How::Kill(_) if reached => life.bury().await?,
        How::Cut(_) if reached => life.cuts += 1,
        _ => {}
    }
    life.changes.around_the_last_writes(&life.scene.evidence, 4);
    life.changes.some(&life.scene.evidence, 3);
    Ok(reached)
}
