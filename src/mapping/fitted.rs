//! The mapping as it fits two accounts: each field with its form, or with what is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::filter::Filter;
use super::holds::{Holds, Unfit};
use super::rule::{ARCHIVED, COMPANY, Rule};
use super::rules::Mapping;
use crate::contact::{FieldName, FieldOrder, FieldPlace, FieldRule, Form};

/// A field whose two places have a form in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    pub rule: Rule,
    pub form: Form,
    pub keap: Holds,
    pub intercom: Holds,
}

impl Field {
    /// The two places of a rule have a form in common, or `Unfit` says why not.
    fn of(rule: &Rule, keap: Holds, intercom: Holds) -> Result<Self, Unfit> {
        let form = keap.forms.iter().find(|form| intercom.forms.contains(form)).copied();
        let form = form.ok_or_else(|| {
            Unfit::now(format!(
                "{} is {} in Keap and {} is {} in Intercom: there is no form for this pair (docs/fields.md has the table)",
                rule.keap, keap.kind, rule.intercom, intercom.kind
            ))
        })?;
        Ok(Self { rule: rule.clone(), form, keap, intercom })
    }

    /// Options of Keap that Intercom does not know. A value that is one of them is not written.
    pub fn untaken(&self) -> Vec<String> {
        let (Some(ours), Some(theirs)) = (&self.keap.options, &self.intercom.options) else {
            return Vec::new();
        };
        let is_known = |option: &String| {
            theirs.iter().any(|known| known.to_lowercase() == option.to_lowercase())
        };
        ours.iter().filter(|option| !is_known(option)).cloned().collect()
    }

    fn keap_place(&self) -> FieldPlace {
        let words = self.intercom.options.as_deref().map(by_option);
        let words = words.or_else(|| self.keap.words.clone());
        FieldPlace {
            is_written: self.writes_to_keap(),
            is_relation: self.rule.is_relation(),
            limit: self.intercom.limit,
            too_long: self.rule.too_long,
            words,
            ..FieldPlace::new(self.rule.name.clone(), self.keap.place.clone(), self.form)
        }
    }

    /// Whether Keap is asked for it. The address finds a contact, also where it is not written.
    fn is_read(&self) -> bool {
        self.rule.writes_to_intercom()
            || self.writes_to_keap()
            || self.rule.name.as_str() == FieldName::EMAIL
    }

    /// Whether Intercom's value may be written to Keap.
    pub fn writes_to_keap(&self) -> bool {
        let may_be = !self.rule.is_relation() || self.rule.tags_in_keap();
        self.rule.writes_to_keap() && !self.keap.is_read_only && may_be
    }

    fn intercom_place(&self) -> FieldPlace {
        let place = FieldPlace {
            is_relation: self.rule.is_relation(),
            is_written: self.rule.writes_to_intercom(),
            both_ways: self.rule.both_ways,
            ..FieldPlace::new(self.rule.name.clone(), self.intercom.place.clone(), self.form)
        };
        if !self.writes_to_keap() {
            return place;
        }
        FieldPlace {
            limit: self.keap.limit,
            too_long: self.rule.too_long,
            words: self.keap.options.as_deref().map(by_option),
            ..place
        }
    }
}

/// The options of a target, by their spelling in lower case.
fn by_option(options: &[String]) -> Arc<BTreeMap<String, String>> {
    Arc::new(options.iter().map(|option| (option.to_lowercase(), option.clone())).collect())
}

/// The mapping as it fits two accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fitted {
    /// In the order of the mapping.
    pub fields: Vec<(Rule, Result<Field, Unfit>)>,
    /// Who is in scope. `Err`: the filter names a tag that Keap does not have, so nobody knows.
    pub filter: Result<Filter, Unfit>,
    /// Each field as the store names it, in the same order.
    identities: Vec<Identity>,
}

/// A field as the store names it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Identity {
    text: String,
    /// Keap has shown the place.
    is_certain: bool,
}

impl Identity {
    fn known_as<'a>(&'a self, rule: &Rule, stored: &'a [String]) -> &'a str {
        let (name, place) = (format!("{}: ", rule.name), format!(" = {}", rule.intercom));
        let is_it = |known: &&String| known.starts_with(&name) && known.ends_with(&place);
        let stored = stored.iter().find(is_it).filter(|_| !self.is_certain);
        stored.unwrap_or(&self.text)
    }
}

