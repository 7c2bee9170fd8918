//! Every class of outcome: limits, failures in passing, refusals of one contact, and sides that stop.

use std::time::Duration;

use keap_intercom_sync::store::{DueReason, Feed};
use keap_intercom_sync::sync::Halt;
use sqlx::PgPool;

use crate::sim::{Fault, LimitWindows, What, WindowStart};
use crate::world::{World, keap_id, until};

#[sqlx::test]
async fn one_failing_contact_waits_and_the_others_and_the_cursor_go_on(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    world.intercom.fault(
        Fault::on("create")
            .key("7")
            .times(2)
            .what(What::status(500)),
    );
    let worker = world.worker().await;
    let counts = worker.sync().await;
    assert!(counts.failed >= 1 && counts.created >= 39, "{counts:?}");
    assert!(
        world
            .store()
            .cursor(Feed::Backfill)
            .await
            .unwrap()
            .unwrap()
            .walk
            .is_none(),
        "the walk is whole"
    );
    let line = world.log_of(7).await.remove(0);
    assert_eq!(
        (line.sync_status.as_str(), line.error_message.as_deref()),
        ("failed", Some("Intercom failed with 500"))
    );
    worker.work_off().await;
    world.assert_agrees();
}

#[sqlx::test]
async fn f54_a_contact_that_intercom_refuses_is_held_with_the_reason_and_no_words_of_its_own(
    pool: PgPool,
) {
    let world = World::with_people(pool, 20).await;
    let email = world
        .keap
        .person(5)
        .unwrap()
        .first_email()
        .unwrap()
        .to_owned();
    world
        .intercom
        .knobs(|knobs| knobs.refuse_emails.insert(email.clone()));
    let worker = world.worker().await;
    worker.sync().await;
    let held = world.only_held(5).await;
    assert!(
        held.reason
            .starts_with("refused: Intercom refuses the contact (400 parameter_invalid"),
        "{}",
        held.reason
    );
    assert!(!held.reason.contains('@'));
    assert_eq!(world.intercom.live_users().len(), 19);
    assert_eq!(
        world
            .intercom
            .ledger()
            .iter()
            .filter(|call| call.external_id.as_deref() == Some("5"))
            .count(),
        1,
        "a refusal is not repeated"
    );
}

#[sqlx::test]
async fn a_contact_that_keeps_failing_is_held_after_its_last_try(pool: PgPool) {
    let mut world = World::with_people(pool, 12).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");
    world.intercom.fault(
        Fault::on("create")
            .key("3")
            .always()
            .what(What::status(500)),
    );
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    let held = world.only_held(3).await;
    assert_eq!(
        (held.attempts, held.reason.as_str()),
        (4, "last_try: Intercom failed with 500")
    );
    let tries = world
        .intercom
        .ledger()
        .iter()
        .filter(|call| call.external_id.as_deref() == Some("3"))
        .count();
    assert_eq!(tries, 4);
    // Its next change revives it.
    world.intercom.clear_faults();
    world
        .keap
        .edit(3, |person| person.given_name = Some("Revived".into()));
    worker.sync().await;
    assert!(world.held().await.is_empty());
    world.assert_agrees();
}

