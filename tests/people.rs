//! What people's data looks like: invisible characters, slots in any order, forms that drift.

use sqlx::PgPool;

use crate::sim::{IntercomKnobs, Person, Phone, Seed, TimeForm};
use crate::world::{World, ann};

/// Characters that nobody sees. Copies from web pages, letters and spreadsheets hold them.
const INVISIBLE: [char; 12] = [
    '\u{200b}', '\u{ad}', '\u{feff}', '\u{200e}', '\u{202a}', '\u{2060}', '\u{200d}', '\u{61c}',
    '\u{2069}', '\u{180e}', '\u{34f}', '\u{3164}',
];

#[sqlx::test]
async fn invisible_characters_make_no_doubles(pool: PgPool) {
    let world = World::new(pool).await;
    let partners: Vec<String> = (0..INVISIBLE.len())
        .map(|n| world.intercom.add_user(Seed::with_email(&format!("ann{n}@example.org"))))
        .collect();
    let ids: Vec<i64> = INVISIBLE
        .iter()
        .enumerate()
        .map(|(n, c)| {
            let email = format!("{c}an{c}n{n}@exam{c}ple.org{c}");
            let person = Person::named(&format!("{c}Ann{c}"), &format!("{c} Lee{c}"));
            world.keap.add(person.email(&email).phone(&format!("{c}555-300{c}1{c}"), None))
        })
        .collect();
    let worker = world.worker().await;

    let counts = worker.sync().await;

    assert_eq!((counts.linked, counts.created), (12, 0), "{counts:?}");
    for (n, (id, partner)) in ids.iter().zip(partners).enumerate() {
        let user = world.user(*id);
        let shown = (user.email.as_deref(), user.name.as_deref(), user.phone.as_deref());
        assert_eq!(
            shown,
            (Some(&*format!("ann{n}@example.org")), Some("Ann Lee"), Some("555-3001"))
        );
        assert_eq!(user.id, partner);
    }

    // A copy with other invisible characters is no change.
    for id in &ids {
        world.keap.edit(*id, |person| {
            person.emails[0].1.insert(3, '\u{200b}');
            person.given_name = Some("Ann\u{2063}".into());
        });
    }
    world.intercom.clear_ledger();
    worker.sync().await;
    assert_eq!(world.intercom.calls(), 0);
}

#[sqlx::test]
async fn an_address_of_invisible_characters_is_no_address(pool: PgPool) {
    let world = World::new(pool).await;
    let nobody = world.keap.add(Person::named("Ann", "Lee").email("\u{200b}\u{feff}"));
    let other =
        world.keap.add(Person::named("Bob", "Lee").email("\u{200b}").email("b@example.org"));

    world.sync().await;

    assert_eq!(world.user(other).email.as_deref(), Some("b@example.org"));
    assert_eq!(world.last_action(nobody).await, "skipped");
    assert!(world.intercom.by_external_id(&nobody.to_string()).is_empty());
}

#[sqlx::test]
async fn names_keep_what_their_script_needs(pool: PgPool) {
    let world = World::new(pool).await;
    let names = [
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}",
        "Ann \u{2764}\u{fe0f}",
        "\u{845b}\u{e0100}\u{57ce}",
    ];
    let person = |name: &str, n: usize| {
        let given_name = Some(name.to_owned());
        Person { given_name, ..Person::default() }.email(&format!("{n}@example.org"))
    };
    let ids: Vec<i64> =
        names.iter().enumerate().map(|(n, name)| world.keap.add(person(name, n))).collect();

    world.sync().await;

    for (id, name) in ids.iter().zip(names) {
        assert_eq!(world.user(*id).name.as_deref(), Some(name));
    }
}

/// Somebody with a value in each of several slots.
fn with_slots() -> Person {
    let phone = |slot: &str, number: &str| Phone {
        slot: slot.to_owned(),
        number: Some(number.to_owned()),
        e164: None,
    };
    Person {
        phones: vec![phone("PHONE1", "555-3001"), phone("PHONE2", "555-3002")],
        ..ann().email("second@example.org").email("third@example.org")
    }
}

