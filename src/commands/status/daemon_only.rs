//! The status while the database does not answer: what the daemon on this machine knows.

use serde_json::{Value, json};

use super::show::show_todo;
use crate::commands::look::{self, BAD, styled};
use crate::commands::{Ended, SOME_FAILED, ask, exit};
use crate::config::Settings;
use crate::report::Trouble;
use crate::store::StoreError;

/// The parts that the daemon tells of, in the order in which they are shown.
const PARTS: [&str; 7] = ["database", "lease", "poll", "walks", "keap", "intercom", "webhooks"];

/// `error`: why the database cannot be asked. If no daemon answers, nothing could be done.
pub(super) async fn run(settings: &Settings, error: StoreError, json: bool) -> Ended {
    // A schema of another version is no outage: the daemon knows nothing more of it.
    if !error.is_transient() && !error.is_access_denied() {
        return Err(error.into());
    }
    let daemon = match ask::daemon(settings, "/ready").await {
        Ok((_, document)) if document["checks"].is_object() => document,
        _ => {
            let why = "and no daemon answers on this machine (http.listen)";
            return Err(anyhow::anyhow!("{error}; {why}"));
        }
    };
    let troubles = [Trouble::of_database(&error)];
    if json {
        out!("{}\n", document(&daemon, &troubles));
    } else {
        show(&daemon, &troubles);
    }
    exit(SOME_FAILED)
}

fn state<'a>(daemon: &'a Value, part: &str) -> &'a str {
    daemon["checks"][part]["state"].as_str().unwrap_or("unknown")
}

fn show(daemon: &Value, troubles: &[Trouble]) {
    let parts = PARTS.map(|part| format!("{part} {}", state(daemon, part)));
    look::pairs([
        ("working", format!("{}: the database does not answer", styled(BAD, "no"))),
        ("daemon", "answers on this machine; the rest is what it knows".to_owned()),
        ("parts", parts.join(", ")),
    ]);
    show_todo(troubles);
}

/// The document of `status --json`, without what only the database knows.
fn document(daemon: &Value, troubles: &[Trouble]) -> Value {
    json!({
        "database": "down", "working": false, "troubles": troubles,
        "lease": null, "changed": null, "backfill": null, "sweep": null,
        "due": null, "held": null, "linked": null,
        "keap": state(daemon, "keap"), "intercom": state(daemon, "intercom"), "webhooks": state(daemon, "webhooks"),
        "intercomToKeap": null, "runs": [], "stale": null, "pauses": daemon["checks"]["pause"]["pauses"],
    })
}
