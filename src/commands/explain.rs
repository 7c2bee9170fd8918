//! `explain`: says why a contact is, or is not, in Intercom, and what happens next.

use serde_json::json;

use super::look::stamp;
use super::{Ended, NOTHING_DONE, WELL, database, exit};
use crate::config::Settings;
use crate::contact::{IntercomId, KeapId};
use crate::report::Story;
use crate::store::{Explained, Store, StoreError};

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

/// The Keap contact of an id. `Err` says why there is none.
pub(super) async fn keap_id(store: &Store, id: &str) -> Result<Result<KeapId, String>, StoreError> {
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
