//! A value that Intercom refuses: the rest of the contact arrives, and the log names what does not.

use sqlx::PgPool;

use crate::sim::{Fault, Person, RefusalForm, What};
use crate::world::{LogLine, World, ann};

/// The writes of one contact.
fn writes_of(world: &World, id: i64) -> usize {
    let id = id.to_string();
    let is_write = |kind| matches!(kind, "create" | "update");
    let ledger = world.intercom.ledger();
    ledger
        .iter()
        .filter(|call| is_write(call.kind) && call.external_id.as_deref() == Some(&*id))
        .count()
}

async fn last_line(world: &World, id: i64) -> LogLine {
    world.log_of(id).await.pop().expect("it is logged")
}

/// The log of a write that left a field out quotes nobody.
async fn assert_left_out(world: &World, id: i64, action: &str, fields: &str) {
    let line = last_line(world, id).await;
    assert_eq!(
        (line.sync_status.as_str(), line.action.as_deref()),
        ("synced", Some(action)),
        "{line:?}"
    );
    let reason = line.error_message.unwrap();
    assert!(reason.starts_with(&format!("field_refused {fields}: ")), "{reason}");
    assert!(!reason.contains('@'), "{reason}");
}

/// Whatever Intercom says, it refuses the address of a new contact and of a known one.
async fn refused_emails(pool: PgPool, form: RefusalForm) {
    let world = World::with_people(pool, 12).await;
    let refused = world.keap.person(5).unwrap().first_email().unwrap().to_owned();
    world.intercom.knobs(|knobs| {
        knobs.refusal_form = form;
        knobs.refuse_emails.extend([refused, "later@example.org".to_owned()]);
    });
    let worker = world.worker().await;

    // A new contact.
    worker.sync().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.intercom.live_users().len(), 12);
    let wanted = world.keap.person(5).unwrap();
    let user = world.user(5);
    assert_eq!(
        (user.email, user.name, user.phone),
        (None, wanted.wanted_name(), wanted.wanted_phone())
    );
    assert_left_out(&world, 5, "created", "email").await;
    assert_eq!(writes_of(&world, 5), 2);

    // A known one, with another change: it keeps the address that Intercom has.
    let known = world.user(7).email;
    world.keap.edit(7, |person| {
        person.emails[0].1 = "later@example.org".into();
        person.given_name = Some("Later".into());
    });
    world.intercom.clear_ledger();
    worker.sync().await;
    assert_eq!((world.user(7).email, world.user(7).name.as_deref()), (known, Some("Later Abel")));
    assert_left_out(&world, 7, "updated", "email").await;
    assert_eq!((writes_of(&world, 7), world.intercom.calls()), (2, 2));

    // Nothing changes: no call and no line.
    let lines = world.log().await.len();
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!((world.intercom.calls(), world.log().await.len()), (0, lines));

    // The address is corrected: one call brings it.
    world.keap.edit(5, |person| person.emails[0].1 = "right@example.org".into());
    worker.sync().await;
    assert_eq!(world.user(5).email.as_deref(), Some("right@example.org"));
    assert_eq!((writes_of(&world, 5), last_line(&world, 5).await.error_message), (1, None));
}

/// Intercom refuses to clear an e-mail.
async fn refused_nulls(pool: PgPool, form: RefusalForm) {
    let world = World::with_people(pool, 12).await;
    world.intercom.knobs(|knobs| (knobs.refusal_form, knobs.refuse_null_email) = (form, true));
    let worker = world.worker().await;
    worker.sync().await;
    let known = world.user(7).email;
    world.keap.edit(7, |person| {
        person.emails.clear();
        person.given_name = Some("Cleared".into());
        person.phones[0].e164 = Some("+16025550199".into());
    });
    world.intercom.clear_ledger();

    worker.sync().await;

    let user = world.user(7);
    assert_eq!(
        (user.email, user.name.as_deref(), user.phone.as_deref()),
        (known, Some("Cleared Abel"), Some("+16025550199"))
    );
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_left_out(&world, 7, "updated", "email").await;
    assert_eq!(world.intercom.calls(), 2);

    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0);
}

/// Each row is a test: what is refused, and in which form.
macro_rules! refused {
    ($($name:ident: $what:ident, $form:ident;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            $what(pool, RefusalForm::$form).await;
        })*
    };
}

