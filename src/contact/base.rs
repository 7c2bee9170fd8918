//! Bases: keyed digests of the values that a side showed when a contact was last recorded, one for
//! each field. They tell which fields a side has ever shown.

use std::sync::Arc;

use super::digest::BUILT_IN;
use super::{Contact, DigestKey, FieldName, FieldRule, Fields, KeapId, OnEmpty, Owner, Reading};

/// The length of one base. A base only tells a value of one field of one contact from another one.
const BYTES: usize = 8;

/// No base of this field is known. A keyed digest is never all zeros but by a chance of 2^-64.
const NONE: [u8; BYTES] = [0; BYTES];

/// The fields of a mapping in its order, in which bases are stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldOrder {
    rules: Arc<[FieldRule]>,
    identities: Arc<[FieldName]>,
    /// Where each field stands, sorted by name: every contact asks for all of its fields.
    places_by_name: Arc<[(FieldName, usize)]>,
    /// Tells the mapping from every other one.
    pub settings_digest: [u8; 32],
}

impl FieldOrder {
    /// `identities`: each field with its name and its places, in the order of the rules.
    pub fn new(
        rules: Vec<FieldRule>,
        identities: Vec<FieldName>,
        settings_digest: [u8; 32],
    ) -> Self {
        let mut places: Vec<(FieldName, usize)> =
            rules.iter().enumerate().map(|(at, rule)| (rule.name.clone(), at)).collect();
        places.sort();
        Self {
            rules: rules.into(),
            identities: identities.into(),
            places_by_name: places.into(),
            settings_digest,
        }
    }

    /// The order of a stored mapping, which may be a former one. Only the identities of its fields
    /// are known.
    pub fn of_stored(identities: Vec<FieldName>, settings_digest: [u8; 32]) -> Self {
        let rules = identities.iter().cloned().map(FieldRule::plain).collect();
        Self::new(rules, identities, settings_digest)
    }

    pub fn identities(&self) -> &[FieldName] {
        &self.identities
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &FieldName> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// Whether bases under the one order can be read by the other.
    pub fn is_same(&self, other: &Self) -> bool {
        self.settings_digest == other.settings_digest
    }

    /// Whether it is another mapping than that of the built-in fields.
    pub fn is_more_than_built_in(&self) -> bool {
        !self.identities.iter().map(FieldName::as_str).eq(BUILT_IN)
    }

    /// The rule by which opt-outs travel.
    pub fn opt_out(&self) -> Option<&FieldRule> {
        self.rule(FieldName::OPT_OUT)
    }

    /// Whether opt-outs travel to Keap.
    pub fn has_consent_to_keap(&self) -> bool {
        self.rules.iter().any(|rule| rule.owner == Owner::Either && rule.to_keap)
    }

    /// Whether the field travels for a contact out of scope, too.
    pub fn travels_always(&self, field: &str) -> bool {
        self.rule(field).is_some_and(|rule| rule.travels_always)
    }

    /// The places of the fields: what distinguishes them in stored bases, whatever their names are.
    fn places(&self) -> impl Iterator<Item = &str> {
        self.identities.iter().map(places)
    }

    fn places_of(&self, field: &str) -> Option<&str> {
        self.identity(field).map(places)
    }

    /// A field as the store names it.
    pub fn identity(&self, field: &str) -> Option<&FieldName> {
        self.identities.get(self.position(field)?)
    }

    fn position(&self, field: &str) -> Option<usize> {
        let by_name = |(name, _): &(FieldName, usize)| name.as_str().cmp(field);
        let at = self.places_by_name.binary_search_by(by_name).ok()?;
        self.places_by_name.get(at).map(|(_, position)| *position)
    }

    pub fn rules(&self) -> impl Iterator<Item = &FieldRule> {
        self.rules.iter()
    }

    pub fn rule(&self, field: &str) -> Option<&FieldRule> {
        self.rules.get(self.position(field)?)
    }
}

/// The part of an identity behind the name. A built-in field in its usual places has no other name.
fn places(identity: &FieldName) -> &str {
    let identity = identity.as_str();
    identity.split_once(": ").map_or(identity, |(_, places)| places)
}

/// The bases of one side of a contact.
#[derive(Clone, PartialEq, Eq)]
pub struct Bases {
    /// `None`: the side has shown nothing yet.
    order: Option<FieldOrder>,
    bytes: Vec<u8>,
}

impl Bases {
    /// The bases of a side that has shown nothing yet.
    pub fn nothing() -> Self {
        Self { order: None, bytes: Vec::new() }
    }

