//! Which troubles people are told of who do not look. What a trouble is stands in `troubles.rs`; a
//! new one there is told by itself.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::pauses::END_OF_PAUSE;
use super::status::Status;
use super::troubles::{HELD, LIMITED, STAMPS_AHEAD, Trouble, UNREACHABLE, pause_code};
use crate::store::Alarm;

/// From when on a trouble is an alarm.
#[derive(Debug, Clone, Copy)]
pub struct AlarmRules {
    /// Contacts that may wait for a person.
    pub held_above: i64,
    /// How long a pause may last.
    pub paused_after: Duration,
}

impl Status {
    /// What people are told now.
    pub fn alarms(&self, rules: AlarmRules, now: DateTime<Utc>) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> =
            self.troubles().into_iter().filter(|one| self.is_told(one, rules)).map(alarm).collect();
        alarms.extend(self.long_pauses(rules, now));
        // One code, one trouble: the first is the worst.
        let mut codes = Vec::new();
        alarms.retain(|one| {
            let is_first = !codes.contains(&one.code);
            codes.push(one.code.clone());
            is_first
        });
        alarms
    }

    fn is_told(&self, trouble: &Trouble, rules: AlarmRules) -> bool {
        let is_paused = self.pauses.0.iter().any(|pause| pause_code(pause) == trouble.code);
        let code = trouble.code.as_str();
        match code {
            HELD => self.held > rules.held_above,
            // Nobody need do anything.
            STAMPS_AHEAD => false,
            // Polls find the changes.
            "webhooks" | "notifications" => false,
            // A poll repeats itself, and a person who asks for a walk sees what comes of it.
            "run:changed" | "run:backfill" => false,
            _ => !is_paused && !code.starts_with(LIMITED) && !code.starts_with(UNREACHABLE),
        }
    }

    /// A pause is meant. Only one that lasts too long may have been forgotten. The name of the
    /// person stays here.
    fn long_pauses(&self, rules: AlarmRules, now: DateTime<Utc>) -> Vec<Alarm> {
        let is_long = |since: DateTime<Utc>| {
            (now - since).to_std().is_ok_and(|time| time > rules.paused_after)
        };
        let long = self.pauses.0.iter().filter(|pause| is_long(pause.since));
        long.map(|pause| Alarm {
            code: pause_code(pause),
            what: format!(
                "{} is paused since {}",
                pause.scope.in_words(),
                pause.since.format("%Y-%m-%d %H:%M UTC")
            ),
            todo: END_OF_PAUSE.to_owned(),
            stops: pause.stops_changes(self.second.enabled),
        })
        .collect()
    }
}

fn alarm(trouble: Trouble) -> Alarm {
    let Trouble { code, what, todo, stops } = trouble;
    Alarm { code, what, todo, stops }
}

/// A trouble that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseTrouble {
    /// Postgres does not answer.
    Away,
    /// It takes no writes.
    ReadOnly,
}

impl DatabaseTrouble {
    /// What people are told of it.
    pub fn alarm(self) -> Alarm {
        let (code, what) = match self {
            Self::Away => ("database", "the database does not answer, so no contact is synced"),
            Self::ReadOnly => {
                ("database_read_only", "the database is read-only, so no contact is synced")
            }
        };
        let todo = "see why at the server or the provider of the database; the daemon goes on by itself when the database is back";
        Alarm { code: code.into(), what: what.into(), todo: todo.into(), stops: true }
    }
}
