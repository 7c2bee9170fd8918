//! The Keap stand-in: people with a memory, and the handle by which tests reach it.

mod errors;
mod filter;
pub mod knobs;
mod limits;
mod list;
pub mod person;
mod render;
mod routes;
mod rows;
mod stamps;
mod v1;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::clock::Clock;
use super::faults::{Fault, Faults};
use super::http::{Answer, Described, Door, Request, StandIn};
use super::ledger::{Call, Ledger};
use knobs::KeapKnobs;
use limits::Limits;
use person::Person;
use rows::{Moment, Rows};

pub const DEFAULT_TOKEN: &str = "KeapAK-canary-keap-token";

/// A handle; all clones are the same Keap.
#[derive(Clone)]
pub struct Keap {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    clock: Clock,
    ledger: Ledger,
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    token: String,
    rows: Rows,
    knobs: KeapKnobs,
    limits: Limits,
    /// List answers so far.
    lists: u64,
    /// Answers with v2 contacts so far.
    answers: u64,
}

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
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Keap {
        Keap::start_on(0).await.expect("a free port on loopback")
    }

    pub async fn start_on(port: u16) -> io::Result<Keap> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            rows: Rows::default(),
            knobs: KeapKnobs::default(),
            limits: Limits::default(),
            lists: 0,
            answers: 0,
        };
        let keap = Keap {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::default(),
                faults: Faults::default(),
                state: Mutex::new(state),
            }),
        };
        keap.shared.door.serve(listener, keap.clone());
        Ok(keap)
    }

    /// `http://127.0.0.1:PORT/crm/rest`
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/crm/rest", self.shared.door.port())
    }

    /// Closes the listener and all connections. The memory is kept.
    pub async fn stop(&self) {
        self.shared.door.shut().await;
    }

    /// Comes back on the same port.
    pub async fn resume(&self) {
        self.shared
            .door
            .reopen(self.clone())
            .await
            .expect("the port of before");
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub fn token(&self) -> String {
        self.state().token.clone()
    }

    /// Revokes the old token.
    pub fn set_token(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    pub fn knobs<T>(&self, turn: impl FnOnce(&mut KeapKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // The memory.

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
    }

    /// Changes a person; the stamp is new. `false` if there is no such person.
    pub fn edit(&self, id: i64, edit: impl FnOnce(&mut Person)) -> bool {
        let mut state = self.state();
        let moment = self.moment(&state);
        state.rows.change(id, moment, edit)
    }

    /// Changes many people and gives them all one equal stamp; gives back how many.
    pub fn bulk_edit(&self, which: impl Into<Which>, edit: impl Fn(&mut Person)) -> usize {
        let mut state = self.state();
        let ids = match which.into() {
            Which::All => state.rows.ids().collect(),
            Which::Ids(ids) => ids,
        };
        let moment = self.moment(&state);
        ids.into_iter()
            .filter(|id| state.rows.change(*id, moment, &edit))
            .count()
    }

    /// A new stamp and nothing else.
    pub fn touch(&self, id: i64) -> bool {
        self.edit(id, |_| {})
    }

    pub fn delete(&self, id: i64) -> bool {
        self.state().rows.remove(id).is_some()
    }

    /// The loser disappears; the winner gets a new stamp and what it lacked.
    pub fn merge(&self, loser: i64, winner: i64) -> bool {
        let Some(lost) = self.person(loser) else {
            return false;
        };
        if self.person(winner).is_none() || loser == winner {
            return false;
        }
        self.delete(loser);
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

    // The ledger and the faults.

    pub fn ledger(&self) -> Vec<Call> {
        self.shared.ledger.calls()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.shared.ledger.count(kind)
    }

    pub fn calls(&self) -> usize {
        self.shared.ledger.total()
    }

    pub fn kinds(&self) -> BTreeMap<&'static str, usize> {
        self.shared.ledger.kinds()
    }

    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.shared.ledger.statuses()
    }

    pub fn clear_ledger(&self) {
        self.shared.ledger.clear();
    }

    /// `false` keeps only the counts.
    pub fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Faults that have not struck, or not often enough.
    pub fn faults_waiting(&self) -> usize {
        self.shared.faults.waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
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

impl StandIn for Keap {
    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.state().knobs.latency_ms)
    }

    fn describe(&self, request: &Request) -> Described {
        self.describe_call(request)
    }

    fn answer(&self, request: &Request) -> Answer {
        self.answer_call(request)
    }

    fn dictate(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.dictate_answer(request, status, body)
    }
}
