//! `POST /sync/notify/test`: sends a test message to each target of alarms.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::notify::Answer;

/// What each target has answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotifyReply {
    /// Every target has taken its message.
    success: bool,
    /// Empty where no target is set.
    targets: Vec<TargetBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TargetBody {
    /// `json`, `slack`, `teams`, `discord` or `mail`.
    #[schema(value_type = String, example = "slack")]
    target: &'static str,
    /// Where it is, without a token.
    #[schema(example = "hooks.slack.com")]
    place: String,
    delivered: bool,
    /// In words.
    #[schema(example = "answered 200")]
    answer: String,
}

impl From<Answer> for TargetBody {
    fn from(one: Answer) -> Self {
        let delivered = one.said.is_ok();
        let answer = one.said.unwrap_or_else(|why| why);
        Self { target: one.name, place: one.place, delivered, answer }
    }
}

/// Sends a test message to each target of alarms
///
/// The targets are those of `[notify]` in the settings.
#[utoipa::path(post, path = "/sync/notify/test", tag = "watch", operation_id = "testAlarms", security(("apiToken" = [])),
    responses(
        (status = 200, description = "What each target has answered", body = NotifyReply, example = json!({
            "success": true, "targets": [{ "target": "slack", "place": "hooks.slack.com", "delivered": true, "answer": "answered 200" }] })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn test(
    State(state): State<Arc<HttpState>>,
) -> Result<Json<NotifyReply>, Problem> {
    let answers = state.notifier.test().await;
    let targets: Vec<TargetBody> = answers.into_iter().map(TargetBody::from).collect();
    Ok(Json(NotifyReply { success: targets.iter().all(|one| one.delivered), targets }))
}
