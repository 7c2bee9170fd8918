//! Calls that serve many contacts: who asks for the same at the same time shares one call.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How long the first one waits for others. A page's contacts are written side by side.
const WAIT: Duration = Duration::from_millis(50);

/// What became of a shared call.
#[derive(Clone)]
enum Ended<R> {
    NotYet,
    With(R),
    /// Whoever made it has been dropped.
    Lost,
}

/// Those who share one call.
struct Group<M, R> {
    /// `None`: the call has begun.
    members: Mutex<Option<Vec<M>>>,
    ended: watch::Sender<Ended<R>>,
}

impl<M, R> Group<M, R> {
    /// False if the call has begun, or is full.
    fn take_in(&self, member: M, most: usize) -> Result<(), M> {
        match &mut *lock(&self.members) {
            Some(members) if members.len() < most => {
                members.push(member);
                Ok(())
            }
            _ => Err(member),
        }
    }
}

type Groups<K, M, R> = Mutex<HashMap<K, Arc<Group<M, R>>>>;

/// Calls that are about to be made, by what they ask for.
pub struct Together<K, M, R>(Groups<K, M, R>);

impl<K, M, R> Default for Together<K, M, R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, M, R: Clone> Together<K, M, R> {
    /// Makes the call for this member, together with up to `most` members that ask for the same.
    /// `None`: the one who made the call was stopped, and nobody knows what came of it.
    pub async fn call<F: Future<Output = R>>(
        &self,
        key: K,
        member: M,
        most: usize,
        send: impl FnOnce(Vec<M>) -> F,
    ) -> Option<R> {
        let (group, is_first) = self.join(&key, member, most);
        if !is_first {
            let mut ended = group.ended.subscribe();
            let ended = ended.wait_for(|ended| !matches!(ended, Ended::NotYet)).await.ok()?;
            return match &*ended {
                Ended::With(result) => Some(result.clone()),
                Ended::NotYet | Ended::Lost => None,
            };
        }
        let lead = Lead { groups: &self.0, key, group };
        tokio::time::sleep(WAIT).await;
        let result = send(lead.begin()).await;
        lead.group.ended.send_replace(Ended::With(result.clone()));
        Some(result)
    }

    fn join(&self, key: &K, member: M, most: usize) -> (Arc<Group<M, R>>, bool) {
        let mut groups = lock(&self.0);
        let open = groups.get(key).cloned();
        let member = match open {
            Some(group) => match group.take_in(member, most) {
                Ok(()) => return (group, false),
                Err(member) => member,
            },
            None => member,
        };
        let members = Mutex::new(Some(vec![member]));
        let group = Arc::new(Group { members, ended: watch::Sender::new(Ended::NotYet) });
        groups.insert(key.clone(), Arc::clone(&group));
        (group, true)
    }
}

/// The one who makes the call. If it is dropped before, nobody waits for ever.
struct Lead<'a, K: Eq + Hash, M, R> {
    groups: &'a Groups<K, M, R>,
    key: K,
    group: Arc<Group<M, R>>,
}

impl<K: Eq + Hash, M, R> Lead<'_, K, M, R> {
    /// Nobody joins from now on.
    fn begin(&self) -> Vec<M> {
        let mut groups = lock(self.groups);
        if groups.get(&self.key).is_some_and(|group| Arc::ptr_eq(group, &self.group)) {
            groups.remove(&self.key);
        }
        lock(&self.group.members).take().unwrap_or_default()
    }
}

impl<K: Eq + Hash, M, R> Drop for Lead<'_, K, M, R> {
    fn drop(&mut self) {
        self.begin();
        self.group.ended.send_if_modified(|ended| {
            let is_open = matches!(ended, Ended::NotYet);
            if is_open {
                *ended = Ended::Lost;
            }
            is_open
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value behind it is whole between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn who_asks_for_the_same_shares_a_call_and_a_full_one_is_followed_by_another() {
        let together = Together::<&str, usize, usize>::default();
        let calls = AtomicUsize::new(0);
        let send = |members: Vec<usize>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move { members.len() }
        };
        let asked = (0..7).map(|member| together.call("vip", member, 5, send));
        let answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        assert_eq!(answers, [5, 5, 5, 5, 5, 2, 2]);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(together.call("other", 1, 5, send).await, Some(1));
        assert!(lock(&together.0).is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_call_that_is_never_made() {
        let together = Together::<&str, usize, usize>::default();
        let never = |_| async { std::future::pending::<usize>().await };
        let lead = tokio::time::timeout(WAIT * 4, together.call("vip", 1, 5, never));
        let (lead, follower) = tokio::join!(lead, together.call("vip", 2, 5, never));
        assert!(lead.is_err());
        assert_eq!(follower, None);
    }
}
