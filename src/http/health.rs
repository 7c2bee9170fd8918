//! `GET /health`: says whether the process is alive. It asks neither the database nor a remote.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::state::HttpState;

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, or `unhealthy` when a lane has stopped making progress.
    #[schema(value_type = String, example = "healthy")]
    status: &'static str,
    timestamp: String,
    environment: String,
    #[schema(value_type = String)]
    version: &'static str,
}

/// Says whether the process is alive: its lanes make progress
#[utoipa::path(get, path = "/health", tag = "watch", operation_id = "showHealth", responses(
    (status = 200, description = "Alive", body = Health,
        example = json!({ "status": "healthy", "timestamp": "2026-11-25T04:05:54.273Z", "environment": "production", "version": "0.1.0" })),
    (status = 503, description = "A lane has stopped making progress: restart the process", body = Health,
        example = json!({ "status": "unhealthy", "timestamp": "2026-11-25T04:05:54.273Z", "environment": "production", "version": "0.1.0" }))))]
pub(super) async fn health(State(state): State<Arc<HttpState>>) -> (StatusCode, Json<Health>) {
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
