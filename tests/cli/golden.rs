//! Golden outputs: what each command prints, without numbers, ids and times. A change of one shows
//! in the diff of `tests/cli/snapshots/`.

use sqlx::PgPool;

use super::look::busy;
use super::quiet_world;
use super::shown::shape;
use crate::process::command;

/// An output line by line, without what differs from run to run, but with the beginnings of lines.
fn golden(text: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        format!("{}{}", &line[..indent.min(4)], shape(line))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let after = help.split_once("\nCommands:\n").map_or("", |(_, after)| after);
    let lines = after.lines().take_while(|line| !line.is_empty());
    // A longer indent is the rest of the line before.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["", "help"].contains(name)).map(str::to_owned).collect()
}

#[sqlx::test]
async fn the_help_of_every_command_is_as_recorded(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let mut all = String::new();
    let mut ahead = vec![Vec::<String>::new()];
    while let Some(words) = ahead.pop() {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = command(&world, &arguments).await.expect(0).stdout;
        all += &format!("=== {}\n{help}\n", arguments.join(" "));
        for name in listed(&help).into_iter().rev() {
            ahead.push([words.as_slice(), &[name]].concat());
        }
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
            golden(&(ended.stdout + ended.stderr.as_str()))
        );
    }
    insta::assert_snapshot!("lists", all);
}
