//! Every call that may have a body says how long it is: front ends answer 411 to one that does not.

use std::time::Duration;

use keap_intercom_sync::remote::{
    Admission, Answered, Call, Credential, Headroom, Lane, Limits, Remote, RemoteOptions, Says,
    TransportOptions,
};
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::SECOND;

struct NoLimits;

impl Limits for NoLimits {
    fn admit(&self, _: Instant, _: Lane) -> Admission {
        Admission::Now
    }

    fn start(&mut self, _: Instant) -> u64 {
        0
    }

    fn answered(&mut self, _: &Answered<'_>) {}

    fn lost(&mut self, _: Instant, _: u64) {}

    fn headroom(&self, _: Instant) -> Vec<Headroom> {
        Vec::new()
    }
}

fn remote(port: u16) -> Remote {
    Remote::new(RemoteOptions {
        transport: TransportOptions {
            name: "Keap",
            base_url: format!("http://127.0.0.1:{port}").parse().unwrap(),
            base_url_setting: "KEAP_BASE_URL",
            headers: HeaderMap::new(),
            proxy: None,
            idle_connections: 1,
            connect_timeout: SECOND,
            request_timeout: SECOND,
        },
        credential: Credential::new(&"canary".into(), "KEAP_API_KEY").unwrap(),
        probe: &["probe"],
        probe_understood: |_| true,
        says: |_| Says::Nothing,
        limits: Box::new(NoLimits),
        stop_recheck: Duration::from_secs(300),
    })
    .unwrap()
}

/// The bytes of one request as they arrive on the wire, its body included.
async fn on_the_wire(method: Method, body: Option<&str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = remote(listener.local_addr().unwrap().port());
    let body = body.map(|body| body.as_bytes().to_vec());
    let sending = tokio::spawn(async move {
        let call = Call { method, body, ..Call::get(&["v1", "hooks", "7", "verify"]) };
        remote.send(Lane::Urgent, &call).await.map(|reply| reply.status)
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    let is_whole = |read: &[u8]| {
        let text = String::from_utf8_lossy(read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.is_none_or(|length| body.len() >= length.parse().unwrap())
    };
    while !is_whole(&read) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the request breaks off");
        read.extend_from_slice(&bytes[..count]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap(), 200);
    String::from_utf8(read).unwrap().to_lowercase()
}

#[tokio::test]
async fn every_post_put_and_patch_states_its_length_with_and_without_a_body() {
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        for (body, length) in [(None, 0), (Some(""), 0), (Some(r#"{"a":1}"#), 7)] {
            let request = on_the_wire(method.clone(), body).await;
            let header = format!("\r\ncontent-length: {length}\r\n");
            assert_eq!(request.matches(&header).count(), 1, "{method} {body:?}: {request}");
            assert!(!request.contains("transfer-encoding"), "{method} {body:?}: {request}");
            assert_eq!(request.contains("content-type"), body.is_some(), "{method} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_get_and_a_delete_without_a_body_state_no_length() {
    // Keap refuses a GET that has a body.
    for method in [Method::GET, Method::DELETE] {
        let request = on_the_wire(method.clone(), None).await;
        assert!(!request.contains("content-length"), "{method}: {request}");
    }
}