    /// Stored bases. `None`: they do not fit this mapping.
    pub fn of_stored(order: Option<FieldOrder>, bytes: Vec<u8>) -> Option<Self> {
        let fields = order.as_ref().map_or(0, |order| order.rules.len());
        (bytes.len() == fields * BYTES).then_some(Self { order, bytes })
    }

    pub fn order(&self) -> Option<&FieldOrder> {
        self.order.as_ref()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same bases in the order of another mapping. A field that the former one did not have, or
    /// had in another place, has no base.
    #[must_use]
    pub fn under(self, order: &FieldOrder) -> Self {
        let Some(former) = &self.order else {
            return self;
        };
        if former.is_same(order) {
            return Self { order: Some(order.clone()), ..self };
        }
        let base = |places: &str| {
            let at = former.places().position(|known| known == places);
            at.and_then(|at| self.at(at)).unwrap_or(NONE)
        };
        Self { bytes: order.places().flat_map(base).collect(), order: Some(order.clone()) }
    }

    /// The same bases, with those of another time for the fields that have none here.
    #[must_use]
    pub fn or(mut self, before: Option<&Self>) -> Self {
        let Some(order) = self.order.clone() else {
            return before.cloned().unwrap_or(self);
        };
        for (at, name) in order.names().enumerate() {
            let known = before.and_then(|before| before.get(name.as_str()));
            if let (None, Some(known)) = (self.at(at), known) {
                self.bytes[at * BYTES..(at + 1) * BYTES].copy_from_slice(&known);
            }
        }
        self
    }

    /// Whether there is a base of the field.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether both sides have the field, and show the same of it.
    pub fn agrees_on(&self, field: &str, other: &Self) -> bool {
        self.get(field).is_some_and(|base| other.get(field) == Some(base))
    }

    fn get(&self, field: &str) -> Option<[u8; BYTES]> {
        self.at(self.order.as_ref()?.position(field)?)
    }

    fn at(&self, at: usize) -> Option<[u8; BYTES]> {
        let base = self.bytes.get(at * BYTES..(at + 1) * BYTES)?.try_into().ok()?;
        (base != NONE).then_some(base)
    }
}

/// A debug print says only that there are bases.
impl std::fmt::Debug for Bases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bases({})", self.bytes.len() / BYTES)
    }
}

/// The empty fields of a contact that a write clears on the other side.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Clears(Vec<FieldName>);

impl Clears {
    /// A new contact has nothing to clear.
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn includes(&self, field: &str) -> bool {
        self.0.iter().any(|name| name.as_str() == field)
    }
}

