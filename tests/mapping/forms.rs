//! Every form: right, empty, too long and wrong values, unknown options and Unicode.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::sim::{ListForm, NumberForm, Person, YesNoForm};
use crate::world::{World, until};

/// A content in Keap, and what becomes of it in Intercom. Null: it is not written.
type Case = (Value, Value);

/// A pair of types, with the options of each, and its cases.
struct Pair {
    keap: &'static str,
    options: &'static [&'static str],
    intercom: &'static str,
    intercom_options: &'static [&'static str],
    cases: Vec<Case>,
}

impl Pair {
    fn of(keap: &'static str, intercom: &'static str, cases: Vec<Case>) -> Self {
        Self { keap, options: &[], intercom, intercom_options: &[], cases }
    }
}

fn texts() -> Vec<Case> {
    let longest = "\u{1f600}".repeat(255);
    vec![
        (json!("gold"), json!("gold")),
        (json!("  gold \t"), json!("gold")),
        (json!(""), Value::Null),
        (json!(" \u{200b} "), Value::Null),
        (json!(longest), json!(longest)),
        (json!(longest.clone() + "x"), Value::Null),
        (json!("Zoe\u{308} 田中 שלום"), json!("Zo\u{eb} 田中 שלום")),
        (json!("a\nb"), json!("a\nb")),
        (json!(7), json!("7")),
        (json!(true), json!("true")),
        (json!(["one"]), json!("one")),
        (json!(["one", "two"]), Value::Null),
        (json!({ "text": "one" }), Value::Null),
    ]
}

fn numbers() -> Vec<Pair> {
    let whole = |keap, intercom| {
        Pair::of(
            keap,
            intercom,
            vec![
                (json!(7), json!(7)),
                (json!("-012"), json!(-12)),
                (json!("7.00"), json!(7)),
                (json!(""), Value::Null),
                (json!("seven"), Value::Null),
                (json!("7.5"), Value::Null),
                (json!("9999999999999999999"), Value::Null),
                (json!("\u{667}"), Value::Null),
                (json!(true), Value::Null),
                (json!([7, 8]), Value::Null),
            ],
        )
    };
    let decimal = |keap| {
        Pair::of(
            keap,
            "float",
            vec![
                (json!(7.25), json!(7.25)),
                (json!("7"), json!(7.0)),
                (json!("-0.50"), json!(-0.5)),
                (json!("$1,234.50"), json!(1234.5)),
                (json!("12.5%"), json!(12.5)),
                (json!(""), Value::Null),
                (json!("1,5"), Value::Null),
                (json!("NaN"), Value::Null),
                (json!("1e999"), Value::Null),
                (json!("much"), Value::Null),
                (json!({}), Value::Null),
            ],
        )
    };
    vec![
        whole("WHOLE_NUMBER", "integer"),
        whole("YEAR", "integer"),
        decimal("DECIMAL_NUMBER"),
        decimal("CURRENCY"),
        decimal("PERCENT"),
    ]
}

fn dates() -> Vec<Pair> {
    let day = vec![
        (json!("2026-01-31"), json!(1_769_817_600)),
        (json!("1969-07-20"), json!(-14_256_000)),
        (json!("2024-02-29"), json!(1_709_164_800)),
        // The day as it is written, whatever the zone.
        (json!("2026-01-31T23:30:00-08:00"), json!(1_769_817_600)),
        (json!("2026-01-31T00:30:00+09:00"), json!(1_769_817_600)),
        (json!(""), Value::Null),
        (json!("2026-02-30"), Value::Null),
        (json!("0000-00-00"), Value::Null),
        (json!("31/01/2026"), Value::Null),
        (json!("soon"), Value::Null),
    ];
    let time = vec![
        (json!("2026-01-31T23:30:00Z"), json!(1_769_902_200)),
        (json!("2026-01-31T18:30:00-05:00"), json!(1_769_902_200)),
        (json!("2026-02-01T08:30:00.000+0900"), json!(1_769_902_200)),
        (json!("2026-01-31T23:30:00.999Z"), json!(1_769_902_200)),
        (json!("1969-12-31T23:59:59Z"), json!(-1)),
        (json!(""), Value::Null),
        (json!("2026-02-30T00:00:00Z"), Value::Null),
        (json!("noon"), Value::Null),
    ];
    vec![
        Pair::of("DATE", "date", day.clone()),
        Pair::of("DATE", "datetime", day),
        Pair::of("DATE_TIME", "date", time.clone()),
        Pair::of("DATE_TIME", "datetime", time),
    ]
}

