//! Intercom's companies, and the contacts that belong to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attributes::Model;
use super::contact::{Facts, Standing, slot_of};
use super::values;
use super::write::live_contact;
use super::{Intercom, State, errors, render};
use crate::sim::message::{Answer, Request};

/// A company's place in the memory. Its public id is made from it.
pub(crate) type CompanyNumber = u32;

/// The most companies of a contact.
const MOST_COMPANIES: usize = 1000;

/// An id has 24 hex characters. The last eight are the number.
const ID_START: &str = "5f0c0a7e1bb69f9f";

/// The properties that a client can set, besides the two that identify a company.
const PROPERTIES: [&str; 6] =
    ["plan", "size", "website", "industry", "remote_created_at", "monthly_spend"];

pub(super) fn id_of(number: CompanyNumber) -> String {
    format!("{ID_START}{number:08x}")
}

fn number_of(id: &str) -> Option<CompanyNumber> {
    CompanyNumber::from_str_radix(id.strip_prefix(ID_START)?, 16).ok()
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Company {
    /// The id that the client gave.
    pub company_id: String,
    pub name: Option<String>,
    pub custom_attributes: Map<String, Value>,
    properties: Map<String, Value>,
    users: u32,
    created_at: i64,
    updated_at: i64,
}

#[derive(Default)]
pub(super) struct Companies {
    by_number: BTreeMap<CompanyNumber, Company>,
}

impl Companies {
    /// The company of this `company_id`. Adds it if there is none.
    fn of(&mut self, company_id: &str, now: i64) -> CompanyNumber {
        let held = self.by_number.iter().find(|(_, held)| held.company_id == company_id);
        if let Some((number, _)) = held {
            return *number;
        }
        let number = self.by_number.keys().next_back().map_or(1, |last| last + 1);
        let company =
            Company { company_id: company_id.to_owned(), created_at: now, ..Company::default() };
        self.by_number.insert(number, company);
        number
    }

    fn json(&self, number: CompanyNumber) -> Value {
        let company = self.by_number.get(&number).cloned().unwrap_or_default();
        let mut json = json!({
            "type": "company", "id": id_of(number), "company_id": company.company_id,
            "app_id": render::WORKSPACE, "name": company.name, "plan": {}, "monthly_spend": 0,
            "remote_created_at": null, "session_count": 0, "user_count": company.users,
            "created_at": company.created_at, "updated_at": company.updated_at,
            "tags": {"type": "tag.list", "tags": []},
            "segments": {"type": "segment.list", "segments": []},
            "custom_attributes": company.custom_attributes,
        });
        for (name, value) in company.properties {
            json[name] = value;
        }
        json
    }
}

// What a test reads.
impl Intercom {
    /// The companies of a live contact: their `company_id` and name, in order.
    pub(crate) fn companies_of(&self, id: &str) -> Vec<(String, String)> {
        let state = self.state();
        let facts = slot_of(id).and_then(|slot| state.store.live(slot));
        let numbers = facts.and_then(|facts| Some(&facts.extras.as_ref()?.companies));
        let companies = numbers.into_iter().flatten();
        let mut companies: Vec<_> = companies
            .filter_map(|number| state.workspace.companies.by_number.get(number))
            .map(|company| (company.company_id.clone(), company.name.clone().unwrap_or_default()))
            .collect();
        companies.sort();
        companies
    }

    /// All companies in the order of their creation.
    pub(crate) fn companies(&self) -> Vec<Company> {
        self.state().workspace.companies.by_number.values().cloned().collect()
    }
}

// The routes.
impl Intercom {
    /// `POST /companies`: creates the company of this `company_id`, or updates it.
    pub(super) fn write_company_call(&self, request: &Request) -> Answer {
        let now = self.moment().seconds();
        let State { workspace, knobs, .. } = &mut *self.state();
        let bad = |message: &str| errors::error(400, "bad_request", message);
        let Some(Value::Object(body)) = request.json() else {
            return bad("The request body is not a JSON object");
        };
        let known = ["company_id", "name", "custom_attributes"];
        let is_known =
            |name: &&String| known.contains(&name.as_str()) || PROPERTIES.contains(&name.as_str());
        if let Some(name) = body.keys().find(|name| !is_known(name)) {
            return bad(&format!("bad '{name}' parameter"));
        }
        let Some(company_id) = body.get("company_id").and_then(Value::as_str) else {
            return bad("company_id is missing");
        };
        let attributes = &workspace.attributes;
        let given = match values::custom_attributes(body, Model::Company, attributes, knobs) {
            Ok(given) => given,
            Err(refusal) => return refusal,
        };
        let number = workspace.companies.of(company_id, now);
        if let Some(company) = workspace.companies.by_number.get_mut(&number) {
            if let Some(name) = body.get("name") {
                company.name = name.as_str().map(str::to_owned);
            }
            company.custom_attributes.extend(given);
            let properties = PROPERTIES.iter().filter_map(|name| body.get_key_value(*name));
            company
                .properties
                .extend(properties.map(|(name, value)| (name.clone(), value.clone())));
            company.updated_at = now;
        }
        Answer::json(200, workspace.companies.json(number).to_string()).applied()
    }

    /// `GET /contacts/{id}/companies`
    pub(super) fn contact_companies_call(&self, id: &str) -> Answer {
        let now_ms = self.moment().now_ms;
        let State { store, workspace, .. } = &*self.state();
        let facts = match live_contact(store, id, now_ms) {
            Ok((_, facts)) => facts,
            Err(refusal) => return refusal,
        };
        let numbers = facts.extras.map(|extras| extras.companies).unwrap_or_default();
        let data: Vec<_> = numbers.iter().map(|number| workspace.companies.json(*number)).collect();
        let body = json!({
            "type": "list", "data": data, "total_count": data.len(),
            "pages": {"type": "pages", "next": null, "page": 1, "per_page": 50, "total_pages": 1},
        });
        Answer::json(200, body.to_string())
    }

    /// `POST /contacts/{id}/companies`
    pub(super) fn attach_company_call(&self, id: &str, request: &Request) -> Answer {
        self.change_companies(id, |companies, facts| {
            let given = request.json().and_then(|body| body.get("id")?.as_str());
            let Some(given) = given else {
                return Err(errors::error(400, "parameter_not_found", "company not specified"));
            };
            let number = known(companies, given)?;
            let held = &mut facts.extras.get_or_insert_default().companies;
            if held.contains(&number) {
                return Ok((number, 0));
            }
            if held.len() >= MOST_COMPANIES {
                let message = format!(
                    "Contact has reached the maximum of {MOST_COMPANIES} company associations"
                );
                return Err(errors::error(400, "contact_company_limit_exceeded", &message));
            }
            held.push(number);
            Ok((number, 1))
        })
    }

    /// `DELETE /contacts/{id}/companies/{company_id}`
    pub(super) fn detach_company_call(&self, id: &str, company: &str) -> Answer {
        self.change_companies(id, |companies, facts| {
            let number = known(companies, company)?;
            let mut extras = facts.extras.take().map(|extras| *extras).unwrap_or_default();
            let at = extras.companies.iter().position(|held| *held == number);
            extras.companies.remove(at.ok_or_else(not_found)?);
            facts.set_extras(extras);
            Ok((number, -1))
        })
    }

    /// Changes which companies a contact belongs to. `change` returns the company, and by how many
    /// its users change.
    fn change_companies(
        &self,
        id: &str,
        change: impl FnOnce(&Companies, &mut Facts) -> Result<(CompanyNumber, i32), Answer>,
    ) -> Answer {
        let moment = self.moment();
        let State { store, workspace, knobs, .. } = &mut *self.state();
        let changed = live_contact(store, id, moment.now_ms).and_then(|(slot, mut facts)| {
            let (number, step) = change(&workspace.companies, &mut facts)?;
            Ok((slot, facts, number, step))
        });
        let (slot, mut facts, number, step) = match changed {
            Ok(changed) => changed,
            Err(refusal) => return refusal,
        };
        if step != 0 {
            if knobs.company_bumps_updated_at {
                facts.updated_at = moment.seconds();
            }
            store.change(slot, facts, Standing::Live, moment.due_ms);
            if let Some(company) = workspace.companies.by_number.get_mut(&number) {
                company.users = company.users.saturating_add_signed(step);
            }
        }
        Answer::json(200, workspace.companies.json(number).to_string()).applied()
    }
}

fn known(companies: &Companies, id: &str) -> Result<CompanyNumber, Answer> {
    number_of(id).filter(|number| companies.by_number.contains_key(number)).ok_or_else(not_found)
}

fn not_found() -> Answer {
    errors::error(404, "company_not_found", "Company Not Found")
}
