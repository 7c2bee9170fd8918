//! Tags and the filter: a Keap tag is an Intercom tag, and tags say who is in scope.

use sqlx::PgPool;

use crate::sim::{Person, Seed};
use crate::world::{World, ann, until};

const VIP: &str = r#"
[[tag]]
keap = "VIP"
intercom = "Very important"
"#;

fn tags(world: &World, id: i64) -> Vec<String> {
    world.intercom.tags_of(&world.user(id).id)
}

#[sqlx::test]
async fn a_tag_is_applied_and_removed_and_the_others_stay(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(VIP);
    let vip = world.keap.add_tag("VIP");
    let other = world.keap.add_tag("Other");
    let id = world.keap.add(ann());
    world.keap.apply_tag(id, vip);
    world.keap.apply_tag(id, other);
    let worker = world.worker().await;

    worker.sync().await;
    assert_eq!(tags(&world, id), ["Very important"]);
    world.intercom.tag(&world.user(id).id, "By an agent");
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0, "an unchanged contact costs nothing");

    world.keap.clock().advance_ms(2_000);
    world.keap.remove_tag(id, vip);
    world.keap.remove_tag(id, other);
    worker.backfill().await;
    assert_eq!(tags(&world, id), ["By an agent"]);
    assert_eq!(world.intercom.calls(), 1, "only the tag is written: {:?}", world.intercom.ledger());
}

#[sqlx::test]
async fn the_first_match_removes_no_tag(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(VIP);
    world.keap.add_tag("VIP");
    let known = world.intercom.add_user(Seed::with_email("ann@example.org"));
    world.intercom.tag(&known, "Very important");
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).id, known);
    assert_eq!(tags(&world, id), ["Very important"]);
}

/// Whether tagging moves Keap's stamp is unknown.
#[sqlx::test]
async fn a_tag_that_moves_no_stamp_arrives_by_its_own_poll_and_its_removal_by_the_sweep(
    pool: PgPool,
) {
    let mut world = World::new(pool).await;
    world.file(VIP);
    world.keap.knobs(|knobs| knobs.tags_bump_update_time = false);
    let vip = world.keap.add_tag("VIP");
    let id = world.keap.add(ann());
    let daemon = world.daemon().await;
    until("Ann is there", async || world.intercom.by_external_id(&id.to_string()).len() == 1).await;
    until("the tag has a place", async || {
        world.store().tag_cursor(&vip.to_string()).await.unwrap().is_some()
    })
    .await;

    world.keap.apply_tag(id, vip);
    until("the tag arrives", async || tags(&world, id) == ["Very important"]).await;

    world.keap.remove_tag(id, vip);
    let reason = keap_intercom_sync::feed::RunReason::Manual;
    let feed = keap_intercom_sync::feed::Feed::Sweep;
    world.store().request_run(feed, reason, None).await.unwrap();
    until("its removal arrives", async || tags(&world, id).is_empty()).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_tag_that_somebody_deletes_in_intercom_is_made_again(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(VIP);
    let vip = world.keap.add_tag("VIP");
    let [one, two] = ["one@example.org", "two@example.org"]
        .map(|email| world.keap.add(Person::named("Some", "One").email(email)));
    world.keap.apply_tag(one, vip);
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.delete_tag("Very important");

    world.keap.clock().advance_ms(2_000);
    world.keap.apply_tag(two, vip);
    worker.backfill().await;

    assert_eq!(tags(&world, two), ["Very important"]);
}

#[sqlx::test]
async fn a_tag_that_somebody_deletes_in_keap_stays_in_intercom(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(VIP);
    let vip = world.keap.add_tag("VIP");
    let id = world.keap.add(ann());
    world.keap.apply_tag(id, vip);
    let worker = world.worker().await;
    worker.sync().await;

    world.keap.clock().advance_ms(2_000);
    world.keap.delete_tag(vip);
    world.keap.edit(id, |person| person.family_name = Some("New".into()));
    worker.backfill().await;

    assert_eq!(world.user(id).name.as_deref(), Some("Ann New"));
    assert_eq!(tags(&world, id), ["Very important"]);
}

const CUSTOMERS: &str = r#"
[filter]
keap_tags_any = ["Customer"]
keap_tags_none = ["Do not sync"]
exclude_domains = ["shop.example"]
"#;

#[sqlx::test]
async fn the_filter_says_who_is_in_scope(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(CUSTOMERS);
    let customer = world.keap.add_tag("Customer");
    let never = world.keap.add_tag("Do not sync");
    let person = |name: &str, domain: &str| {
        world.keap.add(Person::named(name, "Lee").email(&format!("{name}@{domain}")))
    };
    let [inside, untagged, refused, own] = [
        person("ann", "example.org"),
        person("bob", "example.org"),
        person("cleo", "example.org"),
        person("dan", "shop.example"),
    ];
    for id in [inside, refused, own] {
        world.keap.apply_tag(id, customer);
    }
    world.keap.apply_tag(refused, never);

    world.sync().await;

    let is_there = |id: i64| world.intercom.by_external_id(&id.to_string()).len();
    assert_eq!([inside, untagged, refused, own].map(is_there), [1, 0, 0, 0]);
}

#[sqlx::test]
async fn who_leaves_stays_as_it_is_and_who_comes_back_gets_what_differs(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(CUSTOMERS);
    let customer = world.keap.add_tag("Customer");
    world.keap.add_tag("Do not sync");
    let id = world.keap.add(ann());
    world.keap.apply_tag(id, customer);
    let worker = world.worker().await;
    worker.sync().await;

    world.keap.clock().advance_ms(2_000);
    world.keap.remove_tag(id, customer);
    world.keap.edit(id, |person| person.family_name = Some("Away".into()));
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0);
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));

    world.keap.clock().advance_ms(2_000);
    world.keap.apply_tag(id, customer);
    worker.backfill().await;
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Away"));
    assert_eq!(world.intercom.calls(), 1);
}

