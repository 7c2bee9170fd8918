//! Nothing brings an erased person back, and a person can allow it again.

use keap_intercom_sync::feed::DueReason;
use sqlx::PgPool;

use super::{ANN, Stage};
use crate::sim::{Person, Standing};
use crate::world::{ann, keap_id};

impl Stage {
    /// Nothing was written, and nothing is stored of Ann.
    async fn assert_not_back(&self, road: &str) {
        assert_eq!(self.world.writes(), 0, "{road}");
        assert_eq!(self.world.intercom.calls(), 0, "{road}: {:?}", self.world.intercom.kinds());
        assert!(self.is_deleted(), "{road}");
        assert_eq!(self.rows_about_ann().await, [""; 0], "{road}");
    }
}

#[sqlx::test]
async fn no_road_brings_an_erased_contact_back(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.erase().await;
    stage.clear();

    stage.world.keap.edit(ANN, |person| person.family_name = Some("Canaryedited".into()));
    let counts = stage.worker.sync().await;
    assert_eq!((counts.updated, counts.skipped), (0, 1), "{counts:?}");
    stage.assert_not_back("a poll").await;

    let counts = stage.worker.backfill().await;
    assert_eq!((counts.updated, counts.created), (0, 0), "{counts:?}");
    assert!(counts.skipped >= 1, "{counts:?}");
    stage.assert_not_back("a walk over everybody").await;

    stage.worker.request_sweep(false).await;
    let counts = stage.worker.sync().await;
    assert_eq!(counts.late, 0, "{counts:?}");
    stage.assert_not_back("a sweep").await;

    // Whoever asks gets the answer at once: Keap is not even read.
    stage.world.keap.clear_ledger();
    for reason in [DueReason::Manual, DueReason::Webhook] {
        let tickets = stage.worker.store.request(&[keap_id(ANN)], reason).await.unwrap();
        assert_eq!(tickets.len(), 1);
        stage.worker.work_off().await;
        stage.assert_not_back("a request").await;
    }
    assert_eq!(stage.world.keap.calls(), 0);

    stage.world.keap.delete(ANN);
    stage.worker.request_sweep(true).await;
    stage.worker.sync().await;
    stage.assert_not_back("a deletion in Keap").await;
}

/// Passes keep away from the contact from the request on.
#[sqlx::test]
async fn a_contact_whose_erasure_is_open_is_not_written(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.request(false).await;
    stage.clear();

    stage.world.keap.edit(ANN, |person| person.family_name = Some("Canaryedited".into()));
    let mut poll = true;
    while stage.worker.syncer.bulk_step(&mut poll).await.unwrap() || poll {}

    assert_eq!(stage.world.writes(), 0);
    assert_eq!(stage.work_off().await.proof, ["deleted"]);
}

#[sqlx::test]
async fn a_contact_that_is_made_again_with_the_address_is_skipped_and_logged_once(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.erase().await;
    stage.clear();
    let again = stage.world.keap.add(ann());
    let reason = "erased_address: the contact has the e-mail address of one that was erased";

    for _ in 0..3 {
        stage.worker.sync().await;
        stage.worker.backfill().await;
        stage.worker.request_sweep(false).await;
        assert_eq!(stage.worker.sync().await.late, 0);
    }

    assert_eq!(stage.world.intercom.calls(), 0, "{:?}", stage.world.intercom.kinds());
    let log = stage.world.log_of(again).await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].error_message.as_deref(), Some(reason));
    // Who asks for it is told, each time.
    stage.worker.request(&[again]).await;
    assert_eq!(stage.world.log_of(again).await.len(), 2);

    // With another address it is another person.
    stage.world.keap.edit(again, |person| *person = person.clone().email("new@example.org"));
    stage.world.keap.edit(again, |person| {
        person.emails.retain(|(_, email)| email != "ann@example.org");
        person.emails[0].0 = "EMAIL1".into();
    });
    stage.worker.sync().await;
    assert_eq!(stage.world.user(again).email.as_deref(), Some("new@example.org"));
}

/// The address that Intercom shows, and that which Keap shows, both count.
#[sqlx::test]
async fn every_address_that_a_side_shows_is_kept_as_a_digest(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.world.intercom.edit(&stage.user, |user| user.email = Some("Ann.Two@Example.org".into()));
    stage.world.keap.edit(ANN, |person| person.emails[0].1 = "ann.three@example.org".into());
    stage.erase().await;
    stage.clear();

    let mut made = Vec::new();
    for email in ["ann@example.org", "ann.two@example.org", "ANN.three@example.org"] {
        made.push(stage.world.keap.add(Person::named("Canary", "Again").email(email)));
    }
    stage.worker.sync().await;

    for id in made {
        assert_eq!(stage.world.last_action(id).await, "skipped", "{id}");
    }
    assert_eq!(stage.world.intercom.calls(), 0);
}

/// A contact that is linked, and takes the address of the erased one, is left alone from then on.
#[sqlx::test]
async fn a_linked_contact_that_takes_the_address_is_not_written(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.erase().await;
    stage.clear();

    for name in ["Canaryone", "Canarytwo"] {
        stage.world.keap.edit(2, |person| {
            person.emails[0].1 = "ann@example.org".into();
            person.family_name = Some(name.into());
        });
        stage.worker.sync().await;
        stage.worker.request_sweep(false).await;
        assert_eq!(stage.worker.sync().await.late, 0);
    }

    assert_eq!(stage.world.intercom.calls(), 0);
    assert_eq!(stage.world.log_of(2).await.len(), 1, "{:?}", stage.world.log_of(2).await);
}

#[sqlx::test]
async fn a_person_can_let_the_contact_come_back(pool: PgPool) {
    let stage = Stage::with(pool, |world| {
        world.set("ERASE__MODE", "archive");
    })
    .await;
    let store = stage.worker.store.clone();
    assert!(!store.forget_erasure(keap_id(ANN)).await.unwrap(), "nobody is erased");
    stage.erase().await;

    assert!(store.forget_erasure(keap_id(ANN)).await.unwrap());
    stage.worker.work_off().await;
    stage.worker.sync().await;

    assert!(stage.erasure().await.is_none());
    let digests: i64 = sqlx::query_scalar("select count(*) from erased_email")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(digests, 0);
    assert_eq!(stage.standing(), Standing::Live, "{:?}", stage.world.log_of(ANN).await);
    stage.world.assert_agrees();
}

#[sqlx::test]
async fn an_erasure_that_is_done_is_not_done_again(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let first = stage.erase().await;
    stage.clear();

    let second = stage.erase().await;

    assert_eq!((first.proof, first.done_at), (second.proof, second.done_at));
    assert_eq!(stage.world.intercom.calls() + stage.world.keap.calls(), 0);
}
