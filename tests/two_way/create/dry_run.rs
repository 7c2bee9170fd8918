//! `sync --all --dry-run` says who would be created in Keap, and creates nobody.

use serde_json::json;
use sqlx::PgPool;

use super::{BOB, CREATE, TAG, bob, stage, waiting};
use crate::process::command;
use crate::sim::{Person, Seed};
use crate::two_way::Stage;

#[sqlx::test]
async fn a_dry_run_lists_the_users_that_would_be_created(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set("FILTER__EXCLUDE_DOMAINS", "own.example");
        world.set("INTERCOM_TO_KEAP__CREATE_BRAKE", 1);
    })
    .await;
    let Stage { world, worker, .. } = stage;
    let (intercom, keap) = (&world.intercom, &world.keap);
    let user = intercom.add_user(bob());
    intercom.clock().advance_ms(2_000);
    let eve = intercom.add_user(Seed::with_email("eve@example.org"));
    // None of these: a second one with the address, two that Keap has, another program's, a lead,
    // one without an address, and one of the operator's own.
    intercom.add_user(bob());
    intercom.add_user(Seed::with_email("ann@example.org"));
    let known = intercom.add_user(Seed::with_email("carl@example.org"));
    let carl = keap.add(Person::named("Carl", "Ode").email("Carl@Example.org"));
    intercom.add_user(Seed::with_email("dora@example.org").external_id("app-7"));
    intercom.add_lead(Seed::with_email("fay@example.org"));
    intercom.add_user(Seed::default().name("Nobody"));
    intercom.add_user(Seed::with_email("agent@own.example"));
    intercom.reindex_now();
    worker.stop().await;
    keap.clear_ledger();
    intercom.clear_ledger();

    let told = command(&world, &["sync", "--all", "--dry-run"]).await.expect(0).stdout;
    for line in [
        format!("Intercom {user}: created in Keap"),
        format!("Intercom {eve}: created in Keap"),
        format!("{carl}: linked → Intercom {known}"),
    ] {
        assert!(told.lines().any(|shown| shown == line), "{line}: {told}");
    }
    assert_eq!(told.matches("created in Keap\n").count(), 2, "{told}");
    assert!(told.contains("To Keap: 2 contacts would be created, or fewer"), "{told}");
    assert!(told.contains("That takes 8 calls to Keap, 10 to Intercom and 2 s."), "{told}");
    assert!(told.contains("The brake stops them after 1 in an hour"), "{told}");
    // No address is looked for: the list of all contacts says whom Keap has, a page and the empty
    // one behind it.
    assert_eq!((keap.count("create"), keap.count("write"), world.writes()), (0, 0, 0));
    assert_eq!(keap.count("list"), 2, "{:?}", keap.kinds());
    assert_eq!(waiting(&world).await, 0);

    let told = command(&world, &["sync", "--all", "--dry-run", "--json"]).await.expect(0).json();
    let created = &told["toKeap"]["created"];
    let mut ids = vec![user.clone(), eve.clone()];
    ids.sort();
    assert_eq!(created["intercomContactIds"], json!(ids));
    assert_eq!(
        (&created["contacts"], &created["calls"], &created["days"], &created["createBrake"]),
        (&json!(2), &json!(8), &json!(1), &json!(1))
    );

    // What it has said comes true.
    let mut world = world;
    world.set("INTERCOM_TO_KEAP__CREATE_BRAKE", 50);
    command(&world, &["sync", "--audit", "--repair"]).await;
    assert_eq!(world.keap.count("create"), 2);
    for id in [&user, &eve] {
        assert!(world.intercom.contact(id).unwrap().external_id.is_some());
    }
    let told = command(&world, &["sync", "--all", "--dry-run"]).await.stdout;
    assert!(!told.contains("created in Keap") && !told.contains("would be created"), "{told}");
}

#[sqlx::test]
async fn a_dry_run_expects_only_users_with_the_tag(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set(CREATE, "tagged").set(TAG, "to Keap");
        world.intercom.add_tag("to Keap");
        (0..12).for_each(|n| drop(world.intercom.add_tag(&format!("other {n}"))));
    })
    .await;
    let Stage { world, worker, .. } = stage;
    let intercom = &world.intercom;
    intercom.add_user(bob());
    // Ten of their tags are shown.
    let [many, others] = ["many", "others"].map(|name| {
        let user = intercom.add_user(Seed::with_email(&format!("{name}@example.org")));
        (0..12).for_each(|n| assert!(intercom.tag(&user, &format!("other {n}"))));
        user
    });
    assert!(intercom.tag(&many, "to Keap"));
    intercom.reindex_now();
    worker.stop().await;
    let told = command(&world, &["sync", "--all", "--dry-run"]).await.expect(0).stdout;
    assert!(told.contains(&format!("Intercom {many}: created in Keap")), "{told}");
    assert!(told.contains("To Keap: 1 contact would be created"), "{told}");
    assert!(!told.contains(&others) && world.intercom.by_email(BOB).len() == 1, "{told}");
}

#[sqlx::test]
async fn without_the_setting_a_dry_run_expects_nobody(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set(CREATE, "never");
    })
    .await;
    stage.add_bob();
    let Stage { world, worker, .. } = stage;
    world.intercom.reindex_now();
    worker.stop().await;
    let told = command(&world, &["sync", "--all", "--dry-run", "--json"]).await.expect(0).json();
    assert_eq!(told["toKeap"]["created"], json!(null));
}
