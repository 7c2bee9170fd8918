//! A changed mapping and `sync --all`: the brake holds for a person too, unless `--force` lifts it.

use uuid::Uuid;

use super::args::SyncArgs;
use crate::config::Settings;
use crate::mapping::Fitted;
use crate::store::Store;
use crate::sync::Context;
use crate::sync::mapping_change::rewrites;
use crate::tasks::mapping::{Left, Wanted, left};

/// What a changed mapping makes of `sync --all`.
pub(super) enum Brake {
    /// It changes nothing.
    Open,
    /// This run brings it to every contact.
    Run(Uuid),
    /// It waits for a person, who is told this.
    Stops(String),
}

/// Looks whether the mapping has changed, and asks for its walk.
pub(super) async fn brake(
    context: &Context,
    fitted: &Fitted,
    settings: &Settings,
    args: &SyncArgs,
) -> anyhow::Result<Brake> {
    let brake_percent = settings.mapping.brake_percent;
    let wanted = Wanted { fields: fitted.identities(), unfit: Vec::new(), brake_percent };
    let store: &Store = &context.store;
    if args.force {
        store.let_them_leave().await?;
    }
    let (state, counted) = match left(context, &wanted).await? {
        Left::Nothing | Left::Walks => return Ok(Brake::Open),
        Left::Waits => (store.mapping_state().await?.unwrap_or_default(), true),
        Left::Begin(state) => (state, false),
    };
    if args.force {
        return Ok(Brake::Run(store.force_mapping_walk(&state).await?));
    }
    if counted {
        return Ok(Brake::Stops(state.waits().unwrap_or_default()));
    }
    let links = store.count_linked().await?;
    let most = links * brake_percent / 100;
    // All of them, because a person reads the number.
    let found = rewrites(context, i64::MAX).await?;
    if found.contacts <= most {
        return Ok(Brake::Run(store.force_mapping_walk(&state).await?));
    }
    let fields: Vec<String> =
        found.by_field.iter().map(|(field, contacts)| format!("{field} in {contacts}")).collect();
    Ok(Brake::Stops(format!(
        "the changed mapping would rewrite {} of {links} linked contacts ({}), which is more than mapping.brake_percent = {brake_percent} % allows; look at `keap-intercom-sync plan --all`, then let it go on with `keap-intercom-sync plan approve` or `keap-intercom-sync sync --all --force`",
        found.contacts,
        fields.join(", ")
    )))
}
