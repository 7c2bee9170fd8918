//! Values that Keap does not take: they keep nothing else out, and the log says what happened.

use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::sim::{Fault, Person, What};

impl Stage {
    /// Whether a row of the log says this.
    async fn says(&self, text: &str) -> bool {
        let lines = self.world.log_of(self.id).await;
        lines.iter().any(|line| line.error_message.as_deref().is_some_and(|it| it.contains(text)))
    }

    fn job_in_keap(&self) -> Option<String> {
        self.world.keap.person(self.id).unwrap().job_title
    }
}

// F112
#[sqlx::test]
async fn a_value_that_keap_refuses_keeps_nothing_else_out(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let refusal = What::Status(400, "{}".into());
    stage.world.keap.fault(Fault::on("write").containing("Head").always().what(refusal));
    stage.edit_in_intercom(1, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("bronze"));
        contact.custom_attributes.insert("job".into(), json!("Head"));
    });
    stage.look().await;
    assert_eq!(
        (stage.plan_in_keap(), stage.job_in_keap()),
        (json!("bronze"), Some("Buyer".into()))
    );
    assert!(stage.says("field_refused job: Keap does not take this value").await);
    assert_eq!(stage.writes(), (3, 0), "both, and each alone");
    stage.assert_quiet().await;
}

// F112
#[sqlx::test]
async fn a_value_that_is_too_long_for_keap_is_not_even_sent(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_in_intercom(1, |contact| {
        contact.custom_attributes.insert("job".into(), json!("x".repeat(256)));
    });
    stage.look().await;
    assert_eq!((stage.job_in_keap(), stage.writes()), (Some("Buyer".into()), (0, 0)));
    assert!(stage.says("field_refused job: Keap does not take this value").await);
    stage.assert_quiet().await;
}

// F112
#[sqlx::test]
async fn the_address_of_another_contact_in_keap_is_not_taken(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| world.file("")).await;
    let bob = stage.world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));
    stage.settle().await;
    stage.clear();
    stage.edit_in_intercom(1, |contact| contact.email = Some("bob@example.org".into()));
    stage.look().await;
    let held = stage.world.only_held(stage.id).await;
    assert!(held.reason.starts_with(&format!("email_in_keap {bob}:")), "{held:?}");
    assert_eq!(stage.writes(), (0, 0));

    stage.world.keap.edit(bob, |person| person.emails[0].1 = "ray@example.org".into());
    stage.settle().await;
    let person = stage.world.keap.person(stage.id).unwrap();
    assert_eq!(person.first_email(), Some("bob@example.org"));
    assert!(stage.world.held().await.is_empty());
    stage.assert_quiet().await;
}

// F42
#[sqlx::test]
async fn a_key_that_may_not_write_costs_no_attempt_and_loses_nothing(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let refusal = What::Status(403, "{}".into());
    stage.world.keap.fault(Fault::on("write").times(2).what(refusal));
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert!(stage.says("Keap does not allow this key to write contacts (403)").await);
    assert_eq!(stage.writes(), (3, 0));
    stage.assert_quiet().await;
}

// F112
#[sqlx::test]
async fn a_held_contact_is_not_looked_at_again_by_every_poll(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| world.file("")).await;
    stage.world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));
    stage.settle().await;
    stage.edit_in_intercom(1, |contact| contact.email = Some("bob@example.org".into()));
    stage.look().await;
    stage.world.only_held(stage.id).await;
    stage.clear();
    stage.settle().await;
    assert_eq!(stage.world.intercom.count("read"), 0);
    assert_eq!(stage.writes(), (0, 0));

    // What is new is looked at: the agent gives up.
    stage.edit_in_intercom(2, |contact| contact.email = Some("ann@example.org".into()));
    stage.look().await;
    assert!(stage.world.held().await.is_empty());
    stage.assert_quiet().await;
}
