//! Whether an e-mail address may get marketing. The status belongs to the address, so all contacts
//! with that address share it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pager::{self, Pager};
use super::person::Person;
use super::{Keap, State, errors, stamps};
use crate::sim::ledger::Call;
use crate::sim::message::{Answer, Request};

/// Words of v2, words of v1, and whether the address may get marketing.
const STATUSES: [(&str, &str, bool); 17] = [
    ("UNENGAGED_MARKETABLE", "UnengagedMarketable", true),
    ("SINGLE_OPT_IN", "SingleOptIn", true),
    ("DOUBLE_OPT_IN", "DoubleOptin", true),
    ("CONFIRMED", "Confirmed", true),
    ("UNENGAGED_NON_MARKETABLE", "UnengagedNonMarketable", false),
    ("NON_MARKETABLE", "NonMarketable", false),
    ("LOCKDOWN", "Lockdown", false),
    ("BOUNCE", "Bounce", false),
    ("HARD_BOUNCE", "HardBounce", false),
    ("MANUAL", "Manual", false),
    ("ADMIN", "Admin", false),
    ("SYSTEM", "System", false),
    ("LIST_UNSUBSCRIBE", "ListUnsubscribe", false),
    ("FEEDBACK", "Feedback", false),
    ("SPAM", "Spam", false),
    ("INVALID", "Invalid", false),
    ("DEACTIVATED", "Deactivated", false),
];

/// The statuses that an opt-in changes.
const OPEN_TO_OPT_IN: [&str; 4] =
    ["UNENGAGED_MARKETABLE", "UNENGAGED_NON_MARKETABLE", "NON_MARKETABLE", "MANUAL"];

/// The status of an address: an index into [`STATUSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptStatus(usize);

impl OptStatus {
    pub(crate) fn named(word: &str) -> Option<OptStatus> {
        STATUSES.iter().position(|(known, ..)| *known == word).map(OptStatus)
    }

    pub(crate) fn word(self) -> &'static str {
        STATUSES[self.0].0
    }

    pub(super) fn v1_word(self) -> &'static str {
        STATUSES[self.0].1
    }

    pub(crate) fn is_opt_in(self) -> bool {
        STATUSES[self.0].2
    }
}

/// `SINGLE_OPT_IN`, the status of every address that nobody has given another one.
impl Default for OptStatus {
    fn default() -> OptStatus {
        OptStatus(1)
    }
}

#[derive(Default)]
pub(super) struct Consent {
    /// By address in lower case. Addresses with the default status are absent.
    by_address: BTreeMap<String, OptStatus>,
}

impl Consent {
    pub(super) fn status(&self, address: &str) -> OptStatus {
        if self.by_address.is_empty() {
            return OptStatus::default();
        }
        self.by_address.get(&address.to_lowercase()).copied().unwrap_or_default()
    }
}

impl Keap {
    /// Sets the status of an address by its word in v2, such as `LIST_UNSUBSCRIBE`. Panics if there
    /// is no such status.
    pub(crate) fn set_opt_status(&self, address: &str, word: &str) {
        let status = OptStatus::named(word)
            .unwrap_or_else(|| panic!("{word} is no status of an e-mail address"));
        let bumps = {
            let mut state = self.state();
            state.consent.by_address.insert(address.to_lowercase(), status);
            state.knobs.opt_status_bumps
        };
        if bumps {
            self.bulk_edit(self.contacts_with(address), |_| {});
        }
    }

    /// Opts an address out, as its owner does by the link in a letter.
    pub(crate) fn unsubscribe(&self, address: &str) {
        self.set_opt_status(address, "LIST_UNSUBSCRIBE");
    }

    pub(crate) fn opt_status(&self, address: &str) -> OptStatus {
        self.state().consent.status(address)
    }

    /// Opts an address in, if its status allows it.
    pub(super) fn opt_in(&self, address: &str) {
        if OPEN_TO_OPT_IN.contains(&self.opt_status(address).word()) {
            self.set_opt_status(address, "SINGLE_OPT_IN");
        }
    }

    /// The contacts with this address, whatever its case.
    fn contacts_with(&self, address: &str) -> Vec<i64> {
        let mut ids = Vec::new();
        self.for_each(|id, person| {
            if has(&person, address) {
                ids.push(id);
            }
        });
        ids
    }

