//! Owners: who decides a field, and what that costs.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::sim::{Rewrite, Seed};
use crate::world::{Worker, World, ann};

/// One field `plan` with this owner, one field `job` that Keap owns, and Ann in both accounts.
struct Stage {
    world: World,
    worker: Worker,
    plan: i64,
    id: i64,
}

impl Stage {
    async fn new(pool: PgPool, owner: &str) -> Self {
        let mut world = World::new(pool).await;
        let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
        world.intercom.add_attribute("plan", "string", &[]);
        world.intercom.add_attribute("job", "string", &[]);
        world.file(&mapped(&[
            ("custom:Plan", "attribute:plan", &format!("owner = {owner:?}")),
            ("job_title", "attribute:job", ""),
        ]));
        let id = world.keap.add(ann().custom(plan, "gold"));
        let worker = world.worker().await;
        worker.sync().await;
        world.intercom.clear_ledger();
        Self { world, worker, plan, id }
    }

    fn in_intercom(&self) -> Value {
        self.world.attribute(self.id, "plan")
    }

    fn edit_in_keap(&self, plan: &str) {
        self.world.keap.set_custom(self.id, self.plan, plan);
    }

    /// A person edits the field in Intercom, so many seconds after everything else.
    fn edit_in_intercom(&self, plan: &str, later: i64) {
        self.world.intercom.clock().advance_ms(later * 1000);
        let user = self.world.user(self.id).id;
        self.world.intercom.edit(&user, |contact| {
            contact.custom_attributes.insert("plan".into(), plan.into());
        });
        self.world.intercom.clock().advance_ms(-later * 1000);
    }

    fn change_job(&self, job: &str) {
        self.world.keap.edit(self.id, |person| person.job_title = Some(job.into()));
    }

    /// Syncs, and returns the calls that Intercom got.
    async fn calls(&self) -> usize {
        self.world.intercom.clear_ledger();
        self.worker.sync().await;
        self.world.contact_calls()
    }
}

#[sqlx::test]
async fn keap_decides_its_own_fields_in_one_call(pool: PgPool) {
    let stage = Stage::new(pool, "keap").await;
    assert_eq!(stage.in_intercom(), "gold");
    assert_eq!(stage.calls().await, 0);

    stage.edit_in_keap("silver");
    stage.change_job("Buyer");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("silver")));

    // An edit in Intercom stays until the contact changes in Keap.
    stage.edit_in_intercom("bronze", 0);
    assert_eq!((stage.calls().await, stage.in_intercom()), (0, json!("bronze")));
    stage.change_job("Head");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("silver")));
}

#[sqlx::test]
async fn a_field_of_intercoms_or_of_nobodys_is_never_written(pool: PgPool) {
    let stage = Stage::new(pool, "intercom").await;
    assert_eq!(stage.in_intercom(), Value::Null);
    stage.edit_in_intercom("bronze", 0);
    stage.edit_in_keap("silver");
    assert_eq!(stage.calls().await, 0, "the field is not even read");
    stage.change_job("Buyer");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("bronze")));
    assert!(stage.world.bodies()[0]["custom_attributes"].get("plan").is_none());
}

#[sqlx::test]
async fn a_field_that_is_never_written_is_not_written_at_all(pool: PgPool) {
    let stage = Stage::new(pool, "never").await;
    assert_eq!(stage.in_intercom(), Value::Null);
    stage.edit_in_keap("silver");
    assert_eq!(stage.calls().await, 0);
    stage.change_job("Buyer");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, Value::Null));
}

#[sqlx::test]
async fn the_newest_edit_wins_and_costs_one_read(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    assert_eq!(stage.in_intercom(), "gold");

    // Keap alone has changed.
    stage.edit_in_keap("silver");
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("silver")));

    // Another field has changed: no read, and Intercom's edit stays.
    stage.edit_in_intercom("bronze", 0);
    stage.change_job("Buyer");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("bronze")));

    // Both have changed, and Intercom surely later.
    stage.edit_in_keap("copper");
    stage.edit_in_intercom("iron", 600);
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("iron")));
    let line = stage.world.log_of(stage.id).await.pop().unwrap();
    assert!(line.error_message.unwrap().starts_with("conflict plan: "));

    // That is settled: only another edit in Keap writes again.
    stage.change_job("Head");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("iron")));
    stage.edit_in_keap("tin");
    stage.world.keap.clock().advance_ms(3_600_000);
    stage.world.keap.touch(stage.id);
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("tin")));
}

#[sqlx::test]
async fn at_the_same_time_keap_wins(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_in_keap("silver");
    stage.edit_in_intercom("iron", 60);
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("silver")));
}

#[sqlx::test]
async fn a_field_that_is_only_filled_never_replaces_a_value(pool: PgPool) {
    let stage = Stage::new(pool, "fill").await;
    assert_eq!(stage.in_intercom(), "gold");

    stage.edit_in_keap("silver");
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("gold")));
    stage.edit_in_intercom("", 0);
    stage.change_job("Buyer");
    assert_eq!((stage.calls().await, stage.in_intercom()), (1, json!("")));
    stage.edit_in_keap("copper");
    assert_eq!((stage.calls().await, stage.in_intercom()), (2, json!("copper")));

    // An empty value never travels.
    stage.edit_in_keap("");
    stage.calls().await;
    assert_eq!(stage.in_intercom(), "copper");
}

/// A contact of Intercom with Ann's address and this plan, before Keap has her.
fn known_there(world: &World, plan: &str) -> String {
    let mut seed = Seed::with_email("ann@example.org").name("Ann Lee");
    seed.custom_attributes.insert("plan".into(), plan.into());
    world.intercom.add_user(seed)
}

