//! A daemon that is killed, or whose database or remotes go away: nothing is lost and nothing is
//! doubled.
//!
//! The daemon is the built binary. The stand-ins cause the fault at an exact call, or the test
//! causes it when Postgres shows the right moment.

mod host;
mod kills;
mod postgres;
#[cfg(target_os = "linux")]
mod power;
mod remotes;
mod sessions;

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::PgPool;

use crate::process::{Process, canary, caught_up, world};
use crate::world::World;

const PEOPLE: usize = 60;
const PAGE: usize = 20;

/// Calls to Intercom at once.
const IN_FLIGHT: usize = 8;

/// Sixty people in three pages, recorded in groups of ten.
async fn small_steps(pool: PgPool) -> World {
    let mut world = world(pool, PEOPLE).await;
    world
        .set("KEAP__PAGE_SIZE", PAGE)
        .set("SYNC__RECORD_GROUP", 10)
        .set("SYNC__CONCURRENCY", IN_FLIGHT);
    world
}

/// Three hundred people in one page that takes two seconds to write.
async fn a_long_page(pool: PgPool) -> World {
    let mut world = small_steps(pool).await;
    world.set("KEAP__PAGE_SIZE", 1000);
    world.intercom.knobs(|knobs| knobs.latency_ms = 50);
    world.keap.add_many(240, |n| canary(1000 + n));
    world
}

fn everybody_changes(world: &World, family_name: &str) {
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some(family_name.to_owned());
    });
}

/// Another daemon works until there is nothing to do, and stops in order.
async fn finish(world: &World) {
    let daemon = Process::daemon(world);
    caught_up(world).await;
    daemon.stop().await;
    assert_whole(world).await;
}

/// Both remotes agree, nobody is held, every fault has struck, and at most the run of the daemon
/// that works now is open.
async fn assert_whole(world: &World) {
    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), world.keap.len());
    assert_eq!(
        (world.keap.faults_waiting(), world.intercom.faults_waiting()),
        (0, 0),
        "each fault must have struck"
    );
    assert!(world.held().await.is_empty());
    let running: i64 = number(world, "select count(*) from sync_run where state = 'running'").await;
    assert!(running <= 1, "{running} runs are recorded as running");
}

/// Each contact has exactly this many log rows.
async fn assert_each_is_logged(world: &World, times: usize) {
    let mut logged = BTreeMap::new();
    for line in world.log().await {
        assert_eq!(line.sync_status, "synced", "{line:?}");
        *logged.entry(line.keap_contact_id).or_insert(0) += 1;
    }
    assert_eq!(logged.len(), world.keap.len());
    let others: Vec<_> = logged.iter().filter(|(_, count)| **count != times).collect();
    assert!(others.is_empty(), "not logged {times} time(s): {others:?}");
}

/// No contact is created twice, and none is written more than twice. A second write has equal
/// content. At most `unrecorded` contacts are written twice: those whose first write was not
/// recorded.
fn assert_no_write_is_wasted(world: &World, unrecorded: usize) {
    let mut writes = BTreeMap::<String, Vec<(bool, Value)>>::new();
    for call in world.intercom.ledger() {
        let is_write = ["create", "update"].contains(&call.kind);
        if is_write && (call.applied || call.status == 200) {
            let body = call.body.unwrap();
            let content = ["email", "name", "phone"].map(|field| body[field].clone());
            let writes = writes.entry(call.external_id.unwrap()).or_default();
            writes.push((call.kind == "create", content.into()));
        }
    }
    for (id, writes) in &writes {
        assert!(writes.len() <= 2, "contact {id}: {writes:?}");
        assert!(
            writes.iter().filter(|(is_create, _)| *is_create).count() <= 1,
            "contact {id} was created twice"
        );
        assert!(writes.iter().all(|(_, content)| *content == writes[0].1));
    }
    let again = writes.values().filter(|writes| writes.len() > 1).count();
    assert!(
        again <= unrecorded,
        "{again} contacts were written twice, at most {unrecorded} were not recorded"
    );
}

async fn number(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

async fn recorded(world: &World) -> i64 {
    number(world, "select count(*) from contact_link where state = 'linked'").await
}
