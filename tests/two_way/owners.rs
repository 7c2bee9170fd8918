//! Who wins when, by the owner of the field.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::Stage;

// F103
#[sqlx::test]
async fn an_edit_in_intercom_reaches_keap_in_one_write_and_one_read(pool: PgPool) {
    for owner in ["newest", "intercom"] {
        let stage = Stage::new(fresh(&pool).await, owner).await;
        stage.edit_plan_in_intercom("bronze", 1);
        stage.look().await;
        assert_eq!(stage.plan_in_keap(), "bronze", "{owner}");
        assert_eq!(stage.writes(), (1, 0), "{owner}");
        assert_eq!(stage.world.intercom.count("read"), 1, "{owner}");
        assert!(stage.directions().await.contains(&"intercom_to_keap".to_owned()));
        stage.assert_quiet().await;
    }
}

// F103
#[sqlx::test]
async fn an_edit_in_keap_costs_one_call_and_the_owner_gets_its_value_back(pool: PgPool) {
    let stage = Stage::new(pool, "keap").await;
    stage.edit_plan_in_keap("silver");
    stage.look().await;
    assert_eq!((stage.plan_in_intercom(), stage.writes()), (json!("silver"), (0, 1)));
    assert_eq!(stage.world.intercom.count("read"), 0);
    stage.assert_quiet().await;

    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!(
        (stage.plan_in_intercom(), stage.plan_in_keap()),
        (json!("silver"), json!("silver"))
    );
    assert_eq!(stage.world.last_action(stage.id).await, "restored");
    stage.assert_quiet().await;
}

// F103
#[sqlx::test]
async fn intercom_gets_its_value_back_in_keap(pool: PgPool) {
    let stage = Stage::new(pool, "intercom").await;
    assert_eq!(stage.plan_in_intercom(), Value::Null, "an empty owner writes nothing at first");
    assert_eq!(stage.plan_in_keap(), "gold");
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");

    stage.edit_plan_in_keap("silver");
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.plan_in_intercom(), "bronze");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn without_put_back_an_edit_stays_until_the_owner_changes(pool: PgPool) {
    let stage = Stage::with(pool, "keap", |world| {
        world.set("INTERCOM_TO_KEAP__PUT_BACK", "false");
    })
    .await;
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!((stage.plan_in_intercom(), stage.writes()), (json!("bronze"), (0, 0)));
    stage.edit_plan_in_keap("silver");
    stage.look().await;
    assert_eq!(stage.plan_in_intercom(), "silver");
    stage.assert_quiet().await;
}

// F104
#[sqlx::test]
async fn the_later_edit_wins_a_conflict_and_the_log_says_so(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_plan_in_keap("silver");
    stage.edit_plan_in_intercom("bronze", 600);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    let lines = stage.world.log_of(stage.id).await;
    let says = |line: &crate::world::LogLine| {
        line.error_message.as_deref().is_some_and(|text| text.starts_with("conflict plan:"))
    };
    assert!(lines.iter().any(says), "{lines:?}");
    stage.assert_quiet().await;

    stage.edit_plan_in_keap("iron");
    stage.edit_plan_in_intercom("tin", -600);
    stage.look().await;
    assert_eq!((stage.plan_in_keap(), stage.plan_in_intercom()), (json!("iron"), json!("iron")));
    stage.assert_quiet().await;
}

// F103
#[sqlx::test]
async fn two_fields_can_travel_in_two_directions_at_once(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.edit(stage.id, |person| person.job_title = Some("Head".into()));
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.world.attribute(stage.id, "job"), "Head");
    assert_eq!(stage.directions().await, ["intercom_to_keap", "keap_to_intercom"]);
    stage.assert_quiet().await;
}

// F111
#[sqlx::test]
async fn a_clearing_travels_in_both_directions(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_plan_in_intercom("", 1);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), Value::Null);
    stage.world.keap.edit(stage.id, |person| person.job_title = None);
    stage.look().await;
    assert_eq!(stage.world.attribute(stage.id, "job"), Value::Null);
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn fill_fills_what_is_empty_and_touches_nothing_else(pool: PgPool) {
    let stage = Stage::new(pool, "fill").await;
    assert_eq!(stage.plan_in_intercom(), "gold");
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!((stage.plan_in_keap(), stage.writes()), (json!("gold"), (0, 0)));

    let bob =
        stage.world.keap.add(crate::sim::Person::named("Bob", "Ray").email("bob@example.org"));
    stage.settle().await;
    let user = stage.world.user(bob).id;
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("tin"));
    });
    stage.look().await;
    let person = stage.world.keap.person(bob).unwrap();
    assert_eq!(person.details.custom_fields.get(&stage.plan), Some(&json!("tin")));
    stage.assert_quiet().await;
}

// F110
#[sqlx::test]
async fn a_first_match_wipes_nothing_on_either_side(pool: PgPool) {
    for owner in ["keap", "intercom", "newest", "fill", "never"] {
        let stage = Stage::new(fresh(&pool).await, owner).await;
        let full = stage.world.intercom.add_user(
            crate::sim::Seed::with_email("cleo@example.org").name("Cleo Day").phone("+16025550111"),
        );
        stage.world.intercom.edit(&full, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("tin"));
        });
        stage.world.intercom.reindex_now();
        let cleo = crate::sim::Person::named("Cleo", "Day").email("cleo@example.org");
        let cleo = stage.world.keap.add(cleo.with("job_title", "Clerk"));
        stage.settle().await;
        let user = stage.world.user(cleo);
        assert_eq!(user.custom_attributes.get("plan"), Some(&json!("tin")), "{owner}");
        assert_eq!(user.phone.as_deref(), Some("+16025550111"), "{owner}");
        let person = stage.world.keap.person(cleo).unwrap();
        assert_eq!(person.job_title.as_deref(), Some("Clerk"), "{owner}");
        let plan = person.details.custom_fields.get(&stage.plan);
        let travels = ["intercom", "newest", "fill"].contains(&owner);
        assert_eq!(plan.is_some(), travels, "{owner}");
        stage.assert_quiet().await;
    }
}

/// The same database, empty again.
pub(super) async fn fresh(pool: &PgPool) -> PgPool {
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public'
            and tablename not in ('_sqlx_migrations', 'sync_digest_key', 'sync_lease')",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let sql = format!("truncate {}", tables.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    sqlx::query("delete from sync_lease").execute(pool).await.unwrap();
    pool.clone()
}
