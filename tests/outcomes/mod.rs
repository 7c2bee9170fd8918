//! Every class of outcome: failures that pass, refusals of one contact, and sides that stop.

mod blame;
mod contacts;
mod garbage;
mod limits;
mod outages;
mod refusals;
mod refused;

use crate::world::World;

/// The most attempts that any due contact has used up.
async fn most_attempts(world: &World) -> i32 {
    let sql = "select coalesce(max(attempts), 0) from contact_due";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

fn edit_all(world: &World, name: &'static str) {
    world.keap.clock().advance_ms(3_000);
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some(name.into()));
}
