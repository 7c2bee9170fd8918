//! Consent: an opt-out travels in both directions, an opt-in in none.

use keap_intercom_sync::feed::RunReason;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use sqlx::PgPool;

use super::Stage;
use crate::sim::{Fault, Person, Seed, What};
use crate::world::World;

const ADDRESS: &str = "ann@example.org";

pub(super) async fn stage(pool: PgPool, opt_out: &str) -> Stage {
    Stage::with(pool, "newest", |world| {
        world.set("CONSENT__OPT_OUT", opt_out);
    })
    .await
}

pub(super) fn set_in_intercom(stage: &Stage, is_out: bool) {
    stage.edit_in_intercom(1, |contact| contact.unsubscribed_from_emails = is_out);
}

pub(super) fn is_out_in_intercom(stage: &Stage) -> bool {
    stage.world.user(stage.id).unsubscribed_from_emails
}

fn in_keap<'a>(world: &World, address: &'a str) -> (&'static str, &'a str) {
    (world.keap.opt_status(address).word(), address)
}

#[sqlx::test]
async fn who_unsubscribes_in_intercom_is_opted_out_in_keap_by_one_call(pool: PgPool) {
    for (opt_out, bumps) in [("both", true), ("both", false), ("to_keap", true)] {
        let stage = stage(super::owners::fresh(&pool).await, opt_out).await;
        stage.world.keap.knobs(|knobs| knobs.opt_status_bumps = bumps);
        set_in_intercom(&stage, true);
        stage.look().await;
        assert_eq!(in_keap(&stage.world, ADDRESS), ("MANUAL", ADDRESS));
        assert_eq!(stage.world.keap.count("set_opt_status"), 1);
        assert_eq!(stage.writes(), (0, 0));
        stage.assert_quiet().await;
        assert_eq!(stage.world.keap.count("set_opt_status"), 0);
    }
}

#[sqlx::test]
async fn who_unsubscribes_in_keap_is_unsubscribed_in_intercom(pool: PgPool) {
    let both = stage(super::owners::fresh(&pool).await, "both").await;
    both.world.keap.unsubscribe(ADDRESS);
    both.look().await;
    assert!(is_out_in_intercom(&both));
    both.assert_quiet().await;

    let one_way = stage(super::owners::fresh(&pool).await, "to_keap").await;
    one_way.world.keap.unsubscribe(ADDRESS);
    one_way.look().await;
    assert!(!is_out_in_intercom(&one_way), "the settings let it travel to Keap only");
}

#[sqlx::test]
async fn who_subscribes_again_on_one_side_stays_out_on_the_other(pool: PgPool) {
    let stage = stage(pool, "both").await;
    set_in_intercom(&stage, true);
    stage.look().await;
    stage.clear();
    set_in_intercom(&stage, false);
    stage.look().await;
    assert_eq!(in_keap(&stage.world, ADDRESS).0, "MANUAL");
    assert!(!is_out_in_intercom(&stage), "and nobody is unsubscribed again by us");
    assert_eq!(stage.writes(), (0, 0));

    // Keap's person comes back, too; then somebody leaves in Keap for good.
    stage.world.keap.set_opt_status(ADDRESS, "DOUBLE_OPT_IN");
    stage.look().await;
    assert!(!is_out_in_intercom(&stage));
    stage.world.keap.unsubscribe(ADDRESS);
    stage.look().await;
    assert!(is_out_in_intercom(&stage));
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn at_the_first_match_out_on_one_side_is_out_on_both(pool: PgPool) {
    let stage = stage(pool, "both").await;
    let user = stage.world.intercom.add_user(Seed::with_email("bob@example.org").name("Bob Ray"));
    stage.world.intercom.edit(&user, |contact| contact.unsubscribed_from_emails = true);
    stage.world.intercom.add_user(Seed::with_email("cleo@example.org").name("Cleo Day"));
    stage.world.intercom.reindex_now();
    stage.world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));
    let cleo = stage.world.keap.add(Person::named("Cleo", "Day").email("cleo@example.org"));
    stage.world.keap.unsubscribe("cleo@example.org");
    stage.settle().await;
    assert_eq!(in_keap(&stage.world, "bob@example.org").0, "MANUAL");
    assert!(stage.world.user(cleo).unsubscribed_from_emails);
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_new_address_in_keap_gets_the_opt_out_of_the_contact(pool: PgPool) {
    let stage = stage(pool, "both").await;
    set_in_intercom(&stage, true);
    stage.look().await;
    stage.world.keap.edit(stage.id, |person| person.emails[0].1 = "new@example.org".into());
    stage.look().await;
    assert_eq!(in_keap(&stage.world, "new@example.org").0, "MANUAL");
    assert!(is_out_in_intercom(&stage));
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_new_address_in_intercom_gets_the_opt_out_too(pool: PgPool) {
    let stage = stage(pool, "both").await;
    set_in_intercom(&stage, true);
    stage.look().await;
    stage.edit_in_intercom(2, |contact| contact.email = Some("new@example.org".into()));
    stage.look().await;
    let person = stage.world.keap.person(stage.id).unwrap();
    assert_eq!(person.first_email(), Some("new@example.org"));
    assert_eq!(in_keap(&stage.world, "new@example.org").0, "MANUAL");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn an_opt_out_that_keap_does_not_take_is_held_and_never_dropped(pool: PgPool) {
    for ignores in [true, false] {
        let stage = Stage::with(super::owners::fresh(&pool).await, "newest", |world| {
            world.set("CONSENT__OPT_OUT", "both").set("SYNC__MAX_ATTEMPTS", "2");
        })
        .await;
        if ignores {
            stage.world.keap.knobs(|knobs| knobs.ignore_opt_out = true);
        } else {
            let refuses = What::Status(400, r#"{"message":"no"}"#.into());
            stage.world.keap.fault(Fault::on("set_opt_status").always().what(refuses));
        }
        set_in_intercom(&stage, true);
        stage.look().await;
        let held = stage.world.only_held(stage.id).await;
        assert!(held.reason.contains("opt-out"), "{held:?}");

        stage.world.keap.clear_faults();
        stage.world.keap.knobs(|knobs| knobs.ignore_opt_out = false);
        stage.worker.request(&[stage.id]).await;
        stage.settle().await;
        assert_eq!(in_keap(&stage.world, ADDRESS).0, "MANUAL", "{ignores}");
        assert!(stage.world.held().await.is_empty());
    }
}

#[sqlx::test]
async fn an_opt_out_travels_for_a_contact_outside_the_filter(pool: PgPool) {
    let stage = stage(pool, "both").await;
    let Stage { mut world, worker, plan, id } = stage;
    worker.stop().await;
    world.set("FILTER__EXCLUDE_DOMAINS", "example.org");
    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };
    stage.settle().await;
    set_in_intercom(&stage, true);
    stage.edit_plan_in_intercom("bronze", 2);
    stage.look().await;
    assert_eq!(in_keap(&stage.world, ADDRESS).0, "MANUAL");
    assert_eq!(stage.plan_in_keap(), "gold", "nothing else does");
    stage.assert_quiet().await;
}

/// What a person does, or what the daemon does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Out(bool),
    In(bool),
    Look,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        any::<bool>().prop_map(Deed::Out),
        any::<bool>().prop_map(Deed::In),
        Just(Deed::Look)
    ];
    prop::collection::vec(deed, 1..8)
}

