//! The workspace of the Intercom stand-in: what contacts refer to. This file keeps the admins.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Intercom;
use super::attributes::Attributes;
use super::companies::Companies;
use super::tags::Tags;
use crate::sim::message::Answer;

/// The admin of the token.
pub(super) const ADMIN_ID: &str = "1295";
pub(super) const ADMIN_EMAIL: &str = "admin@example.org";

#[derive(Default)]
pub(super) struct Workspace {
    pub attributes: Attributes,
    pub admins: Admins,
    pub tags: Tags,
    pub companies: Companies,
}

/// E-mails by id.
pub(super) struct Admins(BTreeMap<String, String>);

impl Default for Admins {
    fn default() -> Admins {
        Admins(BTreeMap::from([(ADMIN_ID.to_owned(), ADMIN_EMAIL.to_owned())]))
    }
}

impl Admins {
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }
}

impl Intercom {
    /// Adds an admin and returns the id.
    pub(crate) fn add_admin(&self, email: &str) -> String {
        let admins = &mut self.state().workspace.admins.0;
        let id = (1296..).map(|id: u32| id.to_string()).find(|id| !admins.contains_key(id));
        let id = id.unwrap_or_default();
        admins.insert(id.clone(), email.to_owned());
        id
    }

    /// Removes an admin. The contacts of that admin keep their owner.
    pub(crate) fn remove_admin(&self, id: &str) -> bool {
        self.state().workspace.admins.0.remove(id).is_some()
    }

    /// Forgets attributes, admins, tags and companies.
    pub(crate) fn forget_setup(&self) {
        self.state().workspace = Workspace::default();
    }

    /// `GET /admins`
    pub(super) fn admins_call(&self) -> Answer {
        let state = self.state();
        let admins: Vec<Value> = state
            .workspace
            .admins
            .0
            .iter()
            .map(|(id, email)| {
                let name = email.split('@').next().unwrap_or_default();
                json!({
                    "type": "admin", "id": id, "email": email, "name": name,
                    "away_mode_enabled": false, "away_mode_reassign": false,
                    "has_inbox_seat": true, "team_ids": [],
                })
            })
            .collect();
        Answer::json(200, json!({"type": "admin.list", "admins": admins}).to_string())
    }
}
