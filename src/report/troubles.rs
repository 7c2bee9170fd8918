//! What is wrong, and what to do about it.

use std::time::Duration;

use chrono::Utc;
use serde::Serialize;

use super::pauses::END_OF_PAUSE;
use super::plan::plan_line;
use super::status::{Status, lag_seconds};
use super::words::{count, span};
use crate::feed::{Ahead, Feed, stands_still};
use crate::outcome::{PLAN_REMEDY, RunFailure};
use crate::pause::Pause;
use crate::store::{FailingTarget, Leaving, MappingState, RunState, StoreError};

/// The codes of troubles that [`super::alarms`] treats in a way of their own.
pub(super) const HELD: &str = "held";
pub(super) const STAMPS_AHEAD: &str = "stamps_ahead";
pub(super) const LIMITED: &str = "limited:";
/// The id of the plan follows.
const PLAN: &str = "plan:";
/// Such a trouble cannot be told, at least not to that target.
pub(super) const UNREACHABLE: &str = "unreachable:";

/// Something that is wrong, and what to do.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// A word that stays the same while the trouble lasts, such as `poll_late` or `refused:keap`.
    pub code: String,
    pub what: String,
    pub todo: String,
    /// It keeps contacts from flowing.
    pub stops: bool,
}

impl Trouble {
    pub fn new(
        code: impl Into<String>,
        stops: bool,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { code: code.into(), what: what.into(), todo: todo.into(), stops }
    }

    /// The database does not answer.
    pub fn of_database(error: &StoreError) -> Self {
        Self::new(
            "database",
            true,
            error.to_string(),
            "see whether the server runs and DATABASE_URL is right; the daemon goes on by itself when it answers",
        )
    }
}

