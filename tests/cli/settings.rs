//! The help, wrong command lines, and settings that are missing or wrong.

use sqlx::PgPool;

use super::{lines, quiet_world};
use crate::process::command;
use crate::world::World;

#[sqlx::test]
async fn help_explains_each_command(pool: PgPool) {
    let world = quiet_world(pool, 0).await;

    let help = command(&world, &["--help"]).await.expect(0).stdout;
    for words in [
        "Keeps Intercom in step with Keap.",
        "Three are needed: DATABASE_URL, KEAP_API_KEY and",
        "Begin with `check`.",
        "78 a setting",
        "run          Run the daemon",
        "sync         Sync once in the foreground",
        "check        Check the settings, Postgres, Keap, Intercom and the webhooks",
        "init         Ask for what is needed",
        "migrate      Apply the missing migrations of the database",
        "status       Say whether contacts flow, how far behind they are, what is wrong",
        "health       Exit with status 0 if the daemon on this machine is alive",
        "held         List the contacts that need a person",
        "runs         List the last polls and walks",
        "log          Show the recorded outcomes",
        "config       Show the settings in force",
        "completions  Print the completions of a shell",
    ] {
        assert!(help.contains(words), "{words:?} is missing in {help}");
    }

    let help = command(&world, &["sync", "--help"]).await.expect(0).stdout;
    for words in [
        "keap-intercom-sync sync --all --dry-run",
        "--since <TIME>",
        "Exit status: 0 all well; 1 some contacts failed",
    ] {
        assert!(help.contains(words), "{words:?} is missing in {help}");
    }
    for arguments in [["held", "retry", "--help"], ["run", "--help", ""], ["status", "--help", ""]]
    {
        let arguments: Vec<_> = arguments.into_iter().filter(|one| !one.is_empty()).collect();
        command(&world, &arguments).await.expect(0);
    }
}

#[sqlx::test]
async fn a_wrong_command_line_does_nothing(pool: PgPool) {
    let world = quiet_world(pool, 1).await;

    for arguments in [
        &["sync"] as &[&str],
        &["sync", "0"],
        &["sync", "ann"],
        &["sync", "5", "--all"],
        &["sync", "--all", "--changed"],
        &["sync", "--since", "last week"],
        &["sync", "--all", "--verbose"],
        &["sync", "--sweep", "--verbose"],
        &["sync", "--force"],
        &["sync", "--force", "12"],
        &["sync", "--force", "--all", "--changed"],
        &["sync", "--force", "--dry-run", "--changed"],
        &["held", "retry"],
        &["held", "retry", "5", "--all"],
        &["start"],
        &[],
    ] {
        let ended = command(&world, arguments).await.expect(2);
        assert!(ended.stderr.contains("--help"), "{ended:#?}");
        assert_eq!(ended.stdout, "");
    }

    assert_eq!((world.keap.calls(), world.intercom.calls()), (0, 0));
}

#[sqlx::test]
async fn a_missing_setting_is_named_in_one_line(pool: PgPool) {
    for (name, commands) in [
        ("KEAP_API_KEY", &["run", "check", "sync --all"] as &[&str]),
        ("INTERCOM_ACCESS_TOKEN", &["run", "check", "sync 5"]),
        ("DATABASE_URL", &["run", "migrate", "status", "held"]),
    ] {
        let mut world = quiet_world(pool.clone(), 0).await;
        world.env.remove(name);
        for words in commands {
            let arguments: Vec<_> = words.split(' ').collect();
            let ended = command(&world, &arguments).await.expect(78);
            assert_eq!(lines(&ended.stderr).len(), 1, "{ended:#?}");
            assert!(
                ended.stderr.starts_with(&format!("{name} is missing: set {name}")),
                "{ended:#?}"
            );
            assert_eq!(ended.stdout, "");
        }
    }
}

#[sqlx::test]
async fn a_wrong_setting_is_named_with_the_expected_form(pool: PgPool) {
    for (name, value, expected) in [
        ("POLL__SCHEDULE", "every minute", "six fields, seconds first"),
        ("POLL__SCHEDULE", "99 * * * * *", "six fields, seconds first"),
        ("KEAP__PAGE_SIZE", "1001", "1000"),
        ("SYNC__CONCURENCY", "8", "did you mean SYNC__CONCURRENCY?"),
        ("HTTP_LISTEN", "localhost", "HTTP_LISTEN"),
        ("KEAP_BASE_URL", "http://keap.example.com", "https"),
        ("LOG_FORMAT", "xml", "json"),
        ("DATABASE_URL", "mysql://canary@localhost/db", "postgres://"),
        ("DATABASE_URL", "postgres://canary:canary@one,two/db", "one host and one port"),
        (
            "DATABASE_URL",
            "postgres://canary:can#ary@one:port/db",
            "in the password, write % as %25",
        ),
        ("KEAP_API_KEY", "canary key with blanks", "without spaces"),
        ("KEAP_API_KEY", "\"canary-key", "quotes around it"),
    ] {
        let mut world = quiet_world(pool.clone(), 0).await;
        world.set(name, value);
        let ended = command(&world, &["run"]).await.expect(78);
        assert_eq!(lines(&ended.stderr).len(), 1, "{ended:#?}");
        assert!(ended.stderr.starts_with(name) && ended.stderr.contains(expected), "{ended:#?}");
    }
}

