//! What the writes of one contact leave out: a value that a side does not take must not keep the
//! rest of the contact out.

use chrono::DateTime;
use tokio::time::Instant;

use super::both::{self, Merge};
use super::keap::{self, InKeap};
use super::relations;
use super::target::{End, Target};
use crate::contact::{Bases, Clears, Contact, FieldName, FieldRule, IntercomId, Reading};
use crate::intercom::{Done, Refused, Written};
use crate::outcome::{Action, HoldReason, InForce};
use crate::sync::result::{Both, Outcome};
use crate::sync::vanished;

/// The fields that are left out of the writes of one contact, because Intercom refuses them.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Fields that a refusal named.
    named: Vec<FieldName>,
    /// The field that is left out because a refusal named none.
    guessed: Option<FieldName>,
    /// The first refusal.
    why: Option<String>,
    /// Fields whose place is gone: they are left out for every contact.
    pub(super) gone: Vec<FieldName>,
    /// What the owners of the mapping decide, once that is known of an Intercom contact.
    merge: Option<(IntercomId, Merge)>,
    /// The tags and the company that were written to Intercom, with what Keap shows of them.
    pub(super) related: Vec<(FieldName, Reading)>,
    /// What came of the writes to Keap, once they were made.
    pub(super) in_keap: Option<InKeap>,
}

impl LeftOut {
    /// Writes the contact: a new one, or this one of Intercom's. A field that Intercom refuses is
    /// left out, and the rest is written.
    pub(super) async fn write(
        &mut self,
        target: &Target<'_>,
        id: Option<&IntercomId>,
    ) -> Result<Written, End> {
        let (intercom, lane) = (&target.context.intercom, target.lane);
        let clears = id.map_or_else(Clears::nothing, |id| target.clears(id));
        loop {
            self.gone = target.context.board.doubt.gone();
            let less = self.less(target.contact);
            let contact = less.as_ref().unwrap_or(target.contact);
            let written = match id {
                None => intercom.create(lane, contact).await?,
                Some(id) => intercom.update(lane, id, contact, &clears).await?,
            };
            match written {
                Written::Refused(Refused { field: Some(field), is_gone: true, .. })
                    if !self.gone.contains(&field) =>
                {
                    Box::pin(vanished::note(target.context, &field)).await?;
                }
                Written::Refused(refused) => {
                    target.context.board.doubt.raise();
                    self.leave_out(contact, &clears, refused)?;
                }
                written => return Ok(written),
            }
        }
    }

    /// The outcome of a contact that was written.
    pub(super) fn synced(
        &mut self,
        target: &Target<'_>,
        action: Action,
        done: Done,
        replaced: bool,
    ) -> Outcome {
        let both = target.context.policy.direction.to_keap.then(|| self.both(target, &done));
        let wrote_intercom = both.as_ref().is_none_or(|both| both.wrote_intercom);
        let fields = self.tally(target, &done.id, wrote_intercom);
        let merge = self.merge.take().map(|(_, merge)| merge).unwrap_or_default();
        let action = match (&both, action) {
            (Some(both), Action::Updated) if !both.wrote_intercom && both.keap.is_none() => {
                Action::Unchanged
            }
            (Some(both), Action::Updated) if both.only_restored => Action::Restored,
            (_, action) => action,
        };
        let shows = both.as_ref().and_then(|both| both.keap.as_ref()).unwrap_or(target.contact);
        let less = self.written_of(shows);
        Outcome::Synced {
            action,
            keap_base: target.keap_base(&done.id, less.as_ref().unwrap_or(shows)),
            incomplete: less.is_some(),
            intercom: done.id,
            request_id: done.request_id,
            replaced,
            left_out: self.fields(),
            conflicts: merge.conflicts,
            fields,
            both: both.map(Box::new),
        }
    }

