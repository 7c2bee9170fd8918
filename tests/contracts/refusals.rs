//! A refusal may be about one call or about everything of ours: a harmless call shows which. Only
//! where that is refused too does the side stop.

use keap_intercom_sync::app::Models;
use keap_intercom_sync::contact::{Contact, Fields, Form, IntercomId, KeapId};
use keap_intercom_sync::intercom::IntercomClient;
use keap_intercom_sync::keap::{KeapClient, PageQuery, Place, Show};
use keap_intercom_sync::mapping::Mapping;
use keap_intercom_sync::remote::{Credential, Failure, Lane, Standing};
use serde_json::json;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{class, settings, url};

/// The statuses that may be about everything of ours.
const REFUSALS: [u16; 6] = [401, 402, 403, 406, 407, 415];

fn intercom(server: &MockServer) -> IntercomClient {
    let settings = settings(&[("INTERCOM_BASE_URL", url(server, "").as_str())]);
    let credential = Credential::new(&"canary-token".into(), "INTERCOM_ACCESS_TOKEN").unwrap();
    let (intercom, sync) = (&settings.intercom, &settings.sync);
    IntercomClient::new(
        intercom,
        sync,
        &Models::default().fit(&Mapping::default()).intercom(),
        credential,
    )
    .unwrap()
}

fn keap(server: &MockServer) -> KeapClient {
    let settings = settings(&[("KEAP_BASE_URL", url(server, "/crm/rest").as_str())]);
    let credential = Credential::new(&"canary-key".into(), "KEAP_API_KEY").unwrap();
    KeapClient::new(
        &settings.keap,
        &settings.sync,
        &Models::default().fit(&Mapping::default()).keap(),
        credential,
    )
    .unwrap()
}

fn ann() -> Contact {
    let email = Form::Email.read(Some("ann@example.org"));
    Contact::showing(KeapId::new(1042).unwrap(), Fields::from_iter([("email", email)]))
}

fn page() -> PageQuery {
    PageQuery { from: None, until: None, place: Place::Start, page_size: 10, show: Show::Stamp }
}

fn forms(status: u16) -> [ResponseTemplate; 3] {
    let error = json!({ "type": "error.list", "errors": [{ "code": "action_forbidden", "message": "ann@example.org" }] });
    [
        ResponseTemplate::new(status).set_body_json(error),
        ResponseTemplate::new(status)
            .set_body_raw("<html>Blocked: ann@example.org</html>", "text/html"),
        ResponseTemplate::new(status),
    ]
}

