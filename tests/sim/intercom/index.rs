//! The search index. It lags: it shows each contact as it was some time ago, and catches up when a
//! search or list reads it.

use std::collections::{BTreeMap, HashMap};

use super::contact::{Facts, Slot};
use super::places::Places;

/// What search shows of a contact: its facts while it is live, else nothing.
pub(super) type Seen = Option<Facts>;

#[derive(Default)]
pub(super) struct Index {
    by_email: Places,
    by_external_id: Places,
    /// Contacts whose index entry differs from the stored contact.
    stale: HashMap<Slot, Stale>,
    /// Changes, ordered by the time at which they become visible. The number separates equal times.
    waiting: BTreeMap<(i64, u64), (Slot, Seen)>,
    changes: u64,
    visible: usize,
}

struct Stale {
    seen: Seen,
    /// Number of this contact's changes that are not visible yet.
    waiting: usize,
}

impl Index {
    /// Notes that a contact changed from `before` to `after`. Search shows it from `due_ms` on.
    pub(super) fn note(&mut self, slot: Slot, before: Seen, after: Seen, due_ms: i64) {
        // If the contact is stale already, search shows an older version than `before`.
        self.stale.entry(slot).or_insert(Stale { seen: before, waiting: 0 }).waiting += 1;
        self.changes += 1;
        self.waiting.insert((due_ms, self.changes), (slot, after));
    }

    /// Adds a contact that search shows at once, like an old one.
    pub(super) fn enter(&mut self, slot: Slot, facts: &Facts) {
        self.visible += 1;
        self.add(slot, Some(facts));
    }

    /// Makes the changes visible that are due. `current` returns what is stored now.
    pub(super) fn catch_up(&mut self, now_ms: i64, current: impl Fn(Slot) -> Seen) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let (slot, after) = entry.remove();
            self.show(slot, after, &current);
        }
    }

    /// Makes all changes visible, due or not.
    pub(super) fn catch_up_fully(&mut self, current: impl Fn(Slot) -> Seen) {
        self.catch_up(i64::MAX, current);
    }

    fn show(&mut self, slot: Slot, after: Seen, current: &impl Fn(Slot) -> Seen) {
        let Some(mut stale) = self.stale.remove(&slot) else {
            return;
        };
        stale.waiting -= 1;
        // After the last change, the index equals the store, even if the lag was made shorter and a
        // later change became visible first.
        let after = if stale.waiting == 0 { current(slot) } else { after };
        self.remove(slot, stale.seen.as_ref());
        self.add(slot, after.as_ref());
        self.visible =
            self.visible + usize::from(after.is_some()) - usize::from(stale.seen.is_some());
        if stale.waiting > 0 {
            stale.seen = after;
            self.stale.insert(slot, stale);
        }
    }

    fn add(&mut self, slot: Slot, facts: Option<&Facts>) {
        if let Some(facts) = facts {
            self.by_email.add(facts.email.as_deref(), slot);
            self.by_external_id.add(facts.external_id.as_deref(), slot);
        }
    }

    fn remove(&mut self, slot: Slot, facts: Option<&Facts>) {
        if let Some(facts) = facts {
            self.by_email.remove(facts.email.as_deref(), slot);
            self.by_external_id.remove(facts.external_id.as_deref(), slot);
        }
    }

    /// What search shows of a contact, if that differs from the stored contact.
    pub(super) fn stale(&self, slot: Slot) -> Option<&Seen> {
        self.stale.get(&slot).map(|stale| &stale.seen)
    }

    /// How many contacts search shows.
    pub(super) fn visible(&self) -> usize {
        self.visible
    }

    pub(super) fn by_email(&self, email: &str) -> impl Iterator<Item = Slot> + '_ {
        self.by_email.find(email)
    }

    pub(super) fn by_external_id(&self, external_id: &str) -> impl Iterator<Item = Slot> + '_ {
        self.by_external_id.find(external_id)
    }
}
