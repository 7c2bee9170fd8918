//! Tests of create, update, archive, delete and merge.

use super::*;

#[tokio::test]
async fn identifiers_of_users_are_unique_in_every_standing() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org").external_id("7"));
    let same_id = json!({"external_id": "7", "email": "other@example.org"});
    let (status, code, message) = error(&create(&intercom, same_id.clone()).await);
    assert_eq!((status, code.as_str()), (409, "conflict"));
    assert_eq!(message, format!("A contact matching those details already exists with id={ann}"));

    let same_email = json!({"external_id": "8", "email": "ANN@example.org"});
    assert_eq!(create(&intercom, same_email.clone()).await.status, 409);
    intercom.knobs(|knobs| knobs.email_conflict_with_new_external_id = EmailConflict::Allow);
    assert_eq!(create(&intercom, same_email).await.status, 200);
    let several = error(&create(&intercom, json!({"email": "ann@example.org"})).await);
    assert!(several.0 == 409 && !several.2.contains("id="));

    let archived =
        format!("An archived contact matching those details already exists with id={ann}");
    intercom.archive(&ann);
    assert_eq!(error(&create(&intercom, same_id.clone()).await).2, archived);
    intercom.unarchive(&ann);
    intercom.delete(&ann);
    assert_eq!(error(&create(&intercom, same_id.clone()).await).2, archived);
    intercom
        .knobs(|knobs| (knobs.conflict_archived_text, knobs.conflict_without_id) = (false, true));
    let bare = error(&create(&intercom, same_id.clone()).await).2;
    assert_eq!(bare, "A contact matching those details already exists");
    intercom.clock().advance_ms(store::DELETION_GRACE_MS);
    assert_eq!(create(&intercom, same_id).await.status, 200);
}

#[tokio::test]
async fn a_lead_has_an_id_made_by_intercom_and_one_put_makes_it_a_user() {
    let intercom = Intercom::start().await;
    let reply =
        create(&intercom, json!({"role": "lead", "external_id": "7", "email": "a@example.org"}))
            .await;
    let lead = id(&reply);
    assert_eq!(reply.json()["external_id"].as_str().unwrap().len(), 36);
    assert_eq!(
        create(&intercom, json!({"role": "lead", "email": "a@example.org"})).await.status,
        200
    );
    assert_eq!(create(&intercom, json!({"email": "a@example.org"})).await.status, 200);

    let ignored = put(&intercom, &lead, json!({"external_id": "7"})).await;
    assert_eq!(ignored.json()["external_id"].as_str().unwrap().len(), 36);
    assert_eq!(get(&intercom, "/contacts/find_by_external_id/7").await.status, 404);
    let user = put(&intercom, &lead, json!({"role": "user", "external_id": "7"})).await.json();
    assert_eq!(
        (&user["id"], &user["role"], &user["external_id"]),
        (&json!(lead), &json!("user"), &json!("7"))
    );
    let back = error(&put(&intercom, &lead, json!({"role": "lead"})).await);
    assert_eq!((back.0, back.1.as_str()), (400, "client_error"));
}

#[tokio::test]
async fn a_null_clears_a_field_and_a_put_without_changes_keeps_the_time() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(
        Seed::with_email("ann@example.org").external_id("7").name("Ann").phone("+16025550144"),
    );
    let before = intercom.contact(&ann).unwrap().updated_at;
    intercom.clock().advance_ms(5000);
    let same =
        put(&intercom, &ann, json!({"name": "Ann", "email": "ann@example.org"})).await.json();
    assert_eq!(same["updated_at"], before);
    let cleared = put(
        &intercom,
        &ann,
        json!({"name": null, "phone": null, "email": null, "external_id": null}),
    )
    .await
    .json();
    assert_eq!(
        (&cleared["email"], &cleared["name"], &cleared["phone"]),
        (&json!(""), &Value::Null, &Value::Null)
    );
    assert_eq!(cleared["external_id"], "7");
    assert!(cleared["updated_at"].as_i64().unwrap() >= before + 5);
}