#[sqlx::test]
async fn f39_an_outage_uses_up_nobodys_attempts_and_few_calls(pool: PgPool) {
    let world = World::with_people(pool, 200).await;
    world
        .intercom
        .fault(Fault::on("any").always().what(What::status(503)));
    let worker = world.worker().await;
    for _ in 0..5 {
        let halt = worker.try_sync().await.unwrap_err();
        assert!(
            matches!(
                halt,
                Halt::Remote {
                    needs_person: false,
                    ..
                }
            ),
            "{halt}"
        );
    }
    assert!(
        world.intercom.calls() < 120,
        "{} calls to a dead Intercom",
        world.intercom.calls()
    );
    world.intercom.clear_faults();
    until("Intercom is back", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;
    world.assert_agrees();
    assert!(world.held().await.is_empty());
}

#[sqlx::test]
async fn f41_a_revoked_token_stops_the_side_at_once_and_loses_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("SYNC__CONCURRENCY", "4");
    world
        .intercom
        .fault(Fault::on("create").nth(20).what(What::run({
            let intercom = world.intercom.clone();
            move |_| intercom.set_token("rotated")
        })));
    let worker = world.worker().await;
    let halt = worker.try_sync().await.unwrap_err();
    assert!(
        matches!(
            halt,
            Halt::Remote {
                needs_person: true,
                ..
            }
        ),
        "{halt}"
    );
    assert!(halt.to_string().contains("INTERCOM_ACCESS_TOKEN"), "{halt}");
    for _ in 0..5 {
        assert!(worker.try_sync().await.is_err());
    }
    let refused = world
        .intercom
        .statuses()
        .get(&401)
        .copied()
        .unwrap_or_default();
    assert!(
        (1..=8).contains(&refused),
        "{refused} calls with a revoked token"
    );
    assert!(
        world.store().count_due().await.unwrap() == (0, 0),
        "no contact is to blame"
    );
    assert!(
        world
            .store()
            .cursor(Feed::Backfill)
            .await
            .unwrap()
            .unwrap()
            .walk
            .is_some()
    );
    worker.stop().await;
    world.set("INTERCOM_ACCESS_TOKEN", "rotated");
    world.sync().await;
    world.assert_agrees();
}

#[sqlx::test]
async fn f42_a_plan_or_version_that_does_not_fit_stops_with_the_settings_name(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    world.intercom.knobs(|knobs| knobs.version_unknown = true);
    let worker = world.worker().await;
    let halt = worker.try_sync().await.unwrap_err();
    assert!(
        matches!(
            halt,
            Halt::Remote {
                needs_person: true,
                ..
            }
        ) && halt.to_string().contains("INTERCOM_VERSION"),
        "{halt}"
    );
    world
        .intercom
        .knobs(|knobs| (knobs.version_unknown, knobs.plan_restricted) = (false, true));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let halt = worker.try_sync().await.unwrap_err();
    assert!(halt.to_string().contains("plan"), "{halt}");
    world.intercom.knobs(|knobs| knobs.plan_restricted = false);
    until("the side is looked at again", async || {
        worker.try_sync().await.is_ok()
    })
    .await;
    world.assert_agrees();
}

#[sqlx::test]
async fn f44_a_redirect_is_not_followed(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let elsewhere = crate::sim::Intercom::start().await;
    world.intercom.fault(
        Fault::on("any")
            .always()
            .what(What::Redirect(elsewhere.base_url())),
    );
    let worker = world.worker().await;
    let halt = worker.try_sync().await.unwrap_err();
    assert!(halt.to_string().contains("redirect"), "{halt}");
    assert_eq!(elsewhere.calls(), 0, "the token must not be sent elsewhere");
}

#[sqlx::test]
async fn exact_limits_of_intercom_are_kept_without_a_refusal_and_used_up(pool: PgPool) {
    let mut world = World::with_people(pool, 900).await;
    world.sync().await;
    world.set("INTERCOM__CALLS_PER_10_SECONDS", "1667");
    // Windows of one second, so that the test is short: 100 calls in each.
    world
        .intercom
        .knobs(|knobs| (knobs.limit, knobs.window_secs) = (Some(100), 1));
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some("Paced".into())
    });
    world.intercom.clear_ledger();
    world.sync().await;
    world.assert_agrees();
    assert_eq!(world.intercom.refused_by_limit(), 0);
    let windows = world.intercom.windows();
    let full = &windows[1..windows.len() - 1];
    let used: u32 = full.iter().map(|(_, used, _)| used).sum();
    assert!(
        full.len() >= 5 && f64::from(used) >= 0.97 * 100.0 * full.len() as f64,
        "{windows:?}"
    );
    assert!(world.held().await.is_empty());
}

