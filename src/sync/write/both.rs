//! Both sides of one contact: what each shows of every field, and what the merge makes of it.

use chrono::{DateTime, Utc};

use super::target::{End, Target};
use crate::contact::{Bases, Candidate, Contact, FieldName, FieldRule, IntercomId, Owner, Reading};
use crate::intercom::Found;
use crate::store::FoundIntent;
use crate::sync::merge::{Direction, Merged, Side, Sides, Since, Verdict, merge};

/// What the merge of one contact leads to.
#[derive(Default)]
pub(super) struct Merge {
    /// Fields that the write to Intercom leaves out: Intercom keeps its values.
    pub kept: Vec<FieldName>,
    /// Fields that were edited on both sides.
    pub conflicts: Vec<FieldName>,
    /// Fields whose winning value the other side cannot take.
    pub held: Vec<FieldName>,
    /// Fields that get Intercom's value in Keap.
    pub to_keap: Vec<(FieldName, Reading)>,
    /// The field of the opt-out and its value, if Intercom shows one.
    pub opted_out: Option<(FieldName, Reading)>,
    /// An opt-out travels.
    pub brings_opt_out: bool,
    /// Fields that get their owner's value back in Intercom.
    pub restored: Vec<FieldName>,
    /// The tags that both sides show, and whether Keap's goes to Intercom.
    pub tags: Vec<(FieldName, bool)>,
    /// What Intercom showed. `None`: it was not read.
    pub shown: Option<Shown>,
    /// Nothing has to be written to Intercom.
    pub is_settled: bool,
    /// It does not show the contact, and nothing in Keap asks for one.
    pub is_missing: bool,
}

impl Merge {
    /// Takes the decision on a field in. `intercom`: what Intercom shows of it.
    fn take(&mut self, name: &FieldName, intercom: &Reading, merged: Merged, direction: Direction) {
        match merged.verdict {
            Verdict::ToIntercom => self.is_settled = false,
            Verdict::Settle => self.kept.push(name.clone()),
            Verdict::Hold => {
                self.kept.push(name.clone());
                self.held.push(name.clone());
            }
            Verdict::ToKeap => {
                self.kept.push(name.clone());
                self.to_keap.push((name.clone(), intercom.clone()));
            }
        }
        self.remark(name, merged, direction);
    }

    /// The same for a tag. Nothing else is written with it.
    fn take_tag(
        &mut self,
        name: &FieldName,
        intercom: &Reading,
        merged: Merged,
        direction: Direction,
    ) {
        self.tags.push((name.clone(), merged.verdict == Verdict::ToIntercom));
        match merged.verdict {
            Verdict::ToKeap => self.to_keap.push((name.clone(), intercom.clone())),
            Verdict::Hold => self.held.push(name.clone()),
            Verdict::Settle | Verdict::ToIntercom => {}
        }
        self.remark(name, merged, direction);
    }

    fn remark(&mut self, name: &FieldName, merged: Merged, direction: Direction) {
        let to_intercom = merged.verdict == Verdict::ToIntercom;
        if merged.conflict && (direction.to_keap || !to_intercom) {
            self.conflicts.push(name.clone());
        }
        if merged.restores && to_intercom {
            self.restored.push(name.clone());
        }
    }
}

/// What Intercom showed of a contact.
pub(super) struct Shown {
    pub contact: Contact,
    pub at: Option<DateTime<Utc>>,
}

impl Shown {
    /// What a candidate shows.
    pub(super) fn of(target: &Target<'_>, found: &Candidate) -> Self {
        Self {
            contact: Contact::showing(target.contact.id, found.fields()),
            at: found.updated_at.and_then(|at| DateTime::from_timestamp(at, 0)),
        }
    }
}

/// Decides the fields of a contact whose Intercom contact is this one. It costs one read by id if
/// the contact has changed in Intercom, or if a field has changed whose owner is not Keap; and
/// nothing else.
pub(super) async fn merged(
    target: &Target<'_>,
    id: &IntercomId,
    is_first: bool,
) -> Result<Merge, End> {
    let look = Look::of(target, id);
    if !look.reads_intercom(target) {
        let travels = |name: &FieldName| target.context.fields.travels_always(name.as_str());
        let brings_opt_out = look.changed.iter().any(travels);
        return Ok(Merge { kept: look.careful, brings_opt_out, ..Merge::default() });
    }
    match target.context.intercom.read(target.lane, id).await? {
        Found::Contact(found) => {
            let found = look.with_tags(target, found).await?;
            let shown = Shown::of(target, &found);
            let must_write = is_first || !found.belongs_to(target.contact.id);
            Ok(look.decide(target, shown, must_write))
        }
        // Archived. The next change in Keap brings it back.
        Found::Missing if target.looks_at_intercom && look.changed.is_empty() && !is_first => {
            Ok(Merge { is_missing: true, ..Merge::default() })
        }
        // The write that follows finds out.
        Found::Merged(_) | Found::Missing => Ok(Merge::default()),
    }
}

