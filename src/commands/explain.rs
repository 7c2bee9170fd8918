//! `explain`: says why a contact is, or is not, in Intercom, and what happens next.

use serde_json::json;

use super::look::stamp;
use super::{Ended, NOTHING_DONE, WELL, database, exit};
use crate::config::Settings;
use crate::contact::{IntercomId, KeapId};
use crate::outcome::CREATE_BRAKE_REMEDY;
use crate::report::Story;
use crate::store::{Explained, NewcomerStanding, Store, StoreError};

/// Outcomes that are shown, newest first.
const OUTCOMES: i64 = 20;

/// `id`: of Keap, or of Intercom.
pub async fn run(settings: &Settings, id: &str, json: bool) -> Ended {
    let store = database::open(settings).await?;
    let id = match asked(&store, id).await? {
        Asked::Contact(id) => id,
        Asked::Newcomer(standing) => return newcomer(&standing, json),
        Asked::Nobody(why) => {
            errln!("{why}");
            return exit(NOTHING_DONE);
        }
    };
    let story = Story::read(&store, id, settings.sync.max_attempts, OUTCOMES).await?;
    if json {
        let mut document = serde_json::to_value(&story.known)?;
        document["keapContactId"] = json!(id.get());
        document["verdict"] = json!(story.verdict);
        document["next"] = json!(story.next);
        out!("{document}\n");
    } else {
        print(&story);
    }
    exit(WELL)
}

/// Whom the caller asks about.
pub(super) enum Asked {
    Contact(KeapId),
    /// A user of Intercom without a link, who is looked at in its turn, or waits.
    Newcomer(NewcomerStanding),
    /// Nobody, and why.
    Nobody(String),
}

/// Whom an id names.
pub(super) async fn asked(store: &Store, id: &str) -> Result<Asked, StoreError> {
    if let Ok(id) = id.parse() {
        return Ok(Asked::Contact(id));
    }
    let Some(intercom) = IntercomId::new(id) else {
        let why = format!("{id:?} is neither a Keap contact id nor an Intercom contact id");
        return Ok(Asked::Nobody(why));
    };
    let links = store.linked_owners(std::slice::from_ref(&intercom)).await?;
    if let Some(id) = links.get(&intercom) {
        return Ok(Asked::Contact(*id));
    }
    if let Some(standing) = store.newcomer(&intercom).await? {
        return Ok(Asked::Newcomer(standing));
    }
    let former = store.former_owner(&intercom).await?;
    Ok(Asked::Nobody(match former {
        Some(former) => format!(
            "the Intercom contact {intercom} belonged to the contact {former}, which Keap no longer has; it is not brought back into Keap"
        ),
        None => format!("no contact in Keap is linked to the Intercom contact {intercom}"),
    }))
}

/// Says why a user of Intercom has no contact in Keap, and what happens next.
fn newcomer(standing: &NewcomerStanding, json: bool) -> Ended {
    let id = &standing.intercom_contact_id;
    if json {
        out!("{}\n", serde_json::to_string(standing)?);
        return exit(WELL);
    }
    outln!("Intercom user {id}: it has no link to a contact in Keap.");
    outln!();
    let state = if standing.held { "held" } else { "waits" };
    outln!("{state:<9} since {}", stamp(standing.since));
    if let Some(reason) = &standing.reason {
        outln!("{:<9} {reason}", "");
    }
    if let Some(error) = &standing.last_error {
        outln!("{:<9} last error, after {} attempt(s): {error}", "", standing.attempts);
    }
    if let Some(since) = standing.create_since {
        outln!(
            "create    sent to Keap {}, and its answer is not known yet: Keap is searched before it is sent again",
            stamp(since)
        );
    }
    let next = if standing.braked {
        format!("Nothing: the brake on creates stops it. {CREATE_BRAKE_REMEDY}.")
    } else if standing.held {
        format!("Settle the reason, then: keap-intercom-sync held retry {id}.")
    } else {
        format!("It is looked at again at {}.", stamp(standing.next_at))
    };
    outln!("\nnext      {next}");
    exit(WELL)
}

fn print(story: &Story) {
    outln!("Keap contact {}: {}", story.id, story.verdict);
    for (at, fact) in story.facts().iter().enumerate() {
        if at == 0 {
            outln!();
        }
        for (line, text) in fact.lines.iter().enumerate() {
            outln!("{:<9} {text}", if line == 0 { fact.label } else { "" });
        }
    }
    outln!("\nnext      {}", story.next);
    print_outcomes(&story.known);
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
