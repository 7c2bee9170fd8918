//! What all lists share: how many rows a page has, and the key with which the next page begins.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::code::Code;
use super::problem::Problem;

/// Rows of a page, where the caller asks for no other number.
pub(super) const DEFAULT_LIMIT: i64 = 50;
/// The most rows of a page.
pub(super) const MAX_LIMIT: i64 = 500;

/// Reads a `limit` in the bounds that the OpenAPI document names.
pub(super) fn limit<'de, D: Deserializer<'de>>(value: D) -> Result<Option<i64>, D::Error> {
    let limit = i64::deserialize(value)?;
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(D::Error::custom("a limit is 1 to 500"));
    }
    Ok(Some(limit))
}

/// Reads a code: the name of a feed, an action or a reason.
pub(super) fn word<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let word = Option::<String>::deserialize(value)?;
    if word.as_deref().is_none_or(is_word) {
        Ok(word)
    } else {
        Err(D::Error::custom("a code is a plain word"))
    }
}

/// Whether a text can be a code.
pub(super) fn is_word(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The place behind which a page begins: a stamp and an id, as one text that fits into a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After<Id> {
    pub at: DateTime<Utc>,
    pub id: Id,
}

impl<Id: std::str::FromStr + std::fmt::Display> After<Id> {
    /// The text of the place behind a row.
    pub(super) fn text(at: DateTime<Utc>, id: &Id) -> String {
        format!("{}_{id}", at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    /// Reads the text of a place. The error names the query parameter.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let place = || {
            let (at, id) = text.split_once('_')?;
            let at = DateTime::parse_from_rfc3339(at).ok()?.to_utc();
            Some(Self { at, id: id.parse().ok()? })
        };
        place().ok_or_else(|| {
            let why = "after is not a key of this list; take `next` of the page before";
            Problem::new(Code::InvalidQuery, why)
        })
    }
}

/// The key of the next page: that of the last row, if more may follow. The page was asked for with
/// one row more than it shows.
pub(super) fn next<T>(
    rows: &mut Vec<T>,
    limit: i64,
    key: impl FnOnce(&T) -> String,
) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().map(key)
}

/// The query of a list, or an answer that names what is expected.
pub(super) fn query<T>(
    query: Result<Query<T>, QueryRejection>,
    expected: &str,
) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|_| {
        Problem::new(
            Code::InvalidQuery,
            format!("the query is not understood; expected {expected}, limit (1 to {MAX_LIMIT}) and after"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_any_other_text_is_refused() {
        let at: DateTime<Utc> = "2026-11-25T04:05:54.528648Z".parse().unwrap();
        let text = After::text(at, &12345_i64);
        assert_eq!(text, "2026-11-25T04:05:54.528648Z_12345");
        assert_eq!(After::<i64>::read(&text).unwrap(), After { at, id: 12345 });
        for wrong in ["", "_", "12345", "2026-11-25_12345", "2026-11-25T04:05:54Z_x"] {
            assert!(After::<i64>::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_that_is_not_full_is_the_last_one() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(next(&mut rows, 3, ToString::to_string), None);
        assert_eq!(next(&mut rows, 2, ToString::to_string), Some("2".to_owned()));
        assert_eq!(rows, [1, 2]);
    }
}
