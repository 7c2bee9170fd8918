//! `POST /v2/contacts`: makes a contact, or finds the one that `duplicate_option` asks for.

use serde_json::{Map, Value};

use super::person::Person;
use super::render::Fields;
use super::routes::one;
use super::write::set;
use super::{Keap, errors};
use crate::sim::message::{Answer, Request};

/// What `duplicate_option` may ask for.
const OPTIONS: [&str; 3] = ["Email", "EmailAndName", "EmailAndNameAndCompany"];

impl Keap {
    /// Without `duplicate_option` it always makes a new contact.
    pub(super) fn create(&self, request: &Request) -> Answer {
        let Some(Value::Object(body)) = request.json() else {
            return errors::bad_request("Input could not be converted to a valid request");
        };
        let fields = match Fields::parse(request.param("fields").as_deref()) {
            Ok(fields) => fields,
            Err(message) => return errors::bad_request(&message),
        };
        let option = request.param("duplicate_option");
        if option.as_deref().is_some_and(|option| !OPTIONS.contains(&option)) {
            return errors::bad_request("Invalid duplicate_option");
        }
        let mut person = Person::default();
        if let Err(message) = self.fill(&mut person, body) {
            return errors::bad_request(&message);
        }
        if person.emails.is_empty()
            && person.phones.is_empty()
            && person.details.addresses.is_empty()
        {
            return errors::bad_request("Contact must contain an e-mail address or phone number");
        }
        let known = option.and_then(|option| self.duplicate(&person, option == "Email"));
        let (id, status) = match known {
            Some(id) => {
                let mut now = self.person(id).unwrap_or_default();
                if let Err(message) = self.fill(&mut now, body) {
                    return errors::bad_request(&message);
                }
                self.edit(id, |old| *old = now);
                (id, 200)
            }
            None => (self.add(person), 201),
        };
        self.opt_in_as_asked(body);
        let mut answer = one(&self.state(), id, &fields).applied();
        if answer.status == 200 {
            answer.status = status;
        }
        answer
    }

    /// Sets what the body names. A list is replaced whole.
    fn fill(&self, person: &mut Person, body: &Map<String, Value>) -> Result<(), String> {
        let model = &self.state().model;
        body.iter().try_for_each(|(name, value)| set(person, name, value, model))
    }

    /// The contact with the lowest id that has the first address of this person, and the same name
    /// unless `by_email_alone`.
    fn duplicate(&self, person: &Person, by_email_alone: bool) -> Option<i64> {
        let address = person.first_email()?.to_lowercase();
        let state = self.state();
        let now_ms = self.shared.clock.now_ms();
        let lag_ms = if state.knobs.duplicates_lag { state.knobs.email_index_lag_ms } else { 0 };
        let name = |person: &Person| (person.given_name.clone(), person.family_name.clone());
        state
            .rows
            .by_id(i64::MIN..=i64::MAX)
            .find(|(_, row)| {
                let known = row.current.person.unpack();
                row.created_ms + lag_ms <= now_ms
                    && known.emails.iter().any(|(_, one)| one.to_lowercase() == address)
                    && (by_email_alone || name(&known) == name(person))
            })
            .map(|(id, _)| id)
    }
}
