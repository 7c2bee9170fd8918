//! *Use this Intercom contact*.

use keap_intercom_sync::outcome::Decided;
use sqlx::PgPool;

use super::{
    add_with_twins, decide, decided, decisions, fate, held_for_twins, is, look, take_back,
};
use crate::process::{Process, world as canary_world};
use crate::sim::{Fault, Seed, Standing};
use crate::world::{World, ann, until};

#[sqlx::test]
async fn the_chosen_contact_gets_the_keap_id_and_the_fields_for_two_calls(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, other]) = held_for_twins(&world).await;

    decided(&worker, id, Decided::Use, Some(&other)).await;
    assert_eq!(fate(&worker, id).await, is("use", false, None));
    look(&worker).await;

    assert_eq!(world.user(id).id, other);
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
    let untouched = world.intercom.contact(&one).unwrap();
    assert_eq!((untouched.name, untouched.external_id), (None, None));
    assert_eq!((world.intercom.count("read"), world.intercom.count("update")), (1, 1));
    assert_eq!(world.intercom.calls(), 2);
    assert_eq!(fate(&worker, id).await, is("use", true, None), "it stays in force");
    let stored = &decisions(&worker, id).await[0];
    assert_eq!((stored.decided_by.as_str(), stored.reason.as_str()), ("command", "several_users"));

    // Later passes keep to it.
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    assert_eq!(worker.request(&[id]).await.updated, 1);
    assert_eq!(world.user(id).id, other);
}

#[sqlx::test]
async fn a_candidate_with_another_external_id_is_used_and_found_again_without_its_link(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("crm-77"));
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.only_held(id).await.code, "external_id_taken");

    decided(&worker, id, Decided::Use, Some(&user)).await;
    look(&worker).await;
    assert_eq!(world.user(id).id, user);

    // The link is lost, a person has given the contact its former external id again, and somebody
    // else has the e-mail, too. The rules alone would hold it.
    sqlx::query("delete from contact_link").execute(&world.pool).await.unwrap();
    world.intercom.edit(&user, |contact| contact.external_id = Some("crm-77".into()));
    world.intercom.add_user(Seed::with_email("ann@example.org"));
    world.intercom.reindex_now();
    assert_eq!(worker.request(&[id]).await.linked, 1);
    assert_eq!(world.user(id).id, user);
}

#[sqlx::test]
async fn a_stranger_with_the_keap_id_is_used_where_a_person_says_so(pool: PgPool) {
    let world = World::new(pool).await;
    let user =
        world.intercom.add_user(Seed::with_email("other@elsewhere.example").external_id("1"));
    let id = world.keap.add(ann());
    assert_eq!(id, 1);
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.only_held(id).await.code, "external_id_unproven");

    let taken = decide(&worker, id, Decided::Create, None).await;
    assert!(taken.refused[0].1.contains("does not settle the reason"), "{taken:?}");
    decided(&worker, id, Decided::Use, Some(&user)).await;
    look(&worker).await;

    assert_eq!(world.user(id).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn an_archived_contact_is_made_live_where_a_person_says_so(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__UNARCHIVE", "false");
    let user = world.intercom.add_user(Seed::with_email("ann@example.org"));
    world.intercom.archive(&user);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.only_held(id).await.code, "archived");

    decided(&worker, id, Decided::Use, Some(&user)).await;
    look(&worker).await;

    assert_eq!(world.user(id).id, user);
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Live);
    assert_eq!(fate(&worker, id).await, is("use", true, None));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_candidate_that_was_archived_when_it_was_found_is_made_live_too(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("crm-7"));
    world.intercom.archive(&user);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.only_held(id).await.code, "external_id_taken");
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);

    decided(&worker, id, Decided::Use, Some(&user)).await;
    look(&worker).await;

    assert_eq!(world.user(id).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn what_can_never_be_right_is_refused_with_a_sentence(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, blocked) = (world.keap.add(ann()), world.keap.add(ann()));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    world.only_held(blocked).await;
    let linked = world.user(owner).id;
    let (one, [twin, _]) = add_with_twins(&world, "twin@example.org");
    worker.sync().await;
    // Two contacts of Keap want one and the same.
    sqlx::query("update contact_hold set candidates = array[$1, $2]")
        .bind(&linked)
        .bind(&twin)
        .execute(&world.pool)
        .await
        .unwrap();

    for (id, intercom, why) in [
        (blocked, linked.as_str(), format!("is linked to the Keap contact {owner}")),
        (one, "6762f0dd1bb69f9fffffffff", "is none of the candidates".to_owned()),
    ] {
        let taken = decide(&worker, id, Decided::Use, Some(intercom)).await;
        assert!(taken.decided.is_empty(), "{taken:?}");
        assert!(taken.refused[0].1.contains(&why), "{taken:?}");
        assert!(decisions(&worker, id).await.is_empty());
    }
    decided(&worker, one, Decided::Use, Some(&twin)).await;
    let taken = decide(&worker, blocked, Decided::Use, Some(&twin)).await;
    assert!(taken.refused[0].1.contains(&format!("Keap contact {one} uses")), "{taken:?}");
    look(&worker).await;
    assert_eq!(world.user(one).id, twin);
}

