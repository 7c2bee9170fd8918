//! The `due` feed: requests and retries whose time has come, read from Keap together.

use crate::contact::KeapId;
use crate::remote::{Failure, Lane};
use crate::store::Feed;
use crate::sync::Syncer;
use crate::sync::feeds::Rows;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;

impl Syncer {
    /// The next page of due contacts, most urgent first; `None` when nothing is due.
    pub(in crate::sync) async fn due_page(&self) -> Result<Option<Page>, Halt> {
        let (open, calls) = (self.claims.open_page(), self.calls(Lane::Urgent));
        let due = self
            .store
            .due(self.walker.page_size(), &self.claims.busy())
            .await?;
        if due.is_empty() {
            return Ok(None);
        }
        let ids: Vec<KeapId> = due.iter().map(|row| row.id).collect();
        let versions = due.into_iter().map(|row| (row.id, row.version)).collect();
        let (rows, missing) = self.read_by_id(Lane::Urgent, &ids).await?;
        Ok(Some(Page {
            feed: Feed::Due,
            lane: Lane::Urgent,
            open,
            calls,
            contacts: rows.contacts,
            unreadable: rows.unreadable,
            missing,
            versions,
            run_id: None,
            cursor: None,
        }))
    }

    /// Reads contacts in chunks. One that a list leaves out is read by itself: lists may lag, and only a 404 says that it is gone.
    pub(in crate::sync) async fn read_by_id(
        &self,
        lane: Lane,
        ids: &[KeapId],
    ) -> Result<(Rows, Vec<KeapId>), Halt> {
        let mut rows = Rows::default();
        let mut alone = Vec::new();
        let mut chunks: Vec<&[KeapId]> = ids.chunks(self.ids_per_call).rev().collect();
        while let Some(chunk) = chunks.pop() {
            match self.keap.by_ids(lane, chunk).await {
                Ok(found) => {
                    let found = Rows::sort(found);
                    alone.extend(chunk.iter().copied().filter(|id| !found.holds(*id)));
                    rows.extend(found);
                }
                // One contact that Keap cannot show fails the whole list: halves are tried, down to the contact itself.
                Err(Failure::Again { why } | Failure::Never { why }) => {
                    self.unless_keap_is_down(lane, &why).await?;
                    match chunk {
                        [one] => alone.push(*one),
                        _ => {
                            let (first, second) = chunk.split_at(chunk.len() / 2);
                            chunks.extend([second, first]);
                        }
                    }
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        let mut missing = Vec::new();
        for id in alone {
            match self.keap.by_id(lane, id).await {
                Ok(Some(row)) => rows.extend(Rows::sort(vec![row])),
                Ok(None) => missing.push(id),
                Err(Failure::Again { why } | Failure::Never { why }) => {
                    self.unless_keap_is_down(lane, &why).await?;
                    rows.unreadable.push((id, why));
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        Ok((rows, missing))
    }

    /// Tells a contact that Keap cannot show from a Keap that fails: an outage uses up nobody's attempts.
    async fn unless_keap_is_down(&self, lane: Lane, why: &str) -> Result<(), Halt> {
        if self.walker.keap_answers(lane).await {
            return Ok(());
        }
        Err(Halt::of_reading(Failure::again(why)))
    }
}
