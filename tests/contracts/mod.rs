//! The contracts of both clients: the exact requests that they send, and what each documented
//! status and body means to them.

mod compressed;
mod credential;
mod hooks;
mod hostile;
mod intercom;
mod keap;
mod length;
mod refusals;

use std::time::Duration;

use keap_intercom_sync::config::{self, Settings, Sources};
use keap_intercom_sync::remote::Failure;
use wiremock::{MockServer, Request};

const SECOND: Duration = Duration::from_secs(1);

/// Settings under which a client never waits for a limit of ours, and gives up after a second.
fn settings(pairs: &[(&str, &str)]) -> Settings {
    let fast = [
        ("KEAP__CALLS_PER_SECOND", "1000"),
        ("KEAP__CALLS_PER_MINUTE", "60000"),
        ("KEAP__CONNECT_TIMEOUT_MS", "1000"),
        ("KEAP__REQUEST_TIMEOUT_MS", "1000"),
        ("INTERCOM__CALLS_PER_10_SECONDS", "100000"),
        ("INTERCOM__CONNECT_TIMEOUT_MS", "1000"),
        ("INTERCOM__REQUEST_TIMEOUT_MS", "1000"),
    ];
    let env = fast.iter().chain(pairs);
    let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::load(&Sources { env, ..Sources::default() }).unwrap()
}

fn url(server: &MockServer, path: &str) -> url::Url {
    format!("{}{path}", server.uri()).parse().unwrap()
}

/// The only request that a server has received.
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
    request.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The class of a failure in one word.
fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::Again { .. } => "again",
        Failure::Never { .. } => "never",
        Failure::Stop { .. } => "stop",
        Failure::Down { .. } => "down",
        Failure::Paused { .. } => "paused",
    }
}
