//! Each trouble is told once, and once when it is over, whatever restarts or fails meanwhile.

use std::time::Duration;

use keap_intercom_sync::app;
use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::report::{PartStates, Status};
use keap_intercom_sync::store::Alarm;
use serde_json::json;
use sqlx::PgPool;
use wiremock::ResponseTemplate;

use super::{Hook, telling};
use crate::http::{self, get, post, started};
use crate::sim::Seed;
use crate::world::{World, until};

/// Several looks of a daemon that tells at once.
const LOOKS: Duration = Duration::from_millis(1500);

async fn world(pool: PgPool) -> (World, Hook) {
    let hook = Hook::start(200).await;
    let mut world = http::world(pool).await;
    telling(&mut world).set("NOTIFY__JSON_URL", hook.url());
    (world, hook)
}

async fn until_told(hook: &Hook, expected: &[&str]) {
    let codes: Vec<&str> = expected.iter().filter_map(|one| one.split(' ').nth(1)).collect();
    until(&format!("{expected:?} is told"), async || hook.told_of(&codes).await == expected).await;
}

/// The same in any order. `sorted`: all that is told by then.
async fn until_told_of<const N: usize>(hook: &Hook, sorted: [&str; N]) {
    until(&format!("{sorted:?} are told"), async || {
        let mut told = hook.told_of(&["held", "plan", "run:sweep"]).await;
        told.sort();
        told == sorted
    })
    .await;
}

