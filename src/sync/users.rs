//! Lists of Intercom's users: finds the linked contacts that have changed in Intercom, and makes
//! them due.
//!
//! A list says who has changed. What has changed, only a read by id says: the index behind the list
//! is minutes behind, and may still show a contact as it was before our own write.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::context::Context;
use super::newcomers;
use super::result::Halt;
use crate::contact::{Bases, Candidate, Contact, FieldName, IntercomId, KeapId, Owner, Reading};
use crate::feed::Lane;
use crate::intercom::{Hinted, UserOrder, UsersPage};
use crate::store::{
    ChangedInIntercom, IntercomCursor, IntercomFeed, LinkedUser, NewcomerRow, SeenUsers,
    SettledUser, StoreError, Watched,
};

/// A list that is longer than this does not end. No workspace has a million users on this plan.
const MOST_PAGES: usize = 7_000;

/// A list that is further behind than a third of this is the audit's matter.
const LONGEST_OVERLAP: TimeDelta = TimeDelta::hours(3);

/// What a walk over a list found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UsersWalk {
    /// Linked contacts that were compared.
    pub compared: usize,
    /// Those that differ from what was settled.
    pub changed: usize,
}

/// Polls the users that changed last. It reads back to where the last whole poll began, and the
/// overlap further. A quiet poll is one call.
///
/// The first poll only stores where the next one begins: an audit compares everybody once.
pub async fn poll_changed(context: &Context) -> Result<UsersWalk, Halt> {
    poll(context, || ()).await
}

/// The same in the lane of walks, which says with each page that it works.
pub(super) async fn poll_in_lane(context: &Context) -> Result<UsersWalk, Halt> {
    poll(context, || context.board.heartbeat.beat(Lane::Bulk, Duration::ZERO)).await
}

