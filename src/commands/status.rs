//! `status`: is it working, how far behind, what is wrong, and what to do.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Ended, SOME_FAILED, WELL, ask, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;
use crate::store::{BRAKE, Cursor, Feed, LeaseHolder, Run, RunState, Store, Walk};
use crate::sync::lease;

pub async fn run(settings: &Settings, stale_after: Option<u64>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    app::prepare_database(&store, Migrate::Refuse).await?;
    let look = Look::take(&store, settings).await?;
    let age = look.changed.as_ref().and_then(lag_seconds);
    let stale = stale_after.map(|limit| age.is_none_or(|age| age > limit));
    if json {
        println!("{}", look.document(stale));
    } else {
        look.print();
        if let (Some(limit), Some(true)) = (stale_after, stale) {
            let age = age.map_or("no poll has succeeded yet".to_owned(), |age| {
                format!("the last successful poll is {age} s ago")
            });
            println!(
                "\nstale     {age}, the limit is {limit} s; the log of the daemon says why (journalctl -u keap-intercom-sync)"
            );
        }
    }
    exit(if stale == Some(true) {
        SOME_FAILED
    } else {
        WELL
    })
}

/// Everything that is told.
struct Look {
    lease: Option<LeaseHolder>,
    is_free: bool,
    changed: Option<Cursor>,
    backfill: Option<Cursor>,
    sweep: Option<Cursor>,
    due: i64,
    held: i64,
    linked: i64,
    runs: Vec<Run>,
    /// What the daemon on this machine says of the remotes and its hooks, if there is one.
    daemon: Option<Value>,
    /// A poll that succeeded longer ago is late.
    poll_age: Duration,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize)]
struct Trouble {
    what: String,
    todo: String,
    /// Contacts do not flow because of it.
    stops: bool,
}

impl Look {
    async fn take(store: &Store, settings: &Settings) -> anyhow::Result<Self> {
        let (due, held) = store.count_due().await?;
        Ok(Self {
            lease: store.lease_holder().await?,
            is_free: lease::is_free(store).await?,
            changed: store.cursor(Feed::Changed).await?,
            backfill: store.cursor(Feed::Backfill).await?,
            sweep: store.cursor(Feed::Sweep).await?,
            due,
            held,
            linked: store.count_linked().await?,
            runs: store.last_runs(5).await?,
            daemon: ask::daemon(settings, "/ready")
                .await
                .ok()
                .map(|(_, document)| document)
                .filter(|document| document["checks"].is_object()),
            poll_age: settings.http.ready_poll_age(),
        })
    }

