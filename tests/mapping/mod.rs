//! Mappings of the operator's choice, from the settings file to both stand-ins.

mod change;
mod clears;
mod commands;
mod consent;
mod examples;
mod forms;
mod healing;
mod owners;
mod places;

use serde_json::Value;

use crate::world::World;

/// A settings file with the three built-in fields and these ones: a place in Keap, a place in
/// Intercom, and more lines of the table.
pub(crate) fn mapped(fields: &[(&str, &str, &str)]) -> String {
    let built_in = ["email", "name", "phone"].map(|name| (name, name, ""));
    tables(built_in.iter().chain(fields))
}

/// A settings file with these fields alone.
pub(crate) fn tables<'a>(
    fields: impl IntoIterator<Item = &'a (&'a str, &'a str, &'a str)>,
) -> String {
    let table = |(keap, intercom, more): &(&str, &str, &str)| {
        format!("[[field]]\nkeap = {keap:?}\nintercom = {intercom:?}\n{more}\n")
    };
    fields.into_iter().map(table).collect()
}

impl World {
    /// An attribute of the Intercom contact of a Keap contact; null if it was never written.
    pub(crate) fn attribute(&self, id: i64, name: &str) -> Value {
        self.user(id).custom_attributes.get(name).cloned().unwrap_or_default()
    }

    /// The calls to Intercom that are about contacts, and not about the fields of the workspace.
    pub(crate) fn contact_calls(&self) -> usize {
        self.intercom.calls() - self.intercom.count("attributes") - self.intercom.count("admins")
    }

    /// The bodies of the writes to Intercom since the ledger was cleared.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let calls = self.intercom.ledger().into_iter();
        let writes = calls.filter(|call| matches!(call.kind, "create" | "update"));
        writes.filter_map(|call| call.body).collect()
    }
}
