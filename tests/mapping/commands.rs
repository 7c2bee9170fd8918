//! What the commands show of the fields.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{mapped, tables};
use crate::process::{Process, command, world as canary_world};
use crate::sim::{Fault, Person, What};
use crate::world::{World, ann, until};

/// Two accounts with fields of every kind.
async fn furnished(pool: PgPool) -> (World, i64, i64) {
    let mut world = World::new(pool).await;
    world.set("RUST_LOG", "warn");
    let plan = world.keap.add_custom_field("Plan", "DROPDOWN", &["Gold", "Silver"]);
    let score = world.keap.add_custom_field("Lead score", "WHOLE_NUMBER", &[]);
    world.keap.add_custom_field("SSN", "SOCIAL_SECURITY_NUMBER", &[]);
    world.intercom.add_attribute("plan", "string", &["Gold"]);
    world.intercom.add_attribute("job_title", "string", &[]);
    world.intercom.add_attribute("old", "string", &[]);
    world.intercom.archive_attribute("old");
    world.intercom.add_attribute("locked", "string", &[]);
    world.intercom.edit_attribute("locked", |attribute| attribute.api_writable = false);
    (world, plan, score)
}

/// The lines of `check` about fields and consent.
async fn field_lines(world: &World, code: i32) -> Vec<String> {
    let ended = command(world, &["check"]).await.expect(code);
    let is_about_fields = |line: &&str| line.contains(" field ") || line.contains(" consent ");
    let lines = ended.stdout.lines().filter(is_about_fields);
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[sqlx::test]
async fn fields_shows_both_accounts_beside_each_other(pool: PgPool) {
    let (world, ..) = furnished(pool).await;

    let text = command(&world, &["fields"]).await.expect(0).stdout;
    for line in [
        "address.<kind>.<part>",
        "custom:Plan",
        "DROPDOWN",
        "SOCIAL_SECURITY_NUMBER, never synced",
        "attribute:plan",
        "string, 1 options",
        "string, not writable",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("attribute:old"), "{text}");

    let json = command(&world, &["fields", "--json"]).await.expect(0).json();
    let has = |side: &str, place: &str| {
        json[side].as_array().unwrap().iter().any(|one| one["place"] == place)
    };
    assert!(has("keap", "custom:Lead score") && has("intercom", "attribute:job_title"));
    assert_eq!(world.writes() + world.intercom.count("create_attribute"), 0);
}

#[sqlx::test]
async fn the_first_mapping_that_fields_prints_can_be_used(pool: PgPool) {
    let (mut world, plan, _) = furnished(pool).await;
    world.keap.add_custom_field("Quote \"me\" \\ twice", "TEXT", &[]);
    let toml = command(&world, &["fields", "--toml"]).await.expect(0).stdout;
    assert!(toml.contains("custom:Plan") && toml.contains("#create_attribute = true"), "{toml}");
    assert!(!toml.contains("SSN"), "{toml}");

    world.file(&toml);
    let lines = field_lines(&world, 0).await;
    assert!(lines.iter().all(|line| line.starts_with('✓')), "{lines:?}");
    let mut person = ann().custom(plan, "Gold");
    person.job_title = Some("Buyer".into());
    let id = world.keap.add(person);
    world.sync().await;
    assert_eq!(
        (world.attribute(id, "plan"), world.attribute(id, "job_title")),
        (json!("Gold"), json!("Buyer"))
    );

    // The commented fields work too, once their attributes are made.
    let all: String = toml
        .lines()
        .map(|line| {
            format!(
                "{}\n",
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            )
        })
        .collect();
    world.file(&all);
    command(&world, &["fields", "create", "--yes"]).await.expect(0);
    let lines = field_lines(&world, 0).await;
    assert!(lines.iter().any(|line| line.contains("lead_score")), "{lines:?}");
}

#[sqlx::test]
async fn missing_attributes_are_made_with_the_type_that_fits(pool: PgPool) {
    let (mut world, ..) = furnished(pool).await;
    let kinds = [
        ("Text", "TEXT", "string"),
        ("Whole", "WHOLE_NUMBER", "integer"),
        ("Money", "CURRENCY", "float"),
        ("Yes", "YES_NO", "boolean"),
        ("Day", "DATE", "date"),
        ("Time", "DATE_TIME", "datetime"),
        ("List", "LIST_BOX", "string"),
    ];
    let fields: Vec<(String, String)> = kinds
        .iter()
        .map(|(label, kind, _)| {
            world.keap.add_custom_field(label, kind, &[]);
            (format!("custom:{label}"), format!("attribute:new_{}", label.to_lowercase()))
        })
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(keap, intercom)| (keap.as_str(), intercom.as_str(), "create_attribute = true"))
        .chain([("custom:Plan", "attribute:not_asked", "")])
        .collect();
    world.file(&mapped(&fields));

    // Nobody can be asked here.
    let asked = command(&world, &["fields", "create"]).await;
    assert_ne!(asked.code(), Some(0));
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(world.intercom.count("create_attribute"), 0);

    command(&world, &["fields", "create", "--yes"]).await.expect(0);
    for (label, _, kind) in kinds {
        let made = world.intercom.attribute(&format!("new_{}", label.to_lowercase()));
        assert_eq!(made.unwrap().data_type, kind, "{label}");
    }
    assert!(world.intercom.attribute("not_asked").is_none());

    let again = command(&world, &["fields", "create", "--yes"]).await.expect(0).stdout;
    assert!(again.contains("no attribute is missing"), "{again}");
    assert_eq!(world.intercom.count("create_attribute"), kinds.len());
}

