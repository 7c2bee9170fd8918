//! Tags in both directions: an agent tags a customer, and Keap's tag follows.

use keap_intercom_sync::sync::users;
use sqlx::PgPool;

use super::Stage;
use crate::mapping::tables;
use crate::sim::{Fault, Person, Seed, What};
use crate::world::World;

const TAG: &str = "Very important";

/// The stage of [`Stage::with`], with a tag of this owner.
pub(super) async fn stage(
    pool: PgPool,
    owner: &str,
    turn: impl FnOnce(&mut World),
) -> (Stage, i64) {
    let mut vip = 0;
    let stage = Stage::with(pool, "newest", |world| {
        vip = world.keap.add_tag("VIP");
        let fields = tables(&[
            ("email", "email", ""),
            ("name", "name", ""),
            ("custom:Plan", "attribute:plan", ""),
        ]);
        let tag = format!("[[tag]]\nkeap = \"VIP\"\nintercom = {TAG:?}\nowner = {owner:?}\n");
        world.file(&format!("{fields}\n{tag}"));
        world.keap.knobs(|knobs| knobs.tags_bump_update_time = true);
        turn(world);
    })
    .await;
    (stage, vip)
}

impl Stage {
    /// An agent tags Ann, or takes the tag away.
    pub(super) fn tag_in_intercom(&self, on: bool) {
        self.world.intercom.clock().advance_ms(2_000);
        let user = self.world.user(self.id).id;
        let done = if on {
            self.world.intercom.tag(&user, TAG)
        } else {
            self.world.intercom.untag(&user, TAG)
        };
        assert!(done);
    }

    pub(super) fn tag_in_keap(&self, tag: i64, on: bool) {
        self.world.keap.clock().advance_ms(2_000);
        let done = if on {
            self.world.keap.apply_tag(self.id, tag)
        } else {
            self.world.keap.remove_tag(self.id, tag)
        };
        assert!(done);
    }

    /// Whether Ann has the tag: in Keap, in Intercom.
    pub(super) fn tagged(&self) -> (bool, bool) {
        let has = |tags: Vec<String>, name: &str| tags.iter().any(|tag| tag == name);
        let user = self.world.user(self.id).id;
        let in_keap = has(self.world.keap.tags_of(self.id), "VIP");
        (in_keap, has(self.world.intercom.tags_of(&user), TAG))
    }
}

#[sqlx::test]
async fn each_owner_decides_as_the_table_says(pool: PgPool) {
    // Owner; both show it after: an agent tags, Keap's people take it away, they apply it, an agent
    // takes it away.
    let each = [
        ("intercom", [(true, true), (true, true), (true, true), (false, false)]),
        ("newest", [(true, true), (false, false), (true, true), (false, false)]),
        ("fill", [(true, true), (false, true), (true, true), (true, false)]),
        // Keap has never shown it, so what an agent applies stays.
        ("keap", [(false, true), (false, true), (true, true), (true, true)]),
        ("never", [(false, true), (false, true), (true, true), (true, false)]),
    ];
    for (owner, [after_tag, after_removal, after_apply, after_untag]) in each {
        let (stage, vip) = stage(super::owners::fresh(&pool).await, owner, |_| {}).await;
        stage.tag_in_intercom(true);
        stage.look().await;
        assert_eq!(stage.tagged(), after_tag, "{owner}: an agent tags");
        stage.assert_quiet().await;

        if stage.tagged().0 {
            stage.tag_in_keap(vip, false);
            stage.settle().await;
        }
        assert_eq!(stage.tagged(), after_removal, "{owner}: taken away in Keap");
        if !stage.tagged().0 {
            stage.tag_in_keap(vip, true);
            stage.settle().await;
        }
        assert_eq!(stage.tagged(), after_apply, "{owner}: applied in Keap");
        stage.assert_quiet().await;

        stage.tag_in_intercom(false);
        stage.settle().await;
        assert_eq!(stage.tagged(), after_untag, "{owner}: an agent takes it away");
        stage.assert_quiet().await;
    }
}

#[sqlx::test]
async fn an_agents_tag_costs_one_call_to_keap_and_one_read_and_its_echo_costs_nothing(
    pool: PgPool,
) {
    let (stage, _) = stage(pool, "newest", |_| {}).await;
    stage.tag_in_intercom(true);
    stage.poll_intercom().await;
    stage.clear();
    stage.worker.work_off().await;
    assert_eq!(stage.world.intercom.count("read"), 1);
    assert_eq!(stage.world.keap.count("apply_tag"), 1);
    assert_eq!(stage.writes(), (0, 0), "only the tag is written");
    assert_eq!(stage.directions().await, ["intercom_to_keap"]);
    stage.clear();
    stage.look().await;
    stage.look().await;
    assert_eq!(stage.world.intercom.count("read"), 0);
    assert_eq!(stage.world.keap.count("apply_tag"), 0);
}

