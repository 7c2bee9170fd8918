//! Tests of custom fields, of the properties that few people have, and of consent.

use serde_json::json;

use super::*;
use crate::sim::keap::details::Address;
use crate::sim::keap::knobs::{NumberForm, YesNoForm};

async fn shown(keap: &Keap, id: i64, fields: &str) -> Value {
    get(keap, &format!("/v2/contacts/{id}?fields={fields}")).await.json()
}

async fn patch(keap: &Keap, path: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", keap.token());
    let url = format!("{}{path}", keap.base_url());
    client::send("PATCH", &url, &[("authorization", &bearer)], body.to_string()).await.unwrap()
}

#[tokio::test]
async fn the_model_lists_custom_fields_as_they_come_and_go() {
    let keap = Keap::start().await;
    assert_eq!(get(&keap, "/v2/contacts/model").await.json()["custom_fields"], json!([]));

    let plan = keap.add_custom_field("Plan of Care", "DROPDOWN", &["Gold", "Silver"]);
    let seats = keap.add_custom_field("Seats", "WHOLE_NUMBER", &[]);
    let model = get(&keap, "/v2/contacts/model").await.json();
    let field = &model["custom_fields"][0];
    assert_eq!(field["id"], plan.to_string());
    assert_eq!(field["field_name"], "_PlanofCare");
    assert_eq!(
        (&field["field_type"], &field["record_type"]),
        (&json!("DROPDOWN"), &json!("CONTACT"))
    );
    assert_eq!(field["options"][1], json!({"id": "2", "label": "Silver"}));
    assert!(model["optional_properties"].as_array().unwrap().contains(&json!("custom_fields")));

    keap.rename_custom_field(plan, "Plan");
    keap.delete_custom_field(seats);
    keap.knobs(|knobs| knobs.model_nulls = true);
    let model = get(&keap, "/v2/contacts/model").await.json();
    assert_eq!(model["custom_fields"].as_array().unwrap().len(), 1);
    let field = &model["custom_fields"][0];
    assert_eq!(field["label"], "Plan");
    assert!(["field_name", "record_type", "options"].iter().all(|name| field[name].is_null()));
    assert!(keap.add_custom_field("Seats", "TEXT", &[]) > seats);
    assert_eq!(keap.count("model"), 3);
}

#[tokio::test]
async fn a_contact_shows_the_contents_of_its_custom_fields_in_the_form_of_the_knobs() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    assert_eq!(shown(&keap, id, "custom_fields").await, json!({"custom_fields": []}));

    let seats = keap.add_custom_field("Seats", "WHOLE_NUMBER", &[]);
    let paid = keap.add_custom_field("Paid", "YES_NO", &[]);
    let stamp = keap.stamp_ms(id);
    keap.clock().advance_ms(2000);
    keap.set_custom(id, seats, 7);
    assert_ne!(keap.stamp_ms(id), stamp);
    let entry = |field: i64, content: Value| json!({"id": field.to_string(), "content": content});
    let fields = |reply: Value| reply["custom_fields"].clone();
    let both = [entry(seats, json!(7)), entry(paid, Value::Null)];
    assert_eq!(fields(shown(&keap, id, "custom_fields").await), json!(both));

    keap.set_custom(id, paid, "Yes");
    keap.knobs(|knobs| {
        knobs.omit_nulls = true;
        (knobs.custom_numbers, knobs.custom_yes_no) = (NumberForm::Text, YesNoForm::Number);
    });
    let both = [entry(seats, json!("7")), entry(paid, json!(1))];
    assert_eq!(fields(shown(&keap, id, "custom_fields").await), json!(both));
    keap.delete_custom_field(paid);
    keap.set_custom(id, seats, Value::Null);
    assert_eq!(fields(shown(&keap, id, "custom_fields").await), json!([]));
    // A field that the model does not list yet.
    keap.set_custom(id, 999, json!(["a"]));
    assert_eq!(fields(shown(&keap, id, "custom_fields").await), json!([entry(999, json!(["a"]))]));
    assert!(shown(&keap, id, "id").await["custom_fields"].is_null());
}

