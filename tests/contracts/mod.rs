//! Contracts of the two clients: the exact requests they send, and what each status and body of the fact sheets means to them.

mod hooks;
mod intercom;
mod keap;

use std::time::Duration;

use keap_intercom_sync::remote::Failure;
use wiremock::{MockServer, Request};

const SECOND: Duration = Duration::from_secs(1);

fn url(server: &MockServer, path: &str) -> url::Url {
    format!("{}{path}", server.uri()).parse().unwrap()
}

/// The one request that a server has got.
async fn only_request(server: &MockServer) -> Request {
    let mut requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn query(request: &Request) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = request.url.query_pairs().into_owned().collect();
    pairs.sort();
    pairs
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// The class of a failure in one word.
fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::Again { .. } => "again",
        Failure::Never { .. } => "never",
        Failure::Stop { .. } => "stop",
        Failure::Down { .. } => "down",
    }
}