#[sqlx::test]
async fn contacts_that_need_the_same_share_a_call_and_one_that_is_refused_harms_no_other(
    pool: PgPool,
) {
    let (stage, vip) = stage(pool, "intercom", |_| {}).await;
    let ids: Vec<i64> = (0..20)
        .map(|n| {
            let email = format!("p{n}@example.org");
            stage.world.keap.add(Person::named("P", "Lee").email(&email))
        })
        .collect();
    stage.settle().await;
    let tag_all = |on: bool| {
        stage.world.intercom.clock().advance_ms(2_000);
        for id in &ids {
            let user = stage.world.user(*id).id;
            let intercom = &stage.world.intercom;
            assert!(if on { intercom.tag(&user, TAG) } else { intercom.untag(&user, TAG) });
        }
    };
    tag_all(true);
    stage.poll_intercom().await;
    stage.clear();
    stage.worker.work_off().await;
    assert_eq!(stage.world.keap.tagged(vip), ids);
    let calls = stage.world.keap.count("apply_tag");
    assert!(calls < ids.len() / 2, "{calls} calls");

    // The shared call is refused once: then each of its contacts goes alone.
    stage.world.keap.fault(Fault::on("apply_tag").what(What::status(400)));
    tag_all(false);
    stage.poll_intercom().await;
    stage.clear();
    stage.worker.work_off().await;
    assert!(stage.world.keap.tagged(vip).is_empty());
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn tags_that_keap_gives_together_are_written_to_intercom_in_one_call(pool: PgPool) {
    let (stage, vip) = stage(pool, "keap", |_| {}).await;
    let ids: Vec<i64> = (0..20)
        .map(|n| {
            let email = format!("p{n}@example.org");
            stage.world.keap.add(Person::named("P", "Lee").email(&email))
        })
        .collect();
    stage.settle().await;
    for id in &ids {
        stage.world.keap.clock().advance_ms(1_000);
        stage.world.keap.apply_tag(*id, vip);
    }
    stage.clear();
    stage.worker.sync().await;
    for id in &ids {
        assert_eq!(stage.world.intercom.tags_of(&stage.world.user(*id).id), [TAG]);
    }
    let kinds = stage.world.intercom.kinds();
    assert!(stage.world.intercom.calls() < ids.len() / 2, "{kinds:?}");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_contact_with_more_than_ten_tags_is_asked_for_all_of_them(pool: PgPool) {
    let (stage, vip) = stage(pool, "newest", |_| {}).await;
    let user = stage.world.user(stage.id).id;
    stage.world.intercom.clock().advance_ms(2_000);
    for n in 0..12 {
        stage.world.intercom.tag(&user, &format!("other {n}"));
    }
    stage.settle().await;
    stage.assert_quiet().await;
    assert_eq!(stage.world.intercom.count("contact_tags"), 0, "it is looked at once");

    stage.tag_in_intercom(true);
    stage.look().await;
    assert_eq!(stage.world.keap.tagged(vip), [stage.id]);
    stage.assert_quiet().await;
    stage.tag_in_intercom(false);
    stage.look().await;
    assert!(stage.world.keap.tagged(vip).is_empty());
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_tag_that_is_deleted_in_intercom_is_taken_from_nobody_in_keap(pool: PgPool) {
    let (stage, vip) = stage(pool, "intercom", |_| {}).await;
    stage.tag_in_intercom(true);
    stage.look().await;
    assert_eq!(stage.world.keap.tagged(vip), [stage.id]);
    let user = stage.world.user(stage.id).id;
    stage.world.intercom.untag(&user, TAG);
    stage.world.intercom.delete_tag(TAG);
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    stage.settle().await;
    assert_eq!(stage.world.keap.tagged(vip), [stage.id]);
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_lost_answer_of_a_tag_doubles_nothing_and_a_later_edit_stands(pool: PgPool) {
    let (stage, vip) = stage(pool, "newest", |world| {
        world.set("SYNC__RECHECK_SECONDS", "1");
    })
    .await;
    stage.world.keap.fault(Fault::on("apply_tag").what(What::ApplyThenDrop));
    stage.tag_in_intercom(true);
    stage.look().await;
    assert_eq!(stage.world.keap.tagged(vip), [stage.id]);
    // Keap's people take it away before the answer is known.
    stage.tag_in_keap(vip, false);
    for _ in 0..4 {
        stage.world.make_retries_due().await;
        stage.look().await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    let intents: i64 = sqlx::query_scalar("select count(*) from contact_intent")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(intents, 0);
    assert_eq!(stage.tagged().0, stage.tagged().1, "both sides agree");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn at_the_first_match_a_tag_is_applied_and_none_is_removed(pool: PgPool) {
    let (stage, vip) = stage(pool, "newest", |_| {}).await;
    let known = stage.world.intercom.add_user(Seed::with_email("bob@example.org"));
    stage.world.intercom.tag(&known, TAG);
    let cleo = stage.world.intercom.add_user(Seed::with_email("cleo@example.org"));
    stage.world.intercom.reindex_now();
    let bob = stage.world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));
    let of_cleo = stage.world.keap.add(Person::named("Cleo", "Day").email("cleo@example.org"));
    stage.world.keap.apply_tag(of_cleo, vip);
    stage.settle().await;
    assert_eq!(stage.world.keap.tagged(vip), [bob, of_cleo]);
    assert_eq!(stage.world.intercom.tags_of(&cleo), [TAG]);
    assert_eq!(stage.world.intercom.tags_of(&known), [TAG]);
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn who_is_archived_in_intercom_gets_a_tag_in_keap_once(pool: PgPool) {
    let mut gone = 0;
    let (stage, _) = stage(pool, "keap", |world| {
        gone = world.keap.add_tag("Gone in Intercom");
        world.set("INTERCOM_TO_KEAP__ARCHIVED", "tag");
        world.set("INTERCOM_TO_KEAP__ARCHIVED_TAG", "Gone in Intercom");
    })
    .await;
    let user = stage.world.user(stage.id).id;
    stage.world.intercom.archive(&user);
    let look = async || {
        let sql = "insert into contact_due (keap_contact_id, reason, priority, looks_at_intercom) select keap_contact_id, 'again', 0, true from contact_link";
        sqlx::query(sql).execute(&stage.world.pool).await.unwrap();
        stage.worker.work_off().await;
    };
    look().await;
    assert_eq!(stage.world.keap.tagged(gone), [stage.id]);
    // A person has dealt with it.
    stage.world.keap.remove_tag(stage.id, gone);
    stage.clear();
    look().await;
    assert!(stage.world.keap.tagged(gone).is_empty());
    assert_eq!(stage.world.keap.count("apply_tag"), 0);
    let intents: i64 = sqlx::query_scalar("select count(*) from contact_intent")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(intents, 0);
    stage.world.intercom.unarchive(&user);
    stage.settle().await;
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn check_lists_the_tags_that_may_be_applied_and_fields_create_makes_one_that_is_missing(
    pool: PgPool,
) {
    let mut world = World::new(pool).await;
    world.intercom.add_attribute("plan", "string", &[]);
    let tag = |keap: &str, owner: &str| {
        format!("[[tag]]\nkeap = {keap:?}\nintercom = {keap:?}\nowner = {owner:?}\n")
    };
    world.file(&format!("{}{}", tag("VIP", "intercom"), tag("Of Keap", "keap")));
    world.keap.add_tag("Of Keap");
    world.set("INTERCOM_TO_KEAP__ENABLED", "true");
    let run = async |arguments: &[&str]| crate::process::command(&world, arguments).await;

    let checked = run(&["check"]).await.stdout;
    assert!(
        checked.contains("apply or remove the tags VIP, which can start campaigns"),
        "{checked}"
    );
    assert!(checked.contains("Keap has no tag VIP"), "{checked}");
    let made = run(&["fields", "create", "--yes"]).await.expect(0).stdout;
    assert!(made.contains("These tags will be made in Keap: VIP"), "{made}");
    assert_eq!(world.keap.count("create_tag"), 1);
    let checked = run(&["check"]).await.stdout;
    assert!(!checked.contains("Keap has no tag VIP"), "{checked}");
    run(&["fields", "create", "--yes"]).await.expect(0);
    assert_eq!(world.keap.count("create_tag"), 1);
}

#[sqlx::test]
async fn the_tag_of_new_users_is_known_with_the_mapped_ones(pool: PgPool) {
    let (stage, _) = stage(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__CREATE", "tagged");
        world.set("INTERCOM_TO_KEAP__CREATE_TAG", "To Keap");
        world.intercom.add_tag("to keap");
    })
    .await;
    let Stage { world, worker, .. } = stage;
    worker.stop().await;
    let bob = world.intercom.add_user(Seed::with_email("bob@example.org").name("Bob Ray"));
    assert!(world.intercom.tag(&bob, "to keap"));
    world.intercom.reindex_now();
    world.intercom.clear_ledger();

    let worker = world.worker().await;
    for _ in 0..2 {
        Box::pin(users::poll_changed(worker.context())).await.unwrap();
        worker.sync().await;
    }
    assert_eq!(world.keap.count("create"), 1);
    // They are listed once, when the mapping is fitted to the workspace.
    assert_eq!(world.intercom.count("tags"), 1, "{:?}", world.intercom.kinds());
}
