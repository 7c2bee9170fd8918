//! Deleting a contact for good (`docs/api/intercom.md`, "Archived and merged contacts").

use reqwest::Method;
use serde_json::json;

use super::client::{IntercomClient, post};
use super::refusals;
use crate::contact::{IntercomId, KeapId};
use crate::remote::{Call, Failure, Lane};

/// Intercom's answer to a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It took the deletion, of a live contact or of an archived one.
    Done,
    /// It does not have the contact, or no longer.
    Missing,
    /// The token may not delete contacts.
    Forbidden,
}

impl IntercomClient {
    /// Deletes a contact for good. Nothing brings it back.
    pub async fn delete(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
    ) -> Result<Deletion, Failure> {
        let path = ["contacts", id.as_str()];
        // Many tokens may write contacts and not delete them, so a 403 is about this call alone.
        let call = Call { method: Method::DELETE, answers: &[403], ..post(&path) };
        let reply = self.write(lane, call, whose, &json!({})).await?;
        match reply.status {
            200..=299 => Ok(Deletion::Done),
            404 | 410 => Ok(Deletion::Missing),
            403 => Ok(Deletion::Forbidden),
            _ => Err(refusals::of_contact(&reply)),
        }
    }
}
