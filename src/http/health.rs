//! `GET /health`: alive, nothing more; no database and no remote call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::HttpState;

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    timestamp: String,
    environment: String,
    version: &'static str,
}

pub async fn health(State(state): State<Arc<HttpState>>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        environment: state.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
