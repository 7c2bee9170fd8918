//! A look at a newcomer: reads the user by id, then looks in Keap, before anything is made there.

use std::time::Duration;

use super::create::create;
use super::end::{End, Look};
use super::whom::{has_tag, is_wanted};
use crate::contact::{Candidate, Digest, Email, KeapId, Link};
use crate::feed::{Feed, Lane};
use crate::intercom::Found;
use crate::keap::KeapClient;
use crate::outcome::HoldReason;
use crate::store::Settlement;
use crate::sync::claims::Claim;
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// Newcomers of one step: the polls of Keap and the requests must not wait long.
const AT_ONCE: i64 = 10;

/// The other lane has the address now.
const OTHER_LANE: Duration = Duration::from_secs(1);

/// Looks at the next newcomers of a lane. False if none has its turn.
pub(in crate::sync) async fn step(context: &Context, lane: Lane) -> Result<bool, Halt> {
    if !context.policy.creating.is_on() || !knows_keap(context, lane).await? {
        return Ok(false);
    }
    let is_paused = |is_request| context.board.pauses.of_due_to_keap(is_request).is_some();
    if is_paused(true) || !context.has_calls_beside_opt_outs() {
        return Ok(false);
    }
    let fence = context.fence()?;
    let newcomers = context.store.newcomers(&fence, lane, is_paused(false), AT_ONCE).await?;
    for newcomer in &newcomers {
        if is_paused(newcomer.is_manual) {
            break;
        }
        if context.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        context.board.heartbeat.beat(lane, context.policy.sync.record_after);
        let look = Look { context, lane, newcomer };
        if !look.whole().await? {
            break;
        }
    }
    Ok(!newcomers.is_empty())
}

/// Whether Keap's contacts were matched once. Before that, most users only seem to be newcomers,
/// and each would cost a search in Keap.
async fn knows_keap(context: &Context, lane: Lane) -> Result<bool, Halt> {
    let has_polled = context
        .store
        .cursor(Feed::Changed)
        .await?
        .is_some_and(|cursor| cursor.polled_age.is_some());
    if lane == Lane::Urgent || !has_polled {
        return Ok(has_polled);
    }
    Ok(context.store.cursor(Feed::Backfill).await?.is_none_or(|cursor| cursor.is_at_rest()))
}

