//! Subscriptions to Keap's hooks: the daemon creates them and keeps them verified. The stand-in
//! delivers on Keap's real schedule, scaled down.

use std::sync::Arc;

use keap_intercom_sync::app;
use keap_intercom_sync::tasks::hooks::Hooks;
use serde_json::json;
use sqlx::PgPool;

use super::{NEW_SECRET, OLD_SECRET, started, world};
use crate::process::command;
use crate::sim::client;
use crate::sim::keap::hooks::{Hook, HookStatus};
use crate::sim::people::{Shape, invented};
use crate::world::{World, ann, until};

/// A world whose daemon Keap can reach. A day of Keap's schedule takes a minute and a half.
async fn reachable(pool: PgPool) -> World {
    let mut world = world(pool).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world
        .set("HTTP_LISTEN", address)
        .set("HTTP_PUBLIC_URL", format!("http://{address}/"))
        .set("KEAP_WEBHOOK_SECRET", OLD_SECRET)
        .set("HOOKS__SCHEDULE", "* * * * * *");
    world.keap.knobs(|knobs| knobs.hook_time_scale = 0.001);
    world
}

fn hooks(world: &World) -> Hooks {
    let settings = world.settings();
    let options = app::hook_options(&settings).unwrap();
    Hooks::new(Arc::new(app::keap_client(&settings).unwrap()), world.store(), options)
}

fn address(world: &World, secret: &str) -> String {
    format!("{}webhook/keap/{secret}", world.env["HTTP_PUBLIC_URL"])
}

fn all(world: &World, wanted: impl Fn(&Hook) -> bool) -> bool {
    let hooks = world.keap.hooks();
    hooks.len() == 3 && hooks.iter().all(wanted)
}

async fn until_verified(world: &World, secret: &str) {
    let url = address(world, secret);
    until("three subscriptions are verified", async || {
        all(world, |hook| hook.status == HookStatus::Verified && hook.hook_url == url)
    })
    .await;
}

