//! How long Intercom's list takes to show a write. Our own writes tell it: their time is known.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::contact::{Candidate, IntercomId};

/// Writes that are watched at once. More would say the same.
const MOST: usize = 16;
/// A write that no list shows for so long was undone, or its contact is archived.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The writes to Intercom that a list may still not show.
#[derive(Default)]
pub struct SearchLag(Mutex<HashMap<IntercomId, Written>>);

struct Written {
    /// Intercom's stamp of it, in Unix seconds.
    stamp: i64,
    at: Instant,
}

impl SearchLag {
    /// Intercom has answered a write of this contact with this stamp.
    pub(super) fn written(&self, id: &IntercomId, stamp: i64, now: Instant) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() < MOST {
            watched.entry(id.clone()).or_insert(Written { stamp, at: now });
        }
    }

    /// A list shows these users. Returns the longest time that a write among them took.
    pub(super) fn shown(&self, users: &[Candidate], now: Instant) -> Option<Duration> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest = None;
        for user in users {
            let is_shown =
                |written: &Written| user.updated_at.is_some_and(|at| at >= written.stamp);
            if watched.get(&user.id).is_some_and(is_shown)
                && let Some(written) = watched.remove(&user.id)
            {
                longest = longest.max(Some(now.saturating_duration_since(written.at)));
            }
        }
        longest
    }

    /// A list was read back to `until`. What it has not shown takes longer still.
    pub(super) fn not_shown(&self, until: Option<i64>, now: Instant) -> Option<Duration> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, written| {
            until.is_none_or(|until| written.stamp >= until)
                && now.saturating_duration_since(written.at) < FORGOTTEN_AFTER
        });
        watched.values().map(|written| now.saturating_duration_since(written.at)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{Fields, Role};

    fn id() -> IntercomId {
        IntercomId::try_from("a1".to_owned()).unwrap()
    }

    fn user(updated_at: i64) -> Candidate {
        Candidate {
            id: id(),
            role: Role::User,
            external_id: None,
            email: None,
            shows: Fields::default(),
            rest: Fields::default(),
            hides_tags: false,
            tags: None,
            created_at: 1,
            updated_at: Some(updated_at),
        }
    }

    #[test]
    fn a_write_counts_until_a_list_shows_it() {
        let (lag, start) = (SearchLag::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        lag.written(&id(), 100, start);
        assert_eq!(lag.shown(&[user(99)], after(70)), None, "it is an old picture");
        assert_eq!(lag.not_shown(Some(50), after(70)), Some(Duration::from_secs(70)));

        assert_eq!(lag.shown(&[user(100)], after(130)), Some(Duration::from_secs(130)));
        assert_eq!(lag.not_shown(Some(50), after(130)), None);
    }

    #[test]
    fn a_write_that_no_list_can_show_is_forgotten() {
        let (lag, now) = (SearchLag::default(), Instant::now());
        lag.written(&id(), 100, now);
        assert_eq!(lag.not_shown(Some(101), now), None, "the list did not go back so far");

        lag.written(&id(), 100, now);
        assert_eq!(lag.not_shown(Some(50), now + FORGOTTEN_AFTER), None);
    }
}
