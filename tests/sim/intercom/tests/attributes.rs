//! Tests of data attributes and of the values that contacts have in them.

use super::*;
use crate::sim::intercom::knobs::{LongString, Rewrite, Unfit};

async fn post_attribute(intercom: &Intercom, body: Value) -> Reply {
    call(intercom, "POST", "/data_attributes", body).await
}

/// The names of the custom attributes in a list.
async fn custom(intercom: &Intercom, path: &str) -> Vec<String> {
    let body = get(intercom, path).await.json();
    let custom = body["data"].as_array().unwrap().iter().filter(|row| row["custom"] == true);
    custom.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn plan(value: impl Into<Value>) -> Value {
    json!({"custom_attributes": {"plan": value.into()}})
}

#[tokio::test]
async fn attributes_are_listed_by_model_and_archived_ones_on_request() {
    let intercom = Intercom::start().await;
    let body = get(&intercom, "/data_attributes?model=contact").await.json();
    let rows = body["data"].as_array().unwrap();
    let email = rows.iter().find(|row| row["name"] == "email").unwrap();
    assert_eq!((&email["custom"], &email["full_name"]), (&json!(false), &json!("email")));

    intercom.add_attribute("plan", "string", &["Gold", "Silver"]);
    intercom.add_attribute("old", "date", &[]);
    intercom.archive_attribute("old");
    intercom.knobs(|knobs| knobs.attributes.insert("any".to_owned()));
    let size = json!({"name": "rank", "model": "company", "data_type": "integer"});
    assert_eq!(post_attribute(&intercom, size).await.status, 200);
    assert_eq!(custom(&intercom, "/data_attributes?model=contact").await, ["any", "plan"]);
    assert_eq!(custom(&intercom, "/data_attributes?model=company").await, ["rank"]);
    let all = "/data_attributes?model=contact&include_archived=true";
    assert_eq!(custom(&intercom, all).await, ["any", "plan", "old"]);
    let body = get(&intercom, all).await.json();
    let plan = body["data"].as_array().unwrap().iter().find(|row| row["name"] == "plan").unwrap();
    assert_eq!(plan["full_name"], "custom_attributes.plan");
    assert_eq!(
        (&plan["data_type"], &plan["options"]),
        (&json!("string"), &json!(["Gold", "Silver"]))
    );
    assert_eq!(error(&get(&intercom, "/data_attributes?model=conversation").await).0, 422);
}

#[tokio::test]
async fn a_new_attribute_is_checked_as_the_service_checks_it() {
    let intercom = Intercom::start().await;
    let options = json!([{"value": "a"}, {"value": "b"}]);
    let list = json!({
        "name": "plan", "model": "contact", "data_type": "options", "options": options,
        "description": "What is paid for",
    });
    let made = post_attribute(&intercom, list).await.json();
    assert_eq!((&made["data_type"], &made["options"]), (&json!("string"), &json!(["a", "b"])));
    assert_eq!(intercom.attribute("plan").unwrap().options, ["a", "b"]);

    let refused = async |name: &str, model: &str, data_type: &str| {
        let body = json!({"name": name, "model": model, "data_type": data_type});
        let (status, code, message) = error(&post_attribute(&intercom, body).await);
        assert_eq!((status, code.as_str()), (400, "parameter_invalid"), "{name}");
        message
    };
    assert!(refused("plan", "contact", "string").await.contains("in your people data"));
    assert!(refused("plan", "company", "string").await.contains("as new company data"));
    assert!(refused("!nv@l!d", "contact", "string").await.contains("alphanumeric"));
    assert!(refused("email", "contact", "string").await.contains("standard"));
    assert_eq!(refused("x", "contact", "mithril").await, "Data Type isn't an option");
    assert!(refused("x", "contact", "options").await.contains("two options"));
    assert!(refused("x", "visitor", "string").await.contains("contact or company"));

    for number in 1..250 {
        intercom.add_attribute(&format!("a{number}"), "string", &[]);
    }
    let one_more = json!({"name": "x", "model": "contact", "data_type": "string"});
    let full = error(&post_attribute(&intercom, one_more.clone()).await);
    assert_eq!(full.1, "custom_data_limit_reached");
    intercom.archive_attribute("a1");
    assert_eq!(post_attribute(&intercom, one_more).await.status, 200);
}

#[tokio::test]
async fn an_attribute_can_be_changed_and_archived_unless_it_is_in_use() {
    let intercom = Intercom::start().await;
    let id = intercom.add_attribute("plan", "string", &["a", "b"]);
    let path = format!("/data_attributes/{id}");
    let change = async |body: Value| call(&intercom, "PUT", &path, body).await;
    let options = json!([{"value": "a"}, {"value": "c"}]);
    let changed = change(json!({"options": options, "data_type": "integer"})).await.json();
    assert_eq!(
        (&changed["data_type"], &changed["options"]),
        (&json!("string"), &json!(["a", "c"]))
    );
    let few = error(&change(json!({"options": [{"value": "a"}]})).await);
    assert_eq!((few.0, few.2.as_str()), (400, "Options isn't an array"));
    intercom.knobs(|knobs| knobs.attributes_in_use.insert("plan".to_owned()));
    assert_eq!(error(&change(json!({"archived": true})).await).1, "data_invalid");
    intercom.knobs(|knobs| knobs.attributes_in_use.clear());
    assert_eq!(change(json!({"archived": true})).await.json()["archived"], true);
    assert!(intercom.attribute("plan").unwrap().archived);
    let unknown = error(&call(&intercom, "PUT", "/data_attributes/7", json!({})).await);
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "field_not_found"));
}

