//! The command line: what each command prints and its exit status.

mod check;
mod documents;
mod exits;
mod golden;
mod held;
mod init;
mod lists;
mod look;
mod migrate;
mod open;
mod outputs;
mod pipes;
mod progress;
mod proxy;
mod run;
mod settings;
mod shown;
mod status;
mod sync;
mod terminal;

use sqlx::PgPool;

use crate::process::world;
use crate::world::World;

/// No daemon runs beside the commands, and each logs only what an operator must see.
pub(crate) async fn quiet_world(pool: PgPool, people: usize) -> World {
    let mut world = world(pool, people).await;
    world.set("RUST_LOG", "warn");
    world
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}
