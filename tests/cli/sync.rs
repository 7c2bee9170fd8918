//! `sync` without a daemon beside it.

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{lines, quiet_world};
use crate::process::{Ended, Process, caught_up, command};
use crate::sim::{Fault, Person, Seed, What};
use crate::world::{World, until};

/// The number of rows in every table that a command may write to.
async fn rows(world: &World) -> Vec<(String, i64)> {
    let mut rows = Vec::new();
    for table in [
        "keap_intercom_sync_logs",
        "contact_link",
        "contact_due",
        "contact_hold",
        "former_link",
        "sync_mapping",
        "sync_cursor",
        "sync_run",
        "sync_lease",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let count = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        rows.push((table.to_owned(), count));
    }
    rows
}

/// The line of the one requested contact, without the summary.
fn outcome(ended: &Ended) -> &str {
    lines(&ended.stdout)[0]
}

#[sqlx::test]
async fn sync_of_one_contact_prints_its_outcome(pool: PgPool) {
    let world = quiet_world(pool, 3).await;

    let created = command(&world, &["sync", "1"]).await.expect(0);
    let user = world.user(1).id;
    assert_eq!(outcome(&created), format!("1: created → Intercom {user}"));
    assert_eq!(
        lines(&created.stdout)[1],
        "1 contact: 1 created, 0 linked, 0 updated, 0 unchanged, 0 skipped, 0 held, 0 failed; calls: Keap 1, Intercom 2"
    );

    let unchanged = command(&world, &["sync", "1"]).await.expect(0);
    assert_eq!(outcome(&unchanged), format!("1: unchanged → Intercom {user}"));

    world.keap.edit(1, |person| person.phones.clear());
    let updated = command(&world, &["sync", "1"]).await.expect(0);
    assert_eq!(outcome(&updated), format!("1: updated → Intercom {user}"));

    let email = world.keap.person(2).unwrap().first_email().unwrap().to_owned();
    let known = world.intercom.add_user(Seed::with_email(&email));
    let linked = command(&world, &["sync", "2"]).await.expect(0);
    assert_eq!(outcome(&linked), format!("2: linked → Intercom {known}"));

    // A contact that is named and not synced is a failure.
    let missing = command(&world, &["sync", "999"]).await.expect(1);
    assert_eq!(outcome(&missing), "999: skipped (not_in_keap: Keap answers 404 for this contact)");

    let no_mail = world.keap.add(Person::named("Canary", "Canarysson"));
    let skipped = command(&world, &["sync", &no_mail.to_string()]).await.expect(1);
    assert!(
        outcome(&skipped).starts_with(&format!("{no_mail}: skipped (no_email: ")),
        "{}",
        skipped.stdout
    );

    let email = world.keap.person(3).unwrap().first_email().unwrap().to_owned();
    let twins = [0, 1].map(|_| world.intercom.add_user(Seed::with_email(&email)));
    let held = command(&world, &["sync", "3"]).await.expect(1);
    assert!(outcome(&held).starts_with("3: held"), "{}", held.stdout);

    world.intercom.delete(&twins[0]);

    let ended = command(&world, &["sync", "1", "2", "999", "--json"]).await.expect(1);
    let report = ended.json();
    assert_eq!(
        report["contacts"],
        json!([
            { "keapContactId": 1, "action": "unchanged", "intercomContactId": user, "error": null },
            { "keapContactId": 2, "action": "unchanged", "intercomContactId": known, "error": null },
            { "keapContactId": 999, "action": "skipped", "intercomContactId": null, "error": "not_in_keap: Keap answers 404 for this contact" },
        ])
    );
    assert_eq!(
        (&report["summary"]["seen"], &report["summary"]["intercomCalls"], &report["error"]),
        (&json!(3), &json!(0), &Value::Null)
    );
}

#[sqlx::test]
async fn sync_of_one_contact_that_fails_prints_the_reason_and_leaves_it_due(pool: PgPool) {
    let mut world = quiet_world(pool, 1).await;
    world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 3600);
    world.intercom.fault(Fault::on("create").what(What::status(500)));

    let failed = command(&world, &["sync", "1"]).await.expect(1);
    assert!(
        outcome(&failed).starts_with("1: failed (Intercom failed with 500"),
        "{}",
        failed.stdout
    );

    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!((&status["due"], &status["held"]), (&json!(1), &json!(0)));

    let created = command(&world, &["sync", "1"]).await.expect(0);
    assert!(outcome(&created).starts_with("1: created"), "{}", created.stdout);
}