#[sqlx::test]
async fn f31_f33_windows_that_begin_anywhere_and_limits_that_shrink_are_followed(pool: PgPool) {
    let world = World::with_people(pool, 300).await;
    world.sync().await;
    world.intercom.knobs(|knobs| {
        (knobs.limit, knobs.window_secs) = (Some(80), 1);
        knobs.window_start = WindowStart::FirstCall;
        knobs.remaining_counts_this_call = true;
    });
    let worker = world.worker().await;
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some("One".into())
    });
    worker.sync().await;
    // Calls under way when the limit shrinks may be refused; none afterwards.
    world.intercom.knobs(|knobs| knobs.limit = Some(40));
    let edit_all = |name: &'static str| {
        world.keap.clock().advance_ms(3_000);
        world.keap.bulk_edit(world.keap.ids(), |person| {
            person.family_name = Some(name.into())
        });
    };
    edit_all("Two");
    worker.sync().await;
    assert!(
        world.intercom.refused_by_limit() <= 64,
        "{} refusals",
        world.intercom.refused_by_limit()
    );
    world.intercom.clear_ledger();
    edit_all("Three");
    worker.sync().await;
    world.assert_agrees();
    assert_eq!(world.intercom.refused_by_limit(), 0);
    assert!(
        world.store().count_due().await.unwrap() == (0, 0),
        "waiting for a limit uses up no attempt"
    );
}

#[sqlx::test]
async fn f31_a_storm_of_429_is_waited_out_and_nobody_is_to_blame(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    world.intercom.knobs(|knobs| {
        (
            knobs.limit,
            knobs.window_secs,
            knobs.foreign_calls_per_window,
        ) = (Some(10), 1, 5)
    });
    world.sync().await;
    world.assert_agrees();
    assert!(
        world
            .log()
            .await
            .iter()
            .all(|line| line.sync_status == "synced"),
        "waiting is no failure"
    );
}

#[sqlx::test]
async fn f36_exact_limits_of_keap_are_kept(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world
        .set("KEAP__PAGE_SIZE", "10")
        .set("KEAP__CALLS_PER_SECOND", "10")
        .set("KEAP__CALLS_PER_MINUTE", "240");
    world.keap.knobs(|knobs| {
        knobs.exact_limits();
        knobs.limit_windows = LimitWindows::Sliding;
    });
    world.sync().await;
    world.assert_agrees();
    assert_eq!(
        world.keap.statuses().get(&429),
        None,
        "{:?}",
        world.keap.statuses()
    );
}

#[sqlx::test]
async fn f37_a_used_up_day_at_keap_stops_reading_and_not_writing(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    world.keap.knobs(|knobs| {
        knobs.exact_limits();
        knobs.foreign_calls_today = 29_000;
    });
    let worker = world.worker().await;
    let halt = worker.try_sync().await.unwrap_err();
    assert!(halt.to_string().contains("calls left for today"), "{halt}");
    assert!(
        halt.retry_in() > Duration::from_secs(1),
        "{:?}",
        halt.retry_in()
    );
    // What is asked for by hand still has the reserve.
    assert_eq!(worker.request(&[5]).await.created, 1);
    assert_eq!(world.user(5).role, crate::sim::Role::User);
}

#[sqlx::test]
async fn a_missing_contact_is_answered_and_forgotten(pool: PgPool) {
    let world = World::with_people(pool, 3).await;
    let worker = world.worker().await;
    let counts = worker.request(&[2, 4711]).await;
    assert_eq!((counts.created, counts.skipped), (1, 1), "{counts:?}");
    assert!(
        world.log_of(4711).await[0]
            .error_message
            .as_deref()
            .unwrap()
            .starts_with("not_in_keap")
    );
    assert_eq!(world.store().count_due().await.unwrap(), (0, 0));
}

#[sqlx::test]
async fn f72_a_thousand_due_contacts_are_read_together(pool: PgPool) {
    let world = World::with_people(pool, 1000).await;
    let worker = world.worker().await;
    let ids: Vec<i64> = (1..=1000).collect();
    world.keap.clear_ledger();
    let counts = worker.request(&ids).await;
    assert_eq!(counts.created, 1000, "{counts:?}");
    assert!(world.keap.calls() <= 10, "{}", world.keap.calls());
    world.assert_agrees();
}

#[sqlx::test]
async fn a_request_that_comes_while_its_contact_is_read_is_answered_by_a_later_look(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    world.sync().await;
    let worker = world.worker().await;
    // Between the reading and the deciding the contact changes, and somebody asks for it again.
    let (keap, settings) = (world.keap.clone(), world.settings());
    world.keap.fault(
        Fault::on("list")
            .nth(1)
            .what(What::apply_then_run(move |_| {
                keap.edit(2, |person| person.given_name = Some("Later".into()));
                // On a thread of its own, because this one is the stand-in's.
                let settings = settings.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    let asked = async {
                        keap_intercom_sync::app::store(&settings)
                            .unwrap()
                            .request(&[keap_id(2)], DueReason::Manual)
                            .await
                    };
                    runtime.block_on(asked).unwrap();
                })
                .join()
                .unwrap();
            })),
    );
    worker.request(&[2]).await;
    assert_eq!(world.user(2).name.as_deref(), Some("Later Abel"));
    assert_eq!(world.store().count_due().await.unwrap(), (0, 0));
}

