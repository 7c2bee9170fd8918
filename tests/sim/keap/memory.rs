//! The memory of the Keap stand-in for tests: people are added, changed, merged and deleted.

use super::companies::Companies;
use super::consent::Consent;
use super::model::Model;
use super::person::Person;
use super::rows::Moment;
use super::tags::Tags;
use super::users::Users;
use super::{Keap, State};

/// Which contacts a bulk edit touches.
pub(crate) enum Which {
    All,
    Ids(Vec<i64>),
}

impl<I: IntoIterator<Item = i64>> From<I> for Which {
    fn from(ids: I) -> Which {
        Which::Ids(ids.into_iter().collect())
    }
}

impl Keap {
    /// Adds a person with the next id, stamped now.
    pub(crate) fn add(&self, person: Person) -> i64 {
        let mut state = self.state();
        let id = state.rows.next_id();
        self.put(&mut state, id, &person);
        id
    }

    /// Adds a person with this id, or replaces the one who has it.
    pub(crate) fn add_with_id(&self, id: i64, person: Person) {
        self.put(&mut self.state(), id, &person);
    }

    /// Adds `count` people and returns their ids. `person` makes each from its number: 0, 1, …
    pub(crate) fn add_many(&self, count: usize, person: impl Fn(usize) -> Person) -> Vec<i64> {
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
        let replaced = state.rows.get(id).map(|row| row.current.person.unpack().tag_ids);
        let before = replaced.unwrap_or_default();
        state.tags.follow(id, &before, &person.tag_ids, moment.now_ms);
        state.rows.put(id, person, moment);
        self.raise(state, "contact.add", &[id], moment.stamp_ms);
    }

    /// Changes a person, who gets a new stamp. `false` if there is no such person.
    pub(crate) fn edit(&self, id: i64, edit: impl FnOnce(&mut Person)) -> bool {
        let mut state = self.state();
        let moment = self.moment(&state);
        let changed = change(&mut state, id, moment, edit);
        if changed {
            self.raise(&mut state, "contact.edit", &[id], moment.stamp_ms);
        }
        changed
    }

    /// Changes a person whose stamp stays. Raises no event.
    pub(crate) fn edit_quietly(&self, id: i64, edit: impl FnOnce(&mut Person)) -> bool {
        let mut state = self.state();
        let Some(stamp_ms) = state.rows.get(id).map(|row| row.current.stamp_ms) else {
            return false;
        };
        let moment = self.moment(&state);
        change(&mut state, id, moment, edit);
        state.rows.set_stamp(id, stamp_ms);
        true
    }

    /// Changes many people, who all get the same stamp. Returns how many.
    pub(crate) fn bulk_edit(&self, which: impl Into<Which>, edit: impl Fn(&mut Person)) -> usize {
        let mut state = self.state();
        let ids = match which.into() {
            Which::All => state.rows.ids().collect(),
            Which::Ids(ids) => ids,
        };
        let moment = self.moment(&state);
        let changed: Vec<_> =
            ids.into_iter().filter(|id| change(&mut state, *id, moment, &edit)).collect();
        self.raise(&mut state, "contact.edit", &changed, moment.stamp_ms);
        changed.len()
    }

    /// Gives a person a new stamp and changes nothing else.
    pub(crate) fn touch(&self, id: i64) -> bool {
        self.edit(id, |_| {})
    }

    pub(crate) fn delete(&self, id: i64) -> bool {
        let mut state = self.state();
        let deleted = remove(&mut state, id);
        if deleted {
            let stamp_ms = self.shared.clock.now_ms();
            self.raise(&mut state, "contact.delete", &[id], stamp_ms);
        }
        deleted
    }

    /// Merges two people. The loser disappears. The winner gets a new stamp and what it lacked.
    pub(crate) fn merge(&self, loser: i64, winner: i64) -> bool {
        let Some(lost) = self.person(loser) else {
            return false;
        };
        if self.person(winner).is_none() || loser == winner {
            return false;
        }
        if self.knobs(|knobs| knobs.hook_delete_on_merge) {
            self.delete(loser);
        } else {
            remove(&mut self.state(), loser);
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

    /// Sets only the stamp, to any value or to none.
    pub(crate) fn set_stamp_ms(&self, id: i64, stamp_ms: Option<i64>) {
        self.state().rows.set_stamp(id, stamp_ms);
    }

    /// The hidden milliseconds of a contact's stamp.
    pub(crate) fn stamp_ms(&self, id: i64) -> Option<i64> {
        self.state().rows.get(id)?.current.stamp_ms
    }

    /// Hides a contact from every list until this stand-in's clock reaches that time.
    pub(crate) fn hide_until(&self, id: i64, until_ms: i64) {
        self.state().rows.hide_until(id, until_ms);
    }

    pub(crate) fn person(&self, id: i64) -> Option<Person> {
        self.state().rows.get(id).map(|row| row.current.person.unpack())
    }

    /// Calls `show` for every contact, the lowest id first, while the memory is locked.
    pub(crate) fn for_each(&self, mut show: impl FnMut(i64, Person)) {
        let state = self.state();
        for (id, row) in state.rows.by_id(i64::MIN..=i64::MAX) {
            show(id, row.current.person.unpack());
        }
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        self.state().rows.ids().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.state().rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all contacts. Their ids are not used again.
    pub(crate) fn forget_everybody(&self) {
        let ids = self.ids();
        let mut state = self.state();
        for id in ids {
            remove(&mut state, id);
        }
    }

    /// Forgets custom fields, statuses of addresses, tags, users and companies.
    pub(crate) fn forget_setup(&self) {
        let mut state = self.state();
        state.model = Model::default();
        state.consent = Consent::default();
        state.tags = Tags::default();
        state.users = Users::default();
        state.companies = Companies::default();
    }

    /// The moment of a change made now.
    fn moment(&self, state: &State) -> Moment {
        let now_ms = self.shared.clock.now_ms();
        Moment { now_ms, stamp_ms: now_ms, visible_ms: now_ms + state.knobs.visibility_delay_ms }
    }
}

/// Changes a person and notes which tags come and go. `false` if there is no such person.
fn change(state: &mut State, id: i64, moment: Moment, edit: impl FnOnce(&mut Person)) -> bool {
    let State { rows, tags, .. } = state;
    rows.change(id, moment, |person| {
        let before = person.tag_ids.clone();
        edit(person);
        tags.follow(id, &before, &person.tag_ids, moment.now_ms);
    })
}

/// Removes a person, and the times at which the person was tagged.
fn remove(state: &mut State, id: i64) -> bool {
    let Some(row) = state.rows.remove(id) else {
        return false;
    };
    state.tags.follow(id, &row.current.person.unpack().tag_ids, &[], row.created_ms);
    true
}
