//! Shows the status to a person.

use std::time::Duration;

use super::snapshot::{Snapshot, is_counted, lag_seconds};
use super::troubles::Trouble;
use crate::commands::look::{self, BAD, GOOD, STRONG, number, span, styled};
use crate::commands::runs;
use crate::feed::Cursor;
use crate::tasks::lease;

impl Snapshot {
    /// Prints everything: first whether it works, last the newest runs.
    pub(super) fn show(&self, troubles: &[Trouble]) {
        let works = match troubles.iter().find(|trouble| trouble.stops) {
            None => styled(GOOD, "yes"),
            Some(trouble) => format!("{}: {}", styled(BAD, "no"), trouble.what),
        };
        look::pairs([
            ("working", works),
            ("lease", self.lease_line()),
            ("changed", self.changed_line()),
            ("backfill", self.backfill_line()),
            ("sweep", self.sweep_line()),
            ("linked", look::count(self.linked, "contact")),
            ("due", number(self.due)),
            ("held", number(self.held)),
            ("remotes", self.remotes_line()),
        ]);
        show_todo(troubles);
        if !self.runs.is_empty() {
            outln!("\n{}", styled(STRONG, "last runs"));
            runs::table(&self.runs);
        }
    }

    fn lease_line(&self) -> String {
        match &self.lease {
            Some(lease) if !self.is_free => {
                format!("held by {} (epoch {})", lease::in_words(&lease.holder), lease.epoch)
            }
            _ => "free".into(),
        }
    }

    fn changed_line(&self) -> String {
        let Some(cursor) = &self.changed else {
            return "no cursor yet: the first poll has not happened".into();
        };
        let lag = lag_seconds(cursor).map_or("no poll has succeeded yet".to_owned(), |lag| {
            format!("at most {} behind Keap", span(Duration::from_secs(lag)))
        });
        let position = look::stamp(cursor.position);
        format!("{lag}; newest change recorded {position} UTC{}", walking(cursor))
    }

    fn backfill_line(&self) -> String {
        match &self.backfill {
            None => "none so far".into(),
            Some(cursor) if cursor.walk.is_none() => "done".into(),
            Some(cursor) => format!("under way{}", walking(cursor)),
        }
    }

    fn sweep_line(&self) -> String {
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

    fn remotes_line(&self) -> String {
        match (self.state_of("keap"), self.state_of("intercom"), self.state_of("webhooks")) {
            (Some(keap), Some(intercom), Some(webhooks)) => {
                format!("Keap {keap}, Intercom {intercom}, webhooks {webhooks}")
            }
            _ => "unknown: no daemon answers on this machine (http.listen)".into(),
        }
    }
}

/// Prints what is wrong, and what a person can do about it.
pub(super) fn show_todo(troubles: &[Trouble]) {
    if !troubles.is_empty() {
        outln!("\n{}", styled(STRONG, "to do"));
    }
    for Trouble { what, todo, .. } in troubles {
        outln!("  {what}:\n    {todo}");
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
