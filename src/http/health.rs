//! `GET /health`: alive, nothing more; no database and no remote call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;

#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `unhealthy` when a loop has stopped turning.
    #[schema(value_type = String, example = "healthy")]
    status: &'static str,
    timestamp: String,
    environment: String,
    #[schema(value_type = String)]
    version: &'static str,
}

/// Says that the process is alive: its loops turn
#[utoipa::path(get, path = "/health", tag = "watch", responses(
    (status = 200, description = "Alive", body = Health),
    (status = 503, description = "A loop has stopped turning: restart the process", body = Health)))]
pub async fn health(State(state): State<Arc<HttpState>>) -> (StatusCode, Json<Health>) {
    let (code, status) = if (state.is_alive)() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    let health = Health {
        status,
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        environment: state.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    (code, Json(health))
}
