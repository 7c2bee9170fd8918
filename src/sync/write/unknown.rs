//! Unknown outcomes: reads what Intercom shows of a contact, because an earlier write of it was
//! never answered.

use super::target::{End, Target};
use crate::contact::{Bases, Candidate, Contact, FieldName, IntercomId, KeapId, Link, Reading};
use crate::intercom::Found;
use crate::outcome::SkipReason;
use crate::store::FoundIntent;
use crate::sync::context::Context;
use crate::sync::decide::{Decision, Hold};
use crate::sync::result::Outcome;

/// Archives contacts again that an earlier look made live, and that have not become this contact's.
pub(super) async fn put_back(target: &Target<'_>) -> Result<(), End> {
    let me = target.contact.id;
    for id in target.found.iter().filter_map(|intent| intent.borrowed.as_ref()) {
        let owner = target.context.store.linked_owners(std::slice::from_ref(id)).await?;
        if owner.contains_key(id) {
            continue;
        }
        if let Found::Contact(found) = target.context.intercom.read(target.lane, id).await?
            && !is_ours(target, &found)
        {
            target.context.intercom.archive(target.lane, id, me).await?;
            tracing::info!(
                keap.contact_id = me.get(),
                intercom.contact_id = id.as_str(),
                "An Intercom contact that was made live to be looked at is archived again."
            );
        }
    }
    Ok(())
}

/// Decides by what Intercom shows. `reason` stands for a skip if nothing must be done.
pub(super) async fn look(target: &Target<'_>, reason: SkipReason) -> Result<Decision, End> {
    if let Some(id) = target.link.and_then(Link::intercom) {
        return Ok(match target.context.intercom.read(target.lane, id).await? {
            Found::Contact(found) if !must_write(target, id, &found) => {
                if target.contact.relations.is_empty() {
                    Decision::Skip(reason)
                } else {
                    // Intercom does not show the names of tags. Writing them again is harmless.
                    Decision::Relate(id.clone())
                }
            }
            _ => Decision::Update(id.clone()),
        });
    }
    Ok(match (find(target).await?, reason) {
        (None, reason) => Decision::Skip(reason),
        (Some(found), SkipReason::NotInKeap) => Decision::Adopt(found.id),
        (Some(found), _) => Decision::Link(found.id),
    })
}

/// The outcome of a contact that must wait for a person. What an earlier write of it has made gets
/// a link, so that it is no orphan if Keap deletes the contact meanwhile.
pub(super) async fn held(target: &Target<'_>, hold: Hold) -> Result<Outcome, End> {
    if target.found.is_empty() || target.link.and_then(Link::intercom).is_some() {
        return Ok(Outcome::Held(hold));
    }
    Ok(match find(target).await? {
        Some(found) => {
            let email = found.address().map(|email| target.context.key.email(email));
            Outcome::HeldWith { intercom: found.id, email, hold }
        }
        None => Outcome::Held(hold),
    })
}

/// The Intercom contact that an earlier write has made or linked. It is found by the id that was
/// written, else by external id: reads by both are immediate.
async fn find(target: &Target<'_>) -> Result<Option<Candidate>, End> {
    let (intercom, lane) = (&target.context.intercom, target.lane);
    for id in target.found.iter().filter_map(|intent| intent.intercom.as_ref()) {
        let found = match intercom.read(lane, id).await? {
            Found::Merged(survivor) => intercom.read(lane, &survivor).await?,
            found => found,
        };
        if let Found::Contact(found) = found
            && is_ours(target, &found)
        {
            return Ok(Some(found));
        }
    }
    Ok(match intercom.find_by_external_id(lane, target.contact.id).await? {
        Found::Contact(found) if is_ours(target, &found) => Some(found),
        _ => None,
    })
}

/// Whether an Intercom contact is the one that an earlier write has made. The Keap id alone is no
/// proof, because a stranger may carry the same number.
fn is_ours(target: &Target<'_>, found: &Candidate) -> bool {
    if !found.belongs_to(target.contact.id) {
        return false;
    }
    target.context.policy.matching.trust_external_id
        || found.agrees_with(target.contact)
        || shows_what_was_sent(target.context, target.contact.id, target.found, found)
}

/// Whether an Intercom contact shows a value that one of these writes has sent.
pub(crate) fn shows_what_was_sent(
    context: &Context,
    id: KeapId,
    sent: &[FoundIntent],
    found: &Candidate,
) -> bool {
    let shown = shown_by(context, id, found);
    let is_shown = |intent: &FoundIntent| {
        context.fields.names().map(FieldName::as_str).any(|name| {
            context.key.has_value(id, &intent.sent, name) && intent.sent.agrees_on(name, &shown)
        })
    };
    sent.iter().any(is_shown)
}

/// Whether Keap's values must be written once more, although Keap has not changed since they were
/// recorded. A field that differs is what an earlier write left, unless it changed after that write
/// was over: then a person has edited it, and it stays.
fn must_write(target: &Target<'_>, id: &IntercomId, found: &Candidate) -> bool {
    if !found.belongs_to(target.contact.id) {
        return true;
    }
    let over = target.found.iter().map(|intent| intent.deadline.timestamp()).max();
    let is_later = found.updated_at > over;
    let (clears, shown) = (target.clears(id), shown(target, found));
    let wanted = target.context.key.bases_now(&target.context.fields, target.contact);
    target.contact.fields.iter().any(|(name, reading)| {
        let name = name.as_str();
        let is_sent = match reading {
            Reading::Is(_) => true,
            Reading::Empty => clears.includes(name),
            Reading::Invalid => false,
        };
        let was_sent = || target.found.iter().any(|intent| intent.sent.agrees_on(name, &shown));
        is_sent && !wanted.agrees_on(name, &shown) && (!is_later || was_sent())
    })
}

fn shown(target: &Target<'_>, found: &Candidate) -> Bases {
    shown_by(target.context, target.contact.id, found)
}

fn shown_by(context: &Context, id: KeapId, found: &Candidate) -> Bases {
    let shown = Contact::showing(id, found.fields());
    context.key.bases_now(&context.fields, &shown)
}