/// The same by what Intercom shows of it now, without a call.
pub(super) fn merged_with(
    target: &Target<'_>,
    id: &IntercomId,
    found: &Candidate,
    is_first: bool,
) -> Merge {
    let must_write = is_first || !found.belongs_to(target.contact.id);
    Look::of(target, id).decide(target, Shown::of(target, found), must_write)
}

/// What is known of a contact before Intercom is read.
struct Look {
    keap_before: Bases,
    intercom_before: Option<Bases>,
    /// The fields whose owner is not Keap.
    careful: Vec<FieldName>,
    /// The fields that have changed in Keap: all of them if Intercom is read anyway, else those
    /// that could make it so.
    changed: Vec<FieldName>,
}

impl Look {
    fn of(target: &Target<'_>, id: &IntercomId) -> Self {
        let order = &target.context.fields;
        let keap_before = target.shown_before(id).unwrap_or_else(Bases::nothing);
        let key = &target.context.key;
        let careful =
            |name: &FieldName| order.rule(name.as_str()).is_some_and(FieldRule::looks_first);
        let is_tag =
            |name: &FieldName| order.rule(name.as_str()).is_some_and(FieldRule::is_tag_of_both);
        let tags = target.contact.relations.iter().filter(|(name, _)| is_tag(name));
        let names = target.contact.fields.iter().chain(tags).map(|(name, _)| name);
        let decides = |name: &FieldName| {
            target.looks_at_intercom
                || careful(name)
                || order.travels_always(name.as_str())
                || name.as_str() == FieldName::EMAIL
        };
        let deciding = Contact::showing(target.contact.id, target.contact.fields.only(decides));
        let mut changed = key.unsettled(order, &deciding, &keap_before);
        let relations = key.unsettled_relations(order, target.contact, &keap_before);
        changed.extend(relations.into_iter().filter(is_tag));
        Self {
            careful: names.filter(|name| careful(name)).cloned().collect(),
            changed,
            intercom_before: target.intercom_before(id),
            keap_before,
        }
    }

    fn reads_intercom(&self, target: &Target<'_>) -> bool {
        let is_careful = |name: &&FieldName| self.careful.contains(name);
        // While a write has an unknown outcome, what was settled says nothing.
        let is_unknown = !target.found.is_empty() && !self.careful.is_empty();
        // A new address in Keap may not have the opt-out of the former one.
        let moves = self.changed.iter().any(|name| name.as_str() == FieldName::EMAIL)
            && target.context.fields.has_consent_to_keap();
        target.looks_at_intercom
            || is_unknown
            || moves
            || self.changed.iter().any(|name| is_careful(&name))
    }

    /// The contact with all that it shows of the mapped tags.
    async fn with_tags(&self, target: &Target<'_>, found: Candidate) -> Result<Candidate, End> {
        let (intercom, key) = (&target.context.intercom, &target.context.key);
        let found = intercom.with_tags(target.lane, found).await?;
        let is_removed = |rule: &FieldRule| {
            let name = rule.name.as_str();
            let had = |before: &Bases| key.has_value(target.contact.id, before, name);
            rule.is_tag_of_both()
                && found.field(name) == Some(&Reading::Empty)
                && self.intercom_before.as_ref().is_some_and(had)
        };
        if target.context.fields.rules().any(is_removed) {
            return Ok(intercom.with_tags_that_exist(found).await?);
        }
        Ok(found)
    }

    fn decide(self, target: &Target<'_>, shown: Shown, must_write: bool) -> Merge {
        let (key, order) = (&target.context.key, &target.context.fields);
        let direction = target.context.policy.direction;
        let now = Now {
            in_keap: key.bases_shown(order, target.contact),
            in_intercom: key.bases_shown(order, &shown.contact),
            at: shown.at,
        };
        let is_settled = direction.to_keap && !must_write;
        let mut merge_of_all = Merge { is_settled, ..Merge::default() };
        for (name, keap) in target.contact.fields.iter() {
            let Some(rule) = order.rule(name.as_str()) else {
                continue;
            };
            // With one direction, Keap's own fields are written as they are.
            if !direction.to_keap && !rule.looks_first() {
                merge_of_all.is_settled = false;
                continue;
            }
            let intercom = shown.contact.fields.get(name.as_str()).unwrap_or(&Reading::Empty);
            if rule.owner == Owner::Either && rule.to_keap && *intercom != Reading::Empty {
                merge_of_all.opted_out = Some((name.clone(), intercom.clone()));
            }
            let merged = self.merge_field(target, rule, (keap, intercom), &now);
            let travels = matches!(merged.verdict, Verdict::ToIntercom | Verdict::ToKeap);
            merge_of_all.brings_opt_out |= rule.travels_always && travels;
            merge_of_all.take(name, intercom, merged, direction);
        }
        for (name, keap) in target.contact.relations.iter() {
            let rule = order.rule(name.as_str()).filter(|rule| rule.is_tag_of_both());
            // What it does not show was not changed there.
            if let (Some(rule), Some(intercom)) = (rule, shown.contact.fields.get(name.as_str())) {
                let merged = self.merge_field(target, rule, (keap, intercom), &now);
                merge_of_all.take_tag(name, intercom, merged, direction);
            }
        }
        Merge { shown: Some(shown), ..merge_of_all }
    }

