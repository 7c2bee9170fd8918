//! Plans that somebody asks for over HTTP or on the page: the holder of the lease looks, and stores
//! what it finds.

use std::sync::Arc;
use std::time::Duration;

use crate::store::Plan;
use crate::sync::plans::look::look;
use crate::sync::{Context, Halt};

/// How often the task looks for a request where none is announced.
const LOOK: Duration = Duration::from_secs(5);

/// The same where requests are announced.
const RARE_LOOK: Duration = Duration::from_secs(120);

/// Makes the plans that are asked for, while this process holds the lease.
pub async fn make(context: Arc<Context>) {
    let mut lease = context.lease.clone();
    loop {
        let made = if context.may_work() { Box::pin(make_all(&context)).await } else { Ok(()) };
        let is_waiting = made.is_err();
        if let Err(halt) = made {
            tracing::debug!(
                error = &halt as &dyn std::error::Error,
                "A plan is not made yet; the next try comes by itself."
            );
        }
        let requests = &context.board.requests;
        let rest = if requests.are_heard() && !is_waiting { RARE_LOOK } else { LOOK };
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = requests.plans.fired() => {}
            () = lease.passed_on() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn make_all(context: &Context) -> Result<(), Halt> {
    for plan in context.store.requested_plans().await? {
        make_one(context, &plan).await?;
    }
    Ok(())
}

/// Looks for one plan. A fault that ends by itself leaves it asked for.
async fn make_one(context: &Context, plan: &Plan) -> Result<(), Halt> {
    let store = &context.store;
    let Some(kind) = plan.kind() else {
        return Ok(());
    };
    match context.unless_cancelled(look(context, kind)).await {
        Ok(new) => {
            store.put_plan(Some(plan.id), &plan.asked_by, &new).await?;
            tracing::info!(plan.id = %plan.id, kind = kind.code(), contacts = new.rows.len(), "A plan waits for a person.");
            Ok(())
        }
        Err(
            halt @ (Halt::Cancelled
            | Halt::LeaseLost
            | Halt::Store(_)
            | Halt::Remote { needs_person: false, .. }),
        ) => Err(halt),
        Err(halt) => Ok(store.fail_plan(plan.id, &halt.to_string()).await?),
    }
}
