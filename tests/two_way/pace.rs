//! Writes to Keap that nobody waits for have a pace, and the others do not wait for them.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::remote::Headroom;
use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::sim::people::{Shape, invented};

/// So many writes a minute, and so many people beside Ann.
pub(super) async fn stage(pool: PgPool, writes_per_minute: u32, people: usize) -> Stage {
    let stage = Stage::with(pool, "intercom", |world| {
        world.keap.knobs(|knobs| knobs.per_day = Some(10_000));
        world.set("INTERCOM_TO_KEAP__WRITES_PER_MINUTE", writes_per_minute);
        world.set("MAPPING__BRAKE_PERCENT", 100);
    })
    .await;
    stage.world.keap.add_many(people, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage
}

impl Stage {
    pub(super) fn edit_all_plans_in_intercom(&self, plan: &str) {
        for user in self.world.intercom.live_users() {
            self.world.intercom.edit(&user.id, |contact| {
                contact.custom_attributes.insert("plan".into(), json!(plan));
            });
        }
    }

    /// How many contacts are due: those that are looked at next, and those that have a pace.
    pub(super) async fn queue(&self) -> (i64, i64) {
        let two_way = self.worker.store.two_way().await.unwrap();
        (two_way.waiting, two_way.paced)
    }

    /// Leaves so many of Keap's calls today.
    fn leave_today(&self, left: u32) {
        let used = |limit: &Headroom| limit.limit - limit.available;
        let headroom = self.worker.context().keap.remote().headroom();
        let used = headroom.iter().find(|limit| limit.name == "key per day").map(used).unwrap();
        let per_day = u32::try_from(used).unwrap() + left;
        self.world.keap.knobs(|knobs| knobs.per_day = Some(per_day));
    }

    /// No poll has found the edits so far, and none looks back so far any more.
    pub(super) async fn miss_all_edits(&self) {
        let sql =
            "update intercom_cursor set position = now() + interval '2 h' where feed = 'changed'";
        sqlx::query(sql).execute(&self.world.pool).await.unwrap();
    }

    async fn steps(&self) {
        let mut poll = false;
        while self.worker.syncer.urgent_step().await.unwrap()
            | self.worker.syncer.bulk_step(&mut poll).await.unwrap()
        {}
    }
}

#[sqlx::test]
async fn what_an_audit_finds_is_written_at_its_pace_and_an_edit_passes_it(pool: PgPool) {
    let stage = stage(pool, 25, 60).await;
    stage.edit_all_plans_in_intercom("tin");
    stage.miss_all_edits().await;
    stage.clear();
    stage.audit(RunReason::Schedule).await;
    stage.steps().await;
    assert_eq!(stage.world.keap.count("write"), 25, "no more in this minute");
    assert_eq!(stage.queue().await, (0, 36));

    // A person edits somebody who waits: that one is written at once.
    let waiting: i64 = sqlx::query_scalar("select max(keap_contact_id) from contact_due")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    let user = stage.world.user(waiting).id;
    stage.world.intercom.clock().advance_ms(10_800_000);
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("bronze"));
    });
    stage.poll_intercom().await;
    assert_eq!(stage.queue().await, (1, 35));
    stage.steps().await;
    let person = stage.world.keap.person(waiting).unwrap();
    assert_eq!(person.details.custom_fields.get(&stage.plan), Some(&json!("bronze")));
    assert_eq!(stage.queue().await, (0, 35));
}

#[sqlx::test]
async fn the_reserve_of_the_day_is_left_to_the_edits_of_people(pool: PgPool) {
    let stage = Stage::with(pool, "intercom", |world| {
        world.keap.knobs(|knobs| knobs.per_day = Some(10_000));
        world.set("KEAP__DAILY_RESERVE_PERCENT", 50);
        world.set("MAPPING__BRAKE_PERCENT", 100);
    })
    .await;
    stage.world.keap.add_many(30, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.edit_all_plans_in_intercom("tin");
    stage.miss_all_edits().await;
    stage.leave_today(6);
    // One more answer says so.
    stage.worker.context().keap.account().await.unwrap();
    stage.clear();
    stage.audit(RunReason::Schedule).await;
    stage.steps().await;
    assert_eq!(stage.queue().await, (0, 31));
    assert_eq!(stage.world.keap.calls(), 0, "not even a read");

    stage.edit_plan_in_intercom("bronze", 10_800);
    stage.poll_intercom().await;
    stage.steps().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.queue().await, (0, 30));
}

