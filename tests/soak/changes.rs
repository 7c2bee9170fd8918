//! Changes that people make in Keap and Intercom, drawn by a seed.

use std::collections::BTreeSet;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::cast::{address, mixed_person};
use crate::checker::Evidence;
use crate::sim::Person;

/// New people and new values are numbered from here on, so that no two are equal.
const FIRST_NEW: usize = 5_000;

/// Draws and makes changes.
pub(crate) struct Changes {
    rng: StdRng,
    next: usize,
    /// Contacts that an agent has edited in Intercom. Such an edit stays until the contact changes
    /// in Keap, so they change there at the end.
    agents: BTreeSet<i64>,
    /// What was done, to which contact, and when.
    journal: Vec<(Instant, i64, String)>,
}

impl Changes {
    pub(crate) fn new(rng: StdRng) -> Changes {
        Changes { rng, next: FIRST_NEW, agents: BTreeSet::new(), journal: Vec::new() }
    }

    /// A set of changes of every kind, to about half of the people, as the first of two runs.
    pub(crate) fn many(&mut self, scene: &Evidence) {
        let ids = scene.keap.ids();
        for (at, id) in ids.iter().enumerate() {
            match at % 10 {
                0 | 2 | 5 => self.rename(scene, *id),
                1 => self.phone(scene, *id),
                4 => self.move_address(scene, *id),
                _ => {}
            }
        }
        // One of each kind that is rare.
        let mut others = ids.iter().copied().filter(|id| id % 10 == 8);
        if let [Some(one), Some(two), Some(three), Some(four)] =
            [others.next(), others.next(), others.next(), others.next()]
        {
            self.clear_address(scene, one);
            self.swap_addresses(scene, two, three);
            self.delete(scene, four);
        }
        self.merge(scene, 16, 17);
        self.add(scene);
    }

    /// Edits on both sides of about half of the people.
    pub(crate) fn on_both_sides(&mut self, scene: &Evidence) {
        for (at, id) in scene.keap.ids().into_iter().enumerate() {
            match at % 8 {
                0 | 2 | 3 | 5 => self.type_word(scene, id),
                6 => self.rename(scene, id),
                _ => {}
            }
        }
    }

    /// Somebody types a word into a field that both sides may change.
    fn type_word(&mut self, scene: &Evidence, id: i64) {
        let number = self.rng.random_range(0..1_000);
        if let Some(what) = scene.owners.type_word(scene, id, number) {
            self.note(id, what);
        }
    }

    /// Some changes, to contacts drawn from everybody.
    pub(crate) fn some(&mut self, scene: &Evidence, number: usize) {
        for _ in 0..number {
            if let Some(id) = scene.keap.ids().choose(&mut self.rng).copied() {
                self.one(scene, id);
            }
        }
    }

    /// Changes around a fault: to the contacts that were written last, whose outcome the daemon may
    /// not know. Half of them go back to what they were.
    pub(crate) fn around_the_last_writes(&mut self, scene: &Evidence, number: usize) {
        let mut last: Vec<i64> = Vec::new();
        let calls = scene.intercom.ledger();
        let writes = calls.iter().rev().filter(|call| matches!(call.kind, "create" | "update"));
        for call in writes {
            let id = call.external_id.as_deref().and_then(|id| id.parse().ok());
            if let Some(id) = id.filter(|id| !last.contains(id)) {
                last.push(id);
            }
            if last.len() == number {
                break;
            }
        }
        if scene.owners.is_two_way() {
            let calls = scene.keap.ledger().into_iter().rev();
            let writes = calls.filter(|call| call.kind == "write");
            let ids = writes.filter_map(|call| call.key?.parse().ok());
            let mut in_keap: Vec<i64> = ids.take(number * 3).collect();
            in_keap.dedup();
            in_keap.truncate(number);
            last.extend(in_keap.into_iter().filter(|id| !last.contains(id)).collect::<Vec<_>>());
        }
        for id in last {
            if scene.owners.is_two_way() {
                self.type_word(scene, id);
                continue;
            }
            if self.rng.random_bool(0.5) {
                self.back(scene, id);
            } else {
                self.one(scene, id);
            }
        }
    }

    /// What was done to a contact, and when.
    pub(crate) fn of(&self, id: i64) -> impl Iterator<Item = (Instant, String)> {
        let of_contact = self.journal.iter().filter(move |(_, whose, _)| *whose == id);
        of_contact.map(|(at, _, what)| (*at, what.clone()))
    }

    fn note(&mut self, id: i64, what: impl Into<String>) {
        self.journal.push((Instant::now(), id, what.into()));
    }