#[sqlx::test]
async fn missing_custom_fields_are_made_in_keap_with_the_type_that_fits(pool: PgPool) {
    let (mut world, ..) = furnished(pool).await;
    let kinds = [
        ("Nickname", "string", "TEXT"),
        ("Visits", "integer", "WHOLE_NUMBER"),
        ("Ratio", "float", "DECIMAL_NUMBER"),
        ("Trial", "boolean", "YES_NO"),
    ];
    let fields: Vec<(String, String)> = kinds
        .iter()
        .map(|(label, kind, _)| {
            let name = format!("their_{}", label.to_lowercase());
            world.intercom.add_attribute(&name, kind, &[]);
            (format!("custom:{label}"), format!("attribute:{name}"))
        })
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(keap, intercom)| (keap.as_str(), intercom.as_str(), ""))
        // Both are missing.
        .chain([("custom:Nowhere", "attribute:nowhere", "create_attribute = true")])
        .collect();
    world.file(&mapped(&fields));

    let asked = command(&world, &["fields", "create"]).await;
    assert!(asked.stdout.contains("custom fields will be made in Keap"), "{}", asked.stdout);
    assert_ne!(asked.code(), Some(0), "nobody can be asked here");
    assert_eq!(world.keap.count("create_field"), 0);

    command(&world, &["fields", "create", "--yes"]).await.expect(0);
    for (label, _, kind) in kinds.into_iter().chain([("Nowhere", "", "TEXT")]) {
        let made = world.keap.field_with_label(label);
        assert_eq!(made.map(|field| field.field_type).as_deref(), Some(kind), "{label}");
    }
    assert_eq!(world.intercom.attribute("nowhere").unwrap().data_type, "string");
    let lines = field_lines(&world, 0).await;
    assert!(lines.iter().all(|line| !line.contains('✗')), "every field fits: {lines:?}");

    command(&world, &["fields", "create", "--yes"]).await.expect(0);
    assert_eq!(world.keap.count("create_field"), kinds.len() + 1);

    // Ids and columns are Keap's to give, and a key may lack the right.
    world.file(&mapped(&[("custom:4711", "attribute:their_trial", "")]));
    let none = command(&world, &["fields", "create", "--yes"]).await.expect(0).stdout;
    assert!(none.contains("No custom field"), "{none}");
    world.keap.fault(Fault::on("create_field").always().what(What::Status(403, "{}".into())));
    world.file(&mapped(&[("custom:Another", "attribute:their_trial", "")]));
    let refused = command(&world, &["fields", "create", "--yes"]).await;
    assert!(
        refused.stderr.contains("does not allow this key to make custom fields"),
        "{}",
        refused.stderr
    );
}

#[sqlx::test]
async fn attributes_beyond_the_limit_are_not_made(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("RUST_LOG", "warn");
    for at in 0..250 {
        world.intercom.add_attribute(&format!("a{at}"), "string", &[]);
    }
    world.file(&mapped(&[("job_title", "attribute:one_more", "create_attribute = true")]));

    let ended = command(&world, &["fields", "create", "--yes"]).await;

    assert_ne!(ended.code(), Some(0));
    assert!(ended.stderr.contains("allows 250 attributes"), "{}", ended.stderr);
    assert_eq!(world.intercom.count("create_attribute"), 0);
}

