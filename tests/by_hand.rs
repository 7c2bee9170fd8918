//! What a person moves by hand: the cursor of the polls, a sync of a part, and retries by time.

use std::io::Write as _;

use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::store::RunState;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::cli::quiet_world;
use crate::http::{self, assert_problem, get, post, started};
use crate::process::{Process, command};
use crate::sim::Seed;
use crate::ui::{self, Browser};
use crate::world::{World, until};

/// A stamp of the stand-in, as Keap shows it and people type it: in whole seconds.
fn typed(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms / 1000 * 1000).unwrap().to_rfc3339()
}

/// Keap rounds the stamps that it shows, so a part of a second may lead to the next one.
fn in_whole_seconds(world: &World) {
    for id in world.keap.ids() {
        let second = world.keap.stamp_ms(id).unwrap() / 1000 * 1000;
        world.keap.set_stamp_ms(id, Some(second));
    }
}

async fn position(world: &World) -> String {
    let cursor = world.store().cursor(Feed::Changed).await.unwrap().unwrap();
    cursor.position.to_rfc3339()
}

#[sqlx::test]
async fn the_cursor_goes_back_beside_a_running_daemon(pool: PgPool) {
    let mut world = crate::process::world(pool, 5).await;
    world.set("POLL__SCHEDULE", "0 0 0 1 1 *");
    in_whole_seconds(&world);
    let daemon = Process::leader(&world).await;
    until("all are synced", async || world.intercom.count("create") == 5).await;
    let idle = async || world.store().waiting_runs().await.unwrap().is_empty();
    until("the first walk has ended", idle).await;
    let stamps: Vec<i64> =
        world.keap.ids().iter().filter_map(|id| world.keap.stamp_ms(*id)).collect();
    let third = stamps[2];
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    let runs = world.store().last_runs(10).await.unwrap().len();

    let ended = command(&world, &["cursor", "set", &typed(third), "--yes"]).await.expect(0);

    assert!(ended.stdout.contains("moves back by"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("The next poll reads 3 contacts, with 1 call to Keap."),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("The daemon has set the cursor and polls from"),
        "{}",
        ended.stdout
    );
    until("the poll has ended", idle).await;
    let all = world.store().last_runs(10).await.unwrap();
    assert_eq!(all.len(), runs + 1);
    let (feed, seen) = (all[0].feed.as_str(), all[0].counts.seen);
    assert_eq!((feed, all[0].state), ("changed", RunState::Done));
    // A contact just before the time may come along, because stamps are rounded.
    assert!((3..=4).contains(&seen), "{seen}");
    let cost = (all[0].counts.unchanged, world.intercom.calls());
    assert_eq!(cost, (seen, 0), "what is up to date costs nothing");
    // One call for the count, and the poll's own.
    assert!(world.keap.calls() <= 3, "{}", world.keap.calls());
    assert!(position(&world).await > typed(third), "it goes on from the newest change");
    daemon.stop().await;
}

#[sqlx::test]
async fn forward_skips_changes_that_the_sweep_finds(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    let nothing = command(&world, &["cursor", "set", "2h", "--yes"]).await.expect(2);
    assert!(nothing.stderr.contains("no poll has happened yet"), "{}", nothing.stderr);
    command(&world, &["sync", "--changed"]).await.expect(0);
    world.keap.clock().advance_ms(60_000);
    let id = world.keap.ids()[0];
    world.keap.edit(id, |person| person.set("given_name", Some("canary New")));
    let unasked = command(&world, &["cursor", "set", "1min"]).await.expect(2);
    assert!(unasked.stderr.contains("add --yes"), "{}", unasked.stderr);

    world.keap.set_stamp_ms(id, Some(world.keap.clock().now_ms() - 120_000 - 60_000));
    let sets = command(&world, &["cursor", "set", "1min", "--yes"]).await.expect(0);

    assert!(
        sets.stdout.contains("Polls never read what has changed in between"),
        "{}",
        sets.stdout
    );
    assert!(sets.stdout.contains("The next sweep finds them"), "{}", sets.stdout);
    assert!(sets.stdout.contains("No daemon runs; the next poll begins there."), "{}", sets.stdout);
    command(&world, &["sync", "--changed"]).await.expect(0);
    assert_eq!(world.intercom.count("update"), 0, "the change is skipped");
    command(&world, &["sync", "--sweep"]).await;
    command(&world, &["sync", "--changed"]).await.expect(0);
    assert_eq!(world.intercom.count("update"), 1, "the sweep has found it");
    let shown = command(&world, &["cursor", "show"]).await.expect(0).stdout;
    assert!(shown.contains("The next poll reads what has changed in Keap since"), "{shown}");
    let shown = command(&world, &["cursor", "show", "--json"]).await.expect(0).json();
    assert!(
        shown["changed"]["position"].is_string() && shown["intercomPosition"].is_null(),
        "{shown}"
    );
}

#[sqlx::test]
async fn routes_show_and_set_the_cursor(pool: PgPool) {
    let world = http::world(pool).await;
    let yesterday = world.keap.clock().now_ms() - 86_400_000;
    for id in world.keap.add_many(3, crate::process::canary) {
        world.keap.set_stamp_ms(id, Some(yesterday));
    }
    let daemon = started(&world).await;
    let before = get(&daemon, "/sync/cursor").await.json();
    let feed = &before["feeds"][0];
    assert_eq!(
        (&feed["feed"], &feed["walking"], feed["position"].is_string()),
        (&json!("changed"), &json!(false), true)
    );

    let to = "2020-01-01T00:00:00Z";
    let reply = post(&daemon, "/sync/cursor", &json!({ "position": to })).await;

    assert_eq!(reply.status, 202, "{}", reply.json());
    let run = reply.json()["statusUrl"].as_str().unwrap().to_owned();
    until("the poll has ended", async || get(&daemon, &run).await.json()["state"] == "done").await;
    assert_eq!(get(&daemon, &run).await.json()["counts"]["seen"], 3);
    assert_eq!(world.intercom.count("create"), 3, "from_now had left them out");
    for (wrong, status) in [
        (json!({ "position": "2999-01-01T00:00:00Z" }), 422),
        (json!({ "position": "1900-01-01T00:00:00Z" }), 422),
        (json!({ "position": "yesterday" }), 400),
        (json!({}), 400),
        (json!({ "position": to, "feed": "sweep" }), 400),
    ] {
        assert_problem(&post(&daemon, "/sync/cursor", &wrong).await, status);
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_request_that_nobody_has_taken_up_is_carried_out_by_the_next_daemon(pool: PgPool) {
    let mut world = crate::process::world(pool, 4).await;
    world.set("POLL__SCHEDULE", "0 0 0 1 1 *");
    command(&world, &["sync", "--changed"]).await.expect(0);
    let first = world.keap.stamp_ms(world.keap.ids()[0]).unwrap();
    let since = Some(chrono::DateTime::from_timestamp_millis(first).unwrap());
    let run = world.store().request_run(Feed::Changed, RunReason::Manual, since).await.unwrap();

    let daemon = Process::leader(&world).await;

    let done = async || {
        world.store().run(run).await.unwrap().is_some_and(|run| run.state == RunState::Done)
    };
    until("it is carried out", done).await;
    // The first poll had left nothing to read after the cursor.
    let run = world.store().run(run).await.unwrap().unwrap();
    assert!(run.counts.seen >= 4, "{run:?}");
    daemon.stop().await;
}

#[sqlx::test]
async fn a_part_is_synced_by_tag_by_time_and_by_a_list(pool: PgPool) {
    let world = quiet_world(pool, 6).await;
    let ids = world.keap.ids();
    in_whole_seconds(&world);
    let tag = world.keap.add_tag("VIP customers");
    world.keap.add_tag("Other");
    for id in &ids[..2] {
        world.keap.apply_tag(*id, tag);
    }
    let created = || world.intercom.count("create");

    let dry = command(&world, &["sync", "--tag", "vip Customers", "--dry-run"]).await;
    assert_eq!(created(), 0);
    assert!(dry.stdout.contains("2 contacts"), "{dry:#?}");
    let ended = command(&world, &["sync", "--tag", "vip Customers"]).await.expect(0);
    assert!(ended.stderr.contains("2 contacts to look at."), "{}", ended.stderr);
    assert_eq!(created(), 2);
    command(&world, &["sync", "--tag", &tag.to_string(), "--json"]).await.expect(0);
    assert_eq!(created(), 2);
    let wrong = command(&world, &["sync", "--tag", "nobody"]).await.expect(2);
    assert!(wrong.stderr.contains("Keap has no tag"), "{}", wrong.stderr);

    let stamp = |id: i64| typed(world.keap.stamp_ms(id).unwrap());
    let range = ["sync", "--since", &stamp(ids[2]), "--until", &stamp(ids[3])];
    command(&world, &range).await.expect(0);
    assert_eq!(created(), 4, "the bounds are inside");
    let turned = ["sync", "--since", &stamp(ids[3]), "--until", &stamp(ids[2])];
    let wrong = command(&world, &turned).await.expect(2);
    assert!(wrong.stderr.contains("--until lies before --since"), "{}", wrong.stderr);
    command(&world, &["sync", "--until", "2h"]).await.expect(2);

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "Name;Contact Id\n\"canary; Lee\";{}\n# old\ncanary;{}", ids[4], ids[5])
        .unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    command(&world, &["sync", "--ids-file", &path, "--dry-run"]).await.expect(0);
    assert_eq!(created(), 4);
    command(&world, &["sync", "--ids-file", &path]).await.expect(0);
    assert_eq!(created(), 6);
    writeln!(file, "canary;canary@example.org").unwrap();
    let wrong = command(&world, &["sync", "--ids-file", &path]).await.expect(2);
    assert!(wrong.stderr.contains("line 5: expected one Keap contact id"), "{}", wrong.stderr);
    world.assert_agrees();
}

/// Two contacts that are held, the first one for ten days.
async fn hold_two(world: &World) {
    for id in world.keap.ids().into_iter().take(2) {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
    }
}

async fn age_first(world: &World) -> i64 {
    let first = world.keap.ids()[0];
    let sql =
        "update contact_hold set held_at = held_at - interval '10 days' where keap_contact_id = $1";
    sqlx::query(sql).bind(first).execute(&world.pool).await.unwrap();
    first
}

#[sqlx::test]
async fn held_contacts_are_retried_by_reason_and_time_with_the_count_first(pool: PgPool) {
    let world = quiet_world(pool, 3).await;
    hold_two(&world).await;
    command(&world, &["sync", "--all"]).await.expect(1);
    let first = age_first(&world).await;
    let retry = async |more: &[&str]| command(&world, &[&["held", "retry"], more].concat()).await;

    let counted = retry(&["--until", "5d", "--dry-run"]).await.expect(0).stdout;
    assert_eq!(counted, "1 contact is held so.\n");
    let counted =
        retry(&["--since", "11d", "--reason", "several_users", "--dry-run", "--json"]).await;
    assert_eq!(counted.expect(0).json(), json!({ "dryRun": true, "contacts": 2, "users": 0 }));
    assert_eq!(
        retry(&["--since", "11d", "--reason", "no_such", "--yes"]).await.expect(0).stdout,
        "0 contacts are held so.\n"
    );
    let unasked = retry(&["--until", "5d"]).await.expect(2);
    assert!(unasked.stderr.contains("add --yes"), "{}", unasked.stderr);
    assert_eq!(world.held().await.len(), 2, "nothing has happened so far");
    assert_eq!(
        retry(&["--since", "5d", "--until", "11d", "--yes"]).await.expect(0).stdout,
        "0 contacts are held so.\n"
    );

    let ended =
        retry(&["--until", "5d", "--reason", "several_users", "--yes", "--json"]).await.expect(0);

    assert_eq!(ended.json(), json!({ "retried": [first], "notHeld": [] }));
    assert_eq!(world.held().await.len(), 1);
    retry(&["1", "--since", "5d"]).await.expect(2);
}

#[sqlx::test]
async fn the_route_and_the_page_retry_by_time(pool: PgPool) {
    let world = ui::world(pool).await;
    world.keap.add_many(2, crate::process::canary);
    hold_two(&world).await;
    let daemon = started(&world).await;
    post(&daemon, "/sync/run", &json!({ "feed": "backfill" })).await;
    until("both are held", async || world.held().await.len() == 2).await;
    let first = age_first(&world).await;
    let day = |days: i64| chrono::Utc::now() - chrono::TimeDelta::days(days);
    let retry = async |body: Value| post(&daemon, "/sync/held/retry", &body).await;

    let counted = retry(json!({ "until": day(5), "dryRun": true })).await;
    assert_eq!((counted.status, &counted.json()["contacts"]), (200, &json!(1)));
    let counted = retry(json!({ "all": true, "dryRun": true })).await;
    assert_eq!((&counted.json()["contacts"], &counted.json()["dryRun"]), (&json!(2), &json!(true)));
    for wrong in [
        json!({ "dryRun": true }),
        json!({ "all": true, "since": day(5) }),
        json!({ "keapContactIds": [first], "until": day(5) }),
        json!({ "keapContactIds": [first], "dryRun": true }),
        json!({ "since": "yesterday" }),
    ] {
        assert_problem(&retry(wrong).await, 400);
    }
    assert_eq!(world.held().await.len(), 2);

    let mut browser = Browser::signed_in(&daemon).await;
    let date = |days: i64| day(days).format("%Y-%m-%d").to_string();
    let page = browser
        .page(&format!("/ui/held/retry?reason=several_users&since=&until={}", date(5)))
        .await;
    assert!(page.text().contains("Held so: 1 contact."), "{}", page.text());
    let none = browser.page(&format!("/ui/held/retry?since={}&until={}", date(5), date(3))).await;
    assert!(none.text().contains("Held so: 0 contacts."), "{}", none.text());
    assert_eq!(browser.get("/ui/held/retry?since=canary").await.status, 400);
    let token = browser.token().await;
    assert_eq!(browser.post("/ui/held/retry/now", &[("token", &token)]).await.status, 400);
    let until_day = date(5);
    let done =
        browser.post("/ui/held/retry/now", &[("token", &token), ("until", &until_day)]).await;
    assert_eq!(done.header("location"), Some("/ui/held?decided=1&decision=retry"));
    let retried = retry(json!({ "reason": "several_users", "since": day(11) })).await;
    assert_eq!(retried.status, 202, "{}", retried.json());
    let decided: i64 =
        sqlx::query_scalar("select count(*) from contact_decision where decision = 'retry'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(decided >= 2, "each is a row: {decided}");
    daemon.stop().await.1.unwrap();
}
