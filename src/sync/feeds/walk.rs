//! The walk: pages through a window of Keap contacts by id, so that edits during the walk skip
//! nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::poison::{Known, Search, place_after};
use super::pulse::Pulse;
use super::trail::Trails;
use crate::contact::KeapId;
use crate::feed::{Lane, Walk};
use crate::keap::{KeapClient, PageQuery, Place, Row, Show};
use crate::remote::Failure;
use crate::sync::page::Rows;
use crate::sync::result::Halt;

/// Above this share of unreadable contacts on a page, Keap's form has changed and a person must
/// look.
const MAX_UNREADABLE_PERCENT: usize = 5;
/// Fewer unreadable contacts than this are taken one by one, whatever their share.
const MIN_UNREADABLE: usize = 10;

/// Times that the search for the row that fails a page may find nothing before the walk stops.
const MAX_FRUITLESS_SEARCHES: usize = 2;

/// Our own token for the first page, where the place is a token.
const FIRST: &str = "";

/// Reads the pages of one feed's walks, and remembers what Keap refuses.
pub(crate) struct Walker {
    pub(super) keap: Arc<KeapClient>,
    pub(super) page_size: usize,
    show: Show,
    /// What is known of a contact behind the walk's place that fails its page.
    pub(super) doubt: Doubt,
    pub(super) poison: Known,
    /// Keap refuses or ignores `contact_id>`: pages are asked for by token instead.
    by_token: bool,
    trails: Trails,
}

/// Whether a contact behind the walk's place fails its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// The page failed once, which says little. It is asked for once more.
    Once,
    /// One of the next so many contacts fails every page that holds it.
    Within(usize),
}

impl Doubt {
    /// The size of the next page.
    fn size(self, page_size: usize) -> usize {
        match self {
            Self::None | Self::Once => page_size,
            Self::Within(contacts) => (contacts / 2).clamp(1, page_size),
        }
    }

    /// A page of this size failed.
    fn fails(self, size: usize) -> Self {
        match self {
            Self::None => Self::Once,
            Self::Once | Self::Within(_) => Self::Within(size),
        }
    }

    /// A page worked that was asked for with this size and shows so many contacts.
    fn works(self, size: usize, shown: usize) -> Self {
        match self {
            Self::Within(contacts) if shown >= size && contacts > shown => {
                Self::Within(contacts - shown)
            }
            _ => Self::None,
        }
    }
}

/// One page of a walk.
pub(crate) struct Step {
    pub rows: Vec<Row>,
    /// Keap's time when it showed the first of them.
    pub date: Option<DateTime<Utc>>,
    /// Where the walk goes on; `None` when it has ended.
    pub next: Option<Walk>,
}

/// Some contacts behind a place, in the order of their ids.
pub(super) struct Part {
    pub rows: Vec<Row>,
    pub date: Option<DateTime<Utc>>,
    /// More may follow.
    pub is_full: bool,
}

impl Walker {
    /// A walker that asks for pages of this size.
    pub(crate) fn new(keap: Arc<KeapClient>, page_size: usize, show: Show) -> Self {
        Self {
            keap,
            page_size,
            show,
            doubt: Doubt::None,
            poison: Known::default(),
            by_token: false,
            trails: Trails::default(),
        }
    }

    /// The contacts that a page has at most.
    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// Reads the page after the walk's place.
    pub(crate) async fn step(&mut self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        self.trails.pass(walk.run_id, self.page_size)?;
        let step = self.step_somehow(lane, walk).await?;
        if step.next.is_none() {
            self.trails.end(walk.run_id);
        }
        Ok(step)
    }

    async fn step_somehow(&mut self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        if walk.page_token.is_none() && !self.by_token {
            if let Some(step) = self.step_by_id(lane, walk).await? {
                return Ok(step);
            }
            self.by_token = true;
            tracing::warn!(
                "Keap does not page by contact id here; its page tokens are used from now on."
            );
        }
        self.step_by_token(lane, walk).await
    }

