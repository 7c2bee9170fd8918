//! A pause by command, over HTTP and on the page: each shows what the others did.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::resume;
use crate::http::{self, assert_problem, get, post, started};
use crate::process::command;
use crate::ui;
use crate::world::until;

/// A stamp of a text, for comparing the rest of it.
fn without_stamps(text: &str) -> String {
    let words = text.split(' ');
    let is_digit = |word: &&str| !word.starts_with(|c: char| c.is_ascii_digit());
    words.filter(is_digit).collect::<Vec<_>>().join(" ")
}

#[sqlx::test]
async fn the_commands_pause_and_resume_and_say_so(pool: PgPool) {
    let world = crate::cli::quiet_world(pool, 1).await;

    let text = command(&world, &["pause", "--by", "Ann"]).await.expect(0).stdout;
    let expected = "Everything is paused since UTC by Ann.\nNothing is lost: what waits is synced after `keap-intercom-sync resume`.\n";
    assert_eq!(without_stamps(&text), expected);
    let text = command(&world, &["pause", "--by", "Bob"]).await.expect(0).stdout;
    assert!(text.starts_with("Already so: everything is paused since"), "{text}");
    assert!(text.contains("by Ann"), "the first name stays: {text}");

    let refused = command(&world, &["sync", "--all"]).await.expect(2);
    assert!(refused.stderr.contains("everything is paused since"), "{}", refused.stderr);
    assert!(refused.stderr.contains("`keap-intercom-sync resume`"), "{}", refused.stderr);
    command(&world, &["sync", "1"]).await.expect(2);
    assert_eq!(world.store().count_due().await.unwrap().0, 0, "nothing was asked for");
    // Looking is no writing.
    command(&world, &["sync", "--all", "--dry-run"]).await.expect(0);
    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(status.contains("everything is paused since"), "{status}");
    assert!(status.contains("nothing is lost"), "{status}");
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!(status["pauses"][0]["by"], "Ann");
    assert_eq!(status["working"], false);

    let wrong = command(&world, &["resume", "--feed", "sweep"]).await.expect(0).stdout;
    let expected =
        "Nothing of that kind was paused. Still paused: everything is paused since UTC by Ann.\n";
    assert_eq!(without_stamps(&wrong), expected);
    let text = command(&world, &["resume"]).await.expect(0).stdout;
    assert_eq!(text, "Resumed: everything.\n");
    let text =
        command(&world, &["pause", "--direction", "keap_to_intercom", "--let-requests", "--json"])
            .await;
    let paused = &text.expect(0).json()["pauses"][0];
    assert_eq!(
        (&paused["scope"], &paused["letsRequests"]),
        (&json!("keap_to_intercom"), &json!(true))
    );
    command(&world, &["sync", "1"]).await.expect(0);
    assert_eq!(world.intercom.count("create"), 1, "a request is let through");
    for wrong in [["--feed", "polls"], ["--direction", "keap"], ["--by", ""]] {
        command(&world, &["pause", wrong[0], wrong[1]]).await.expect(2);
    }
    resume(&world).await;
}

#[sqlx::test]
async fn routes_pause_and_resume_and_every_surface_shows_it(pool: PgPool) {
    let world = http::world(pool).await;
    let daemon = started(&world).await;
    let ready = async || {
        let reply = get(&daemon, "/ready").await;
        (reply.status, reply.json()["checks"]["pause"].clone())
    };
    assert_eq!(ready().await, (200, json!({ "state": "off", "pauses": [] })));

    let reply = post(&daemon, "/sync/pause", &json!({ "scope": "changed", "by": "Ann" })).await;

    assert_eq!(reply.status, 200, "{}", reply.json());
    let listed = get(&daemon, "/sync/pauses").await.json();
    let pause = &listed["pauses"][0];
    let parts = (&pause["scope"], &pause["by"], &pause["letsRequests"]);
    assert_eq!(parts, (&json!("changed"), &json!("Ann"), &json!(false)));
    until("/ready shows it", async || {
        ready().await == (503, json!({ "state": "paused", "pauses": [pause] }))
    })
    .await;
    let metrics = async || String::from_utf8(get(&daemon, "/metrics").await.body.to_vec()).unwrap();
    let seconds = |text: &str, scope: &str| -> f64 {
        let name = format!("keap_intercom_sync_paused_seconds{{scope=\"{scope}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
    };
    let text = metrics().await;
    assert!(seconds(&text, "changed") >= 1.0 && seconds(&text, "all") == 0.0, "{text}");

    post(&daemon, "/sync/pause", &json!({ "scope": "sweep" })).await;
    let reply = post(&daemon, "/sync/resume", &json!({ "scope": "changed" })).await;
    let left: Vec<Value> = reply.json()["pauses"].as_array().unwrap().clone();
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0]["scope"], &left[0]["by"]), (&json!("sweep"), &json!("the API")));
    until("a paused sweep stops no change", async || ready().await.0 == 200).await;
    assert_eq!(ready().await.1["state"], "paused");
    assert_eq!(post(&daemon, "/sync/resume", &json!({})).await.json()["pauses"], json!([]));
    until("nothing is paused", async || ready().await.1["state"] == "off").await;
    assert_eq!(seconds(&metrics().await, "all"), 0.0);
    for wrong in [
        json!({ "scope": "everything" }),
        json!({ "by": " " }),
        json!({ "by": "a\nb" }),
        json!({ "feed": "sweep" }),
        json!({ "letsRequests": "yes" }),
    ] {
        assert_problem(&post(&daemon, "/sync/pause", &wrong).await, 400);
    }
    assert_eq!(get(&daemon, "/sync/pauses").await.json()["pauses"], json!([]));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_page_pauses_and_resumes(pool: PgPool) {
    let world = ui::world(pool).await;
    let daemon = started(&world).await;
    let mut browser = ui::Browser::signed_in(&daemon).await;
    let token = browser.token().await;

    let fields =
        [("token", token.as_str()), ("scope", "all"), ("by", "<Ann>"), ("lets_requests", "yes")];
    let reply = browser.post("/ui/pause", &fields).await;

    assert_eq!((reply.status, reply.header("location")), (303, Some("/ui")));
    let page = browser.page("/ui").await;
    for expected in [
        "Not working: everything is paused since",
        "by <Ann>, except requests",
        "Resume: everything",
    ] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    let reply = browser.post("/ui/resume", &[("scope", "all")]).await;
    assert_eq!(reply.status, 403, "a form without its token");
    assert!(!world.store().pauses().await.unwrap().0.is_empty());
    let reply = browser.post("/ui/pause", &[("token", &token), ("scope", "nothing")]).await;
    assert_eq!(reply.status, 400);
    let reply = browser.post("/ui/resume", &[("token", &token), ("scope", "all")]).await;
    assert_eq!(reply.status, 303);
    assert!(world.store().pauses().await.unwrap().0.is_empty());
    let page = browser.page("/ui").await;
    assert!(page.text().contains("Working: contacts flow."), "{}", page.text());
    daemon.stop().await.1.unwrap();
}
