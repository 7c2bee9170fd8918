//! `explain`: says why a contact is, or is not, in Intercom, and what happens next.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Ended, NOTHING_DONE, WELL, database, exit};
use crate::config::Settings;
use crate::contact::{IntercomId, KeapId};
use crate::feed::{Cursor, Feed};
use crate::outcome::Action;
use crate::store::{Explained, Store, StoreError};
use crate::tasks::lease;

/// Outcomes that are shown, newest first.
const OUTCOMES: i64 = 20;

/// `id`: of Keap, or of Intercom.
pub async fn run(settings: &Settings, id: &str, json: bool) -> Ended {
    let store = database::open(settings).await?;
    let id = match keap_id(&store, id).await? {
        Ok(id) => id,
        Err(why) => {
            errln!("{why}");
            return exit(NOTHING_DONE);
        }
    };
    let known = store.explain(id, OUTCOMES).await?;
    let (changed, backfill) =
        (store.cursor(Feed::Changed).await?, store.cursor(Feed::Backfill).await?);
    let mut next =
        next(id, &known, changed.as_ref(), backfill.as_ref(), settings.sync.max_attempts);
    if lease::is_free(&store).await? {
        next.push_str(" No daemon is running passes now: start one with `keap-intercom-sync run`.");
    }
    if json {
        let mut document = serde_json::to_value(&known)?;
        document["keapContactId"] = json!(id.get());
        document["verdict"] = json!(verdict(&known));
        document["next"] = json!(next);
        outln!("{document}");
    } else {
        print(id, &known, &next);
    }
    exit(WELL)
}

/// The Keap contact of an id. `Err` says why there is none.
async fn keap_id(store: &Store, id: &str) -> Result<Result<KeapId, String>, StoreError> {
    if let Ok(id) = id.parse() {
        return Ok(Ok(id));
    }
    let Some(intercom) = IntercomId::new(id) else {
        return Ok(Err(format!("{id:?} is neither a Keap contact id nor an Intercom contact id")));
    };
    let links = store.linked_owners(std::slice::from_ref(&intercom)).await?;
    let none = || format!("no contact in Keap is linked to the Intercom contact {intercom}");
    Ok(links.get(&intercom).copied().ok_or_else(none))
}

/// One sentence: is the contact in Intercom?
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
            Some(last) => {
                match (last.action.as_deref().and_then(Action::parse), &last.intercom_contact_id) {
                    (Some(Action::Archived), Some(intercom)) => format!(
                        "It is not in Intercom any more: Keap does not have it, and {intercom} was archived."
                    ),
                    (Some(Action::Unlinked), Some(intercom)) => format!(
                        "Keap does not have it; {intercom} was left in Intercom, without a link."
                    ),
                    _ => "It is not in Intercom: the last outcome says why.".into(),
                }
            }
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
        let later = due.due_at.filter(|at| *at > known.now);
        return match (due.held, later) {
            (true, Some(at)) => format!(
                "It is looked at again by itself at {}, or when it changes in Keap. Sooner: keap-intercom-sync held retry {id}.",
                stamp(at)
            ),
            // Its time has come, so the next poll looks at it.
            (true, None) if due.due_at.is_some() => "The next poll looks at it again.".to_owned(),
            (true, None) => format!(
                "Nothing until it changes in Keap. Settle the reason, then: keap-intercom-sync held retry {id}."
            ),
            (false, Some(at)) => format!(
                "It is tried again at {}, after {} of {max_attempts} attempts.",
                stamp(at),
                due.attempts
            ),
            (false, None) => format!("The next pass looks at it (reason: {}).", due.reason),
        };
    }
    let ahead = |cursor: Option<&Cursor>| {
        let walk = cursor.and_then(|cursor| cursor.walk.as_ref());
        walk.is_some_and(|walk| walk.last_id.is_none_or(|last| last.get() < id.get()))
    };
    if known.link.is_some() {
        let nothing = "Nothing until it changes in Keap. The next poll finds a change.".to_owned();
        return if ahead(backfill) {
            nothing + " A backfill is under way and has not reached it yet."
        } else {
            nothing
        };
    }
    if ahead(changed) || ahead(backfill) {
        return "A walk over Keap is under way and has not reached its id yet.".into();
    }
    if changed.is_none_or(|cursor| cursor.polled_age.is_none()) {
        return "The first poll has not ended yet; it may still find it.".into();
    }
    if !known.outcomes.is_empty() {
        return format!(
            "Nothing until it changes, or is back, in Keap. To look at it now: keap-intercom-sync sync {id}."
        );
    }
    format!(
        "Nothing was ever recorded about it: Keap does not have it, or it has not changed since the first poll (poll.first_run). To look at it now: keap-intercom-sync sync {id}."
    )
}

