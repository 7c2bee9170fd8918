//! `GET /health`: alive, nothing more; no database and no remote call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;

#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(value_type = String, example = "healthy")]
    status: &'static str,
    timestamp: String,
    environment: String,
    #[schema(value_type = String)]
    version: &'static str,
}

/// Says that the process is alive
#[utoipa::path(get, path = "/health", tag = "watch", responses((status = 200, description = "Alive", body = Health)))]
pub async fn health(State(state): State<Arc<HttpState>>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        environment: state.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
