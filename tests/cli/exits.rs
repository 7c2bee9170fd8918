//! The rule of exit statuses: 0 all well, 1 some contacts or checks failed, 2 nothing could be
//! done, 78 a setting is wrong. The text of a command and its status agree.

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Process, caught_up, command};
use crate::sim::Seed;
use crate::world::World;

const RULE: &str = "Exit status: 0 all well; 1 some contacts or checks failed; 2 nothing could be done; 78 a setting is wrong.";

/// The text without line ends and marks of a document.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "")
}

/// The names of all commands, as `--help` lists them.
async fn commands(world: &World) -> Vec<String> {
    let help = command(world, &["--help"]).await.expect(0).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[sqlx::test]
async fn the_rule_stands_in_the_readme_and_in_the_help_of_every_command(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let readme = include_str!("../../README.md");
    assert!(plain(readme).contains(RULE), "the rule is missing in README.md");
    assert!(plain(&command(&world, &["--help"]).await.expect(0).stdout).contains(RULE));

    let names = commands(&world).await;
    assert!(names.len() > 10, "{names:?}");
    for name in names.iter().filter(|name| *name != "help") {
        let help = plain(&command(&world, &[name.as_str(), "--help"]).await.expect(0).stdout);
        for part in ["Exit status: 0 all well", "2 nothing could be done", "78 a setting is wrong."]
        {
            assert!(help.contains(part), "{name}: {part:?} is missing in {help}");
        }
    }
}

#[sqlx::test]
async fn status_fails_exactly_where_it_says_that_nothing_works(pool: PgPool) {
    let world = quiet_world(pool, 3).await;

    let ended = command(&world, &["status"]).await.expect(1);
    assert!(ended.stdout.starts_with("working   no: "), "{ended:#?}");
    let ended = command(&world, &["status", "--json"]).await.expect(1);
    assert_eq!(ended.json()["working"], false);

    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    let ended = command(&world, &["status"]).await.expect(0);
    assert!(ended.stdout.starts_with("working   yes"), "{ended:#?}");
    let ended = command(&world, &["status", "--json"]).await.expect(0);
    assert_eq!(ended.json()["working"], true);
    daemon.stop().await;
}

#[sqlx::test]
async fn status_shows_what_the_daemon_knows_while_the_database_is_away(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address);
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    // This command cannot reach the database, and the daemon can.
    world
        .set("DATABASE_URL", "postgres://canary:canary@127.0.0.1:1/canary")
        .set("DATABASE__CONNECT_TIMEOUT_MS", 1500);

    let ended = command(&world, &["status"]).await.expect(1);
    assert!(ended.stdout.starts_with("working   no: the database does not answer\n"), "{ended:#?}");
    assert!(ended.stdout.contains("database ok, lease holder"), "{ended:#?}");
    assert!(ended.stdout.contains("Postgres cannot be reached"), "{ended:#?}");
    // It does not wait in silence.
    assert!(ended.stderr.contains("Waiting for Postgres, at most 1 s"), "{ended:#?}");
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!((&status["database"], &status["keap"]), (&"down".into(), &"ok".into()));

    daemon.stop().await;
    let ended = command(&world, &["status"]).await.expect(2);
    assert_eq!(ended.stderr.matches("Postgres cannot be reached").count(), 1, "{ended:#?}");
    assert!(ended.stderr.contains("no daemon answers"), "{ended:#?}");
}

#[sqlx::test]
async fn errors_of_postgres_are_told_once_and_without_its_source(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let mut url: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    url.set_path("/canary_nowhere");
    world.set("DATABASE_URL", url).set("DATABASE__CONNECT_TIMEOUT_MS", 300);

    for arguments in [&["held"] as &[&str], &["sync", "1"], &["sync", "--all", "--dry-run"]] {
        let mut world = quiet_world(world.pool.clone(), 0).await;
        world.set("DATABASE_URL", "postgres://app:pw@127.0.0.1:1/nowhere");
        world.set("DATABASE__CONNECT_TIMEOUT_MS", 300);
        let ended = command(&world, arguments).await.expect(2);
        let refused = ended.stderr.to_lowercase().matches("refused").count();
        assert_eq!((refused, ended.stderr.lines().count()), (1, 1), "{ended:#?}");
    }

    sqlx::raw_sql("alter table contact_hold rename to away").execute(&world.pool).await.unwrap();
    sqlx::raw_sql("drop view contact_held").execute(&world.pool).await.unwrap();
    let world = quiet_world(world.pool.clone(), 0).await;
    let ended = command(&world, &["held"]).await.expect(2);
    assert!(ended.stderr.contains("does not exist (SQLSTATE 42P01)"), "{ended:#?}");
    assert!(!ended.stderr.contains(" at line "), "{ended:#?}");
}

#[sqlx::test]
async fn each_status_says_what_the_rule_says(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    let email = world.keap.person(3).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }
    for (arguments, status) in [
        (&["sync", "1"] as &[&str], 0),
        (&["sync", "1", "999999"], 1),
        (&["sync", "--all"], 1),
        (&["sync", "--all", "--dry-run"], 1),
        (&["held"], 0),
        (&["held", "retry", "77"], 1),
        (&["check"], 0),
        (&["health"], 1),
        (&["explain", "1"], 0),
        (&["runs"], 0),
        (&["runs", "ffffffff"], 2),
        (&["runs", "--follow"], 1),
        (&["log"], 0),
        (&["config"], 0),
        (&["sync"], 2),
        (&["nonsense"], 2),
    ] {
        let ended = command(&world, arguments).await;
        assert_eq!(ended.code(), Some(status), "{arguments:?}: {ended:#?}");
    }

    world.set("KEAP__PAGE_SIZE", "many");
    for arguments in [&["status"] as &[&str], &["sync", "1"], &["held"], &["runs"], &["config"]] {
        let ended = command(&world, arguments).await.expect(78);
        assert!(ended.stderr.contains("KEAP__PAGE_SIZE"), "{ended:#?}");
    }
}