fn choices() -> Vec<Pair> {
    let options = &["Gold", "Silver", "Größe 2"];
    let plain = |keap| Pair {
        options,
        ..Pair::of(
            keap,
            "string",
            vec![
                (json!("Gold"), json!("Gold")),
                // Without options in Intercom, every text is taken.
                (json!("Bronze"), json!("Bronze")),
                (json!(""), Value::Null),
            ],
        )
    };
    let listed = |keap| Pair {
        options,
        intercom_options: &["gold", "Größe 2"],
        ..Pair::of(
            keap,
            "string",
            vec![
                (json!("Gold"), json!("gold")),
                (json!("GRÖSSE 2"), Value::Null),
                (json!("größe 2"), json!("Größe 2")),
                (json!("Silver"), Value::Null),
                (json!(""), Value::Null),
                (json!(["Gold", "Silver"]), Value::Null),
            ],
        )
    };
    let kinds = ["DROPDOWN", "RADIO", "MONTH", "DAY_OF_WEEK"];
    kinds.into_iter().flat_map(|kind| [plain(kind), listed(kind)]).collect()
}

/// Every pair of types that has a form.
fn pairs() -> Vec<Pair> {
    let mut pairs: Vec<Pair> = ["TEXT", "TEXT_AREA", "NAME", "WEBSITE", "STATE"]
        .into_iter()
        .map(|kind| Pair::of(kind, "string", texts()))
        .collect();
    pairs.push(Pair::of(
        "EMAIL",
        "string",
        vec![
            (json!(" Ann@Example.org "), json!("Ann@Example.org")),
            (json!("zo\u{eb}@b\u{fc}cher.example"), json!("zo\u{eb}@b\u{fc}cher.example")),
            (json!(""), Value::Null),
            (json!("ask her"), Value::Null),
            (json!("a".repeat(250) + "@b.example"), Value::Null),
        ],
    ));
    pairs.push(Pair::of(
        "PHONE_NUMBER",
        "string",
        vec![
            (json!("\u{202a}+1 602-555-0144\u{202c}"), json!("+1 602-555-0144")),
            (json!("5".repeat(256)), Value::Null),
            (json!(""), Value::Null),
        ],
    ));
    pairs.push(Pair::of(
        "YES_NO",
        "boolean",
        vec![
            (json!(true), json!(true)),
            (json!(0), json!(false)),
            (json!("Yes"), json!(true)),
            (json!("no"), json!(false)),
            (json!(""), Value::Null),
            (json!("perhaps"), Value::Null),
            (json!(2), Value::Null),
        ],
    ));
    pairs.push(Pair::of(
        "LIST_BOX",
        "string",
        vec![
            (json!(["b", "a", "b"]), json!("a, b")),
            (json!("b,a"), json!("a, b")),
            (json!(["茶", "Größe"]), json!("Größe, 茶")),
            (json!([]), Value::Null),
            (json!([null, ""]), Value::Null),
            (json!(["x".repeat(200), "y".repeat(200)]), Value::Null),
            (json!([{ "id": 1 }]), Value::Null),
        ],
    ));
    pairs.into_iter().chain(numbers()).chain(dates()).chain(choices()).collect()
}

/// Adds every pair to both accounts, and a person for each case. Returns what each person must get:
/// the person, the attribute, the value and the case in words.
fn add_all(world: &mut World) -> Vec<(i64, String, Value, String)> {
    let (mut fields, mut expected) = (Vec::new(), Vec::new());
    for (at, pair) in pairs().into_iter().enumerate() {
        let label = format!("{} {at}", pair.keap);
        let field = world.keap.add_custom_field(&label, pair.keap, pair.options);
        let attribute = format!("a{at}");
        world.intercom.add_attribute(&attribute, pair.intercom, pair.intercom_options);
        fields.push((format!("custom:{label}"), format!("attribute:{attribute}")));
        let cases = pair.cases.into_iter().chain([(Value::Null, Value::Null)]);
        for (content, value) in cases {
            let words = format!("{} → {} {content}", pair.keap, pair.intercom);
            let person = Person::named("Ann", "Lee")
                .email(&format!("p{}@example.org", expected.len()))
                .custom(field, content);
            expected.push((world.keap.add(person), attribute.clone(), value, words));
        }
    }
    let fields: Vec<_> =
        fields.iter().map(|(one, other)| (one.as_str(), other.as_str(), "")).collect();
    world.file(&mapped(&fields));
    expected
}

