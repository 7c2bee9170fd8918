//! What the Intercom stand-in promises, over real HTTP.

use serde_json::{Value, json};

use super::knobs::EmailConflict;
use super::*;
use crate::sim::client::{self, Reply};
use crate::sim::faults::What;

async fn call(intercom: &Intercom, method: &str, path: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", intercom.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("intercom-version", "2.16"),
        ("accept", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    client::send(
        method,
        &format!("{}{path}", intercom.base_url()),
        &headers,
        body,
    )
    .await
    .unwrap()
}

async fn create(intercom: &Intercom, body: Value) -> Reply {
    call(intercom, "POST", "/contacts", body).await
}

async fn put(intercom: &Intercom, id: &str, body: Value) -> Reply {
    call(intercom, "PUT", &format!("/contacts/{id}"), body).await
}

async fn get(intercom: &Intercom, path: &str) -> Reply {
    call(intercom, "GET", path, Value::Null).await
}

async fn search(intercom: &Intercom, query: Value) -> Reply {
    call(
        intercom,
        "POST",
        "/contacts/search",
        json!({"query": query}),
    )
    .await
}

fn filter(field: &str, operator: &str, value: impl Into<Value>) -> Value {
    json!({"field": field, "operator": operator, "value": value.into()})
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn error(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    let word = |name: &str| {
        body["errors"][0][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
    (reply.status, word("code"), word("message"))
}

fn found(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.json());
    let body = reply.json();
    body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_created_user_is_read_at_once_and_searched_later() {
    let intercom = Intercom::start().await;
    let reply = create(
        &intercom,
        json!({"role": "user", "external_id": "7", "email": "Ann@example.org", "name": "Ann Lee", "phone": "+16025550144"}),
    )
    .await;
    let ann = id(&reply);
    assert_eq!(ann.len(), 24);
    assert_eq!(reply.header("intercom-version"), Some("2.16"));
    let body = get(&intercom, &format!("/contacts/{ann}")).await.json();
    assert_eq!(
        (&body["email"], &body["role"]),
        (&json!("Ann@example.org"), &json!("user"))
    );
    assert_eq!(body["tags"]["url"], format!("/contacts/{ann}/tags"));
    assert_eq!(
        id(&get(&intercom, "/contacts/find_by_external_id/7").await),
        ann
    );

    assert!(found(&search(&intercom, filter("email", "=", "ann@example.org")).await).is_empty());
    assert!(found(&get(&intercom, "/contacts").await).is_empty());
    intercom.clock().advance_ms(60_000);
    assert_eq!(
        found(&search(&intercom, filter("email", "=", "ann@example.org")).await),
        [ann.as_str()]
    );
    assert_eq!(found(&get(&intercom, "/contacts").await), [ann]);
    assert_eq!(
        (
            intercom.count("create"),
            intercom.count("search"),
            intercom.calls()
        ),
        (1, 2, 7)
    );
}

#[tokio::test]
async fn search_shows_old_values_of_updated_and_archived_contacts() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("old@example.org"));
    put(&intercom, &ann, json!({"email": "new@example.org"})).await;
    let old = search(
        &intercom,
        filter("email", "IN", json!(["old@example.org", "new@example.org"])),
    )
    .await;
    assert_eq!(old.json()["data"][0]["email"], "old@example.org");
    intercom.clock().advance_ms(30_000);
    call(
        &intercom,
        "POST",
        &format!("/contacts/{ann}/archive"),
        json!({}),
    )
    .await;
    intercom.clock().advance_ms(30_000);
    assert_eq!(
        found(&search(&intercom, filter("email", "=", "new@example.org")).await),
        [ann.as_str()]
    );
    assert!(found(&search(&intercom, filter("email", "=", "old@example.org")).await).is_empty());
    intercom.reindex_now();
    let gone = search(&intercom, filter("email", "=", "new@example.org")).await;
    assert_eq!(
        (found(&gone).len(), &gone.json()["pages"]["total_pages"]),
        (0, &json!(0))
    );
    assert_eq!(
        get(&intercom, &format!("/contacts/{ann}")).await.status,
        404
    );
}

#[tokio::test]
async fn identifiers_of_users_are_unique_in_every_standing() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org").external_id("7"));
    let same_id = json!({"external_id": "7", "email": "other@example.org"});
    let (status, code, message) = error(&create(&intercom, same_id.clone()).await);
    assert_eq!((status, code.as_str()), (409, "conflict"));
    assert_eq!(
        message,
        format!("A contact matching those details already exists with id={ann}")
    );

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
async fn leads_have_ids_of_their_own_and_become_users_by_one_put() {
    let intercom = Intercom::start().await;
    let reply = create(
        &intercom,
        json!({"role": "lead", "external_id": "7", "email": "a@example.org"}),
    )
    .await;
    let lead = id(&reply);
    assert_eq!(reply.json()["external_id"].as_str().unwrap().len(), 36);
    assert_eq!(
        create(&intercom, json!({"role": "lead", "email": "a@example.org"}))
            .await
            .status,
        200
    );
    assert_eq!(
        create(&intercom, json!({"email": "a@example.org"}))
            .await
            .status,
        200
    );

    let ignored = put(&intercom, &lead, json!({"external_id": "7"})).await;
    assert_eq!(ignored.json()["external_id"].as_str().unwrap().len(), 36);
    assert_eq!(
        get(&intercom, "/contacts/find_by_external_id/7")
            .await
            .status,
        404
    );
    let user = put(
        &intercom,
        &lead,
        json!({"role": "user", "external_id": "7"}),
    )
    .await
    .json();
    assert_eq!(
        (&user["id"], &user["role"], &user["external_id"]),
        (&json!(lead), &json!("user"), &json!("7"))
    );
    let back = error(&put(&intercom, &lead, json!({"role": "lead"})).await);
    assert_eq!((back.0, back.1.as_str()), (400, "client_error"));
}

#[tokio::test]
async fn nulls_clear_and_unchanged_puts_keep_the_time() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(
        Seed::with_email("ann@example.org")
            .external_id("7")
            .name("Ann")
            .phone("+16025550144"),
    );
    let before = intercom.contact(&ann).unwrap().updated_at;
    intercom.clock().advance_ms(5000);
    let same = put(
        &intercom,
        &ann,
        json!({"name": "Ann", "email": "ann@example.org"}),
    )
    .await
    .json();
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
async fn puts_conflict_where_the_switches_say() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("ann@example.org").external_id("7"));
    let bob = intercom.add_user(Seed::with_email("bob@example.org").external_id("8"));
    assert_eq!(
        put(&intercom, &bob, json!({"external_id": "7"}))
            .await
            .status,
        409
    );
    assert_eq!(
        put(&intercom, &bob, json!({"email": "ann@example.org"}))
            .await
            .status,
        200
    );
    intercom.knobs(|knobs| knobs.put_email_conflict = true);
    assert_eq!(
        put(
            &intercom,
            &bob,
            json!({"email": "ann@example.org", "name": "B"})
        )
        .await
        .status,
        200
    );
    assert_eq!(
        put(&intercom, &bob, json!({"email": "Ann@example.org"}))
            .await
            .status,
        409
    );
    intercom.archive(&ann);
    intercom.knobs(|knobs| knobs.put_archived_external_id_conflict = true);
    assert_eq!(
        put(&intercom, &bob, json!({"external_id": "7"}))
            .await
            .status,
        409
    );
    intercom.knobs(|knobs| knobs.put_archived_external_id_conflict = false);
    assert_eq!(
        put(&intercom, &bob, json!({"external_id": "7"}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn unarchiving_depends_on_how_the_contact_went() {
    let intercom = Intercom::start().await;
    let seed = |number: usize| Seed::with_email(&format!("{number}@example.org"));
    let [ann, bob, cyn, dan] = [1, 2, 3, 4].map(|number| intercom.add_user(seed(number)));
    intercom.archive(&ann);
    intercom.delete(&bob);
    intercom.merge(&cyn, &dan);
    let unarchive = async |id: &str| {
        call(
            &intercom,
            "POST",
            &format!("/contacts/{id}/unarchive"),
            json!({}),
        )
        .await
    };
    let back = unarchive(&ann).await.json();
    assert_eq!(
        back,
        json!({"type": "contact", "id": ann, "external_id": null, "archived": false})
    );
    assert!(
        error(&unarchive(&bob).await)
            .2
            .contains("permanent deletion")
    );
    assert!(error(&unarchive(&cyn).await).2.contains("merged"));
    let deleted = call(
        &intercom,
        "DELETE",
        &format!("/contacts/{ann}"),
        Value::Null,
    )
    .await
    .json();
    assert_eq!(deleted["deleted"], true);
    intercom.block(&dan);
    assert_eq!(error(&unarchive(&dan).await).1, "not_restorable");
}

#[tokio::test]
async fn a_merged_contact_answers_410_with_the_way_to_its_survivor() {
    let intercom = Intercom::start().await;
    let user = intercom.add_user(Seed::with_email("ann@example.org"));
    let lead = intercom.add_lead(Seed::with_email("lead@example.org"));
    let merge = |skip: bool| json!({"from": lead, "into": user, "skip_duplicate_validation": skip});
    let refused = call(&intercom, "POST", "/contacts/merge", merge(false)).await;
    assert_eq!(error(&refused).1, "invalid_merge");
    assert_eq!(
        id(&call(&intercom, "POST", "/contacts/merge", merge(true)).await),
        user
    );
    let gone = get(&intercom, &format!("/contacts/{lead}")).await;
    assert_eq!(error(&gone).1, "contact_merged");
    let link = format!("</contacts/{user}>; rel=\"canonical\"");
    assert_eq!(
        (gone.status, gone.header("link")),
        (410, Some(link.as_str()))
    );
    assert_eq!(
        put(&intercom, &lead, json!({"name": "X"})).await.status,
        410
    );
    intercom.knobs(|knobs| knobs.put_merged_is_gone = false);
    assert_eq!(
        put(&intercom, &lead, json!({"name": "X"})).await.status,
        404
    );
}

#[tokio::test]
async fn search_takes_groups_within_its_limits() {
    let intercom = Intercom::start().await;
    let ids: Vec<_> = (0..20)
        .map(|number| {
            intercom.add_user(
                Seed::with_email(&format!("{number}@example.org")).external_id(number.to_string()),
            )
        })
        .collect();
    let emails = |range: std::ops::Range<usize>| {
        filter(
            "email",
            "IN",
            range
                .map(|number| format!("{number}@example.org"))
                .collect::<Vec<_>>(),
        )
    };
    let group = |operator: &str, parts: Vec<Value>| json!({"operator": operator, "value": parts});
    assert_eq!(found(&search(&intercom, emails(0..15)).await).len(), 15);
    assert_eq!(search(&intercom, emails(0..16)).await.status, 400);
    let users = filter("role", "=", "user");
    let both = group("AND", vec![users.clone(), emails(3..5)]);
    assert_eq!(found(&search(&intercom, both).await).len(), 2);
    let nested = group(
        "OR",
        vec![
            group("OR", vec![emails(0..15)]),
            group("OR", vec![emails(15..20), filter("external_id", "=", "3")]),
        ],
    );
    assert_eq!(found(&search(&intercom, nested.clone()).await).len(), 20);
    intercom.knobs(|knobs| knobs.allow_nested_search = false);
    assert_eq!(search(&intercom, nested.clone()).await.status, 400);
    intercom.knobs(|knobs| knobs.allow_nested_search = true);
    assert_eq!(
        search(&intercom, group("AND", vec![group("OR", vec![nested])]))
            .await
            .status,
        400
    );
    assert_eq!(
        search(&intercom, group("OR", vec![users.clone(); 16]))
            .await
            .status,
        400
    );
    assert_eq!(
        search(&intercom, filter("email", "LIKE", "x")).await.status,
        400
    );
    assert_eq!(search(&intercom, filter("email", "=", 5)).await.status, 400);
    assert_eq!(
        search(&intercom, filter("shoe", "=", "x")).await.status,
        400
    );
    assert_eq!(
        found(&search(&intercom, filter("id", "=", ids[4].as_str())).await),
        [ids[4].as_str()]
    );
}

#[tokio::test]
async fn cursors_lead_through_all_pages_of_search_and_list() {
    let intercom = Intercom::start().await;
    let mut ids: Vec<_> = (0..7)
        .map(|number| intercom.add_user(Seed::with_email(&format!("{number}@example.org"))))
        .collect();
    for order in ["ascending", "descending"] {
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        loop {
            let body = json!({
                "query": filter("role", "=", "user"), "sort": {"field": "email", "order": order},
                "pagination": {"per_page": 3, "starting_after": after},
            });
            let reply = call(&intercom, "POST", "/contacts/search", body).await;
            seen.extend(found(&reply));
            after = reply.json()["pages"]["next"]["starting_after"].clone();
            if after.is_null() {
                break;
            }
        }
        assert_eq!(seen.len(), 7);
        ids.reverse();
        assert_eq!(
            seen.iter().rev().collect::<Vec<_>>(),
            ids.iter().collect::<Vec<_>>(),
            "{order}"
        );
    }
    let first = get(&intercom, "/contacts?per_page=4").await.json();
    assert_eq!(
        (&first["total_count"], &first["pages"]["total_pages"]),
        (&json!(7), &json!(2))
    );
    let after = first["pages"]["next"]["starting_after"].as_str().unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("per_page", "4"), ("starting_after", after)])
        .finish();
    let second = get(&intercom, &format!("/contacts?{query}")).await;
    assert_eq!(
        (found(&second).len(), &second.json()["pages"]["next"]),
        (3, &Value::Null)
    );
    assert_eq!(get(&intercom, "/contacts?per_page=151").await.status, 400);
}

#[tokio::test]
async fn limits_show_in_headers_and_strangers_see_none() {
    let intercom = Intercom::start().await;
    intercom.knobs(|knobs| (knobs.limit, knobs.retry_after) = (Some(2), Some(3)));
    let first = get(&intercom, "/me").await;
    assert_eq!(first.json()["app"]["id_code"], "abc123");
    assert_eq!(first.header("x-ratelimit-remaining"), Some("2"));
    let missing = get(&intercom, "/contacts/nobody").await;
    assert_eq!(
        (missing.status, missing.header("x-ratelimit-remaining")),
        (404, Some("1"))
    );
    let refused = get(&intercom, "/me").await;
    assert_eq!(
        error(&refused),
        (
            429,
            "rate_limit_exceeded".to_owned(),
            "Exceeded rate limit of 2 in 10_seconds".to_owned()
        )
    );
    assert_eq!(refused.header("retry-after"), Some("3"));
    assert_eq!(
        (intercom.windows()[0].1, intercom.refused_by_limit()),
        (2, 1)
    );

    intercom.set_token("new");
    let url = format!("{}/me", intercom.base_url());
    let stranger = client::send("GET", &url, &[("authorization", "Bearer old")], "")
        .await
        .unwrap();
    assert_eq!(error(&stranger).1, "unauthorized");
    assert_eq!(stranger.header("x-ratelimit-limit"), None);
    assert!(!intercom.ledger().last().unwrap().authorization_ok);
}

#[tokio::test]
async fn moods_of_the_server() {
    let intercom = Intercom::start().await;
    intercom.knobs(|knobs| {
        knobs.refuse_emails.insert("bad@example.org".to_owned());
        knobs.attributes.insert("plan".to_owned());
    });
    let refused = error(&create(&intercom, json!({"email": "bad@example.org"})).await);
    assert!(refused.1 == "parameter_invalid" && refused.2.contains("bad@example.org"));
    let attributes =
        |name: &str| json!({"email": "a@example.org", "custom_attributes": {name: "pro"}});
    assert_eq!(
        error(&create(&intercom, attributes("xyz")).await).2,
        "Custom attribute 'xyz' does not exist"
    );
    assert_eq!(
        create(&intercom, attributes("plan")).await.json()["custom_attributes"]["plan"],
        "pro"
    );
    assert_eq!(create(&intercom, json!({"role": "user"})).await.status, 400);
    intercom.knobs(|knobs| knobs.plan_restricted = true);
    assert_eq!(error(&get(&intercom, "/me").await).1, "api_plan_restricted");
    intercom.knobs(|knobs| knobs.version_unknown = true);
    assert_eq!(
        error(&get(&intercom, "/me").await).1,
        "intercom_version_invalid"
    );
}

#[tokio::test]
async fn of_two_creates_at_once_one_wins() {
    let intercom = Intercom::start().await;
    intercom.knobs(|knobs| knobs.latency_ms = 20);
    let body = || json!({"external_id": "7", "email": "a@example.org"});
    let (one, other) = tokio::join!(create(&intercom, body()), create(&intercom, body()));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(intercom.by_external_id("7").len(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_contact_behind() {
    let intercom = Intercom::start().await;
    intercom.fault(Fault::on("create").key("7").what(What::ApplyThenDrop));
    let url = format!("{}/contacts", intercom.base_url());
    let bearer = format!("Bearer {}", intercom.token());
    let headers = [("authorization", bearer.as_str())];
    let body = r#"{"external_id":"7","email":"a@example.org"}"#;
    assert!(client::send("POST", &url, &headers, body).await.is_err());
    assert_eq!(intercom.by_email("A@example.org").len(), 1);
    let call = &intercom.ledger()[0];
    assert_eq!(
        (call.status, call.applied, call.external_id.as_deref()),
        (0, true, Some("7"))
    );
}
