//! The document of `status --json`.

use serde_json::{Value, json};

use super::snapshot::{Snapshot, is_counted, lag_seconds};
use super::troubles::Trouble;
use crate::contact::KeapId;
use crate::feed::{Cursor, Walk};

/// The document. `stale`: whether the last poll is older than the caller allows.
pub(super) fn document(snapshot: &Snapshot, troubles: &[Trouble], stale: Option<bool>) -> Value {
    let feed = |cursor: &Option<Cursor>| {
        cursor.as_ref().map(|cursor| {
            json!({
                "position": cursor.position, "settled": cursor.settled,
                "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
                "lagSeconds": lag_seconds(cursor),
                "ahead": cursor.ahead.as_ref().map(|ahead| json!({ "contacts": ahead.contacts, "example": ahead.example.get(), "until": ahead.until })),
                "walk": cursor.walk.as_ref().map(|walk| json!({ "start": walk.start, "end": walk.end, "lastId": walk.last_id.map(KeapId::get) })),
            })
        })
    };
    let lease = snapshot.lease.as_ref().map(
        |lease| json!({ "holder": lease.holder, "epoch": lease.epoch, "live": !snapshot.is_free }),
    );
    json!({
        "database": if snapshot.read_only { "read_only" } else { "ok" },
        "working": troubles.iter().all(|trouble| !trouble.stops), "troubles": troubles,
        "lease": lease, "changed": feed(&snapshot.changed), "backfill": feed(&snapshot.backfill), "sweep": snapshot.sweep.as_ref().map(swept),
        "due": snapshot.due, "held": snapshot.held, "linked": snapshot.linked, "keap": snapshot.state_of("keap"), "intercom": snapshot.state_of("intercom"),
        "webhooks": snapshot.state_of("webhooks"), "runs": snapshot.runs, "stale": stale,
        "mapping": { "heldFields": snapshot.mapping.unfit, "waits": snapshot.mapping.braked() },
    })
}

/// The sweep's cursor: it has a walk, and no position.
fn swept(cursor: &Cursor) -> Value {
    let last_id = |walk: &Walk| walk.last_id.map(KeapId::get);
    json!({
        "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
        "walk": cursor.walk.as_ref().map(|walk| json!({ "lastId": last_id(walk).filter(|_| !is_counted(cursor)), "counting": is_counted(cursor) })),
    })
}