#[tokio::test]
async fn a_contact_shows_the_properties_that_a_call_asks_for() {
    let keap = Keap::start().await;
    let user = keap.add_user("uma.young@example.org");
    let home = Address {
        line1: Some("9 Kiln Rd".to_owned()),
        region: Some("Arizona".to_owned()),
        country_code: Some("USA".to_owned()),
        ..Address::new("BILLING")
    };
    let id = keap.add(ann().with("website", "https://example.org").owner(user).address(home));
    keap.set_company(id, 5, "Okafor Glass");
    keap.edit(id, |person| person.set("birth_date", Some("1985-03-15")));

    let row = shown(&keap, id, "website,birth_date,owner_id,company,addresses,prefix").await;
    assert_eq!((&row["website"], &row["prefix"]), (&json!("https://example.org"), &Value::Null));
    assert_eq!((&row["birth_date"], &row["owner_id"]), (&json!("1985-03-15"), &json!("1002")));
    assert_eq!(row["company"], json!({"id": "5", "company_name": "Okafor Glass"}));
    let address = &row["addresses"][0];
    assert_eq!((&address["line1"], &address["line2"]), (&json!("9 Kiln Rd"), &Value::Null));
    assert!(address.as_object().unwrap().contains_key("line2"));

    keap.knobs(|knobs| knobs.omit_nulls = true);
    let row = shown(&keap, id, "prefix,addresses").await;
    let address = json!({
        "field": "BILLING", "line1": "9 Kiln Rd", "region": "Arizona", "country_code": "USA",
    });
    assert_eq!(row, json!({"addresses": [address]}));

    let found = async |filter: &str| ids(&list(&keap, &[("filter", filter)]).await).len();
    assert_eq!((found("state==Ari*").await, found("company_id==5").await), (1, 1));
    assert_eq!(found("billing_address_line1==8 Kiln Rd").await, 0);
}

