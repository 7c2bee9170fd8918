//! The second direction: what changes in Intercom reaches Keap, and nothing comes back.

mod asked;
mod consent;
pub(crate) mod create;
mod dry_run;
mod echo;
mod gone;
mod intents;
mod lists;
mod mapping;
mod moments;
mod off;
mod owners;
mod pace;
mod paused;
mod ping_pong;
mod polls;
mod privacy;
mod random;
mod refusals;
mod storm;
mod tags;
mod watch;
mod webhook;

use keap_intercom_sync::feed::{Counts, Feed, RunReason};
use keap_intercom_sync::store::{Run, RunState};
use keap_intercom_sync::sync::users;
use serde_json::Value;
use sqlx::PgPool;

use crate::mapping::tables;
use crate::sim::StoredContact;
use crate::world::{Worker, World, ann};

/// Both directions are on, and Ann is linked. The fields `plan` and `job` have the given owner, and
/// so have e-mail and phone if it is `newest`.
pub(crate) struct Stage {
    pub world: World,
    pub worker: Worker,
    pub plan: i64,
    pub id: i64,
}

impl Stage {
    pub(crate) async fn new(pool: PgPool, owner: &str) -> Self {
        Self::with(pool, owner, |_| {}).await
    }

    /// `turn`: what is set before the first sync.
    pub(crate) async fn with(pool: PgPool, owner: &str, turn: impl FnOnce(&mut World)) -> Self {
        let mut world = World::new(pool).await;
        let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
        world.intercom.add_attribute("plan", "string", &[]);
        world.intercom.add_attribute("job", "string", &[]);
        let line = format!("owner = {owner:?}");
        let address = if owner == "newest" { line.as_str() } else { "" };
        world.file(&tables(&[
            ("email", "email", address),
            ("name", "name", ""),
            ("phone", "phone", address),
            ("custom:Plan", "attribute:plan", &line),
            ("job_title", "attribute:job", &line),
        ]));
        world.set("INTERCOM_TO_KEAP__ENABLED", "true");
        turn(&mut world);
        let id = world.keap.add(ann().custom(plan, "gold").with("job_title", "Buyer"));
        let worker = world.worker().await;
        let stage = Self { world, worker, plan, id };
        stage.settle().await;
        stage.clear();
        stage
    }

    /// Syncs until a poll of each side finds nothing more.
    pub(crate) async fn settle(&self) {
        for _ in 0..3 {
            self.look().await;
        }
    }

    /// A poll of Keap and one of Intercom, and what follows of them.
    pub(crate) async fn look(&self) -> Counts {
        let before = self.worker.sync().await;
        self.poll_intercom().await;
        let mut after = self.worker.work_off().await;
        after.add(&before);
        after
    }

    pub(crate) async fn poll_intercom(&self) {
        self.world.intercom.reindex_now();
        Box::pin(users::poll_changed(self.worker.context())).await.unwrap();
    }

    /// An audit that is asked for, without the contacts that become due by it.
    pub(crate) async fn audit(&self, reason: RunReason) -> Run {
        self.world.intercom.reindex_now();
        let store = &self.worker.store;
        let id = store.request_run(Feed::Audit, reason, None).await.unwrap();
        loop {
            let mut poll = false;
            self.worker.syncer.bulk_step(&mut poll).await.unwrap();
            let run = store.run(id).await.unwrap().unwrap();
            if matches!(run.state, RunState::Done | RunState::Failed) {
                return run;
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.world.keap.clear_ledger();
        self.world.intercom.clear_ledger();
    }

    /// The writes to each side since the ledgers were cleared: Keap, Intercom.
    pub(crate) fn writes(&self) -> (usize, usize) {
        (self.world.keap.count("write"), self.world.writes())
    }

    pub(crate) fn plan_in_keap(&self) -> Value {
        let person = self.world.keap.person(self.id).unwrap();
        person.details.custom_fields.get(&self.plan).cloned().unwrap_or_default()
    }

    pub(crate) fn plan_in_intercom(&self) -> Value {
        self.world.attribute(self.id, "plan")
    }

    pub(crate) fn edit_plan_in_keap(&self, plan: &str) {
        self.world.keap.set_custom(self.id, self.plan, plan);
    }

    /// The hour of the last writes is over: one more is no sign of another program.
    pub(crate) async fn end_the_hour(&self) {
        let sql = "update contact_link set writes_since = null";
        sqlx::query(sql).execute(&self.world.pool).await.unwrap();
    }

    /// A person edits Ann's Intercom contact, so many seconds after everything else.
    pub(crate) fn edit_in_intercom(&self, later: i64, edit: impl FnOnce(&mut StoredContact)) {
        let clock = self.world.intercom.clock();
        clock.advance_ms(later * 1000);
        let user = self.world.user(self.id).id;
        assert!(self.world.intercom.edit(&user, edit));
        clock.advance_ms(-later * 1000);
    }

    pub(crate) fn edit_plan_in_intercom(&self, plan: &str, later: i64) {
        let plan = if plan.is_empty() { Value::Null } else { plan.into() };
        self.edit_in_intercom(later, |contact| {
            contact.custom_attributes.insert("plan".into(), plan);
        });
    }

    /// The directions in which this contact was logged as written, without repeats.
    pub(crate) async fn directions(&self) -> Vec<String> {
        let sql = "select distinct sync_direction from keap_intercom_sync_logs
                    where action in ('updated', 'restored') order by 1";
        sqlx::query_scalar(sql).fetch_all(&self.world.pool).await.unwrap()
    }

    /// Both sides are quiet: two more looks at both write nothing.
    pub(crate) async fn assert_quiet(&self) {
        self.clear();
        self.look().await;
        self.look().await;
        assert_eq!(self.writes(), (0, 0), "it is not quiet");
        for kind in ["apply_tag", "set_opt_status"] {
            assert_eq!(self.world.keap.count(kind), 0, "{kind}");
        }
        for kind in ["tag", "untag", "write_tag", "archive", "unarchive"] {
            assert_eq!(self.world.intercom.count(kind), 0, "{kind}");
        }
    }
}
