//! Finds contacts by e-mail and external id, and learns which form of search Intercom accepts
//! (`docs/api/intercom.md`, "Search").

use std::sync::atomic::Ordering;

use reqwest::Method;

use super::client::{IntercomClient, is_own};
use super::model::Wanted;
use super::refusals;
use super::wire::{self, SearchForm};
use crate::contact::Candidate;
use crate::remote::{Call, Failure, Kind, Lane};

/// Pages read for one search. An address that more contacts share does not identify any of them.
const SEARCH_PAGES: usize = 20;

impl IntercomClient {
    /// Splits a list of wanted contacts into parts that fit into one search call each.
    pub fn searches(&self, wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
        let mut parts: Vec<Vec<Wanted>> = Vec::new();
        let mut room = 0;
        for one in wanted {
            let values = wire::spellings(&one.email).len();
            if values > room || parts.is_empty() {
                parts.push(Vec::new());
                room = self.emails_per_search;
            }
            room = room.saturating_sub(values);
            if let Some(part) = parts.last_mut() {
                part.push(one);
            }
        }
        parts
    }

    /// Whether a search also finds contacts by their external id. Intercom may refuse that form.
    pub fn searches_external_ids(&self) -> bool {
        self.refused_forms.load(Ordering::Relaxed) == 0
    }

    /// Live contacts with these e-mails or external ids. The index behind it is minutes behind.
    /// `wanted` is a part that [`Self::searches`] has made.
    ///
    /// `Never`: Intercom refuses every form of this search, so one of the addresses is the cause.
    pub async fn search(&self, lane: Lane, wanted: &[Wanted]) -> Result<Vec<Candidate>, Failure> {
        let known = self.refused_forms.load(Ordering::Relaxed);
        let mut refused = None;
        for (plainness, form) in (0..).zip(SearchForm::ALL).skip(usize::from(known)) {
            match self.search_as(lane, wanted, form).await {
                Err(Failure::Never { why }) => refused = Some(Failure::Never { why }),
                Ok(found) => {
                    // The plainer form works, so Intercom refused the fuller one for its form.
                    if let Some(why) = refused.filter(|_| {
                        self.refused_forms.fetch_max(plainness, Ordering::Relaxed) < plainness
                    }) {
                        tracing::info!(%why, "Intercom refuses the fuller form of search; a plainer one is used from now on.");
                    }
                    return Ok(found);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(refused.unwrap_or_else(|| Failure::never("Intercom refuses every form of search")))
    }

    /// Live contacts with these external ids, for addresses that no search takes.
    pub async fn search_ids(
        &self,
        lane: Lane,
        wanted: &[Wanted],
    ) -> Result<Vec<Candidate>, Failure> {
        self.search_as(lane, wanted, SearchForm::Ids).await
    }

    async fn search_as(
        &self,
        lane: Lane,
        wanted: &[Wanted],
        form: SearchForm,
    ) -> Result<Vec<Candidate>, Failure> {
        let (mut found, mut cursor) = (Vec::new(), None);
        for _ in 0..SEARCH_PAGES {
            let body = wire::search(wanted, form, cursor.as_deref());
            let call = Call {
                method: Method::POST,
                kind: Kind::Search,
                about: wanted.iter().map(|one| one.keap.get()).collect(),
                understood: |reply| is_own::<wire::Found>(reply),
                always_exists: true,
                ..Call::get(&["contacts", "search"])
            };
            let reply = refusals::accepted(self.send(lane, call, &body).await?)?;
            let mut page: wire::Found = self.remote.parse(&reply)?;
            let next = page.cursor();
            let places = self.places();
            found.extend(page.data.into_iter().filter_map(|one| one.candidate(&places)));
            if next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        Ok(found)
    }
}
