//! The short lists (tags, users, companies, addresses): their filters, orders and pages.

use serde_json::{Map, Value};

use super::filter::split;
use super::knobs::{KeapKnobs, TokenStyle};
use crate::sim::message::{Answer, Request};
use crate::sim::opaque;

/// The most rows of a page, except in the list of users.
pub(super) const MOST_ROWS: usize = 1000;
const DEFAULT_ROWS: usize = 50;

/// A clause of a short list: field, operator and value.
pub(super) type Clause<'a> = (&'a str, &'a str, &'a str);

/// The clauses of a filter on a short list. Only ids can be compared with another operator than
/// `==`. The error is the text of the 400.
pub(super) fn clauses<'a>(text: &'a str, known: &[&str]) -> Result<Vec<Clause<'a>>, String> {
    text.split(';')
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .map(|clause| {
            let (field, operator, value) = split(clause)?;
            if !known.contains(&field) {
                return Err(format!("Unknown filter field {field}"));
            }
            if operator != "==" && field != "company_id" {
                return Err(format!("Operator {operator} is not supported for field {field}"));
            }
            Ok((field, operator, value))
        })
        .collect()
}

/// The order of a short list. Without a field, it is the order of the ids.
pub(super) struct Order<'a> {
    pub field: Option<&'a str>,
    descending: bool,
}

impl Order<'_> {
    pub(super) fn is_by_id(&self) -> bool {
        self.field.is_none()
    }

    /// Turns sorted rows round, if they are asked for in descending order.
    pub(super) fn direct<T>(&self, rows: &mut [T]) {
        if self.descending {
            rows.reverse();
        }
    }
}

/// Parses `order_by` of a short list. The error is the text of the 400.
pub(super) fn order<'a>(request: &Request, known: &[&'a str]) -> Result<Order<'a>, String> {
    let Some(text) = request.param("order_by") else {
        return Ok(Order { field: None, descending: false });
    };
    let (field, direction) = text.split_once(' ').unwrap_or((&text, "asc"));
    let field = known.iter().copied().find(|name| *name == field);
    match (field, direction.to_lowercase().as_str()) {
        (Some(field), "asc") => Ok(Order { field: Some(field), descending: false }),
        (Some(field), "desc") => Ok(Order { field: Some(field), descending: true }),
        _ => Err(format!("Invalid order_by {text}")),
    }
}

pub(super) struct Pager {
    size: usize,
    /// The id of the last row of the page before.
    after: Option<i64>,
}

impl Pager {
    /// Parses `page_size` and `page_token`. The error is the text of the 400.
    pub(super) fn parse(
        request: &Request,
        knobs: &KeapKnobs,
        most: usize,
    ) -> Result<Pager, String> {
        let size = match request.param("page_size") {
            None => DEFAULT_ROWS,
            Some(text) => match text.parse() {
                Ok(0) => DEFAULT_ROWS,
                Ok(size) if size <= most => size,
                _ => return Err(format!("page_size must not be greater than {most}")),
            },
        };
        let size = size.min(knobs.max_page_size_effective.unwrap_or(most)).max(1);
        let token = request.param("page_token").filter(|token| !token.is_empty());
        if token.is_some() && knobs.expire_tokens {
            return Err("page_token has expired".to_owned());
        }
        let after = match token {
            None => None,
            Some(token) => {
                let id = token.parse().ok().or_else(|| opaque::decode(&token)?.parse().ok());
                Some(id.ok_or("Invalid page_token")?)
            }
        };
        Ok(Pager { size, after })
    }

    /// The rows of the page, and the id of the last one if more follow. `by_id`: the rows come in
    /// the order of their ids, so a page continues behind a row that has gone.
    pub(super) fn page<T>(&self, rows: Vec<(i64, T)>, by_id: bool) -> (Vec<T>, Option<i64>) {
        let start = match self.after {
            None => 0,
            Some(after) if by_id => rows.partition_point(|(id, _)| *id <= after),
            Some(after) => {
                rows.iter().position(|(id, _)| *id == after).map_or(rows.len(), |at| at + 1)
            }
        };
        let end = rows.len().min(start + self.size);
        let last = rows[start..end].last().map(|(id, _)| *id).filter(|_| end < rows.len());
        let page = rows.into_iter().skip(start).take(self.size).map(|(_, row)| row).collect();
        (page, last)
    }
}

/// A page as JSON. Its token has the style of the knob.
pub(super) fn answer(name: &str, rows: Vec<Value>, next: Option<i64>, knobs: &KeapKnobs) -> Answer {
    let token: Value = match (next, knobs.token_style) {
        (Some(id), TokenStyle::Opaque | TokenStyle::Null | TokenStyle::Rows) => {
            opaque::encode(&id.to_string()).into()
        }
        (Some(id), TokenStyle::LastId) => id.to_string().into(),
        (Some(id), TokenStyle::FullUrl) => {
            format!("https://api.infusionsoft.com/crm/rest/v2/{name}/?page_token={id}").into()
        }
        (Some(id), TokenStyle::Number) => id.into(),
        (None, TokenStyle::Null) => Value::Null,
        (None, TokenStyle::Number) => 0.into(),
        (None, _) => "".into(),
    };
    let mut body = Map::new();
    body.insert(name.to_owned(), rows.into());
    body.insert("next_page_token".to_owned(), token);
    Answer::json(200, Value::Object(body).to_string())
}
