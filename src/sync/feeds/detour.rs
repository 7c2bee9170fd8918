//! The detour: reads around contacts that Keap is known not to show, so that they are asked for
//! seldom.

use chrono::{DateTime, Utc};

use super::poison::place_after;
use super::pulse::{Pulse, ask_for_nobody};
use super::walk::{Doubt, Part, Walker, growing, unlistable};
use crate::contact::KeapId;
use crate::feed::{Lane, Walk};
use crate::keap::{Page, PageQuery, Place, Row};
use crate::remote::Failure;
use crate::sync::result::Halt;

/// What one look at a window shows.
pub(crate) enum Look {
    /// All its contacts.
    All(Page),
    /// The first page of them.
    Part(Page),
    /// Keap cannot show the page. A walk finds the contact that fails, and passes over it.
    Fails { date: Option<DateTime<Utc>> },
}

impl Walker {
    /// Looks at a window that is expected to hold few contacts. `until`: no stamp above this one.
    ///
    /// Around a contact that Keap is known not to show, it costs two calls instead of one.
    pub(crate) async fn look(
        &mut self,
        lane: Lane,
        window: &Walk,
        until: Option<DateTime<Utc>>,
    ) -> Result<Look, Halt> {
        if self.poison.are_avoided()
            && let Some(page) = self.around(lane, window, until).await?
        {
            return Ok(Look::All(page));
        }
        let query = PageQuery { until, ..self.query(window, Place::Start, self.page_size) };
        let mut date = None;
        for is_last in [false, true] {
            match self.keap.page(lane, &query).await {
                Ok(page) => {
                    self.poison.worked(&page.rows);
                    let is_all = page.rows.len() < self.page_size && page.next_token.is_none();
                    return Ok(if is_all { Look::All(page) } else { Look::Part(page) });
                }
                Err(Failure::Again { .. }) if is_last => {}
                // One failure says little, unless Keap does not work at all.
                Err(Failure::Again { why, .. }) => match ask_for_nobody(&self.keap, lane).await {
                    Ok(page) => date = page.date,
                    Err(_) => return Err(Halt::of_reading(Failure::again(why))),
                },
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        if let Some(mut page) = self.around(lane, window, until).await? {
            self.poison.failed();
            page.rows.extend(self.poison.ids().map(unlistable));
            return Ok(Look::All(page));
        }
        // A walk tries the known ones first.
        let is_new = self.poison.after(None).is_none();
        self.doubt = if is_new { Doubt::Within(self.page_size) } else { Doubt::Once };
        Ok(Look::Fails { date })
    }

    /// All contacts of a window without those that Keap is known not to show. `None` if they are
    /// more than a few, or another one fails.
    async fn around(
        &self,
        lane: Lane,
        window: &Walk,
        until: Option<DateTime<Utc>>,
    ) -> Result<Option<Page>, Halt> {
        let Some(mut next) = self.poison.after(None) else { return Ok(None) };
        let pulse = Pulse::default();
        let window = Window { walker: self, lane, window, until, pulse: &pulse };
        let (mut rows, mut date, mut last) = (Vec::new(), None, None);
        loop {
            let Some(part) = window.before(next, last).await?.filter(|part| !part.is_full) else {
                return Ok(None);
            };
            rows.extend(part.rows);
            // The earliest time is the safe one.
            date = date.or(part.date);
            last = Some(next);
            match self.poison.after(last) {
                Some(further) => next = further,
                None => break,
            }
        }
        let Some(page) = window.page(place_after(last), self.page_size).await? else {
            return Ok(None);
        };
        if page.rows.len() >= self.page_size
            || page.next_token.is_some()
            || growing(&page.rows, last).is_none()
        {
            return Ok(None);
        }
        rows.extend(page.rows);
        Ok(Some(Page { rows, next_token: None, date }))
    }

    /// The contacts between a place and the next one that Keap is known not to show, and that one.
    /// `None` if this does not help: another contact fails the page.
    pub(super) async fn up_to_known(
        &self,
        lane: Lane,
        walk: &Walk,
        last: Option<KeapId>,
        pulse: &Pulse,
    ) -> Result<Option<Part>, Halt> {
        let Some(next) = self.poison.after(last) else { return Ok(None) };
        let window = Window { walker: self, lane, window: walk, until: None, pulse };
        let Some(mut part) = window.before(next, last).await? else { return Ok(None) };
        if !part.is_full {
            part.rows.push(unlistable(next));
        }
        Ok(Some(Part { is_full: true, ..part }))
    }
}

/// A window, seen around contacts that Keap does not show.
struct Window<'a> {
    walker: &'a Walker,
    lane: Lane,
    window: &'a Walk,
    until: Option<DateTime<Utc>>,
    pulse: &'a Pulse,
}

impl Window<'_> {
    /// The contacts between `last` and `end`, or the first page of them. `None` if the way to
    /// `end` cannot be read so.
    async fn before(&self, end: KeapId, last: Option<KeapId>) -> Result<Option<Part>, Halt> {
        let size = self.walker.page_size;
        let Some(start) = last else {
            let Some(page) = self.page(Place::Below(end), size).await? else { return Ok(None) };
            let in_order = growing(&page.rows, None).is_some() && all_below(&page.rows, end);
            let is_full = page.rows.len() >= size || page.next_token.is_some();
            return Ok(in_order.then_some(Part { rows: page.rows, date: page.date, is_full }));
        };
        if let Some(page) = self.page(Place::DownFrom(end), size).await? {
            // A whole page lies between: another contact than `end` fails the page behind `start`.
            let reaches = page.rows.len() < size && page.next_token.is_none()
                || page.rows.iter().any(|row| row.id().is_some_and(|id| id <= start));
            return Ok(upwards(page, start, end).filter(|_| reaches));
        }
        self.between(start, end).await
    }