/// A server that answers its harmless call, and everything else in this way.
async fn refusing(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let me = ResponseTemplate::new(200).set_body_json(json!({ "type": "admin", "id": "1" }));
    for harmless in ["/me", "/crm/rest/v2/oauth/connect/userinfo"] {
        let mock = Mock::given(method("GET")).and(path(harmless)).respond_with(me.clone());
        mock.with_priority(1).mount(&server).await;
    }
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// The methods and paths that a server was called with.
async fn calls(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

#[tokio::test]
async fn a_refused_write_stops_nothing_while_intercom_serves_us() {
    for status in REFUSALS {
        for answer in forms(status) {
            let server = refusing(answer).await;
            let intercom = intercom(&server);
            let id = IntercomId::new("6762f0dd1bb69f9f2193bb83").unwrap();
            let failures = [
                intercom.create(Lane::Bulk, &ann()).await.err().unwrap(),
                intercom
                    .update(Lane::Bulk, &id, &ann(), &super::intercom::all_cleared())
                    .await
                    .err()
                    .unwrap(),
                intercom.read(Lane::Bulk, &id).await.err().unwrap(),
                intercom.archive(Lane::Bulk, &id, ann().id).await.err().unwrap(),
            ];
            for failure in failures {
                let text = failure.to_string();
                assert_eq!(class(&failure), "again", "{status}: {text}");
                assert!(text.contains(&status.to_string()), "{status}: {text}");
                assert!(text.starts_with("Intercom ") && !text.contains('@'), "{status}: {text}");
            }
            assert_eq!(intercom.remote().standing(), Standing::Ok, "{status}");
        }
    }
}

#[tokio::test]
async fn a_refused_read_stops_nothing_while_keap_serves_us() {
    for status in REFUSALS {
        for answer in forms(status) {
            let server = refusing(answer).await;
            let (keap, id) = (keap(&server), KeapId::new(7).unwrap());
            let failures = [
                keap.by_id(Lane::Urgent, id).await.err().unwrap(),
                keap.by_ids(Lane::Urgent, &[id]).await.err().unwrap(),
                keap.page(Lane::Bulk, &page()).await.err().unwrap(),
            ];
            for failure in failures {
                let text = failure.to_string();
                assert_eq!(class(&failure), "again", "{status}: {text}");
                assert!(text.contains(&status.to_string()), "{status}: {text}");
                assert!(text.starts_with("Keap ") && !text.contains('@'), "{status}: {text}");
            }
            assert_eq!(keap.remote().standing(), Standing::Ok, "{status}");
        }
    }
}

#[tokio::test]
async fn a_redirect_a_strange_page_or_an_unknown_version_of_one_call_stops_nothing() {
    let unknown =
        json!({ "type": "error.list", "errors": [{ "code": "intercom_version_invalid" }] });
    for (answer, says) in [
        (ResponseTemplate::new(302).insert_header("location", "https://block.example"), "302"),
        (ResponseTemplate::new(404).set_body_raw("<html>", "text/html"), "404"),
        (ResponseTemplate::new(400).set_body_json(unknown), "INTERCOM_VERSION"),
    ] {
        let server = refusing(answer).await;
        let intercom = intercom(&server);
        let failure = intercom.create(Lane::Bulk, &ann()).await.err().unwrap();
        assert_eq!(class(&failure), "again", "{failure}");
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(intercom.remote().standing(), Standing::Ok);
    }
}

#[tokio::test]
async fn a_side_that_refuses_the_harmless_call_too_stops_after_two_calls() {
    for status in REFUSALS {
        for answer in forms(status) {
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(answer).mount(&server).await;
            let intercom = intercom(&server);
            for _ in 0..10 {
                let failure = intercom.create(Lane::Bulk, &ann()).await.err().unwrap();
                assert_eq!(class(&failure), "stop", "{status}: {failure}");
            }
            assert_eq!(calls(&server).await, ["POST /contacts", "GET /me"], "{status}");
            assert!(matches!(intercom.remote().standing(), Standing::Refused(_)), "{status}");
        }
    }
}

// F41
#[tokio::test]
async fn calls_that_are_refused_together_ask_once() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(401).set_delay(std::time::Duration::from_millis(100));
    Mock::given(any()).respond_with(slow).mount(&server).await;
    let keap = keap(&server);
    let page = page();
    let calls_at_once = (0..8).map(|_| keap.page(Lane::Bulk, &page));
    let failures = futures_util::future::join_all(calls_at_once).await;

    assert!(failures.iter().all(|failure| matches!(failure, Err(Failure::Stop { .. }))));
    let asked = calls(&server).await.iter().filter(|call| call.ends_with("userinfo")).count();
    assert_eq!(asked, 1, "{:?}", calls(&server).await);
}

#[tokio::test]
async fn a_stray_401_costs_the_harmless_call_and_a_second_try() {
    let server =
        refusing(ResponseTemplate::new(200).set_body_json(json!({ "contacts": [] }))).await;
    let stray = Mock::given(path("/crm/rest/v2/contacts")).respond_with(ResponseTemplate::new(401));
    stray.up_to_n_times(1).with_priority(2).mount(&server).await;
    let keap = keap(&server);

    assert!(keap.page(Lane::Bulk, &page()).await.unwrap().rows.is_empty());

    let (list, harmless) = ("GET /crm/rest/v2/contacts", "GET /crm/rest/v2/oauth/connect/userinfo");
    assert_eq!(calls(&server).await, [list, harmless, list]);
    assert_eq!(keap.remote().standing(), Standing::Ok);
}

#[tokio::test]
async fn a_side_that_fails_when_it_is_asked_is_down_and_not_stopped() {
    let server = MockServer::start().await;
    Mock::given(path("/me")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(403))
        .with_priority(9)
        .mount(&server)
        .await;
    let intercom = intercom(&server);

    let failure = intercom.create(Lane::Bulk, &ann()).await.err().unwrap();

    assert_eq!(class(&failure), "down", "{failure}");
    assert!(matches!(intercom.remote().standing(), Standing::Failing(_)));
}

#[tokio::test]
async fn a_blocked_contact_is_refused_for_itself_without_another_call() {
    let blocked = json!({ "type": "error.list", "errors": [{ "code": "not_restorable" }] });
    let server = refusing(ResponseTemplate::new(403).set_body_json(blocked)).await;
    let intercom = intercom(&server);

    let failure = intercom.create(Lane::Bulk, &ann()).await.err().unwrap();

    assert_eq!(class(&failure), "never", "{failure}");
    assert!(failure.to_string().contains("403 not_restorable"), "{failure}");
    assert_eq!(calls(&server).await, ["POST /contacts"]);
}
