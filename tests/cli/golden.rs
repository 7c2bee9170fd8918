//! Golden outputs: what each command prints, without numbers, ids and times. A change of one shows in
//! the diff of `tests/cli/snapshots/`.

use sqlx::PgPool;

use super::look::busy;
use super::quiet_world;
use super::readme::shape;
use crate::process::command;

/// An output line by line, without what differs from run to run, but with the beginnings of lines.
fn golden(text: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        format!("{}{}", &line[..indent.min(4)], shape(line))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[sqlx::test]
async fn the_help_of_every_command_is_as_recorded(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let mut all = command(&world, &["--help"]).await.expect(0).stdout;
    for arguments in [
        &["sync", "--help"] as &[&str],
        &["status", "--help"],
        &["held", "--help"],
        &["held", "retry", "--help"],
        &["runs", "--help"],
        &["log", "--help"],
        &["config", "--help"],
        &["init", "--help"],
    ] {
        let help = command(&world, arguments).await.expect(0).stdout;
        all += &format!("\n=== {}\n{help}", arguments.join(" "));
    }
    insta::assert_snapshot!("help", all.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[sqlx::test]
async fn the_output_of_every_list_is_as_recorded(pool: PgPool) {
    let world = busy(pool).await;
    let mut all = String::new();
    for arguments in [
        &["status"] as &[&str],
        &["held"],
        &["held", "--json"],
        &["runs"],
        &["log", "--action", "held"],
        &["explain", "1"],
        &["explain", "3"],
        &["sync", "--all"],
        &["sync", "--all", "--dry-run"],
        &["sync", "--sweep"],
        &["hooks", "list"],
    ] {
        let ended = command(&world, arguments).await;
        let code = ended.code().unwrap();
        all += &format!(
            "$ keap-intercom-sync {}\n{}\n[{code}]\n",
            arguments.join(" "),
            golden(&(ended.stdout + &ended.stderr))
        );
    }
    insta::assert_snapshot!("lists", all);
}
