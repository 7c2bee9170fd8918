//! Create, update, archive, delete and merge: checks each write and carries it out
//! (`docs/api/intercom.md`, "Writing").

use uuid::Uuid;

use super::contact::{Facts, Role, Slot, Standing, slot_of};
use super::draft::Draft;
use super::knobs::{EmailConflict, IntercomKnobs};
use super::store::{Record, Store};
use super::{Intercom, State, errors, render};
use crate::sim::message::{Answer, Request};

/// The time of a write.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub now_ms: i64,
    /// When search shows it.
    pub due_ms: i64,
}

impl Moment {
    pub(super) fn seconds(self) -> i64 {
        self.now_ms.div_euclid(1000)
    }
}

impl Intercom {
    pub(super) fn create(&self, request: &Request) -> Answer {
        let moment = self.moment();
        let State { store, knobs, workspace, .. } = &mut *self.state();
        let draft = match Draft::parse(request.json(), workspace, knobs) {
            Ok(draft) => draft,
            Err(answer) => return answer,
        };
        let role = draft.role.unwrap_or_default();
        let external_id = match role {
            // Intercom makes the external id of a lead, whatever the body says. A lead conflicts
            // with nobody.
            Role::Lead => Some(Uuid::new_v4().to_string().into_boxed_str()),
            Role::User => {
                if let Err(answer) = check_new_user(store, knobs, &draft, moment.now_ms) {
                    return answer;
                }
                draft.external_id().map(Box::from)
            }
        };
        let seconds = moment.seconds();
        let mut facts = Facts {
            role,
            external_id,
            created_at: seconds,
            updated_at: seconds,
            ..Facts::default()
        };
        let null_email = matches!(draft.email, Some(None));
        draft.fill(&mut facts);
        if null_email {
            // A new contact has no e-mail to clear, so null stays null.
            facts.email = None;
        }
        let slot = store.add(facts, Some(moment.due_ms));
        read_back(store, slot).applied()
    }

    pub(super) fn update(&self, id: &str, request: &Request) -> Answer {
        let moment = self.moment();
        let State { store, knobs, workspace, .. } = &mut *self.state();
        let (slot, mut facts) = match find(store, id, moment.now_ms) {
            Some((slot, Record { facts, standing: Standing::Live })) => (slot, facts.clone()),
            Some((_, Record { standing: Standing::Merged { into }, .. }))
                if knobs.put_merged_is_gone =>
            {
                return errors::merged(last_of_chain(store, *into, moment.now_ms));
            }
            _ => return errors::user_not_found(),
        };
        let draft = match Draft::parse(request.json(), workspace, knobs) {
            Ok(draft) => draft,
            Err(answer) => return answer,
        };
        if facts.role == Role::User && draft.role == Some(Role::Lead) {
            return errors::error(
                400,
                "client_error",
                "Contact with user role can't be converted to a lead",
            );
        }
        let promoted = facts.role == Role::Lead && draft.role == Some(Role::User);
        if promoted {
            facts.role = Role::User;
            // Without an external id in the body, the lead's own UUID stays.
            facts.external_id = draft.external_id().map(Box::from).or(facts.external_id);
        } else if facts.role == Role::User {
            // Null is ignored, because an external id cannot be cleared.
            facts.external_id = draft.external_id().map(Box::from).or(facts.external_id);
        }
        if facts.role == Role::User
            && let Err(answer) =
                check_changed_user(store, knobs, slot, &facts, &draft, moment.now_ms)
        {
            return answer;
        }
        draft.fill(&mut facts);
        if knobs.unchanged_put_bumps || store.live(slot) != Some(&facts) {
            // Else an unchanged contact keeps its `updated_at`.
            facts.updated_at = moment.seconds();
            store.change(slot, facts, Standing::Live, moment.due_ms);
        }
        read_back(store, slot).applied()
    }

    pub(super) fn archive_call(&self, id: &str) -> Answer {
        let moment = self.moment();
        let store = &mut self.state().store;
        match find(store, id, moment.now_ms) {
            Some((slot, Record { standing: Standing::Live, .. })) => {
                store.set_standing(slot, Standing::Archived, moment.due_ms);
                short_answer(store, slot, "archived", true, moment.now_ms).applied()
            }
            _ => errors::user_not_found(),
        }
    }

