//! Polls of mapped tags: applying a tag may move no stamp of its contact, so the poll of changes
//! would not see it. A removal is in no list; the sweep finds it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::contact::KeapId;
use crate::feed::Feed;
use crate::keap::Applied;
use crate::remote::Lane;
use crate::store::{Fence, StoreError};
use crate::sync::{Context, Halt};
use crate::trigger::Trigger;

/// How far the first poll of a tag looks back from Keap's time: the walk that brings the mapping
/// has not begun by then.
const FIRST_LOOK: TimeDelta = TimeDelta::minutes(2);

/// The contacts that were seen at the latest moment of a tag. Keap may include it in the next list.
type Seen = HashMap<String, (DateTime<Utc>, HashSet<KeapId>)>;

/// Polls each tag whenever `schedule` fires, while this process holds the lease. `tags`: Keap's
/// ids.
pub async fn poll(context: Arc<Context>, tags: Vec<String>, schedule: Arc<Trigger>) {
    let mut seen = Seen::new();
    loop {
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = schedule.fired() => {}
        }
        if context.is_paused(Feed::Changed) {
            continue;
        }
        let Ok(fence) = context.fence() else {
            continue;
        };
        for tag in &tags {
            match poll_one(&context, &fence, tag, &mut seen).await {
                Ok(()) | Err(Halt::Cancelled | Halt::LeaseLost) => {}
                Err(halt) => tracing::warn!(
                    keap.tag_id = tag,
                    error = &halt as &dyn std::error::Error,
                    "A tag could not be polled; the next poll begins at the same place."
                ),
            }
        }
    }
}

async fn poll_one(
    context: &Context,
    fence: &Fence,
    tag: &str,
    seen: &mut Seen,
) -> Result<(), Halt> {
    let Some(since) = context.store.tag_cursor(tag).await? else {
        return begin(context, fence, tag).await;
    };
    let (mut token, mut found): (Option<String>, Vec<Applied>) = (None, Vec::new());
    let mut passed = HashSet::new();
    loop {
        let page = context
            .unless_cancelled(async {
                let page = context.keap.tagged(Lane::Bulk, tag, Some(since), token.take()).await;
                page.map_err(Halt::of_reading)
            })
            .await?;
        found.extend(page.applied);
        let is_new = page.next_token.as_ref().is_some_and(|next| passed.insert(next.clone()));
        if !is_new {
            // Keap has no further page, or repeats one. The sweep finds what it does not show.
            break;
        }
        token = page.next_token;
    }
    let latest = found.iter().map(|one| one.at).max().unwrap_or(since).max(since);
    let known = seen.get(tag).filter(|(at, _)| *at == since).map(|(_, ids)| ids);
    let is_new = |one: &&Applied| {
        one.at > since || one.at == since && known.is_none_or(|known| !known.contains(&one.contact))
    };
    let contacts: Vec<KeapId> = found.iter().filter(is_new).map(|one| one.contact).collect();
    if latest > since || !contacts.is_empty() {
        context.store.record_tag_poll(fence, tag, latest, &contacts).await?;
    }
    let mut at_latest: HashSet<KeapId> =
        found.iter().filter(|one| one.at == latest).map(|one| one.contact).collect();
    if latest == since {
        at_latest.extend(known.into_iter().flatten().copied());
    }
    seen.insert(tag.to_owned(), (latest, at_latest));
    Ok(())
}

/// The first poll only stores Keap's time: the walk that brings the mapping finds everybody who has
/// the tag already.
async fn begin(context: &Context, fence: &Fence, tag: &str) -> Result<(), Halt> {
    let page = context.keap.tagged(Lane::Bulk, tag, None, None).await.map_err(Halt::of_reading)?;
    let now = page.date.unwrap_or_else(Utc::now);
    let stored = context.store.record_tag_poll(fence, tag, now - FIRST_LOOK, &[]).await;
    stored.map_err(|error: StoreError| error.into())
}
