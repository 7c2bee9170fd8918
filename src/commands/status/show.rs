//! Shows the status to a person.

use crate::commands::look::{self, BAD, GOOD, STRONG, number, styled};
use crate::commands::runs;
use crate::report::{PartStates, Status, Trouble};

/// Prints everything: first whether it works, last the newest runs. `linked`: linked contacts.
pub(super) fn show(status: &Status, linked: i64, troubles: &[Trouble]) {
    let works = match troubles.iter().find(|trouble| trouble.stops) {
        None => styled(GOOD, "yes"),
        Some(trouble) => format!("{}: {}", styled(BAD, "no"), trouble.what),
    };
    let two_way = [
        ("intercom", status.intercom_line()),
        ("to Keap", status.keap_queue_line()),
        ("new users", status.newcomers_line()),
        ("audit", status.audit_line()),
        ("conflicts", status.conflicts_line()),
    ];
    let mut pairs = vec![
        ("working", works),
        ("lease", status.lease_line()),
        ("changed", status.changed_line()),
        ("backfill", status.backfill_line()),
        ("sweep", status.sweep_line()),
        ("linked", look::count(linked, "contact")),
        ("due", number(status.due)),
        ("held", number(status.held)),
        ("remotes", remotes_line(&status.parts)),
    ];
    pairs.splice(3..3, two_way.into_iter().filter_map(|(label, line)| Some((label, line?))));
    look::pairs(pairs);
    show_todo(troubles);
    if !status.runs.is_empty() {
        outln!("\n{}", styled(STRONG, "last runs"));
        runs::table(&status.runs);
    }
}

fn remotes_line(parts: &PartStates) -> String {
    match (&parts.keap, &parts.intercom, &parts.webhooks) {
        (Some(keap), Some(intercom), Some(webhooks)) => {
            format!("Keap {keap}, Intercom {intercom}, webhooks {webhooks}")
        }
        _ => "unknown: no daemon answers on this machine (http.listen)".into(),
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