    pub(super) fn unarchive_call(&self, id: &str) -> Answer {
        let moment = self.moment();
        let store = &mut self.state().store;
        let Some((slot, record)) = find(store, id, moment.now_ms) else {
            return errors::user_not_found();
        };
        let refused = |message| errors::error(400, "bad_request", message);
        match record.standing {
            Standing::Deleted { .. } => {
                refused("User has been marked for permanent deletion and is not restorable.")
            }
            Standing::Merged { .. } => refused("User has been merged and is not restorable."),
            Standing::Blocked => {
                errors::error(400, "not_restorable", "User has been blocked and is not restorable.")
            }
            Standing::Live => short_answer(store, slot, "archived", false, moment.now_ms).applied(),
            Standing::Archived => {
                store.set_standing(slot, Standing::Live, moment.due_ms);
                short_answer(store, slot, "archived", false, moment.now_ms).applied()
            }
        }
    }

    pub(super) fn delete_call(&self, id: &str) -> Answer {
        let moment = self.moment();
        let State { store, knobs, .. } = &mut *self.state();
        let Some((slot, record)) = find(store, id, moment.now_ms) else {
            return errors::user_not_found();
        };
        let is_taken = match record.standing {
            Standing::Live => true,
            Standing::Archived => knobs.delete_archived,
            Standing::Deleted { .. } => {
                return if knobs.delete_again {
                    short_answer(store, slot, "deleted", true, moment.now_ms)
                } else {
                    errors::user_not_found()
                };
            }
            _ => false,
        };
        if !is_taken {
            return errors::user_not_found();
        }
        store.set_standing(slot, Standing::Deleted { at_ms: moment.now_ms }, moment.due_ms);
        short_answer(store, slot, "deleted", true, moment.now_ms).applied()
    }

    /// `POST /contacts/merge`: merges a lead into a user.
    pub(super) fn merge_call(&self, request: &Request) -> Answer {
        let moment = self.moment();
        let store = &mut self.state().store;
        let body = request.json();
        let side = |name| {
            let slot = slot_of(body?.get(name)?.as_str()?)?;
            Some((slot, store.live(slot)?))
        };
        let (Some((from, lead)), Some((into, user))) = (side("from"), side("into")) else {
            return errors::user_not_found();
        };
        let shares =
            |one: &Option<Box<str>>, other: &Option<Box<str>>| one.is_some() && one == other;
        let alike = shares(&lead.email, &user.email) || shares(&lead.phone, &user.phone);
        let skip =
            body.and_then(|body| body.get("skip_duplicate_validation")?.as_bool()).unwrap_or(false);
        if lead.role != Role::Lead || user.role != Role::User || !(alike || skip) {
            return errors::error(400, "invalid_merge", "These contacts cannot be merged");
        }
        merge(store, from, into, moment);
        read_back(store, into).applied()
    }
}

/// Merges two contacts. The source no longer exists under its own id. The target gets the phone and
/// name that it lacked.
pub(super) fn merge(store: &mut Store, from: Slot, into: Slot, moment: Moment) {
    let (Some(source), Some(target)) = (store.live(from).cloned(), store.live(into).cloned())
    else {
        return;
    };
    store.set_standing(from, Standing::Merged { into }, moment.due_ms);
    let facts = Facts {
        phone: target.phone.clone().or(source.phone),
        name: target.name.clone().or(source.name),
        updated_at: moment.seconds(),
        ..target
    };
    store.change(into, facts, Standing::Live, moment.due_ms);
}

pub(super) fn find<'a>(store: &'a Store, id: &str, now_ms: i64) -> Option<(Slot, &'a Record)> {
    let slot = slot_of(id)?;
    Some((slot, store.get(slot, now_ms)?))
}

/// A live contact. The error is the answer for a contact that is not live.
pub(super) fn live_contact(store: &Store, id: &str, now_ms: i64) -> Result<(Slot, Facts), Answer> {
    match find(store, id, now_ms) {
        Some((slot, Record { facts, standing: Standing::Live })) => Ok((slot, facts.clone())),
        Some((_, Record { standing: Standing::Merged { into }, .. })) => {
            Err(errors::merged(last_of_chain(store, *into, now_ms)))
        }
        _ => Err(errors::user_not_found()),
    }
}

/// The contact that a merged contact became, after at most three merges.
pub(super) fn last_of_chain(store: &Store, into: Slot, now_ms: i64) -> Slot {
    let mut last = into;
    for _ in 0..2 {
        match store.get(last, now_ms).map(|record| record.standing) {
            Some(Standing::Merged { into }) => last = into,
            _ => break,
        }
    }
    last
}