#[sqlx::test]
async fn a_linked_contact_gets_no_other_intercom_contact(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    let own = world.user(id).id;
    let other = world.intercom.add_user(Seed::with_email("new@example.org"));
    world.keap.edit(id, |person| person.emails[0].1 = "new@example.org".into());
    worker.request(&[id]).await;
    assert_eq!(world.only_held(id).await.code, "conflict");

    for (decided, intercom) in [(Decided::Use, Some(other.as_str())), (Decided::Create, None)] {
        let taken = decide(&worker, id, decided, intercom).await;
        assert!(taken.refused[0].1.contains("linked to Intercom already"), "{taken:?}");
    }

    assert_eq!(world.user(id).id, own);
}

#[sqlx::test]
async fn a_choice_that_is_taken_back_before_its_effect_is_forgotten(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, other]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;

    assert_eq!(take_back(&worker, id).await.len(), 1);
    look(&worker).await;

    assert_eq!(world.only_held(id).await.code, "several_users");
    assert_eq!(fate(&worker, id).await, is("use", false, Some("taken_back")));
    assert_eq!(decisions(&worker, id).await[0].taken_back_by.as_deref(), Some("page"));
    // A person may choose the other one then.
    decided(&worker, id, Decided::Use, Some(&other)).await;
    look(&worker).await;
    assert_eq!(world.user(id).id, other);
    // Once it was carried out, the link stays.
    assert_eq!(take_back(&worker, id).await.len(), 1);
    assert_eq!(super::due_and_held(&world).await, (0, 0));
    assert_eq!(world.user(id).id, other);
}

/// A process dies before or after the write that carries a choice out, and another one finishes it.
async fn killed(pool: PgPool, before: bool) {
    let world = canary_world(pool, 3).await;
    let email = world.keap.person(2).unwrap().first_email().unwrap().to_owned();
    let twins = [0, 1].map(|_| world.intercom.add_user(Seed::with_email(&email)));
    world.sync().await;
    world.only_held(2).await;
    let worker = world.worker().await;
    decided(&worker, 2, Decided::Use, Some(&twins[1])).await;
    worker.stop().await;

    let daemon = Process::daemon(&world);
    let target = daemon.target();
    let what = if before { target.dies_before() } else { target.dies_after() };
    world.intercom.fault(Fault::on("update").what(what));
    daemon.died().await;
    let other = Process::daemon(&world);
    let ended = "select count(*) from contact_decision where done_at is not null";
    until("it is carried out", async || {
        let done: i64 = sqlx::query_scalar(ended).fetch_one(&world.pool).await.unwrap();
        done == 1
    })
    .await;
    other.stop().await;

    assert_eq!(world.user(2).id, twins[1]);
    assert_eq!(world.intercom.faults_waiting(), 0);
    assert_eq!(super::due_and_held(&world).await.1, 0);
    let twin = world.intercom.contact(&twins[0]).unwrap();
    assert_eq!(twin.external_id, None, "the other one is not touched");
}

#[sqlx::test]
async fn a_kill_before_the_write_of_a_choice_loses_nothing(pool: PgPool) {
    killed(pool, true).await;
}

#[sqlx::test]
async fn a_kill_after_the_write_of_a_choice_loses_nothing(pool: PgPool) {
    killed(pool, false).await;
}
