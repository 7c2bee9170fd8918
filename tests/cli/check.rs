//! `check`.

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Ended, command};

/// The lines of `check`: the part that each is about, and whether it is well.
fn findings(ended: &Ended) -> Vec<(&str, bool)> {
    ended
        .stdout
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let well = words.next() == Some("✓");
            (words.next().unwrap(), well)
        })
        // The lines of the mapping and of the alarms have tests of their own.
        .filter(|(what, _)| !["field", "consent", "direction", "rights", "alarms"].contains(what))
        .collect()
}

fn line<'a>(ended: &'a Ended, about: &str) -> &'a str {
    let found = ended.stdout.lines().find(|line| line.contains(about));
    found.unwrap()
}

#[sqlx::test]
async fn check_succeeds_when_all_is_well(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    world.keap.knobs(super::super::sim::keap::knobs::KeapKnobs::exact_limits);
    world.intercom.knobs(super::super::sim::intercom::knobs::IntercomKnobs::exact_limits);

    let ended = command(&world, &["check"]).await.expect(0);

    assert_eq!(
        findings(&ended),
        [
            ("settings", true),
            ("postgres", true),
            ("keap", true),
            ("intercom", true),
            ("matching", true),
            ("webhooks", true)
        ]
    );
    assert!(line(&ended, "postgres").contains("migrated"), "{}", ended.stdout);
    assert!(line(&ended, "keap").contains("calls left"), "{}", ended.stdout);
    assert!(line(&ended, "intercom").contains("version 2.16"), "{}", ended.stdout);
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn check_reports_what_is_wrong_and_the_remedy(pool: PgPool) {
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
            ("matching", true),
            ("webhooks", true)
        ]
    );
    assert!(line(&ended, "✗ keap").contains("KEAP_API_KEY"), "{}", ended.stdout);

    world.keap.set_token(&keap);

    world.intercom.set_token("canary-another");
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(line(&ended, "✗ intercom").contains("INTERCOM_ACCESS_TOKEN"), "{}", ended.stdout);

    world.intercom.set_token(&intercom);

    world.intercom.knobs(|knobs| knobs.version_unknown = true);
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(line(&ended, "✗ intercom").contains("INTERCOM_VERSION"), "{}", ended.stdout);

    world.intercom.knobs(|knobs| knobs.version_unknown = false);

    world.keap.stop().await;
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(line(&ended, "✗ keap").contains("cannot be reached"), "{}", ended.stdout);
    assert_eq!(findings(&ended).iter().filter(|(_, well)| *well).count(), 5);
}

#[sqlx::test(migrations = false)]
async fn check_reports_what_is_wrong_with_the_database(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;

    // A new database is well where the daemon may migrate it when it starts.
    let ended = command(&world, &["check"]).await.expect(0);
    assert!(
        line(&ended, "✓ postgres").contains("`run` applies them when it starts"),
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
        .set("DATABASE_URL", "postgres://canary:canary@127.0.0.1:1/canary")
        .set("DATABASE__CONNECT_TIMEOUT_MS", 300);
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(line(&ended, "✗ postgres").contains("check DATABASE_URL"), "{}", ended.stdout);
    assert_eq!(findings(&ended).iter().filter(|(_, well)| *well).count(), 5, "{}", ended.stdout);
}

#[sqlx::test]
async fn check_fails_while_subscriptions_are_not_verified(pool: PgPool) {
    let mut world = quiet_world(pool, 1).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP_LISTEN", address).set("HTTP_PUBLIC_URL", format!("http://{address}/"));

    // Before the very first start nothing is wrong: `check && run` must get on.
    let ended = command(&world, &["check"]).await.expect(0);
    assert!(
        line(&ended, "✓ webhooks").contains("no subscription yet; `run` makes 3"),
        "{ended:#?}"
    );

    command(&world, &["sync", "--changed"]).await.expect(0);
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(line(&ended, "✗ webhooks").contains("0 of 3 subscriptions verified"), "{ended:#?}");

    // No daemon answers Keap's handshake.
    command(&world, &["hooks", "register"]).await.expect(1);
    let ended = command(&world, &["hooks", "verify"]).await.expect(1);
    assert!(!ended.stdout.contains("unverified verified"), "{ended:#?}");
    assert!(line(&ended, "✗ contact.add").contains("Keap was asked to verify it"), "{ended:#?}");
}
