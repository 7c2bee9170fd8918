//! Readers that go away, and output that cannot be written.

use std::process::Stdio;

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Ended, Process};
use crate::world::World;

/// Runs the program with its output in a pipe whose reader is gone. `redirected`: how the shell
/// redirects the program's output. The last line of standard error is its exit status.
async fn unread(world: &World, arguments: &str, redirected: &str) -> (String, Ended) {
    // The reader ends long before the program has connected to the database.
    let script = format!(
        "{{ {{ sleep 0.2; \"$0\" {arguments} {redirected}; echo $? >&3; }} | true; }} 3>&2"
    );
    let ended = Process::by_shell(world, &script, Stdio::null()).ended().await;
    let status = ended.stderr.lines().last().unwrap_or_default().to_owned();
    (status, ended)
}

#[sqlx::test]
async fn a_closed_pipe_ends_the_output_of_every_command_quietly(pool: PgPool) {
    let mut world = quiet_world(pool, 30).await;

    // A command whose work is not its output does all of it.
    let (status, ended) = unread(&world, "sync --all", "").await;
    assert_eq!((status.as_str(), ended.stderr.lines().count()), ("0", 1), "{ended:#?}");
    world.assert_agrees();

    for (arguments, expected) in [
        ("sync --dry-run --verbose --all", "0"),
        ("sync --dry-run --json --all", "0"),
        ("sync 1 2", "0"),
        ("sync 999999", "1"),
        ("status", "1"),
        ("status --json", "1"),
        ("check", "0"),
        ("explain 1", "0"),
        ("held", "0"),
        ("decide list", "0"),
        ("erase --list", "0"),
        ("runs", "0"),
        ("plan --all", "0"),
        ("plan list", "0"),
        ("plan show", "0"),
        ("plan drop", "0"),
        ("pause", "0"),
        ("resume", "0"),
        ("cursor show", "0"),
        ("log", "0"),
        ("config", "0"),
        ("migrate", "0"),
        ("completions bash", "0"),
        ("--help", "0"),
    ] {
        let (status, ended) = unread(&world, arguments, "").await;
        assert_eq!(
            (status.as_str(), ended.stderr.lines().count()),
            (expected, 1),
            "{arguments}: {ended:#?}"
        );
    }
    // Errors and log lines go into the pipe, too.
    world.set("RUST_LOG", "debug");
    for (arguments, expected) in
        [("sync --all", "0"), ("sync --since nonsense", "2"), ("runs 12345", "2")]
    {
        let (status, ended) = unread(&world, arguments, "2>&1").await;
        assert_eq!(status, expected, "{arguments}: {ended:#?}");
    }
}

#[sqlx::test]
async fn a_dry_run_that_nobody_reads_stops_reading_keap(pool: PgPool) {
    let mut world = quiet_world(pool, 60).await;
    world.set("KEAP__PAGE_SIZE", 5);

    let (status, ended) = unread(&world, "sync --dry-run --all", "").await;

    assert_eq!(status, "0", "{ended:#?}");
    assert!(world.keap.calls() < 6, "{} calls", world.keap.calls());
}

#[sqlx::test]
async fn output_that_cannot_be_written_is_an_error(pool: PgPool) {
    let world = quiet_world(pool, 3).await;

    let ended =
        Process::by_shell(&world, "\"$0\" held >/dev/full", Stdio::null()).ended().await.expect(2);

    assert!(ended.stderr.contains("the output cannot be written: No space left"), "{ended:#?}");
}
