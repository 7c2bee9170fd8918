//! The command line: what each command prints, how it ends, and how a daemon stops.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::process::{Ended, Process, canary, caught_up, command, world};
use crate::sim::{Fault, Person, RateHeaders, Seed, What};
use crate::world::{World, migrations, until};

/// No daemon runs beside the commands, and each says on standard error only what an operator sees.
async fn quiet_world(pool: PgPool, people: usize) -> World {
    let mut world = world(pool, people).await;
    world.set("RUST_LOG", "warn");
    world
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// The rows of every table that a command could have written to.
async fn rows(world: &World) -> Vec<(String, i64)> {
    let mut rows = Vec::new();
    for table in [
        "keap_intercom_sync_logs",
        "contact_link",
        "contact_due",
        "sync_cursor",
        "sync_run",
        "sync_lease",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let count = sqlx::query_scalar(sql)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        rows.push((table.to_owned(), count));
    }
    rows
}

// Help and settings.

#[sqlx::test]
async fn help_teaches_each_command(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let help = command(&world, &["--help"]).await.expect(0).stdout;
    for words in [
        "Keeps Intercom in step with Keap.",
        "Three are needed: DATABASE_URL, KEAP_API_KEY and",
        "Begin with `check`.",
        "78 a setting is",
        "run      Run the daemon",
        "sync     Sync once in the foreground",
        "check    Check settings, Postgres, Keap and Intercom, a line each",
        "migrate  Apply what is missing of the database schema",
        "status   Say whether it works, how far behind it is, what is wrong",
        "health   Exit with status 0 if the daemon on this machine is alive",
        "held     List the contacts that need a person",
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
    for arguments in [
        ["held", "retry", "--help"],
        ["run", "--help", ""],
        ["status", "--help", ""],
    ] {
        let arguments: Vec<_> = arguments
            .into_iter()
            .filter(|one| !one.is_empty())
            .collect();
        command(&world, &arguments).await.expect(0);
    }
}

#[sqlx::test]
async fn a_command_line_that_is_not_understood_does_nothing(pool: PgPool) {
    let world = quiet_world(pool, 1).await;
    for arguments in [
        &["sync"] as &[&str],
        &["sync", "0"],
        &["sync", "ann"],
        &["sync", "5", "--all"],
        &["sync", "--all", "--changed"],
        &["sync", "--since", "yesterday"],
        &["sync", "--all", "--verbose"],
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
                ended
                    .stderr
                    .starts_with(&format!("{name} is missing: set {name}")),
                "{ended:#?}"
            );
            assert_eq!(ended.stdout, "");
        }
    }
}

#[sqlx::test]
async fn a_wrong_setting_is_named_with_what_is_expected(pool: PgPool) {
    for (name, value, expected) in [
        (
            "POLL__SCHEDULE",
            "every minute",
            "six fields, seconds first",
        ),
        (
            "POLL__SCHEDULE",
            "99 * * * * *",
            "six fields, seconds first",
        ),
        ("KEAP__PAGE_SIZE", "1001", "1000"),
        ("SYNC__CONCURENCY", "8", "did you mean SYNC__CONCURRENCY?"),
        ("HTTP_LISTEN", "localhost", "HTTP_LISTEN"),
        ("KEAP_BASE_URL", "http://keap.example.com", "https"),
        ("LOG_FORMAT", "xml", "json"),
        ("DATABASE_URL", "mysql://canary@localhost/db", "postgres://"),
        ("KEAP_API_KEY", "canary key with blanks", "without spaces"),
    ] {
        let mut world = quiet_world(pool.clone(), 0).await;
        world.set(name, value);
        let ended = command(&world, &["run"]).await.expect(78);
        assert_eq!(lines(&ended.stderr).len(), 1, "{ended:#?}");
        assert!(
            ended.stderr.starts_with(name) && ended.stderr.contains(expected),
            "{ended:#?}"
        );
    }
}

#[sqlx::test]
async fn every_mistake_in_the_settings_is_told_at_once(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world
        .set("KEAP__PAGE_SIZE", "many")
        .set("LEASE__TTL_SECONDS", "1");
    let ended = command(&world, &["run"]).await.expect(78);
    assert_eq!(lines(&ended.stderr).len(), 2, "{ended:#?}");
}

