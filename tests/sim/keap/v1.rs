//! Keap's v1 contact routes: offsets instead of tokens, numeric ids, stamps with `+0000`.

use super::render;
use super::rows::{Row, Version};
use super::{Keap, State, errors, stamps};
use crate::sim::message::{Answer, Request};

/// Keap does not document it; one public client assumes 100.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

struct Query {
    limit: usize,
    offset: usize,
    since: Option<String>,
    until: Option<String>,
    order: String,
    descending: bool,
    email: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

impl Query {
    fn parse(request: &Request) -> Result<Query, String> {
        let param = |name| request.param(name);
        let number = |name: &str, default| match request.param(name) {
            None => Ok(default),
            Some(text) => text.parse::<usize>().map_err(|_| format!("Invalid {name}")),
        };
        let limit = number("limit", DEFAULT_LIMIT)?;
        if limit > MAX_LIMIT {
            return Err(format!("limit must not be greater than {MAX_LIMIT}"));
        }
        Ok(Query {
            limit,
            offset: number("offset", 0)?,
            since: param("since"),
            until: param("until"),
            order: param("order").unwrap_or_else(|| "id".to_owned()),
            descending: param("order_direction").is_some_and(|way| way == "DESCENDING"),
            email: param("email"),
            given_name: param("given_name"),
            family_name: param("family_name"),
        })
    }

    fn link(&self, base: &str, offset: usize) -> String {
        let since = self.since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
        format!(
            "{base}/v1/contacts/?limit={}&offset={offset}{since}&order={}",
            self.limit, self.order
        )
    }
}

impl Keap {
    pub(super) fn list_v1(&self, request: &Request) -> Answer {
        let query = match Query::parse(request) {
            Ok(query) => query,
            Err(message) => return errors::v1(400, &message),
        };
        let state = self.state();
        let rows = match matching(&state, &query, self.shared.clock.now_ms()) {
            Ok(rows) => rows,
            Err(message) => return errors::v1(400, &message),
        };
        let page = rows.iter().skip(query.offset).take(query.limit);
        if page.clone().any(|(id, ..)| state.knobs.poison.contains(id)) {
            return errors::v1(500, "Internal server error");
        }
        let mut out = b"{\"contacts\":".to_vec();
        render::list(&mut out, page, |out, (id, row, version)| {
            render::contact_v1(out, *id, row, version, &state);
        });
        let base = "https://api.infusionsoft.com/crm/rest";
        // Both links are always present, even on an empty page.
        render::raw(&mut out, format_args!(",\"count\":{},\"next\":", rows.len()));
        render::text(&mut out, &query.link(base, query.offset + query.limit));
        out.extend_from_slice(b",\"previous\":");
        render::text(&mut out, &query.link(base, query.offset.saturating_sub(query.limit)));
        out.push(b'}');
        Answer::json(200, out)
    }

    pub(super) fn read_v1(&self, id: &str) -> Answer {
        let state = self.state();
        let Ok(id) = id.parse::<i64>() else {
            return errors::v1(400, "Invalid contactId");
        };
        let Some(row) = state.rows.get(id) else {
            return errors::v1(404, "Unable to find this Contact");
        };
        let mut out = Vec::with_capacity(512);
        render::contact_v1(&mut out, id, row, &row.current, &state);
        Answer::json(200, out)
    }
}

type Matching<'a> = Vec<(i64, &'a Row, &'a Version)>;

fn matching<'a>(state: &'a State, query: &Query, now_ms: i64) -> Result<Matching<'a>, String> {
    let knobs = &state.knobs;
    let bound = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => stamps::parse(text, knobs).map(Some).ok_or("Invalid date-time".to_owned()),
    };
    let (since, until) = (bound(&query.since)?, bound(&query.until)?);
    let fits_time = |version: &Version| {
        if since.is_none() && until.is_none() {
            return true;
        }
        let Some(stamp_ms) = version.stamp_ms else {
            return false;
        };
        let time = stamps::compared_ms(stamp_ms, knobs);
        since.is_none_or(|since| if knobs.inclusive_start { time >= since } else { time > since })
            && until.is_none_or(
                |until| {
                    if knobs.inclusive_end { time <= until } else { time < until }
                },
            )
    };
    let by_text =
        query.email.is_some() || query.given_name.is_some() || query.family_name.is_some();
    let same = |wanted: &Option<String>, value: Option<&str>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| value.is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
    };
    let fits_text = |version: &Version| {
        if !by_text {
            return true;
        }
        let person = version.person.unpack();
        same(&query.given_name, person.given_name.as_deref())
            && same(&query.family_name, person.family_name.as_deref())
            && (query.email.is_none()
                || person.emails.iter().any(|(_, address)| same(&query.email, Some(address))))
    };
    let mut rows: Vec<_> = state
        .rows
        .by_id(i64::MIN..=i64::MAX)
        .filter_map(|(id, row)| Some((id, row, row.shown(now_ms)?)))
        .filter(|(_, _, version)| fits_time(version) && fits_text(version))
        .collect();
    match query.order.as_str() {
        "id" => {}
        "date_created" => rows.sort_by_key(|(id, row, _)| (row.created_ms, *id)),
        "last_updated" => rows.sort_by_key(|(id, _, version)| (version.stamp_ms, *id)),
        "name" | "firstName" | "email" => rows.sort_by_cached_key(|(id, _, version)| {
            let person = version.person.unpack();
            let text = match query.order.as_str() {
                "email" => person.first_email().map(str::to_owned),
                "name" => person.family_name,
                _ => person.given_name,
            };
            (text.unwrap_or_default().to_lowercase(), *id)
        }),
        other => return Err(format!("Invalid order {other}")),
    }
    if query.descending {
        rows.reverse();
    }
    Ok(rows)
}
