//! The status in words: one line for each part.

use std::time::Duration;

use chrono::DateTime;

use super::status::{Status, is_counted, lag_seconds};
use super::words::{span, stamp};
use crate::feed::Cursor;
use crate::store::{LeaseHolder, SchemaState, migrations};
use crate::tasks::lease;

impl Status {
    /// Who runs passes.
    pub fn lease_line(&self) -> String {
        lease_line(self.lease.as_ref().filter(|_| !self.is_free))
    }

    /// How far behind the polls are.
    pub fn changed_line(&self) -> String {
        let Some(cursor) = &self.changed else {
            return "no cursor yet: the first poll has not happened".into();
        };
        let lag = lag_seconds(cursor).map_or("no poll has succeeded yet".to_owned(), |lag| {
            format!("at most {} behind Keap", span(Duration::from_secs(lag)))
        });
        // A Keap without contacts has no newest change.
        let newest = if cursor.position == DateTime::UNIX_EPOCH {
            "no change recorded yet".to_owned()
        } else {
            format!("newest change recorded {} UTC", stamp(cursor.position))
        };
        format!("{lag}; {newest}{}", walking(cursor))
    }

    /// How far the walk over all contacts is.
    pub fn backfill_line(&self) -> String {
        match &self.backfill {
            None => "none so far".into(),
            Some(cursor) if cursor.walk.is_none() => "done".into(),
            Some(cursor) => format!("under way{}", walking(cursor)),
        }
    }

    /// How far the search for deleted contacts is.
    pub fn sweep_line(&self) -> String {
        match &self.sweep {
            None => "none so far".into(),
            Some(cursor) if is_counted(cursor) => {
                "under way; checking the contacts that Keap does not list".into()
            }
            Some(cursor) if cursor.walk.is_some() => format!("under way{}", walking(cursor)),
            Some(cursor) => cursor
                .polled_age
                .map_or("none has succeeded yet: see the last runs".to_owned(), |age| {
                    format!("done {} ago", span(age))
                }),
        }
    }
}

/// Who runs passes. `None`: nobody does.
pub fn lease_line(holder: Option<&LeaseHolder>) -> String {
    match holder {
        Some(lease) => {
            format!("held by {} (epoch {})", lease::in_words(&lease.holder), lease.epoch)
        }
        None => "free".into(),
    }
}

/// Whether the database has the tables of this version.
pub fn schema_line(state: &SchemaState) -> String {
    match state {
        SchemaState::Current => {
            format!("current: it has all {} migrations of this version", migrations())
        }
        SchemaState::Behind(missing) => {
            format!("behind: {missing} of the {} migrations of this version missing", migrations())
        }
        SchemaState::Newer => "newer than this version: another release has migrated it".into(),
    }
}

/// Who takes over if the holder of the lease ends. `listening`: the processes that hear of
/// requests, with the holder; `None` where nobody can count them.
pub fn standby_line(listening: Option<i64>) -> String {
    match listening {
        None => "not known: a pooler stands between this program and Postgres".into(),
        Some(..=1) => "none: if this process ends, nobody takes over".into(),
        Some(2) => "1 other process takes over by itself".into(),
        Some(all) => format!("{} other processes, one of which takes over by itself", all - 1),
    }
}

fn walking(cursor: &Cursor) -> String {
    match cursor.walk.as_ref() {
        None => String::new(),
        Some(walk) => walk
            .last_id
            .map_or("; a walk has begun".into(), |id| format!("; a walk is behind Keap id {id}")),
    }
}
