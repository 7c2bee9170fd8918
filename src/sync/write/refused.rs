//! Refusals: a value that Intercom does not take must not keep the rest of the contact out.

use super::look_first::{self, Kept};
use super::target::{End, Target};
use crate::contact::{Clears, Contact, FieldName, IntercomId, Reading};
use crate::intercom::{Refused, Written};
use crate::outcome::HoldReason;
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
    gone: Vec<FieldName>,
    /// Fields that Intercom keeps by the owners of the mapping, once that is known of a contact.
    kept: Option<(IntercomId, Kept)>,
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
        if let Some(id) = id
            && self.kept.as_ref().is_none_or(|(known, _)| known != id)
        {
            self.kept = Some((id.clone(), Box::pin(look_first::kept(target, id)).await?));
        }
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

    /// The fields that were edited on both sides, and last in Intercom.
    pub(super) fn conflicts(self) -> Vec<FieldName> {
        self.kept.map(|(_, kept)| kept.conflicts).unwrap_or_default()
    }

    /// The contact without the fields that are left out; `None` if there are none.
    fn less(&self, contact: &Contact) -> Option<Contact> {
        let kept = self.kept.iter().flat_map(|(_, kept)| &kept.fields);
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
