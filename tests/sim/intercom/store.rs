//! The contacts of the Intercom stand-in in every standing, the identifiers that they hold, and the
//! search index.

use super::contact::{Facts, Slot, Standing, StoredContact};
use super::index::{Index, Seen};
use super::places::Places;

/// How long a deleted contact holds its identifiers.
pub(super) const DELETION_GRACE_MS: i64 = 7 * 86_400_000;

pub(super) struct Record {
    pub facts: Facts,
    pub standing: Standing,
}

impl Record {
    fn seen(&self) -> Seen {
        (self.standing == Standing::Live).then(|| self.facts.clone())
    }

    /// Whether its grace period is over. It can then no longer be found.
    fn destroyed(&self, now_ms: i64) -> bool {
        matches!(self.standing, Standing::Deleted { at_ms } if now_ms >= at_ms + DELETION_GRACE_MS)
    }
}

#[derive(Default)]
pub(super) struct Store {
    records: Vec<Record>,
    by_email: Places,
    by_external_id: Places,
    pub index: Index,
}

impl Store {
    /// Adds a contact. Search shows it from `due_ms` on, or at once.
    pub(super) fn add(&mut self, facts: Facts, due_ms: Option<i64>) -> Slot {
        let slot = self.records.len() as Slot;
        self.by_email.add(facts.email.as_deref(), slot);
        self.by_external_id.add(facts.external_id.as_deref(), slot);
        match due_ms {
            Some(due_ms) => self.index.note(slot, None, Some(facts.clone()), due_ms),
            None => self.index.enter(slot, &facts),
        }
        self.records.push(Record { facts, standing: Standing::Live });
        slot
    }

    /// Changes a contact. Search shows the change from `due_ms` on.
    pub(super) fn change(&mut self, slot: Slot, facts: Facts, standing: Standing, due_ms: i64) {
        let Some(record) = self.records.get_mut(slot as usize) else {
            return;
        };
        let before = record.seen();
        let old = std::mem::replace(record, Record { facts, standing });
        let after = record.seen();
        if old.facts.email != record.facts.email {
            self.by_email.remove(old.facts.email.as_deref(), slot);
            self.by_email.add(record.facts.email.as_deref(), slot);
        }
        if old.facts.external_id != record.facts.external_id {
            self.by_external_id.remove(old.facts.external_id.as_deref(), slot);
            self.by_external_id.add(record.facts.external_id.as_deref(), slot);
        }
        self.index.note(slot, before, after, due_ms);
    }

    pub(super) fn set_standing(&mut self, slot: Slot, standing: Standing, due_ms: i64) {
        if let Some(record) = self.records.get(slot as usize) {
            let facts = record.facts.clone();
            self.change(slot, facts, standing, due_ms);
        }
    }

    /// A contact in any standing, unless it is destroyed.
    pub(super) fn get(&self, slot: Slot, now_ms: i64) -> Option<&Record> {
        self.records.get(slot as usize).filter(|record| !record.destroyed(now_ms))
    }

    pub(super) fn live(&self, slot: Slot) -> Option<&Facts> {
        let record = self.records.get(slot as usize)?;
        (record.standing == Standing::Live).then_some(&record.facts)
    }

    /// The contacts that hold this external id, in any standing, unless destroyed.
    pub(super) fn holding_external_id<'a>(
        &'a self,
        external_id: &'a str,
        now_ms: i64,
    ) -> impl Iterator<Item = (Slot, &'a Record)> {
        self.by_external_id
            .find(external_id)
            .filter_map(move |slot| Some((slot, self.get(slot, now_ms)?)))
            .filter(move |(_, record)| record.facts.external_id.as_deref() == Some(external_id))
    }

    /// The contacts with this e-mail in any case of letters, in any standing, unless destroyed.
    pub(super) fn holding_email<'a>(
        &'a self,
        email: &'a str,
        now_ms: i64,
    ) -> impl Iterator<Item = (Slot, &'a Record)> {
        self.by_email.find(email).filter_map(move |slot| Some((slot, self.get(slot, now_ms)?)))
    }

    pub(super) fn slots(&self) -> std::ops::Range<Slot> {
        0..self.records.len() as Slot
    }

    pub(super) fn stored(&self, slot: Slot, now_ms: i64) -> Option<StoredContact> {
        self.get(slot, now_ms)
            .map(|record| StoredContact::new(slot, record.standing, &record.facts))
    }

    // What search shows.

    pub(super) fn catch_up(&mut self, now_ms: i64) {
        let records = &self.records;
        self.index.catch_up(now_ms, |slot| records.get(slot as usize).and_then(Record::seen));
    }

    pub(super) fn catch_up_fully(&mut self) {
        let records = &self.records;
        self.index.catch_up_fully(|slot| records.get(slot as usize).and_then(Record::seen));
    }

    pub(super) fn seen(&self, slot: Slot) -> Option<&Facts> {
        match self.index.stale(slot) {
            Some(seen) => seen.as_ref(),
            None => self.live(slot),
        }
    }
}
