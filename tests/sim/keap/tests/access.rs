//! Tests of the checks before every route, and of faults.

use super::*;

#[tokio::test]
async fn refused_requests_have_keaps_error_bodies() {
    let keap = Keap::start().await;
    for params in
        [("filter", "shoe==1"), ("page_size", "1001"), ("order_by", "name asc"), ("fields", "shoe")]
    {
        let reply = list(&keap, &[params]).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &Value::from(400)), "{params:?}");
    }
    let missing = get(&keap, "/v2/contacts/9999").await;
    assert_eq!(
        (missing.status, &missing.json()["details"][0]["resource"]),
        (404, &Value::from("9999"))
    );
    let unknown = get(&keap, "/v2/nothing").await;
    assert!(
        unknown.status == 404 && unknown.header("content-type").unwrap().starts_with("text/html")
    );

    let url = format!("{}/v2/contacts", keap.base_url());
    let stranger = client::send("GET", &url, &[], "").await.unwrap();
    assert_eq!(stranger.json()["fault"]["detail"]["errorcode"], "oauth.v2.InvalidAccessToken");
    let garbage = client::send("GET", &url, &[("authorization", "Bearer x")], "").await.unwrap();
    assert_eq!(garbage.status, 401);
    let with_body =
        client::send("GET", &url, &[("authorization", "Bearer x")], "{}").await.unwrap();
    assert_eq!(with_body.status, 400);
}

#[tokio::test]
async fn a_full_limit_refuses_calls_and_shows_in_the_headers() {
    let keap = Keap::start().await;
    keap.knobs(|knobs| {
        knobs.exact_limits();
        knobs.per_second = None;
        knobs.per_minute = Some(3);
        knobs.retry_after = Some(7);
    });
    let reply = get(&keap, "/v2/oauth/connect/userinfo").await;
    assert_eq!(reply.json()["tenant_id"], "xy123.infusionsoft.com");
    assert_eq!(reply.header("x-keap-product-throttle-available"), Some("2"));
    assert_eq!(reply.header("x-keap-product-quota-used"), Some("1"));
    assert_eq!(reply.header("x-keap-tenant-throttle-used"), Some("1|1"));
    for _ in 0..2 {
        list(&keap, &[]).await;
    }
    let refused = list(&keap, &[]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
    assert_eq!(refused.json()["code"], "429");
    keap.clock().advance_ms(60_000);
    assert_eq!(list(&keap, &[]).await.status, 200);
    assert_eq!(keap.statuses()[&429], 1);
}

#[tokio::test]
async fn the_date_header_follows_the_clock() {
    let keap = Keap::start().await;
    keap.clock().set_offset_ms(-3_600_000);
    let date = get(&keap, "/v2/contacts").await.header("date").unwrap().to_owned();
    let date = chrono::DateTime::parse_from_rfc2822(&date).unwrap().timestamp_millis();
    assert!((date - keap.clock().now_ms()).abs() < 2000);
    assert!(date < chrono::Utc::now().timestamp_millis() - 3_500_000);
}

#[tokio::test]
async fn each_fault_strikes_the_calls_that_it_is_set_for() {
    let keap = Keap::start().await;
    keap.add(ann());
    let bearer = format!("Bearer {}", keap.token());
    let url = format!("{}/v2/contacts", keap.base_url());
    let call = async || client::send("GET", &url, &[("authorization", &bearer)], "").await;

    keap.fault(Fault::on("list").nth(2).what(What::Status(503, "{}".to_owned())));
    assert_eq!(call().await.unwrap().status, 200);
    assert_eq!(call().await.unwrap().status, 503);
    assert_eq!(call().await.unwrap().status, 200);
    for what in [What::Refuse, What::ApplyThenDrop, What::CutBody(0), What::CutBody(20)] {
        keap.fault(Fault::on("any").what(what));
        assert!(call().await.is_err());
    }
    keap.fault(Fault::on("read").always());
    keap.fault(Fault::on("list").what(What::Drip(Duration::from_millis(1))));
    assert_eq!(call().await.unwrap().json()["next_page_token"], "");
    keap.fault(Fault::on("list").what(What::Redirect("http://127.0.0.1:1/".to_owned())));
    assert_eq!(call().await.unwrap().header("location"), Some("http://127.0.0.1:1/"));
    keap.fault(Fault::on("list").what(What::Hang));
    assert!(tokio::time::timeout(Duration::from_millis(50), call()).await.is_err());
    assert_eq!(keap.faults_waiting(), 1);
}

#[tokio::test]
async fn a_stopped_stand_in_refuses_calls_and_keeps_its_memory() {
    let keap = Keap::start().await;
    keap.add(ann());
    let url = format!("{}/v2/contacts", keap.base_url());
    keap.stop().await;
    assert!(client::send("GET", &url, &[], "").await.is_err());
    keap.resume().await;
    assert_eq!(ids(&list(&keap, &[]).await), [1]);
}
