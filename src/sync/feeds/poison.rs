//! Contacts that Keap cannot show: how they are found, and that they are remembered. A single bad
//! row has been seen to fail every page of a list that holds it (`docs/api/keap.md`, "Pages and
//! tokens").

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::pulse::Pulse;
use crate::contact::KeapId;
use crate::feed::Lane;
use crate::keap::{KeapClient, PageQuery, Place, Row, Show};
use crate::remote::Failure;

/// While polls read around such contacts, a whole page is asked for this often: Keap may be able to
/// show them again.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// Between two contacts that fail, a third one is looked for if the gap is no larger: one list of
/// ids then covers it.
const MAX_GAP: usize = 100;

/// The contacts that Keap could not show. Losing this memory costs another search.
#[derive(Default)]
pub(super) struct Known {
    ids: BTreeSet<KeapId>,
    /// When a whole page last failed because of one of them.
    failed_at: Option<Instant>,
}

impl Known {
    pub(super) fn add(&mut self, id: KeapId) {
        self.ids.insert(id);
    }

    /// The first of them behind a place.
    pub(super) fn after(&self, last: Option<KeapId>) -> Option<KeapId> {
        self.ids.iter().copied().find(|id| last.is_none_or(|last| *id > last))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = KeapId> {
        self.ids.iter().copied()
    }

    pub(super) fn holds(&self, id: Option<KeapId>) -> bool {
        id.is_some_and(|id| self.ids.contains(&id))
    }

    /// Whether polls read around them, without asking for a whole page first.
    pub(super) fn are_avoided(&self) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < ASK_AGAIN)
    }

    /// A whole page failed, and the pages around them work.
    pub(super) fn failed(&mut self) {
        self.failed_at = Some(Instant::now());
    }

    /// A whole page worked: Keap shows these contacts.
    pub(super) fn worked(&mut self, rows: &[Row]) {
        self.failed_at = None;
        if !self.ids.is_empty() {
            for id in rows.iter().filter_map(Row::id) {
                self.ids.remove(&id);
            }
        }
    }
}

/// What Keap shows where it is asked for one contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nobody,
    /// `None`: a contact without a usable id.
    Contact(Option<KeapId>),
    Fails,
    /// Keap does not take this question.
    Refused,
}

/// The search for the contact that fails a page. It asks for one contact at a time, from a place
/// on, and never bounds the id on both sides.
pub(super) struct Search<'a> {
    pub keap: &'a KeapClient,
    pub lane: Lane,
    pub pulse: &'a Pulse,
    /// The window. Its place and its size are set for each call.
    pub query: PageQuery,
    /// The page begins behind this contact, and the first contact of it fails.
    pub last: Option<KeapId>,
    /// Keap cannot show the contact before the page either.
    pub last_fails: bool,
}