#[tokio::test]
async fn a_patch_stores_what_the_contract_lets_a_client_write() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let plan = keap.add_custom_field("Plan", "TEXT", &[]);
    let body = json!({
        "website": "https://example.org", "owner_id": "1001", "company": {"id": "5"},
        "custom_fields": [{"id": plan.to_string(), "content": "gold"}],
        "addresses": [{"field": "OTHER", "region_code": "US-AZ", "country_code": "USA"}],
    });
    let path = format!("/v2/contacts/{id}?fields=id");
    assert_eq!(patch(&keap, &path, body).await.status, 200);
    let person = keap.person(id).unwrap();
    assert_eq!(person.text("website"), Some("https://example.org"));
    assert_eq!((person.details.owner_id, person.details.company_id), (Some(1001), Some(5)));
    assert_eq!(person.details.custom_fields[&plan], "gold");
    assert_eq!(person.details.addresses[0].region_code.as_deref(), Some("US-AZ"));

    for refused in [
        json!({"score_value": "9"}),
        json!({"website": "w".repeat(101)}),
        json!({"custom_fields": [{"id": "999", "content": "x"}]}),
        json!({"addresses": [{"field": "OTHER", "region": "Arizona"}]}),
    ] {
        assert_eq!(patch(&keap, &path, refused.clone()).await.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn the_knobs_decide_about_unnamed_entries_and_unchanged_patches() {
    let keap = Keap::start().await;
    let (plan, seats) =
        (keap.add_custom_field("Plan", "TEXT", &[]), keap.add_custom_field("Seats", "TEXT", &[]));
    let id = keap.add(ann().custom(plan, "gold").custom(seats, "7"));
    let path = format!("/v2/contacts/{id}");
    let fields =
        |content: &str| json!({"custom_fields": [{"id": plan.to_string(), "content": content}]});
    keap.knobs(|knobs| (knobs.patch_keeps_entries, knobs.unchanged_write_bumps) = (true, false));
    let stamp = keap.stamp_ms(id);
    keap.clock().advance_ms(2000);
    patch(&keap, &path, fields("gold")).await;
    assert_eq!(
        (keap.stamp_ms(id), keap.person(id).unwrap().details.custom_fields.len()),
        (stamp, 2)
    );
    keap.knobs(|knobs| knobs.patch_keeps_entries = false);
    patch(&keap, &path, fields("gold")).await;
    assert_ne!(keap.stamp_ms(id), stamp);
    assert_eq!(keap.person(id).unwrap().details.custom_fields.len(), 1);
}

#[tokio::test]
async fn the_status_of_an_address_holds_for_every_contact_that_has_it() {
    let keap = Keap::start().await;
    let (ann, twin) = (keap.add(ann()), keap.add(ann()));
    let stamp = keap.stamp_ms(ann);
    keap.clock().advance_ms(2000);
    keap.unsubscribe("Ann@example.org");
    for id in [ann, twin] {
        let email = &shown(&keap, id, "email_addresses").await["email_addresses"][0];
        assert_eq!(email["email_opt_status"], "LIST_UNSUBSCRIBE");
        assert_eq!(email["is_opt_in"], false);
    }
    assert_eq!(keap.stamp_ms(ann), stamp);
    keap.knobs(|knobs| (knobs.opt_status_bumps, knobs.opt_status_nulls) = (true, true));
    let email = &shown(&keap, ann, "email_addresses").await["email_addresses"][0];
    assert_eq!((&email["email_opt_status"], &email["is_opt_in"]), (&Value::Null, &Value::Null));
    keap.set_opt_status("ann@example.org", "MANUAL");
    assert_ne!(keap.stamp_ms(ann), stamp);
    let manual = list_addresses(&keap, "statuses==MANUAL,SPAM").await;
    assert_eq!(
        manual,
        [json!({"email": "ann@example.org", "opted_in": false, "status": "MANUAL"})]
    );
    assert!(list_addresses(&keap, "opted_in==true").await.is_empty());
}

async fn list_addresses(keap: &Keap, filter: &str) -> Vec<Value> {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
    let body = get(keap, &format!("/v2/emailAddresses?{query}")).await.json();
    body["email_addresses"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_opt_out_is_kept_or_ignored_and_every_opt_in_can_be_found() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let path = "/v2/emailAddresses/ann%40example.org/status";
    let set = async |opted_in: bool| {
        patch(&keap, path, json!({"opted_in": opted_in, "reason": "asked"})).await.json()
    };
    keap.knobs(|knobs| knobs.ignore_opt_out = true);
    assert_eq!(set(false).await["status"], "SINGLE_OPT_IN");
    keap.knobs(|knobs| knobs.ignore_opt_out = false);
    assert_eq!(set(false).await["status"], "MANUAL");
    assert_eq!(get(&keap, path).await.json()["opted_in"], false);
    assert!(keap.could_subscribe().is_empty());

    assert_eq!(set(true).await["status"], "SINGLE_OPT_IN");
    keap.unsubscribe("ann@example.org");
    assert_eq!(set(true).await["status"], "LIST_UNSUBSCRIBE");
    let email = json!({"email": "ann@example.org", "field": "EMAIL1", "opt_in_reason": "asked"});
    patch(&keap, &format!("/v2/contacts/{id}"), json!({"email_addresses": [email.clone()]})).await;
    assert!(!keap.opt_status("ann@example.org").is_opt_in());
    keap.set_opt_status("ann@example.org", "NON_MARKETABLE");
    let body = json!({"email_addresses": [email]});
    patch(&keap, &format!("/v2/contacts/{id}"), body).await;
    assert!(keap.opt_status("ann@example.org").is_opt_in());
    let found = keap.could_subscribe();
    assert_eq!(found.len(), 4);
    assert_eq!(found[2], format!("PATCH /crm/rest/v2/contacts/{id}: opt_in_reason \"asked\""));
    let nobody = get(&keap, "/v2/emailAddresses/nobody%40example.org/status").await;
    assert_eq!(nobody.status, 404);
    assert_eq!(patch(&keap, path, json!({"opted_in": false})).await.status, 400);
}
