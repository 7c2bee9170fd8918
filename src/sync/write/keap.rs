//! Writes Intercom's values to Keap: one call for a contact, with an intent that is stored before
//! it.

use tokio::time::Instant;
use uuid::Uuid;

use super::keap_intent::KeapIntent;
use super::target::{End, Target};
use crate::contact::{Contact, Email, FieldName, Fields, Form, KeapId, Reading, Value};
use crate::feed::Lane;
use crate::keap::{Change, OptedOut, Row, Tagged, Updated};
use crate::outcome::HoldReason;
use crate::pause::Direction;
use crate::store::{Intent, IntentKind, IntentSide};
use crate::sync::result::Outcome;

/// Calls for one contact at most: a refused write is halved until the guilty field is alone.
const MOST_CALLS: usize = 24;

/// What came of the writes to Keap.
#[derive(Default)]
pub(super) struct InKeap {
    /// The contact with the values that Keap shows of the written fields. Of the others, it has
    /// what the decision stood on.
    pub shows: Option<Contact>,
    pub written: Vec<FieldName>,
    /// Fields that Keap refuses. It keeps its own values.
    pub refused: Vec<FieldName>,
}

/// Writes these values to Keap. `opted_out`: the field of the opt-out, and its value, if Intercom
/// shows one: a new address gets it, too.
pub(super) async fn bring(
    target: &Target<'_>,
    changes: &[(FieldName, Reading)],
    opted_out: Option<&(FieldName, Reading)>,
) -> Result<InKeap, End> {
    let mut brought = InKeap::default();
    if changes.is_empty() {
        return Ok(brought);
    }
    let is_consent = |name: &FieldName| opted_out.is_some_and(|(field, _)| field == name);
    // Nobody waits for what a walk has found; an opt-out never waits.
    let is_walked = target.lane == Lane::Bulk && !changes.iter().any(|(name, _)| is_consent(name));
    let (context, now) = (target.context, Instant::now());
    // Before the intent: a contact that waits for the end of a pause leaves none.
    let whose = [target.contact.id.get()];
    match context.board.pauses.of_write(Direction::IntercomToKeap, &whose) {
        None => {}
        Some(_) if is_walked => return Err(Outcome::Paced.into()),
        Some(why) => return Err(Outcome::Paused { why }.into()),
    }
    if is_walked && !(context.has_calls_for_paced() && context.board.pace.take(now)) {
        return Err(Outcome::Paced.into());
    }
    refuse_anothers_address(target, changes).await?;
    intend(target, changes).await?;
    let is_tag = |name: &FieldName| {
        target.context.fields.rule(name.as_str()).is_some_and(|rule| rule.is_relation)
    };
    let (tags, others): (Vec<_>, Vec<_>) =
        changes.iter().cloned().partition(|(name, _)| is_tag(name));
    let (consent, fields): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(name, _)| is_consent(name));
    let moves = fields.iter().any(|(name, _)| name.as_str() == FieldName::EMAIL);
    // Consent goes first, unless it is about the address that is written.
    if !moves && let [out] = consent.as_slice() {
        opt_out(target, target.address, out, &mut brought).await?;
    }
    let now = update(target, &fields, &mut brought).await?;
    if moves && let Some(out) = opted_out {
        opt_out(target, now.email(), out, &mut brought).await?;
    }
    for one in &tags {
        tag(target, one, &mut brought).await?;
    }
    Ok(brought)
}

/// Applies a tag in Keap, or removes it. Contacts that need the same share a call.
async fn tag(
    target: &Target<'_>,
    (name, reading): &(FieldName, Reading),
    brought: &mut InKeap,
) -> Result<(), End> {
    target.context.fence()?;
    let id = target.contact.id;
    let on = matches!(reading, Reading::Is(_));
    let why = match target.context.keap.tag(target.lane, id, (name, on)).await? {
        Tagged::Done => {
            brought.take_tag(target.contact, name, reading);
            return Ok(());
        }
        Tagged::Forbidden => return Err(forbidden(target)),
        Tagged::Missing => "Keap does not have the tag, or takes none for the contact".to_owned(),
        Tagged::Refused(why) => why,
    };
    tracing::warn!(
        keap.contact_id = id.get(),
        field = name.as_str(),
        why,
        "Keap refuses a tag of Intercom's contact and keeps its own."
    );
    brought.refused.push(name.clone());
    Ok(())
}

