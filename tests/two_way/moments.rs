//! Moments at which a walk over Intercom's list could miss an edit.

use serde_json::json;
use sqlx::PgPool;

use keap_intercom_sync::sync::users;

use super::Stage;
use super::owners::fresh;
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Intercom, What};

/// More than two pages of Intercom's list.
const PEOPLE: usize = 320;

async fn many(pool: PgPool) -> (Stage, Vec<i64>) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__WRITES_PER_MINUTE", "6000");
    })
    .await;
    let ids = stage.world.keap.add_many(PEOPLE, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.world.intercom.clock().advance_ms(60_000);
    stage.clear();
    (stage, ids)
}

fn edit(intercom: &Intercom, user: &str, plan: &str) {
    let plan = json!(plan);
    assert!(intercom.edit(user, |contact| {
        contact.custom_attributes.insert("plan".into(), plan);
    }));
}

/// Ids of the contacts whose plan in Keap is another one.
fn without(stage: &Stage, ids: &[i64], plan: &str) -> Vec<i64> {
    let shows = |id: &i64| {
        let person = stage.world.keap.person(*id).unwrap();
        person.details.custom_fields.get(&stage.plan) == Some(&json!(plan))
    };
    ids.iter().copied().filter(|id| !shows(id)).collect()
}

// F107
#[sqlx::test]
async fn edits_of_one_second_over_the_end_of_a_page_all_arrive(pool: PgPool) {
    let (stage, ids) = many(pool).await;
    // A poll first, so that the position is in this second, too.
    let at = stage.world.intercom.clock().now_ms();
    let same_second = |user: &str, plan: &str| {
        let clock = stage.world.intercom.clock();
        clock.advance_ms(at - clock.now_ms());
        edit(&stage.world.intercom, user, plan);
    };
    let users: Vec<String> = ids.iter().map(|id| stage.world.user(*id).id).collect();
    same_second(&users[0], "bronze");
    stage.look().await;

    for user in &users[1..] {
        same_second(user, "bronze");
    }
    stage.look().await;

    assert_eq!(without(&stage, &ids, "bronze"), [0; 0]);
    assert_eq!(stage.writes(), (PEOPLE, 0));
    stage.assert_quiet().await;
}

// F107
#[sqlx::test]
async fn an_edit_between_two_pages_of_the_walk_is_found_by_the_next_one(pool: PgPool) {
    let (stage, ids) = many(pool).await;
    let users: Vec<String> = ids.iter().map(|id| stage.world.user(*id).id).collect();
    for user in &users {
        edit(&stage.world.intercom, user, "bronze");
    }
    stage.world.intercom.reindex_now();
    // While the second page is fetched, people of every page get another plan: they move to the
    // front, and others move over the end of a page.
    let late: Vec<String> = users.iter().step_by(40).cloned().collect();
    let (intercom, edited) = (stage.world.intercom.clone(), late.clone());
    stage.world.intercom.fault(Fault::on("search").nth(2).what(What::run(move |_| {
        intercom.clock().advance_ms(1_000);
        edited.iter().for_each(|user| edit(&intercom, user, "tin"));
        intercom.reindex_now();
    })));

    stage.look().await;
    assert_eq!(stage.world.intercom.faults_waiting(), 0);
    stage.look().await;

    let (tin, bronze): (Vec<i64>, Vec<i64>) =
        ids.iter().partition(|id| late.contains(&stage.world.user(**id).id));
    assert_eq!(without(&stage, &tin, "tin"), [0; 0]);
    assert_eq!(without(&stage, &bronze, "bronze"), [0; 0]);
    stage.assert_quiet().await;
}

// F107
#[sqlx::test]
async fn a_process_that_ends_in_the_walk_loses_no_edit(pool: PgPool) {
    let (stage, ids) = many(pool).await;
    for id in &ids {
        edit(&stage.world.intercom, &stage.world.user(*id).id, "bronze");
    }
    stage.world.intercom.reindex_now();
    for page in [2, 3] {
        stage.world.intercom.fault(Fault::on("search").nth(page).what(What::Refuse).times(100));
        let walk = Box::pin(users::poll_changed(stage.worker.context())).await;
        stage.world.intercom.clear_faults();
        assert!(walk.is_err() || !without(&stage, &ids, "bronze").is_empty(), "page {page}");
    }
    let Stage { world, worker, plan, id } = stage;
    worker.stop().await;

    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };
    stage.look().await;

    assert_eq!(without(&stage, &ids, "bronze"), [0; 0]);
    stage.assert_quiet().await;
}

// F107
#[sqlx::test]
async fn edits_around_midnight_arrive_in_every_time_zone(pool: PgPool) {
    const DAY: i64 = 86_400_000;
    for (zone, east) in
        [("Etc/UTC", 0), ("America/Phoenix", -7 * 3600), ("Asia/Kathmandu", 5 * 3600 + 45 * 60)]
    {
        // Midnight in UTC, and midnight in the zone of the workspace.
        for midnight in [0, -east * 1000] {
            let stage = Stage::new(fresh(&pool).await, "newest").await;
            stage.world.intercom.knobs(|knobs| {
                knobs.timezone = zone.to_owned();
                knobs.utc_offset_secs = east;
            });
            let clock = stage.world.intercom.clock();
            let since_midnight = (clock.now_ms() - midnight).rem_euclid(DAY);
            clock.advance_ms(DAY - since_midnight - 3_000);
            for (step, word) in [
                (0, "two before"),
                (2_000, "before"),
                (1_000, "at"),
                (1_000, "after"),
                (60_000, "late"),
            ] {
                clock.advance_ms(step);
                stage.edit_plan_in_intercom(word, 0);
                stage.look().await;
                assert_eq!(stage.plan_in_keap(), word, "{zone} {midnight}");
            }
            stage.assert_quiet().await;
        }
    }
}