#[sqlx::test]
async fn who_leaves_is_archived_or_tagged_if_the_settings_say_so(pool: PgPool) {
    for left in ["left = \"archive\"", "left = \"tag\"\nleft_tag = \"Not in the list\""] {
        let mut world = World::new(pool.clone()).await;
        world.file(&format!("{CUSTOMERS}{left}\n"));
        let customer = world.keap.add_tag("Customer");
        world.keap.add_tag("Do not sync");
        let email = if left.contains("archive") { "ann@example.org" } else { "bob@example.org" };
        let id = world.keap.add(Person::named("Some", "One").email(email));
        world.keap.apply_tag(id, customer);
        let worker = world.worker().await;
        worker.backfill().await;
        let user = world.user(id).id;

        world.keap.clock().advance_ms(2_000);
        world.keap.remove_tag(id, customer);
        worker.backfill().await;
        let there = world.intercom.by_external_id(&id.to_string()).len();
        if left.contains("archive") {
            assert_eq!(there, 0);
        } else {
            assert_eq!(world.intercom.tags_of(&user), ["Not in the list"]);
        }

        world.keap.clock().advance_ms(2_000);
        world.keap.apply_tag(id, customer);
        worker.backfill().await;
        assert_eq!(world.user(id).id, user, "the same contact is live again");
        assert!(world.intercom.tags_of(&user).is_empty());
        worker.stop().await;
        sqlx::query("delete from contact_link").execute(&world.pool).await.unwrap();
        sqlx::query("delete from sync_cursor").execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test]
async fn a_filter_that_names_no_tag_of_keap_stops_the_sync_and_wipes_nobody(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(CUSTOMERS);
    world.keap.add(ann());
    let daemon = world.daemon().await;
    until("both sides were asked", async || world.keap.calls() > 0).await;
    assert_eq!(world.writes(), 0);
    let tag = world.keap.add_tag("Customer");
    world.keap.add_tag("Do not sync");
    let id = world.keap.ids()[0];
    world.keap.apply_tag(id, tag);
    until("it heals by itself", async || world.writes() == 1).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_company_becomes_a_company_and_moves_and_goes(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("COMPANY__OBJECT", true);
    let [glass, steel] = ["Okafor Glass", "Lee Steel"].map(|name| world.keap.add_company(name));
    let [one, two] = ["one@example.org", "two@example.org"]
        .map(|email| world.keap.add(Person::named("Some", "One").email(email)));
    world.keap.set_company(one, glass, "Okafor Glass");
    world.keap.set_company(two, glass, "Okafor Glass");
    let worker = world.worker().await;
    worker.sync().await;
    let companies = |id: i64| {
        let all = world.intercom.companies_of(&world.user(id).id);
        all.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        (companies(one), companies(two)),
        (vec!["Okafor Glass".into()], vec!["Okafor Glass".into()])
    );
    assert_eq!(world.intercom.companies().len(), 1);
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0);

    world.keap.clock().advance_ms(2_000);
    world.keap.set_company(one, steel, "Lee Steel");
    world.keap.edit(two, |person| {
        person.details.company_id = None;
        person.company_name = None;
    });
    worker.backfill().await;
    assert_eq!(companies(one), ["Lee Steel"]);
    assert!(companies(two).is_empty());
}

#[sqlx::test]
async fn who_is_let_in_by_another_filter_comes_without_a_change_in_keap(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(CUSTOMERS);
    let customer = world.keap.add_tag("Customer");
    world.keap.add_tag("Do not sync");
    let [inside, outside] = ["ann@example.org", "bob@example.org"]
        .map(|email| world.keap.add(Person::named("Some", "One").email(email)));
    world.keap.apply_tag(inside, customer);
    // No poll reads him again.
    let yesterday = world.keap.clock().now_ms() - 86_400_000;
    world.keap.set_stamp_ms(outside, Some(yesterday));
    let daemon = world.daemon().await;
    until("the one inside is there", async || {
        world.intercom.by_external_id(&inside.to_string()).len() == 1
            && world.store().mapping_state().await.unwrap().is_some()
    })
    .await;
    daemon.stop().await.1.unwrap();
    assert!(world.intercom.by_external_id(&outside.to_string()).is_empty());

    world.file("");
    let daemon = world.daemon().await;
    let is_there = |id: i64| world.intercom.by_external_id(&id.to_string()).len();
    until("the other one comes", async || is_there(outside) == 1).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_tag_that_is_taken_from_many_archives_nobody_until_a_person_lifts_the_brake(
    pool: PgPool,
) {
    let mut world = World::new(pool).await;
    world.file(&format!("{CUSTOMERS}left = \"archive\"\n"));
    let customer = world.keap.add_tag("Customer");
    world.keap.add_tag("Do not sync");
    let ids: Vec<i64> = (0..130)
        .map(|n| world.keap.add(Person::named("P", "Lee").email(&format!("p{n}@example.org"))))
        .collect();
    for id in &ids {
        world.keap.apply_tag(*id, customer);
    }
    let worker = world.worker().await;
    worker.backfill().await;
    assert_eq!(world.intercom.live_users().len(), 130);

    world.keap.clock().advance_ms(2_000);
    for id in &ids[..120] {
        world.keap.remove_tag(*id, customer);
    }
    for _ in 0..2 {
        worker.backfill().await;
        assert_eq!(world.intercom.live_users().len(), 130, "nobody is archived");
    }
    let leaving = world.store().leaving().await.unwrap().unwrap();
    assert!(leaving.in_words().starts_with("120 of 130"), "{leaving:?}");
    worker.stop().await;

    let ended = crate::process::command(&world, &["sync", "--all", "--force"]).await;
    ended.expect(0);
    assert_eq!(world.intercom.live_users().len(), 10);
    assert_eq!(world.store().leaving().await.unwrap(), None);
}
