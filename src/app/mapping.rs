//! The mapping that the settings ask for, and how it fits the two accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::creating;
use crate::config::{
    self, Archived, FieldClears, FieldOwner, FieldTable, FieldTooLong, Left, OptOut, Settings,
    SettingsError, TagTable,
};
use crate::contact::{FieldName, Form, OnEmpty, Owner, TooLong};
use crate::intercom::{self, IntercomClient, IntercomModel, attribute_name};
use crate::keap::{self, KeapClient, KeapModel};
use crate::mapping::{ARCHIVED, COMPANY, Filter, Fitted, Holds, Mapping, Rule, TAG, Unfit};
use crate::remote::Failure;

const UNSUBSCRIBED: &str = "unsubscribed_from_emails";
const OWNER_ID: &str = "owner_id";

/// The mapping of the settings. `Err` names everything that is wrong with it by itself, whatever
/// the two accounts hold.
pub fn mapping(settings: &Settings) -> Result<Mapping, SettingsError> {
    let rules = rules(settings);
    let models = Models::default();
    let mut wrong: Vec<String> = Vec::new();
    for (origin, rule) in &rules {
        let why = misnamed(rule).or_else(|| models.wrong_by_itself(rule));
        wrong.extend(why.map(|why| format!("{origin}: {why}")));
    }
    if settings.consent.opt_out == OptOut::ToKeap && !settings.intercom_to_keap.enabled {
        wrong.push("consent.opt_out = \"to_keap\" needs intercom_to_keap.enabled = true; switch the direction on, or set it to \"to_intercom\" or \"off\"".into());
    }
    wrong.extend(creating::wrong(settings));
    match Mapping::new(rules.into_iter().map(|(_, rule)| rule).collect()) {
        Ok(mapping) if wrong.is_empty() => Ok(mapping),
        Ok(_) => Err(SettingsError::refused_all(wrong)),
        Err(more) => {
            wrong.extend(more);
            Err(SettingsError::refused_all(wrong))
        }
    }
}

/// The rules of the settings, each with its place in them.
fn rules(settings: &Settings) -> Vec<(String, Rule)> {
    let own = |rule: Rule| ("the mapping".to_owned(), rule);
    let mut rules: Vec<(String, Rule)> = match settings.fields.as_slice() {
        [] => Mapping::default().rules().iter().map(|rule| own(built_in(rule, settings))).collect(),
        tables => tables.iter().map(|table| (table.origin.clone(), rule(table))).collect(),
    };
    if !rules.iter().any(|(_, rule)| is_email(rule)) {
        // The address finds a contact, also where it is not written.
        rules.push(own(Rule {
            owner: Owner::Never,
            ..Rule::new(FieldName::EMAIL, "email", "email")
        }));
    }
    for (_, rule) in &mut rules {
        rule.both_ways = settings.intercom_to_keap.enabled;
    }
    let both_ways = settings.intercom_to_keap.enabled;
    rules.extend(
        settings.tags.iter().map(|table| (table.origin.clone(), Rule { both_ways, ..tag(table) })),
    );
    if settings.company.object {
        rules.push(own(Rule::new("company object", COMPANY, COMPANY)));
    }
    if let Some(name) =
        settings.filter.left_tag.as_ref().filter(|_| settings.filter.left == Left::Tag)
    {
        let left = Rule::new("left", keap::LEFT, &format!("{TAG}{name}"));
        rules.push(own(Rule { travels_always: true, ..left }));
    }
    rules.extend(gone_in_intercom(settings).map(own));
    rules.extend(opt_out(settings).map(own));
    rules
}

/// The rule by which contacts that are archived or deleted in Intercom get a tag in Keap. It is
/// never taken off again: a person looks at them.
fn gone_in_intercom(settings: &Settings) -> Option<Rule> {
    let config::IntercomToKeap { enabled, archived, archived_tag, .. } = &settings.intercom_to_keap;
    let tag = archived_tag.as_ref().filter(|_| *enabled && *archived == Archived::Tag)?;
    Some(Rule {
        owner: Owner::Intercom,
        clears: OnEmpty::Never,
        both_ways: true,
        ..Rule::new(FieldName::GONE_IN_INTERCOM, &format!("{TAG}{tag}"), ARCHIVED)
    })
}

/// The rule by which opt-outs travel, if they do.
fn opt_out(settings: &Settings) -> Option<Rule> {
    let both_ways = settings.intercom_to_keap.enabled;
    let rule = Rule {
        clears: OnEmpty::Never,
        travels_always: true,
        ..Rule::new(FieldName::OPT_OUT, keap::OPT_OUT, UNSUBSCRIBED)
    };
    match settings.consent.opt_out {
        OptOut::Off => None,
        OptOut::Both if both_ways => Some(Rule { owner: Owner::Either, both_ways, ..rule }),
        OptOut::ToIntercom | OptOut::Both => Some(rule),
        OptOut::ToKeap => {
            Some(Rule { owner: Owner::Either, both_ways, only_to_keap: true, ..rule })
        }
    }
}