impl Fitted {
    /// Fits every rule. `keap` and `intercom` say what the places of their side hold.
    pub fn of(
        mapping: &Mapping,
        keap: impl Fn(&Rule) -> Result<Holds, Unfit>,
        intercom: impl Fn(&Rule) -> Result<Holds, Unfit>,
    ) -> Self {
        let (mut fields, mut identities) = (Vec::new(), Vec::new());
        for rule in mapping.rules() {
            let keap = keap(rule);
            let place = keap.as_ref().ok().map(|holds| holds.place.as_str());
            identities.push(Identity { text: rule.identity(place), is_certain: place.is_some() });
            let field = keap.and_then(|keap| Field::of(rule, keap, intercom(rule)?));
            fields.push((rule.clone(), field));
        }
        Self { fields, filter: Ok(Filter::default()), identities }
    }

    /// The same with this filter.
    #[must_use]
    pub fn filtered_by(self, filter: Result<Filter, Unfit>) -> Self {
        Self { filter, ..self }
    }

    /// The fields that can be synced.
    pub fn usable(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter_map(|(_, field)| field.as_ref().ok())
    }

    /// The fields that cannot be synced now, with the reason.
    pub fn unfit(&self) -> impl Iterator<Item = (&Rule, &Unfit)> {
        self.fields.iter().filter_map(|(rule, field)| Some((rule, field.as_ref().err()?)))
    }

    /// The half of the mapping that the Keap client needs: the fields that travel to Intercom, and
    /// the address.
    pub fn keap(&self) -> Vec<FieldPlace> {
        self.usable().filter(|field| field.is_read()).map(Field::keap_place).collect()
    }

    /// The order of the fields, by which the values that a side has shown are remembered. It has
    /// the fields that are held too: they keep what was remembered of them. `stored`: the fields of
    /// all mappings so far, the latest first. They know the place of a field that Keap does not
    /// show now.
    pub fn order(&self, stored: &[String]) -> FieldOrder {
        let mut identities = Vec::new();
        let mut rules = Vec::new();
        let mut hash = Sha256::new();
        for ((rule, field), identity) in self.fields.iter().zip(&self.identities) {
            let identity = identity.known_as(rule, stored);
            // The length of each part goes in too, so that parts do not run together.
            hash.update((identity.len() as u64).to_be_bytes());
            hash.update(identity);
            if !field.as_ref().is_ok_and(Field::is_read) {
                // A fingerprint is of the fields that are read.
                hash.update([0]);
            }
            identities.push(FieldName::from(identity));
            rules.push(FieldRule {
                name: rule.name.clone(),
                is_relation: rule.is_relation(),
                is_read_in_intercom: rule.both_ways && rule.intercom != ARCHIVED && field.is_ok(),
                is_company: rule.intercom == COMPANY,
                travels_always: rule.travels_always,
                owner: rule.owner,
                clears: rule.clears,
                to_intercom: rule.writes_to_intercom(),
                to_keap: field.as_ref().is_ok_and(Field::writes_to_keap),
                may_vanish: field.as_ref().is_ok_and(|field| field.keap.may_vanish),
            });
        }
        FieldOrder::new(rules, identities, hash.finalize().into())
    }

    /// The half of the mapping that the Intercom client needs: the fields that travel in either
    /// direction.
    pub fn intercom(&self) -> Vec<FieldPlace> {
        let is_used = |field: &&Field| field.rule.writes_to_intercom() || field.writes_to_keap();
        self.usable().filter(is_used).map(Field::intercom_place).collect()
    }

    /// The fields that travel to Intercom now, as stored bases name them.
    pub fn identities(&self) -> Vec<String> {
        let each = self.fields.iter().zip(&self.identities);
        let written = each.filter(|((rule, field), _)| field.is_ok() && rule.writes_to_intercom());
        let fields = written.map(|(_, identity)| identity.text.clone());
        // A changed filter concerns every contact, too.
        let filter = self.filter.iter().map(Filter::identity);
        fields.chain(filter).collect()
    }
}
