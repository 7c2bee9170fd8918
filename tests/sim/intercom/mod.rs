//! The Intercom stand-in: contacts with a memory, and the handle by which tests reach it.

pub mod contact;
mod draft;
mod errors;
mod index;
pub mod knobs;
mod limits;
mod places;
mod query;
mod render;
mod routes;
mod search;
mod store;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use uuid::Uuid;

use super::clock::Clock;
use super::faults::{Fault, Faults};
use super::http::{Answer, Described, Door, Request, StandIn};
use super::ledger::{Call, Ledger};
use contact::{Facts, Role, Seed, Standing, StoredContact, id_of, slot_of};
use knobs::IntercomKnobs;
use limits::Limits;
use store::Store;
use write::Moment;

pub const DEFAULT_TOKEN: &str = "canary-intercom-token";

/// A handle; all clones are the same Intercom.
#[derive(Clone)]
pub struct Intercom {
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
    store: Store,
    knobs: IntercomKnobs,
    limits: Limits,
    requests: u64,
}

impl Intercom {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Intercom {
        Intercom::start_on(0)
            .await
            .expect("a free port on loopback")
    }

    pub async fn start_on(port: u16) -> io::Result<Intercom> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            store: Store::default(),
            knobs: IntercomKnobs::default(),
            limits: Limits::default(),
            requests: 0,
        };
        let intercom = Intercom {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::default(),
                faults: Faults::default(),
                state: Mutex::new(state),
            }),
        };
        intercom.shared.door.serve(listener, intercom.clone());
        Ok(intercom)
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.door.port())
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

    pub fn knobs<T>(&self, turn: impl FnOnce(&mut IntercomKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // The memory.

    /// Adds a user that has been there for long, unless the seed says `fresh`. Checks nothing: the same identifier may
    /// be given to several.
    pub fn add_user(&self, seed: Seed) -> String {
        self.seed(Role::User, seed)
    }

    /// As [`Intercom::add_user`]; a lead has an external id of Intercom's making.
    pub fn add_lead(&self, seed: Seed) -> String {
        self.seed(
            Role::Lead,
            Seed {
                external_id: Some(Uuid::new_v4().to_string()),
                ..seed
            },
        )
    }

    fn seed(&self, role: Role, seed: Seed) -> String {
        let moment = self.moment();
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let extras = (!seed.custom_attributes.is_empty()).then(|| {
            Box::new(contact::Extras {
                custom_attributes: seed.custom_attributes,
                ..Default::default()
            })
        });
        let facts = Facts {
            role,
            external_id: boxed(seed.external_id),
            email: boxed(seed.email),
            phone: boxed(seed.phone),
            name: boxed(seed.name),
            created_at: moment.seconds(),
            updated_at: moment.seconds(),
            extras,
        };
        id_of(
            self.state()
                .store
                .add(facts, seed.fresh.then_some(moment.due_ms)),
        )
    }

    /// Changes a live contact as an agent would; search sees it later.
    pub fn edit(&self, id: &str, edit: impl FnOnce(&mut StoredContact)) -> bool {
        let moment = self.moment();
        let store = &mut self.state().store;
        let Some((slot, mut facts)) =
            slot_of(id).and_then(|slot| Some((slot, store.live(slot)?.clone())))
        else {
            return false;
        };
        let mut stored = StoredContact::new(slot, Standing::Live, &facts);
        edit(&mut stored);
        stored.store_into(&mut facts);
        facts.updated_at = moment.seconds();
        store.change(slot, facts, Standing::Live, moment.due_ms);
        true
    }

    pub fn archive(&self, id: &str) {
        self.set_standing(id, Standing::Archived);
    }

    pub fn unarchive(&self, id: &str) {
        self.set_standing(id, Standing::Live);
    }

    /// Begins the seven days in which its identifiers are still held.
    pub fn delete(&self, id: &str) {
        let at_ms = self.moment().now_ms;
        self.set_standing(id, Standing::Deleted { at_ms });
    }

    pub fn block(&self, id: &str) {
        self.set_standing(id, Standing::Blocked);
    }

    /// Merges any two live contacts, whatever their roles.
    pub fn merge(&self, from: &str, into: &str) {
        let moment = self.moment();
        if let (Some(from), Some(into)) = (slot_of(from), slot_of(into)) {
            write::merge(&mut self.state().store, from, into, moment);
        }
    }

    fn set_standing(&self, id: &str, standing: Standing) {
        let moment = self.moment();
        if let Some(slot) = slot_of(id) {
            self.state()
                .store
                .set_standing(slot, standing, moment.due_ms);
        }
    }

    /// A contact in any standing; none once its deletion is complete.
    pub fn contact(&self, id: &str) -> Option<StoredContact> {
        let now_ms = self.moment().now_ms;
        self.state().store.stored(slot_of(id)?, now_ms)
    }

    /// Every contact in every standing, the oldest first.
    pub fn contacts(&self) -> Vec<StoredContact> {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        store
            .slots()
            .filter_map(|slot| store.stored(slot, now_ms))
            .collect()
    }

    pub fn live_users(&self) -> Vec<StoredContact> {
        self.live(|facts| facts.role == Role::User)
    }

    pub fn live_leads(&self) -> Vec<StoredContact> {
        self.live(|facts| facts.role == Role::Lead)
    }

    /// How many live users have an external id that `wanted` likes. The memory is locked meanwhile.
    pub fn count_users(&self, wanted: impl Fn(Option<&str>) -> bool) -> usize {
        let store = &self.state().store;
        let users = store
            .slots()
            .filter_map(|slot| store.live(slot))
            .filter(|facts| facts.role == Role::User);
        users
            .filter(|facts| wanted(facts.external_id.as_deref()))
            .count()
    }

    fn live(&self, wanted: impl Fn(&Facts) -> bool) -> Vec<StoredContact> {
        let store = &self.state().store;
        let live = store
            .slots()
            .filter_map(|slot| Some((slot, store.live(slot)?)));
        live.filter(|(_, facts)| wanted(facts))
            .map(|(slot, facts)| StoredContact::new(slot, Standing::Live, facts))
            .collect()
    }

    /// Live contacts with this external id.
    pub fn by_external_id(&self, external_id: &str) -> Vec<StoredContact> {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        store
            .holding_external_id(external_id, now_ms)
            .map(|(slot, record)| StoredContact::new(slot, record.standing, &record.facts))
            .filter(StoredContact::is_live)
            .collect()
    }

    /// Live contacts with this e-mail, whatever its case.
    pub fn by_email(&self, email: &str) -> Vec<StoredContact> {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        store
            .holding_email(email, now_ms)
            .map(|(slot, record)| StoredContact::new(slot, record.standing, &record.facts))
            .filter(|contact| {
                let held = contact.email.as_deref().unwrap_or_default();
                contact.is_live() && held.to_lowercase() == email.to_lowercase()
            })
            .collect()
    }

    /// The search index catches up at once.
    pub fn reindex_now(&self) {
        self.state().store.catch_up_wholly();
    }

    /// Forgets all contacts.
    pub fn forget_everybody(&self) {
        self.state().store = Store::default();
    }

    // The ledger, the windows and the faults.

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

    /// Also forgets the past windows.
    pub fn clear_ledger(&self) {
        self.shared.ledger.clear();
        self.state().limits.clear();
    }

    /// `false` keeps only the counts.
    pub fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    /// Start, calls let through and limit of each window.
    pub fn windows(&self) -> Vec<(i64, u32, u32)> {
        self.state().limits.windows()
    }

    /// Number of 429s for a full window.
    pub fn refused_by_limit(&self) -> usize {
        self.state().limits.refused()
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

    fn moment(&self) -> Moment {
        let now_ms = self.shared.clock.now_ms();
        Moment {
            now_ms,
            due_ms: now_ms + self.state().knobs.search_lag_ms,
        }
    }
}

impl StandIn for Intercom {
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