#[tokio::test]
async fn the_knobs_decide_which_puts_conflict() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org").external_id("7"));
    let bob = intercom.add_user(Seed::with_email("bob@example.org").external_id("8"));
    assert_eq!(put(&intercom, &bob, json!({"external_id": "7"})).await.status, 409);
    assert_eq!(put(&intercom, &bob, json!({"email": "ann@example.org"})).await.status, 200);
    intercom.knobs(|knobs| knobs.put_email_conflict = true);
    assert_eq!(
        put(&intercom, &bob, json!({"email": "ann@example.org", "name": "B"})).await.status,
        200
    );
    assert_eq!(put(&intercom, &bob, json!({"email": "Ann@example.org"})).await.status, 409);
    intercom.archive(&ann);
    intercom.knobs(|knobs| knobs.put_archived_external_id_conflict = true);
    assert_eq!(put(&intercom, &bob, json!({"external_id": "7"})).await.status, 409);
    intercom.knobs(|knobs| knobs.put_archived_external_id_conflict = false);
    assert_eq!(put(&intercom, &bob, json!({"external_id": "7"})).await.status, 200);
}

#[tokio::test]
async fn only_an_archived_contact_can_be_unarchived() {
    let intercom = Intercom::start().await;
    let seed = |number: usize| Seed::with_email(&format!("{number}@example.org"));
    let [ann, bob, cyn, dan] = [1, 2, 3, 4].map(|number| intercom.add_user(seed(number)));
    intercom.archive(&ann);
    intercom.delete(&bob);
    intercom.merge(&cyn, &dan);
    let unarchive = async |id: &str| {
        call(&intercom, "POST", &format!("/contacts/{id}/unarchive"), json!({})).await
    };
    let back = unarchive(&ann).await.json();
    assert_eq!(back, json!({"type": "contact", "id": ann, "external_id": null, "archived": false}));
    assert!(error(&unarchive(&bob).await).2.contains("permanent deletion"));
    assert!(error(&unarchive(&cyn).await).2.contains("merged"));
    let deleted = call(&intercom, "DELETE", &format!("/contacts/{ann}"), Value::Null).await.json();
    assert_eq!(deleted["deleted"], true);
    intercom.block(&dan);
    assert_eq!(error(&unarchive(&dan).await).1, "not_restorable");
}

#[tokio::test]
async fn a_merged_contact_answers_410_with_a_link_to_the_remaining_one() {
    let intercom = Intercom::start().await;
    let user = intercom.add_user(Seed::with_email("ann@example.org"));
    let lead = intercom.add_lead(Seed::with_email("lead@example.org"));
    let merge = |skip: bool| json!({"from": lead, "into": user, "skip_duplicate_validation": skip});
    let refused = call(&intercom, "POST", "/contacts/merge", merge(false)).await;
    assert_eq!(error(&refused).1, "invalid_merge");
    assert_eq!(id(&call(&intercom, "POST", "/contacts/merge", merge(true)).await), user);
    let gone = get(&intercom, &format!("/contacts/{lead}")).await;
    assert_eq!(error(&gone).1, "contact_merged");
    let link = format!("</contacts/{user}>; rel=\"canonical\"");
    assert_eq!((gone.status, gone.header("link")), (410, Some(link.as_str())));
    assert_eq!(put(&intercom, &lead, json!({"name": "X"})).await.status, 410);
    intercom.knobs(|knobs| knobs.put_merged_is_gone = false);
    assert_eq!(put(&intercom, &lead, json!({"name": "X"})).await.status, 404);
}

#[tokio::test]
async fn of_two_simultaneous_creates_one_succeeds() {
    let intercom = Intercom::start().await;
    intercom.knobs(|knobs| knobs.latency_ms = 20);
    let body = || json!({"external_id": "7", "email": "a@example.org"});
    let (one, other) = tokio::join!(create(&intercom, body()), create(&intercom, body()));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(intercom.by_external_id("7").len(), 1);
}
