//! Reads ids and stamps of the contacts that changed within some time, page by page.

use chrono::{DateTime, TimeDelta, Utc};

use crate::contact::KeapId;
use crate::keap::{KeapClient, PageQuery, Place, Row, Show};
use crate::remote::{Failure, Lane};

/// Contacts by their stamps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub from: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub ids: Vec<KeapId>,
    pub calls: usize,
    /// More may follow: the most pages were read.
    pub is_cut: bool,
}

/// Whether Keap's bounds include their own instants is unknown, and stamps are rounded.
const ROUNDING: TimeDelta = TimeDelta::seconds(1);

impl Window {
    /// Reads the contacts, with one call for a page. `most_pages`: no more is read.
    pub(super) async fn read(
        self,
        keap: &KeapClient,
        page_size: usize,
        most_pages: usize,
    ) -> Result<Found, Failure> {
        let (mut found, mut place) = (Found::default(), Place::Start);
        loop {
            let query = PageQuery {
                from: Some(self.from - ROUNDING),
                until: self.until.map(|until| until + ROUNDING),
                place,
                page_size,
                show: Show::Stamp,
            };
            let page = keap.page(Lane::Urgent, &query).await?;
            found.calls += 1;
            let last = page.rows.iter().filter_map(Row::id).max();
            let is_full = page.rows.len() >= page_size;
            let inside = page.rows.iter().filter(|row| self.holds(row)).filter_map(Row::id);
            found.ids.extend(inside);
            let Some(last) = last.filter(|_| is_full) else { return Ok(found) };
            if found.calls >= most_pages {
                found.is_cut = true;
                return Ok(found);
            }
            place = Place::After(last);
        }
    }

    /// A contact without a stamp counts as inside.
    fn holds(&self, row: &Row) -> bool {
        let stamp = row.updated_at();
        stamp.is_none_or(|at| at >= self.from && self.until.is_none_or(|until| at <= until))
    }
}