impl Status {
    /// What is wrong, the worst first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if self.read_only {
            troubles.push(Trouble::new(
                "database_read_only",
                true,
                "the database is read-only",
                "see why at the provider of the database (a full disk, a failover); the daemon goes on by itself within a minute after it takes writes again",
            ));
        }
        troubles.extend(self.pauses.0.iter().map(|pause| self.pause_trouble(pause)));
        if self.lease.is_none() || self.is_free {
            troubles.push(Trouble::new(
                "no_daemon",
                true,
                "no daemon is running passes",
                "start one: `systemctl start keap-intercom-sync`, or `keap-intercom-sync run`",
            ));
        }
        troubles.extend(remote_trouble(&self.parts.keap, "Keap", "KEAP_API_KEY"));
        troubles.extend(remote_trouble(&self.parts.intercom, "Intercom", "INTERCOM_ACCESS_TOKEN"));
        troubles.extend(self.poll_trouble());
        troubles.extend(self.two_way_troubles());
        troubles.extend(self.walk_troubles());
        troubles.extend(self.ahead_trouble());
        troubles.extend(self.run_troubles());
        if self.held > 0 {
            troubles.push(Trouble::new(
                HELD,
                false,
                match self.held {
                    1 => "1 contact needs a person".to_owned(),
                    held => format!("{} need a person", count(held, "contact")),
                },
                "`keap-intercom-sync held` lists them with the reason",
            ));
        }
        if self.erasures > 0 {
            troubles.push(Trouble::new(
                "erasures",
                false,
                match self.erasures {
                    1 => "1 person is not erased yet".to_owned(),
                    erasures => format!("{erasures} people are not erased yet"),
                },
                "`keap-intercom-sync erase --list` says why",
            ));
        }
        troubles.extend(self.mapping_troubles());
        troubles.extend(self.unreachable.iter().map(unreachable));
        troubles.extend(self.plan_troubles());
        if self.parts.webhooks.as_deref() == Some("incomplete") {
            troubles.push(Trouble::new(
                "webhooks",
                false,
                "subscriptions in Keap are missing or not verified; polls find the changes",
                "`keap-intercom-sync hooks list` shows them, `keap-intercom-sync hooks verify` tries again",
            ));
        }
        troubles
    }

    fn pause_trouble(&self, pause: &Pause) -> Trouble {
        let stops = pause.stops_changes(self.second.enabled);
        Trouble::new(pause_code(pause), stops, pause.in_words(), END_OF_PAUSE)
    }

    /// Each plan that waits for a person.
    fn plan_troubles(&self) -> impl Iterator<Item = Trouble> {
        let now = Utc::now();
        self.plans.iter().map(move |plan| {
            let what = format!("a plan waits: {}", plan_line(plan, now));
            Trouble::new(format!("{PLAN}{}", plan.id), false, what, PLAN_REMEDY)
        })
    }

    /// A changed mapping that waits, and each field that is held for every contact.
    fn mapping_troubles(&self) -> Vec<Trouble> {
        let leaves = self
            .leaving
            .map(|leaving| Trouble::new("scope_brake", false, leaving.in_words(), Leaving::REMEDY));
        let waits = self
            .mapping
            .braked()
            .map(|why| Trouble::new("mapping_waits", false, why, MappingState::REMEDY));
        let held = self.mapping.unfit.iter().map(|field| {
            let name = field.split(':').next().unwrap_or_default();
            Trouble::new(
                format!("field:{name}"),
                false,
                format!("a field is held for every contact: {field}"),
                "correct it on that side or in the settings; the other fields are synced, and the daemon looks again by itself (mapping.check_seconds)",
            )
        });
        waits.into_iter().chain(leaves).chain(held).collect()
    }

    fn poll_trouble(&self) -> Option<Trouble> {
        if self.is_paused(Feed::Changed) {
            return None;
        }
        match self.changed.as_ref().and_then(lag_seconds) {
            None => Some(Trouble::new(
                "poll_late",
                true,
                "no poll has succeeded yet",
                "wait if the daemon has just started; otherwise its log says why: `journalctl -u keap-intercom-sync -p warning`",
            )),
            Some(age) if age > self.poll_age_limit.as_secs() => Some(Trouble::new(
                "poll_late",
                true,
                format!("the last successful poll is {} ago", span(Duration::from_secs(age))),
                "the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
            )),
            Some(_) => None,
        }
    }

    /// Whether a pause explains that a feed does not move.
    fn is_paused(&self, feed: Feed) -> bool {
        self.pauses.of_feed(feed, false).is_some()
    }

    /// Each walk that stands still, whatever the reason.
    fn walk_troubles(&self) -> Vec<Trouble> {
        let feeds = [
            (Feed::Changed, &self.changed),
            (Feed::Backfill, &self.backfill),
            (Feed::Sweep, &self.sweep),
        ];
        let still = feeds
            .into_iter()
            .filter_map(|(feed, cursor)| Some((feed, cursor.as_ref()?.still_for?)))
            .filter(|(feed, time)| {
                !self.is_paused(*feed) && stands_still(*time, self.poll_age_limit)
            });
        let trouble = |(feed, time): (Feed, Duration)| {
            Trouble::new(
                format!("walk:{feed}"),
                true,
                format!("the walk of the feed {feed} has stood still for {}", span(time)),
                "the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
            )
        };
        still.map(trouble).collect()
    }

    fn ahead_trouble(&self) -> Option<Trouble> {
        let Ahead { contacts, example, until } = self.changed.as_ref()?.ahead.as_ref()?;
        let until = until.format("%Y-%m-%d %H:%M:%S UTC");
        Some(Trouble::new(
            STAMPS_AHEAD,
            false,
            format!(
                "{} in Keap with an update stamp ahead of Keap's own clock, up to {until}; one is {example}",
                count(*contacts, "contact")
            ),
            "nothing: they are synced and read again until Keap's clock has come that far; see in Keap what sets such stamps",
        ))
    }

    /// Each feed whose last run that has ended has failed. A sweep is told until the next one,
    /// however many polls come between.
    fn run_troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let mut looked_at = Vec::new();
        let ended = self.runs.iter().filter(|run| run.has_ended());
        for run in ended.chain(&self.last_sweep) {
            if !looked_at.contains(&run.feed.as_str()) {
                looked_at.push(&run.feed);
                if run.state == RunState::Failed {
                    let unknown = RunFailure::Other("without a reason".into());
                    let why = run.failure.as_ref().unwrap_or(&unknown);
                    troubles.push(Trouble::new(
                        format!("run:{}", run.feed),
                        false,
                        format!("the last {} has failed: {why}", run.feed),
                        why.remedy(),
                    ));
                }
            }
        }
        troubles
    }
}

/// A target of alarms that cannot be reached.
fn unreachable(failing: &FailingTarget) -> Trouble {
    let FailingTarget { target, failures, error, waiting, .. } = failing;
    Trouble::new(
        format!("{UNREACHABLE}{target}"),
        false,
        format!(
            "{} cannot be delivered to {target}, after {}: {error}",
            count(*waiting, "alarm"),
            count(i64::from(*failures), "attempt")
        ),
        "the daemon tries again by itself; `keap-intercom-sync notify test` shows whether the setting is right",
    )
}

/// The code of the trouble that a pause makes.
pub(super) fn pause_code(pause: &Pause) -> String {
    format!("paused:{}", pause.scope.as_str())
}

/// What is wrong with a remote, by the word of the daemon.
fn remote_trouble(state: &Option<String>, name: &str, setting: &str) -> Option<Trouble> {
    let state = state.as_deref()?;
    let code = format!("{state}:{}", name.to_lowercase());
    match state {
        "refused" => Some(Trouble::new(
            code,
            true,
            format!("{name} refuses this program"),
            format!("`keap-intercom-sync check` says why; renew {setting} if it is refused"),
        )),
        "failing" => Some(Trouble::new(
            code,
            true,
            format!("{name} is failing"),
            "nothing: the daemon tries again by itself and catches up; see the status page of the service",
        )),
        "limited" => Some(Trouble::new(
            code,
            false,
            format!("the limit of {name} is used up for now"),
            "nothing: the daemon goes on by itself; if this lasts, see who else uses the account",
        )),
        _ => None,
    }
}