/// Tags a contact whose Intercom contact was archived or deleted, once, if the settings say so.
pub(super) async fn tag_as_gone(target: &Target<'_>) -> Result<bool, End> {
    let is_known = target.link.is_some_and(|link| link.gone_in_intercom);
    let rule = target.context.fields.rule(FieldName::GONE_IN_INTERCOM);
    let Some(rule) = rule.filter(|rule| rule.to_keap && !is_known) else {
        return Ok(false);
    };
    let gone = [(rule.name.clone(), Form::YesNo.read(Some("true")))];
    if target.contact.relations.get(rule.name.as_str()) == Some(&gone[0].1) {
        return Ok(false);
    }
    Ok(bring(target, &gone, None).await?.refused.is_empty())
}

/// Opts the address of the contact out.
async fn opt_out(
    target: &Target<'_>,
    address: Option<&Email>,
    out: &(FieldName, Reading),
    brought: &mut InKeap,
) -> Result<(), End> {
    let Some(email) = address else {
        brought.refused.push(out.0.clone());
        return Ok(());
    };
    target.context.fence()?;
    let id = target.contact.id;
    match target.context.keap.opt_out(target.lane, id, email).await? {
        OptedOut::Done => {
            let shows = Contact::showing(id, Fields::from_iter([out.clone()]));
            brought.take(target.contact, &shows, std::slice::from_ref(out));
            Ok(())
        }
        // An opt-out is never dropped: it is tried again, and then a person is told.
        OptedOut::NotShown => {
            count_refusal("opt_out");
            Err(Outcome::again(
                "Keap takes the opt-out of an address and shows that the address may be mailed",
            )
            .into())
        }
        OptedOut::Refused(why) => {
            count_refusal("opt_out");
            Err(Outcome::again(format!("Keap does not take an opt-out: {why}")).into())
        }
        OptedOut::Forbidden => Err(forbidden(target)),
    }
}

/// Writes the fields of the contact. Returns it as Keap shows it then.
async fn update(
    target: &Target<'_>,
    fields: &[(FieldName, Reading)],
    brought: &mut InKeap,
) -> Result<Contact, End> {
    let mut now = target.contact.clone();
    let mut parts = vec![fields];
    let mut looked_again = false;
    for _ in 0..MOST_CALLS {
        let Some(part) = parts.pop().filter(|part| !part.is_empty()) else {
            return Ok(now);
        };
        target.context.fence()?;
        let wanted: Vec<Change<'_>> =
            part.iter().map(|(field, reading)| Change { field, reading }).collect();
        match target.context.keap.update(target.lane, &now, &wanted).await? {
            Updated::Done(shows) => {
                brought.take(target.contact, &shows, part);
                now = *shows;
            }
            Updated::Refused(why) => match part.split_at(part.len() / 2) {
                ([], [(field, _)]) => {
                    count_refusal("value");
                    tracing::warn!(
                        keap.contact_id = target.contact.id.get(),
                        field = field.as_str(),
                        why,
                        "Keap refuses Intercom's value of a field and keeps its own."
                    );
                    brought.refused.push(field.clone());
                }
                (first, second) => parts.extend([second, first]),
            },
            Updated::Stale if !looked_again => {
                looked_again = true;
                now = shown_again(target, &now).await?;
                parts.push(part);
            }
            Updated::Stale => {
                return Err(Outcome::again("the contact changes in Keap all the time").into());
            }
            Updated::Forbidden => return Err(forbidden(target)),
            Updated::Missing => {
                let why = "Keap lists the contact and takes no write of it";
                return Err(Outcome::again(why).into());
            }
        }
    }
    Err(Outcome::again("Keap refuses too many fields of the contact").into())
}

/// The contact is not to blame. Reading goes on.
fn forbidden(target: &Target<'_>) -> End {
    count_refusal("forbidden");
    let why = "Keap does not allow this key to write contacts (403); check the rights of its user";
    let delay = Some(target.context.policy.sync.stop_recheck);
    Outcome::Again { why: why.into(), delay }.into()
}

