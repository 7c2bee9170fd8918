//! A person in Keap, and a packed form in which a million people fit in memory.

use serde_json::Value;

use super::details::{Address, Details, TEXTS};

/// A person as a test reads and edits it. Keap's slots are `EMAIL1`…`EMAIL3` and `PHONE1`…`PHONE5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub given_name: Option<String>,
    pub middle_name: Option<String>,
    pub family_name: Option<String>,
    pub preferred_name: Option<String>,
    pub job_title: Option<String>,
    pub company_name: Option<String>,
    /// Slot and address.
    pub emails: Vec<(String, String)>,
    pub phones: Vec<Phone>,
    pub tag_ids: Vec<i64>,
    /// What few people have.
    pub details: Details,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phone {
    pub slot: String,
    pub number: Option<String>,
    pub e164: Option<String>,
}

impl Person {
    pub(crate) fn named(given_name: &str, family_name: &str) -> Person {
        Person {
            given_name: Some(given_name.to_owned()),
            family_name: Some(family_name.to_owned()),
            ..Person::default()
        }
    }

    /// Adds an address in the next free slot.
    pub(crate) fn email(mut self, address: &str) -> Person {
        let slot = format!("EMAIL{}", self.emails.len() + 1);
        self.emails.push((slot, address.to_owned()));
        self
    }

    /// Adds a number in the next free slot.
    pub(crate) fn phone(mut self, number: &str, e164: Option<&str>) -> Person {
        self.phones.push(Phone {
            slot: format!("PHONE{}", self.phones.len() + 1),
            number: Some(number.to_owned()),
            e164: e164.map(str::to_owned),
        });
        self
    }

    pub(crate) fn address(mut self, address: Address) -> Person {
        self.details.addresses.push(address);
        self
    }

    pub(crate) fn owner(mut self, user: i64) -> Person {
        self.details.owner_id = Some(user);
        self
    }

    /// Sets the content of a custom field.
    pub(crate) fn custom(mut self, field: i64, content: impl Into<Value>) -> Person {
        self.details.custom_fields.insert(field, content.into());
        self
    }

    /// As [`Person::set`], for a person that a test builds.
    pub(crate) fn with(mut self, property: &str, value: &str) -> Person {
        self.set(property, Some(value));
        self
    }

    /// Sets or clears a text property by its name in v2, such as `website`. Panics if there is no
    /// such property.
    pub(crate) fn set(&mut self, property: &str, value: Option<&str>) {
        assert!(self.set_text(property, value), "{property} is no text property of a contact");
    }

    /// `false` if there is no such text property.
    pub(super) fn set_text(&mut self, property: &str, value: Option<&str>) -> bool {
        let value = value.map(str::to_owned);
        match property {
            "given_name" => self.given_name = value,
            "middle_name" => self.middle_name = value,
            "family_name" => self.family_name = value,
            "preferred_name" => self.preferred_name = value,
            "job_title" => self.job_title = value,
            _ if !TEXTS.contains(&property) => return false,
            _ => match value {
                Some(value) => {
                    self.details.texts.insert(property.to_owned(), value);
                }
                None => {
                    self.details.texts.remove(property);
                }
            },
        }
        true
    }

    /// The value of a text property.
    pub(crate) fn text(&self, property: &str) -> Option<&str> {
        match property {
            "given_name" => self.given_name.as_deref(),
            "middle_name" => self.middle_name.as_deref(),
            "family_name" => self.family_name.as_deref(),
            "preferred_name" => self.preferred_name.as_deref(),
            "job_title" => self.job_title.as_deref(),
            _ => self.details.texts.get(property).map(String::as_str),
        }
    }

    /// The address in `EMAIL1`.
    pub(crate) fn first_email(&self) -> Option<&str> {
        self.emails.iter().find(|(slot, _)| slot == "EMAIL1").map(|(_, address)| address.as_str())
    }
}

/// A person in one byte string. A text is its length plus one and its bytes; 0 stands for no text.
/// A list is its length and its items. The details are JSON, if there are any. This takes a tenth
/// of the memory of a `Person`, which has a dozen allocations.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    pub(crate) fn new(person: &Person) -> Packed {
        let mut out = Vec::with_capacity(96);
        for text in [
            &person.given_name,
            &person.middle_name,
            &person.family_name,
            &person.preferred_name,
            &person.job_title,
            &person.company_name,
        ] {
            put_text(&mut out, text.as_deref());
        }
        put_number(&mut out, person.emails.len() as u64);
        for (slot, address) in &person.emails {
            put_text(&mut out, Some(slot));
            put_text(&mut out, Some(address));
        }
        put_number(&mut out, person.phones.len() as u64);
        for phone in &person.phones {
            put_text(&mut out, Some(&phone.slot));
            put_text(&mut out, phone.number.as_deref());
            put_text(&mut out, phone.e164.as_deref());
        }
        put_number(&mut out, person.tag_ids.len() as u64);
        for tag in &person.tag_ids {
            put_number(&mut out, *tag as u64);
        }
        let details = (person.details != Details::default())
            .then(|| serde_json::to_string(&person.details).unwrap_or_default());
        put_text(&mut out, details.as_deref());
        Packed(out.into_boxed_slice())
    }

    pub(crate) fn unpack(&self) -> Person {
        let mut bytes = Reader(&self.0);
        Person {
            given_name: bytes.text(),
            middle_name: bytes.text(),
            family_name: bytes.text(),
            preferred_name: bytes.text(),
            job_title: bytes.text(),
            company_name: bytes.text(),
            emails: bytes
                .list(|bytes| (bytes.text().unwrap_or_default(), bytes.text().unwrap_or_default())),
            phones: bytes.list(|bytes| Phone {
                slot: bytes.text().unwrap_or_default(),
                number: bytes.text(),
                e164: bytes.text(),
            }),
            tag_ids: bytes.list(|bytes| bytes.number() as i64),
            details: bytes
                .text()
                .and_then(|json| serde_json::from_str(&json).ok())
                .unwrap_or_default(),
        }
    }
}

/// Writes seven bits a byte, the lowest first.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_number(out, text.map_or(0, |text| text.len() as u64 + 1));
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&mut self) -> Option<String> {
        let length = (self.number() as usize).checked_sub(1)?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.number()).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_person_is_the_one_that_was_packed() {
        let person = Person {
            job_title: Some(String::new()),
            tag_ids: vec![1, 300, -5],
            middle_name: Some("ł".repeat(200)),
            ..Person::named("Ann", "Lee")
                .email("ann@example.org")
                .email("lee@example.org")
                .phone("(602) 555-0144", Some("+16025550144"))
                .phone("1", None)
        };
        assert_eq!(Packed::new(&person).unpack(), person);
        assert_eq!(Packed::new(&Person::default()).unpack(), Person::default());
        let detailed = person
            .with("website", "https://example.org")
            .owner(7)
            .address(Address { line1: Some("9 Kiln Rd".to_owned()), ..Address::new("BILLING") })
            .custom(12, serde_json::json!(["a", 1, null]));
        assert_eq!(Packed::new(&detailed).unpack(), detailed);
    }
}