impl Look<'_> {
    /// Looks, and stores what comes of it. False: the brake stops all of them.
    async fn whole(&self) -> Result<bool, Halt> {
        let settlement = match Box::pin(self.decide()).await {
            Ok(None) => return Ok(true),
            Err(End::Braked) => return Ok(false),
            Ok(Some(settlement)) | Err(End::Settle(settlement)) => settlement,
            Err(End::Halt(halt)) => return Err(halt),
        };
        let settlement = self.within_attempts(settlement);
        let fence = self.context.fence()?;
        self.context.store.settle_newcomer(&fence, self.newcomer, &settlement).await?;
        Ok(true)
    }

    /// What comes of the newcomer. `None`: it is stored already.
    async fn decide(&self) -> Result<Option<Settlement>, End> {
        let Self { context, lane, newcomer } = *self;
        let open = context.board.claims.open_page();
        if newcomer.is_linked || newcomer.is_former {
            return Ok(Some(Settlement::Gone));
        }
        if let Some(made) = newcomer.create.as_ref().and_then(|open| open.made) {
            return Ok(Some(Settlement::InKeap(made)));
        }
        let Found::Contact(user) = context.intercom.read(lane, &newcomer.id).await? else {
            return Ok(Some(Settlement::Gone));
        };
        let Some(email) = user.address().filter(|_| is_wanted(context, &user)) else {
            return Ok(Some(Settlement::Gone));
        };
        let digest = context.key.email(email);
        if self.is_erased(&user, digest).await? {
            return Ok(Some(Settlement::Gone));
        }
        if newcomer.create.is_none() && !has_tag(context, lane, &user).await? {
            return Ok(Some(Settlement::NotTagged));
        }
        if user.external_id.is_some() {
            return self.of_external_id(&user).await.map(Some);
        }
        // Held until what comes of it is stored: no lane writes a contact with this address.
        let Some(_claim): Option<Claim> = open.claim_email(digest) else {
            return Ok(Some(Settlement::Later { after: OTHER_LANE, why: None }));
        };
        if let Some(other) = context.store.email_owners(&[digest]).await?.get(&digest) {
            return Ok(Some(Settlement::Held(HoldReason::EmailLinkedTo(*other))));
        }
        if let Some(settlement) = self.of_open_create(digest).await? {
            return Ok(settlement);
        }
        match self.in_keap(email).await? {
            Some(settlement) => Ok(Some(settlement)),
            None => create(self, &user, email, digest).await,
        }
    }

    /// Whether the user is a person who was erased.
    async fn is_erased(&self, user: &Candidate, email: Digest) -> Result<bool, End> {
        let store = &self.context.store;
        let ids: Vec<KeapId> = user.external_keap_id().into_iter().collect();
        Ok(!store.erased_addresses(&[email]).await?.is_empty()
            || !store.erased(&ids).await?.is_empty())
    }

    /// A user with an external id is never made: the link would replace that id.
    async fn of_external_id(&self, user: &Candidate) -> Result<Settlement, End> {
        let Some(keap) = user.external_keap_id() else {
            return Ok(Settlement::Held(HoldReason::ExternalIdTaken));
        };
        let found = self.context.keap.by_id(self.lane, keap).await?;
        Ok(match found {
            Some(_) => Settlement::InKeap(keap),
            None => Settlement::Held(HoldReason::ExternalIdTaken),
        })
    }

    /// What an earlier create without an answer asks for. `Some(None)`: it is stored already.
    /// `None`: nothing stands in the way.
    async fn of_open_create(&self, email: Digest) -> Result<Option<Option<Settlement>>, End> {
        let Self { context, newcomer, .. } = *self;
        let Some(open) = &newcomer.create else {
            return Ok(None);
        };
        let (store, fence) = (&context.store, context.fence()?);
        if open.email != Some(email) {
            // It was sent with another address, which nobody knows any more. The contact is found
            // when a poll of Keap shows it. A person who tries a held user again has looked.
            if !newcomer.is_retried {
                return Ok(Some(Some(Settlement::Held(HoldReason::CreateUnsure))));
            }
            let again = Settlement::Later { after: Duration::ZERO, why: None };
            store.create_failed(&fence, newcomer, open.intent, &again).await?;
            return Ok(Some(None));
        }
        if !open.is_ours {
            // The process that sent it may have died just now.
            let quiet = (context.policy.creating.quiet, None);
            store.leave_create_alone(&fence, newcomer, open.intent, quiet).await?;
            return Ok(Some(None));
        }
        let after = open.quiet_for;
        Ok((!after.is_zero()).then_some(Some(Settlement::Later { after, why: None })))
    }

    /// What the contacts in Keap with this address lead to. `None`: there is none.
    async fn in_keap(&self, email: &Email) -> Result<Option<Settlement>, End> {
        if !KeapClient::can_look_for(email) {
            let why = "Keap's search takes no address with one of the characters ; , = *";
            return Ok(Some(Settlement::Held(HoldReason::CreateRefused(why.into()))));
        }
        let found = self.context.keap.with_email(self.lane, email).await?;
        Ok(match found.as_slice() {
            [] => None,
            [keap] if self.is_taken(*keap).await? => {
                Some(Settlement::Held(HoldReason::EmailInKeap(*keap)))
            }
            [keap] => Some(Settlement::InKeap(*keap)),
            _ => Some(Settlement::Held(HoldReason::SeveralInKeap)),
        })
    }

    /// Whether a contact in Keap has a link, to another user then.
    async fn is_taken(&self, keap: KeapId) -> Result<bool, End> {
        let known = self.context.store.known(&[keap]).await?;
        Ok(known.links.get(&keap).and_then(Link::intercom).is_some())
    }
}