#[sqlx::test]
async fn check_prints_a_line_for_each_field(pool: PgPool) {
    let (mut world, plan, _) = furnished(pool).await;
    world.file(&mapped(&[
        ("custom:Plan", "attribute:plan", "owner = \"newest\""),
        ("job_title", "attribute:job_title", ""),
    ]));

    let lines = field_lines(&world, 0).await;

    assert_eq!(
        lines[3..5],
        [
            format!("✓ field plan: custom:Plan = custom:{plan} (a DROPDOWN field) → attribute:plan (a string attribute, up to 255 characters), owner newest; Intercom does not know the options Silver, so contacts with one of them keep their value there"),
            "✓ field job_title: job_title (a text) → attribute:job_title (a string attribute, up to 255 characters), owner keap".to_owned(),
        ]
    );
    assert!(lines[5].contains("consent.opt_out is off"), "{lines:?}");
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn check_refuses_what_cannot_work_and_names_the_nearest(pool: PgPool) {
    let (mut world, ..) = furnished(pool).await;
    for (keap, intercom, expected) in [
        ("custom:Plam", "attribute:plan", "did you mean custom:Plan?"),
        ("custom:SSN", "attribute:plan", "never synced"),
        ("job_title", "attribute:job_titel", "did you mean attribute:job_title?"),
        ("job_title", "attribute:old", "is archived in Intercom"),
        ("job_title", "attribute:locked", "cannot be written by the API"),
        ("custom:Lead score", "attribute:plan", "there is no form for this pair"),
    ] {
        world.file(&mapped(&[(keap, intercom, "name = \"wrong\""), ("website", "avatar", "")]));
        let lines = field_lines(&world, 78).await;
        let wrong: Vec<_> = lines.iter().filter(|line| line.starts_with('✗')).collect();
        assert!(
            wrong.len() == 1 && wrong[0].contains("wrong: ") && wrong[0].contains(expected),
            "{lines:?}"
        );

        // The daemon holds this field, and the others go on.
        let sent = command(&world, &["sync", "--all"]).await.expect(0);
        assert!(!sent.stderr.is_empty(), "it says which field is held");
    }
    world.file(&mapped(&[]));
    world.set("CONSENT__OPT_OUT", "to_keap");
    let refused = command(&world, &["check"]).await.expect(78);
    assert!(refused.stderr.contains("intercom_to_keap.enabled = true"), "{}", refused.stderr);
}

#[sqlx::test]
async fn the_daemon_refuses_only_a_mapping_that_is_wrong_by_itself(pool: PgPool) {
    let (mut world, ..) = furnished(pool).await;
    for (fields, expected) in [
        (mapped(&[("job_titel", "avatar", "")]), "did you mean job_title?"),
        (mapped(&[("address.home.line1", "avatar", "")]), "address.<kind>.<part>"),
        (mapped(&[("website", "avatra", "")]), "did you mean avatar?"),
        (
            mapped(&[("website", "avatar", ""), ("notes", "avatar", "name = \"notes\"")]),
            "both go to avatar",
        ),
        (
            mapped(&[("website", "avatar", "name = \"x\""), ("notes", "phone", "name = \"x\"")]),
            "two fields have the name x",
        ),
        (mapped(&[("birth_date", "avatar", "")]), "there is no form for this pair"),
        (mapped(&[("website", "external_id", "")]), "it always holds the Keap id"),
        (mapped(&[("website", "role", "")]), "every synced contact is a user"),
        (mapped(&[("website", "attribute:a.b", "")]), "has neither . nor $"),
        (mapped(&[("website", "avatar", "name = \"a: b\"")]), "has a colon"),
        (
            mapped(&[("website", "avatar", "owner = \"me\"")]),
            "one of keap, intercom, newest, fill, never",
        ),
        (mapped(&[("website", "avatar", "clear = \"never\"")]), "clears"),
        (tables(&[("custom:Mail", "email", "")]), "Keap's own e-mail"),
        ("[[field]]\nkeap = \"website\"\n".to_owned(), "intercom"),
        ("[[field]]\nkeap = 7\nintercom = \"avatar\"\n".to_owned(), "in quotes"),
    ] {
        world.file(&fields);
        for arguments in [["run"], ["check"]] {
            let ended = command(&world, &arguments).await.expect(78);
            let said = ended.stderr + ended.stdout.as_str();
            assert!(said.contains(expected), "{expected:?} is missing in {said}");
        }
    }
    assert_eq!(world.keap.calls() + world.intercom.calls(), 0);
}

#[sqlx::test]
async fn a_daemon_with_a_field_that_does_not_fit_syncs_the_others(pool: PgPool) {
    let mut world = canary_world(pool, 2).await;
    world.intercom.add_attribute("job", "string", &[]);
    world.file(&mapped(&[
        ("custom:Nowhere", "attribute:nothing", ""),
        ("job_title", "attribute:job", ""),
    ]));
    world.keap.edit(1, |person| person.job_title = Some("Canary buyer".into()));
    let daemon = Process::daemon(&world);

    until("the job arrives", async || {
        world
            .intercom
            .by_external_id("1")
            .first()
            .is_some_and(|user| user.custom_attributes.get("job") == Some(&json!("Canary buyer")))
    })
    .await;
    until("status shows the field", async || {
        let status = command(&world, &["status", "--json"]).await.expect(0).json();
        status["mapping"]["heldFields"][0]
            .as_str()
            .is_some_and(|held| held.starts_with("nothing: Keap has no custom field"))
    })
    .await;
    daemon.stop().await;
}

#[sqlx::test]
async fn a_dry_run_counts_each_field_that_differs(pool: PgPool) {
    let (mut world, plan, _) = furnished(pool).await;
    world.file(&mapped(&[
        ("custom:Plan", "attribute:plan", ""),
        ("job_title", "attribute:job_title", ""),
    ]));
    for at in 0..4 {
        world.keap.add(
            Person::named("P", "Lee").email(&format!("p{at}@example.org")).custom(plan, "Gold"),
        );
    }
    world.sync().await;
    world.keap.edit(1, |person| person.job_title = Some("Buyer".into()));
    world.keap.edit(2, |person| {
        person.job_title = Some("Buyer".into());
        person.details.custom_fields.clear();
    });
    let writes = world.writes();

    let text = command(&world, &["sync", "--all", "--dry-run", "--verbose"]).await.expect(0).stdout;
    assert!(text.contains("Fields that differ: job_title in 2, plan in 1\n"), "{text}");
    assert!(
        text.contains("    job_title: (empty) → Buyer\n")
            && text.contains("    plan: Gold → (cleared)\n"),
        "{text}"
    );
    let json = command(&world, &["sync", "--all", "--dry-run", "--json"]).await.expect(0).json();
    assert_eq!(json["fields"], json!({ "job_title": 2, "plan": 1 }));
    let second = json["contacts"].as_array().unwrap().iter().find(|one| one["keapContactId"] == 2);
    assert_eq!(second.unwrap()["differs"], json!(["job_title", "plan"]));
    assert_eq!(world.writes(), writes);
}

#[sqlx::test]
async fn explain_shows_fields_by_name_and_no_value(pool: PgPool) {
    let mut world = canary_world(pool, 1).await;
    world.set("RUST_LOG", "warn");
    world.intercom.add_attribute("job", "string", &[]);
    world.intercom.add_attribute("web", "string", &[]);
    world.file(&mapped(&[
        ("job_title", "attribute:job", ""),
        ("website", "attribute:web", ""),
        ("notes", "attribute:notes", "owner = \"never\""),
    ]));
    world.keap.edit(1, |person| person.job_title = Some("Canary buyer".into()));
    world.sync().await;

    let text = command(&world, &["explain", "1"]).await.expect(0).stdout;
    assert!(text.contains("had a value in Keap: email, name, phone, job\n"), "{text}");
    assert!(
        text.contains("were empty: web\n") && text.contains("were never read: notes\n"),
        "{text}"
    );
    assert!(text.contains("sync 1 --dry-run --verbose"), "{text}");
    let json = command(&world, &["explain", "1", "--json"]).await.expect(0).json();
    let of = |name: &str| {
        let fields = json["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).map(|field| field["keap"].clone())
    };
    assert_eq!(
        (of("job"), of("web"), of("notes")),
        (Some(json!("value")), Some(json!("empty")), Some(json!("unknown")))
    );
}

#[sqlx::test]
async fn no_table_and_no_log_holds_a_value(pool: PgPool) {
    let mut world = canary_world(pool, 3).await;
    let field = world.keap.add_custom_field("Secret", "TEXT", &[]);
    world.intercom.add_attribute("secret", "string", &[]);
    world.file(&mapped(&[("custom:Secret", "attribute:secret", "owner = \"newest\"")]));
    for id in 1..=3 {
        world.keap.set_custom(id, field, "canaryvalue");
    }
    world.keap.set_custom(3, field, "canaryvalue".repeat(30));
    // What the process prints is searched when it ends.
    command(&world, &["sync", "--all"]).await.expect(0);
    world.keap.set_custom(1, field, Value::Null);
    command(&world, &["sync", "--all"]).await.expect(0);
    command(&world, &["explain", "3"]).await.expect(0);

    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let sql = sqlx::AssertSqlSafe(format!(
            "select coalesce(string_agg(t::text, ' '), '') from {table} t"
        ));
        let content: String = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        assert!(!content.to_lowercase().contains("canary"), "{table}");
    }
}