    /// Requests that could have subscribed somebody, whatever their answers: those that give a
    /// reason for an opt-in, and those whose `opted_in` is not false.
    pub(crate) fn could_subscribe(&self) -> Vec<String> {
        self.shared.ledger.suspects(subscribing)
    }

    /// `GET /v2/emailAddresses/{email}/status`
    pub(super) fn opt_status_call(&self, address: &str) -> Answer {
        let held = self.state().consent.by_address.contains_key(&address.to_lowercase());
        if !held && self.contacts_with(address).is_empty() {
            return errors::not_found(address);
        }
        Answer::json(200, status_json(&self.state(), address).to_string())
    }

    /// `PATCH /v2/emailAddresses/{email}/status`: an opt-out, or an opt-in if the status allows it.
    pub(super) fn set_opt_status_call(&self, address: &str, request: &Request) -> Answer {
        let body = request.json();
        let opted_in = body.and_then(|body| body.get("opted_in")?.as_bool());
        let reason = body.and_then(|body| body.get("reason")?.as_str());
        let (Some(opted_in), Some(_)) = (opted_in, reason) else {
            return errors::bad_request("opted_in and reason are required");
        };
        let status = self.opt_status(address);
        let ignored = self.knobs(|knobs| knobs.ignore_opt_out);
        if opted_in {
            self.opt_in(address);
        } else if status.is_opt_in() && !ignored {
            self.set_opt_status(address, "MANUAL");
        }
        let changed = self.opt_status(address) != status;
        let answer = Answer::json(200, status_json(&self.state(), address).to_string());
        if changed { answer.applied() } else { answer }
    }

    /// `GET /v2/emailAddresses`: all addresses of contacts, by status or by address.
    pub(super) fn opt_statuses_call(&self, request: &Request) -> Answer {
        let mut addresses: Vec<String> = self.state().consent.by_address.keys().cloned().collect();
        self.for_each(|_, person| {
            addresses.extend(person.emails.iter().map(|(_, address)| address.to_lowercase()));
        });
        addresses.sort();
        addresses.dedup();
        let state = self.state();
        let found = || {
            let text = request.param("filter").unwrap_or_default();
            let clauses = pager::clauses(&text, &["statuses", "emails", "opted_in"])?;
            let pager = Pager::parse(request, &state.knobs, pager::MOST_ROWS)?;
            let fits = |address: &str| {
                let status = state.consent.status(address);
                clauses.iter().all(|(field, _, value)| match *field {
                    "statuses" => value.split(',').any(|word| word == status.word()),
                    "emails" => value.split(',').any(|email| email.to_lowercase() == address),
                    _ => *value == status.is_opt_in().to_string(),
                })
            };
            let rows = (1..).zip(addresses).filter(|(_, address)| fits(address)).collect();
            let (page, next) = pager.page(rows, true);
            let page: Vec<_> = page
                .iter()
                .map(|address| {
                    let status = state.consent.status(address);
                    json!({"email": address, "opted_in": status.is_opt_in(), "status": status.word()})
                })
                .collect();
            Ok(pager::answer("email_addresses", page, next, &state.knobs))
        };
        found().unwrap_or_else(|message: String| errors::bad_request(&message))
    }
}

fn has(person: &Person, address: &str) -> bool {
    let address = address.to_lowercase();
    person.emails.iter().any(|(_, held)| held.to_lowercase() == address)
}

fn status_json(state: &State, address: &str) -> Value {
    let status = state.consent.status(address);
    json!({
        "email": address, "opted_in": status.is_opt_in(), "status": status.word(),
        "create_time": stamps::v2(0, state.knobs.rounding),
        "last_sent_time": null, "last_open_time": null, "last_click_time": null,
    })
}

/// The call and the property that could have subscribed somebody.
pub(super) fn subscribing(call: &Call) -> Option<String> {
    let property = subscribing_property(call.body.as_ref()?)?;
    Some(format!("{} {}: {property}", call.method, call.path))
}

fn subscribing_property(body: &Value) -> Option<String> {
    match body {
        Value::Array(items) => items.iter().find_map(subscribing_property),
        Value::Object(entries) => entries.iter().find_map(|(name, value)| match name.as_str() {
            "opt_in_reason" if !value.is_null() => Some(format!("{name} {value}")),
            "opted_in" if *value != Value::Bool(false) => Some(format!("{name} {value}")),
            _ => subscribing_property(value),
        }),
        _ => None,
    }
}