#[sqlx::test]
async fn f83_what_cannot_be_recorded_is_not_written(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world
        .set("SYNC__RECORD_GROUP", "20")
        .set("SYNC__CONCURRENCY", "8");
    let worker = world.worker().await;
    // Another session holds the table in the middle of the page.
    let mut blocker = world.pool.begin().await.unwrap();
    world.intercom.knobs(|knobs| knobs.latency_ms = 5);
    let syncing = tokio::spawn({
        let syncer = std::sync::Arc::clone(&worker.syncer);
        async move {
            let mut poll = true;
            while syncer.bulk_step(&mut poll).await.unwrap() {}
        }
    });
    until("writing has begun", async || {
        world.intercom.count("create") > 40
    })
    .await;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'keap-intercom-sync'").execute(&mut *blocker).await.unwrap();
    blocker.commit().await.unwrap();
    syncing.await.unwrap();
    worker.work_off().await;
    world.assert_agrees();
    assert_eq!(
        world.intercom.count("create"),
        300,
        "nobody was created twice"
    );
}

/// The most attempts that any waiting contact has used up.
async fn most_attempts(world: &World) -> i32 {
    let sql = "select coalesce(max(attempts), 0) from contact_due";
    sqlx::query_scalar(sql)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

fn edit_all(world: &World, name: &'static str) {
    world.keap.clock().advance_ms(3_000);
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some(name.into())
    });
}

#[sqlx::test]
async fn f39_writes_that_fail_while_reads_go_well_are_no_storm(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.sync().await;
    world.set("POLL__SCHEDULE", "*/10 * * * * *");
    world
        .intercom
        .fault(Fault::on("update").always().what(What::status(500)));
    edit_all(&world, "Stormy");
    world.intercom.clear_ledger();
    world.keap.clear_ledger();
    let daemon = world.daemon().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let url = format!("http://{}/ready", daemon.address);
    let ready = crate::sim::client::send("GET", &url, &[], "")
        .await
        .unwrap()
        .json();
    assert!(
        ready.to_string().contains("failing"),
        "the remote must be shown as failing: {ready}"
    );
    tokio::time::sleep(Duration::from_secs(9)).await;
    let (writes, lists) = (world.intercom.count("update"), world.keap.count("list"));
    assert!(
        writes <= 64 + 10,
        "{writes} writes to an Intercom that takes none"
    );
    // Polls that are due, and one list for each trial at most, by either lane.
    assert!(lists <= 14, "{lists} lists of Keap");
    assert!(most_attempts(&world).await <= 1);
    world.intercom.clear_faults();
    until("all is caught up", async || {
        crate::sim::verify::verify(&world.keap, &world.intercom).agrees()
            && world.store().count_due().await.unwrap() == (0, 0)
    })
    .await;
    assert!(world.held().await.is_empty());
    let written = world.intercom.count("update") - writes;
    assert!(
        (200..=220).contains(&written),
        "{written} writes afterwards"
    );
    daemon.stop().await.1.unwrap();
}

/// Intercom answers every call of a kind so for a while: nobody is to blame, and it is caught up.
async fn everybody_gets(pool: PgPool, kind: &'static str, what: What) {
    let mut world = World::with_people(pool, 40).await;
    world
        .set("SYNC__MAX_ATTEMPTS", "3")
        .set("SYNC__RETRY_CAP_SECONDS", "1");
    if kind == "update" {
        world.sync().await;
        edit_all(&world, "Garbled");
    }
    world
        .intercom
        .fault(Fault::on(kind).always().what(what.clone()));
    let worker = world.worker().await;
    world.intercom.clear_ledger();
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let _ = worker.try_sync().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tries = world.intercom.count(kind);
    // All at once, before it is known, and a trial or two.
    assert!(tries <= 44, "{tries} calls that nobody answers");
    assert!(most_attempts(&world).await <= 1);
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    world.intercom.clear_faults();
    until("Intercom is back", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;
    world.assert_agrees();
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
}

macro_rules! everybody_gets {
    ($($name:ident: $kind:literal, $what:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            everybody_gets(pool, $kind, $what).await;
        })*
    };
}