    /// Decides one field by what each side shows: Keap, Intercom.
    fn merge_field(
        &self,
        target: &Target<'_>,
        rule: &FieldRule,
        (keap, intercom): (&Reading, &Reading),
        now: &Now,
    ) -> Merged {
        let (keap_since, intercom_since) = self.since(target, rule, now);
        let had_value = |before: &Bases| {
            target.context.key.has_value(target.contact.id, before, rule.name.as_str())
        };
        let sides = Sides {
            rule,
            keap: Side {
                shows: keap,
                since: keap_since,
                had_value: had_value(&self.keap_before),
                at: target.contact.updated_at,
            },
            intercom: Side {
                shows: intercom,
                since: intercom_since,
                had_value: self.intercom_before.as_ref().is_some_and(had_value),
                at: now.at,
            },
            equal: keap.is_same(intercom),
        };
        merge(&sides, target.context.policy.direction)
    }

    /// What has happened to a field on each side since it was settled.
    fn since(&self, target: &Target<'_>, rule: &FieldRule, now: &Now) -> (Since, Since) {
        let Now { in_keap, in_intercom, at } = now;
        let name = rule.name.as_str();
        let of = |before: Option<&Bases>, now: &Bases| match before {
            Some(before) if before.has(name) => {
                if before.agrees_on(name, now) {
                    Since::Same
                } else {
                    Since::Changed
                }
            }
            _ => Since::First,
        };
        let mut keap = of(Some(&self.keap_before), in_keap);
        // With one direction, nobody remembers what Intercom showed: it was what Keap had.
        let mut intercom = match &self.intercom_before {
            Some(before) => of(Some(before), in_intercom),
            None if target.context.policy.direction.to_keap => Since::First,
            // A field that is only filled may differ for ever.
            None if rule.owner == Owner::Fill => Since::Same,
            None => of(Some(&self.keap_before), in_intercom),
        };
        // An opt-out in Keap is one of the address. A new address is a first match.
        if rule.owner == Owner::Either && !self.keap_before.agrees_on(FieldName::EMAIL, in_keap) {
            keap = Since::First;
        }
        // The address of a contact that was made for this user is what the user showed then.
        let was_made = target.found_in_keap.iter().any(|intent| intent.has_made);
        let is_first = keap == Since::First && intercom == Since::First;
        if was_made && is_first && name == FieldName::EMAIL {
            (keap, intercom) = (Since::Same, Since::Changed);
        }
        for intent in target.found {
            judge(intent, name, in_intercom, *at, (&mut intercom, &mut keap));
        }
        for intent in target.found_in_keap {
            judge(intent, name, in_keap, target.contact.updated_at, (&mut keap, &mut intercom));
        }
        (keap, intercom)
    }
}

/// What both sides show of a contact now.
struct Now {
    in_keap: Bases,
    in_intercom: Bases,
    /// When the contact last changed in Intercom, as far as it says.
    at: Option<DateTime<Utc>>,
}

/// What an intent says of a field. `written`: the side that it was written to; `origin`: the other
/// one.
///
/// If our write has landed there, the value there is no person's edit: what the origin shows now
/// counts once more. A value that was stamped after the call was over is a person's.
fn judge(
    intent: &FoundIntent,
    name: &str,
    shows: &Bases,
    stamped: Option<DateTime<Utc>>,
    (written, origin): (&mut Since, &mut Since),
) {
    if !intent.sent.has(name) || *written == Since::First {
        return;
    }
    let has_landed = intent.sent.agrees_on(name, shows);
    let is_ours =
        has_landed || *written == Since::Changed && stamped.is_none_or(|at| at <= intent.deadline);
    if is_ours {
        *written = Since::Same;
        *origin = Since::Changed;
    }
}

#[cfg(test)]
mod tests;
