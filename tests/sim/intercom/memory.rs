//! The memory of the Intercom stand-in, as tests reach it, in whatever standing a contact is.

use uuid::Uuid;

use super::contact::{Extras, Facts, Role, Seed, Standing, StoredContact, id_of, slot_of};
use super::store::Store;
use super::{Intercom, write};

impl Intercom {
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
            Box::new(Extras {
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
}
