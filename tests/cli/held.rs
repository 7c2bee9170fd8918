//! `held` and `held retry`.

use serde_json::json;
use sqlx::PgPool;

use super::quiet_world;
use crate::process::command;
use crate::sim::Seed;

#[sqlx::test]
async fn held_contacts_are_listed_and_retried(pool: PgPool) {
    let world = quiet_world(pool, 3).await;

    let text = command(&world, &["held"]).await.expect(0).stdout;
    assert_eq!(text, "No contact is held.\n");
    assert_eq!(command(&world, &["held", "--json"]).await.expect(0).json(), json!([]));

    let mut twins = Vec::new();
    for id in [1, 2] {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            twins.push(world.intercom.add_user(Seed::with_email(&email)));
        }
    }
    let ended = command(&world, &["sync", "--all"]).await.expect(1);
    assert!(ended.stdout.contains(" 2 held"), "{}", ended.stdout);

    let text = command(&world, &["held"]).await.expect(0).stdout;
    assert!(text.contains("KEAP ID") && text.contains("held retry <id>"), "{text}");
    assert!(twins.iter().all(|twin| text.contains(twin)), "{text}");

    let held = command(&world, &["held", "--json"]).await.expect(0).json();
    let mut ids: Vec<_> =
        held.as_array().unwrap().iter().map(|one| one["keapContactId"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "{held}");

    // One of the twins is deleted, and a person retries.
    world.intercom.delete(&twins[0]);
    world.intercom.reindex_now();
    let ended = command(&world, &["held", "retry", "1", "77"]).await.expect(1);
    assert_eq!(ended.stdout, "1 held contact is due again.\nNot held: 77\n");

    command(&world, &["sync", "--changed"]).await;
    assert_eq!(world.user(1).id, twins[1]);

    world.intercom.delete(&twins[2]);
    world.intercom.reindex_now();
    let ended = command(&world, &["held", "retry", "--all", "--json"]).await.expect(0);
    assert_eq!(ended.json(), json!({ "retried": [2], "notHeld": [] }));

    command(&world, &["sync", "--changed"]).await.expect(0);
    assert_eq!(world.user(2).id, twins[3]);
    assert_eq!(command(&world, &["held"]).await.expect(0).stdout, "No contact is held.\n");
    world.assert_agrees();
}