fn read_back(store: &Store, slot: Slot) -> Answer {
    match store.live(slot) {
        Some(facts) => Answer::json(200, render::contact(slot, facts)),
        None => errors::user_not_found(),
    }
}

fn short_answer(store: &Store, slot: Slot, what: &str, is: bool, now_ms: i64) -> Answer {
    match store.get(slot, now_ms) {
        Some(record) => Answer::json(200, render::short(slot, &record.facts, what, is)),
        None => errors::user_not_found(),
    }
}

/// Checks whether a new user may have these identifiers. The error is the answer that refuses it.
fn check_new_user(
    store: &Store,
    knobs: &IntercomKnobs,
    draft: &Draft,
    now_ms: i64,
) -> Result<(), Answer> {
    let (external_id, email) = (draft.external_id(), draft.email());
    if external_id.is_none() && email.is_none() {
        return Err(errors::error(
            400,
            "parameter_missing",
            "A user needs an email or an external_id",
        ));
    }
    if let Some(external_id) = external_id {
        let mut holders = users(store.holding_external_id(external_id, now_ms));
        if let Some((holder, standing)) = foremost(&mut holders) {
            return Err(errors::conflict(holder, standing, knobs));
        }
    }
    let Some(email) = email else { return Ok(()) };
    let new_identity = external_id.is_some();
    if new_identity && knobs.email_conflict_with_new_external_id == EmailConflict::Allow {
        return Ok(());
    }
    let holders: Vec<_> = users(holding_email(store, knobs, email, now_ms)).collect();
    let live = holders.iter().filter(|(_, standing)| *standing == Standing::Live).count();
    if live > 1 && !new_identity {
        return Err(errors::several_match());
    }
    match foremost(&mut holders.into_iter()) {
        Some((holder, standing)) => Err(errors::conflict(holder, standing, knobs)),
        None => Ok(()),
    }
}

/// Checks whether an updated user may have these identifiers. The error is the answer that refuses
/// it.
fn check_changed_user(
    store: &Store,
    knobs: &IntercomKnobs,
    slot: Slot,
    facts: &Facts,
    draft: &Draft,
    now_ms: i64,
) -> Result<(), Answer> {
    let before = store.live(slot);
    let others = |(holder, standing): &(Slot, Standing)| {
        *holder != slot && (*standing == Standing::Live || knobs.put_archived_external_id_conflict)
    };
    let changed_id = before.is_some_and(|before| before.external_id != facts.external_id);
    if let Some(external_id) = facts.external_id.as_deref().filter(|_| changed_id) {
        let mut holders = users(store.holding_external_id(external_id, now_ms)).filter(others);
        if let Some((holder, standing)) = foremost(&mut holders) {
            return Err(errors::conflict(holder, standing, knobs));
        }
    }
    if let Some(email) = draft.email().filter(|_| knobs.put_email_conflict) {
        let changed = before.is_none_or(|before| before.email.as_deref() != Some(email));
        let mut holders =
            users(holding_email(store, knobs, email, now_ms)).filter(|(holder, _)| *holder != slot);
        if let Some((holder, standing)) = foremost(&mut holders).filter(|_| changed) {
            return Err(errors::conflict(holder, standing, knobs));
        }
    }
    Ok(())
}

fn holding_email<'a>(
    store: &'a Store,
    knobs: &'a IntercomKnobs,
    email: &'a str,
    now_ms: i64,
) -> impl Iterator<Item = (Slot, &'a Record)> {
    store.holding_email(email, now_ms).filter(move |(_, record)| {
        record.facts.email.as_deref().is_some_and(|held| knobs.same_email(held, email))
    })
}

fn users<'a>(
    records: impl Iterator<Item = (Slot, &'a Record)>,
) -> impl Iterator<Item = (Slot, Standing)> {
    records
        .filter(|(_, record)| record.facts.role == Role::User)
        .map(|(slot, record)| (slot, record.standing))
}

/// The holder that a 409 names: the first live one, else the first.
fn foremost(holders: &mut dyn Iterator<Item = (Slot, Standing)>) -> Option<(Slot, Standing)> {
    let mut first = None;
    for holder in holders {
        if holder.1 == Standing::Live {
            return Some(holder);
        }
        first = first.or(Some(holder));
    }
    first
}
