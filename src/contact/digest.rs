//! Keyed hashes of contacts: fingerprints and e-mail digests, so that no table holds a person.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Contact, Email, EmailField};

/// 128 bits of a keyed hash: equal content gives equal digests under one key, and says nothing without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Reads a stored digest; any other length is not one of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The installation's own key for digests; it is made by the first migration and lives in Postgres.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// The mapped fields that a write would carry; equal fingerprint = nothing to write.
    pub fn fingerprint(&self, contact: &Contact) -> Digest {
        self.digest("fingerprint/1", &Self::mapped(contact))
    }

    /// The contact as Keap showed it, with its stamp: tells "seen just so before" from "changed since".
    pub fn sighting(&self, contact: &Contact) -> Digest {
        let stamp = contact
            .updated_at
            .map(|at| at.timestamp_millis().to_string());
        let [email, name, phone] = Self::mapped(contact);
        self.digest("sighting/1", &[email, name, phone, stamp])
    }

    /// The e-mail in its compared form.
    pub fn email(&self, email: &Email) -> Digest {
        self.digest("email/1", &[Some(email.folded())])
    }

    fn mapped(contact: &Contact) -> [Option<String>; 3] {
        let email = match &contact.email {
            EmailField::Absent => None,
            // No valid address is empty, so this cannot be mistaken for one.
            EmailField::Invalid => Some(String::new()),
            EmailField::Valid(email) => Some(email.as_written().to_owned()),
        };
        [email, contact.name.clone(), contact.phone.clone()]
    }

    /// Lengths go in with the parts, so that no two lists of parts run together into one input.
    fn digest(&self, purpose: &str, parts: &[Option<String>]) -> Digest {
        let mut mac = self.0.clone();
        mac.update(purpose.as_bytes());
        for part in parts {
            match part {
                None => mac.update(&[0]),
                Some(text) => {
                    mac.update(&[1]);
                    mac.update(&(text.len() as u64).to_be_bytes());
                    mac.update(text.as_bytes());
                }
            }
        }
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        Digest(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::KeapId;

    fn contact(email: &str, name: Option<&str>, phone: Option<&str>) -> Contact {
        Contact {
            id: KeapId::new(1).expect("positive"),
            updated_at: None,
            email: EmailField::of(Some(email)),
            name: name.map(str::to_owned),
            phone: phone.map(str::to_owned),
        }
    }

    #[test]
    fn every_mapped_field_counts_and_fields_do_not_run_together() {
        let key = DigestKey::new(b"k");
        let prints = [
            contact("a@b.co", Some("xy"), None),
            contact("A@b.co", Some("xy"), None),
            contact("a@b.co", Some("x"), Some("y")),
            contact("a@b.co", None, Some("xy")),
            contact("", Some("xy"), None),
            contact("nonsense", Some("xy"), None),
        ]
        .map(|contact| key.fingerprint(&contact));
        for (i, one) in prints.iter().enumerate() {
            assert!(!prints[i + 1..].contains(one), "number {i} has a twin");
        }
    }

    #[test]
    fn a_stamp_changes_the_sighting_and_not_the_fingerprint() {
        let key = DigestKey::new(b"k");
        let first = contact("a@b.co", None, None);
        let second = Contact {
            updated_at: chrono::DateTime::from_timestamp(1, 0),
            ..first.clone()
        };
        assert_eq!(key.fingerprint(&first), key.fingerprint(&second));
        assert_ne!(key.sighting(&first), key.sighting(&second));
    }

    #[test]
    fn keys_and_capitals() {
        let (one, other) = (DigestKey::new(b"one"), DigestKey::new(b"other"));
        let written = |text| Email::new(text).expect("valid");
        assert_eq!(
            one.email(&written("Ann@b.co")),
            one.email(&written("ann@B.co"))
        );
        assert_ne!(
            one.email(&written("ann@b.co")),
            other.email(&written("ann@b.co"))
        );
    }
}
