//! The other direction: an erased person is not made in Keap again.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::store::Door;
use sqlx::PgPool;

use crate::sim::Seed;
use crate::two_way::Stage;
use crate::world::keap_id;

/// Both directions are on, and all users are brought into Keap. Ann is erased, in Keap too.
async fn erased(pool: PgPool) -> Stage {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__CREATE", "users");
    })
    .await;
    let id = keap_id(stage.id);
    stage.worker.store.request_erasure(id, Door::Http, false).await.unwrap();
    stage.look().await;
    let erasure = stage.worker.store.erasure(id).await.unwrap().unwrap();
    assert_eq!(erasure.proof, ["deleted"], "{erasure:?}");
    stage.world.keap.delete(stage.id);
    stage.settle().await;
    stage.clear();
    stage
}

async fn nobody_is_made(stage: &Stage) {
    stage.look().await;
    stage.audit(RunReason::Manual).await;
    stage.worker.sync().await;
    stage.worker.sync().await;
    assert_eq!(stage.world.keap.count("create"), 0);
    let waiting: i64 = sqlx::query_scalar("select count(*) from intercom_due")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(waiting, 0);
    assert_eq!(stage.world.intercom.count("read"), 0, "it costs no call");
}

#[sqlx::test]
async fn a_user_with_the_address_is_not_brought_into_keap(pool: PgPool) {
    let stage = erased(pool).await;

    stage.world.intercom.add_user(Seed::with_email("ann@example.org").name("Ann Lee"));

    nobody_is_made(&stage).await;
}

#[sqlx::test]
async fn a_user_with_the_number_is_not_brought_into_keap(pool: PgPool) {
    let stage = erased(pool).await;

    let seed = Seed::with_email("ann.again@example.org");
    stage.world.intercom.add_user(Seed { external_id: Some(stage.id.to_string()), ..seed });

    nobody_is_made(&stage).await;
}

#[sqlx::test]
async fn a_user_that_somebody_asks_for_by_id_is_not_brought_either(pool: PgPool) {
    let stage = erased(pool).await;
    let seed = Seed::with_email("ann@example.org");
    let user = stage.world.intercom.add_user(seed);
    let id = keap_intercom_sync::contact::IntercomId::new(user).unwrap();

    assert!(stage.worker.store.request_newcomer(&id).await.unwrap());
    stage.worker.sync().await;

    assert_eq!(stage.world.keap.count("create"), 0);
    assert!(stage.worker.store.newcomer(&id).await.unwrap().is_none());
}

/// Another user is still brought: the erasure stops nobody else.
#[sqlx::test]
async fn others_are_brought_into_keap_as_before(pool: PgPool) {
    let stage = erased(pool).await;

    stage.world.intercom.add_user(Seed::with_email("bob@example.org").name("Bob Ray"));
    stage.poll_intercom().await;
    stage.worker.sync().await;

    assert_eq!(stage.world.keap.count("create"), 1);
}