    /// `None` if Keap refuses to be asked so.
    async fn step_by_id(&mut self, lane: Lane, walk: &Walk) -> Result<Option<Step>, Halt> {
        let (mut rows, mut date) = (Vec::new(), None);
        let mut last = walk.last_id;
        loop {
            let Some(part) = self.read(lane, walk, last).await? else {
                return Ok(None);
            };
            let Some(ids) = growing(&part.rows, last) else {
                return Ok(None);
            };
            let has_ended = part.rows.is_empty()
                && (!rows.is_empty() || self.is_empty_again(lane, walk, last).await?);
            last = ids.or(last);
            date = date.or(part.date);
            rows.extend(part.rows);
            if has_ended {
                return Ok(Some(Step { rows, date, next: None }));
            }
            if part.is_full || rows.len() >= self.page_size {
                let next = Some(Walk { last_id: last, ..walk.clone() });
                return Ok(Some(Step { rows, date, next }));
            }
        }
    }

    /// A page may be short, or empty once, for reasons of Keap's own. So the end is believed when
    /// an empty page follows a short one, or another empty one.
    async fn is_empty_again(
        &mut self,
        lane: Lane,
        walk: &Walk,
        last: Option<KeapId>,
    ) -> Result<bool, Halt> {
        Ok(self.read(lane, walk, last).await?.is_some_and(|again| again.rows.is_empty()))
    }

    /// Reads one page after `last`. On a page that Keap cannot show, it reads ever smaller ones,
    /// down to the contact that is in the way. `None` if Keap refuses to be asked so.
    async fn read(
        &mut self,
        lane: Lane,
        walk: &Walk,
        last: Option<KeapId>,
    ) -> Result<Option<Part>, Halt> {
        let (mut fruitless, pulse) = (0, Pulse::default());
        loop {
            let size = self.doubt.size(self.page_size);
            let why = match self.keap.page(lane, &self.query(walk, place_after(last), size)).await {
                Ok(page) => {
                    self.doubt = self.doubt.works(size, page.rows.len());
                    let is_full = page.rows.len() >= size;
                    return Ok(Some(Part { rows: page.rows, date: page.date, is_full }));
                }
                Err(Failure::Never { .. }) => return Ok(None),
                Err(Failure::Again { why, .. }) => why,
                Err(failure) => return Err(Halt::of_reading(failure)),
            };
            pulse.failed(&self.keap, lane, &why).await.map_err(Halt::of_reading)?;
            tracing::debug!(why, size, "Keap failed on a page.");
            if self.doubt == Doubt::Once
                && let Some(part) = self.up_to_known(lane, walk, last, &pulse).await?
            {
                self.doubt = Doubt::None;
                return Ok(Some(part));
            }
            self.doubt = self.doubt.fails(size);
            if self.doubt != Doubt::Within(1) {
                continue;
            }
            if let Some(part) = self.poison(lane, walk, last, &pulse).await? {
                return Ok(Some(part));
            }
            fruitless += 1;
            if fruitless > MAX_FRUITLESS_SEARCHES {
                return Err(Halt::of_reading(Failure::again(why)));
            }
        }
    }

    /// Finds the contact that Keap cannot show. It is a part by itself.
    async fn poison(
        &mut self,
        lane: Lane,
        walk: &Walk,
        last: Option<KeapId>,
        pulse: &Pulse,
    ) -> Result<Option<Part>, Halt> {
        let search = Search {
            keap: &self.keap,
            lane,
            pulse,
            query: self.query(walk, Place::Start, 1),
            last,
            last_fails: self.poison.holds(last),
        };
        let Some(id) = search.find().await.map_err(Halt::of_reading)? else { return Ok(None) };
        tracing::warn!(
            keap.contact_id = id.get(),
            "Keap cannot list this contact; it is set aside, and the walk goes on behind it."
        );
        self.poison.add(id);
        self.poison.failed();
        self.doubt = Doubt::None;
        Ok(Some(Part { rows: vec![unlistable(id)], date: None, is_full: true }))
    }

