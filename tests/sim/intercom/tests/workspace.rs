//! Tests of owners, consent, tags and companies.

use super::*;

async fn delete(intercom: &Intercom, path: &str) -> Reply {
    call(intercom, "DELETE", path, Value::Null).await
}

#[tokio::test]
async fn an_owner_is_an_admin_of_the_workspace() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    let uma = intercom.add_admin("uma@example.org");
    let admins = get(&intercom, "/admins").await.json();
    assert_eq!(admins["type"], "admin.list");
    assert_eq!(
        (&admins["admins"][1]["id"], &admins["admins"][1]["email"]),
        (&json!(uma), &json!("uma@example.org"))
    );

    assert_eq!(put(&intercom, &ann, json!({"owner_id": uma})).await.json()["owner_id"], uma);
    let refused = error(&put(&intercom, &ann, json!({"owner_id": "7"})).await);
    assert_eq!(refused.2, "The owner specified is not a member of the workspace");
    intercom.remove_admin(&uma);
    assert_eq!(put(&intercom, &ann, json!({"owner_id": uma, "name": "Ann"})).await.status, 400);
    assert_eq!(put(&intercom, &ann, json!({"name": "Ann"})).await.json()["owner_id"], uma);
    put(&intercom, &ann, json!({"owner_id": null})).await;
    assert_eq!(intercom.contact(&ann).unwrap().owner_id, None);
}

#[tokio::test]
async fn a_contact_keeps_the_standard_fields_that_a_write_can_set() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    let before = intercom.contact(&ann).unwrap().updated_at;
    intercom.clock().advance_ms(5000);
    put(&intercom, &ann, json!({"unsubscribed_from_emails": false})).await;
    assert_eq!(intercom.contact(&ann).unwrap().updated_at, before);

    let body = json!({
        "signed_up_at": 1_700_000_000, "unsubscribed_from_emails": true, "language_override": "de",
        "avatar": "https://example.org/ann.png",
    });
    let answer = put(&intercom, &ann, body).await.json();
    assert_eq!(
        (&answer["signed_up_at"], &answer["language_override"]),
        (&json!(1_700_000_000), &json!("de"))
    );
    assert_eq!(answer["avatar"]["image_url"], "https://example.org/ann.png");
    assert!(intercom.contact(&ann).unwrap().unsubscribed_from_emails);
    intercom.edit(&ann, |contact| contact.unsubscribed_from_emails = false);
    let answer = get(&intercom, &format!("/contacts/{ann}")).await.json();
    assert_eq!(answer["unsubscribed_from_emails"], false);
}

#[tokio::test]
async fn the_knobs_decide_whether_a_visit_and_an_unchanged_put_move_the_time() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    let updated_at = || intercom.contact(&ann).unwrap().updated_at;
    let first = updated_at();
    intercom.clock().advance_ms(5000);
    assert!(intercom.visit(&ann));
    put(&intercom, &ann, json!({"email": "ann@example.org"})).await;
    assert_eq!(updated_at(), first);
    assert!(get(&intercom, &format!("/contacts/{ann}")).await.json()["last_seen_at"].is_i64());
    intercom.knobs(|knobs| knobs.seen_bumps_updated_at = true);
    intercom.visit(&ann);
    let second = updated_at();
    intercom.clock().advance_ms(5000);
    intercom.knobs(|knobs| knobs.unchanged_put_bumps = true);
    put(&intercom, &ann, json!({"email": "ann@example.org"})).await;
    assert!(first < second && second < updated_at());
}

#[tokio::test]
async fn every_request_that_could_subscribe_somebody_can_be_found() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    put(&intercom, &ann, json!({"unsubscribed_from_emails": true})).await;
    let path = format!("/contacts/{ann}/subscriptions");
    call(&intercom, "POST", &path, json!({"id": "5", "consent_type": "opt_out"})).await;
    assert!(intercom.could_subscribe().is_empty());

    put(&intercom, &ann, json!({"unsubscribed_from_emails": null})).await;
    create(&intercom, json!({"email": "b@example.org", "unsubscribed_from_emails": false})).await;
    call(&intercom, "POST", &path, json!({"id": "5", "consent_type": "opt_in"})).await;
    delete(&intercom, &format!("{path}/5")).await;
    let expected = [
        format!("PUT /contacts/{ann}: unsubscribed_from_emails null"),
        "POST /contacts: unsubscribed_from_emails false".to_owned(),
        format!("POST {path}: consent_type \"opt_in\""),
        format!("DELETE {path}/5: takes a subscription away"),
    ];
    assert_eq!(intercom.could_subscribe(), expected);
}