#[tokio::test]
async fn attributes_merge_and_a_null_leaves_its_key() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    intercom.add_attribute("plan", "string", &[]);
    intercom.add_attribute("seats", "integer", &[]);
    let both = json!({"custom_attributes": {"plan": "gold", "seats": 7}});
    assert_eq!(put(&intercom, &ann, both).await.status, 200);
    put(&intercom, &ann, plan(Value::Null)).await;
    assert_eq!(Value::Object(intercom.attributes_of(&ann)), json!({"plan": null, "seats": 7}));

    let unknown = json!({"name": "New", "custom_attributes": {"seats": 8, "xyz": 1}});
    let (status, code, message) = error(&put(&intercom, &ann, unknown).await);
    assert_eq!((status, code.as_str()), (400, "parameter_invalid"));
    assert_eq!(message, "Custom attribute 'xyz' does not exist");
    let held = intercom.contact(&ann).unwrap();
    assert_eq!((held.name, &held.custom_attributes["seats"]), (None, &json!(7)));

    intercom.archive_attribute("seats");
    let archived = json!({"custom_attributes": {"seats": 8}});
    let message = error(&put(&intercom, &ann, archived.clone()).await).2;
    assert_eq!(message, "Custom attribute 'seats' does not exist");
    intercom.edit_attribute("seats", |held| (held.archived, held.api_writable) = (false, false));
    assert_eq!(put(&intercom, &ann, archived).await.status, 400);
}

#[tokio::test]
async fn the_knobs_decide_about_types_options_and_long_texts() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    for (data_type, good, bad) in [
        ("string", json!("7"), json!(7)),
        ("integer", json!(7), json!("7")),
        ("float", json!(7.5), json!("7.5")),
        ("boolean", json!(true), json!("true")),
        ("date", json!(1_734_537_437), json!("2024-12-18")),
    ] {
        intercom.knobs(|knobs| knobs.attribute_types = Unfit::Refuse);
        intercom.add_attribute(data_type, data_type, &[]);
        let body = |value: &Value| json!({"custom_attributes": {data_type: value}});
        assert_eq!(put(&intercom, &ann, body(&good)).await.status, 200, "{data_type}");
        assert_eq!(intercom.attributes_of(&ann)[data_type], good);
        assert_eq!(put(&intercom, &ann, body(&bad)).await.status, 400, "{data_type}");
        intercom.knobs(|knobs| knobs.attribute_types = Unfit::Take);
        assert_eq!(put(&intercom, &ann, body(&bad)).await.status, 200, "{data_type}");
        assert_eq!(intercom.attributes_of(&ann)[data_type], bad);
    }

    intercom.add_attribute("plan", "string", &["Gold", "Silver"]);
    assert_eq!(put(&intercom, &ann, plan("Gold")).await.status, 200);
    assert_eq!(put(&intercom, &ann, plan("gold")).await.status, 400);
    intercom.knobs(|knobs| knobs.option_values = Unfit::Take);
    assert_eq!(put(&intercom, &ann, plan("gold")).await.status, 200);

    let long = "é".repeat(256);
    assert_eq!(put(&intercom, &ann, plan(long.as_str())).await.status, 400);
    for (knob, kept) in [(LongString::Cut, 255), (LongString::Take, 256)] {
        intercom.knobs(|knobs| knobs.long_string = knob);
        assert_eq!(put(&intercom, &ann, plan(long.as_str())).await.status, 200);
        let held = intercom.attributes_of(&ann)["plan"].as_str().unwrap().chars().count();
        assert_eq!(held, kept);
    }
}

#[tokio::test]
async fn the_knobs_decide_which_texts_are_rewritten() {
    let intercom = Intercom::start().await;
    intercom.add_attribute("plan", "string", &[]);
    let body = json!({
        "email": " Ann@Example.org ", "name": " Ann ", "phone": "+1 (602) 555-0144",
        "custom_attributes": {"plan": " gold "},
    });
    let ann = id(&create(&intercom, body.clone()).await);
    assert_eq!(intercom.contact(&ann).unwrap().email.as_deref(), Some(" Ann@Example.org "));
    intercom.knobs(|knobs| {
        knobs.rewrites = vec![Rewrite::Trim, Rewrite::EmailLower, Rewrite::PhoneDigits];
    });
    let answer = put(&intercom, &ann, body).await.json();
    assert_eq!((&answer["email"], &answer["name"]), (&json!("ann@example.org"), &json!("Ann")));
    assert_eq!(answer["phone"], "+16025550144");
    assert_eq!(answer["custom_attributes"], json!({"plan": "gold"}));
}