everybody_gets! {
    f39_creates_that_fail_are_nobodys_fault: "create", What::status(503);
    f39_searches_that_fail_are_nobodys_fault: "search", What::status(500);
    f22_writes_answered_with_a_page_are_nobodys_fault: "update", What::Html(200);
    f22_writes_answered_with_nothing_are_nobodys_fault: "update", What::Status(200, String::new());
    f22_writes_answered_with_an_empty_object_are_nobodys_fault: "update", What::Status(200, "{}".into());
    f22_writes_answered_with_half_an_object_are_nobodys_fault: "update", What::Status(200, r#"{"type":"contact","id":"abc"#.into());
    f22_writes_refused_with_a_page_are_nobodys_fault: "update", What::Html(405);
    f22_writes_refused_with_another_programs_object_are_nobodys_fault: "update", What::Status(422, r#"{"error":"blocked"}"#.into());
    f22_creates_refused_without_a_word_are_nobodys_fault: "create", What::Status(400, String::new());
    f22_writes_not_found_by_another_program_are_nobodys_fault: "update", What::Status(404, "{}".into());
    f22_creates_in_conflict_with_another_program_are_nobodys_fault: "create", What::Status(409, "{}".into());
    f22_creates_done_and_answered_with_garbage_are_not_doubled: "create", What::ApplyThenSay("<html>");
    f22_updates_done_and_answered_with_garbage_are_repeated: "update", What::ApplyThenSay("{}");
    f22_searches_answered_with_an_empty_object_are_nobodys_fault: "search", What::Status(200, "{}".into());
    f22_searches_refused_with_a_page_are_nobodys_fault: "search", What::Html(400);
}

#[sqlx::test]
async fn a_contact_that_alone_gets_garbage_is_held_after_its_last_try(pool: PgPool) {
    let mut world = World::with_people(pool, 12).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");
    for (key, what) in [
        ("3", What::Status(200, "{}".into())),
        ("9", What::Html(400)),
    ] {
        world
            .intercom
            .fault(Fault::on("create").key(key).always().what(what));
    }
    let worker = world.worker().await;
    // Five failures in a row are asked about by a probe, whoever they are about.
    let _ = worker.try_sync().await;
    until("both are held", async || {
        let _ = worker.try_sync().await;
        world.held().await.len() == 2
    })
    .await;
    for held in world.held().await {
        assert!(
            held.attempts == 4
                && held
                    .reason
                    .starts_with("last_try: Intercom sent an answer that is not understood"),
            "{held:?}"
        );
    }
    assert_eq!(world.intercom.live_users().len(), 10);
}

#[sqlx::test]
async fn a_poison_contact_on_trial_does_not_keep_the_others_out(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");
    world.sync().await;
    edit_all(&world, "Poisoned");
    // The first contact of every page, which is on trial first.
    let poison = || {
        Fault::on("update")
            .key("1")
            .always()
            .what(What::status(500))
    };
    world
        .intercom
        .fault(Fault::on("update").always().what(What::status(500)));
    let worker = world.worker().await;
    assert!(worker.try_sync().await.is_err());
    world.intercom.clear_faults();
    world.intercom.fault(poison());
    let calls = world.intercom.calls();
    until("the others are written", async || {
        let _ = worker.try_sync().await;
        let stale = |id| {
            let name = world.user(id).name;
            name.is_none_or(|name| !name.ends_with("Poisoned"))
        };
        (2..=30).all(|id| !stale(id))
    })
    .await;
    until("the poison contact is held", async || {
        let _ = worker.try_sync().await;
        !world.held().await.is_empty()
    })
    .await;
    let held = world.only_held(1).await;
    assert_eq!(
        (held.attempts, held.reason.as_str()),
        (4, "last_try: Intercom failed with 500")
    );
    assert!(world.intercom.calls() - calls < 70);
}