#[sqlx::test]
async fn sync_all_reads_everything_and_sync_since_reads_later_changes(pool: PgPool) {
    let world = quiet_world(pool, 30).await;

    let all = command(&world, &["sync", "--all"]).await.expect(0);
    assert!(all.stdout.contains("contacts: 30 created, 0 linked, 0 updated"), "{}", all.stdout);
    world.assert_agrees();

    // Only the contact that has changed in Keap is written again.
    world.keap.edit(7, |person| person.family_name = Some("Canaryedited".into()));
    let since = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let report = command(&world, &["sync", "--since", &since, "--json"]).await.expect(0).json();
    assert_eq!(
        (&report["summary"]["seen"], &report["summary"]["updated"]),
        (&json!(1), &json!(1)),
        "{report}"
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
    let email = world.keap.person(3).unwrap().first_email().unwrap().to_owned();
    let known = world.intercom.add_user(Seed::with_email(&email));
    world.keap.add(Person::named("Canary", "Canarysson"));
    let (before, users) = (rows(&world).await, world.intercom.contacts());
    world.intercom.clear_ledger();

    let text = command(&world, &["sync", "--all", "--dry-run"]).await.expect(0).stdout;
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

    let text =
        command(&world, &["sync", "2", "4", "--dry-run", "--verbose"]).await.expect(0).stdout;
    for words in [
        "    name: Canary1 Canarysson → Canary1 Canaryedited\n",
        "    phone: +17775550001 → (cleared)\n",
        "    email: canary.3@canary.example\n",
        "    phone: +17775550003\n",
        "    external_id: 4\n",
        "    role: user\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    // Only what differs is shown.
    assert!(!text.contains("canary.1@canary.example"), "{text}");

    let text = command(&world, &["sync", "--all", "--dry-run", "--verbose"]).await.expect(0).stdout;
    assert!(!text.contains("1: unchanged"), "{text}");
    assert!(text.contains("    name: (empty) → Canary2 Canarysson\n"), "{text}");

    let report =
        command(&world, &["sync", "2", "999", "--dry-run", "--json"]).await.expect(1).json();
    assert_eq!(report["dryRun"], true);

    let mut actions: Vec<_> = report["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    assert_eq!(actions, ["skipped", "updated"], "{report}");

    assert_eq!(rows(&world).await, before);
    assert_eq!(world.intercom.contacts(), users);
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn a_sync_that_a_remote_refuses_ends_with_status_2(pool: PgPool) {
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

    let ended = command(&world, &["sync", "--changed", "--json"]).await.expect(2);

    let error = ended.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("INTERCOM_ACCESS_TOKEN"), "{error}");
    assert_eq!(world.intercom.live_users().len(), 0);
}

#[sqlx::test]
async fn a_sync_that_is_interrupted_while_it_waits_for_keap_ends_with_status_2(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    world.keap.stop().await;
    let sync = Process::start(&world, &["sync", "1"]);
    // It waits for Keap until a person interrupts it.
    until("the command waits for Keap", async || sync.said("Waiting, then trying again.") > 0)
        .await;
    sync.signal(Signal::INT);

    let ended = sync.ended().await.expect(2);
    assert!(ended.stdout.contains("Not complete: Keap cannot be reached"), "{ended:#?}");
    // The request stays stored: a daemon carries it out.
    world.keap.resume().await;
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn the_document_of_a_walk_lists_the_contacts_that_are_not_synced(pool: PgPool) {
    let world = quiet_world(pool, 4).await;
    let silent = world.keap.add(Person::named("Canary", "Canarysson"));
    let email = world.keap.person(2).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }

    // The second walk changes nothing, and lists the same.
    for _ in 0..2 {
        let report = command(&world, &["sync", "--all", "--json"]).await.expect(1).json();
        let listed: Vec<_> = report["contacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["keapContactId"].clone(), one["action"].clone()))
            .collect();
        assert_eq!(listed, [(json!(2), json!("held")), (json!(silent), json!("skipped"))]);
        let why = report["contacts"][1]["error"].as_str().unwrap().to_owned();
        assert!(why.starts_with("no_email: "), "{why}");
        let named = report["contacts"][0]["error"].as_str().unwrap().to_owned();
        assert!(named.starts_with("several_users: "), "{named}");
    }

    // A poll lists what it found itself.
    let late = world.keap.add(Person::named("Canary", "Canarysson"));
    let report = command(&world, &["sync", "--changed", "--json"]).await.json();
    let ids: Vec<_> = report["contacts"].as_array().unwrap().iter().collect();
    assert!(ids.iter().any(|one| one["keapContactId"] == late), "{report}");
}

#[sqlx::test]
async fn a_dry_sweep_says_who_is_gone_and_archives_nobody(pool: PgPool) {
    let world = quiet_world(pool, 12).await;
    command(&world, &["sync", "--all"]).await.expect(0);
    let gone = [world.user(3).id, world.user(5).id];
    world.keap.delete(3);
    world.keap.delete(5);
    let (before, users) = (rows(&world).await, world.intercom.contacts());
    world.intercom.clear_ledger();

    let text = command(&world, &["sync", "--sweep", "--dry-run"]).await.expect(0).stdout;
    assert_eq!(
        lines(&text)[..3],
        [
            &format!(
                "3: archived → Intercom {} (deleted: Keap does not have this contact any more (404); it was deleted, or merged into another)",
                gone[0]
            ),
            &format!(
                "5: archived → Intercom {} (deleted: Keap does not have this contact any more (404); it was deleted, or merged into another)",
                gone[1]
            ),
            "Dry run, nothing was written.",
        ]
    );
    assert!(
        text.contains("12 contacts looked at. Gone from Keap: 2 archived, 0 unlinked"),
        "{text}"
    );

    // The brake would stop the sweep.
    for id in 6..=10 {
        world.keap.delete(id);
    }
    let ended = command(&world, &["sync", "--sweep", "--dry-run"]).await.expect(2);
    assert!(ended.stdout.contains("Not complete: brake: "), "{ended:#?}");
    let forced = command(&world, &["sync", "--sweep", "--dry-run", "--force", "--json"]).await;
    let forced = forced.expect(0).json();
    assert_eq!((&forced["summary"]["archived"], &forced["dryRun"]), (&json!(7), &json!(true)));

    assert_eq!(rows(&world).await, before);
    assert_eq!(world.intercom.contacts(), users);
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn a_sweep_shows_only_what_it_can_count(pool: PgPool) {
    let world = quiet_world(pool, 12).await;
    command(&world, &["sync", "--all"]).await.expect(0);
    world.keap.delete(3);

    let swept = command(&world, &["sync", "--sweep"]).await.expect(0);

    assert!(
        swept.stdout.starts_with("12 contacts looked at. Gone from Keap: 1 archived"),
        "{swept:#?}"
    );
    assert!(!swept.stdout.contains("created"), "{swept:#?}");
}

#[sqlx::test]
async fn every_form_of_since_that_people_type_is_understood(pool: PgPool) {
    let world = quiet_world(pool, 2).await;
    for since in
        ["yesterday", "2026-11-27", "2h", "3d", "2026-11-27T10:00", "2026-11-27T10:00+01:00"]
    {
        let ended = command(&world, &["sync", "--since", since, "--dry-run"]).await;
        assert_eq!(ended.code(), Some(0), "{since}: {ended:#?}");
    }
    let ended = command(&world, &["sync", "--since", "last week"]).await.expect(2);
    assert!(ended.stderr.contains("expected a date (2026-01-31, today, yesterday)"), "{ended:#?}");
    assert!(!ended.stderr.contains("premature end of input"), "{ended:#?}");
}

#[sqlx::test]
async fn sync_alone_names_everything_that_it_can_do(pool: PgPool) {
    let world = quiet_world(pool, 0).await;

    let ended = command(&world, &["sync"]).await.expect(2);

    for option in ["IDS", "--all", "--changed", "--since", "--sweep"] {
        assert!(ended.stderr.contains(option), "{option} is missing in {}", ended.stderr);
    }
}