    /// What must happen before both sides can agree.
    pub(crate) fn finish(&mut self, scene: &Evidence) {
        for id in std::mem::take(&mut self.agents) {
            self.rename(scene, id);
        }
    }

    /// One change, of a kind that is drawn.
    fn one(&mut self, scene: &Evidence, id: i64) {
        if scene.owners.is_two_way() {
            return match self.rng.random_range(0..8) {
                0 => self.rename(scene, id),
                1 => self.phone(scene, id),
                2 => self.agent(scene, id),
                _ => self.type_word(scene, id),
            };
        }
        let other = scene.keap.ids().choose(&mut self.rng).copied().unwrap_or(id);
        match self.rng.random_range(0..16) {
            0 | 1 => self.rename(scene, id),
            2 => self.phone(scene, id),
            3 => {
                self.note(id, "its phones are cleared");
                scene.history.edit(&scene.keap, id, |person| person.phones.clear());
            }
            4 => self.move_address(scene, id),
            5 => self.clear_address(scene, id),
            6 => drop(scene.keap.touch(id)),
            7 | 8 => {
                // A to B, and to A again.
                self.rename(scene, id);
                self.back(scene, id);
            }
            9 => self.back(scene, id),
            10 => self.delete(scene, id),
            11 => self.merge(scene, id, other),
            12 => self.swap_addresses(scene, id, other),
            13 => self.agent(scene, id),
            _ => self.add(scene),
        }
    }

    fn serial(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn rename(&mut self, scene: &Evidence, id: i64) {
        let name = format!("Canary{}", self.serial());
        self.note(id, format!("it is renamed to {name}"));
        scene.history.edit(&scene.keap, id, |person| person.family_name = Some(name));
    }

    fn phone(&mut self, scene: &Evidence, id: i64) {
        let digits = self.serial();
        self.note(id, format!("its phone ends in {digits}"));
        scene.history.edit(&scene.keap, id, |person| {
            person.phones.clear();
            let e164 = format!("+1777555{digits}");
            *person = std::mem::take(person).phone(&format!("(777) 555-{digits}"), Some(&e164));
        });
    }

    fn move_address(&mut self, scene: &Evidence, id: i64) {
        let email = address(&format!("moved.{}", self.serial()));
        self.note(id, format!("its address is {email}"));
        scene.history.edit(&scene.keap, id, |person| give(person, Some(email)));
    }

    fn clear_address(&mut self, scene: &Evidence, id: i64) {
        self.note(id, "its addresses are cleared");
        scene.history.edit(&scene.keap, id, |person| person.emails.clear());
    }

    fn delete(&mut self, scene: &Evidence, id: i64) {
        self.note(id, "it is deleted");
        scene.keap.delete(id);
    }

    /// The contact is again as it was before its last change.
    fn back(&mut self, scene: &Evidence, id: i64) {
        if let Some(former) = scene.history.former(id) {
            self.note(id, format!("it is as before: {former:?}"));
            scene.history.edit(&scene.keap, id, |person| *person = former);
        }
    }

    fn merge(&mut self, scene: &Evidence, loser: i64, winner: i64) {
        if loser != winner {
            self.note(loser, format!("it is merged into {winner}"));
            self.note(winner, format!("{loser} is merged into it"));
            scene.history.merge(&scene.keap, loser, winner);
        }
    }

    fn swap_addresses(&mut self, scene: &Evidence, one: i64, other: i64) {
        let email = |id| scene.keap.person(id).and_then(|person| person.wanted_email());
        if let (Some(of_one), Some(of_other)) = (email(one), email(other))
            && one != other
        {
            self.note(one, format!("it gets the address {of_other} of {other}"));
            self.note(other, format!("it gets the address {of_one} of {one}"));
            scene.history.edit(&scene.keap, one, |person| give(person, Some(of_other)));
            scene.history.edit(&scene.keap, other, |person| give(person, Some(of_one)));
        }
    }

    /// An agent edits the contact in Intercom.
    fn agent(&mut self, scene: &Evidence, id: i64) {
        let name = format!("Canary Agent {}", self.serial());
        for user in scene.intercom.by_external_id(&id.to_string()) {
            scene.intercom.edit(&user.id, |user| user.name = Some(name.clone()));
            self.note(id, format!("an agent renames it to {name}"));
            self.agents.insert(id);
        }
    }

    fn add(&mut self, scene: &Evidence) {
        let number = self.serial();
        let id = scene.history.add(&scene.keap, mixed_person(number));
        self.note(id, format!("it is added: {:?}", scene.keap.person(id)));
    }
}

/// Replaces all addresses.
fn give(person: &mut Person, email: Option<String>) {
    person.emails.clear();
    if let Some(email) = email {
        *person = std::mem::take(person).email(&email);
    }
}
