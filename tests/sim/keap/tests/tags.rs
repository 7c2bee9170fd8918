//! Tests of tags, users and companies.

use serde_json::json;

use super::*;

async fn filtered(keap: &Keap, path: &str, params: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    get(keap, &format!("{path}?{query}")).await
}

/// The values of one property in a list.
fn values(reply: &Reply, list: &str, property: &str) -> Vec<String> {
    let body = reply.json();
    let rows = body[list].as_array().unwrap_or_else(|| panic!("{body} has no {list}"));
    rows.iter().map(|row| row[property].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_tag_moves_the_stamp_of_a_contact_only_if_the_knob_says_so() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let (vip, lead) = (keap.add_tag("VIP"), keap.add_tag("Lead"));
    assert_eq!(keap.add_tag("VIP"), vip);
    let stamp = keap.stamp_ms(id);
    keap.clock().advance_ms(2000);
    assert!(keap.apply_tag(id, vip) && keap.apply_tag(id, lead));
    assert!(!keap.apply_tag(id, vip) && !keap.apply_tag(id, 7) && !keap.apply_tag(99, vip));
    assert_eq!((keap.tags_of(id), keap.stamp_ms(id)), (vec!["Lead".into(), "VIP".into()], stamp));
    let row = get(&keap, &format!("/v2/contacts/{id}?fields=tag_ids")).await.json();
    assert_eq!(row["tag_ids"], json!([vip.to_string(), lead.to_string()]));

    keap.knobs(|knobs| knobs.tags_bump_update_time = true);
    assert!(keap.remove_tag(id, lead) && !keap.remove_tag(id, lead));
    assert_ne!(keap.stamp_ms(id), stamp);
    keap.delete_tag(vip);
    assert!(keap.tags_of(id).is_empty() && keap.person(id).unwrap().tag_ids.is_empty());
}

#[tokio::test]
async fn tags_are_listed_by_name_by_id_and_by_contact() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let tags = ["VIP", "Lead", "Late"].map(|name| keap.add_tag(name));
    let first = filtered(&keap, "/v2/tags", &[("page_size", "2")]).await;
    assert_eq!(values(&first, "tags", "name"), ["VIP", "Lead"]);
    let token = first.json()["next_page_token"].as_str().unwrap().to_owned();
    let second = filtered(&keap, "/v2/tags", &[("page_size", "2"), ("page_token", &token)]).await;
    assert_eq!(values(&second, "tags", "name"), ["Late"]);
    assert_eq!(second.json()["next_page_token"], "");

    let found = filtered(&keap, "/v2/tags", &[("filter", "name==la*")]).await;
    assert_eq!(values(&found, "tags", "name"), ["Late"]);
    let wanted = format!("tag_ids=={},{}", tags[0], tags[2]);
    let params = [("filter", wanted.as_str()), ("order_by", "name asc")];
    assert_eq!(
        values(&filtered(&keap, "/v2/tags", &params).await, "tags", "name"),
        ["Late", "VIP"]
    );
    assert_eq!(filtered(&keap, "/v2/tags", &[("filter", "colour==red")]).await.status, 400);

    keap.rename_tag(tags[2], "Later");
    keap.apply_tag(id, tags[2]);
    let body = get(&keap, &format!("/v2/contacts/{id}/tags")).await.json();
    assert_eq!(body["tags"][0]["tag"]["name"], "Later");
    assert!(body["tags"][0]["applied_time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&keap, "/v2/contacts/99/tags").await.status, 404);
}

#[tokio::test]
async fn the_contacts_of_a_tag_are_listed_by_the_time_of_its_application() {
    let keap = Keap::start().await;
    let tag = keap.add_tag("VIP");
    let path = format!("/v2/tags/{tag}/contacts");
    // An edit of the ids applies a tag as well.
    let early = keap.add(Person { tag_ids: vec![tag], ..ann() });
    keap.clock().advance_ms(60_000);
    let between = time(keap.clock().now_ms() - 30_000);
    let late = keap.add_many(1001, |_| ann());
    late.iter().for_each(|id| assert!(keap.apply_tag(*id, tag)));

    let since = format!("since_applied_time=={between}");
    let params = [("filter", since.as_str()), ("page_size", "1000")];
    let page = filtered(&keap, &path, &params).await;
    assert_eq!(values(&page, "contacts", "id").len(), 1000);
    let token = page.json()["next_page_token"].as_str().unwrap().to_owned();
    // A contact that goes between two pages hides no other.
    keap.delete(late[999]);
    let rest =
        filtered(&keap, &path, &[&params[..], &[("page_token", token.as_str())]].concat()).await;
    assert_eq!(values(&rest, "contacts", "id"), [late[1000].to_string()]);

    let until = format!("until_applied_time=={between}");
    let old = filtered(&keap, &path, &[("filter", &until)]).await;
    assert_eq!(values(&old, "contacts", "id"), [early.to_string()]);
    assert_eq!(values(&old, "contacts", "email"), ["ann@example.org"]);
    let newest = filtered(&keap, &path, &[("order_by", "applied_time desc")]).await;
    assert_eq!(values(&newest, "contacts", "id").len(), 50);
    assert_eq!(filtered(&keap, "/v2/tags/1/contacts", &[]).await.status, 404);
}

#[tokio::test]
async fn tags_can_be_applied_and_removed_by_calls() {
    let keap = Keap::start().await;
    let (id, tag) = (keap.add(ann()), keap.add_tag("VIP"));
    let bearer = format!("Bearer {}", keap.token());
    let body = json!({"contact_ids": [id.to_string(), "99"]}).to_string();
    let post = async |action: &str| {
        let url = format!("{}/v2/tags/{tag}/contacts:{action}", keap.base_url());
        client::send("POST", &url, &[("authorization", &bearer)], body.clone()).await.unwrap()
    };
    let results = post("applyTags").await.json()["results"].clone();
    assert_eq!(results, json!({id.to_string(): "SUCCESS", "99": "CONTACT_NOT_FOUND"}));
    assert_eq!(post("applyTags").await.json()["results"][id.to_string()], "DUPLICATE");
    assert_eq!(keap.tagged(tag), [id]);
    assert_eq!(post("removeTags").await.status, 204);
    assert!(keap.tagged(tag).is_empty());
}

#[tokio::test]
async fn users_are_listed_with_their_addresses_and_the_inactive_ones_on_request() {
    let keap = Keap::start().await;
    let uma = keap.add_user("uma.young@example.org");
    let gone = keap.add_user("gone@example.org");
    keap.edit_user(gone, |user| user.status = "INACTIVE".to_owned());
    let active = filtered(&keap, "/v2/users", &[]).await;
    assert_eq!(values(&active, "users", "id"), ["1001".to_owned(), uma.to_string()]);
    let row = &active.json()["users"][1];
    assert_eq!(row["email_addresses"][0]["email"], "uma.young@example.org");
    assert_eq!((&row["given_name"], &row["status"]), (&json!("uma"), &json!("ACTIVE")));
    let all = filtered(&keap, "/v2/users", &[("filter", "include_inactive==true")]).await;
    assert_eq!(values(&all, "users", "id").len(), 3);
    let one = filtered(&keap, "/v2/users", &[("filter", "email==UMA.young@example.org")]).await;
    assert_eq!(values(&one, "users", "id"), [uma.to_string()]);
    assert_eq!(filtered(&keap, "/v2/users", &[("page_size", "101")]).await.status, 400);
}

#[tokio::test]
async fn companies_are_listed_and_a_new_name_shows_on_their_contacts() {
    let keap = Keap::start().await;
    let id = keap.add(ann());
    let glass = keap.add_company("Okafor Glass");
    let wood = keap.add_company("Okafor Wood");
    keap.set_company(id, glass, "Okafor Glass");
    let stamp = keap.stamp_ms(id);
    let names = async |filter: &str| {
        let reply = filtered(&keap, "/v2/companies", &[("filter", filter)]).await;
        values(&reply, "companies", "company_name")
    };
    assert_eq!(names("company_name==okafor glass").await, ["Okafor Glass"]);
    assert_eq!(names("name==Okafor*").await.len(), 2);
    assert_eq!(names(&format!("company_id>{glass}")).await, ["Okafor Wood"]);
    keap.rename_company(glass, "Glass & Sons");
    let row = get(&keap, &format!("/v2/contacts/{id}?fields=company")).await.json();
    assert_eq!(row["company"], json!({"id": glass.to_string(), "company_name": "Glass & Sons"}));
    assert_eq!((keap.stamp_ms(id), wood), (stamp, glass + 1));
}
