//! The companies that contacts in Keap belong to (`GET /v2/companies`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::{self, Pattern};
use super::knobs::KeapKnobs;
use super::pager::{self, Pager};
use super::{Keap, State, errors, stamps};
use crate::sim::message::{Answer, Request};

/// The id of every company that a test has given a name and no id.
pub(super) const OF_NAME_ALONE: i64 = 77;

const FIRST_ID: i64 = 100;

struct Company {
    name: String,
    updated_ms: i64,
}

#[derive(Default)]
pub(super) struct Companies {
    by_id: BTreeMap<i64, Company>,
}

impl Keap {
    /// Adds a company and returns its id.
    pub(crate) fn add_company(&self, name: &str) -> i64 {
        let last = self.state().companies.by_id.keys().next_back().copied();
        let id = last.map_or(FIRST_ID, |last| last + 1);
        self.put_company(id, name);
        id
    }

    /// Makes a contact belong to a company. Adds the company, or gives it this name.
    pub(crate) fn set_company(&self, contact: i64, id: i64, name: &str) -> bool {
        self.rename_company(id, name);
        self.edit(contact, |person| {
            person.details.company_id = Some(id);
            person.company_name = Some(name.to_owned());
        })
    }

    /// Gives a company a name. Its contacts show it and get no new stamp.
    pub(crate) fn rename_company(&self, id: i64, name: &str) {
        self.put_company(id, name);
        let mut members = Vec::new();
        self.for_each(|contact, person| {
            let is_other = person.company_name.as_deref() != Some(name);
            if person.details.company_id == Some(id) && is_other {
                members.push(contact);
            }
        });
        for contact in members {
            self.edit_quietly(contact, |person| person.company_name = Some(name.to_owned()));
        }
    }

    fn put_company(&self, id: i64, name: &str) {
        let company = Company { name: name.to_owned(), updated_ms: self.shared.clock.now_ms() };
        self.state().companies.by_id.insert(id, company);
    }

    /// `GET /v2/companies`
    pub(super) fn companies_call(&self, request: &Request) -> Answer {
        list(&self.state(), request).unwrap_or_else(|message| errors::bad_request(&message))
    }
}

const FILTERS: [&str; 8] =
    ["company_name", "name", "email", "city", "state", "since_time", "until_time", "company_id"];

fn list(state: &State, request: &Request) -> Result<Answer, String> {
    let State { companies, knobs, .. } = state;
    let text = request.param("filter").unwrap_or_default();
    let clauses = pager::clauses(&text, &FILTERS)?;
    let mut rows = Vec::new();
    for (id, company) in &companies.by_id {
        if fits(*id, company, &clauses, knobs)? {
            rows.push((*id, (*id, company)));
        }
    }
    let order = pager::order(request, &["id", "create_time", "name", "email"])?;
    if order.field == Some("name") {
        rows.sort_by_key(|(_, (_, company))| company.name.to_lowercase());
    }
    order.direct(&mut rows);
    let pager = Pager::parse(request, knobs, pager::MOST_ROWS)?;
    let (page, next) = pager.page(rows, order.is_by_id());
    let page = page.into_iter().map(|(id, company)| company_json(id, company, knobs)).collect();
    Ok(pager::answer("companies", page, next, knobs))
}

fn fits(
    id: i64,
    company: &Company,
    clauses: &[pager::Clause<'_>],
    knobs: &KeapKnobs,
) -> Result<bool, String> {
    let shown_ms = stamps::compared_ms(company.updated_ms, knobs);
    for (field, operator, value) in clauses {
        let fits = match *field {
            "company_name" => !value.ends_with('*') && Pattern::new(value).fits(&company.name),
            "name" => Pattern::new(value).fits(&company.name),
            "since_time" => shown_ms >= filter::time(field, value, knobs)?,
            "until_time" => shown_ms <= filter::time(field, value, knobs)?,
            "company_id" => {
                let wanted: i64 =
                    value.parse().map_err(|_| format!("Invalid value for {field}"))?;
                match *operator {
                    ">" => id > wanted,
                    ">=" => id >= wanted,
                    "<" => id < wanted,
                    "<=" => id <= wanted,
                    _ => id == wanted,
                }
            }
            // No company here has an address.
            _ => false,
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn company_json(id: i64, company: &Company, knobs: &KeapKnobs) -> Value {
    json!({
        "id": id.to_string(), "company_name": company.name, "website": null,
        "update_time": stamps::v2(company.updated_ms, knobs.rounding),
    })
}
