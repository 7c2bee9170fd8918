//! An erasure in words: whether it is done, what proves it, and what happens next.

use super::words::stamp;
use crate::contact::KeapId;
use crate::outcome::Proof;
use crate::store::Erasure;

/// Whether the contact is erased, in one sentence.
pub fn erasure_verdict(erasure: &Erasure) -> &'static str {
    match (erasure.done_at, erasure.waits) {
        (Some(_), _) => "It is erased: nothing of it is stored here, and nobody brings it back.",
        (None, true) => "It is not erased yet: the erasure waits for a person.",
        (None, false) => "It is not erased yet: the erasure is asked for.",
    }
}

/// What happens next, and what a person can do.
pub fn erasure_next(id: KeapId, erasure: &Erasure) -> String {
    match (erasure.done_at, erasure.waits) {
        (Some(_), _) => {
            format!("Nothing. To let it come back: keap-intercom-sync erase --forget {id}.")
        }
        (None, true) => format!(
            "Nothing until a person acts, as the reason says. Then: keap-intercom-sync erase {id}. To take the erasure back: keap-intercom-sync erase --forget {id}."
        ),
        (None, false) => format!(
            "The daemon carries it out, and tries again by itself. To take it back: keap-intercom-sync erase --forget {id}."
        ),
    }
}

/// Who asked, when, under which digest, and the proof. It names no person.
pub fn erasure_lines(erasure: &Erasure) -> Vec<String> {
    let mut lines = vec![format!(
        "asked for {}, by the {}",
        stamp(erasure.requested_at),
        door(&erasure.asked_by)
    )];
    match erasure.done_at {
        Some(at) => lines.push(format!(
            "done {}, by {}",
            stamp(at),
            if erasure.mode.as_deref() == Some("archive") { "archiving" } else { "deletion" }
        )),
        None => lines.push(format!("not done after {} attempt(s)", erasure.attempts)),
    }
    lines.extend(erasure.proof.iter().map(|code| {
        let meaning = Proof::parse(code).map_or("a proof of another release", Proof::meaning);
        format!("proof {code}: {meaning}")
    }));
    lines.extend(erasure.last_error.clone());
    lines.push(format!("digest of the Keap id {}", erasure.digest));
    lines
}

fn door(asked_by: &str) -> &str {
    match asked_by {
        "command" => "command line",
        "http" => "HTTP API",
        "page" => "operator's page",
        other => other,
    }
}