    /// What both sides show after the writes. A field that was neither read nor written may have
    /// been edited in Intercom meanwhile, so it keeps its base.
    fn both(&self, target: &Target<'_>, done: &Done) -> Both {
        let (key, order) = (&target.context.key, &target.context.fields);
        let merge = self.decided();
        let is_left_out = |name: &FieldName| {
            let kept = merge.iter().flat_map(|merge| &merge.kept);
            self.fields().iter().chain(kept).chain(&self.gone).any(|left| left == name)
        };
        let bases = |fields| key.bases_shown(order, &Contact::showing(target.contact.id, fields));
        let written = done.shows.as_ref().map(|shows| {
            let is_written = |name: &FieldName| {
                target.contact.fields.get(name.as_str()).is_some() && !is_left_out(name)
            };
            bases(shows.fields().only(is_written))
        });
        let read = merge.and_then(|merge| merge.shown.as_ref());
        // Who is out of scope keeps the bases of all that does not travel, for when it comes back.
        let travels =
            |name: &FieldName| target.contact.in_scope || order.travels_always(name.as_str());
        let of_read = read.map(|read| bases(read.contact.fields.clone().only(travels)));
        let base = match written {
            Some(written) => written.or(of_read.as_ref()),
            None => of_read.unwrap_or_else(Bases::nothing),
        };
        let base = self.with_related(target, base);
        let stamp = done.shows.as_ref().and_then(|shows| shows.updated_at);
        if let Some(stamp) = stamp {
            target.context.board.search_lag.written(&done.id, stamp, Instant::now());
        }
        let stamp = stamp.and_then(|at| DateTime::from_timestamp(at, 0));
        let before = target.link.and_then(|link| link.intercom_updated_at);
        let restored = merge.map(|merge| merge.restored.as_slice()).unwrap_or_default();
        let sent = target
            .contact
            .fields
            .iter()
            .filter(|(name, reading)| !is_left_out(name) && **reading != Reading::Invalid);
        let wrote_intercom =
            merge.is_none_or(|merge| !merge.is_settled) || !self.related.is_empty();
        let in_keap = self.in_keap.as_ref();
        let held = merge.iter().flat_map(|merge| &merge.held);
        let is_of_intercom =
            |name: &&FieldName| target.contact.fields.get(name.as_str()) != Some(&Reading::Invalid);
        let refused = in_keap.iter().flat_map(|in_keap| &in_keap.refused);
        Both {
            intercom_base: base.or(target.intercom_before(&done.id).as_ref()),
            intercom_updated_at: stamp.or_else(|| read.and_then(|read| read.at)).or(before),
            keap: in_keap.and_then(|in_keap| in_keap.shows.clone()),
            wrote_intercom,
            only_restored: wrote_intercom
                && !restored.is_empty()
                && sent
                    .map(|(name, _)| name)
                    .chain(self.related.iter().map(|(name, _)| name))
                    .all(|name| restored.contains(name)),
            refused_in_keap: refused.chain(held.filter(is_of_intercom)).cloned().collect(),
        }
    }

    /// The bases, with those of the tags that were written.
    fn with_related(&self, target: &Target<'_>, base: Bases) -> Bases {
        let (key, order) = (&target.context.key, &target.context.fields);
        let is_tag =
            |name: &FieldName| order.rule(name.as_str()).is_some_and(FieldRule::is_tag_of_both);
        let written = self.related.iter().filter(|(name, _)| is_tag(name)).cloned();
        let written = Contact::showing(target.contact.id, written.collect());
        key.bases_now(order, &written).or(Some(&base))
    }

    /// Brings the tags and the company of the contact to Intercom, as far as they differ there.
    pub(super) async fn relate(&mut self, target: &Target<'_>, id: &IntercomId) -> Result<(), End> {
        let decided = self.decided().map(|merge| merge.tags.as_slice()).unwrap_or_default();
        self.related = relations::bring(target, id, decided).await?;
        Ok(())
    }

    /// The outcome of a contact of which nothing but relations was written.
    pub(super) fn related(&self, target: &Target<'_>, id: IntercomId) -> Outcome {
        let before = target.intercom_before(&id).unwrap_or_else(Bases::nothing);
        let both = target.context.policy.direction.to_keap.then(|| Both {
            intercom_base: self.with_related(target, before),
            intercom_updated_at: target.link.and_then(|link| link.intercom_updated_at),
            keap: None,
            wrote_intercom: true,
            only_restored: false,
            refused_in_keap: Vec::new(),
        });
        Outcome::Synced {
            action: Action::Updated,
            keap_base: target.keap_base(&id, target.contact),
            incomplete: false,
            intercom: id,
            request_id: None,
            replaced: false,
            left_out: Vec::new(),
            conflicts: Vec::new(),
            fields: self.tally_of_relations(),
            both: both.map(Box::new),
        }
    }

    /// Whether the next write may leave the e-mail address out: a person has decided that the
    /// contact gets an Intercom contact of its own, and another one has the address.
    pub(super) fn may_go_without_email(&self, target: &Target<'_>, action: Action) -> bool {
        let is_sent = !self.named.iter().any(|name| name.as_str() == FieldName::EMAIL);
        let makes_new = target.decided.is_some_and(InForce::makes_new);
        makes_new && is_sent && action != Action::Linked && target.contact.email().is_some()
    }

    /// Leaves the e-mail address out of the writes that follow.
    pub(super) fn go_without_email(&mut self) {
        self.named.push(FieldName::from(FieldName::EMAIL));
    }

    /// The fields that were not written.
    pub(super) fn fields(&self) -> Vec<FieldName> {
        self.named.iter().chain(&self.guessed).cloned().collect()
    }

    /// The contact without the fields whose place is gone; `None` if there are none.
    pub(super) fn written_of(&self, contact: &Contact) -> Option<Contact> {
        let is_there = |field: &&FieldName| contact.fields.get(field.as_str()).is_some();
        let mut gone = self.gone.iter().filter(is_there).peekable();
        gone.peek()?;
        Some(contact.without(gone))
    }

