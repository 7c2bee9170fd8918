//! `explain`: why a contact is, or is not, in Intercom, and what happens next.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Ended, WELL, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;
use crate::store::{Cursor, Explained, Feed};
use crate::sync::lease;

pub async fn run(settings: &Settings, id: KeapId, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    app::prepare_database(&store, Migrate::Refuse).await?;
    let known = store.explain(id).await?;
    let (changed, backfill) = (
        store.cursor(Feed::Changed).await?,
        store.cursor(Feed::Backfill).await?,
    );
    let mut next = next(
        id,
        &known,
        changed.as_ref(),
        backfill.as_ref(),
        settings.sync.max_attempts,
    );
    if lease::is_free(&store).await? {
        next.push_str(" No daemon is running passes now: start one with `keap-intercom-sync run`.");
    }
    if json {
        let mut document = serde_json::to_value(&known)?;
        document["keapContactId"] = json!(id.get());
        document["verdict"] = json!(verdict(&known));
        document["next"] = json!(next);
        println!("{document}");
    } else {
        print(id, &known, &next);
    }
    exit(WELL)
}

/// Whether it is in Intercom, in one sentence.
fn verdict(known: &Explained) -> String {
    match &known.link {
        Some(link) => match &link.intercom_contact_id {
            Some(intercom) => format!("It is in Intercom as {intercom}."),
            None => "It is not in Intercom: it was skipped.".into(),
        },
        None if known.due.as_ref().is_some_and(|due| due.held) => {
            "It is not in Intercom: it is held for a person.".into()
        }
        None => match known.outcomes.first() {
            Some(last) => match (last.action.as_deref(), &last.intercom_contact_id) {
                (Some("archived"), Some(intercom)) => format!(
                    "It is not in Intercom any more: Keap does not have it, and {intercom} was archived."
                ),
                (Some("unlinked"), Some(intercom)) => format!(
                    "Keap does not have it; {intercom} was left in Intercom, without a link."
                ),
                _ => "It is not in Intercom: the last outcome says why.".into(),
            },
            None => "It is not in Intercom, as far as is recorded here.".into(),
        },
    }
}

/// What happens next, and what a person can do about it.
fn next(
    id: KeapId,
    known: &Explained,
    changed: Option<&Cursor>,
    backfill: Option<&Cursor>,
    max_attempts: u32,
) -> String {
    if let Some(due) = &known.due {
        return if due.held {
            format!(
                "Nothing until it changes in Keap. Settle the reason, then: keap-intercom-sync held retry {id}."
            )
        } else if due.due_at > known.now {
            format!(
                "It is tried again at {}, after {} of {max_attempts} attempts.",
                stamp(due.due_at),
                due.attempts
            )
        } else {
            format!(
                "It is among the next that are looked at (reason: {}).",
                due.reason
            )
        };
    }
    let ahead = |cursor: Option<&Cursor>| {
        let walk = cursor.and_then(|cursor| cursor.walk.as_ref());
        walk.is_some_and(|walk| walk.last_id.is_none_or(|last| last.get() < id.get()))
    };
    if known.link.is_some() {
        let look =
            "Nothing until it changes in Keap; a change is looked at by the next poll.".to_owned();
        return if ahead(backfill) {
            look + " A backfill is under way and comes to it, too."
        } else {
            look
        };
    }
    if ahead(changed) || ahead(backfill) {
        return "A walk over Keap is under way and has not come to its id yet.".into();
    }
    if changed.is_none_or(|cursor| cursor.polled_age.is_none()) {
        return "The first poll has not ended yet; it may still come to it.".into();
    }
    if !known.outcomes.is_empty() {
        return format!(
            "Nothing until it changes, or is back, in Keap. To look at it now: keap-intercom-sync sync {id}."
        );
    }
    format!(
        "Nothing was ever recorded of it: Keap does not have it, or it has not changed since the first poll (poll.first_run). To look at it now: keap-intercom-sync sync {id}."
    )
}

fn print(id: KeapId, known: &Explained, next: &str) {
    println!("Keap contact {id}: {}", verdict(known));
    if let Some(link) = &known.link {
        let intercom = link
            .intercom_contact_id
            .as_deref()
            .unwrap_or("no Intercom contact");
        println!(
            "\nlink      {} ({intercom}), since {}",
            link.state,
            stamp(link.created_at)
        );
        println!(
            "          last written {}, {} ago",
            stamp(link.updated_at),
            ago(known.now, link.updated_at)
        );
        if let Some(at) = link.keap_updated_at {
            println!("          for the change that Keap stamped {}", stamp(at));
        }
        if let Some(at) = link.replaced_at {
            println!(
                "          its Intercom contact had vanished and was replaced {}",
                stamp(at)
            );
        }
    }
    if let Some(due) = &known.due {
        let state = if due.held { "held" } else { "due" };
        println!(
            "{}{state:<9} since {}, reason {}, {} attempt(s), next {}",
            if known.link.is_none() { "\n" } else { "" },
            stamp(due.created_at),
            due.reason,
            due.attempts,
            stamp(due.due_at)
        );
        if let Some(error) = &due.last_error {
            println!("          {error}");
        }
        if !due.candidates.is_empty() {
            println!("          Intercom: {}", due.candidates.join(", "));
        }
    }
    println!("\nnext      {next}");
    if known.outcomes.is_empty() {
        println!(
            "\nNo outcome is recorded (an unchanged contact is counted in its run, not recorded)."
        );
        return;
    }
    println!("\noutcomes, newest first (UTC)");
    for outcome in &known.outcomes {
        let mut line = format!(
            "  {}  {:<8} {:<10} {:<9}",
            stamp(outcome.at),
            outcome.status,
            outcome.action.as_deref().unwrap_or("-"),
            outcome.feed.as_deref().unwrap_or("-"),
        );
        for (name, value) in [
            ("", outcome.reason.as_deref()),
            ("Intercom ", outcome.intercom_contact_id.as_deref()),
            ("request ", outcome.request_id.as_deref()),
            ("run ", outcome.run_id.map(|id| id.to_string()).as_deref()),
        ] {
            if let Some(value) = value {
                line.push_str(&format!("  {name}{value}"));
            }
        }
        println!("{line}");
    }
}

fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    match (now - then).num_seconds().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
