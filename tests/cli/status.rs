//! `status` and `health`.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{lines, quiet_world};
use crate::process::{Process, caught_up, command};
use crate::sim::{Person, Seed};
use crate::world::{World, until};

#[sqlx::test]
async fn status_reports_the_state_of_every_part(pool: PgPool) {
    let mut world = quiet_world(pool, 12).await;

    let text = command(&world, &["status"]).await.expect(1).stdout;
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
            "    wait if the daemon has just started; otherwise its log says why: `journalctl -u keap-intercom-sync -p warning`",
        ]
    );

    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    let troubles: Vec<_> = status["troubles"].as_array().unwrap().iter().collect();
    assert_eq!(troubles.len(), 2, "{status}");
    assert!(troubles.iter().all(|trouble| trouble["stops"] == true));

    let mut status = status;
    status.as_object_mut().unwrap().remove("troubles");
    assert_eq!(
        status,
        json!({ "database": "ok", "working": false, "keap": null, "intercom": null, "webhooks": null, "lease": null, "changed": null, "backfill": null, "sweep": null, "due": 0, "held": 0, "linked": 0, "runs": [], "stale": null, "intercomToKeap": null, "pauses": [], "plans": [], "mapping": { "heldFields": [], "waits": null } })
    );

    let no_mail = world.keap.add(Person::named("Canary", "Canarysson"));
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email("canary.twins@canary.example"));
    }
    let twins =
        world.keap.add(Person::named("Canary", "Canarysson").email("canary.twins@canary.example"));
    assert_eq!((no_mail, twins), (13, 14));

    command(&world, &["sync", "--changed"]).await.expect(1);

    let text = command(&world, &["status"]).await.expect(1).stdout;
    for words in [
        "changed   at most ",
        " s behind Keap; newest change recorded ",
        "backfill  done",
        "linked    12 contacts",
        "held      1\n",
        "1 contact needs a person:\n    `keap-intercom-sync held` lists",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }

    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!(
        (&status["linked"], &status["held"], &status["due"]),
        (&json!(12), &json!(1), &json!(0))
    );
    assert_eq!(status["lease"]["live"], false, "{status}");
    assert_eq!(status["backfill"]["walk"], Value::Null);
    let runs = status["runs"].as_array().unwrap();
    let sum = |what: &str| runs.iter().map(|run| run[what].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum("created"), 12, "{status:#}");
    assert!(runs.iter().all(|run| run["state"] == "done"), "{status:#}");
    let calls = i64::try_from(world.intercom.calls()).unwrap();
    assert_eq!(sum("intercomCalls"), calls, "{status:#}");

    world.set("RUST_LOG", "info");
    let daemon = Process::leader(&world).await;
    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert!(text.starts_with("working   yes\nlease     held by "), "{text}");
    assert!(text.contains(&format!("process {} on ", daemon.pid())), "{text}");
    daemon.stop().await;
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[sqlx::test]
async fn status_reports_what_is_wrong_and_the_remedy(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    // The daemon listens on every address, as in a container. The commands ask at loopback.
    world.set("HTTP_LISTEN", format!("0.0.0.0:{}", free_port()));

    let ended = command(&world, &["health"]).await.expect(1);
    assert!(
        ended.stdout.starts_with("unhealthy: no daemon answers at http://127.0.0.1:"),
        "{}",
        ended.stdout
    );

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    assert_eq!(command(&world, &["health"]).await.expect(0).stdout, "healthy\n");

    let text = command(&world, &["status"]).await.expect(0).stdout;
    assert!(text.starts_with("working   yes\n"), "{text}");
    assert!(text.contains("\nremotes   Keap ok, Intercom ok, webhooks off\n"), "{text}");
    assert!(!text.contains("to do"), "{text}");

    world.keap.set_token("another token");
    until("the status reports that Keap refuses", async || {
        let text = command(&world, &["status"]).await.stdout;
        text.starts_with("working   no: Keap refuses this program\n")
            && text.contains("remotes   Keap refused, Intercom ok")
            && text.contains("renew KEAP_API_KEY")
    })
    .await;
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert_eq!(
        (&status["working"], &status["keap"], &status["intercom"]),
        (&json!(false), &json!("refused"), &json!("ok"))
    );
    assert_eq!(command(&world, &["health"]).await.expect(0).stdout, "healthy\n");
    daemon.stop().await;
}
