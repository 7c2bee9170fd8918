//! The properties that few people in Keap have: texts, addresses, owner, company and custom fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The text properties that are kept here. A person keeps the names and the job title itself.
pub(crate) const TEXTS: [&str; 20] = [
    "account_id",
    "anniversary_date",
    "assistant_name",
    "assistant_phone",
    "billing_information",
    "birth_date",
    "contact_type",
    "created_by",
    "last_updated_by",
    "leadsource_id",
    "notes",
    "preferred_locale",
    "prefix",
    "referral_code",
    "score_value",
    "source_type",
    "spouse_name",
    "suffix",
    "time_zone",
    "website",
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Values by property name. [`super::person::Person::set`] checks the name.
    pub(super) texts: BTreeMap<String, String>,
    pub owner_id: Option<i64>,
    pub company_id: Option<i64>,
    pub addresses: Vec<Address>,
    /// Slot (`FAX1`, `FAX2`) and number.
    pub fax_numbers: Vec<(String, String)>,
    /// Type (`FACEBOOK`, `LINKED_IN`, …) and name.
    pub social_accounts: Vec<(String, String)>,
    /// Content by the id of the custom field, in any form. Null counts as no content.
    pub custom_fields: BTreeMap<i64, Value>,
}

/// An address. Its slots are `BILLING`, `SHIPPING` and `OTHER`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    pub field: String,
    pub line1: Option<String>,
    pub line2: Option<String>,
    pub locality: Option<String>,
    /// The full name of the region: `Arizona`.
    pub region: Option<String>,
    /// `US-AZ`
    pub region_code: Option<String>,
    pub postal_code: Option<String>,
    pub zip_code: Option<String>,
    pub zip_four: Option<String>,
    /// The full name of the country.
    pub country: Option<String>,
    /// `USA`
    pub country_code: Option<String>,
}

impl Address {
    pub(crate) fn new(field: &str) -> Address {
        Address { field: field.to_owned(), ..Address::default() }
    }

    /// The text of a part by its name in v2. `None` for an empty part, and for one that no filter
    /// knows.
    pub(super) fn part(&self, name: &str) -> Option<&str> {
        let part = match name {
            "line1" => &self.line1,
            "locality" => &self.locality,
            "region" => &self.region,
            "postal_code" => &self.postal_code,
            "country_code" => &self.country_code,
            _ => &None,
        };
        part.as_deref()
    }

    /// The address as v2 shows it. Its empty parts are null, or are left out.
    pub(super) fn json(&self, omit_nulls: bool) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let (Value::Object(parts), true) = (&mut json, omit_nulls) {
            parts.retain(|_, part| !part.is_null());
        }
        json
    }
}
