//! A paused direction: whatever kind a write is, nothing reaches that side, over a restart too. The
//! contact stays due, and what it needs arrives after the end of the pause.

use keap_intercom_sync::contact::{IntercomId, KeapId};
use keap_intercom_sync::feed::{DueReason, RunReason};
use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use super::create::BOB;
use crate::pauses::{pause, resume};
use crate::process::command;
use crate::sim::{Person, Seed};

const TO_KEAP: &str = "intercom_to_keap";
const TO_INTERCOM: &str = "keap_to_intercom";

impl Stage {
    /// What the daemon's own task does when it hears of a pause or of its end.
    async fn hear(&self) {
        let pauses = self.worker.store.pauses().await.unwrap();
        self.worker.context().board.pauses.set(pauses);
    }

    /// Both lanes, until neither has anything to do. A poll of Keap is due.
    async fn lanes(&self) {
        let mut poll = true;
        while self.worker.syncer.bulk_step(&mut poll).await.unwrap()
            | self.worker.syncer.urgent_step().await.unwrap()
        {}
    }

    /// Makes contacts due, as a webhook of Keap's does.
    async fn hint(&self, ids: &[i64]) {
        let ids: Vec<KeapId> = ids.iter().map(|id| crate::world::keap_id(*id)).collect();
        self.worker.store.request(&ids, DueReason::Webhook).await.unwrap();
    }

    /// The writes that have reached a side.
    fn reached(&self, direction: &str) -> Vec<&'static str> {
        let calls = match direction {
            TO_KEAP => self.world.keap.ledger(),
            _ => self.world.intercom.ledger(),
        };
        calls.into_iter().filter(|call| call.applied).map(|call| call.kind).collect()
    }

    async fn restarted(self) -> Self {
        let Self { world, worker, plan, id } = self;
        worker.stop().await;
        let worker = world.worker().await;
        Self { world, worker, plan, id }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.world.pool).await.unwrap()
    }

    /// Nobody has failed or is held because of the pause, and no intent says that a write may have
    /// been made.
    async fn assert_only_waits(&self) {
        for sql in [
            "select count(*) from contact_due where attempts > 0",
            "select count(*) from intercom_due where attempts > 0",
            "select count(*) from contact_held",
            "select count(*) from contact_intent",
            "select count(*) from keap_intercom_sync_logs where action in ('failed', 'held')",
        ] {
            assert_eq!(self.count(sql).await, 0, "{sql}");
        }
    }

    /// Pauses a direction, makes a change due, and sees it arrive only after the pause. Returns
    /// what has reached the side then.
    async fn waits_and_arrives(
        mut self,
        direction: &str,
        change: impl AsyncFnOnce(&Self),
        has_arrived: impl Fn(&Self) -> bool,
    ) -> (Self, Vec<&'static str>) {
        pause(&self.world, direction, false).await;
        self.hear().await;
        self.clear();
        change(&self).await;

        self.lanes().await;
        assert_eq!(self.reached(direction), [""; 0], "paused");
        self.assert_only_waits().await;
        let waiting =
            "select (select count(*) from contact_due) + (select count(*) from intercom_due)";
        assert!(self.count(waiting).await > 0, "nobody is due");

        self = self.restarted().await;
        self.world.make_retries_due().await;
        self.lanes().await;
        assert_eq!(self.reached(direction), [""; 0], "after a restart");
        self.assert_only_waits().await;
        assert!(!has_arrived(&self));

        resume(&self.world).await;
        self.hear().await;
        self.lanes().await;
        let reached = self.reached(direction);
        assert!(has_arrived(&self), "{reached:?}");
        self.settle().await;
        assert_eq!(self.worker.store.count_due().await.unwrap(), (0, 0));
        self.assert_quiet().await;
        (self, reached)
    }
}

#[sqlx::test]
async fn a_field_waits_for_keap(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let edit = async |stage: &Stage| {
        stage.edit_plan_in_intercom("silver", 1);
        stage.poll_intercom().await;
    };
    let (_, reached) =
        stage.waits_and_arrives(TO_KEAP, edit, |stage| stage.plan_in_keap() == "silver").await;
    assert_eq!(reached, ["write"]);
}

#[sqlx::test]
async fn a_value_that_a_walk_would_put_back_waits_for_keap(pool: PgPool) {
    let stage = Stage::new(pool, "intercom").await;
    stage.edit_plan_in_intercom("tin", 1);
    stage.settle().await;
    let edit = async |stage: &Stage| stage.edit_plan_in_keap("wood");
    let (_, reached) =
        stage.waits_and_arrives(TO_KEAP, edit, |stage| stage.plan_in_keap() == "tin").await;
    assert_eq!(reached, ["write"]);
}

