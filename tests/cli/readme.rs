//! What the README shows is what the program prints: each command of it is run here, and the outputs
//! are compared without their numbers, ids and times.

use std::process::Stdio;

use sqlx::PgPool;

use super::quiet_world;
use crate::process::Process;
use crate::sim::Seed;
use crate::world::World;

const README: &str = include_str!("../../README.md");

/// A command of the README, and the lines that follow it.
struct Shown {
    command: &'static str,
    lines: Vec<&'static str>,
}

/// The commands in the README's blocks of the kind `console`.
fn shown() -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for block in README.split("```console\n").skip(1) {
        let block = block.split("\n```").next().unwrap();
        for line in block.lines() {
            match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Shown { command, lines: Vec::new() }),
                (None, Some(last)) => last.lines.push(line),
                (None, None) => panic!("an output without a command: {line}"),
            }
        }
    }
    all
}

/// A line without what differs from run to run: numbers, ids, names of machines, and the widths of
/// columns.
pub(super) fn shape(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if let Some((uuid, after)) = rest.split_at_checked(36)
            && uuid::Uuid::try_parse(uuid).is_ok()
        {
            text.push_str("ID");
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end.max(first.len_utf8()));
        let is_id = run.len() >= 8 && run.contains(|c: char| c.is_ascii_digit());
        if is_id {
            text.push_str("ID");
        } else {
            for c in run.chars() {
                if !c.is_ascii_digit() {
                    text.push(c);
                } else if !text.ends_with('#') {
                    text.push('#');
                }
            }
        }
        rest = after;
    }
    let text = text.replace("#,#", "#").split_whitespace().collect::<Vec<_>>().join(" ");
    match (text.split_once(" on "), text.split_once(" (epoch")) {
        (Some((before, _)), Some((_, after))) => format!("{before} on HOST (epoch{after}"),
        _ => text,
    }
}

/// Whether an output is the one that is shown. `…` stands for the rest of a line, or for more lines.
fn agrees(shown: &[&str], printed: &[&str]) -> bool {
    let Some((first, shown_rest)) = shown.split_first() else {
        return printed.iter().all(|line| line.is_empty());
    };
    if *first == "…" {
        return (0..=printed.len()).any(|skipped| agrees(shown_rest, &printed[skipped..]));
    }
    let Some((line, printed_rest)) = printed.split_first() else {
        return shown.iter().all(|line| line.is_empty());
    };
    let line_agrees = match first.strip_suffix('…') {
        Some(beginning) => shape(line).starts_with(&shape(beginning)),
        None => shape(line) == shape(first),
    };
    line_agrees && agrees(shown_rest, printed_rest)
}

#[test]
fn shapes_differ_where_words_differ() {
    assert_eq!(shape("held      1,040 of 12"), "held # of #");
    assert_eq!(shape("6762f0dd1bb69f9f0000000a x"), "ID x");
    assert_eq!(shape("by process 12 on vm (epoch 3)"), "by process # on HOST (epoch #)");
    assert!(agrees(&["a 1", "…", "b"], &["a 2", "x", "y", "b"]));
    assert!(agrees(&["a 1 …"], &["a 2 and more"]));
    assert!(!agrees(&["a 1"], &["a 2", "b"]));
    assert!(!agrees(&["working   yes"], &["working   no"]));
}

/// A world in the state of the demo: a daemon has caught up, and one contact is held.
async fn as_in_the_demo(pool: PgPool) -> (World, Process, std::net::SocketAddr) {
    let mut world = quiet_world(pool, 30).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address).set("POLL__SCHEDULE", "0 0 0 1 1 *");
    world.set("LOG_FORMAT", "text").env.remove("KEAP_WEBHOOK_SECRET");
    let email = world.keap.person(20).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }
    world.keap.add(crate::sim::Person::named("Canary", "Canarysson"));
    world.keap.knobs(crate::sim::keap::knobs::KeapKnobs::exact_limits);
    world.intercom.knobs(crate::sim::intercom::knobs::IntercomKnobs::exact_limits);
    let daemon = Process::daemon(&world);
    crate::world::until("everybody has an outcome", async || {
        let sql = "select count(*) from contact_link";
        let links: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(&world.pool).await;
        links.unwrap_or(0) == 30 && world.held().await.len() == 1
    })
    .await;
    let all = Process::start(&world, &["sync", "--all"]).ended().await;
    assert_eq!(all.code(), Some(1), "one is held: {all:#?}");
    (world, daemon, address)
}

#[sqlx::test]
async fn every_output_of_the_readme_is_what_the_program_prints(pool: PgPool) {
    let (world, daemon, address) = as_in_the_demo(pool).await;
    let shown = shown();
    assert!(shown.len() >= 5, "the README shows too little");

    for Shown { command, lines } in shown {
        let script = command
            .replace("keap-intercom-sync ", "\"$0\" ")
            .replace("localhost:8080", &address.to_string());
        let ended = Process::by_shell(&world, &script, Stdio::null()).ended().await;
        let printed: Vec<&str> = ended.stdout.lines().collect();
        assert!(
            agrees(&lines, &printed),
            "the README shows for `{command}`:\n{}\nthe program prints:\n{}\n{}",
            lines.join("\n"),
            ended.stdout,
            ended.stderr
        );
    }
    daemon.stop().await;
}

#[test]
fn no_line_of_the_readme_is_longer_than_a_screen() {
    for line in README.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}