#[sqlx::test]
async fn the_slot_decides_and_a_new_order_costs_no_write(pool: PgPool) {
    let world = World::new(pool).await;
    world.keap.knobs(|knobs| knobs.reverse_lists = true);
    let id = world.keap.add(with_slots());
    let worker = world.worker().await;

    worker.sync().await;
    let user = world.user(id);
    assert_eq!(
        (user.email.as_deref(), user.phone.as_deref()),
        (Some("ann@example.org"), Some("555-3001"))
    );

    world.keap.knobs(|knobs| knobs.reverse_lists = false);
    world.keap.touch(id);
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0);

    // Without EMAIL1 and PHONE1 the next slot counts, wherever it stands in the list.
    for reversed in [true, false] {
        world.keap.knobs(|knobs| knobs.reverse_lists = reversed);
        world.keap.edit(id, |person| {
            person.emails.retain(|(slot, _)| slot != "EMAIL1");
            person.phones.retain(|phone| phone.slot != "PHONE1");
        });
        worker.sync().await;
    }
    let user = world.user(id);
    assert_eq!(
        (user.email.as_deref(), user.phone.as_deref()),
        (Some("second@example.org"), Some("555-3002"))
    );
    assert_eq!(world.intercom.count("update"), 1);
}

#[sqlx::test]
async fn an_unusable_first_slot_hides_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let mut person = with_slots();
    person.emails[0].1 = "ask her".into();
    person.phones[0].number = Some("ask her".into());
    let id = world.keap.add(person);
    let worker = world.worker().await;

    worker.sync().await;
    let user = world.user(id);
    assert_eq!(
        (user.email.as_deref(), user.phone.as_deref()),
        (Some("second@example.org"), Some("555-3002"))
    );

    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    worker.sync().await;
    let line = world.log_of(id).await.pop().unwrap();
    assert_eq!((line.action.as_deref(), line.error_message), (Some("updated"), None));
}

// F25
#[sqlx::test]
async fn a_form_of_keap_that_is_not_understood_clears_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    let garbled = serde_json::json!({
        "id": id, "given_name": "Anna", "family_name": "Lee", "update_time": {},
        "email_addresses": { "EMAIL1": "ann@example.org" }, "phone_numbers": [[], 7],
    });
    world.keap.knobs(|knobs| knobs.malformed.insert(id, garbled));

    worker.request(&[id]).await;

    let user = world.user(id);
    assert_eq!(
        (user.email.as_deref(), user.name.as_deref(), user.phone.as_deref()),
        (Some("ann@example.org"), Some("Anna Lee"), Some("+16025550144"))
    );
    assert!(world.held().await.is_empty());
}

/// People whom Intercom knows as a user, as leads, or not at all. Their contacts come in this form.
async fn intercom_shows(pool: PgPool, form: impl FnOnce(&mut IntercomKnobs)) {
    let world = World::with_people(pool, 30).await;
    let email = |id| world.keap.person(id).unwrap().first_email().unwrap().to_owned();
    let user = world.intercom.add_user(Seed::with_email(&email(3)));
    world.intercom.add_lead(Seed::with_email(&email(4)));
    world.intercom.clock().advance_ms(60_000);
    let newest = world.intercom.add_lead(Seed::with_email(&email(4)));
    world.intercom.knobs(form);
    let worker = world.worker().await;

    worker.sync().await;

    world.assert_agrees();
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!((world.user(3).id, world.user(4).id), (user, newest));

    // A contact that is read by its id comes in the same form: its conflict names it.
    let fresh = Seed { fresh: true, ..Seed::with_email("ann@example.org") };
    let fresh = world.intercom.add_user(fresh);
    let ann = world.keap.add(ann());
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.user(ann).id, fresh);
    world.assert_agrees();
}

/// Each row is a test: a form, as a switch of the stand-in.
macro_rules! intercom_shows {
    ($($name:ident: $form:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            intercom_shows(pool, $form).await;
        })*
    };
}

intercom_shows! {
    intercom_shows_times_as_numbers: |_| {};
    intercom_shows_times_as_texts: |knobs| knobs.time_form = TimeForm::Text;
    intercom_shows_times_with_a_fraction: |knobs| knobs.time_form = TimeForm::Float;
    intercom_shows_times_in_milliseconds: |knobs| knobs.time_form = TimeForm::Millis;
    intercom_shows_times_as_its_webhooks_do: |knobs| knobs.time_form = TimeForm::Iso;
    intercom_shows_a_null_among_contacts: |knobs| knobs.null_in_data = true;
}
