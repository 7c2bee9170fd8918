//! Reads the person behind a held contact, and the candidates, for somebody who has to decide.

use std::time::Duration;

use futures_util::future::join_all;

use crate::contact::{FieldName, Fields, IntercomId, KeapId, Reading};
use crate::feed::Lane;
use crate::intercom::{Found, IntercomClient};
use crate::keap::{KeapClient, Row};
use crate::remote::Failure;
use crate::report::{People, Shown};

/// Candidates that are read for one page. A contact seldom has more than two.
const CANDIDATES_READ: usize = 5;

/// A page does not wait longer for a remote.
const ANSWER_TIME: Duration = Duration::from_secs(8);

/// The fields that tell people apart, by the names of the built-in mapping.
const TELLING: [&str; 3] = [FieldName::EMAIL, "name", "phone"];

/// Reads both products: one call to Keap, and one to Intercom for each of the first candidates.
pub async fn look(
    keap: &KeapClient,
    intercom: &IntercomClient,
    id: KeapId,
    candidates: Vec<IntercomId>,
) -> People {
    let (of_keap, candidates) = tokio::join!(
        in_keap(keap, id),
        join_all(candidates.into_iter().enumerate().map(async |(at, candidate)| {
            let shown = match at {
                0..CANDIDATES_READ => in_intercom(intercom, &candidate).await,
                _ => Shown::Nobody(
                    "it is one of too many to be read here; look it up in Intercom".into(),
                ),
            };
            (candidate, shown)
        }))
    );
    People { keap: of_keap, candidates }
}

async fn in_keap(keap: &KeapClient, id: KeapId) -> Shown {
    match answer("Keap", keap.by_id(Lane::Urgent, id)).await {
        Ok(Some(Row::Contact(contact))) => Shown::Person(telling(&contact.fields)),
        Ok(Some(Row::Unreadable { why, .. })) => {
            Shown::Nobody(format!("what Keap shows of it cannot be read: {why}"))
        }
        Ok(None) => Shown::Nobody("Keap does not have this contact any more".into()),
        Err(why) => Shown::Nobody(why),
    }
}

async fn in_intercom(intercom: &IntercomClient, id: &IntercomId) -> Shown {
    match answer("Intercom", intercom.read(Lane::Urgent, id)).await {
        Ok(Found::Contact(found)) => {
            let mut shown = telling(&found.shows);
            shown.push(("external id".to_owned(), found.external_id.unwrap_or_default()));
            Shown::Person(shown)
        }
        Ok(Found::Merged(survivor)) => {
            Shown::Nobody(format!("it was merged into {survivor} in Intercom"))
        }
        Ok(Found::Missing) => Shown::Nobody("it is archived or deleted in Intercom".into()),
        Err(why) => Shown::Nobody(why),
    }
}

/// What a remote answers in time, or the sentence that says that it does not.
pub(super) async fn answer<T>(
    name: &str,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, String> {
    let why = match tokio::time::timeout(ANSWER_TIME, asked).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("no answer within {} seconds", ANSWER_TIME.as_secs()),
    };
    Err(format!("{name} does not show it now ({why}); load this page again later"))
}

fn telling(fields: &Fields) -> Vec<(String, String)> {
    let known = TELLING.iter().filter_map(|name| Some((*name, fields.get(name)?)));
    known.map(|(name, reading)| (name.to_owned(), text(reading))).collect()
}

/// A value for people.
pub(super) fn text(reading: &Reading) -> String {
    match reading {
        Reading::Is(value) => value.as_str().to_owned(),
        Reading::Empty => String::new(),
        Reading::Invalid => "(not valid)".to_owned(),
    }
}
