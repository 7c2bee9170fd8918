//! What the client sends to Keap and how it reads the answers (`docs/api/keap.md`).

use chrono::DateTime;
use keap_intercom_sync::app::Models;
use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::keap::{KeapClient, PageQuery, Place, Row, Show};
use keap_intercom_sync::mapping::Mapping;
use keap_intercom_sync::remote::{Credential, Failure, Lane};
use serde_json::json;
use wiremock::matchers::{any, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{SECOND, class, header, only_request, query, settings, url};

pub(super) fn client(server: &MockServer) -> KeapClient {
    client_at(url(server, "/crm/rest"))
}

/// A client that waits longer than a second.
pub(super) fn patient_client(server: &MockServer) -> KeapClient {
    client_with(url(server, "/crm/rest"), &[("KEAP__REQUEST_TIMEOUT_MS", "60000")])
}

fn client_at(base_url: url::Url) -> KeapClient {
    client_with(base_url, &[])
}

fn client_with(base_url: url::Url, more: &[(&str, &str)]) -> KeapClient {
    let settings = settings(&[&[("KEAP_BASE_URL", base_url.as_str())], more].concat());
    let credential = Credential::new(&"KeapAK-canary".into(), "KEAP_API_KEY").unwrap();
    KeapClient::new(
        &settings.keap,
        &settings.sync,
        &Models::default().fit(&Mapping::default()).keap(),
        credential,
    )
    .unwrap()
}

async fn answering(response: ResponseTemplate) -> (MockServer, KeapClient) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let client = client(&server);
    (server, client)
}

fn id(n: i64) -> KeapId {
    KeapId::new(n).unwrap()
}

pub(super) fn everything() -> PageQuery {
    PageQuery {
        from: None,
        until: None,
        place: Place::Start,
        page_size: 1000,
        show: Show::Everything,
    }
}

pub(super) fn empty_list() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "contacts": [], "next_page_token": "" }))
}

#[tokio::test]
async fn a_page_is_requested_by_window_and_id() {
    let (server, keap) = answering(empty_list()).await;
    let at = |seconds| DateTime::from_timestamp(seconds, 1_000_000);
    let query_of = PageQuery {
        from: at(1_767_225_600),
        until: at(1_767_229_200),
        place: Place::After(id(4121)),
        page_size: 1000,
        show: Show::Everything,
    };
    keap.page(Lane::Bulk, &query_of).await.unwrap();

    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("GET", "/crm/rest/v2/contacts"));
    let expected = [
        ("fields", "id,given_name,family_name,email_addresses,phone_numbers,update_time"),
        (
            "filter",
            "start_update_time==2026-01-01T00:00:00.001Z;end_update_time==2026-01-01T01:00:00.001Z;contact_id>4121",
        ),
        ("order_by", "id asc"),
        ("page_size", "1000"),
    ];
    assert_eq!(query(&request), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Keap accepts a space only as %20, and a GET only without a body.
    assert!(request.url.query().unwrap().contains("order_by=id%20asc"));
    assert!(request.body.is_empty() && request.headers.get("content-type").is_none());
    assert_eq!(header(&request, "authorization"), "Bearer KeapAK-canary");
    assert_eq!(header(&request, "accept"), "application/json");
    assert!(header(&request, "user-agent").starts_with("keap-intercom-sync/"));
}

#[tokio::test]
async fn without_a_window_or_place_there_is_no_filter() {
    let (server, keap) = answering(empty_list()).await;
    keap.page(Lane::Bulk, &everything()).await.unwrap();

    assert!(query(&only_request(&server).await).iter().all(|(name, _)| name != "filter"));
}

#[tokio::test]
async fn a_page_token_is_sent_back_unchanged() {
    let (server, keap) = answering(empty_list()).await;
    keap.page(Lane::Bulk, &PageQuery { place: Place::Token("a+b/=".into()), ..everything() })
        .await
        .unwrap();

    assert!(query(&only_request(&server).await).contains(&("page_token".into(), "a+b/=".into())));
}

#[tokio::test]
async fn ids_are_read_together_by_the_old_filter_where_keap_refuses_the_new_one() {
    let server = MockServer::start().await;
    Mock::given(query_param("filter", "ids==7,8"))
        .respond_with(ResponseTemplate::new(400))
        .expect(1)
        .mount(&server)
        .await;
    let found = json!({ "contacts": [{ "id": "7" }, { "id": 8 }] });
    Mock::given(query_param("filter", "contact_ids==7,8"))
        .respond_with(ResponseTemplate::new(200).set_body_json(found))
        .expect(2)
        .mount(&server)
        .await;

    let keap = client(&server);
    for _ in 0..2 {
        let rows = keap.by_ids(Lane::Urgent, &[id(7), id(8)]).await.unwrap();
        assert_eq!(rows.iter().filter_map(Row::id).collect::<Vec<_>>(), [id(7), id(8)]);
    }
}

