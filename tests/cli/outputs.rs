//! What the documents show is what the program prints: each command in a block of the kind
//! `console` is run here, and its output is compared.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use sqlx::PgPool;

use super::documents::documents;
use super::quiet_world;
use super::shown::{Shown, agrees, blocks, shown};
use crate::process::{Process, canary};
use crate::sim::Seed;
use crate::world::World;

/// The one who is held in the demo.
const HELD: i64 = 1000;
/// What may stand in a fenced block. Only `console` shows what a program prints.
const LANGUAGES: [&str; 9] =
    ["console", "sh", "toml", "yaml", "nginx", "caddyfile", "rust", "text", "sql"];

/// A world in the state of the demo: a daemon has caught up, and one contact is held.
async fn as_in_the_demo(pool: PgPool) -> (World, Process, SocketAddr) {
    let mut world = quiet_world(pool, 30).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address).set("POLL__SCHEDULE", "0 0 0 1 1 *");
    world.set("LOG_FORMAT", "text").env.remove("KEAP_WEBHOOK_SECRET");
    world.keap.add(crate::sim::Person::named("Canary", "Canarysson"));
    world.keap.add_with_id(HELD, canary(40));
    let email = world.keap.person(HELD).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }
    world.keap.knobs(crate::sim::keap::knobs::KeapKnobs::exact_limits);
    world.intercom.knobs(crate::sim::intercom::knobs::IntercomKnobs::exact_limits);
    let daemon = Process::daemon(&world);
    crate::world::until("everybody has an outcome", async || {
        let sql = "select count(*) from contact_link";
        let links: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(&world.pool).await;
        links.unwrap_or(0) == 31 && world.held().await.len() == 1
    })
    .await;
    let all = Process::start(&world, &["sync", "--all"]).ended().await;
    assert_eq!(all.code(), Some(1), "one is held: {all:#?}");
    (world, daemon, address)
}

/// Runs the commands of a document one after the other, and compares what they print. The variables
/// that one sets are known to the next.
async fn shows_what_is_printed(pool: PgPool, name: &str) {
    let (world, daemon, address) = as_in_the_demo(pool).await;
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (mut variables, mut wrong) = (String::new(), String::new());
    for Shown { command, lines } in shown(&document) {
        let script = command
            .replace("keap-intercom-sync ", "\"$0\" ")
            .replace("localhost:8080", &address.to_string());
        let is_variable = |name: &str| name.chars().all(|c| c.is_ascii_lowercase());
        if command.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
            variables += &(script + "; ");
            continue;
        }
        let script = format!("{variables}{script}");
        let ended = Process::by_shell(&world, &script, Stdio::null()).ended().await;
        let printed: Vec<&str> = ended.stdout.lines().collect();
        if !agrees(&lines, &printed) {
            wrong += &format!(
                "{name} shows for `{command}`:\n{}\nthe program prints:\n{}\n{}\n",
                lines.join("\n"),
                ended.stdout,
                ended.stderr
            );
        }
    }
    daemon.stop().await;
    assert!(wrong.is_empty(), "{wrong}");
}

/// The documents that show outputs, each with a test of its own.
macro_rules! shows_what_is_printed {
    ($($test:ident: $name:literal;)*) => {
        const COMPARED: &[&str] = &[$($name),*];
        $(
            #[sqlx::test]
            async fn $test(pool: PgPool) {
                shows_what_is_printed(pool, $name).await;
            }
        )*
    };
}

shows_what_is_printed! {
    every_output_of_the_readme_is_what_the_program_prints: "README.md";
    every_output_of_the_page_on_http_is_what_the_program_prints: "docs/http.md";
}

/// The texts in the blocks of a page, without its escapes.
fn preformatted(page: &str) -> Vec<String> {
    let blocks = page.split("<pre>").skip(1).filter_map(|rest| rest.split("</pre>").next());
    let plain = [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    blocks
        .map(|text| plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
        .collect()
}

#[sqlx::test]
async fn every_call_of_the_page_docs_runs_as_printed(pool: PgPool) {
    let (world, daemon, address) = as_in_the_demo(pool).await;
    let page = Process::by_shell(&world, &format!("curl -s {address}/docs"), Stdio::null());
    let page = page.ended().await.expect(0).stdout;
    let calls = preformatted(&page).into_iter().filter(|text| text.starts_with("curl"));
    // Webhooks are off in this world.
    let calls: Vec<String> = calls.filter(|call| !call.contains("/webhook/")).collect();
    assert!(calls.len() > 12, "{calls:#?}");

    for call in calls {
        let script = call.replace("localhost:8080", &address.to_string());
        let script = format!("{script} -s -w '\\n%{{http_code}}'");
        let ended = Process::by_shell(&world, &script, Stdio::null()).ended().await.expect(0);
        let status = ended.stdout.lines().last().unwrap_or_default();
        // The contact and the run of the examples are no contact and no run of this world.
        let is_known = ["404", "422"].contains(&status) && !ended.stdout.contains("no_such_route");
        assert!(["200", "202"].contains(&status) || is_known, "{call}\n{}", ended.stdout);
    }
    daemon.stop().await;
}

#[test]
fn no_output_of_a_document_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in documents() {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for (language, lines) in blocks(&text) {
            assert!(LANGUAGES.contains(&language), "{name}: a block is of the kind {language:?}");
            let shows = lines.iter().any(|line| line.starts_with("$ "));
            assert_eq!(shows, language == "console", "{name}: {lines:?}");
        }
        assert_eq!(
            !shown(&text).is_empty(),
            COMPARED.contains(&name.as_str()),
            "the outputs of {name} must be compared: name it in shows_what_is_printed!"
        );
    }
}

#[test]
fn no_line_of_the_readme_is_longer_than_a_screen() {
    for line in include_str!("../../README.md").lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}