#[tokio::test]
async fn a_tag_is_created_once_renamed_and_given_to_many() {
    let intercom = Intercom::start().await;
    let [ann, bob] =
        ["a", "b"].map(|name| intercom.add_user(Seed::with_email(&format!("{name}@example.org"))));
    let post = async |body: Value| call(&intercom, "POST", "/tags", body).await;
    let vip = id(&post(json!({"name": "VIP"})).await);
    assert_eq!(id(&post(json!({"name": "vip"})).await), vip);
    assert_eq!(post(json!({"id": vip, "name": "Best"})).await.json()["name"], "Best");
    assert_eq!(error(&post(json!({"test": "invalid"})).await).2, "invalid tag parameters");
    assert_eq!(error(&post(json!({"id": "7", "name": "X"})).await).0, 404);
    let tags = get(&intercom, "/tags").await.json();
    assert_eq!(tags["data"], json!([{"type": "tag", "id": vip, "name": "Best"}]));

    let unknown = post(json!({"name": "Lead", "users": [{"id": ann}, {"id": "123"}]})).await;
    assert_eq!((unknown.status, intercom.tags_of(&ann)), (404, Vec::new()));
    let both = json!({"name": "Lead", "users": [{"id": ann}, {"id": bob}]});
    assert_eq!(post(both.clone()).await.json()["users"][1], json!({"id": bob, "tagged": true}));
    assert_eq!(
        (intercom.tags_of(&ann), intercom.tag_names()),
        (vec!["Lead".into()], vec!["Best".into(), "Lead".into()])
    );
    intercom.knobs(|knobs| knobs.max_tagged = Some(1));
    assert_eq!(post(both).await.status, 400);
}

#[tokio::test]
async fn a_contact_is_tagged_and_untagged_and_shows_ten_tags() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    let before = intercom.contact(&ann).unwrap().updated_at;
    intercom.clock().advance_ms(5000);
    let path = format!("/contacts/{ann}/tags");
    let vip = intercom.add_tag("VIP");
    let applied = call(&intercom, "POST", &path, json!({"id": vip})).await.json();
    assert_eq!(
        (&applied["name"], &applied["applied_by"]["type"]),
        (&json!("VIP"), &json!("admin"))
    );
    let tagged_at = intercom.contact(&ann).unwrap().updated_at;
    assert!(tagged_at > before);
    intercom.clock().advance_ms(5000);
    assert_eq!(call(&intercom, "POST", &path, json!({"id": vip})).await.status, 200);
    assert_eq!(intercom.contact(&ann).unwrap().updated_at, tagged_at);
    assert_eq!(
        error(&call(&intercom, "POST", &path, json!({"id": "7"})).await).2,
        "Resource Not Found"
    );

    for number in 0..10 {
        intercom.tag(&ann, &format!("T{number}"));
    }
    let shown = get(&intercom, &format!("/contacts/{ann}")).await.json()["tags"].clone();
    assert_eq!(shown["data"].as_array().unwrap().len(), 10);
    assert_eq!(shown["data"][0], json!({"id": vip, "type": "tag", "url": format!("/tags/{vip}")}));
    assert_eq!((&shown["total_count"], &shown["has_more"]), (&json!(11), &json!(true)));
    assert_eq!(get(&intercom, &path).await.json()["data"].as_array().unwrap().len(), 11);

    assert_eq!(delete(&intercom, &format!("{path}/{vip}")).await.json()["name"], "VIP");
    assert_eq!(delete(&intercom, &format!("{path}/{vip}")).await.status, 404);
    assert!(intercom.untag(&ann, "T0") && !intercom.untag(&ann, "T0"));
    assert_eq!(intercom.tags_of(&ann).len(), 9);
    intercom.archive(&ann);
    assert_eq!(error(&get(&intercom, &path).await).2, "User Not Found");
}

#[tokio::test]
async fn a_company_is_upserted_and_contacts_join_and_leave_it() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org"));
    let post = async |body: Value| call(&intercom, "POST", "/companies", body).await;
    let company = id(&post(json!({"company_id": "keap-5", "name": "Glass"})).await);
    let again = post(json!({"company_id": "keap-5", "name": "Glass & Sons", "size": 7})).await;
    assert_eq!((id(&again), &again.json()["size"]), (company.clone(), &json!(7)));
    assert_eq!(error(&post(json!({"test": "invalid"})).await).2, "bad 'test' parameter");
    let unknown = json!({"company_id": "keap-5", "custom_attributes": {"xyz": 1}});
    assert_eq!(error(&post(unknown).await).2, "Custom attribute 'xyz' does not exist");
    assert_eq!(intercom.companies().len(), 1);

    let path = format!("/contacts/{ann}/companies");
    let attach = async |body: Value| call(&intercom, "POST", &path, body).await;
    assert_eq!(attach(json!({"id": company})).await.json()["user_count"], 1);
    assert_eq!(attach(json!({"id": company})).await.json()["user_count"], 1);
    assert_eq!(error(&attach(json!({})).await).1, "parameter_not_found");
    assert_eq!(error(&attach(json!({"id": "123"})).await).1, "company_not_found");
    let held = [("keap-5".to_owned(), "Glass & Sons".to_owned())];
    assert_eq!(intercom.companies_of(&ann), held);
    assert_eq!(get(&intercom, &path).await.json()["data"][0]["company_id"], "keap-5");
    let shown = get(&intercom, &format!("/contacts/{ann}")).await.json();
    assert_eq!(shown["companies"]["data"][0]["id"], company);

    let before = intercom.contact(&ann).unwrap().updated_at;
    intercom.clock().advance_ms(5000);
    intercom.knobs(|knobs| knobs.company_bumps_updated_at = true);
    assert_eq!(delete(&intercom, &format!("{path}/{company}")).await.json()["user_count"], 0);
    assert!(intercom.contact(&ann).unwrap().updated_at > before);
    assert_eq!(
        error(&delete(&intercom, &format!("{path}/{company}")).await).1,
        "company_not_found"
    );
    assert!(intercom.companies_of(&ann).is_empty());
}