    /// Asks the owners of the mapping about an Intercom contact, unless that is known. `is_first`:
    /// it gets its link now.
    pub(super) async fn merge(
        &mut self,
        target: &Target<'_>,
        id: &IntercomId,
        is_first: bool,
    ) -> Result<(), End> {
        if self.merge.as_ref().is_none_or(|(known, _)| known != id) {
            let merge = Box::pin(both::merged(target, id, is_first)).await?;
            self.merge = Some((id.clone(), merge));
        }
        Ok(())
    }

    /// Writes the contact to Keap and to this Intercom contact, as far as each side has to change.
    pub(super) async fn bring(
        &mut self,
        target: &Target<'_>,
        id: &IntercomId,
    ) -> Result<Written, End> {
        if self.in_keap.is_none() {
            self.refuse_ping_pong(target)?;
            let merge = self.decided();
            let changes = merge.map(|merge| merge.to_keap.as_slice()).unwrap_or_default();
            let out = merge.and_then(|merge| merge.opted_out.as_ref());
            self.in_keap = Some(Box::pin(keap::bring(target, changes, out)).await?);
        }
        self.intend_exactly(target).await?;
        if self.decided().is_some_and(|merge| merge.is_settled) {
            return Ok(Written::Done(Done { id: id.clone(), request_id: None, shows: None }));
        }
        self.write(target, Some(id)).await
    }

    /// Stores what the write to Intercom really sends, once Intercom was read: what an intent names
    /// is taken for our own write.
    async fn intend_exactly(&self, target: &Target<'_>) -> Result<(), End> {
        let merge = self.decided().filter(|merge| merge.shown.is_some());
        let is_of_both = target.context.policy.direction.to_keap;
        let (Some(merge), Some(intent)) = (merge.filter(|_| is_of_both), target.intent) else {
            return Ok(());
        };
        let is_tagged = merge.tags.iter().any(|(_, is_sent)| *is_sent);
        if merge.is_settled && !is_tagged {
            return Ok(());
        }
        let contact = self.less(target.contact);
        let contact = contact.as_ref().unwrap_or(target.contact);
        let is_sent = |name: &FieldName| {
            !merge.is_settled && contact.fields.get(name.as_str()) != Some(&Reading::Invalid)
        };
        let relates = |name: &FieldName| {
            merge.tags.iter().find(|(tag, _)| tag == name).is_none_or(|(_, is_sent)| *is_sent)
        };
        let sent = Contact {
            fields: contact.fields.only(is_sent),
            relations: contact.relations.only(relates),
            ..contact.clone()
        };
        let sent = target.context.key.bases_now(&target.context.fields, &sent);
        let fence = target.context.fence()?;
        Ok(target.context.store.intend_exactly(&fence, intent, &sent).await?)
    }

    /// An opt-out is never held back.
    fn refuse_ping_pong(&self, target: &Target<'_>) -> Result<(), End> {
        let (to_keap, to_intercom) = match self.decided() {
            Some(merge) if merge.brings_opt_out => return Ok(()),
            Some(merge) => {
                let is_tagged = merge.tags.iter().any(|(_, is_sent)| *is_sent);
                (!merge.to_keap.is_empty(), !merge.is_settled || is_tagged)
            }
            None => (false, true),
        };
        target.refuse_ping_pong(to_keap, to_intercom)
    }

    /// What the merge has decided.
    pub(super) fn decided(&self) -> Option<&Merge> {
        self.merge.as_ref().map(|(_, merge)| merge)
    }

    /// The contact without the fields that are left out; `None` if there are none.
    fn less(&self, contact: &Contact) -> Option<Contact> {
        let kept = self.merge.iter().flat_map(|(_, merge)| &merge.kept);
        let refused = self.named.iter().chain(&self.guessed);
        let mut names = refused.chain(kept).chain(&self.gone).peekable();
        names.peek()?;
        Some(contact.without(names))
    }

    /// Chooses what the next write leaves out. Holds the contact if nothing is left to choose.
    ///
    /// No document says how Intercom refuses an e-mail. So a refusal that names no field is taken
    /// for one of the e-mail: if it was, the write without it shows that.
    fn leave_out(&mut self, sent: &Contact, clears: &Clears, refused: Refused) -> Result<(), End> {
        let is_sent = |name: &FieldName| match sent.fields.get(name.as_str()) {
            Some(Reading::Is(_)) => true,
            Some(Reading::Empty) => clears.includes(name.as_str()),
            Some(Reading::Invalid) | None => false,
        };
        let Refused { why, field, .. } = refused;
        match field.filter(is_sent) {
            Some(name) => {
                self.named.push(name);
                // The guess was wrong, or it is made again.
                self.guessed = None;
            }
            None => {
                let email = FieldName::from(FieldName::EMAIL);
                if !is_sent(&email) {
                    let why = self.why.take().unwrap_or(why);
                    return Err(End::hold(HoldReason::Refused(why), []));
                }
                self.guessed = Some(email);
            }
        }
        self.why.get_or_insert(why);
        Ok(())
    }
}