    /// The contacts between two that fail. The first of them are asked for, ever more until the
    /// page fails; then as many of the last ones. Together they are all.
    async fn between(&self, start: KeapId, end: KeapId) -> Result<Option<Part>, Halt> {
        let mut first = Page { rows: Vec::new(), next_token: None, date: None };
        let mut size = 1;
        while let Some(mut page) = self.page(Place::After(start), size).await? {
            let is_short = page.rows.len() < size && page.next_token.is_none();
            if is_short || !all_below(&page.rows, end) {
                // The page reaches further than `end`, so `end` is not in the window now.
                page.rows.retain(|row| row.id().is_none_or(|id| id < end));
                let part = Part { rows: page.rows, date: page.date, is_full: false };
                return Ok(growing(&part.rows, Some(start)).is_some().then_some(part));
            }
            if size >= self.walker.page_size {
                return Ok(None);
            }
            first = page;
            size *= 2;
        }
        let Some(last) = self.page(Place::DownFrom(end), first.rows.len().max(1)).await? else {
            // Only contacts that fail lie between.
            let nobody = Part { rows: Vec::new(), date: None, is_full: false };
            return Ok(first.rows.is_empty().then_some(nobody));
        };
        let date = first.date.or(last.date);
        let Some(last) = upwards(last, start, end) else { return Ok(None) };
        if first.rows.is_empty() && !last.rows.is_empty() {
            // Another contact fails between `start` and this one.
            return Ok(None);
        }
        let mut rows = first.rows;
        let seen = rows.iter().filter_map(Row::id).max();
        rows.extend(last.rows.into_iter().filter(|row| row.id() > seen));
        let is_in_order = growing(&rows, Some(start)).is_some();
        Ok(is_in_order.then_some(Part { rows, date, is_full: false }))
    }

    /// One page. `None` if Keap cannot show it, or refuses to be asked so.
    async fn page(&self, place: Place, size: usize) -> Result<Option<Page>, Halt> {
        let query = PageQuery { until: self.until, ..self.walker.query(self.window, place, size) };
        match self.walker.keap.page(self.lane, &query).await {
            Ok(page) => {
                self.pulse.worked();
                Ok(Some(page))
            }
            Err(Failure::Again { why, .. }) => {
                let pulse = self.pulse.failed(&self.walker.keap, self.lane, &why).await;
                pulse.map(|()| None).map_err(Halt::of_reading)
            }
            Err(Failure::Never { .. }) => Ok(None),
            Err(failure) => Err(Halt::of_reading(failure)),
        }
    }
}

fn all_below(rows: &[Row], end: KeapId) -> bool {
    rows.iter().all(|row| row.id().is_none_or(|id| id < end))
}

/// A page that was asked for downwards, in the order of the ids and above `start`. `None` if Keap
/// ignores the order.
fn upwards(page: Page, start: KeapId, end: KeapId) -> Option<Part> {
    let mut rows = page.rows;
    rows.reverse();
    let in_order = growing(&rows, None).is_some() && all_below(&rows, end);
    rows.retain(|row| row.id().is_none_or(|id| id > start));
    in_order.then_some(Part { rows, date: page.date, is_full: false })
}
