//! A step: takes the next erasure, carries it out, and stores what came of it.

use std::time::Duration;

use super::end::{End, Erasing};
use super::intercom::Removed;
use crate::contact::{Candidate, Contact, Digest, IntercomId};
use crate::feed::{Feed, Lane};
use crate::intercom::Found;
use crate::keap::Row;
use crate::outcome::Proof;
use crate::pause::Direction;
use crate::remote::Failure;
use crate::store::{Erased, FoundIntent, IntentSide, OpenErasure};
use crate::sync::claims::{Claim, OpenPage};
use crate::sync::context::Context;
use crate::sync::result::Halt;
use crate::sync::write::shows_what_was_sent;

/// The other lane has the contact, or its address, now.
const OTHER_LANE: Duration = Duration::from_millis(200);

/// Carries out the next erasure whose turn it is. False if none has its turn.
pub async fn step(context: &Context) -> Result<bool, Halt> {
    let Some(open) = context.store.next_erasure().await? else {
        return Ok(false);
    };
    // A person asks for it, so a pause that lets requests through lets it through.
    let pauses = &context.board.pauses;
    let _let_through = pauses.let_through(open.id.get());
    let of_write = || pauses.of_write(Direction::KeapToIntercom, &[open.id.get()]);
    if pauses.of_feed(Feed::Due, true).or_else(of_write).is_some() {
        return Ok(false);
    }
    context.board.heartbeat.beat(Lane::Urgent, context.policy.sync.record_after);
    let page = context.board.claims.open_page();
    let (after, why) = match Box::pin(Erasing { context, open: &open }.carry_out(&page)).await {
        Ok(()) => return Ok(true),
        Err(End::Halt(halt)) => return Err(halt),
        Err(End::Later { after, why: None }) => (Some(after.unwrap_or_default()), None),
        Err(End::Later { after, why }) => {
            (Some(after.unwrap_or_else(|| pause(context, &open))), why)
        }
        Err(End::Waits(why)) => (None, Some(why)),
    };
    if let Some(why) = &why {
        tracing::warn!(
            keap.contact_id = open.id.get(),
            why,
            waits_for_a_person = after.is_none(),
            "A contact is not erased yet."
        );
    }
    context.store.put_erasure_off(&context.fence()?, open.id, after, why.as_deref()).await?;
    Ok(true)
}

/// The time until the next attempt: it doubles with each one, and no attempt is the last.
fn pause(context: &Context, open: &OpenErasure) -> Duration {
    let sync = &context.policy.sync;
    let doublings = open.attempts.clamp(0, 20);
    sync.retry_base.saturating_mul(1 << doublings).min(sync.retry_cap)
}

