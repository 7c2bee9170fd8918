//! What the client sends to Intercom and how it reads the answers (`docs/api/intercom.md`).

use keap_intercom_sync::app::Models;
use keap_intercom_sync::contact::{
    Clears, Contact, Email, FieldName, Fields, Form, IntercomId, KeapId, Reading, Role,
};
use keap_intercom_sync::intercom::{Found, IntercomClient, Unarchived, Wanted, Written};
use keap_intercom_sync::mapping::Mapping;
use keap_intercom_sync::remote::{Credential, Failure, Lane};
use serde_json::{Value, json};
use wiremock::matchers::{any, body_partial_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{class, header, only_request, settings, url};

pub(super) fn client(server: &MockServer) -> IntercomClient {
    let settings = settings(&[("INTERCOM_BASE_URL", url(server, "").as_str())]);
    let credential = Credential::new(&"canary-token".into(), "INTERCOM_ACCESS_TOKEN").unwrap();
    IntercomClient::new(
        &settings.intercom,
        &settings.sync,
        &Models::default().fit(&Mapping::default()).intercom(),
        credential,
    )
    .unwrap()
}

/// Every empty field is cleared.
pub(super) fn all_cleared() -> Clears {
    ["email", "name", "phone"].map(FieldName::from).into_iter().collect()
}

async fn answering(response: ResponseTemplate) -> (MockServer, IntercomClient) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let client = client(&server);
    (server, client)
}

fn ann() -> Contact {
    Contact::showing(
        KeapId::new(1042).unwrap(),
        Fields::from_iter([
            ("email", Form::Email.read(Some("Ann@Example.org"))),
            ("name", Form::Text.read(Some("Ann Lee"))),
            ("phone", Reading::Empty),
        ]),
    )
}

fn hex() -> IntercomId {
    IntercomId::new("6762f0dd1bb69f9f2193bb83").unwrap()
}

fn contact_json(role: &str, external_id: Value) -> Value {
    json!({ "type": "contact", "id": hex().as_str(), "role": role, "external_id": external_id, "email": "Ann@Example.org", "created_at": 5 })
}

fn error(status: u16, code: &str, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .insert_header("x-request-id", "req-1")
        .set_body_json(json!({ "type": "error.list", "request_id": "req-1", "errors": [{ "code": code, "message": message }] }))
}

#[tokio::test]
async fn a_create_sends_only_the_fields_that_have_a_value() {
    let done = ResponseTemplate::new(200)
        .insert_header("x-request-id", "req-1")
        .set_body_json(contact_json("user", json!("1042")));
    let (server, intercom) = answering(done).await;
    let Written::Done(done) = intercom.create(Lane::Bulk, &ann()).await.unwrap() else {
        panic!("must be done")
    };

    assert_eq!((done.id, done.request_id.as_deref()), (hex(), Some("req-1")));
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/contacts"));
    assert_eq!(
        request.body_json::<Value>().unwrap(),
        json!({ "role": "user", "external_id": "1042", "email": "Ann@Example.org", "name": "Ann Lee" })
    );
    assert_eq!(header(&request, "authorization"), "Bearer canary-token");
    assert_eq!(header(&request, "intercom-version"), "2.16");
    assert_eq!(
        (header(&request, "accept"), header(&request, "content-type")),
        ("application/json", "application/json")
    );
}

#[tokio::test]
async fn an_update_clears_what_it_is_told_to() {
    let (server, intercom) =
        answering(ResponseTemplate::new(200).set_body_json(contact_json("user", json!("1042"))))
            .await;
    let written = intercom.update(Lane::Bulk, &hex(), &ann(), &all_cleared()).await.unwrap();
    assert!(matches!(written, Written::Done(_)));
    let request = only_request(&server).await;
    assert_eq!(
        (request.method.as_str(), request.url.path()),
        ("PUT", "/contacts/6762f0dd1bb69f9f2193bb83")
    );
    let expected = json!({ "role": "user", "external_id": "1042", "email": "Ann@Example.org", "name": "Ann Lee", "phone": null });
    assert_eq!(request.body_json::<Value>().unwrap(), expected);
}

