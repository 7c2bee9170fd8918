//! The memory of the Keap stand-in, as tests reach it: people come, change, merge and go.

use super::person::Person;
use super::rows::Moment;
use super::{Keap, State};

/// Which contacts a bulk edit touches.
pub enum Which {
    All,
    Ids(Vec<i64>),
}

impl<I: IntoIterator<Item = i64>> From<I> for Which {
    fn from(ids: I) -> Which {
        Which::Ids(ids.into_iter().collect())
    }
}

impl Keap {
    /// Adds a person with the next id and a stamp of now.
    pub fn add(&self, person: Person) -> i64 {
        let mut state = self.state();
        let id = state.rows.next_id();
        self.put(&mut state, id, &person);
        id
    }

    /// Adds a person under this id, or replaces the one that has it.
    pub fn add_with_id(&self, id: i64, person: Person) {
        self.put(&mut self.state(), id, &person);
    }

    /// Adds `count` people made by `person`, which gets 0, 1, …; gives back their ids.
    pub fn add_many(&self, count: usize, person: impl Fn(usize) -> Person) -> Vec<i64> {
        let mut state = self.state();
        (0..count)
            .map(|at| {
                let id = state.rows.next_id();
                self.put(&mut state, id, &person(at));
                id
            })
            .collect()
    }

    fn put(&self, state: &mut State, id: i64, person: &Person) {
        let moment = self.moment(state);
        state.rows.put(id, person, moment);
        self.raise(state, "contact.add", &[id], moment.stamp_ms);
    }

    /// Changes a person; the stamp is new. `false` if there is no such person.
    pub fn edit(&self, id: i64, edit: impl FnOnce(&mut Person)) -> bool {
        let mut state = self.state();
        let moment = self.moment(&state);
        let changed = state.rows.change(id, moment, edit);
        if changed {
            self.raise(&mut state, "contact.edit", &[id], moment.stamp_ms);
        }
        changed
    }

    /// Changes many people and gives them all one equal stamp; gives back how many.
    pub fn bulk_edit(&self, which: impl Into<Which>, edit: impl Fn(&mut Person)) -> usize {
        let mut state = self.state();
        let ids = match which.into() {
            Which::All => state.rows.ids().collect(),
            Which::Ids(ids) => ids,
        };
        let moment = self.moment(&state);
        let changed: Vec<_> = ids
            .into_iter()
            .filter(|id| state.rows.change(*id, moment, &edit))
            .collect();
        self.raise(&mut state, "contact.edit", &changed, moment.stamp_ms);
        changed.len()
    }

    /// A new stamp and nothing else.
    pub fn touch(&self, id: i64) -> bool {
        self.edit(id, |_| {})
    }

    pub fn delete(&self, id: i64) -> bool {
        let mut state = self.state();
        let deleted = state.rows.remove(id).is_some();
        if deleted {
            let stamp_ms = self.shared.clock.now_ms();
            self.raise(&mut state, "contact.delete", &[id], stamp_ms);
        }
        deleted
    }

    /// The loser disappears; the winner gets a new stamp and what it lacked.
    pub fn merge(&self, loser: i64, winner: i64) -> bool {
        let Some(lost) = self.person(loser) else {
            return false;
        };
        if self.person(winner).is_none() || loser == winner {
            return false;
        }
        if self.knobs(|knobs| knobs.hook_delete_on_merge) {
            self.delete(loser);
        } else {
            self.state().rows.remove(loser);
        }
        self.edit(winner, |person| {
            if person.emails.is_empty() {
                person.emails = lost.emails;
            }
            if person.phones.is_empty() {
                person.phones = lost.phones;
            }
        })
    }

    /// Sets the stamp alone, to any value or to none.
    pub fn set_stamp_ms(&self, id: i64, stamp_ms: Option<i64>) {
        self.state().rows.set_stamp(id, stamp_ms);
    }

    /// The hidden milliseconds of a contact's stamp.
    pub fn stamp_ms(&self, id: i64) -> Option<i64> {
        self.state().rows.get(id)?.current.stamp_ms
    }

    /// Keeps a contact out of every list until this stand-in's clock shows that time.
    pub fn hide_until(&self, id: i64, until_ms: i64) {
        self.state().rows.hide_until(id, until_ms);
    }

    pub fn person(&self, id: i64) -> Option<Person> {
        self.state()
            .rows
            .get(id)
            .map(|row| row.current.person.unpack())
    }

    /// Shows every contact, the lowest id first. The memory is locked meanwhile.
    pub fn for_each(&self, mut show: impl FnMut(i64, Person)) {
        let state = self.state();
        for (id, row) in state.rows.by_id(i64::MIN..=i64::MAX) {
            show(id, row.current.person.unpack());
        }
    }

    pub fn ids(&self) -> Vec<i64> {
        self.state().rows.ids().collect()
    }

    pub fn len(&self) -> usize {
        self.state().rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all contacts; ids go on growing.
    pub fn forget_everybody(&self) {
        let ids = self.ids();
        let mut state = self.state();
        for id in ids {
            state.rows.remove(id);
        }
    }

    /// The moment of a change made now.
    fn moment(&self, state: &State) -> Moment {
        let now_ms = self.shared.clock.now_ms();
        Moment {
            now_ms,
            stamp_ms: now_ms,
            visible_ms: now_ms + state.knobs.visibility_delay_ms,
        }
    }
}
