//! Intents of a page: what is about to be written is stored before the first call, so that a write
//! whose outcome is never heard leaves a trace.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use super::context::Context;
use super::decide::Decision;
use super::plan::Planned;
use super::result::Halt;
use super::under_way::UnderWay;
use crate::contact::{Contact, FieldName, IntercomId, KeapId};
use crate::store::{Fence, Intent, IntentKind, IntentSide};

/// The intents of one page. They are under way until this is dropped.
pub(super) struct Intents {
    under_way: UnderWay,
    /// Those that no outcome has come for yet.
    open: HashMap<KeapId, Uuid>,
    all: Vec<Uuid>,
}

impl Intents {
    /// Stores the intents of all contacts that may be written, in one statement. A contact that is
    /// skipped has none.
    pub(super) async fn store(
        context: &Context,
        fence: &Fence,
        planned: &mut [Planned],
    ) -> Result<Self, Halt> {
        let mut intents = Vec::new();
        for one in planned {
            if let Some((kind, intercom)) = write_of(one) {
                let id = Uuid::new_v4();
                one.intent = Some(id);
                let has_fields =
                    one.contact.fields.iter().chain(one.contact.relations.iter()).next().is_some();
                let contact = surely_sent(context, one);
                intents.push(Intent {
                    id,
                    side: IntentSide::Intercom,
                    keap: one.contact.id,
                    intercom,
                    kind,
                    sent: has_fields.then(|| context.key.bases_now(&context.fields, &contact)),
                });
            }
        }
        let all: Vec<Uuid> = intents.iter().map(|intent| intent.id).collect();
        context.board.intents.add(&all);
        let open = intents.iter().map(|intent| (intent.keap, intent.id)).collect();
        let stored = Self { under_way: context.board.intents.clone(), open, all };
        context.store.intend(fence, &intents).await?;
        Ok(stored)
    }

    /// An outcome has come for the contact. If its write had no answer, the other lane may look at
    /// it before this page ends, and must find the intent.
    pub(super) fn close(&mut self, id: KeapId) {
        if let Some(intent) = self.open.remove(&id) {
            self.under_way.remove(&[intent]);
        }
    }

    /// Takes the intents of contacts whose write never began.
    pub(super) fn take_unsent(&mut self, context: &Context) -> Vec<Uuid> {
        let unknown = context.intercom.remote().unknown_writes();
        let open = std::mem::take(&mut self.open);
        open.into_iter().filter(|(id, _)| !unknown.contains(id.get())).map(|(_, id)| id).collect()
    }
}

impl Drop for Intents {
    fn drop(&mut self) {
        self.under_way.remove(&self.all);
    }
}

/// The contact with the fields that the write sends in every case. Where both directions are on, a
/// field whose owner is not Keap is added once it is known that it is sent: what an intent names is
/// taken for our own write, and not for a person's edit.
fn surely_sent<'a>(context: &Context, planned: &'a Planned) -> Cow<'a, Contact> {
    let contact = &planned.contact;
    let is_certain = !context.policy.direction.to_keap
        || matches!(planned.decision, Decision::Create | Decision::Archive(_));
    if is_certain {
        return Cow::Borrowed(contact);
    }
    let is_sent = |name: &FieldName| {
        context.fields.rule(name.as_str()).is_some_and(|rule| !rule.looks_first())
    };
    let (fields, relations) = (contact.fields.only(is_sent), contact.relations.only(is_sent));
    Cow::Owned(Contact { fields, relations, ..contact.clone() })
}

/// What the decision may write at Intercom, and to which contact.
fn write_of(planned: &Planned) -> Option<(IntentKind, Option<IntercomId>)> {
    match &planned.decision {
        Decision::Create | Decision::Match => Some((IntentKind::Create, None)),
        Decision::Link(id) | Decision::Choose(id) | Decision::Update(id) | Decision::Relate(id) => {
            Some((IntentKind::Update, Some(id.clone())))
        }
        Decision::Archive(id) => Some((IntentKind::Archive, Some(id.clone()))),
        Decision::Look(_) => Some((
            IntentKind::Update,
            planned.link.as_ref().and_then(|link| link.intercom().cloned()),
        )),
        // A second look at the one in the way may free it, and then it is written.
        Decision::Hold(hold) if hold.candidates.len() == 1 => Some((IntentKind::Create, None)),
        Decision::Hold(_)
        | Decision::Skip(_)
        | Decision::Unlink(_)
        | Decision::Transfer(..)
        | Decision::Adopt(_) => None,
    }
}
