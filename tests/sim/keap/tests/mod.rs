//! Tests of the Keap stand-in over real HTTP.

mod access;
mod contacts;
mod hooks;
mod model;
mod tags;

use serde_json::Value;

use super::knobs::{IdsAsNumbers, Rounding, TokenStyle};
use super::*;
use crate::sim::client::{self, Reply};
use crate::sim::faults::What;

const USUAL: &str = "id,given_name,family_name,email_addresses,phone_numbers,update_time";

async fn get(keap: &Keap, path: &str) -> Reply {
    let bearer = format!("Bearer {}", keap.token());
    client::send("GET", &format!("{}{path}", keap.base_url()), &[("authorization", &bearer)], "")
        .await
        .unwrap()
}

/// A list with these parameters, each percent-encoded.
async fn list(keap: &Keap, params: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    get(keap, &format!("/v2/contacts?{query}")).await
}

fn ids(reply: &Reply) -> Vec<i64> {
    let body = reply.json();
    let rows = body["contacts"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
}

fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .unwrap()
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

fn ann() -> Person {
    Person::named("Ann", "Lee")
        .email("ann@example.org")
        .phone("(602) 555-0144", Some("+16025550144"))
}
