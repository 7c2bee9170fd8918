//! Tests of lists, windows, page tokens and single contacts.

use super::*;

#[tokio::test]
async fn a_list_shows_only_ids_and_names_unless_a_call_asks_for_more() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let reply = list(&keap, &[("email", "nobody@example.org")]).await;
    let id = id.to_string();
    let expected = serde_json::json!({
        "contacts": [{"id": id, "given_name": "Ann", "family_name": "Lee"}], "next_page_token": "",
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("x-keap-tenant-id"), Some("xy123.infusionsoft.com"));

    let row = list(&keap, &[("fields", USUAL)]).await.json()["contacts"][0].clone();
    assert_eq!(row["email_addresses"][0]["field"], "EMAIL1");
    assert_eq!(row["phone_numbers"][0]["number_e164"], "+16025550144");
    assert_eq!(keap.count("list"), 2);
}

#[tokio::test]
async fn a_window_walk_by_id_sees_every_contact_of_one_stamp_once() {
    let keap = Keap::start().await;
    keap.add_many(2500, |_| ann());
    keap.bulk_edit(Which::All, |person| person.job_title = Some("Buyer".to_owned()));
    let stamp = keap.stamp_ms(1).unwrap();
    let (start, end) = (time(stamp - 2000), time(stamp + 2000));
    let mut seen = Vec::new();
    loop {
        let last = seen.last().copied().unwrap_or(0);
        let filter = format!("start_update_time=={start};end_update_time=={end};contact_id>{last}");
        let params = [("filter", filter.as_str()), ("order_by", "id asc"), ("page_size", "1000")];
        let page = ids(&list(&keap, &params).await);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, (1..=2500).collect::<Vec<_>>());
}

#[tokio::test]
async fn tokens_of_every_style_lead_through_all_pages() {
    let keap = Keap::start().await;
    keap.add_many(7, |_| ann());
    for style in [TokenStyle::Opaque, TokenStyle::LastId, TokenStyle::FullUrl, TokenStyle::Null] {
        for order in [
            "id asc",
            "id desc",
            "update_time asc",
            "update_time desc",
            "email asc",
            "create_time desc",
        ] {
            keap.knobs(|knobs| knobs.token_style = style);
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let reply =
                    list(&keap, &[("page_size", "3"), ("order_by", order), ("page_token", &token)])
                        .await;
                seen.extend(ids(&reply));
                match &reply.json()["next_page_token"] {
                    Value::String(next) if !next.is_empty() => {
                        token = next.rsplit("page_token=").next().unwrap().to_owned();
                    }
                    end => {
                        assert_eq!(end.is_null(), style == TokenStyle::Null);
                        break;
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (1..=7).collect::<Vec<_>>(), "{style:?} {order}");
        }
    }
}

#[tokio::test]
async fn stamps_are_rounded_and_a_bound_can_exclude_its_instant() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    keap.set_stamp_ms(id, Some(1_787_156_430_731));
    let shown = |rounding| {
        keap.knobs(|knobs| knobs.rounding = rounding);
        list(&keap, &[("fields", "update_time")])
    };
    let time_of = |reply: Reply| reply.json()["contacts"][0]["update_time"].clone();
    assert_eq!(time_of(shown(Rounding::HalfUp).await), "2026-08-19T16:20:31Z");
    assert_eq!(time_of(shown(Rounding::Floor).await), "2026-08-19T16:20:30Z");
    keap.knobs(|knobs| knobs.rounding = Rounding::HalfUp);

    let found = async |start: i64, end: i64| {
        let filter = format!("start_update_time=={};end_update_time=={}", time(start), time(end));
        ids(&list(&keap, &[("filter", &filter)]).await).len()
    };
    let second = 1_787_156_431_000;
    assert_eq!(found(second, second).await, 1);
    assert_eq!(found(second - 5000, second - 1).await, 0);
    keap.knobs(|knobs| knobs.inclusive_end = false);
    assert_eq!(found(second, second).await, 0);
    assert_eq!(found(second, second + 1).await, 1);
    keap.knobs(|knobs| (knobs.inclusive_end, knobs.inclusive_start) = (true, false));
    assert_eq!(found(second, second + 1).await, 0);
    keap.knobs(|knobs| (knobs.inclusive_start, knobs.compare_millis) = (true, true));
    assert_eq!(found(second - 300, second - 1).await, 1);
}

