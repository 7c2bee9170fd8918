//! Every version that each contact has had in Keap, so that a write can be told from an older one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::sim::{Call, Keap, Person};

/// Changes Keap and remembers each version. All changes of a test go through it.
#[derive(Clone, Default)]
pub(crate) struct History {
    versions: Arc<Mutex<BTreeMap<i64, Vec<Version>>>>,
}

struct Version {
    since: Instant,
    person: Person,
}

impl History {
    /// Remembers everybody who is in Keap now.
    pub(crate) fn of(keap: &Keap) -> History {
        let history = History::default();
        let since = Instant::now();
        keap.for_each(|id, person| history.note(id, since, person));
        history
    }

    pub(crate) fn add(&self, keap: &Keap, person: Person) -> i64 {
        let since = Instant::now();
        let id = keap.add(person.clone());
        self.note(id, since, person);
        id
    }

    /// False if Keap does not have the contact.
    pub(crate) fn edit(&self, keap: &Keap, id: i64, edit: impl FnOnce(&mut Person)) -> bool {
        let since = Instant::now();
        keap.edit(id, |person| {
            edit(person);
            // Nobody reads the new version before, because Keap is locked.
            self.note(id, since, person.clone());
        })
    }

    /// False if Keap does not have both.
    pub(crate) fn merge(&self, keap: &Keap, loser: i64, winner: i64) -> bool {
        let since = Instant::now();
        let merged = keap.merge(loser, winner);
        if let Some(person) = keap.person(winner).filter(|_| merged) {
            self.note(winner, since, person);
        }
        merged
    }

    /// Whether some version of the contact has a phone.
    pub(crate) fn has_shown_a_phone(&self, id: i64) -> bool {
        let versions = self.locked();
        let of_contact = versions.get(&id).into_iter().flatten();
        of_contact.into_iter().any(|version| version.person.wanted_phone().is_some())
    }

    /// The version before the newest one.
    pub(crate) fn former(&self, id: i64) -> Option<Person> {
        let versions = self.locked();
        let of_contact = versions.get(&id)?;
        let before = of_contact.len().checked_sub(2)?;
        Some(of_contact.get(before)?.person.clone())
    }

    fn note(&self, id: i64, since: Instant, person: Person) {
        self.locked().entry(id).or_default().push(Version { since, person });
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<i64, Vec<Version>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writes that show neither the version of the write before nor a newer one. `calls` are
    /// those of Intercom, in the order in which they arrived.
    pub(crate) fn older_over_newer(&self, calls: &[Call]) -> Vec<String> {
        let versions = self.locked();
        let mut newest_written = BTreeMap::<i64, usize>::new();
        let mut wrong = Vec::new();
        for call in calls.iter().filter(|call| call.applied) {
            let id = call.external_id.as_deref().and_then(|id| id.parse::<i64>().ok());
            let (Some(id), Some(body), "create" | "update") = (id, &call.body, call.kind) else {
                continue;
            };
            let Some(of_contact) = versions.get(&id) else {
                continue;
            };
            let least = newest_written.entry(id).or_default();
            let shown = of_contact
                .iter()
                .enumerate()
                .skip(*least)
                .find(|(_, version)| version.since <= call.at && version.is_shown_by(body));
            match shown {
                Some((at, _)) => *least = at,
                None => wrong.push(format!(
                    "call {} ({}) of contact {id} shows no version from its {}th on",
                    call.n,
                    call.kind,
                    *least + 1
                )),
            }
        }
        wrong
    }
}

impl Version {
    /// Whether a write shows this version. A field that is left out says nothing, and an e-mail
    /// that is null may be one that the contact gives up for another contact.
    fn is_shown_by(&self, body: &Value) -> bool {
        let says = |field: &str, wanted: Option<String>| match body.get(field) {
            None => true,
            Some(Value::Null) => field == "email" || wanted.is_none(),
            Some(value) => value.as_str() == wanted.as_deref(),
        };
        says("email", self.person.wanted_email())
            && says("name", self.person.wanted_name())
            && says("phone", self.person.wanted_phone())
    }
}