/// `why`: what Keap does not take.
fn count_refusal(why: &'static str) {
    metrics::counter!("keap_intercom_sync_keap_refusals_total", "why" => why).increment(1);
}

impl InKeap {
    /// Keap has taken a tag. It answers without the contact.
    fn take_tag(&mut self, decided: &Contact, name: &FieldName, reading: &Reading) {
        let before = self.shows.take().unwrap_or_else(|| decided.clone());
        let written = Fields::from_iter([(name.clone(), reading.clone())]);
        let relations = before.relations.clone().with(&written);
        self.shows = Some(Contact { relations, ..before });
        self.written.push(name.clone());
    }

    /// Takes in what Keap shows of the fields of one write.
    fn take(&mut self, decided: &Contact, shows: &Contact, part: &[(FieldName, Reading)]) {
        let written = shows.fields.only(|name| part.iter().any(|(field, _)| field == name));
        let before = self.shows.take().unwrap_or_else(|| decided.clone());
        let updated_at = shows.updated_at.or(before.updated_at);
        let fields = before.fields.clone().with(&written);
        self.shows = Some(Contact { updated_at, fields, ..before });
        for (field, sent) in part {
            let is_lost = matches!(sent, Reading::Is(_))
                && shows.fields.get(field.as_str()) == Some(&Reading::Empty);
            if is_lost {
                tracing::warn!(
                    keap.contact_id = decided.id.get(),
                    field = field.as_str(),
                    "Keap takes Intercom's value of a field and does not show it afterwards."
                );
                self.refused.push(field.clone());
            } else {
                self.written.push(field.clone());
            }
        }
    }
}

/// The contact as Keap shows it now. If it has changed since the decision, it is looked at again.
async fn shown_again(target: &Target<'_>, decided: &Contact) -> Result<Contact, End> {
    let id = decided.id;
    match target.context.keap.by_id(target.lane, id).await? {
        Some(Row::Contact(now)) if now.id == id && now.fields == decided.fields => Ok(now),
        Some(Row::Contact(_)) => Err(Outcome::Requeue.into()),
        Some(Row::Unreadable { why, .. }) => Err(Outcome::again(why).into()),
        None => Err(Outcome::again("Keap lists the contact and does not show it").into()),
    }
}

/// Holds the contact if another one in Keap has the address that it would get.
async fn refuse_anothers_address(
    target: &Target<'_>,
    changes: &[(FieldName, Reading)],
) -> Result<(), End> {
    let address = changes.iter().find_map(|(_, reading)| match reading {
        Reading::Is(Value::Email(email)) => Some(email),
        _ => None,
    });
    let Some(email) = address else {
        return Ok(());
    };
    let is_other = |id: &KeapId| *id != target.contact.id;
    let digest = target.context.key.email(email);
    let ours = target.context.store.email_owners(&[digest]).await?;
    let known = ours.get(&digest).copied().filter(is_other);
    let other = match known {
        Some(other) => Some(other),
        None => {
            target.context.keap.with_email(target.lane, email).await?.into_iter().find(is_other)
        }
    };
    other.map_or(Ok(()), |other| Err(End::hold(HoldReason::EmailInKeap(other), [])))
}

/// Stores the intent, before the first call.
async fn intend(target: &Target<'_>, changes: &[(FieldName, Reading)]) -> Result<(), End> {
    let (context, id) = (target.context, Uuid::new_v4());
    let guard = KeapIntent::begin(id, &context.board.intents);
    let fields: Fields = changes.iter().map(|(name, to)| (name.clone(), to.clone())).collect();
    let sent = Contact::showing(target.contact.id, fields);
    let intent = Intent {
        id,
        side: IntentSide::Keap,
        keap: target.contact.id,
        intercom: None,
        kind: IntentKind::Update,
        sent: Some(context.key.bases_shown(&context.fields, &sent)),
    };
    context.store.intend(&context.fence()?, &[intent]).await?;
    *target.to_keap.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(guard);
    Ok(())
}
