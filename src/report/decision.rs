//! What people have decided about a contact, in words.

use super::words::stamp;
use crate::outcome::Decided;
use crate::store::StoredDecision;

/// Who decided what, when, and how it stands: one line.
pub fn decision_in_words(decision: &StoredDecision) -> String {
    let StoredDecision { reason, decided_by, .. } = decision;
    let what = match (Decided::parse(&decision.decision), &decision.intercom_contact_id) {
        (Some(Decided::Use), Some(id)) => format!("use the Intercom contact {id}"),
        (Some(Decided::Create), _) => "create a new Intercom contact".to_owned(),
        (Some(Decided::Retry), _) => "try it again".to_owned(),
        (Some(Decided::IgnoreUntilChanged), _) => "ignore it until it changes".to_owned(),
        (Some(Decided::Ignore), _) => "ignore it for good".to_owned(),
        // The word of another release.
        _ => decision.decision.clone(),
    };
    let state = match (decision.ended_at, decision.ended_how.as_deref(), decision.done_at) {
        (Some(at), Some(how), _) => format!("{} {}", ended(decision, how), stamp(at)),
        (_, _, Some(at)) => format!("carried out {}, and kept to", stamp(at)),
        _ => "in force".to_owned(),
    };
    let at = stamp(decision.decided_at);
    format!("{at} by {decided_by}: {what} (held for {reason}); {state}")
}

fn ended(decision: &StoredDecision, how: &str) -> String {
    match how {
        "done" => "done".to_owned(),
        "taken_back" => {
            let by = decision.taken_back_by.as_deref().unwrap_or("somebody");
            format!("taken back by {by}")
        }
        "replaced" => "replaced by another decision".to_owned(),
        "void" => "it could not be carried out any more".to_owned(),
        "changed" => "it ended because the contact changed".to_owned(),
        "gone" => "it ended because Keap no longer has the contact".to_owned(),
        other => other.to_owned(),
    }
}
