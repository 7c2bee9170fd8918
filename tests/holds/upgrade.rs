//! Holds and former links of a former release, which keeps them in the queue and in the log.

use chrono::{DateTime, TimeDelta, Utc};
use keap_intercom_sync::contact::{Digest, IntercomId};
use keap_intercom_sync::outcome::{HoldReason, RunFailure};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgPool};

use super::due_and_held;
use crate::world::{World, keap_id};

/// The last migration of the former release.
const FORMER_SCHEMA: i64 = 7;

/// A row of the queue with which the former release holds a contact.
struct FormerHold {
    id: i64,
    text: &'static str,
    candidates: &'static [&'static str],
    attempts: i32,
    sighting: Option<u8>,
}

const fn hold(
    id: i64,
    text: &'static str,
    candidates: &'static [&'static str],
    attempts: i32,
) -> FormerHold {
    FormerHold { id, text, candidates, attempts, sighting: Some(id as u8) }
}

const SEVERAL_USERS: &str = "several_users: more than one Intercom user has this e-mail";
const EXTERNAL_ID_TAKEN: &str =
    "external_id_taken: the Intercom contact found carries another external id";
const ARCHIVED: &str = "archived: the Intercom contact is archived and sync.unarchive is off";
const DELETED_AGAIN: &str = "deleted_again: the Intercom contact vanished twice within an hour";
const CONFLICT: &str =
    "conflict: Intercom names another contact with these details and it cannot be settled";

/// Every reason of the former release once, in its own words.
const FORMER_HOLDS: [FormerHold; 11] = [
    hold(
        11,
        "email_linked_to 7: another Keap contact with this e-mail has the Intercom contact",
        &[],
        1,
    ),
    hold(12, EXTERNAL_ID_TAKEN, &["ic-a"], 1),
    hold(13, SEVERAL_USERS, &["ic-b", "ic-c", "ic-d"], 2),
    hold(14, ARCHIVED, &["ic-e"], 1),
    hold(
        15,
        "not_restorable: the archived Intercom contact was merged, blocked or deleted for good",
        &["ic-f"],
        1,
    ),
    hold(16, DELETED_AGAIN, &[], 1),
    hold(17, CONFLICT, &["ic-g", "ic-h"], 3),
    hold(18, "refused: Intercom refuses the contact (400 parameter_invalid: phone)", &[], 1),
    hold(19, "last_try: Intercom failed with 500", &[], 12),
    hold(
        20,
        "last_try: Keap shows it in a form that is not understood: given_name\nis a list",
        &[],
        12,
    ),
    FormerHold {
        sighting: None,
        ..hold(
            21,
            "refused: Postgres refuses to store this outcome; the log of the daemon says why",
            &[],
            1,
        )
    },
];

