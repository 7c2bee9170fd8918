//! `runs`, `log`, `config` and `completions`.

use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgPool;

use super::{lines, quiet_world};
use crate::process::{Process, command};
use crate::sim::{Person, Seed};

#[sqlx::test]
async fn runs_are_listed_shown_and_followed(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    assert_eq!(command(&world, &["runs"]).await.expect(0).stdout, "No run yet.\n");
    command(&world, &["runs", "--follow"]).await.expect(2);
    command(&world, &["sync", "--all"]).await.expect(0);
    command(&world, &["sync", "--sweep"]).await.expect(0);

    let text = command(&world, &["runs"]).await.expect(0).stdout;
    let rows = lines(&text);
    assert!(rows[0].starts_with("STARTED (UTC)"), "{text}");
    assert!(rows[1].contains(" sweep ") && rows[1].contains("3 contacts; calls: Keap "), "{text}");
    assert!(rows[2].contains(" backfill ") && rows[2].contains("3 contacts: 3 created"), "{text}");

    let listed = command(&world, &["runs", "--feed", "backfill", "--json"]).await.expect(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&listed[0]["created"], &listed[0]["state"]), (&3.into(), &"done".into()));
    for key in ["keapCalls", "createdAt", "finishedAt"] {
        assert!(!listed[0][key].is_null(), "{key} is missing in {listed}");
    }

    for id in [id.as_str(), &id[..8]] {
        let text = command(&world, &["runs", id]).await.expect(0).stdout;
        assert!(
            text.contains(&format!("feed      backfill ({}", "every contact in Keap")),
            "{text}"
        );
    }
    let followed = command(&world, &["runs", "--follow", "--feed", "backfill"]).await.expect(0);
    assert!(followed.stdout.starts_with("backfill  done "), "{followed:#?}");
}

#[sqlx::test]
async fn the_log_is_filtered_and_followed(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    let silent = world.keap.add(Person::named("Canary", "Canarysson"));
    command(&world, &["sync", "--all"]).await.expect(0);

    let text = command(&world, &["log"]).await.expect(0).stdout;
    assert_eq!(lines(&text).len(), 5, "{text}");
    let count = async |arguments: &[&str]| {
        let all = [&["log", "--json"], arguments].concat();
        let text = command(&world, &all).await.expect(0).stdout;
        let rows =
            lines(&text).into_iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.count()
    };
    assert_eq!(count(&[]).await, 4);
    assert_eq!(count(&["--limit", "2"]).await, 2);
    assert_eq!(count(&["--action", "created"]).await, 3);
    assert_eq!(count(&["--reason", "no_email"]).await, 1);
    assert_eq!(count(&["--contact", &silent.to_string()]).await, 1);
    assert_eq!(count(&["--feed", "sweep"]).await, 0);
    assert_eq!(count(&["--since", "1h"]).await, 4);
    assert_eq!(count(&["--until", "1h"]).await, 0);
    assert_eq!(count(&["--status", "skipped"]).await, 1);
    assert_eq!(count(&["--direction", "intercom_to_keap"]).await, 0);
    let csv = command(&world, &["log", "--csv"]).await.expect(0).stdout;
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 5, "{csv}");
    assert!(rows[0].starts_with("time,keap_contact_id,"), "{csv}");
    assert!(csv.contains(",skipped,skipped,keap_to_intercom,backfill,no_email,"), "{csv}");
    let few = command(&world, &["log", "--csv", "--limit", "2"]).await.expect(0).stdout;
    assert_eq!(few.lines().count(), 3, "{few}");
    command(&world, &["log", "--csv", "--json"]).await.expect(2);

    let follower = Process::start(&world, &["log", "--follow", "--limit", "1"]);
    crate::world::until("the last row is shown", async || follower.stdout().contains("created"))
        .await;
    world.keap.edit(1, |person| person.family_name = Some("Canaryedited".into()));
    command(&world, &["sync", "1"]).await.expect(0);
    crate::world::until("the new row is shown", async || follower.stdout().contains("updated"))
        .await;
    follower.signal(Signal::TERM);
    assert_eq!(lines(&follower.stdout()).len(), 2, "{}", follower.stdout());
    let _ = follower.ended().await;
}

#[sqlx::test]
async fn config_shows_where_each_setting_comes_from_and_no_secret(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "[keap]\npage_size = 77\n").unwrap();
    world.env.remove("API_TOKEN");
    let arguments = ["config", "--config", file.to_str().unwrap(), "--json"];

    let shown = command(&world, &arguments).await.expect(0).json();

    let of =
        |key: &str| shown.as_array().unwrap().iter().find(|one| one["key"] == key).unwrap().clone();
    assert_eq!(of("keap.page_size")["value"], "77");
    assert!(of("keap.page_size")["from"].as_str().unwrap().ends_with("settings.toml"));
    assert_eq!(of("lease.ttl_seconds")["from"], "environment (LEASE__TTL_SECONDS)");
    assert_eq!(of("database.max_connections")["from"], "default");
    let key = of("keap.api_key");
    assert_eq!(
        (&key["value"], &key["isSet"], &key["isSecret"]),
        (&Value::Null, &true.into(), &true.into())
    );
    assert_eq!(of("http.api_token")["isSet"], false);

    let text = command(&world, &["config", "--changed"]).await.expect(0).stdout;
    assert!(text.contains("keap.api_key") && text.contains("(set)"), "{text}");
    assert!(!text.contains("database.max_connections"), "{text}");
}

#[sqlx::test]
async fn completions_are_printed_for_each_shell(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    for (shell, word) in [
        ("bash", "complete -F _keap__intercom__sync"),
        ("zsh", "#compdef"),
        ("fish", "complete -c"),
    ] {
        let script = command(&world, &["completions", shell]).await.expect(0).stdout;
        assert!(script.contains(word) && script.contains("--dry-run"), "{shell}: {script}");
    }
}

#[sqlx::test]
async fn held_contacts_are_grouped_by_their_reason(pool: PgPool) {
    let world = quiet_world(pool, 4).await;
    for id in [1, 2] {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
    }
    let email = world.keap.person(3).unwrap().first_email().unwrap().to_owned();
    world.keap.edit(4, |person| *person = Person::named("Canary", "Canarysson").email(&email));
    command(&world, &["sync", "--all"]).await.expect(1);

    let text = command(&world, &["held"]).await.expect(0).stdout;
    assert!(text.starts_with("several_users: 2 contacts\n"), "{text}");
    assert!(text.contains("\nemail_linked_to: 1 contact\n"), "{text}");
    assert!(text.contains("Merge or archive all but one of them in Intercom."), "{text}");

    let text = command(&world, &["held", "--reason", "several_users", "--limit", "1"]).await;
    let text = text.expect(0).stdout;
    assert!(text.contains("and 1 more: "), "{text}");
    assert!(!text.contains("email_linked_to"), "{text}");
    let all = command(&world, &["held", "--reason", "email_linked_to", "--json"]).await.expect(0);
    assert_eq!(all.json()[0]["code"], "email_linked_to");

    let ended = command(&world, &["held", "retry", "--reason", "several_users", "--json"]).await;
    assert_eq!(ended.expect(0).json()["retried"], serde_json::json!([1, 2]));
}
