//! The credential belongs to the call: a client that runs takes a new one without being built
//! again.

use keap_intercom_sync::keap::KeapClient;
use keap_intercom_sync::remote::{Credential, Lane};
use wiremock::matchers::{any, header};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::keap::{client, empty_list, everything};
use crate::world::until;

/// The credentials that the server was shown, in the order of the calls.
async fn shown(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().map(|request| super::header(request, "authorization").to_owned()).collect()
}

fn replace(keap: &KeapClient, token: &str) {
    keap.remote().credential().replace(&token.into()).unwrap();
}

#[tokio::test]
async fn a_credential_that_is_replaced_goes_with_the_next_call() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(empty_list()).mount(&server).await;
    let keap = client(&server);

    keap.page(Lane::Bulk, &everything()).await.unwrap();
    replace(&keap, "canary-renewed");
    keap.page(Lane::Bulk, &everything()).await.unwrap();

    assert_eq!(shown(&server).await, ["Bearer KeapAK-canary", "Bearer canary-renewed"]);
}

/// Answers, and replaces the credential while its call is still under way.
fn replaces(credential: &Credential, answer: ResponseTemplate) -> impl wiremock::Respond + use<> {
    let credential = credential.clone();
    move |_: &Request| {
        credential.replace(&"canary-renewed".into()).unwrap();
        answer.clone()
    }
}

#[tokio::test]
async fn a_call_that_the_former_credential_failed_is_made_with_the_new_one() {
    let waits = ResponseTemplate::new(429).insert_header("retry-after", "1");
    for refusal in [waits, ResponseTemplate::new(401)] {
        let server = MockServer::start().await;
        let keap = client(&server);
        let refuses = replaces(keap.remote().credential(), refusal);
        Mock::given(header("authorization", "Bearer KeapAK-canary"))
            .respond_with(refuses)
            .mount(&server)
            .await;
        Mock::given(header("authorization", "Bearer canary-renewed"))
            .respond_with(empty_list())
            .mount(&server)
            .await;

        keap.page(Lane::Bulk, &everything()).await.unwrap();

        assert_eq!(shown(&server).await, ["Bearer KeapAK-canary", "Bearer canary-renewed"]);
    }
}

#[tokio::test]
async fn the_probe_of_a_remote_that_was_down_carries_the_new_credential() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer KeapAK-canary"))
        .respond_with(ResponseTemplate::new(500))
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Bearer canary-renewed"))
        .respond_with(empty_list())
        .mount(&server)
        .await;
    let keap = client(&server);
    // Enough failures for the breaker to open.
    for _ in 0..5 {
        keap.page(Lane::Bulk, &everything()).await.err().unwrap();
    }
    let before = shown(&server).await.len();

    replace(&keap, "canary-renewed");
    until("the pause of the breaker", async || keap.remote().ready(Lane::Bulk).await.is_ok()).await;

    assert_eq!(shown(&server).await[before..], ["Bearer canary-renewed"]);
}
