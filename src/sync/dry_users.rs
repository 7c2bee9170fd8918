//! The dry run of both directions: what Intercom shows of contacts, and what would be written to
//! each side because of it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use chrono::Utc;

use super::context::Context;
use super::decide::Decision;
use super::newcomers;
use super::plan::Planned;
use super::preview::{Preview, Scope, ToKeap};
use super::result::Halt;
use super::users::{Standing, compare_all, next_poll_begins};
use super::write::{Foreseen, Target, foresee};
use crate::contact::{Candidate, FieldName, Fields, IntercomId, KeapId, Reading};
use crate::feed::Lane;
use crate::outcome::{Action, SkipReason};

/// The linked contacts that differ in Intercom from what was settled, as its list shows them.
#[derive(Default)]
pub(super) struct Users {
    changed: HashMap<KeapId, Candidate>,
    /// Those that would be brought into Keap, as far as all of its contacts are looked at.
    newcomers: Option<newcomers::Expected>,
    /// The linked contacts that the list has shown.
    seen: Vec<KeapId>,
    /// Somebody named the contacts: each is read on both sides.
    are_named: bool,
}

impl Users {
    /// Reads Intercom's list as far as the scope needs it. With one direction, that is not at all.
    pub(super) async fn of(context: &Context, scope: &Scope) -> Result<Self, Halt> {
        let mut users = Self::default();
        if !context.policy.direction.to_keap {
            return Ok(users);
        }
        let since = match scope {
            Scope::Ids(_) => return Ok(Self::named()),
            Scope::Since(_) => return Ok(users),
            Scope::All | Scope::Audit => None,
            Scope::Changed => match next_poll_begins(context).await? {
                Some(since) => Some(since),
                // The first poll compares nobody.
                None => return Ok(users),
            },
        };
        if matches!(scope, Scope::All) && context.policy.creating.is_on() {
            users.newcomers = Some(newcomers::Expected::begin(context).await?);
        }
        let note = |user: &Candidate, standing| match (standing, &mut users.newcomers) {
            (Standing::Differs(keap), _) => {
                users.seen.push(keap);
                users.changed.insert(keap, user.clone());
            }
            (Standing::Same(keap), _) => users.seen.push(keap),
            (Standing::Unlinked, Some(newcomers)) => newcomers.see(context, user),
            (Standing::Unlinked, None) => {}
        };
        context.unless_cancelled(compare_all(context, since, note)).await?;
        Ok(users)
    }

    /// The users of contacts that somebody named.
    pub(super) fn named() -> Self {
        Self { are_named: true, ..Self::default() }
    }

    /// The linked contacts that the list has shown, sorted.
    pub(super) fn seen(&self) -> Vec<KeapId> {
        let mut seen = self.seen.clone();
        seen.sort_unstable();
        seen
    }

    /// The users that would get a contact in Keap, which has shown all of its contacts. `None`:
    /// nobody is created.
    pub(super) async fn created(
        &mut self,
        context: &Context,
    ) -> Result<Option<Vec<IntercomId>>, Halt> {
        match self.newcomers.take() {
            Some(newcomers) => newcomers.left(context).await.map(Some),
            None => Ok(None),
        }
    }

    /// The contacts that no page of Keap has shown yet.
    pub(super) fn rest(&self) -> Vec<KeapId> {
        let mut rest: Vec<KeapId> = self.changed.keys().copied().collect();
        rest.sort_unstable();
        rest
    }

    /// Brings the decision about both sides into the preview of a linked contact. False if there is
    /// none: one side decides.
    pub(super) async fn bring(
        &mut self,
        context: &Context,
        planned: &Planned,
        preview: &mut Preview,
    ) -> Result<bool, Halt> {
        if let (Some(newcomers), Some(email)) = (&mut self.newcomers, &planned.address) {
            newcomers.has_contact(context.key.email(email));
        }
        let known = self.changed.remove(&planned.contact.id);
        if !context.policy.direction.to_keap {
            return Ok(false);
        }
        let Some((id, is_first)) = self.partner(planned, known.is_some()) else {
            return Ok(false);
        };
        let target = target(context, planned);
        // A list may be an old picture, so a contact by itself is read by id.
        let known = known.filter(|known| known.id == id);
        let Some(foreseen) = foresee(&target, &id, known.as_ref(), is_first).await? else {
            return Ok(false);
        };
        fill(preview, planned, &id, is_first, &foreseen);
        Ok(true)
    }

    /// The Intercom contact that is looked at together with the contact, and whether it gets its
    /// link now. `None`: the contact is not looked at on both sides.
    fn partner(&self, planned: &Planned, has_changed: bool) -> Option<(IntercomId, bool)> {
        match &planned.decision {
            Decision::Link(id) | Decision::Choose(id) => Some((id.clone(), true)),
            Decision::Update(id) => Some((id.clone(), false)),
            Decision::Skip(SkipReason::Unchanged) if has_changed || self.are_named => {
                Some((planned.link.as_ref()?.intercom()?.clone(), false))
            }
            _ => None,
        }
    }
}

fn target<'a>(context: &'a Context, planned: &'a Planned) -> Target<'a> {
    Target {
        context,
        lane: Lane::Bulk,
        contact: &planned.contact,
        address: planned.address.as_ref(),
        link: planned.link.as_ref(),
        decided: planned.decided.as_ref(),
        found: &planned.found,
        found_in_keap: &planned.found_in_keap,
        looks_at_intercom: true,
        to_keap: Mutex::default(),
        intent: None,
        borrows: AtomicBool::new(false),
        writes: planned.writes(),
        now: Utc::now(),
    }
}

fn fill(
    preview: &mut Preview,
    planned: &Planned,
    id: &IntercomId,
    is_first: bool,
    foreseen: &Foreseen,
) {
    let shown = |fields: &Fields, name: &FieldName| match fields.get(name.as_str()) {
        Some(Reading::Is(value)) => Some(value.as_str().to_owned()),
        _ => None,
    };
    let (in_keap, in_intercom) = (&planned.contact.fields, &foreseen.in_intercom);
    let value = |name: &FieldName| (name.to_string(), shown(in_keap, name));
    preview.intercom = Some(id.clone());
    preview.fields = foreseen.to_intercom.iter().map(value).collect();
    preview.before = foreseen
        .to_intercom
        .iter()
        .map(|name| (name.to_string(), shown(in_intercom, name)))
        .collect();
    preview.differs.clone_from(&foreseen.to_intercom);
    preview.to_keap = foreseen
        .to_keap
        .iter()
        .map(|(field, to)| ToKeap {
            field: field.clone(),
            value: match to {
                Reading::Is(value) => Some(value.as_str().to_owned()),
                Reading::Empty | Reading::Invalid => None,
            },
            before: shown(in_keap, field),
        })
        .collect();
    preview.conflicts.clone_from(&foreseen.conflicts);
    preview.held.clone_from(&foreseen.held);
    if !is_first {
        let is_quiet = foreseen.is_settled && foreseen.to_keap.is_empty();
        preview.action = if is_quiet { Action::Unchanged } else { Action::Updated };
    }
}
