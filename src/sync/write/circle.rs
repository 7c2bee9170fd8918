//! Circles: linked contacts that wait for each other's e-mail address, because Intercom refuses an
//! address in use. One of them gives up its own, and then each gets the one that Keap shows.

use std::collections::HashMap;

use super::target::{End, Target};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::outcome::HoldReason;
use crate::sync::decide::Hold;
use crate::sync::feeds::by_id;
use crate::sync::result::Outcome;

/// Gives up the e-mail address of `own`, the contact's Intercom contact, if the contact waits for
/// `blocker` in a circle. `named` is the Intercom contact in the way, if Intercom has named it.
///
/// The address is not lost: the contact that waits for it is released as soon as this is recorded.
/// Nothing but the e-mail is written, so the person's consent stays as it is.
pub(super) async fn give_way(
    target: &Target<'_>,
    own: &IntercomId,
    blocker: KeapId,
    named: Option<&IntercomId>,
) -> Result<Option<Outcome>, End> {
    let me = target.contact.id;
    let Some(circle) = target.context.store.waiting_for(blocker, me).await? else {
        return Ok(None);
    };
    if !is_true(target, &circle).await? {
        return Ok(None);
    }
    target.context.intercom.clear_email(target.lane, own, me).await?;
    tracing::info!(
        keap.contact_id = me.get(),
        intercom.contact_id = own.as_str(),
        contacts = circle.len() + 1,
        "Contacts exchange their e-mail addresses: this one has given its own up, and gets the new one next."
    );
    Ok(Some(Outcome::HeldWith {
        intercom: own.clone(),
        email: None,
        hold: Hold::new(HoldReason::EmailLinkedTo(blocker), named.cloned()),
    }))
}

/// Whether each contact of the circle wants, in Keap now, the address that the next one has in
/// Intercom, and the last one that of this contact. Holds alone do not prove it: they may be old.
async fn is_true(target: &Target<'_>, circle: &[KeapId]) -> Result<bool, End> {
    let (rows, missing) = by_id::read(target.context, target.lane, circle).await?;
    if !missing.is_empty() {
        return Ok(false);
    }
    let me = target.contact.id;
    let key = &target.context.key;
    let wanted: HashMap<KeapId, Digest> = rows
        .contacts
        .iter()
        .chain([target.contact])
        .filter_map(|contact| Some((contact.id, key.email(contact.email()?))))
        .collect();
    let all: Vec<KeapId> = [me].iter().chain(circle).copied().collect();
    let had = target.context.store.email_digests(&all).await?;
    let next = all.iter().skip(1).chain([&me]);
    Ok(all.iter().zip(next).all(|(one, next)| {
        let (wanted, had) = (wanted.get(one), had.get(next));
        wanted.is_some() && wanted == had
    }))
}
