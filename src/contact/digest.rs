//! Keyed hashes of contacts and e-mails: tables hold these, so that no table holds a person.

use std::iter;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Contact, Email, Fields, KeapId, Reading};

/// 128 bits of a keyed hash. Under one key, equal content gives equal digests. Without the key, a
/// digest says nothing about its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

impl Digest {
    /// No contact has this fingerprint: what the other side shows is not known, so the next look
    /// writes it.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// Reads a stored digest. `None`: the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What is wrong with stored bytes that should be a digest.
#[derive(Debug, thiserror::Error)]
#[error("not a digest: expected 16 bytes")]
pub struct NotADigest;

impl TryFrom<Vec<u8>> for Digest {
    type Error = NotADigest;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NotADigest> {
        Self::from_bytes(&bytes).ok_or(NotADigest)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The names of the built-in fields, in the order of [`Fields`].
pub(super) const BUILT_IN: [&str; 3] = ["email", "name", "phone"];

/// The installation's own key for digests. The first migration makes it, and Postgres stores it.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// The fields of the contact. Equal fingerprints mean that there is nothing to write.
    pub fn fingerprint(&self, contact: &Contact) -> Digest {
        match built_in(&contact.fields) {
            Some(parts) => self.digest("fingerprint/1", parts),
            None => self.digest("fingerprint/2", named(&contact.fields)),
        }
    }

    /// The fingerprint that a former release gave the contact, which knew the built-in fields only.
    pub fn built_in_fingerprint(&self, contact: &Contact) -> Digest {
        let part = |name| contact.fields.get(name).and_then(part);
        self.digest("fingerprint/1", BUILT_IN.map(part))
    }

    /// The contact as Keap shows it, with its stamp. If the digest is the former one, nothing has
    /// changed since.
    pub fn sighting(&self, contact: &Contact) -> Digest {
        let stamp = contact.updated_at.map(|at| at.timestamp_millis().to_string());
        let stamp = iter::once(stamp.as_deref());
        match built_in(&contact.fields) {
            Some(parts) => self.digest("sighting/1", parts.into_iter().chain(stamp)),
            None => self.digest("sighting/2", stamp.chain(named(&contact.fields))),
        }
    }

    /// The e-mail in lower case.
    pub fn email(&self, email: &Email) -> Digest {
        self.digest("email/1", [Some(email.folded())])
    }

    /// The Keap id of a contact that is erased.
    pub fn erased(&self, id: KeapId) -> Digest {
        self.digest("erased/1", [Some(id.to_string().as_str())])
    }

    /// What decides about a user of Intercom without a link. `at`: its time of change, where that
    /// decides, too.
    pub fn newcomer(&self, email: &Email, external_id: Option<&str>, at: Option<&str>) -> Digest {
        self.digest("newcomer/1", [Some(email.folded()), external_id, at])
    }

    /// What a plan says: of a contact, of all of them, or of the accounts that it is for.
    pub fn plan<'a>(&self, parts: impl IntoIterator<Item = Option<&'a str>>) -> Digest {
        self.digest("plan/1", parts)
    }

