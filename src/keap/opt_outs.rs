//! Lists the addresses of the account that have opted out (`docs/api/keap.md`, "Writing").

use serde::Deserialize;

use super::client::{KeapClient, accepted, is_token};
use super::model::OptOuts;
use super::wire::OPTED_OUT;
use crate::contact::Email;
use crate::remote::{Call, Failure, Lane, lenient};

const PER_PAGE: usize = 1000;

/// A page of addresses.
#[derive(Deserialize)]
struct AddressesWire {
    #[serde(deserialize_with = "lenient::filled")]
    email_addresses: Vec<AddressWire>,
    #[serde(default, deserialize_with = "lenient::text")]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct AddressWire {
    #[serde(default, deserialize_with = "lenient::text")]
    email: Option<String>,
}

impl KeapClient {
    /// A page of the addresses that have opted out. Keap has no filter by the time of that.
    pub async fn opt_outs(&self, lane: Lane, token: Option<&str>) -> Result<OptOuts, Failure> {
        let mut query = vec![
            ("filter", format!("statuses=={}", OPTED_OUT.join(","))),
            ("page_size", PER_PAGE.to_string()),
        ];
        query.extend(token.map(|token| ("page_token", token.to_owned())));
        let path = ["v2", "emailAddresses"];
        let call = Call { query, always_exists: true, ..Call::get(&path) };
        let reply = accepted(self.remote.send(lane, &call).await?)?;
        let page: AddressesWire = self.remote.parse(&reply)?;
        let emails = page.email_addresses.into_iter().filter_map(|one| Email::new(&one.email?));
        let next = page.next_page_token.filter(|token| is_token(token));
        Ok(OptOuts { emails: emails.collect(), next })
    }
}
