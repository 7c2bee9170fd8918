//! What a person has paused, as this process knows it. Feeds ask it before they take a page, and
//! the clients ask it just before each write.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::feed::Feed;
use crate::pause::{Direction, Pause, Pauses};

/// The known pauses, and whose writes they let through.
#[derive(Default)]
pub struct PauseBoard {
    known: Mutex<Pauses>,
    /// The contacts under way that a person or a script has asked for.
    let_through: Mutex<HashSet<i64>>,
}

/// While this lives, the writes of a contact count as asked for.
pub(super) struct LetThrough {
    board: Arc<PauseBoard>,
    contact: i64,
}

impl Drop for LetThrough {
    fn drop(&mut self) {
        lock(&self.board.let_through).remove(&self.contact);
    }
}

impl PauseBoard {
    pub fn new(pauses: Pauses) -> Self {
        Self { known: Mutex::new(pauses), let_through: Mutex::default() }
    }

    /// Takes what is paused now. False if nothing has changed.
    pub fn set(&self, pauses: Pauses) -> bool {
        let mut known = lock(&self.known);
        let is_news = *known != pauses;
        *known = pauses;
        is_news
    }

    /// Why a feed stops.
    pub fn of_feed(&self, feed: Feed, is_request: bool) -> Option<String> {
        lock(&self.known).of_feed(feed, is_request).map(Pause::in_words)
    }

    /// Why a direction stops for what nobody has asked for.
    pub fn of_direction(&self, direction: Direction) -> Option<String> {
        lock(&self.known).of_direction(direction, false).map(Pause::in_words)
    }

    /// Why nothing is taken that is due and only written to Keap.
    pub fn of_due_to_keap(&self, is_request: bool) -> Option<String> {
        lock(&self.known).of_due_to_keap(is_request).map(Pause::in_words)
    }

    /// Why a write about these contacts may not be made.
    pub fn of_write(&self, direction: Direction, about: &[i64]) -> Option<String> {
        let is_request = {
            let let_through = lock(&self.let_through);
            !about.is_empty() && about.iter().all(|contact| let_through.contains(contact))
        };
        lock(&self.known).of_direction(direction, is_request).map(Pause::in_words)
    }

    /// A person or a script has asked for this contact, which is written now. One lane at a time
    /// has it.
    pub(super) fn let_through(self: &Arc<Self>, contact: i64) -> LetThrough {
        lock(&self.let_through).insert(contact);
        LetThrough { board: Arc::clone(self), contact }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value behind it is whole between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_write_is_let_through_only_if_every_contact_was_asked_for() {
        let since = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let pause = |lets_requests| {
            let scope = "intercom_to_keap".parse().unwrap();
            Pauses(vec![Pause { scope, lets_requests, since, by: "Ann".into() }])
        };
        let board = Arc::new(PauseBoard::new(pause(true)));
        let stops = |about: &[i64]| board.of_write(Direction::IntercomToKeap, about).is_some();
        assert!(stops(&[1]) && stops(&[]));

        let through = board.let_through(1);
        assert!(!stops(&[1]));
        assert!(stops(&[1, 2]) && stops(&[]));
        assert_eq!(board.of_write(Direction::KeapToIntercom, &[2]), None);
        assert!(board.set(pause(false)) && !board.set(pause(false)));
        assert!(stops(&[1]), "a strict pause lets nobody through");

        assert!(board.set(pause(true)));
        drop(through);
        assert!(stops(&[1]));
    }
}