    /// The query of a page of a walk. It has no upper bound of the stamp: what is edited during the
    /// walk is read as it is then, and the next poll reads it again.
    pub(super) fn query(&self, walk: &Walk, place: Place, page_size: usize) -> PageQuery {
        PageQuery { from: walk.start, until: None, place, page_size, show: self.show }
    }

    async fn step_by_token(&mut self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        let token = walk.page_token.clone().unwrap_or_default();
        let place = if token == FIRST { Place::Start } else { Place::Token(token.clone()) };
        // Without an upper bound, a contact that is edited during the walk stays in the list, and
        // no other contact shifts.
        let query = self.query(walk, place, self.page_size);
        let at = |token: String| Walk { page_token: Some(token), last_id: None, ..walk.clone() };
        let page = match self.keap.page(lane, &query).await {
            Ok(page) => page,
            Err(Failure::Never { why }) if token != FIRST => {
                tracing::warn!(
                    why,
                    "Keap no longer takes this page token; the window is walked again from its beginning."
                );
                self.trails.restart(walk.run_id)?;
                let next = Some(at(FIRST.to_owned()));
                return Ok(Step { rows: Vec::new(), date: None, next });
            }
            Err(failure) => return Err(Halt::of_reading(failure)),
        };
        let next = match page.next_token {
            Some(next) if next == token => return Err(self.trails.circle(walk.run_id)),
            Some(next) => {
                self.trails.follow(walk.run_id, &next)?;
                Some(at(next))
            }
            None => None,
        };
        Ok(Step { rows: page.rows, date: page.date, next })
    }
}

/// Sorts a page of a walk. Fails if too many contacts are unreadable: the walk must not pass over a
/// whole account.
pub(crate) fn sorted(rows: Vec<Row>) -> Result<Rows, Halt> {
    let total = rows.len();
    let unreadable = rows.iter().filter(|row| matches!(row, Row::Unreadable { .. })).count();
    if unreadable >= MIN_UNREADABLE && unreadable * 100 > total * MAX_UNREADABLE_PERCENT {
        return Err(Halt::Feed(format!(
            "{unreadable} of {total} contacts on a page of Keap's are in a form that is not understood; the cursor stays where it is until this program is updated"
        )));
    }
    if total > 0 && rows.iter().all(|row| row.id().is_none()) {
        return Err(Halt::Feed(
            "Keap lists contacts without usable ids; the cursor stays where it is".into(),
        ));
    }
    Ok(Rows::sort(rows))
}

/// The last id of rows whose ids grow beyond `after`; `None` when they do not. An empty page has no
/// last id.
#[expect(clippy::option_option, reason = "refused, or in order with perhaps no row")]
pub(super) fn growing(rows: &[Row], after: Option<KeapId>) -> Option<Option<KeapId>> {
    let mut last = after;
    let mut newest = None;
    for id in rows.iter().filter_map(Row::id) {
        if last.is_some_and(|last| id <= last) {
            return None;
        }
        last = Some(id);
        newest = Some(id);
    }
    Some(newest)
}

/// A contact that fails every page that holds it.
pub(super) fn unlistable(id: KeapId) -> Row {
    Row::Unreadable {
        id: Some(id),
        updated_at: None,
        why: "Keap fails on every page that holds this contact".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contact_that_fails_is_reached_by_halves() {
        for bad in [0, 1, 2, 499, 500, 733, 999] {
            let (mut doubt, mut place, mut pages) = (Doubt::None, 0, 0);
            loop {
                let size = doubt.size(1000);
                pages += 1;
                if place + size <= bad {
                    doubt = doubt.works(size, size);
                    place += size;
                    continue;
                }
                doubt = doubt.fails(size);
                if doubt == Doubt::Within(1) {
                    break;
                }
            }
            assert_eq!(place, bad, "no contact before it is passed over");
            assert!(pages <= 13, "{pages} pages for the contact {bad}");
        }
    }

    #[test]
    fn one_failure_leaves_the_size_of_a_page_as_it_is() {
        let once = Doubt::None.fails(1000);
        assert_eq!((once, once.size(1000)), (Doubt::Once, 1000));
        assert_eq!(once.works(1000, 12), Doubt::None);
    }
}
