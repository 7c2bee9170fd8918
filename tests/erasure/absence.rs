//! Contacts that Intercom does not show before the deletion, or that may be somebody else's.

use keap_intercom_sync::store::Door;
use sqlx::PgPool;

use super::{ANN, Stage};
use crate::sim::{Seed, Standing};
use crate::world::keap_id;

#[sqlx::test]
async fn a_404_that_no_record_explains_is_no_success(pool: PgPool) {
    let stage = Stage::new(pool).await;
    // Somebody has deleted her in Intercom, or the token belongs to another workspace.
    stage.world.intercom.delete(&stage.user);

    let open = stage.erase().await;

    assert!(open.waits && open.done_at.is_none() && open.proof.is_empty(), "{open:?}");
    assert!(open.last_error.unwrap().contains("no record says"));
    assert!(!stage.rows_about_ann().await.is_empty(), "without the link nobody could erase her");
    assert_eq!(stage.worker.store.waiting_erasures().await.unwrap(), 1);

    // Asking again without accepting it changes nothing.
    assert!(stage.erase().await.waits);

    stage.request(true).await;
    let erasure = stage.work_off().await;

    assert_eq!(erasure.proof, ["absence_accepted"]);
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}

#[sqlx::test]
async fn a_contact_that_was_archived_before_is_deleted_from_the_archive(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.world.keap.delete(ANN);
    stage.worker.request_sweep(true).await;
    stage.worker.sync().await;
    assert_eq!(stage.standing(), Standing::Archived);

    let erasure = stage.erase().await;

    assert_eq!(erasure.proof, ["deleted_from_archive"]);
    assert!(stage.is_deleted());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}

/// Nobody knows whether Intercom deletes an archived contact as it is.
#[sqlx::test]
async fn an_archived_contact_is_made_live_where_only_live_ones_are_deleted(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.world.intercom.knobs(|knobs| knobs.delete_archived = false);
    // Somebody has archived her by hand, so no record explains the 404.
    stage.world.intercom.archive(&stage.user);

    let erasure = stage.erase().await;

    assert_eq!(erasure.proof, ["deleted_from_archive"], "{erasure:?}");
    assert!(stage.is_deleted());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}

#[sqlx::test]
async fn a_contact_that_was_archived_before_and_deleted_by_hand_is_explained(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.world.keap.delete(ANN);
    stage.worker.request_sweep(true).await;
    stage.worker.sync().await;
    stage.world.intercom.delete(&stage.user);

    assert_eq!(stage.erase().await.proof, ["gone_before"]);
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}

#[sqlx::test]
async fn who_was_never_in_intercom_is_said_to_be_never_there(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let id = keap_id(712_345_077);
    stage.clear();

    stage.worker.store.request_erasure(id, Door::Http, false).await.unwrap();
    stage.worker.sync().await;

    let erasure = stage.worker.store.erasure(id).await.unwrap().unwrap();
    assert_eq!(erasure.proof, ["never_there"]);
    assert_eq!(stage.world.intercom.count("delete"), 0);
}

#[sqlx::test]
async fn an_intercom_contact_with_the_number_of_another_contact_is_not_deleted(pool: PgPool) {
    let stage = Stage::new(pool).await;
    stage.world.intercom.edit(&stage.user, |user| user.external_id = Some("712345999".into()));

    let open = stage.erase().await;

    assert_eq!(stage.standing(), Standing::Live);
    assert!(open.waits && open.last_error.unwrap().contains("712345999"));
}

#[sqlx::test]
async fn a_survivor_of_a_merge_is_erased_if_it_is_nobody_elses(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let survivor = stage.world.intercom.add_user(Seed::with_email("ann.other@example.org"));
    stage.world.intercom.merge(&stage.user, &survivor);

    let erasure = stage.erase().await;

    assert_eq!(erasure.proof, ["deleted"], "{erasure:?}");
    let standing = stage.world.intercom.contact(&survivor).unwrap().standing;
    assert!(matches!(standing, Standing::Deleted { .. }), "{standing:?}");
}

#[sqlx::test]
async fn a_survivor_of_a_merge_that_belongs_to_another_contact_stays(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let survivor = stage.world.user(2).id;
    stage.world.intercom.merge(&stage.user, &survivor);

    let open = stage.erase().await;

    assert!(stage.world.intercom.contact(&survivor).unwrap().is_live());
    assert!(open.waits && open.last_error.unwrap().contains("Keap contact 2"));
}

#[sqlx::test]
async fn archiving_instead_of_deleting_says_so(pool: PgPool) {
    let stage = Stage::with(pool, |world| {
        world.set("ERASE__MODE", "archive");
    })
    .await;

    let erasure = stage.erase().await;

    assert_eq!(
        (erasure.mode.as_deref(), erasure.proof),
        (Some("archive"), vec!["archived".into()])
    );
    assert_eq!(stage.standing(), Standing::Archived);
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}
