//! Tests of hooks over real HTTP. Time runs five thousand times faster.

use std::sync::atomic::{AtomicU16, Ordering};

use axum::body::Body;
use axum::http::Response;
use hyper::service::service_fn;
use tokio::net::TcpListener;

use super::*;
use crate::sim::keap::hooks::HookStatus;

/// A receiver of hooks. It keeps each delivery, answers with a status that a test can set, and
/// echoes secrets if `echo` is set.
#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
    secrets: Arc<Mutex<Vec<String>>>,
    status: Arc<AtomicU16>,
    echo: bool,
}

impl Receiver {
    async fn start(echo: bool) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            got: Arc::default(),
            secrets: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            echo,
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                let service = service_fn(move |request| receiver.clone().receive(request));
                let stream = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                );
            }
        });
        receiver
    }

    async fn receive(
        self,
        request: axum::http::Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        let status = self.status.load(Ordering::Relaxed);
        let mut response = Response::builder().status(status);
        if let Some(secret) = request.headers().get("x-hook-secret").cloned() {
            self.secrets.lock().unwrap().push(secret.to_str().unwrap().to_owned());
            if self.echo {
                response = response.header("x-hook-secret", secret);
            }
        } else {
            let body = axum::body::to_bytes(Body::new(request.into_body()), 1 << 20).await.unwrap();
            self.got.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        }
        Ok(response.body(Body::empty()).unwrap())
    }

    /// Waits until this many deliveries have come.
    async fn deliveries(&self, count: usize) -> Vec<Value> {
        for _ in 0..500 {
            if self.got.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.got.lock().unwrap().clone()
    }
}

async fn hooks(keap: &Keap, method: &str, path: &str, secret: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", keap.token());
    let headers = [("authorization", bearer.as_str()), ("x-hook-secret", secret)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client::send(method, &format!("{}/v1/hooks{path}", keap.base_url()), &headers, body)
        .await
        .unwrap()
}

async fn subscribe(keap: &Keap, receiver: &Receiver) -> Value {
    keap.knobs(|knobs| knobs.hook_time_scale = 0.0002);
    let body = serde_json::json!({"eventKey": "contact.edit", "hookUrl": receiver.url});
    hooks(keap, "POST", "", "", body).await.json()
}

#[tokio::test]
async fn a_receiver_that_echoes_the_secret_is_verified_and_gets_edits() {
    let keap = Keap::start().await;
    let receiver = Receiver::start(true).await;
    let hook = subscribe(&keap, &receiver).await;
    assert_eq!((&hook["status"], &hook["key"]), (&Value::from("Verified"), &Value::from("1")));
    let ids = keap.add_many(1200, |_| ann());
    keap.bulk_edit(ids, |_| {});
    let got = receiver.deliveries(2).await;
    let sizes: Vec<_> =
        got.iter().map(|body| body["object_keys"].as_array().unwrap().len()).collect();
    assert!(sizes.contains(&1000) && sizes.contains(&200), "{sizes:?}");
    assert_eq!(
        (&got[0]["event_key"], &got[0]["object_type"]),
        (&"contact.edit".into(), &"contact".into())
    );
    let object = &got[0]["object_keys"][0];
    assert!(object["id"].is_i64() && object["apiUrl"].as_str().unwrap().contains("/v1/contacts/"));
    assert_eq!(hooks(&keap, "GET", "", "", Value::Null).await.json()[0]["status"], "Verified");
    assert_eq!(hooks(&keap, "DELETE", "/1", "", Value::Null).await.status, 204);
    assert_eq!(hooks(&keap, "GET", "/1", "", Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_receiver_without_an_echo_is_verified_only_by_a_call_with_the_secret() {
    let keap = Keap::start().await;
    let receiver = Receiver::start(false).await;
    assert_eq!(subscribe(&keap, &receiver).await["status"], "Unverified");
    assert_eq!(
        hooks(&keap, "POST", "/1/verify", "", Value::Null).await.json()["status"],
        "Unverified"
    );
    let secret = receiver.secrets.lock().unwrap()[1].clone();
    assert_eq!(hooks(&keap, "POST", "/1/delayedVerify", "wrong", Value::Null).await.status, 400);
    let late = hooks(&keap, "POST", "/1/delayedVerify", &secret, Value::Null).await;
    assert_eq!(late.json()["status"], "Verified");
    let wrong = hooks(&keap, "POST", "", "", serde_json::json!({"event": "contact.edit"})).await;
    assert_eq!(wrong.json()["message"], "Input could not be converted to a valid request");
}

#[tokio::test]
async fn four_failures_or_one_410_make_a_hook_inactive() {
    let keap = Keap::start().await;
    let receiver = Receiver::start(true).await;
    subscribe(&keap, &receiver).await;
    let id = keap.add(ann());
    receiver.status.store(500, Ordering::Relaxed);
    keap.touch(id);
    assert_eq!(receiver.deliveries(4).await.len(), 4);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(keap.hooks()[0].status, HookStatus::Inactive);
    keap.touch(id);

    receiver.status.store(200, Ordering::Relaxed);
    assert_eq!(
        hooks(&keap, "POST", "/1/verify", "", Value::Null).await.json()["status"],
        "Verified"
    );
    receiver.status.store(410, Ordering::Relaxed);
    keap.knobs(|knobs| (knobs.hook_duplicate, knobs.hook_drop_api_url) = (true, true));
    keap.touch(id);
    let got = receiver.deliveries(6).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((got.len(), keap.hooks()[0].status), (6, HookStatus::Inactive));
    assert_eq!(got[4], got[5]);
    assert!(got[4]["object_keys"][0].get("apiUrl").is_none());
}
