//! Hostile or broken senders: slow, silent, too large or malformed.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{TOKEN, assert_problem, post, started, url, world};
use crate::sim::client;
use crate::world::{Daemon, ann, until};

const SECOND: Duration = Duration::from_secs(1);

async fn open(daemon: &Daemon, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    stream
}

/// Everything that arrives until the other side closes the connection. `None`: it stays open.
async fn until_closed(stream: &mut TcpStream, time: Duration) -> Option<String> {
    let mut all = Vec::new();
    tokio::time::timeout(time, async {
        // A reset also ends the connection.
        let _ = stream.read_to_end(&mut all).await;
    })
    .await
    .ok()
    .map(|()| String::from_utf8_lossy(&all).into_owned())
}

/// How long `/health` takes to answer.
async fn healthy(daemon: &Daemon) -> Duration {
    let sent = Instant::now();
    let reply =
        tokio::time::timeout(5 * SECOND, client::send("GET", &url(daemon, "/health"), &[], ""))
            .await
            .expect("health answers in time")
            .unwrap();
    assert_eq!(reply.status, 200);
    sent.elapsed()
}

// F74
#[sqlx::test]
async fn slow_senders_are_disconnected(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    let half_body = format!(
        "POST /sync/contact HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 100\r\n\r\n{{"
    );
    let kinds = [
        ("silent", "", 8),
        ("half a line", "GET /hea", 8),
        ("half a head", "GET /health HTTP/1.1\r\nhost: x\r\nx-a: ", 8),
        ("idle after a request", "GET /health HTTP/1.1\r\nhost: x\r\n\r\n", 8),
        ("half a body", half_body.as_str(), 13),
    ];
    let closed = kinds.map(async |(kind, first, seconds)| {
        let mut stream = open(&daemon, first).await;
        let answer = until_closed(&mut stream, seconds * SECOND).await;
        let answer = answer.unwrap_or_else(|| panic!("{kind}: still open after {seconds} s"));
        if kind == "half a body" {
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    });
    join_all(closed).await;
    daemon.stop().await.1.unwrap();
}

// F74
#[sqlx::test]
async fn health_answers_beside_thousands_of_half_open_connections(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    let mut hostile = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        let firsts = ["", "GET /health", "POST /sync/contact HTTP/1.1\r\nhost: x\r\n"];
        let opened = join_all((0..100).map(|n| open(&daemon, firsts[n % 3]))).await;
        hostile.extend(opened);
        if round % 5 == 0 {
            slowest = slowest.max(healthy(&daemon).await);
        }
    }

    assert_eq!(hostile.len(), 5000);

    for _ in 0..20 {
        slowest = slowest.max(healthy(&daemon).await);
    }
    assert!(slowest < SECOND, "the slowest answer took {slowest:?}");

    let (took, ended) = daemon.stop().await;
    ended.unwrap();
    assert!(took < 2 * SECOND, "stopping took {took:?}");
}

// S2
#[sqlx::test]
async fn nothing_is_read_from_senders_without_a_credential(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    for path in ["/sync/contact", "/sync/batch", "/sync/run"] {
        let mut stream = open(&daemon, &format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n")).await;
        let answer = until_closed(&mut stream, 2 * SECOND).await.expect("closed at once");
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.contains("100 Continue"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    daemon.stop().await.1.unwrap();
}

// F73
#[sqlx::test]
async fn bodies_and_headers_have_size_limits(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    let send = async |body: Vec<u8>| {
        client::send("POST", &url(&daemon, "/sync/contact"), &headers, body).await.unwrap()
    };
    assert_problem(&send(vec![b' '; 100_000]).await, 413);
    assert_problem(&send("[".repeat(60_000).into_bytes()).await, 400);
    assert_problem(&send(b"{\"keap_contact_id\": \"\xff\xfe\"}".to_vec()).await, 400);
    assert_problem(&send(b"\x1f\x8b\x08\x00gzip".to_vec()).await, 400);
    assert_problem(&send(Vec::new()).await, 400);

    // A body of unknown length is counted while it arrives.
    let mut stream = open(&daemon, &format!("POST /sync/contact HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    for _ in 0..4 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let answer = until_closed(&mut stream, 2 * SECOND).await.expect("closed at once");
    assert!(answer.starts_with("HTTP/1.1 413") || answer.is_empty(), "{answer}");

    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let mut stream = open(&daemon, &format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    let answer = until_closed(&mut stream, 2 * SECOND).await.expect("closed at once");
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = open(
        &daemon,
        &format!("GET /health HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(40_000)),
    )
    .await;
    let answer = until_closed(&mut stream, 2 * SECOND).await.expect("closed at once");
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    daemon.stop().await.1.unwrap();
}

// S9
#[sqlx::test]
async fn too_many_calls_are_answered_429_with_retry_after(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    let replies = join_all((0..150).map(|_| super::get(&daemon, "/sync/contacts/1"))).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!refused.is_empty());
    for reply in refused {
        assert_problem(reply, 429);
        assert!(reply.header("retry-after").is_some());
    }
    healthy(&daemon).await;
    daemon.stop().await.1.unwrap();
}

// F80
#[sqlx::test]
async fn a_caller_that_disconnects_undoes_nothing(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    world.intercom.knobs(|knobs| knobs.latency_ms = 500);
    let body = json!({ "keap_contact_id": id }).to_string();
    let request = format!(
        "POST /sync/contact HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = open(&daemon, &request).await;
    until("the contact is being created", async || world.intercom.count("create") == 1).await;

    drop(stream);

    until("the outcome is logged", async || world.last_action(id).await == "created").await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn stopping_does_not_wait_for_waiting_callers(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    world.keap.knobs(|knobs| knobs.latency_ms = 60_000);
    let lists = world.keap.count("list");
    let address = daemon.address;
    let waiting = tokio::spawn(async move {
        let token = format!("Bearer {TOKEN}");
        client::send(
            "POST",
            &format!("http://{address}/sync/contact"),
            &[("authorization", &token)],
            json!({ "keap_contact_id": id }).to_string(),
        )
        .await
    });
    until("the contact is being read", async || world.keap.count("list") > lists).await;

    let (took, ended) = daemon.stop().await;
    ended.unwrap();

    assert!(took < 3 * SECOND, "stopping took {took:?}");
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((reply.status, &reply.json()["action"]), (202, &json!("queued")));
}

#[sqlx::test]
async fn a_database_that_does_not_answer_is_reported_at_once(pool: PgPool) {
    let world = world(pool.clone()).await;
    let daemon = world.daemon().await;
    healthy(&daemon).await;
    // Every statement on this table waits for the lock.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table contact_due in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();

    let sent = Instant::now();
    let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": 1 })).await;
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    assert_problem(&reply, 503);
    assert!(reply.header("retry-after").is_some());
    healthy(&daemon).await;
    lock.rollback().await.unwrap();
    daemon.stop().await.1.unwrap();
}
