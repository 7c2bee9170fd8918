//! Lists of Intercom's users: finds the linked contacts that have changed in Intercom, and makes them
//! due.
//!
//! A list says who has changed. What has changed, only a read by id says: the index behind the list
//! is minutes behind, and may still show a contact as it was before our own write.

use chrono::{DateTime, TimeDelta, Utc};

use super::context::Context;
use super::newcomers;
use super::result::Halt;
use crate::contact::{Bases, Candidate, Contact, IntercomId, KeapId};
use crate::feed::Lane;
use crate::intercom::{Hinted, UserOrder, UsersPage};
use crate::store::{
    IntercomCursor, IntercomFeed, LinkedUser, NewcomerRow, SeenUsers, SettledUser, StoreError,
};

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
///
/// The first poll only stores where the next one begins: an audit compares everybody once.
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
        let is_whole = is_at_end || next.is_none() || before.position.is_none();
        let found = if before.position.is_none() {
            Found::default()
        } else {
            let (mut compared, seen) = compare_page(context, &page).await?;
            compared.changed.retain(|sight| !sight.is_known(context));
            walk.compared += seen.len();
            walk.changed += compared.changed.len();
            compared
        };
        let cursor = IntercomCursor {
            position: if is_whole { newest } else { before.position },
            walked_at: if is_whole { Some(Utc::now()) } else { before.walked_at },
        };
        let cursor = Some((IntercomFeed::Changed, &cursor));
        let Found { changed, settled, newcomers } = found;
        let ids = changed.iter().map(|sight| sight.keap).collect();
        let seen = SeenUsers { changed: ids, settled, newcomers };
        store.record_users(&context.fence()?, &seen, cursor).await?;
        for sight in &changed {
            sight.note(context);
        }
        if is_whole {
            return Ok(walk);
        }
        from = next;
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

/// A page of a walk over all users.
pub(super) struct WalkedPage {
    /// The linked contacts that it shows.
    pub seen: Vec<KeapId>,
    /// Those of them that differ from what was settled.
    pub differ: Vec<KeapId>,
    /// Where the walk goes on.
    pub next: Option<String>,
}

/// The next page of a walk over all users. What is settled by it is stored.
pub(super) async fn next_page(context: &Context, from: Option<&str>) -> Result<WalkedPage, Halt> {
    let page = read(context, UserOrder::AsCreated, from).await?;
    let (found, seen) = compare_page(context, &page).await?;
    let Found { changed, settled, newcomers } = found;
    let stored = SeenUsers { changed: Vec::new(), settled, newcomers };
    context.store.record_users(&context.fence()?, &stored, None).await?;
    let next = page.next.filter(|next| Some(next.as_str()) != from);
    let differ = changed.iter().map(|sight| sight.keap).collect();
    Ok(WalkedPage { seen, differ, next })
}