    /// What is wrong, the worst first.
    fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let mut add = |stops, what: String, todo: &str| {
            troubles.push(Trouble {
                what,
                todo: todo.into(),
                stops,
            });
        };
        if self.lease.is_none() || self.is_free {
            add(
                true,
                "no daemon is running passes".into(),
                "start one: `systemctl start keap-intercom-sync`, or `keap-intercom-sync run`",
            );
        }
        for (part, name, setting) in [
            ("keap", "Keap", "KEAP_API_KEY"),
            ("intercom", "Intercom", "INTERCOM_ACCESS_TOKEN"),
        ] {
            match self.says(part) {
                Some("refused") => add(
                    true,
                    format!("{name} refuses this program"),
                    &format!(
                        "`keap-intercom-sync check` says why; renew {setting} if it is refused"
                    ),
                ),
                Some("failing") => add(
                    true,
                    format!("{name} is failing"),
                    "nothing: it is asked again by itself, and what was missed is caught up; see its status page",
                ),
                Some("limited") => add(
                    false,
                    format!("the limit of {name} is used up for now"),
                    "nothing: it goes on by itself; if it stays so, see who else uses the account",
                ),
                _ => {}
            }
        }
        let age = self.changed.as_ref().and_then(lag_seconds);
        match age {
            None => add(
                true,
                "no poll has succeeded yet".into(),
                "wait, if it has just been started; else the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
            ),
            Some(age) if age > self.poll_age.as_secs() => add(
                true,
                format!("the last successful poll is {age} s ago"),
                "the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
            ),
            Some(_) => {}
        }
        let mut looked_at = Vec::new();
        for run in &self.runs {
            if !looked_at.contains(&run.feed.as_str()) {
                looked_at.push(&run.feed);
                if run.state == RunState::Failed {
                    let why = run.error.as_deref().unwrap_or("without a reason");
                    add(
                        false,
                        format!("the last {} has failed: {why}", run.feed),
                        if why.starts_with(BRAKE) {
                            "see who deletes in Keap; if it is meant, `keap-intercom-sync sync --sweep --force`"
                        } else {
                            "the next one is tried by itself; if it fails again, its reason says what to do"
                        },
                    );
                }
            }
        }
        if self.held > 0 {
            add(
                false,
                format!("{} contact(s) need a person", self.held),
                "`keap-intercom-sync held` lists them with the reason",
            );
        }
        if self.says("webhooks") == Some("incomplete") {
            add(
                false,
                "subscriptions in Keap are missing or not verified; polls find the changes".into(),
                "`keap-intercom-sync hooks list` shows them, `keap-intercom-sync hooks verify` tries again",
            );
        }
        troubles
    }

    /// The state of a part, from the daemon.
    fn says(&self, part: &str) -> Option<&str> {
        self.daemon.as_ref()?["checks"][part]["state"].as_str()
    }

    fn document(&self, stale: Option<bool>) -> Value {
        let feed = |cursor: &Option<Cursor>| {
            cursor.as_ref().map(|cursor| {
                json!({
                    "position": cursor.position, "settled": cursor.settled,
                    "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
                    "lagSeconds": lag_seconds(cursor),
                    "walk": cursor.walk.as_ref().map(|walk| json!({ "start": walk.start, "end": walk.end, "lastId": walk.last_id.map(|id| id.get()) })),
                })
            })
        };
        let lease = self.lease.as_ref().map(
            |lease| json!({ "holder": lease.holder, "epoch": lease.epoch, "live": !self.is_free }),
        );
        let troubles = self.troubles();
        json!({
            "working": troubles.iter().all(|trouble| !trouble.stops), "troubles": troubles,
            "lease": lease, "changed": feed(&self.changed), "backfill": feed(&self.backfill), "sweep": self.sweep.as_ref().map(swept),
            "due": self.due, "held": self.held, "linked": self.linked, "keap": self.says("keap"), "intercom": self.says("intercom"),
            "webhooks": self.says("webhooks"), "runs": self.runs, "stale": stale,
        })
    }

    fn print(&self) {
        let troubles = self.troubles();
        match troubles.iter().find(|trouble| trouble.stops) {
            None => println!("working   yes"),
            Some(trouble) => println!("working   no: {}", trouble.what),
        }
        self.print_feeds();
        println!(
            "linked    {} contacts\ndue       {}\nheld      {}",
            self.linked, self.due, self.held
        );
        match (
            self.says("keap"),
            self.says("intercom"),
            self.says("webhooks"),
        ) {
            (Some(keap), Some(intercom), Some(webhooks)) => {
                println!("remotes   Keap {keap}, Intercom {intercom}, webhooks {webhooks}");
            }
            _ => println!("remotes   unknown: no daemon answers on this machine (http.listen)"),
        }
        if !troubles.is_empty() {
            println!("\nto do");
        }
        for Trouble { what, todo, .. } in &troubles {
            println!("  {what}:\n    {todo}");
        }
        if !self.runs.is_empty() {
            println!("\nlast runs (UTC)");
        }
        self.runs.iter().for_each(print_run);
    }

    fn print_feeds(&self) {
        match &self.lease {
            Some(lease) if !self.is_free => println!(
                "lease     held by {} (epoch {})",
                lease::in_words(&lease.holder),
                lease.epoch
            ),
            _ => println!("lease     free"),
        }
        match &self.changed {
            None => println!("changed   no cursor yet: the first poll has not happened"),
            Some(cursor) => {
                let lag = lag_seconds(cursor)
                    .map_or("no poll has succeeded yet".to_owned(), |lag| {
                        format!("at most {lag} s behind Keap")
                    });
                let position = cursor.position.format("%Y-%m-%d %H:%M:%S UTC");
                println!(
                    "changed   {lag}; newest change recorded {position}{}",
                    walking(cursor)
                );
            }
        }
        match &self.backfill {
            None => println!("backfill  none so far"),
            Some(cursor) if cursor.walk.is_none() => println!("backfill  done"),
            Some(cursor) => println!("backfill  under way{}", walking(cursor)),
        }
        match &self.sweep {
            None => println!("sweep     none so far"),
            Some(cursor) if is_counted(cursor) => {
                println!("sweep     under way; looking at what Keap does not list")
            }
            Some(cursor) if cursor.walk.is_some() => {
                println!("sweep     under way{}", walking(cursor))
            }
            Some(cursor) => println!(
                "sweep     {}",
                cursor.polled_age.map_or(
                    "none has succeeded yet: see the last runs".to_owned(),
                    |age| format!("done {} s ago", age.as_secs())
                )
            ),
        }
    }
}

fn print_run(run: &Run) {
    let counts = run.counts;
    println!(
        "  {}  {:<8} {:<9} seen {}, created {}, linked {}, updated {}, unchanged {}, skipped {}, held {}, failed {}{}; calls: Keap {}, Intercom {}{}",
        run.created_at.format("%Y-%m-%d %H:%M:%S"),
        run.feed,
        run.state.as_str(),
        counts.seen,
        counts.created,
        counts.linked,
        counts.updated,
        counts.unchanged,
        counts.skipped,
        counts.held,
        counts.failed,
        if run.feed == Feed::Sweep.as_str() {
            format!(
                ", archived {}, unlinked {}, late {}",
                counts.archived, counts.unlinked, counts.late
            )
        } else {
            String::new()
        },
        counts.keap_calls,
        counts.intercom_calls,
        run.error
            .as_ref()
            .map(|error| format!("; {error}"))
            .unwrap_or_default(),
    );
}

/// The sweep's walk has passed every id.
fn is_counted(cursor: &Cursor) -> bool {
    cursor
        .walk
        .as_ref()
        .is_some_and(|walk| walk.last_id == Some(KeapId::LAST))
}

/// The sweep has a place, and no position.
fn swept(cursor: &Cursor) -> serde_json::Value {
    let last_id = |walk: &Walk| walk.last_id.map(KeapId::get);
    json!({
        "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
        "walk": cursor.walk.as_ref().map(|walk| json!({ "lastId": last_id(walk).filter(|_| !is_counted(cursor)), "counting": is_counted(cursor) })),
    })
}

/// Every change that Keap showed before this many seconds ago is recorded: the last whole poll has seen it.
fn lag_seconds(cursor: &Cursor) -> Option<u64> {
    cursor.polled_age.map(|age| age.as_secs())
}

fn walking(cursor: &Cursor) -> String {
    match cursor.walk.as_ref() {
        None => String::new(),
        Some(walk) => walk.last_id.map_or("; a walk has begun".into(), |id| {
            format!("; a walk is behind Keap id {id}")
        }),
    }
}