async fn every_value_arrives(pool: PgPool, set: impl FnOnce(&World)) {
    let mut world = World::new(pool).await;
    world.set("INTERCOM__EMAILS_PER_SEARCH", 15);
    let expected = add_all(&mut world);
    set(&world);

    let counts = world.sync().await;

    assert_eq!((counts.failed, counts.held), (0, 0));
    for (id, attribute, value, words) in expected {
        assert_eq!(world.attribute(id, &attribute), value, "{words}");
        // What is not written is left out, and not cleared: this contact is new.
        let attributes = world.user(id).custom_attributes;
        assert_eq!(attributes.len(), usize::from(!value.is_null()), "{words}: {attributes:?}");
    }
    assert!(!world.bodies().iter().any(|body| body.to_string().contains("null")));
}

#[sqlx::test]
async fn every_value_arrives_in_its_form_or_not_at_all(pool: PgPool) {
    every_value_arrives(pool, |_| {}).await;
}

#[sqlx::test]
async fn every_value_arrives_whatever_keap_leaves_out(pool: PgPool) {
    every_value_arrives(pool, |world| {
        world.keap.knobs(|knobs| {
            knobs.omit_nulls = true;
            knobs.model_nulls = false;
            knobs.ids_as_numbers = crate::sim::IdsAsNumbers::Always;
        });
    })
    .await;
}

#[sqlx::test]
async fn one_value_in_another_spelling_of_keaps_is_no_change(pool: PgPool) {
    let mut world = World::new(pool).await;
    let whole = world.keap.add_custom_field("Whole", "WHOLE_NUMBER", &[]);
    let yes = world.keap.add_custom_field("Yes", "YES_NO", &[]);
    let list = world.keap.add_custom_field("List", "LIST_BOX", &[]);
    for (name, kind) in [("whole", "integer"), ("yes", "boolean"), ("list", "string")] {
        world.intercom.add_attribute(name, kind, &[]);
    }
    world.file(&mapped(&[
        ("custom:Whole", "attribute:whole", ""),
        ("custom:Yes", "attribute:yes", ""),
        ("custom:List", "attribute:list", ""),
    ]));
    let ann = crate::world::ann().custom(whole, "7").custom(yes, "Yes").custom(list, "b,a");
    let id = world.keap.add(ann);
    let worker = world.worker().await;
    worker.sync().await;
    let expected = [("whole", json!(7)), ("yes", json!(true)), ("list", json!("a, b"))];
    for (name, value) in &expected {
        assert_eq!(world.attribute(id, name), *value);
    }

    world.intercom.clear_ledger();
    for (numbers, yes_no, lists) in [
        (NumberForm::Number, YesNoForm::Boolean, ListForm::List),
        (NumberForm::Text, YesNoForm::Number, ListForm::Text),
        (NumberForm::Number, YesNoForm::Word, ListForm::List),
    ] {
        world.keap.knobs(|knobs| {
            (knobs.custom_numbers, knobs.custom_yes_no, knobs.custom_lists) =
                (numbers, yes_no, lists);
        });
        assert!(worker.backfill().await.unchanged > 0);
    }
    assert_eq!(world.contact_calls(), 0);
}

#[sqlx::test]
async fn a_text_that_is_too_long_is_held_or_cut_and_comes_to_rest(pool: PgPool) {
    let mut world = World::new(pool).await;
    let field = world.keap.add_custom_field("Story", "TEXT_AREA", &[]);
    for name in ["held", "cut"] {
        world.intercom.add_attribute(name, "string", &[]);
    }
    world.file(&mapped(&[
        ("custom:Story", "attribute:held", ""),
        ("custom:Story", "attribute:cut", "too_long = \"cut\""),
    ]));
    let id = world.keap.add(crate::world::ann().custom(field, "short"));
    let worker = world.worker().await;
    worker.sync().await;

    let long = "Größe ".repeat(100);
    world.keap.set_custom(id, field, long.as_str());
    world.intercom.clear_ledger();
    worker.sync().await;

    assert_eq!(world.contact_calls(), 1);
    assert_eq!(world.attribute(id, "held"), "short");
    let cut: String = long.chars().take(255).collect();
    assert_eq!(world.attribute(id, "cut"), cut.trim());
    let line = world.log_of(id).await.pop().unwrap();
    assert_eq!(line.sync_status, "synced");
    let said = line.error_message.unwrap();
    assert!(said.contains("held") && !said.contains("Gr"), "{said}");

    // It is written once, and an edit behind the cut is none.
    world.intercom.clear_ledger();
    world.keap.set_custom(id, field, long.clone() + "end");
    worker.sync().await;
    worker.backfill().await;
    assert_eq!(world.contact_calls(), 0);
    until("nothing is due", async || world.store().count_due().await.unwrap() == (0, 0)).await;
}