#[sqlx::test]
async fn a_walk_over_keap_leaves_its_writes_to_keap_to_their_pace(pool: PgPool) {
    let stage = stage(pool, 10, 30).await;
    stage.edit_all_plans_in_intercom("tin");
    stage.settle().await;
    for id in stage.world.keap.ids() {
        stage.world.keap.set_custom(id, stage.plan, "wood");
    }
    stage.clear();
    stage.worker.sync().await;
    // Intercom owns the plan, so it is put back in Keap.
    assert_eq!(stage.world.keap.count("write"), 10);
    assert_eq!(stage.queue().await, (0, 21));
    let failed: i64 = sqlx::query_scalar("select count(*) from contact_due where attempts > 0")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(failed, 0, "nobody is to blame");
}

#[sqlx::test]
async fn the_edits_of_a_program_cannot_take_all_calls_of_the_day(pool: PgPool) {
    let stage = stage(pool, 10, 300).await;
    stage.edit_all_plans_in_intercom("tin");
    stage.clear();
    stage.poll_intercom().await;
    let (now, paced) = stage.queue().await;
    assert_eq!(now + paced, 301);
    assert!((240..250).contains(&now), "{now}");
}

#[sqlx::test]
async fn when_the_calls_of_the_day_are_used_up_nothing_is_lost_and_opt_outs_go_first(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("CONSENT__OPT_OUT", "both");
        world.keap.knobs(|knobs| knobs.per_day = Some(10_000));
    })
    .await;
    stage.world.keap.add_many(30, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.edit_all_plans_in_intercom("tin");
    stage.edit_in_intercom(30, |contact| contact.unsubscribed_from_emails = true);
    stage.clear();
    // A list and two writes.
    stage.leave_today(3);
    stage.poll_intercom().await;
    assert_eq!(stage.queue().await, (31, 0));
    while matches!(stage.worker.syncer.urgent_step().await, Ok(true)) {}
    let kinds: Vec<&str> = stage.world.keap.ledger().iter().map(|call| call.kind).collect();
    let first = kinds.iter().find(|kind| ["write", "set_opt_status"].contains(kind));
    assert_eq!(first, Some(&"set_opt_status"), "{kinds:?}");
    let (now, paced) = stage.queue().await;
    assert!(now + paced >= 29, "nothing is lost");
}

#[sqlx::test]
async fn the_last_calls_of_the_day_are_kept_for_opt_outs(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("CONSENT__OPT_OUT", "both");
        world.keap.knobs(|knobs| knobs.per_day = Some(10_000));
    })
    .await;
    let bob = stage.world.keap.add(invented(7, Shape::Plain));
    stage.settle().await;
    // One of a hundred calls is kept. Other programs have used up the rest, as the next answer
    // says.
    let headroom = stage.worker.context().keap.remote().headroom();
    let left = headroom.iter().find(|limit| limit.name == "key per day").unwrap().available;
    let others = u32::try_from(left - 101).unwrap();
    stage.world.keap.knobs(|knobs| knobs.foreign_calls_today = others);
    stage.worker.context().keap.account().await.unwrap();
    stage.clear();
    stage.edit_plan_in_intercom("bronze", 5);
    stage.poll_intercom().await;
    let halt = stage.worker.syncer.urgent_step().await.unwrap_err();
    assert!(halt.to_string().contains("kept for opt-outs"), "{halt}");
    assert_eq!((stage.queue().await, stage.world.keap.calls()), ((1, 0), 0), "it waits");

    // Bob unsubscribes: he does not wait, and Ann still does.
    stage.world.intercom.clock().advance_ms(10_000);
    let user = stage.world.user(bob).id;
    assert!(stage.world.intercom.edit(&user, |user| user.unsubscribed_from_emails = true));
    stage.poll_intercom().await;
    while matches!(stage.worker.syncer.urgent_step().await, Ok(true)) {}
    assert_eq!(stage.world.keap.count("set_opt_status"), 1);
    assert_eq!((stage.world.keap.count("write"), stage.plan_in_keap()), (0, json!("gold")));

    // Keap allows more.
    stage.world.keap.knobs(|knobs| knobs.per_day = Some(20_000));
    stage.worker.context().keap.account().await.unwrap();
    stage.steps().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.queue().await, (0, 0));
}