/// Compares all users and changes nothing. `show` is told each linked contact that differs.
pub async fn compare_all(
    context: &Context,
    mut show: impl FnMut(KeapId, &IntercomId),
) -> Result<UsersWalk, Halt> {
    let (mut walk, mut from) = (UsersWalk::default(), None::<String>);
    for _ in 0..MOST_PAGES {
        let page = read(context, UserOrder::AsCreated, from.as_deref()).await?;
        for (intercom, keap, compared) in linked(context, &page).await? {
            walk.compared += 1;
            if matches!(compared, Compared::Changed(_)) {
                walk.changed += 1;
                show(keap, &intercom);
            }
        }
        let next = page.next.filter(|next| Some(next) != from.as_ref());
        if next.is_none() {
            return Ok(walk);
        }
        from = next;
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

/// Takes a contact as a notification of Intercom shows it. True if it is stored as due. It costs no
/// call: most notifications are about our own writes.
pub async fn hint(context: &Context, item: serde_json::Value) -> Result<bool, StoreError> {
    if !context.policy.direction.to_keap {
        return Ok(false);
    }
    let hinted = context.intercom.hinted(item);
    let ids: Vec<IntercomId> = hinted.iter().map(|hinted| hinted.id().clone()).collect();
    let links = context.store.linked_users(&ids).await?;
    let mut is_news = false;
    for hinted in &hinted {
        let Some(link) = links.get(hinted.id()) else {
            if let Hinted::User(user) = hinted {
                is_news |= newcomers::hint(context, user).await?;
            }
            continue;
        };
        let sight = match hinted {
            Hinted::User(user) => match compare(context, user, link) {
                Compared::Changed(sight) if !sight.is_known(context) => Some(sight),
                _ => continue,
            },
            Hinted::Gone(_) => None,
        };
        context.store.hint_of_intercom(link.keap).await?;
        if let Some(sight) = sight {
            sight.note(context);
        }
        is_news = true;
    }
    Ok(is_news)
}

async fn read(context: &Context, order: UserOrder, from: Option<&str>) -> Result<UsersPage, Halt> {
    context
        .unless_cancelled(async {
            context.intercom.users(Lane::Bulk, order, from).await.map_err(Halt::of_reading)
        })
        .await
}

/// Compares one page, and says which linked contacts it shows.
async fn compare_page(context: &Context, page: &UsersPage) -> Result<(Found, Vec<KeapId>), Halt> {
    let newcomers = newcomers::among(context, &page.users).await?;
    let mut found = Found { newcomers, ..Found::default() };
    let linked = linked(context, page).await?;
    let seen = linked.iter().map(|(_, keap, _)| *keap).collect();
    for (_, _, compared) in linked {
        match compared {
            Compared::Same => {}
            Compared::Settled(settled) => found.settled.push(settled),
            Compared::Changed(sight) => found.changed.push(sight),
        }
    }
    Ok((found, seen))
}

/// The linked users of a page, each compared with what was settled. It costs no call.
async fn linked(
    context: &Context,
    page: &UsersPage,
) -> Result<Vec<(IntercomId, KeapId, Compared)>, Halt> {
    let ids: Vec<IntercomId> = page.users.iter().map(|user| user.id.clone()).collect();
    let links = context.store.linked_users(&ids).await?;
    let each = page.users.iter().filter_map(|user| {
        let link = links.get(&user.id)?;
        Some((user.id.clone(), link.keap, compare(context, user, link)))
    });
    Ok(each.collect())
}

enum Compared {
    Same,
    /// It shows what was settled on Keap's side, and nobody has stored that of Intercom's.
    Settled(SettledUser),
    Changed(Sight),
}

/// What a page showed.
#[derive(Default)]
struct Found {
    changed: Vec<Sight>,
    settled: Vec<SettledUser>,
    newcomers: Vec<NewcomerRow>,
}

/// A changed contact, as a list or a notification shows it.
struct Sight {
    keap: KeapId,
    shown: Bases,
    updated_at: Option<i64>,
}

impl Sight {
    fn is_known(&self, context: &Context) -> bool {
        context.board.noticed.has(self.keap, &self.shown, self.updated_at)
    }

    fn note(&self, context: &Context) {
        context.board.noticed.note(self.keap, &self.shown, self.updated_at);
    }
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
    let under = |bases: &Option<Bases>| bases.clone().map(|base| base.under(order));
    let (in_keap, in_intercom) = (under(&link.keap_base), under(&link.intercom_base));
    let mut is_settled = true;
    // Somebody may have taken back the value that holds the contact.
    let mut is_changed = link.is_held;
    // It shows some of its tags, and may have changed another one.
    is_changed |= user.hides_tags && updated_at(user) > link.intercom_updated_at;
    for (name, _) in shown.fields.iter() {
        let name = name.as_str();
        let known = in_intercom.as_ref().filter(|base| base.has(name));
        is_settled &= known.is_some();
        is_changed |= !known.or(in_keap.as_ref()).is_some_and(|base| base.agrees_on(name, &now));
    }
    if is_changed {
        return Compared::Changed(Sight {
            keap: link.keap,
            shown: now,
            updated_at: user.updated_at,
        });
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
