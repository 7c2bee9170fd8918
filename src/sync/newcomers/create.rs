//! A create in Keap: an intent that is stored first, one call, and what its answer means.

use std::time::Duration;

use uuid::Uuid;

use super::end::{End, Look};
use super::whom::braked;
use crate::contact::{Candidate, Digest, Email, Fields, KeapId, Owner};
use crate::feed::{Counts, Feed, RunReason};
use crate::keap::{Created, NewContact};
use crate::outcome::{Action, HoldReason, RunFailure};
use crate::store::{Intended, LogRow, NewRun, Settlement};
use crate::sync::plans;

/// Another create of the same address is not settled.
const OTHER_CREATE: Duration = Duration::from_secs(60);

/// Makes the contact of a newcomer in Keap, where nobody has its address. `None`: what comes of it
/// is stored already.
pub(super) async fn create(
    look: &Look<'_>,
    user: &Candidate,
    email: &Email,
    digest: Digest,
) -> Result<Option<Settlement>, End> {
    let Look { context, lane, newcomer } = *look;
    // A side that is down takes no create, so none is left without an answer.
    context.keap.remote().ready(lane).await?;
    let again = newcomer.create.is_some();
    let Some(intent) = intend(look, digest).await? else {
        return Ok(Some(Settlement::Later { after: OTHER_CREATE, why: None }));
    };
    let (store, fence) = (&context.store, context.fence()?);
    let fields = sent(look, user);
    let new = NewContact { email, fields: &fields, number: number_of(intent), again };
    let _through = newcomer.is_manual.then(|| context.board.pauses.let_through(new.about()));
    let settlement = match context.keap.create(lane, &new).await {
        Ok(Created::Made(keap)) => return made(look, (intent, keap)).await,
        Ok(Created::Unknown(why)) => return unanswered(look, intent, why).await,
        Ok(Created::Refused(_)) if again => Settlement::Held(HoldReason::CreateUnsure),
        Ok(Created::Refused(why)) => Settlement::Held(HoldReason::CreateRefused(why)),
        Ok(Created::Forbidden) => {
            let why = "Keap does not allow this key to write contacts (403); check the rights of its user";
            let after = context.policy.sync.stop_recheck;
            Settlement::Later { after, why: Some(why.into()) }
        }
        Err(failure) => {
            if !again {
                let later = Settlement::Later { after: Duration::ZERO, why: None };
                store.create_failed(&fence, newcomer, intent, &later).await?;
            }
            return Err(failure.into());
        }
    };
    // While an earlier create has no answer, no refusal says that nothing was made.
    if again {
        return Ok(Some(settlement));
    }
    store.create_failed(&fence, newcomer, intent, &look.within_attempts(settlement)).await?;
    Ok(None)
}

/// Stores the intent, before the call. `None`: another create of the same address is not settled.
async fn intend(look: &Look<'_>, digest: Digest) -> Result<Option<Uuid>, End> {
    let Look { context, newcomer, .. } = *look;
    let (store, fence) = (&context.store, context.fence()?);
    let quiet = context.policy.creating.quiet;
    if let Some(open) = &newcomer.create {
        store.leave_create_alone(&fence, newcomer, open.intent, (quiet, None)).await?;
        return Ok(Some(open.intent));
    }
    let intent = Uuid::new_v4();
    let limits = (context.policy.creating.most, quiet);
    match store.intend_create(&fence, newcomer, (intent, digest), limits).await? {
        Intended::Stored => Ok(Some(intent)),
        Intended::Taken => Ok(None),
        Intended::Braked => {
            Box::pin(fail_a_run(look)).await?;
            tracing::error!(
                most_per_hour = context.policy.creating.most,
                "The brake stops creates in Keap. The users wait; `keap-intercom-sync plan show` lists them, and `keap-intercom-sync plan approve` lets them through."
            );
            Err(End::Braked)
        }
    }
}

/// The answer is lost: the contact may be there. The intent stays, and from now on the create is
/// left alone for a while.
async fn unanswered(look: &Look<'_>, intent: Uuid, why: String) -> Result<Option<Settlement>, End> {
    let Look { context, newcomer, .. } = *look;
    tracing::warn!(
        intercom.contact_id = newcomer.id.as_str(),
        why,
        "Keap has not answered a create. It is looked for before it is sent again."
    );
    let after = context.policy.creating.quiet;
    match look.within_attempts(Settlement::Later { after, why: Some(why) }) {
        Settlement::Later { after, why } => {
            let quiet = (after, why.as_deref());
            let fence = context.fence()?;
            context.store.leave_create_alone(&fence, newcomer, intent, quiet).await?;
            Ok(None)
        }
        _ => Ok(Some(Settlement::Held(HoldReason::CreateUnsure))),
    }
}

/// A run fails with the reason, so that whoever watches runs learns of the brake.
async fn fail_a_run(look: &Look<'_>) -> Result<(), End> {
    let Look { context, .. } = *look;
    let (store, fence) = (&context.store, context.fence()?);
    let run =
        NewRun { id: Uuid::new_v4(), feed: Feed::Audit, reason: RunReason::Schedule, since: None };
    let Some(why) = braked(context).await? else {
        return Ok(());
    };
    if store.begin_run(&fence, &run, &[], None).await? {
        let why = RunFailure::CreateBrake(why);
        let plan = Box::pin(plans::brakes::creates(context, &why)).await?;
        store.brake_run(&fence, run.id, &why, &plan).await?;
    }
    Ok(())
}

/// Stores the id that Keap has given, before anything else is done with the contact.
async fn made(look: &Look<'_>, made: (Uuid, KeapId)) -> Result<Option<Settlement>, End> {
    let Look { context, newcomer, .. } = *look;
    let (_, keap) = made;
    let row = LogRow {
        id: Uuid::new_v4(),
        keap,
        intercom: Some(newcomer.id.clone()),
        action: Action::Created,
        reason: None,
        to_keap: true,
        feed: Feed::Due,
        run_id: None,
        request_id: None,
        conflicts: None,
    };
    context.store.create_made(&context.fence()?, newcomer, made, &row).await?;
    context.advance(&Counts { created_in_keap: 1, ..Counts::default() });
    metrics::counter!("keap_intercom_sync_created_in_keap_total").increment(1);
    tracing::info!(
        keap.contact_id = keap.get(),
        intercom.contact_id = newcomer.id.as_str(),
        "A contact was made in Keap for a user of Intercom."
    );
    Ok(None)
}

/// The fields that may be sent. A field that is never written is not sent either.
fn sent(look: &Look<'_>, user: &Candidate) -> Fields {
    let rule = |name: &str| look.context.fields.rule(name);
    user.fields().only(|name| rule(name.as_str()).is_some_and(|rule| rule.owner != Owner::Never))
}

/// A number for a contact that has no id yet.
fn number_of(intent: Uuid) -> i64 {
    let (high, _) = intent.as_u64_pair();
    i64::try_from(high >> 1).unwrap_or(i64::MAX).max(1)
}