#[tokio::test]
async fn one_contact_is_read_by_its_id_and_a_404_says_that_it_is_gone() {
    let (server, keap) = answering(
        ResponseTemplate::new(404)
            .set_body_json(json!({ "message": "Unable to find this Contact" })),
    )
    .await;
    assert!(keap.by_id(Lane::Urgent, id(9)).await.unwrap().is_none());
    assert_eq!(only_request(&server).await.url.path(), "/crm/rest/v2/contacts/9");

    let (_server, keap) = answering(
        ResponseTemplate::new(404).set_body_raw("<html>Keap - Page Not Found</html>", "text/html"),
    )
    .await;
    let failure = keap.by_id(Lane::Urgent, id(9)).await.err().unwrap();
    assert_eq!(class(&failure), "stop", "a page for an unknown path does not prove a deletion");
    assert!(failure.to_string().contains("KEAP_BASE_URL"), "{failure}");
}

#[tokio::test]
async fn each_status_has_its_class() {
    let gateway = json!({ "fault": { "faultstring": "Invalid Access Token", "detail": { "errorcode": "keymanagement.service.invalid_access_token" } } });
    let v2 = json!({ "code": 400, "message": "ann@example.org is bad", "status": "INVALID_ARGUMENT", "details": null });
    for (status, body, expected, says) in [
        (400, v2.clone(), "never", "400 INVALID_ARGUMENT"),
        (401, gateway, "stop", "KEAP_API_KEY"),
        (402, json!({}), "stop", "rights"),
        (403, json!({}), "stop", "rights"),
        (404, json!({}), "stop", "KEAP_BASE_URL"),
        (405, json!({}), "never", "405"),
        (406, json!({}), "stop", "KEAP_BASE_URL"),
        (409, json!({}), "never", "409"),
        (412, json!({}), "never", "412"),
        (415, json!({}), "stop", "KEAP_BASE_URL"),
        (500, v2, "again", "500"),
        (501, json!({}), "never", "501"),
        (502, json!("<html>"), "again", "502"),
        (503, json!({}), "again", "503"),
        (504, json!({}), "again", "504"),
        (302, json!({}), "stop", "redirect"),
    ] {
        let (_server, keap) = answering(ResponseTemplate::new(status).set_body_json(body)).await;
        let failure = keap.page(Lane::Bulk, &everything()).await.err().unwrap();
        assert_eq!(class(&failure), expected, "{status}");
        let text = failure.to_string();
        assert!(
            text.contains(says) && text.starts_with("Keap ") && !text.contains('@'),
            "{status}: {text}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_list_never_counts_as_an_empty_list() {
    for body in [
        "",
        "{",
        "<html>maintenance</html>",
        "{}",
        "[]",
        "null",
        r#"{"contacts":{}}"#,
        r#"{"contacts":[{"id":"1"}"#,
    ] {
        let (_server, keap) =
            answering(ResponseTemplate::new(200).set_body_raw(body, "application/json")).await;
        let failure = keap.page(Lane::Bulk, &everything()).await.err().unwrap();
        assert_eq!(class(&failure), "again", "{body}");
    }

    let (_server, keap) = answering(
        ResponseTemplate::new(200)
            .set_body_json(json!({ "contacts": null, "next_page_token": null })),
    )
    .await;
    assert!(keap.page(Lane::Bulk, &everything()).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_revoked_key_is_used_twice_and_not_again() {
    let (server, keap) = answering(ResponseTemplate::new(401)).await;
    for _ in 0..10 {
        assert!(matches!(keap.page(Lane::Bulk, &everything()).await, Err(Failure::Stop { .. })));
    }
    // The second time by the harmless call.
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_call_that_gets_429_waits_and_is_repeated() {
    let server = MockServer::start().await;
    let throttled = json!({ "code": "429", "message": "Quota Exceeded", "status": "Request Throttled", "details": null });
    let refusal =
        ResponseTemplate::new(429).insert_header("retry-after", "1").set_body_json(throttled);
    Mock::given(any()).respond_with(refusal).up_to_n_times(2).with_priority(1).mount(&server).await;
    Mock::given(method("GET"))
        .and(path("/crm/rest/v2/contacts"))
        .respond_with(empty_list())
        .mount(&server)
        .await;

    let keap = client(&server);
    assert!(keap.page(Lane::Bulk, &everything()).await.unwrap().rows.is_empty());
    assert_eq!(keap.remote().calls(), 3);
}

#[tokio::test]
async fn a_used_up_day_is_reported_and_not_waited_for() {
    let response = empty_list()
        .insert_header("x-keap-product-quota-limit", "30000")
        .insert_header("x-keap-product-quota-available", "2999")
        .insert_header("x-keap-tenant-throttle-limit", "10000|250000")
        .insert_header("x-keap-tenant-throttle-available", "9990|249120");
    let (_server, keap) = answering(response).await;
    keap.page(Lane::Bulk, &everything()).await.unwrap();

    let failure = keap.page(Lane::Bulk, &everything()).await.err().unwrap();
    assert_eq!(class(&failure), "down");
    assert!(failure.to_string().contains("2999 of 30000"), "{failure}");
    assert!(
        keap.page(Lane::Urgent, &everything()).await.is_ok(),
        "the reserve is for urgent contacts"
    );
    assert_eq!(keap.remote().headroom().len(), 3);
}

#[tokio::test]
async fn the_newest_stamp_counts_only_when_keap_really_sorts() {
    let stamped = |stamps: &[&str]| {
        let rows: Vec<_> = stamps
            .iter()
            .enumerate()
            .map(|(n, at)| json!({ "id": n + 1, "update_time": at }))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({ "contacts": rows }))
    };
    let (server, keap) =
        answering(stamped(&["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"])).await;

    let newest = keap.newest(Lane::Bulk).await.unwrap();
    assert_eq!(newest.stamps[0].to_rfc3339(), "2026-01-02T00:00:00+00:00");
    assert!(
        query(&only_request(&server).await)
            .contains(&("order_by".into(), "update_time desc".into()))
    );

    let (_server, keap) =
        answering(stamped(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])).await;
    let newest = keap.newest(Lane::Bulk).await.unwrap();
    assert!(newest.stamps.is_empty() && newest.any);

    let server = MockServer::start().await;
    Mock::given(query_param("order_by", "update_time desc"))
        .respond_with(ResponseTemplate::new(400))
        .mount(&server)
        .await;
    let dated =
        stamped(&["2026-01-01T00:00:00Z"]).insert_header("date", "Tue, 24 Nov 2026 14:00:00 GMT");
    Mock::given(method("GET")).respond_with(dated).with_priority(10).mount(&server).await;
    let newest = client(&server).newest(Lane::Bulk).await.unwrap();
    assert!(newest.stamps.is_empty() && newest.any);
    assert_eq!(newest.date.unwrap().to_rfc3339(), "2026-11-24T14:00:00+00:00");
}

#[tokio::test]
async fn the_tenant_is_named_and_the_person_behind_the_key_is_not() {
    let info =
        json!({ "email": "canary@example.org", "given_name": "Canary", "tenant_id": "xy123" });
    let (server, keap) = answering(ResponseTemplate::new(200).set_body_json(info)).await;

    let account = keap.account().await.unwrap();
    assert_eq!(account.tenant.as_deref(), Some("xy123"));
    assert!(!format!("{account:?}").to_lowercase().contains("canary"));
    assert_eq!(only_request(&server).await.url.path(), "/crm/rest/v2/oauth/connect/userinfo");
}

#[tokio::test]
async fn a_silent_keap_fails_after_the_time_limit_and_an_unreachable_one_gets_few_calls() {
    let (_server, keap) = answering(empty_list().set_delay(10 * SECOND)).await;
    let failure = keap.page(Lane::Bulk, &everything()).await.err().unwrap();
    assert_eq!(
        (class(&failure), failure.to_string().as_str()),
        ("again", "Keap did not answer within 1000 ms")
    );

    // Nobody listens on this port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let keap = client_at(format!("http://127.0.0.1:{port}/crm/rest").parse().unwrap());
    let mut classes = Vec::new();
    for _ in 0..10 {
        classes.push(class(&keap.page(Lane::Bulk, &everything()).await.err().unwrap()));
    }
    assert_eq!(classes.last(), Some(&"down"), "{classes:?}");
    assert!(keap.remote().calls() <= 6, "{}", keap.remote().calls());
}
