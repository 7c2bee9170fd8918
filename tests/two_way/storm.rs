//! A storm of notifications about our own writes: none of them causes a write.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::webhook::{deliver, edit_job, started, updated, world};
use crate::http::{OLD_SECRET, url};
use crate::sim::client;
use crate::sim::people::{Shape, invented};
use crate::world::{Daemon, World, until};

const PEOPLE: usize = 1_000;

/// What Keap delivers of one contact.
async fn deliver_of_keap(daemon: &Daemon, ids: &[i64]) {
    let keys: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let body =
        json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": keys });
    let path = url(daemon, &format!("/webhook/keap/{OLD_SECRET}"));
    let reply = client::send("POST", &path, &[], body.to_string()).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// The jobs of all, by Keap id: in Keap and in Intercom.
fn jobs(world: &World, ids: &[i64]) -> BTreeMap<i64, (String, String)> {
    let mut jobs: BTreeMap<i64, (String, String)> = BTreeMap::new();
    for id in ids {
        let in_keap = world.keap.person(*id).and_then(|person| person.job_title);
        jobs.insert(*id, (in_keap.unwrap_or_default(), String::new()));
    }
    for user in world.intercom.live_users() {
        let id = user.external_id.and_then(|id| id.parse().ok()).unwrap();
        let job = user.custom_attributes.get("job").and_then(Value::as_str);
        jobs.entry(id).or_default().1 = job.unwrap_or_default().to_owned();
    }
    jobs
}

async fn nothing_is_due(world: &World) {
    until("nothing is due", async || world.store().count_due().await.unwrap().0 == 0).await;
}

/// Intercom's list is read some times more, with all that it shows late.
async fn polled(world: &World) {
    let before = world.intercom.count("search");
    until("Intercom is polled", async || world.intercom.count("search") >= before + 3).await;
    nothing_is_due(world).await;
}

// F66, F67, F107
#[sqlx::test]
async fn a_thousand_own_writes_come_back_as_no_write(pool: PgPool) {
    let (mut world, ann) = world(pool).await;
    world
        .set("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *")
        .set("INTERCOM_TO_KEAP__WRITES_PER_MINUTE", "6000")
        .set("KEAP_WEBHOOK_SECRET", OLD_SECRET);
    let mut ids = world
        .keap
        .add_many(PEOPLE - 1, |n| invented(n as u64, Shape::Plain).with("job_title", "Buyer"));
    ids.push(ann);
    let daemon = started(&world, ann).await;
    until("everybody is linked", async || world.intercom.live_users().len() == PEOPLE).await;
    nothing_is_due(&world).await;
    world.intercom.reindex_now();
    let (in_keap, in_intercom) = ids.split_at(PEOPLE / 2);

    // From here on, Intercom's list shows what was before.
    world.intercom.knobs(|knobs| knobs.search_lag_ms = 300_000);
    let mut pictures: Vec<Value> = ids.iter().map(|id| updated(&world, *id)).collect();
    world.keap.bulk_edit(in_keap.to_vec(), |person| person.job_title = Some("Head".into()));
    for some in in_keap.chunks(100) {
        deliver_of_keap(&daemon, some).await;
    }
    for some in in_intercom.chunks(50) {
        some.iter().for_each(|id| edit_job(&world, *id, "Chief"));
        let pictures: Vec<Value> = some.iter().map(|id| updated(&world, *id)).collect();
        join_all(pictures.iter().map(|picture| deliver(&daemon, picture))).await;
    }
    let all_agree = || {
        jobs(&world, &ids).iter().all(|(id, (keap, intercom))| {
            let typed = if in_keap.contains(id) { "Head" } else { "Chief" };
            keap == typed && intercom == typed
        })
    };
    until("each edit is on the other side", async || all_agree()).await;
    nothing_is_due(&world).await;
    assert_eq!((world.keap.count("write"), world.writes()), (PEOPLE / 2, PEOPLE + PEOPLE / 2));
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    // All notifications come twice, shuffled, with those of the values before among them.
    pictures.extend(ids.iter().map(|id| updated(&world, *id)));
    pictures.extend(pictures.clone());
    let mut keap_ids = [ids.as_slice(), ids.as_slice()].concat();
    let mut rng = StdRng::seed_from_u64(7);
    pictures.shuffle(&mut rng);
    keap_ids.shuffle(&mut rng);
    let chunks = keap_ids.chunks(50);
    let most = pictures.len().div_ceil(chunks.len());
    for (some, pictures) in chunks.zip(pictures.chunks(most)) {
        let of_intercom = join_all(pictures.iter().map(|picture| deliver(&daemon, picture)));
        tokio::join!(deliver_of_keap(&daemon, some), of_intercom);
    }
    nothing_is_due(&world).await;
    polled(&world).await;
    world.intercom.clock().advance_ms(300_000);
    polled(&world).await;

    assert_eq!((world.keap.count("write"), world.writes()), (0, 0));
    assert!(all_agree());
    daemon.stop().await.1.unwrap();
}