/// When the former release held a contact.
fn held_at(id: i64) -> DateTime<Utc> {
    at("2026-03-01T10:00:00.123456Z") + TimeDelta::hours(id)
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

async fn run(pool: &PgPool, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(pool).await.unwrap();
}

/// A database as the former release leaves it.
async fn former_database(pool: PgPool) -> World {
    let migrations = sqlx::migrate!();
    let former = migrations.iter().filter(|migration| migration.version <= FORMER_SCHEMA);
    Migrator::with_migrations(former.cloned().collect()).run(&pool).await.unwrap();
    World::new(pool).await
}

async fn migrate(world: &World) {
    assert!(world.store().migrate().await.unwrap() > 0);
}

/// Holds a contact as the former release does.
async fn put_former_hold(pool: &PgPool, hold: &FormerHold, at: DateTime<Utc>) {
    sqlx::query(
        "insert into contact_due as due (keap_contact_id, reason, priority, due_at, attempts, last_error, held, candidates, sighting, created_at, updated_at)
         values ($1, 'retry', 2, $6, $2, $3, true, $4, $5, $6, $6)
         on conflict (keap_contact_id) do update
            set reason = excluded.reason, priority = excluded.priority, due_at = excluded.due_at, attempts = excluded.attempts,
                last_error = excluded.last_error, held = excluded.held, candidates = excluded.candidates,
                sighting = excluded.sighting, updated_at = excluded.updated_at",
    )
    .bind(hold.id)
    .bind(hold.attempts)
    .bind(hold.text)
    .bind(hold.candidates)
    .bind(hold.sighting.map(|byte| vec![byte; 16]))
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

/// Requests contacts as the former release does.
async fn put_former_requests(pool: &PgPool, ids: &[i64]) {
    sqlx::query(
        "insert into contact_due as due (keap_contact_id, reason, priority)
         select id, 'manual', 0 from unnest($1::bigint[]) as id
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = now(), attempts = 0, held = false,
                last_error = null, candidates = '{}', sighting = null, updated_at = now(),
                reason = case when due.held or excluded.priority <= due.priority then excluded.reason else due.reason end,
                priority = case when due.held then excluded.priority else least(due.priority, excluded.priority) end",
    )
    .bind(ids)
    .execute(pool)
    .await
    .unwrap();
}

/// A row of the log. The original worker wrote no action.
async fn put_log(
    pool: &PgPool,
    keap: &str,
    intercom: Option<&str>,
    action: Option<&str>,
    at: DateTime<Utc>,
) {
    sqlx::query(
        "insert into keap_intercom_sync_logs
                (keap_contact_id, intercom_contact_id, sync_status, sync_direction, synced_at, created_at, updated_at, action)
         values ($1, $2, 'synced', 'keap_to_intercom', $4, $4, $4, $3)",
    )
    .bind(keap)
    .bind(intercom)
    .bind(action)
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

async fn put_link(pool: &PgPool, keap: i64, intercom: &str, at: DateTime<Utc>) {
    sqlx::query(
        "insert into contact_link (keap_contact_id, intercom_contact_id, state, fingerprint, sighting, created_at, updated_at)
         values ($1, $2, 'linked', $3, $3, $4, $4)",
    )
    .bind(keap)
    .bind(intercom)
    .bind(vec![0_u8; 16])
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

/// Reason, candidates, attempts and age of each held contact.
type HeldLine = (i64, String, Vec<String>, i32, DateTime<Utc>);

async fn held_lines(world: &World) -> Vec<HeldLine> {
    let line = |held: keap_intercom_sync::store::Held| {
        (held.keap_contact_id, held.reason, held.candidates, held.attempts, held.since)
    };
    world.held().await.into_iter().map(line).collect()
}

fn line(hold: &FormerHold, since: DateTime<Utc>) -> HeldLine {
    let candidates = hold.candidates.iter().map(|id| (*id).to_owned()).collect();
    // In the words of this release, which may be others.
    let text = HoldReason::read(hold.text).to_string();
    (hold.id, text, candidates, hold.attempts, since)
}

async fn former_owner(world: &World, intercom: &str) -> Option<i64> {
    let id = IntercomId::new(intercom).unwrap();
    world.store().former_owner(&id).await.unwrap().map(keap_intercom_sync::contact::KeapId::get)
}

#[sqlx::test(migrations = false)]
async fn an_upgrade_keeps_every_hold_with_its_reason_and_age(pool: PgPool) {
    let world = former_database(pool.clone()).await;
    for hold in &FORMER_HOLDS {
        put_former_hold(&pool, hold, held_at(hold.id)).await;
    }
    put_former_requests(&pool, &[31]).await;

    migrate(&world).await;

    let expected: Vec<HeldLine> =
        FORMER_HOLDS.iter().map(|hold| line(hold, held_at(hold.id))).collect();
    assert_eq!(held_lines(&world).await, expected);
    assert_eq!(due_and_held(&world).await, (1, 11));
    // A poll takes no held contact up again that looks as before.
    let ids: Vec<_> = FORMER_HOLDS.iter().map(|hold| keap_id(hold.id)).collect();
    let known = world.store().known(&ids).await.unwrap();
    for hold in &FORMER_HOLDS {
        let sighting = hold.sighting.and_then(|byte| Digest::from_bytes(&[byte; 16]));
        assert_eq!(known.holds[&keap_id(hold.id)].sighting, sighting, "{}", hold.id);
        assert!(!known.waiting.contains_key(&keap_id(hold.id)), "{}", hold.id);
    }

    // The start of the new release changes none of it.
    world.worker().await.stop().await;
    assert_eq!(held_lines(&world).await, expected);
    assert_eq!(due_and_held(&world).await, (1, 11));
}

#[sqlx::test(migrations = false)]
async fn an_upgrade_keeps_former_links_and_names_the_brake(pool: PgPool) {
    let world = former_database(pool.clone()).await;
    let [early, late] = ["2026-03-01T10:00:00Z", "2026-04-01T10:00:00Z"].map(at);
    put_log(&pool, "107", Some("ic-twice"), Some("archived"), late).await;
    put_log(&pool, "7", Some("ic-twice"), Some("unlinked"), early).await;
    put_log(&pool, "8", Some("ic-unlinked"), Some("unlinked"), early).await;
    // A later write to it is no removal of its link.
    put_log(&pool, "9", Some("ic-restored"), Some("archived"), early).await;
    put_log(&pool, "9", Some("ic-restored"), Some("linked"), late).await;
    put_link(&pool, 9, "ic-restored", late).await;
    // Rows that say nothing about a link.
    put_log(&pool, "10", Some("ic-original"), None, early).await;
    put_log(&pool, "11", Some("ic-updated"), Some("updated"), early).await;
    put_log(&pool, "12", None, Some("archived"), early).await;
    let no_ids = ["", "0", "-5", "007", "12 ", "abc", "1e3", "99999999999999999999"];
    for (n, text) in no_ids.iter().enumerate() {
        put_log(&pool, text, Some(&format!("ic-no-id-{n}")), Some("archived"), late).await;
    }
    let brake = "brake: Keap answers 404 for 90 of 100 linked contacts";
    let sweep = "insert into sync_run (feed, reason, state, error, finished_at) values ('sweep', 'schedule', 'failed'";
    run(&pool, format!("{sweep}, 'a daemon stopped', '2026-03-01')")).await;
    run(&pool, format!("{sweep}, '{brake}', '2026-04-01')")).await;

    migrate(&world).await;

    for (intercom, owner) in [
        ("ic-twice", Some(107)),
        ("ic-unlinked", Some(8)),
        ("ic-restored", None),
        ("ic-original", None),
        ("ic-updated", None),
    ] {
        assert_eq!(former_owner(&world, intercom).await, owner, "{intercom}");
    }
    for (n, text) in no_ids.iter().enumerate() {
        assert_eq!(former_owner(&world, &format!("ic-no-id-{n}")).await, None, "{text}");
    }
    let failures: Vec<_> = world
        .store()
        .last_runs(10)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|run| run.failure)
        .collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures.contains(&RunFailure::Brake(brake.to_owned())), "{failures:?}");
    assert!(failures.contains(&RunFailure::Other("a daemon stopped".to_owned())), "{failures:?}");
    assert!(world.store().overview().await.unwrap().sweep_braked);
}

/// Every row of holds, due contacts and former links.
async fn state(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["contact_hold", "contact_due", "former_link"] {
        let sql = format!("select '{table} ' || row_to_json(t)::text from {table} t order by 1");
        let of_table: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&world.pool).await.unwrap();
        rows.extend(of_table);
    }
    rows
}

/// What was taken over once is not taken over again.
async fn assert_the_next_lease_changes_nothing(world: &World) {
    let before = state(world).await;
    assert!(!before.is_empty());
    world.worker().await.stop().await;
    assert_eq!(state(world).await, before);
}

/// Holds a contact as this release does.
async fn put_new_hold(pool: &PgPool, id: i64, code: &str, at: DateTime<Utc>) {
    sqlx::query(
        "insert into contact_hold (keap_contact_id, code, attempts, sighting, held_at, updated_at)
         values ($1, $2, 1, $3, $4, $4)",
    )
    .bind(id)
    .bind(code)
    .bind(vec![1_u8; 16])
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = false)]
async fn the_lease_brings_the_holds_that_a_former_release_changed_after_the_migration(
    pool: PgPool,
) {
    let world = former_database(pool.clone()).await;
    let [stays, ends, is_requested, changes] = [
        hold(11, SEVERAL_USERS, &["ic-a", "ic-b"], 1),
        hold(12, EXTERNAL_ID_TAKEN, &["ic-c"], 1),
        hold(13, ARCHIVED, &["ic-d"], 1),
        hold(14, ARCHIVED, &["ic-e"], 1),
    ];
    for hold in [&stays, &ends, &is_requested, &changes] {
        put_former_hold(&pool, hold, held_at(hold.id)).await;
    }
    migrate(&world).await;
    // This release held the lease for a while, and the former one has taken it back.
    put_new_hold(&pool, 15, "several_users", held_at(15)).await;
    put_link(&pool, 15, "ic-15", held_at(16)).await;
    put_link(&pool, 16, "ic-16", held_at(15)).await;
    put_new_hold(&pool, 16, "deleted_again", held_at(16)).await;
    put_new_hold(&pool, 17, "conflict", held_at(17)).await;
    put_new_hold(&pool, 18, "several_users", held_at(18)).await;

    // The former release works beside the new schema.
    run(&pool, "delete from contact_due where keap_contact_id = 12").await;
    put_former_requests(&pool, &[is_requested.id, 18, 19]).await;
    let now_conflict = hold(changes.id, CONFLICT, &["ic-e", "ic-f"], 2);
    let again = hold(17, "last_try: Intercom failed with 500", &[], 12);
    let new = hold(
        20,
        "email_linked_to 7: another Keap contact with this e-mail has the Intercom contact",
        &["ic-g"],
        1,
    );
    for hold in [&now_conflict, &again, &new] {
        put_former_hold(&pool, hold, held_at(100 + hold.id)).await;
    }
    world.worker().await.stop().await;

    let deleted_again = hold(16, DELETED_AGAIN, &[], 1);
    assert_eq!(
        held_lines(&world).await,
        [
            line(&stays, held_at(11)),
            line(&deleted_again, held_at(16)),
            line(&now_conflict, held_at(114)),
            line(&again, held_at(117)),
            line(&new, held_at(120)),
        ]
    );
    assert_eq!(due_and_held(&world).await, (3, 5));
    // Nothing is left in the form of the former release. Contact 18 keeps its hold until the look
    // that was requested.
    let ids = async |sql: &'static str| -> Vec<i64> {
        sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap()
    };
    let held = ids("select keap_contact_id from contact_hold order by 1").await;
    assert_eq!(held, [11, 14, 16, 17, 18, 20]);
    let due = ids("select keap_contact_id from contact_due order by 1").await;
    assert_eq!(due, [13, 18, 19]);

    assert_the_next_lease_changes_nothing(&world).await;
}

#[sqlx::test(migrations = false)]
async fn the_lease_brings_the_links_that_a_former_release_removed_after_the_migration(
    pool: PgPool,
) {
    let world = former_database(pool.clone()).await;
    put_log(&pool, "21", Some("ic-21"), Some("archived"), held_at(21)).await;
    put_log(&pool, "22", Some("ic-22"), Some("archived"), held_at(22)).await;
    migrate(&world).await;

    put_log(&pool, "122", Some("ic-22"), Some("unlinked"), Utc::now()).await;
    put_log(&pool, "23", Some("ic-23"), Some("archived"), Utc::now()).await;
    put_log(&pool, "24", Some("ic-24"), Some("updated"), Utc::now()).await;
    assert_eq!(former_owner(&world, "ic-23").await, None);
    world.worker().await.stop().await;

    for (intercom, owner) in
        [("ic-21", Some(21)), ("ic-22", Some(122)), ("ic-23", Some(23)), ("ic-24", None)]
    {
        assert_eq!(former_owner(&world, intercom).await, owner, "{intercom}");
    }
    assert_the_next_lease_changes_nothing(&world).await;
}