#[sqlx::test(migrations = false)]
async fn settings_come_from_a_file_too_and_the_environment_goes_before_it(pool: PgPool) {
    let mut world = quiet_world(pool, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let arguments = ["sync", "1", "--config", file.to_str().unwrap()];
    std::fs::write(&file, "[database]\nmigrate = \"never\"\n").unwrap();
    let ended = command(&world, &arguments).await.expect(78);
    assert!(
        ended.stderr.starts_with("database.migrate in ")
            && ended
                .stderr
                .contains("settings.toml: \"never\" is not valid"),
        "{ended:#?}"
    );
    std::fs::write(&file, "[database]\nmigrate = \"refuse\"\n").unwrap();
    let ended = command(&world, &arguments).await.expect(2);
    assert!(
        ended.stderr.contains("migration(s) are missing"),
        "{ended:#?}"
    );
    world.set("DATABASE__MIGRATE", "auto");
    command(&world, &arguments).await.expect(0);
}

// The database.

#[sqlx::test(migrations = false)]
async fn migrating_twice_is_migrating_once(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let first = command(&world, &["migrate"]).await.expect(0);
    assert_eq!(
        first.stdout,
        format!("{} migration(s) applied.\n", migrations())
    );
    let second = command(&world, &["migrate"]).await.expect(0);
    assert_eq!(second.stdout, "The database is up to date.\n");
}

#[sqlx::test(migrations = false)]
async fn f95_two_that_migrate_at_the_same_time_do_not_meet(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let processes: Vec<_> = (0..3)
        .map(|_| Process::start(&world, &["migrate"]))
        .collect();
    let mut said = Vec::new();
    for process in processes {
        said.push(process.ended().await.expect(0).stdout);
    }
    said.sort();
    assert_eq!(
        said,
        [
            &format!("{} migration(s) applied.\n", migrations()),
            "The database is up to date.\n",
            "The database is up to date.\n"
        ]
    );
}

#[sqlx::test(migrations = false)]
async fn a_daemon_that_may_not_migrate_says_what_to_do(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    world.set("DATABASE__MIGRATE", "refuse");
    let ended = command(&world, &["run"]).await.expect(2);
    assert!(
        ended.stderr.contains(&format!(
            "{} migration(s) are missing; run `keap-intercom-sync migrate`",
            migrations()
        )),
        "{ended:#?}"
    );
    let ended = command(&world, &["status"]).await.expect(2);
    assert!(
        ended.stderr.contains("run `keap-intercom-sync migrate`"),
        "{ended:#?}"
    );
    // A dry run never migrates.
    world.set("DATABASE__MIGRATE", "auto");
    let ended = command(&world, &["sync", "--all", "--dry-run"])
        .await
        .expect(2);
    assert!(
        ended.stderr.contains("keap-intercom-sync migrate"),
        "{ended:#?}"
    );
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(tables, 0);

    command(&world, &["migrate"]).await.expect(0);
    world.set("DATABASE__MIGRATE", "refuse");
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_empty_database_becomes_a_working_sync_by_run_alone(pool: PgPool) {
    let world = world(pool, 5).await;
    let daemon = Process::daemon(&world);
    until("everybody is there", async || {
        world.intercom.live_users().len() == 5
    })
    .await;
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn a_database_of_a_newer_version_is_refused(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    sqlx::query("update _sqlx_migrations set version = 9999 where version = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    for arguments in [["run"], ["migrate"]] {
        let ended = command(&world, &arguments).await.expect(2);
        assert!(ended.stderr.contains("newer"), "{ended:#?}");
    }
}

#[sqlx::test(migrations = false)]
async fn the_service_has_its_settings_and_secrets_in_etc(pool: PgPool) {
    let world = World::new(pool).await;
    let ended = command(&world, &["--service=nobody-has-this", "status"]).await;
    let stderr = ended.expect(78).stderr;
    for path in ["config.toml cannot be read", "credentials cannot be listed"] {
        let path = format!("/etc/keap-intercom-sync/nobody-has-this/{path}");
        assert!(stderr.contains(&path), "{stderr}");
    }
    for name in ["../acme", "a/b", ".", ""] {
        let ended = command(&world, &["status", &format!("--service={name}")]).await;
        assert!(
            ended.expect(2).stderr.contains("an account is a name"),
            "{name}"
        );
    }
}

// status and held.

#[sqlx::test]
async fn status_tells_where_everything_stands(pool: PgPool) {
    let mut world = quiet_world(pool, 12).await;
    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert_eq!(
        lines(&text),
        [
            "working   no: no daemon is running passes",
            "lease     free",
            "changed   no cursor yet: the first poll has not happened",
            "backfill  none so far",
            "sweep     none so far",
            "linked    0 contacts",
            "due       0",
            "held      0",
            "remotes   unknown: no daemon answers on this machine (http.listen)",
            "",
            "to do",
            "  no daemon is running passes:",
            "    start one: `systemctl start keap-intercom-sync`, or `keap-intercom-sync run`",
            "  no poll has succeeded yet:",
            "    wait, if it has just been started; else the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
        ]
    );
    let status = command(&world, &["status", "--json"])
        .await
        .expect(0)
        .json();
    let troubles: Vec<_> = status["troubles"].as_array().unwrap().iter().collect();
    assert_eq!(troubles.len(), 2, "{status}");
    assert!(troubles.iter().all(|trouble| trouble["stops"] == true));
    let mut status = status;
    status.as_object_mut().unwrap().remove("troubles");
    assert_eq!(
        status,
        json!({ "working": false, "keap": null, "intercom": null, "webhooks": null, "lease": null, "changed": null, "backfill": null, "sweep": null, "due": 0, "held": 0, "linked": 0, "runs": [], "stale": null })
    );

    let no_mail = world.keap.add(Person::named("Canary", "Canarysson"));
    for _ in 0..2 {
        world
            .intercom
            .add_user(Seed::with_email("canary.twins@canary.example"));
    }
    let twins = world
        .keap
        .add(Person::named("Canary", "Canarysson").email("canary.twins@canary.example"));
    assert_eq!((no_mail, twins), (13, 14));
    command(&world, &["sync", "--changed"]).await.expect(1);

    let text = command(&world, &["status"]).await.expect(0).stdout;
    for words in [
        "changed   at most ",
        " s behind Keap; newest change recorded ",
        "backfill  done",
        "linked    12 contacts",
        "held      1\n",
        "1 contact(s) need a person:\n    `keap-intercom-sync held` lists",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    let status = command(&world, &["status", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&status["linked"], &status["held"], &status["due"]),
        (&json!(12), &json!(1), &json!(0))
    );
    assert_eq!(status["lease"]["live"], false, "{status}");
    assert_eq!(status["backfill"]["walk"], Value::Null);
    let runs = status["runs"].as_array().unwrap();
    let sum = |what: &str| {
        runs.iter()
            .map(|run| run[what].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(sum("created"), 12, "{status:#}");
    assert!(runs.iter().all(|run| run["state"] == "done"), "{status:#}");
    let calls = i64::try_from(world.intercom.calls()).unwrap();
    assert_eq!(sum("intercom_calls"), calls, "{status:#}");

    world.set("RUST_LOG", "info");
    let daemon = Process::leader(&world).await;
    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert!(
        text.starts_with("working   yes\nlease     held by "),
        "{text}"
    );
    assert!(
        text.contains(&format!("process {} on ", daemon.pid())),
        "{text}"
    );
    daemon.stop().await;
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[sqlx::test]
async fn status_tells_what_is_wrong_and_what_to_do(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    // Listening everywhere, as in a container: the commands ask at loopback.
    world.set("HTTP_LISTEN", format!("0.0.0.0:{}", free_port()));
    let ended = command(&world, &["health"]).await.expect(1);
    assert!(
        ended
            .stdout
            .starts_with("unhealthy: no daemon answers at http://127.0.0.1:"),
        "{}",
        ended.stdout
    );
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    assert_eq!(
        command(&world, &["health"]).await.expect(0).stdout,
        "healthy\n"
    );
    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert!(text.starts_with("working   yes\n"), "{text}");
    assert!(
        text.contains("\nremotes   Keap ok, Intercom ok, webhooks off\n"),
        "{text}"
    );
    assert!(!text.contains("to do"), "{text}");

    world.keap.set_token("another token");
    until("the status tells that Keap refuses", async || {
        let text = command(&world, &["status"]).await.expect(0).stdout;
        text.starts_with("working   no: Keap refuses this program\n")
            && text.contains("remotes   Keap refused, Intercom ok")
            && text.contains("renew KEAP_API_KEY")
    })
    .await;
    let status = command(&world, &["status", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&status["working"], &status["keap"], &status["intercom"]),
        (&json!(false), &json!("refused"), &json!("ok"))
    );
    assert_eq!(
        command(&world, &["health"]).await.expect(0).stdout,
        "healthy\n"
    );
    daemon.stop().await;
}

#[sqlx::test]
async fn held_contacts_are_listed_and_tried_again(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    let text = command(&world, &["held"]).await.expect(0).stdout;
    assert_eq!(text, "No contact is held.\n");
    assert_eq!(
        command(&world, &["held", "--json"]).await.expect(0).json(),
        json!([])
    );

    let mut twins = Vec::new();
    for id in [1, 2] {
        let email = world
            .keap
            .person(id)
            .unwrap()
            .first_email()
            .unwrap()
            .to_owned();
        for _ in 0..2 {
            twins.push(world.intercom.add_user(Seed::with_email(&email)));
        }
    }
    let ended = command(&world, &["sync", "--all"]).await.expect(1);
    assert!(ended.stdout.contains(" 2 held"), "{}", ended.stdout);

    let text = command(&world, &["held"]).await.expect(0).stdout;
    assert!(
        text.contains("KEAP ID") && text.contains("held retry <keap id>"),
        "{text}"
    );
    assert!(twins.iter().all(|twin| text.contains(twin)), "{text}");
    let held = command(&world, &["held", "--json"]).await.expect(0).json();
    let mut ids: Vec<_> = held
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["keap_contact_id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "{held}");

    // One of the twins goes; somebody tries again.
    world.intercom.delete(&twins[0]);
    world.intercom.reindex_now();
    let ended = command(&world, &["held", "retry", "1", "77"])
        .await
        .expect(1);
    assert_eq!(
        ended.stdout,
        "1 held contact(s) are due again.\nNot held: 77\n"
    );
    command(&world, &["sync", "--changed"]).await;
    assert_eq!(world.user(1).id, twins[1]);

    world.intercom.delete(&twins[2]);
    world.intercom.reindex_now();
    let ended = command(&world, &["held", "retry", "--all", "--json"])
        .await
        .expect(0);
    assert_eq!(ended.json(), json!({ "retried": [2], "notHeld": [] }));
    command(&world, &["sync", "--changed"]).await.expect(0);
    assert_eq!(world.user(2).id, twins[3]);
    assert_eq!(
        command(&world, &["held"]).await.expect(0).stdout,
        "No contact is held.\n"
    );
    world.assert_agrees();
}

// sync.

/// The line of the one contact that was asked for, without the summary.
fn outcome(ended: &Ended) -> &str {
    lines(&ended.stdout)[0]
}

#[sqlx::test]
async fn sync_of_one_contact_tells_what_came_of_it(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    let created = command(&world, &["sync", "1"]).await.expect(0);
    let user = world.user(1).id;
    assert_eq!(outcome(&created), format!("1: created → Intercom {user}"));
    assert_eq!(
        lines(&created.stdout)[1],
        "1 contacts: 1 created, 0 linked, 0 updated, 0 unchanged, 0 skipped, 0 held, 0 failed; calls: Keap 1, Intercom 2"
    );
    let unchanged = command(&world, &["sync", "1"]).await.expect(0);
    assert_eq!(
        outcome(&unchanged),
        format!("1: unchanged → Intercom {user}")
    );
    world.keap.edit(1, |person| person.phones.clear());
    let updated = command(&world, &["sync", "1"]).await.expect(0);
    assert_eq!(outcome(&updated), format!("1: updated → Intercom {user}"));

    let email = world
        .keap
        .person(2)
        .unwrap()
        .first_email()
        .unwrap()
        .to_owned();
    let known = world.intercom.add_user(Seed::with_email(&email));
    let linked = command(&world, &["sync", "2"]).await.expect(0);
    assert_eq!(outcome(&linked), format!("2: linked → Intercom {known}"));

    // What somebody names and does not get is a failure.
    let missing = command(&world, &["sync", "999"]).await.expect(1);
    assert_eq!(
        outcome(&missing),
        "999: skipped (not_in_keap: Keap answers 404 for this contact)"
    );
    let no_mail = world.keap.add(Person::named("Canary", "Canarysson"));
    let skipped = command(&world, &["sync", &no_mail.to_string()])
        .await
        .expect(1);
    assert!(
        outcome(&skipped).starts_with(&format!("{no_mail}: skipped (no_email: ")),
        "{}",
        skipped.stdout
    );
    let email = world
        .keap
        .person(3)
        .unwrap()
        .first_email()
        .unwrap()
        .to_owned();
    let twins = [0, 1].map(|_| world.intercom.add_user(Seed::with_email(&email)));
    let held = command(&world, &["sync", "3"]).await.expect(1);
    assert!(outcome(&held).starts_with("3: held"), "{}", held.stdout);
    world.intercom.delete(&twins[0]);

    let ended = command(&world, &["sync", "1", "2", "999", "--json"])
        .await
        .expect(1);
    let told = ended.json();
    assert_eq!(
        told["contacts"],
        json!([
            { "keapContactId": 1, "action": "unchanged", "intercomContactId": user, "error": null },
            { "keapContactId": 2, "action": "unchanged", "intercomContactId": known, "error": null },
            { "keapContactId": 999, "action": "skipped", "intercomContactId": null, "error": "not_in_keap: Keap answers 404 for this contact" },
        ])
    );
    assert_eq!(
        (
            &told["summary"]["seen"],
            &told["summary"]["intercom_calls"],
            &told["error"]
        ),
        (&json!(3), &json!(0), &Value::Null)
    );
}

#[sqlx::test]
async fn sync_of_one_contact_that_fails_says_why_and_it_is_tried_again(pool: PgPool) {
    let mut world = quiet_world(pool, 1).await;
    world
        .set("SYNC__RETRY_BASE_MS", 600_000)
        .set("SYNC__RETRY_CAP_SECONDS", 3600);
    world
        .intercom
        .fault(Fault::on("create").what(What::status(500)));
    let failed = command(&world, &["sync", "1"]).await.expect(1);
    assert!(
        outcome(&failed).starts_with("1: failed (Intercom failed with 500"),
        "{}",
        failed.stdout
    );
    let status = command(&world, &["status", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!((&status["due"], &status["held"]), (&json!(1), &json!(0)));
    let created = command(&world, &["sync", "1"]).await.expect(0);
    assert!(
        outcome(&created).starts_with("1: created"),
        "{}",
        created.stdout
    );
}

#[sqlx::test]
async fn sync_of_all_and_of_a_time_look_at_what_they_say(pool: PgPool) {
    let world = quiet_world(pool, 30).await;
    let all = command(&world, &["sync", "--all"]).await.expect(0);
    assert!(
        all.stdout
            .contains("contacts: 30 created, 0 linked, 0 updated"),
        "{}",
        all.stdout
    );
    world.assert_agrees();
    // Somebody has changed contacts in Intercom behind our back: only a contact that Keap changed is written again.
    world
        .keap
        .edit(7, |person| person.family_name = Some("Canaryedited".into()));
    let since = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let told = command(&world, &["sync", "--since", &since, "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&told["summary"]["seen"], &told["summary"]["updated"]),
        (&json!(1), &json!(1)),
        "{told}"
    );
    let changed = command(&world, &["sync", "--changed"]).await.expect(0);
    assert!(changed.stdout.contains(" 0 updated"), "{}", changed.stdout);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_dry_run_decides_and_writes_nothing_anywhere(pool: PgPool) {
    let world = quiet_world(pool, 4).await;
    command(&world, &["sync", "1", "2"]).await.expect(0);
    world.keap.edit(2, |person| {
        person.family_name = Some("Canaryedited".into());
        person.phones.clear();
    });
    let email = world
        .keap
        .person(3)
        .unwrap()
        .first_email()
        .unwrap()
        .to_owned();
    let known = world.intercom.add_user(Seed::with_email(&email));
    world.keap.add(Person::named("Canary", "Canarysson"));
    let (before, users) = (rows(&world).await, world.intercom.contacts());
    world.intercom.clear_ledger();

    let text = command(&world, &["sync", "--all", "--dry-run"])
        .await
        .expect(0)
        .stdout;
    let linked = world.user(2).id;
    assert_eq!(
        lines(&text)[..5],
        [
            &format!("2: updated → Intercom {linked}"),
            &format!("3: linked → Intercom {known}"),
            "4: created",
            "5: skipped (no_email: the contact has no valid e-mail address and no Intercom contact yet)",
            "Dry run, nothing was written.",
        ]
    );
    assert!(
        text.contains("5 contacts: 1 created, 1 linked, 1 updated, 1 unchanged, 1 skipped"),
        "{text}"
    );

    let text = command(&world, &["sync", "2", "4", "--dry-run", "--verbose"])
        .await
        .expect(0)
        .stdout;
    for words in [
        "    name: Canary1 Canaryedited\n",
        "    phone: (cleared)\n",
        "    email: canary.3@canary.example\n",
        "    phone: +17775550003\n",
        "    external_id: 4\n",
        "    role: user\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    let told = command(&world, &["sync", "2", "999", "--dry-run", "--json"])
        .await
        .expect(1)
        .json();
    assert_eq!(told["dryRun"], true);
    let mut actions: Vec<_> = told["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    assert_eq!(actions, ["skipped", "updated"], "{told}");

    assert_eq!(rows(&world).await, before);
    assert_eq!(world.intercom.contacts(), users);
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn where_nothing_can_be_done_the_exit_status_is_2(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    let token = world.keap.token();
    world.keap.set_token("canary-another");
    for arguments in [&["sync", "1"] as &[&str], &["sync", "--all"]] {
        let ended = command(&world, arguments).await.expect(2);
        assert!(ended.stdout.contains("Not complete: Keap"), "{ended:#?}");
        assert!(ended.stdout.contains("KEAP_API_KEY"), "{ended:#?}");
    }
    world.keap.set_token(&token);
    world.intercom.set_token("canary-another");
    let ended = command(&world, &["sync", "--changed", "--json"])
        .await
        .expect(2);
    let error = ended.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("INTERCOM_ACCESS_TOKEN"), "{error}");
    assert_eq!(world.intercom.live_users().len(), 0);
}

#[sqlx::test]
async fn keap_that_stays_away_ends_a_sync_after_a_while_with_2(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    world.keap.stop().await;
    let sync = Process::start(&world, &["sync", "1"]);
    // It waits for Keap; whoever does not want to wait interrupts it.
    until("it waits", async || {
        sync.said("Waiting, then trying again.") > 0
    })
    .await;
    sync.signal(Signal::INT);
    let ended = sync.ended().await.expect(2);
    assert!(
        ended
            .stdout
            .contains("Not complete: Keap cannot be reached"),
        "{ended:#?}"
    );
    // What was asked for stays asked for.
    world.keap.resume().await;
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn without_a_database_each_command_says_so(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world
        .set(
            "DATABASE_URL",
            "postgres://canary:canary@127.0.0.1:1/canary",
        )
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

// check.

/// The four lines of `check`: what each is about, and whether it is well.
fn findings(ended: &Ended) -> Vec<(&str, bool)> {
    ended
        .stdout
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let well = words.next() == Some("✓");
            (words.next().unwrap(), well)
        })
        .collect()
}

fn line<'a>(ended: &'a Ended, about: &str) -> &'a str {
    let found = ended.stdout.lines().find(|line| line.contains(about));
    found.unwrap()
}

#[sqlx::test]
async fn check_is_content_when_all_is_well(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    world.keap.knobs(|knobs| knobs.exact_limits());
    world.intercom.knobs(|knobs| knobs.exact_limits());
    let ended = command(&world, &["check"]).await.expect(0);
    assert_eq!(
        findings(&ended),
        [
            ("settings", true),
            ("postgres", true),
            ("keap", true),
            ("intercom", true),
            ("webhooks", true)
        ]
    );
    assert!(
        line(&ended, "postgres").contains("migrated"),
        "{}",
        ended.stdout
    );
    assert!(
        line(&ended, "keap").contains("calls left"),
        "{}",
        ended.stdout
    );
    assert!(
        line(&ended, "intercom").contains("version 2.16"),
        "{}",
        ended.stdout
    );
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn check_tells_what_is_wrong_and_what_to_do(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let (keap, intercom) = (world.keap.token(), world.intercom.token());
    world.keap.set_token("canary-another");
    let ended = command(&world, &["check"]).await.expect(1);
    assert_eq!(
        findings(&ended),
        [
            ("settings", true),
            ("postgres", true),
            ("keap", false),
            ("intercom", true),
            ("webhooks", true)
        ]
    );
    assert!(
        line(&ended, "✗ keap").contains("KEAP_API_KEY"),
        "{}",
        ended.stdout
    );
    world.keap.set_token(&keap);

    world.intercom.set_token("canary-another");
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(
        line(&ended, "✗ intercom").contains("INTERCOM_ACCESS_TOKEN"),
        "{}",
        ended.stdout
    );
    world.intercom.set_token(&intercom);

    world.intercom.knobs(|knobs| knobs.version_unknown = true);
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(
        line(&ended, "✗ intercom").contains("INTERCOM_VERSION"),
        "{}",
        ended.stdout
    );
    world.intercom.knobs(|knobs| knobs.version_unknown = false);

    world.keap.stop().await;
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(
        line(&ended, "✗ keap").contains("cannot be reached"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.stdout.matches('✓').count(), 4);
}

#[sqlx::test(migrations = false)]
async fn check_tells_what_is_wrong_with_the_database(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    // A new database is as it should be before the first start, where that may migrate.
    let ended = command(&world, &["check"]).await.expect(0);
    assert!(
        line(&ended, "✓ postgres").contains("which `run` applies when it starts"),
        "{}",
        ended.stdout
    );
    world.set("DATABASE__MIGRATE", "refuse");
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(
        line(&ended, "✗ postgres").contains("run `keap-intercom-sync migrate` as the owner"),
        "{}",
        ended.stdout
    );
    world
        .set(
            "DATABASE_URL",
            "postgres://canary:canary@127.0.0.1:1/canary",
        )
        .set("DATABASE__CONNECT_TIMEOUT_MS", 300);
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(
        line(&ended, "✗ postgres").contains("check DATABASE_URL"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.stdout.matches('✓').count(), 4, "{}", ended.stdout);
}

// How a daemon starts and stops.

#[sqlx::test]
async fn an_address_that_is_taken_is_named(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.set("HTTP_LISTEN", address);
    let ended = command(&world, &["run"]).await.expect(2);
    assert_eq!(lines(&ended.stderr).len(), 1, "{ended:#?}");
    assert!(
        ended
            .stderr
            .contains(&format!("HTTP_LISTEN: cannot listen on {address}")),
        "{ended:#?}"
    );
}

#[sqlx::test]
async fn f92_an_idle_daemon_stops_at_either_signal(pool: PgPool) {
    let world = world(pool, 3).await;
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Process::leader(&world).await;
        caught_up(&world).await;
        daemon.stop_by(signal).await;
    }
}

#[sqlx::test]
async fn f92_a_daemon_stops_while_it_starts(pool: PgPool) {
    let world = world(pool, 3).await;
    for said in ["Starting.", "This process holds the lease"] {
        let mut daemon = Process::daemon(&world);
        daemon.says(said).await;
        // The first line comes before the signals are listened to.
        if said == "Starting." {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        daemon.stop().await;
    }
}

#[sqlx::test]
async fn f92_a_daemon_stops_in_the_middle_of_writes_that_nobody_answers(pool: PgPool) {
    let world = world(pool, 100).await;
    world
        .intercom
        .fault(Fault::on("create").skip(20).always().what(What::Hang));
    let daemon = Process::daemon(&world);
    until("writes hang", async || world.intercom.count("create") >= 60).await;
    daemon.stop().await;
    // What was answered is recorded, no attempt is used up, and the lease is given back.
    assert_eq!(world.log().await.len(), 20);
    let due: Option<i32> = sqlx::query_scalar("select max(attempts) from contact_due")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(due, None);
    world.intercom.clear_faults();
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_eq!(world.log().await.len(), 100);
}

#[sqlx::test]
async fn f93_a_daemon_stops_while_it_waits_for_a_limit(pool: PgPool) {
    let world = world(pool, 100).await;
    world.intercom.knobs(|knobs| {
        // It cannot know beforehand, and is told to wait for a minute.
        knobs.rate_headers = RateHeaders::Missing;
        (knobs.limit, knobs.retry_after) = (Some(20), Some(60));
    });
    let daemon = Process::daemon(&world);
    until("the limit is met", async || {
        world.intercom.statuses().contains_key(&429)
    })
    .await;
    daemon.stop().await;
    let due: i64 = sqlx::query_scalar("select count(*) from contact_due")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(due, 0);
}

#[sqlx::test]
async fn f93_a_daemon_stops_while_keap_does_not_answer(pool: PgPool) {
    let world = world(pool, 10).await;
    world
        .keap
        .fault(Fault::on("list").always().what(What::Hang));
    let daemon = Process::daemon(&world);
    until("it asks Keap", async || world.keap.calls() > 0).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn f83_a_daemon_waits_for_postgres_and_stops_while_it_waits(pool: PgPool) {
    let mut world = world(pool, 3).await;
    world
        .set(
            "DATABASE_URL",
            "postgres://canary:canary@127.0.0.1:1/canary",
        )
        .set("DATABASE__CONNECT_TIMEOUT_MS", 200);
    let mut daemon = Process::daemon(&world);
    daemon
        .says("Postgres is not there yet; waiting for it.")
        .await;
    daemon.stop().await;
}

#[sqlx::test]
async fn f92_a_daemon_stops_while_postgres_does_not_answer(pool: PgPool) {
    let world = world(pool, 30).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let daemon = Process::daemon(&world);
    crate::process::until_it_waits_for_a_lock(&world).await;
    daemon.stop().await;
    lock.rollback().await.unwrap();
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    world.assert_agrees();
}

#[sqlx::test]
async fn f92_a_second_signal_ends_a_daemon_at_once(pool: PgPool) {
    let world = world(pool, 100).await;
    world
        .intercom
        .fault(Fault::on("create").always().what(What::Hang));
    let mut daemon = Process::daemon(&world);
    until("writes hang", async || world.intercom.count("create") > 0).await;
    daemon.signal(Signal::TERM);
    daemon
        .says("Stopping: what is under way is finished and recorded.")
        .await;
    let asked = Instant::now();
    daemon.signal(Signal::INT);
    daemon.ended().await.expect(130);
    // What is under way would have got two seconds.
    assert!(
        asked.elapsed() < Duration::from_millis(1500),
        "{:?}",
        asked.elapsed()
    );
    world.intercom.clear_faults();
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn health_is_answered_and_names_nobody(pool: PgPool) {
    let world = world(pool, 3).await;
    let mut daemon = Process::daemon(&world);
    daemon.says("Starting.").await;
    let first = daemon.stderr();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let address = first["http.listen"].as_str().unwrap();
    let answer = reqwest_get(&format!("http://{address}/health")).await;
    assert_eq!(answer["status"], "healthy", "{answer}");
    daemon.stop().await;
}

async fn reqwest_get(url: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(url).await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[sqlx::test]
async fn each_line_of_the_log_is_one_json_object(pool: PgPool) {
    let mut world = world(pool, 20).await;
    world.set("RUST_LOG", "info");
    world.keap.add(canary(1).email("canary.1@canary.example"));
    let daemon = Process::daemon(&world);
    until("everybody is there", async || world.log().await.len() >= 20).await;
    let ended = daemon.stop().await;
    for line in ended.stderr.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    assert_eq!(ended.stdout, "");
}
