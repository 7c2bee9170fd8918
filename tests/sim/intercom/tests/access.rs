//! Tests of the checks before every route, and of faults.

use super::*;

#[tokio::test]
async fn limits_show_in_headers_only_to_calls_with_the_token() {
    let intercom = Intercom::start().await;
    intercom.knobs(|knobs| (knobs.limit, knobs.retry_after) = (Some(2), Some(3)));
    let first = get(&intercom, "/me").await;
    assert_eq!(first.json()["app"]["id_code"], "abc123");
    assert_eq!(first.header("x-ratelimit-remaining"), Some("2"));
    let missing = get(&intercom, "/contacts/nobody").await;
    assert_eq!((missing.status, missing.header("x-ratelimit-remaining")), (404, Some("1")));
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
    assert_eq!((intercom.windows()[0].1, intercom.refused_by_limit()), (2, 1));

    intercom.set_token("new");
    let url = format!("{}/me", intercom.base_url());
    let stranger = client::send("GET", &url, &[("authorization", "Bearer old")], "").await.unwrap();
    assert_eq!(error(&stranger).1, "unauthorized");
    assert_eq!(stranger.header("x-ratelimit-limit"), None);
    assert!(!intercom.ledger().last().unwrap().authorization_ok);
}

#[tokio::test]
async fn writes_and_calls_can_be_refused_by_knobs() {
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
    assert_eq!(error(&get(&intercom, "/me").await).1, "intercom_version_invalid");
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_leaves_its_contact() {
    let intercom = Intercom::start().await;
    intercom.fault(Fault::on("create").key("7").what(What::ApplyThenDrop));
    let url = format!("{}/contacts", intercom.base_url());
    let bearer = format!("Bearer {}", intercom.token());
    let headers = [("authorization", bearer.as_str())];
    let body = r#"{"external_id":"7","email":"a@example.org"}"#;
    assert!(client::send("POST", &url, &headers, body).await.is_err());
    assert_eq!(intercom.by_email("A@example.org").len(), 1);
    let call = &intercom.ledger()[0];
    assert_eq!((call.status, call.applied, call.external_id.as_deref()), (0, true, Some("7")));
}

#[tokio::test]
async fn an_action_runs_before_or_after_its_call_is_performed() {
    let intercom = Intercom::start().await;
    let number_then = |intercom: &Intercom| {
        let (seen, intercom) = (Arc::new(Mutex::new(usize::MAX)), intercom.clone());
        let noted = seen.clone();
        let action = move |_: &Call| *noted.lock().unwrap() = intercom.contacts().len();
        (seen, action)
    };
    let (before, action) = number_then(&intercom);
    intercom.fault(Fault::on("create").what(What::run(action)));
    assert_eq!(create(&intercom, json!({"external_id": "1"})).await.status, 200);
    assert_eq!(*before.lock().unwrap(), 0);

    let (after, action) = number_then(&intercom);
    intercom.fault(Fault::on("create").what(What::apply_then_run(action)));
    create(&intercom, json!({"external_id": "2"})).await;
    assert_eq!(*after.lock().unwrap(), 2);

    let (before, action) = number_then(&intercom);
    intercom.fault(Fault::on("create").what(What::run_then(action, What::status(503))));
    assert_eq!(create(&intercom, json!({"external_id": "3"})).await.status, 503);
    assert_eq!((*before.lock().unwrap(), intercom.contacts().len()), (2, 2));
}
