//! Follows what people pause and resume, so that the lanes know it without a query of their own.

use std::sync::Arc;

use crate::pause::{Pause, Pauses};
use crate::sync::Context;

/// Keeps the pauses on the board up to date until the daemon stops. While the database does not
/// answer, the last known ones hold.
pub async fn follow(context: Arc<Context>) {
    let requests = &context.board.requests;
    loop {
        let looks_itself = !requests.are_heard();
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = requests.pauses.fired() => {}
            () = tokio::time::sleep(context.policy.sync.idle_check), if looks_itself => {}
        }
        match context.store.pauses().await {
            Ok(pauses) => take(&context, pauses),
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "The pauses could not be read; the last known ones hold."
            ),
        }
    }
}

/// Wakes the lanes when something has changed: what was stopped may go on.
fn take(context: &Context, pauses: Pauses) {
    let in_words: Vec<String> = pauses.0.iter().map(Pause::in_words).collect();
    if !context.board.pauses.set(pauses) {
        return;
    }
    for pause in in_words {
        tracing::warn!("Contacts wait: {pause}.");
    }
    context.board.requests.due.fire("pause");
    context.board.requests.runs.fire("pause");
}