impl FromIterator<FieldName> for Clears {
    fn from_iter<I: IntoIterator<Item = FieldName>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl DigestKey {
    /// The bases of what a side shows now. `before`: its former bases, `None` if a former release
    /// wrote the link. A value that is not valid is no value: the field keeps its former base.
    pub fn bases(&self, order: &FieldOrder, contact: &Contact, before: Option<&Bases>) -> Bases {
        let id = contact.id.to_string();
        let base = |(field, places): (&FieldName, &str)| {
            let known = before.and_then(|before| before.get(field.as_str()));
            let base = |canonical: Option<&str>| self.base(&id, places, canonical);
            match (contact.reading(field.as_str()), before) {
                (Some(Reading::Is(value)), _) => base(Some(&value.canonical())),
                (Some(Reading::Empty), _) => base(None),
                // No value is an empty text: the side has shown something that is not known.
                (Some(Reading::Invalid), None) => base(Some("")),
                (Some(Reading::Invalid), Some(_)) => known.unwrap_or_else(|| base(None)),
                // It was not asked for, so nothing new is known.
                (None, _) => known.unwrap_or(NONE),
            }
        };
        let fields = order.names().zip(order.places());
        Bases { bytes: fields.flat_map(base).collect(), order: Some(order.clone()) }
    }

    /// The fields that a write clears: they are empty now, and their rule lets that travel. By the
    /// default rule, a clearing travels where this side has shown a value before. `before` is as in
    /// [`Self::bases`].
    pub fn clears(&self, order: &FieldOrder, contact: &Contact, before: Option<&Bases>) -> Clears {
        let all = contact.fields.iter().chain(contact.relations.iter());
        let empty = all.filter(|(_, reading)| **reading == Reading::Empty);
        let is_cleared =
            |name: &&FieldName| self.is_cleared(order, contact.id, before, name.as_str());
        empty.map(|(name, _)| name).filter(is_cleared).cloned().collect()
    }

    /// Whether the clearing of a field travels.
    fn is_cleared(
        &self,
        order: &FieldOrder,
        id: KeapId,
        before: Option<&Bases>,
        field: &str,
    ) -> bool {
        match order.rule(field) {
            Some(rule) if rule.never_clears() => false,
            Some(rule) if rule.clears == OnEmpty::Always => true,
            _ => self.was_shown(id, before, field),
        }
    }

    /// Whether this side may have shown a value of the field before. A former release wrote the
    /// built-in fields, cleared them whenever they were empty, and does not say which ones it had
    /// seen.
    fn was_shown(&self, id: KeapId, before: Option<&Bases>, field: &str) -> bool {
        match before {
            None => BUILT_IN.contains(&field),
            Some(before) => self.has_value(id, before, field),
        }
    }

    /// The fields whose values differ from what this side had shown. An empty field counts where
    /// its clearing travels; a value that is not valid does not count.
    pub fn unsettled(
        &self,
        order: &FieldOrder,
        contact: &Contact,
        before: &Bases,
    ) -> Vec<FieldName> {
        self.unsettled_of(&contact.fields, order, contact, before)
    }

    /// The same for the relations.
    pub fn unsettled_relations(
        &self,
        order: &FieldOrder,
        contact: &Contact,
        before: &Bases,
    ) -> Vec<FieldName> {
        self.unsettled_of(&contact.relations, order, contact, before)
    }

    fn unsettled_of(
        &self,
        fields: &Fields,
        order: &FieldOrder,
        contact: &Contact,
        before: &Bases,
    ) -> Vec<FieldName> {
        let id = contact.id.to_string();
        // Only what is asked for is digested: a contact has many fields, and few relations.
        let agrees = |name: &str, canonical: Option<&str>| {
            let (Some(known), Some(places)) = (before.get(name), order.places_of(name)) else {
                return false;
            };
            known == self.base(&id, places, canonical)
        };
        let differs = |name: &str, reading: &Reading| match reading {
            Reading::Is(value) => !agrees(name, Some(&value.canonical())),
            Reading::Empty => {
                !agrees(name, None) && self.is_cleared(order, contact.id, Some(before), name)
            }
            Reading::Invalid => false,
        };
        fields
            .iter()
            .filter(|(name, reading)| differs(name.as_str(), reading))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The bases that a former release would have stored: it knew the built-in fields in their
    /// usual places only.
    pub fn built_in_bases(&self, order: &FieldOrder, contact: &Contact) -> Bases {
        let now = self.bases_now(order, contact);
        let base = |(at, identity): (usize, &FieldName)| {
            let is_built_in = BUILT_IN.contains(&identity.as_str());
            now.at(at).filter(|_| is_built_in).unwrap_or(NONE)
        };
        let bytes = order.identities.iter().enumerate().flat_map(base).collect();
        Bases { bytes, order: now.order }
    }

    /// The bases of what a side shows of a contact, whatever it has shown before.
    pub fn bases_now(&self, order: &FieldOrder, contact: &Contact) -> Bases {
        self.bases(order, contact, Some(&Bases::nothing()))
    }

    /// The bases of what a side shows. A value that is not understood differs from every other one.
    pub fn bases_shown(&self, order: &FieldOrder, shown: &Contact) -> Bases {
        self.bases(order, shown, None)
    }

    /// Whether the bases hold a value of this field, not its being empty.
    pub fn has_value(&self, id: KeapId, bases: &Bases, field: &str) -> bool {
        let places = bases.order.as_ref().and_then(|order| order.places_of(field));
        let empty = places.map(|places| self.base(&id.to_string(), places, None));
        bases.get(field).is_some_and(|base| Some(base) != empty)
    }

    /// The base of one value; `None` is an empty field. The contact's id goes in, so that equal
    /// values of two contacts do not show.
    fn base(&self, id: &str, places: &str, canonical: Option<&str>) -> [u8; BYTES] {
        let digest = self.digest("base/1", [Some(id), Some(places), canonical]);
        let mut base = [0; BYTES];
        base.copy_from_slice(&digest.as_bytes()[..BYTES]);
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{Fields, Form};

    fn key() -> DigestKey {
        DigestKey::new(b"k")
    }

    fn order(names: &[&str]) -> FieldOrder {
        let names: Vec<FieldName> = names.iter().copied().map(FieldName::from).collect();
        let mut digest = [0; 32];
        digest[0] = u8::try_from(names.len()).expect("few");
        FieldOrder::of_stored(names, digest)
    }

    /// A mapping of the field `email` with another rule.
    fn ruled(change: impl Fn(&mut FieldRule)) -> FieldOrder {
        let mut rule = FieldRule::plain(FieldName::from("email"));
        change(&mut rule);
        FieldOrder::new(vec![rule], vec![FieldName::from("email")], [9; 32])
    }

    fn shown(email: &str, phone: &str) -> Contact {
        Contact::showing(
            KeapId::new(7).expect("positive"),
            Fields::from_iter([
                ("email", Form::Email.read(Some(email))),
                ("phone", Form::Text.read(Some(phone))),
            ]),
        )
    }

    fn cleared(contact: &Contact, before: Option<&Bases>) -> Vec<&'static str> {
        let clears = key().clears(&order(&["email", "phone"]), contact, before);
        ["email", "phone"].into_iter().filter(|field| clears.includes(field)).collect()
    }

    #[test]
    fn only_a_value_that_was_shown_before_is_cleared() {
        let order = order(&["email", "phone"]);
        let both = key().bases(&order, &shown("a@b.co", "5550144"), Some(&Bases::nothing()));
        let email = key().bases(&order, &shown("a@b.co", ""), Some(&Bases::nothing()));
        let empty = shown("", "");

        assert_eq!(cleared(&empty, Some(&both)), ["email", "phone"]);
        assert_eq!(cleared(&empty, Some(&email)), ["email"]);
        assert!(cleared(&empty, Some(&Bases::nothing())).is_empty());
        assert!(cleared(&shown("a@b.co", "1"), Some(&both)).is_empty(), "nothing is empty");
        assert_eq!(cleared(&empty, None), ["email", "phone"], "a former release cleared it all");
    }

    #[test]
    fn a_value_that_is_cleared_once_is_not_cleared_again() {
        let order = order(&["email", "phone"]);
        let both = key().bases(&order, &shown("a@b.co", "5550144"), Some(&Bases::nothing()));
        let after = key().bases(&order, &shown("a@b.co", ""), Some(&both));
        assert!(cleared(&shown("a@b.co", ""), Some(&after)).is_empty());
    }

    #[test]
    fn an_invalid_value_leaves_what_was_shown_before() {
        let order = order(&["email", "phone"]);
        let valid = key().bases(&order, &shown("a@b.co", ""), Some(&Bases::nothing()));
        for (before, expected) in [
            (Some(&valid), vec!["email"]),
            (Some(&Bases::nothing()), vec![]),
            (None, vec!["email"]),
        ] {
            let invalid = key().bases(&order, &shown("n/a", ""), before);
            assert_eq!(cleared(&shown("", ""), Some(&invalid)), expected);
        }
    }

    #[test]
    fn bases_are_read_by_the_names_of_their_own_mapping() {
        let two = order(&["email", "phone"]);
        let stored = key().bases(&two, &shown("a@b.co", "5550144"), Some(&Bases::nothing()));
        let bytes = stored.as_bytes().to_vec();
        assert_eq!(bytes.len(), 16);
        assert_eq!(Bases::of_stored(Some(two.clone()), bytes.clone()), Some(stored));
        assert_eq!(Bases::of_stored(Some(order(&["email"])), bytes), None);
        assert_eq!(Bases::of_stored(None, Vec::new()), Some(Bases::nothing()));

        // A field that the former mapping did not have has never been shown.
        let phone = key().bases(&order(&["phone"]), &shown("", "5550144"), Some(&Bases::nothing()));
        assert_eq!(cleared(&shown("", ""), Some(&phone)), ["phone"]);
        let moved = phone.clone().under(&two);
        assert_eq!(moved.as_bytes().len(), 16);
        assert!(moved.agrees_on("phone", &phone) && moved.get("email").is_none());
        assert_eq!(cleared(&shown("", ""), Some(&moved)), ["phone"]);
    }

    #[test]
    fn a_rule_says_whether_an_empty_value_travels() {
        let always = ruled(|rule| rule.clears = OnEmpty::Always);
        let never = ruled(|rule| rule.clears = OnEmpty::Never);
        let after = ruled(|_| {});
        let had = key().bases_now(&after, &shown("a@b.co", ""));
        let empty = shown("", "");
        for (order, before, expected) in [
            (&after, Bases::nothing(), false),
            (&after, had.clone(), true),
            (&always, Bases::nothing(), true),
            (&always, had.clone(), true),
            (&never, Bases::nothing(), false),
            (&never, had, false),
        ] {
            let cleared = key().clears(order, &empty, Some(&before)).includes("email");
            assert_eq!(cleared, expected, "{order:?}");
            let unsettled = key().unsettled(order, &empty, &before);
            assert_eq!(unsettled.iter().any(|name| name.as_str() == "email"), expected);
        }
    }

    #[test]
    fn a_field_is_unsettled_while_its_value_is_not_the_one_before() {
        let order = order(&["email", "phone"]);
        let before = key().bases_now(&order, &shown("a@b.co", "1"));
        let unsettled = |contact: &Contact, before: &Bases| {
            let names = key().unsettled(&order, contact, before);
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(unsettled(&shown("A@b.co", "1"), &before).is_empty());
        assert_eq!(unsettled(&shown("b@b.co", "1"), &before), ["email"]);
        assert_eq!(unsettled(&shown("a@b.co", ""), &before), ["phone"]);
        assert!(unsettled(&shown("n/a", "1"), &before).is_empty());
        assert_eq!(unsettled(&shown("a@b.co", ""), &Bases::nothing()), ["email"]);
    }

    #[test]
    fn equal_values_of_two_contacts_and_of_two_fields_differ() {
        let of = |id: i64, field: &str| key().base(&id.to_string(), field, Some("x"));
        assert_ne!(of(1, "a"), of(2, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), key().base("1", "a", None));
        // Case matters in a text and not in an address.
        let order = order(&["email"]);
        let email = |text| key().bases(&order, &shown(text, ""), Some(&Bases::nothing()));
        assert_eq!(email("Ann@b.co"), email("ann@b.co"));
    }
}