/// A built-in field. Where both directions are on, the later edit of an address or a number counts;
/// a name goes one way, because its two parts cannot be told apart.
fn built_in(rule: &Rule, settings: &Settings) -> Rule {
    let is_newest = settings.intercom_to_keap.enabled && rule.name.as_str() != "name";
    Rule { owner: if is_newest { Owner::Newest } else { rule.owner }, ..rule.clone() }
}

/// A tag is a field that says yes or nothing.
fn tag(table: &TagTable) -> Rule {
    let [keap, intercom] = [&table.keap, &table.intercom].map(|name| format!("{TAG}{name}"));
    let name = format!("tag {}", table.intercom.replace(':', " "));
    Rule { owner: owner(table.owner), ..Rule::new(&name, &keap, &intercom) }
}

fn is_email(rule: &Rule) -> bool {
    rule.keap == "email" && rule.intercom == "email"
}

fn rule(table: &FieldTable) -> Rule {
    let FieldTable { keap, intercom, .. } = table;
    let place = attribute_name(intercom).unwrap_or(intercom);
    let rule = Rule::new(table.name.as_deref().unwrap_or(place), keap, intercom);
    Rule {
        // The code finds contacts by the field of this name.
        name: if is_email(&rule) { FieldName::from(FieldName::EMAIL) } else { rule.name },
        owner: owner(table.owner),
        clears: match table.clears {
            FieldClears::AfterFirst => OnEmpty::AfterFirst,
            FieldClears::Always => OnEmpty::Always,
            FieldClears::Never => OnEmpty::Never,
        },
        too_long: match table.too_long {
            FieldTooLong::Hold => TooLong::Hold,
            FieldTooLong::Cut => TooLong::Cut,
        },
        create_attribute: table.create_attribute,
        travels_always: false,
        both_ways: false,
        only_to_keap: false,
        keap: rule.keap,
        intercom: rule.intercom,
    }
}

fn owner(owner: FieldOwner) -> Owner {
    match owner {
        FieldOwner::Keap => Owner::Keap,
        FieldOwner::Intercom => Owner::Intercom,
        FieldOwner::Newest => Owner::Newest,
        FieldOwner::Fill => Owner::Fill,
        FieldOwner::Never => Owner::Never,
    }
}

/// What is wrong with the name of a field, or with a second field for the address.
fn misnamed(rule: &Rule) -> Option<String> {
    let is_own = is_email(rule) || rule.keap == keap::OPT_OUT;
    let name = rule.name.as_str();
    if name.contains(':') {
        return Some(format!(
            "the name {name} has a colon; give the field another name, such as name = \"plan\""
        ));
    }
    if rule.intercom == "email" && !is_email(rule) {
        return Some("only Keap's own e-mail goes to email in Intercom, because contacts are found by it; write keap = \"email\", or name an attribute".to_owned());
    }
    let is_taken = [FieldName::EMAIL, FieldName::OPT_OUT].contains(&name) && !is_own;
    is_taken.then(|| format!("the name {name} is taken; give the field another one"))
}

/// What the two accounts hold, as far as it is known.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Models {
    pub keap: Option<KeapModel>,
    pub intercom: Option<IntercomModel>,
}

/// What a mapping has to know of the accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    pub fields: bool,
    pub attributes: bool,
    pub tags: bool,
    /// The tags in Intercom, whose names its contacts do not show.
    pub tags_in_intercom: bool,
    /// Users and teammates.
    pub owners: bool,
}

impl Needs {
    /// What this mapping and this filter have to know.
    pub fn of(mapping: &Mapping, filter: &config::Filter) -> Self {
        let any = |is: &dyn Fn(&Rule) -> bool| mapping.rules().iter().any(is);
        Self {
            fields: any(&|rule| keap::needs_fields(&rule.keap)),
            attributes: any(&|rule| attribute_name(&rule.intercom).is_some()),
            tags: any(&|rule| keap::needs_tags(&rule.keap))
                || !(filter.keap_tags_any.is_empty() && filter.keap_tags_none.is_empty()),
            tags_in_intercom: any(&|rule| rule.is_tag() && rule.both_ways),
            owners: any(&is_owner),
        }
    }

    /// Whether the settings alone say everything.
    pub fn is_nothing(self) -> bool {
        !(self.fields || self.attributes || self.tags || self.owners)
    }

    /// Everything there is to know.
    pub const ALL: Self =
        Self { fields: true, attributes: true, tags: true, tags_in_intercom: false, owners: true };
}

fn is_owner(rule: &Rule) -> bool {
    keap::needs_users(&rule.keap) && rule.intercom == OWNER_ID
}