async fn poll(context: &Context, on_page: impl Fn()) -> Result<UsersWalk, Halt> {
    let _alone = context.board.intercom_poll.lock().await;
    let store = &context.store;
    let before = store.intercom_cursor(IntercomFeed::Changed).await?;
    let until = before.position.map(|position| position - kept_overlap(context, &before));
    let (mut walk, mut newest, mut from) = (UsersWalk::default(), before.position, None);
    let mut watched = Watched::default();
    for _ in 0..MOST_PAGES {
        on_page();
        let mut page = read(context, UserOrder::NewestFirst, from.as_deref()).await?;
        let stamps = || page.users.iter().filter_map(updated_at);
        watched.search_lag =
            watched.search_lag.max(context.board.search_lag.shown(&page.users, Instant::now()));
        // Only the first page can have the newest change. What changes later moves to the front.
        if from.is_none() {
            newest = newest.max(stamps().max());
        }
        let is_at_end = until.is_some_and(|until| stamps().any(|at| at < until));
        let next = page.next.clone().filter(|next| Some(next) != from.as_ref());
        let is_whole = is_at_end || next.is_none() || before.position.is_none();
        // What is older was compared before. It may wait for its turn.
        let is_news = |user: &Candidate| until <= updated_at(user) || user.updated_at.is_none();
        page.users.retain(is_news);
        let found = if before.position.is_none() {
            Found::default()
        } else {
            let (mut compared, seen) = compare_page(context, &page).await?;
            compared.changed.retain(|sight| !sight.is_known(context));
            watched.missed |= !compared.changed.is_empty();
            walk.compared += seen.len();
            walk.changed += compared.changed.len();
            compared
        };
        let cursor = IntercomCursor {
            position: if is_whole { newest } else { before.position },
            walked_at: if is_whole { Some(Utc::now()) } else { before.walked_at },
            ..before
        };
        let cursor = Some((IntercomFeed::Changed, &cursor));
        let Found { changed, settled, newcomers } = found;
        let seen = SeenUsers { changed: turns(context, &changed), settled, newcomers, run: None };
        store.record_users(&context.fence()?, &seen, cursor).await?;
        for sight in &changed {
            sight.note(context);
        }
        if is_whole {
            let until = until.map(|until| until.timestamp());
            watched.search_lag =
                watched.search_lag.max(context.board.search_lag.not_shown(until, Instant::now()));
            if watched != Watched::default() {
                store.watched(&context.fence()?, watched).await?;
            }
            return Ok(walk);
        }
        from = next;
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

/// How far a poll looks back: at least three times as long as the list has taken to show a write.
fn kept_overlap(context: &Context, cursor: &IntercomCursor) -> TimeDelta {
    let lag = TimeDelta::seconds(cursor.search_lag_seconds.unwrap_or_default().into());
    context.policy.intercom_overlap.max((lag * 3).min(LONGEST_OVERLAP))
}

/// The turns of contacts that have changed a moment ago. A person's edit is written at once. Where
/// very many contacts change, a program has changed them.
fn turns(context: &Context, changed: &[Sight]) -> ChangedInIntercom {
    let (consent, others): (Vec<&Sight>, Vec<_>) =
        changed.iter().partition(|sight| sight.is_consent);
    let (now, paced) = others.split_at(context.board.pace.edits(others.len(), Instant::now()));
    let ids = |sights: &[&Sight]| sights.iter().map(|sight| sight.keap).collect();
    ChangedInIntercom { consent: ids(&consent), now: ids(now), paced: ids(paced) }
}

/// A page of a walk over all users.
pub(super) struct WalkedPage {
    /// The linked contacts that it shows.
    pub seen: Vec<KeapId>,
    /// Those of them that differ from what was settled. Nobody waits for them.
    pub differ: ChangedInIntercom,
    /// Where the walk goes on.
    pub next: Option<String>,
}

/// The next page of the walk of a run over all users. What is settled by it is stored.
pub(super) async fn next_page(
    context: &Context,
    run: Uuid,
    from: Option<&str>,
) -> Result<WalkedPage, Halt> {
    let page = read(context, UserOrder::AsCreated, from).await?;
    let (found, seen) = compare_page(context, &page).await?;
    let Found { changed, settled, newcomers } = found;
    let stored = SeenUsers { settled, newcomers, run: Some(run), ..SeenUsers::default() };
    context.store.record_users(&context.fence()?, &stored, None).await?;
    let next = page.next.filter(|next| Some(next.as_str()) != from);
    let mut differ = ChangedInIntercom::default();
    for sight in &changed {
        let turn = if sight.is_consent { &mut differ.consent } else { &mut differ.paced };
        turn.push(sight.keap);
    }
    Ok(WalkedPage { seen, differ, next })
}

/// How a user stands that a list has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has no link.
    Unlinked,
    /// It shows what was settled with this contact.
    Same(KeapId),
    Differs(KeapId),
}

/// Compares users and changes nothing: those that have changed since a time, or all. `show` is told
/// each of them.
pub async fn compare_all(
    context: &Context,
    since: Option<DateTime<Utc>>,
    mut show: impl FnMut(&Candidate, Standing),
) -> Result<UsersWalk, Halt> {
    let order = if since.is_some() { UserOrder::NewestFirst } else { UserOrder::AsCreated };
    let (mut walk, mut from) = (UsersWalk::default(), None::<String>);
    for _ in 0..MOST_PAGES {
        let page = read(context, order, from.as_deref()).await?;
        let linked = linked(context, &page).await?;
        for user in &page.users {
            let standing = match linked.iter().find(|(id, ..)| *id == user.id) {
                None => Standing::Unlinked,
                Some((_, keap, Compared::Changed(_))) => Standing::Differs(*keap),
                Some((_, keap, _)) => Standing::Same(*keap),
            };
            walk.compared += usize::from(standing != Standing::Unlinked);
            walk.changed += usize::from(matches!(standing, Standing::Differs(_)));
            show(user, standing);
        }
        let mut stamps = page.users.iter().filter_map(updated_at);
        let is_at_end = since.is_some_and(|since| stamps.any(|at| at < since));
        let next = page.next.filter(|next| !is_at_end && Some(next) != from.as_ref());
        if next.is_none() {
            return Ok(walk);
        }
        from = next;
    }
    Err(Halt::Feed("the list of Intercom's users does not end".into()))
}

/// Where the next poll would begin; `None` before the first one, which compares nobody.
pub async fn next_poll_begins(context: &Context) -> Result<Option<DateTime<Utc>>, Halt> {
    let before = context.store.intercom_cursor(IntercomFeed::Changed).await?;
    Ok(before.position.map(|position| position - kept_overlap(context, &before)))
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
        let changed = match &sight {
            Some(sight) => turns(context, std::slice::from_ref(sight)),
            None => ChangedInIntercom { now: vec![link.keap], ..ChangedInIntercom::default() },
        };
        context.store.hint_of_intercom(&changed).await?;
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
    /// An opt-out is among the changes.
    is_consent: bool,
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
    let under = |bases: &Option<Bases>| bases.clone().map(|base| base.under(order));
    let (in_keap, in_intercom) = (under(&link.keap_base), under(&link.intercom_base));
    let has = |base: &Option<Bases>, name: &str| base.as_ref().is_some_and(|base| base.has(name));
    // A field that is new in the mapping, and empty here, brings nothing to Keap. What Keap shows
    // of it is a matter of the walk for a changed mapping.
    let fields = user.fields();
    let brings_nothing = |name: &str| {
        let is_new = in_keap.is_some() && !has(&in_keap, name) && !has(&in_intercom, name);
        is_new && fields.get(name) == Some(&Reading::Empty)
    };
    // Of who is out of scope, little travels. The rest is compared when the contact comes back.
    let travels = |name: &str| !link.is_out || order.travels_always(name);
    let is_compared = |name: &FieldName| travels(name.as_str()) && !brings_nothing(name.as_str());
    let shown = Contact::showing(link.keap, fields.only(is_compared));
    let now = key.bases_shown(order, &shown);
    let mut is_settled = true;
    // Somebody may have taken back the value that holds the contact.
    let (mut is_changed, mut is_consent) = (link.is_held, false);
    // It shows some of its tags, and may have changed another one.
    is_changed |= user.hides_tags && updated_at(user) > link.intercom_updated_at;
    for (name, reading) in shown.fields.iter() {
        let name = name.as_str();
        let known = in_intercom.as_ref().filter(|base| base.has(name));
        is_settled &= known.is_some();
        let differs = !known.or(in_keap.as_ref()).is_some_and(|base| base.agrees_on(name, &now));
        is_changed |= differs;
        is_consent |= differs
            && *reading != Reading::Empty
            && order.rule(name).is_some_and(|rule| rule.owner == Owner::Either && rule.to_keap);
    }
    if is_changed {
        return Compared::Changed(Sight {
            keap: link.keap,
            shown: now,
            updated_at: user.updated_at,
            is_consent,
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