refused! {
    // F54
    a_refused_email_keeps_nothing_else_out: refused_emails, Text;
    a_refused_email_that_a_field_names_keeps_nothing_else_out: refused_emails, Field;
    a_refused_email_that_nothing_names_keeps_nothing_else_out: refused_emails, Bare;
    // F58
    where_no_email_can_be_cleared_the_rest_arrives: refused_nulls, Text;
    where_no_email_can_be_cleared_as_a_field_says_the_rest_arrives: refused_nulls, Field;
    where_no_email_can_be_cleared_and_nothing_says_so_the_rest_arrives: refused_nulls, Bare;
}

#[sqlx::test]
async fn a_refused_phone_keeps_nothing_else_out(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.intercom.knobs(|knobs| {
        knobs.refuse_phones.insert("+16025550144".into());
        knobs.refuse_emails.insert("later@example.org".into());
        knobs.refusal_form = RefusalForm::Bare;
    });
    let worker = world.worker().await;

    worker.sync().await;
    let user = world.user(id);
    assert_eq!((user.email.as_deref(), user.phone), (Some("ann@example.org"), None));
    assert_left_out(&world, id, "created", "phone").await;

    // Both values are refused now. Only the refusal of the phone names its field.
    world.keap.edit(id, |person| {
        person.emails[0].1 = "later@example.org".into();
        person.given_name = Some("Anna".into());
    });
    worker.sync().await;
    let user = world.user(id);
    assert_eq!(
        (user.email.as_deref(), user.name.as_deref(), user.phone),
        (Some("ann@example.org"), Some("Anna Lee"), None)
    );
    assert_left_out(&world, id, "updated", "phone, email").await;
}

// F54
#[sqlx::test]
async fn a_contact_that_intercom_refuses_without_its_email_too_is_held(pool: PgPool) {
    let world = World::with_people(pool, 20).await;
    let refusal = r#"{"type":"error.list","errors":[{"code":"parameter_invalid","message":"Canary Canarysson is bad"}]}"#;
    world
        .intercom
        .fault(Fault::on("create").key("5").always().what(What::Status(400, refusal.into())));
    let worker = world.worker().await;

    worker.sync().await;

    let held = world.only_held(5).await;
    assert!(
        held.reason.starts_with("refused: Intercom refuses the contact (400 parameter_invalid"),
        "{}",
        held.reason
    );
    assert!(!held.reason.contains("Canary"));
    assert_eq!(world.intercom.live_users().len(), 19);
    assert_eq!(writes_of(&world, 5), 2, "once with the e-mail and once without");

    worker.backfill().await;
    assert_eq!(writes_of(&world, 5), 2, "a refusal is not repeated");
}

#[sqlx::test]
async fn an_address_that_everybody_writes_and_intercom_refuses_blocks_nobody(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.refuse_emails.insert("none@none.none".into()));
    let ids: Vec<i64> = ["Ada", "Bela", "Cleo"]
        .iter()
        .map(|name| world.keap.add(Person::named(name, "Lee").email("none@none.none")))
        .collect();
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    let names: Vec<_> = ids.iter().map(|id| world.user(*id).name.unwrap()).collect();
    assert_eq!(names, ["Ada Lee", "Bela Lee", "Cleo Lee"]);
}

#[sqlx::test]
async fn an_address_that_search_refuses_keeps_nobody_out(pool: PgPool) {
    let world = World::with_people(pool, 20).await;
    let odd = world.keap.person(5).unwrap().first_email().unwrap().to_owned();
    world.intercom.knobs(|knobs| {
        knobs.unsearchable_emails.insert(odd.clone());
        knobs.refuse_emails.insert(odd);
    });

    world.sync().await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.intercom.live_users().len(), 20);
    assert_eq!(world.user(5).name, world.keap.person(5).unwrap().wanted_name());
}

#[sqlx::test]
async fn while_every_search_is_refused_nobody_is_created(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let refusal = r#"{"type":"error.list","errors":[{"code":"parameter_invalid"}]}"#;
    world.intercom.fault(Fault::on("search").always().what(What::Status(400, refusal.into())));

    world.sync().await;

    assert_eq!((world.intercom.live_users().len(), world.held().await.len()), (0, 5));
}
