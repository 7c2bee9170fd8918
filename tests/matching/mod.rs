//! Every case of deciding and matching, against an Intercom with a memory.

mod archived;
mod emails;
mod exchanges;
mod first_match;
mod linked;
mod owners;
mod rebuild;
mod strangers;
mod unlinked;

use crate::world::World;

/// The time has come to look again at every hold that can end without a change in Keap.
async fn recheck_now(world: &World) {
    let sql = "update contact_hold set recheck_at = now() where recheck_at is not null";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
}
