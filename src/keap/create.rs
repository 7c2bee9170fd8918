//! Makes contacts (`docs/api/keap.md`, "Writing").

use reqwest::Method;
use serde::Deserialize;

use super::client::{KeapClient, accepted};
use super::model::Created;
use crate::contact::{Email, Fields, KeapId};
use crate::remote::{Call, Failure, Kind, Lane, lenient};

/// A clause of Keap's filter ends with such a character, or it means something else.
const NOT_IN_A_CLAUSE: [char; 4] = [';', ',', '=', '*'];

/// A contact that is to be made.
pub struct NewContact<'a> {
    pub email: &'a Email,
    /// The names among these are sent; the other fields follow as an update.
    pub fields: &'a Fields,
    /// A number of its own: the contact has no id yet.
    pub number: i64,
    /// An earlier create of the same contact had no answer. Keap then looks for the address by
    /// itself. A first create must not ask for that: it would replace the addresses of a contact
    /// that is found.
    pub again: bool,
}

#[derive(Deserialize)]
struct IdWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    id: String,
}

impl NewContact<'_> {
    /// What its write is about: a number that no contact has, because no Keap id is negative.
    pub fn about(&self) -> i64 {
        self.number.wrapping_abs().wrapping_neg()
    }
}

impl KeapClient {
    /// Whether [`Self::with_email`] can look for this address.
    pub fn can_look_for(email: &Email) -> bool {
        !email.as_written().contains(NOT_IN_A_CLAUSE)
    }

    /// Makes a contact. `Err`: surely nothing was made.
    pub async fn create(&self, lane: Lane, new: &NewContact<'_>) -> Result<Created, Failure> {
        let places = self.places();
        let body = serde_json::to_vec(&places.new_contact(new.email, new.fields))
            .map_err(|_| Failure::never("the contact cannot be written as JSON"))?;
        let about = new.about();
        let call = Call {
            method: Method::POST,
            query: new
                .again
                .then(|| ("duplicate_option", "Email".to_owned()))
                .into_iter()
                .collect(),
            body: Some(body),
            kind: Kind::Write,
            about: vec![about],
            understood: |reply| !reply.is_success() || reply.body.first() == Some(&b'{'),
            always_exists: true,
            // Whether it is about this contact or about the key, only the caller can tell.
            answers: &[403],
            only_while: self.may_write.get().map(|guard| &**guard),
            ..Call::get(&["v2", "contacts"])
        };
        let sent = self.remote.send(lane, &call).await;
        let is_unknown = self.remote.unknown_writes().contains(about);
        self.remote.unknown_writes().forget(about);
        let reply = match sent {
            Err(failure) if is_unknown => return Ok(Created::Unknown(failure.to_string())),
            sent => sent?,
        };
        if reply.status == 403 {
            return Ok(Created::Forbidden);
        }
        match accepted(reply) {
            Ok(reply) => {
                let id =
                    self.remote.parse::<IdWire>(&reply).ok().and_then(|made| made.id.parse().ok());
                let unread = || Created::Unknown("Keap answers a create without the id".to_owned());
                Ok(id.map_or_else(unread, |id: KeapId| Created::Made(id)))
            }
            Err(Failure::Never { why }) => Ok(Created::Refused(why)),
            Err(failure) => Err(failure),
        }
    }
}
