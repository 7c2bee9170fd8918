//! The search index, which lags: it shows every contact as it was a while ago, and catches up when somebody looks.

use std::collections::{BTreeMap, HashMap};

use super::contact::{Facts, Slot};
use super::places::Places;

/// What a contact looks like to search: its facts while it is live, else nothing.
pub type Seen = Option<Facts>;

#[derive(Default)]
pub struct Index {
    by_email: Places,
    by_external_id: Places,
    /// Only contacts whose index entry differs from what is stored.
    stale: HashMap<Slot, Stale>,
    /// Changes in the order in which they become visible; the number keeps equal times apart.
    waiting: BTreeMap<(i64, u64), (Slot, Seen)>,
    changes: u64,
    visible: usize,
}

struct Stale {
    seen: Seen,
    /// Changes of this contact that are still waiting.
    waiting: usize,
}

impl Index {
    /// Notes that a contact changed from `before` to `after`; search sees it from `due_ms` on.
    pub fn note(&mut self, slot: Slot, before: Seen, after: Seen, due_ms: i64) {
        // When it is stale already, search sees something older than `before`.
        self.stale
            .entry(slot)
            .or_insert(Stale {
                seen: before,
                waiting: 0,
            })
            .waiting += 1;
        self.changes += 1;
        self.waiting.insert((due_ms, self.changes), (slot, after));
    }

    /// Enters a contact at once, as if it had been there for long.
    pub fn enter(&mut self, slot: Slot, facts: &Facts) {
        self.visible += 1;
        self.add(slot, Some(facts));
    }

    /// Makes visible what is due. `current` tells what is stored now.
    pub fn catch_up(&mut self, now_ms: i64, current: impl Fn(Slot) -> Seen) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let (slot, after) = entry.remove();
            self.show(slot, after, &current);
        }
    }

    /// Makes everything visible, due or not.
    pub fn catch_up_wholly(&mut self, current: impl Fn(Slot) -> Seen) {
        self.catch_up(i64::MAX, current);
    }

    fn show(&mut self, slot: Slot, after: Seen, current: &impl Fn(Slot) -> Seen) {
        let Some(mut stale) = self.stale.remove(&slot) else {
            return;
        };
        stale.waiting -= 1;
        // With nothing left to wait for, the index equals the store, even if a shorter lag let changes overtake.
        let after = if stale.waiting == 0 {
            current(slot)
        } else {
            after
        };
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
            self.by_external_id
                .remove(facts.external_id.as_deref(), slot);
        }
    }

    /// What search sees of a contact if that differs from what is stored.
    pub fn stale(&self, slot: Slot) -> Option<&Seen> {
        self.stale.get(&slot).map(|stale| &stale.seen)
    }

    /// How many contacts search sees.
    pub fn visible(&self) -> usize {
        self.visible
    }

    pub fn by_email(&self, email: &str) -> impl Iterator<Item = Slot> + '_ {
        self.by_email.find(email)
    }

    pub fn by_external_id(&self, external_id: &str) -> impl Iterator<Item = Slot> + '_ {
        self.by_external_id.find(external_id)
    }
}
