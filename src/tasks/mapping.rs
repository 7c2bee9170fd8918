//! Brings a changed mapping to the contacts that are linked already: counts first, and waits for a
//! person where it would rewrite too many.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{MappingState, RunState, StoreError};
use crate::sync::mapping_change::rewrites;
use crate::sync::{Context, Halt, LOG_AGAIN_AFTER};

/// How often the task looks whether its walk has ended, or a person has lifted the brake.
const LOOK: Duration = Duration::from_secs(5);

/// The built-in fields, which a former release has brought to everybody.
const BUILT_IN: [&str; 4] = ["email", "name", "phone", "no filter"];

/// The mapping that is to be brought to every linked contact.
pub struct Wanted {
    /// The fields that can be synced now, by their identities.
    pub fields: Vec<String>,
    /// The fields that cannot, with the reason.
    pub unfit: Vec<String>,
    /// The largest share of the links that is rewritten without a person.
    pub brake_percent: i64,
}

/// What is left to do for a mapping.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// Every linked contact has the fields.
    Nothing,
    /// A walk is under way.
    Walks,
    /// It waits for a person.
    Waits,
    /// It must be counted, then walked.
    Begin(MappingState),
}

/// Brings the mapping to every linked contact, while this process holds the lease.
pub async fn bring(context: Arc<Context>, wanted: Wanted) {
    let mut logged = None::<tokio::time::Instant>;
    loop {
        match step(&context, &wanted).await {
            Ok(true) => return context.cancel.cancelled().await,
            Ok(false) | Err(Halt::Cancelled | Halt::LeaseLost) => {}
            Err(halt) => {
                if logged.is_none_or(|at| at.elapsed() > LOG_AGAIN_AFTER) {
                    tracing::warn!(
                        error = &halt as &dyn std::error::Error,
                        "A changed mapping is not brought to the linked contacts yet; the next try comes by itself."
                    );
                    logged = Some(tokio::time::Instant::now());
                }
            }
        }
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// True once nothing is left to do.
async fn step(context: &Context, wanted: &Wanted) -> Result<bool, Halt> {
    let fence = context.fence()?;
    let store = &context.store;
    let state = match left(context, wanted).await? {
        Left::Nothing => {
            store.settle_mapping(&fence, &wanted.fields).await?;
            store.put_unfit(&fence, &wanted.unfit).await?;
            return Ok(true);
        }
        Left::Walks | Left::Waits => return Ok(false),
        Left::Begin(state) => state,
    };
    let links = store.count_linked().await?;
    let most = links * wanted.brake_percent / 100;
    // All of them: if the brake stops them, a person reads the list.
    let found = rewrites(context, i64::MAX).await?;
    let numbers = (found.contacts, links);
    if found.contacts > most && !state.forced {
        let braked = MappingState {
            would_rewrite: Some(found.contacts),
            links: Some(links),
            ..state.clone()
        };
        let plan = found.plan(context, braked.braked().unwrap_or_default()).await?;
        store.brake_mapping(&fence, &state, numbers, &plan).await?;
        store.put_unfit(&fence, &wanted.unfit).await?;
        tracing::warn!(
            contacts = numbers.0,
            links,
            "The changed mapping would rewrite more than mapping.brake_percent allows. It waits for `keap-intercom-sync plan approve`."
        );
        return Ok(false);
    }
    store.request_mapping_walk(&fence, &state).await?;
    store.put_unfit(&fence, &wanted.unfit).await?;
    tracing::info!(
        "The mapping has changed: every contact is compared with it, and what differs is written."
    );
    Ok(false)
}

/// What is left to do for this mapping.
pub async fn left(context: &Context, wanted: &Wanted) -> Result<Left, StoreError> {
    let stored = context.store.mapping_state().await?;
    let known = stored.clone().unwrap_or_else(|| MappingState {
        walked: BUILT_IN.map(str::to_owned).into(),
        ..MappingState::default()
    });
    let has = |field: &String| known.walked.contains(field);
    if wanted.fields.iter().all(has) || context.store.count_linked().await? == 0 {
        return Ok(Left::Nothing);
    }
    // What has left the mapping, or is held, must be walked again if it comes back.
    let walked = known.walked.iter().filter(|field| wanted.fields.contains(field));
    let begin = MappingState {
        walked: walked.cloned().collect(),
        target: wanted.fields.clone(),
        forced: known.forced && known.target == wanted.fields,
        ..MappingState::default()
    };
    if known.target != wanted.fields {
        return Ok(Left::Begin(begin));
    }
    let run = match known.run_id {
        Some(id) => context.store.run(id).await?.map(|run| run.state),
        None => None,
    };
    Ok(match run {
        Some(RunState::Done) => Left::Nothing,
        Some(RunState::Requested | RunState::Running) => Left::Walks,
        // Without a run, or after one that failed.
        Some(RunState::Failed) | None if known.waits().is_none() => Left::Begin(begin),
        Some(RunState::Failed) | None => Left::Waits,
    })
}