impl Models {
    /// Asks both accounts for what is needed: at most one call for each part.
    pub async fn learn(
        needs: Needs,
        keap: &KeapClient,
        intercom: &IntercomClient,
    ) -> Result<Self, Failure> {
        let mut of_keap = KeapModel::default();
        let mut of_intercom = IntercomModel::default();
        if needs.fields {
            of_keap.fields = keap.custom_fields().await?;
        }
        if needs.attributes {
            of_intercom.attributes = intercom.attributes().await?;
        }
        if needs.tags {
            of_keap.tags = keap.tags().await?;
        }
        if needs.tags_in_intercom {
            intercom.learn_tags().await?;
        }
        if needs.owners {
            of_keap.users = keap.users().await?;
            of_intercom.admins = intercom.admins().await?;
        }
        Ok(Self { keap: Some(of_keap), intercom: Some(of_intercom) })
    }

    /// Every field of the mapping, with its form or with what is wrong.
    pub fn fit(&self, mapping: &Mapping) -> Fitted {
        Fitted::of(mapping, |rule| self.in_keap(rule), |rule| self.in_intercom(rule))
    }

    /// The filter of the settings, by Keap's ids of tags.
    pub fn filter(&self, settings: &config::Filter) -> Result<Filter, Unfit> {
        Ok(Filter {
            any: self.tag_ids(&settings.keap_tags_any)?,
            none: self.tag_ids(&settings.keap_tags_none)?,
            domains: settings.exclude_domains.iter().map(|one| creating::excluded(one)).collect(),
        })
    }

    fn tag_ids(&self, names: &[String]) -> Result<Vec<String>, Unfit> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let model = self.keap.as_ref();
        let model = model.ok_or_else(|| Unfit::now("Keap has not shown its tags yet"))?;
        let id = |name: &String| keap::tag(name.trim(), model).map(|tag| tag.id.clone());
        names.iter().map(id).collect()
    }

    fn in_keap(&self, rule: &Rule) -> Result<Holds, Unfit> {
        if rule.keap == COMPANY {
            return Ok(Holds::of(COMPANY, "a company", &[Form::Text]));
        }
        if rule.keap == keap::OPT_OUT || rule.keap == keap::LEFT {
            return Ok(Holds::of(&rule.keap, "yes or nothing", &[Form::YesNo]));
        }
        let holds = keap::holds(&rule.keap, self.keap.as_ref())?;
        Ok(if is_owner(rule) { Holds { words: Some(self.teammates()?), ..holds } } else { holds })
    }

    fn in_intercom(&self, rule: &Rule) -> Result<Holds, Unfit> {
        if rule.keap == keap::OPT_OUT {
            return Ok(Holds::of(UNSUBSCRIBED, "an opt-out", &[Form::YesNo]));
        }
        if rule.keap == COMPANY {
            return Ok(Holds::of(COMPANY, "a company", &[Form::Text]));
        }
        if rule.intercom == ARCHIVED {
            return Ok(Holds::of(ARCHIVED, "archived or deleted", &[Form::YesNo]));
        }
        intercom::holds(&rule.intercom, self.intercom.as_ref())
    }

    /// The teammate for each user: the one with the same e-mail.
    fn teammates(&self) -> Result<Arc<BTreeMap<String, String>>, Unfit> {
        let (Some(keap), Some(intercom)) = (&self.keap, &self.intercom) else {
            return Err(Unfit::now("the users of Keap and Intercom are not known yet"));
        };
        let teammate = |email: &String| intercom.admins.iter().find(|(_, known)| known == email);
        let pairs = keap.users.iter();
        let pairs =
            pairs.filter_map(|(user, email)| Some((user.clone(), teammate(email)?.0.clone())));
        Ok(Arc::new(pairs.collect()))
    }

    /// What is wrong with a rule by itself.
    fn wrong_by_itself(&self, rule: &Rule) -> Option<String> {
        let (keap, intercom) = (self.in_keap(rule), self.in_intercom(rule));
        let is_own = |unfit: &&Unfit| unfit.by_itself;
        let unfit = [keap.as_ref().err(), intercom.as_ref().err()];
        if let Some(unfit) = unfit.into_iter().flatten().find(is_own) {
            return Some(unfit.why.clone());
        }
        let (keap, intercom) = (keap.ok()?, intercom.ok()?);
        if keap.is_read_only && rule.both_ways && rule.owner == Owner::Intercom {
            return Some(format!(
                "{} cannot be written in Keap, so Intercom cannot own it; set owner = \"keap\"",
                rule.keap
            ));
        }
        let has_form = keap.forms.iter().any(|form| intercom.forms.contains(form));
        (!has_form).then(|| {
            format!(
                "{} is {} in Keap and {} is {} in Intercom: there is no form for this pair (docs/fields.md has the table)",
                rule.keap, keap.kind, rule.intercom, intercom.kind
            )
        })
    }
}