#[sqlx::test]
async fn in_any_order_nobody_is_subscribed_by_us_and_the_last_opt_out_counts(pool: PgPool) {
    let stage = stage(pool, "both").await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..15 {
        let order = deeds().new_tree(&mut runner).unwrap().current();
        let (mut in_keap_by_person, mut in_intercom_by_person) = (None, None);
        for deed in &order {
            match deed {
                Deed::Out(true) => {
                    stage.world.keap.unsubscribe(ADDRESS);
                    in_keap_by_person = Some(true);
                }
                Deed::In(true) => {
                    stage.world.keap.set_opt_status(ADDRESS, "DOUBLE_OPT_IN");
                    in_keap_by_person = Some(false);
                }
                Deed::Out(false) => {
                    set_in_intercom(&stage, true);
                    in_intercom_by_person = Some(true);
                }
                Deed::In(false) => {
                    set_in_intercom(&stage, false);
                    in_intercom_by_person = Some(false);
                }
                Deed::Look => drop(stage.look().await),
            }
        }
        stage.settle().await;
        let out_in_keap = !stage.world.keap.opt_status(ADDRESS).is_opt_in();
        // A person's last word on a side is that the address is out: it still is.
        if in_keap_by_person == Some(true) {
            assert!(out_in_keap, "{order:?}");
        }
        if in_intercom_by_person == Some(true) {
            assert!(is_out_in_intercom(&stage), "{order:?}");
        }
        stage.assert_quiet().await;
    }
    assert_eq!(stage.world.keap.could_subscribe(), [""; 0]);
    assert_eq!(stage.world.intercom.could_subscribe(), [""; 0]);
}

/// Whether an opt-out moves Keap's stamp is unknown.
#[sqlx::test]
async fn an_opt_out_in_keap_that_moves_no_stamp_arrives_by_the_audit(pool: PgPool) {
    let stage = stage(pool, "both").await;
    stage.world.keap.knobs(|knobs| knobs.opt_status_bumps = false);
    stage.world.keap.unsubscribe(ADDRESS);
    stage.world.keap.unsubscribe("nobody@example.org");
    stage.clear();
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!(stage.world.keap.count("opt_statuses"), 1);
    assert_eq!(run.counts.keap_calls, 1);
    stage.worker.work_off().await;
    assert!(is_out_in_intercom(&stage), "no poll of Keap was made");
    stage.assert_quiet().await;

    // What was brought costs the list alone.
    stage.clear();
    stage.audit(RunReason::Schedule).await;
    stage.worker.work_off().await;
    assert_eq!((stage.world.keap.calls(), stage.world.intercom.calls()), (1, 1));
}
