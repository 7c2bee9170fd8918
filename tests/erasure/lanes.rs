//! An erasure beside the other lane, which may be about to write the contact or its address.

use std::time::Duration;

use keap_intercom_sync::pause::PauseScope;
use sqlx::PgPool;

use super::{ANN, Stage};
use crate::sim::{Fault, Person, What};
use crate::world::{ann, until};

/// How long a call of the other lane takes: longer than an erasure.
const SLOW: Duration = Duration::from_millis(1500);

impl Stage {
    /// Polls, and erases Ann as soon as the poll has made a call of this kind.
    async fn erase_during(&self, kind: &'static str) {
        let poll = async {
            let mut poll = true;
            while self.worker.syncer.bulk_step(&mut poll).await.unwrap() || poll {}
        };
        let erase = async {
            until("the other lane is calling", async || self.world.intercom.count(kind) > 0).await;
            self.request(false).await;
            until("the person is erased", async || {
                self.worker.syncer.urgent_step().await.unwrap();
                self.erasure().await.unwrap().done_at.is_some()
            })
            .await;
        };
        tokio::join!(poll, erase);
        self.worker.work_off().await;
        self.worker.sync().await;
    }
}

#[sqlx::test]
async fn an_erasure_waits_for_a_write_that_is_under_way(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.clear();
    stage.world.intercom.fault(Fault::on("update").what(What::Delay(SLOW)));
    stage.world.keap.edit(ANN, |person| person.family_name = Some("Canaryedited".into()));

    stage.erase_during("update").await;

    assert!(stage.is_deleted(), "{:?}", stage.standing());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
    assert_eq!(stage.world.intercom.count("create"), 0);
}

/// The page was planned while Ann was there, and is written after she is erased.
#[sqlx::test]
async fn a_page_that_was_planned_before_brings_nobody_back(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.clear();
    stage.world.intercom.fault(Fault::on("search").what(What::Delay(SLOW)));
    let twin = stage.world.keap.add(ann());
    let bob = stage.world.keap.add(Person::named("Canarybob", "B").email("bob@example.org"));

    stage.erase_during("search").await;

    assert!(stage.is_deleted());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
    assert_eq!(stage.world.last_action(twin).await, "skipped");
    assert_eq!(stage.world.last_action(bob).await, "created");
    assert_eq!(stage.world.intercom.count("create"), 1);
}

#[sqlx::test]
async fn an_erasure_waits_for_the_end_of_a_pause_that_lets_nothing_through(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let hear = async || {
        let pauses = stage.worker.store.pauses().await.unwrap();
        stage.worker.context().board.pauses.set(pauses);
    };
    let by = "Ann".parse().unwrap();
    stage.worker.store.pause(PauseScope::All, false, &by).await.unwrap();
    hear().await;
    stage.world.intercom.clear_ledger();

    let erasure = stage.erase().await;

    assert!(erasure.done_at.is_none() && erasure.attempts == 0, "{erasure:?}");
    assert_eq!(stage.world.intercom.calls(), 0);
    assert!(!stage.is_deleted());
    stage.worker.store.pause(PauseScope::All, true, &by).await.unwrap();
    hear().await;
    assert!(stage.work_off().await.done_at.is_some(), "a person has asked for it");
    assert!(stage.is_deleted());
}
