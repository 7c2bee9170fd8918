//! Claims: keep the two lanes off each other's contacts.
//!
//! A lane claims a contact just before the write and until the record. A page remembers when its
//! reading began. A contact that the other lane has claimed, or has finished since then, may be
//! stale in the page, so it is looked at again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contact::{Digest, KeapId};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Contact(KeapId),
    /// Two new contacts with one e-mail must not be created at the same time.
    Email(Digest),
}

#[derive(Default)]
struct State {
    busy: HashSet<Key>,
    /// When a key was last released, in ticks. It is kept while an open page could need it.
    finished: HashMap<Key, u64>,
    /// Open pages by number, with the tick at which their reading began.
    pages: BTreeMap<u64, u64>,
    ticks: u64,
    next_page: u64,
}

/// The claims of all lanes of this process.
#[derive(Clone, Default)]
pub struct Claims(Arc<Mutex<State>>);

impl Claims {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock. So a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a page. Call it before the page is read from Keap.
    pub fn open_page(&self) -> OpenPage {
        let mut state = self.lock();
        let number = state.next_page;
        state.next_page += 1;
        let opened = state.ticks;
        state.pages.insert(number, opened);
        OpenPage { claims: self.clone(), number, opened }
    }

    /// The contacts that are being written now.
    pub fn busy(&self) -> Vec<KeapId> {
        let contact = |key: &Key| match key {
            Key::Contact(id) => Some(*id),
            Key::Email(_) => None,
        };
        self.lock().busy.iter().filter_map(contact).collect()
    }
}

/// A page whose contacts may be claimed.
pub struct OpenPage {
    claims: Claims,
    number: u64,
    opened: u64,
}

impl OpenPage {
    /// Claims a contact, and the e-mail by which it is created or linked. `None`: the contact must
    /// be looked at again.
    pub fn claim(&self, id: KeapId, email: Option<Digest>) -> Option<Claim> {
        self.claim_all(std::iter::once(Key::Contact(id)).chain(email.map(Key::Email)).collect())
    }

    /// Claims an e-mail alone, for somebody whom Keap does not know. `None`: the other lane has it,
    /// or has just had it.
    pub fn claim_email(&self, email: Digest) -> Option<Claim> {
        self.claim_all(vec![Key::Email(email)])
    }

    fn claim_all(&self, keys: Vec<Key>) -> Option<Claim> {
        let mut state = self.claims.lock();
        let stale = |key: &Key| {
            state.busy.contains(key)
                || state.finished.get(key).is_some_and(|tick| *tick > self.opened)
        };
        if keys.iter().any(stale) {
            return None;
        }
        state.busy.extend(&keys);
        drop(state);
        Some(Claim { claims: self.claims.clone(), keys })
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        state.pages.remove(&self.number);
        match state.pages.values().min().copied() {
            None => state.finished.clear(),
            Some(oldest) => state.finished.retain(|_, tick| *tick > oldest),
        }
    }
}

/// A contact that no other lane may touch. Drop the claim once the outcome is recorded: that
/// releases the contact.
pub struct Claim {
    claims: Claims,
    keys: Vec<Key>,
}

impl Claim {
    /// One claim for both.
    pub fn and(mut self, mut other: Self) -> Self {
        self.keys.append(&mut other.keys);
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        state.ticks += 1;
        let tick = state.ticks;
        for key in &self.keys {
            state.busy.remove(key);
            state.finished.insert(*key, tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i64) -> KeapId {
        KeapId::new(n).unwrap()
    }

    #[test]
    fn a_contact_is_claimed_once_at_a_time() {
        let claims = Claims::default();
        let (one, two) = (claims.open_page(), claims.open_page());
        let claim = one.claim(id(1), None).unwrap();
        assert!(two.claim(id(1), None).is_none());
        assert!(two.claim(id(2), None).is_some());
        assert_eq!(claims.busy(), vec![id(1)]);
        drop(claim);
        assert!(claims.busy().is_empty());
    }

    #[test]
    fn a_page_that_was_read_before_the_other_lane_finished_is_stale() {
        let claims = Claims::default();
        let old = claims.open_page();
        let other = claims.open_page();
        drop(other.claim(id(1), None));
        assert!(old.claim(id(1), None).is_none());
        drop((old, other));
        assert!(claims.open_page().claim(id(1), None).is_some());
    }

    #[test]
    fn one_email_is_not_created_twice_side_by_side() {
        let claims = Claims::default();
        let digest = Digest::from_bytes(&[1; 16]);
        let page = claims.open_page();
        let first = page.claim(id(1), digest);
        assert!(first.is_some());
        assert!(page.claim(id(2), digest).is_none());
    }

    #[test]
    fn nothing_is_remembered_when_no_page_is_open() {
        let claims = Claims::default();
        let page = claims.open_page();
        drop(page.claim(id(1), None));
        drop(page);
        assert!(claims.lock().finished.is_empty());
    }
}
