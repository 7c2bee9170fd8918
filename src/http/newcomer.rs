//! A user of Intercom without a link that a caller asks for: it is brought into Keap, or the caller
//! learns why not.

use std::time::Duration;

use tokio::time::Instant;

use super::code::Code;
use super::problem::Problem;
use super::requests::{Reply, wait_for_outcomes};
use super::state::HttpState;
use crate::contact::{IntercomId, KeapId};
use crate::outcome::CREATE_BRAKE_REMEDY;

/// How often it is looked whether anything has come of the user.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What came of a user within the wait.
pub(super) enum Brought {
    /// This contact in Keap is the user's.
    Contact(KeapId, Reply),
    /// Nothing yet.
    Queued,
}

/// Asks for a user without a link, and waits for what comes of it.
pub(super) async fn bring(
    state: &HttpState,
    id: &IntercomId,
    time: Duration,
) -> Result<Brought, Problem> {
    let deadline = Instant::now() + time;
    let since = state.store.now().await?;
    if !state.store.request_newcomer(id).await? {
        let why = "the contact of this Intercom user was deleted in Keap; it is not brought back";
        return Err(Problem::new(Code::UnknownContact, why));
    }
    state.urgent.fire("manual");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (keap, created) = match state.store.created_since(id, since).await? {
            Some(keap) => (Some(keap), true),
            None => (state.store.linked_owners(std::slice::from_ref(id)).await?.remove(id), false),
        };
        if let Some(keap) = keap {
            let mut replies = wait_for_outcomes(state, &[keap], since, left).await?;
            return Ok(match replies.remove(&keap).unwrap_or(Reply::Queued) {
                Reply::Done { intercom, .. } if created => {
                    let (action, to_keap) = ("created", true);
                    Brought::Contact(keap, Reply::Done { action, intercom, to_keap })
                }
                reply => Brought::Contact(keap, reply),
            });
        }
        refuse(state, id).await?;
        if left.is_zero() {
            return Ok(Brought::Queued);
        }
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
    }
}

/// Fails if the user waits for a person, or is none that may be brought into Keap.
async fn refuse(state: &HttpState, id: &IntercomId) -> Result<(), Problem> {
    let Some(standing) = state.store.newcomer(id).await? else {
        let is_over = state.store.newcomer_is_over(id).await?;
        let why = "it is no user with an e-mail address that intercom_to_keap.create and [filter] bring into Keap";
        return if is_over { Err(Problem::new(Code::ContactSkipped, why)) } else { Ok(()) };
    };
    if let Some(why) = standing.reason.filter(|_| standing.held) {
        return Err(Problem::new(Code::ContactHeld, why));
    }
    if standing.braked {
        let why = format!(
            "create_brake: too many contacts would be created in Keap; {CREATE_BRAKE_REMEDY}"
        );
        return Err(Problem::new(Code::ContactHeld, why));
    }
    Ok(())
}