#[tokio::test]
async fn conflicts_and_missing_contacts_are_answers_and_not_failures() {
    let conflict = |text: &str| error(409, "conflict", text);
    let (_server, intercom) = answering(conflict(
        "A contact matching those details already exists with id=6762f0dd1bb69f9f2193bb83",
    ))
    .await;
    let Written::Conflict(live) = intercom.create(Lane::Bulk, &ann()).await.unwrap() else {
        panic!("must conflict")
    };

    assert_eq!((live.id, live.archived), (Some(hex()), false));

    let (_server, intercom) = answering(conflict("An archived contact matching those details already exists with id=6762f0dd1bb69f9f2193bb83")).await;
    let Written::Conflict(archived) = intercom.create(Lane::Bulk, &ann()).await.unwrap() else {
        panic!("must conflict")
    };
    assert_eq!((archived.id, archived.archived), (Some(hex()), true));

    let (_server, intercom) =
        answering(conflict("Multiple existing users match this email address")).await;
    let Written::Conflict(nameless) = intercom.create(Lane::Bulk, &ann()).await.unwrap() else {
        panic!("must conflict")
    };
    assert!(nameless.id.is_none());

    let (_server, intercom) = answering(error(404, "not_found", "User Not Found")).await;
    assert!(matches!(
        intercom.update(Lane::Bulk, &hex(), &ann(), &Clears::nothing()).await.unwrap(),
        Written::Missing
    ));
    assert!(matches!(intercom.read(Lane::Bulk, &hex()).await.unwrap(), Found::Missing));

    let merged = error(410, "contact_merged", "merged")
        .insert_header("link", r#"</contacts/abc123>; rel="canonical""#);
    let (_server, intercom) = answering(merged).await;
    assert!(
        matches!(intercom.update(Lane::Bulk, &hex(), &ann(), &Clears::nothing()).await.unwrap(), Written::Merged(id) if id.as_str() == "abc123")
    );
    assert!(
        matches!(intercom.read(Lane::Bulk, &hex()).await.unwrap(), Found::Merged(id) if id.as_str() == "abc123")
    );
}

#[tokio::test]
async fn a_refusal_of_the_contact_is_an_answer_that_names_the_field_and_quotes_nobody() {
    for (status, code, message, field) in [
        (400, "parameter_invalid", "The e-mail canary@example.org is bad", Some("email")),
        (422, "data_invalid", "Canary is not a phone", Some("phone")),
        (400, "bad_request", "Canary", None),
    ] {
        let (_server, intercom) = answering(error(status, code, message)).await;
        let Written::Refused(refused) = intercom.create(Lane::Bulk, &ann()).await.unwrap() else {
            panic!("must be refused")
        };
        let why = format!("Intercom refuses the contact ({status} {code}, request req-1)");
        assert_eq!(refused.why, why);
        assert_eq!(refused.field.as_ref().map(|field| field.as_str()), field);
    }
    let (_server, intercom) = answering(error(400, "parameter_invalid", "email is null")).await;
    let failure = intercom.clear_email(Lane::Bulk, &hex(), ann().id).await.err().unwrap();
    assert_eq!(class(&failure), "never");
}

#[tokio::test]
async fn each_refusal_has_its_class_and_no_text_quotes_a_person() {
    for (status, code, expected, says) in [
        (400, "intercom_version_invalid", "stop", "INTERCOM_VERSION"),
        (401, "unauthorized", "stop", "INTERCOM_ACCESS_TOKEN"),
        (402, "api_plan_restricted", "stop", "plan"),
        (403, "api_plan_restricted", "stop", "plan"),
        (403, "action_forbidden", "stop", "permissions"),
        (405, "client_error", "never", "405"),
        (406, "media_type_not_acceptable", "stop", "INTERCOM_VERSION"),
        (408, "request_timeout", "again", "408"),
        (400, "server_error", "again", "server_error"),
        (500, "server_error", "again", "500"),
        (502, "x", "again", "502"),
        (503, "service_unavailable", "again", "503"),
        (504, "x", "again", "504"),
        (307, "x", "stop", "redirect"),
    ] {
        let (_server, intercom) =
            answering(error(status, code, "The e-mail canary@example.org is bad")).await;
        let failure = intercom.create(Lane::Bulk, &ann()).await.err().unwrap();
        let text = failure.to_string();
        assert_eq!(class(&failure), expected, "{status} {code}: {text}");
        assert!(
            text.contains(says) && text.starts_with("Intercom ") && !text.contains('@'),
            "{status} {code}: {text}"
        );
    }

    let (_server, intercom) =
        answering(ResponseTemplate::new(404).set_body_raw("<html>", "text/html")).await;
    assert_eq!(
        class(
            &intercom.update(Lane::Bulk, &hex(), &ann(), &Clears::nothing()).await.err().unwrap()
        ),
        "stop"
    );
    for body in ["", "{", "<html>", r#"{"id":"../x"}"#] {
        let (_server, intercom) =
            answering(ResponseTemplate::new(200).set_body_raw(body, "application/json")).await;
        assert_eq!(
            class(&intercom.create(Lane::Bulk, &ann()).await.err().unwrap()),
            "again",
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_read_distinguishes_users_from_leads() {
    let (server, intercom) =
        answering(ResponseTemplate::new(200).set_body_json(contact_json("user", json!("1042"))))
            .await;
    let Found::Contact(found) = intercom.find_by_external_id(Lane::Bulk, ann().id).await.unwrap()
    else {
        panic!("must be found")
    };

    assert!(found.belongs_to(ann().id) && found.role == Role::User);
    assert_eq!(found.email.as_deref(), Some("ann@example.org"));
    assert_eq!(only_request(&server).await.url.path(), "/contacts/find_by_external_id/1042");

    let (_server, intercom) = answering(
        ResponseTemplate::new(200).set_body_json(contact_json("lead", json!("5e8cd7d2-uuid"))),
    )
    .await;
    let Found::Contact(found) = intercom.read(Lane::Bulk, &hex()).await.unwrap() else {
        panic!("must be found")
    };
    assert_eq!((found.role, found.external_id), (Role::Lead, None));
}

fn wanted(n: i64, email: &str) -> Wanted {
    Wanted { keap: KeapId::new(n).unwrap(), email: Email::new(email).unwrap() }
}

#[tokio::test]
async fn a_search_asks_for_emails_and_keap_ids_together_and_follows_the_cursor_in_the_body() {
    let server = MockServer::start().await;
    let page = |id: &str, next: Value| json!({ "type": "list", "data": [{ "id": id, "role": "user" }], "pages": { "type": "pages", "next": next } });
    let second = ResponseTemplate::new(200).set_body_json(page("b", Value::Null));
    Mock::given(body_partial_json(json!({ "pagination": { "starting_after": "abc" } })))
        .respond_with(second)
        .with_priority(1)
        .mount(&server)
        .await;
    let first = ResponseTemplate::new(200)
        .set_body_json(page("a", json!({ "page": 2, "starting_after": "abc" })));
    Mock::given(method("POST"))
        .and(path("/contacts/search"))
        .respond_with(first)
        .mount(&server)
        .await;

    let found = client(&server)
        .search(Lane::Bulk, &[wanted(1, "Ann@Example.org"), wanted(2, "bob@example.org")])
        .await
        .unwrap();
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let body: Value = server.received_requests().await.unwrap()[0].body_json().unwrap();
    let expected = json!({
        "query": { "operator": "OR", "value": [
            { "field": "email", "operator": "IN", "value": ["ann@example.org", "Ann@Example.org", "bob@example.org"] },
            { "field": "external_id", "operator": "IN", "value": ["1", "2"] },
        ] },
        "pagination": { "per_page": 150 },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_refused_form_of_search_is_replaced_by_a_plainer_one_for_good() {
    let server = MockServer::start().await;
    let plain = json!({ "query": { "operator": "OR", "value": [{ "field": "email", "operator": "=", "value": "bob@example.org" }] } });
    Mock::given(body_partial_json(plain))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "data": [] })))
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(any()).respond_with(error(400, "parameter_invalid", "no")).mount(&server).await;

    let intercom = client(&server);
    for _ in 0..2 {
        assert!(
            intercom.search(Lane::Bulk, &[wanted(2, "bob@example.org")]).await.unwrap().is_empty()
        );
    }
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        4,
        "two refused forms, then the plain form twice"
    );
}

#[tokio::test]
async fn searches_hold_no_more_than_fifteen_values() {
    let (_server, intercom) = answering(ResponseTemplate::new(200)).await;
    let wanted: Vec<Wanted> = (1..=40)
        .map(|n| {
            wanted(
                n,
                &if n % 4 == 0 { format!("P{n}@example.org") } else { format!("p{n}@example.org") },
            )
        })
        .collect();
    let parts = intercom.searches(wanted);
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 40);
    for part in &parts {
        let values: usize = part
            .iter()
            .map(|one| 1 + usize::from(one.email.folded() != one.email.as_written()))
            .sum();
        assert!(values <= 15, "{values}");
    }
    assert_eq!(parts.len(), 4);
}

#[tokio::test]
async fn an_unarchive_has_three_outcomes() {
    let live = ResponseTemplate::new(200)
        .set_body_json(json!({ "type": "contact", "id": hex().as_str(), "archived": false }));
    for (response, expected) in [
        (live, Unarchived::Live),
        (
            error(400, "bad_request", "User has been merged and is not restorable."),
            Unarchived::NotRestorable,
        ),
        (error(403, "not_restorable", "blocked"), Unarchived::NotRestorable),
        (error(404, "not_found", "User Not Found"), Unarchived::Missing),
    ] {
        let (server, intercom) = answering(response).await;
        assert_eq!(
            intercom.unarchive(Lane::Bulk, &hex(), KeapId::new(7).unwrap()).await.unwrap(),
            expected
        );
        assert_eq!(
            only_request(&server).await.url.path(),
            "/contacts/6762f0dd1bb69f9f2193bb83/unarchive"
        );
    }
}

#[tokio::test]
async fn a_revoked_token_is_used_twice_and_not_again() {
    let (server, intercom) = answering(error(401, "unauthorized", "Access Token Invalid")).await;
    for _ in 0..10 {
        assert!(matches!(intercom.create(Lane::Bulk, &ann()).await, Err(Failure::Stop { .. })));
    }
    // The second time by the harmless call.
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_workspace_is_named_and_the_admin_is_not() {
    let me = json!({ "type": "admin", "name": "Canary", "email": "canary@example.org", "app": { "id_code": "abc123", "region": "US", "name": "Acme" } });
    let (_server, intercom) = answering(ResponseTemplate::new(200).set_body_json(me)).await;

    let workspace = intercom.workspace().await.unwrap();
    assert_eq!(
        (workspace.id_code.as_deref(), workspace.region.as_deref()),
        (Some("abc123"), Some("US"))
    );
    assert!(!format!("{workspace:?}").to_lowercase().contains("canary"));
}