#[tokio::test]
async fn a_late_change_shows_by_id_at_once_and_in_lists_later() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    keap.knobs(|knobs| knobs.visibility_delay_ms = 5000);
    keap.edit(id, |person| person.given_name = Some("Anna".to_owned()));
    let new = keap.add(ann());
    let by_id = get(&keap, &format!("/v2/contacts/{id}")).await.json();
    assert_eq!(by_id["given_name"], "Anna");
    let listed = list(&keap, &[]).await;
    assert_eq!(listed.json()["contacts"][0]["given_name"], "Ann");
    assert_eq!(ids(&listed), [id]);
    for order in ["update_time desc", "id asc"] {
        assert_eq!(ids(&list(&keap, &[("order_by", order)]).await).len(), 1);
    }
    keap.knobs(|knobs| knobs.visibility_delay_ms = 0);
    keap.hide_until(id, keap.clock().now_ms() + 4000);
    keap.edit(id, |person| person.job_title = None);
    assert!(ids(&list(&keap, &[]).await).is_empty());
    keap.clock().advance_ms(5001);
    assert_eq!(list(&keap, &[]).await.json()["contacts"][0]["given_name"], "Anna");
    assert_eq!(ids(&list(&keap, &[("order_by", "update_time desc")]).await), [id, new]);
}

#[tokio::test]
async fn lists_can_glitch_fail_on_a_poisoned_row_and_hold_a_malformed_one() {
    let keap = Keap::start().await;
    keap.add_many(3, |_| ann());
    keap.knobs(|knobs| {
        knobs.glitch_empty = 1;
        knobs.empty_page_with_token = 1;
        knobs.poison.insert(3);
        knobs.malformed.insert(1, serde_json::json!({"id": {}}));
    });
    assert!(ids(&list(&keap, &[]).await).is_empty());
    let empty = list(&keap, &[]).await.json();
    assert!(empty["contacts"].as_array().unwrap().is_empty() && empty["next_page_token"] != "");
    assert_eq!(list(&keap, &[]).await.status, 500);
    let token = empty["next_page_token"].as_str().unwrap();
    let page = list(&keap, &[("page_size", "2"), ("page_token", token)]).await.json();
    assert_eq!(page["contacts"][0], serde_json::json!({"id": {}}));
    assert_eq!(page["contacts"][1]["id"], "2");
    assert_eq!(get(&keap, "/v2/contacts/3").await.status, 200);
    keap.knobs(|knobs| (knobs.poison_by_id, knobs.ids_as_numbers) = (true, IdsAsNumbers::Always));
    assert_eq!(get(&keap, "/v2/contacts/3").await.status, 500);
    assert_eq!(get(&keap, "/v2/contacts/2").await.json()["id"], 2);
}

#[tokio::test]
async fn contacts_can_be_edited_between_pages() {
    let keap = Keap::start().await;
    keap.add_many(4, |_| ann());
    keap.knobs(|knobs| {
        knobs.between_pages = Some(Arc::new(|keap, number| {
            keap.delete(number as i64);
        }));
    });
    assert_eq!(ids(&list(&keap, &[]).await), [2, 3, 4]);
    assert_eq!(ids(&list(&keap, &[]).await), [3, 4]);
}

#[tokio::test]
async fn a_patch_replaces_what_its_mask_names() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let bearer = format!("Bearer {}", keap.token());
    let url = format!("{}/v2/contacts/{id}?update_mask=email_addresses", keap.base_url());
    let body =
        r#"{"given_name":"X","email_addresses":[{"email":"new@example.org","field":"EMAIL2"}]}"#;
    let reply = client::send("PATCH", &url, &[("authorization", &bearer)], body).await.unwrap();
    assert_eq!(reply.status, 200);
    let person = keap.person(id).unwrap();
    assert_eq!(person.given_name.as_deref(), Some("Ann"));
    assert_eq!(person.emails, [("EMAIL2".to_owned(), "new@example.org".to_owned())]);
    assert!(keap.ledger()[0].applied);
}

#[tokio::test]
async fn v1_has_a_count_links_and_its_own_form_of_stamps() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    keap.set_stamp_ms(id, Some(1_787_156_430_731));
    let page =
        get(&keap, "/v1/contacts?limit=2&offset=2&since=2026-01-01T00:00:00.000Z").await.json();
    assert_eq!(page["contacts"].as_array().unwrap().len(), 0);
    assert_eq!(page["count"], 1);
    assert!(page["next"].as_str().unwrap().contains("offset=4"));
    let one = get(&keap, &format!("/v1/contacts/{id}")).await.json();
    assert_eq!(
        (&one["id"], &one["last_updated"]),
        (&Value::from(id), &"2026-08-19T16:20:31.000+0000".into())
    );
    assert_eq!(one["last_updated_utc_millis"], 1_787_156_430_731_i64);
}
