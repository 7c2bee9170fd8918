//! `GET /v2/contacts`: the rows of a page, their order and the token of the next page
//! (`docs/api/keap.md`, "Pages and tokens").

use super::filter::Filter;
use super::knobs::{KeapKnobs, TokenStyle};
use super::render::Fields;
use super::rows::{Row, Rows, Version};
use super::stamps;
use crate::sim::message::Request;
use crate::sim::opaque;

const MAX_PAGE_SIZE: usize = 1000;
const DEFAULT_PAGE_SIZE: usize = 50;

/// The most rows of a time window that are sorted by id. Above that, a walk by id is cheaper.
const NARROW_WINDOW: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    Id,
    CreateTime,
    Email,
    UpdateTime,
}

/// The start of a page: after this row, in the order that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    stamp: i64,
    id: i64,
}

pub(super) struct Query {
    pub filter: Filter,
    pub order: Order,
    pub descending: bool,
    /// The size that is asked for. The server may return less.
    pub page_size: usize,
    pub fields: Fields,
    /// The token as the client sent it.
    pub token: Option<String>,
    after: Option<Place>,
}

/// A row of a page, in the version that lists show.
pub(super) type Shown<'a> = (i64, &'a Row, &'a Version);

impl Query {
    /// Parses the query string and ignores unknown parameters. The error is the text of the 400.
    pub(super) fn parse(
        request: &Request,
        knobs: &KeapKnobs,
        rows: &Rows,
    ) -> Result<Query, String> {
        let param = |name| request.param(name);
        let filter = Filter::parse(&param("filter").unwrap_or_default(), knobs)?;
        let (order, descending) = order(param("order_by").as_deref(), knobs)?;
        let page_size = match param("page_size") {
            None => DEFAULT_PAGE_SIZE,
            Some(text) => match text.parse() {
                Ok(0) => DEFAULT_PAGE_SIZE,
                Ok(size) if size <= MAX_PAGE_SIZE => size,
                _ => return Err(format!("page_size must be between 0 and {MAX_PAGE_SIZE}")),
            },
        };
        let token = param("page_token").filter(|token| !token.is_empty());
        if token.is_some() && knobs.expire_tokens {
            return Err("page_token has expired".to_owned());
        }
        let after = match &token {
            Some(token) => Some(place(token, rows).ok_or("Invalid page_token")?),
            None => None,
        };
        let fields = Fields::parse(param("fields").as_deref())?;
        Ok(Query { filter, order, descending, page_size, fields, token, after })
    }