#[sqlx::test]
async fn a_refused_credential_is_told_once_and_its_end_after_a_restart(pool: PgPool) {
    let (mut world, hook) = world(pool).await;
    // A new process needs a moment to see what is wrong.
    world.set("NOTIFY__AFTER_SECONDS", 3);
    let daemon = started(&world).await;
    let right = world.keap.token();
    world.keap.set_token("canary-another");
    let poll = json!({ "feed": "changed" });
    post(&daemon, "/sync/run", &poll).await;

    until_told(&hook, &["begun refused:keap"]).await;
    let (body, trouble) = hook.message("begun", "refused:keap").await;
    assert_eq!(body["link"], "https://sync.example.com/ui");
    assert_eq!((&trouble["until"], &trouble["stops"]), (&json!(null), &json!(true)));
    assert_eq!(trouble["what"], "Keap refuses this program");
    assert!(trouble["todo"].as_str().unwrap().contains("KEAP_API_KEY"), "{trouble}");

    daemon.stop().await.1.unwrap();
    let daemon = world.daemon().await;
    until("it is up", async || get(&daemon, "/health").await.status == 200).await;
    post(&daemon, "/sync/run", &poll).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let told = hook.told_of(&["refused:keap"]).await;
    assert_eq!(told, ["begun refused:keap"], "a restart tells nothing twice");

    daemon.stop().await.1.unwrap();
    world.keap.set_token(&right);
    let daemon = world.daemon().await;
    until_told(&hook, &["begun refused:keap", "over refused:keap"]).await;
    let (body, trouble) = hook.message("over", "refused:keap").await;
    assert_ne!(trouble["until"], json!(null));
    assert!(body["title"].as_str().unwrap().starts_with("[production] "), "{body}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_pause_is_told_when_it_lasts_too_long_and_without_the_name(pool: PgPool) {
    let (mut world, hook) = world(pool).await;
    world.set("NOTIFY__PAUSED_AFTER_SECONDS", 2);
    let daemon = started(&world).await;

    post(&daemon, "/sync/pause", &json!({ "by": "Canary Lee" })).await;
    until_told(&hook, &["begun paused:all"]).await;
    post(&daemon, "/sync/resume", &json!({})).await;
    until_told(&hook, &["begun paused:all", "over paused:all"]).await;

    let bodies = hook.bodies().await;
    let (_, trouble) = hook.message("begun", "paused:all").await;
    let what = trouble["what"].as_str().unwrap();
    assert!(what.starts_with("everything is paused since 2"), "{what}");
    assert!(bodies.iter().all(|body| !body.to_string().contains("Canary")), "{bodies:?}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn what_cannot_be_delivered_is_shown_and_tried_again(pool: PgPool) {
    let (world, hook) = world(pool).await;
    hook.answer(ResponseTemplate::new(503)).await;
    let daemon = started(&world).await;
    world.keap.set_token("canary-another");
    post(&daemon, "/sync/run", &json!({ "feed": "changed" })).await;
    let waiting = async || world.store().failing_targets().await.unwrap();
    until("the failure is stored", async || !waiting().await.is_empty()).await;

    let limit = Duration::from_secs(900);
    let status = Status::take(
        &world.store(),
        PartStates::default(),
        limit,
        app::second_direction(&world.settings()),
    )
    .await
    .unwrap();
    let trouble = status.troubles().into_iter().find(|one| one.code == "unreachable:json").unwrap();
    let what = "cannot be delivered to json, after 1 attempt: answered 503";
    assert!(trouble.what.ends_with(what), "{}", trouble.what);
    let metrics = String::from_utf8(get(&daemon, "/metrics").await.body.to_vec()).unwrap();
    let failed = "keap_intercom_sync_alarms_total{target=\"json\",class=\"failed\"} ";
    let failed = metrics.lines().find_map(|line| line.strip_prefix(failed)).unwrap();
    assert_ne!(failed, "0");
    let tries = hook.bodies().await.len();
    tokio::time::sleep(LOOKS).await;
    assert_eq!(hook.bodies().await.len(), tries, "it is left alone for a while");

    hook.answer(ResponseTemplate::new(200)).await;
    sqlx::query("update alarm_target set next_at = now()").execute(&world.pool).await.unwrap();
    until_told(&hook, &["begun refused:keap"]).await;
    until("nothing waits", async || waiting().await.is_empty()).await;
    daemon.stop().await.1.unwrap();
}

fn alarm(code: &str) -> Alarm {
    Alarm { code: code.into(), what: code.into(), todo: "nothing".into(), stops: false }
}

/// What waits for a target: the code, and whether it is over.
async fn waiting(world: &World, target: &str) -> Vec<(String, bool)> {
    let messages = world.store().alarm_messages(target).await.unwrap();
    messages.into_iter().map(|one| (one.code, one.over_at.is_some())).collect()
}

#[sqlx::test]
async fn a_blip_is_no_alarm_and_a_short_silence_is_no_end(pool: PgPool) {
    let world = World::new(pool).await;
    world.sync().await;
    let worker = world.worker().await;
    let fence = worker.held_lease().fence().unwrap();
    let minute = Duration::from_secs(60);
    let note = async |now: &[Alarm], targets: &[&str]| {
        world.store().note_alarms(&fence, now, minute, targets).await.unwrap();
    };
    let older = async |seconds: f64| {
        let sql = "update alarm set since = since - make_interval(secs => $1), gone_at = gone_at - make_interval(secs => $1)";
        sqlx::query(sql).bind(seconds).execute(&world.pool).await.unwrap();
    };
    let begun = vec![("a".to_owned(), false)];

    // A blip.
    note(&[alarm("a")], &["json"]).await;
    older(50.0).await;
    note(&[], &["json"]).await;
    older(100.0).await;
    note(&[], &["json"]).await;
    assert_eq!(waiting(&world, "json").await, []);

    // It lasts.
    note(&[alarm("a")], &["json"]).await;
    older(61.0).await;
    note(&[alarm("a")], &["json"]).await;
    note(&[alarm("a")], &["json"]).await;
    assert_eq!(waiting(&world, "json").await, begun);
    let told = world.store().alarm_messages("json").await.unwrap();
    world.store().alarms_delivered(&fence, "json", &told).await.unwrap();

    // Another target hears of it later, and the first one does not once more.
    note(&[alarm("a")], &["json", "slack"]).await;
    assert_eq!((waiting(&world, "json").await, waiting(&world, "slack").await), (vec![], begun));

    // It is gone for a moment, and comes back.
    note(&[], &["json", "slack"]).await;
    older(50.0).await;
    note(&[alarm("a")], &["json", "slack"]).await;
    assert_eq!(waiting(&world, "json").await, []);

    // It is over. The end takes the place of the beginning where nobody has heard of that.
    note(&[], &["json", "slack"]).await;
    older(61.0).await;
    note(&[], &["json", "slack"]).await;
    let over = vec![("a".to_owned(), true)];
    assert_eq!(
        (waiting(&world, "json").await, waiting(&world, "slack").await),
        (over.clone(), over)
    );
    let left: i64 =
        sqlx::query_scalar("select count(*) from alarm").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0);

    // A message that has changed while the former one was sent is sent, too.
    let former = world.store().alarm_messages("json").await.unwrap();
    note(&[alarm("a")], &["json"]).await;
    older(61.0).await;
    note(&[alarm("a")], &["json"]).await;
    world.store().alarms_delivered(&fence, "json", &former).await.unwrap();
    assert_eq!(waiting(&world, "json").await, [("a".to_owned(), false)]);
    assert_eq!(waiting(&world, "slack").await, [], "it is no target any more");
}

#[sqlx::test]
async fn pauses_between_attempts_grow(pool: PgPool) {
    let world = World::new(pool).await;
    world.sync().await;
    let worker = world.worker().await;
    let fence = worker.held_lease().fence().unwrap();
    let mut pauses = Vec::new();
    for attempt in 0..12 {
        let wait = (attempt == 1).then(|| Duration::from_secs(100));
        world.store().alarms_undelivered(&fence, "json", "answered 503", wait).await.unwrap();
        let sql = "select round(extract(epoch from next_at - now()))::float8 from alarm_target";
        let pause: f64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        pauses.push((pause / 5.0).round() as i64 * 5);
    }
    assert_eq!(pauses, [15, 100, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]);
    let [failing] = <[_; 1]>::try_from(world.store().failing_targets().await.unwrap()).unwrap();
    assert_eq!((failing.target.as_str(), failing.failures), ("json", 12));

    // Nobody else may store anything.
    worker.lease.send_replace(None);
    let other = world.store().take_lease("other", Duration::from_secs(60), None).await.unwrap();
    assert!(other.is_none(), "the lease is still held in Postgres");
    sqlx::query("update sync_lease set epoch = epoch + 1").execute(&world.pool).await.unwrap();
    assert!(
        world.store().note_alarms(&fence, &[alarm("a")], Duration::ZERO, &["json"]).await.is_err()
    );
    assert!(world.store().alarms_delivered(&fence, "json", &[]).await.is_err());
}

#[sqlx::test]
async fn a_braked_sweep_and_its_plan_are_told_and_held_contacts_above_a_number(pool: PgPool) {
    let (mut world, hook) = world(pool).await;
    // Before the first poll, the daemon is not ready.
    world
        .set("NOTIFY__AFTER_SECONDS", 2)
        .set("NOTIFY__HELD_ABOVE", 1)
        .set("SWEEP__BRAKE_CONTACTS", 0)
        .set("POLL__FIRST_RUN", "everything");
    let people = world.keap.add_many(6, crate::process::canary);
    for id in &people[..2] {
        let email = world.keap.person(*id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
    }
    let daemon = started(&world).await;
    until_told(&hook, &["begun held"]).await;
    assert_eq!(hook.message("begun", "held").await.1["what"], "2 contacts need a person");

    world.keap.delete(people[5]);
    post(&daemon, "/sync/run", &json!({ "feed": "sweep" })).await;
    // The brake leaves a plan.
    until_told_of(&hook, ["begun held", "begun plan", "begun run:sweep"]).await;
    // Other runs push it out of the last five.
    let store = world.store();
    for _ in 0..6 {
        let run = store.request_run(Feed::Changed, RunReason::Manual, None).await.unwrap();
        post(&daemon, "/sync/run", &json!({ "feed": "changed" })).await;
        until("the poll has ended", async || store.run(run).await.unwrap().unwrap().has_ended())
            .await;
    }
    tokio::time::sleep(3 * LOOKS).await;
    assert_eq!(hook.told_of(&["held", "plan", "run:sweep"]).await.len(), 3);

    store.request_run(Feed::Sweep, RunReason::Forced, None).await.unwrap();
    post(&daemon, "/sync/run", &json!({ "feed": "changed" })).await;
    let all = ["begun held", "begun plan", "begun run:sweep", "over plan", "over run:sweep"];
    until_told_of(&hook, all).await;
    daemon.stop().await.1.unwrap();
}
