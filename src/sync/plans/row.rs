//! What a plan stores of a contact: its ids, the action, and a digest of the decision.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::preview::Preview;
use crate::contact::{Digest, DigestKey, FieldName, IntercomId, KeapId};
use crate::feed::Counts;
use crate::outcome::{Action, PlanAction, PlanKind};
use crate::store::{NewPlan, PlanCount, PlanRow};

/// A plan that is being made.
pub(in crate::sync) struct Draft<'a> {
    key: &'a DigestKey,
    rows: Vec<PlanRow>,
    fields: BTreeMap<(&'static str, FieldName), i64>,
}

impl<'a> Draft<'a> {
    pub(in crate::sync) fn new(context: &'a Context) -> Self {
        Self { key: &context.key, rows: Vec::new(), fields: BTreeMap::new() }
    }

    /// Takes in what a look says of a contact. Of those with nothing to do, the counts are enough.
    pub(in crate::sync) fn take(&mut self, preview: &Preview) {
        if matches!(preview.action, Action::Unchanged | Action::Skipped) {
            return;
        }
        for field in &preview.differs {
            *self.fields.entry(("to_intercom", field.clone())).or_default() += 1;
        }
        for to in &preview.to_keap {
            *self.fields.entry(("to_keap", to.field.clone())).or_default() += 1;
        }
        self.rows.extend(row_of(self.key, preview));
    }

    pub(in crate::sync) fn add(&mut self, row: PlanRow) {
        self.rows.push(row);
    }

    /// Takes in how many contacts get each field in Intercom.
    pub(in crate::sync) fn count(&mut self, fields: BTreeMap<FieldName, i64>) {
        for (field, contacts) in fields {
            *self.fields.entry(("to_intercom", field)).or_default() += contacts;
        }
    }

    /// The plan. `why`: what the brake says that makes it.
    pub(in crate::sync) fn plan(
        self,
        kind: PlanKind,
        mark: Digest,
        counts: Counts,
        why: Option<String>,
    ) -> NewPlan {
        let count = |((what, field), contacts): ((&str, FieldName), i64)| PlanCount {
            what: what.to_owned(),
            word: field.to_string(),
            contacts,
        };
        NewPlan {
            kind,
            mark,
            picture: picture(self.key, &self.rows),
            counts,
            fields: self.fields.into_iter().map(count).collect(),
            rows: self.rows,
            why,
        }
    }
}

/// The row of a contact. `None`: it has no usable id.
pub(in crate::sync) fn row_of(key: &DigestKey, preview: &Preview) -> Option<PlanRow> {
    Some(PlanRow {
        keap: Some(KeapId::new(preview.keap_contact_id)?),
        intercom: preview.intercom.clone(),
        action: PlanAction::Decided(preview.action),
        digest: Some(digest(key, preview)),
    })
}

/// A user that gets a contact in Keap.
pub(in crate::sync) fn create_row(user: IntercomId) -> PlanRow {
    PlanRow { keap: None, intercom: Some(user), action: PlanAction::CreateInKeap, digest: None }
}

/// A contact that is looked at on both sides.
pub(in crate::sync) fn look_row(id: KeapId) -> PlanRow {
    PlanRow { keap: Some(id), intercom: None, action: PlanAction::Look, digest: None }
}

/// A keyed hash of all that would be written.
fn digest(key: &DigestKey, preview: &Preview) -> Digest {
    let to_intercom = preview
        .fields
        .iter()
        .flat_map(|(name, value)| [Some("intercom"), Some(name.as_str()), value.as_deref()]);
    let to_keap = preview
        .to_keap
        .iter()
        .flat_map(|to| [Some("keap"), Some(to.field.as_str()), to.value.as_deref()]);
    key.plan(to_intercom.chain(to_keap))
}

/// A keyed hash of all contacts, in whatever order they were found.
fn picture(key: &DigestKey, rows: &[PlanRow]) -> Digest {
    let text = |row: &PlanRow| {
        let keap = row.keap.map(|id| id.to_string()).unwrap_or_default();
        let intercom = row.intercom.as_ref().map(ToString::to_string).unwrap_or_default();
        let digest = row.digest.map(|digest| format!("{:?}", digest.as_bytes()));
        format!("{keap}/{intercom}/{}/{}", row.action.code(), digest.unwrap_or_default())
    };
    let mut texts: Vec<String> = rows.iter().map(text).collect();
    texts.sort_unstable();
    key.plan(texts.iter().map(|text| Some(text.as_str())))
}
