//! Tests of search and list: the lag, the query language and the cursors.

use super::*;

#[tokio::test]
async fn a_new_user_is_found_by_id_at_once_and_by_search_later() {
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
    assert_eq!((&body["email"], &body["role"]), (&json!("Ann@example.org"), &json!("user")));
    assert_eq!(body["tags"]["url"], format!("/contacts/{ann}/tags"));
    assert_eq!(id(&get(&intercom, "/contacts/find_by_external_id/7").await), ann);

    assert!(found(&search(&intercom, filter("email", "=", "ann@example.org")).await).is_empty());
    assert!(found(&get(&intercom, "/contacts").await).is_empty());
    intercom.clock().advance_ms(60_000);
    assert_eq!(
        found(&search(&intercom, filter("email", "=", "ann@example.org")).await),
        [ann.as_str()]
    );
    assert_eq!(found(&get(&intercom, "/contacts").await), [ann]);
    assert_eq!((intercom.count("create"), intercom.count("search"), intercom.calls()), (1, 2, 7));
}

#[tokio::test]
async fn search_shows_old_values_of_updated_and_archived_contacts() {
    let intercom = Intercom::start().await;
    let ann = intercom.add_user(Seed::with_email("old@example.org"));
    put(&intercom, &ann, json!({"email": "new@example.org"})).await;
    let old =
        search(&intercom, filter("email", "IN", json!(["old@example.org", "new@example.org"])))
            .await;
    assert_eq!(old.json()["data"][0]["email"], "old@example.org");
    intercom.clock().advance_ms(30_000);
    call(&intercom, "POST", &format!("/contacts/{ann}/archive"), json!({})).await;
    intercom.clock().advance_ms(30_000);
    assert_eq!(
        found(&search(&intercom, filter("email", "=", "new@example.org")).await),
        [ann.as_str()]
    );
    assert!(found(&search(&intercom, filter("email", "=", "old@example.org")).await).is_empty());
    intercom.reindex_now();
    let gone = search(&intercom, filter("email", "=", "new@example.org")).await;
    assert_eq!((found(&gone).len(), &gone.json()["pages"]["total_pages"]), (0, &json!(0)));
    assert_eq!(get(&intercom, &format!("/contacts/{ann}")).await.status, 404);
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
            range.map(|number| format!("{number}@example.org")).collect::<Vec<_>>(),
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
    assert_eq!(search(&intercom, group("AND", vec![group("OR", vec![nested])])).await.status, 400);
    assert_eq!(search(&intercom, group("OR", vec![users.clone(); 16])).await.status, 400);
    assert_eq!(search(&intercom, filter("email", "LIKE", "x")).await.status, 400);
    assert_eq!(search(&intercom, filter("email", "=", 5)).await.status, 400);
    assert_eq!(search(&intercom, filter("shoe", "=", "x")).await.status, 400);
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
    assert_eq!((&first["total_count"], &first["pages"]["total_pages"]), (&json!(7), &json!(2)));
    let after = first["pages"]["next"]["starting_after"].as_str().unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("per_page", "4"), ("starting_after", after)])
        .finish();
    let second = get(&intercom, &format!("/contacts?{query}")).await;
    assert_eq!((found(&second).len(), &second.json()["pages"]["next"]), (3, &Value::Null));
    assert_eq!(get(&intercom, "/contacts?per_page=151").await.status, 400);
}