#[sqlx::test]
async fn a_tag_waits_for_keap_and_its_removal_too(pool: PgPool) {
    let (stage, _) = super::tags::stage(pool, "newest", |_| {}).await;
    let tag = async |on: bool, stage: &Stage| {
        stage.tag_in_intercom(on);
        stage.poll_intercom().await;
    };
    let (stage, _) = stage
        .waits_and_arrives(TO_KEAP, async |stage| tag(true, stage).await, |stage| stage.tagged().0)
        .await;
    stage
        .waits_and_arrives(
            TO_KEAP,
            async |stage| tag(false, stage).await,
            |stage| !stage.tagged().0,
        )
        .await;
}

#[sqlx::test]
async fn an_opt_out_waits_for_keap(pool: PgPool) {
    let stage = super::consent::stage(pool, "both").await;
    let leave = async |stage: &Stage| {
        super::consent::set_in_intercom(stage, true);
        stage.poll_intercom().await;
    };
    let is_out = |stage: &Stage| stage.world.keap.opt_status("ann@example.org").word() == "MANUAL";
    let (_, reached) = stage.waits_and_arrives(TO_KEAP, leave, is_out).await;
    assert_eq!(reached, ["set_opt_status"]);
}

#[sqlx::test]
async fn the_tag_of_who_is_archived_in_intercom_waits_for_keap(pool: PgPool) {
    let mut gone = 0;
    let (stage, _) = super::tags::stage(pool, "keap", |world| {
        gone = world.keap.add_tag("Gone in Intercom");
        world.set("INTERCOM_TO_KEAP__ARCHIVED", "tag");
        world.set("INTERCOM_TO_KEAP__ARCHIVED_TAG", "Gone in Intercom");
    })
    .await;
    let archive = async |stage: &Stage| {
        stage.world.intercom.archive(&stage.world.user(stage.id).id);
        let sql = "insert into contact_due (keap_contact_id, reason, priority, looks_at_intercom)
                   select keap_contact_id, 'again', 0, true from contact_link";
        sqlx::query(sql).execute(&stage.world.pool).await.unwrap();
    };
    let is_tagged = |stage: &Stage| stage.world.keap.tagged(gone) == [stage.id];
    let (_, reached) = stage.waits_and_arrives(TO_KEAP, archive, is_tagged).await;
    assert_eq!(reached, ["apply_tag"]);
}

#[sqlx::test]
async fn a_user_waits_for_a_contact_in_keap(pool: PgPool) {
    let stage = super::create::stage(pool, |_| {}).await;
    let sign_up = async |stage: &Stage| {
        stage.add_bob();
        stage.poll_intercom().await;
    };
    let is_there = |stage: &Stage| stage.in_keap(BOB).len() == 1;
    let (stage, reached) = stage.waits_and_arrives(TO_KEAP, sign_up, is_there).await;
    assert_eq!(reached.iter().filter(|kind| **kind == "create").count(), 1, "{reached:?}");
    let users = stage.world.intercom.live_users();
    let bob = users.iter().find(|user| user.email.as_deref() == Some(BOB)).unwrap();
    stage.linked_once(BOB, &bob.id).await;
}

#[sqlx::test]
async fn writes_at_their_pace_wait_for_keap_and_keep_it(pool: PgPool) {
    let stage = super::pace::stage(pool, 25, 60).await;
    stage.edit_all_plans_in_intercom("tin");
    stage.miss_all_edits().await;
    stage.audit(RunReason::Schedule).await;
    pause(&stage.world, TO_KEAP, false).await;
    stage.hear().await;
    stage.clear();

    stage.lanes().await;
    assert_eq!(stage.reached(TO_KEAP), [""; 0]);
    assert_eq!(stage.world.keap.count("list"), 1, "the poll: nobody is read who waits");
    assert_eq!(stage.queue().await, (0, 36), "the audit has written 25");
    // The new process has room for as many.
    let stage = stage.restarted().await;
    stage.lanes().await;
    assert_eq!((stage.reached(TO_KEAP).len(), stage.queue().await), (0, (0, 36)));
    stage.assert_only_waits().await;

    resume(&stage.world).await;
    stage.hear().await;
    stage.lanes().await;
    assert_eq!(stage.reached(TO_KEAP).len(), 25, "no more in this minute");
    assert_eq!(stage.queue().await, (0, 11));
}

