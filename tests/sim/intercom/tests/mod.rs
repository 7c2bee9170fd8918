//! Tests of the Intercom stand-in over real HTTP.

mod access;
mod attributes;
mod contacts;
mod search;
mod workspace;

use serde_json::{Value, json};

use super::knobs::EmailConflict;
use super::*;
use crate::sim::client::{self, Reply};
use crate::sim::faults::What;
use crate::sim::intercom::contact::Seed;

async fn call(intercom: &Intercom, method: &str, path: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", intercom.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("intercom-version", "2.16"),
        ("accept", "application/json"),
    ];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client::send(method, &format!("{}{path}", intercom.base_url()), &headers, body).await.unwrap()
}

async fn create(intercom: &Intercom, body: Value) -> Reply {
    call(intercom, "POST", "/contacts", body).await
}

async fn put(intercom: &Intercom, id: &str, body: Value) -> Reply {
    call(intercom, "PUT", &format!("/contacts/{id}"), body).await
}

async fn get(intercom: &Intercom, path: &str) -> Reply {
    call(intercom, "GET", path, Value::Null).await
}

async fn search(intercom: &Intercom, query: Value) -> Reply {
    call(intercom, "POST", "/contacts/search", json!({"query": query})).await
}

fn filter(field: &str, operator: &str, value: impl Into<Value>) -> Value {
    json!({"field": field, "operator": operator, "value": value.into()})
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn error(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    let word = |name: &str| body["errors"][0][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
    (reply.status, word("code"), word("message"))
}

fn found(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.json());
    let body = reply.json();
    body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}
