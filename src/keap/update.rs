//! Writes fields of a contact (`docs/api/keap.md`, "Writing").

use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Method;

use super::client::{KeapClient, accepted};
use super::model::{OptedOut, Row, Updated};
use super::wire::{self, Change};
use crate::contact::{Contact, Email, KeapId};
use crate::remote::{Call, Failure, Guard, Kind, Lane};

/// Why an address is opted out, as Keap's people read it.
const OPT_OUT_REASON: &str = "Unsubscribed in Intercom";

/// What Keap showed longer ago is no ground for a write: the rest of each list goes back with it.
const FRESH: Duration = Duration::from_secs(10);

impl KeapClient {
    /// Writes are made only while `guard` allows them. Only the first call has an effect.
    pub fn write_only_while(&self, guard: Box<Guard>) {
        let _ = self.may_write.set(guard);
    }

    /// Fails if no write of this contact may be made now: who joins others must not stop them.
    pub(super) fn may_write_to(&self, contact: KeapId) -> Result<(), Failure> {
        let may_write = self.may_write.get().map_or(Ok(()), |guard| guard(&[contact.get()]));
        may_write.map_err(|closed| self.remote().closed(closed))
    }

    /// Opts the address of a contact out. Nothing that is sent can opt anybody in.
    pub async fn opt_out(
        &self,
        lane: Lane,
        contact: KeapId,
        email: &Email,
    ) -> Result<OptedOut, Failure> {
        let path = ["v2", "emailAddresses", email.as_written(), "status"];
        let body = serde_json::json!({ "opted_in": false, "reason": OPT_OUT_REASON });
        let call = Call {
            method: Method::PATCH,
            body: Some(body.to_string().into_bytes()),
            kind: Kind::Write,
            about: vec![contact.get()],
            understood: |reply| !reply.is_success() || reply.body.first() == Some(&b'{'),
            answers: &[403],
            only_while: self.may_write.get().map(|guard| &**guard),
            ..Call::get(&path)
        };
        let reply = self.remote.send(lane, &call).await?;
        if reply.status == 403 {
            return Ok(OptedOut::Forbidden);
        }
        let reply = match accepted(reply) {
            Ok(reply) => reply,
            Err(Failure::Never { why }) => return Ok(OptedOut::Refused(why)),
            Err(failure) => return Err(failure),
        };
        // The contract says only what opting in does, so what Keap shows afterwards counts.
        let shows: wire::OptStatus<'_> = self.remote.parse_borrowed(&reply.body)?;
        Ok(if shows.is_out() { OptedOut::Done } else { OptedOut::NotShown })
    }

    /// Writes these fields of a contact, in one call, and no others. `contact`: as Keap has just
    /// shown it.
    pub async fn update(
        &self,
        lane: Lane,
        contact: &Contact,
        changes: &[Change<'_>],
    ) -> Result<Updated, Failure> {
        let places = self.places();
        let Some(shown) = contact.as_shown.younger_than(FRESH) else {
            return Ok(Updated::Stale);
        };
        let masked = self.masked.read().unwrap_or_else(PoisonError::into_inner).clone();
        let patch = match places.patch(shown, changes, &masked) {
            Ok(patch) => patch,
            Err(why) => return Ok(Updated::Refused(why)),
        };
        let id = contact.id.to_string();
        let path = ["v2", "contacts", id.as_str()];
        let mut query = vec![("fields", places.list().to_owned())];
        query.extend(patch.mask.into_iter().map(|name| ("update_mask", name)));
        let body = serde_json::to_vec(&patch.body)
            .map_err(|_| Failure::never("the contact cannot be written as JSON"))?;
        let call = Call {
            method: Method::PATCH,
            query,
            body: Some(body),
            kind: Kind::Write,
            about: vec![contact.id.get()],
            understood: |reply| !reply.is_success() || reply.body.first() == Some(&b'{'),
            // Whether it is about this contact or about the key, only the caller can tell.
            answers: &[403],
            only_while: self.may_write.get().map(|guard| &**guard),
            ..Call::get(&path)
        };
        let reply = self.remote.send(lane, &call).await?;
        match reply.status {
            400 | 422 => Ok(Updated::Refused(match accepted(reply) {
                Err(Failure::Never { why }) => why,
                _ => "Keap refuses the write".to_owned(),
            })),
            403 => Ok(Updated::Forbidden),
            404 => Ok(Updated::Missing),
            409 => Ok(Updated::Stale),
            _ => {
                let reply = accepted(reply)?;
                let json: &serde_json::value::RawValue = self.remote.parse_borrowed(&reply.body)?;
                match places.row(json.get()) {
                    Row::Contact(now) if now.id == contact.id => Ok(Updated::Done(Box::new(now))),
                    _ => Err(Failure::again(
                        "Keap answers a write with something else than the contact",
                    )),
                }
            }
        }
    }
}