async fn subscribe(world: &World, event: &str, url: &str) {
    let token = format!("Bearer {}", world.keap.token());
    let path = format!("{}/v1/hooks", world.keap.base_url());
    let body = json!({ "eventKey": event, "hookUrl": url }).to_string();
    let reply = client::send("POST", &path, &[("authorization", &token)], body).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[sqlx::test]
async fn subscriptions_are_created_and_deliver_changes(pool: PgPool) {
    let world = reachable(pool).await;
    world.keap.knobs(|knobs| {
        knobs.hook_duplicate = true;
        knobs.hook_shuffle = true;
        knobs.hook_drop_api_url = true;
    });
    let daemon = started(&world).await;
    until_verified(&world, OLD_SECRET).await;

    let events: Vec<String> = world.keap.hooks().into_iter().map(|hook| hook.event_key).collect();
    assert_eq!(events.len(), 3);
    for event in ["contact.add", "contact.edit", "contact.delete"] {
        assert!(events.iter().any(|known| known == event), "{events:?}");
    }

    let id = world.keap.add(ann());
    until("the new contact is in Intercom", async || {
        world.intercom.by_external_id(&id.to_string()).len() == 1
    })
    .await;
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    until("the change is in Intercom", async || {
        world.last_action(id).await == "updated"
            || world.user(id).name.as_deref() == Some("Anna Lee")
    })
    .await;
    world.assert_agrees();

    let ready = client::send("GET", &format!("http://{}/ready", daemon.address), &[], "")
        .await
        .unwrap()
        .json();
    assert_eq!(
        ready["checks"]["webhooks"],
        json!({ "state": "ok", "subscriptions": 3, "verified": 3 }),
        "{ready}"
    );
    let stored: Vec<String> =
        sqlx::query_scalar("select row_to_json(keap_hook)::text from keap_hook")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(!format!("{stored:?}").contains(OLD_SECRET));
    daemon.stop().await.1.unwrap();
}

// F76
#[sqlx::test]
async fn inactive_subscriptions_are_verified_again_and_missed_changes_are_read(pool: PgPool) {
    let world = reachable(pool).await;
    let daemon = started(&world).await;
    until_verified(&world, OLD_SECRET).await;
    until("the daemon has recorded their state", async || {
        world.store().overview().await.unwrap().hooks_verified == 3
    })
    .await;
    // Keap has switched the subscriptions off and delivers no change meanwhile.
    world.keap.knobs(|knobs| knobs.hook_deliveries = false);
    let ids = world.keap.add_many(5, |n| invented(n as u64, Shape::Plain));
    for hook in world.keap.hooks() {
        world.keap.set_hook_status(&hook.key, HookStatus::Inactive);
    }
    until_verified(&world, OLD_SECRET).await;
    until("the missed changes are synced", async || {
        ids.iter().all(|id| world.intercom.by_external_id(&id.to_string()).len() == 1)
    })
    .await;

    let reasons: Vec<String> =
        sqlx::query_scalar("select reason from sync_run where feed = 'backfill'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(
        !reasons.is_empty() && reasons.iter().all(|reason| reason == "hooks_were_dead"),
        "{reasons:?}"
    );
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn our_stray_subscriptions_are_removed_and_those_of_others_stay(pool: PgPool) {
    let world = reachable(pool).await;
    let other = "http://127.0.0.1:9/other";
    subscribe(&world, "contact.edit", other).await;
    let daemon = started(&world).await;
    // A duplicate, one with an old secret, and one for an event that is not ours.
    for (event, secret) in
        [("contact.edit", OLD_SECRET), ("contact.edit", "forgotten"), ("company.add", OLD_SECRET)]
    {
        subscribe(&world, event, &address(&world, secret)).await;
    }
    let url = address(&world, OLD_SECRET);
    until("only our three subscriptions and the foreign one exist", async || {
        let hooks = world.keap.hooks();
        let ours = hooks
            .iter()
            .filter(|hook| hook.hook_url == url && hook.status == HookStatus::Verified)
            .count();
        hooks.len() == 4 && ours == 3
    })
    .await;

    assert!(world.keap.hooks().iter().any(|hook| hook.hook_url == other));
    daemon.stop().await.1.unwrap();

    hooks(&world).remove_all().await.unwrap();
    let left: Vec<_> = world.keap.hooks().into_iter().map(|hook| hook.hook_url).collect();
    assert_eq!(left, [other]);
    assert_eq!(world.store().overview().await.unwrap().hooks, 0);
}

#[sqlx::test]
async fn secrets_are_rotated_without_a_gap(pool: PgPool) {
    let mut world = reachable(pool).await;
    world.set("HOOKS__SCHEDULE", "0 0 0 1 1 *");
    let daemon = started(&world).await;
    until_verified(&world, OLD_SECRET).await;

    // The daemon does not know the new secret yet: the old subscriptions stay.
    world.set("KEAP_WEBHOOK_SECRET", format!("{NEW_SECRET},{OLD_SECRET}"));

    let reports = hooks(&world).look_after(false).await.unwrap();
    assert!(reports.iter().all(|report| report.state == "unverified"), "{reports:?}");

    let old = address(&world, OLD_SECRET);
    let verified = |url: &str| {
        world
            .keap
            .hooks()
            .iter()
            .filter(|hook| hook.hook_url == url && hook.status == HookStatus::Verified)
            .count()
    };
    assert_eq!(verified(&old), 3);

    daemon.stop().await.1.unwrap();
    let daemon = started(&world).await;
    until_verified(&world, NEW_SECRET).await;
    let reports = hooks(&world).look_after(true).await.unwrap();
    assert!(reports.iter().all(|report| report.state == "verified"), "{reports:?}");
    assert_eq!(verified(&old), 0);
    let text = format!("{reports:?}{}", serde_json::to_string(&reports).unwrap());
    assert!(!text.contains(OLD_SECRET) && !text.contains(NEW_SECRET));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_hooks_commands_manage_subscriptions_and_print_no_secret(pool: PgPool) {
    let mut world = reachable(pool).await;
    world.set("HOOKS__SCHEDULE", "0 0 0 1 1 *");
    let daemon = started(&world).await;
    until_verified(&world, OLD_SECRET).await;

    let removed = command(&world, &["hooks", "remove"]).await.expect(0);
    assert_eq!(removed.stdout.matches('✓').count(), 3, "{}", removed.stdout);
    assert!(world.keap.hooks().is_empty());

    let none = command(&world, &["hooks", "list"]).await.expect(0);
    assert!(none.stdout.contains("hooks register"), "{}", none.stdout);

    let made = command(&world, &["hooks", "register"]).await.expect(0);
    assert_eq!(made.stdout.matches("verified").count(), 3, "{}", made.stdout);

    let kept = command(&world, &["hooks", "register", "--json"]).await.expect(0);
    assert_eq!(kept.json()[0]["done"], "kept");

    let key = world.keap.hooks()[0].key.clone();
    world.keap.set_hook_status(&key, HookStatus::Inactive);
    let listed = command(&world, &["hooks", "list"]).await.expect(0);
    assert!(listed.stdout.contains("inactive"), "{}", listed.stdout);

    command(&world, &["hooks", "verify"]).await.expect(0);
    until_verified(&world, OLD_SECRET).await;
    let alone = command(&world, &["hooks", "rotate"]).await.expect(2);
    assert!(alone.stderr.contains("NEW,OLD"), "{}", alone.stderr);

    let checked = command(&world, &["check"]).await.expect(0);
    assert!(checked.stdout.contains("3 of 3 subscriptions verified"), "{}", checked.stdout);
    for ended in [removed, none, made, kept, listed, alone, checked] {
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(OLD_SECRET));
    }

    // Without a daemon nobody answers the handshake.
    daemon.stop().await.1.unwrap();
    command(&world, &["hooks", "remove"]).await.expect(0);
    let lonely = command(&world, &["hooks", "register"]).await.expect(1);
    assert!(lonely.stdout.contains("is the daemon running"), "{}", lonely.stdout);

    world.env.remove("HTTP_PUBLIC_URL");
    let unset = command(&world, &["hooks", "list"]).await.expect(78);
    assert!(unset.stderr.contains("HTTP_PUBLIC_URL is missing"), "{}", unset.stderr);

    let checked = command(&world, &["check"]).await.expect(0);
    assert!(checked.stdout.contains("that is fine"), "{}", checked.stdout);
}
