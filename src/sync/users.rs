//! Lists of Intercom's users: finds the linked contacts that have changed in Intercom, and makes them
//! due.
//!
//! A list says who has changed. What has changed, only a read by id says: the index behind the list
//! is minutes behind, and may still show a contact as it was before our own write.

use chrono::{DateTime, TimeDelta, Utc};

use super::context::Context;
use super::result::Halt;
use crate::contact::{Candidate, Contact, IntercomId};
use crate::feed::Lane;
use crate::intercom::{UserOrder, UsersPage};
use crate::store::{IntercomCursor, IntercomFeed, LinkedUser, SeenUsers, SettledUser};

/// A list that is longer than this does not end. No workspace has a million users on this plan.
const MOST_PAGES: usize = 7_000;

/// What a walk over a list found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UsersWalk {
    /// Linked contacts that were compared.
    pub compared: usize,
    /// Those that differ from what was settled.
    pub changed: usize,
}

/// Polls the users that changed last. It reads back to where the last whole poll began, and `overlap`
/// further. A quiet poll is one call.
pub async fn poll_changed(context: &Context, overlap: TimeDelta) -> Result<UsersWalk, Halt> {
    let store = &context.store;
    let before = store.intercom_cursor(IntercomFeed::Changed).await?;
    let until = before.position.map(|position| position - overlap);
    let (mut walk, mut newest, mut from) = (UsersWalk::default(), before.position, None);
    for _ in 0..MOST_PAGES {
        let page = read(context, UserOrder::NewestFirst, from.as_deref()).await?;
        let stamps = || page.users.iter().filter_map(updated_at);
        // Only the first page can have the newest change. What changes later moves to the front.
        if from.is_none() {
            newest = newest.max(stamps().max());
        }
        let is_at_end = until.is_some_and(|until| stamps().any(|at| at < until));
        let next = page.next.clone().filter(|next| Some(next) != from.as_ref());
        // Before the first poll, everybody is in the list; the backfill compares them.
        let is_whole = is_at_end || next.is_none() || before.position.is_none();
        let position = if is_whole { newest } else { before.position };
        let walked_at = if is_whole { Some(Utc::now()) } else { before.walked_at };
        let cursor = IntercomCursor { position, page: None, walked_at };
        take(context, IntercomFeed::Changed, &page, &cursor, &mut walk).await?;
        if is_whole {
            return Ok(walk);
        }
        from = next;
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

/// Compares all users, once or once more. A walk that was stopped goes on where it was.
pub async fn walk_all(context: &Context, feed: IntercomFeed) -> Result<UsersWalk, Halt> {
    let mut cursor = context.store.intercom_cursor(feed).await?;
    let mut walk = UsersWalk::default();
    for _ in 0..MOST_PAGES {
        let from = cursor.page.take();
        let page = read(context, UserOrder::AsCreated, from.as_deref()).await?;
        let next = page.next.clone().filter(|next| Some(next) != from.as_ref());
        cursor.page.clone_from(&next);
        if next.is_none() {
            cursor.walked_at = Some(Utc::now());
        }
        take(context, feed, &page, &cursor, &mut walk).await?;
        if next.is_none() {
            return Ok(walk);
        }
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

async fn read(context: &Context, order: UserOrder, from: Option<&str>) -> Result<UsersPage, Halt> {
    context
        .unless_cancelled(async {
            context.intercom.users(Lane::Bulk, order, from).await.map_err(Halt::of_reading)
        })
        .await
}

/// Compares one page, and stores what it shows and where its walk goes on.
async fn take(
    context: &Context,
    feed: IntercomFeed,
    page: &UsersPage,
    cursor: &IntercomCursor,
    walk: &mut UsersWalk,
) -> Result<(), Halt> {
    let ids: Vec<IntercomId> = page.users.iter().map(|user| user.id.clone()).collect();
    let links = context.store.linked_users(&ids).await?;
    let mut seen = SeenUsers::default();
    for user in &page.users {
        let Some(link) = links.get(&user.id) else {
            continue;
        };
        walk.compared += 1;
        match compare(context, user, link) {
            Compared::Same => {}
            Compared::Settled(settled) => seen.settled.push(settled),
            Compared::Changed => {
                walk.changed += 1;
                seen.changed.push(link.keap);
            }
        }
    }
    Ok(context.store.record_users(&context.fence()?, feed, &seen, cursor).await?)
}

enum Compared {
    Same,
    /// It shows what was settled on Keap's side, and nobody has stored that of Intercom's.
    Settled(SettledUser),
    Changed,
}

/// Compares a user with what was settled. It costs no call.
fn compare(context: &Context, user: &Candidate, link: &LinkedUser) -> Compared {
    let (key, order) = (&context.key, &context.fields);
    // A row that is older than what was read by id is an old picture.
    let is_old = updated_at(user) < link.intercom_updated_at && updated_at(user).is_some();
    if is_old && !link.is_open {
        return Compared::Same;
    }
    let shown = Contact::showing(link.keap, user.fields());
    let now = key.bases_shown(order, &shown);
    let under = |bases: &Option<crate::contact::Bases>| bases.clone().map(|base| base.under(order));
    let (in_keap, in_intercom) = (under(&link.keap_base), under(&link.intercom_base));
    let mut is_settled = true;
    for (name, _) in shown.fields.iter() {
        let name = name.as_str();
        let known = in_intercom.as_ref().filter(|base| base.has(name));
        is_settled &= known.is_some();
        let same = known.or(in_keap.as_ref()).is_some_and(|base| base.agrees_on(name, &now));
        if !same {
            return Compared::Changed;
        }
    }
    if is_settled {
        return Compared::Same;
    }
    Compared::Settled(SettledUser {
        keap: link.keap,
        former: link.intercom_updated_at,
        base: now.or(in_intercom.as_ref()),
        updated_at: updated_at(user),
    })
}

fn updated_at(user: &Candidate) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(user.updated_at?, 0)
}