#[sqlx::test]
async fn the_first_match_follows_the_owner(pool: PgPool) {
    let mut world = World::new(pool).await;
    let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
    for name in ["keap", "intercom", "newest", "fill", "never", "plan"] {
        world.intercom.add_attribute(name, "string", &[]);
    }
    let owners = ["keap", "intercom", "newest", "fill", "never"];
    let fields = owners.map(|owner| (format!("attribute:{owner}"), format!("owner = {owner:?}")));
    let fields: Vec<_> = fields
        .iter()
        .map(|(place, owner)| ("custom:Plan", place.as_str(), owner.as_str()))
        .collect();
    world.file(&mapped(&fields));
    let mut people = Vec::new();
    for (at, (keap, there)) in
        [("gold", "bronze"), ("gold", ""), ("", "bronze")].into_iter().enumerate()
    {
        let email = format!("p{at}@example.org");
        let mut seed = Seed::with_email(&email);
        for owner in owners {
            seed.custom_attributes.insert(owner.into(), there.into());
        }
        world.intercom.add_user(seed);
        let person = crate::sim::Person::named("P", "Lee").email(&email).custom(plan, keap);
        people.push(world.keap.add(person));
    }

    let counts = world.sync().await;

    assert_eq!(counts.linked, 3);
    for (at, expected) in [
        ["gold", "bronze", "gold", "bronze", "bronze"],
        ["gold", "", "gold", "gold", ""],
        // A first match never wipes.
        ["bronze", "bronze", "bronze", "bronze", "bronze"],
    ]
    .into_iter()
    .enumerate()
    {
        let found = owners.map(|owner| world.attribute(people[at], owner));
        assert_eq!(found, expected.map(Value::from), "person {at}");
    }
}

#[sqlx::test]
async fn a_contact_that_was_merged_away_does_not_lend_its_values(pool: PgPool) {
    let stage = Stage::new(pool, "fill").await;
    let Stage { world, id, .. } = &stage;
    let former = world.user(*id).id;
    let survivor = known_there(world, "bronze");
    world.intercom.merge(&former, &survivor);

    stage.edit_in_keap("silver");
    stage.calls().await;

    // The survivor has a plan of its own, and this field only fills.
    assert_eq!(world.user(*id).id, survivor);
    assert_eq!(stage.in_intercom(), "bronze");
}

#[sqlx::test]
async fn many_fields_of_keaps_cost_one_call(pool: PgPool) {
    let mut world = World::new(pool).await;
    let names: Vec<String> = (0..250).map(|at| format!("a{at}")).collect();
    let mut fields = Vec::new();
    let mut person = ann();
    for name in &names {
        let field = world.keap.add_custom_field(name, "TEXT", &[]);
        world.intercom.add_attribute(name, "string", &[]);
        fields.push((format!("custom:{name}"), format!("attribute:{name}")));
        person = person.custom(field, format!("value of {name}"));
    }
    let fields: Vec<_> =
        fields.iter().map(|(one, other)| (one.as_str(), other.as_str(), "")).collect();
    world.file(&mapped(&fields));
    let id = world.keap.add(person);
    let worker = world.worker().await;

    worker.sync().await;
    assert_eq!(world.user(id).custom_attributes.len(), 250);
    for name in &names {
        assert_eq!(world.attribute(id, name), format!("value of {name}"));
    }

    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.contact_calls(), 0);
    world.keap.edit(id, |person| {
        for content in person.details.custom_fields.values_mut() {
            *content = "new".into();
        }
    });
    worker.sync().await;
    assert_eq!((world.contact_calls(), world.attribute(id, "a249")), (1, json!("new")));
}

#[sqlx::test]
async fn a_value_that_intercom_rewrites_does_not_come_back_and_is_written_once(pool: PgPool) {
    let mut world = World::new(pool).await;
    let work = world.keap.add_custom_field("Work", "PHONE_NUMBER", &[]);
    let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
    for name in ["work", "plan", "mail"] {
        world.intercom.add_attribute(name, "string", &[]);
    }
    world.file(&super::tables(&[
        ("email", "email", ""),
        ("phone", "phone", "owner = \"newest\""),
        ("custom:Plan", "attribute:plan", "owner = \"newest\""),
        ("job_title", "attribute:work", ""),
        ("email", "attribute:mail", "name = \"mail\"\nowner = \"newest\""),
    ]));
    world.intercom.knobs(|knobs| {
        knobs.rewrites = vec![Rewrite::Trim, Rewrite::EmailLower, Rewrite::PhoneDigits];
    });
    let person = crate::sim::Person::named("Ann", "Lee")
        .email("Ann@Example.org")
        .phone("(602) 555-0144", None)
        .custom(plan, "gold")
        .custom(work, "1");
    let id = world.keap.add(person);
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.user(id).phone.as_deref(), Some("6025550144"));
    world.intercom.clear_ledger();
    worker.sync().await;
    worker.backfill().await;
    assert_eq!(world.contact_calls(), 0);

    // A visit moves Intercom's stamp. Nobody has edited the phone there, so Keap's edit is no
    // conflict.
    world.intercom.knobs(|knobs| knobs.seen_bumps_updated_at = true);
    world.keap.edit(id, |person| person.phones[0].number = Some("(602) 555-0155".into()));
    world.intercom.clock().advance_ms(3_600_000);
    world.intercom.visit(&world.user(id).id);
    worker.sync().await;
    assert_eq!(world.user(id).phone.as_deref(), Some("6025550155"));
    assert_eq!(world.log_of(id).await.pop().unwrap().error_message, None);
}
