//! `erase`: deletes a person for good and prints the proof, takes that back, or lists the proofs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use serde_json::json;
use tokio::time::Instant;

use super::confirm::confirmed;
use super::leased::Leased;
use super::look;
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, database, exit};
use crate::config::{EraseMode, Settings};
use crate::contact::KeapId;
use crate::feed::Feed;
use crate::pause::Direction;
use crate::report::erasure_lines;
use crate::store::{Door, Erasure, Store};
use crate::sync::{Context, Halt, erase_next};
use crate::tasks::lease;

/// Failed attempts from which on the command does not wait any longer. The daemon goes on.
const PATIENT_ATTEMPTS: i32 = 3;
/// The longest wait for a daemon that carries it out.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Erasures that the list shows.
const LISTED: i64 = 50;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(false).args(["id", "forget", "list"]))]
#[command(after_help = "Examples:
  keap-intercom-sync erase 12345            shows what will happen, asks, and erases
  keap-intercom-sync erase 12345 --yes      for scripts
  keap-intercom-sync erase --list           the proofs of all erasures
  keap-intercom-sync erase --forget 12345   lets the person come back

Exit status: 0 all well; 1 not erased yet; 2 nothing could be done; 78 a setting is wrong.")]
pub struct EraseArgs {
    /// The Keap contact id of the person. The contact in Keap is not touched.
    pub id: Option<KeapId>,
    /// Do not ask.
    #[arg(long, requires = "id")]
    pub yes: bool,
    /// Accept that Intercom does not have the person any more, although no record explains it.
    /// First look for the person in Intercom.
    #[arg(long, requires = "id")]
    pub absent: bool,
    /// Take an erasure back: the contact is synced again. What was deleted in Intercom stays
    /// deleted.
    #[arg(long, value_name = "KEAP ID")]
    pub forget: Option<KeapId>,
    /// List the erasures with their proofs, the latest first. They name no person.
    #[arg(long)]
    pub list: bool,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(settings: &Settings, args: EraseArgs) -> Ended {
    match (args.id, args.forget) {
        (Some(id), _) => erase(settings, id, &args).await,
        (None, Some(id)) => forget(&database::open(settings).await?, id, args.json).await,
        (None, None) => list(&database::open(settings).await?, args.json).await,
    }
}

async fn erase(settings: &Settings, id: KeapId, args: &EraseArgs) -> Ended {
    let (parts, cancel) = database::with_remotes(settings).await?;
    let known = parts.store.erasure(id).await?;
    let is_done = known.is_some_and(|known| known.done_at.is_some());
    if !is_done && !args.yes && !asked(settings, id)? {
        outln!("Nothing was erased.");
        return exit(NOTHING_DONE);
    }
    let mut erasure = parts.store.request_erasure(id, Door::Command, args.absent).await?;
    let pauses = parts.store.pauses().await?;
    let of_direction = || pauses.of_direction(Direction::KeapToIntercom, true);
    let pause = pauses.of_feed(Feed::Due, true).or_else(of_direction);
    if let Some(pause) = pause {
        errln!("It is carried out after the pause: {}.", pause.in_words());
    } else if erasure.done_at.is_none() {
        let leased = Leased { parts: &parts, ttl: settings.lease.ttl, cancel: &cancel };
        erasure = carried_out(&leased, id).await?;
    }
    report(&parts.store, id, &erasure, args.json).await
}

/// Says what will happen, and asks.
fn asked(settings: &Settings, id: KeapId) -> anyhow::Result<bool> {
    let what = match settings.erase.mode {
        EraseMode::Delete => "deleted for good, with its conversations",
        EraseMode::Archive => "archived (erase.mode); its data stay in Intercom",
    };
    outln!("Keap contact {id}:");
    outln!("  its contact in Intercom is {what};");
    outln!("  everything that is stored of it here goes;");
    outln!("  digests of its id and its addresses stay, so that nothing brings it back.");
    outln!("The contact in Keap stays.");
    confirmed("Erase it?")
}

/// Carries it out, or waits for the process that holds the lease.
async fn carried_out(leased: &Leased<'_>, id: KeapId) -> anyhow::Result<Erasure> {
    let store = &leased.parts.store;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let erasure = open(store, id).await?;
        let is_over = erasure.attempts >= PATIENT_ATTEMPTS || Instant::now() > deadline;
        if erasure.done_at.is_some() || erasure.waits || is_over || leased.cancel.is_cancelled() {
            return Ok(erasure);
        }
        if let Ok(lease) = lease::take(store, leased.ttl).await? {
            let fitted =
                leased.parts.fit().await.context("the fields of the mapping cannot be read")?;
            let (_, done) = leased
                .run(&fitted, lease, async |context: &Arc<Context>| {
                    alone(context, id, deadline).await
                })
                .await?;
            done?;
            return open(store, id).await;
        }
        tokio::select! {
            () = leased.cancel.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Carries it out in this process, which holds the lease.
async fn alone(context: &Context, id: KeapId, deadline: Instant) -> Result<(), Halt> {
    loop {
        let worked = erase_next(context).await?;
        let erasure = context.store.erasure(id).await?;
        let is_open = erasure.is_some_and(|erasure| {
            erasure.done_at.is_none() && !erasure.waits && erasure.attempts < PATIENT_ATTEMPTS
        });
        if !is_open || context.cancel.is_cancelled() || Instant::now() > deadline {
            return Ok(());
        }
        if !worked {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn open(store: &Store, id: KeapId) -> anyhow::Result<Erasure> {
    let erasure = store.erasure(id).await?;
    erasure.context("somebody has taken the erasure back meanwhile (erase --forget)")
}

async fn report(store: &Store, id: KeapId, erasure: &Erasure, is_json: bool) -> Ended {
    let neighbours: Vec<i64> =
        store.erased_neighbours(id).await?.into_iter().map(KeapId::get).collect();
    let is_done = erasure.done_at.is_some();
    if is_json {
        let action = if is_done { "erased" } else { "queued" };
        out!(
            "{}\n",
            json!({ "keapContactId": id.get(), "action": action, "erasure": erasure, "sameAddress": neighbours })
        );
        return exit(if is_done { WELL } else { SOME_FAILED });
    }
    match (is_done, erasure.waits) {
        (true, _) => outln!("Keap contact {id} is erased:"),
        (false, true) => outln!("Keap contact {id} is not erased. The erasure waits for a person:"),
        (false, false) => outln!("Keap contact {id} is not erased yet. The daemon tries again:"),
    }
    for line in erasure_lines(erasure) {
        outln!("  {line}");
    }
    if !neighbours.is_empty() {
        let ids: Vec<String> = neighbours.iter().map(ToString::to_string).collect();
        outln!(
            "These linked contacts have the same address, and are not synced any more: {}. If one is the same person, erase it too.",
            ids.join(", ")
        );
    }
    exit(if is_done { WELL } else { SOME_FAILED })
}

async fn forget(store: &Store, id: KeapId, is_json: bool) -> Ended {
    let forgotten = store.forget_erasure(id).await?;
    match (is_json, forgotten) {
        (true, _) => out!("{}\n", json!({ "keapContactId": id.get(), "forgotten": forgotten })),
        (false, true) => outln!("Keap contact {id} may come back: it is due now."),
        (false, false) => outln!("Keap contact {id} is not erased."),
    }
    exit(if forgotten { WELL } else { SOME_FAILED })
}

async fn list(store: &Store, is_json: bool) -> Ended {
    let erasures = store.erasures(None, if is_json { i64::MAX } else { LISTED }).await?;
    if is_json {
        out!("{}\n", serde_json::to_string(&erasures)?);
        return exit(WELL);
    }
    if erasures.is_empty() {
        outln!("Nobody was erased.");
        return exit(WELL);
    }
    let rows = erasures.iter().map(|erasure| {
        let state = match (erasure.done_at, erasure.waits) {
            (Some(at), _) => look::stamp(at),
            (None, true) => "waits for a person".into(),
            (None, false) => "open".into(),
        };
        let proof = match &erasure.last_error {
            Some(why) => why.clone(),
            None => erasure.proof.join(", "),
        };
        let asked = look::stamp(erasure.requested_at);
        vec![erasure.digest.clone(), asked, erasure.asked_by.clone(), state, proof]
    });
    look::table(&["DIGEST", "ASKED (UTC)", "BY", "ERASED (UTC)", "PROOF"], &[], &[4], rows);
    exit(WELL)
}