impl Search<'_> {
    /// The first contact behind `last`, which Keap cannot show; `None` if the page works again.
    ///
    /// Each doubling of the gap between the ids costs two to three calls.
    pub(super) async fn find(&self) -> Result<Option<KeapId>, Failure> {
        // Perhaps Keap can show the id and the stamp.
        if self.query.show == Show::Everything
            && let Shown::Contact(Some(id)) = self.ask(place_after(self.last), Show::Stamp).await?
            && self.last.is_none_or(|last| id > last)
        {
            return Ok(Some(id));
        }
        let Some(found) = self.one_that_fails().await? else { return Ok(None) };
        // Contacts may lie between the place and this one: good ones, or others that fail.
        let nearer = match self.show(Place::DownFrom(found)).await? {
            Shown::Contact(Some(id)) => self.is_between(id, found),
            Shown::Fails => !self.last_fails,
            Shown::Contact(None) | Shown::Nobody | Shown::Refused => false,
        };
        match nearer {
            true => self.first_before(found).await,
            false if self.last_fails => self.first_by_list(found).await,
            false => Ok(Some(found)),
        }
    }

    /// A contact behind `last` that fails: the page from just before it on fails, and the page
    /// behind it works.
    async fn one_that_fails(&self) -> Result<Option<KeapId>, Failure> {
        let mut fails = self.last.map_or(0, KeapId::get);
        let mut step = 1_i64;
        let mut works = loop {
            let reach = fails.saturating_add(step);
            if reach == KeapId::LAST.get() {
                // Not even the end of the list works.
                return Ok(None);
            }
            if self.show(after(reach)).await? != Shown::Fails {
                break reach;
            }
            (fails, step) = (reach, step.saturating_mul(2));
        };
        while works - fails > 1 {
            let middle = fails + (works - fails) / 2;
            if self.show(after(middle)).await? == Shown::Fails {
                fails = middle;
            } else {
                works = middle;
            }
        }
        // One failure says little: it must happen again.
        let again = self.show(after(fails)).await? == Shown::Fails;
        Ok(KeapId::new(works).filter(|_| again))
    }

    /// The first contact behind `last`, where some contact is known to lie before `end`. It is read
    /// from its upper side: the highest contact below an id shows whether any is there.
    async fn first_before(&self, end: KeapId) -> Result<Option<KeapId>, Failure> {
        let start = self.last.map_or(0, KeapId::get);
        // Nobody has an id between `start` and `nobody`; somebody is between `start` and
        // `somebody`.
        let (mut nobody, mut somebody) = (start.saturating_add(1), end.get());
        while somebody - nobody > 1 {
            let middle = nobody + (somebody - nobody) / 2;
            let Some(id) = KeapId::new(middle) else { return Ok(None) };
            let is_there = match self.show(Place::DownFrom(id)).await? {
                Shown::Contact(Some(shown)) => self.is_between(shown, id),
                Shown::Fails => !self.last_fails,
                Shown::Contact(None) | Shown::Nobody | Shown::Refused => false,
            };
            if is_there {
                somebody = middle;
            } else {
                nobody = middle;
            }
        }
        Ok(KeapId::new(somebody - 1))
    }

    /// The first contact that fails, between one that fails and another. No range can tell it from
    /// its neighbours, but a list of ids can, if the gap is small.
    async fn first_by_list(&self, end: KeapId) -> Result<Option<KeapId>, Failure> {
        let start = self.last.map_or(0, KeapId::get);
        let ids: Vec<KeapId> = (start.saturating_add(1)..end.get())
            .take(MAX_GAP + 1)
            .filter_map(KeapId::new)
            .collect();
        if ids.is_empty() || ids.len() > MAX_GAP || !self.list_fails(&ids).await? {
            return Ok(Some(end));
        }
        let (mut works, mut fails) = (0, ids.len());
        while fails - works > 1 {
            let middle = works + (fails - works) / 2;
            if self.list_fails(&ids[..middle]).await? {
                fails = middle;
            } else {
                works = middle;
            }
        }
        Ok(ids.get(fails - 1).copied())
    }

    async fn list_fails(&self, ids: &[KeapId]) -> Result<bool, Failure> {
        match self.keap.by_ids(self.lane, ids).await {
            Ok(_) | Err(Failure::Never { .. }) => {
                self.pulse.worked();
                Ok(false)
            }
            Err(Failure::Again { why, .. }) => {
                self.pulse.failed(self.keap, self.lane, &why).await?;
                Ok(true)
            }
            Err(failure) => Err(failure),
        }
    }

    fn is_between(&self, id: KeapId, end: KeapId) -> bool {
        id < end && self.last.is_none_or(|last| id > last)
    }

    async fn show(&self, place: Place) -> Result<Shown, Failure> {
        self.ask(place, self.query.show).await
    }

    async fn ask(&self, place: Place, show: Show) -> Result<Shown, Failure> {
        let query = PageQuery { place, page_size: 1, show, ..self.query.clone() };
        match self.keap.page(self.lane, &query).await {
            Ok(page) => {
                self.pulse.worked();
                Ok(page.rows.first().map_or(Shown::Nobody, |row| Shown::Contact(row.id())))
            }
            Err(Failure::Again { why, .. }) => {
                self.pulse.failed(self.keap, self.lane, &why).await?;
                Ok(Shown::Fails)
            }
            Err(Failure::Never { .. }) => Ok(Shown::Refused),
            Err(failure) => Err(failure),
        }
    }
}

fn after(id: i64) -> Place {
    place_after(KeapId::new(id))
}

/// The place behind a contact, or the beginning.
pub(super) fn place_after(last: Option<KeapId>) -> Place {
    last.map_or(Place::Start, Place::After)
}