    /// The rows of the page, and whether more follow.
    pub(super) fn page<'a>(
        &self,
        rows: &'a Rows,
        knobs: &KeapKnobs,
        now_ms: i64,
    ) -> (Vec<Shown<'a>>, bool) {
        let size =
            self.page_size.min(knobs.max_page_size_effective.unwrap_or(MAX_PAGE_SIZE)).max(1);
        let mut page: Vec<_> = match self.order {
            Order::Id => self.by_id(rows, knobs, now_ms, size + 1),
            Order::UpdateTime => self.by_stamp(rows, knobs, now_ms, size + 1),
            Order::CreateTime | Order::Email => self.sorted(rows, knobs, now_ms, size + 1),
        };
        let more = page.len() > size;
        page.truncate(size);
        (page, more)
    }

    fn fits<'a>(&self, id: i64, row: &'a Row, knobs: &KeapKnobs, now_ms: i64) -> Option<Shown<'a>> {
        let version = row.shown(now_ms)?;
        let is_indexed = row.created_ms + knobs.email_index_lag_ms <= now_ms;
        if self.filter.looks_for_email() && !is_indexed {
            return None;
        }
        if knobs.unlisted.contains(&id) {
            return None;
        }
        self.filter.fits(id, version, knobs).then_some((id, row, version))
    }

    fn by_id<'a>(
        &self,
        rows: &'a Rows,
        knobs: &KeapKnobs,
        now_ms: i64,
        take: usize,
    ) -> Vec<Shown<'a>> {
        let mut least = self.filter.least_id.unwrap_or(i64::MIN);
        let mut greatest = self.filter.greatest_id.unwrap_or(i64::MAX);
        match self.after {
            Some(place) if self.descending => greatest = greatest.min(place.id.saturating_sub(1)),
            Some(place) => least = least.max(place.id.saturating_add(1)),
            None => {}
        }
        let listed = self.filter.ids.clone().or_else(|| self.narrow_window(rows));
        if let Some(mut ids) = listed {
            if self.descending {
                ids.reverse();
            }
            let ids = ids.into_iter().filter(|id| (least..=greatest).contains(id));
            return ids
                .filter_map(|id| self.fits(id, rows.get(id)?, knobs, now_ms))
                .take(take)
                .collect();
        }
        let range = rows.by_id(least..=greatest);
        let fits = |(id, row)| self.fits(id, row, knobs, now_ms);
        if self.descending {
            range.rev().filter_map(fits).take(take).collect()
        } else {
            range.filter_map(fits).take(take).collect()
        }
    }

    /// The part of the stamp order that the time bounds can match, whichever way stamps are
    /// rounded.
    fn window(&self) -> (i64, i64) {
        let start = self.filter.start_ms.map_or(i64::MIN, |start| start.saturating_sub(1000));
        let end = self.filter.end_ms.map_or(i64::MAX, |end| end.saturating_add(1000));
        (start, end)
    }

    /// The ids of a time window in ascending order, if there are few.
    fn narrow_window(&self, rows: &Rows) -> Option<Vec<i64>> {
        if !self.filter.has_time_bound() {
            return None;
        }
        let (start, end) = self.window();
        let mut ids = Vec::new();
        for (_, id, _) in rows.by_stamp((start, i64::MIN)..=(end, i64::MAX)) {
            if ids.len() == NARROW_WINDOW {
                return None;
            }
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    fn by_stamp<'a>(
        &self,
        rows: &'a Rows,
        knobs: &KeapKnobs,
        now_ms: i64,
        take: usize,
    ) -> Vec<Shown<'a>> {
        let (start, end) = self.window();
        let (mut from, mut to) = ((start, i64::MIN), (end, i64::MAX));
        match self.after {
            Some(place) if self.descending => {
                to = to.min((place.stamp, place.id.saturating_sub(1)));
            }
            Some(place) => from = from.max((place.stamp, place.id.saturating_add(1))),
            None => {}
        }
        let fits = |(place, id, row): (i64, i64, &'a Row)| {
            // The place may belong to a version that lists no longer show, or do not show yet.
            self.fits(id, row, knobs, now_ms).filter(|(_, _, version)| version.place() == place)
        };
        let places = rows.by_stamp(from..=to);
        if self.descending {
            places.rev().filter_map(fits).take(take).collect()
        } else {
            places.filter_map(fits).take(take).collect()
        }
    }

    /// The page in one of the two orders without an index: sorts all rows that match.
    fn sorted<'a>(
        &self,
        rows: &'a Rows,
        knobs: &KeapKnobs,
        now_ms: i64,
        take: usize,
    ) -> Vec<Shown<'a>> {
        let key = |(id, row, version): &Shown<'_>| match self.order {
            Order::Email => {
                (version.person.unpack().first_email().unwrap_or_default().to_lowercase(), *id)
            }
            _ => (format!("{:020}", stamps::shown_ms(row.created_ms, knobs.rounding)), *id),
        };
        let mut all: Vec<_> = rows
            .by_id(i64::MIN..=i64::MAX)
            .filter_map(|(id, row)| self.fits(id, row, knobs, now_ms))
            .collect();
        all.sort_by_cached_key(key);
        if self.descending {
            all.reverse();
        }
        let start = match self.after {
            Some(place) => all.iter().position(|(id, ..)| *id == place.id).map_or(0, |at| at + 1),
            None => 0,
        };
        all.into_iter().skip(start).take(take).collect()
    }

    /// The token of the page after this row.
    pub(super) fn token_after(&self, last: &Shown<'_>, knobs: &KeapKnobs, rows: &Rows) -> String {
        let (id, _, version) = last;
        let place = Place { stamp: version.place(), id: *id };
        match knobs.token_style {
            TokenStyle::LastId | TokenStyle::Number => id.to_string(),
            TokenStyle::FullUrl => format!(
                "https://api.infusionsoft.com/crm/rest/v2/contacts/?page_size={}&page_token={id}",
                self.page_size
            ),
            TokenStyle::Rows => {
                opaque::encode(&format!("rows:{}", rows.by_id(i64::MIN..=*id).count()))
            }
            TokenStyle::Opaque | TokenStyle::Null => {
                opaque::encode(&format!("{}:{}", place.stamp, place.id))
            }
        }
    }

    /// The token of this same page.
    pub(super) fn token_again(&self) -> String {
        let start = if self.descending {
            Place { stamp: i64::MAX, id: i64::MAX }
        } else {
            Place { stamp: i64::MIN, id: i64::MIN }
        };
        let start = format!("{}:{}", start.stamp, start.id);
        let Some(token) = &self.token else { return opaque::encode(&start) };
        match opaque::decode(token).filter(|_| token.parse::<i64>().is_err()) {
            Some(text) if !text.ends_with(AGAIN) => opaque::encode(&format!("{text}{AGAIN}")),
            _ => token.clone(),
        }
    }
}

fn order(text: Option<&str>, knobs: &KeapKnobs) -> Result<(Order, bool), String> {
    let Some(text) = text else {
        return Ok((Order::Id, false));
    };
    let invalid = || format!("Invalid order_by {text}");
    let mut words = text.split_whitespace();
    let order = match words.next() {
        Some("id") => Order::Id,
        Some("create_time") => Order::CreateTime,
        Some("email") => Order::Email,
        Some("update_time") if knobs.order_by_update_time => Order::UpdateTime,
        _ => return Err(invalid()),
    };
    match (words.next().map(str::to_ascii_lowercase).as_deref(), words.next()) {
        (None | Some("asc"), None) => Ok((order, false)),
        (Some("desc"), None) => Ok((order, true)),
        _ => Err(invalid()),
    }
}

/// Ends a token that stands for the same page as the one before it.
const AGAIN: &str = ":again";

/// Reads a token of any style: a plain id, or a place in base64.
fn place(token: &str, rows: &Rows) -> Option<Place> {
    if let Ok(id) = token.parse() {
        let stamp = rows.get(id).map_or(i64::MIN, |row| row.current.place());
        return Some(Place { stamp, id });
    }
    let text = opaque::decode(token)?;
    let text = text.strip_suffix(AGAIN).unwrap_or(&text);
    if let Some(before) = text.strip_prefix("rows:") {
        let last = before.parse::<usize>().ok()?.checked_sub(1)?;
        let (id, row) = rows.by_id(i64::MIN..=i64::MAX).nth(last)?;
        return Some(Place { stamp: row.current.place(), id });
    }
    let (stamp, id) = text.split_once(':')?;
    Some(Place { stamp: stamp.parse().ok()?, id: id.parse().ok()? })
}
