//! How output looks in a real terminal of 80 and of 120 columns, in a pipe, and without colours.

use std::process::Stdio;

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Process, command};
use crate::sim::Seed;
use crate::world::World;

const ESCAPE: char = '\u{1b}';

/// Runs commands in a terminal, which `script` makes.
pub(super) async fn in_terminal(world: &World, columns: u32, commands: &str) -> String {
    let inner = format!("stty cols {columns} rows 60; {commands}").replace("$0", "$PROGRAM");
    let script = format!("PROGRAM=\"$0\" TERM=xterm script -qec '{inner}' /dev/null");
    let ended = Process::by_shell(world, &script, Stdio::null()).ended().await;
    ended.stdout.replace('\r', "")
}

/// The text without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// A world with runs, a log and two groups of held contacts.
pub(super) async fn busy(pool: PgPool) -> World {
    let world = quiet_world(pool, 12).await;
    for id in [1, 2] {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
    }
    command(&world, &["sync", "--all"]).await.expect(1);
    command(&world, &["sync", "3", "999999"]).await.expect(1);
    world
}

#[sqlx::test]
async fn output_fits_a_terminal_of_80_and_of_120_columns(pool: PgPool) {
    let world = busy(pool).await;
    let commands = "\"$0\" status; \"$0\" runs; \"$0\" log; \"$0\" held; \"$0\" config --changed";

    for columns in [80, 120] {
        let text = in_terminal(&world, columns, commands).await;
        assert!(text.contains(ESCAPE), "a terminal gets colours: {text}");
        let text = plain(&text);
        for line in text.lines() {
            assert!(line.chars().count() <= columns as usize, "{columns}: {line:?} in\n{text}");
        }
        // Ids and times stay whole, so that they can be copied.
        for held in world.held().await {
            for id in held.candidates {
                assert!(text.contains(&id), "{id} is cut at {columns} columns:\n{text}");
            }
            let since = held.since.format("%Y-%m-%d %H:%M:%S").to_string();
            assert!(text.contains(&since), "{since} is cut at {columns} columns:\n{text}");
        }
    }
}

#[sqlx::test]
async fn colours_are_left_out_in_pipes_and_where_no_color_is_set(pool: PgPool) {
    let mut world = busy(pool).await;
    for arguments in [&["status"] as &[&str], &["held"], &["runs"], &["log"]] {
        let text = command(&world, arguments).await.stdout;
        assert!(!text.contains(ESCAPE), "{arguments:?}: {text}");
    }
    // In a pipe every row is one line.
    let text = command(&world, &["held"]).await.stdout;
    assert!(
        text.lines()
            .any(|line| line
                .contains("several_users: more than one Intercom user has this e-mail  ")),
        "{text}"
    );

    world.set("NO_COLOR", "1");
    let text = in_terminal(&world, 80, "\"$0\" status; \"$0\" held").await;
    assert!(text.contains("working"), "{text}");
    assert!(!text.contains(ESCAPE), "{text}");
}