impl Erasing<'_> {
    async fn carry_out(&self, page: &OpenPage) -> Result<(), End> {
        let Self { context, .. } = *self;
        let busy = || End::Later { after: Some(OTHER_LANE), why: None };
        let claim = page.claim(self.id(), None).ok_or_else(busy)?;
        let traces = context.store.traces(self.id()).await?;
        let in_keap = self.in_keap(traces.intercom.is_empty()).await?;
        let mut emails = traces.emails.clone();
        self.add_address(&mut emails, in_keap.as_ref().and_then(Contact::email).cloned()).await?;
        // A page that was planned before may be about to write somebody with the address.
        let _claim = claim_addresses(page, claim, &emails).ok_or_else(busy)?;
        context.intercom.remote().unknown_writes().forget(self.id().get());

        let mut intercom = traces.intercom.clone();
        if intercom.is_empty() {
            intercom.extend(self.by_external_id(in_keap.as_ref()).await?);
        }
        let mut proof = Vec::new();
        let mut at = 0;
        while let Some(one) = intercom.get(at).cloned() {
            at += 1;
            match self.remove(&one, &traces).await? {
                Removed::Proved(proved) => proof.push(proved),
                Removed::MergedInto(survivor) if intercom.contains(&survivor) => {}
                Removed::MergedInto(survivor) => {
                    self.refuse_others(&survivor).await?;
                    intercom.push(survivor);
                }
            }
        }
        if proof.is_empty() {
            let accepted = self.open.accepts_absence;
            proof.push(if accepted { Proof::AbsenceAccepted } else { Proof::NeverThere });
        }
        self.finish(&intercom, &proof).await
    }

    /// Removes the rows, and keeps the proof.
    async fn finish(&self, intercom: &[IntercomId], proof: &[Proof]) -> Result<(), End> {
        let (_, mode) = self.mode();
        let erased = Erased { id: self.id(), intercom, mode, proof };
        if self.context.store.finish_erasure(&self.context.fence()?, &erased).await? {
            // The log is no table: whoever erases a person lets it go by its own age.
            tracing::info!(mode, contacts_in_intercom = intercom.len(), "A contact is erased.");
        }
        Ok(())
    }

    /// The contact as Keap shows it. `None`: Keap does not have it. What is in Intercom by our
    /// records is erased also while Keap refuses us.
    async fn in_keap(&self, is_needed: bool) -> Result<Option<Contact>, End> {
        match self.context.keap.by_id(Lane::Urgent, self.id()).await {
            Ok(Some(Row::Contact(contact))) => Ok(Some(contact)),
            Ok(Some(Row::Unreadable { .. }) | None) | Err(Failure::Never { .. }) => Ok(None),
            Err(Failure::Stop { .. }) if !is_needed => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The Intercom contact of a contact that our records do not link: a write without an answer
    /// may have made it. The Keap id alone is no proof, because a stranger may carry the same
    /// number.
    async fn by_external_id(&self, in_keap: Option<&Contact>) -> Result<Option<IntercomId>, End> {
        let Self { context, .. } = *self;
        let read = context.intercom.find_by_external_id(Lane::Urgent, self.id()).await?;
        let found = match read {
            Found::Missing => return Ok(None),
            Found::Contact(found) => found,
            Found::Merged(_) if self.open.accepts_absence => return Ok(None),
            Found::Merged(survivor) => {
                return Err(End::Waits(format!(
                    "the Intercom contact with this Keap id was merged into {survivor}, and no record says whose that is; delete it in Intercom by hand if it is the same person, then ask for the erasure again and accept that Intercom does not have it (--absent)"
                )));
            }
        };
        self.refuse_others(&found.id).await?;
        let is_proved = context.policy.matching.trust_external_id
            || in_keap.is_some_and(|contact| found.agrees_with(contact))
            || self.shows_what_was_sent(&found).await?;
        if is_proved {
            return Ok(Some(found.id));
        }
        Err(End::Waits(format!(
            "Intercom contact {} carries this Keap id, but neither Keap nor our records show that it is the same person; delete it in Intercom by hand, or change its external id there, then ask for the erasure again",
            found.id
        )))
    }

    async fn shows_what_was_sent(&self, found: &Candidate) -> Result<bool, End> {
        let mut known = self.context.store.known(&[self.id()]).await?;
        let sent = known.intents.remove(&self.id()).unwrap_or_default().into_iter();
        let sent = sent.filter(|intent| intent.side == IntentSide::Intercom);
        let fields = &self.context.fields;
        let sent: Vec<FoundIntent> = sent
            .map(|intent| FoundIntent { sent: intent.sent.clone().under(fields), ..intent })
            .collect();
        Ok(shows_what_was_sent(self.context, self.id(), &sent, found))
    }

    /// Fails if our records give the Intercom contact to another contact of Keap.
    async fn refuse_others(&self, intercom: &IntercomId) -> Result<(), End> {
        let owners = self.context.store.linked_owners(std::slice::from_ref(intercom)).await?;
        match owners.get(intercom).filter(|owner| **owner != self.id()) {
            None => Ok(()),
            Some(owner) => Err(End::Waits(format!(
                "its Intercom contact {intercom} now belongs to Keap contact {owner}: it was merged, or linked there; erase that contact too if it is the same person, or unmerge them, then ask for the erasure again"
            ))),
        }
    }
}

/// One claim for the contact and its addresses.
fn claim_addresses(page: &OpenPage, claim: Claim, emails: &[Digest]) -> Option<Claim> {
    emails.iter().try_fold(claim, |claim, email| Some(claim.and(page.claim_email(*email)?)))
}
