//! The log as a CSV that is streamed: a few rows are read at a time, however long the log is, and
//! no transaction stays open meanwhile.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::stream;
use uuid::Uuid;

use crate::report::csv;
use crate::store::{LogFilter, Store, StoreError};

/// Rows that are read at once.
const ROWS: usize = 1000;

/// Where the stream goes on.
enum Next {
    Head,
    Rows(Option<(DateTime<Utc>, Uuid)>),
    End,
}

/// All outcomes that fit behind a place, the newest first. If the database fails on the way, the
/// transfer breaks off, so nobody takes a part for the whole.
pub(super) fn download(
    store: Store,
    filter: LogFilter,
    before: Option<(DateTime<Utc>, Uuid)>,
) -> Response {
    let parts = stream::try_unfold(Next::Head, move |next| {
        let (store, filter) = (store.clone(), filter.clone());
        async move { part(&store, &filter, before, next).await }
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"keap-intercom-sync-log.csv\""),
    );
    response
}

async fn part(
    store: &Store,
    filter: &LogFilter,
    before: Option<(DateTime<Utc>, Uuid)>,
    next: Next,
) -> Result<Option<(String, Next)>, StoreError> {
    let place = match next {
        Next::Head => return Ok(Some((csv::HEAD.to_owned(), Next::Rows(before)))),
        Next::Rows(place) => place,
        Next::End => return Ok(None),
    };
    let stretch = store.log_stretch(filter, place, ROWS).await.inspect_err(|error| {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "A download of the log breaks off: the database did not answer."
        );
    })?;
    let lines: String = stretch.entries.iter().map(csv::line).collect();
    Ok(Some((lines, stretch.next.map_or(Next::End, |place| Next::Rows(Some(place))))))
}