    /// The length of each part goes in with it, so that two different lists never give one input.
    pub(super) fn digest<'a>(
        &self,
        purpose: &str,
        parts: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Digest {
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

/// The parts of a contact with exactly the built-in fields, or with none: Keap did not show it.
///
/// Databases hold digests of these parts, without names. They must stay as they are: else an
/// upgrade would write every contact again.
fn built_in(fields: &Fields) -> Option<[Option<&str>; 3]> {
    let names = fields.iter().map(|(name, _)| name.as_str());
    if !fields.is_empty() && !names.eq(BUILT_IN) {
        return None;
    }
    Some(BUILT_IN.map(|name| fields.get(name).and_then(part)))
}

/// The parts of any other contact: each field's name, then its reading.
fn named(fields: &Fields) -> impl Iterator<Item = Option<&str>> {
    fields.iter().flat_map(|(name, reading)| [Some(name.as_str()), part(reading)])
}

fn part(reading: &Reading) -> Option<&str> {
    match reading {
        Reading::Empty => None,
        // No value is an empty text, so this cannot be mistaken for one.
        Reading::Invalid => Some(""),
        Reading::Is(value) => Some(value.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{Form, KeapId};

    fn contact<const N: usize>(fields: [(&str, Reading); N]) -> Contact {
        Contact::showing(KeapId::new(1).expect("positive"), fields.into_iter().collect())
    }

    fn text(text: &str) -> Reading {
        Form::Text.read(Some(text))
    }

    fn built_in(email: &str, name: &str, phone: &str) -> [(&'static str, Reading); 3] {
        let email = Form::Email.read(Some(email));
        [("email", email), ("name", text(name)), ("phone", text(phone))]
    }

    /// A contact with the digests that release 0.1.0 computed and stored for it.
    struct Former {
        /// E-mail, name and phone.
        shown: [&'static str; 3],
        /// Seconds.
        stamp: Option<i64>,
        fingerprint: &'static str,
        sighting: &'static str,
        email: Option<&'static str>,
    }

    /// The rows of `tests/fields/former.sql`, which that release wrote with this key.
    #[test]
    fn digests_of_the_built_in_fields_are_those_of_the_former_release() {
        let key = "4089e5dd56ad4f65b7abb57fc4e94e72d32731cd042347c0aa909b66f6680ea4";
        let key: Vec<u8> = (0..key.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&key[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        let key = DigestKey::new(&key);
        let hex = |digest: Digest| {
            digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        for former in [
            Former {
                shown: ["ann@example.org", "Ann Lee", "+16025550144"],
                stamp: Some(1770091567),
                fingerprint: "9c3892807dfa4f13a731759e1f6d9fd0",
                sighting: "0a7fc632e7ec931b86d1a9d703c3e20d",
                email: Some("7444c31f2ea6b39b23bcd19e769eb59c"),
            },
            Former {
                shown: ["nameless@example.org", "", "+16025550145"],
                stamp: Some(1770091627),
                fingerprint: "d7bbc2e9db6a491d88088aab7726516f",
                sighting: "2fb46143da41fcee6b3b5ba49585f042",
                email: Some("a836ebef0c3d7fc4d911efb1921db811"),
            },
            Former {
                shown: ["no.phone@example.org", "No Phone", ""],
                stamp: Some(1770091687),
                fingerprint: "47724b7620f102a4d7e268cb2306e96f",
                sighting: "da06561b59308430b93eac10a5ee57b6",
                email: Some("f35026df10345cb785368cd9abcdc4f5"),
            },
            Former {
                shown: ["", "Ben Cleared", "+16025550146"],
                stamp: Some(1770091747),
                fingerprint: "c291819223acfc4a5f9a24dbc2b344a4",
                sighting: "dd40ac692d70a826d24a8fc2cc8afc91",
                email: None,
            },
            Former {
                shown: ["n/a", "Cleo Invalid", "555-3001"],
                stamp: Some(1770091807),
                fingerprint: "8b60ff67bc6274f4bedb53913ed7105e",
                sighting: "a94dd6ef297e0e90a2fc87e82cf5993b",
                email: None,
            },
            Former {
                shown: [
                    " Zo\u{eb}+Tag@B\u{fc}cher.example ",
                    "Zoe\u{308} Mu\u{308}ller-Lu\u{308}denscheidt",
                    " 555\u{a0}3002 ",
                ],
                stamp: Some(1770091867),
                fingerprint: "e51cb1b5a78a1e77bc1c2d96ffa78b81",
                sighting: "f65de8f91b849dc283a073625a453d43",
                email: Some("6bd534e3eb25935715e4d67b8bc5b8bf"),
            },
            Former {
                shown: ["sayuri@example.org", "小百合 田中", ""],
                stamp: Some(1770091927),
                fingerprint: "0cd707a8632a078f8800ffbe84f88a96",
                sighting: "f2ff6c411c132889c96d28de8af31de8",
                email: Some("7fa61c8d1d44e66364abfa8c76c83e3b"),
            },
            Former {
                shown: ["", "Skipped Nomail", "555-3003"],
                stamp: Some(1770091987),
                fingerprint: "bd238b678a6da3a1801e66b1bdafd46e",
                sighting: "65665d716c56e2d4e49d6f1b03f87b16",
                email: None,
            },
            Former {
                shown: ["ask her", "Skipped Rubbish", ""],
                stamp: Some(1770092047),
                fingerprint: "43a76cce75ff304b6f525e944cbcec96",
                sighting: "9d950931d254e4056b42e535daaab1a3",
                email: None,
            },
            Former {
                shown: ["Second@Example.org", "Given", ""],
                stamp: Some(1770092107),
                fingerprint: "178e4b5f6130e7d3eea2154a7ce26fca",
                sighting: "99a9e64acbbe5c46011ef35e3dd2952d",
                email: Some("593deffa488c120c34dc69ebda51c168"),
            },
            Former {
                shown: ["no.stamp@example.org", "No Stamp", ""],
                stamp: None,
                fingerprint: "5e10825124eee43889a1f9ba8553c4c0",
                sighting: "bfea1bc0faa3663a312cfb96cd0fd66f",
                email: Some("12e7da6a666afc4693e8ee7a2458391f"),
            },
        ] {
            let [email, name, phone] = former.shown;
            let contact = Contact {
                updated_at: former
                    .stamp
                    .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0)),
                ..contact(built_in(email, name, phone))
            };
            assert_eq!(hex(key.fingerprint(&contact)), former.fingerprint, "{email} {name}");
            assert_eq!(hex(key.sighting(&contact)), former.sighting, "{email} {name}");
            let email = contact.email().map(|email| hex(key.email(email)));
            assert_eq!(email.as_deref(), former.email);
        }
        // A contact that Keap did not show had three empty fields then.
        let (unseen, empty) = (contact([]), contact(built_in("", "", "")));
        assert_eq!(key.fingerprint(&unseen), key.fingerprint(&empty));
        assert_eq!(key.sighting(&unseen), key.sighting(&empty));
    }

    fn assert_all_differ(contacts: &[Contact]) {
        let key = DigestKey::new(b"k");
        for (i, one) in contacts.iter().enumerate() {
            for other in &contacts[i + 1..] {
                let fields = format!("{:?} {:?}", one.fields, other.fields);
                assert_ne!(key.fingerprint(one), key.fingerprint(other), "{fields}");
                assert_ne!(key.sighting(one), key.sighting(other), "{fields}");
            }
        }
    }

    #[test]
    fn every_built_in_field_counts_and_fields_do_not_run_together() {
        assert_all_differ(&[
            contact(built_in("a@b.co", "xy", "")),
            contact(built_in("A@b.co", "xy", "")),
            contact(built_in("a@b.co", "x", "y")),
            contact(built_in("a@b.co", "", "xy")),
            contact(built_in("", "xy", "")),
            contact(built_in("nonsense", "xy", "")),
        ]);
    }

    #[test]
    fn every_other_field_counts_by_its_name_its_state_and_its_value() {
        let with = |name: &'static str, reading| {
            let [email, phone, full_name] = built_in("a@b.co", "xy", "");
            contact([email, phone, full_name, (name, reading)])
        };
        let [email, name, phone] = built_in("a@b.co", "xy", "");
        assert_all_differ(&[
            contact(built_in("a@b.co", "xy", "")),
            contact([email.clone(), name.clone()]),
            contact([email.clone(), phone]),
            contact([email, ("name2", name.1)]),
            with("job_title", Reading::Empty),
            with("job_title", Reading::Invalid),
            with("job_title", text("Buyer")),
            with("job_title", text("buyer")),
            with("job", text("Buyer")),
            with("", text("job_titleBuyer")),
            with("aa", text("Buyer")),
        ]);
    }

    #[test]
    fn the_order_in_which_the_fields_come_does_not_count() {
        let key = DigestKey::new(b"k");
        let one = contact([("a", text("1")), ("b", text("2"))]);
        let other = contact([("b", text("2")), ("a", text("1"))]);
        assert_eq!(key.fingerprint(&one), key.fingerprint(&other));
        assert_eq!(key.sighting(&one), key.sighting(&other));
    }

    #[test]
    fn a_stamp_changes_the_sighting_and_not_the_fingerprint() {
        let key = DigestKey::new(b"k");
        for first in [contact(built_in("a@b.co", "", "")), contact([("a", text("1"))])] {
            let second =
                Contact { updated_at: chrono::DateTime::from_timestamp(1, 0), ..first.clone() };
            assert_eq!(key.fingerprint(&first), key.fingerprint(&second));
            assert_ne!(key.sighting(&first), key.sighting(&second));
        }
    }

    #[test]
    fn an_email_digest_depends_on_the_key_and_not_on_capitals() {
        let (one, other) = (DigestKey::new(b"one"), DigestKey::new(b"other"));
        let written = |text| Email::new(text).expect("valid");
        assert_eq!(one.email(&written("Ann@b.co")), one.email(&written("ann@B.co")));
        assert_ne!(one.email(&written("ann@b.co")), other.email(&written("ann@b.co")));
    }
}
