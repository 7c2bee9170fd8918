//! The memory of the Intercom stand-in for tests. It reaches contacts in every standing.

use uuid::Uuid;

use super::contact::{Extras, Facts, Role, Seed, Standing, StoredContact, id_of, slot_of};
use super::store::Store;
use super::{Intercom, State, write};

impl Intercom {
    /// Adds a user. Search shows it at once, unless the seed says `fresh`. Checks nothing, so
    /// several users can have the same identifier.
    pub(crate) fn add_user(&self, seed: Seed) -> String {
        self.seed(Role::User, seed)
    }

    /// As [`Intercom::add_user`], but adds a lead. Intercom makes the external id of a lead.
    pub(crate) fn add_lead(&self, seed: Seed) -> String {
        self.seed(Role::Lead, Seed { external_id: Some(Uuid::new_v4().to_string()), ..seed })
    }

    fn seed(&self, role: Role, seed: Seed) -> String {
        let moment = self.moment();
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let extras = (!seed.custom_attributes.is_empty()).then(|| {
            Box::new(Extras { custom_attributes: seed.custom_attributes, ..Default::default() })
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
        id_of(self.state().store.add(facts, seed.fresh.then_some(moment.due_ms)))
    }

    /// Edits a live contact, as a person in Intercom would. Search shows it after the lag.
    pub(crate) fn edit(&self, id: &str, edit: impl FnOnce(&mut StoredContact)) -> bool {
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

    /// Notes that a live contact visits the site now.
    pub(crate) fn visit(&self, id: &str) -> bool {
        let moment = self.moment();
        let State { store, knobs, .. } = &mut *self.state();
        let Some((slot, mut facts)) =
            slot_of(id).and_then(|slot| Some((slot, store.live(slot)?.clone())))
        else {
            return false;
        };
        facts.extras.get_or_insert_default().last_seen_at = Some(moment.seconds());
        if knobs.seen_bumps_updated_at {
            facts.updated_at = moment.seconds();
        }
        store.change(slot, facts, Standing::Live, moment.due_ms);
        true
    }

    pub(crate) fn archive(&self, id: &str) {
        self.set_standing(id, Standing::Archived);
    }

    pub(crate) fn unarchive(&self, id: &str) {
        self.set_standing(id, Standing::Live);
    }

    /// Deletes a contact. It still holds its identifiers for seven days.
    pub(crate) fn delete(&self, id: &str) {
        let at_ms = self.moment().now_ms;
        self.set_standing(id, Standing::Deleted { at_ms });
    }

    pub(crate) fn block(&self, id: &str) {
        self.set_standing(id, Standing::Blocked);
    }

    /// Merges any two live contacts, whatever their roles.
    pub(crate) fn merge(&self, from: &str, into: &str) {
        let moment = self.moment();
        if let (Some(from), Some(into)) = (slot_of(from), slot_of(into)) {
            write::merge(&mut self.state().store, from, into, moment);
        }
    }

    fn set_standing(&self, id: &str, standing: Standing) {
        let moment = self.moment();
        if let Some(slot) = slot_of(id) {
            self.state().store.set_standing(slot, standing, moment.due_ms);
        }
    }

    /// A contact in any standing. `None` after its deletion is complete.
    pub(crate) fn contact(&self, id: &str) -> Option<StoredContact> {
        let now_ms = self.moment().now_ms;
        self.state().store.stored(slot_of(id)?, now_ms)
    }

    /// All contacts in every standing, the oldest first.
    pub(crate) fn contacts(&self) -> Vec<StoredContact> {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        store.slots().filter_map(|slot| store.stored(slot, now_ms)).collect()
    }

    pub(crate) fn live_users(&self) -> Vec<StoredContact> {
        self.live(|facts| facts.role == Role::User)
    }

    pub(crate) fn live_leads(&self) -> Vec<StoredContact> {
        self.live(|facts| facts.role == Role::Lead)
    }

    /// Counts the live users whose external id is `wanted`. The memory is locked meanwhile.
    pub(crate) fn count_users(&self, wanted: impl Fn(Option<&str>) -> bool) -> usize {
        let store = &self.state().store;
        let users = store
            .slots()
            .filter_map(|slot| store.live(slot))
            .filter(|facts| facts.role == Role::User);
        users.filter(|facts| wanted(facts.external_id.as_deref())).count()
    }

    fn live(&self, wanted: impl Fn(&Facts) -> bool) -> Vec<StoredContact> {
        let store = &self.state().store;
        let live = store.slots().filter_map(|slot| Some((slot, store.live(slot)?)));
        live.filter(|(_, facts)| wanted(facts))
            .map(|(slot, facts)| StoredContact::new(slot, Standing::Live, facts))
            .collect()
    }

    /// Live contacts with this external id.
    pub(crate) fn by_external_id(&self, external_id: &str) -> Vec<StoredContact> {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        store
            .holding_external_id(external_id, now_ms)
            .map(|(slot, record)| StoredContact::new(slot, record.standing, &record.facts))
            .filter(StoredContact::is_live)
            .collect()
    }

    /// Live contacts with this e-mail, whatever its case.
    pub(crate) fn by_email(&self, email: &str) -> Vec<StoredContact> {
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

    /// Brings the search index up to date.
    pub(crate) fn reindex_now(&self) {
        self.state().store.catch_up_fully();
    }

    /// Removes all contacts.
    pub(crate) fn forget_everybody(&self) {
        self.state().store = Store::default();
    }
}