#[sqlx::test]
async fn no_audit_begins_and_none_is_repaired_while_keap_is_paused(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_plan_in_intercom("silver", 1);
    stage.miss_all_edits().await;
    pause(&stage.world, TO_KEAP, false).await;
    stage.hear().await;
    stage.clear();
    let store = &stage.worker.store;
    let audit = store.request_run(keap_intercom_sync::feed::Feed::Audit, RunReason::Manual, None);
    let run = audit.await.unwrap();
    stage.lanes().await;
    assert_eq!(stage.world.intercom.calls(), 0, "not even a read");
    let stopped = command(&stage.world, &["sync", "--audit", "--repair"]).await.expect(2);
    let why = "Stopped: the direction from Intercom to Keap is paused since";
    assert!(stopped.stderr.contains(why), "{}", stopped.stderr);

    resume(&stage.world).await;
    stage.hear().await;
    stage.world.intercom.reindex_now();
    stage.lanes().await;
    let state = store.run(run).await.unwrap().unwrap().state;
    assert_eq!(state, keap_intercom_sync::store::RunState::Done);
    assert_eq!(stage.plan_in_keap(), "silver");
}

#[sqlx::test]
async fn a_new_contact_and_a_match_wait_for_intercom(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.intercom.add_user(Seed::with_email("cleo@example.org"));
    stage.world.intercom.reindex_now();
    let add = async |stage: &Stage| {
        let people = ["bea", "cleo"].map(|name| {
            let email = format!("{name}@example.org");
            stage.world.keap.add(Person::named(name, "Lin").email(&email))
        });
        stage.hint(&people).await;
    };
    let are_there = |stage: &Stage| {
        let users = stage.world.intercom.live_users();
        users.iter().filter(|user| user.external_id.is_some()).count() == 3
    };
    let (_, mut reached) = stage.waits_and_arrives(TO_INTERCOM, add, are_there).await;
    reached.sort_unstable();
    assert_eq!(reached, ["create", "update"]);
}

#[sqlx::test]
async fn a_field_waits_for_intercom_and_so_does_what_is_put_back_there(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let edit = async |stage: &Stage| {
        stage.edit_plan_in_keap("silver");
        stage.hint(&[stage.id]).await;
    };
    let (stage, reached) = stage
        .waits_and_arrives(TO_INTERCOM, edit, |stage| stage.plan_in_intercom() == "silver")
        .await;
    assert_eq!(reached, ["update"]);
    // The name belongs to Keap.
    let rename = async |stage: &Stage| {
        stage.edit_in_intercom(1, |contact| contact.name = Some("Somebody Else".into()));
        stage.poll_intercom().await;
    };
    let is_back = |stage: &Stage| stage.world.user(stage.id).name.as_deref() == Some("Ann Lee");
    stage.waits_and_arrives(TO_INTERCOM, rename, is_back).await;
}

#[sqlx::test]
async fn a_tag_waits_for_intercom_and_its_removal_too(pool: PgPool) {
    let (stage, vip) = super::tags::stage(pool, "newest", |_| {}).await;
    let tag = async |on: bool, stage: &Stage| {
        stage.tag_in_keap(vip, on);
        stage.hint(&[stage.id]).await;
    };
    let change = async |stage: &Stage| tag(true, stage).await;
    let (stage, _) = stage.waits_and_arrives(TO_INTERCOM, change, |stage| stage.tagged().1).await;
    let change = async |stage: &Stage| tag(false, stage).await;
    stage.waits_and_arrives(TO_INTERCOM, change, |stage| !stage.tagged().1).await;
}

#[sqlx::test]
async fn a_company_and_an_opt_out_wait_for_intercom(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("COMPANY__OBJECT", true);
        world.set("CONSENT__OPT_OUT", "both");
    })
    .await;
    let move_on = async |stage: &Stage| {
        let glass = stage.world.keap.add_company("Okafor Glass");
        assert!(stage.world.keap.set_company(stage.id, glass, "Okafor Glass"));
        stage.hint(&[stage.id]).await;
    };
    let has_moved = |stage: &Stage| {
        !stage.world.intercom.companies_of(&stage.world.user(stage.id).id).is_empty()
    };
    let (stage, _) = stage.waits_and_arrives(TO_INTERCOM, move_on, has_moved).await;
    let leave = async |stage: &Stage| {
        stage.world.keap.unsubscribe("ann@example.org");
        stage.hint(&[stage.id]).await;
    };
    stage.waits_and_arrives(TO_INTERCOM, leave, super::consent::is_out_in_intercom).await;
}