fn print(id: KeapId, known: &Explained, next: &str) {
    outln!("Keap contact {id}: {}", verdict(known));
    print_link(known);
    print_fields(id, known);
    print_due(known);
    print_writes(known);
    outln!("\nnext      {next}");
    print_outcomes(known);
}

fn print_link(known: &Explained) {
    let Some(link) = &known.link else { return };
    let intercom = link.intercom_contact_id.as_deref().unwrap_or("no Intercom contact");
    outln!("\nlink      {} ({intercom}), since {}", link.state, stamp(link.created_at));
    outln!(
        "          last written {}, {} ago",
        stamp(link.updated_at),
        ago(known.now, link.updated_at)
    );
    if let Some(at) = link.keap_updated_at {
        outln!("          for the change that Keap stamped {}", stamp(at));
    }
    if let Some(at) = link.replaced_at {
        outln!("          its Intercom contact had vanished and was replaced {}", stamp(at));
    }
}

fn print_fields(id: KeapId, known: &Explained) {
    if known.fields.is_empty() {
        return;
    }
    let of = |state: &str| {
        let names = known.fields.iter().filter(|field| field.keap == state);
        names.map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut label = "fields";
    for (state, words) in
        [("value", "had a value in Keap"), ("empty", "were empty"), ("unknown", "were never read")]
    {
        let names = of(state);
        if !names.is_empty() {
            outln!("{label:<9} {words}: {names}");
            label = "";
        }
    }
    outln!("          their values now: keap-intercom-sync sync {id} --dry-run --verbose");
}

fn print_due(known: &Explained) {
    let Some(due) = &known.due else { return };
    let first = if known.link.is_none() { "\n" } else { "" };
    let since = |at: DateTime<Utc>| format!("since {}, for {}", stamp(at), ago(known.now, at));
    if due.held {
        outln!("{first}held      {}", since(due.held_since.unwrap_or(due.created_at)));
    } else {
        let attempts = if due.attempts == 0 {
            String::new()
        } else {
            format!(", {} attempt(s)", due.attempts)
        };
        let next = due.due_at.map(|at| format!(", next {}", stamp(at))).unwrap_or_default();
        outln!("{first}due       {}, reason {}{attempts}{next}", since(due.created_at), due.reason);
        if let Some(at) = due.held_since {
            outln!("          it is held {}; this look decides whether it stays so", since(at));
        }
    }
    if let Some(error) = &due.last_error {
        outln!("          {error}");
    }
    if !due.candidates.is_empty() {
        outln!("          Intercom: {}", due.candidates.join(", "));
    }
}

fn print_writes(known: &Explained) {
    for write in &known.open_writes {
        let side = if write.side == "keap" { "Keap" } else { "Intercom" };
        let then = write.read_again_at.map_or_else(
            || "the contact is read there before anything else is decided".to_owned(),
            |at| {
                format!("the contact was read there since, and is read once more at {}", stamp(at))
            },
        );
        outln!(
            "write     {} at {side} since {}, whose outcome is not known yet: {then}",
            write.kind,
            stamp(write.since)
        );
    }
}

fn print_outcomes(known: &Explained) {
    if known.outcomes.is_empty() {
        outln!(
            "\nNo outcome is recorded (an unchanged contact is counted in its run, not recorded)."
        );
        return;
    }
    outln!("\noutcomes, newest first (UTC)");
    for outcome in &known.outcomes {
        let mut line = format!(
            "  {}  {:<8} {:<10} {:<9}",
            stamp(outcome.at),
            outcome.status,
            outcome.action.as_deref().unwrap_or("-"),
            outcome.feed.as_deref().unwrap_or("-"),
        );
        let to_keap = (outcome.direction == "intercom_to_keap").then_some("written to Keap");
        for (name, value) in [
            ("", to_keap),
            ("", outcome.reason.as_deref()),
            ("Intercom ", outcome.intercom_contact_id.as_deref()),
            ("request ", outcome.request_id.as_deref()),
            ("run ", outcome.run_id.map(|id| id.to_string()).as_deref()),
        ] {
            if let Some(value) = value {
                line += "  ";
                line += name;
                line += value;
            }
        }
        outln!("{line}");
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
