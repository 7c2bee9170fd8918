//! Companies of Intercom contacts (`docs/api/intercom.md`, "Companies"). The company of a Keap
//! company has the id `keap-<id>`; every other company is left alone.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{IntercomClient, post};
use super::model::Tagged;
use super::{refusals, wire};
use crate::contact::{IntercomId, KeapId};
use crate::remote::{Call, Failure, Lane, lenient};

/// The id of our companies begins with this.
const OURS: &str = "keap-";

#[derive(Deserialize)]
struct ListWire {
    #[serde(deserialize_with = "lenient::filled")]
    data: Vec<CompanyWire>,
}

#[derive(Deserialize)]
struct CompanyWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    company_id: Option<String>,
}

impl IntercomClient {
    /// Attaches a contact to the company of this Keap company (`<id> <name>`), and detaches it from
    /// the others that came from Keap. `None`: it has no company. `alone`: no other company can be
    /// attached, so none is looked for.
    pub async fn set_company(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
        (company, alone): (Option<&str>, bool),
    ) -> Result<Tagged, Failure> {
        if let Some(company) = company {
            let made = self.company_id(lane, whose, company).await?;
            let path = ["contacts", id.as_str(), "companies"];
            let reply = self.write(lane, post(&path), whose, &json!({ "id": made })).await?;
            match reply.status {
                200..=299 => {}
                404 | 410 => {
                    self.companies.forget(company);
                    return Ok(Tagged::Missing);
                }
                _ => {
                    return match refusals::of_contact(&reply) {
                        Failure::Never { why } => Ok(Tagged::Refused(why)),
                        failure => Err(failure),
                    };
                }
            }
        }
        if alone {
            return Ok(Tagged::Done);
        }
        let ours = company.and_then(|company| company.split_once(' ')).map(|(id, _)| id);
        let wanted = ours.map(|ours| format!("{OURS}{ours}"));
        for other in self.companies_of(lane, id).await? {
            let is_ours = other.company_id.as_deref().is_some_and(|known| known.starts_with(OURS));
            if is_ours && other.company_id != wanted {
                let path = ["contacts", id.as_str(), "companies", other.id.as_str()];
                let call = Call { method: Method::DELETE, ..post(&path) };
                let reply = self.write(lane, call, whose, &json!({})).await?;
                if !matches!(reply.status, 200..=299 | 404 | 410) {
                    return Err(refusals::of_contact(&reply));
                }
            }
        }
        Ok(Tagged::Done)
    }

    /// Intercom's id of a company. Writes the company, which gets the name that Keap shows.
    async fn company_id(
        &self,
        lane: Lane,
        whose: KeapId,
        company: &str,
    ) -> Result<String, Failure> {
        if let Some(known) = self.companies.get(company) {
            return Ok(known);
        }
        let (id, name) = company.split_once(' ').unwrap_or((company, ""));
        let body = json!({ "company_id": format!("{OURS}{id}"), "name": name });
        let reply = self.write(lane, post(&["companies"]), whose, &body).await?;
        let made: wire::WrittenWire = self.remote.parse(&refusals::accepted(reply)?)?;
        self.companies.put(company, made.id.clone());
        Ok(made.id)
    }

    async fn companies_of(&self, lane: Lane, id: &IntercomId) -> Result<Vec<CompanyWire>, Failure> {
        let path = ["contacts", id.as_str(), "companies"];
        let reply = self.remote.send(lane, &Call::get(&path)).await?;
        match reply.status {
            404 | 410 => Ok(Vec::new()),
            _ => Ok(self.remote.parse::<ListWire>(&refusals::accepted(reply)?)?.data),
        }
    }
}