#[sqlx::test]
async fn who_leaves_the_scope_is_archived_in_intercom_after_the_pause(pool: PgPool) {
    let mut out = 0;
    let stage = Stage::with(pool, "newest", |world| {
        out = world.keap.add_tag("Out");
        let fields = crate::mapping::tables(&[
            ("email", "email", ""),
            ("name", "name", ""),
            ("custom:Plan", "attribute:plan", ""),
        ]);
        world
            .file(&format!("{fields}\n[filter]\nkeap_tags_none = [\"Out\"]\nleft = \"archive\"\n"));
        world.keap.knobs(|knobs| knobs.tags_bump_update_time = true);
    })
    .await;
    let leave = async |stage: &Stage| {
        stage.tag_in_keap(out, true);
        stage.hint(&[stage.id]).await;
    };
    let is_archived = |stage: &Stage| stage.world.intercom.live_users().is_empty();
    let (_, reached) = stage.waits_and_arrives(TO_INTERCOM, leave, is_archived).await;
    assert_eq!(reached, ["archive"]);
}

#[sqlx::test]
async fn a_request_is_answered_with_the_pause_and_done_after_it(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    pause(&stage.world, TO_KEAP, false).await;
    stage.hear().await;
    stage.edit_plan_in_intercom("silver", 1);
    let before = stage.worker.request(&[stage.id]).await;
    assert_eq!((before.failed, stage.plan_in_keap()), (1, json!("gold")));
    let said = stage.world.log_of(stage.id).await.pop().unwrap().error_message.unwrap();
    assert!(said.contains("the direction from Intercom to Keap is paused since"), "{said}");
    assert!(said.ends_with("by Ann"), "{said}");

    // The same pause lets requests through from now on, also those that were made before.
    let store = &stage.worker.store;
    let scope = TO_KEAP.parse().unwrap();
    store.pause(scope, true, &"Bob".parse().unwrap()).await.unwrap();
    stage.hear().await;
    stage.lanes().await;
    assert_eq!(stage.plan_in_keap(), "silver");
    assert_eq!(store.count_due().await.unwrap(), (0, 0));
}

#[sqlx::test]
async fn only_what_is_asked_for_by_name_passes_a_pause_that_lets_requests_through(pool: PgPool) {
    let (stage, _) = super::tags::stage(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__CREATE", "users");
    })
    .await;
    let other = stage.world.keap.add(Person::named("Bea", "Lin").email("b@example.org"));
    stage.settle().await;
    pause(&stage.world, TO_KEAP, true).await;
    stage.hear().await;
    stage.clear();
    stage.tag_in_intercom(true);
    let of_other = stage.world.user(other).id;
    assert!(stage.world.intercom.tag(&of_other, "Very important"));
    let [bob, cleo] = ["bob@example.org", "cleo@example.org"]
        .map(|email| stage.world.intercom.add_user(Seed::with_email(email)));
    stage.poll_intercom().await;
    stage.lanes().await;
    assert_eq!(stage.reached(TO_KEAP), [""; 0]);

    // Both need the same call.
    let store = &stage.worker.store;
    store.request(&[crate::world::keap_id(stage.id)], DueReason::Manual).await.unwrap();
    stage.hint(&[other]).await;
    store.request_newcomer(&IntercomId::new(bob.clone()).unwrap()).await.unwrap();
    stage.lanes().await;

    assert!(stage.tagged().0);
    assert!(!stage.world.keap.tags_of(other).contains(&"VIP".to_owned()));
    assert_eq!(stage.in_keap("bob@example.org").len(), 1);
    assert!(stage.in_keap("cleo@example.org").is_empty());
    resume(&stage.world).await;
    stage.hear().await;
    stage.settle().await;
    assert!(stage.world.keap.tags_of(other).contains(&"VIP".to_owned()));
    stage.linked_once("cleo@example.org", &cleo).await;
}

#[sqlx::test]
async fn a_pause_in_the_middle_of_a_contact_stops_its_next_call(pool: PgPool) {
    // Keap is written first. The pause of the other direction comes in between.
    let stage = Stage::new(pool, "newest").await;
    pause(&stage.world, TO_INTERCOM, false).await;
    stage.hear().await;
    stage.clear();
    stage.edit_plan_in_intercom("silver", 1);
    stage.world.keap.edit(stage.id, |person| person.set("job_title", Some("Owner")));
    stage.poll_intercom().await;
    stage.lanes().await;
    assert_eq!(stage.plan_in_keap(), "silver", "this direction goes on");
    assert_eq!(stage.reached(TO_INTERCOM), [""; 0]);

    let stage = stage.restarted().await;
    stage.world.make_retries_due().await;
    stage.lanes().await;
    assert_eq!(stage.reached(TO_INTERCOM), [""; 0]);
    resume(&stage.world).await;
    stage.hear().await;
    stage.settle().await;
    assert_eq!(stage.world.attribute(stage.id, "job"), "Owner");
    assert_eq!(
        (stage.plan_in_keap(), stage.plan_in_intercom()),
        (json!("silver"), json!("silver"))
    );
    stage.assert_quiet().await;
}