#[sqlx::test]
async fn a_password_may_hold_any_character_and_the_host_may_be_a_socket(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let direct: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    let Some((_, folder)) = direct.query_pairs().find(|(name, _)| name == "host") else {
        panic!("this test needs the socket of tests/with-postgres");
    };
    let (user, database) = (direct.username(), direct.path().trim_start_matches('/'));
    let escaped = folder.replace('/', "%2F");
    for password in ["canary#1", "canary/1", "canary?1", "c@nary@1", "canary%1", "1#/?@%"] {
        for address in [
            format!("postgres://{user}:{password}@{escaped}:5432/{database}"),
            format!("postgres://{user}:{password}@/{database}?host={folder}&port=5432"),
            format!("\"postgresql://{user}:{password}@localhost/{database}?host={folder}\""),
        ] {
            let mut world = quiet_world(world.pool.clone(), 0).await;
            world.set("DATABASE_URL", &address).set("RUST_LOG", "debug");
            let ended = command(&world, &["held"]).await;
            assert_eq!(ended.code(), Some(0), "{password}: {ended:#?}");
        }
    }
}

#[sqlx::test]
async fn a_host_that_does_not_exist_is_named_by_its_setting_without_the_password(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world.set("DATABASE_URL", "postgres://app:canary#1@nowhere.invalid/app");

    let ended = command(&world, &["status"]).await.expect(2);

    assert!(ended.stderr.contains("DATABASE_URL"), "{ended:#?}");
}

#[sqlx::test]
async fn every_mistake_in_the_settings_is_reported_at_once(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world.set("KEAP__PAGE_SIZE", "many").set("LEASE__TTL_SECONDS", "1");

    let ended = command(&world, &["run"]).await.expect(78);
    assert_eq!(lines(&ended.stderr).len(), 2, "{ended:#?}");
}

#[sqlx::test(migrations = false)]
async fn the_environment_overrides_the_settings_file(pool: PgPool) {
    let mut world = quiet_world(pool, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let arguments = ["sync", "1", "--config", file.to_str().unwrap()];
    std::fs::write(&file, "[database]\nmigrate = \"never\"\n").unwrap();

    let ended = command(&world, &arguments).await.expect(78);
    assert!(
        ended.stderr.starts_with("database.migrate in ")
            && ended.stderr.contains("settings.toml: \"never\" is not valid"),
        "{ended:#?}"
    );

    std::fs::write(&file, "[database]\nmigrate = \"refuse\"\n").unwrap();
    let ended = command(&world, &arguments).await.expect(2);
    assert!(ended.stderr.contains("migration(s) are missing"), "{ended:#?}");
    world.set("DATABASE__MIGRATE", "auto");
    command(&world, &arguments).await.expect(0);
}

#[sqlx::test(migrations = false)]
async fn a_service_has_its_settings_and_secrets_in_etc(pool: PgPool) {
    let world = World::new(pool).await;

    let ended = command(&world, &["--service=nobody-has-this", "status"]).await;
    let stderr = ended.expect(78).stderr;
    for path in ["config.toml cannot be read", "credentials cannot be listed"] {
        let path = format!("/etc/keap-intercom-sync/nobody-has-this/{path}");
        assert!(stderr.contains(&path), "{stderr}");
    }
    for name in ["../acme", "a/b", ".", ""] {
        let ended = command(&world, &["status", &format!("--service={name}")]).await;
        assert!(ended.expect(2).stderr.contains("an account is a name"), "{name}");
    }
}

#[sqlx::test]
async fn without_a_database_each_command_names_postgres(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world
        .set("DATABASE_URL", "postgres://canary:canary@127.0.0.1:1/canary")
        .set("DATABASE__CONNECT_TIMEOUT_MS", 300);
    for arguments in [
        &["status"] as &[&str],
        &["held"],
        &["migrate"],
        &["sync", "1"],
        &["sync", "--all", "--dry-run"],
    ] {
        let ended = command(&world, arguments).await.expect(2);
        assert!(ended.stderr.contains("Postgres"), "{ended:#?}");
    }
}
