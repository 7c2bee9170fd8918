//! The document of `status --json`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::contact::KeapId;
use crate::feed::{Cursor, Walk};
use crate::report::{Status, Trouble, is_counted, lag_seconds};
use crate::store::TwoWay;

/// The document. `linked`: linked contacts. `stale`: whether the last poll is older than the caller
/// allows.
pub(super) fn document(
    status: &Status,
    linked: i64,
    troubles: &[Trouble],
    stale: Option<bool>,
) -> Value {
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
    let lease = status.lease.as_ref().map(
        |lease| json!({ "holder": lease.holder, "epoch": lease.epoch, "live": !status.is_free }),
    );
    json!({
        "database": if status.read_only { "read_only" } else { "ok" },
        "working": troubles.iter().all(|trouble| !trouble.stops), "troubles": troubles,
        "lease": lease, "changed": feed(&status.changed), "backfill": feed(&status.backfill), "sweep": status.sweep.as_ref().map(swept),
        "due": status.due, "held": status.held, "linked": linked, "keap": status.parts.keap, "intercom": status.parts.intercom,
        "webhooks": status.parts.webhooks, "runs": status.runs, "stale": stale,
        "intercomToKeap": status.two_way.as_ref().map(|two_way| two_ways(status, two_way)),
        "pauses": status.pauses.0, "plans": status.plans,
        "mapping": { "heldFields": status.mapping.unfit, "waits": status.mapping.braked() },
    })
}

/// The second direction.
fn two_ways(status: &Status, two_way: &TwoWay) -> Value {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let audit = two_way.audit.as_ref().map(|audit| {
        json!({
            "secondsAgo": audit.age.as_secs(), "seen": audit.seen, "differed": audit.differed,
            "braked": audit.is_braked, "error": audit.failure.as_ref().map(ToString::to_string),
        })
    });
    let queue = status.keap_queue().map(|queue| {
        json!({ "waiting": queue.waiting, "paced": queue.paced, "emptyInSeconds": queue.empty_in.as_secs() })
    });
    let newcomers = json!({
        "next": two_way.newcomers, "braked": two_way.newcomers_braked, "held": two_way.newcomers_held,
    });
    json!({
        "lastReadSecondsAgo": seconds(two_way.read_age), "position": two_way.position,
        "searchLagSeconds": seconds(two_way.search_lag), "notificationsMissingSeconds": seconds(two_way.missed_for),
        "audit": audit, "auditing": two_way.is_auditing, "conflictsToday": two_way.conflicts, "keapQueue": queue,
        "newcomers": newcomers,
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
